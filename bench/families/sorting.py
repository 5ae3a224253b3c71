"""Sorting, selection, searching, sets, statistics."""

from bench.case import Case, Spec, size_label

SIZES = (10**3, 10**5, 10**7)
KINDS = {"float32": "normal", "float64": "normal", "int64": "1000000007"}


def _row(name, ours, torch, numpy="", operands=None, **more):
    more.setdefault("tolerance", (1e-5, 1e-6))
    return Case("sorting", name, ours, torch, numpy, operands=operands, **more)


def _spec(size, dtype="float32"):
    return Spec((size,), KINDS.get(dtype, "100"), dtype)


def _orders():
    for size in SIZES:
        for dtype in ("float32", "float64", "int64"):
            label = f"{dtype} {size_label(size)}"
            a = {"a": _spec(size, dtype)}
            yield _row(
                f"sort {label}", "tl.sort(a)", "torch.sort(a).values", "np.sort(a)", a,
                quick=dtype == "float32",
            )  # fmt: skip
            # Stable, as ours is unless told otherwise.
            yield _row(
                f"argsort {label}", "tl.argsort(a)", "torch.argsort(a, stable=True)",
                "np.argsort(a, stable=True)", a, quick=dtype == "float32",
            )  # fmt: skip
    for shape, axis in (((10**5, 10), -1), ((1000, 1000), -1), ((1000, 1000), 0)):
        yield _row(
            f"sort float32 {shape[0]}x{shape[1]} axis {axis}",
            f"tl.sort(a, axis={axis})", f"torch.sort(a, {axis}).values",
            f"np.sort(a, {axis})", {"a": Spec(shape)},
        )  # fmt: skip


def _ranks():
    for size in SIZES:
        label, a = size_label(size), {"a": _spec(size)}
        for k in (10, size // 10):
            yield _row(
                f"topk {k} of {label}", f"tl.topk(a, {k})", f"torch.topk(a, {k})",
                f"np.argpartition(a, {size - k})", a, check="",
            )  # fmt: skip
        yield _row(
            f"kthvalue {label}", f"tl.kthvalue(a, {size // 2})",
            f"torch.kthvalue(a, {size // 2})", f"np.argpartition(a, {size // 2})", a,
            check="", quick=True,
        )  # fmt: skip
        yield _row(
            f"median {label}", "tl.median(a)", "torch.median(a)", "np.median(a)", a,
            check="",
        )  # fmt: skip
        yield _row(
            f"quantile 0.1, 0.9 {label}", "tl.quantile(a, q)",
            "torch.quantile(a, q)" if size < 10**7 else "", "np.quantile(a, q)", a,
            prepare=_quantiles, tolerance=(1e-4, 1e-6),
        )  # fmt: skip
        yield _row(
            f"nanmedian {label}", "tl.nanmedian(a)", "torch.nanmedian(a)",
            "np.nanmedian(a)", a, check="",
        )  # fmt: skip
    a = {"a": Spec((1000, 1000))}
    for op, more in (("topk", ", 10"), ("median", ", -1")):
        yield _row(
            f"{op}{more} 1000x1000", f"tl.{op}(a{more})", f"torch.{op}(a{more})",
            f"np.{op}(a{more})" if op == "median" else "", a, check="",
        )  # fmt: skip


def _quantiles(library, names):
    values = [0.1, 0.9]
    if library == "torch":
        import torch

        values = torch.tensor(values)
    names["q"] = values


def _searches():
    for size in SIZES:
        label = size_label(size)
        yield _row(
            f"searchsorted {label} in {label}", "tl.searchsorted(s, v)",
            "torch.searchsorted(s, v)", "np.searchsorted(s, v)",
            {"a": _spec(size), "v": _spec(size)}, prepare=_sorted_operand,
            quick=size == 10**5,
        )  # fmt: skip
        few = {"a": Spec((size,), "1000", "int64"), "b": Spec((100,), "1000", "int64")}
        yield _row(
            f"isin, among 100, {label}", "tl.isin(a, b)", "torch.isin(a, b)",
            "np.isin(a, b)", few,
        )  # fmt: skip
        for name, ours, torch, numpy in (
            ("values", "unique_values(a)", "unique(a)", "unique(a)"),
            ("counts", "unique_counts(a)", "unique(a, return_counts=True)",
             "unique(a, return_counts=True)"),
            ("inverse", "unique_inverse(a)", "unique(a, return_inverse=True)",
             "unique(a, return_inverse=True)"),
            ("all", "unique_all(a)", "", "unique(a, True, True, True)"),
        ):  # fmt: skip
            for kind, bound in (("few", "1000"), ("many", "1000000007")):
                yield _row(
                    f"unique, {name}, {kind} {label}", f"tl.{ours}",
                    torch and f"torch.{torch}", f"np.{numpy}",
                    {"a": Spec((size,), bound, "int64")}, ops=("unique",),
                    quick=kind == "few" and size == 10**5,
                )  # fmt: skip


def _sorted_operand(library, names):
    if library == "ours":
        import tensorlib as tl

        names["s"] = tl.sort(names["a"])
    elif library == "torch":
        names["s"] = names["a"].sort().values
    else:
        import numpy as np

        names["s"] = np.sort(names["a"])


def _counts():
    for size in SIZES:
        label, a = size_label(size), {"a": _spec(size)}
        i = {"i": Spec((size,), "100", "int64"), "w": _spec(size)}
        yield _row(
            f"bincount {label}", "tl.bincount(i)", "torch.bincount(i)",
            "np.bincount(i)", i, quick=True,
        )  # fmt: skip
        yield _row(
            f"bincount, weights {label}", "tl.bincount(i, w)", "torch.bincount(i, w)",
            "np.bincount(i, w)", i, check="",
        )  # fmt: skip
        yield _row(
            f"histogram of 100 bins {label}", "tl.histogram(a, 100)",
            "torch.histogram(a, 100)", "np.histogram(a, 100)", a, check="",
            ops=("histogram_bin_edges", "nanquantile", "percentile"),
        )  # fmt: skip
        yield _row(
            f"histogram by edges {label}", "tl.histogram(a, v)",
            "torch.histogram(a, v)", "np.histogram(a, v)", a, check="", prepare=_edges,
        )  # fmt: skip


def _edges(library, names):
    values = [-3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0]
    if library == "ours":
        import tensorlib as tl

        names["v"] = tl.tensor(values)
    elif library == "torch":
        import torch

        names["v"] = torch.tensor(values)
    else:
        names["v"] = values


def cases():
    yield from _orders()
    yield from _ranks()
    yield from _searches()
    yield from _counts()
    yield Case(
        "sorting",
        "sort 10^6, forward + backward",
        "tl.autograd.grad(tl.sort(a), a, g)",
        "torch.autograd.grad(torch.sort(a, stable=True).values, a, g)",
        operands={"a": Spec((10**6,), grad=True), "g": Spec((10**6,))},
    )
