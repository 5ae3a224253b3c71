"""An op made outside tensorlib: cube(x) = x**3, with its derivative and two kernels.

float32 runs a loop written here through tensorlib's driver, which takes care of
strides and threads; float64 runs a whole kernel written in plain C. Both take more
leading axes, and so all examples of a vmap at once.
"""
from libc.stdint cimport int64_t
from tensorlib.capi cimport (
    SAVE_A, TL_API_VERSION, TL_CPU, TL_CUDA, TL_FLOAT32, TL_FLOAT64, Node, Tensor, Unary,
    as_tensor, register_kernel, require_api_version, run_elementwise, tl_call,
    tl_status,
)

cdef extern from "cube_kernel.h" nogil:
    tl_status cube_float64(const tl_call *call) noexcept

from tensorlib.autograd import set_batching_rule

require_api_version(TL_API_VERSION)


cdef int cube_float32(
    void *out, const void *a, const void *b, const void *c, const int64_t *strides,
    int64_t n, const void *params,
) noexcept nogil:
    cdef float *y = <float *>out
    cdef const float *x = <const float *>a
    cdef int64_t i
    for i in range(n):
        y[i * strides[0]] = x[i * strides[1]] * x[i * strides[1]] * x[i * strides[1]]
    return 0


cdef class Cube(Unary):
    """y = x**3, dy = 3 x**2 dx."""

    def __cinit__(self, str name):
        self.float_only = True
        self.saves = SAVE_A

    cdef Tensor derivative(self, Node node, Tensor g):
        x = node.get(0)
        return g * x * x * 3


cdef Cube _cube = Cube("capi_extension.cube")
register_kernel(
    "capi_extension.cube", TL_CPU, TL_FLOAT32, run_elementwise, <void *>cube_float32
)
register_kernel("capi_extension.cube", TL_CPU, TL_FLOAT64, cube_float64, NULL)
set_batching_rule("capi_extension.cube", "axes")


def cube(x, /):
    """Return the cube of each element."""
    return _cube.apply(as_tensor("cube", x))


def wrong_version():
    """Ask for a version that cannot be the installed one."""
    require_api_version(TL_API_VERSION + 1)


def said_on_cuda(Tensor x not None):
    """An alias of x that says it is on a GPU, for what ops say of mixed devices."""
    cdef Tensor alias = x.detach()
    alias.buf.device_type = TL_CUDA
    return alias
