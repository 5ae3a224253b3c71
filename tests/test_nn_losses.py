"""Activations, dropout and losses as modules: against PyTorch, and at extreme values.

Outputs, input gradients and parameter gradients are compared with the state dict of
ours in theirs, in float32 and float64.
"""

import math

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.nn import functional as F

torch = pytest.importorskip("torch")

# Relative to the largest element: a few roundings of terms of its size.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
FLOATS = list(TOLERANCE)


def values(*shape, low=-3.0, high=3.0, seed=0, dtype="float64"):
    rng = np.random.default_rng([seed, *shape])
    return np.asarray(rng.uniform(low, high, shape)).astype(dtype)


def ours(x, dtype):
    return _tensor(x, dtype, tl.tensor)


def theirs(x, dtype):
    return _tensor(x, dtype, torch.tensor)


def _tensor(x, dtype, make):
    if not isinstance(x, np.ndarray):
        return x
    if x.dtype.kind != "f":
        return make(x)
    y = make(x.astype(dtype))
    y.requires_grad = True
    return y


def assert_close(found, expected, dtype, note=""):
    a, b = found.detach().numpy(), expected.detach().numpy()
    assert a.shape == b.shape, note
    finite = abs(b[np.isfinite(b)])
    scale = finite.max() if finite.size else 0.0
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(
        a, b, rtol=tolerance, atol=tolerance * scale, err_msg=note
    )


def compare(build, arrays, dtype):
    """Compare module and gradients for the given arguments."""
    a, b = build(nn), build(torch.nn)
    if isinstance(a, nn.Module):
        a.to(getattr(tl, dtype))
        b.to(getattr(torch, dtype))
        state = {k: torch.tensor(v.numpy()) for k, v in a.state_dict().items()}
        b.load_state_dict(state)
        assert list(a.state_dict()) == list(b.state_dict())
    xs = [ours(x, dtype) for x in arrays]
    ys = [theirs(x, dtype) for x in arrays]
    y, ty = a(*xs), b(*ys)
    assert y.dtype.name == dtype
    assert_close(y, ty, dtype, "output")
    weights = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
    (y * tl.tensor(weights)).sum().backward()
    (ty * torch.tensor(weights)).sum().backward()
    for x, tx in zip(xs, ys, strict=True):
        if isinstance(x, tl.Tensor) and x.requires_grad:
            assert_close(x.grad, tx.grad, dtype, "input gradient")
    if isinstance(a, nn.Module):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            assert_close(p.grad, q.grad, dtype, "parameter gradient")


X = values(4, 6)
ACTIVATIONS = {
    "LeakyReLU": (lambda n: n.LeakyReLU(), X),
    "LeakyReLU slope": (lambda n: n.LeakyReLU(0.3), X),
    "ELU": (lambda n: n.ELU(0.7), X),
    "SELU": (lambda n: n.SELU(), X),
    "CELU": (lambda n: n.CELU(0.5), X),
    "Mish": (lambda n: n.Mish(), X),
    "Hardswish": (lambda n: n.Hardswish(), X * 2),
    "Hardsigmoid": (lambda n: n.Hardsigmoid(), X * 2),
    "Hardtanh": (lambda n: n.Hardtanh(), X),
    "Hardtanh bounds": (lambda n: n.Hardtanh(-2, 0.5), X),
    "ReLU6": (lambda n: n.ReLU6(), X * 3),
    "GLU": (lambda n: n.GLU(), X),
    "GLU axis": (lambda n: n.GLU(0), X),
    "PReLU": (lambda n: n.PReLU(), X),
    "PReLU channels": (lambda n: n.PReLU(3, 0.1), values(2, 3, 5)),
    "Softmin": (lambda n: n.Softmin(1), X),
    "Softmax2d": (lambda n: n.Softmax2d(), values(2, 3, 2, 2)),
    "LogSigmoid": (lambda n: n.LogSigmoid(), X * 5),
    "Softsign": (lambda n: n.Softsign(), X),
    "Tanhshrink": (lambda n: n.Tanhshrink(), X),
    "Threshold": (lambda n: n.Threshold(0.1, 20.0), X),
    "Hardshrink": (lambda n: n.Hardshrink(0.7), X),
    "Softshrink": (lambda n: n.Softshrink(0.7), X),
    "Dropout1d": (lambda n: n.Dropout1d().eval(), values(2, 3, 4)),
    "Dropout2d": (lambda n: n.Dropout2d(0.0), values(2, 3, 2, 2)),
    "AlphaDropout": (lambda n: n.AlphaDropout().eval(), X),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_matches_pytorch(name, dtype):
    build, x = ACTIVATIONS[name]
    if name == "Hardsigmoid":  # PyTorch's gradient has 1/6 in float32
        dtype = "float32"
    compare(build, [x], dtype)


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in ("GLU axis",)])
def test_activation_has_the_repr_of_pytorch(name):
    build, _ = ACTIVATIONS[name]
    found = repr(build(nn)).replace("axis=", "dim=")
    assert found == repr(build(torch.nn))


# ---- losses --------------------------------------------------------------------
def probabilities(*shape, seed=0):
    x = np.exp(values(*shape, seed=seed))
    return x / x.sum(axis=1, keepdims=True)


def signs(*shape):
    return np.where(values(*shape, seed=9) > 0, 1, -1)


def classes(*shape, high=5, holes=False):
    found = np.random.default_rng(1).integers(0, high, shape)
    if holes:
        found[..., 0] = -100
    return found


W = values(5, low=0.2, high=2.0)


def with_weight(name, **options):
    def build(n):
        make = tl.tensor if n is nn else torch.tensor
        return getattr(n, name)(weight=make(W), **options)

    return build


REDUCTIONS = ("mean", "sum", "none")
T = values(4, 6, seed=1)
PLACES = [  # logits, classes: every shape
    (values(4, 5), classes(4)), (values(5), classes()),
    (values(3, 5, 4), classes(3, 4)),
    (values(2, 5, 3, 2), classes(2, 3, 2)), (values(4, 5), classes(4, holes=True)),
    (values(3, 5, 4), classes(3, 4, holes=True)),
]  # fmt: skip
SOFT = [
    (values(4, 5), probabilities(4, 5, seed=7)),
    (values(2, 5, 3), probabilities(2, 5, 3, seed=7)),
]
LOG_P = np.log(probabilities(4, 6))


def loss_rows():
    rows = {}

    def add(name, build, *cases):
        for reduction in REDUCTIONS:
            for number, case in enumerate(cases):
                rows[f"{name} {reduction} {number}"] = (build(reduction), case)

    def plain(name, **options):
        return lambda r: lambda n: getattr(n, name)(reduction=r, **options)

    for smoothing in (0.0, 0.2):
        options = {"label_smoothing": smoothing}
        add(f"CrossEntropy {smoothing}", plain("CrossEntropyLoss", **options), *PLACES,
            *SOFT)  # fmt: skip
        add(
            f"CrossEntropy weight {smoothing}",
            lambda r, o=options: with_weight("CrossEntropyLoss", reduction=r, **o),
            *PLACES,
            *SOFT,
        )
    logs = [(x - 3, t) for x, t in PLACES]
    add("NLL", plain("NLLLoss"), *logs)
    add("NLL weight", lambda r: with_weight("NLLLoss", reduction=r), *logs)
    add("NLL ignore", plain("NLLLoss", ignore_index=2), *logs[:4])
    add("MSE", plain("MSELoss"), (X, T))
    add("L1", plain("L1Loss"), (X, T))
    add("SmoothL1", plain("SmoothL1Loss"), (X, T))
    add("SmoothL1 beta", plain("SmoothL1Loss", beta=2.5), (X, T))
    add("Huber", plain("HuberLoss", delta=1.5), (X, T))
    unit = values(4, 5, low=0.01, high=0.99), values(4, 5, low=0.0, high=1.0, seed=2)
    add("BCE", plain("BCELoss"), unit)
    add("BCE weight", lambda r: with_weight("BCELoss", reduction=r), unit)
    logits = (values(4, 5), unit[1])
    add("BCEWithLogits", plain("BCEWithLogitsLoss"), logits)
    add("BCEWithLogits weight",
        lambda r: with_weight("BCEWithLogitsLoss", reduction=r), logits)  # fmt: skip
    add(
        "BCEWithLogits pos_weight",
        lambda r: (
            lambda n: n.BCEWithLogitsLoss(
                reduction=r, pos_weight=(tl if n is nn else torch).tensor(W)
            )
        ),
        logits,
    )
    add("KLDiv", plain("KLDivLoss"), (LOG_P, probabilities(4, 6, seed=3)))
    add("KLDiv log", plain("KLDivLoss", log_target=True),
        (LOG_P, np.log(probabilities(4, 6, seed=3))))  # fmt: skip
    rows["KLDiv batchmean"] = (
        lambda n: n.KLDivLoss(reduction="batchmean"),
        (LOG_P, probabilities(4, 6, seed=3)),
    )  # fmt: skip
    add("HingeEmbedding", plain("HingeEmbeddingLoss", margin=0.7), (X, signs(4, 6)))
    add("MarginRanking", plain("MarginRankingLoss", margin=0.3),
        (X[0], T[0], signs(6)))  # fmt: skip
    add("SoftMargin", plain("SoftMarginLoss"), (X, signs(4, 6)))
    add("CosineEmbedding", plain("CosineEmbeddingLoss", margin=0.1), (X, T, signs(4)),
        (X[0], T[0], np.array(-1)))  # fmt: skip
    third = values(4, 6, seed=5)
    for options in ({}, {"p": 1.0, "margin": 0.5}, {"swap": True}, {"p": 3.0}):
        add(f"TripletMargin {options}", plain("TripletMarginLoss", **options),
            (X, T, third))  # fmt: skip
    var = values(4, 6, low=0.5, high=2)
    add("GaussianNLL", plain("GaussianNLLLoss"), (X, T, var), (X, T, var[:, :1].copy()))
    add("GaussianNLL full", plain("GaussianNLLLoss", full=True, eps=0.9), (X, T, var))
    # Not whole, because PyTorch's gradient to counts of 0 is NaN with `full`.
    counts = values(4, 6, low=0.2, high=5.0, seed=4)
    add("PoissonNLL", plain("PoissonNLLLoss"), (X, counts))
    add("PoissonNLL full", plain("PoissonNLLLoss", full=True), (X, counts))
    add("PoissonNLL rate", plain("PoissonNLLLoss", log_input=False, full=True),
        (abs(X) + 0.1, counts))  # fmt: skip
    return rows


LOSSES = loss_rows()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.filterwarnings("ignore")
def test_loss_matches_pytorch(name, dtype):
    build, arrays = LOSSES[name]
    compare(build, arrays, dtype)


DISTANCES = {
    "CosineSimilarity": (lambda n: n.CosineSimilarity(), (X, T)),
    "CosineSimilarity 0": (lambda n: n.CosineSimilarity(0), (X, T)),
    "CosineSimilarity spread": (lambda n: n.CosineSimilarity(1), (X, T[:1].copy())),
    "PairwiseDistance": (lambda n: n.PairwiseDistance(), (X, T)),
    "PairwiseDistance 1": (lambda n: n.PairwiseDistance(1.0), (X, T)),
    "PairwiseDistance inf": (lambda n: n.PairwiseDistance(math.inf), (X, T)),
    "PairwiseDistance 3": (lambda n: n.PairwiseDistance(3.0, eps=0.0), (X, T)),
    "normalize": (lambda n: lambda x: n.functional.normalize(x), (X,)),
    "normalize 1": (lambda n: lambda x: n.functional.normalize(x, 1.0), (X,)),
    "normalize inf": (lambda n: lambda x: n.functional.normalize(x, math.inf), (X,)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", DISTANCES)
def test_distance_matches_pytorch(name, dtype):
    build, arrays = DISTANCES[name]
    compare(build, arrays, dtype)


# ---- CTC -----------------------------------------------------------------------
FLAT = np.array([1, 2, 2, 3, 3, 2, 1, 1])
CTC = {
    "padded": (np.array([[1, 2, 2], [3, 3, 0], [2, 1, 1]]), [9, 8, 5], [3, 2, 2]),
    "concatenated": (FLAT, [9, 8, 6], [4, 2, 2]),
    "empty": (np.array([[1, 2], [0, 0], [2, 0]]), [9, 8, 6], [2, 0, 1]),
    "tensors": (FLAT, np.array([9, 9, 9]), np.array([4, 2, 2])),
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", CTC)
def test_ctc_matches_pytorch(name, reduction, dtype):
    targets, steps, counts = CTC[name]

    def build(n):
        softmax = n.LogSoftmax(2)
        loss = n.CTCLoss(reduction=reduction)
        return lambda x, *rest: loss(softmax(x), *rest)

    compare(build, (values(9, 3, 5), targets, steps, counts), dtype)


@pytest.mark.parametrize("count", [31, 32, 33, 70])
def test_ctc_of_many_labels_matches_pytorch(count):
    targets = np.random.default_rng(count).integers(1, 5, (2, count))
    lengths = [count, count - 20]

    def build(n):
        loss = n.CTCLoss(reduction="sum")
        return lambda x, *rest: loss(n.functional.log_softmax(x, 2), *rest)

    compare(build, (values(150, 2, 5), targets, [150, 145], lengths), "float64")


def test_ctc_of_a_label_as_good_as_impossible_is_its_logarithm():
    x = tl.tensor([[[-1e301, -1e301]]], dtype=tl.float64)
    loss = F.ctc_loss(x, tl.tensor([[1]]), [1], [1], reduction="none")
    assert loss.tolist() == [1e301]


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_of_labels_that_do_not_fit_matches_pytorch(zero_infinity):
    targets = np.array([[1, 1, 1], [1, 2, 3]])  # repetitions need blanks between

    def build(n):
        loss = n.CTCLoss(blank=4, reduction="none", zero_infinity=zero_infinity)
        return lambda x, *rest: loss(n.functional.log_softmax(x, -1), *rest)

    arrays = (values(4, 2, 5), targets, [4, 4], [3, 3])
    if zero_infinity:
        compare(build, arrays, "float64")
        return
    x, *rest = [ours(a, "float64") for a in arrays]
    loss = build(nn)(x, *rest)
    assert loss[0].item() == math.inf
    loss.sum().backward()
    assert np.isnan(x.grad[:, 0].numpy()).all()
    assert np.isfinite(x.grad[:, 1].numpy()).all()


def test_ctc_without_a_batch_matches_pytorch():
    def build(n):
        loss = n.CTCLoss(reduction="sum")

        def call(x, targets):
            lengths = [torch.tensor(k) if n is torch.nn else k for k in (6, 3)]
            return loss(n.functional.log_softmax(x, -1), targets, *lengths)

        return call

    compare(build, (values(6, 5), np.array([1, 1, 3])), "float64")


def test_ctc_keeps_its_own_labels():
    x = tl.log_softmax(tl.tensor(values(6, 1, 4)), axis=2).detach().requires_grad_()
    labels = tl.tensor([[1, 2]])
    loss = F.ctc_loss(x, labels, [6], [2])
    labels[0, 0] = 10**9  # the backward pass must not read it
    loss.backward()
    assert np.isfinite(x.grad.numpy()).all()


# ---- dropout -------------------------------------------------------------------
@pytest.mark.parametrize(("name", "axes"), [("1d", 1), ("2d", 2), ("3d", 3)])
def test_channel_dropout_drops_whole_channels(name, axes):
    layer = getattr(nn, f"Dropout{name}")(0.25, generator=tl.Generator(1))
    y = layer(tl.ones((50, 40, *[3] * axes))).numpy().reshape(2000, -1)
    assert (y == y[:, :1]).all()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    # Five standard deviations of the share of kept channels.
    assert abs((y[:, 0] > 0).mean() - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 2000)


def test_alpha_dropout_keeps_mean_and_variance():
    x = tl.randn((200, 500), generator=tl.Generator(2))
    y = nn.AlphaDropout(0.3, generator=tl.Generator(1))(x)
    # Five standard errors of the mean of 10^5 numbers of variance 1; the variance's
    # is larger, the distribution having two humps.
    assert abs(y.mean().item()) < 5 / math.sqrt(1e5)
    assert abs(tl.var(y).item() - 1) < 0.03
    assert (tl.abs(nn.AlphaDropout(1.0)(x)).max()).item() == 0.0


def test_feature_alpha_dropout_treats_channels_as_one():
    x = tl.ones((20, 30, 4))
    y = nn.FeatureAlphaDropout(generator=tl.Generator(1))(x).numpy()
    assert (y == y[:, :, :1]).all()
    assert len(np.unique(y)) == 2


def test_dropout_of_wrong_shape_or_probability_raises():
    with pytest.raises(tl.ShapeError, match="dropout2d"):
        nn.Dropout2d()(tl.ones((2, 2)))
    with pytest.raises(ValueError, match="0 <= p <= 1"):
        F.alpha_dropout(tl.ones(2), 1.5)
    with pytest.raises(tl.DTypeError, match="floating"):
        F.dropout1d(tl.ones((2, 2), dtype=tl.int64))


def test_functional_alpha_dropout_is_off_by_default():
    x = tl.randn((3, 4))
    assert F.alpha_dropout(x) is x
    assert F.feature_alpha_dropout(x) is x


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted_loss_matches_pytorch(name, reduction):
    torch = pytest.importorskip("torch", minversion="2.13")
    values = np.random.default_rng(0).normal(size=(3, 2, 5))
    values[2] = np.abs(values[2])
    ours = getattr(F, name)(
        *map(tl.tensor, values[:2]), reduction=reduction, weight=tl.tensor(values[2])
    )
    theirs = getattr(torch.nn.functional, name)(
        *map(torch.tensor, values[:2]), reduction=reduction,
        weight=torch.tensor(values[2]),
    )  # fmt: skip
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_classes_that_are_no_integers_raise(name):
    with pytest.raises(tl.DTypeError, match=f"{name}: expected classes of an integer"):
        getattr(F, name)(tl.ones((2, 3)), tl.ones(2))


def test_weight_of_another_shape_raises():
    with pytest.raises(tl.ShapeError, match=r"weight of the input's shape \(2,\)"):
        F.mse_loss(tl.ones(2), tl.ones(2), weight=tl.ones(3))


def test_functional_softplus_takes_beta():
    x = np.linspace(-3, 3, 7)
    found = F.softplus(tl.tensor(x), beta=2.0).numpy()
    np.testing.assert_allclose(found, np.log1p(np.exp(2 * x)) / 2, rtol=1e-12)
    with pytest.raises(ValueError, match="beta != 0"):
        F.softplus(tl.ones(1), 0)


# ---- extreme values ------------------------------------------------------------
EXTREME = [1e4, -1e4, 88.0, -104.0, 710.0, -745.0, 0.0, -0.0, math.inf, -math.inf]
PLAIN = {
    "relu": tl.relu, "sigmoid": tl.sigmoid, "silu": tl.silu, "gelu": tl.gelu,
    "gelu_tanh": lambda x: tl.gelu(x, approximate="tanh"), "tanh": tl.tanh,
    "softplus": tl.softplus, "leaky_relu": tl.leaky_relu, "elu": tl.elu,
    "selu": tl.selu, "celu": tl.celu, "mish": tl.mish, "hardswish": tl.hardswish,
    "hardsigmoid": tl.hardsigmoid, "hardtanh": tl.hardtanh, "relu6": tl.relu6,
    "threshold": lambda x: tl.threshold(x, 0.5, 2.0), "hardshrink": tl.hardshrink,
    "softshrink": tl.softshrink, "log_sigmoid": tl.log_sigmoid,
    "softsign": tl.softsign, "tanhshrink": tl.tanhshrink,
    "prelu": lambda x: tl.prelu(x, tl.tensor([0.25], dtype=x.dtype)),
}  # fmt: skip


def extremes(dtype):
    info = np.finfo(dtype)
    tiny = [info.smallest_subnormal, info.smallest_normal, info.max]
    return np.array([*EXTREME, *tiny, *(-v for v in tiny)], dtype=dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", PLAIN)
def test_activation_at_extreme_values_is_right_with_finite_gradients(name, dtype):
    x = extremes(dtype)
    found = tl.tensor(x, requires_grad=True)
    y = PLAIN[name](found)
    y.sum().backward()
    assert not np.isnan(y.detach().numpy()).any()
    assert np.isfinite(found.grad.numpy()).all()
    if dtype == "float32":
        wide = tl.tensor(x.astype("float64"), requires_grad=True)
        expected = PLAIN[name](wide)
        expected.sum().backward()
        with np.errstate(over="ignore"):
            limit = expected.detach().numpy().astype("float32")
        # gelu's float32 formula has an absolute error of 7e-7.
        np.testing.assert_allclose(y.detach().numpy(), limit, rtol=2e-6, atol=7e-7)
        np.testing.assert_allclose(
            found.grad.numpy(), wide.grad.numpy(), rtol=2e-6, atol=7e-7
        )


def finite_loss(loss, *arrays, infinite=False):
    """The loss has no NaN, its gradients are finite, and float64 agrees."""
    results = {}
    for dtype in FLOATS:
        # Both start from numbers of float32.
        rounded = [a.astype("float32") if a.dtype.kind == "f" else a for a in arrays]
        tensors = [ours(a, dtype) for a in rounded]
        y = loss(*tensors)
        y.sum().backward()
        found = [y.detach().numpy()] + [
            x.grad.numpy() for x in tensors if x.requires_grad and x.grad is not None
        ]
        assert not np.isnan(found[0]).any()
        assert infinite or np.isfinite(found[0]).all()
        assert all(np.isfinite(g).all() for g in found[1:])
        results[dtype] = found
    for single, double in zip(*results.values(), strict=True):
        scale = abs(double[np.isfinite(double)]).max(initial=0.0)
        np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-6 * (scale + 1))


BIG = np.array([1e4, -1e4, 1e-40, -1e-40, 0.0, 88.0])
ONES = np.array([1, -1, 1, -1, 1, -1])
UNIT = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
ROWS = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e-40, 0.0, 1e4]])
ZEROS = np.zeros((3, 3))
PICKED = np.array([1, 0, 2])
EXTREME_LOSSES = {
    "cross_entropy": lambda: finite_loss(F.cross_entropy, ROWS, np.array([1, 0, 2])),
    "cross_entropy smooth": lambda: finite_loss(
        lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
        ROWS,
        np.array([1, 0, 2]),
    ),
    "cross_entropy soft": lambda: finite_loss(F.cross_entropy, ROWS, np.eye(3)),
    "nll": lambda: finite_loss(F.nll_loss, ROWS, PICKED),
    "bce": lambda: finite_loss(
        lambda x: F.binary_cross_entropy(x, 1 - x.detach()), UNIT
    ),
    "bce_with_logits": lambda: finite_loss(
        F.binary_cross_entropy_with_logits, BIG, UNIT
    ),
    "bce_with_logits inf": lambda: finite_loss(
        lambda x: F.binary_cross_entropy_with_logits(x, tl.tensor([1.0, 0.0])),
        np.array([math.inf, -math.inf]),
    ),
    "mse": lambda: finite_loss(F.mse_loss, BIG, UNIT),
    "l1": lambda: finite_loss(F.l1_loss, BIG, UNIT),
    "smooth_l1": lambda: finite_loss(F.smooth_l1_loss, BIG, UNIT),
    "smooth_l1 inf": lambda: finite_loss(
        F.smooth_l1_loss, np.array([math.inf, 0.5]), np.zeros(2), infinite=True
    ),
    "huber": lambda: finite_loss(F.huber_loss, BIG, UNIT),
    "kl_div": lambda: finite_loss(F.kl_div, BIG, UNIT),
    "kl_div inf": lambda: finite_loss(
        lambda x: F.kl_div(x, tl.tensor([0.0, 1.0])), np.array([-math.inf, 0.0])
    ),
    "kl_div log inf": lambda: finite_loss(
        lambda x: F.kl_div(x, tl.tensor([-math.inf, 0.0]), log_target=True),
        np.array([-math.inf, 0.0]),
    ),
    "hinge_embedding": lambda: finite_loss(F.hinge_embedding_loss, BIG, ONES),
    "margin_ranking": lambda: finite_loss(F.margin_ranking_loss, BIG, UNIT, ONES),
    "soft_margin": lambda: finite_loss(F.soft_margin_loss, BIG, ONES),
    "cosine_embedding": lambda: finite_loss(
        F.cosine_embedding_loss, ROWS, ZEROS, np.array([1, -1, 1])
    ),
    "cosine_similarity": lambda: finite_loss(F.cosine_similarity, ROWS, ZEROS),
    "cosine_similarity tiny": lambda: finite_loss(
        F.cosine_similarity, ROWS * 1e-40, ROWS
    ),
    "pairwise_distance": lambda: finite_loss(F.pairwise_distance, ROWS, ZEROS),
    "pairwise_distance 0": lambda: finite_loss(
        lambda x: F.pairwise_distance(x, x.detach(), eps=0.0), ROWS
    ),
    "triplet_margin": lambda: finite_loss(F.triplet_margin_loss, ROWS, ZEROS, -ROWS),
    "normalize": lambda: finite_loss(F.normalize, np.vstack([ROWS, ZEROS])),
    "gaussian_nll": lambda: finite_loss(F.gaussian_nll_loss, BIG, UNIT, abs(BIG)),
    "poisson_nll": lambda: finite_loss(
        lambda x: F.poisson_nll_loss(x, tl.zeros(4)),
        np.array([-1e4, 80.0, 0.0, -math.inf]),
    ),
    "ctc": lambda: finite_loss(
        lambda x: F.ctc_loss(tl.log_softmax(x, 2), tl.tensor([[1, 2]]), [3], [2]),
        ROWS.reshape(3, 1, 3),
    ),
}


@pytest.mark.parametrize("name", EXTREME_LOSSES)
def test_loss_at_extreme_values_is_finite_with_finite_gradients(name):
    EXTREME_LOSSES[name]()


def test_bce_with_logits_at_extreme_values_equals_its_limit():
    x = tl.tensor([1e4, -1e4, math.inf, -math.inf, 1e4, -1e4])
    t = tl.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    loss = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    assert loss.tolist() == [0.0, 0.0, 0.0, 0.0, 1e4, 1e4]


BAD = {
    "smooth_l1": (lambda x: F.smooth_l1_loss(x, x, beta=-1), ValueError, "beta"),
    "huber": (lambda x: F.huber_loss(x, x, delta=0), ValueError, "delta"),
    "bce": (lambda x: F.binary_cross_entropy(x * 2, x), ValueError, r"in \[0, 1\]"),
    "shape": (lambda x: F.kl_div(x, x[0]), tl.ShapeError, "kl_div"),
    "reduction": (lambda x: F.kl_div(x, x, reduction="all"), ValueError, "reduction"),
    "triplet": (
        lambda x: F.triplet_margin_loss(x, x, x, margin=-1), ValueError, "margin"
    ),
    "cosine": (
        lambda x: F.cosine_embedding_loss(x, x, x), tl.ShapeError, "cosine_embedding"
    ),
    "variance": (lambda x: F.gaussian_nll_loss(x, x, -x), ValueError, "variances"),
    "var shape": (
        lambda x: F.gaussian_nll_loss(x, x, tl.ones((2, 2))), tl.ShapeError, "var"
    ),
    "module": (lambda x: nn.HuberLoss(reduction="all"), ValueError, "reduction"),
    "celu": (lambda x: nn.CELU(0), ValueError, "alpha"),
    "hardtanh": (lambda x: nn.Hardtanh(1, 0), ValueError, "min_val < max_val"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_argument_raises(name):
    call, kind, text = BAD[name]
    with pytest.raises(kind, match=text):
        call(tl.ones((2, 3)))
