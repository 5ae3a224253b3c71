# The reverse pass.
from tensorlib.core.tensor cimport Tensor

# What the reverse pass needs from the ops; filled by ops.bind_operators().
ctypedef struct TapeOps:
    object (*sum_to)(object g, object target)       # undo broadcasting to target
    object (*cast)(object g, int dtype)            # complex to real: its real part
    object (*copy)(object g)
    int (*accumulate)(object total, object g) except -1   # total += g in place
    object (*to_host)(object x)
    object (*ones_like)(object x)
    object (*zeros_like)(object x)
    object (*conj)(object x)

cdef TapeOps *tape_ops() noexcept
