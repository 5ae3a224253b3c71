"""Transformer layers and models against PyTorch, and generation with caches."""

import numpy as np
import pytest
from test_recurrent import assert_same, draw, to_torch, torch_module

import tensorlib as tl
from tensorlib import nn

# PyTorch's own remarks on its fast path.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def build(kind, *args, **kwargs):
    """The same module of both libraries, with our initial values and no dropout."""
    torch = torch_module()
    how = {"dropout": 0.0, **kwargs}
    ours = getattr(nn, kind)(*args, dtype=tl.float64, generator=tl.Generator(2), **how)
    for k, p in enumerate(ours.parameters()):
        if p.ndim == 1:
            nn.init.uniform_(p, 0.5, 1.5, generator=tl.Generator(k))
    if callable(how.get("activation")):
        how["activation"] = torch.nn.functional.gelu
    theirs = getattr(torch.nn, kind)(*args, dtype=torch.float64, **how)
    share(ours, theirs)
    return ours, theirs


def share(ours, theirs):
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({n: to_torch(p) for n, p in ours.state_dict().items()})


def compare(ours, theirs, inputs, **how):
    """Output and all gradients in training mode, output in evaluation mode."""
    thow = {n: to_torch(x) if isinstance(x, tl.Tensor) else x for n, x in how.items()}
    inputs = [x.detach().requires_grad_(True) for x in inputs]
    tinputs = [to_torch(x).requires_grad_(True) for x in inputs]
    y, ty = ours(*inputs, **how), theirs(*tinputs, **thow)
    assert_same(y, ty)
    weights = draw(*y.shape, seed=50)
    (y * weights).sum().backward()
    (ty * to_torch(weights)).sum().backward()
    for x, tx in zip(inputs, tinputs, strict=True):
        assert_same(x.grad, tx.grad)
    for (name, p), (tname, tp) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == tname
        np.testing.assert_allclose(p.grad.numpy(), tp.grad.numpy(), 1e-10, 1e-12, name)
    with tl.no_grad(), torch_module().no_grad():
        assert_same(ours.eval()(*inputs, **how), theirs.eval()(*tinputs, **thow))


SETTINGS = [
    {}, {"norm_first": True}, {"activation": "gelu"}, {"bias": False},
    {"batch_first": True, "layer_norm_eps": 0.1}, {"activation": tl.gelu},
]  # fmt: skip
SIZES = (8, 2)
FEED = {"dim_feedforward": 12}


def sequences(batch_first, *lengths):
    shapes = [(2, n, 8) if batch_first else (n, 2, 8) for n in lengths]
    return [draw(*s, seed=k) for k, s in enumerate(shapes)]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_encoder_layer_matches_pytorch(settings):
    ours, theirs = build("TransformerEncoderLayer", *SIZES, **FEED, **settings)
    compare(ours, theirs, sequences(settings.get("batch_first"), 5))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_decoder_layer_matches_pytorch(settings):
    ours, theirs = build("TransformerDecoderLayer", *SIZES, **FEED, **settings)
    compare(ours, theirs, sequences(settings.get("batch_first"), 4, 5))


def causal_mask(n):
    return nn.Transformer.generate_square_subsequent_mask(n, dtype=tl.float64)


@pytest.mark.parametrize("lengths", [(4,), (1,)])
def test_masked_encoder_layer_matches_pytorch(lengths):
    ours, theirs = build("TransformerEncoderLayer", *SIZES, **FEED)
    (n,) = lengths
    padding = tl.zeros((2, n))
    padding = tl.where(tl.arange(2 * n).reshape((2, n)) == 2 * n - 1, -3.0, padding)
    compare(
        ours, theirs, sequences(False, n), src_mask=causal_mask(n),
        src_key_padding_mask=padding.astype("float64"),
    )  # fmt: skip


def test_masked_decoder_layer_matches_pytorch():
    ours, theirs = build("TransformerDecoderLayer", *SIZES, **FEED)
    padding = tl.tensor([[False, False, False, True, True], [False] * 5])
    compare(
        ours, theirs, sequences(False, 4, 5), tgt_mask=causal_mask(4),
        memory_key_padding_mask=padding, tgt_is_causal=True,
    )  # fmt: skip


@pytest.mark.parametrize("norm", [False, True])
def test_stacks_match_pytorch(norm):
    torch = torch_module()
    for layer, stack, lengths in [
        ("TransformerEncoderLayer", "TransformerEncoder", (5,)),
        ("TransformerDecoderLayer", "TransformerDecoder", (4, 5)),
    ]:
        own, their = build(layer, *SIZES, **FEED)
        ours = getattr(nn, stack)(
            own, 2, nn.LayerNorm(8, dtype=tl.float64) if norm else None
        )
        tnorm = torch.nn.LayerNorm(8, dtype=torch.float64) if norm else None
        theirs = getattr(torch.nn, stack)(their, 2, tnorm)
        share(ours, theirs)
        compare(ours, theirs, sequences(False, *lengths))


@pytest.mark.parametrize("settings", [{}, {"norm_first": True, "batch_first": True}])
def test_transformer_matches_pytorch(settings):
    ours, theirs = build("Transformer", *SIZES, 2, 2, **FEED, **settings)
    compare(
        ours, theirs, sequences(settings.get("batch_first"), 5, 4),
        tgt_mask=causal_mask(4),
    )  # fmt: skip


def test_unbatched_transformer_matches_pytorch():
    ours, theirs = build("Transformer", *SIZES, 1, 1, **FEED)
    compare(ours, theirs, [draw(5, 8), draw(4, 8, seed=1)])


def test_float32_transformer_matches_pytorch():
    torch = torch_module()
    ours = nn.Transformer(8, 2, 1, 1, 12, 0.0)
    theirs = torch.nn.Transformer(8, 2, 1, 1, 12, 0.0)
    share(ours, theirs)
    src, tgt = draw(5, 2, 8, dtype="float32"), draw(4, 2, 8, dtype="float32", seed=1)
    assert_same(ours(src, tgt), theirs(to_torch(src), to_torch(tgt)))


def test_causal_mask_matches_pytorch():
    theirs = torch_module().nn.Transformer.generate_square_subsequent_mask(4)
    assert_same(nn.Transformer.generate_square_subsequent_mask(4), theirs)


def test_initial_values_follow_xavier():
    model = nn.Transformer(8, 2, 1, 1, 12)
    for p in model.parameters():
        if p.ndim > 1:
            assert abs(p).max().item() <= (6 / sum(p.shape)) ** 0.5


def test_layers_of_a_stack_are_copies():
    layer = nn.TransformerEncoderLayer(*SIZES, 12)
    stack = nn.TransformerEncoder(layer, 2)
    first, second = (s.linear1.weight for s in stack.layers)
    assert first.tolist() == second.tolist() == layer.linear1.weight.tolist()
    nn.init.zeros_(first)
    assert second.tolist() == layer.linear1.weight.tolist()


def test_dropout_acts_in_training_only():
    layer = nn.TransformerEncoderLayer(*SIZES, 12, 0.5, generator=tl.Generator(0))
    x = tl.ones((3, 2, 8))
    assert layer(x).tolist() != layer(x).tolist()
    layer.eval()
    assert layer(x).tolist() == layer(x).tolist()


# ---- generation ----------------------------------------------------------------
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_cached_generation_equals_recomputation(norm_first, rotary):
    turned = nn.RotaryEmbedding(4, dtype=tl.float64) if rotary else None
    layer = nn.TransformerEncoderLayer(
        *SIZES, 12, 0.0, norm_first=norm_first, dtype=tl.float64, rotary=turned
    )
    model = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8, dtype=tl.float64)).eval()
    (x,) = sequences(False, 6)
    with tl.no_grad():
        whole, cache = model(x, is_causal=True), model.make_cache()
        parts = [model(x[:3], is_causal=True, cache=cache)]
        parts += [model(x[t : t + 1], is_causal=True, cache=cache) for t in (3, 4, 5)]
    np.testing.assert_allclose(
        tl.concat(parts).numpy(), whole.numpy(), rtol=1e-12, atol=1e-12
    )


def test_cached_decoding_equals_recomputation():
    layer = nn.TransformerDecoderLayer(*SIZES, 12, 0.0, dtype=tl.float64)
    model = nn.TransformerDecoder(layer, 2).eval()
    tgt, memory = sequences(False, 4, 5)
    with tl.no_grad():
        whole, cache = model(tgt, memory, tgt_is_causal=True), model.make_cache()
        parts = [
            model(step, memory, tgt_is_causal=True, cache=cache)
            for step in tgt[:, None]
        ]
    np.testing.assert_allclose(
        tl.concat(parts).numpy(), whole.numpy(), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.TransformerEncoderLayer(8, 2, activation="sin"), "activation"),
        (lambda: nn.TransformerEncoderLayer(8, 3), "num_heads"),
        (lambda: nn.Transformer(8, 2, 1, 1, 12)(
            tl.ones((5, 2, 8)), tl.ones((4, 3, 8))), "one batch"),
        (lambda: nn.Transformer(8, 2, 1, 1, 12)(
            tl.ones((5, 2, 8)), tl.ones((4, 2, 7))), "8 features"),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 2)(
            tl.ones((5, 2, 8)), cache=[nn.KVCache()]), "2 caches"),
    ],
)  # fmt: skip
def test_bad_arguments_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()
