# Runs a tl_loop over any shapes, strides and threads.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_call, tl_status

# Kernels for ops of one output and up to three inputs, all of one shape (inputs
# broadcast by zero strides); call.loop is a tl_loop. The second is for loops that
# cost much more than their memory traffic: it goes parallel earlier.
cdef tl_status run_elementwise(const tl_call *call) noexcept nogil
cdef tl_status run_transcendental(const tl_call *call) noexcept nogil
# First of n units that thread k of threads takes; pieces are contiguous.
cdef int64_t piece_start(int64_t n, int k, int threads) noexcept nogil
