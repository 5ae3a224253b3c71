"""Convolutions and pooling: modules against PyTorch, shapes drawn at random."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import assert_parity, sample, to_torch, torch_module

import tensorlib as tl
from tensorlib import nn
from tensorlib.nn import functional as F

LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}

MODULES = {
    "Conv1d": (lambda n: n.Conv1d(4, 6, 3, stride=2, padding=1), (2, 4, 9)),
    "Conv1d circular": (
        lambda n: n.Conv1d(4, 6, 3, padding=2, padding_mode="circular"),
        (2, 4, 9),
    ),
    "Conv2d": (lambda n: n.Conv2d(3, 5, 3), (2, 3, 7, 8)),
    "Conv2d one image": (lambda n: n.Conv2d(3, 5, 3, padding=1), (3, 7, 8)),
    "Conv2d no bias": (lambda n: n.Conv2d(3, 5, (1, 3), bias=False), (2, 3, 7, 8)),
    "Conv2d stride": (
        lambda n: n.Conv2d(3, 5, 3, stride=(2, 1), padding=(1, 2), dilation=2),
        (2, 3, 9, 8),
    ),
    "Conv2d same": (lambda n: n.Conv2d(3, 5, (2, 4), padding="same"), (2, 3, 7, 8)),
    "Conv2d valid": (lambda n: n.Conv2d(3, 5, 2, padding="valid"), (2, 3, 7, 8)),
    "Conv2d groups": (lambda n: n.Conv2d(4, 6, 3, groups=2, padding=1), (2, 4, 7, 8)),
    "Conv2d depthwise": (
        lambda n: n.Conv2d(4, 8, 3, groups=4, padding=1, stride=2),
        (2, 4, 7, 8),
    ),
    "Conv2d pointwise": (lambda n: n.Conv2d(4, 6, 1), (2, 4, 7, 8)),
    "Conv2d reflect": (
        lambda n: n.Conv2d(3, 5, 3, padding=2, padding_mode="reflect"),
        (2, 3, 7, 8),
    ),
    "Conv2d replicate": (
        lambda n: n.Conv2d(3, 5, 3, padding=(1, 2), padding_mode="replicate"),
        (2, 3, 7, 8),
    ),
    "Conv2d same reflect": (
        lambda n: n.Conv2d(3, 5, 4, padding="same", padding_mode="reflect"),
        (2, 3, 7, 8),
    ),
    "Conv3d": (lambda n: n.Conv3d(2, 3, 3, padding=1, stride=2), (2, 2, 5, 4, 6)),
    "ConvTranspose1d": (
        lambda n: n.ConvTranspose1d(4, 3, 3, stride=2, output_padding=1),
        (2, 4, 5),
    ),
    "ConvTranspose2d": (
        lambda n: n.ConvTranspose2d(4, 6, 4, stride=2, padding=1, groups=2),
        (2, 4, 5, 4),
    ),
    "ConvTranspose2d dilation": (
        lambda n: n.ConvTranspose2d(4, 3, 3, dilation=2, bias=False),
        (2, 4, 5, 4),
    ),
    "ConvTranspose3d": (
        lambda n: n.ConvTranspose3d(2, 3, 2, stride=2),
        (1, 2, 3, 2, 3),
    ),
    "MaxPool1d": (lambda n: n.MaxPool1d(3, 2, 1), (2, 3, 9)),
    "MaxPool2d": (lambda n: n.MaxPool2d(2), (2, 3, 7, 8)),
    "MaxPool2d options": (
        lambda n: n.MaxPool2d((3, 2), (2, 1), (1, 0), 1, True, True),
        (2, 3, 7, 8),
    ),
    "MaxPool2d dilation": (
        lambda n: n.MaxPool2d(3, 2, 1, dilation=2, ceil_mode=True),
        (2, 3, 9, 8),
    ),
    "MaxPool3d": (lambda n: n.MaxPool3d(2, padding=1), (1, 2, 5, 4, 5)),
    "AvgPool1d": (lambda n: n.AvgPool1d(3, 2, 1), (2, 3, 9)),
    "AvgPool2d": (lambda n: n.AvgPool2d(3, 2, 1, True), (2, 3, 7, 8)),
    "AvgPool2d inside": (
        lambda n: n.AvgPool2d(3, 2, 1, True, count_include_pad=False),
        (2, 3, 7, 8),
    ),
    "AvgPool2d divisor": (lambda n: n.AvgPool2d(2, divisor_override=3), (3, 7, 8)),
    "AvgPool3d": (lambda n: n.AvgPool3d(2), (1, 2, 5, 4, 5)),
    "AdaptiveAvgPool1d": (lambda n: n.AdaptiveAvgPool1d(4), (2, 3, 9)),
    "AdaptiveAvgPool2d": (lambda n: n.AdaptiveAvgPool2d((3, None)), (2, 3, 7, 8)),
    "AdaptiveAvgPool2d one": (lambda n: n.AdaptiveAvgPool2d(1), (2, 3, 7, 8)),
    "AdaptiveAvgPool3d": (lambda n: n.AdaptiveAvgPool3d(2), (2, 3, 5, 4, 3)),
    "AdaptiveMaxPool1d": (lambda n: n.AdaptiveMaxPool1d(4, True), (2, 3, 9)),
    "AdaptiveMaxPool2d": (lambda n: n.AdaptiveMaxPool2d((3, 5)), (2, 3, 7, 8)),
    "AdaptiveMaxPool3d": (lambda n: n.AdaptiveMaxPool3d(2, True), (2, 3, 5, 4, 3)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODULES)
def test_module_matches_pytorch(name, dtype):
    build, shape = MODULES[name]
    assert_parity(build, shape, dtype)


@pytest.mark.parametrize("name", [n for n in MODULES if "Conv" in n])
def test_module_prints_as_in_pytorch(name):
    build, _ = MODULES[name]
    assert repr(build(nn)) == repr(build(torch_module().nn))


def test_conv_initial_values_lie_in_pytorch_bounds():
    layer = nn.Conv2d(8, 40, 5, groups=2, generator=tl.Generator(0))
    bound = 1 / (4 * 25) ** 0.5
    assert tl.abs(layer.weight).max().item() <= bound
    assert tl.abs(layer.bias).max().item() <= bound
    # Uniform in ±b has variance b² / 3.
    assert tl.var(layer.weight).item() == pytest.approx(bound**2 / 3, rel=0.1)


def test_conv_transpose_output_size_matches_pytorch():
    torch = torch_module()
    ours, theirs = (n.ConvTranspose2d(2, 3, 3, stride=2) for n in (nn, torch.nn))
    theirs.load_state_dict({k: to_torch(v) for k, v in ours.state_dict().items()})
    x = sample((1, 2, 4, 5), "float32")
    y, ty = ours(x, (10, 11)), theirs(to_torch(x), (10, 11))
    np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), 1e-5, 1e-5)
    with pytest.raises(ValueError, match="output_size in"):
        ours(x, (12, 11))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Conv2d(0, 1, 1), "in_channels"),
        (lambda: nn.Conv2d(3, 4, 1, groups=2), "divisible"),
        (lambda: nn.Conv2d(2, 2, 1, padding_mode="mirror"), "padding_mode"),
        (lambda: nn.ConvTranspose2d(2, 2, 1, padding_mode="reflect"), "transpose"),
        (lambda: nn.ConvTranspose2d(2, 2, 1, padding="same"), "padding"),
        (lambda: nn.Conv2d(2, 2, 1, layout="CNHW")(tl.ones((1, 2, 2, 2))), "layout"),
        (lambda: nn.MaxPool2d(2, padding=2)(tl.ones((1, 2, 4, 4))), "half"),
    ],
)
def test_module_bad_arguments_raise(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# ---- shapes drawn at random ----------------------------------------------------
@st.composite
def convolutions(draw):
    axes = draw(st.integers(1, 3))

    def several(low, high):
        return tuple(
            draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes))
        )

    return {
        "axes": axes,
        "transposed": draw(st.booleans()),
        "layout": LAYOUTS[axes][draw(st.booleans())],
        "n": draw(st.integers(0, 3)),
        "groups": draw(st.integers(1, 3)),
        "c": draw(st.integers(1, 3)),
        "o": draw(st.integers(1, 3)),
        "size": several(1, 9),
        "kernel": several(1, 3),
        "stride": several(1, 3),
        "padding": several(0, 3),
        "dilation": several(1, 3),
        "extra": several(0, 2),
        "seed": draw(st.integers(0, 2**16)),
    }


def _apply(module, case, x, w, b, last):
    ours = module is tl
    name = f"conv{'_transpose' if case['transposed'] else ''}{case['axes']}d"
    function = getattr(tl if ours else module.nn.functional, name)
    if case["transposed"]:
        more = (case["stride"], case["padding"], case["extra"], case["groups"],
                case["dilation"])  # fmt: skip
    else:
        more = (case["stride"], case["padding"], case["dilation"], case["groups"])
    keywords = {"layout": case["layout"]} if ours else {}
    if last and ours:
        x = x.permute_dims(0, *range(2, x.ndim), 1)
    y = function(x, w, b, *more, **keywords)
    return y.permute_dims(0, y.ndim - 1, *range(1, y.ndim - 1)) if last and ours else y


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_convolution_and_its_gradients_equal_pytorch(case):
    torch = torch_module()
    rng = np.random.default_rng(case["seed"])
    groups, last = case["groups"], case["layout"].endswith("C")
    # PyTorch looks at output_padding only where there is a batch.
    case["extra"] = tuple(
        min(e, max(s, d) - 1)
        for e, s, d in zip(case["extra"], case["stride"], case["dilation"], strict=True)
    )
    shape = (case["c"] * groups, case["o"])
    if not case["transposed"]:
        shape = (case["o"] * groups, case["c"])
    arrays = (
        rng.normal(size=(case["n"], case["c"] * groups, *case["size"])),
        rng.normal(size=(*shape, *case["kernel"])),
        rng.normal(size=case["o"] * groups),
    )
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    ours = [tl.tensor(a, requires_grad=True) for a in arrays]
    try:
        expected = _apply(torch, case, *theirs, last)
    except RuntimeError:
        # What PyTorch refuses, we refuse, or give an empty result.
        with contextlib.suppress(tl.ShapeError):
            assert _apply(tl, case, *ours, last).size == 0
        return
    found = _apply(tl, case, *ours, last)
    g = rng.normal(size=tuple(expected.shape))
    found.backward(tl.tensor(g))
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), 1e-12, 1e-12
    )
    for x, tx in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), tx.grad.numpy(), 1e-11, 1e-11)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(
        st.integers(0, 2), st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)
    ),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.booleans(),
    st.booleans(),
)
def test_pooling_equals_pytorch(shape, kernel, stride, padding, dilation, ceil, inside):
    torch = torch_module()
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).astype(float)
    x = x.reshape(shape)
    for name, more in (
        ("max_pool2d", (kernel, stride, padding, dilation, ceil, True)),
        ("avg_pool2d", (kernel, stride, padding, ceil, inside)),
    ):
        try:
            expected = getattr(torch.nn.functional, name)(torch.tensor(x), *more)
        except RuntimeError:
            with pytest.raises(ValueError, match=name):
                getattr(tl, name)(tl.tensor(x), *more)
            continue
        found = getattr(tl, name)(tl.tensor(x), *more)
        if name == "avg_pool2d":
            np.testing.assert_allclose(found.numpy(), expected.numpy(), 1e-13, 1e-13)
            continue
        np.testing.assert_array_equal(found[0].numpy(), expected[0].numpy())
        # Where a dilated window sees nothing, PyTorch names a place that is not there.
        seen = expected[0].numpy() > -np.inf
        np.testing.assert_array_equal(found[1].numpy()[seen], expected[1].numpy()[seen])


# ---- extreme values ------------------------------------------------------------
@pytest.mark.parametrize("value", [1e4, -1e4, 1e-42, float("inf"), float("nan")])
def test_convolution_of_extreme_values_equals_pytorch(value):
    torch = torch_module()
    x = sample((2, 3, 6, 6), "float32").numpy().copy()
    x[0, 1, 2, 3] = value
    w = np.random.default_rng(1).uniform(0.5, 1.0, (4, 3, 3, 3)).astype("float32")
    found = tl.conv2d(tl.tensor(x), tl.tensor(w), padding=1)
    expected = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(w), padding=1)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), 1e-5, 1e-4)


def test_max_pool_of_minus_infinity_is_minus_infinity():
    y, places = tl.max_pool2d(tl.full((1, 4, 4), -tl.inf), 3, 2, 1, return_indices=True)
    assert y.tolist() == [[[-tl.inf] * 2] * 2]
    assert places.tolist() == [[[0, 1], [4, 5]]]


def test_max_pool_of_a_window_without_elements_is_minus_infinity():
    x = tl.zeros((1, 2), requires_grad=True)
    y, places = tl.max_pool1d(x, 2, 1, 1, dilation=3, return_indices=True)
    assert (y.tolist(), places.tolist()) == ([[-tl.inf]], [[-1]])
    y.sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_pool_of_nan_is_nan_in_its_windows_only(name):
    x = np.zeros((1, 4, 4), dtype="float32")
    x[0, 1, 1] = np.nan
    y = getattr(tl, name)(tl.tensor(x), 2)
    assert y.isnan().tolist() == [[[True, False], [False, False]]]


def test_convolution_of_an_enormous_image_raises():
    x = tl.ones((1, 1, 1, 1)).broadcast_to((2**20, 2**20, 4, 4))
    with pytest.raises((MemoryError, ValueError)):
        F.conv2d(x, tl.ones((1, 1, 1, 1)), groups=1)


@pytest.mark.parametrize("padding", [2**31 - 1, 2**30])
def test_padding_beyond_memory_raises(padding):
    with pytest.raises((MemoryError, ValueError)):
        tl.conv2d(tl.ones((1, 1, 4, 4)), tl.ones((1, 1, 1, 1)), padding=padding)
