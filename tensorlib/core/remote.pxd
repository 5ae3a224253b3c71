# Memory that the host cannot read: where it comes from, and how bytes cross over.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_buffer, tl_storage

cdef enum Crossing:
    TO_DEVICE = 1       # waits until the source has been read
    TO_HOST = 2         # waits for the device, and raises what its kernels reported
    TO_DEVICE_LATER = 4     # does not wait

# What a kind of device offers. Every function raises; `release` cannot.
ctypedef struct tl_remote:
    int (*allocate)(int index, int64_t nbytes, void **data, void **block) except -1
    void (*release)(void *block) noexcept nogil
    int (*copy)(
        int index, void *target, const void *source, int64_t nbytes, int crossing
    ) except -1
    # Page-locked memory of the host.
    int (*allocate_pinned)(int64_t nbytes, void **data) except -1
    void (*free_pinned)(void *data) noexcept nogil
    # Which device has the memory.
    int (*index_of)(const void *data) except -1
    # The stream that this thread's work goes to, as a number; others know it by that.
    size_t (*stream)(int index) noexcept nogil
    # What stream `later` is given from now on waits for what `sooner` was given so far.
    int (*order)(int index, size_t later, size_t sooner) except -1

cdef void set_remote(int device_type, const tl_remote *remote) noexcept
# The functions of a kind of device; raises a DeviceError unless it is open.
cdef const tl_remote *remote_of(int device_type) except NULL
# Make a device ready for tensors; raises a DeviceError that says why it is not there.
cdef int open_remote(str op, int device_type, int index) except -1
# Uninitialised memory on a device, the CPU included.
cdef tl_storage *storage_on(int device_type, int index, int64_t nbytes) except NULL
# Uninitialised memory on the host that a device reaches by itself.
cdef tl_storage *pinned_storage(int device_type, int64_t nbytes) except NULL
cdef int cross(
    int device_type, int index, void *target, const void *source, int64_t nbytes,
    int crossing
) except -1
# Whether b is one number on the host, which kernels of any device take by value.
cdef inline bint is_host_scalar(const tl_buffer *b) noexcept:
    return b.device_type == 0 and b.ndim == 0
