# Forward-mode tangents: which levels are active, and what a tensor carries.
from libc.stdint cimport uint64_t
from tensorlib.core.tensor cimport Tensor

cdef enum:
    MAX_LEVELS = 64       # nested jvp calls; work doubles with each


# A tensor's tangents, a list with the highest level first; never changed once made.
cdef class Tangent:
    cdef uint64_t level
    cdef Tensor value     # carries tangents of lower levels only
    cdef Tangent next

# Open a level above the active ones; its number grows from call to call.
cdef uint64_t push_level() except 0
# Close the level opened last. The outermost one makes all that `hold` was given forget.
cdef int pop_level() except -1
# The level at place i of the active ones, outermost first.
cdef uint64_t active_level(int i) noexcept
# Call holder.forget_tangents() when no level is open any more in this thread.
cdef int hold(object holder) except -1
# The tangent of x at a level, or None; x with one more; x without one.
cdef Tensor tangent_at(Tensor x, uint64_t level)
cdef int add_tangent(Tensor x, uint64_t level, Tensor value) except -1
cdef int drop_tangent(Tensor x, uint64_t level) except -1
# The same elements outside the graph, with the tangents: a new tensor.
cdef Tensor with_tangents(Tensor x, object tangents)
