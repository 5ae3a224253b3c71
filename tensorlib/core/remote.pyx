"""Memory on other devices: where it comes from, and how bytes cross over.

The module of a device puts its allocator and its copies in here (`set_remote`), so
that tensors and storages know of devices without knowing any. A storage on a device
borrows a block of the device's allocator.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t
from tensorlib.core.abi cimport TL_CPU, TL_DEVICE_TYPE_COUNT, tl_storage
from tensorlib.core.storage cimport inference_flag, storage_borrow, storage_new

from tensorlib.core.errors import DeviceError

cdef tl_remote[TL_DEVICE_TYPE_COUNT] _remotes
cdef object _open = None        # of set_opener


cdef void set_remote(int device_type, const tl_remote *remote) noexcept:
    _remotes[device_type] = remote[0]


cdef const tl_remote *remote_of(int device_type) except NULL:
    if _remotes[device_type].allocate == NULL:
        raise DeviceError("this process has not opened a device of that kind")
    return &_remotes[device_type]


def set_opener(open):
    """Have ``open(op, index)`` called to make a GPU ready for tensors."""
    global _open
    _open = open


cdef int open_remote(str op, int device_type, int index) except -1:
    if device_type != TL_CPU:
        _open(op, index)
    return 0


cdef tl_storage *storage_on(int device_type, int index, int64_t nbytes) except NULL:
    cdef void *data = NULL
    cdef void *block = NULL
    cdef const tl_remote *remote
    cdef tl_storage *made
    if device_type == TL_CPU:
        return storage_new(nbytes)
    remote = remote_of(device_type)
    remote.allocate(index, nbytes, &data, &block)
    try:
        made = storage_borrow(data, nbytes, 0, block, remote.release)
    except BaseException:
        remote.release(block)
        raise
    made.flags = inference_flag()   # ours, unlike memory that somebody handed over
    made.device_type, made.device_index = <uint8_t>device_type, <uint16_t>index
    return made


cdef tl_storage *pinned_storage(int device_type, int64_t nbytes) except NULL:
    cdef void *data = NULL
    cdef const tl_remote *remote = remote_of(device_type)
    cdef tl_storage *made
    remote.allocate_pinned(nbytes, &data)
    try:
        made = storage_borrow(data, nbytes, 0, data, remote.free_pinned)
    except BaseException:
        remote.free_pinned(data)
        raise
    made.flags = inference_flag()
    return made


cdef int cross(
    int device_type, int index, void *target, const void *source, int64_t nbytes,
    int crossing
) except -1:
    return remote_of(device_type).copy(index, target, source, nbytes, crossing)
