"""The kernel table: (op, device, dtype) to a function.

Kernel modules fill it when they are imported; a primitive looks its row up once
and indexes it at every call. `launch` is the single place where an op leaves
Python, where the GIL is released, and where a kernel's status is checked.
"""
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc
from tensorlib.core.abi cimport (
    TL_DECLINED, TL_DEVICE_TYPE_COUNT, TL_DTYPE_COUNT, TL_OK, tl_buffer, tl_call,
    tl_kernel, tl_kernel_fn, tl_status,
)
from tensorlib.core.finite cimport described, has_nonfinite

from tensorlib.core.errors import missing_kernel, raise_status
from tensorlib.core.provenance import line_text, user_line

cdef extern from *:
    """
    static __thread struct { int grad_disabled; int forward_mode; } tl_state_;
    static __thread int tl_checked_;
    """
    tl_thread_state tl_state_
    int tl_checked_

# Below this many elements the kernel is shorter than a GIL hand-over (about 1 us).
cdef enum:
    NOGIL_WORK = 4096

# Zero while any thread has its results checked: each call then looks who is asked.
cdef int64_t _nogil_work = NOGIL_WORK
cdef int _checkers = 0

cdef dict _rows = {}
cdef absent_launch _absent[TL_DEVICE_TYPE_COUNT]


cdef tl_thread_state *thread_state() noexcept nogil:
    return <tl_thread_state *>&tl_state_


cdef tl_kernel *kernel_row(str op) except NULL:
    cdef object address = _rows.get(op)
    cdef tl_kernel *row
    if address is None:
        row = <tl_kernel *>calloc(
            TL_DEVICE_TYPE_COUNT * TL_DTYPE_COUNT, sizeof(tl_kernel)
        )
        if row == NULL:
            raise MemoryError(f"kernel table: no memory for a row of {op!r}")
        _rows[op] = <size_t>row
        return row
    return <tl_kernel *><size_t>address


cdef int register_kernel(
    str op, int device_type, int dtype, tl_kernel_fn run, const void *loop
) except -1:
    cdef tl_kernel *entry = kernel_row(op) + device_type * TL_DTYPE_COUNT + dtype
    entry.run = run
    entry.loop = loop
    return 0


cdef void set_absent(int device_type, absent_launch function) noexcept:
    _absent[device_type] = function


cdef int launch(
    str op, const tl_kernel *row, int device_type, int dtype, tl_call *call,
    int64_t work
) except -1:
    cdef const tl_kernel *entry = row + device_type * TL_DTYPE_COUNT + dtype
    cdef tl_status status
    if entry.run == NULL:
        if _absent[device_type] == NULL:
            missing_kernel(op, device_type, dtype)
        return _absent[device_type](op, row, dtype, call, work)
    call.loop = entry.loop
    if work < _nogil_work:
        status = entry.run(call)
    elif tl_checked_ > 0:
        status = <tl_status>_checked_launch(op, entry, call, work)
    elif work < NOGIL_WORK:     # another thread is checked
        status = entry.run(call)
    else:
        with nogil:
            status = entry.run(call)
    if status == TL_DECLINED and _absent[device_type] != NULL:
        return _absent[device_type](op, row, dtype, call, work)
    if status != TL_OK:
        raise_status(op, <int>status)
    return 0


cdef tl_status _run_watching(
    const tl_kernel *entry, tl_call *call, bint *made
) noexcept nogil:
    """Run a kernel, and tell whether it made inf or NaN of finite inputs.

    The first output alone counts: others are notes for the gradient, logarithms of
    zero weights among them.
    """
    cdef bint in_place = _works_in_place(call)
    cdef bint was_finite = call.nin > 0
    cdef tl_status status
    if in_place:
        was_finite = was_finite and not _any_nonfinite(call.in_, call.nin)
    status = entry.run(call)
    made[0] = status == TL_OK and was_finite and _any_nonfinite(call.out, 1)
    if made[0] and not in_place:
        made[0] = not _any_nonfinite(call.in_, call.nin)
    return status


cdef int _checked_launch(
    str op, const tl_kernel *entry, tl_call *call, int64_t work
) except -1:
    """Run a kernel, and raise when it makes inf or NaN of finite inputs.

    Returns TL_OK or TL_DECLINED.
    """
    cdef bint made = False
    cdef tl_status status
    if work < NOGIL_WORK:
        status = _run_watching(entry, call, &made)
    else:
        with nogil:
            status = _run_watching(entry, call, &made)
    if status != TL_OK and status != TL_DECLINED:
        raise_status(op, <int>status)
    if made:
        _raise_nonfinite(op, call)
    return <int>status


cdef bint _any_nonfinite(const tl_buffer **buffers, int n) noexcept nogil:
    cdef int i
    for i in range(n):
        if buffers[i] != NULL and has_nonfinite(buffers[i]):
            return True
    return False


cdef bint _works_in_place(const tl_call *call) noexcept nogil:
    cdef int i, j
    for i in range(call.nout):
        for j in range(call.nin):
            if call.out[i] == NULL or call.in_[j] == NULL:
                continue    # an operand that the kernel does without
            if call.out[i].data == call.in_[j].data:
                return True
    return False


cdef int _raise_nonfinite(str op, const tl_call *call) except -1:
    cdef int i
    place = user_line()
    where = "" if place is None else ", at " + line_text(place)
    inputs = ", ".join([
        described(call.in_[i]) for i in range(call.nin) if call.in_[i] != NULL
    ])
    if _works_in_place(call):
        inputs = "finite, overwritten since"
    raise FloatingPointError(
        f"{op}: expected a finite result of finite inputs, got "
        f"{described(call.out[0])}; inputs: {inputs}{where}"
    )


def check_results(int change):
    """Add to the number of contexts in which this thread has results checked.

    Examples
    --------
    >>> check_results(0)
    """
    global _checkers, _nogil_work, tl_checked_
    _checkers += change
    tl_checked_ += change
    _nogil_work = 0 if _checkers else NOGIL_WORK


def registered_kernels():
    """Return the kernel table as ``{op: [(device_type, dtype), ...]}``.

    Examples
    --------
    >>> (0, 11) in registered_kernels()["exp"]  # float32 on the CPU
    True
    """
    cdef tl_kernel *row
    cdef int device, dtype
    table = {}
    for op, address in _rows.items():
        row = <tl_kernel *><size_t>address
        table[op] = [
            (device, dtype)
            for device in range(TL_DEVICE_TYPE_COUNT)
            for dtype in range(TL_DTYPE_COUNT)
            if row[device * TL_DTYPE_COUNT + dtype].run != NULL
        ]
    return table
