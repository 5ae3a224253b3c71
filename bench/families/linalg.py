"""Matrix products: the shapes of NUMBERS.md, batches, transposes, affine maps."""

from math import prod

from bench.case import Case, Spec
from bench.variants import with_arrays, with_compile, with_jax

# M, N, K.
SHAPES = (
    (16, 16, 16), (32, 32, 32), (64, 64, 64), (128, 128, 128), (256, 256, 256),
    (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096),
    (8, 100, 784), (100, 128, 784), (512, 8, 512), (4096, 32, 512), (32, 4096, 512),
    (64, 64, 8192),
)  # fmt: skip
QUICK = {(32, 32, 32), (128, 128, 128), (512, 512, 512), (8, 100, 784), (512, 8, 512)}
# Batched: (a's shape, b's shape).
BATCHED = (
    ((512, 8, 8), (512, 8, 8)),
    ((64, 32, 32), (64, 32, 32)),
    ((16, 128, 64), (16, 64, 128)),
    ((8, 8, 128, 32), (8, 8, 32, 128)),
    ((32, 64, 64), (64, 64)),
)
# Rows, in, out.
LINEAR = ((1, 784, 100), (8, 784, 100), (100, 784, 100), (1024, 512, 512))


def _tolerance(k):
    # Sums of k products of normals differ by a few ulp of sqrt(k).
    return (1e-4, 2e-6 * k)


def product(m, n, k, dtype="float32"):
    """The row of an M x N x K product."""
    name = f"{m}^3" if m == n == k else f"{m}x{n}x{k}"
    case = Case(
        "matmul",
        name + ("" if dtype == "float32" else f" {dtype}"),
        *("a @ b",) * 3,
        operands={"a": Spec((m, k), dtype=dtype), "b": Spec((k, n), dtype=dtype)},
        tolerance=_tolerance(k),
        flops=2 * m * n * k * (1 if dtype == "float32" else 2),
        ops=("matmul",),
        quick=(m, n, k) in QUICK and dtype == "float32",
    )
    if dtype != "float32":
        return case
    # MLX multiplies at 4 GFLOP/s on Linux: minutes for the large ones.
    return with_arrays(case) if m * n * k <= 512**3 else with_jax(case, case.numpy)


def _text(shape):
    return "x".join(str(extent) for extent in shape)


def _batched(a, b):
    return Case(
        "matmul",
        f"batched {_text(a)} @ {_text(b)}",
        *("a @ b",) * 3,
        operands={"a": Spec(a), "b": Spec(b)},
        tolerance=_tolerance(a[-1]),
        flops=2 * prod(a) * b[-1],
        ops=("matmul",),
        quick=a == (64, 32, 32),
    )


def _transposed(name, statement, a, b, flops):
    return Case(
        "matmul",
        f"{name} {_text(a)}, {_text(b)}",
        *(statement,) * 3,
        operands={"a": Spec(a), "b": Spec(b)},
        tolerance=_tolerance(784),
        flops=flops,
        ops=("matmul", "matrix_transpose", "transpose"),
    )


def _linear(rows, inner, outer, *, backward):
    forward = "linear(x, w, b)"
    ours, torch = f"tl.{forward}", f"F.{forward}"
    if backward:
        ours = f"tl.autograd.grad({ours}, (x, w, b), g)"
        torch = f"torch.autograd.grad({torch}, (x, w, b), g)"
    return Case(
        "matmul",
        f"linear {rows}x{inner}->{outer}" + (", forward + backward" * backward),
        ours,
        torch,
        "" if backward else "x @ w.T + b",
        operands={
            "x": Spec((rows, inner), grad=backward),
            "w": Spec((outer, inner), grad=backward),
            "b": Spec((outer,), grad=backward),
            "g": Spec((rows, outer)),
        },
        tolerance=_tolerance(max(inner, rows)),
        flops=2 * rows * inner * outer * (3 if backward else 1),
        ops=("linear",),
        quick=rows == 8,
    )


def _epilogue(activation, rows, inner, outer):
    """An affine map and what follows it, by two calls or by one."""
    case = Case(
        "matmul",
        f"{activation}(linear) {rows}x{inner}->{outer}",
        f"tl.{activation}(tl.linear(x, w, b))",
        f"F.{activation}(F.linear(x, w, b))",
        operands={
            "x": Spec((rows, inner)),
            "w": Spec((outer, inner)),
            "b": Spec((outer,)),
        },
        tolerance=_tolerance(inner),
        flops=2 * rows * inner * outer,
    )
    return with_compile(case)


def cases():
    for shape in SHAPES:
        yield product(*shape)
    yield product(512, 512, 512, "float64")
    for a, b in BATCHED:
        yield _batched(a, b)
    yield _transposed("a @ b.T", "a @ b.T", (100, 784), (100, 784), 2 * 784e4)
    yield _transposed("a.T @ b", "a.T @ b", (100, 784), (100, 100), 2 * 784e4)
    square = (512, 512)
    for statement in ("a @ b.T", "a.T @ b", "a.T @ b.T"):
        yield _transposed(statement, statement, square, square, 2.0 * 512**3)
    yield _transposed("matvec", "a @ b", (1000, 784), (784,), 2 * 784e3)
    for shape in LINEAR:
        yield _linear(*shape, backward=False)
        yield _linear(*shape, backward=True)
    for activation in ("relu", "gelu"):
        yield _epilogue(activation, 256, 512, 512)
