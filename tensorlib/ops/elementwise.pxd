# How elementwise primitives are applied: promotion, broadcasting, recording.
from libc.stdint cimport int64_t
from tensorlib.autograd.autocast cimport autocast_contexts
from tensorlib.autograd.primitive cimport Node, Primitive
from tensorlib.core.tensor cimport Tensor

cdef enum:
    SAVE_A = 1          # the rules read input 0
    SAVE_B = 2          # ... input 1
    SAVE_OUT = 4        # ... the output
    SAVE_CROSS = 8      # the rule for each input reads the other one
    SAVE_C = 16         # ... input 2 of a ternary op

cdef class Elementwise(Primitive):
    cdef int saves          # SAVE_*
    cdef bint float_only    # integers and bool are computed in float32
    cdef bint to_bool       # the result is bool
    cdef bint mixes         # commutes; CUDA's kernel adds 16-bit numbers to float32

cdef class Unary(Elementwise):
    cdef Tensor apply(self, Tensor a)
    cdef Tensor derivative(self, Node node, Tensor g)   # g * f'(a): vjp and jvp
    cdef object inplace(self, object a)

cdef class Binary(Elementwise):
    cdef Tensor derivative_a(self, Node node, Tensor g)   # g * df/da
    cdef Tensor derivative_b(self, Node node, Tensor g)
    cdef int keep(self, Tensor out, Tensor a, Tensor b) except -1
    cdef int check_target(self, Tensor a, Tensor b) except -1
    # Operators: NotImplemented for operands that are not ours.
    cdef object operate(self, object a, object b)
    # Functions: raise for them.
    cdef Tensor call(self, object a, object b)
    cdef Tensor apply(self, Tensor a, Tensor b)
    cdef Tensor spread(self, Tensor a, Tensor b)
    cdef object inplace(self, object a, object b)
    cdef int write(self, Tensor a, Tensor b) except -1

cdef class Ternary(Elementwise):
    cdef Tensor apply(self, Tensor a, Tensor b, Tensor c)

# The tensor itself, or one made from a scalar, list or array. op, the public name, is
# for messages and for autocast's policy: this is the one place that applies it.
cdef Tensor converted(str op, object x)
cdef inline Tensor as_tensor(str op, object x):
    if type(x) is Tensor and autocast_contexts == 0:
        return <Tensor>x
    return converted(op, x)

cdef Tensor cast(Tensor x, int dtype)
# x, or its real part when it is complex; and the transpose of a cast from dtype.
cdef Tensor real_part(Tensor x)
cdef Tensor cast_cotangent(Tensor g, int dtype)
# New, of the shape and device of a, in the order that a and b have in memory.
cdef Tensor new_result(Tensor a, Tensor b, int dtype)
# A contiguous copy with the same dtype, recorded.
cdef Tensor copy(Tensor x)
# The same, but the order of the axes in memory is kept.
cdef Tensor clone(Tensor x)
cdef Tensor contiguous(Tensor x)
# target[...] = source by the cast kernels, not recorded; same shape.
cdef int copy_into(str op, Tensor target, Tensor source) except -1
# x[...] = value, not recorded; and a new tensor shaped like x holding value.
cdef int fill(Tensor x, object value) except -1
cdef Tensor full_like(Tensor x, object value)
# The dtype that tensors and Python scalars are computed in; one of them in it.
cdef int common_dtype(list operands) except -1
cdef Tensor in_dtype(object x, int dtype)
# A float tensor for an op without integer kernels.
cdef Tensor as_float(Tensor x)
# Raise unless x can be changed in place while it is (or is not) recorded.
cdef int check_inplace(str op, Tensor x, bint recorded) except -1
# After a recorded in-place op computed `made`: x takes over its place in the graph.
cdef int adopt(Tensor x, Tensor made) except -1
# x, to be written into target by op: under the same vmaps, or an error.
cdef Tensor beside(str op, Tensor target, Tensor x)
# A tensor on the values of x, without a view of x's memory, when they may overlap.
cdef Tensor disjoint(Tensor x, Tensor target)
