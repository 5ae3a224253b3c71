"""Reductions and scans over all elements, the first axis and the last."""

from bench.case import Case, Spec, size_label
from bench.registry import reduction_ops
from bench.variants import with_jax, with_mlx

SHAPES = {
    10**3: (40, 25),
    10**5: (400, 250),
    10**6: (1000, 1000),
    10**7: (4000, 2500),
}
OTHER_SIZES = (10**3, 10**5, 10**7)
LARGE = 10**6  # from where other array libraries take part
CHOSEN = ("sum", "mean", "max", "argmax", "var", "logsumexp", "any", "cumsum")
AXES = {"all": None, "axis 0": 0, "axis -1": -1}

# A result that does not end the search early: no true element, no false one.
KINDS = {"any": ("zero", "bool"), "all": ("one", "bool"), "prod": ("signs", "float32")}
TORCH = {"max": "torch.amax", "min": "torch.amin"}
# NumPy's var and std divide by n as ours do; PyTorch's default is n - 1.
TORCH_MORE = {"var": ", correction=0", "std": ", correction=0"}


def case(op, size, where, dtype="float32", *, quick=False):
    """The row of one reduction at one size over all, the first or the last axis."""
    axis = AXES[where]
    kind, dtype = KINDS.get(op, ("normal", dtype))
    shape = (size,) if op == "cumsum" and axis is None else SHAPES[size]
    if op == "cumsum" and axis is None:
        axis = 0
    name = TORCH.get(op, "torch." + op)
    if axis is None:
        ours = f"tl.{op}(a)"
        # amax without axes is the same as max, which is what users write.
        torch = f"torch.{op}(a{TORCH_MORE.get(op, '')})"
        if op == "logsumexp":
            torch = "torch.logsumexp(a, (0, 1))"
    else:
        ours = f"tl.{op}(a, axis={axis})"
        torch = f"{name}(a, {axis}{TORCH_MORE.get(op, '')})"
    numpy = "" if op == "logsumexp" else ours.replace("tl.", "np.")
    row = Case(
        "reduction",
        f"{op} {where} {size_label(size)}" + ("" if dtype != "float64" else " float64"),
        ours,
        torch,
        numpy,
        operands={"a": Spec(shape, kind, dtype)},
        tolerance=(1e-3, 1e-5 * size**0.5 * (10 if op == "cumsum" else 1)),
        ops=(op,),
        quick=quick,
    )
    if op not in CHOSEN or size < LARGE:
        return row
    where = "jax.nn." if op == "logsumexp" else "jnp."
    jitted = with_jax(row, ours.replace("tl.", where))
    return with_mlx(jitted, ours.replace("tl.", "mx."))


def _backward(op, where):
    axis = AXES[where]
    gradient = Spec(() if axis is None else (1000,))
    call = f"(a, axis={axis})" if axis is not None else "(a)"
    return Case(
        "reduction",
        f"{op} {where} 10^6, forward + backward",
        f"tl.autograd.grad(tl.{op}{call}, a, g)",
        f"torch.autograd.grad(torch.{op}{call}, a, g)",
        operands={"a": Spec((1000, 1000), grad=True), "g": gradient},
        ops=(op,),
    )


def cases():
    for op in CHOSEN:
        for size in SHAPES:
            for where in AXES:
                yield case(op, size, where, quick=size == 10**6 and where != "axis 0")
    for op in [*reduction_ops(), "std"]:
        if op not in CHOSEN:
            for size in OTHER_SIZES:
                for where in AXES:
                    if (op, where) != ("prod", "all"):
                        yield case(op, size, where)
    yield _backward("sum", "all")
    yield _backward("mean", "axis -1")
