"""The CUDA kernels of pooling, on the emulator, against NumPy."""

import numpy as np
import pytest
from cuda_emulation import OK, FaultError, PoolParams, find_compiler, load
from test_cuda_conv_kernels import assert_close, placed
from test_cuda_matmul_kernels import empty, sample

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")


@pytest.fixture(scope="module")
def kernels():
    return load("pool")


class Case:
    """One pooling of planes of `size`; adaptive where there is no kernel."""

    def __init__(self, size, kernel=None, stride=1, padding=0, dilation=1, out=None,
                 **options):  # fmt: skip
        triple = lambda v: (v,) * 3 if isinstance(v, int) else v  # noqa: E731
        self.size, self.adaptive, self.options = size, kernel is None, options
        self.kernel = (1, 1, 1) if kernel is None else kernel
        self.stride, self.padding = triple(stride), triple(padding)
        self.dilation = triple(dilation)
        self.out = out or tuple(
            (n_pixels + 2 * p - d * (k - 1) - 1) // s + 1
            for n_pixels, k, s, p, d in zip(
                size, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )

    def params(self, last):
        of = lambda v: (np.ctypeslib.ctypes.c_int64 * 3)(*v)  # noqa: E731
        return PoolParams(
            of(self.kernel), of(self.stride), of(self.padding), of(self.dilation),
            self.options.get("divisor", 0), last, self.adaptive,
            self.options.get("include_pad", 0),
        )  # fmt: skip

    def axis(self, d, i):
        """Pixels that position i sees along an axis, and its extent with padding."""
        size, out = self.size[d], self.out[d]
        if self.adaptive:
            taps = list(range(i * size // out, -(-(i + 1) * size // out)))
            return taps, len(taps)
        start = i * self.stride[d] - self.padding[d]
        taps = [start + k * self.dilation[d] for k in range(self.kernel[d])]
        padded = min(start + self.kernel[d], size + self.padding[d]) - start
        return [t for t in taps if 0 <= t < size], padded

    def windows(self):
        """(position, places in the plane, divisor) of each window."""
        for q, (i, j, k) in enumerate(np.ndindex(*self.out)):
            (a, na), (b, nb), (c, nc) = (
                self.axis(0, i),
                self.axis(1, j),
                self.axis(2, k),
            )
            places = [
                (x * self.size[1] + y) * self.size[2] + z
                for x in a
                for y in b
                for z in c
            ]
            count = na * nb * nc if self.options.get("include_pad") else len(places)
            yield q, places, self.options.get("divisor", 0) or count


CASES = {
    "halves": Case((1, 6, 8), (1, 2, 2), (1, 2, 2)),
    "overlapping": Case((1, 7, 9), (1, 3, 3), (1, 2, 1), (0, 1, 1)),
    "padding counts": Case((1, 7, 9), (1, 3, 3), (1, 2, 2), (0, 1, 1), include_pad=1),
    "divisor": Case((2, 5, 6), (2, 2, 3), (1, 1, 2), (1, 0, 1), divisor=5),
    "gaps": Case((3, 8, 9), (2, 3, 2), (1, 1, 2), (1, 1, 0), (1, 2, 3)),
    "beyond": Case((1, 5, 5), (1, 2, 2), (1, 2, 2), out=(1, 3, 3)),
    "adaptive": Case((3, 7, 10), out=(2, 3, 4)),
    "adaptive more": Case((1, 3, 4), out=(1, 5, 4)),
    "sequence": Case((1, 1, 30), (1, 1, 6), (1, 1, 4)),
}
every = pytest.mark.parametrize("name", list(CASES))
layouts = pytest.mark.parametrize("last", [0, 1])
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
N, C = 2, 3


def planes(rng, sizes, dtype):
    return sample(rng, (N, C, *sizes), dtype)


def largest(case, x):
    """The largest elements and their places by the CPU's rule."""
    x = x.reshape(N, C, -1)
    y, at = (
        np.empty((N, C, np.prod(case.out))),
        np.empty((N, C, np.prod(case.out)), int),
    )
    for q, places, _ in case.windows():
        for n, c in np.ndindex(N, C):
            seen = x[n, c, places]
            nan = np.flatnonzero(np.isnan(seen))
            best = nan[-1] if nan.size else np.argmax(seen)
            y[n, c, q], at[n, c, q] = seen[best], places[best]
    return y.reshape(N, C, *case.out), at.reshape(N, C, *case.out)


@every
@layouts
@dtypes
@pytest.mark.parametrize("special", [False, True])
def test_max_pool_matches_numpy(kernels, name, last, dtype, special):
    case = CASES[name]
    x, x64 = planes(np.random.default_rng(0), case.size, dtype)
    if special and dtype.startswith("float"):
        x64[0, 0, 0, 0, :2] = np.nan
        x64[1, 1] = -np.inf
        x = x64.astype(dtype)
    y, at = largest(case, x64)
    out, index = (
        placed(empty(y.shape, dtype), last),
        placed(np.zeros(y.shape, np.int64), last),
    )
    params = case.params(last)
    assert (
        kernels.call("max_pool", [out, index], [placed(x, last)], params, dtype) == OK
    )
    assert_close(out, y, dtype, last)
    np.testing.assert_array_equal(np.moveaxis(index, -1, 1) if last else index, at)
    again = np.zeros_like(out)
    assert kernels.call("max_pool", again, [placed(x, last)], params, dtype) == OK
    np.testing.assert_array_equal(again, out)


@every
@layouts
@dtypes
def test_avg_pool_and_its_gradient_match_numpy(kernels, name, last, dtype):
    case = CASES[name]
    rng = np.random.default_rng(1)
    x, x64 = planes(rng, case.size, dtype)
    g, g64 = planes(rng, case.out, dtype)
    y, grad = np.zeros((N, C, np.prod(case.out))), np.zeros((N, C, np.prod(case.size)))
    for q, places, count in case.windows():
        if count == 0:
            continue
        y[..., q] = x64.reshape(N, C, -1)[..., places].sum(-1) / count
        for place in places:
            grad[..., place] += g64.reshape(N, C, -1)[..., q] / count
    out = placed(empty(g.shape, dtype), last)
    assert (
        kernels.call("avg_pool", out, [placed(x, last)], case.params(last), dtype) == OK
    )
    assert_close(out, y.reshape(g.shape), dtype, last)
    out = placed(empty(x.shape, dtype), last)
    params = case.params(last)
    assert kernels.call("avg_pool_grad", out, [placed(g, last)], params, dtype) == OK
    assert_close(out, grad.reshape(x.shape), dtype, last)


@every
@layouts
@dtypes
def test_pool_scatter_and_gather_match_numpy(kernels, name, last, dtype):
    case = CASES[name]
    rng = np.random.default_rng(2)
    x, x64 = planes(rng, case.size, dtype)
    g, g64 = planes(rng, case.out, dtype)
    _, at = largest(case, x64)
    at[0, 0, 0, 0, 0] = -1
    flat = at.reshape(N, C, -1)
    grad, picked = (
        np.zeros((N, C, np.prod(case.size))),
        np.zeros((N, C, np.prod(case.out))),
    )
    for n, c, q in np.ndindex(*flat.shape):
        if flat[n, c, q] >= 0:
            grad[n, c, flat[n, c, q]] += g64.reshape(N, C, -1)[n, c, q]
            picked[n, c, q] = x64.reshape(N, C, -1)[n, c, flat[n, c, q]]
    params, index = case.params(last), placed(at, last)
    out = placed(empty(x.shape, dtype), last)
    assert (
        kernels.call("pool_scatter", out, [placed(g, last), index], params, dtype) == OK
    )
    assert_close(out, grad.reshape(x.shape), dtype, last)
    out = placed(empty(g.shape, dtype), last)
    assert (
        kernels.call("pool_gather", out, [placed(x, last), index], params, dtype) == OK
    )
    assert_close(out, picked.reshape(g.shape), dtype, last)


def test_pool_gather_from_outside_of_the_plane_is_a_fault(kernels):
    case = CASES["halves"]
    x = np.ones((N, C, *case.size), np.float32)
    index = np.full((N, C, *case.out), 48, np.int64)
    out = np.zeros((N, C, *case.out), np.float32)
    with pytest.raises(FaultError):
        kernels.call("pool_gather", out, [x, index], case.params(0))


def test_max_pool_of_empty_windows_is_minus_infinity_nowhere(kernels):
    case = Case((1, 4, 2), (1, 1, 2), (1, 1, 4), (0, 0, 1), out=(1, 4, 2))
    x = np.ones((N, C, *case.size), np.float32)
    out, index = (
        np.zeros((N, C, *case.out), np.float32),
        np.zeros((N, C, *case.out), int),
    )
    assert kernels.call("max_pool", [out, index], [x], case.params(0)) == OK
    assert np.all(out[..., 1] == -np.inf)
    assert np.all(index[..., 1] == -1)
    assert np.all(out[..., 0] == 1)
