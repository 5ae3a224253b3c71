# Kernels of the narrow dtypes, which compute in a wide one.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_call, tl_kernel, tl_kernel_fn, tl_loop

# How an op's kernel for a narrow dtype converts: its call.loop.
ctypedef struct tl_narrow:
    tl_kernel wide        # the op's kernel for the wide dtype
    tl_loop widen         # casts of the narrow dtype to the wide one, and back
    tl_loop narrow
    int dtype
    int size              # bytes of a narrow element
    int wide_size

# State that `blocks` does what `wide` does on narrow operands, converting a block at a
# time: `launch` then uses it for every op whose wide kernel is `wide`.
cdef int widens_in_blocks(tl_kernel_fn wide, tl_kernel_fn blocks) except -1
# Run the op's kernel for the wide dtype on widened copies of its operands, on their
# device.
cdef int launch_widened(
    str op, const tl_kernel *row, int dtype, int wide, tl_call *call, int64_t work
) except -1
