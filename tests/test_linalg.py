"""Linear algebra: single and empty matrices, errors, delicate derivatives."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from op_rows import THREADS, bits

import tensorlib as tl

L = tl.linalg
FLOATS = ("float32", "float64")
# Matrices of order one, far from singular: a few roundings a column.
RTOL = {"float32": 2e-4, "float64": 2e-12}


def matrix(*shape, dtype="float64", seed=0, shift=True):
    """A matrix, or a stack, with singular values within a factor of about 5."""
    a = np.random.default_rng(seed).uniform(-1, 1, shape)
    if shift:
        a = a + 2 * np.sqrt(shape[-1]) * np.eye(*shape[-2:])[::-1]
    return a.astype(dtype)


def definite(n, dtype="float64"):
    a = matrix(n, n, shift=False)
    return (a @ a.T + np.eye(n)).astype(dtype)


def half_digits(dtype):
    return np.sqrt(np.finfo(dtype).eps)


def leaf(a):
    return tl.tensor(a).requires_grad_()


def assert_near(found, expected, rtol=2e-12):
    found = found.detach().numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


# ---- single matrices of every way through the kernels ----------------------------
SIZES = pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9, 33, 100])
DTYPES = pytest.mark.parametrize("dtype", FLOATS)


@DTYPES
@SIZES
def test_inv_of_single_matrix_equals_numpy(n, dtype):
    a = matrix(n, n, dtype=dtype)
    assert_near(L.inv(tl.tensor(a)), np.linalg.inv(a.astype(float)), RTOL[dtype])


@DTYPES
@SIZES
def test_solve_of_single_matrix_equals_numpy(n, dtype):
    a, b = matrix(n, n, dtype=dtype), matrix(n, 3, dtype=dtype)
    expected = np.linalg.solve(a.astype(float), b.astype(float))
    assert_near(L.solve(tl.tensor(a), tl.tensor(b)), expected, RTOL[dtype])
    found = L.solve(tl.tensor(a), tl.tensor(b[:, 0].copy()))
    assert_near(found, expected[:, 0], RTOL[dtype])


@DTYPES
@SIZES
def test_determinants_of_single_matrix_equal_numpy(n, dtype):
    a = matrix(n, n, dtype=dtype) / np.sqrt(n).astype(dtype)
    sign, logarithm = np.linalg.slogdet(a.astype(float))
    found = L.slogdet(tl.tensor(a))
    assert found.sign.item() == sign
    assert_near(found.logabsdet, logarithm, RTOL[dtype])
    assert L.det(tl.tensor(a)).item() == pytest.approx(
        np.linalg.det(a.astype(float)), rel=n * RTOL[dtype]
    )


@DTYPES
@SIZES
@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_of_rounded_triangles_reads_the_one_asked_for(n, dtype, upper):
    a = definite(n, dtype)
    kept = np.triu(a) if upper else np.tril(a)
    noise = np.random.default_rng(n).uniform(-1, 1, a.shape)
    a += (0.9 * np.abs(a).max() * noise * half_digits(dtype)).astype(dtype)
    rounded = np.where(kept != 0, kept, a)
    found = L.cholesky(tl.tensor(rounded), upper=upper)
    whole = (kept + kept.T - np.diag(np.diag(kept))).astype(float)
    expected = np.linalg.cholesky(whole)
    assert_near(found, expected.T if upper else expected, RTOL[dtype])


@DTYPES
@pytest.mark.parametrize("n", [191, 192, 193, 255, 257, 320])
def test_cholesky_by_tiles_equals_numpy_on_any_number_of_threads(n, dtype):
    a = definite(n, dtype)
    expected = np.linalg.cholesky(a.astype(float))
    stack = tl.tensor(np.stack([a] * 3))
    found = []
    try:
        for threads in THREADS:
            tl.set_num_threads(threads)
            found += [L.cholesky(tl.tensor(a)), *L.cholesky(stack)]
    finally:
        tl.set_num_threads(THREADS[0])
    assert_near(found[0], expected, RTOL[dtype])
    assert {x.numpy().tobytes() for x in found} == {found[0].numpy().tobytes()}


@pytest.mark.parametrize("place", [0, 63, 64, 200, 256])
def test_cholesky_by_tiles_names_the_leading_minor(place):
    a = definite(257)
    a[place, place] = -1
    with pytest.raises(L.LinAlgError, match=f"minor of order {place + 1} "):
        L.cholesky(tl.tensor(a))


@pytest.mark.parametrize("shape", [(3, 3), (7, 3), (3, 7), (70, 40), (1, 5), (5, 1)])
def test_factorizations_give_back_their_matrix(shape):
    a = matrix(*shape, shift=False)
    x, k = tl.tensor(a), min(shape)
    for mode in ("reduced", "complete"):
        q, r = L.qr(x, mode=mode)
        assert_near(q @ r, a)
        assert_near(q.mT @ q, np.eye(q.shape[1]))
        assert_near(tl.triu(r), r.numpy())
    for full in (False, True):
        u, s, vh = L.svd(x, full_matrices=full)
        assert_near((u[:, :k] * s) @ vh[:k], a)
        assert_near(u.mT @ u, np.eye(u.shape[1]))
        assert_near(vh @ vh.mT, np.eye(vh.shape[0]))
    p, lower, upper = L.lu(x)
    assert_near(p @ lower @ upper, a)
    assert np.abs(lower.numpy()).max() <= 1


@pytest.mark.parametrize("n", [3, 5, 40])
def test_eigh_of_rounded_triangles_reads_the_lower_one(n):
    a = definite(n)
    rounded = a + np.triu(np.full((n, n), 0.9 * np.abs(a).max()), 1) * 2.0**-26
    for x in (a, rounded):
        w, v = L.eigh(tl.tensor(x))
        assert_near((v * w) @ v.mT, a)
        assert_near(L.eigvalsh(tl.tensor(x)), np.linalg.eigvalsh(a))


def test_results_of_transposed_matrix_equal_those_of_its_copy():
    x = tl.tensor(matrix(6, 6))
    for op in (L.inv, L.det, L.svdvals, L.pinv, lambda a: L.qr(a).R, L.matrix_exp):
        assert bits([op(x.mT)]) == bits([op(x.mT.copy())])


# ---- empty matrices --------------------------------------------------------------
@pytest.mark.parametrize("batch", [(), (0,), (2,), (2, 0)])
def test_matrices_without_elements_have_results(batch):
    x = tl.zeros((*batch, 0, 0))
    assert L.inv(x).shape == L.cholesky(x).shape == L.matrix_exp(x).shape == x.shape
    assert L.det(x).tolist() == np.ones(batch).tolist()
    assert L.slogdet(x).logabsdet.tolist() == np.zeros(batch).tolist()
    assert L.eigh(x).eigenvalues.shape == L.svdvals(x).shape == (*batch, 0)
    assert L.solve(x, tl.zeros((*batch, 0, 2))).shape == (*batch, 0, 2)
    tall = tl.zeros((*batch, 3, 0))
    assert L.qr(tall).Q.shape == (*batch, 3, 0)
    one = np.broadcast_to(np.eye(3), (*batch, 3, 3))
    assert_near(L.qr(tall, mode="complete").Q, one)
    assert_near(L.svd(tall).U, one)
    assert L.pinv(tall).shape == (*batch, 0, 3)
    assert L.matrix_rank(tall).tolist() == np.zeros(batch).tolist()


# ---- bad input -------------------------------------------------------------------
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (L.inv, "inv: expected an invertible matrix, got a singular one: pivot 2"),
        (lambda x: L.solve(x, x[0]), "solve: expected an invertible matrix"),
        (L.cholesky, "cholesky: expected a positive definite matrix, got one whose "
                     "leading minor of order 2"),
        (lambda x: L.solve_triangular(x * 0, x, upper=True),
         "solve_triangular: .* zeros on its diagonal, got one whose element 1"),
        (lambda x: L.matrix_power(x, -2), "matrix_power: expected"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [2, 12])
def test_singular_matrix_raises(op, words, size):
    x = np.eye(size)
    x[:2, :2] = SINGULAR
    with pytest.raises(L.LinAlgError, match=words):
        op(tl.tensor(x))


def test_error_names_the_matrix_of_the_batch():
    x = np.broadcast_to(np.eye(3), (2, 4, 3, 3)).copy()
    x[1, 2] = 0
    with pytest.raises(L.LinAlgError, match=r"at index \(1, 2\) of the batch"):
        L.inv(tl.tensor(x))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [2, 4, 12, 60])
def test_matrix_that_is_not_finite_neither_hangs_nor_crashes(n, value):
    for place in ((0, 0), (n - 1, 0), (n - 1, n - 1)):
        x = definite(n)
        x[place] = value
        x = tl.tensor(x)
        for op in (L.eigh, L.eigvalsh, L.svd, L.svdvals, L.pinv, L.matrix_rank):
            with pytest.raises(L.LinAlgError, match="NaN or infinity"):
                op(x)
        with pytest.raises(L.LinAlgError, match="positive definite"):
            L.cholesky(x)
        assert not np.isfinite(L.det(x).item())
        assert np.isnan(L.matrix_exp(x).numpy()).all()
        L.qr(x), L.lu(x)
        if np.isnan(value):
            assert np.isnan(L.inv(x).numpy()).any()
            assert np.isnan(L.solve(x, tl.ones(n, dtype="float64")).numpy()).any()


HERMITIAN_OPS = pytest.mark.parametrize(
    "op", [L.cholesky, lambda x: L.cholesky(x, upper=True), L.eigh, L.eigvalsh]
)


@DTYPES
@HERMITIAN_OPS
@pytest.mark.parametrize("n", [2, 4, 5, 33, 40, 70])
def test_matrix_that_is_not_symmetric_is_refused(op, n, dtype):
    a = definite(n, dtype)
    step = (1.2 * np.abs(a).max() * half_digits(dtype)).astype(dtype)
    for place in ((n - 1, 0), (0, 1), (n - 1, n - 2), (n // 2 - 1, n // 2)):
        x = a.copy()
        x[place] += step
        with pytest.raises(L.LinAlgError, match=r"expected a .* is not symmetric"):
            op(tl.tensor(x))


@HERMITIAN_OPS
def test_skewed_matrix_of_huge_elements_is_refused(op):
    with pytest.raises(L.LinAlgError, match="not symmetric"):
        op(tl.tensor([[1e38, 3e38], [-3e38, 1e38]]))


@HERMITIAN_OPS
def test_skewed_matrix_of_tiny_elements_is_refused(op):
    x = tl.tensor([[2.0, 1.0], [-1.0, 2.0]], dtype="float64") * 1e-310
    with pytest.raises(L.LinAlgError, match="not symmetric"):
        op(x)


@HERMITIAN_OPS
@pytest.mark.parametrize("place", [(0, 3), (3, 0)])
def test_nan_of_either_triangle_is_refused(op, place):
    x = definite(4)
    x[place] = np.nan
    with pytest.raises(L.LinAlgError, match="NaN or infinity"):
        op(tl.tensor(x))


@HERMITIAN_OPS
def test_unsymmetric_matrix_is_refused_by_transforms_too(op):
    a = np.stack([definite(3)] * 4)
    a[2, 0, 1] += 1
    x = tl.tensor(a)
    with pytest.raises(L.LinAlgError, match=r"not symmetric .* at index \(2,\)"):
        op(x)
    with pytest.raises(L.LinAlgError, match="not symmetric"):
        tl.vmap(op)(x)
    with pytest.raises(L.LinAlgError, match="not symmetric"):
        tl.jvp(op, (x[2],), (x[0],))
    with pytest.raises(L.LinAlgError, match="not symmetric"):
        op(x[2].requires_grad_())


@pytest.mark.parametrize("dtype", FLOATS)
def test_inverse_and_product_count_as_symmetric(dtype):
    near = definite(40, dtype) + np.full((40, 40), 1000, dtype)  # condition 4e4
    inverse = L.inv(tl.tensor(near))
    skew = np.abs(inverse.numpy() - inverse.numpy().T).max()
    assert skew > 40 * np.finfo(dtype).eps * np.abs(inverse.numpy()).max()
    w, v = np.linalg.eigh(definite(40))
    product = tl.tensor((v * w).astype(dtype)) @ tl.tensor(v.T.astype(dtype))
    for x in (inverse, product):
        assert_near(L.eigvalsh(x), np.linalg.eigvalsh(x.numpy().astype(float)), 1e-3)
        assert L.cholesky(x).shape == x.shape


@HERMITIAN_OPS
def test_indefinite_matrix_of_rounded_triangles_is_symmetric(op):
    # Nothing on the diagonal says how large a rounding may be.
    x = tl.tensor([[0.0, 1e3], [1e3 + 1e-6, 0.0]], dtype="float64")
    if op in (L.eigh, L.eigvalsh):
        assert_near(L.eigvalsh(x), np.array([-1e3, 1e3]), 1e-8)
    else:
        with pytest.raises(L.LinAlgError, match="leading minor of order 1"):
            op(x)


def test_failure_leaves_no_memory_behind():
    x = tl.zeros((3, 20, 20))
    before = tl.memory_stats()["live"]
    for _ in range(3):
        with pytest.raises(L.LinAlgError):
            L.inv(x)
    assert tl.memory_stats()["live"] == before


def test_lu_solve_refuses_pivots_out_of_range():
    lu, pivots = L.lu_factor(tl.eye(3))
    for wrong in (pivots * 0, pivots + 3, pivots * 0 - 7):
        with pytest.raises(IndexError, match=r"pivots in 1\.\.3"):
            L.lu_solve(lu, wrong.astype("int32"), tl.ones((3, 1)))
    with pytest.raises(tl.DTypeError, match="int32"):
        L.lu_solve(lu, pivots.astype("int64"), tl.ones((3, 1)))
    with pytest.raises(tl.ShapeError, match="pivots of shape"):
        L.lu_solve(lu, pivots[:2], tl.ones((3, 1)))


def test_matrices_beyond_the_reach_of_lapack_are_refused():
    huge = tl.zeros(1).broadcast_to((1, 20001, 20001))
    for op in (L.spectrum._eigh, L.spectrum._svd):
        with pytest.raises(tl.ShapeError, match="to 20000 rows"):
            op.execute((), (huge,), ())
    with pytest.raises(tl.ShapeError, match=r"2\*\*31 elements"):
        L.solving._inv.execute((), (tl.zeros(1).broadcast_to((1, 50000, 50000)),), ())


def test_unknown_modes_are_refused():
    with pytest.raises(ValueError, match="qr: expected mode"):
        L.qr(tl.eye(2), mode="full")
    with pytest.raises(ValueError, match="matrix_norm: expected ord"):
        L.matrix_norm(tl.eye(2), ord=3)
    with pytest.raises(ValueError, match="pivot=True"):
        L.lu(tl.eye(2), pivot=False)


# ---- derivatives -----------------------------------------------------------------
def check(function, *arrays):
    inputs = [leaf(a) for a in arrays]
    assert tl.autograd.gradcheck(function, inputs)
    assert tl.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (2, 4, 3)])
def test_gradients_of_singular_vectors_equal_differences(shape):
    check(lambda x: tuple(L.svd(x, full_matrices=False)), matrix(*shape, shift=False))


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (2, 3, 4)])
def test_gradients_of_qr_and_lu_equal_differences(shape):
    a = matrix(*shape, seed=3, shift=False)
    check(lambda x: tuple(L.qr(x)), a)
    check(lambda x: tuple(L.lu(x)), a)


def test_gradients_of_eigenvectors_equal_differences():
    check(lambda x: tuple(L.eigh(x + x.mT)), matrix(2, 4, 4, shift=False))


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4])
def test_det_of_singular_matrix_has_right_derivatives(rank):
    a = matrix(4, rank, seed=1, shift=False) @ matrix(rank, 4, seed=2, shift=False)
    check(L.det, a)
    check(L.det, np.stack([a, matrix(4, 4)]))


def test_det_of_repeated_singular_values_has_right_derivatives():
    check(L.det, np.diag([1.0, 1.0, 1.0, 0.0]))
    check(L.det, np.eye(4))


def test_gradient_of_det_is_that_of_products_without_one():
    x = leaf(np.diag([2.0, 0.0, 3.0]))
    L.det(x).backward()
    assert_near(x.grad, np.diag([0.0, 6.0, 0.0]))


def test_gradients_of_repeated_values_are_finite():
    x = leaf(np.eye(3))
    for op in (L.eigvalsh, L.svdvals, lambda a: L.matrix_norm(a, ord="nuc")):
        (g,) = tl.autograd.grad(op(x).sum(), [x])
        assert_near(g, np.eye(3))


def test_gradients_of_symmetric_ops_are_symmetric():
    for op in (L.cholesky, L.eigvalsh, lambda a: L.eigh(a).eigenvectors):
        x = leaf(definite(4))
        weights = tl.tensor(np.arange(16.0).reshape(4, 4))
        y = op(x)
        (g,) = tl.autograd.grad(
            (y * (weights if y.ndim == 2 else weights[0])).sum(), [x]
        )
        assert_near(g, g.mT.numpy())


@pytest.mark.parametrize("p", [2, 1, 3, 0.5, "fro"])
def test_norm_at_zero_has_finite_gradient(p):
    x = leaf(np.zeros((2, 3)))
    y = L.matrix_norm(x) if p == "fro" else L.vector_norm(x, ord=p)
    (g,) = tl.autograd.grad(y, [x])
    assert_near(g, np.zeros((2, 3)))


def test_complete_qr_of_tall_matrix_refuses_gradient():
    x = leaf(matrix(4, 2))
    with pytest.raises(tl.GraphError, match="mode='reduced'"):
        L.qr(x, mode="complete").R.sum().backward()


def test_full_svd_has_gradient_except_for_added_columns():
    x = leaf(matrix(4, 2, shift=False))
    weights = tl.tensor(matrix(4, 2, seed=1))
    u, _, vh = L.svd(x)
    (found,) = tl.autograd.grad(((u[:, :2] @ vh) * weights).sum(), [x])
    u, _, vh = L.svd(x, full_matrices=False)
    (expected,) = tl.autograd.grad(((u @ vh) * weights).sum(), [x])
    assert_near(found, expected.numpy())
    with pytest.raises(tl.GraphError, match="full_matrices=False"):
        L.svd(x).U.sum().backward()


def test_small_qr_of_extreme_columns_neither_overflows_nor_underflows():
    for scale in (1e-200, 1e200, 1e-310):
        a = matrix(3, 3, shift=False)
        q, r = L.qr(tl.tensor(a * scale))
        assert_near(q.mT @ q, np.eye(3), 1e-9 if scale > 1e-300 else 1e-3)
        np.testing.assert_allclose((q @ r).numpy() / scale, a, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e150])
def test_small_spectra_of_any_scale_equal_numpy(scale):
    for n in (1, 2, 3, 4):
        a = matrix(n, n, shift=False) * scale
        found = L.svdvals(tl.tensor(a)).numpy() / scale
        np.testing.assert_allclose(found, np.linalg.svd(a / scale)[1], rtol=1e-12)
        w = L.eigvalsh(tl.tensor(a + a.T)).numpy() / scale
        expected = np.linalg.eigvalsh((a + a.T) / scale)
        np.testing.assert_allclose(w, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_small_svd_of_singular_matrix_has_orthonormal_vectors(rank):
    a = matrix(4, rank, shift=False) @ matrix(rank, 3, shift=False)
    for x in (a, a.T.copy()):
        u, s, vh = L.svd(tl.tensor(x))
        assert_near(u.mT @ u, np.eye(len(x)))
        assert_near(vh @ vh.mT, np.eye(x.shape[1]))
        assert_near((u[:, :3] * s) @ vh[:3], x)


def test_input_changed_in_place_is_noticed():
    x = leaf(matrix(3, 3)) * 1
    y = L.solve(x, tl.ones(3, dtype="float64"))
    x += 1
    with pytest.raises(tl.GraphError, match="changed in place"):
        y.sum().backward()


# ---- PyTorch ---------------------------------------------------------------------
PEERS = {
    "inv": lambda m, x: m.linalg.inv(x),
    "solve": lambda m, x: m.linalg.solve(x, x @ x),
    "det": lambda m, x: m.linalg.det(x),
    "slogdet": lambda m, x: m.linalg.slogdet(x)[1],
    "cholesky": lambda m, x: m.linalg.cholesky(x @ x.mT, upper=True),
    "eigvalsh": lambda m, x: m.linalg.eigvalsh(x @ x.mT),
    "svdvals": lambda m, x: m.linalg.svdvals(x),
    "qr": lambda m, x: m.linalg.qr(x)[0] + m.linalg.qr(x)[1],
    "lu": lambda m, x: m.linalg.lu(x)[1] @ m.linalg.lu(x)[2].mT,
    "pinv": lambda m, x: m.linalg.pinv(x),
    "matrix_exp": lambda m, x: m.linalg.matrix_exp(x / 4),
    "matrix_norm": lambda m, x: m.linalg.matrix_norm(x, ord="nuc"),
    "cond": lambda m, x: m.linalg.cond(x),
    "norm": lambda m, x: m.linalg.norm(x, 1),
    "lstsq": lambda m, x: m.linalg.lstsq(x, x @ x)[0],
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("n", [3, 11])
def test_value_and_gradient_equal_pytorch(name, n):
    torch = pytest.importorskip("torch")
    a = matrix(n, n, seed=5)
    x, tx = leaf(a), torch.tensor(a, requires_grad=True)
    y, ty = PEERS[name](tl, x), PEERS[name](torch, tx)
    assert_near(y, ty.detach().numpy(), 1e-10)
    weights = np.cos(np.arange(ty.numel())).reshape(ty.shape)
    (y * tl.tensor(weights)).sum().backward()
    (ty * torch.tensor(weights)).sum().backward()
    assert_near(x.grad, tx.grad.numpy(), 1e-9)


def test_lstsq_results_equal_pytorch():
    torch = pytest.importorskip("torch")
    a, b = matrix(2, 7, 3), matrix(2, 7, 2, seed=9)
    a[1, :, 2] = a[1, :, 1]
    expected = torch.linalg.lstsq(torch.tensor(a), torch.tensor(b), driver="gelsd")
    found = L.lstsq(tl.tensor(a), tl.tensor(b))
    for name in ("solution", "rank", "singular_values"):
        assert_near(getattr(found, name), getattr(expected, name).numpy(), 1e-10)
    regular = L.lstsq(tl.tensor(a[:1]), tl.tensor(b[:1]))
    expected = np.sum((a[:1] @ regular.solution.numpy() - b[:1]) ** 2, axis=-2)
    assert_near(regular.residuals, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("k", [1, 3, 9])
@pytest.mark.parametrize("rank", [2, 4])
def test_lstsq_of_tall_matrices_equals_numpy(rank, k, dtype):
    rng = np.random.default_rng(rank)
    a = rng.standard_normal((2, 30, rank)) @ rng.standard_normal((2, rank, 4))
    b = rng.standard_normal((2, 30, k))
    if dtype == "complex128":
        a, b = a * np.exp(1j * np.arange(30.0))[:, None], b - 1j * b[:, ::-1]
    a, b = a.astype(dtype), b.astype(dtype)
    wide = "complex128" if dtype == "complex128" else "float64"
    found = L.lstsq(tl.tensor(a), tl.tensor(b), rcond=1e-5)
    recorded = L.lstsq(leaf(a), tl.tensor(b), rcond=1e-5)
    tolerance = 2e-4 if dtype == "float32" else 1e-11  # conditions up to 100
    for i in range(2):
        expected = np.linalg.lstsq(a[i].astype(wide), b[i].astype(wide), rcond=1e-5)
        assert found.rank[i].item() == rank == expected[2]
        assert_near(found.solution[i], expected[0], tolerance)
        assert_near(found.singular_values[i], expected[3], tolerance)
        if rank == 4:
            assert_near(found.residuals[i], expected[1], tolerance)
    assert found.residuals.shape == ((2, k) if rank == 4 else (0,))
    assert_near(found.solution, recorded.solution.detach().numpy(), tolerance)


# ---- any shape, any number of threads --------------------------------------------
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 11), st.integers(0, 3), st.lists(st.integers(0, 3), max_size=2))
def test_solutions_of_any_shape_equal_numpy(n, k, batch):
    a, b = matrix(*batch, n, n, seed=n), matrix(*batch, n, k, seed=k, shift=False)
    assert_near(L.solve(tl.tensor(a), tl.tensor(b)), np.linalg.solve(a, b), 1e-10)
    assert_near(L.inv(tl.tensor(a)), np.linalg.inv(a), 1e-10)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 11), st.integers(0, 11), st.lists(st.integers(0, 3), max_size=2))
def test_factorizations_of_any_shape_give_back_their_matrix(m, n, batch):
    a = matrix(*batch, m, n, seed=m + n, shift=False)
    x = tl.tensor(a)
    u, s, vh = L.svd(x, full_matrices=False)
    q, r = L.qr(x)
    p, lower, upper = L.lu(x)
    for found in ((u * s[..., None, :]) @ vh, q @ r, p @ lower @ upper):
        assert_near(found, a, 1e-10)


@DTYPES
def test_bits_of_a_matrix_do_not_depend_on_threads_or_neighbours(dtype):
    x = tl.tensor(matrix(60, 14, 14, dtype=dtype))
    ops = (L.inv, L.svdvals, L.qr, lambda a: L.eigh(a + a.mT), L.det, L.matrix_exp)
    for op in ops:

        def both(a, op=op):
            y = op(a)
            return bits(y if isinstance(y, tuple) else [y])

        found = set()
        for n in THREADS:
            tl.set_num_threads(n)
            found.add(tuple(both(x)))
        tl.set_num_threads(THREADS[0])
        assert len(found) == 1
        if op is not L.matrix_exp:  # its products are those of matmul
            for whole, alone in zip(both(x), both(x[7:8]), strict=True):
                size = len(whole) // 60
                assert whole[7 * size : 8 * size] == alone


def test_vector_norm_neither_overflows_nor_underflows():
    for dtype, scale in (("float32", 1e30), ("float32", 1e-30), ("float64", 1e-200)):
        x = leaf(np.array([3.0, -4.0], dtype) * np.dtype(dtype).type(scale))
        y = L.vector_norm(x)
        assert y.item() == pytest.approx(5 * scale, rel=1e-6)
        y.backward()
        assert_near(x.grad, np.array([0.6, -0.8]), 1e-6)


def test_matrix_exp_of_large_norm_equals_scipy():
    a = matrix(5, 5, shift=False) * 40 - 60 * np.eye(5)
    expected = scipy.linalg.expm(a)
    found = L.matrix_exp(tl.tensor(a)).numpy()
    assert np.abs(found - expected).max() < 1e-11 * np.abs(expected).max()


def test_names_of_the_array_api_are_there():
    extension = (
        "cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power "
        "matrix_rank matrix_transpose outer pinv qr slogdet solve svd svdvals "
        "tensordot trace vecdot vector_norm"
    )
    assert set(extension.split()) <= set(L.__all__)
    assert L.svd(tl.eye(2))._fields == ("U", "S", "Vh")
    assert L.eigh(tl.eye(2))._fields == ("eigenvalues", "eigenvectors")
    assert L.qr(tl.eye(2))._fields == ("Q", "R")
    assert L.slogdet(tl.eye(2))._fields == ("sign", "logabsdet")


def test_integers_are_refused():
    with pytest.raises(tl.DTypeError, match="floating"):
        L.inv(tl.tensor([[1, 2], [3, 4]]))


@pytest.mark.parametrize("ord", ["fro", None, [2]])
def test_vector_norm_of_an_ord_that_is_no_number_is_refused(ord):
    with pytest.raises(TypeError, match="vector_norm: expected a number as ord"):
        tl.linalg.vector_norm(tl.ones(3), ord=ord)


@pytest.mark.parametrize(("p", "wanted"), [(None, np.inf), (2, np.inf), (-2, 0.0)])
def test_cond_of_zeros_is_that_of_a_singular_matrix(p, wanted):
    assert L.cond(tl.zeros((2, 2)), p).item() == wanted
    mixed = tl.stack((tl.zeros((2, 2)), 2 * tl.eye(2)))
    assert L.cond(mixed, p).tolist() == [wanted, 1.0]


def test_largest_singular_value_of_an_empty_matrix_is_refused():
    x = tl.zeros((2, 0, 3))
    for name, call in (
        ("cond", lambda: L.cond(x)),
        ("matrix_norm", lambda: L.matrix_norm(x, ord=2)),
        ("norm", lambda: L.norm(x[0], -2)),
    ):
        with pytest.raises(tl.ShapeError, match=f"^{name}: expected matrices with"):
            call()
    assert L.matrix_norm(x, ord="nuc").tolist() == [0.0, 0.0]


# ---- LU by panels ----------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(127, 300), (128, 128), (129, 200), (300, 161), (257, 257), (520, 530)]
)
def test_lu_of_panels_gives_the_matrix_and_the_pivots_of_scipy(shape, dtype):
    a = np.random.default_rng(7).standard_normal(shape).astype(dtype)
    lu, order = tl.linalg.lu_factor(tl.tensor(a))
    p, lower, upper = (x.numpy() for x in tl.linalg.lu(tl.tensor(a)))
    scale = np.finfo(dtype).eps * max(shape)
    # Backward stable: the error of L U is some n eps |L| |U|.
    assert np.abs(p @ lower @ upper - a).max() <= scale * np.abs(lower).max() * 20
    assert np.abs(np.tril(lu.numpy(), -1)).max() <= 1
    expected, pivots = scipy.linalg.lu_factor(a.astype("float64"))
    assert (order.numpy() - order.numpy().min() == pivots - pivots.min()).all()
    assert np.abs(lu.numpy() - expected).max() <= 200 * scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lu_of_panels_has_the_same_bits_on_any_threads(dtype):
    a = tl.tensor(np.random.default_rng(3).standard_normal((300, 300)).astype(dtype))
    found = set()
    for threads in (1, 2, 3, 5, 8):
        with tl.num_threads(threads):
            found.add(tl.linalg.lu_factor(a)[0].numpy().tobytes())
    assert len(found) == 1


def test_solve_of_a_large_singular_matrix_is_refused():
    a = np.random.default_rng(5).standard_normal((200, 200))
    a[:, 150] = 0
    with pytest.raises(tl.linalg.LinAlgError, match=r"^solve: "):
        tl.linalg.solve(tl.tensor(a), tl.ones((200, 1), dtype="float64"))
    assert tl.linalg.det(tl.tensor(a)).item() == 0


def test_solve_and_inv_of_large_matrices_equal_numpy():
    a = np.random.default_rng(6).standard_normal((300, 300))
    b = np.random.default_rng(7).standard_normal((300, 4))
    x, y = tl.linalg.solve(tl.tensor(a), tl.tensor(b)), tl.linalg.inv(tl.tensor(a))
    assert np.abs(x.numpy() - np.linalg.solve(a, b)).max() < 1e-9
    assert np.abs(y.numpy() - np.linalg.inv(a)).max() < 1e-9


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_norm_of_a_whole_tensor_equals_numpy_in_any_layout(dtype, keepdims):
    x = np.random.default_rng(1).standard_normal((300, 70)).astype(dtype)
    expected = np.linalg.norm(x.astype("complex128").ravel())
    t = tl.tensor(x)
    for view in (t, t.T, t[:, ::-1]):
        found = L.vector_norm(view, keepdims=keepdims)
        assert found.shape == ((1, 1) if keepdims else ())
        assert abs(found.item() - expected) <= 1e-6 * expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(200, 300, 150), (130, 70, 1000), (1000, 64, 130)])
def test_large_products_have_the_same_bits_on_any_threads(shape, dtype):
    """Whether threads pack for one another depends on how many they are."""
    m, k, n = shape
    rng = np.random.default_rng(11)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    a, b = a.astype(dtype), b.astype(dtype)
    expected = a.astype("float64") @ b.astype("float64")
    bound = k * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b))
    for x in (tl.tensor(a), tl.tensor(np.ascontiguousarray(a.T)).T):
        for y in (tl.tensor(b), tl.tensor(np.ascontiguousarray(b.T)).T):
            found = set()
            for threads in (1, 2, 3, 4, 8):
                with tl.num_threads(threads):
                    found.add((x @ y).numpy().tobytes())
            assert len(found) == 1
            assert (np.abs((x @ y).numpy() - expected) <= bound).all()
