# Generators, and how ops that draw in their own kernels take numbers from them.
from libc.stdint cimport int64_t, uint64_t
from tensorlib.core.abi cimport tl_random_params

cdef class Generator:
    cdef uint64_t seed
    cdef uint64_t position
    # Reserve the blocks of four 32-bit words that `size` elements use.
    cdef int take(
        self, tl_random_params *params, int64_t size, int64_t per_block
    ) except -1

# What an op draws from: the default generator for None; raises for what is none.
cdef Generator source_of(str op, object generator)
