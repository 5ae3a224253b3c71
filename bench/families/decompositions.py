"""Linear algebra on LAPACK: single matrices, and batches of small ones."""

import numpy as np

from bench.case import Case, Spec

SHAPES = ((4, 4), (64, 64), (256, 256), (10000, 2, 2), (10000, 4, 4), (2000, 8, 8),
          (500, 16, 16), (50, 64, 64))  # fmt: skip
QUICK = {(64, 64), (10000, 4, 4)}
# Name: PyTorch's and NumPy's statements, of the matrices a and right sides b.
REGULAR = {
    "inv": "linalg.inv(a)",
    "solve": "linalg.solve(a, b)",
    "det": "linalg.det(a)",
    "slogdet": "linalg.slogdet(a)[1]",
    "matrix_power": "linalg.matrix_power(a, 3)",
    "qr": "linalg.qr(a)",
    "eig": "linalg.eig(a)",
    "eigvals": "linalg.eigvals(a)",
    "pinv": "linalg.pinv(a)",
}
SYMMETRIC = {
    "cholesky": "linalg.cholesky(a)",
    "eigh": "linalg.eigh(a)",
    "eigvalsh": "linalg.eigvalsh(a)",
}
# What NumPy lacks, or spells otherwise.
OTHERS = {
    "svd": (
        "linalg.svd(a, full_matrices=False)",
        "np.linalg.svd(a, full_matrices=False)",
    ),
    "svdvals": ("linalg.svdvals(a)", "np.linalg.svdvals(a)"),
    "lu_factor": ("linalg.lu_factor(a)", ""),
    "lu": ("linalg.lu(a)", ""),
    "matrix_exp": ("linalg.matrix_exp(a)", ""),
    "solve_triangular": ("linalg.solve_triangular(a, b, upper=True)", ""),
}
# Signs, or the order, are a matter of the library.
UNORDERED = ("qr", "eig", "eigvals", "eigh", "svd", "lu", "lu_factor")
# On operands of their own.
SINGLE = (
    ("vector_norm", "linalg.vector_norm(a)", "linalg.norm(a)", (1000, 1000)),
    ("matrix_norm", "linalg.matrix_norm(a, ord=1)", "linalg.norm(a, 1)", (1000, 1000)),
    ("norm", "linalg.norm(a)", "linalg.norm(a)", (8, 8)),
    ("cond", "linalg.cond(a)", "linalg.cond(a)", (64, 64)),
    ("matrix_rank", "linalg.matrix_rank(a)", "linalg.matrix_rank(a)", (64, 64)),
    ("cross", "linalg.cross(a, b)", "cross(a, b)", (100000, 3)),
    ("diagonal", "linalg.diagonal(a)", "linalg.diagonal(a)", (64, 64)),
)


def _scaled(symmetric):
    """Matrices with singular values around one, or symmetric positive definite ones."""

    def prepare(library, names):
        a = np.asarray(names["a"]).astype("float64")
        a = a / (2 * np.sqrt(a.shape[-1]))
        a = (
            a @ np.swapaxes(a, -1, -2) + np.eye(a.shape[-1])
            if symmetric
            else a + 2 * np.eye(a.shape[-1])
        )
        a = a.astype(str(names["a"].dtype).removeprefix("torch."))
        if library == "torch":
            a = names["torch"].tensor(a)
        elif library == "ours":
            a = names["tl"].tensor(a)
        names["a"] = a

    return prepare


def _rows(shape, dtype):
    operands = {"a": Spec(shape, dtype=dtype), "b": Spec((*shape[:-1], 1), dtype=dtype)}
    text = "x".join(map(str, shape)) + ("" if dtype == "float32" else f" {dtype}")

    def row(name, statement, numpy, symmetric=False):
        return Case(
            "linalg",
            f"{name} {text}",
            f"tl.{statement}",
            f"torch.{statement}",
            numpy,
            operands=operands,
            prepare=_scaled(symmetric),
            check="" if name in UNORDERED else None,
            tolerance=(1e-3, 1e-4),
            quick=shape in QUICK and name in ("inv", "solve", "cholesky", "eigh"),
        )

    for group in (REGULAR, SYMMETRIC):
        for name, statement in group.items():
            yield row(name, statement, f"np.{statement}", group is SYMMETRIC)
    for name, (statement, numpy) in OTHERS.items():
        yield row(name, statement, numpy)


def _chains():
    """Products of several operands: the order of the products decides."""
    chain = {"a": Spec((400, 10)), "b": Spec((10, 400)), "c": Spec((400, 10))}
    for name, ours, theirs in (
        ("multi_dot", "linalg.multi_dot([a, b, c])", "linalg.multi_dot([a, b, c])"),
        ("einsum ij,jk,kl->il", *['einsum("ij,jk,kl->il", a, b, c)'] * 2),
    ):
        numpy = f"np.{theirs}"
        if "einsum" in theirs:
            numpy = 'np.einsum("ij,jk,kl->il", a, b, c, optimize=True)'
        yield Case("linalg", name, f"tl.{ours}", f"torch.{theirs}", numpy,
                   operands=chain, tolerance=(1e-3, 1e-3))  # fmt: skip
    for text, a, b in (
        ("bij,bjk->bik", (64, 32, 32), (64, 32, 32)),
        ("bhid,bhjd->bhij", (8, 8, 64, 32), (8, 8, 64, 32)),
        ("ij,j->i", (500, 500), (500,)),
        ("i,j->ij", (500,), (500,)),
        ("ij,ij->", (500, 500), (500, 500)),
        ("ii->", (500, 500), (1,)),
        ("ij->ji", (8, 8), (1,)),
    ):
        call = f'einsum("{text}", {"a, b" if "," in text else "a"})'
        yield Case(
            "linalg",
            f"einsum {text}",
            *[f"{module}.{call}" for module in ("tl", "torch", "np")],
            operands={"a": Spec(a), "b": Spec(b)},
            tolerance=(1e-3, 1e-2),
        )


def _systems():
    """Least squares, and solutions from factors."""
    tall = {"a": Spec((1000, 20)), "b": Spec((1000, 3))}
    yield Case("linalg", "lstsq 1000x20", "tl.linalg.lstsq(a, b)[0]",
               "torch.linalg.lstsq(a, b)[0]", "np.linalg.lstsq(a, b)[0]",
               operands=tall, tolerance=(1e-3, 1e-3))  # fmt: skip
    for name, ours, torch in (
        ("lu_solve", "tl.linalg.lu_solve(*tl.linalg.lu_factor(a), b)",
         "torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b)"),
        ("cholesky_solve", "tl.linalg.cholesky_solve(b, tl.linalg.cholesky(a @ a.mT))",
         "torch.cholesky_solve(b, torch.linalg.cholesky(a @ a.mT))"),
    ):  # fmt: skip
        yield Case("linalg", name, ours, torch, prepare=_scaled(False),
                   operands={"a": Spec((64, 64)), "b": Spec((64, 2))},
                   tolerance=(1e-3, 1e-3))  # fmt: skip


def _backward(name, shape):
    operands = {"a": Spec(shape, grad=True)}
    return Case(
        "linalg",
        f"{name} {'x'.join(map(str, shape))}, forward + backward",
        f"tl.autograd.grad(tl.linalg.{name}(a @ a.mT + e).sum(), (a,))[0]",
        f"torch.autograd.grad(torch.linalg.{name}(a @ a.mT + e).sum(), (a,))[0]",
        operands={**operands, "e": Spec((shape[-1],) * 2, "zero")},
        prepare=_with_identity,
        tolerance=(1e-2, 1e-3),
    )


def _with_identity(library, names):
    names["e"] = names["e"] + names["tl" if library == "ours" else "torch"].eye(
        names["e"].shape[0]
    )


def cases():
    for shape in SHAPES:
        for dtype in ("float32", "float64"):
            if dtype == "float32" or shape in QUICK:
                yield from _rows(shape, dtype)
    for name, ours, numpy, shape in SINGLE:
        yield Case("linalg", f"{name} {'x'.join(map(str, shape))}", f"tl.{ours}",
                   f"torch.{ours}", f"np.{numpy}", tolerance=(1e-2, 1e-3),
                   operands={"a": Spec(shape), "b": Spec(shape)})  # fmt: skip
    yield from _chains()
    yield from _systems()
    for name in ("inv", "det", "cholesky", "eigvalsh"):
        for shape in ((64, 64), (2000, 4, 4)):
            yield _backward(name, shape)
