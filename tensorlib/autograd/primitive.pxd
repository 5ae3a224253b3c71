# Primitive: the rules of an op. Node: one recorded application of it.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from tensorlib.autograd.hooks cimport GradHooks
from tensorlib.autograd.saved cimport SavedTensor
from tensorlib.core.abi cimport TL_MAX_NDIM, tl_buffer, tl_call, tl_kernel, tl_storage
from tensorlib.core.provenance cimport tl_place
from tensorlib.core.tensor cimport Tensor

cdef enum:
    SPARED = 32         # inputs that have a bit of Node.spared
    MAX_SAVED = 8


cdef class Primitive:
    cdef readonly str name
    cdef bytes encoded_name
    cdef const char *c_name           # immortal: primitives are never freed
    cdef tl_kernel *row
    cdef bint analytic                # vjp of complex numbers is conjugated around
    # Gradients with respect to each input, None where there is none; not yet
    # summed over broadcast axes. Written in Tensor operations.
    cdef tuple vjp(self, Node node, Tensor g)
    # The output's tangent; tangents[i] is None for an input that has none.
    cdef Tensor jvp(self, Node node, tuple tangents)
    # For a rule that puts g among zeros: where, in a gradient of the only input that is
    # there already; g is then added there, and no zeros are made. None: not so.
    cdef Tensor place_in(self, Node node, Tensor total)
    # What messages and drawings call an application; the primitive's name by default.
    cdef str label(self, Node node)


# What few nodes have: made when the first of these is needed.
@cython.final
cdef class NodeExtras:
    cdef GradHooks hooks               # on the output's gradient, or None
    cdef tuple packed                  # instead of `saved`: SavedTensors or None
    cdef SavedTensor out               # the output, packed or not in C order


@cython.final
cdef class Node:
    cdef readonly Primitive primitive
    cdef readonly object params        # the op's parameters, as the op likes them
    # Tensors the rules read; None once released, or where they are packed.
    cdef tuple saved
    # The output's memory, referred to, when the rules read it and it is in C order.
    cdef tl_storage *out_storage
    cdef void *out_data
    cdef object first                  # per input: Node, leaf Tensor or None;
    cdef object second                 # read by edge_at
    cdef tuple rest
    cdef object cotangent              # while a backward pass runs: Tensor or None
    cdef NodeExtras extras             # or None
    cdef readonly uint64_t sequence    # order of recording
    cdef tl_place place                # the user's line that recorded it
    cdef uint64_t run                  # the backward pass that owns cotangent
    cdef uint64_t seen                 # the last pass that looked at it
    cdef uint64_t wanted               # the last pass that it leads to a capture of
    cdef object tangents               # the output's, while a jvp is under way
    cdef uint32_t out_version
    cdef uint8_t released
    cdef uint8_t dtype
    cdef uint8_t device_type           # of the output
    cdef uint16_t device_index
    cdef int32_t ndim
    cdef int32_t inputs                # how many edges
    cdef uint32_t spared               # a bit for each that its pass does not want
    cdef uint32_t[MAX_SAVED] versions
    cdef int64_t[TL_MAX_NDIM] extents
    cdef tuple shape_tuple(self)
    # The saved tensor i, checked against in-place changes.
    cdef Tensor get(self, int i)
    cdef Tensor unpacked(self, int i)
    # How many were saved, and whether the i-th was anything but None.
    cdef int saved_count(self) noexcept
    cdef bint has_saved(self, int i) noexcept
    cdef NodeExtras more(self)
    cdef Tensor _packed_output(self)
    cdef Tensor _placed(self, Tensor x)
    # The output, differentiable again when gradients are being recorded.
    cdef Tensor output(self)
    # Whether the pass under way wants the gradient of input i.
    cdef bint needs(self, int i) noexcept
    cdef bint recorded(self) noexcept
    # The extents of input i, which must have an edge.
    cdef int input_shape(self, int i, tl_buffer *shape) except -1
    cdef void release(self) noexcept

# What the gradient of input i flows to: a Node, a leaf Tensor or None.
cdef inline object edge_at(Node node, Py_ssize_t i):
    return node.first if i == 0 else node.second if i == 1 else node.rest[i - 2]

# Whether an op on inputs of these track bits (or-ed) must be recorded.
cdef bint tracking(int track) noexcept
# Whether what a rule computes is differentiated in turn, by either mode: the rule must
# then keep to Tensor operations.
cdef bint differentiated() noexcept
# Record p(inputs) -> out. saved: tensors for the rules; save_out: they read out.
cdef int record1(
    Primitive p, Tensor out, Tensor a, tuple saved, bint save_out, object params
) except -1
cdef int record2(
    Primitive p, Tensor out, Tensor a, Tensor b, tuple saved, bint save_out,
    object params
) except -1
cdef int record(
    Primitive p, Tensor out, tuple inputs, tuple saved, bint save_out, object params
) except -1
# Run p's kernel of dtype on buffers; work = elements touched.
cdef int run(
    Primitive p, int dtype, const tl_buffer **out, int nout,
    const tl_buffer **inputs, int nin, const void *params, int64_t work
) except -1
# Shorthands for one output and one, two or three inputs.
cdef int run1(Primitive p, Tensor out, const tl_buffer *a, const void *params) except -1
cdef int run2(
    Primitive p, Tensor out, const tl_buffer *a, const tl_buffer *b,
    const void *params) except -1
# Sum of two optional tangents.
cdef Tensor add_tangents(Tensor a, Tensor b)
