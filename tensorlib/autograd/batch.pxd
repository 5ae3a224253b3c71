# Tensors under vmap: putting batch axes out of sight, and in sight again.
from libc.stdint cimport int64_t, uint64_t
from tensorlib.core.tensor cimport Tensor

# Whether the two may go to one kernel as they are.
cdef inline bint alike(Tensor a, Tensor b) noexcept:
    return (
        a.buf.device_type == b.buf.device_type
        and a.buf.device_index == b.buf.device_index
    )

# The tensors (None stays) with the batch axes of any of them; they themselves when
# there are none, or all have the same. Raises when they are on several devices.
cdef tuple aligned(str op, tuple tensors)
# x with `axis` as the batch axis of a level, and the reverse; x that lacks the level is
# the same for all its `size` examples.
cdef Tensor hide_axis(Tensor x, uint64_t level, int axis)
cdef Tensor show_axis(Tensor x, uint64_t level, int axis, int64_t size)
# A tensor's axes drawn at random: (sizes, levels) of the vmaps under way whose examples
# are to differ, None when there is none. Raises where randomness is an error.
cdef tuple random_axes(str op)
# Before numbers are drawn of a Generator: set it back where vmaps under way repeat what
# they drew for other examples.
cdef int repeat_draws(object generator) except -1
