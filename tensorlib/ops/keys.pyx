"""What stands between the brackets of ``x[...]``.

A key is resolved into a basic index (integers, slices, None, Ellipsis) and index
tensors (integer tensors, and masks as the positions where they hold), each with the
axis of the basic result that it indexes.

References
----------
NumPy documentation, "Indexing on ndarrays".
"""

from cpython.number cimport PyNumber_Index as index
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport Primitive, run
from tensorlib.core.abi cimport (
    TL_BOOL, TL_CPU, TL_CUDA, TL_INT32, TL_INT64, TL_MAX_NDIM, tl_buffer,
)
from tensorlib.core.device cimport device_of
from tensorlib.core.dtype cimport dtype_of, is_integer_code
from tensorlib.core.layout cimport broadcast_shape, same_shape
from tensorlib.core.tensor cimport Tensor, new_tensor
from tensorlib.ops.elementwise cimport as_tensor, cast, contiguous, copy
from tensorlib.ops.transfer cimport moved
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport INTEGER, NEW_AXIS, SLICE, BasicIndex

from tensorlib.core.errors import ShapeError
from tensorlib.core.tensor import is_batched

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object o, int *overflow) except? -1

cdef Primitive _nonzero = Primitive("nonzero")


cdef class Key:
    """A resolved key: a basic index, then index tensors on axes of its result."""


cdef object _as_items(object key):
    """The key as a list; bool scalars and unsupported types are refused."""
    cdef list items = list(key) if type(key) is tuple else [key]
    ellipses = sum([1 for item in items if item is Ellipsis])
    if ellipses > 1:
        raise IndexError("index: expected at most one ellipsis ('...')")
    for i, item in enumerate(items):
        if item is None or item is Ellipsis or type(item) in (int, slice, Tensor):
            continue
        if isinstance(item, bool):
            raise IndexError("index: a bool scalar is not an index; use a mask tensor")
        if hasattr(item, "__index__") and not hasattr(item, "__array_interface__"):
            items[i] = index(item)
        elif isinstance(item, (list, tuple)) or hasattr(item, "__array_interface__"):
            found = as_tensor("index", item)
            if (<Tensor>found).buf.size == 0:
                found = cast(found, TL_INT64)
            items[i] = found
        else:
            raise IndexError(
                "index: expected integers, slices, None, Ellipsis, integer tensors or "
                f"masks, got {type(item).__name__}"
            )
    return items


cdef int _consumed(object item) except -1:
    """How many axes of the input an item takes."""
    if item is None or item is Ellipsis:
        return 0
    if type(item) is Tensor and (<Tensor>item).buf.dtype == TL_BOOL:
        return (<Tensor>item).buf.ndim
    return 1


cdef int _add_slice(
    BasicIndex *by, int64_t start, int64_t step, int64_t length
) except -1:
    if by.n >= 2 * TL_MAX_NDIM:
        raise ShapeError(f"index: more than {TL_MAX_NDIM} dimensions")
    by.items[by.n].kind = SLICE
    by.items[by.n].start = start
    by.items[by.n].step = step
    by.items[by.n].length = length
    by.n += 1
    return 0


cdef int _add_new_axis(BasicIndex *by) except -1:
    if by.n >= 2 * TL_MAX_NDIM:
        raise ShapeError(f"index: more than {TL_MAX_NDIM} dimensions")
    by.items[by.n].kind = NEW_AXIS
    by.n += 1
    return 0


cdef bint _is_truth(object item) except -1:
    """Whether item is a mask without axes."""
    return type(item) is Tensor and (
        (<Tensor>item).buf.ndim == 0 and (<Tensor>item).buf.dtype == TL_BOOL
    )


cdef int _slice_bounds(
    object item, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step
) except -1:
    try:
        return PySlice_Unpack(item, start, stop, step)
    except TypeError:
        raise IndexError(
            f"index: slice bounds must be integers or None, got {item}"
        ) from None
    except ValueError:
        raise ValueError("index: slice step cannot be zero") from None


cdef int64_t _position(object item, int axis, int64_t extent) except -1:
    """The position, from the axis's start, that the int `item` names."""
    cdef int overflow
    cdef long long position = PyLong_AsLongLongAndOverflow(item, &overflow)
    if overflow or not -extent <= position < extent:
        raise IndexError(
            f"index {item} is out of range for axis {axis} of size {extent}"
        )
    return position + extent if position < 0 else position


cdef int add_item(BasicIndex *by, object item, int axis, int64_t extent) except -1:
    """An integer or a slice on an axis of the given extent."""
    cdef int64_t position
    cdef Py_ssize_t start, stop, step, length
    if type(item) is slice:
        _slice_bounds(item, &start, &stop, &step)
        length = PySlice_AdjustIndices(extent, &start, &stop, step)
        # The step of a single element is never taken; times a stride it may overflow.
        return _add_slice(by, start, step if length > 1 else 1, length)
    position = _position(item, axis, extent)
    if by.n >= 2 * TL_MAX_NDIM:
        raise ShapeError(f"index: more than {TL_MAX_NDIM} dimensions")
    by.items[by.n].kind = INTEGER
    by.items[by.n].start = position
    by.n += 1
    return 0


cdef int64_t count_true(Tensor mask) except -1:
    return int(mask.sum().item())


cdef Tensor flat_nonzero(Tensor mask):
    """Positions where the bool tensor holds, in C order of its elements."""
    cdef tl_buffer shape
    cdef const tl_buffer *source
    cdef const tl_buffer *target
    cdef Tensor out
    mask = contiguous(mask)
    shape.ndim = 1
    shape.shape[0] = count_true(mask)
    out = new_tensor(&shape, TL_INT64, mask.buf.device_type, mask.buf.device_index)
    source, target = &mask.buf, &out.buf
    run(_nonzero, TL_BOOL, &target, 1, &source, 1, NULL, mask.buf.size)
    return out


cdef list mask_positions(Tensor mask, const tl_buffer *x, int axis):
    """One int64 tensor an axis of the mask, which must have x's shape there.

    An axis of length 0 goes with any, as in NumPy: such a mask selects nothing.
    """
    cdef int d
    for d in range(mask.buf.ndim):
        if axis + d >= x.ndim or mask.buf.shape[d] not in (0, x.shape[axis + d]):
            shape = tuple([x.shape[k] for k in range(x.ndim)])
            raise IndexError(
                f"index: the mask's shape {mask.shape} does not match the indexed "
                f"axes of {shape} starting at axis {axis}"
            )
    remaining = flat_nonzero(mask)
    found = []
    for d in range(mask.buf.ndim - 1, 0, -1):
        extent = max(mask.buf.shape[d], 1)
        found.append(remaining % extent)
        remaining = remaining // extent
    return [remaining, *found[::-1]] if mask.buf.ndim else []


cdef Key resolve_key(const tl_buffer *x, object key, bint kept):
    cdef Key out = Key.__new__(Key)
    cdef int axis = 0, kept_axis = 0, used, spare
    cdef bint advanced, separated = False
    cdef list items = _as_items(key)
    cdef list found = []
    out.axes, out.origins = [], []
    used = sum([_consumed(item) for item in items])
    spare = x.ndim - used
    if spare < 0:
        raise IndexError(
            f"index: too many indices: the tensor has {x.ndim} dimensions, but "
            f"{used} were indexed"
        )
    advanced = any([type(item) is Tensor and (
        (<Tensor>item).buf.ndim > 0 or (<Tensor>item).buf.dtype == TL_BOOL
        or is_batched(item)
    ) for item in items])
    out.adjacent = True
    for item in items:
        if type(item) is Tensor and not advanced:
            item = index(item)
        if item is None:
            _add_new_axis(&out.basic)
            kept_axis += 1
            separated = separated or bool(found)
        elif item is Ellipsis:
            for _ in range(spare):
                _add_slice(&out.basic, 0, 1, x.shape[axis])
                axis += 1
                kept_axis += 1
            separated = separated or bool(found)
        elif advanced and type(item) is not slice:
            if separated:
                out.adjacent = False
            if _is_truth(item):
                # It takes no axis: as a mask of length one on a new axis.
                _add_new_axis(&out.basic)
                found.append(flat_nonzero(<Tensor>item))
                out.axes.append(kept_axis)
                out.origins.append(axis)
                kept_axis += 1
                continue
            for positions in _positions(item, x, axis, kept):
                found.append(positions)
                out.axes.append(kept_axis)
                out.origins.append(axis)
                _add_slice(&out.basic, 0, 1, x.shape[axis])
                axis += 1
                kept_axis += 1
        else:
            add_item(&out.basic, item, axis, x.shape[axis])
            axis += 1
            if type(item) is slice:
                kept_axis += 1
                separated = separated or bool(found)
    if kept_axis + x.ndim - axis > TL_MAX_NDIM:
        raise ShapeError(f"index: the result has more than {TL_MAX_NDIM} dimensions")
    out.indices = _broadcast_indices(found)
    return out


cdef Tensor _beside(Tensor item, const tl_buffer *x):
    """An index on the device of x: indices may come from the CPU."""
    if item.buf.device_type == TL_CPU and x.device_type == TL_CUDA:
        return moved(item, device_of(TL_CUDA, x.device_index), True)
    return item


cdef list _positions(object item, const tl_buffer *x, int axis, bint kept):
    if type(item) is int:
        # Here, since the kernel sees no index where the others select nothing.
        _position(item, axis, x.shape[axis])
        return [_beside(as_tensor("index", item), x)]
    item = _beside(<Tensor>item, x)
    if (<Tensor>item).buf.dtype == TL_BOOL:
        return mask_positions(<Tensor>item, x, axis)
    if not is_integer_code((<Tensor>item).buf.dtype):
        raise IndexError(
            "index: expected integer or bool tensors, got "
            f"{dtype_of((<Tensor>item).buf.dtype)}"
        )
    return [_as_positions(<Tensor>item, kept)]


cdef Tensor _as_positions(Tensor positions, bint kept):
    """An integer tensor in a dtype that kernels read: int64, on the CPU int32 too.

    kept: a copy, as a kept key must not change between forward and reverse pass.
    """
    if positions.buf.dtype == TL_INT64 or positions.buf.dtype == TL_INT32 and (
        positions.buf.device_type == TL_CPU and positions.buf.ndim
    ):
        return copy(positions) if kept else positions
    return cast(positions, TL_INT64)


cdef Tensor as_positions(Tensor positions):
    return _as_positions(positions, False)


cdef Key axis_key(Tensor positions, int axis, bint kept):
    cdef Key out = Key.__new__(Key)
    out.basic.n = 0
    out.axes = out.origins = [axis]
    out.adjacent = True
    out.indices = (_as_positions(positions, kept),)
    return out


cdef object behind_slices(object key, int *axis):
    """The tensor that a key of whole slices ends in, and its axis; else the key, 0."""
    cdef int d, last
    axis[0] = 0
    if type(key) is not tuple or not key:
        return key
    last = <int>len(<tuple>key) - 1
    if type((<tuple>key)[last]) is not Tensor:
        return key
    for d in range(last):
        item = (<tuple>key)[d]
        if type(item) is not slice or not (
            item.start is None and item.stop is None and item.step is None
        ):
            return key
    axis[0] = last
    return (<tuple>key)[last]


cdef tuple _broadcast_indices(list found):
    cdef tl_buffer shape, wider
    cdef Tensor positions
    if not found:
        return ()
    shape.ndim = 0
    for positions in found:
        if broadcast_shape(&wider, &shape, &positions.buf) < 0:
            raise IndexError(
                "index: the index tensors do not broadcast: "
                f"{[p.shape for p in found]}"
            )
        shape = wider
    common = tuple([shape.shape[d] for d in range(shape.ndim)])
    return tuple([broadcast(<Tensor>p, common) for p in found])


cdef bint plain_key(const tl_buffer *x, object key, BasicIndex *by) except -1:
    """Whether key is integers and slices alone, as nearly always; by gets it."""
    cdef Py_ssize_t i, n
    by.n = 0
    if type(key) is int or type(key) is slice:
        if x.ndim == 0:
            return False
        add_item(by, key, 0, x.shape[0])
        return True
    if type(key) is not tuple:
        return False
    n = len(<tuple>key)
    if n > x.ndim:
        return False
    for i in range(n):
        item = (<tuple>key)[i]
        if type(item) is not int and type(item) is not slice:
            return False
        add_item(by, item, <int>i, x.shape[i])
    return True


cdef int check_key(const tl_buffer *before, const tl_buffer *x) except -1:
    """A slice's bounds may be objects whose __index__ changes the tensor."""
    if not same_shape(before, x):
        raise IndexError("index: the tensor's shape changed while its key was read")
    return 0
