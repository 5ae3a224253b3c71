# Runs a tl_loop over any shapes, strides and threads.
from tensorlib.core.abi cimport tl_call, tl_status

# Kernel for ops of one output and up to three inputs, all of one shape (inputs
# broadcast by zero strides); call.loop is a tl_loop.
cdef tl_status run_elementwise(const tl_call *call) noexcept nogil
