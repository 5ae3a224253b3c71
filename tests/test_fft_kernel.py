"""The kernel of transforms: lengths, layouts, precision, against independent sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorlib as tl
from tensorlib.fft.transform import at_once, transformed

KINDS = ("fftn", "ifftn", "rfftn", "irfftn")
NORMS = ("backward", "ortho", "forward")
EPS = {"single": 2.0**-24, "double": 2.0**-53}
TYPES = {"single": ("float32", "complex64"), "double": ("float64", "complex128")}
# One chain, matrices of every kind, primes with a turn of their own, and without.
LENGTHS = [*range(1, 40), 48, 60, 61, 64, 67, 100, 121, 128, 130, 143, 144, 169, 243,
           250, 256, 260, 343, 500, 512, 1000, 1001, 1023, 1024, 1458]  # fmt: skip
LONG = (4096, 5000, 6561, 13122, 2**16, 10**5, 2**18)


def drawn(shape, precision, is_complex, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape)
    if is_complex:
        a = a + 1j * rng.normal(size=shape)
    return a.astype(TYPES[precision][is_complex])


def error_of(found, expected):
    """The distance in the root mean square, over the size."""
    distance = np.linalg.norm((found - expected).ravel().astype("clongdouble"))
    return float(distance / np.linalg.norm(expected.ravel()))


def bound(n, precision, axes=1):
    """What pocketfft keeps within too: each of some log2(n) passes rounds."""
    return EPS[precision] * (1.5 * np.sqrt(np.log2(n) + 1) + axes)


def long_dft(a):
    """Sum in extended precision, along the last axis."""
    n = a.shape[-1]
    turns = np.outer(np.arange(n), np.arange(n)) % n
    angles = -2 * np.arccos(np.longdouble(-1)) * turns.astype("longdouble") / n
    return a.astype("clongdouble") @ (np.cos(angles) + 1j * np.sin(angles)).T


@pytest.mark.parametrize("precision", EPS)
@pytest.mark.parametrize("n", LENGTHS)
def test_line_equals_sum_in_extended_precision(n, precision):
    a = drawn((3, n), precision, True, n)
    expected = long_dft(a)
    x = tl.tensor(a)
    assert error_of(tl.fft.fft(x).numpy(), expected) <= bound(n, precision)
    back = tl.fft.ifft(x, norm="forward").numpy()
    assert error_of(back, long_dft(a.conj()).conj()) <= bound(n, precision)
    r = a.real.copy()
    half = long_dft(r)[:, : n // 2 + 1]
    found = tl.fft.rfft(tl.tensor(r)).numpy()
    assert error_of(found, half) <= 2 * bound(n, precision)
    given_ = half.astype(a.dtype)
    reals = tl.fft.irfft(tl.tensor(given_), n=n).numpy()
    expected = np.fft.irfft(given_.astype("complex128"), n=n)
    assert error_of(reals, expected) <= 2 * bound(n, precision) + 4 * EPS["double"]


@pytest.mark.parametrize("precision", EPS)
@pytest.mark.parametrize("n", range(1, 40))
def test_whole_groups_of_short_lines_equal_sum_in_extended_precision(n, precision):
    a = drawn((37, n), precision, True, n)  # two groups of 16 lines and a few
    found = tl.fft.fft(tl.tensor(a)).numpy()
    assert error_of(found, long_dft(a)) <= bound(n, precision)
    back = tl.fft.ifft(tl.tensor(a), norm="forward").numpy()
    assert error_of(back, long_dft(a.conj()).conj()) <= bound(n, precision)


@pytest.mark.parametrize("precision", EPS)
@pytest.mark.parametrize("run", [1, 7, 16, 17, 33, 40])
def test_runs_of_lines_side_by_side_equal_sum_in_extended_precision(run, precision):
    for n in (12, 64, 300, 512):
        a = drawn((3, n, run), precision, True, n)
        expected = np.moveaxis(long_dft(np.moveaxis(a, 1, -1)), -1, 1)
        found = tl.fft.fft(tl.tensor(a), axis=1).numpy()
        assert error_of(found, expected) <= bound(n, precision)


@pytest.mark.parametrize("precision", EPS)
@pytest.mark.parametrize("n", [64, 360, 1000, 1024, 4096, 5000, 2**16])
def test_error_is_no_larger_than_that_of_pocketfft(n, precision):
    # SciPy's: NumPy transforms single precision in double.
    fft = pytest.importorskip("scipy.fft").fft
    a = drawn((2, n), precision, True, n)
    wide = a.astype("clongdouble")
    expected = np.fft.fft(wide)  # NumPy computes these in extended precision
    ours = error_of(tl.fft.fft(tl.tensor(a)).numpy(), expected)
    assert ours <= 1.05 * error_of(fft(a), expected)


@pytest.mark.parametrize("precision", EPS)
@pytest.mark.parametrize("n", LONG)
def test_long_line_equals_numpy_in_float64(n, precision):
    a = drawn(n, precision, True, n)
    wide = a.astype("complex128")
    slack = 2 * bound(n, "double")
    for name in ("fft", "ifft"):
        found = getattr(tl.fft, name)(tl.tensor(a)).numpy()
        expected = getattr(np.fft, name)(wide)
        assert error_of(found, expected) <= bound(n, precision) + slack
    r = a.real.copy()
    half = np.fft.rfft(r.astype("float64"))
    found = tl.fft.rfft(tl.tensor(r)).numpy()
    assert error_of(found, half) <= 2 * bound(n, precision) + slack
    back = tl.fft.irfft(tl.tensor(found), n=n).numpy()
    assert error_of(back, r) <= 4 * bound(n, precision) + slack


@st.composite
def transforms(draw):
    """A transform's kind, operand (a view of any layout), axes and norm."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 5, 8, 9, 12, 16, 17, 33, 40]),
                          min_size=1, max_size=3))  # fmt: skip
    if draw(st.booleans()):
        long = draw(st.sampled_from([144, 256, 300, 512, 1000, 1024]))
        shape[draw(st.integers(0, len(shape) - 1))] = long
    while np.prod(shape) > 40_000:
        shape.pop()
    kind = draw(st.sampled_from(KINDS))
    is_complex = kind == "irfftn" or (kind != "rfftn" and draw(st.booleans()))
    precision = draw(st.sampled_from(sorted(EPS)))
    a = drawn(shape, precision, is_complex, draw(st.integers(0, 9)))
    order = draw(st.permutations(range(len(shape))))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, -1, -3]),
                          min_size=len(shape), max_size=len(shape)))  # fmt: skip
    axes = draw(st.permutations(range(len(shape))))
    axes = axes[: draw(st.integers(1, len(shape)))]
    return kind, precision, a, order, steps, axes, draw(st.sampled_from(NORMS))


@settings(max_examples=300, deadline=None)
@given(transforms(), st.data())
def test_transform_of_any_layout_equals_numpy_in_float64(case, data):
    kind, precision, a, order, steps, axes, norm = case
    view = tuple(slice(None, None, step) for step in steps)
    x = tl.permute_dims(tl.tensor(a), order)
    for axis, step in enumerate(steps):  # negative strides by flip
        x = tl.flip(x, axis=axis) if step < 0 else x
    x = x[tuple(slice(None, None, abs(step)) for step in steps)]
    b = a.transpose(order)[view]
    sizes = None
    if data.draw(st.booleans()):
        sizes = [data.draw(st.integers(1, 40)) for _ in axes]
    elif kind == "irfftn" and b.shape[axes[-1]] < 2:
        return
    wide = b.astype("complex128" if np.iscomplexobj(b) else "float64")
    with np.errstate(all="ignore"):
        expected = getattr(np.fft, kind)(wide, s=sizes, axes=axes, norm=norm)
    found = getattr(tl.fft, kind)(x, s=sizes, axes=tuple(axes), norm=norm).numpy()
    assert found.shape == expected.shape
    total = max(2, np.prod([expected.shape[axis] for axis in axes]))
    slack = bound(total, "double", 4)
    size = np.linalg.norm(expected.ravel())
    distance = np.linalg.norm((found - expected).ravel())
    assert distance <= (4 * bound(total, precision, len(axes)) + slack) * size + 1e-300


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 700), st.integers(1, 20), st.sampled_from(NORMS))
def test_inverse_returns_lines_of_any_length(n, lines, norm):
    a = drawn((lines, n), "double", True, n)
    x = tl.tensor(a)
    back = tl.fft.ifft(tl.fft.fft(x, norm=norm), norm=norm).numpy()
    assert error_of(back, a) <= 3 * bound(n, "double")
    r = tl.real(x)
    back = tl.fft.irfft(tl.fft.rfft(r, norm=norm), n=n, norm=norm).numpy()
    assert error_of(back, a.real) <= 4 * bound(n, "double")


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request):
    before = tl.get_num_threads()
    tl.set_num_threads(request.param)
    yield request.param
    tl.set_num_threads(before)


@pytest.mark.parametrize(
    "shape", [(64, 256), (3, 5000), (1, 2**16), (100, 7, 96), (9, 40, 66)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_threads(kind, shape, threads):
    x = tl.tensor(drawn(shape, "single", kind != "rfftn"))
    transform = getattr(tl.fft, kind)
    found = transform(x, s=shape[-2:], axes=(-2, -1))
    tl.set_num_threads(1)
    expected = transform(x, s=shape[-2:], axes=(-2, -1))
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_real_terms_of_a_half_spectrum_have_no_imaginary_part():
    for n in (2, 8, 60, 512, 5000):
        y = tl.fft.rfft(tl.tensor(drawn((9, n), "single", False))).numpy()
        assert (y[:, [0, -1]].imag == 0).all()


def test_imaginary_parts_of_real_terms_are_ignored():
    for n in (2, 8, 60, 512, 5000):
        z = drawn((9, n // 2 + 1), "double", True)
        expected = tl.fft.irfft(tl.tensor(z), n=n).numpy()
        z.imag[:, [0, -1]] = 7
        found = tl.fft.irfft(tl.tensor(z), n=n).numpy()
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "ihfft"])
def test_zero_imaginary_parts_are_not_negative(name):
    y = getattr(tl.fft, name)(tl.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])).numpy()
    assert not np.signbit(y.imag).any()


@pytest.mark.parametrize("n", [8, 1024])
def test_conjugate_half_spectrum_is_that_of_rfft(n):
    for x in (tl.randn(3, n), tl.randn(20, n), tl.randn(n, 9).mT):
        found = tl.fft.ihfft(x, norm="forward").numpy()
        np.testing.assert_array_equal(found, tl.fft.rfft(x).numpy().conj())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_line(value):
    a = drawn((20, 1024), "single", True)
    expected = tl.fft.fft(tl.tensor(a)).numpy()
    a[3, 5] = value
    found = tl.fft.fft(tl.tensor(a)).numpy()
    assert not np.isfinite(found[3]).any()
    keep = np.arange(20) != 3
    np.testing.assert_array_equal(found[keep], expected[keep])


def test_plans_are_dropped_when_many_were_made():
    for n in range(2**21 - 4, 2**21 + 1):  # tables of 16 MB: some have no plan
        tl.fft.fft(tl.zeros((n,), dtype="complex64"))
    for n in range(1, 300):
        x = tl.tensor(drawn(n, "double", True))
        np.testing.assert_allclose(
            tl.fft.fft(x).numpy(), np.fft.fft(x.numpy()), atol=1e-11
        )


@pytest.mark.parametrize(
    "arguments",
    [
        ("fftn", (-2,), 4, "backward"),
        ("fftn", (), 4, "backward"),
        ("fftn", (-1, -1), 4, "backward"),
        ("fftn", (0,), 4, "backward"),
        ("fftn", (-1,), 5, "backward"),
        ("irfftn", (-1,), 4, "backward"),
        ("rfftn", (-1,), 6, "backward"),
        ("fftn", (-1,), 4, "none"),
        ("other", (-1,), 4, "backward"),
    ],
)
def test_operand_that_does_not_fit_raises(arguments):
    with pytest.raises(tl.ShapeError, match="expected a tensor and axes that fit"):
        transformed(tl.ones(4), *arguments)


@pytest.mark.parametrize("axes", [(0, 0), (0, -2), 2, -3, (), 1.0, True, "ab", [0]])
def test_axes_that_are_not_plain_are_left_to_the_checks(axes):
    assert at_once(tl.ones((2, 3)), "fftn", axes, "backward") is None
