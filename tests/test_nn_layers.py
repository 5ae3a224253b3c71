"""Layers and losses against PyTorch, and against formulas where it is missing."""

import math

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.nn import functional

# float32 against float32, sums of at most a few dozen terms.
RTOL, ATOL = 2e-5, 2e-6


def torch_module():
    return pytest.importorskip("torch")


def to_torch(x):
    torch = torch_module()
    return torch.from_numpy(x.detach().numpy().copy())


def assert_same(ours, theirs, rtol=RTOL, atol=ATOL):
    torch = torch_module()
    torch.testing.assert_close(
        to_torch(ours), theirs.detach(), rtol=rtol, atol=atol, check_dtype=False
    )


def sample(*shape, seed=0):
    return tl.randn(shape, generator=tl.Generator(seed))


def compare(ours, theirs, x, *, target=None):
    """Load our weights into `theirs`; compare output, input and weight gradients."""
    torch = torch_module()
    state = {name: to_torch(value) for name, value in ours.state_dict().items()}
    theirs.load_state_dict(state)
    tx = to_torch(x)
    if x.dtype == tl.float32:
        x = x.detach().requires_grad_(True)
        tx.requires_grad_(True)
    args = () if target is None else (target,)
    targs = () if target is None else (to_torch(target),)
    y, ty = ours(x, *args), theirs(tx, *targs)
    assert_same(y, ty)
    weights = tl.cos(tl.arange(y.size).astype(tl.float32)).reshape(y.shape)
    (y * weights).sum().backward()
    (ty * to_torch(weights)).sum().backward()
    if tx.requires_grad:
        assert_same(x.grad, tx.grad)
    for (name, p), (tname, tp) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == tname
        assert_same(p.grad, tp.grad)
    for (name, b), (tname, tb) in zip(
        ours.named_buffers(), theirs.named_buffers(), strict=True
    ):
        assert name == tname
        assert_same(b, tb)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert isinstance(y, tl.Tensor)
    assert torch.is_tensor(ty)


LAYERS = {
    "Linear": (lambda n: n.Linear(5, 3), (4, 5)),
    "Linear no bias": (lambda n: n.Linear(5, 3, bias=False), (2, 4, 5)),
    "ReLU": (lambda n: n.ReLU(), (4, 5)),
    "GELU": (lambda n: n.GELU(), (4, 5)),
    "GELU tanh": (lambda n: n.GELU("tanh"), (4, 5)),
    "SiLU": (lambda n: n.SiLU(), (4, 5)),
    "Tanh": (lambda n: n.Tanh(), (4, 5)),
    "Sigmoid": (lambda n: n.Sigmoid(), (4, 5)),
    "Softplus": (lambda n: n.Softplus(), (4, 5)),
    "Softplus beta": (lambda n: n.Softplus(2.0), (4, 5)),
    "Softmax": (lambda n: n.Softmax(-1), (4, 5)),
    "LogSoftmax": (lambda n: n.LogSoftmax(1), (4, 5)),
    "Flatten": (lambda n: n.Flatten(), (2, 3, 4)),
    "Flatten 0..1": (lambda n: n.Flatten(0, 1), (2, 3, 4)),
    "Unflatten": (lambda n: n.Unflatten(1, (2, -1)), (3, 6)),
    "LayerNorm": (lambda n: n.LayerNorm(5), (4, 5)),
    "LayerNorm 2": (lambda n: n.LayerNorm((3, 5)), (4, 3, 5)),
    "LayerNorm plain": (lambda n: n.LayerNorm(5, elementwise_affine=False), (4, 5)),
    "LayerNorm no bias": (lambda n: n.LayerNorm(5, bias=False), (4, 5)),
    "BatchNorm1d": (lambda n: n.BatchNorm1d(5), (4, 5)),
    "BatchNorm1d L": (lambda n: n.BatchNorm1d(5), (4, 5, 3)),
    "BatchNorm1d average": (lambda n: n.BatchNorm1d(5, momentum=None), (4, 5)),
    "BatchNorm1d untracked": (
        lambda n: n.BatchNorm1d(5, track_running_stats=False),
        (4, 5),
    ),
    "BatchNorm1d plain": (lambda n: n.BatchNorm1d(5, affine=False), (4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_matches_pytorch(name):
    build, shape = LAYERS[name]
    compare(build(nn), build(torch_module().nn), sample(*shape))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_over_steps_matches_pytorch_in_both_modes(momentum):
    torch = torch_module()
    ours, theirs = nn.BatchNorm1d(3, momentum=momentum), torch.nn.BatchNorm1d(
        3, momentum=momentum
    )  # fmt: skip
    for step in range(3):
        x = sample(6, 3, seed=step) * (step + 1.0) + step
        assert_same(ours(x), theirs(to_torch(x)))
    assert ours.num_batches_tracked.item() == 3
    assert_same(ours.running_var, theirs.running_var)
    x = sample(2, 3, seed=9)
    assert_same(ours.eval()(x), theirs.eval()(to_torch(x)))


def test_batch_norm_single_value_in_training_raises():
    with pytest.raises(ValueError, match="more than one value a channel"):
        nn.BatchNorm1d(3)(tl.ones((1, 3)))


def test_batch_norm_wrong_channels_raises():
    with pytest.raises(tl.ShapeError, match=r"expected \(N, 3\)"):
        nn.BatchNorm1d(3)(tl.ones((2, 4)))


def test_batch_norm_reset_running_stats():
    layer = nn.BatchNorm1d(2)
    layer(sample(4, 2))
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0.0, 0.0]
    assert layer.running_var.tolist() == [1.0, 1.0]
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_output_has_zero_mean_and_unit_variance():
    y = nn.BatchNorm1d(3, eps=0.0)(sample(50, 3) * 4.0 + 2.0)
    assert tl.abs(tl.mean(y, axis=0)).max().item() < 1e-6
    assert tl.abs(tl.var(y, axis=0) - 1.0).max().item() < 1e-5


def test_embedding_matches_pytorch_and_padding_gets_no_gradient():
    torch = torch_module()
    ours = nn.Embedding(6, 3, padding_idx=2)
    assert ours.weight[2].tolist() == [0.0, 0.0, 0.0]
    x = tl.tensor([[0, 2, 2], [5, 0, 1]])
    compare(ours, torch.nn.Embedding(6, 3, padding_idx=2), x)
    assert ours.weight.grad[2].tolist() == [0.0, 0.0, 0.0]
    assert ours.weight.grad[0].tolist() != [0.0, 0.0, 0.0]


def test_embedding_from_pretrained_is_frozen():
    table = nn.Embedding.from_pretrained(tl.ones((2, 3)))
    assert not table.weight.requires_grad
    assert table(tl.tensor([1])).tolist() == [[1.0, 1.0, 1.0]]


def test_dropout_in_training_zeros_share_and_keeps_mean():
    layer = nn.Dropout(0.25, generator=tl.Generator(3))
    y = layer(tl.ones((100, 100)))
    values = set(y.reshape((-1,)).tolist())
    assert len(values) == 2
    assert 0.0 in values
    assert max(values) == pytest.approx(1 / 0.75)
    # 10^4 draws: five standard deviations of the mean of a Bernoulli(3/4) / (3/4).
    assert y.mean().item() == pytest.approx(1.0, abs=5 * math.sqrt(1 / 3 / 1e4))


def test_dropout_same_generator_seed_gives_same_mask():
    x = tl.ones((10, 10))
    masks = [nn.Dropout(generator=tl.Generator(5))(x).tolist() for _ in range(2)]
    assert masks[0] == masks[1]


@pytest.mark.parametrize("p", [1e-300, 1e-10, 0.3, 1 - 1e-10])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dropout_keeps_what_bernoulli_draws(dtype, p):
    for shape in [(), (0,), (7,), (3, 517)]:
        x = sample(*shape).astype(dtype)
        one, other = tl.Generator(5), tl.Generator(5)
        found = tl.dropout(x, p, generator=one)
        kept = tl.bernoulli(1 - p, shape, dtype=dtype, generator=other)
        assert one.get_state() == other.get_state()
        wide = "float64" if dtype == "float64" else "float32"
        expected = x.astype(wide) * (kept.astype(wide) * (1 / (1 - p)))
        assert found.tolist() == expected.astype(dtype).tolist()


def test_dropout_of_strided_views_draws_in_their_order():
    x = sample(30, 40)
    for view in (x.T, x[::-2, 3::2], x[:1].broadcast_to((9, 40))):
        found = tl.dropout(view, 0.5, generator=tl.Generator(2))
        copied = tl.dropout(view.contiguous(), 0.5, generator=tl.Generator(2))
        assert found.tolist() == copied.tolist()


def test_dropout_derivatives_of_every_order_share_the_mask():
    x = sample(50).requires_grad_()
    f = lambda x: tl.dropout(x, 0.5, generator=tl.Generator(4))  # noqa: E731
    mask = f(tl.ones(50))
    (first,) = tl.autograd.grad((f(x) ** 3).sum(), (x,), create_graph=True)
    (second,) = tl.autograd.grad(first.sum(), (x,))
    assert second.tolist() == pytest.approx((6 * mask**3 * x).tolist(), rel=1e-6)
    assert tl.jvp(f, (x.detach(),), (tl.ones(50),))[1].tolist() == mask.tolist()


def test_dropout_saves_no_tensor():
    saved = []
    x = sample(50).requires_grad_()
    with tl.autograd.saved_tensors_hooks(saved.append, lambda kept: kept):
        tl.dropout(x, 0.5)
    assert saved == []


def test_dropout_bad_probability_raises():
    with pytest.raises(ValueError, match="0 <= p <= 1"):
        nn.Dropout(1.5)


def test_residual_adds_input():
    inner = nn.Linear(3, 3)
    x = sample(2, 3)
    assert (nn.Residual(inner)(x) - (x + inner(x))).abs().max().item() == 0.0
    with pytest.raises(TypeError, match=r"expected nn.Module"):
        nn.Residual(3)


def test_flatten_axes_out_of_range_raises():
    with pytest.raises(tl.ShapeError, match="Flatten"):
        nn.Flatten(2)(tl.ones((2, 3)))
    with pytest.raises(tl.ShapeError, match="Unflatten"):
        nn.Unflatten(1, (4, -1))(tl.ones((2, 6)))


def classes(*shape, high=5, seed=1):
    return tl.randint(0, high, shape, generator=tl.Generator(seed))


def loss_rows():
    weight = [0.2, 1.0, 3.0, 0.5, 1.5]

    def w(n):
        make = tl.tensor if n is nn else torch_module().tensor
        return make(weight)

    def w3(n):
        return w(n)[:3]

    soft = tl.softmax(sample(4, 5, seed=3), axis=1)
    x, x3 = sample(4, 5), sample(2, 5, 3)
    y, y3 = classes(4), classes(2, 3)
    skip = tl.tensor([1, -100, 4, 0])
    yes = tl.softmax(sample(4, 3, seed=5), axis=1)
    return {
        "CE": (lambda n: n.CrossEntropyLoss(), x, y),
        "CE sum": (lambda n: n.CrossEntropyLoss(reduction="sum"), x, y),
        "CE none": (lambda n: n.CrossEntropyLoss(reduction="none"), x, y),
        "CE ignore": (lambda n: n.CrossEntropyLoss(), x, skip),
        "CE smooth": (lambda n: n.CrossEntropyLoss(label_smoothing=0.1), x, y),
        "CE smooth ignore": (
            lambda n: n.CrossEntropyLoss(label_smoothing=0.1),
            x,
            skip,
        ),
        "CE weight": (lambda n: n.CrossEntropyLoss(w(n)), x, y),
        "CE weight ignore": (lambda n: n.CrossEntropyLoss(w(n)), x, skip),
        "CE weight smooth": (
            lambda n: n.CrossEntropyLoss(w(n), label_smoothing=0.1),
            x,
            skip,
        ),
        "CE soft": (lambda n: n.CrossEntropyLoss(), x, soft),
        "CE soft weight": (
            lambda n: n.CrossEntropyLoss(w(n), label_smoothing=0.2),
            x,
            soft,
        ),
        "CE axes": (lambda n: n.CrossEntropyLoss(), x3, y3),
        "CE axes none": (lambda n: n.CrossEntropyLoss(reduction="none"), x3, y3),
        "CE one": (lambda n: n.CrossEntropyLoss(), x[0], y[0]),
        "NLL": (lambda n: n.NLLLoss(), x, y),
        "NLL weight": (lambda n: n.NLLLoss(w(n)), x, skip),
        "NLL axes sum": (lambda n: n.NLLLoss(w(n), reduction="sum"), x3, y3),
        "NLL none": (lambda n: n.NLLLoss(reduction="none"), x, skip),
        "MSE": (lambda n: n.MSELoss(), x, soft),
        "MSE none": (lambda n: n.MSELoss(reduction="none"), x, soft),
        "L1": (lambda n: n.L1Loss(), x, soft),
        "L1 sum": (lambda n: n.L1Loss(reduction="sum"), x, soft),
        "BCE": (lambda n: n.BCEWithLogitsLoss(), x[:, :3], yes),
        "BCE weight": (lambda n: n.BCEWithLogitsLoss(w3(n)), x[:, :3], yes),
        "BCE pos": (lambda n: n.BCEWithLogitsLoss(pos_weight=w3(n)), x[:, :3], yes),
    }


LOSS_NAMES = [
    "CE", "CE sum", "CE none", "CE ignore", "CE smooth", "CE smooth ignore",
    "CE weight", "CE weight ignore", "CE weight smooth", "CE soft", "CE soft weight",
    "CE axes", "CE axes none", "CE one", "NLL", "NLL weight", "NLL axes sum",
    "NLL none", "MSE", "MSE none", "L1", "L1 sum", "BCE", "BCE weight", "BCE pos",
]  # fmt: skip


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_loss_matches_pytorch(name):
    torch = torch_module()
    build, x, target = loss_rows()[name]
    compare(build(nn), build(torch.nn), x, target=target)


def test_loss_names_cover_every_row():
    torch_module()
    assert list(loss_rows()) == LOSS_NAMES


def test_cross_entropy_by_hand():
    logits = tl.tensor([[1.0, 2.0, 3.0]])
    expected = math.log(sum(math.exp(v) for v in (1, 2, 3))) - 3
    loss = nn.CrossEntropyLoss()(logits, tl.tensor([2])).item()
    assert loss == pytest.approx(expected, rel=1e-6)
    assert nn.SoftmaxLoss is nn.CrossEntropyLoss


def test_bce_with_large_logits_is_finite():
    x = tl.tensor([-200.0, 0.0, 200.0], requires_grad=True)
    loss = nn.BCEWithLogitsLoss(reduction="none")(x, tl.tensor([1.0, 1.0, 1.0]))
    expected = [200.0, math.log(2), 0.0]
    assert loss.tolist() == pytest.approx(expected, rel=1e-6)
    loss.sum().backward()
    assert x.grad.tolist() == pytest.approx([-1.0, -0.5, 0.0], abs=1e-6)


def test_loss_shape_mismatch_raises():
    with pytest.raises(tl.ShapeError, match="one shape"):
        nn.MSELoss()(tl.ones((3, 1)), tl.ones(3))
    with pytest.raises(tl.ShapeError, match=r"target.shape"):
        functional.nll_loss(tl.ones((3, 2)), tl.tensor([0, 1]))


def test_loss_unknown_reduction_raises():
    with pytest.raises(ValueError, match="expected reduction"):
        nn.MSELoss(reduction="average")


def test_linear_initial_values_lie_in_pytorch_bounds():
    layer = nn.Linear(100, 300, generator=tl.Generator(0))
    assert tl.abs(layer.weight).max().item() <= 0.1
    assert tl.abs(layer.bias).max().item() <= 0.1
    # Uniform in ±0.1 has variance 0.01 / 3.
    assert tl.var(layer.weight).item() == pytest.approx(0.01 / 3, rel=0.05)


def test_linear_with_wrong_sizes_raises():
    with pytest.raises(ValueError, match="in_features"):
        nn.Linear(-1, 2)
    with pytest.raises(ValueError, match="out_features"):
        nn.Linear(1, 2.0)


@pytest.mark.parametrize("shape", [(3, 130), (2, 130, 5), (2, 4, 9001)])
def test_group_norm_of_many_channels_or_elements_agrees_with_torch(shape):
    torch = torch_module()
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in (shape, shape[1], shape[1])]
    cotangent = rng.standard_normal(shape)
    ours = [tl.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = tl.group_norm(ours[0], 2, *ours[1:])
    expected = torch.nn.functional.group_norm(theirs[0], 2, *theirs[1:])
    y.backward(tl.tensor(cotangent))
    expected.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), 1e-9)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), 1e-7, 1e-9)


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 4, 0), (2, 0, 3)])
def test_group_norm_of_no_elements_has_zero_gradients(shape):
    weight = tl.ones(shape[1], requires_grad=True)
    y = tl.group_norm(tl.ones(shape), 2, weight)
    assert y.shape == shape
    tl.sum(y).backward()
    np.testing.assert_array_equal(weight.grad.numpy(), np.zeros(shape[1]))
