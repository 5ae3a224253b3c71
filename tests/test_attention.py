"""Attention: the op, multi-head attention with its cache, position encodings."""

import math

import numpy as np
import pytest
from test_recurrent import assert_same, draw, to_torch, torch_module

import tensorlib as tl
from tensorlib import nn

sdpa = tl.scaled_dot_product_attention


# ---- the op --------------------------------------------------------------------
def torch_sdpa(*args, **kwargs):
    return torch_module().nn.functional.scaled_dot_product_attention(*args, **kwargs)


def heads(lengths=(70, 150), batch=(2, 3), depth=5, dtype="float64"):
    sizes = (lengths[0], lengths[1], lengths[1])
    return [draw(*batch, n, depth, seed=k, dtype=dtype) for k, n in enumerate(sizes)]


def allowed(lengths, seed=0):
    mask = tl.rand(lengths, generator=tl.Generator(seed)) < 0.5
    mask[1] = False  # a query that sees nothing
    return mask


MASKS = {
    "none": lambda n: None,
    "bool": allowed,
    "addend": lambda n: draw(*n, seed=9),
    "addend of -inf": lambda n: tl.where(
        allowed(n),
        tl.zeros(n, dtype=tl.float64),
        tl.full((), -math.inf, dtype=tl.float64),
    ),
    "heads": lambda n: tl.stack([allowed(n, k) for k in range(3)]),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("lengths", [(70, 150), (70, 1100), (1, 1), (1, 300), (200, 3)])
def test_op_matches_pytorch(lengths, name):
    if name != "none" and lengths[0] == 1:
        pytest.skip("needs two queries")
    mask = MASKS[name](lengths)
    inputs = [x.requires_grad_(True) for x in heads(lengths)]
    tinputs = [to_torch(x).requires_grad_(True) for x in inputs]
    y = sdpa(*inputs, mask)
    ty = torch_sdpa(*tinputs, None if mask is None else to_torch(mask))
    assert_same(y, ty)
    weights = draw(*y.shape, seed=11)
    (y * weights).sum().backward()
    (ty * to_torch(weights)).sum().backward()
    for x, tx in zip(inputs, tinputs, strict=True):
        assert_same(x.grad, tx.grad)


@pytest.mark.parametrize("batch", [(2, 3), (4, 5)])
@pytest.mark.parametrize(
    "lengths", [(200, 200), (600, 600), (100, 300), (300, 100), (1, 5)]
)
def test_causal_op_matches_pytorch(lengths, batch):
    inputs = [x.requires_grad_(True) for x in heads(lengths, batch)]
    tinputs = [to_torch(x).requires_grad_(True) for x in inputs]
    y, ty = sdpa(*inputs, is_causal=True), torch_sdpa(*tinputs, is_causal=True)
    assert_same(y, ty)
    y.sum().backward()
    ty.sum().backward()
    for x, tx in zip(inputs, tinputs, strict=True):
        assert_same(x.grad, tx.grad)


def test_grouped_heads_match_pytorch():
    q, (k, v) = draw(2, 6, 7, 4), (draw(2, 3, 9, 4, seed=s) for s in (1, 2))
    y = sdpa(q, k, v, enable_gqa=True, scale=0.7)
    theirs = [to_torch(x) for x in (q, k, v)]
    assert_same(y, torch_sdpa(*theirs, enable_gqa=True, scale=0.7))


@pytest.mark.parametrize("scale", [1e4, -1e4, 1e-40])
def test_extreme_scores_match_float64(scale):
    single = heads((33, 140), dtype="float32")
    single[0] *= scale
    results = []
    for dtype in (tl.float32, tl.float64):
        q, k, v = (x.astype(dtype).detach().requires_grad_(True) for x in single)
        y = sdpa(q, k, v)
        results.append([y, *tl.autograd.grad((y * y).sum(), [q, k, v])])
    for x, wide in zip(*results, strict=True):
        # Scores of 10^4 are rounded by 10^-3: so are the logarithms of weights.
        largest = abs(wide).max().item() + 1e-30
        assert bool((abs(x - wide) < 5e-3 * largest).all())


def test_nan_in_a_query_stays_in_its_row():
    q, k, v = heads((5, 140))
    q[0, 0, 2, 1] = tl.nan
    y = sdpa(q, k, v)
    assert bool(y[0, 0, 2].isnan().all())
    y[0, 0, 2] = 0.0
    assert bool(y.isfinite().all())


@pytest.mark.parametrize("p", [0.3, 0.999, 1.0])
@pytest.mark.parametrize("batch", [(2, 3), (17,)])
def test_dropout_is_that_of_bernoulli(batch, p):
    q, k, v = (x.requires_grad_(True) for x in heads((70, 150), batch))
    generator = tl.Generator(3)
    y = sdpa(q, k, v, dropout_p=p, generator=generator)
    other = tl.Generator(3)
    keep = tl.bernoulli(1.0 - p, (*batch, 70, 150), dtype=tl.float64, generator=other)
    if p < 1:
        assert generator.get_state() == other.get_state()
        keep = keep / (1.0 - p)
    weights = tl.softmax(q @ tl.transpose(k) / math.sqrt(5), axis=-1) * keep
    expected = weights @ v
    np.testing.assert_allclose(
        y.detach().numpy(), expected.detach().numpy(), 1e-12, 1e-12
    )
    g = draw(*y.shape, seed=5)
    found = tl.autograd.grad(y, [q, k, v], g)
    wanted = tl.autograd.grad(expected, [q, k, v], g)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("how", [
    {"is_causal": True},
    {"dropout_p": 0.4},
    {"attn_mask": tl.tensor([[True, False, True], [False] * 3])},
    {"attn_mask": draw(2, 3, seed=8), "scale": 0.2},
], ids=lambda h: next(iter(h)))  # fmt: skip
def test_derivatives_equal_differences(how):
    q, k, v = (x.requires_grad_(True) for x in heads((2, 3), (2,), 2))

    def function(*inputs):
        return sdpa(*inputs, **how, generator=tl.Generator(1))

    assert tl.autograd.gradcheck(function, [q, k, v], directions=2)
    assert tl.autograd.gradgradcheck(function, [q, k, v], directions=1)
    y = function(q, k, v)
    g = draw(*y.shape, seed=5)
    fast = tl.autograd.grad(y, [q, k, v], g, retain_graph=True)
    slow = tl.autograd.grad(y, [q, k, v], g, create_graph=True)
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), 1e-12, 1e-14)


def test_gradient_of_a_broadcast_mask():
    inputs = heads((5, 7))
    mask = draw(3, 1, 7, seed=4).requires_grad_(True)
    assert tl.autograd.gradcheck(lambda m: sdpa(*inputs, m), [mask], directions=2)
    assert tl.autograd.gradgradcheck(lambda m: sdpa(*inputs, m), [mask], directions=1)


def test_mask_changed_before_backward_raises():
    q, k, v = (x.requires_grad_(True) for x in heads((3, 4)))
    mask = tl.ones((3, 4), dtype=tl.bool)
    y = sdpa(q, k, v, mask)
    mask[0] = False
    with pytest.raises(tl.GraphError, match="changed in place"):
        y.sum().backward()


def test_memory_does_not_grow_with_the_square_of_the_length():
    n = 4096
    q, k, v = (tl.ones((1, n, 8), requires_grad=True) for _ in range(3))
    tl.reset_peak_memory_stats()
    before = tl.memory_stats()["allocated"]
    sdpa(q, k, v, is_causal=True).sum().backward()
    assert tl.memory_stats()["peak_allocated"] - before < n * n // 2


@pytest.mark.parametrize("batch", [(1,), (3, 7)])
def test_bits_do_not_depend_on_threads(batch):
    q, k, v = (x.requires_grad_(True) for x in heads((300, 260), batch, 20))
    found = []
    for n in (1, 2, 3, 8):
        with tl.num_threads(n):
            y = sdpa(q, k, v, dropout_p=0.1, generator=tl.Generator(0))
            grads = tl.autograd.grad(y.sum(), [q, k, v])
        found.append([x.detach().numpy().tobytes() for x in (y, *grads)])
    assert all(each == found[0] for each in found[1:])


def test_strided_views_equal_copies():
    x = draw(6, 2, 3, 2, 4)  # positions, batch, q/k/v, heads, depth
    q, k, v = tl.unstack(x.permute_dims((2, 1, 3, 0, 4)))
    copies = [t.contiguous() for t in (q, k, v)]
    assert sdpa(q, k, v).tolist() == sdpa(*copies).tolist()


# ---- multi-head attention ------------------------------------------------------
def pair(*args, **kwargs):
    """The same module of both libraries, with our initial values."""
    torch = torch_module()
    ours = nn.MultiheadAttention(
        *args, dtype=tl.float64, generator=tl.Generator(2), **kwargs
    )
    for p in ours.parameters():
        if p.ndim == 1:
            nn.init.uniform_(p, -0.5, 0.5, generator=tl.Generator(7))
    theirs = torch.nn.MultiheadAttention(*args, dtype=torch.float64, **kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({n: to_torch(p) for n, p in ours.state_dict().items()})
    return ours, theirs


def compare(ours, theirs, inputs, unique=3, **how):
    """Outputs, weights and all gradients; `unique`: how many tensors are given."""
    thow = {n: to_torch(x) if isinstance(x, tl.Tensor) else x for n, x in how.items()}
    inputs = [x.detach().requires_grad_(True) for x in inputs]
    tinputs = [to_torch(x).requires_grad_(True) for x in inputs]
    y, weights = ours(*(inputs * 3)[:3] if unique == 1 else inputs, **how)
    ty, tweights = theirs(*(tinputs * 3)[:3] if unique == 1 else tinputs, **thow)
    assert_same(y, ty)
    assert (weights is None) == (tweights is None)
    loss, tloss = (y * y).sum(), (ty * ty).sum()
    if weights is not None:
        assert_same(weights, tweights)
        loss, tloss = loss + (weights**3).sum(), tloss + (tweights**3).sum()
    loss.backward()
    tloss.backward()
    for x, tx in zip(inputs, tinputs, strict=True):
        assert_same(x.grad, tx.grad)
    for p, tp in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same(p.grad, tp.grad)


BUILDS = [
    {}, {"bias": False}, {"batch_first": True}, {"kdim": 3, "vdim": 5},
    {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 6},
]  # fmt: skip


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("build", BUILDS, ids=str)
def test_multihead_attention_matches_pytorch(build, need_weights):
    ours, theirs = pair(6, 2, **build)
    sizes = (6, build.get("kdim", 6), build.get("vdim", 6))
    shapes = [(4, 3, sizes[0]), (5, 3, sizes[1]), (5, 3, sizes[2])]
    if build.get("batch_first"):
        shapes = [(b, a, c) for a, b, c in shapes]
    inputs = [draw(*s, seed=k) for k, s in enumerate(shapes)]
    compare(ours, theirs, inputs, need_weights=need_weights)


MASKINGS = {
    "padding": {"key_padding_mask": tl.tensor([[False, False, True],
                                               [False, True, True]])},
    "padding of floats": {"key_padding_mask": draw(2, 3, seed=1)},
    "bool": {"attn_mask": tl.tensor([[False, True, True], [False, False, True],
                                     [True, False, False]])},
    "floats": {"attn_mask": draw(3, 3, seed=2)},
    "each head": {"attn_mask": draw(4, 3, 3, seed=3)},
    "both": {"attn_mask": draw(3, 3, seed=2), "key_padding_mask": draw(2, 3, seed=1)},
    "mean": {"average_attn_weights": False},
}  # fmt: skip


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("name", MASKINGS)
def test_masks_match_pytorch(name, need_weights):
    ours, theirs = pair(6, 2)
    how = {**MASKINGS[name], "need_weights": need_weights}
    compare(ours, theirs, [draw(3, 2, 6)], unique=1, **how)


@pytest.mark.parametrize("extra", ["add_bias_kv", "add_zero_attn"])
def test_masks_with_appended_positions_match_pytorch(extra):
    ours, theirs = pair(6, 2, **{extra: True})
    how = {**MASKINGS["padding"], **MASKINGS["bool"]}
    compare(ours, theirs, [draw(3, 2, 6)], unique=1, **how)


def test_unbatched_matches_pytorch():
    ours, theirs = pair(6, 2)
    compare(ours, theirs, [draw(3, 6), draw(4, 6, seed=1), draw(4, 6, seed=2)],
            key_padding_mask=tl.tensor([False, False, False, True]))  # fmt: skip
    batch_first, theirs = pair(6, 2, batch_first=True)
    compare(batch_first, theirs, [draw(3, 6)], unique=1)


@pytest.mark.parametrize("need_weights", [True, False])
def test_causal_equals_the_causal_mask(need_weights):
    ours, theirs = pair(6, 2)
    x, mask = draw(4, 2, 6), nn.Transformer.generate_square_subsequent_mask(4)
    y = ours(x, x, x, is_causal=True, need_weights=need_weights)[0]
    tmask = to_torch(mask).double()
    ty = theirs(*[to_torch(x)] * 3, attn_mask=tmask, need_weights=need_weights)[0]
    assert_same(y, ty)


def test_dropout_acts_in_training_only():
    attention = nn.MultiheadAttention(6, 2, dropout=0.5, generator=tl.Generator(0))
    x = tl.ones((4, 2, 6))
    for need_weights in (True, False):
        attention.train()
        a, b = (attention(x, x, x, need_weights=need_weights)[0] for _ in range(2))
        assert a.tolist() != b.tolist()
        attention.eval()
        a, b = (attention(x, x, x, need_weights=need_weights)[0] for _ in range(2))
        assert a.tolist() == b.tolist()


def test_query_that_sees_nothing_gives_the_output_bias():
    attention = nn.MultiheadAttention(4, 2)
    x, mask = tl.ones((2, 1, 4)), tl.tensor([[True, True], [False, False]])
    for need_weights in (True, False):
        y, _ = attention(x, x, x, attn_mask=mask, need_weights=need_weights)
        assert y[0, 0].tolist() == attention.out_proj.bias.tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MultiheadAttention(6, 4), "multiple of num_heads"),
        (lambda: nn.MultiheadAttention(6, 2, dropout=2), "dropout"),
        (lambda: nn.MultiheadAttention(6, 2)(*[tl.ones((3, 2, 5))] * 3), "features"),
        (lambda: nn.MultiheadAttention(6, 2)(*[tl.ones(6)] * 3), "three axes"),
        (lambda: nn.MultiheadAttention(6, 2)(
            *[tl.ones((3, 2, 6))] * 3, attn_mask=tl.ones((2, 3))), "attn_mask"),
        (lambda: nn.MultiheadAttention(6, 2)(
            *[tl.ones((3, 2, 6))] * 3, tl.ones((2, 2))), "key_padding_mask"),
        (lambda: nn.MultiheadAttention(6, 2, add_zero_attn=True)(
            *[tl.ones((3, 2, 6))] * 3, cache=nn.KVCache()), "cache"),
    ],
)  # fmt: skip
def test_bad_arguments_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- cache ---------------------------------------------------------------------
@pytest.mark.parametrize("rotary", [None, nn.RotaryEmbedding(4, dtype=tl.float64)])
@pytest.mark.parametrize("chunks", [[1] * 7, [3, 1, 1, 2], [7], [2, 5]])
def test_cached_attention_equals_recomputation(chunks, rotary):
    attention = nn.MultiheadAttention(
        8, 2, dtype=tl.float64, batch_first=True, rotary=rotary
    )
    x, cache = draw(2, 7, 8), nn.KVCache()
    whole = attention(x, x, x, is_causal=True)[0]
    start, parts = 0, []
    for n in chunks:
        part = x[:, start : start + n]
        parts.append(attention(part, part, part, is_causal=True, cache=cache)[0])
        start += n
    np.testing.assert_allclose(
        tl.concat(parts, axis=1).detach().numpy(), whole.detach().numpy(), 1e-12, 1e-13
    )
    assert cache.length == 7
    cache.reset()
    assert cache.length == 0


def test_cache_of_another_batch_raises():
    cache = nn.KVCache()
    cache.append(tl.ones((2, 2, 1, 4)), tl.ones((2, 2, 1, 4)))
    with pytest.raises(tl.ShapeError, match="KVCache"):
        cache.append(tl.ones((3, 2, 1, 4)), tl.ones((3, 2, 1, 4)))


# ---- positions -----------------------------------------------------------------
def test_sinusoids_follow_the_paper():
    table = nn.SinusoidalPositionalEncoding(6, 20, dtype=tl.float64).table
    for t in range(20):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            assert abs(table[t, 2 * i].item() - math.sin(angle)) < 1e-14
            assert abs(table[t, 2 * i + 1].item() - math.cos(angle)) < 1e-14


def test_sinusoids_are_not_in_the_state_dict():
    assert not nn.SinusoidalPositionalEncoding(6).state_dict()
    assert nn.SinusoidalPositionalEncoding(5)(tl.zeros((3, 5))).shape == (3, 5)


@pytest.mark.parametrize(
    "kind", ["SinusoidalPositionalEncoding", "LearnedPositionalEmbedding"]
)
def test_positions_are_added_along_the_sequence(kind):
    sizes = (6, 10) if kind.startswith("Sin") else (10, 6)
    layer = getattr(nn, kind)(*sizes)
    table = layer.table if kind.startswith("Sin") else layer.weight
    assert layer(tl.zeros((4, 2, 6)), offset=3)[:, 1].tolist() == table[3:7].tolist()
    first = getattr(nn, kind)(*sizes, batch_first=True)
    first.load_state_dict(layer.state_dict())
    assert first(tl.zeros((2, 4, 6)))[1].tolist() == table[:4].tolist()
    with pytest.raises(ValueError, match="positions in"):
        layer(tl.zeros((4, 2, 6)), offset=7)
    with pytest.raises(tl.ShapeError, match="6 features"):
        layer(tl.zeros((4, 2, 5)))


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotated_products_depend_on_the_distance_alone(interleaved):
    rotary = nn.RotaryEmbedding(6, interleaved=interleaved, dtype=tl.float64)
    q, k = draw(1, 6), draw(1, 6, seed=1)
    for shift in (0, 1, 100):
        a = rotary.rotate(q, 5 + shift) @ rotary.rotate(k, 2 + shift).T
        b = rotary.rotate(q, 5) @ rotary.rotate(k, 2).T
        assert abs((a - b).item()) < 1e-12
    turned = rotary.rotate(q, 3)
    assert abs(((turned * turned).sum() - (q * q).sum()).item()) < 1e-12


def test_interleaved_rotation_follows_the_paper():
    rotary = nn.RotaryEmbedding(4, interleaved=True, dtype=tl.float64)
    x = draw(3, 4)
    y = rotary.rotate(x)
    for t in range(3):
        for i in range(2):
            w = t / 10000 ** (2 * i / 4)
            a, b = x[t, 2 * i].item(), x[t, 2 * i + 1].item()
            assert abs(y[t, 2 * i].item() - (a * math.cos(w) - b * math.sin(w))) < 1e-14


def test_rotary_bad_arguments_raise():
    with pytest.raises(ValueError, match="even head_dim"):
        nn.RotaryEmbedding(5)
    with pytest.raises(ValueError, match="positions in"):
        nn.RotaryEmbedding(4, max_len=2)(tl.ones((3, 4)), tl.ones((3, 4)))
    with pytest.raises(tl.ShapeError, match="RotaryEmbedding"):
        nn.RotaryEmbedding(4).rotate(tl.ones((3, 6)))


def test_sizes_beyond_memory_raise():
    huge = tl.ones((1, 1)).broadcast_to((1 << 29, 1 << 27))
    with pytest.raises(MemoryError):
        sdpa(huge, huge, huge)
    empty = tl.ones((1 << 40, 1 << 40, 0))
    with pytest.raises(tl.ShapeError, match="too many weights"):
        sdpa(empty, empty, tl.ones((1, 1 << 40, 0)), dropout_p=0.5)
