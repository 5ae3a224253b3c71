# Kernel table and the per-thread state that every op call consults.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_call, tl_kernel, tl_kernel_fn

ctypedef struct tl_thread_state:
    int grad_disabled     # depth of no_grad: zero means record
    int forward_mode      # depth of jvp: non-zero means carry tangents

# The row of an op: entry [device_type * TL_DTYPE_COUNT + dtype]. Rows never move.
cdef tl_kernel *kernel_row(str op) except NULL
# Fill one entry; a later registration replaces an earlier one.
cdef int register_kernel(
    str op, int device_type, int dtype, tl_kernel_fn run, const void *loop
) except -1
# State that a kernel takes operands of any strides and number of axes: it then takes the
# batch axes of vmap as leading ones.
cdef int takes_any_axes(tl_kernel_fn run) except -1
# Run a kernel, off the GIL when work (elements touched) is worth it.
cdef int launch(
    str op, const tl_kernel *row, int device_type, int dtype, tl_call *call,
    int64_t work
) except -1
cdef tl_thread_state *thread_state() noexcept nogil
