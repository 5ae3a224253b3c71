"""Complex dtypes: values against NumPy, gradients against PyTorch and differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_arrays import QUICK

import tensorlib as tl

DTYPES = ["complex64", "complex128"]
CLOSE = {"complex64": 3e-6, "complex128": 3e-14}


def drawn(shape, dtype="complex128", seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)


def assert_close(found, expected, tolerance):
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype.name == expected.dtype.name
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance)


# ---- values --------------------------------------------------------------------
UNARY = {
    "negative": np.negative, "square": np.square, "reciprocal": np.reciprocal,
    "sign": np.sign, "conj": np.conj, "sqrt": np.sqrt, "exp": np.exp,
    "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "log2": np.log2,
    "log10": np.log10, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh,
    "cosh": np.cosh, "tanh": np.tanh, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "abs": np.abs, "angle": np.angle, "real": np.real, "imag": np.imag,
    "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "round": np.round,
    "rsqrt": lambda z: (1 / np.sqrt(z)).astype(z.dtype),
    "logical_not": np.logical_not,
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary_equals_numpy(name, dtype):
    a = drawn((5, 6), dtype)
    x = tl.tensor(a)
    assert_close(getattr(tl, name)(x), UNARY[name](a), CLOSE[dtype])
    found = getattr(tl, name)(x.T.flip(0))
    assert_close(found, UNARY[name](a.T[::-1]), CLOSE[dtype])
    assert getattr(tl, name)(x[:0]).shape == (0, 6)


BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply,
    "divide": np.divide, "pow": np.power, "equal": np.equal,
    "not_equal": np.not_equal,
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary_equals_numpy(name, dtype):
    a, b = drawn((5, 6), dtype), drawn((6,), dtype, 1)
    b[2] = a[0, 2]
    found = getattr(tl, name)(tl.tensor(a), tl.tensor(b))
    assert_close(found, BINARY[name](a, b), CLOSE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 7])
def test_pow_of_whole_exponents(exponent, dtype):
    a = drawn((20,), dtype)
    assert_close(tl.tensor(a) ** exponent, a**exponent, 10 * CLOSE[dtype])
    assert (tl.tensor([2j], dtype=dtype) ** 2).item() == -4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), ()])
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "any", "all"])
def test_reduction_equals_numpy(name, axis, dtype):
    a = drawn((5, 6), dtype)
    a[0] = 0
    for keepdims in (False, True):
        found = getattr(tl, name)(tl.tensor(a), axis=axis, keepdims=keepdims)
        expected = getattr(np, name)(a, axis=axis, keepdims=keepdims)
        assert_close(found, expected, 10 * CLOSE[dtype])


def test_truth_of_complex_numbers():
    a = np.array([0, 1j, 2, -0.0, complex(np.nan, 0)])
    assert tl.tensor(a).astype("bool").tolist() == a.astype(bool).tolist()
    assert tl.nonzero(tl.tensor(a))[0].tolist() == np.nonzero(a)[0].tolist()


def test_reduction_of_nothing():
    x = tl.zeros((0, 2), dtype="complex64")
    assert tl.sum(x, axis=0).tolist() == [0, 0]
    assert tl.prod(x, axis=0).tolist() == [1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_structure_and_products_equal_numpy(dtype):
    a, b = drawn((4, 5), dtype), drawn((4, 5), dtype, 1)
    x, y = tl.tensor(a), tl.tensor(b)
    close = 10 * CLOSE[dtype]
    assert_close(x @ y.T, a @ b.T, close)
    assert_close(x @ y[0], a @ b[0], close)
    assert_close(tl.einsum("ij,kj->ik", x, y), np.einsum("ij,kj->ik", a, b), close)
    assert_close(tl.vecdot(x, y), np.vecdot(a, b), close)
    assert_close(tl.outer(x[0], y[0]), np.outer(a[0], b[0]), close)
    assert_close(tl.cumsum(x, axis=1), np.cumsum(a, axis=1), close)
    assert_close(tl.concat([x, y], axis=1), np.concatenate([a, b], axis=1), 0)
    assert_close(tl.stack([x, y]), np.stack([a, b]), 0)
    assert_close(tl.where(tl.real(x) > 0, x, y), np.where(a.real > 0, a, b), 0)
    assert_close(x[[2, 0]], a[[2, 0]], 0)
    assert_close(tl.linear(x, y), a @ b.T, close)
    assert_close(tl.linspace(1, 3 + 4j, 5, dtype=dtype),
                 np.linspace(1, 3 + 4j, 5, dtype=dtype), close)  # fmt: skip


@pytest.mark.parametrize(
    ("real", "complex_", "expected"),
    [
        ("float32", "complex64", "complex64"),
        ("float64", "complex64", "complex128"),
        ("float16", "complex64", "complex64"),
        ("int64", "complex64", "complex64"),
        ("bool", "complex128", "complex128"),
        ("float32", "complex128", "complex128"),
    ],
)
def test_promotion(real, complex_, expected):
    a, b = tl.ones(2, dtype=real), tl.ones(2, dtype=complex_)
    assert tl.result_type(a, b).name == expected
    assert (a * b).dtype.name == (b + a).dtype.name == expected


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("int32", "complex64"), ("float32", "complex64"), ("float64", "complex128"),
     ("complex64", "complex64"), ("complex128", "complex128")],
)  # fmt: skip
def test_python_complex_raises_the_kind_alone(dtype, expected):
    x = tl.ones(2, dtype=dtype)
    assert (x * 2j).dtype.name == (1j + x).dtype.name == expected
    assert (x * 2j).tolist() == [2j, 2j]


def test_python_numbers_become_complex():
    assert tl.tensor([1, 2.5, 3j]).tolist() == [1, 2.5, 3j]
    assert tl.tensor(1j).dtype is tl.complex64
    assert tl.full((2,), 1j, dtype="complex128").tolist() == [1j, 1j]
    x = tl.zeros(3, dtype="complex64")
    x[1] = 2 - 1j
    x += 1
    assert x.tolist() == [1, 3 - 1j, 1]
    assert complex(x[1]) == 3 - 1j
    assert bool(tl.tensor(1j))


@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_are_views(dtype):
    x = tl.zeros((2, 3), dtype=dtype)
    tl.real(x)[0] = 1
    tl.imag(x)[:, 1] = 5
    assert x.tolist() == [[1, 1 + 5j, 1], [0, 5j, 0]]
    parts = tl.view_as_real(x.T)
    assert parts.shape == (3, 2, 2)
    assert tl.view_as_complex(parts).tolist() == x.T.tolist()
    odd = tl.arange(10, dtype=tl.finfo(dtype).dtype)[1:9].reshape(4, 2)  # not aligned
    assert tl.view_as_complex(odd).tolist() == [1 + 2j, 3 + 4j, 5 + 6j, 7 + 8j]
    assert tl.view_as_complex(tl.ones((2, 4)).T.reshape(4, 2).T[:, :2].T).shape == (2,)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda z: z < z, tl.DTypeError),
        (lambda z: tl.max(z), tl.DTypeError),
        (lambda z: z // z, tl.DTypeError),
        (lambda z: tl.sigmoid(z), tl.DTypeError),
        (lambda z: z.astype("float32"), tl.DTypeError),
        (lambda z: float(z[0]), TypeError),
        (lambda z: tl.ones(2).__setitem__(0, 1j), tl.DTypeError),
        (lambda z: tl.ones(2).add_(z), tl.DTypeError),
        (lambda z: tl.tensor([1j], dtype="float32"), tl.DTypeError),
        (lambda z: tl.complex(z, z), tl.DTypeError),
        (lambda z: tl.view_as_real(tl.ones(2)), tl.DTypeError),
        (lambda z: tl.view_as_complex(tl.ones((2, 3))), tl.ShapeError),
        (lambda z: tl.view_as_complex(tl.ones((2, 2), dtype="int32")), tl.DTypeError),
        (lambda z: z.requires_grad_().sum().backward(), tl.GraphError),
        (lambda z: tl.linspace(0, 1j, 3, dtype="float32"), tl.DTypeError),
    ],
)
def test_what_complex_numbers_cannot_is_refused(call, error):
    z = tl.tensor([1j, 2.0])
    with pytest.raises(error):
        call(z)
    assert z.tolist() == [1j, 2]


SPECIAL = [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 1e300, 1e-300]


@pytest.mark.parametrize(
    "name",
    ["sqrt", "exp", "log", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh",
     "acosh", "atanh", "abs", "angle", "conj", "isnan", "isinf", "isfinite"],
)  # fmt: skip
def test_special_values_equal_numpy(name):
    a = np.array([complex(x, y) for x in SPECIAL for y in SPECIAL])
    with np.errstate(all="ignore"):
        expected = UNARY[name](a)
    found = getattr(tl, name)(tl.tensor(a)).numpy()
    if expected.dtype.kind == "c":
        # Where the standard leaves a sign open, libraries differ.
        known = np.isfinite(a.real) & np.isfinite(a.imag)
        pairs = ((found.real, expected.real), (found.imag, expected.imag))
        for y, e in pairs:
            np.testing.assert_allclose(y[known], e[known], rtol=1e-14)
            np.testing.assert_array_equal(abs(y[~known]), abs(e[~known]))
            zero = known & (e == 0)
            np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(e[zero]))
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-15)


@QUICK
@given(st.lists(st.complex_numbers(max_magnitude=1e6), min_size=1, max_size=7),
       st.sampled_from(DTYPES))  # fmt: skip
def test_repr_shows_numbers_as_numpy(values, dtype):
    with np.errstate(all="ignore"):
        a = np.array(values, dtype)
    expected = np.array2string(a, separator=", ", max_line_width=10_000)
    found = repr(tl.tensor(a))[len("tensor(") :]
    found = "".join(found.split()).rsplit(",dtype", 1)[0]
    assert found == "".join(expected.split())


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_travel_to_other_libraries(dtype, tmp_path):
    torch = pytest.importorskip("torch")
    import pickle

    a = drawn((3, 2), dtype)
    x = tl.tensor(a)
    np.testing.assert_array_equal(np.from_dlpack(x), a)
    np.testing.assert_array_equal(torch.from_dlpack(x).numpy(), a)
    np.testing.assert_array_equal(tl.from_dlpack(torch.tensor(a)).numpy(), a)
    np.testing.assert_array_equal(np.asarray(memoryview(x)), a)
    assert tl.asarray(a).data_ptr() == a.ctypes.data
    assert pickle.loads(pickle.dumps(x)).tolist() == x.tolist()
    if dtype == "complex64":
        tl.save({"x": x}, tmp_path / "x")
        assert tl.load(tmp_path / "x")["x"].tolist() == x.tolist()


# ---- gradients -----------------------------------------------------------------
GRADIENTS = {
    **{
        name: (lambda m, z, w, name=name: getattr(m, name)(z))
        for name in (
            "exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "sinh", "cosh", "asin",
            "acos", "atan", "asinh", "acosh", "atanh", "reciprocal", "square", "abs",
            "angle", "expm1", "log1p",
        )
    },
    "sign": lambda m, z, w: m.sgn(z) if hasattr(m, "sgn") else m.sign(z),
    "conj": lambda m, z, w: m.conj(z) * z,
    "real": lambda m, z, w: m.real(z) ** 2 * m.imag(z),
    "multiply": lambda m, z, w: z * w * w,
    "divide": lambda m, z, w: z / w,
    "pow": lambda m, z, w: z**w,
    "square_by_pow": lambda m, z, w: z**2,
    "matmul": lambda m, z, w: z @ w.T @ z,
    "real_times_complex": lambda m, z, w: m.abs(z) * w,
    "sum": lambda m, z, w: (z * w).sum(0) ** 2,
    "sum_of_all": lambda m, z, w: (z * w).sum() ** 2 * w,
    "mean": lambda m, z, w: z.mean(1) * w[:, 0],
    "mean_of_all": lambda m, z, w: (z * w).mean() ** 2,
    "prod": lambda m, z, w: z.prod(1),
    "cumsum": lambda m, z, w: m.cumsum(z, 1) * w,
    "index": lambda m, z, w: z[[0, 0, 2]] * w[1] * z[:, [1]],
    "where": lambda m, z, w: m.where(m.real(z) > 0, z * w, w),
    "stack": lambda m, z, w: m.stack([z, w * z])[1],
}  # fmt: skip


def weighed(m, y):
    """A real function of the result that is not the same for both parts."""
    if y.dtype.is_complex:
        return (m.real(y) * 0.75 - m.imag(y) ** 2 * 0.3).sum()
    return (y * y * 0.5).sum()


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient_equals_pytorch(name):
    torch = pytest.importorskip("torch")
    a, b = drawn((3, 3), seed=2), drawn((3, 3), seed=3)
    z, w = (tl.tensor(v, requires_grad=True) for v in (a, b))
    u, v = (torch.tensor(v, requires_grad=True) for v in (a, b))
    weighed(tl, GRADIENTS[name](tl, z, w)).backward()
    weighed(torch, GRADIENTS[name](torch, u, v)).backward()
    for ours, theirs in ((z, u), (w, v)):
        assert (ours.grad is None) == (theirs.grad is None)
        if ours.grad is not None:
            np.testing.assert_allclose(
                ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-10, atol=1e-12
            )


def over_reals(function):
    """The function of z and w as one of real arrays with parts along the last axis."""

    def wrapped(x, y):
        found = function(tl, tl.view_as_complex(x), tl.view_as_complex(y))
        found = found + 0 * x.sum() + 0 * y.sum()  # not all depend on both
        return tl.view_as_real(found) if found.dtype.is_complex else found

    return wrapped


@pytest.mark.parametrize("name", GRADIENTS)
def test_derivatives_equal_differences_in_both_modes(name):
    rng = np.random.default_rng(4)
    x, y = (tl.tensor(rng.normal(size=(3, 3, 2)), requires_grad=True) for _ in range(2))
    function = over_reals(GRADIENTS[name])
    assert tl.autograd.gradcheck(function, (x, y))
    assert tl.autograd.gradgradcheck(function, (x, y), atol=2e-4)


def test_jvp_of_complex_primals():
    z, dz = tl.tensor(drawn((4,))), tl.tensor(drawn((4,), seed=1))
    _, tangent = tl.autograd.jvp(tl.exp, z, dz)
    np.testing.assert_allclose(tangent.numpy(), (tl.exp(z) * dz).numpy(), rtol=1e-13)
    _, tangent = tl.autograd.jvp(tl.abs, z, dz)
    expected = (np.conj(z.numpy()) * dz.numpy()).real / abs(z.numpy())
    np.testing.assert_allclose(tangent.numpy(), expected, rtol=1e-13)


def test_gradient_of_a_real_leaf_is_real():
    x = tl.tensor([1.0, 2.0], requires_grad=True)
    tl.abs(x * (3 + 4j)).sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]
    assert x.grad.dtype is tl.float32


def test_descent_finds_a_root():
    z = tl.tensor([0.3 + 0.4j], dtype="complex128", requires_grad=True)
    for _ in range(200):
        loss = (tl.abs(z**2 + 1) ** 2).sum()
        (slope,) = tl.autograd.grad(loss, z)
        with tl.no_grad():
            z = (z - 0.05 * slope).requires_grad_()
    np.testing.assert_allclose(z.detach().numpy(), [1j], atol=1e-6)


def test_parts_of_a_tensor_with_all_axes_are_refused():
    z = tl.ones((1,) * 32, dtype="complex64")
    for op in (tl.real, tl.imag, tl.round, tl.view_as_real):
        with pytest.raises(tl.ShapeError, match="31 axes"):
            op(z)
    assert (z + z).shape == z.shape
    assert tl.sum(z).item() == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_complex_view_under_vmap_of_examples_an_odd_distance_apart(dtype):
    x = tl.arange(15, dtype=dtype).reshape(5, 3)
    found = tl.vmap(lambda row: tl.view_as_complex(row[:2]) * 1)(x)
    assert found.tolist() == [complex(r[0], r[1]) for r in x.tolist()]


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_quotient_of_the_smallest_and_the_largest_numbers_is_no_infinity(dtype):
    facts = np.finfo(dtype)
    for size in (facts.smallest_subnormal * 8, facts.smallest_normal, facts.max / 4):
        a = np.asarray([size + 1j * size, 2 * size - 1j * size], dtype)
        assert tl.divide(tl.tensor(a), tl.tensor(a)).tolist() == [1, 1]
        assert tl.divide(tl.tensor(a), tl.tensor(a * 1j)).tolist() == [-1j, -1j]


def test_gradient_of_assignment_at_positions_equals_pytorchs():
    torch = pytest.importorskip("torch")
    slopes = []
    for kit in (tl, torch):
        x = kit.tensor([1 + 2j, 3 - 1j, 2j], requires_grad=True)
        v = kit.tensor([2 - 1j, 1 + 1j], requires_grad=True)
        y = x * 1
        y[kit.tensor([2, 0])] = v
        kit.real(y * y * (1 + 1j)).sum().backward()
        slopes.append([t.grad.tolist() for t in (x, v)])
    assert slopes[0] == slopes[1]


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("n", [1, 7, 8, 9, 63, 100, 8192, 8195, 30001])
def test_sum_of_all_complex_numbers_equals_numpy(n, dtype):
    rng = np.random.default_rng(n)
    z = (rng.standard_normal(n) + 1j * rng.standard_normal(n)).astype(dtype)
    total = z.astype("complex128").sum()
    # Lanes of a few hundred additions each, then double.
    bound = np.abs(z).sum() * (1e-6 if dtype == "complex64" else 1e-15)
    assert abs(tl.sum(tl.tensor(z)).item() - total) <= bound
    assert abs(tl.mean(tl.tensor(z)).item() - total / n) <= bound / n
    assert tl.sum(tl.tensor(z), keepdims=True).shape == (1,)


def test_sum_of_all_complex_numbers_has_the_same_bits_on_any_threads():
    z = tl.view_as_complex(tl.randn((100000, 2)))
    found = set()
    for threads in range(1, 9):
        with tl.num_threads(threads):
            found.add(tl.sum(z).item())
    assert len(found) == 1
