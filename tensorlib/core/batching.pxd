# Kernels under vmap.
from libc.stdint cimport int64_t, uintptr_t
from tensorlib.core.abi cimport tl_buffer, tl_call, tl_kernel, tl_kernel_fn
from tensorlib.core.dispatch cimport absent_launch
from tensorlib.core.hidden cimport MAX_LEVELS, tl_hidden

# One operand under the batch axes of a call: its layout, and its step along each.
ctypedef struct Operand:
    tl_buffer view
    int64_t[MAX_LEVELS] steps   # bytes

# A call, and the same without batch axes.
ctypedef struct Batch:
    tl_hidden axes
    int64_t count               # examples
    int64_t work                # of one
    uintptr_t rule
    int n                       # operands
    Operand *operands           # as given; n more to be changed
    const tl_buffer **given     # outputs and inputs, NULL where there is none
    tl_call one
    const tl_kernel *kernel     # of one example

# State that a kernel takes operands of any strides and number of axes: it then takes
# the batch axes of vmap as leading ones.
cdef int takes_any_axes(tl_kernel_fn run) except -1
# State what runs a row's kernel of the CPU on operands that are copied to the host.
cdef void set_host_launch(absent_launch function) noexcept
# State what runs a kernel on each example of the Batch that stands where a loop would.
cdef void set_examples(tl_kernel_fn run) noexcept
