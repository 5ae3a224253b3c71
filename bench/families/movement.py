"""Copies, views, indexing and creation."""

from bench.case import Case, Spec

SQUARE = (1000, 1000)


def _row(name, ours, torch, numpy="", operands=None, *, section="movement", **more):
    operands = {"a": Spec(SQUARE)} if operands is None else operands
    return Case(section, name, ours, torch, numpy, operands=operands, **more)


def _indices(count, bound):
    return Spec((count,), str(bound), "int64")


def _shape():
    two = {"a": Spec(SQUARE), "b": Spec(SQUARE)}
    yield _row(
        "concat axis 0",
        "tl.concat((a, b), axis=0)",
        "torch.cat((a, b), 0)",
        "np.concatenate((a, b), 0)",
        two,
        quick=True,
    )
    yield _row(
        "concat axis 1",
        "tl.concat((a, b), axis=1)",
        "torch.cat((a, b), 1)",
        "np.concatenate((a, b), 1)",
        two,
    )
    yield _row(
        "stack",
        "tl.stack((a, b))",
        "torch.stack((a, b))",
        "np.stack((a, b))",
        two,
    )
    yield _row(
        "flip, copied",
        "tl.flip(a, axis=1).contiguous()",
        "torch.flip(a, (1,))",
        "np.flip(a, 1).copy()",
    )
    yield _row(
        "pad by 2",
        "tl.pad(a, ((2, 2), (2, 2)))",
        "F.pad(a, (2, 2, 2, 2))",
        "np.pad(a, 2)",
    )
    yield _row(
        "transpose, copied",
        "tl.matrix_transpose(a).contiguous()",
        "a.mT.contiguous()",
        "a.T.copy()",
        quick=True,
    )
    yield _row(
        "permute 100x100x100 to 2, 0, 1, copied",
        "tl.permute_dims(a, 2, 0, 1).contiguous()",
        "a.permute(2, 0, 1).contiguous()",
        "a.transpose(2, 0, 1).copy()",
        {"a": Spec((100, 100, 100))},
    )
    yield _row(
        "broadcast_to, copied",
        "tl.broadcast_to(a, (1000, 1000)).contiguous()",
        "a.expand(1000, 1000).contiguous()",
        "np.broadcast_to(a, (1000, 1000)).copy()",
        {"a": Spec((1000,))},
    )
    yield _row("copy", "a.clone()", "a.clone()", "a.copy()")


def _views():
    section = "views"
    for name, ours, torch in (
        ("reshape", "tl.reshape(a, 500, 2000)", "torch.reshape(a, (500, 2000))"),
        ("permute_dims", "tl.permute_dims(a, 1, 0)", "torch.permute(a, (1, 0))"),
        ("transpose", "tl.transpose(a, 0, 1)", "torch.transpose(a, 0, 1)"),
        ("expand_dims", "tl.expand_dims(a, 0)", "torch.unsqueeze(a, 0)"),
        ("squeeze", "tl.squeeze(b, 0)", "torch.squeeze(b, 0)"),
        ("flatten", "tl.flatten(a)", "torch.flatten(a)"),
        ("split in 4", "tl.split(a, 250)", "torch.split(a, 250)"),
        ("unstack 16", "tl.unstack(c)", "torch.unbind(c)"),
        (
            "as_strided",
            "tl.as_strided(a, (999, 2), (1, 1))",
            "torch.as_strided(a, (999, 2), (1, 1))",
        ),
        ("a[1:, ::2]", "a[1:, ::2]", "a[1:, ::2]"),
    ):
        operands = {"a": Spec(SQUARE), "b": Spec((1, 8)), "c": Spec((16, 16))}
        yield _row(name, ours, torch, "", operands, section=section)


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
    along = {"a": Spec(SQUARE), "i": Spec(SQUARE, "1000", "int64")}
    yield _row(
        "take_along_axis 1000x1000",
        "tl.take_along_axis(a, i, axis=1)",
        "torch.take_along_dim(a, i, 1)",
        "np.take_along_axis(a, i, 1)",
        along,
        section=section,
    )
    yield _row(
        "gather 1000x1000",
        "tl.gather(a, i, axis=1)",
        "torch.gather(a, 1, i)",
        "",
        along,
        section=section,
    )
    mask = {"a": Spec(SQUARE), "m": Spec(SQUARE, "bool", "bool")}
    yield _row(
        "nonzero 10^6", "tl.nonzero(m)", "torch.nonzero(m, as_tuple=True)",
        "np.nonzero(m)", mask, section=section,
    )  # fmt: skip
    yield _row("a[mask] 10^6", *("a[m]",) * 3, mask, section=section)
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
        ("zeros 10^6", "tl.zeros(1000000)", "torch.zeros(1000000)", ""),
        ("ones 10^6", "tl.ones(1000000)", "torch.ones(1000000)", ""),
        ("full 10^6", "tl.full(1000000, 2.5)", "torch.full((1000000,), 2.5)", ""),
        ("zeros_like", "tl.zeros_like(a)", "torch.zeros_like(a)", ""),
        ("ones_like", "tl.ones_like(a)", "torch.ones_like(a)", ""),
        ("full_like", "tl.full_like(a, 2.5)", "torch.full_like(a, 2.5)", ""),
        ("arange 10^6", "tl.arange(1000000)", "torch.arange(1000000)", ""),
        (
            "linspace 10^6",
            "tl.linspace(0.0, 1.0, 1000000)",
            "torch.linspace(0.0, 1.0, 1000000)",
            "",
        ),
        ("eye 1000", "tl.eye(1000)", "torch.eye(1000)", ""),
        ("tensor of 8 floats", "tl.tensor(v)", "torch.tensor(v)", "np.array(v)"),
        ("tensor of an array", "tl.tensor(n)", "torch.tensor(n)", "np.array(n)"),
        ("asarray of an array", "tl.asarray(n)", "torch.asarray(n)", ""),
        ("from_numpy", "tl.from_numpy(n)", "torch.from_numpy(n)", ""),
        ("to NumPy", "a.numpy()", "a.numpy()", ""),
    ):
        yield _row(name, ours, torch, numpy, section=section, prepare=_sources)
    for name, ours, torch in (
        ("empty 10^6", "tl.empty(1000000)", "torch.empty(1000000)"),
        ("empty_like", "tl.empty_like(a)", "torch.empty_like(a)"),
    ):
        yield _row(name, ours, torch, section=section, check="")


def _sources(library, names):
    import numpy as np

    names["v"] = [float(i) for i in range(8)]
    names["n"] = np.arange(8, dtype="float32")


def cases():
    yield from _shape()
    yield from _views()
    yield from _indexing()
    yield from _creation()
