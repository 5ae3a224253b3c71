"""Rows of linear algebra. References are NumPy's and SciPy's LAPACK in float64.

Matrices stand in batches: with its first axis made constant, a single one would be
singular. Single matrices are in `test_linalg`.
"""

import numpy as np
import scipy.linalg
from op_rows import FLOATS, NUMERIC, Error, Op, call, draw, near

import tensorlib as tl

L = tl.linalg
NLA = np.linalg
NOT_SQUARE = Error(lambda: (tl.ones((2, 3)),), tl.ShapeError, "square")
NOT_MATRIX = Error(lambda: (tl.ones(3),), tl.ShapeError, "at least 2 dimensions")
NOT_FLOAT = Error(lambda: (tl.tensor([[1]]),), tl.DTypeError, "floating or complex")
WRONG = (NOT_MATRIX, NOT_FLOAT)
SQUARES = [(2, 1, 1), (3, 2, 2), (2, 3, 3), (2, 2, 4, 4), (1, 7, 7), (2, 12, 12),
           (0, 3, 3), (2, 0, 0)]  # fmt: skip
WIDE = [(2, 3, 3), (2, 5, 3), (1, 2, 4), (2, 2, 1, 3), (1, 11, 9), (0, 2, 3), (2, 0, 3)]
# Of matrices far from singular: a few roundings for each of up to 12 columns.
ROUNDINGS = near(2e-5, 2e-13)
REASON = "LAPACK on matrices of up to 12 columns, in another order"


def _mt(x):
    return np.swapaxes(x, -1, -2)


def regular(shape, dtype, rng):
    """Matrices that are far from singular, with a first pivot that is not the largest."""
    a = draw(shape, "float64", rng, -1, 1) + 2 * shape[-1] * np.eye(*shape[-2:])
    return np.roll(a, 1, axis=-2).astype(dtype) / max(shape[-1], 1)


def _regulars(dtype, rng):
    return [call(regular(s, dtype, rng)) for s in SQUARES]


def _large(make):
    def calls(dtype, rng):
        return [call(make(s, dtype, rng)) for s in [(500, 5, 5), (37, 20, 20)]]

    return calls


def _large_matrices(shape, dtype, rng):
    return draw(shape, dtype, rng)


def _square_op(name, reference, **facts):
    facts.setdefault("tolerance", ROUNDINGS)
    facts.setdefault("calls", _regulars)
    facts.setdefault("errors", (NOT_SQUARE, *WRONG))
    facts.setdefault("large", _large(regular))
    return Op(
        f"linalg.{name}", facts.pop("function", None) or getattr(L, name), reference,
        facts.pop("calls"), differentiable=True, reason=REASON, **facts,
    )  # fmt: skip


def _any_op(name, reference, **facts):
    facts.setdefault("calls", lambda d, r: [call(draw(s, d, r, -1, 1)) for s in WIDE])
    facts.setdefault("large", _large(_large_matrices))
    facts.setdefault("errors", WRONG)
    return _square_op(name, reference, **facts)


# ---- systems ---------------------------------------------------------------------
_SYSTEMS = [
    ((2, 3, 3), (2, 3, 2)), ((4, 4, 4), (4,)), ((1, 3, 3), (5, 3, 2)),
    ((2, 1, 5, 5), (3, 5, 1)), ((1, 10, 10), (1, 10, 3)), ((2, 9, 9), (2, 9, 1)),
    ((3, 1, 1), (3, 1, 4)), ((2, 0, 0), (2, 0, 3)), ((2, 3, 3), (2, 3, 0)),
    ((0, 2, 2), (0, 2, 1)),
]  # fmt: skip


def _systems(dtype, rng):
    return [
        call(regular(a, dtype, rng), draw(b, dtype, rng, -1, 1)) for a, b in _SYSTEMS
    ]


def _solve(a, b):
    if b.ndim == 1:
        return NLA.solve(a, b[:, None])[..., 0]
    return NLA.solve(a, b)


def _triangular_calls(dtype, rng):
    found = []
    for k, (a, b) in enumerate([p for p in _SYSTEMS if len(p[1]) > 1]):
        for how in range(4):
            upper, left, unit = bool(k + how & 1), bool(how & 2), k % 3 == 2
            right = draw(b, dtype, rng, -1, 1)
            matrix = draw(a, dtype, rng, -0.5, 0.5) + 2 * np.eye(a[-1], dtype=dtype)
            found.append(
                call(
                    matrix.astype(dtype), right if left else _mt(right).copy(),
                    upper=upper, left=left, unitriangular=unit,
                )
            )  # fmt: skip
    return found


def _solve_triangular(a, b, upper, left=True, unitriangular=False):
    a = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        one = np.eye(a.shape[-1])
        a = a * (1 - one) + one
    return NLA.solve(a, b) if left else _mt(NLA.solve(_mt(a), _mt(b)))


def _factor_solve(x, b, left=True, adjoint=False):
    return L.lu_solve(*L.lu_factor(x), b, left=left, adjoint=adjoint)


def _lu_solve(a, b, left=True, adjoint=False):
    a = _mt(a) if adjoint else a
    return NLA.solve(a, b) if left else _mt(NLA.solve(_mt(a), _mt(b)))


def _factor_calls(dtype, rng):
    found = []
    for a, b in _SYSTEMS:
        for left in (True, False):
            if len(b) > 1:
                right = draw(b, dtype, rng, -1, 1)
                right = right if left else _mt(right).copy()
                found.append(
                    call(regular(a, dtype, rng), right, left=left, adjoint=len(a) % 2)
                )
    return found


SYSTEMS = [
    _square_op("inv", NLA.inv),
    _square_op("solve", _solve, calls=_systems,
               large=lambda d, r: [call(regular(a, d, r), draw(b, d, r)) for a, b in
                                   [((500, 5, 5), (500, 5, 2)), ((37, 20, 20), (37, 20, 3)),
                                    ((20, 20), (50, 20, 2))]],
               errors=(Error(lambda: (tl.ones((2, 3)), tl.ones(3)), tl.ShapeError, "square"),
                       Error(lambda: (tl.eye(2), tl.ones(3)), tl.ShapeError, "2 rows"),
                       Error(lambda: (tl.eye(2), tl.ones((3, 1))), tl.ShapeError, "2 rows"),
                       Error(lambda: (tl.eye(2), tl.tensor([[1], [2]])), tl.DTypeError,
                             "floating"),
                       Error(lambda: (tl.ones((3, 2, 2)) + tl.eye(2), tl.ones((2, 2, 1))),
                             tl.ShapeError, "broadcast"),
                       Error(lambda: (tl.ones((2, 2)), tl.ones(2)), L.LinAlgError,
                             "solve: expected an invertible matrix, got a singular one"))),
    _square_op("solve_triangular", _solve_triangular, calls=_triangular_calls,
               large=lambda d, r: [call(regular((500, 5, 5), d, r) + 2 * np.eye(5, dtype=d),
                                        draw((500, 5, 2), d, r), upper=True)],
               errors=(Error(lambda: (tl.eye(2), tl.ones((3, 1))), TypeError, "upper"),)),
    _square_op("lu_solve", _lu_solve, function=_factor_solve, calls=_factor_calls,
               large=None, errors=()),
    _square_op("cholesky_solve", lambda x, b, upper=False: NLA.solve(
                   x @ _mt(x) + np.eye(x.shape[-1]), b),
               function=lambda x, b, upper=False: L.cholesky_solve(
                   b, L.cholesky(_definite(x), upper=upper), upper=upper),
               calls=lambda d, r: [call(draw(s, d, r, -1, 1), draw((*s[:-1], 2), d, r),
                                        upper=u) for s in SQUARES for u in (False, True)],
               large=None, errors=()),
    _square_op("det", NLA.det),
    _square_op("slogdet", lambda x: tuple(NLA.slogdet(x))),
    _square_op("cond", NLA.cond, calls=lambda d, r: [
                   call(regular(s, d, r), *p) for s in [(3, 2, 2), (2, 2, 4, 4), (1, 9, 9)]
                   for p in [(), (2,), (-2,), (1,), (-1,), (np.inf,), (-np.inf,), ("fro",),
                             ("nuc",)]],
               twice=False, tolerance=near(1e-4, 1e-12),
               large=None, errors=(Error(lambda: (tl.ones((2, 3)), 1), tl.ShapeError, "square"),
                                   Error(lambda: (tl.eye(2), 3), ValueError, "ord"))),
]  # fmt: skip


# ---- factorizations --------------------------------------------------------------
def _definite(x):
    product = tl.matmul(x, tl.matrix_transpose(x))
    like = {"dtype": product.dtype, "device": product.device}
    return product + tl.eye(product.shape[-1], **like)


def _cholesky(x, upper=False):
    found = NLA.cholesky(x @ _mt(x) + np.eye(x.shape[-1]))
    return _mt(found) if upper else found


def _svd_invariants(u, s, vh):
    k = s.shape[-1]
    return s, u[..., :k] @ vh[..., :k, :], u.mT @ u, vh @ vh.mT


def _svd(x, full_matrices=True):
    u, s, vh = NLA.svd(x, full_matrices=full_matrices)
    k = s.shape[-1]
    return s, u[..., :k] @ vh[..., :k, :], _mt(u) @ u, vh @ _mt(vh)


def _apply_to_spectrum(x):
    """A function of the symmetric part, which does not depend on signs of vectors."""
    w, v = L.eigh(tl.add(x, tl.matrix_transpose(x)))
    return w, (v * tl.sin(w)[..., None, :]) @ v.mT


def _spectrum(x):
    w, v = NLA.eigh(x + _mt(x))
    return w, (v * np.sin(w)[..., None, :]) @ _mt(v)


def _apply_to_eigenvalues(x):
    """A function of a matrix, which depends on neither order nor phases."""
    w, v = L.eig(x)
    return tl.real((v * tl.sin(w)[..., None, :]) @ L.inv(v))


def _eig(x):
    w, v = NLA.eig(x)
    return ((v * np.sin(w)[..., None, :]) @ NLA.inv(v)).real


def _distinct(dtype, rng):
    """Matrices whose eigenvalues are far from each other, some of them complex."""
    return [
        call(draw(s, dtype, rng, -1, 1) + 2 * np.diag(np.arange(s[-1], dtype=dtype)))
        for s in SQUARES
    ]


def _compact_lu(x):
    """SciPy's factors put together as LAPACK leaves them."""
    shape, k = x.shape, min(x.shape[-2:])
    found = np.empty(shape)
    pivots = np.empty((*shape[:-2], k), np.int32)
    for i in np.ndindex(shape[:-2]):
        found[i], pivots[i] = scipy.linalg.lu_factor(x[i]) if x[i].size else (x[i], 0)
    return found, pivots + 1


FACTORIZATIONS = [
    _square_op("cholesky", _cholesky,
               function=lambda x, upper=False: L.cholesky(_definite(x), upper=upper),
               calls=lambda d, r: [call(draw(s, d, r, -1, 1), upper=u) for s in SQUARES
                                   for u in (False, True)],
               large=_large(_large_matrices), errors=()),
    _any_op("qr", lambda x, **k: tuple(NLA.qr(x, **k)),
            calls=lambda d, r: [call(regular(s, d, r)) for s in WIDE]),
    Op("linalg.qr", L.qr, lambda x, **k: tuple(NLA.qr(x, **k)),
       lambda d, r: [call(regular(s, d, r), mode="complete") for s in WIDE],
       tolerance=ROUNDINGS, reason=REASON),
    _any_op("lu", lambda x: tuple(scipy.linalg.lu(x)),
            calls=lambda d, r: [call(regular(s, d, r)) for s in WIDE[:-2]]),
    _any_op("lu_factor", _compact_lu, result=None,
            calls=lambda d, r: [call(regular(s, d, r)) for s in WIDE]),
    _any_op("svd", _svd, function=lambda x, **k: _svd_invariants(*L.svd(x, **k)),
            calls=lambda d, r: [call(regular(s, d, r), full_matrices=False)
                                for s in WIDE], tolerance=near(2e-4, 2e-12)),
    Op("linalg.svd", lambda x: _svd_invariants(*L.svd(x)), _svd,
       lambda d, r: [call(draw(s, d, r, -1, 1)) for s in WIDE],
       tolerance=near(2e-4, 2e-12), reason=REASON),
    _any_op("svdvals", lambda x: NLA.svd(x, compute_uv=False)),
    _square_op("eigh", _spectrum, function=_apply_to_spectrum,
               calls=lambda d, r: [call(draw(s, d, r, -1, 1)) for s in SQUARES],
               large=_large(_large_matrices), tolerance=near(1e-4, 1e-12), errors=WRONG[1:]),
    _square_op("eigvalsh", lambda x: NLA.eigvalsh(x + _mt(x)),
               function=lambda x: L.eigvalsh(tl.add(x, tl.matrix_transpose(x))),
               calls=lambda d, r: [call(draw(s, d, r, -1, 1)) for s in SQUARES],
               large=_large(_large_matrices), errors=WRONG[1:]),
    _square_op("eig", _eig, function=_apply_to_eigenvalues,
               calls=_distinct, large=_large(_large_matrices),
               tolerance=near(1e-3, 1e-11)),
    _square_op("eigvals", lambda x: np.sum(np.sin(NLA.eigvals(x)), -1).real,
               function=lambda x: tl.real(tl.sin(L.eigvals(x)).sum(axis=-1)),
               calls=_distinct, large=_large(_large_matrices),
               tolerance=near(1e-3, 1e-11)),
    _any_op("pinv", NLA.pinv, tolerance=near(1e-3, 1e-11),
            calls=lambda d, r: [call(regular(s, d, r), **k) for s in WIDE[:-1]
                                for k in ({}, {"rtol": 1e-3})]),
    Op("linalg.matrix_rank", L.matrix_rank, lambda x: NLA.matrix_rank(x),
       lambda d, r: [call(regular(s, d, r)) for s in WIDE[:-1]]
       + [call(np.ones((2, 3, 3), d)), call(np.zeros((2, 3, 3), d))],
       result="int64", errors=WRONG),
    _any_op("lstsq", lambda a, b: NLA.pinv(a) @ b,
            function=lambda a, b: L.lstsq(a, b).solution, tolerance=near(1e-3, 1e-11),
            calls=lambda d, r: [call(regular(s, d, r), draw((*s[:-1], 2), d, r))
                                for s in WIDE[:-1]], large=None,
            errors=(Error(lambda: (tl.ones((2, 3)), tl.ones((3, 1))), tl.ShapeError,
                          "B of 2 rows"),)),
]  # fmt: skip


# ---- norms and products ----------------------------------------------------------
_ORDERS = (2, 1, 0, 3, -1, 0.5, np.inf, -np.inf)


def _vector_calls(dtype, rng):
    found = [call(draw(s, dtype, rng, avoid=(0,)), ord=p)
             for s in [(), (5,), (2, 3)] for p in _ORDERS]  # fmt: skip
    x = draw((2, 3, 4), dtype, rng, avoid=(0,))
    found += [
        call(x, axis=a, keepdims=k, ord=p)
        for a in (0, -1, (0, 2)) for k in (False, True) for p in _ORDERS
    ]  # fmt: skip
    return [*found, call(draw((0, 3), dtype, rng), axis=0),
            call(np.array([3e-30, 4e-30], dtype)), call(np.array([3e30, 4e30], dtype))]  # fmt: skip


def _vector_norm(x, axis=None, keepdims=False, ord=2):
    size = abs(np.asarray(x, float))
    if ord in (np.inf, -np.inf):
        return (np.max if ord > 0 else np.min)(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum(size != 0, axis=axis, keepdims=keepdims, dtype=float)
    return np.sum(size**ord, axis=axis, keepdims=keepdims) ** (1 / ord)


def _smooth_vectors(dtype, rng):
    return [c for c in _vector_calls(dtype, rng)[:-3] if c.kwargs.get("ord") != 0]


def _matrix_norm(x, keepdims=False, ord="fro"):
    return NLA.norm(x, ord, axis=(-2, -1), keepdims=keepdims)


def _chain(*shapes):
    return lambda d, r: [call([draw(s, d, r) for s in group]) for group in shapes]


NORMS = [
    Op("linalg.vector_norm", L.vector_norm, _vector_norm, _vector_calls,
       differentiable=True, smooth=_smooth_vectors, tolerance=near(5e-6, 1e-14),
       reason="powers, a sum and a root", errors=(NOT_FLOAT,),
       large=lambda d, r: [call(draw((301, 700), d, r), axis=a) for a in (None, 0, 1)]),
    _any_op("matrix_norm", _matrix_norm, large=None,
            calls=lambda d, r: [call(draw(s, d, r, -1, 1), keepdims=k, ord=p)
                                for s in [(2, 3, 3), (2, 5, 3), (1, 2, 4)]
                                for k in (False, True)
                                for p in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)],
            errors=WRONG),
    Op("linalg.norm", L.norm, NLA.norm,
       lambda d, r: [call(draw((3, 4), d, r, -1, 1), *p) for p in
                     [(), ("fro",), (1,), (2,), (None, 0), (3, 1), (None, (1, 0)),
                      ("nuc", (0, 1), True), (None, None, True), (1, (-1, 0))]]
       + [call(draw((5,), d, r), *p) for p in [(), (1,), (2, 0)]]
       + [call(draw((2, 3, 2), d, r))],
       differentiable=True, tolerance=ROUNDINGS, reason=REASON,
       errors=(NOT_FLOAT, Error(lambda: (tl.ones((2, 2, 2)), 2), tl.ShapeError, "two axes"),
               Error(lambda: (tl.ones(2), "fro"), ValueError, "number as ord"))),
]  # fmt: skip

PRODUCTS = [
    Op("linalg.cross", L.cross, np.cross,
       lambda d, r: [call(draw(a, d, r), draw(b, d, r), **k) for a, b, k in
                     [((2, 3), (2, 3), {}), ((3,), (4, 3), {}), ((3, 2), (3, 2), {"axis": 0}),
                      ((0, 3), (3,), {})]] if d != "uint8" else [],
       dtypes=("int32", "int64", *FLOATS), differentiable=True,
       tolerance=near(5e-6, 1e-14), reason="a difference of two products",
       errors=(Error(lambda: (tl.ones(2), tl.ones(3)), tl.ShapeError, "3 elements"),
               Error(lambda: (tl.ones(3), 1), tl.ShapeError, "axis"))),
    Op("linalg.diagonal", L.diagonal,
       lambda x, offset=0: np.diagonal(x, offset, -2, -1),
       lambda d, r: [call(draw(s, d, r), offset=k) for s in [(3, 3), (2, 3, 4)]
                     for k in (0, 1, -2)],
       dtypes=NUMERIC, differentiable=True,
       errors=(Error(lambda: (tl.ones(3),), tl.ShapeError, "2 dimensions"),)),
    Op("linalg.matrix_power", L.matrix_power, NLA.matrix_power,
       lambda d, r: [call(draw(s, d, r, -2, 2), n) for s in [(2, 3, 3), (1, 1), (0, 2, 2)]
                     for n in (0, 1, 2, 3, 5)]
       + ([call(regular((2, 4, 4), d, r), -3)] if d in FLOATS else []),
       smooth=lambda d, r: [call(draw((2, 3, 3), d, r), n) for n in (1, 2, 3, 5)]
       + [call(regular((2, 4, 4), d, r), -3)],
       dtypes=("int64", *FLOATS), differentiable=True, tolerance=near(1e-4, 1e-12),
       reason="products of up to five matrices",
       errors=(Error(lambda: (tl.ones((2, 3)), 2), tl.ShapeError, "square"),
               Error(lambda: (tl.ones((2, 2)), 2.5), TypeError, "int n"),
               Error(lambda: (tl.ones((2, 2), dtype="int64"), -1), tl.DTypeError, "floating"))),
    Op("linalg.multi_dot", L.multi_dot, NLA.multi_dot,
       _chain([(2, 3), (3, 4)], [(9, 2), (2, 7), (7, 3)], [(3,), (3, 4), (4,)],
              [(4, 5), (5, 1), (1, 6), (6, 2)], [(3,), (3,)], [(2, 0), (0, 3), (3, 1)]),
       dtypes=("int64", *FLOATS), differentiable=True, tolerance=near(1e-5, 1e-13),
       reason="sums in another order",
       errors=(Error(lambda: ([tl.ones((2, 3))],), ValueError, "two or more"),
               Error(lambda: ([tl.ones((2, 3)), tl.ones((2, 3))],), tl.ShapeError, "fit"))),
    _square_op("matrix_exp", lambda x: scipy.linalg.expm(x) if x.size else x,
               calls=lambda d, r: [call(draw(s, d, r, -1, 1) * f) for s in SQUARES
                                   for f in (np.dtype(d).type(1), np.dtype(d).type(4))],
               smooth=lambda d, r: [call(draw(s, d, r, -1, 1)) for s in SQUARES[:5]],
               tolerance=near(1e-3, 1e-11)),
]  # fmt: skip

LINEAR_ALGEBRA = SYSTEMS + FACTORIZATIONS + NORMS + PRODUCTS
