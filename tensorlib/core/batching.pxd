# Kernels under vmap.
from tensorlib.core.abi cimport tl_kernel_fn

# State that a kernel takes operands of any strides and number of axes: it then takes
# the batch axes of vmap as leading ones.
cdef int takes_any_axes(tl_kernel_fn run) except -1
