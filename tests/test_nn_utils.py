"""Initial values, parametrizations, averages, tying, containers, summary."""

import copy
import math
import pickle

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.nn import init
from tensorlib.nn.utils import parametrizations, parametrize
from tensorlib.optim import swa_utils


def to_torch(state):
    torch = pytest.importorskip("torch")
    return {name: torch.tensor(value.numpy()) for name, value in state.items()}


def sample(*shape, seed=0):
    return tl.randn(shape, generator=tl.Generator(seed), dtype=tl.float64)


# ---- init ----------------------------------------------------------------------
@pytest.mark.parametrize(
    "shape", [(4, 7), (7, 4), (5, 5), (3, 4, 2), (70, 100), (1, 3)]
)
def test_orthogonal_init_is_orthonormal(shape):
    w = init.orthogonal_(tl.empty(shape, dtype=tl.float64), 2.0, tl.Generator(1))
    matrix = w.numpy().reshape(shape[0], -1) / 2
    gram = matrix @ matrix.T if shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-13)


def test_orthogonal_init_is_uniform():
    # The trace of a uniform orthogonal matrix has mean 0 and variance 1.
    generator = tl.Generator(3)
    traces = [
        np.trace(init.orthogonal_(tl.empty((4, 4)), generator=generator).numpy())
        for _ in range(400)
    ]
    assert abs(np.mean(traces)) < 5 / math.sqrt(400)
    assert abs(np.var(traces) - 1) < 0.4


@pytest.mark.parametrize(
    "shape", [(4, 3, 5), (3, 4, 3, 3), (6, 2, 3, 3, 3), (6, 3, 2, 4)]
)
@pytest.mark.parametrize("groups", [1, 3])
def test_dirac_init_matches_pytorch(shape, groups):
    torch = pytest.importorskip("torch")
    if shape[0] % groups:
        with pytest.raises(ValueError, match="groups to divide"):
            init.dirac_(tl.empty(shape), groups)
        return
    expected = torch.nn.init.dirac_(torch.empty(shape), groups)
    assert init.dirac_(tl.empty(shape), groups).tolist() == expected.tolist()


def test_sparse_init_has_zeros_in_each_column():
    w = init.sparse_(tl.empty((50, 40)), 0.31, 2.0, tl.Generator(1)).numpy()
    assert ((w == 0).sum(axis=0) == 16).all()
    # 1360 normal numbers: five standard errors of their standard deviation.
    assert w[w != 0].std() == pytest.approx(2.0, rel=5 / math.sqrt(2 * 1360))


@pytest.mark.parametrize("name", ["xavier_uniform_", "xavier_normal_",
                                  "kaiming_uniform_", "kaiming_normal_"])  # fmt: skip
def test_init_of_convolutions_uses_the_receptive_field(name):
    shape = (64, 32, 3, 3)
    w = getattr(init, name)(tl.empty(shape), generator=tl.Generator(0))
    fan_in, fan_out = 32 * 9, 64 * 9
    variance = 2 / (fan_in + fan_out) if "xavier" in name else 2 / fan_in
    assert tl.var(w).item() == pytest.approx(variance, rel=0.05)


def test_calculate_gain_of_convolutions_is_one():
    assert init.calculate_gain("conv_transpose2d") == 1.0


def test_init_with_bad_arguments_raises():
    with pytest.raises(tl.ShapeError, match="orthogonal_"):
        init.orthogonal_(tl.empty((3,)))
    with pytest.raises(tl.ShapeError, match="dirac_"):
        init.dirac_(tl.empty((3, 3)))
    with pytest.raises(tl.ShapeError, match="sparse_"):
        init.sparse_(tl.empty((3,)), 0.5)
    with pytest.raises(ValueError, match="sparsity"):
        init.sparse_(tl.empty((3, 3)), 1.5)


# ---- clipping ------------------------------------------------------------------
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
def test_total_norm_matches_pytorch(norm_type):
    torch = pytest.importorskip("torch")
    values = [[3.0, -4.0], [1.0, 2.0, 2.0]]
    found = nn.utils.get_total_norm([tl.tensor(v) for v in values], norm_type)
    expected = torch.nn.utils.get_total_norm(
        [torch.tensor(v) for v in values], norm_type
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(RuntimeError, match="norm is nan"):
        nn.utils.get_total_norm(tl.tensor([math.nan]), error_if_nonfinite=True)


def test_clip_grad_norm_of_a_generator_clips():
    layer = nn.Linear(3, 2)
    for p in layer.parameters():
        p.grad = tl.ones_like(p)
    nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
    found = nn.utils.get_total_norm([p.grad for p in layer.parameters()])
    assert found.item() == pytest.approx(0.5, rel=1e-4)


# ---- parametrizations ----------------------------------------------------------
WEIGHT_NORMS = {
    "linear": (lambda n: n.Linear(5, 3), {}, {}),
    "conv": (lambda n: n.Conv1d(4, 3, 2), {}, {}),
    "all": (lambda n: n.Linear(5, 3), {"axis": None}, {"dim": None}),
    "columns": (lambda n: n.Linear(5, 3), {"axis": 1}, {"dim": 1}),
}


@pytest.mark.parametrize("name", WEIGHT_NORMS)
def test_weight_norm_matches_pytorch(name):
    torch = pytest.importorskip("torch")
    build, own, other = WEIGHT_NORMS[name]
    a = parametrizations.weight_norm(build(nn).double(), **own)
    b = torch.nn.utils.parametrizations.weight_norm(build(torch.nn).double(), **other)
    assert list(a.state_dict()) == list(b.state_dict())
    b.load_state_dict(to_torch(a.state_dict()))
    x = sample(4, 5)
    y, ty = a(x), b(torch.tensor(x.numpy()))
    np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), rtol=1e-12)
    y.sum().backward()
    ty.sum().backward()
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-12)


SPECTRAL = {
    "linear": lambda n: n.Linear(5, 3),
    "conv": lambda n: n.Conv1d(4, 3, 2),
    "transposed": lambda n: n.ConvTranspose1d(4, 3, 2),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SPECTRAL)
def test_spectral_norm_matches_pytorch(name, training):
    torch = pytest.importorskip("torch")
    build = SPECTRAL[name]
    a = parametrizations.spectral_norm(build(nn).double(), n_power_iterations=2)
    b = torch.nn.utils.parametrizations.spectral_norm(
        build(torch.nn).double(), n_power_iterations=2
    )
    assert list(a.state_dict()) == list(b.state_dict())
    b.load_state_dict(to_torch(a.state_dict()))
    a.train(training)
    b.train(training)
    x = sample(4, 5)
    for _ in range(2):
        y, ty = a(x), b(torch.tensor(x.numpy()))
        np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), rtol=1e-10)
    (y * y).sum().backward()
    (ty * ty).sum().backward()
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_allclose(
            p.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-12
        )
    for name, value in b.state_dict().items():
        np.testing.assert_allclose(a.state_dict()[name].numpy(), value, rtol=1e-9)


def test_spectral_norm_has_norm_one():
    layer = parametrizations.spectral_norm(nn.Linear(20, 30).double())
    for _ in range(50):
        layer(tl.ones((1, 20), dtype=tl.float64))
    norm = np.linalg.norm(layer.weight.detach().numpy(), 2)
    assert norm == pytest.approx(1.0, rel=0.02)


def test_parametrized_weight_trains_assigns_copies_and_is_removed():
    layer = parametrizations.weight_norm(nn.Linear(4, 2))
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    value = tl.ones((2, 4)) * 3
    layer.weight = value
    assert layer.weight.tolist() == pytest.approx(value.numpy())
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    layer(tl.ones((1, 4))).sum().backward()
    optimizer.step()
    twin = copy.deepcopy(layer)
    assert twin.weight.tolist() == layer.weight.tolist()
    twin.load_state_dict(layer.state_dict())
    thawed = pickle.loads(pickle.dumps(layer))
    assert thawed.weight.tolist() == layer.weight.tolist()
    assert parametrize.is_parametrized(thawed, "weight")
    before = layer.weight.tolist()
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert isinstance(layer.weight, nn.Parameter)
    assert layer.weight.tolist() == before
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    with pytest.raises(ValueError, match="not parametrized"):
        parametrize.remove_parametrizations(layer, "weight")


def test_parametrizations_apply_in_order():
    class Doubled(nn.Module):
        def forward(self, x):
            return x * 2

        def right_inverse(self, x):
            return x / 2

    class Positive(nn.Module):
        def forward(self, x):
            return tl.abs(x)

    layer = nn.Linear(2, 2)
    for part in (Doubled(), Positive()):
        parametrize.register_parametrization(layer, "weight", part)
    original = layer.parametrizations["weight"].original
    assert layer.weight.tolist() == tl.abs(original * 2).tolist()
    parametrize.register_parametrization(layer, "bias", Doubled())
    parametrize.remove_parametrizations(layer, "weight")
    assert parametrize.is_parametrized(layer, "bias")
    assert layer(tl.ones((1, 2))).shape == (1, 2)
    with pytest.raises(ValueError, match="no parameter 'scale'"):
        parametrize.register_parametrization(layer, "scale", Doubled())


# ---- averages ------------------------------------------------------------------
AVERAGES = {
    "mean": lambda u: {},
    "ema": lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn(0.9)},
    "ema one": lambda u: {"avg_fn": u.get_ema_avg_fn(0.8)},
    "swa": lambda u: {"multi_avg_fn": u.get_swa_multi_avg_fn()},
    "buffers": lambda u: {
        "multi_avg_fn": u.get_ema_multi_avg_fn(),
        "use_buffers": True,
    },
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averaged_model_matches_pytorch(name):
    torch = pytest.importorskip("torch")
    build = lambda n: n.Sequential(n.Linear(3, 4), n.BatchNorm1d(4)).double()  # noqa: E731
    a, b = build(nn), build(torch.nn)
    b.load_state_dict(to_torch(a.state_dict()))
    ours = swa_utils.AveragedModel(a, **AVERAGES[name](swa_utils))
    theirs = torch.optim.swa_utils.AveragedModel(
        b, **AVERAGES[name](torch.optim.swa_utils)
    )
    for step in range(5):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            value = sample(*p.shape, seed=step)
            p.data.copy_(value)
            q.data.copy_(torch.tensor(value.numpy()))
        x = sample(6, 3, seed=step)
        a(x)
        b(torch.tensor(x.numpy()))
        ours.update_parameters(a)
        theirs.update_parameters(b)
    found, expected = ours.state_dict(), theirs.state_dict()
    assert set(found) == set(expected)
    for key, value in expected.items():
        if name == "buffers" and key.endswith("tracked"):
            continue  # PyTorch averages the count and cuts off; ours copies it
        # PyTorch's mean divides in float32.
        np.testing.assert_allclose(
            found[key].numpy(), value.numpy(), rtol=1e-6 if name == "swa" else 1e-12
        )


def test_averaged_model_evaluates_its_averages():
    model = nn.Linear(1, 1)
    ema = swa_utils.AveragedModel(
        model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5)
    )
    ema.update_parameters(model)
    init.ones_(model.weight)
    assert ema(tl.ones((1, 1))).item() != model(tl.ones((1, 1))).item()
    with pytest.raises(ValueError, match="not both"):
        swa_utils.AveragedModel(model, None, max, max)
    with pytest.raises(ValueError, match="decay"):
        swa_utils.get_ema_multi_avg_fn(1.5)


def test_update_bn_takes_the_statistics_of_the_data():
    model = nn.Sequential(nn.BatchNorm1d(2)).eval()
    batches = [tl.randn((50, 2), generator=tl.Generator(n)) * 3 + 1 for n in range(4)]
    swa_utils.update_bn(batches, model)
    every = tl.concat(batches, axis=0).numpy()
    np.testing.assert_allclose(
        model[0].running_mean.numpy(), every.mean(axis=0), rtol=1e-5
    )
    assert model[0].momentum == 0.1
    assert not model[0].training


# ---- weight tying --------------------------------------------------------------
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 3)
        self.out = nn.Linear(3, 7, bias=False)
        self.out.weight = self.table.weight

    def forward(self, x):
        return self.out(self.table(x))


def test_tied_weight_is_one_parameter_with_two_names():
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["table.weight"]
    assert list(model.state_dict()) == ["table.weight", "out.weight"]
    other = Tied()
    other.load_state_dict(model.state_dict())
    assert other.out.weight is other.table.weight
    assert other.table.weight.tolist() == model.table.weight.tolist()
    twin = copy.deepcopy(model)
    assert twin.out.weight is twin.table.weight


def test_tied_weight_gets_both_gradients_and_one_step():
    model, x = Tied(), tl.tensor([1, 2, 2])
    model(x).sum().backward()
    found = model.table.weight.grad.numpy()
    free = Tied()
    free.load_state_dict(model.state_dict())
    free.out.weight = nn.Parameter(free.table.weight.detach().copy())
    free(x).sum().backward()
    expected = free.table.weight.grad.numpy() + free.out.weight.grad.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    before = model.table.weight.detach().copy()
    optim.SGD(model.parameters(), lr=0.5).step()
    np.testing.assert_allclose(
        model.out.weight.detach().numpy(), before.numpy() - 0.5 * found, rtol=1e-6
    )


# ---- containers ----------------------------------------------------------------
def test_sequential_slices_share_modules():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    part = net[:2]
    assert isinstance(part, nn.Sequential)
    assert part[0] is net[0]
    assert [type(m).__name__ for m in net[::-2]] == ["Linear", "Linear"]
    del net[1]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    named = nn.Sequential({"a": nn.ReLU(), "b": nn.Tanh()})
    assert [name for name, _ in named[1:].named_children()] == ["b"]


def test_parameter_list_is_a_list():
    a, b, c = (nn.Parameter(tl.ones(n)) for n in (1, 2, 3))
    entries = nn.ParameterList([a])
    entries += [c]
    entries.insert(1, b)
    assert [p.shape for p in entries] == [(1,), (2,), (3,)]
    assert b in entries
    assert entries[-1] is c
    assert [p.shape for p in entries[1:]] == [(2,), (3,)]
    assert entries.pop(0) is a
    entries.extend([tl.zeros(4)])
    del entries[0]
    assert list(entries.state_dict()) == ["0", "1"]
    assert len(list(entries.parameters())) == 2


# ---- embedding -----------------------------------------------------------------
OPTIONS = {
    "plain": {},
    "padding": {"padding_idx": 2},
    "frequency": {"scale_grad_by_freq": True, "padding_idx": -1},
    "norm": {"max_norm": 1.0},
    "norm 1": {"max_norm": 0.7, "norm_type": 1.0, "padding_idx": 0},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_embedding_options_match_pytorch(name):
    torch = pytest.importorskip("torch")
    a = nn.Embedding(5, 4, **OPTIONS[name], dtype=tl.float64)
    b = torch.nn.Embedding(5, 4, **OPTIONS[name], dtype=torch.float64)
    b.load_state_dict(to_torch(a.state_dict()))
    index = [[0, 2, 2], [4, 4, 4]]
    y, ty = a(tl.tensor(index)), b(torch.tensor(index))
    np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), rtol=1e-9)
    weights = sample(2, 3, 4)
    (y * weights).sum().backward()
    (ty * torch.tensor(weights.numpy())).sum().backward()
    np.testing.assert_allclose(a.weight.grad.numpy(), b.weight.grad.numpy(), rtol=1e-9)
    np.testing.assert_allclose(
        a.weight.detach().numpy(), b.weight.detach().numpy(), rtol=1e-9
    )
    assert repr(a) == repr(b)


def test_embedding_with_bad_options_raises():
    with pytest.raises(ValueError, match="sparse"):
        nn.Embedding(3, 2, sparse=True)
    with pytest.raises(ValueError, match="max_norm"):
        nn.Embedding(3, 2, max_norm=0.0)


# ---- summary -------------------------------------------------------------------
def test_summary_counts_by_hand(capsys):
    model = nn.Sequential(
        nn.Embedding(11, 6), nn.LSTM(6, 5, 2, bidirectional=True), nn.Identity()
    )
    index = tl.zeros((7, 3), dtype=tl.int64)
    found = nn.summary(model, index)
    gates = 4 * 5  # rows of the weights of a cell
    # Two directions, the second layer reading both outputs of the first.
    weights = 2 * gates * (6 + 5) + 2 * gates * (10 + 5)
    assert [row.kind for row in found.layers] == [
        "Sequential", "Embedding", "LSTM", "Identity"
    ]  # fmt: skip
    assert found.layers[1].parameters == 66
    assert found.layers[2].parameters == weights + 4 * 2 * gates
    assert found.layers[2].multiply_adds == found.multiply_adds == 7 * 3 * weights
    assert found.layers[2].output_shapes == [(7, 3, 10), (4, 3, 5), (4, 3, 5)]
    assert found.total_parameters == 66 + weights + 4 * 2 * gates
    assert found.input_bytes == 7 * 3 * 8
    assert found.parameter_bytes == 4 * found.total_parameters
    assert capsys.readouterr().out.strip() == str(found)


def test_summary_counts_convolutions_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(4 * 8 * 8, 10),
    )  # fmt: skip
    found = nn.summary(model, tl.ones((2, 3, 5, 5)), verbose=False)
    assert [row.multiply_adds for row in found.layers[1:]] == [
        2 * 25 * 8 * (3 * 9),  # each output place and channel meets 27 weights
        2 * 25 * 8 * (4 * 4),  # each input place and channel meets 16
        2 * 64 * 4 * 9,
        0,
        2 * 256 * 10,
    ]
    assert found.layers[2].output_shapes == [(2, 4, 10, 10)]


@pytest.mark.parametrize("batch_first", [False, True])
def test_summary_counts_attention_by_hand(batch_first):
    attention = nn.MultiheadAttention(6, 2, kdim=4, vdim=3, batch_first=batch_first)
    n, length, keys = 2, 5, 7
    shapes = [(length, n, 6), (keys, n, 4), (keys, n, 3)]
    if batch_first:
        shapes = [(b, a, c) for a, b, c in shapes]
    found = nn.summary(attention, *map(tl.ones, shapes), verbose=False)
    projections = n * length * 6 * 6 + n * keys * 4 * 6 + n * keys * 3 * 6
    products = 2 * n * length * keys * 6  # all heads: q k, and weights with v
    assert found.layers[0].multiply_adds == projections + products
    assert found.layers[1].multiply_adds == n * length * 6 * 6


def test_summary_of_shared_and_frozen_layers():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Dropout())
    shared.bias.requires_grad = False
    model[1].eval()
    found = nn.summary(model, tl.ones((2, 4)), verbose=False)
    assert found.total_parameters == 20
    assert found.trainable_parameters == 16
    assert found.multiply_adds == 2 * (2 * 4 * 4)
    assert [row.path for row in found.layers] == ["", "0", "1", "3"]
    assert model.training
    assert not model[1].training
    assert not model._hooked
    assert "(4 frozen)" in str(found)


def test_summary_of_a_failing_model_restores_it():
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(tl.ShapeError):
        nn.summary(model, tl.ones((2, 3)))
    assert model.training
    assert not model[0]._hooked
