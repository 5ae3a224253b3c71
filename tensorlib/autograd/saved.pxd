# Tensors that the graph keeps for the reverse pass, and the hooks that pack them.
from libc.stdint cimport uint8_t, uint32_t
from tensorlib.core.abi cimport tl_storage
from tensorlib.core.tensor cimport Tensor


# One saved tensor: itself, an alias where it is the output, or what a hook made of it.
cdef class SavedTensor:
    cdef object value
    cdef object unpack            # the hook that gives the tensor back, or None
    cdef object node              # the tensor's place in the graph
    cdef object tangent
    cdef Tensor shared            # an alias, where the packed value has the same memory
    cdef tuple shape
    cdef int dtype
    cdef uint8_t track
    cdef uint8_t is_output
    cdef uint32_t version
    # The tensor, checked; `owner` (of a name) saved it.
    cdef Tensor get(self, object owner)
    cdef Tensor _unpacked(self, str op)

cdef SavedTensor save(Tensor x, bint is_output)
cdef bint hooks_are_set() noexcept
# Around rules for tangents (1, then -1): what they save is kept as it is, so that the
# number of packed tensors does not depend on who carries tangents.
cdef void set_hooks_aside(int change) noexcept
# Where it counts who needs more of recording than a node: not zero while anybody does.
cdef int *saving_watched() noexcept
# Raise for a tensor that owner (a Node, a Kept) saved at version `seen`, changed since.
cdef int raise_changed(
    object owner, tl_storage *storage, tuple shape, uint32_t seen) except -1
# What messages end in: a line that says where owner saved its tensors, or "".
cdef str saved_at(object owner)
cdef int check_no_inference(str op, Tensor x) except -1
