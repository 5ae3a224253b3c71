"""Complex numbers: their parts, and ops that are not analytic in them.

Gradients follow PyTorch: that of a real loss L with respect to z = x + iy is
dL/dx + i dL/dy, twice the derivative by the conjugate of z, so that -gradient is the
direction of steepest descent. For an analytic op with derivative f'(z) it is
g conj(f'(z)); the reverse pass conjugates around the op's rule, which is written for
real numbers. The ops below have rules of their own and say so (`analytic` is False).

Most of what is real-linear goes over the parts: a complex tensor is a real one with a
last axis of two, over the same memory.

References
----------
K. Kreutz-Delgado, "The complex gradient operator and the CR-calculus", 2009.
"""
from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned
from tensorlib.autograd.primitive cimport (
    Node, Primitive, record1, record2, run1, run2, tracking,
)
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_C_CONTIGUOUS, TL_COMPLEX64, TL_COMPLEX128, TL_CPU, TL_CUDA,
    TL_FLOAT32, TL_FLOAT64, TL_MAX_NDIM, tl_buffer, tl_reduce_params,
)
from tensorlib.core.dtype cimport (
    dtype_of, is_complex_code, promote_codes, real_code,
)
from tensorlib.core.layout cimport copy_layout, parse_axes, update_layout
from tensorlib.core.tensor cimport Tensor, new_like, new_ordered, new_tensor, new_view
from tensorlib.ops.elementwise cimport (
    Unary, as_float, as_tensor, cast, contiguous, copy, full_like,
)
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport reshape_like

from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.ops.joining import concat, stack
from tensorlib.ops.indexing import where
from tensorlib.ops.manipulation import broadcast_arrays
from tensorlib.ops.reduce import mean, sum, var
from tensorlib.ops.shape import squeeze


cdef class Parts(Primitive):
    """z of shape (...) as real (..., 2), a view; Whole is its inverse and transpose."""

    def __cinit__(self, str name):
        self.analytic = False

    cdef tuple vjp(self, Node node, Tensor g):
        return (_as_complex(g),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _as_real(<Tensor>tangents[0])


cdef class Whole(Primitive):
    def __cinit__(self, str name):
        self.analytic = False

    cdef tuple vjp(self, Node node, Tensor g):
        return (_as_real(g),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _as_complex(<Tensor>tangents[0])


cdef class Joined(Primitive):
    """x + iy of real tensors of one shape and dtype."""

    def __cinit__(self, str name):
        self.analytic = False

    cdef Tensor apply(self, Tensor x, Tensor y):
        cdef Tensor out
        x, y = aligned(self.name, (x, y))
        out = new_like(x, complex_code(x.buf.dtype))
        run2(self, out, &x.buf, &y.buf, NULL)
        if x.track | y.track and tracking(x.track | y.track):
            record2(self, out, x, y, (), False, None)
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        return (
            real(g) if node.needs(0) else None, imag(g) if node.needs(1) else None
        )

    cdef Tensor jvp(self, Node node, tuple tangents):
        x, y = tangents
        return <Tensor>complex(0.0 if x is None else x, 0.0 if y is None else y)


cdef class Conj(Unary):
    def __cinit__(self, str name):
        self.analytic = False

    cdef Tensor derivative(self, Node node, Tensor g):
        return self.apply(g)


cdef class ToReal(Primitive):
    """A function to real numbers of z, saved."""

    def __cinit__(self, str name):
        self.analytic = False

    cdef Tensor apply(self, Tensor z):
        cdef Tensor out = new_ordered(z, real_code(z.buf.dtype))
        run1(self, out, &z.buf, NULL)
        if z.track and tracking(z.track):
            record1(self, out, z, (z,), False, None)
        return out

    cdef Tensor slope(self, Tensor z):
        """The s(z) of df = Re(conj(s) dz)."""
        raise NotImplementedError(f"{self.name}: slope is missing")

    cdef tuple vjp(self, Node node, Tensor g):
        return (g * self.slope(node.get(0)),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return <Tensor>real(
            _conj.apply(self.slope(node.get(0))) * <Tensor>tangents[0]
        )


cdef class Magnitude(ToReal):
    cdef Tensor slope(self, Tensor z):
        return direction(z)


cdef class Angle(ToReal):
    cdef Tensor slope(self, Tensor z):
        size = _magnitude.apply(z)
        square = where(size == 0, 1.0, size * size)
        return where(size == 0, 0.0, z * 1j / square)


cdef class Direction(Unary):
    """z / |z|, saved; 0 at 0. Its derivative is a symmetric real map."""

    def __cinit__(self, str name, **kwargs):
        self.saves = 1
        self.analytic = False

    cdef Tensor derivative(self, Node node, Tensor g):
        z = node.get(0)
        size = _magnitude.apply(z)
        out = self.apply(z)
        along = real(_conj.apply(out) * g) * out
        return where(size == 0, 0.0, (g - along) / where(size == 0, 1.0, size))


cdef class Total(Primitive):
    """The sum of all numbers of z, times a real scale; params: (z's shape, scale)."""

    def __cinit__(self, str name, **options):
        self.analytic = False

    cdef tuple vjp(self, Node node, Tensor g):
        shape, scale = node.params
        return (broadcast(reshape_like(g * scale, (1,) * len(shape)), shape),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        _, scale = node.params
        return <Tensor>(sum(tangents[0], keepdims=len(node.shape_tuple()) > 0) * scale)


cdef Total _sum_of_all = Total("complex_sum", kernel="complex_total")
cdef Parts _parts = Parts("view_as_real")
cdef Whole _whole = Whole("view_as_complex")
cdef Joined _joined = Joined("complex")
cdef Conj _conj = Conj("conj")
cdef Magnitude _magnitude = Magnitude("magnitude")
cdef Angle _angle = Angle("angle")
cdef Direction _direction = Direction("complex_sign", kernel="sign")


cdef inline int complex_code(int real) noexcept:
    return TL_COMPLEX64 if real == TL_FLOAT32 else TL_COMPLEX128


cdef Tensor _part(Tensor z, int k):
    """The real (0) or imaginary (1) part, a view."""
    cdef tl_buffer layout
    cdef int d
    if z.buf.ndim == TL_MAX_NDIM or z.track and tracking(z.track):
        return _as_real(z)[..., k]
    copy_layout(&layout, &z.buf)
    for d in range(layout.ndim):
        layout.strides[d] *= 2
    layout.dtype = real_code(z.buf.dtype)
    layout.data = <char *>layout.data + k * (4 if layout.dtype == TL_FLOAT32 else 8)
    update_layout(&layout)
    return new_view(z, &layout)


cdef Tensor _as_real(Tensor z):
    cdef tl_buffer layout
    cdef Tensor out
    cdef int d
    if z.buf.ndim == TL_MAX_NDIM:
        raise ShapeError(
            f"view_as_real: expected at most {TL_MAX_NDIM - 1} axes, since the parts "
            f"are one more, got shape {z.shape}"
        )
    copy_layout(&layout, &z.buf)
    for d in range(layout.ndim):
        layout.strides[d] *= 2
    layout.shape[layout.ndim], layout.strides[layout.ndim] = 2, 1
    layout.ndim += 1
    layout.dtype = real_code(z.buf.dtype)
    update_layout(&layout)
    out = new_view(z, &layout)
    if z.track and tracking(z.track):
        record1(_parts, out, z, (), False, None)
    return out


cdef bint _has_pairs(const tl_buffer *b) noexcept:
    """Whether the last axis holds the parts side by side, at even distances."""
    cdef int d, last = b.ndim - 1
    cdef int size = 8 if b.dtype == TL_FLOAT32 else 16
    if b.strides[last] != 1 or <size_t>b.data % size:
        return False
    for d in range(last):
        if b.strides[d] % 2 and b.shape[d] > 1:
            return False
    return True


cdef Tensor _as_complex(Tensor x):
    cdef tl_buffer layout
    cdef Tensor out
    cdef int d
    if x.buf.device_type == TL_BATCHED:
        x = copy(x)     # examples of a view may lie an odd number of parts apart
    elif not _has_pairs(&x.buf):
        x = contiguous(x)
    copy_layout(&layout, &x.buf)
    layout.ndim -= 1
    for d in range(layout.ndim):
        layout.strides[d] //= 2
    layout.dtype = complex_code(x.buf.dtype)
    update_layout(&layout)
    out = new_view(x, &layout)
    if x.track and tracking(x.track):
        record1(_whole, out, x, (), False, None)
    return out


# ---- for the other ops -----------------------------------------------------------
def magnitude(Tensor z not None):
    """Return |z|, real."""
    return _magnitude.apply(z)


cpdef Tensor direction(Tensor z):
    """Return z / |z|."""
    return _direction.apply(z)


cdef tuple _axes(str op, object axis, Tensor z):
    cdef bint[TL_MAX_NDIM] mask
    parse_axes(op, axis, z.buf.ndim, mask)
    return tuple([d for d in range(z.buf.ndim) if mask[d]])


def over_parts(function, Tensor z not None, *args):
    """Return a real-linear `function` of z, computed on both parts; axes from 0 on."""
    return _as_complex(<Tensor>function(_as_real(z), *args))


def reduced(function, Tensor z not None, axis, keepdims):
    """Return the sum or the mean over axes."""
    axes = _axes(function.__name__, axis, z)
    if len(axes) == z.buf.ndim and z.buf.device_type == TL_CPU and (
        z.buf.flags & TL_C_CONTIGUOUS and z.buf.size
    ):
        return _total(z, 1.0 / z.buf.size if function is mean else 1.0, keepdims)
    return over_parts(function, z, axes, keepdims)


cdef Tensor _total(Tensor z, double scale, bint keepdims):
    """The sum of all of z, contiguous on the CPU, times scale."""
    cdef tl_reduce_params params
    cdef tl_buffer layout
    cdef int d
    params.n_reduced, params.scale, params.correction = z.buf.ndim, scale, 0
    layout.ndim = z.buf.ndim if keepdims else 0
    for d in range(layout.ndim):
        layout.shape[d] = 1
    cdef Tensor out = new_tensor(&layout, z.buf.dtype, TL_CPU, 0)
    run1(_sum_of_all, out, &z.buf, &params)
    if z.track and tracking(z.track):
        record1(_sum_of_all, out, z, (), False, (z.shape, scale))
    return out


def variance(Tensor z not None, axis, keepdims, correction):
    """Return the mean of |z - mean|**2: the variances of both parts together."""
    parts = var(
        _as_real(z), _axes("var", axis, z), bool(keepdims), correction=correction
    )
    return parts[..., 0] + parts[..., 1]


def product(Tensor z not None, axis, keepdims):
    """Return the product over axes, by halves."""
    for d in _axes("prod", axis, z):
        z = _halved(z, d)
    if keepdims:
        return z
    return squeeze(z, axis=_axes("prod", axis, z))


cdef Tensor _halved(Tensor z, int axis):
    cdef int64_t half, length = z.buf.shape[axis]
    before = (slice(None),) * axis
    if length == 0:
        return full_like(
            <Tensor>sum(z, axis=axis, keepdims=True), 1
        )
    while length > 1:
        half = length // 2
        odd = z[*before, 2 * half:] if length % 2 else None
        z = z[*before, :half] * z[*before, half:2 * half]
        if odd is not None:
            z = concat((z, odd), axis=axis)
        length = z.buf.shape[axis]
    return z


def matrix_product(Tensor a not None, Tensor b not None):
    """Return a @ b by four real products."""
    ar, ai, br, bi = real(a), imag(a), real(b), imag(b)
    return complex(ar @ br - ai @ bi, ar @ bi + ai @ br)


def rows_added(add, Tensor values not None, tuple shape, tuple indices):
    """Return `add`, which sums rows at indices, applied to both parts."""
    return _as_complex(<Tensor>add(_as_real(values), (*shape, 2), indices))


def last_added(add, Tensor values not None, tuple shape, Tensor positions not None):
    """The same along the last axis."""
    return complex(
        add(real(values), shape, positions), add(imag(values), shape, positions)
    )


# ---- public --------------------------------------------------------------------
def view_as_real(x, /):
    """Return the parts of a complex tensor along a last axis of two, as a view.

    Parameters
    ----------
    x : Tensor of complex64 or complex128, of shape (...)

    Returns
    -------
    Tensor of float32 or float64, of shape (..., 2)
        Writing to one is seen in the other.

    Raises
    ------
    DTypeError
        If `x` is not complex.
    ShapeError
        If `x` has as many axes as tensors may have.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.view_as_real(tl.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    cdef Tensor z = as_tensor("view_as_real", x)
    if not is_complex_code(z.buf.dtype):
        raise DTypeError(
            f"view_as_real: expected a complex tensor, got {dtype_of(z.buf.dtype)}"
        )
    return _as_real(z)


def view_as_complex(x, /):
    """Return a real tensor with a last axis of two as complex numbers.

    Parameters
    ----------
    x : Tensor of float32 or float64, of shape (..., 2)

    Returns
    -------
    Tensor of complex64 or complex128, of shape (...)
        A view, where the parts lie side by side in memory; a copy otherwise.

    Raises
    ------
    DTypeError, ShapeError
        If the dtype or the last axis is another one.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.view_as_complex(tl.tensor([[1.0, 2.0]]))
    tensor([1.+2.j], dtype=complex64)
    """
    cdef Tensor a = as_tensor("view_as_complex", x)
    if a.buf.dtype != TL_FLOAT32 and a.buf.dtype != TL_FLOAT64:
        raise DTypeError(
            f"view_as_complex: expected float32 or float64, got {dtype_of(a.buf.dtype)}"
        )
    if a.buf.ndim == 0 or a.buf.shape[a.buf.ndim - 1] != 2:
        raise ShapeError(
            f"view_as_complex: expected a last axis of two, got shape {a.shape}"
        )
    return _as_complex(a)


@own_errors
def complex(x1, x2, /):
    """Return x1 + i x2.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        The parts, broadcast against each other; float32 or float64 after promotion.

    Returns
    -------
    Tensor of complex64 or complex128

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.complex(tl.tensor([1.0, 2.0]), 3.0)
    tensor([1.+3.j, 2.+3.j], dtype=complex64)
    """
    cdef Tensor a = as_float(as_tensor("complex", x1))
    cdef Tensor b = as_float(as_tensor("complex", x2))
    cdef int dtype = promote_codes(a.buf.dtype, b.buf.dtype)
    if is_complex_code(dtype):
        raise DTypeError(
            f"complex: expected real parts, got {dtype_of(a.buf.dtype)} and "
            f"{dtype_of(b.buf.dtype)}"
        )
    dtype = TL_FLOAT64 if dtype == TL_FLOAT64 else TL_FLOAT32
    a, b = broadcast_arrays(cast(a, dtype), cast(b, dtype))
    if a.buf.device_type == TL_CUDA:    # which has no kernel for it
        return _as_complex(<Tensor>stack((a, b), axis=-1))
    return _joined.apply(a, b)


def real(x, /):
    """Return the real part of each element.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        A view of `x`, and `x` itself when it is real.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.real(tl.tensor([1 + 2j]))
    tensor([1.])
    """
    cdef Tensor a = as_tensor("real", x)
    return _part(a, 0) if is_complex_code(a.buf.dtype) else a


def imag(x, /):
    """Return the imaginary part of each element.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        A view of `x`; zeros when it is real.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.imag(tl.tensor([1 + 2j]))
    tensor([2.])
    """
    cdef Tensor a = as_tensor("imag", x)
    return _part(a, 1) if is_complex_code(a.buf.dtype) else full_like(a, 0)


def conj(x, /):
    """Return the complex conjugate of each element.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        `x` itself when it is real.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.conj(tl.tensor([1 + 2j]))
    tensor([1.-2.j], dtype=complex64)
    """
    cdef Tensor a = as_tensor("conj", x)
    return _conj.apply(a) if is_complex_code(a.buf.dtype) else a


def angle(x, /):
    """Return the argument of each element, in (-pi, pi].

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of real floating dtype.

    Notes
    -----
    The gradient at 0 is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.angle(tl.tensor([1j, 1 + 0j]))
    tensor([1.5707964, 0.       ])
    """
    cdef Tensor a = as_float(as_tensor("angle", x))
    if is_complex_code(a.buf.dtype):
        return _angle.apply(a)
    return where(a < 0, 3.141592653589793, where(a == a, 0.0, a))
