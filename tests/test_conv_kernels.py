"""Convolution's kernels against float64 PyTorch, on shapes that reach each of them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorlib as tl

torch = pytest.importorskip("torch")
functional = torch.nn.functional

LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
# Largest error over largest value; one rounding is 6e-8 and 1e-16.
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}


def _moved(array, last):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if last else array


def _assert_close(ours, wanted, dtype):
    scale = np.abs(wanted).max(initial=0) + 1e-30
    assert ours.shape == wanted.shape
    error = np.abs(ours.astype(np.float64) - wanted).max(initial=0)
    assert error / scale <= TOLERANCE[dtype]


def _check(x, w, b, *, dtype, last=False, transposed=False, seed=0, **options):
    """Compare value and gradients; x, w and b are shapes in PyTorch's layout."""
    rng = np.random.default_rng(seed)
    spatial = len(x) - 2
    name = f"conv{'_transpose' if transposed else ''}{spatial}d"
    arrays = [rng.standard_normal(s).astype(dtype) for s in (x, w, b)]
    exact = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    wanted = getattr(functional, name)(*exact, **options)
    g = rng.standard_normal(tuple(wanted.shape)).astype(dtype)
    gradients = torch.autograd.grad(wanted, exact, torch.tensor(g, dtype=torch.float64))
    ours = [tl.asarray(_moved(arrays[0], last)), *map(tl.asarray, arrays[1:])]
    for tensor in ours:
        tensor.requires_grad = True
    layout = LAYOUTS[spatial][last]
    found = getattr(tl, name)(*ours, **options, layout=layout)
    _assert_close(
        np.asarray(found.detach()), _moved(wanted.detach().numpy(), last), dtype
    )
    found = tl.autograd.grad(found, ours, tl.asarray(_moved(g, last)))
    for i, (mine, right) in enumerate(zip(found, gradients, strict=True)):
        _assert_close(np.asarray(mine), _moved(right.numpy(), last and i == 0), dtype)


@st.composite
def convolutions(draw):
    """Arguments of `_check`, of one to three axes."""
    spatial = draw(st.integers(1, 3))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    c, o = (groups * draw(st.integers(1, n)) for n in (4, 14))
    kernel = [draw(st.integers(1, 4)) for _ in range(spatial)]
    stride = [draw(st.sampled_from((1, 1, 2, 3))) for _ in range(spatial)]
    dilation = [draw(st.sampled_from((1, 1, 2))) for _ in range(spatial)]
    padding = [draw(st.integers(0, 3)) for _ in range(spatial)]
    limit = {1: 70, 2: 40, 3: 20}[spatial]
    transposed = draw(st.booleans())
    extents = []
    for a in range(spatial):
        span = (kernel[a] - 1) * dilation[a]
        low = max(span + 1 - 2 * padding[a], 1)
        if transposed:
            low = max(math.ceil((2 * padding[a] - span) / stride[a]) + 1, 1)
        extents.append(
            draw(st.integers(low, limit // (stride[a] if transposed else 1)))
        )
    n = draw(st.sampled_from((0, 1, 1, 2, 3)))
    w = (c, o // groups, *kernel) if transposed else (o, c // groups, *kernel)
    return {
        "x": (n, c, *extents), "w": w, "b": (o,), "stride": tuple(stride),
        "padding": tuple(padding), "dilation": tuple(dilation), "groups": groups,
        "transposed": transposed, "last": draw(st.booleans()),
        "dtype": draw(st.sampled_from(("float32", "float64"))),
    }  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(convolutions())
def test_convolution_and_gradients_match_float64(arguments):
    _check(**arguments)


# Shapes of layers: blocks of channels that do and do not fill, rows of many vectors and
# of less than one, several boxes an image.
LAYERS = {
    "depthwise": ((2, 16, 33, 32), (16, 1, 3, 3), {"padding": 1, "groups": 16}),
    "depthwise, strides": (
        (2, 8, 29, 31), (8, 1, 5, 3), {"padding": 2, "groups": 8, "stride": 2},
    ),
    "depthwise, two filters a channel": (
        (2, 6, 17, 9), (12, 1, 3, 3), {"padding": 1, "groups": 6},
    ),
    "depthwise, short rows": ((3, 8, 7, 5), (8, 1, 3, 3), {"padding": 1, "groups": 8}),
    "depthwise, five rows of taps": (
        (2, 6, 20, 19), (6, 1, 5, 4), {"padding": 2, "groups": 6},
    ),
    "depthwise, seven rows of taps": (
        (2, 4, 9, 33), (4, 1, 7, 7), {"padding": 3, "groups": 4},
    ),
    "depthwise, volume": ((2, 3, 5, 11, 18), (3, 1, 2, 3, 3), {"groups": 3}),
    "depthwise, dilated": (
        (2, 5, 23, 37), (5, 1, 3, 3),
        {"padding": (4, 2), "dilation": (3, 2), "groups": 5},
    ),
    "depthwise, dilated beyond the plane": (
        (2, 4, 5, 6), (4, 1, 5, 5), {"padding": 20, "dilation": 9, "groups": 4},
    ),
    "depthwise, boxes of a plane": (
        (1, 2, 70, 150), (2, 1, 5, 5), {"padding": (1, 2), "groups": 2},
    ),
    "depthwise, slices": (
        (2, 3, 4, 6, 18), (3, 1, 3, 3, 3), {"padding": (2, 1, 0), "groups": 3},
    ),
    "one channel from many": ((2, 12, 19, 32), (1, 12, 3, 3), {"padding": 1}),
    "depthwise, wide padding": (
        (1, 4, 9, 17), (4, 1, 9, 3), {"padding": (20, 18), "groups": 4},
    ),
    "depthwise, dilated columns": (
        (1, 4, 20, 21), (4, 1, 4, 3), {"dilation": (1, 2), "groups": 4},
    ),
    "four groups": ((3, 32, 16, 16), (64, 8, 3, 3), {"padding": 1, "groups": 4}),
    "image": ((2, 3, 70, 66), (32, 3, 7, 7), {"padding": 3, "stride": 2}),
    "several boxes": ((1, 40, 48, 50), (16, 40, 3, 3), {"padding": 1}),
    "volume": ((2, 5, 12, 11, 17), (13, 5, 3, 3, 3), {"padding": 1}),
    "wide dilation": ((1, 6, 40, 41), (8, 6, 3, 3), {"padding": 18, "dilation": 18}),
    "tiles": ((2, 16, 32, 33), (24, 16, 3, 3), {"padding": 1}),
    "tiles of some images": ((37, 20, 7, 8), (17, 20, 3, 3), {"padding": 1}),
    "tiles of a large image": ((1, 48, 70, 75), (16, 48, 3, 3), {"padding": (0, 2)}),
    "tiles, groups": ((3, 32, 15, 16), (64, 16, 3, 3), {"padding": 1, "groups": 2}),
    "tiles, many channels": ((4, 130, 14, 14), (150, 130, 3, 3), {"padding": 1}),
    "tiles of one small image": ((1, 20, 14, 13), (40, 20, 3, 3), {"padding": 1}),
    "sequence": ((2, 8, 1000), (20, 8, 5), {"padding": 2}),
    "channels, short rows": ((2, 20, 7, 7), (32, 20, 3, 3), {"padding": 1}),
    "channels, half a vector": ((3, 12, 7, 6), (8, 12, 3, 3), {"padding": 1}),
    "channels, half a vector of a volume": (
        (2, 8, 9, 8, 7), (9, 8, 4, 3, 4), {"padding": 1, "stride": 2},
    ),
    "channels, few pixels": ((1, 24, 3, 3), (48, 24, 3, 3), {"padding": 1}),
    "channels, strides": ((2, 12, 28, 29), (30, 12, 3, 3), {"padding": 1, "stride": 2}),
    "channels, three strides": ((3, 5, 22, 19), (16, 5, 4, 4), {"stride": 3}),
    "channels, dilation": (
        (1, 9, 20, 18), (16, 9, 5, 5), {"padding": 4, "dilation": 2},
    ),
    "channels, groups": ((2, 36, 10, 9), (48, 12, 3, 3), {"padding": 1, "groups": 3}),
    "channels, several boxes": ((1, 70, 33, 35), (32, 70, 5, 5), {"padding": 2}),
    "channels, volume": ((1, 5, 6, 7, 9), (16, 5, 3, 3, 3), {"padding": 1}),
    "channels, sequence": ((2, 8, 5), (16, 8, 3), {"padding": 1}),
    # Images of less than a vector, of parts of panels, of one pixel; more channels than
    # a run of them; gradients over several images, over runs of one, over slices.
    "pointwise, panels of two images": ((5, 20, 9, 11), (33, 20, 1, 1), {}),
    "pointwise, nine pixels": ((7, 12, 3, 3), (54, 4, 1, 1), {"groups": 3}),
    "pointwise, one pixel": ((6, 20, 1, 1), (13, 20, 1, 1), {}),
    "pointwise, deep": ((2, 530, 7, 7), (25, 530, 1, 1), {}),
    "pointwise, deep, one image": ((1, 300, 6, 6), (5, 300, 1, 1), {}),
    "pointwise, few channels": ((3, 2, 10, 5), (3, 2, 1, 1), {}),
    "pointwise, more out than in": ((3, 34, 8, 8), (300, 34, 1, 1), {}),
    "pointwise, runs of an image": ((1, 48, 19, 29), (80, 24, 1, 1), {"groups": 2}),
    "pointwise, slices": ((9, 16, 16, 24), (50, 16, 1, 1), {}),
    "pointwise, sequences": ((4, 24, 37), (16, 24, 1), {}),
    "pointwise, volumes": ((2, 10, 3, 4, 5), (21, 10, 1, 1, 1), {}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", LAYERS)
def test_layer_matches_float64(name, dtype):
    x, w, options = LAYERS[name]
    _check(x, w, w[:1], dtype=dtype, **options)


@pytest.mark.parametrize("outs", [8, 20, 32])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_layer_matches_float64(stride, outs):
    _check(
        (2, 12, 14, 17), (12, outs, 4, 3), (outs,), dtype="float32", transposed=True,
        stride=stride, padding=1,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 8, 20, 21), (1, 3, 20, 21)])
def test_weight_gradient_keeps_nan_to_the_taps_that_see_it(shape):
    """Vectors that stick out of a row bring no neighbour in."""
    x = np.ones(shape, np.float32)
    x[0, 0, 5, 20] = np.nan  # the last column, which the first tap never meets
    w = tl.zeros((4, shape[1], 3, 3))
    w.requires_grad = True
    y = tl.conv2d(tl.asarray(x), w)
    found = np.asarray(tl.autograd.grad(y, [w], tl.ones(y.shape))[0])
    assert np.isnan(found[:, 0, :, 2]).all()
    assert not np.isnan(found[:, 0, :, :2]).any()
    assert not np.isnan(found[:, 1:]).any()


def test_depthwise_weight_gradient_keeps_nan_to_the_taps_that_see_it():
    x = np.ones((1, 2, 20, 21), np.float32)
    x[0, 0, 5, 20] = np.nan
    w = tl.zeros((2, 1, 3, 3), requires_grad=True)
    y = tl.conv2d(tl.asarray(x), w, groups=2)
    found = np.asarray(tl.autograd.grad(y, [w], tl.ones(y.shape))[0])
    assert np.isnan(found[0, 0, :, 2]).all()
    assert not np.isnan(found[0, 0, :, :2]).any()
    assert not np.isnan(found[1]).any()


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("row", [0, 1, 8, 17, 36, 68, 69])
def test_depthwise_weight_gradient_of_a_row_with_infinity_matches_pytorch(
    row, padding, size
):
    x, w = np.ones((1, 2, 70, 150), "f"), np.ones((2, 1, size, size), "f")
    x[0, 0, row, 75] = np.inf
    theirs = torch.tensor(w, requires_grad=True)
    functional.conv2d(
        torch.tensor(x), theirs, padding=padding, groups=2
    ).sum().backward()
    ours = tl.tensor(w, requires_grad=True)
    tl.conv2d(tl.tensor(x), ours, padding=padding, groups=2).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_tiles_with_huge_values_match_float64(value):
    """What the transforms would spread or overflow on is computed without them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 16, 18, 17)).astype(np.float32)
    w = rng.uniform(0.1, 1, (16, 16, 3, 3)).astype(np.float32)
    x[1, 3, 7, 6] = value
    found = np.asarray(tl.conv2d(tl.asarray(x), tl.asarray(w), padding=1))
    exact = functional.conv2d(torch.tensor(x).double(), torch.tensor(w).double(),
                              padding=1).numpy()  # fmt: skip
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(exact))
    usual = np.abs(exact) < 1e3
    np.testing.assert_allclose(found[usual], exact[usual], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [8, 16])
def test_huge_padding_and_dilation_equal_few_taps(n):
    # Windows that reach across 2**31 elements of padding see one pixel or none.
    far = 2**31 - 1
    x, w = tl.ones((n, 1, 2, 2, 8)), tl.ones((2, 1, 3, 3, 1))
    y = tl.conv3d(x, w, padding=(far, far, 0), dilation=(far, far, 1))
    assert y.tolist() == tl.ones((n, 2, 2, 2, 8)).tolist()


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1), (3, 4)])
@pytest.mark.parametrize("size", [(3, 3), (7, 7), (14, 14), (5, 16), (12, 3)])
@pytest.mark.parametrize("groups", [1, 3])
def test_small_images_equal_float64(size, padding, groups):
    """Tiles of several images side by side in vectors; the last vector is not full."""
    shape = [size[i] + 2 * padding[i] - 2 for i in range(2)]
    rng = np.random.default_rng(1)
    a = [
        rng.standard_normal(s)
        for s in ((67, 17 * groups, *size), (19 * groups, 17, 3, 3),
                  (67, 19 * groups, *shape))
    ]  # fmt: skip

    def results(dtype):
        x, w, g = (tl.tensor(v, dtype=dtype) for v in a)
        operands = x.requires_grad_(), w.requires_grad_()
        y = tl.conv2d(*operands, None, 1, padding, 1, groups)
        return [y, *tl.autograd.grad(y, operands, g)]

    found, expected = results("float32"), results("float64")
    for one, other in zip(found, expected, strict=True):
        # Winograd's relative error, of the largest result: docs/convolution.md.
        limit = 2e-5 * abs(other).max().item()
        assert abs(one.astype("float64") - other).max().item() <= limit


def test_pointwise_infinity_stays_in_its_pixel():
    x = np.ones((3, 40, 3, 7), "float32")
    x[1, 5, 2, 6] = np.inf
    w = np.ones((26, 40, 1, 1), "float32")
    y = tl.conv2d(tl.tensor(x), tl.tensor(w)).numpy()
    odd = np.zeros(y.shape, bool)
    odd[1, :, 2, 6] = True
    np.testing.assert_array_equal(np.isinf(y), odd)
    np.testing.assert_array_equal(y[~odd], 40)


BITS = {
    "winograd": ((4, 32, 24, 24), (48, 32, 3, 3), {"padding": 1}),
    "winograd, small": ((40, 32, 7, 7), (48, 32, 3, 3), {"padding": 1}),
    "winograd, one image": ((1, 32, 14, 14), (64, 32, 3, 3), {"padding": 1}),
    "channels, one image": ((1, 64, 7, 7), (128, 64, 3, 3), {"padding": 1}),
    "channels, strided": ((4, 16, 28, 28), (32, 16, 3, 3), {"stride": 2, "padding": 1}),
    "strided": ((4, 8, 40, 40), (24, 8, 5, 5), {"stride": 2, "padding": 2}),
    "depthwise": ((4, 32, 33, 32), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
    "depthwise, few rows": (
        (4, 32, 9, 14), (32, 1, 5, 5), {"padding": 2, "groups": 32},
    ),
    "depthwise, one plane": ((1, 1, 90, 200), (1, 1, 3, 3), {"padding": 1}),
    "grouped": ((4, 32, 30, 32), (32, 8, 3, 3), {"padding": 1, "groups": 4}),
    "pointwise": ((4, 64, 20, 20), (96, 64, 1, 1), {}),
    "pointwise, one image": ((1, 128, 7, 7), (300, 128, 1, 1), {}),
    "pointwise, small": ((40, 64, 7, 7), (20, 64, 1, 1), {}),
    "volume": ((2, 8, 12, 12, 16), (16, 8, 3, 3, 3), {"padding": 1}),
    "weights in parts": ((8, 4, 64, 64), (100, 4, 3, 3), {}),
    "weights in parts, grouped": ((9, 3, 16, 11), (768, 1, 1, 1), {"groups": 3}),
    "one channel from many": ((2, 12, 40, 48), (1, 12, 3, 3), {"padding": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", BITS)
def test_bits_do_not_depend_on_threads(name):
    x_shape, w_shape, options = BITS[name]
    conv = tl.conv2d if len(x_shape) == 4 else tl.conv3d
    x, w = tl.randn(x_shape, requires_grad=True), tl.randn(w_shape, requires_grad=True)

    g = tl.randn(conv(x, w, **options).shape)

    def results():
        y = conv(x, w, **options)
        return [a.detach().numpy() for a in (y, *tl.autograd.grad(y, (x, w), g))]

    with tl.num_threads(1):
        alone = results()
    for threads in (2, 3, 4, 8):
        with tl.num_threads(threads):
            for found, expected in zip(results(), alone, strict=True):
                np.testing.assert_array_equal(found, expected)
