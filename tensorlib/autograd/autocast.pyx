"""Autocast: the policy of dtypes, one thread's settings, and casts kept of parameters.

Ops take their operands through `as_tensor`, which asks here when any context is open.
The cast is an op of its own, so the tape records it and a gradient arrives in the
dtype of the parameter.

References
----------
P. Micikevicius et al., "Mixed Precision Training", ICLR 2018, arXiv:1710.03740.
"""
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_BFLOAT16, TL_CPU, TL_FLOAT16, TL_FLOAT32,
)
from tensorlib.core.dispatch cimport thread_state
from tensorlib.core.hidden cimport version_of
from tensorlib.core.tensor cimport TRACK_GRAD, Tensor

cdef extern from *:
    """
    // settings: a byte per device type, its dtype's code + 1 or 0; KEEPS_CASTS.
    static __thread struct { uint64_t settings; int depth; PyObject *casts; } tl_cast_;
    """
    ctypedef struct tl_cast_state:
        uint64_t settings
        int depth             # contexts open in this thread
        PyObject *casts       # {key: (parameter, version, cast)}, NULL before the first
    tl_cast_state tl_cast_

cdef uint64_t KEEPS_CASTS = <uint64_t>1 << 63

# Sums of many products, which the hardware does fast on 16 bits and adds up in 32.
_LOW = frozenset(
    """
    matmul linear einsum tensordot vecdot outer prelu
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    scaled_dot_product_attention rnn lstm gru
    """.split()
)
# Where 16 bits would overflow, cancel or lose a sum's small terms.
_FULL = frozenset(
    """
    exp expm1 log log1p log2 log10 pow square reciprocal rsqrt tan acos asin cosh sinh
    acosh atanh softplus log_sigmoid
    softmax log_softmax softmin logsumexp
    sum mean prod cumsum cumulative_sum cumulative_prod var std trace
    layer_norm group_norm rms_norm vector_norm matrix_norm
    cross_entropy ctc_loss nll_loss mse_loss l1_loss smooth_l1_loss huber_loss kl_div
    binary_cross_entropy binary_cross_entropy_with_logits gaussian_nll_loss
    poisson_nll_loss soft_margin_loss hinge_embedding_loss margin_ranking_loss
    cosine_embedding_loss triplet_margin_loss
    cosine_similarity pairwise_distance normalize
    """.split()
)
cdef dict _policy = {**dict.fromkeys(_LOW, True), **dict.fromkeys(_FULL, False)}


cdef int autocast_dtype(str op, Tensor x) noexcept:
    cdef int dtype = x.buf.dtype
    cdef int low, device_type = x.buf.device_type
    cdef PyObject *rule
    if device_type == TL_BATCHED:      # CPU memory, under vmap
        device_type = TL_CPU
    low = <int>((tl_cast_.settings >> (8 * device_type)) & 0xff)
    # float64 was asked for by its owner; integers index and count.
    if low == 0 or not (
        dtype == TL_FLOAT32 or dtype == TL_BFLOAT16 or dtype == TL_FLOAT16
    ):
        return dtype
    rule = PyDict_GetItem(_policy, op)
    if rule == NULL:
        return dtype
    return low - 1 if <object>rule is True else TL_FLOAT32


cdef tuple _key(Tensor x, int dtype):
    # A cast made while nothing is recorded has no place in the graph.
    return (<size_t><PyObject *>x, dtype, thread_state().grad_disabled != 0)


cdef bint _is_kept(Tensor x) noexcept:
    """Whether x is a leaf that trains: what a step reads more than once."""
    return (
        tl_cast_.settings & KEEPS_CASTS != 0 and tl_cast_.depth > 0
        and x.buf.dtype == TL_FLOAT32
        and x.track == TRACK_GRAD and x.node is None and not x.is_view
    )


cdef Tensor known_cast(Tensor x, int dtype):
    if tl_cast_.casts == NULL or not _is_kept(x):
        return None
    found = (<dict>tl_cast_.casts).get(_key(x, dtype))
    # An optimizer's step inside the context makes the cast an old one.
    if found is None or found[1] != version_of(x.buf.storage):
        return None
    return <Tensor>found[2]


cdef int keep_cast(Tensor x, Tensor cast) except -1:
    if not _is_kept(x):
        return 0
    if tl_cast_.casts == NULL:
        casts = {}
        Py_INCREF(casts)
        tl_cast_.casts = <PyObject *>casts
    (<dict>tl_cast_.casts)[_key(x, cast.buf.dtype)] = (
        x, version_of(x.buf.storage), cast
    )
    return 0


def drop_casts():
    """Forget the casts of parameters that this thread's contexts have kept.

    Examples
    --------
    >>> drop_casts()
    """
    cdef PyObject *casts = tl_cast_.casts
    tl_cast_.casts = NULL
    if casts != NULL:
        Py_DECREF(<object>casts)


cdef uint64_t switch_autocast(uint64_t settings) noexcept:
    cdef uint64_t before = tl_cast_.settings
    tl_cast_.settings = settings
    return before


def enter_autocast(int device_type, int dtype, bint keeps_casts):
    """Open a context in this thread; return the settings to give to `leave_autocast`.

    Parameters
    ----------
    device_type : int
        Whose tensors it is about; other devices' settings stay.
    dtype : int
        The code of the low dtype, -1 for off.
    keeps_casts : bool
        Whether casts of parameters are kept until the outermost context ends.

    Returns
    -------
    int

    Examples
    --------
    >>> before = enter_autocast(0, -1, True)
    >>> leave_autocast(before)
    """
    global autocast_contexts
    cdef uint64_t before = tl_cast_.settings
    cdef int shift = 8 * device_type
    cdef uint64_t settings = before & ~((<uint64_t>0xff << shift) | KEEPS_CASTS)
    settings |= <uint64_t>(dtype + 1) << shift
    tl_cast_.settings = settings | (KEEPS_CASTS if keeps_casts else 0)
    tl_cast_.depth += 1
    autocast_contexts += 1
    return before


def leave_autocast(uint64_t before):
    """Close the innermost context of this thread.

    Parameters
    ----------
    before : int
        What `enter_autocast` returned.

    Examples
    --------
    >>> leave_autocast(enter_autocast(0, -1, True))
    """
    global autocast_contexts
    tl_cast_.settings = before
    tl_cast_.depth -= 1
    autocast_contexts -= 1
    if tl_cast_.depth == 0:
        drop_casts()


def autocast_code(int device_type):
    """Return the code of the low dtype on a type of device, -1 when autocast is off.

    Examples
    --------
    >>> autocast_code(0)
    -1
    """
    return <int>((tl_cast_.settings >> (8 * device_type)) & 0xff) - 1


def autocast_policy():
    """Return ``{op: "low" or "float32"}`` for the ops whose operands are cast.

    Examples
    --------
    >>> autocast_policy()["matmul"], autocast_policy()["softmax"]
    ('low', 'float32')
    """
    return {op: "low" if low else "float32" for op, low in _policy.items()}


cdef class AutocastAs:
    """A context that runs under settings taken before, as checkpoints do.

    Examples
    --------
    >>> with AutocastAs():
    ...     autocast_code(0)
    -1
    """

    cdef uint64_t settings, before

    def __cinit__(self):
        self.settings = tl_cast_.settings

    def __enter__(self):
        global autocast_contexts
        self.before = switch_autocast(self.settings)
        autocast_contexts += 1

    def __exit__(self, *exc_info):
        global autocast_contexts
        switch_autocast(self.before)
        autocast_contexts -= 1
