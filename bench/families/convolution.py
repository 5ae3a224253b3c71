"""Convolutions and pooling: forward, and forward + backward."""

from math import prod

from bench.case import Case, Spec

# N, C, extent, O, kernel, stride, padding, groups: the layers of NUMBERS.md, then one
# depthwise, one grouped.
SHAPES = (
    (8, 3, 32, 32, 3, 1, 1, 1),
    (16, 32, 32, 64, 3, 1, 1, 1),
    (16, 64, 16, 128, 3, 1, 1, 1),
    (1, 64, 56, 64, 3, 1, 1, 1),
    (1, 128, 28, 256, 1, 1, 0, 1),
    (4, 3, 224, 64, 7, 2, 3, 1),
    (16, 64, 32, 64, 3, 1, 1, 64),
    (8, 64, 16, 64, 3, 1, 1, 4),
)
QUICK = {SHAPES[0], SHAPES[2]}


def _title(shape):
    n, c, extent, o, kernel, stride, _, groups = shape
    text = f"{n}x{c}x{extent}x{extent}, {o} of {kernel}x{kernel}"
    text += f", stride {stride}" * (stride > 1)
    return text + (f", {groups} groups" if groups > 1 else "")


def _both(
    name, ours, torch, operands, inputs, *, quick=False, tolerance=(1e-3, 1e-3), flops=0
):
    """The row of the forward pass and that of forward + backward.

    `flops` are of the forward pass; each gradient takes as many.
    """
    for grad in (False, True):
        wanted = f"({', '.join(inputs)},)"
        yield Case(
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


def _conv2d(shape):
    n, c, extent, o, kernel, stride, padding, groups = shape
    out = (extent + 2 * padding - kernel) // stride + 1
    call = f"conv2d(x, w, b, {stride}, {padding}, 1, {groups})"
    return _both(
        f"conv2d {_title(shape)}",
        f"tl.{call}",
        f"F.{call}",
        {
            "x": Spec((n, c, extent, extent)),
            "w": Spec((o, c // groups, kernel, kernel), "unit"),
            "b": Spec((o,)),
            "g": Spec((n, o, out, out)),
        },
        ("x", "w", "b"),
        quick=shape in QUICK,
        tolerance=(1e-3, 2e-2),
        flops=2 * n * o * out * out * (c // groups) * kernel * kernel,
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
    yield from _other_dimensions()
    yield from _pooling()
    yield from _folding()
