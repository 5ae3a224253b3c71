"""Shape operations: views.

Reshape and permute are their own transposes. Every other view (slices, flips, newaxis,
integers) is one primitive, `view`: a basic index, whose transpose puts the cotangent
into zeros at that index. Broadcasting is in `reduce`, beside its transpose, the sum.
"""


from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from libc.stdint cimport int64_t
from libc.string cimport memcpy
from tensorlib.autograd.primitive cimport Node, Primitive, record1, tracking
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_C_CONTIGUOUS, TL_MAX_NDIM, tl_buffer,
)
from tensorlib.core.dtype cimport dtype_sizes
from tensorlib.core.layout cimport (
    broadcast_shape, copy_layout, is_dense, parse_axes, parse_axis, parse_shape,
    plain_extents, plain_shape, reshape_view, set_contiguous, shape_tuple,
    update_layout,
)
from tensorlib.core.tensor cimport Tensor, new_tensor, new_view, operators
from tensorlib.ops.elementwise cimport (
    as_tensor, contiguous, copy_into, fill,
)
from tensorlib.ops.elementwise cimport copy as copied

from math import prod

from tensorlib.core.errors import GraphError, ShapeError
from tensorlib.ops.arguments import ints_of

cdef int64_t ORDERED = <int64_t>1 << 32    # on a selection's count: strides follow


# ---- primitives ----------------------------------------------------------------
cdef class Reshape(Primitive):
    """Same elements in C order."""

    cdef tuple vjp(self, Node node, Tensor g):
        cdef tl_buffer shape
        node.input_shape(0, &shape)
        set_contiguous(&shape)
        if shape.size != g.buf.size:
            raise GraphError(
                f"backward: the input of reshape, of {g.buf.size} elements, was given "
                f"data of {shape.size} elements since; make a new tensor instead"
            )
        return (reshape_to(g, &shape),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return reshape_like(<Tensor>tangents[0], node.shape_tuple())


cdef class Permute(Primitive):
    """Axes in another order; params: the order."""

    cdef tuple vjp(self, Node node, Tensor g):
        cdef int[TL_MAX_NDIM] inverse
        for d, axis in enumerate(node.params):
            inverse[<int>axis] = d
        return (permute(g, inverse),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef int[TL_MAX_NDIM] order
        for d, axis in enumerate(node.params):
            order[<int>d] = axis
        return permute(<Tensor>tangents[0], order)


cdef class View(Primitive):
    """A basic index; params: a selection. Its transpose is ViewGrad."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_spread(g, node.params),)

    cdef Tensor place_in(self, Node node, Tensor total):
        return _select(total, node.params)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _select(<Tensor>tangents[0], node.params)


cdef class ViewGrad(Primitive):
    """The input put into zeros of the base's shape; params: a selection."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (_select(g, node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _spread(<Tensor>tangents[0], node.params)


cdef Reshape _reshape = Reshape("reshape")
cdef Permute _permute = Permute("permute_dims")
cdef View _view = View("view")
cdef ViewGrad _view_grad = ViewGrad("view_grad")


cdef Primitive view_grad():
    return _view_grad


# ---- application ---------------------------------------------------------------
cdef Tensor zeros_shaped(Tensor like, tuple shape):
    cdef tl_buffer layout
    cdef Tensor out
    parse_shape("zeros", shape, &layout)
    out = new_tensor(
        &layout, like.buf.dtype, like.buf.device_type, like.buf.device_index
    )
    fill(out, 0)
    return out


cdef Tensor reshape_to(Tensor x, tl_buffer *shape):
    cdef tl_buffer layout
    cdef Tensor out
    if not x.buf.flags & TL_C_CONTIGUOUS and (
        reshape_view(&layout, &x.buf, shape.ndim, shape.shape) == 0
    ):
        out = new_view(x, &layout)
    else:
        x = contiguous(x)
        shape.data = x.buf.data
        shape.dtype = x.buf.dtype
        shape.device_type = x.buf.device_type
        shape.device_index = x.buf.device_index
        out = new_view(x, shape)
    if x.track and tracking(x.track):
        record1(_reshape, out, x, (), False, None)
    return out


cdef Tensor reshape_like(Tensor x, tuple shape):
    cdef tl_buffer layout
    parse_shape("reshape", shape, &layout)
    return reshape_to(x, &layout)


cdef Tensor permute(Tensor x, const int *order):
    cdef tl_buffer layout
    cdef Tensor out
    cdef int d
    copy_layout(&layout, &x.buf)
    for d in range(x.buf.ndim):
        layout.shape[d] = x.buf.shape[order[d]]
        layout.strides[d] = x.buf.strides[order[d]]
    update_layout(&layout)
    out = new_view(x, &layout)
    if x.track and tracking(x.track):
        record1(_permute, out, x, (), False,
                tuple([order[d] for d in range(x.buf.ndim)]))
    return out


cdef Tensor move_last(Tensor x, int axis):
    cdef int[TL_MAX_NDIM] order
    cdef int d, k = 0
    if axis == x.buf.ndim - 1:
        return x
    for d in range(x.buf.ndim):
        if d != axis:
            order[k] = d
            k += 1
    order[k] = axis
    return permute(x, order)


cdef Tensor move_back(Tensor x, int axis):
    cdef int[TL_MAX_NDIM] order
    cdef int d
    cdef int last = x.buf.ndim - 1
    if axis == last:
        return x
    for d in range(x.buf.ndim):
        order[d] = d if d < axis else (last if d == axis else d - 1)
    return permute(x, order)


cdef void index_layout(
    tl_buffer *out, const tl_buffer *b, const BasicIndex *by
) noexcept nogil:
    cdef int i, axis = 0, ndim = 0
    cdef int64_t offset = 0
    out.dtype = b.dtype
    out.device_type = b.device_type
    out.device_index = b.device_index
    for i in range(by.n):
        if by.items[i].kind == NEW_AXIS:
            out.shape[ndim] = 1
            out.strides[ndim] = 0
            ndim += 1
            continue
        offset += by.items[i].start * b.strides[axis]
        if by.items[i].kind == SLICE:
            out.shape[ndim] = by.items[i].length
            out.strides[ndim] = by.items[i].step * b.strides[axis]
            ndim += 1
        axis += 1
    while axis < b.ndim:
        out.shape[ndim] = b.shape[axis]
        out.strides[ndim] = b.strides[axis]
        ndim += 1
        axis += 1
    out.ndim = ndim
    update_layout(out)
    out.data = b.data
    if out.size:
        out.data = <char *>b.data + offset * dtype_sizes()[b.dtype]


cdef Tensor select_basic(Tensor x, const BasicIndex *by):
    cdef tl_buffer layout
    cdef Tensor out
    index_layout(&layout, &x.buf, by)
    out = new_view(x, &layout)
    if x.track and tracking(x.track):
        record1(_view, out, x, (), False, selection_of(&x.buf, by))
    return out


# What rules keep is packed into bytes: cheaper to make than tuples of ints, and a view
# is often the smallest op on the tape.
cdef bytes selection_of(const tl_buffer *base, const BasicIndex *by):
    """The index's n items as one run, its count first, then the base's extents.

    A base whose axes lie in another order adds its strides: its gradient then lies so,
    too, and what permuted the axes finds it contiguous.
    """
    cdef bint ordered = (
        not base.flags & TL_C_CONTIGUOUS and base.device_type != TL_BATCHED
        and is_dense(base)
    )
    cdef Py_ssize_t head = sizeof(int64_t) + <Py_ssize_t>(by.n * sizeof(IndexItem))
    cdef Py_ssize_t each = base.ndim * sizeof(int64_t)
    cdef bytes packed = PyBytes_FromStringAndSize(
        NULL, head + (2 * each if ordered else each)
    )
    cdef char *data = PyBytes_AS_STRING(packed)
    memcpy(data, by, head)
    memcpy(data + head, base.shape, each)
    if ordered:
        (<int64_t *>data)[0] += ORDERED
        memcpy(data + head + each, base.strides, each)
    return packed


cdef bint _unpack_selection(
    bytes packed, BasicIndex *by, tl_buffer *base
) except -1:
    """Fill in the index and the base's extents; whether its strides are there, too."""
    cdef const char *data = PyBytes_AS_STRING(packed)
    cdef int64_t count = (<const int64_t *>data)[0]
    cdef bint ordered = count >= ORDERED
    cdef Py_ssize_t head, each
    if ordered:
        count -= ORDERED
    head = sizeof(int64_t) + <Py_ssize_t>(count * sizeof(IndexItem))
    each = (PyBytes_GET_SIZE(packed) - head) // (2 if ordered else 1)
    memcpy(by, data, head)
    by.n = count
    base.ndim = <int>(each // <Py_ssize_t>sizeof(int64_t))
    memcpy(base.shape, data + head, each)
    if ordered:
        memcpy(base.strides, data + head + each, each)
    return ordered


cdef Tensor _select(Tensor x, bytes selection):
    cdef BasicIndex by
    cdef tl_buffer shape
    _unpack_selection(selection, &by, &shape)
    return select_basic(x, &by)


cdef Tensor _spread(Tensor g, bytes selection):
    cdef BasicIndex by
    cdef tl_buffer base, layout
    cdef Tensor out
    cdef bint ordered = _unpack_selection(selection, &by, &base)
    out = new_tensor(&base, g.buf.dtype, g.buf.device_type, g.buf.device_index)
    if ordered and g.buf.device_type != TL_BATCHED:
        memcpy(out.buf.strides, base.strides, base.ndim * sizeof(int64_t))
        update_layout(&out.buf)
    fill(out, 0)
    index_layout(&layout, &out.buf, &by)
    copy_into("view", new_view(out, &layout), g)
    if g.track and tracking(g.track):
        record1(_view_grad, out, g, (), False, selection)
    return out


cdef void whole_index(BasicIndex *by, const tl_buffer *b) noexcept nogil:
    """The index that selects everything."""
    cdef int d
    by.n = b.ndim
    for d in range(b.ndim):
        by.items[d].kind = SLICE
        by.items[d].start = 0
        by.items[d].step = 1
        by.items[d].length = b.shape[d]


cdef Tensor slice_axis(
    Tensor x, int axis, int64_t start, int64_t length, int64_t step
):
    cdef BasicIndex by
    whole_index(&by, &x.buf)
    by.items[axis].start = start
    by.items[axis].length = length
    by.items[axis].step = step
    return select_basic(x, &by)


cdef Tensor take_axis(Tensor x, int axis, int64_t position):
    cdef BasicIndex by
    whole_index(&by, &x.buf)
    by.items[axis].kind = INTEGER
    by.items[axis].start = position
    return select_basic(x, &by)


# ---- public functions ----------------------------------------------------------
cdef int _parse_wanted(Tensor a, object wanted, tl_buffer *layout) except -1:
    """The shape that is wanted of a, with the extent that is -1 inferred."""
    cdef int unknown = -1
    if not isinstance(wanted, (tuple, list)):
        if not hasattr(wanted, "__index__"):
            raise ShapeError(
                f"reshape: expected ints or a tuple of ints, got {wanted!r}"
            )
        wanted = (wanted,)
    for d, extent in enumerate(wanted):
        if type(extent) is int and extent == -1:
            if unknown >= 0:
                raise ShapeError(f"reshape: expected at most one -1, got {wanted}")
            unknown = d
    if unknown < 0:
        parse_shape("reshape", wanted, layout)
    else:
        parse_shape("reshape", (*wanted[:unknown], 1, *wanted[unknown + 1:]), layout)
        if layout.size:
            layout.shape[unknown] = a.buf.size // layout.size
            set_contiguous(layout)
    if layout.size != a.buf.size or (unknown >= 0 and layout.size == 0 and 0 in wanted):
        raise ShapeError(
            f"reshape: cannot reshape {a.shape} ({a.buf.size} elements) to {wanted}"
        )
    return 0


def reshape(x, /, shape=(), *extents, copy=None):
    """Return `x` with another shape and the same elements in C order.

    A view where the strides allow it, a copy otherwise.

    Parameters
    ----------
    x : Tensor
    shape : int or tuple of int
        One extent may be -1: it is inferred.
    *extents : int
        Further extents, where `shape` is the first of them.
    copy : bool, optional
        True always copies, False raises where a copy would be needed.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the number of elements would change.
    ValueError
        If `copy` is False and the strides do not allow a view.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.reshape(tl.arange(6), (2, -1))
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    cdef Tensor a = as_tensor("reshape", x)
    cdef tl_buffer layout
    cdef Tensor out
    cdef bint plain
    if extents:
        plain = plain_extents(shape, <tuple>extents, &layout)
    else:
        plain = type(shape) is tuple and plain_shape(<tuple>shape, &layout)
    if not plain or layout.size != a.buf.size:
        _parse_wanted(a, (shape, *extents) if extents else shape, &layout)
    if copy:
        a = copied(a)
    out = reshape_to(a, &layout)
    if copy is not None and not copy and out.buf.storage != a.buf.storage:
        raise ValueError(
            f"reshape: copy=False, but a copy is needed for {a.shape} to {out.shape}"
        )
    return out


cdef int _ordered_axes(str op, object axes, int ndim, int *order) except -1:
    """Distinct axes, an int or several, in the order given; returns how many."""
    cdef int n = 0, i, axis
    for given in axes if isinstance(axes, (tuple, list)) else (axes,):
        axis = parse_axis(op, given, ndim)
        for i in range(n):
            if order[i] == axis:
                raise ShapeError(f"{op}: axis {axis} is given twice in {axes!r}")
        order[n] = axis
        n += 1
    return n


def permute_dims(x, /, axes=(), *more):
    """Return a view of `x` with its axes in another order.

    Parameters
    ----------
    x : Tensor
    axes : int or tuple of int
        Axis ``d`` of the result is axis ``axes[d]`` of `x`.
    *more : int
        Further axes, where `axes` is the first of them.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If `axes` is not a permutation of the axes.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.permute_dims(tl.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    cdef Tensor a = as_tensor("permute_dims", x)
    cdef int[TL_MAX_NDIM] order
    given = (axes, *more) if more else axes
    if not isinstance(given, (tuple, list)):
        given = (given,)
    if len(given) != a.buf.ndim:
        raise ShapeError(
            f"permute_dims: expected {a.buf.ndim} axes for shape {a.shape}, got {given}"
        )
    _ordered_axes("permute_dims", given, a.buf.ndim, order)
    return permute(a, order)


def moveaxis(x, source, destination, /):
    """Return a view of `x` with some axes moved and the others in their order.

    Parameters
    ----------
    x : Tensor
    source, destination : int or tuple of int
        Where each of the axes is, and where it goes.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If an axis is out of range or given twice, or their numbers differ.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.moveaxis(tl.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    cdef Tensor a = as_tensor("moveaxis", x)
    cdef int[TL_MAX_NDIM] origins, targets, order
    cdef bint[TL_MAX_NDIM] moved, taken
    cdef int d, still = 0, ndim = a.buf.ndim
    cdef int n = _ordered_axes("moveaxis", source, ndim, origins)
    if _ordered_axes("moveaxis", destination, ndim, targets) != n:
        raise ShapeError(
            f"moveaxis: expected as many sources as destinations, got {source} and "
            f"{destination}"
        )
    for d in range(ndim):
        moved[d] = taken[d] = False
    for d in range(n):
        order[targets[d]] = origins[d]
        moved[origins[d]] = taken[targets[d]] = True
    for d in range(ndim):
        if not taken[d]:
            while moved[still]:
                still += 1
            order[d] = still
            still += 1
    return permute(a, order)


cdef Tensor swap_axes(Tensor x, int first, int second):
    cdef int[TL_MAX_NDIM] order
    cdef int d
    for d in range(x.buf.ndim):
        order[d] = d
    order[first], order[second] = second, first
    return permute(x, order)


def transpose(x, axis1=-2, axis2=-1, /):
    """Return a view of `x` with two axes exchanged, the last two by default.

    Parameters
    ----------
    x : Tensor
    axis1, axis2 : int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.transpose(tl.zeros((2, 3))).shape
    (3, 2)
    """
    cdef Tensor a = as_tensor("transpose", x)
    return swap_axes(
        a, parse_axis("transpose", axis1, a.buf.ndim),
        parse_axis("transpose", axis2, a.buf.ndim),
    )


cdef object _transpose_op(object x):
    if (<Tensor>x).buf.ndim != 2:
        raise ShapeError(
            f"T: expected 2 dimensions, got shape {x.shape}; use .mT or permute_dims"
        )
    return swap_axes(<Tensor>x, 0, 1)


cdef object _matrix_transpose_op(object x):
    return matrix_transpose(x)


def matrix_transpose(x, /):
    """Return a view of a stack of matrices with each transposed.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)

    Returns
    -------
    Tensor of shape (..., N, M)

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.matrix_transpose(tl.zeros((5, 2, 3))).shape
    (5, 3, 2)
    """
    cdef Tensor a = as_tensor("matrix_transpose", x)
    if a.buf.ndim < 2:
        raise ShapeError(
            f"matrix_transpose: expected at least 2 dimensions, got shape {a.shape}"
        )
    return swap_axes(a, a.buf.ndim - 2, a.buf.ndim - 1)


def expand_dims(x, /, axis=0):
    """Return a view of `x` with a new axis of length one at `axis`.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, default 0
        Positions in the result, which has as many axes more.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If a position is out of range or given twice.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.expand_dims(tl.zeros(3), axis=1).shape
    (3, 1)
    """
    cdef Tensor a = as_tensor("expand_dims", x)
    cdef bint[TL_MAX_NDIM] mask
    cdef int ndim
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    ndim = <int>min(a.buf.ndim + len(axes), 2 * TL_MAX_NDIM)
    if ndim > TL_MAX_NDIM:
        raise ShapeError(
            f"expand_dims: expected at most {TL_MAX_NDIM} dimensions, got {ndim}"
        )
    parse_axes("expand_dims", axes, ndim, mask)
    extents = iter(a.shape)
    return reshape_like(
        a, tuple([1 if mask[d] else next(extents) for d in range(ndim)])
    )


def squeeze(x, /, axis=None):
    """Return a view of `x` without axes of length one.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        Which axes; all of length one by default.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If a named axis is longer than one.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.squeeze(tl.zeros((1, 3, 1))).shape
    (3,)
    """
    cdef Tensor a = as_tensor("squeeze", x)
    cdef bint[TL_MAX_NDIM] mask
    cdef int d
    parse_axes("squeeze", axis, a.buf.ndim, mask)
    shape = []
    for d in range(a.buf.ndim):
        if mask[d] and a.buf.shape[d] != 1 and axis is not None:
            raise ShapeError(
                f"squeeze: axis {d} has length {a.buf.shape[d]}, expected 1, "
                f"in shape {a.shape}"
            )
        if not mask[d] or a.buf.shape[d] != 1:
            shape.append(a.buf.shape[d])
    return reshape_like(a, tuple(shape))


def flip(x, /, axis=None):
    """Return a view of `x` with the order along axes reversed.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.flip(tl.tensor([1, 2, 3]))
    tensor([3, 2, 1])
    """
    cdef Tensor a = as_tensor("flip", x)
    cdef bint[TL_MAX_NDIM] mask
    cdef BasicIndex by
    cdef int d
    parse_axes("flip", axis, a.buf.ndim, mask)
    whole_index(&by, &a.buf)
    for d in range(a.buf.ndim):
        if mask[d] and a.buf.shape[d]:
            by.items[d].start = a.buf.shape[d] - 1
            by.items[d].step = -1
    return select_basic(a, &by)


def flatten(x, /, start_axis=0, end_axis=-1):
    """Return `x` with a range of axes merged into one.

    Parameters
    ----------
    x : Tensor
    start_axis, end_axis : int
        The first and the last axis of the range.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.flatten(tl.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    cdef Tensor a = as_tensor("flatten", x)
    cdef int first = 0, last = 0, d
    cdef tl_buffer merged
    if a.buf.ndim:
        first = parse_axis("flatten", start_axis, a.buf.ndim)
        last = parse_axis("flatten", end_axis, a.buf.ndim)
    if first > last:
        raise ShapeError(
            f"flatten: start_axis {start_axis} comes after end_axis {end_axis}"
        )
    if a.buf.size == 0:     # other extents may multiply to any number
        return reshape_like(a, (
            *a.shape[:first], prod(a.shape[first:last + 1]), *a.shape[last + 1:]
        ))
    merged.ndim = first + 1
    for d in range(first):
        merged.shape[d] = a.buf.shape[d]
    merged.shape[first] = 1
    for d in range(first, min(last + 1, a.buf.ndim)):
        merged.shape[first] *= a.buf.shape[d]
    for d in range(last + 1, a.buf.ndim):
        merged.shape[merged.ndim] = a.buf.shape[d]
        merged.ndim += 1
    set_contiguous(&merged)
    return reshape_to(a, &merged)


def broadcast_shapes(*shapes):
    """Return the shape that all of `shapes` broadcast to.

    Parameters
    ----------
    *shapes : int or tuple of int

    Returns
    -------
    tuple of int

    Raises
    ------
    ShapeError
        If they do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    cdef tl_buffer found, joined, given
    cdef int d
    found.ndim = 0
    for shape in shapes:
        if (
            type(shape) is not tuple or not plain_shape(<tuple>shape, &given)
            or broadcast_shape(&joined, &found, &given) < 0
        ):
            return _broadcast_any(shapes)
        found.ndim = joined.ndim
        for d in range(joined.ndim):
            found.shape[d] = joined.shape[d]
    return shape_tuple(&found)


cdef tuple _broadcast_any(tuple shapes):
    """The same for extents and numbers of axes of any size, and with messages."""
    given = [ints_of("broadcast_shapes", "a shape", shape) for shape in shapes]
    ndim = max([len(shape) for shape in given], default=0)
    result = [1] * ndim
    for shape in given:
        for d, n in enumerate(shape, ndim - len(shape)):
            if n < 0 or (n != 1 and result[d] not in (1, n)):
                raise ShapeError(
                    f"broadcast_shapes: shapes {', '.join(map(str, given))} do not "
                    "broadcast: aligned from the right, extents must be equal or 1"
                )
            result[d] = n if n != 1 else result[d]
    return tuple(result)


cdef int bind_shape() except -1:
    """Fill the slots for .T and .mT."""
    operators().transpose = _transpose_op
    operators().matrix_transpose = _matrix_transpose_op
    return 0
