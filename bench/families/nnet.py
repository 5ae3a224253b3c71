"""Softmax, normalization, losses, embeddings: forward, and forward + backward."""

from bench.case import Case, Spec
from bench.variants import with_compile

SHAPES = ((4096, 512), (128, 64))
LOGITS = ((100, 10), (4096, 1000))


def _both(name, ours, torch, operands, inputs, *, quick=False, **more):
    """The row of the forward pass and that of forward + backward."""
    yield Case(
        "nnet",
        name,
        ours,
        torch,
        operands={k: Spec(s.shape, s.kind, s.dtype) for k, s in operands.items()},
        quick=quick,
        **more,
    )
    graph = {
        k: Spec(s.shape, s.kind, s.dtype, grad=k in inputs) for k, s in operands.items()
    }
    wanted = f"({', '.join(inputs)},)"
    yield Case(
        "nnet",
        f"{name}, forward + backward",
        f"tl.autograd.grad({ours}, {wanted}, g)",
        f"torch.autograd.grad({torch}, {wanted}, g)",
        operands=graph,
        quick=quick,
        **more,
    )


def _rows(shape):
    n, c = shape
    size = f"{n}x{c}"
    x = {"x": Spec(shape), "g": Spec(shape)}
    quick = shape == SHAPES[0]
    for op in ("softmax", "log_softmax"):
        yield from _both(
            f"{op} {size}",
            f"tl.{op}(x, axis=-1)",
            f"torch.{op}(x, -1)",
            x,
            ("x",),
            quick=quick,
        )
    rows = _both(
        f"layer_norm {size}",
        f"tl.layer_norm(x, ({c},), w, b)",
        f"F.layer_norm(x, ({c},), w, b)",
        {**x, "w": Spec((c,)), "b": Spec((c,))},
        ("x", "w", "b"),
        quick=quick,
        tolerance=(1e-3, 1e-3),
    )
    yield from map(with_compile, rows)


def _image_norms():
    shape, w = (16, 32, 32, 32), Spec((32,))
    images = {"x": Spec(shape), "g": Spec(shape), "w": w, "b": w}
    for call in (
        "batch_norm(x, None, None, w, b, training=True)",
        "instance_norm(x, weight=w, bias=b)",
        "group_norm(x, 8, w, b)",
    ):
        rows = _both(
            f"{call.partition('(')[0]} 16x32x32x32",
            f"tl.{call}",
            f"F.{call}",
            images,
            ("x", "w", "b"),
            tolerance=(1e-3, 1e-2),
        )
        yield from map(with_compile, rows)
    rows = _both(
        "rms_norm 4096x512",
        "tl.rms_norm(x, (512,), w)",
        "F.rms_norm(x, (512,), w)",
        {"x": Spec((4096, 512)), "g": Spec((4096, 512)), "w": Spec((512,))},
        ("x", "w"),
        tolerance=(1e-3, 1e-2),
    )
    yield from map(with_compile, rows)


def _cross_entropy(shape):
    n, c = shape
    operands = {
        "x": Spec(shape, grad=True),
        "y": Spec((n,), str(c), "int64"),
    }
    return Case(
        "nnet",
        f"cross_entropy {n}x{c}, forward + backward",
        "tl.autograd.grad(tl.cross_entropy(x, y), x)",
        "torch.autograd.grad(F.cross_entropy(x, y), x)",
        operands=operands,
        quick=True,
    )


def _embedding(rows, width, count, *, quick=False):
    return _both(
        f"embedding {count} of {rows}x{width}",
        "tl.embedding(i, w)",
        "F.embedding(i, w)",
        {
            "w": Spec((rows, width)),
            "i": Spec((count,), str(rows), "int64"),
            "g": Spec((count, width)),
        },
        ("w",),
        quick=quick,
    )


def _activations():
    """Those made of other ops, so not among the elementwise primitives."""
    shape = (1000, 1000)
    for name in ("celu", "selu", "relu6", "glu", "softmin"):
        axis = {"glu": ", -1", "softmin": ", -1"}.get(name, "")
        half = (1000, 500) if name == "glu" else shape
        yield from _both(
            f"{name} 1000x1000",
            f"tl.{name}(x{axis})",
            f"F.{name}(x{axis})",
            {"x": Spec(shape), "g": Spec(half)},
            ("x",),
        )


def _ctc():
    steps, batch, classes, length = 50, 16, 20, 10
    lengths = f"({steps},) * {batch}, ({length},) * {batch}"
    return Case(
        "nnet",
        f"ctc_loss {steps}x{batch}x{classes}, forward + backward",
        f"tl.autograd.grad(tl.ctc_loss(tl.log_softmax(x), y, {lengths}), x)",
        f"torch.autograd.grad(F.ctc_loss(torch.log_softmax(x, -1), y, {lengths}), x)",
        operands={
            "x": Spec((steps, batch, classes), grad=True),
            "y": Spec((batch, length), str(classes), "int64"),
        },
        prepare=_without_blanks,
    )


def _without_blanks(library, names):
    names["y"] = names["y"] % 19 + 1


def cases():
    for shape in SHAPES:
        yield from _rows(shape)
    for shape in LOGITS:
        yield _cross_entropy(shape)
    yield from _image_norms()
    yield from _embedding(10000, 64, 4096, quick=True)
    yield from _embedding(1000, 16, 64)
    yield from _activations()
    yield _ctc()
    yield Case(
        "nnet",
        "dropout 10^6",
        "tl.dropout(a, 0.5)",
        "F.dropout(a, 0.5)",
        operands={"a": Spec((10**6,))},
        check="",
    )
    yield Case(
        "nnet",
        "one_hot 4096 of 100",
        "tl.one_hot(i, 100)",
        "F.one_hot(i, 100)",
        operands={"i": Spec((4096,), "100", "int64")},
    )
