"""Pooling against PyTorch: windows of every shape, ties, NaNs, values alone."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import torch_module

import tensorlib as tl

LAST = {1: "NLC", 2: "NHWC", 3: "NDHWC"}


@st.composite
def poolings(draw, *, dilated):
    """Planes of up to 3 axes, windows that fit or not, few or many to a line."""
    count = draw(st.integers(1, 3))
    most = (80, 24, 10)[count - 1]
    axes = st.lists(st.integers(1, most), min_size=count, max_size=count)
    small = st.lists(st.integers(1, 4), min_size=count, max_size=count)
    kernel = draw(st.one_of(small, axes))
    stride = draw(st.one_of(small, st.just(kernel)))
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    dilation = draw(small) if dilated else [1] * count
    planes = (draw(st.integers(1, 2)), draw(st.integers(1, 5)))
    shape = (*planes, *draw(axes))
    return shape, kernel, stride, padding, dilation, draw(st.booleans())


def _few_values(shape, dtype, seed, nans):
    """Ties everywhere, infinities, and NaNs where asked for."""
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array([-np.inf, -1.0, 0.0, 1.0, 2.0]), shape)
    if nans:
        x[rng.random(shape) < 0.1] = np.nan
    return x.astype(dtype)


def _check_largest(ours, theirs, x, last):
    """Values, places, values alone and the gradient, in both layouts."""
    torch = torch_module()
    tx = torch.tensor(x, requires_grad=True)
    try:
        expected, places = theirs(tx)
    except RuntimeError:
        with pytest.raises(ValueError, match="pool"):
            ours(tl.tensor(x), True)
        return
    g = np.random.default_rng(1).normal(size=expected.shape).astype(x.dtype)
    expected.backward(torch.tensor(g))
    expected, places = expected.detach().numpy(), places.numpy()
    seen = places >= 0
    for layout in (None, last):
        into, back = (1, -1) if layout else (0, 0), (-1, 1) if layout else (0, 0)
        moved = np.ascontiguousarray(np.moveaxis(x, *into))
        a = tl.tensor(moved, requires_grad=True)
        more = {"layout": layout} if layout else {}
        found, at = ours(a, True, **more)
        np.testing.assert_array_equal(
            np.moveaxis(found.detach().numpy(), *back), expected
        )
        np.testing.assert_array_equal(
            np.moveaxis(at.numpy(), *back)[seen], places[seen]
        )
        alone = ours(tl.tensor(moved), False, **more)
        np.testing.assert_array_equal(np.moveaxis(alone.numpy(), *back), expected)
        found.backward(tl.tensor(np.ascontiguousarray(np.moveaxis(g, *into))))
        np.testing.assert_allclose(
            np.moveaxis(a.grad.numpy(), *back), tx.grad.numpy(), 1e-6, 1e-6
        )


@settings(max_examples=150, deadline=None)
@given(
    poolings(dilated=True), st.sampled_from(["float32", "float64"]),
    st.integers(0, 2**32 - 1), st.booleans(),
)  # fmt: skip
def test_max_pool_equals_pytorch(case, dtype, seed, nans):
    shape, kernel, stride, padding, dilation, ceil = case
    name = f"max_pool{len(kernel)}d"
    theirs = getattr(torch_module().nn.functional, name)
    # A window without elements has no place; PyTorch invents one.
    if any(
        d * (k - 1) + 1 > n + p
        for d, k, n, p in zip(dilation, kernel, shape[2:], padding, strict=True)
    ):
        return
    _check_largest(
        lambda x, places, **more: getattr(tl, name)(
            x, kernel, stride, padding, dilation, ceil, places, **more
        ),
        lambda x: theirs(x, kernel, stride, padding, dilation, ceil, True),
        _few_values(shape, dtype, seed, nans),
        LAST[len(kernel)],
    )


@st.composite
def adaptive(draw):
    count = draw(st.integers(1, 3))
    most = (600, 40, 12)[count - 1]
    axes = st.lists(st.integers(1, most), min_size=count, max_size=count)
    outs = st.lists(st.integers(1, 9), min_size=count, max_size=count)
    planes = (draw(st.integers(1, 2)), draw(st.integers(1, 5)))
    return (*planes, *draw(axes)), draw(outs)


@settings(max_examples=100, deadline=None)
@given(
    adaptive(), st.sampled_from(["float32", "float64"]), st.integers(0, 2**32 - 1),
    st.booleans(),
)  # fmt: skip
def test_adaptive_max_pool_equals_pytorch(case, dtype, seed, nans):
    shape, outs = case
    name = f"adaptive_max_pool{len(outs)}d"
    theirs = getattr(torch_module().nn.functional, name)
    _check_largest(
        lambda x, places, **more: getattr(tl, name)(x, outs, places, **more),
        lambda x: theirs(x, outs, True),
        _few_values(shape, dtype, seed, nans),
        LAST[len(outs)],
    )


def _check_mean(ours, theirs, x, last):
    torch = torch_module()
    tx = torch.tensor(x, requires_grad=True)
    try:
        expected = theirs(tx)
    except RuntimeError:
        # Volumes of one too small window, which ceil_mode lets in elsewhere.
        with contextlib.suppress(tl.ShapeError):
            ours(tl.tensor(x))
        return
    g = np.random.default_rng(1).normal(size=expected.shape).astype(x.dtype)
    expected.backward(torch.tensor(g))
    near = 1e-5 if x.dtype == np.float32 else 1e-12
    for layout in (None, last):
        into, back = (1, -1) if layout else (0, 0), (-1, 1) if layout else (0, 0)
        a = tl.tensor(np.ascontiguousarray(np.moveaxis(x, *into)), requires_grad=True)
        found = ours(a, **({"layout": layout} if layout else {}))
        found.backward(tl.tensor(np.ascontiguousarray(np.moveaxis(g, *into))))
        np.testing.assert_allclose(
            np.moveaxis(found.detach().numpy(), *back), expected.detach().numpy(),
            near, near,
        )  # fmt: skip
        np.testing.assert_allclose(
            np.moveaxis(a.grad.numpy(), *back), tx.grad.numpy(), near, near
        )


@settings(max_examples=150, deadline=None)
@given(
    poolings(dilated=False), st.sampled_from(["float32", "float64"]), st.booleans(),
    st.sampled_from([None, 1, 3]),
)  # fmt: skip
def test_avg_pool_equals_pytorch(case, dtype, inside, divisor):
    shape, kernel, stride, padding, _, ceil = case
    name = f"avg_pool{len(kernel)}d"
    args = (kernel, stride, padding, ceil, inside)
    if len(kernel) > 1:
        args += (divisor,)
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    theirs = getattr(torch_module().nn.functional, name)
    _check_mean(
        lambda x, **more: getattr(tl, name)(x, *args, **more),
        lambda x: theirs(x, *args),
        x,
        LAST[len(kernel)],
    )


@settings(max_examples=100, deadline=None)
@given(adaptive(), st.sampled_from(["float32", "float64"]))
def test_adaptive_avg_pool_equals_pytorch(case, dtype):
    shape, outs = case
    name = f"adaptive_avg_pool{len(outs)}d"
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    theirs = getattr(torch_module().nn.functional, name)
    _check_mean(
        lambda x, **more: getattr(tl, name)(x, outs, **more),
        lambda x: theirs(x, outs),
        x,
        LAST[len(outs)],
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nans", [(), (3,), (590,), (3, 590)])
@pytest.mark.parametrize("width", [255, 256, 257, 300, 512, 513, 600])
def test_max_over_a_long_row_equals_pytorch(width, nans, dtype):
    torch = torch_module()
    for seed in range(4):  # the largest element falls in any part of the row
        x = np.random.default_rng(seed).normal(size=(2, 3, 4, width)).astype(dtype)
        x[..., [n % width for n in nans]] = np.nan
        for size in ((1, 1), (4, 1)):
            values, places = torch.nn.functional.adaptive_max_pool2d(
                torch.tensor(x), size, return_indices=True
            )
            found, where = tl.adaptive_max_pool2d(tl.tensor(x), size, True)
            np.testing.assert_array_equal(found.numpy(), values.numpy())
            np.testing.assert_array_equal(where.numpy(), places.numpy())
            alone = tl.adaptive_max_pool2d(tl.tensor(x), size)
            np.testing.assert_array_equal(alone.numpy(), values.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 2, 3, 6, 7, 16, 60, 64, 65])
def test_windows_apart_on_long_lines_equal_pytorch(columns, dtype):
    # Lines longer than a block, and blocks that end within a line.
    for width in (1500, 130):
        x = _few_values((2, 2, 5, width), dtype, 3, nans=True)
        _check_largest(
            lambda x, places, **more: tl.max_pool2d(
                x, (2, columns), None, 0, 1, False, places, **more
            ),
            lambda x: torch_module().nn.functional.max_pool2d(
                x, (2, columns), return_indices=True
            ),
            x,
            "NHWC",
        )
        _check_mean(
            lambda x, **more: tl.avg_pool2d(x, (2, columns), **more),
            lambda x: torch_module().nn.functional.avg_pool2d(x, (2, columns)),
            np.random.default_rng(0).normal(size=x.shape).astype(dtype),
            "NHWC",
        )


def test_windows_apart_on_any_number_of_threads_have_the_same_bits():
    x = tl.tensor(np.random.default_rng(0).normal(size=(7, 9, 6, 41, 37)))
    a = x.astype("float32")
    with tl.num_threads(1):
        values, places = tl.max_pool3d(a, (2, 3, 2), return_indices=True)
        means = tl.avg_pool3d(a, (2, 3, 2))
    for threads in (2, 3, 8):
        with tl.num_threads(threads):
            found, at = tl.max_pool3d(a, (2, 3, 2), return_indices=True)
            np.testing.assert_array_equal(found.numpy(), values.numpy())
            np.testing.assert_array_equal(at.numpy(), places.numpy())
            np.testing.assert_array_equal(
                tl.avg_pool3d(a, (2, 3, 2)).numpy(), means.numpy()
            )


def test_dilated_max_pool_whose_windows_would_tile_reads_every_other_element():
    # As long as stride times windows, but a window reaches beyond its stride.
    x = tl.tensor([[[1.0, -1.0, -1.0, 2.0]]])
    found = tl.max_pool1d(x, 2, 2, dilation=2, ceil_mode=True)
    assert found.tolist() == [[[1.0, -1.0]]]
