"""Merging and walking axes: what every structured kernel does before its loop.

A kernel's outer axes are merged where all of its operands allow it, so that the
common contiguous tensors become one axis; what is left is addressed by a running
index, which a thread may start at any point.
"""
from libc.stdint cimport int64_t

from tensorlib.core.abi cimport tl_buffer


cdef void axes_init(
    tl_axes *axes, const tl_buffer *buffer, int first, int last
) noexcept nogil:
    cdef int axis
    axes.ndim = last - first
    axes.size = 1
    for axis in range(first, last):
        axes.shape[axis - first] = buffer.shape[axis]
        axes.strides[0][axis - first] = buffer.strides[axis]
        axes.size *= buffer.shape[axis]


cdef void axes_operand(
    tl_axes *axes, int operand, const tl_buffer *buffer, int first
) noexcept nogil:
    cdef int axis
    for axis in range(axes.ndim):
        axes.strides[operand][axis] = buffer.strides[first + axis]


cdef inline bint _one_walk(
    const tl_axes *axes, int n, int outer, int inner
) noexcept nogil:
    """Whether each operand steps from the end of inner straight to the next outer."""
    cdef int operand
    for operand in range(n):
        if (
            axes.strides[operand][outer]
            != axes.strides[operand][inner] * axes.shape[inner]
        ):
            return False
    return True


cdef inline void _swap(int64_t *x, int64_t *y) noexcept nogil:
    cdef int64_t held = x[0]
    x[0] = y[0]
    y[0] = held


cdef inline void _move(tl_axes *axes, int n, int target, int source) noexcept nogil:
    cdef int operand
    for operand in range(n):
        axes.strides[operand][target] = axes.strides[operand][source]


cdef void axes_collapse(tl_axes *axes, int n_operands) noexcept nogil:
    cdef int axis, kept = 0
    for axis in range(axes.ndim):
        if axes.shape[axis] == 1:
            continue
        if kept and _one_walk(axes, n_operands, kept - 1, axis):
            axes.shape[kept - 1] *= axes.shape[axis]
            _move(axes, n_operands, kept - 1, axis)
        else:
            axes.shape[kept] = axes.shape[axis]
            _move(axes, n_operands, kept, axis)
            kept += 1
    axes.ndim = kept


cdef inline bint _before(const tl_axes *axes, int a, int b) noexcept nogil:
    """Whether axis a steps further than axis b; broadcast axes go first."""
    cdef int64_t x = axes.strides[0][a], y = axes.strides[0][b]
    if y == 0 or x == 0:
        return x == 0 and y != 0
    return (x if x > 0 else -x) > (y if y > 0 else -y)


cdef void axes_sort(tl_axes *axes, int n_operands) noexcept nogil:
    cdef int axis, place, operand
    for axis in range(1, axes.ndim):
        place = axis
        while place > 0 and _before(axes, place, place - 1):
            _swap(&axes.shape[place], &axes.shape[place - 1])
            for operand in range(n_operands):
                _swap(
                    &axes.strides[operand][place], &axes.strides[operand][place - 1]
                )
            place -= 1


cdef int64_t axes_offset(
    const tl_axes *axes, int operand, int64_t index
) noexcept nogil:
    cdef int axis
    cdef int64_t offset = 0, rest
    if axes.ndim == 1:
        return index * axes.strides[operand][0]
    for axis in range(axes.ndim - 1, -1, -1):
        if index == 0:
            break
        rest = index // axes.shape[axis]
        offset += (index - rest * axes.shape[axis]) * axes.strides[operand][axis]
        index = rest
    return offset
