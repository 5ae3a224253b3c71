"""The four transforms over axes, with their rules; all others are put together of them.

Each is a real-linear map A of its input, so its jvp is itself, and its vjp the
transpose: for the matrix F of a transform between complex tensors the conjugate
transpose, which is the transform of the other direction with the same factor. A half
spectrum stands for a whole one, whose inner terms occur twice: its transposes weigh
them by two or by a half.

Lengths that have a plan are transformed by our kernel, one axis after another, others
by NumPy. A plan is the factors of a length and its roots of unity; those in use last
are kept.

References
----------
J. W. Cooley and J. W. Tukey, "An algorithm for the machine calculation of complex
Fourier series", Mathematics of Computation 19, 1965.
"""
from libc.stdint cimport int64_t, uint64_t
from libc.math cimport sqrt
from libc.stdlib cimport free
from tensorlib.autograd.primitive cimport Node, Primitive, record1, tracking
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_COMPLEX64, TL_COMPLEX128, TL_CPU, TL_CUDA, TL_FLOAT32, TL_FLOAT64,
    tl_buffer,
    tl_call,
)
from tensorlib.core.dispatch cimport launch
from tensorlib.core.dtype cimport dtype_of, is_complex_code, real_code
from tensorlib.core.layout cimport copy_layout
from tensorlib.core.tensor cimport Tensor, detached, new_tensor
from tensorlib.kernels.fourier_plan cimport (
    TL_FOURIER_COMPLEX, TL_FOURIER_FROM_HALF, TL_FOURIER_TO_HALF, tl_fourier_describe,
    tl_fourier_fill, tl_fourier_params, tl_fourier_plan, tl_fourier_size,
)
from tensorlib.ops.elementwise cimport cast

from tensorlib.autograd.batch import hide_levels, show_levels
from tensorlib.core.errors import ShapeError
from tensorlib.fft.pocket import pocketfft
from tensorlib.kernels import load_families
from tensorlib.ops.complex import real
from tensorlib.ops.creation import ones
from tensorlib.ops.shape import reshape

load_families("fourier")

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memptr, size_t alignment, size_t size)

cdef enum:
    CACHE_LINE = 64
    KEPT_BYTES = 1 << 25    # of the tables of plans; the last one is kept in any case
    PASSES = 4              # over the elements in memory, a transform costs about

# The norm under which the other direction has the factor that this one has.
TRANSPOSED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
cdef dict _OTHER = {
    "fftn": "ifftn", "ifftn": "fftn", "rfftn": "irfftn", "irfftn": "rfftn",
}

cdef dict _plans = {}       # (length, is_double) -> Plan, the last one used at the end
cdef int64_t _kept = 0      # bytes of their tables


cdef class Plan:
    """How a length is transformed, and the memory of its roots."""

    cdef tl_fourier_plan plan
    cdef void *table
    cdef int64_t nbytes

    def __dealloc__(self):
        free(self.table)


cdef Plan made_plan(int64_t n, bint is_double):
    """A new plan, None where the length has none."""
    cdef Plan made = Plan.__new__(Plan)
    if not tl_fourier_describe(&made.plan, n):
        return None
    made.nbytes = tl_fourier_size(&made.plan) * (16 if is_double else 8)
    if posix_memalign(&made.table, CACHE_LINE, made.nbytes) != 0:
        raise MemoryError(f"fft: expected {made.nbytes} bytes for roots, got none")
    with nogil:
        tl_fourier_fill(&made.plan, made.table, is_double)
    return made


cdef Plan plan_of(int64_t n, bint is_double):
    """The plan of a length, kept from the last time or new; None if there is none."""
    global _kept
    cdef tuple key = (n, is_double)
    cdef Plan found = _plans.pop(key, None)
    if found is not None:
        _plans[key] = found
        return found
    found = made_plan(n, is_double)
    if found is None or key in _plans:      # another thread was faster
        return found
    _plans[key] = found
    _kept += found.nbytes
    while _kept > KEPT_BYTES and len(_plans) > 1:
        _kept -= (<Plan>_plans.pop(next(iter(_plans)))).nbytes
    return found


cdef int run_axis(
    Tensor x, Tensor y, int axis, Plan plan, int kind, bint backward, double scale
) except -1:
    """Transform the lines along an axis of x into y, which may be x."""
    cdef tl_fourier_params params
    cdef const tl_buffer *source = &x.buf
    cdef const tl_buffer *target = &y.buf
    cdef tl_call call
    cdef int dtype = x.buf.dtype
    params.plan, params.scale = &plan.plan, scale
    params.axis, params.kind, params.backward = axis, kind, backward
    if kind == TL_FOURIER_TO_HALF:
        dtype = y.buf.dtype
    call.out, call.in_, call.nout, call.nin = &target, &source, 1, 1
    call.params = &params
    launch(
        "fft", _transform.row, TL_CPU, dtype, &call,
        PASSES * (x.buf.size + y.buf.size),
    )
    return 0


cdef Tensor resized(Tensor x, int axis, int64_t n, int dtype):
    """An uninitialized tensor like x but for the length of an axis."""
    cdef tl_buffer layout
    copy_layout(&layout, &x.buf)
    layout.shape[axis] = n
    return new_tensor(&layout, dtype, TL_CPU, 0)


cdef list plans_of(Tensor x, str kind, tuple axes, int64_t n):
    """A plan for each axis, None where an axis has none."""
    cdef bint is_real = kind not in ("fftn", "ifftn")
    cdef bint is_double = real_code(x.buf.dtype) == TL_FLOAT64
    cdef list plans = []
    cdef int64_t length
    cdef Plan plan
    for axis in axes:
        length = x.buf.shape[x.buf.ndim + <int>axis]
        if is_real and axis == axes[-1]:
            if n % 2:
                return None
            length = n // 2
        plan = plan_of(length, is_double)
        if plan is None:
            return None
        plans.append(plan)
    return plans


cdef Tensor planned(Tensor x, str kind, tuple axes, int64_t n, double scale):
    """The transform on our kernel, None where a length has no plan.

    x has the dtype that the transform takes. The conjugate half spectrum is a kind of
    its own here.
    """
    cdef list plans = plans_of(x, kind, axes, n), others
    cdef int wide, last = x.buf.ndim + <int>axes[-1]
    cdef Tensor y
    if plans is None:
        return None
    wide = TL_COMPLEX128 if real_code(x.buf.dtype) == TL_FLOAT64 else TL_COMPLEX64
    others = [(x.buf.ndim + <int>axis, plan) for axis, plan in zip(axes, plans)]
    if kind == "rfftn" or kind == "ihfftn":
        y = resized(x, last, n // 2 + 1, wide)
        run_axis(
            x, y, last, plans[-1], TL_FOURIER_TO_HALF, kind == "ihfftn", scale
        )
        return along_others(y, y, others[:-1], False, 1.0)
    if kind == "irfftn":
        if len(axes) > 1:
            y = resized(x, last, x.buf.shape[last], wide)
            x = along_others(x, y, others[:-1], True, 1.0)
        y = resized(x, last, n, real_code(wide))
        run_axis(x, y, last, plans[-1], TL_FOURIER_FROM_HALF, True, scale)
        return y
    y = resized(x, last, x.buf.shape[last], wide)
    return along_others(x, y, others, kind == "ifftn", scale)


cdef Tensor along_others(Tensor x, Tensor y, list axes, bint backward, double scale):
    """Complex transforms of x along axes, given with their plans, into y."""
    for axis, plan in reversed(axes):
        run_axis(x, y, axis, plan, TL_FOURIER_COMPLEX, backward, scale)
        x, scale = y, 1.0
    return y


# ---- the op ------------------------------------------------------------------------
cdef double factor(Tensor x, str kind, tuple axes, int64_t n, str norm) except -1:
    """The factor on the result."""
    cdef double total = n
    cdef str without = "backward" if kind in ("fftn", "rfftn") else "forward"
    if norm == without:
        return 1.0
    for axis in axes[:-1]:
        total *= x.buf.shape[x.buf.ndim + <int>axis]
    return 1 / sqrt(total) if norm == "ortho" else 1 / total


cdef class Transform(Primitive):
    """One of the four, by the name of NumPy's function, over axes counted from the end.

    n is the length of the last axis in the time domain, which a half spectrum does not
    tell.
    """

    def __cinit__(self, str name):
        self.analytic = False

    cdef Tensor apply(self, Tensor x, str kind, tuple axes, int64_t n, str norm):
        cdef Tensor out = None, given = detached(x)
        if x.buf.device_type == TL_CUDA:
            out = self.apply(<Tensor>given.cpu(), kind, axes, n, norm).to(x.device)
        elif x.buf.size > 0 and x.buf.device_type == TL_CPU:
            if kind in ("fftn", "ifftn") and not is_complex_code(x.buf.dtype):
                given = as_complex(given)
            out = planned(given, kind, axes, n, factor(x, kind, axes, n, norm))
        if out is None:
            out = pocketfft(detached(x), kind, axes, n, norm)
        if x.track and tracking(x.track):
            record1(self, out, x, (), False, (kind, axes, n, norm, x.dtype))
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        """Transform in the other direction, with weights where a half is given."""
        kind, axes, n, norm, dtype = node.params
        if kind == "rfftn":
            g = g * weights(g, axes[-1], n, 0.5)
        g = transformed(g, _OTHER[kind], axes, n, TRANSPOSED[norm])
        if kind == "irfftn":
            g = g * weights(g, axes[-1], n, 2.0)
        return (g if dtype.is_complex else real(g),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        """Transform the tangent."""
        return transformed(tangents[0], *node.params[:4])


cdef Transform _transform = Transform("fourier")


cdef Tensor weights(Tensor spectrum, int axis, int64_t n, double weight):
    """`weight` for terms of a half spectrum that stand for two, 1 for others."""
    cdef int64_t count = spectrum.buf.shape[spectrum.buf.ndim + axis]
    found = ones((count,), dtype=real_dtype(spectrum), device=spectrum.device)
    found[1:(n + 1) // 2] = weight
    return reshape(found, (count,) + (1,) * (-axis - 1))


cdef object real_dtype(Tensor x):
    return dtype_of(real_code(x.buf.dtype))


cdef Tensor as_complex(Tensor x):
    """x in the complex dtype of its precision."""
    cdef bint is_double = real_code(x.buf.dtype) == TL_FLOAT64
    return cast(x, TL_COMPLEX128 if is_double else TL_COMPLEX64)


def transformed(Tensor x not None, str kind, tuple axes, n, str norm):
    """Apply a transform; the batch axes of `vmap` are more rows to it.

    Parameters
    ----------
    x : Tensor
        Of the kind of numbers that the transform takes.
    kind : {"fftn", "ifftn", "rfftn", "irfftn"}
    axes : tuple of int
        Different axes counted from the end, at least one.
    n : int
        The length of the last one in the time domain.
    norm : {"backward", "ortho", "forward"}

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the axes, `n`, the dtype and the shape do not fit together.

    Examples
    --------
    >>> import tensorlib as tl
    >>> transformed(tl.tensor([1.0, 2.0]), "rfftn", (-1,), 2, "backward")
    tensor([ 3.+0.j, -1.+0.j], dtype=complex64)
    """
    check_operand(x, kind, axes, n, norm)
    if x.buf.device_type != TL_BATCHED:
        return _transform.apply(x, kind, axes, n, norm)
    shown, levels = show_levels(x)
    return hide_levels(_transform.apply(shown, kind, axes, n, norm), levels)


def at_once(x, str kind, axes, norm, size=None):
    """Return a whole transform over axes, None where arguments need a second look.

    Parameters
    ----------
    x : object
    kind : {"fftn", "ifftn", "rfftn", "irfftn", "ihfftn"}
        The last, which has no rules, is the conjugate of "rfftn", whose norm it takes.
    axes : int, tuple of int or None
        None stands for all.
    norm : object
    size : object, optional
        That of the last axis in the time domain.

    Returns
    -------
    Tensor or None

    Examples
    --------
    >>> import tensorlib as tl
    >>> at_once(tl.tensor([1.0, 2.0]), "rfftn", -1, "backward")
    tensor([ 3.+0.j, -1.+0.j], dtype=complex64)
    >>> at_once([1.0, 2.0], "rfftn", -1, "backward") is None
    True
    """
    cdef Tensor given
    cdef tuple places
    cdef int64_t n
    if not isinstance(x, Tensor) or type(norm) is not str or norm not in TRANSPOSED:
        return None
    given = x
    places = plain_axes(axes, given.buf.ndim)
    if places is None or given.buf.size == 0 or given.buf.device_type != TL_CPU:
        return None
    n = given.buf.shape[given.buf.ndim + <int>places[-1]]
    if kind == "irfftn":
        n = 2 * (n - 1)
    if size is not None and not (type(size) is int and size == n):
        return None
    if n < 1 or not takes(kind, given.buf.dtype):
        return None
    if kind != "ihfftn":
        return _transform.apply(given, kind, places, n, norm)
    if given.track and tracking(given.track):
        return None
    return planned(given, kind, places, n, factor(given, "rfftn", places, n, norm))


cdef tuple plain_axes(object axes, int ndim):
    """Axes counted from the end, at least one, None unless they are plain ones."""
    cdef list found = []
    cdef uint64_t seen = 0
    cdef int place
    if axes is None:
        axes = tuple(range(-ndim, 0))
    elif type(axes) is int:
        axes = (axes,)
    elif type(axes) is not tuple:
        return None
    for axis in axes:
        if type(axis) is not int or not -ndim <= axis < ndim:
            return None
        place = axis if axis < 0 else axis - ndim
        if seen >> (ndim + place) & 1:
            return None
        seen |= <uint64_t>1 << (ndim + place)
        found.append(place)
    return tuple(found) if found else None


cdef bint takes(str kind, int code) noexcept:
    """Whether a transform takes numbers of this dtype as they are."""
    cdef bint is_real = code == TL_FLOAT32 or code == TL_FLOAT64
    if kind == "rfftn" or kind == "ihfftn":
        return is_real
    return is_complex_code(code) or (is_real and kind != "irfftn")


cdef int check_operand(Tensor x, str kind, tuple axes, int64_t n, str norm) except -1:
    """Raise unless the kernel stays inside of its operands."""
    cdef int ndim = x.buf.ndim
    cdef int64_t length = n // 2 + 1 if kind == "irfftn" else n
    cdef bint fits = kind in _OTHER and norm in TRANSPOSED and takes(kind, x.buf.dtype)
    fits = fits and 0 < len(axes) == len(set(axes)) and n > 0
    for axis in axes:
        fits = fits and -ndim <= axis < 0
    if not fits or x.buf.shape[ndim + <int>axes[-1]] != length:
        raise ShapeError(
            f"{kind}: expected a tensor and axes that fit, got {x.dtype} of shape "
            f"{x.shape}, axes={axes}, n={n} and norm={norm!r}"
        )
    return 0
