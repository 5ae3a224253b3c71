"""The rows, the most important ones first: device time is short."""

import math
import re

from bench.cuda import training
from bench.cuda.case import Case, Operand

__all__ = ["all_cases"]

MEMORY = 0.9  # of the copy's bandwidth, from 2^26 elements on
ROWS = 0.85  # softmax and normalizations
LAUNCH = 0.5  # of PyTorch's time where the launch decides
PRODUCT = 1.02  # of cuBLAS's time
TRAIN, GRAPHS = 1.0, 0.7


def _size(n):
    return f"2^{round(math.log2(n))}"


# ---- one call on little data -----------------------------------------------------
def _launch():
    small = {"x": Operand((64,)), "y": Operand((64,))}
    square = {"x": Operand((64, 64)), "y": Operand((64, 64)), "b": Operand((64,))}
    taped = {"x": Operand((64,), grad=True), "y": Operand((64,))}
    rows = (
        ("add", "x + y", "x + y", small),
        ("multiply by a scalar", "x * 3.0", "x * 3.0", small),
        ("add, recorded", "x + y", "x + y", taped),
        ("matmul 64", "x @ y", "x @ y", square),
        ("linear 64", "tl.linear(x, y, b)", "F.linear(x, y, b)", square),
        ("softmax 64 x 64", "tl.softmax(x)", "torch.softmax(x, -1)", square),
        ("sum 64 x 64", "x.sum()", "x.sum()", square),
        ("sum of rows", "tl.sum(x, axis=1)", "x.sum(1)", square),
        ("relu", "tl.relu(x)", "torch.relu(x)", small),
        ("exp", "tl.exp(x)", "torch.exp(x)", small),
        ("layer_norm 64 x 64", "tl.layer_norm(x, (64,), b, b)",
         "F.layer_norm(x, (64,), b, b)", square),
        ("x[1:] of 64", "x[1:]", "x[1:]", small),
        ("zeros of 64", "tl.zeros(64, device=d)", "torch.zeros(64, device=d)", small),
    )  # fmt: skip
    for name, ours, torch, operands in rows:
        yield Case("launch", name, ours, torch, operands, check=True, ratio=LAUNCH)


# ---- bound by memory -------------------------------------------------------------
def _memory(n):
    """Elementwise operations and reductions on n elements."""
    # At least 32 wide, so that an axis is one at small sizes, too.
    wide = 1 << max(5, round(math.log2(n)) // 2)
    tall = max(1, n // wide)
    vector, matrix = Operand((n,)), Operand((tall, wide))
    one, two = {"x": vector}, {"x": vector, "y": vector}
    square = {"x": matrix}
    half = {"x": Operand((n,), "bfloat16"), "y": Operand((n,), "bfloat16")}
    share = MEMORY if n >= 1 << 26 else 0.0
    rows = (
        ("add", "x + y", "x + y", two, 12 * n),
        ("multiply by a scalar", "x * 3.0", "x * 3.0", one, 8 * n),
        ("add bfloat16", "x + y", "x + y", half, 6 * n),
        ("exp", "tl.exp(x)", "torch.exp(x)", one, 8 * n),
        ("gelu", "tl.gelu(x)", "F.gelu(x)", one, 8 * n),
        ("relu", "tl.relu(x)", "torch.relu(x)", one, 8 * n),
        ("cast to bfloat16", "x.astype(tl.bfloat16)", "x.to(torch.bfloat16)", one,
         6 * n),
        ("copy of the transpose", "x.T.contiguous()", "x.T.contiguous()", square,
         8 * n),
        ("add a bias", "x + b", "x + b", {**square, "b": Operand((wide,))}, 8 * n),
        ("sum", "tl.sum(x)", "torch.sum(x)", one, 4 * n),
        ("sum, axis 0", "tl.sum(x, axis=0)", "torch.sum(x, 0)", square, 4 * n),
        ("sum, axis 1", "tl.sum(x, axis=1)", "torch.sum(x, 1)", square, 4 * n),
        ("max, axis 1", "tl.max(x, axis=1)", "torch.amax(x, 1)", square, 4 * n),
        ("argmax, axis 1", "tl.argmax(x, axis=1)", "torch.argmax(x, 1)", square, 4 * n),
        ("where", "tl.where(x > 0, x, y)", "torch.where(x > 0, x, y)", two, 18 * n),
        ("cumsum, axis 1", "tl.cumsum(x, axis=1)", "torch.cumsum(x, 1)", square, 8 * n),
    )  # fmt: skip
    for name, ours, torch, operands, nbytes in rows:
        yield Case(
            f"memory {_size(n)}", name, ours, torch, operands,
            check=True, nbytes=nbytes, share=share,
        )  # fmt: skip


def _rows_of(n, wide=1024):
    """Softmax, normalizations and the loss on rows of 1024."""
    wide = min(wide, n)
    tall = max(1, n // wide)
    x = Operand((tall, wide))
    taped = Operand((tall, wide), grad=True)
    w, g = Operand((wide,)), Operand((tall, wide))
    labels = Operand((tall,), "int64", below=wide)
    leaf = Operand((wide,), grad=True)
    section, share = f"rows {_size(n)}", ROWS if n >= 1 << 26 else 0.0

    def row(name, ours, torch, operands, nbytes, check=True):
        return Case(
            section, name, ours, torch, operands, check=check, nbytes=nbytes,
            share=share,
        )  # fmt: skip

    yield row("softmax", "tl.softmax(x)", "torch.softmax(x, -1)", {"x": x}, 8 * n)
    yield row(
        "log_softmax", "tl.log_softmax(x)", "torch.log_softmax(x, -1)", {"x": x}, 8 * n
    )
    norm = f"layer_norm(x, ({wide},), w, b)"
    both = {"x": x, "w": w, "b": w}
    yield row("layer_norm", f"tl.{norm}", f"F.{norm}", both, 8 * n)
    yield row(
        "rms_norm", f"tl.rms_norm(x, ({wide},), w)", f"F.rms_norm(x, ({wide},), w)",
        {"x": x, "w": w}, 8 * n,
    )  # fmt: skip
    clear = "x.grad = w.grad = b.grad = None"
    yield row(
        "layer_norm, forward + backward",
        f"tl.{norm}.backward(g); {clear}", f"F.{norm}.backward(g); {clear}",
        {"x": taped, "w": leaf, "b": leaf, "g": g}, 20 * n, check=False,
    )  # fmt: skip
    yield row(
        "softmax, forward + backward",
        "tl.softmax(x).backward(g); x.grad = None",
        "torch.softmax(x, -1).backward(g); x.grad = None",
        {"x": taped, "g": g}, 20 * n, check=False,
    )  # fmt: skip
    yield row(
        "cross_entropy, forward + backward",
        "tl.cross_entropy(x, t).backward(); x.grad = None",
        "F.cross_entropy(x, t).backward(); x.grad = None",
        {"x": taped, "t": labels}, 12 * n, check=False,
    )  # fmt: skip


def _indexing(n):
    """Rows taken from and added to a table; sorting; random numbers."""
    count = max(1, n // 256)
    table = Operand((max(8, count // 4), 256))
    rows = table.shape[0]
    picks = Operand((count,), "int64", below=rows)
    values = Operand((count, 256))
    section, share = f"indexing {_size(n)}", MEMORY if n >= 1 << 26 else 0.0

    def row(name, ours, torch, operands, nbytes=0.0, check=True, share=0.0):
        return Case(
            section, name, ours, torch, operands, check=check, nbytes=nbytes,
            share=share,
        )  # fmt: skip

    yield row(
        "embedding", "tl.embedding(i, w)", "F.embedding(i, w)",
        {"i": picks, "w": table}, 4 * (n + table.size), share=share,
    )  # fmt: skip
    yield row(
        "embedding, forward + backward",
        "tl.embedding(i, w).backward(g); w.grad = None",
        "F.embedding(i, w).backward(g); w.grad = None",
        {"i": picks, "w": Operand(table.shape, grad=True), "g": values},
        8 * (n + table.size), check=False,
    )  # fmt: skip
    yield row(
        "take rows", "tl.take(w, i, axis=0)", "torch.index_select(w, 0, i)",
        {"i": picks, "w": table}, 4 * (n + table.size), share=share,
    )  # fmt: skip
    gather = {"x": values, "j": Operand((count, 256), "int64", below=256)}
    yield row(
        "take_along_axis", "tl.take_along_axis(x, j, axis=1)", "torch.gather(x, 1, j)",
        gather, 16 * n, share=share,
    )  # fmt: skip
    yield row(
        "index_add", "tl.index_add(w, i, v, axis=0)", "torch.index_add(w, 0, i, v)",
        {"w": table, "i": picks, "v": values}, 4 * n + 8 * table.size, check=False,
    )  # fmt: skip
    yield row("sort", "tl.sort(x)", "torch.sort(x).values", {"x": Operand((n,))})
    yield row("sort of rows", "tl.sort(x)", "torch.sort(x, -1).values", {"x": values})
    yield row(
        "topk 10 of rows", "tl.topk(x, 10)", "torch.topk(x, 10)", {"x": values},
        4 * n, check=False,
    )  # fmt: skip
    yield row(
        "dropout", "tl.dropout(x, 0.1, True)", "F.dropout(x, 0.1, True)",
        {"x": Operand((n,))}, 8 * n, check=False, share=share,
    )  # fmt: skip
    yield row(
        "rand", f"tl.rand(({n},), device=d)", f"torch.rand({n}, device=d)", {},
        4 * n, check=False, share=share,
    )  # fmt: skip
    yield row(
        "randn", f"tl.randn(({n},), device=d)", f"torch.randn({n}, device=d)", {},
        4 * n, check=False,
    )  # fmt: skip


# ---- bound by products -----------------------------------------------------------
def _products(sizes, dtypes):
    for dtype in dtypes:
        for n in sizes:
            given = "float32" if dtype == "tf32" else dtype
            operands = {"a": Operand((n, n), given), "b": Operand((n, n), given)}
            yield Case(
                "matmul", f"{dtype} {n}", "a @ b", "a @ b", operands,
                prepare=training.tf32(dtype == "tf32"), check=dtype != "tf32",
                flops=2.0 * n**3, peak=dtype, ratio=PRODUCT,
            )  # fmt: skip


def _linear(cap):
    rows, inner, outer = (min(n, cap) for n in (8192, 4096, 16384))
    half = "bfloat16"
    yield Case(
        "matmul", f"linear bfloat16 {rows} x {inner} -> {outer} with bias",
        "tl.linear(x, w, b)", "F.linear(x, w, b)",
        {"x": Operand((rows, inner), half), "w": Operand((outer, inner), half),
         "b": Operand((outer,), half)},
        flops=2.0 * rows * inner * outer, ratio=PRODUCT,
    )  # fmt: skip
    yield Case(
        "matmul", f"batched bfloat16 64 x {min(512, cap)}",
        "a @ b", "a @ b",
        {name: Operand((64, min(512, cap), min(512, cap)), half) for name in "ab"},
        flops=128.0 * min(512, cap) ** 3, ratio=PRODUCT,
    )  # fmt: skip


def _attention(cap):
    for depth in (64, 128):
        for length in (4096, 1024):
            length = min(length, cap)
            heads = 2048 // depth if cap > 1024 else 2
            batch = max(1, 8192 // length) if cap > 1024 else 1
            shape = (batch, heads, length, depth)
            for causal in (True, False):
                flops = 4.0 * batch * heads * length**2 * depth / (2 if causal else 1)
                name = f"T {length}, d {depth}{', causal' if causal else ''}"
                yield from _attention_pair(shape, causal, name, flops)


def _attention_pair(shape, causal, name, flops):
    inputs = {x: Operand(shape, "bfloat16") for x in "qkv"}
    taped = {x: Operand(shape, "bfloat16", grad=True) for x in "qkv"}
    call = f"scaled_dot_product_attention(q, k, v, is_causal={causal})"
    clear = "q.grad = k.grad = v.grad = None"
    yield Case(
        "attention", f"forward, {name}", f"tl.{call}", f"F.{call}", inputs,
        check=True, flops=flops, share=0.6,
    )  # fmt: skip
    yield Case(
        "attention", f"forward + backward, {name}",
        f"tl.{call}.backward(g); {clear}", f"F.{call}.backward(g); {clear}",
        {**taped, "g": Operand(shape, "bfloat16")}, flops=3.5 * flops, share=0.6,
    )  # fmt: skip


def _convolutions(cap):
    """The convolutions of ResNet-9 for CIFAR-10, batch 256; some in TF32, too."""
    batch = min(256, cap)
    shapes = ((3, 64, 32), (64, 128, 32), (128, 128, 16), (128, 256, 16),
              (256, 512, 8), (512, 512, 4))  # fmt: skip
    some = (shapes[1], shapes[3], shapes[5])
    for peak, chosen in (("bfloat16", shapes), ("float32", shapes), ("tf32", some)):
        dtype = "bfloat16" if peak == "bfloat16" else "float32"
        for inner, outer, side in chosen:
            inner, outer = min(inner, cap), min(outer, cap)
            x = Operand((batch, inner, side, side), dtype)
            w = Operand((outer, inner, 3, 3), dtype)
            flops = 18.0 * batch * inner * outer * side * side
            how = "conv2d(x, w, padding=1)"
            common = {"peak": peak, "prepare": training.tf32(peak == "tf32")}
            name = f"{peak} {inner} -> {outer}, {side} x {side}"
            yield Case(
                "convolution", f"forward, {name}", f"tl.{how}", f"F.{how}",
                {"x": x, "w": w}, flops=flops, **common,
            )  # fmt: skip
            taped = {
                "x": Operand(x.shape, dtype, grad=inner > 3),
                "w": Operand(w.shape, dtype, grad=True),
                "g": Operand((batch, outer, side, side), dtype),
            }
            clear = "x.grad = w.grad = None"
            yield Case(
                "convolution", f"forward + backward, {name}",
                f"tl.{how}.backward(g); {clear}", f"F.{how}.backward(g); {clear}",
                taped, flops=3 * flops, **common,
            )  # fmt: skip


def _training(cap):
    small = cap < 1024
    for graphed in (False, True):
        kind, ratio = ("CUDA graph", GRAPHS) if graphed else ("eager", TRAIN)
        for name, build in training.MODELS.items():
            yield Case(
                "training", f"{name}, {kind}", "step()", "step()",
                prepare=training.step(build, small, graphed), ratio=ratio,
                flops=0.0 if small else training.FLOPS.get(name, 0.0),
            )  # fmt: skip


def _compiled(cap):
    """Against torch.compile, which fuses: training steps, and a few chains."""
    for name, build in training.MODELS.items():
        yield Case(
            "compiled", name, "step()", "step()",
            prepare=training.step(build, cap < 1024, False), compiled=True,
        )  # fmt: skip
    n = min(1 << 26, cap)
    x, y = Operand((n // 1024 or 1, min(1024, n))), Operand((min(1024, n),))
    for name, ours, torch in (
        ("softmax", "tl.softmax(x)", "torch.softmax(x, -1)"),
        ("layer_norm", f"tl.layer_norm(x, ({y.size},), y, y)",
         f"F.layer_norm(x, ({y.size},), y, y)"),
        ("bias and gelu", "tl.gelu(x + y)", "F.gelu(x + y)"),
    ):  # fmt: skip
        yield Case(
            "compiled", f"{name} {_size(n)}", ours, torch, {"x": x, "y": y},
            nbytes=8 * n, compiled=True,
        )  # fmt: skip


def _optimizers(n):
    for name, passes in (("Adam", 7), ("AdamW", 7), ("SGD", 5)):
        yield Case(
            "optimizer", f"{name}, 32 x {_size(n // 32)}",
            "optimizer.step()", "optimizer.step()",
            prepare=training.optimizer(name, 32, n // 32),
            nbytes=4.0 * passes * n, share=MEMORY if n >= 1 << 25 else 0.0,
        )  # fmt: skip


def all_cases(*, only=None, cap=1 << 26):
    """Return the rows in the order in which they run.

    Parameters
    ----------
    only : str, optional
        Keep the rows whose ``"section: name"`` this regular expression finds.
    cap : int
        Most elements or extent of an operand: tests run all rows on little data.
    """

    def n(size):
        return min(size, cap)

    products = [size for size in (4096, 8192, 2048, 1024, 512, 256, 128) if size <= cap]
    found = [
        *_memory(n(1 << 26)),
        *_rows_of(n(1 << 26)),
        *_launch(),
        *_products(products[:4] or [n(64)], ["bfloat16"]),
        *list(_attention(cap))[: 4 if cap > 1024 else None],
        *_training(cap),
        *_optimizers(n(1 << 25)),
        *_indexing(n(1 << 26)),
        *_linear(cap),
        *_convolutions(cap),
        *(list(_attention(cap))[4:] if cap > 1024 else []),
        *_products(products[4:], ["bfloat16"]),
        *_products(products, ["tf32", "float32"]),
        *(row for size in (1 << 10, 1 << 16, 1 << 20) if size < n(1 << 26)
          for family in (_memory, _rows_of, _indexing) for row in family(size)),
        *(_compiled(cap) if cap > 1024 else []),
    ]  # fmt: skip
    kept = {case.label: case for case in reversed(found)}  # the first of a label
    return [
        case
        for case in found
        if kept[case.label] is case and (not only or re.search(only, case.label))
    ]
