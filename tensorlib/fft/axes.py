"""Arguments of the public functions: operands, axes and sizes."""

from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.fft.transform import TRANSPOSED, at_once, transformed
from tensorlib.ops.arguments import axes_of, int_of, ints_of, tensor_of
from tensorlib.ops.elementwise import astype
from tensorlib.ops.joining import pad


def _operand(op, x, wanted):
    """Return `x` in a precision of transforms; `wanted` is real, complex or any."""
    x = tensor_of(op, x)
    if wanted == "real" and x.dtype.is_complex:
        raise DTypeError(f"{op}: expected a real tensor, got {x.dtype}")
    if wanted == "complex" and not x.dtype.is_complex:
        double = x.dtype.name == "float64"
        return astype(x, "complex128" if double else "complex64")
    if x.dtype.is_complex or x.dtype.name == "float64":
        return x
    return astype(x, "float32", copy=False)


def _resized(op, x, axes, sizes):
    """Cut the axes, or extend them by zeros, to these sizes."""
    for axis, size in zip(axes, sizes, strict=True):
        if size < 1:
            raise ShapeError(f"{op}: expected at least 1 element an axis, got {size}")
        have = x.shape[axis]
        if size < have:
            x = x[(..., slice(size)) + (slice(None),) * (-axis - 1)]
        elif size > have:
            widths = [(0, 0)] * x.ndim
            widths[axis] = (0, size - have)
            x = pad(x, widths)
    return x


def _axes(op, x, sizes, axes):
    """Return the axes counted from the end: by default the last, one for each size."""
    if axes is None:
        count = x.ndim if sizes is None else len(sizes)
        if count > x.ndim:
            raise ShapeError(
                f"{op}: expected at most {x.ndim} sizes for shape {x.shape}, got "
                f"s={sizes}"
            )
        axes = range(x.ndim - count, x.ndim)
    found = tuple(d - x.ndim for d in axes_of(op, tuple(axes), x.ndim))
    if sizes is not None and len(sizes) != len(found):
        raise ShapeError(
            f"{op}: expected as many sizes as axes, got s={sizes} and {len(found)} axes"
        )
    return found


def along_axes(op, kind, x, s, axes, norm):
    """Apply a transform by the arguments of the public functions of several axes."""
    if s is None:
        found = at_once(x, kind, axes, norm)
        if found is not None:
            return found
    wanted = {"rfftn": "real", "irfftn": "complex"}.get(kind, "any")
    x = _operand(op, x, wanted)
    if norm not in TRANSPOSED:
        raise ValueError(
            f"{op}: expected norm 'backward', 'ortho' or 'forward', got {norm!r}"
        )
    sizes = None if s is None else ints_of(op, "s", s)
    axes = _axes(op, x, sizes, axes)
    if not axes and wanted != "any":
        raise ShapeError(f"{op}: expected at least one axis, got none")
    have = [x.shape[d] for d in axes]
    if kind == "irfftn":
        have[-1] = 2 * (have[-1] - 1)
    sizes = have if sizes is None else sizes
    sizes = [a if b == -1 else b for a, b in zip(have, sizes, strict=True)]
    return _resized_transform(op, kind, x, axes, sizes, norm)


def _resized_transform(op, kind, x, axes, sizes, norm):
    if not axes:
        return _operand(op, x, "complex").copy()
    n = sizes[-1]
    if kind == "irfftn":
        if n < 1:
            raise ShapeError(f"{op}: expected at least 1 element an axis, got {n}")
        sizes = [*sizes[:-1], n // 2 + 1]
    return transformed(_resized(op, x, axes, sizes), kind, axes, n, norm)


def along_axis(op, kind, x, n, axis, norm):
    """Apply a transform by the arguments of the public functions of one axis."""
    if type(axis) is int:
        found = at_once(x, kind, axis, norm, n)
        if found is not None:
            return found
    sizes = None if n is None else (int_of(op, "n", n),)
    if sizes == (-1,):
        raise ShapeError(f"{op}: expected at least 1 element an axis, got -1")
    return along_axes(op, kind, x, sizes, (int_of(op, "axis", axis),), norm)
