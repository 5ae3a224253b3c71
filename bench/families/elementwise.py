"""Elementwise operations: the chosen ones at four sizes, all others at three.

The others come from the registry of primitives, so a new one has its row without a
line here; DOMAINS holds the operands of those that random normals do not suit.
"""

from bench.case import Case, Spec, size_label
from bench.registry import elementwise_ops

SIZES = (10**3, 10**5, 10**6, 10**7)
OTHER_SIZES = (10**3, 10**5, 10**7)
QUICK = {10**3, 10**6}

CHOSEN = (
    "add", "multiply", "divide", "exp", "log", "tanh", "sigmoid", "gelu", "relu",
    "sqrt", "sin", "where", "less", "astype",
)  # fmt: skip

# Targets of issue 2 at 10^6 and, for the sum, at 10^7; all else is 1.
TARGETS = {
    ("exp", 10**6): 0.5,
    ("tanh", 10**6): 0.5,
    ("log", 10**6): 0.5,
    ("sigmoid", 10**6): 0.9,
    ("gelu", 10**6): 0.9,
    ("add", 10**7): 0.3,
}

DOMAINS = {
    "divide": ("normal", "positive"),
    "floor_divide": ("normal", "positive"),
    "remainder": ("normal", "positive"),
    "pow": ("positive", "normal"),
    "log": ("positive",),
    "log1p": ("positive",),
    "log2": ("positive",),
    "log10": ("positive",),
    "sqrt": ("positive",),
    "rsqrt": ("positive",),
    "reciprocal": ("positive",),
    "where": ("bool", "normal", "normal"),
    "logical_and": ("bool", "bool"),
    "logical_or": ("bool", "bool"),
    "logical_xor": ("bool", "bool"),
    "logical_not": ("bool",),
    "bitwise_and": ("1000", "1000"),
    "bitwise_or": ("1000", "1000"),
    "bitwise_xor": ("1000", "1000"),
    "bitwise_left_shift": ("1000", "8"),
    "bitwise_right_shift": ("1000", "8"),
    "bitwise_invert": ("1000",),
}
ARITY = {"unary": 1, "binary": 2, "ternary": 3}

TORCH = {
    "equal": "torch.eq",
    "not_equal": "torch.ne",
    "less_equal": "torch.le",
    "greater_equal": "torch.ge",
    "bitwise_invert": "torch.bitwise_not",
    "log_sigmoid": "F.logsigmoid",
    "softsign": "F.softsign",
    "hardsigmoid": "F.hardsigmoid",
    "hardswish": "F.hardswish",
    "mish": "F.mish",
    "tanhshrink": "F.tanhshrink",
    "hardshrink": "F.hardshrink",
    "softshrink": "F.softshrink",
    "leaky_relu": "F.leaky_relu",
    "elu": "F.elu",
    "hardtanh": "F.hardtanh",
    "gelu": "F.gelu",
    "silu": "F.silu",
    "softplus": "F.softplus",
}
NO_NUMPY = {"sigmoid", "gelu", "relu", "silu", "softplus", "erf", "rsqrt"}
# Operators as users write them; the function is exercised all the same.
SIGNS = {"add": "+", "multiply": "*", "divide": "/", "less": "<"}
EXPLICIT = {
    "prelu": ("tl.prelu(a, b[:1])", "F.prelu(a, b[:1])", ""),
    "threshold": ("tl.threshold(a, 0.1, 20.0)", "F.threshold(a, 0.1, 20.0)", ""),
    "astype": (
        "tl.astype(a, tl.float64)",
        "a.to(torch.float64)",
        "a.astype(np.float64)",
    ),
    "clip": ("tl.clip(a, -1.0, 1.0)", "torch.clip(a, -1.0, 1.0)", "a.clip(-1.0, 1.0)"),
}
# Absolute and relative error that float32 formulas of a few ulp have at large values.
TOLERANCE = {"tan": (1e-3, 1e-4), "pow": (1e-3, 1e-5)}


def case(op, family, size, dtype="float32", *, quick=False):
    """The row of one operation at one size."""
    arity = 1 if op == "clip" else ARITY.get(family, 1)
    kinds = DOMAINS.get(op, ("normal",) * arity)
    operands = {
        name: Spec((size,), kind, dtype if not kind.isdigit() else "int32")
        for name, kind in zip("abc", kinds, strict=False)
    }
    arguments = ", ".join(operands)
    if op in SIGNS:
        ours = torch = numpy = f"a {SIGNS[op]} b"
    elif op in EXPLICIT:
        ours, torch, numpy = EXPLICIT[op]
    else:
        ours = f"tl.{op}({arguments})"
        torch = f"{TORCH.get(op, 'torch.' + op)}({arguments})"
        numpy = "" if op in NO_NUMPY else f"np.{op}({arguments})"
    return Case(
        "elementwise",
        f"{op} {size_label(size)}" + ("" if dtype == "float32" else f" {dtype}"),
        ours,
        torch,
        numpy,
        operands=operands,
        target=TARGETS.get((op, size), 1.0),
        tolerance=TOLERANCE.get(op, (1e-4, 1e-5)),
        ops=(op,),
        quick=quick,
    )


def _row_broadcast(size):
    rows = {10**3: 10, 10**5: 250, 10**6: 1000, 10**7: 2500}[size]
    return Case(
        "elementwise",
        f"add row {rows}x{size // rows}",
        *("a + b",) * 3,
        operands={"a": Spec((rows, size // rows)), "b": Spec((size // rows,))},
        ops=("add",),
    )


def _in_place(size, statement, quick=False):
    return Case(
        "elementwise",
        f"{statement} {size_label(size)}",
        *(statement,) * 3,
        operands={"a": Spec((size,)), "b": Spec((size,), "signs")},
        check="a",
        ops=("add", "multiply"),
        quick=quick,
    )


def _strided():
    shape = (1000, 1000)
    yield Case(
        "elementwise",
        "a.T + b 1000x1000",
        *("a.T + b",) * 3,
        operands={"a": Spec(shape), "b": Spec(shape)},
        ops=("add",),
    )
    yield Case(
        "elementwise",
        "exp of every second column 1000x1000",
        "tl.exp(a[:, ::2])",
        "torch.exp(a[:, ::2])",
        "np.exp(a[:, ::2])",
        operands={"a": Spec(shape)},
    )


def _backward(op):
    return Case(
        "elementwise",
        f"{op} 10^6, forward + backward",
        f"tl.autograd.grad(tl.{op}(a), a, g)",
        f"torch.autograd.grad({TORCH.get(op, 'torch.' + op)}(a), a, g)",
        operands={"a": Spec((10**6,), grad=True), "g": Spec((10**6,))},
        ops=(op,),
    )


def cases():
    known = elementwise_ops()
    for op in CHOSEN:
        for size in SIZES:
            quick = size in QUICK or (op, size) in TARGETS
            yield case(op, known.get(op, "unary"), size, quick=quick)
    for op, family in known.items():
        if op not in CHOSEN:
            for size in OTHER_SIZES:
                yield case(op, family, size)
    for size in SIZES:
        yield _row_broadcast(size)
        yield _in_place(size, "a += b", quick=size in QUICK)
    yield _in_place(10**6, "a *= b")
    yield from _strided()
    for op in ("exp", "tanh", "relu", "gelu"):
        yield _backward(op)
