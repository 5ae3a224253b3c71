"""Linear algebra of complex matrices: NumPy, PyTorch and differences as references."""

import numpy as np
import pytest
from op_rows import THREADS, bits

import tensorlib as tl

L = tl.linalg
DTYPES = pytest.mark.parametrize("dtype", ["complex64", "complex128"])
SIZES = pytest.mark.parametrize("n", [1, 2, 4, 17, 40])
# Matrices of order one, far from singular: a few roundings a column.
CLOSE = {"complex64": 3e-4, "complex128": 3e-12}


def matrix(*shape, dtype="complex128", seed=0, shift=True):
    rng = np.random.default_rng(seed)
    a = rng.uniform(-1, 1, shape) + 1j * rng.uniform(-1, 1, shape)
    if shift:
        a = a + 2 * np.sqrt(shape[-1]) * np.eye(*shape[-2:])[::-1]
    return a.astype(dtype)


def definite(n, dtype="complex128"):
    a = matrix(n, n, shift=False)
    return (a @ a.conj().T + np.eye(n)).astype(dtype)


def adjoint(x):
    return tl.conj(x.mT) if isinstance(x, tl.Tensor) else x.mH


def assert_near(found, expected, tolerance=3e-12):
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(
        found.detach().numpy(), expected, rtol=tolerance, atol=tolerance
    )


# ---- values ----------------------------------------------------------------------
@DTYPES
@SIZES
def test_systems_equal_numpy(n, dtype):
    a, b = matrix(n, n, dtype=dtype), matrix(n, 3, dtype=dtype, seed=1)
    x, y, wide = tl.tensor(a), tl.tensor(b), a.astype("complex128")
    assert_near(L.inv(x), np.linalg.inv(wide), CLOSE[dtype])
    assert_near(L.solve(x, y), np.linalg.solve(wide, b), CLOSE[dtype])
    assert_near(L.solve(x, y[:, 0]), np.linalg.solve(wide, b[:, 0]), CLOSE[dtype])
    expected = np.linalg.slogdet(wide)
    found = L.slogdet(x)
    assert found.sign.dtype.name == dtype
    assert found.logabsdet.dtype.name == wide.astype(dtype).real.dtype.name
    assert_near(found.sign, expected.sign, n * CLOSE[dtype])
    assert_near(found.logabsdet, expected.logabsdet, CLOSE[dtype])
    small = a / np.sqrt(n).astype("float32")
    det = np.linalg.det(small.astype("complex128"))
    assert_near(L.det(tl.tensor(small)) / det, 1.0, n * CLOSE[dtype])


@DTYPES
@SIZES
def test_factorizations_give_back_their_matrix(n, dtype):
    close = 10 * CLOSE[dtype]
    for shape in ((n, n), (n + 2, n), (n, n + 3)):
        a = matrix(*shape, dtype=dtype, shift=False)
        x, k = tl.tensor(a), min(shape)
        for mode in ("reduced", "complete"):
            q, r = L.qr(x, mode=mode)
            assert_near(q @ r, a, close)
            assert_near(adjoint(q) @ q, np.eye(q.shape[1]), close)
            assert_near(tl.triu(r), r.numpy(), 0)
        for full in (False, True):
            u, s, vh = L.svd(x, full_matrices=full)
            assert s.dtype.name == dtype.replace("complex64", "float32").replace(
                "complex128", "float64"
            )
            assert_near((u[:, :k] * s) @ vh[:k], a, close)
            assert_near(adjoint(u) @ u, np.eye(u.shape[1]), close)
            assert_near(vh @ adjoint(vh), np.eye(vh.shape[0]), close)
        p, lower, upper = L.lu(x)
        assert_near(p @ lower @ upper, a, close)
        assert_near(L.svdvals(x), np.linalg.svd(a.astype("complex128"))[1], close)


@DTYPES
@SIZES
def test_hermitian_factorizations_of_rounded_triangles_read_one(n, dtype):
    a, close = definite(n, dtype), 10 * CLOSE[dtype]
    noise = 0.6 * np.abs(a).max() * np.sqrt(np.finfo(dtype).eps) * (1 + 1j)
    low = (a + noise * np.triu(np.ones((n, n)), 1)).astype(dtype)
    w, v = L.eigh(tl.tensor(low))
    assert_near((v * w) @ adjoint(v), a, n * close)
    assert_near(L.eigvalsh(tl.tensor(low)), np.linalg.eigvalsh(a), n * close)
    expected = np.linalg.cholesky(a.astype("complex128"))
    assert_near(L.cholesky(tl.tensor(low)), expected, close)
    found = L.cholesky(tl.tensor(np.ascontiguousarray(low.T.conj())), upper=True)
    assert_near(found, expected.conj().T, close)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@SIZES
def test_eig_solves_its_equation(n, dtype):
    a = matrix(n, n, shift=False).astype(dtype) if dtype[0] == "c" else (
        matrix(n, n, shift=False).real.astype(dtype)
    )  # fmt: skip
    w, v = L.eig(tl.tensor(a))
    close = 1e-4 if dtype in ("float32", "complex64") else 1e-12
    assert w.dtype.name == v.dtype.name == np.result_type(a, np.complex64).name
    assert_near(tl.tensor(a.astype(w.dtype.name)) @ v - v * w, 0 * a, n * close)
    assert_near((tl.abs(v) ** 2).sum(axis=0), np.ones(n), close)
    expected = np.linalg.eigvals(a.astype(np.result_type(a, np.complex128)))
    for found in (w, L.eigvals(tl.tensor(a))):
        gaps = abs(found.numpy()[:, None] - expected)
        assert gaps.min(axis=1).max() < n * close
        assert gaps.min(axis=0).max() < n * close


def test_norms_of_complex_numbers_are_real():
    a = matrix(3, 4, shift=False)
    x = tl.tensor(a)
    for p in (0, 1, 2, 3, np.inf, -np.inf, -1):
        expected = np.linalg.norm(a.ravel(), p)
        assert_near(L.vector_norm(x, ord=p), expected)
        found = L.vector_norm(x, axis=1, keepdims=True, ord=p)
        assert_near(found, np.linalg.norm(a, p, axis=1, keepdims=True))
    for p in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        assert_near(L.matrix_norm(x, ord=p), np.linalg.norm(a, p))
    assert_near(L.norm(x), np.linalg.norm(a))
    huge = tl.tensor([3e30 + 4e30j], dtype="complex64")
    assert L.vector_norm(huge).item() == pytest.approx(5e30)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pinv_lstsq_and_rank_equal_numpy(rank):
    a = matrix(5, rank, shift=False) @ matrix(rank, 3, shift=False, seed=1)
    b = matrix(5, 2, shift=False, seed=2)
    assert_near(L.pinv(tl.tensor(a)), np.linalg.pinv(a, rcond=1e-12), 1e-10)
    assert L.matrix_rank(tl.tensor(a)).item() == rank
    found = L.lstsq(tl.tensor(a), tl.tensor(b))
    expected = np.linalg.lstsq(a, b, rcond=1e-12)
    assert_near(found.solution, expected[0], 1e-10)
    assert_near(found.residuals, expected[1], 1e-10)
    assert_near(found.singular_values, expected[3], 1e-10)


def test_real_matrix_with_complex_sides_is_promoted():
    a, b = matrix(3, 3).real.copy(), matrix(3, 2)
    assert_near(L.solve(tl.tensor(a), tl.tensor(b)), np.linalg.solve(a, b))


# ---- bad input -------------------------------------------------------------------
@pytest.mark.parametrize("value", [np.nan, complex(0, np.inf), complex(np.nan, 1)])
@pytest.mark.parametrize("n", [2, 20])
def test_matrix_that_is_not_finite_is_refused(n, value):
    x = definite(n)
    x[n - 1, 0] = value
    for dtype in ("complex64", "complex128"):
        for op in (L.eig, L.eigvals, L.eigh, L.eigvalsh, L.svd, L.svdvals, L.pinv):
            with pytest.raises(L.LinAlgError, match="NaN or infinity"):
                op(tl.tensor(x, dtype=dtype))
    for op in (L.eig, L.eigvals):
        with pytest.raises(L.LinAlgError, match="NaN or infinity"):
            op(tl.tensor(abs(x)))


@DTYPES
@pytest.mark.parametrize("n", [2, 20, 40])
def test_matrix_that_is_not_hermitian_is_refused(n, dtype):
    a = definite(n, dtype)
    step = 2 * np.abs(a).max() * np.sqrt(np.finfo(dtype).eps)
    for place in ((0, 0), (n - 1, n - 1), (n - 1, 0), (0, n - 1)):
        x = a.copy()
        x[place] += 1j * step
        for op in (L.cholesky, L.eigh, L.eigvalsh):
            with pytest.raises(L.LinAlgError, match="not symmetric"):
                op(tl.tensor(x))
    symmetric = tl.tensor([[1, 1j], [1j, 3]], dtype=dtype)
    with pytest.raises(L.LinAlgError, match=r"not symmetric \(Hermitian"):
        L.eigh(symmetric)


def test_singular_and_indefinite_matrices_are_refused():
    x = tl.tensor([[1, 1j], [1j, -1]])
    for op in (L.inv, lambda a: L.solve(a, a)):
        with pytest.raises(L.LinAlgError, match="pivot 2"):
            op(x)
    with pytest.raises(L.LinAlgError, match="order 2"):
        L.cholesky(tl.tensor([[1, 2j], [-2j, 1]]))
    with pytest.raises(L.LinAlgError, match="element 1 there is 0"):
        L.solve_triangular(x * 0, x, upper=True)
    assert tl.abs(L.det(x)).item() == 0
    assert L.slogdet(x).sign.item() == 0


def test_empty_complex_matrices_have_results():
    x = tl.zeros((2, 0, 0), dtype="complex64")
    assert L.eig(x).eigenvectors.shape == L.inv(x).shape == (2, 0, 0)
    assert L.eigvals(x).shape == L.svdvals(x).shape == (2, 0)
    assert L.det(x).tolist() == [1, 1]


@pytest.mark.parametrize("op", [L.inv, L.eig, L.svd, L.cholesky, L.qr, L.matrix_exp])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_decomposition_of_half_precision_is_refused(op, dtype):
    with pytest.raises(tl.DTypeError, match=r"cast with \.astype"):
        op(tl.eye(2, dtype=dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_norm_of_half_precision_is_computed_in_float32(dtype):
    x = tl.full((60, 60), 100.0, dtype=dtype)  # 10**4 * 3600 is beyond float16
    assert L.vector_norm(x).item() == pytest.approx(6000, rel=4e-3)
    for p in (2, 3):
        assert L.vector_norm(x, ord=p).dtype.name == dtype
    assert L.matrix_norm(x).item() == L.norm(x).item() == L.vector_norm(x).item()
    assert L.matrix_norm(x, ord=1).item() == pytest.approx(6000, rel=4e-3)
    assert L.vecdot(x / 100, x / 100)[0].item() == 60


# ---- derivatives -----------------------------------------------------------------
def _by_eigh(m, x):
    w, v = m.linalg.eigh(x + adjoint(x))
    return w, m.abs(v), (v * m.sin(w)[..., None, :]) @ adjoint(v)


def _by_svd(m, x):
    u, s, vh = m.linalg.svd(x, full_matrices=False)
    return s, m.abs(u), u @ vh, (u * m.sin(s)[..., None, :]) @ vh


def _by_eig(m, x):
    w, v = m.linalg.eig(x)
    return w, m.abs(v), (v * w[..., None, :]) @ m.linalg.inv(v)


def _by_cholesky(m, x):
    factor = m.linalg.cholesky(x @ adjoint(x))
    return (m.linalg if m is tl else m).cholesky_solve(x, factor)


PEERS = {
    "inv": lambda m, x: m.linalg.inv(x),
    "solve": lambda m, x: m.linalg.solve(x, x @ x),
    "det": lambda m, x: m.linalg.det(x),
    "slogdet": lambda m, x: tuple(m.linalg.slogdet(x)),
    "cholesky": lambda m, x: m.linalg.cholesky(x @ adjoint(x)),
    "cholesky_upper": lambda m, x: m.linalg.cholesky(x @ adjoint(x), upper=True),
    "cholesky_solve": _by_cholesky,
    "triangular": lambda m, x: m.linalg.solve_triangular(m.triu(x), x, upper=True),
    "triangular_right": lambda m, x: m.linalg.solve_triangular(
        m.tril(x), x, upper=False, left=False
    ),
    "lu": lambda m, x: tuple(m.linalg.lu(x))[1:],
    "lu_solve": lambda m, x: m.linalg.lu_solve(*m.linalg.lu_factor(x), x @ x),
    "lu_solve_adjoint": lambda m, x: m.linalg.lu_solve(
        *m.linalg.lu_factor(x), x @ x, adjoint=True, left=False
    ),
    "qr": lambda m, x: tuple(m.linalg.qr(x)),
    "eigvalsh": lambda m, x: m.linalg.eigvalsh(x @ adjoint(x)),
    "eigh": _by_eigh,
    "svdvals": lambda m, x: m.linalg.svdvals(x),
    "svd": _by_svd,
    "pinv": lambda m, x: m.linalg.pinv(x),
    "lstsq": lambda m, x: m.linalg.lstsq(x, x * 2 + 1)[0],
    "matrix_exp": lambda m, x: m.linalg.matrix_exp(x / 4),
    "matrix_power": lambda m, x: m.linalg.matrix_power(x, -2),
    "nuclear_norm": lambda m, x: m.linalg.matrix_norm(x, ord="nuc"),
    "norm": lambda m, x: m.linalg.matrix_norm(x),
    "vector_norm": lambda m, x: m.linalg.vector_norm(x, ord=3),
    "cond": lambda m, x: m.linalg.cond(x),
    "eig": _by_eig,
    "eigvals": lambda m, x: m.linalg.eigvals(x),
    "vecdot": lambda m, x: m.linalg.vecdot(x, x @ x),
    "cross": lambda m, x: m.linalg.cross(x[..., :3], (x * x)[..., :3]),
    "multi_dot": lambda m, x: m.linalg.multi_dot([x, x, x]),
}
TALL_OR_WIDE = ("qr", "lu", "svd", "svdvals", "pinv", "lstsq", "nuclear_norm", "norm")
CASES = [
    *[(name, (n, n)) for name in PEERS for n in (3, 19)],
    *[(name, shape) for name in TALL_OR_WIDE for shape in ((5, 3), (3, 5))],
]


def results(m, name, x):
    y = PEERS[name](m, x)
    return y if isinstance(y, tuple) else (y,)


def loss_of(m, ys):
    """A real function that tells every element, and both of its parts, apart."""
    total = 0
    for y in ys:
        weights = np.cos(np.arange(int(np.prod(y.shape)))).reshape(tuple(y.shape))
        weights = m.tensor(weights)
        if y.dtype.is_complex:
            total = total + (m.real(y) * weights - m.imag(y) ** 2 * 0.3).sum()
        else:
            total = total + (y * y * weights).sum()
    return total


def assert_equal_to_pytorch(name, a):
    torch = pytest.importorskip("torch")
    x, z = tl.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    ours, theirs = results(tl, name, x), results(torch, name, z)
    for y, t in zip(ours, theirs, strict=True):
        t = t.detach().resolve_conj()
        assert y.dtype.name == str(t.dtype).removeprefix("torch.")
        assert_near(y, t.numpy(), 1e-9)
    loss_of(tl, ours).backward()
    loss_of(torch, theirs).backward()
    assert x.grad.dtype.name == a.dtype.name
    assert_near(x.grad, z.grad.resolve_conj().numpy(), 1e-8)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_value_and_gradient_equal_pytorch(name, shape):
    assert_equal_to_pytorch(name, matrix(*shape, seed=5))


@pytest.mark.parametrize("name", ["eig", "eigvals"])
@pytest.mark.parametrize("n", [3, 19])
def test_eig_of_real_matrix_equals_pytorch_with_real_gradient(name, n):
    assert_equal_to_pytorch(name, matrix(n, n, seed=6).real.copy())


SMALL_CASES = [(name, shape) for name, shape in CASES if max(shape) < 6]


@pytest.mark.parametrize(("name", "shape"), SMALL_CASES)
def test_derivatives_equal_differences_in_both_modes(name, shape):
    def function(parts):
        ys = results(tl, name, tl.view_as_complex(parts))
        return tuple(tl.view_as_real(y) if y.dtype.is_complex else y for y in ys)

    a = matrix(*shape, seed=7)
    parts = tl.tensor(np.stack([a.real, a.imag], -1), requires_grad=True)
    assert tl.autograd.gradcheck(function, (parts,))
    assert tl.autograd.gradgradcheck(function, (parts,), atol=3e-4)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_det_of_singular_matrix_has_right_derivatives(rank):
    a = matrix(3, rank, shift=False) @ matrix(rank, 3, shift=False, seed=1)

    def function(parts):
        return tl.view_as_real(L.det(tl.view_as_complex(parts)))

    parts = tl.tensor(np.stack([a.real, a.imag], -1), requires_grad=True)
    assert tl.autograd.gradcheck(function, (parts,))
    assert tl.autograd.gradgradcheck(function, (parts,))


@pytest.mark.parametrize(
    ("op", "vectors"),
    [
        ("eigh", lambda x: L.eigh(x + adjoint(x)).eigenvectors),
        ("eig", lambda x: L.eig(x).eigenvectors),
        ("svd", lambda x: L.svd(x).U),
    ],
)
def test_gradient_that_depends_on_phases_is_refused(op, vectors):
    x = tl.tensor(matrix(3, 3), requires_grad=True)
    weights = tl.tensor(matrix(3, 3, seed=1))
    with pytest.raises(tl.GraphError, match=f"{op}: .* phases"):
        tl.real(vectors(x) * weights).sum().backward()


# ---- threads, memory -------------------------------------------------------------
@DTYPES
def test_bits_depend_on_neither_threads_nor_neighbours(dtype):
    x = tl.tensor(matrix(60, 14, 14, dtype=dtype))
    ops = (L.inv, L.svdvals, L.qr, lambda a: L.eigh(a + adjoint(a)), L.det, L.eig)
    for op in ops:

        def both(a, op=op):
            y = op(a)
            y = y if isinstance(y, tuple) else (y,)
            return bits([tl.view_as_real(v) if v.dtype.is_complex else v for v in y])

        found = set()
        for n in THREADS:
            tl.set_num_threads(n)
            found.add(tuple(both(x)))
        tl.set_num_threads(THREADS[0])
        assert len(found) == 1
        for whole, alone in zip(both(x), both(x[7:8]), strict=True):
            size = len(whole) // 60
            assert whole[7 * size : 8 * size] == alone


# ---- a kernel never leaves its operands ------------------------------------------
def _matrix_ops():
    found = {p.name: p for p in tl.autograd.primitives() if hasattr(p, "execute")}
    assert {"inv", "solve", "solve_adjoint", "eig", "svd"} <= set(found)
    return found


A, B = tl.eye(3).reshape(1, 3, 3), tl.ones((1, 3, 2))
PIVOTS = tl.tensor([[1, 2, 3]], dtype="int32")
WRONG = [
    ("inv", (tl.zeros((1, 2, 2)),), (A,)),
    ("inv", (tl.zeros((1, 3, 3), dtype="float64"),), (A,)),
    ("inv", (tl.zeros((2, 3, 3)),), (A,)),
    ("inv", (tl.zeros((1, 3, 6))[:, :, ::2],), (A,)),
    ("inv", (), (A,)),
    ("inv", (None,), (A,)),
    ("inv", (tl.zeros((1, 3, 3)),), (tl.ones(()).broadcast_to((1, 3, 3)),)),
    ("inv", (tl.zeros((1, 3, 4)),), (tl.ones((1, 3, 4)),)),
    ("solve", (B.copy(), A.copy()), (A, B)),
    ("solve", (B.copy(), A.copy(), PIVOTS.astype("int64")), (A, B)),
    ("solve", (tl.zeros((1, 3, 1)), A.copy(), PIVOTS.copy()), (A, B)),
    ("solve", (tl.zeros((1, 2, 3)), A.copy(), PIVOTS.copy()), (A, tl.ones((1, 2, 3)))),
    ("solve_triangular", (tl.zeros((1, 2, 3)),), (A, tl.ones((1, 2, 3)))),
    ("eigh", (tl.zeros((1, 2)),), (A,)),
    ("qr", (tl.zeros((1, 2, 3)),), (A,)),
    ("svd", (tl.zeros((1, 3)), A.copy()), (A,)),
    ("eig", (tl.zeros((1, 3)),), (A,)),
    ("cofactors", (A.copy(),), (A,)),
    ("slogdet", (tl.zeros(1), tl.zeros(1, dtype="complex64")), (A,)),
]


@pytest.mark.parametrize(("name", "outputs", "inputs"), WRONG)
def test_execute_refuses_operands_that_do_not_fit(name, outputs, inputs):
    with pytest.raises(tl.ShapeError, match=f"{name}: expected"):
        _matrix_ops()[name].execute(outputs, inputs, ())


def test_execute_refuses_pivots_out_of_range():
    op = _matrix_ops()["solve_adjoint"]
    for wrong in (0, -7, 4, 2**30):
        pivots = tl.full((1, 3), wrong, dtype="int32")
        for x, b in ((A, B), (tl.eye(40).reshape(1, 40, 40), tl.ones((1, 40, 2)))):
            order = tl.full((1, x.shape[1]), 99 if wrong == 4 else wrong, dtype="int32")
            with pytest.raises(L.LinAlgError, match="pivot out of range"):
                op.execute((b.copy(),), (x, b, order), ())
        with pytest.raises(IndexError, match="pivots in"):
            L.matrix_op.permutation(pivots, 3)
    for pivots in (
        PIVOTS.astype("float64"),
        PIVOTS[0],
        tl.concat([PIVOTS] * 2, axis=1),
    ):
        with pytest.raises(tl.ShapeError, match="permutation: expected"):
            L.matrix_op.permutation(pivots, 3)


def test_execute_refuses_integers_and_read_only_outputs():
    op = _matrix_ops()["inv"]
    with pytest.raises(tl.DTypeError, match="inv: expected float32"):
        op.execute((A.astype("int32"),), (A.astype("int32"),), ())
    frozen = np.zeros((1, 3, 3), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(Exception, match="read-only"):
        op.execute((tl.asarray(frozen),), (A,), ())
    assert not frozen.any()


def test_rules_of_wrong_types_are_refused():
    op = _matrix_ops()["inv"]
    with pytest.raises(TypeError, match="expected tensors"):
        op.is_tracked((1, None))
    with pytest.raises(TypeError, match="to save"):
        op.recorded(A.copy(), (A,), (A,) * 99)
