"""Views, rows of a table, tensors of other libraries' arrays; see also `arrays`."""

from bench.case import Case, Spec

SQUARE = (1000, 1000)


def _row(name, ours, torch, numpy="", operands=None, *, section="movement", **more):
    operands = {"a": Spec(SQUARE)} if operands is None else operands
    return Case(section, name, ours, torch, numpy, operands=operands, **more)


def _indices(count, bound):
    return Spec((count,), str(bound), "int64")


def _shape():
    yield _row(
        "permute 100x100x100 to 2, 0, 1, copied",
        "tl.permute_dims(a, 2, 0, 1).contiguous()",
        "a.permute(2, 0, 1).contiguous()",
        "a.transpose(2, 0, 1).copy()",
        {"a": Spec((100, 100, 100))},
    )


def _views():
    section = "views"
    for name, ours, torch, numpy in (
        ("reshape", "tl.reshape(a, 500, 2000)", "torch.reshape(a, (500, 2000))",
         "np.reshape(a, (500, 2000))"),
        ("permute_dims", "tl.permute_dims(a, 1, 0)", "torch.permute(a, (1, 0))",
         "np.permute_dims(a, (1, 0))"),
        ("transpose", "tl.transpose(a, 0, 1)", "torch.transpose(a, 0, 1)",
         "np.transpose(a)"),
        ("expand_dims", "tl.expand_dims(a, 0)", "torch.unsqueeze(a, 0)",
         "np.expand_dims(a, 0)"),
        ("squeeze", "tl.squeeze(b, 0)", "torch.squeeze(b, 0)", "np.squeeze(b, 0)"),
        ("moveaxis", "tl.moveaxis(a, 0, 1)", "torch.moveaxis(a, 0, 1)",
         "np.moveaxis(a, 0, 1)"),
        ("diagonal", "tl.diagonal(a)", "torch.diagonal(a)", "np.diagonal(a)"),
        ("flatten", "tl.flatten(a)", "torch.flatten(a)", "a.reshape(-1)"),
        ("split in 4", "tl.split(a, 250)", "torch.split(a, 250)", "np.split(a, 4)"),
        ("unstack 16", "tl.unstack(c)", "torch.unbind(c)", "np.unstack(c)"),
        ("as_strided", "tl.as_strided(a, (999, 2), (1, 1))",
         "torch.as_strided(a, (999, 2), (1, 1))",
         "np.lib.stride_tricks.as_strided(a, (999, 2), (4, 4))"),
        ("view_as_real", "tl.view_as_real(z)", "torch.view_as_real(z)",
         "z.view(np.float32)"),
        ("view_as_complex", "tl.view_as_complex(y)", "torch.view_as_complex(y)",
         "y.view(np.complex64)"),
        ("a[1:, ::2]", *("a[1:, ::2]",) * 3),
    ):  # fmt: skip
        operands = {
            "a": Spec(SQUARE), "b": Spec((1, 8)), "c": Spec((16, 16)),
            "y": Spec((100, 2)),
        }  # fmt: skip
        check = "" if "view_as" in name else None  # NumPy keeps one axis
        yield _row(name, ours, torch, numpy, operands, section=section,
                   prepare=_complex_vector, check=check)  # fmt: skip


def _complex_vector(library, names):
    names["z"] = names["y"][:, 0] + 1j * names["y"][:, 1]


def _indexing():
    section = "indexing"
    table = {"a": Spec((10000, 64)), "i": _indices(4096, 10000)}
    yield _row(
        "take 4096 rows of 10000x64",
        "tl.take(a, i, axis=0)",
        "torch.index_select(a, 0, i)",
        "np.take(a, i, axis=0)",
        table,
        section=section,
        quick=True,
    )
    yield _row(
        "a[i], 4096 rows of 10000x64",
        *("a[i]",) * 3,
        table,
        section=section,
    )
    yield _row(
        "a[i] = b, 4096 rows",
        *("a[i] = b",) * 3,
        {"a": Spec((10000, 64)), "i": _indices(4096, 10000), "b": Spec((64,))},
        section=section,
        check="a",
    )


def _creation():
    section = "creation"
    for name, ours, torch, numpy in (
        ("tensor of 8 floats", "tl.tensor(v)", "torch.tensor(v)", "np.array(v)"),
        ("tensor of an array", "tl.tensor(n)", "torch.tensor(n)", "np.array(n)"),
        # NumPy's would be the array itself.
        ("asarray of an array", "tl.asarray(n)", "torch.asarray(n)", ""),
        (
            "asarray of a buffer",
            "tl.asarray(m)",
            "torch.frombuffer(m, dtype=torch.float32)",
            "np.asarray(m)",
        ),
        ("from_numpy", "tl.from_numpy(n)", "torch.from_numpy(n)", ""),
        ("to NumPy", "a.numpy()", "a.numpy()", ""),
    ):
        yield _row(name, ours, torch, numpy, section=section, prepare=_sources)
    for name, ours, torch, numpy in (
        ("empty 10^6", "tl.empty(1000000)", "torch.empty(1000000)",
         "np.empty(1000000, np.float32)"),
        ("empty_like", "tl.empty_like(a)", "torch.empty_like(a)", "np.empty_like(a)"),
    ):  # fmt: skip
        yield _row(name, ours, torch, numpy, section=section, check="")


def _sources(library, names):
    import numpy as np

    names["v"] = [float(i) for i in range(8)]
    names["n"] = np.arange(8, dtype="float32")
    names["m"] = memoryview(names["n"])


def cases():
    yield from _shape()
    yield from _views()
    yield from _indexing()
    yield from _creation()
