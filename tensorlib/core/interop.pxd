# Other libraries' arrays and Python's own data as tensors.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_buffer
from tensorlib.core.tensor cimport Tensor

# x as a tensor; dtype (-1: as it comes) applies to Python scalars and sequences,
# whose values it receives without a detour. Arrays keep theirs.
cdef Tensor to_tensor(object x, int dtype)
