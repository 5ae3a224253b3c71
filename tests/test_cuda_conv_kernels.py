"""The CUDA kernels of convolutions, fold and unfold, on the emulator, against NumPy."""

import numpy as np
import pytest
from cuda_emulation import OK, ConvParams, Operand, find_compiler, load
from test_cuda_matmul_kernels import TOLERANCES, empty, from_bits, sample

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")


@pytest.fixture(scope="module")
def kernels():
    return load("conv", "cudnn", "matmul", "cublaslt", "libraries", "cast")


class Case:
    """Sizes of one convolution: x (n, c, *size), w (o, c / groups, *kernel)."""

    def __init__(
        self, n, c, o, size, kernel, stride=1, padding=0, dilation=1, groups=1
    ):
        self.n, self.c, self.o, self.groups = n, c, o, groups
        self.size, self.kernel = size, kernel
        triple = lambda v: (v,) * 3 if isinstance(v, int) else v  # noqa: E731
        self.stride, self.padding = triple(stride), triple(padding)
        self.dilation = triple(dilation)
        self.out = tuple(
            (n_pixels + 2 * p - d * (k - 1) - 1) // s + 1
            for n_pixels, k, s, p, d in zip(
                size, kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )

    def params(self, last):
        of = lambda v: (np.ctypeslib.ctypes.c_int64 * 3)(*v)  # noqa: E731
        return ConvParams(
            self.groups, of(self.stride), of(self.padding), of(self.dilation), last
        )

    def places(self):
        """For each axis, pixels (tap, position) and whether they are inside."""
        found = []
        for n_pixels, k, o, s, p, d in zip(
            self.size, self.kernel, self.out, self.stride, self.padding, self.dilation,
            strict=True,
        ):  # fmt: skip
            at = np.arange(o)[None] * s - p + np.arange(k)[:, None] * d
            found.append(
                (np.clip(at, 0, max(n_pixels - 1, 0)), (at >= 0) & (at < n_pixels))
            )
        return found

    def patches(self, x):
        """(n, c, kd, kh, kw, od, oh, ow) of x (n, c, d, h, w)."""
        (a, in_a), (b, in_b), (c, in_c) = self.places()
        x = x[:, :, a[:, None, None, :, None, None], b[None, :, None, None, :, None],
              c[None, None, :, None, None, :]]  # fmt: skip
        inside = (
            in_a[:, None, None, :, None, None]
            & in_b[None, :, None, None, :, None]
            & in_c[None, None, :, None, None, :]
        )
        return x * inside

    def sums(self, patches):
        """The transpose of `patches`."""
        n, c = patches.shape[:2]
        x = np.zeros((n, c, *self.size))
        (a, in_a), (b, in_b), (d, in_d) = self.places()
        for i, j, k in np.ndindex(*self.kernel):
            part = patches[:, :, i, j, k][:, :, in_a[i]][:, :, :, in_b[j]][..., in_d[k]]
            where = np.ix_(
                range(n), range(c), a[i][in_a[i]], b[j][in_b[j]], d[k][in_d[k]]
            )
            np.add.at(x, where, part)
        return x


CASES = {
    "plain": Case(2, 3, 4, (1, 6, 7), (1, 3, 3), padding=(0, 1, 1)),
    "steps": Case(2, 4, 8, (1, 9, 8), (1, 3, 2), (1, 2, 3), (0, 1, 0)),
    "gaps": Case(1, 8, 5, (1, 9, 9), (1, 3, 3), 1, (0, 2, 1), (1, 2, 3)),
    "volume": Case(2, 2, 3, (4, 5, 6), (2, 3, 2), (1, 2, 1), (1, 1, 0)),
    "groups": Case(3, 6, 9, (1, 5, 5), (1, 3, 3), 1, (0, 1, 1), 1, 3),
    "many groups": Case(2, 16, 16, (1, 4, 4), (1, 3, 3), 1, (0, 1, 1), 1, 8),
    "depthwise": Case(2, 5, 5, (1, 8, 9), (1, 5, 3), (1, 2, 1), (0, 2, 1), 1, 5),
    "multiplied": Case(
        2, 3, 6, (3, 5, 4), (2, 2, 3), (1, 1, 2), (0, 1, 1), (1, 2, 1), 3
    ),
    "pointwise": Case(3, 8, 16, (1, 5, 4), (1, 1, 1)),
    "pointwise groups": Case(2, 8, 8, (1, 3, 4), (1, 1, 1), groups=2),
    "cropped": Case(2, 2, 3, (1, 7, 7), (1, 2, 2), 1, (0, -1, -2)),
    "one pixel": Case(4, 8, 8, (1, 1, 1), (1, 1, 1)),
    # Planes of as many channels are turned to have them last.
    "channels": Case(2, 16, 24, (1, 5, 4), (1, 3, 3), padding=(0, 1, 1)),
    "stepping channels": Case(2, 24, 16, (1, 9, 8), (1, 3, 2), (1, 2, 1), (0, 1, 0)),
    "deep channels": Case(1, 16, 16, (3, 4, 5), (2, 3, 3), 1, (1, 1, 0), (1, 2, 1)),
    "odd pointwise": Case(3, 16, 24, (1, 5, 5), (1, 1, 1)),
    "many columns": Case(1, 128, 128, (1, 3, 2), (1, 2, 2), padding=(0, 1, 1)),
}


def placed(x, last):
    """An array in the layout of the kernels."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x


def assert_close(found, expected, dtype, last=False):
    found = from_bits(found) if dtype == "bfloat16" else found.astype(np.float64)
    if last:
        found = np.moveaxis(found, -1, 1)
    tolerance = TOLERANCES[dtype]
    np.testing.assert_allclose(found, expected, 2 * tolerance, 8 * tolerance)


def operands(case, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = sample(rng, (case.n, case.c, *case.size), dtype)
    w = sample(rng, (case.o, case.c // case.groups, *case.kernel), dtype)
    y = sample(rng, (case.n, case.o, *case.out), dtype)
    return x, w, y


def by_groups(case, x, y):
    """Patches (n, g, c, taps..., positions...), y as (n, g, o, positions...)."""
    p = case.patches(x)
    g = case.groups
    p = p.reshape(case.n, g, case.c // g, *p.shape[2:])
    return p, None if y is None else y.reshape(case.n, g, case.o // g, *case.out)


every = pytest.mark.parametrize("name", list(CASES))
layouts = pytest.mark.parametrize("last", [0, 1])
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])


@every
@layouts
@dtypes
@pytest.mark.parametrize("biased", [False, True])
def test_conv_matches_numpy(kernels, name, last, dtype, biased):
    case = CASES[name]
    (x, x64), (w, w64), (y, _) = operands(case, dtype)
    p, _ = by_groups(case, x64, None)
    w64 = w64.reshape(case.groups, -1, *w64.shape[1:])
    expected = np.einsum("ngcijkdhw,gocijk->ngodhw", p, w64).reshape(y.shape)
    inputs = [placed(x, last), placed(w, last)]
    if biased:
        bias, bias64 = sample(np.random.default_rng(9), (case.o,), dtype)
        inputs.append(bias)
        expected = expected + bias64[:, None, None, None]
    out = empty(placed(y, last).shape, dtype)
    assert kernels.call("conv", out, inputs, case.params(last), dtype) == OK
    assert_close(out, expected, dtype, last)


@every
@layouts
@dtypes
@pytest.mark.parametrize("biased", [False, True])
def test_conv_input_matches_numpy(kernels, name, last, dtype, biased):
    case = CASES[name]
    (x, _), (w, w64), (y, y64) = operands(case, dtype)
    g = case.groups
    w64 = w64.reshape(g, -1, *w64.shape[1:])
    y64 = y64.reshape(case.n, g, case.o // g, *case.out)
    patches = np.einsum("ngodhw,gocijk->ngcijkdhw", y64, w64)
    expected = case.sums(patches.reshape(case.n, case.c, *patches.shape[3:]))
    inputs = [placed(y, last), placed(w, last)]
    if biased:
        bias, bias64 = sample(np.random.default_rng(9), (case.c,), dtype)
        inputs.append(bias)
        expected = expected + bias64[:, None, None, None]
    out = empty(placed(x, last).shape, dtype)
    assert kernels.call("conv_input", out, inputs, case.params(last), dtype) == OK
    assert_close(out, expected, dtype, last)


@every
@layouts
@dtypes
def test_conv_weight_matches_numpy(kernels, name, last, dtype):
    case = CASES[name]
    (x, x64), (w, _), (y, y64) = operands(case, dtype)
    p, y64 = by_groups(case, x64, y64)
    expected = np.einsum("ngcijkdhw,ngodhw->gocijk", p, y64).reshape(w.shape)
    out = empty(placed(w, last).shape, dtype)
    inputs = [placed(y, last), placed(x, last)]
    assert kernels.call("conv_weight", out, inputs, case.params(last), dtype) == OK
    assert_close(out, expected, dtype, last)


@layouts
def test_float32_in_tf32_goes_the_way_of_tensor_cores(kernels, last):
    kernels.library.tl_cuda_set_float32_precision(1)
    try:
        for name in ("channels", "stepping channels"):
            test_conv_matches_numpy(kernels, name, last, "float32", True)
            test_conv_input_matches_numpy(kernels, name, last, "float32", True)
            test_conv_weight_matches_numpy(kernels, name, last, "float32")
    finally:
        kernels.library.tl_cuda_set_float32_precision(0)


@layouts
def test_convolutions_over_nothing_give_bias_or_zeros(kernels, last):
    case = Case(2, 0, 3, (1, 4, 4), (1, 2, 2))
    bias = np.arange(3, dtype=np.float32)
    x, w = np.ones((2, 0, 1, 4, 4), np.float32), np.ones((3, 0, 1, 2, 2), np.float32)
    out = placed(np.ones((2, 3, *case.out), np.float32), last)
    inputs = [placed(x, last), placed(w, last), bias]
    assert kernels.call("conv", out, inputs, case.params(last)) == OK
    assert_close(out, np.broadcast_to(bias[:, None, None, None], (2, 3, *case.out)),
                 "float32", last)  # fmt: skip
    case = Case(0, 2, 3, (1, 4, 4), (1, 2, 2))
    x, y = np.ones((0, 2, 1, 4, 4), np.float32), np.ones((0, 3, *case.out), np.float32)
    grad = placed(np.ones((3, 2, 1, 2, 2), np.float32), last)
    inputs = [placed(y, last), placed(x, last)]
    assert kernels.call("conv_weight", grad, inputs, case.params(last)) == OK
    np.testing.assert_array_equal(grad, 0)


@dtypes
@pytest.mark.parametrize("name", ["plain", "steps", "gaps"])
def test_fold_and_unfold_match_numpy(kernels, name, dtype):
    case = CASES[name]
    x, x64 = sample(np.random.default_rng(0), (case.n, case.c, *case.size), dtype)
    patches = case.patches(x64)
    shape = (case.n, case.c * np.prod(case.kernel), np.prod(case.out))
    shapes = [
        Operand(np.zeros((1, 1, *s), np.float32)) for s in (case.kernel, case.out)
    ]
    out = empty(shape, dtype)
    assert kernels.call("unfold", out, [x, *shapes], case.params(0), dtype) == OK
    assert_close(out, patches.reshape(shape), dtype)
    cols, cols64 = sample(np.random.default_rng(1), shape, dtype)
    out = empty(x.shape, dtype)
    assert kernels.call("fold", out, [cols, *shapes], case.params(0), dtype) == OK
    assert_close(out, case.sums(cols64.reshape(patches.shape)), dtype)
