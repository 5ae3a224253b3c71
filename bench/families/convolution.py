"""Convolutions and pooling: forward, and forward + backward."""

from math import prod

from bench.case import Case, Spec
from bench.variants import with_channels_last

# N, C, extent, O, kernel, stride, padding, dilation, groups.
SHAPES = (
    (8, 3, 32, 32, 3, 1, 1, 1, 1),
    (16, 32, 32, 64, 3, 1, 1, 1, 1),
    (16, 64, 16, 128, 3, 1, 1, 1, 1),
    (1, 64, 56, 64, 3, 1, 1, 1, 1),
    (1, 256, 14, 256, 3, 1, 1, 1, 1),
    (32, 64, 28, 128, 3, 2, 1, 1, 1),
    (1, 128, 28, 256, 1, 1, 0, 1, 1),
    (32, 256, 14, 64, 1, 1, 0, 1, 1),
    (16, 32, 28, 32, 5, 1, 2, 1, 1),
    (1, 3, 224, 64, 7, 2, 3, 1, 1),
    (4, 3, 224, 64, 7, 2, 3, 1, 1),
    (8, 64, 28, 64, 3, 1, 2, 2, 1),
    (16, 64, 32, 64, 3, 1, 1, 1, 64),
    (8, 64, 16, 64, 3, 1, 1, 1, 4),
)
QUICK = {SHAPES[0], SHAPES[2]}
# Of these each gradient has a row of its own.
GRADIENTS = (SHAPES[2], SHAPES[5], SHAPES[6])


def _title(shape):
    n, c, extent, o, kernel, stride, _, dilation, groups = shape
    text = f"{n}x{c}x{extent}x{extent}, {o} of {kernel}x{kernel}"
    text += f", stride {stride}" * (stride > 1)
    text += f", dilation {dilation}" * (dilation > 1)
    return text + (f", {groups} groups" if groups > 1 else "")


def _both(
    name, ours, torch, operands, inputs, *, quick=False, tolerance=(1e-3, 1e-3), flops=0
):
    """The row of the forward pass and that of forward + backward.

    `flops` are of the forward pass; each gradient takes as many.
    """
    for grad in (False, True):
        wanted = f"({', '.join(inputs)},)"
        case = Case(
            "convolution",
            name + ", forward + backward" * grad,
            f"tl.autograd.grad({ours}, {wanted}, g)" if grad else ours,
            f"torch.autograd.grad({torch}, {wanted}, g)" if grad else torch,
            operands={
                k: Spec(s.shape, s.kind, s.dtype, grad=grad and k in inputs)
                for k, s in operands.items()
            },
            tolerance=tolerance,
            flops=flops * (3 if grad else 1),
            quick=quick,
        )
        images = len(operands["x"].shape) in (4, 5)
        yield with_channels_last(case) if images else case


def _geometry(shape):
    """The call of a layer, its operands, and its operations."""
    n, c, extent, o, kernel, stride, padding, dilation, groups = shape
    out = (extent + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    call = f"conv2d(x, w, b, {stride}, {padding}, {dilation}, {groups})"
    operands = {
        "x": Spec((n, c, extent, extent)),
        "w": Spec((o, c // groups, kernel, kernel), "unit"),
        "b": Spec((o,)),
        "g": Spec((n, o, out, out)),
    }
    return call, operands, 2 * n * o * out * out * (c // groups) * kernel * kernel


def _conv2d(shape):
    call, operands, flops = _geometry(shape)
    return _both(
        f"conv2d {_title(shape)}",
        f"tl.{call}",
        f"F.{call}",
        operands,
        ("x", "w", "b"),
        quick=shape in QUICK,
        tolerance=(1e-3, 2e-2),
        flops=flops,
    )


def _gradients(shape):
    """The gradients of a layer by its input and by its filters, one at a time."""
    call, operands, flops = _geometry(shape)
    for wanted, text in (("x", "input"), ("w", "filters")):

        def record(library, names, wanted=wanted):
            names[wanted].requires_grad_(True)
            module = names["tl" if library == "ours" else "F"]
            names["y"] = eval(f"module.{call}", {**names, "module": module})

        yield Case(
            "convolution",
            f"conv2d {_title(shape)}, gradient of the {text}",
            f"tl.autograd.grad(y, {wanted}, g, retain_graph=True)",
            f"torch.autograd.grad(y, {wanted}, g, retain_graph=True)",
            operands=operands,
            prepare=record,
            tolerance=(1e-3, 2e-2),
            flops=flops,
        )


def _other_dimensions():
    for call, x, w, g in (
        ("conv1d(x, w, b, 1, 2)", (16, 32, 256), (64, 32, 5), (16, 64, 256)),
        ("conv3d(x, w, b, 1, 1)", (2, 8, 16, 16, 16), (16, 8, 3, 3, 3),
         (2, 16, 16, 16, 16)),
        ("conv_transpose1d(x, w, b, 2, 1)", (16, 32, 64), (32, 16, 4), (16, 16, 128)),
        ("conv_transpose2d(x, w, b, 2, 1)", (16, 64, 14, 14), (64, 32, 4, 4),
         (16, 32, 28, 28)),
        ("conv_transpose3d(x, w, b, 2, 1)", (2, 8, 8, 8, 8), (8, 8, 4, 4, 4),
         (2, 8, 16, 16, 16)),
    ):  # fmt: skip
        name = call.partition("(")[0]
        # Every output meets a filter; of a transposed one, every input.
        places = prod(x) // x[1] if "transpose" in name else prod(g) // g[1]
        yield from _both(
            f"{name} {'x'.join(map(str, x))}",
            f"tl.{call}",
            f"F.{call}",
            {"x": Spec(x), "w": Spec(w, "unit"), "b": Spec((g[1],)), "g": Spec(g)},
            ("x", "w", "b"),
            tolerance=(1e-3, 2e-2),
            flops=2 * places * prod(w),
        )


def _pooling():
    shape, spatial = (16, 32), (32, 16, 8)
    for d in (1, 2, 3):
        x = shape + (spatial[d - 1],) * d
        half = shape + (spatial[d - 1] // 2,) * d
        for call, g in (
            (f"max_pool{d}d(x, 2)", half),
            (f"avg_pool{d}d(x, 2)", half),
            (f"adaptive_avg_pool{d}d(x, 1)", shape + (1,) * d),
            (f"adaptive_max_pool{d}d(x, 2)", shape + (2,) * d),
        ):
            name = call.partition("(")[0]
            yield from _both(
                f"{name} {'x'.join(map(str, x))}",
                f"tl.{call}",
                f"F.{call}",
                {"x": Spec(x), "g": Spec(g)},
                ("x",),
                quick=name == "max_pool2d",
            )


def _overlapping_pooling():
    """The pooling behind the first layer of a ResNet."""
    return _both(
        "max_pool2d 3x3, stride 2, 8x64x112x112",
        "tl.max_pool2d(x, 3, 2, 1)",
        "F.max_pool2d(x, 3, 2, 1)",
        {"x": Spec((8, 64, 112, 112)), "g": Spec((8, 64, 56, 56))},
        ("x",),
    )


def _folding():
    image, patches = (16, 32, 32, 32), (16, 288, 900)
    for name, call, x, g in (
        ("unfold", "unfold(x, 3)", image, patches),
        ("fold", "fold(x, (32, 32), 3)", patches, image),
    ):
        yield from _both(
            f"{name} {'x'.join(map(str, x))}",
            f"tl.{call}",
            f"F.{call}",
            {"x": Spec(x), "g": Spec(g)},
            ("x",),
        )


def cases():
    for shape in SHAPES:
        yield from _conv2d(shape)
    for shape in GRADIENTS:
        yield from _gradients(shape)
    yield from _other_dimensions()
    yield from _pooling()
    yield from _overlapping_pooling()
    yield from _folding()
