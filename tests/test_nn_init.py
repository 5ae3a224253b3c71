"""nn.init and nn.utils."""

import math

import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.nn import init

SHAPE = (200, 100)


def moments(x):
    return x.mean().item(), math.sqrt(tl.var(x).item()), tl.abs(x).max().item()


# Standard deviation each should have on (200, 100): fan_in 100, fan_out 200.
EXPECTED_STD = {
    "uniform_": (lambda x, g: init.uniform_(x, -1, 1, g), 1 / math.sqrt(3)),
    "normal_": (lambda x, g: init.normal_(x, 0, 2, g), 2.0),
    "xavier_uniform_": (
        lambda x, g: init.xavier_uniform_(x, generator=g),
        math.sqrt(2 / 300),
    ),
    "xavier_normal_": (
        lambda x, g: init.xavier_normal_(x, 2.0, generator=g),
        2 * math.sqrt(2 / 300),
    ),
    "kaiming_uniform_": (
        lambda x, g: init.kaiming_uniform_(x, nonlinearity="relu", generator=g),
        math.sqrt(2 / 100),
    ),
    "kaiming_normal_": (
        lambda x, g: init.kaiming_normal_(x, mode="fan_out", generator=g),
        math.sqrt(2 / 200),
    ),
    # Variance of a standard normal cut at ±2: 1 - 2·2φ(2) / (2Φ(2) - 1) = 0.7737.
    "trunc_normal_": (
        lambda x, g: init.trunc_normal_(x, generator=g),
        math.sqrt(0.77374),
    ),
}


@pytest.mark.parametrize("name", EXPECTED_STD)
def test_random_init_has_expected_moments(name):
    fill, std = EXPECTED_STD[name]
    x = fill(tl.empty(SHAPE), tl.Generator(1))
    mean, found, _ = moments(x)
    # 20,000 draws: five standard errors of mean and of standard deviation.
    assert mean == pytest.approx(0, abs=5 * std / math.sqrt(2e4))
    assert found == pytest.approx(std, rel=5 / math.sqrt(4e4))


@pytest.mark.parametrize("name", EXPECTED_STD)
def test_random_init_same_seed_gives_same_values(name):
    fill, _ = EXPECTED_STD[name]
    a, b = (fill(tl.empty((5, 4)), tl.Generator(7)) for _ in range(2))
    assert a.tolist() == b.tolist()


def test_trunc_normal_stays_inside():
    x = init.trunc_normal_(tl.empty(SHAPE), 1.0, 2.0, 0.0, 1.5, tl.Generator(0))
    assert x.min().item() >= 0.0
    assert x.max().item() <= 1.5


def test_trunc_normal_far_tail_raises():
    with pytest.raises(ValueError, match="holds only a fraction"):
        init.trunc_normal_(tl.empty((3,)), a=5.0, b=6.0)
    with pytest.raises(ValueError, match="a < b"):
        init.trunc_normal_(tl.empty((3,)), a=1.0, b=1.0)


def test_constant_fills():
    x = tl.empty((2, 2))
    assert init.constant_(x, 3.0).tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert init.zeros_(x).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert init.ones_(x).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert init.eye_(tl.empty((2, 3))).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_init_of_parameter_keeps_it_a_leaf():
    parameter = nn.Parameter(tl.zeros((2, 2)))
    init.uniform_(parameter)
    assert parameter.is_leaf
    assert parameter.requires_grad


def test_init_needs_two_axes():
    with pytest.raises(tl.ShapeError, match="at least 2 axes"):
        init.xavier_uniform_(tl.empty((3,)))
    with pytest.raises(tl.ShapeError, match="2-D"):
        init.eye_(tl.empty((3,)))


@pytest.mark.parametrize("name", ["linear", "tanh", "relu", "leaky_relu", "selu"])
def test_calculate_gain_matches_pytorch(name):
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(name) == pytest.approx(
        torch.nn.init.calculate_gain(name)
    )


def test_calculate_gain_unknown_raises():
    with pytest.raises(ValueError, match="got 'relu6'"):
        init.calculate_gain("relu6")


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
def test_clip_grad_norm_matches_pytorch(norm_type):
    torch = pytest.importorskip("torch")
    values = [[3.0, -4.0], [1.0, 2.0, 2.0]]
    ours = [nn.Parameter(tl.zeros(len(v))) for v in values]
    theirs = [torch.nn.Parameter(torch.zeros(len(v))) for v in values]
    for p, q, v in zip(ours, theirs, values, strict=True):
        p.grad, q.grad = tl.tensor(v), torch.tensor(v)
    norm = nn.utils.clip_grad_norm_(ours, 1.5, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 1.5, norm_type)
    assert norm.item() == pytest.approx(expected.item(), rel=1e-6)
    for p, q in zip(ours, theirs, strict=True):
        assert p.grad.tolist() == pytest.approx(q.grad.tolist(), rel=1e-5)


def test_clip_grad_norm_below_bound_changes_nothing():
    p = nn.Parameter(tl.zeros(2))
    p.grad = tl.tensor([0.3, 0.4])
    before = p.grad.tolist()
    assert nn.utils.clip_grad_norm_(p, 1.0).item() == pytest.approx(0.5)
    assert p.grad.tolist() == before


def test_clip_grad_norm_nan_raises_when_asked():
    p = nn.Parameter(tl.zeros(1))
    p.grad = tl.tensor([math.nan])
    with pytest.raises(RuntimeError, match="norm is nan"):
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)


def test_clip_grad_norm_without_gradients_is_zero():
    assert nn.utils.clip_grad_norm_([nn.Parameter(tl.zeros(1))], 1.0).item() == 0.0


def test_clip_grad_value_clips():
    p = nn.Parameter(tl.zeros(3))
    p.grad = tl.tensor([-5.0, 0.5, 5.0])
    nn.utils.clip_grad_value_(p, 1.0)
    assert p.grad.tolist() == [-1.0, 0.5, 1.0]


def test_parameters_to_vector_and_back():
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(source.parameters())
    nn.utils.vector_to_parameters(vector, target.parameters())
    assert target.weight.tolist() == source.weight.tolist()
    assert target.bias.tolist() == source.bias.tolist()
    with pytest.raises(tl.ShapeError, match=r"expected shape \(8,\)"):
        nn.utils.vector_to_parameters(vector[:7], target.parameters())
