# What extensions written outside tensorlib may use: the one .pxd with a promise.
#
#   from tensorlib.capi cimport Tensor, Unary, register_kernel, ...
#
# Compile with include paths tensorlib.get_include() (C) and
# tensorlib.get_cython_include() (Cython), and call require_api_version(TL_API_VERSION)
# when the extension is imported. tests/capi_extension is a complete example.

# The C structures: strided buffers, dtypes, devices, statuses, the kernel ABI.
from tensorlib.core.abi cimport (
    TL_BFLOAT16, TL_BOOL, TL_C_CONTIGUOUS, TL_COMPLEX64, TL_COMPLEX128, TL_CPU,
    TL_CUDA, TL_DTYPE_COUNT, TL_FLOAT16, TL_FLOAT32, TL_FLOAT64, TL_INT8, TL_INT16,
    TL_INT32, TL_INT64, TL_MAX_NDIM, TL_OK, TL_UINT8, TL_UINT16, TL_UINT32, TL_UINT64,
    tl_buffer, tl_call, tl_kernel, tl_kernel_fn, tl_loop, tl_status,
)
# The kernel table.
from tensorlib.core.dispatch cimport kernel_row, launch, register_kernel
# Tensors: x.buf is the tl_buffer; new_* return uninitialised memory of their own.
from tensorlib.core.tensor cimport (
    Tensor, bump_version, check_host, check_same_device, check_writable, new_like,
    new_scalar, new_tensor, new_view,
)
# Any Python object as a tensor.
from tensorlib.core.interop cimport to_tensor
# Threads a kernel may use.
from tensorlib.core.threads cimport thread_count, threads_for
# A kernel for loops of one output and up to three inputs, any strides and threads.
from tensorlib.kernels.driver cimport run_elementwise
# Differentiable ops: a Primitive has rules, a Node is one recorded application.
from tensorlib.autograd.primitive cimport (
    Node, Primitive, record, record1, record2, run, run1, run2, tracking,
)
# Under vmap: an op of several operands, unless it is a Binary, brings them under the
# same batch axes before it makes its output: a, b = aligned(name, (a, b)).
from tensorlib.autograd.batch cimport aligned, alike
# Elementwise ops with promotion, broadcasting and recording done.
from tensorlib.ops.elementwise cimport (
    SAVE_A, SAVE_B, SAVE_CROSS, SAVE_OUT, Binary, Unary, as_tensor,
)

cdef extern from "tensorlib/version.h":
    int TL_API_VERSION

# Raises ImportError unless the running tensorlib is of the version compiled against.
cdef int require_api_version(int compiled) except -1
