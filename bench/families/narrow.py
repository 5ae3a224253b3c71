"""Dtypes below 32 bits: elementwise ops, reductions, rows and products."""

import re

from bench.case import Case, Spec, size_label

SIZES = (10**3, 10**5, 10**7)
SIDES = {10**3: 32, 10**5: 320, 10**7: 1024}  # of matrices with about as much work
DTYPES = ("bfloat16", "float16", "int8")
# Statements of each library, on a and b of n elements and m of rows of 100.
ELEMENTS = {
    "add": ("a + b",) * 3,
    "multiply": ("a * b",) * 3,
    "exp": ("tl.exp(a)", "torch.exp(a)", "np.exp(a)"),
    "relu": ("tl.relu(a)", "torch.relu(a)", ""),
    "sum": ("tl.sum(a)", "torch.sum(a)", "np.sum(a)"),
    "max axis 0": ("tl.max(m, axis=0)", "torch.amax(m, 0)", "np.max(m, 0)"),
    "astype float32": (
        'tl.astype(a, "float32")', "a.to(torch.float32)", "a.astype(np.float32)"
    ),
    "astype from float32": (
        "tl.astype(w, a.dtype)", "w.to(a.dtype)", "w.astype(a.dtype)"
    ),
    "softmax of 100": ("tl.softmax(m, axis=-1)", "torch.softmax(m, -1)", ""),
}  # fmt: skip
FLOATING = ("exp", "softmax of 100")


def _narrowed(dtype):
    """Give the operands their dtype, NumPy having no bfloat16."""

    def prepare(library, names):
        for name in set(names) & {"a", "b", "m"}:
            if library == "ours":
                names[name] = names[name].astype(dtype)
            elif library == "torch":
                names[name] = names[name].to(getattr(names["torch"], dtype))

    return prepare


def _row(name, statements, operands, dtype, **more):
    ours, torch, numpy = statements
    return Case(
        "narrow",
        f"{name} {dtype}",
        ours,
        torch,
        "" if dtype == "bfloat16" else numpy,
        operands=operands,
        prepare=_narrowed(dtype),
        # Sums of halves and wrapped integers: rounded, or kept, as each library does.
        check="",
        **more,
    )


def _operands(size, dtype, statement):
    kind = "100" if dtype == "int8" else "normal"
    held = "int8" if dtype == "int8" else "float16"
    specs = {
        "a": Spec((size,), kind, held),
        "b": Spec((size,), kind, held),
        "m": Spec((size // 100, 100), kind, held),
        "w": Spec((size,), kind),
    }
    return {k: spec for k, spec in specs.items() if re.search(rf"\b{k}\b", statement)}


def _products(dtype):
    kind = "10" if dtype == "int8" else "normal"
    for size, side in SIDES.items():
        if dtype != "int8" or size < 10**7:
            square = Spec((side, side), kind, "int8" if dtype == "int8" else "float16")
            operands = {"a": square, "b": square}
            yield _row(
                f"matmul {side}^3",
                ("a @ b",) * 3,
                operands,
                dtype,
                flops=2.0 * side**3,
            )


def cases():
    for dtype in DTYPES:
        for name, statements in ELEMENTS.items():
            for size in SIZES:
                if dtype != "int8" or name not in FLOATING:
                    yield _row(
                        f"{name} {size_label(size)}",
                        statements,
                        _operands(size, dtype, statements[0]),
                        dtype,
                        quick=size == 10**5 and name in ("add", "sum"),
                    )
        yield from _products(dtype)
