"""The four transforms over axes, with their rules; all others are put together of them.

Each is a real-linear map A of its input, so its jvp is itself, and its vjp the
transpose: for the matrix F of a transform between complex tensors the conjugate
transpose, which is the transform of the other direction with the same factor. A half
spectrum stands for a whole one, whose inner terms occur twice: its transposes weigh
them by two or by a half.

References
----------
J. W. Cooley and J. W. Tukey, "An algorithm for the machine calculation of complex
Fourier series", Mathematics of Computation 19, 1965.
"""

from tensorlib.autograd.batch import hide_levels, show_levels
from tensorlib.autograd.function import Function
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.interop import from_numpy
from tensorlib.core.tensor import is_batched
from tensorlib.ops.arguments import axes_of, int_of, ints_of, tensor_of
from tensorlib.ops.complex import real
from tensorlib.ops.creation import ones
from tensorlib.ops.elementwise import astype
from tensorlib.ops.joining import pad
from tensorlib.ops.shape import reshape

# The norm under which the other direction has the factor that this one has.
TRANSPOSED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
_OTHER = {"fftn": "ifftn", "ifftn": "fftn", "rfftn": "irfftn", "irfftn": "rfftn"}


class Transform(Function):
    """One of the four, by the name of NumPy's function, over axes counted from the end.

    `n` is the length of the last axis in the time domain, which a half spectrum does
    not tell.
    """

    @staticmethod
    def forward(ctx, x, kind, axes, n, norm):
        """Transform by NumPy's function of the name `kind`."""
        import numpy.fft

        ctx.facts = kind, axes, n, norm
        ctx.is_complex = x.dtype.is_complex
        a = x.detach().numpy()
        sizes = [a.shape[d] for d in axes]
        if kind == "irfftn":
            sizes[-1] = n
        with numpy.errstate(all="ignore"):
            found = getattr(numpy.fft, kind)(a, s=sizes, axes=axes, norm=norm)
        return from_numpy(found)

    @staticmethod
    def backward(ctx, grad_output):
        """Transform in the other direction, with weights where a half is given."""
        kind, axes, n, norm = ctx.facts
        if kind == "rfftn":
            grad_output = grad_output * _weights(grad_output, axes[-1], n, 0.5)
        g = transformed(grad_output, _OTHER[kind], axes, n, TRANSPOSED[norm])
        if kind == "irfftn":
            g = g * _weights(g, axes[-1], n, 2.0)
        return (g if ctx.is_complex else real(g), None, None, None, None)

    @staticmethod
    def jvp(ctx, tangent, *_):
        """Transform the tangent."""
        return transformed(tangent, *ctx.facts)


def _weights(spectrum, axis, n, weight):
    """Return `weight` for terms of a half spectrum that stand for two, 1 for others."""
    count = spectrum.shape[axis]
    single = "float64" if spectrum.dtype.name == "complex128" else "float32"
    found = ones((count,), dtype=single)
    found[1 : (n + 1) // 2] = weight
    return reshape(found, (count,) + (1,) * (-axis - 1))


def transformed(x, kind, axes, n, norm):
    """Apply a transform; the batch axes of `vmap` are more rows to it."""
    if not is_batched(x):
        return Transform.apply(x, kind, axes, n, norm)
    shown, levels = show_levels(x)
    return hide_levels(Transform.apply(shown, kind, axes, n, norm), levels)


# ---- arguments -------------------------------------------------------------------
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
    sizes = None if n is None else (int_of(op, "n", n),)
    if sizes == (-1,):
        raise ShapeError(f"{op}: expected at least 1 element an axis, got -1")
    return along_axes(op, kind, x, sizes, (int_of(op, "axis", axis),), norm)
