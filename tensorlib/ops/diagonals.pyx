"""Diagonals and triangles of matrices.

A diagonal is a view, whatever the strides: its step is the sum of two. Its transpose
puts the cotangent on the diagonal of zeros, which is also how `diag` makes a matrix.
Views by any strides are here too.
"""
from cpython.number cimport PyNumber_Index as index
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport Node, Primitive, record1, tracking
from tensorlib.core.abi cimport TL_BOOL, TL_INT64, tl_buffer
from tensorlib.core.device cimport Device, device_of
from tensorlib.core.dtype cimport dtype_sizes
from tensorlib.core.layout cimport parse_axis, parse_shape, update_layout
from tensorlib.core.tensor cimport Tensor, new_tensor, new_view
from tensorlib.ops.elementwise cimport as_tensor, cast, copy_into, fill, full_like
from tensorlib.ops.logic cimport select
from tensorlib.ops.shape cimport reshape_like, slice_axis, zeros_shaped

from tensorlib.core.errors import ShapeError
from tensorlib.ops.arguments import int_of
from tensorlib.ops.reduce import sum as total


# ---- primitives ----------------------------------------------------------------
cdef class Place:
    """Which diagonal of which matrices: kept with its node."""
    cdef int64_t offset
    cdef int rows, columns       # their axes
    cdef tuple shape             # of the matrices


cdef class Diagonal(Primitive):
    """The diagonal as the last axis, a view; params: a Place."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_put(g, <Place>node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _taken(<Tensor>tangents[0], <Place>node.params)


cdef class DiagonalGrad(Primitive):
    """The input on the diagonal of zeros; params: a Place."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_taken(g, <Place>node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _put(<Tensor>tangents[0], <Place>node.params)


cdef Diagonal _diagonal = Diagonal("diagonal")
cdef DiagonalGrad _diagonal_grad = DiagonalGrad("diagonal_grad")


cdef Place _place(Tensor x, object offset, int rows, int columns):
    """Offsets beyond the matrix, however far, are cut: the diagonal is empty."""
    cdef Place place = Place.__new__(Place)
    cdef int64_t down = -x.buf.shape[rows], right = x.buf.shape[columns]
    place.offset = max(down, min(offset, right))
    place.rows, place.columns = rows, columns
    return place


cdef void _lay_out(tl_buffer *out, const tl_buffer *b, Place place) noexcept:
    """The layout of a diagonal of b."""
    cdef int rows = place.rows, columns = place.columns, d
    cdef int64_t down = max(-place.offset, 0), right = max(place.offset, 0)
    out.ndim = 0
    for d in range(b.ndim):
        if d != rows and d != columns:
            out.shape[out.ndim] = b.shape[d]
            out.strides[out.ndim] = b.strides[d]
            out.ndim += 1
    out.shape[out.ndim] = max(min(b.shape[rows] - down, b.shape[columns] - right), 0)
    out.strides[out.ndim] = b.strides[rows] + b.strides[columns]
    out.ndim += 1
    out.dtype = b.dtype
    out.device_type = b.device_type
    out.device_index = b.device_index
    update_layout(out)
    out.data = b.data
    if out.size:
        out.data = <char *>b.data + dtype_sizes()[b.dtype] * (
            down * b.strides[rows] + right * b.strides[columns]
        )


cdef Tensor _taken(Tensor x, Place place):
    cdef tl_buffer layout
    cdef Tensor out
    _lay_out(&layout, &x.buf, place)
    out = new_view(x, &layout)
    if x.track and tracking(x.track):
        if place.shape is None:
            place.shape = x.shape
        record1(_diagonal, out, x, (), False, place)
    return out


cdef Tensor _put(Tensor g, Place place):
    cdef tl_buffer layout
    cdef Tensor out = zeros_shaped(g, place.shape)
    _lay_out(&layout, &out.buf, place)
    copy_into("diagonal", new_view(out, &layout), g)
    if g.track and tracking(g.track):
        record1(_diagonal_grad, out, g, (), False, place)
    return out


# ---- diagonals -----------------------------------------------------------------
cdef inline Tensor _last_diagonal(Tensor x, object offset):
    return _taken(x, _place(x, offset, x.buf.ndim - 2, x.buf.ndim - 1))


def last_diagonal(Tensor x not None, offset=0):
    """Return a diagonal of the matrices in the last two axes.

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> last_diagonal(tl.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    if x.buf.ndim < 2:
        raise ShapeError(
            f"diagonal: expected at least 2 dimensions, got shape {x.shape}"
        )
    return _last_diagonal(x, int_of("diagonal", "offset", offset))


def diagonal(x, /, offset=0, axis1=0, axis2=1):
    """Return a diagonal of the matrices in two axes, as the last axis of the result.

    Parameters
    ----------
    x : Tensor
    offset : int, default 0
        Which diagonal: elements where the second index is the first plus `offset`.
    axis1, axis2 : int

    Returns
    -------
    Tensor
        A view.

    Raises
    ------
    ShapeError
        If the axes are the same, or out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.diagonal(tl.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    cdef Tensor a = as_tensor("diagonal", x)
    cdef int rows = parse_axis("diagonal", axis1, a.buf.ndim)
    cdef int columns = parse_axis("diagonal", axis2, a.buf.ndim)
    if rows == columns:
        raise ShapeError(f"diagonal: an axis is given twice in {(axis1, axis2)}")
    if type(offset) is not int:
        offset = int_of("diagonal", "offset", offset)
    return _taken(a, _place(a, offset, rows, columns))


def diag(x, /, k=0):
    """Return a matrix with `x` on a diagonal, or the diagonal of the matrix `x`.

    Parameters
    ----------
    x : Tensor of shape (N,) or (M, N)
    k : int, default 0
        Which diagonal; positive ones lie above the main diagonal.

    Returns
    -------
    Tensor
        Of shape ``(N + |k|, N + |k|)``, or one-dimensional: a view.

    Raises
    ------
    ShapeError
        If `x` has neither one nor two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.diag(tl.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    cdef Tensor a = as_tensor("diag", x)
    cdef tl_buffer matrix
    cdef Place place
    k = int_of("diag", "k", k)
    if a.buf.ndim == 2:
        return _last_diagonal(a, k)
    if a.buf.ndim != 1:
        raise ShapeError(f"diag: expected 1 or 2 dimensions, got shape {a.shape}")
    place = Place.__new__(Place)
    place.shape = (a.buf.shape[0] + abs(k),) * 2
    parse_shape("diag", place.shape, &matrix)    # raises before k could overflow
    place.offset = k
    place.rows, place.columns = 0, 1
    return _put(a, place)


def trace(x, /, *, offset=0, dtype=None):
    """Return the sums along a diagonal of the matrices in the last two axes.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
    offset : int, default 0
        Which diagonal; positive ones lie above the main diagonal.
    dtype : DType, optional
        Compute and return in this dtype; integers and bool sum in int64 by default.

    Returns
    -------
    Tensor of shape (...)

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.trace(tl.tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    cdef Tensor a = as_tensor("trace", x)
    if a.buf.ndim < 2:
        raise ShapeError(f"trace: expected at least 2 dimensions, got shape {a.shape}")
    return total(
        _last_diagonal(a, int_of("trace", "offset", offset)), -1, dtype=dtype
    )


# ---- triangles -----------------------------------------------------------------
cdef Tensor _flags(Tensor x, int64_t n):
    """n bools where the memory of x is, of no example of vmap."""
    cdef Device where = device_of(x.buf.device_type, x.buf.device_index)
    cdef tl_buffer layout
    layout.ndim, layout.shape[0] = 1, n
    return new_tensor(&layout, TL_BOOL, where.type_code, where.index)


cdef Tensor _below(str op, Tensor x, object k):
    """Where column - row <= k in the matrices of x.

    One line of flags, of which each row sees a part: a place before that of the last.
    """
    cdef Tensor flags
    cdef tl_buffer layout
    cdef int64_t rows, columns, n, found
    if x.buf.ndim < 2:
        raise ShapeError(f"{op}: expected at least 2 dimensions, got shape {x.shape}")
    rows = columns = 1          # which broadcast to what has no elements
    if x.buf.size:
        rows, columns = x.buf.shape[x.buf.ndim - 2], x.buf.shape[x.buf.ndim - 1]
    n = rows + columns
    found = max(0, min(k, columns) + rows)
    flags = _flags(x, n)
    fill(flags, False)
    fill(slice_axis(flags, 0, 0, found, 1), True)
    layout.ndim, layout.dtype = 2, TL_BOOL
    layout.device_type = flags.buf.device_type
    layout.device_index = flags.buf.device_index
    layout.shape[0], layout.shape[1] = rows, columns
    layout.strides[0], layout.strides[1] = -1, 1
    layout.data = <char *>flags.buf.data + (rows - 1)
    update_layout(&layout)
    return new_view(flags, &layout)


cdef object _zero(Tensor x):
    return False if x.buf.dtype == TL_BOOL else 0


def tril(x, /, *, k=0):
    """Return matrices with the elements above a diagonal set to zero.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
    k : int, default 0
        The last diagonal that is kept; positive ones lie above the main diagonal.

    Returns
    -------
    Tensor of shape (..., M, N)

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tril(tl.ones((2, 3)))
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    cdef Tensor a = as_tensor("tril", x)
    return select(_below("tril", a, int_of("tril", "k", k)), a, _zero(a))


def triu(x, /, *, k=0):
    """Return matrices with the elements below a diagonal set to zero.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
    k : int, default 0
        The first diagonal that is kept; positive ones lie above the main diagonal.

    Returns
    -------
    Tensor of shape (..., M, N)

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.triu(tl.ones((2, 3)))
    tensor([[1., 1., 1.],
            [0., 1., 1.]])
    """
    cdef Tensor a = as_tensor("triu", x)
    return select(_below("triu", a, int_of("triu", "k", k) - 1), _zero(a), a)


# ---- views by strides ----------------------------------------------------------
def as_strided(x, shape, strides, offset=0, /):
    """Return a view of `x`'s memory by explicit strides, checked against its bounds.

    Parameters
    ----------
    x : Tensor
    shape : tuple of int
    strides : tuple of int
        In elements; may be zero or negative.
    offset : int, default 0
        Elements from the first element of `x`.

    Returns
    -------
    Tensor
        A view; where gradients are recorded, a differentiable copy.

    Raises
    ------
    ShapeError
        If an element would lie outside the elements of `x`, which must be contiguous.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.as_strided(tl.arange(4), (3, 2), (1, 1))
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """
    cdef Tensor a = as_tensor("as_strided", x)
    cdef tl_buffer layout
    cdef int d
    cdef int64_t start
    parse_shape("as_strided", shape, &layout)
    try:
        steps = [index(n) for n in strides]
        first = last = index(offset)
    except TypeError:
        raise TypeError(
            "as_strided: expected int strides and offset, got "
            f"{strides!r} and {offset!r}"
        ) from None
    if len(steps) != layout.ndim:
        raise ShapeError(
            f"as_strided: expected {layout.ndim} strides for shape {shape}, "
            f"got {strides}"
        )
    for d in range(layout.ndim):
        reach = (layout.shape[d] - 1) * steps[d]
        first, last = first + min(reach, 0), last + max(reach, 0)
    if not a.is_contiguous:
        raise ShapeError("as_strided: expected a contiguous tensor; use .contiguous()")
    if layout.size and not (0 <= first and last < a.buf.size):
        raise ShapeError(
            f"as_strided: elements {first}..{last} would be read, but the tensor has "
            f"{a.buf.size}"
        )
    start = offset if layout.size else 0
    layout.dtype, layout.device_type = a.buf.dtype, a.buf.device_type
    layout.device_index = a.buf.device_index
    for d in range(layout.ndim):
        layout.strides[d] = steps[d] if layout.size else 0
    layout.data = <char *>a.buf.data + start * dtype_sizes()[a.buf.dtype]
    update_layout(&layout)
    if not (a.track and tracking(a.track)):
        return new_view(a, &layout)
    # The same view of every element's position, which then picks the elements.
    positions = full_like(cast(a.detach(), TL_INT64), 1).reshape(-1).cumsum(0) - 1
    return reshape_like(a, (a.buf.size,))[as_strided(positions, shape, strides, offset)]
