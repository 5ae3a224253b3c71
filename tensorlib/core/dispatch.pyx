"""The kernel table: (op, device, dtype) to a function.

Kernel modules fill it when they are imported; a primitive looks its row up once
and indexes it at every call. `launch` is the single place where an op leaves
Python, where the GIL is released, and where a kernel's status is checked.
"""
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc
from tensorlib.core.abi cimport (
    TL_DEVICE_TYPE_COUNT, TL_DTYPE_COUNT, TL_OK, tl_call, tl_kernel, tl_kernel_fn,
    tl_status,
)

from tensorlib.core.errors import raise_status, missing_kernel

cdef extern from *:
    """
    static __thread struct { int grad_disabled; int forward_mode; } tl_state_;
    """
    tl_thread_state tl_state_

# Below this many elements the kernel is shorter than a GIL hand-over (about 1 us).
cdef enum:
    NOGIL_WORK = 4096

cdef dict _rows = {}


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


cdef int launch(
    str op, const tl_kernel *row, int device_type, int dtype, tl_call *call,
    int64_t work
) except -1:
    cdef const tl_kernel *entry = row + device_type * TL_DTYPE_COUNT + dtype
    cdef tl_status status
    if entry.run == NULL:
        missing_kernel(op, device_type, dtype)
    call.loop = entry.loop
    if work < NOGIL_WORK:
        status = entry.run(call)
    else:
        with nogil:
            status = entry.run(call)
    if status != TL_OK:
        raise_status(op, <int>status)
    return 0


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
