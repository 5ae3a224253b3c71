"""The CUDA module as Python and the kernel table see it.

Importing needs neither a GPU nor a driver: the runtime is linked in, and loads the
driver at the first call.
"""
from libc.stdint cimport int32_t, int64_t
from tensorlib.core.abi cimport (
    TL_CUDA, TL_OK, tl_call, tl_kernel_fn, tl_status,
)
from tensorlib.core.dispatch cimport register_kernel
from tensorlib.core.remote cimport TO_DEVICE, TO_HOST, set_remote, tl_remote

from tensorlib.core.errors import DeviceError, raise_fault, set_failure_text

cdef extern from "tensorlib/cuda.h" nogil:
    ctypedef enum tl_cuda_copy_kind:
        TL_CUDA_TO_DEVICE
        TL_CUDA_TO_HOST

    ctypedef struct tl_cuda_statistics:
        int64_t allocated
        int64_t peak_allocated
        int64_t reserved
        int64_t peak_reserved
        int64_t live
        int64_t allocations
        int64_t system_calls
        int64_t limit

    ctypedef struct tl_cuda_entry:
        const char *op
        int32_t dtype
        tl_kernel_fn run
        const void *loop

    const char *tl_cuda_error_text(int error)
    const char *tl_cuda_error_name(int error)
    int tl_cuda_last_error()
    int tl_cuda_take_fault(int device, const char **op)
    int tl_cuda_device_count(int *count)
    int tl_cuda_device_name(int device, char *name, int size)
    int tl_cuda_device_memory(int device, int64_t *free_bytes, int64_t *total_bytes)
    int tl_cuda_device_capability(int device, int *major, int *minor, int *processors)
    int tl_cuda_driver_version(int *version)
    int tl_cuda_runtime_version(int *version)
    int tl_cuda_synchronize(int device)
    int tl_cuda_allocate(int device, int64_t nbytes, void **data, void **block)
    void tl_cuda_release(void *block)
    int tl_cuda_empty_cache(int device)
    int tl_cuda_memory_statistics(int device, tl_cuda_statistics *found)
    int tl_cuda_reset_peaks(int device)
    int tl_cuda_set_limit(int device, int64_t nbytes)
    int tl_cuda_allocate_pinned(int64_t nbytes, void **data)
    int tl_cuda_free_pinned(void *data)
    int tl_cuda_pointer_device(const void *data, int *device)
    int tl_cuda_copy(
        int device, void *target, const void *source, int64_t nbytes,
        tl_cuda_copy_kind kind, int wait)
    int tl_cuda_stream_create(int device, int priority, void **stream)
    int tl_cuda_stream_destroy(int device, void *stream)
    int tl_cuda_stream_synchronize(int device, void *stream)
    int tl_cuda_stream_query(int device, void *stream)
    void *tl_cuda_current_stream(int device)
    void tl_cuda_set_stream(int device, void *stream)
    int tl_cuda_event_create(int device, int timing, void **event)
    int tl_cuda_event_destroy(int device, void *event)
    int tl_cuda_event_record(int device, void *event, void *stream)
    int tl_cuda_event_synchronize(int device, void *event)
    int tl_cuda_event_query(int device, void *event)
    int tl_cuda_event_elapsed(void *start, void *end, float *milliseconds)
    int tl_cuda_stream_wait_event(int device, void *stream, void *event)
    int tl_cuda_capture_begin(int device, void *stream)
    int tl_cuda_capture_end(int device, void *stream, void **graph, void **pool)
    int tl_cuda_graph_launch(int device, void *graph, void *stream)
    int tl_cuda_graph_destroy(int device, void *graph, void *pool)
    void tl_cuda_set_library_path(const char *folders)
    void tl_cuda_set_float32_precision(int precision)
    const tl_cuda_entry *tl_cuda_entries(int family, int *count)
    tl_status tl_cuda_run(const tl_call *call) noexcept

cdef enum:
    OUT_OF_MEMORY = 2       # cudaErrorMemoryAllocation
    NOT_READY = 600         # cudaErrorNotReady


# ---- errors ----------------------------------------------------------------------
cdef str _text(int error):
    name = (<bytes>tl_cuda_error_name(error)).decode()
    return f"{(<bytes>tl_cuda_error_text(error)).decode()} ({name})"


cdef int _check(str op, int error) except -1:
    if error:
        raise DeviceError(f"{op}: {_text(error)}")
    return 0


cdef int _check_faults(int device) except -1:
    """Raise what kernels found wrong, once the device has been waited for."""
    cdef const char *op = NULL
    cdef int status = tl_cuda_take_fault(device, &op)
    if status != TL_OK:
        raise_fault((<bytes>op).decode(), status, f"cuda:{device}")
    return 0


def failure_text():
    """Return CUDA's text for the failure of the last kernel in this thread."""
    return f"the device reported: {_text(tl_cuda_last_error())}"


# ---- memory ----------------------------------------------------------------------
cdef int _allocate(
    int device, int64_t nbytes, void **data, void **block
) except -1:
    cdef tl_cuda_statistics now
    cdef int64_t free_bytes = 0, total = 0
    cdef int error = tl_cuda_allocate(device, nbytes, data, block)
    if error == OUT_OF_MEMORY:
        tl_cuda_memory_statistics(device, &now)
        tl_cuda_device_memory(device, &free_bytes, &total)
        raise MemoryError(
            f"tried to allocate {nbytes} bytes on cuda:{device}: {now.allocated} bytes "
            f"are in use, {now.reserved - now.allocated} cached, limit "
            f"{now.limit or 'none'}, {free_bytes} of {total} bytes of the device free; "
            "free tensors or raise tl.cuda.set_memory_limit()"
        )
    return _check("allocate", error)


cdef void _release(void *block) noexcept nogil:
    tl_cuda_release(block)


cdef int _allocate_pinned(int64_t nbytes, void **data) except -1:
    return _check("pin_memory", tl_cuda_allocate_pinned(nbytes, data))


cdef void _free_pinned(void *data) noexcept nogil:
    tl_cuda_free_pinned(data)


cdef int _index_of(const void *data) except -1:
    cdef int device = 0
    _check("memory of another library", tl_cuda_pointer_device(data, &device))
    return device


cdef size_t _stream(int device) noexcept nogil:
    return <size_t>tl_cuda_current_stream(device)


cdef int _order(int device, size_t later, size_t sooner) except -1:
    cdef void *event = NULL
    _check("stream", tl_cuda_event_create(device, False, &event))
    try:
        _check("stream", tl_cuda_event_record(device, event, <void *>sooner))
        _check("stream", tl_cuda_stream_wait_event(device, <void *>later, event))
    finally:
        tl_cuda_event_destroy(device, event)    # once it has happened
    return 0


cdef int _copy(
    int device, void *target, const void *source, int64_t nbytes, int crossing
) except -1:
    cdef tl_cuda_copy_kind kind = TL_CUDA_TO_DEVICE
    cdef int error, wait = crossing == TO_DEVICE or crossing == TO_HOST
    if crossing == TO_HOST:
        kind = TL_CUDA_TO_HOST
    with nogil:
        error = tl_cuda_copy(device, target, source, nbytes, kind, wait)
    _check("copy", error)
    return _check_faults(device) if wait else 0


def memory_stats(int device):
    """Return the allocator's counters of a device."""
    cdef tl_cuda_statistics found
    tl_cuda_memory_statistics(device, &found)
    return dict(found)


def reset_peak_memory_stats(int device):
    """Set the peaks of a device to the present values."""
    tl_cuda_reset_peaks(device)


def empty_cache(int device):
    """Return cached blocks to the driver."""
    cdef int error
    with nogil:
        error = tl_cuda_empty_cache(device)
    _check("empty_cache", error)


def set_memory_limit(int device, int64_t nbytes):
    """Limit the bytes held from the driver; 0 removes the limit."""
    tl_cuda_set_limit(device, nbytes)


# ---- devices ---------------------------------------------------------------------
def device_count():
    """Return ``(number of devices, reason)``, an empty reason when there are any."""
    cdef int count = 0
    cdef int error = tl_cuda_device_count(&count)
    return (0, _text(error)) if error else (count, "")


def device_name(int device):
    """Return the name that the driver gives a device."""
    cdef char[256] name
    _check("device_name", tl_cuda_device_name(device, name, 256))
    return (<bytes>name).decode()


def device_memory(int device):
    """Return ``(free, total)`` bytes of a device."""
    cdef int64_t free_bytes = 0, total = 0
    _check("mem_get_info", tl_cuda_device_memory(device, &free_bytes, &total))
    return free_bytes, total


def device_capability(int device):
    """Return ``(major, minor, multiprocessors)`` of a device."""
    cdef int major = 0, minor = 0, processors = 0
    _check(
        "get_device_capability",
        tl_cuda_device_capability(device, &major, &minor, &processors),
    )
    return major, minor, processors


def driver_version():
    """Return the CUDA version of the driver, 0 without a driver."""
    cdef int version = 0
    tl_cuda_driver_version(&version)
    return version


def runtime_version():
    """Return the CUDA version of the runtime that was linked in."""
    cdef int version = 0
    _check("runtime_version", tl_cuda_runtime_version(&version))
    return version


def synchronize(int device):
    """Wait until a device has finished everything launched so far."""
    cdef int error
    with nogil:
        error = tl_cuda_synchronize(device)
    _check("synchronize", error)
    _check_faults(device)


# ---- streams, events, graphs: handles are ints -------------------------------------
def stream_create(int device, int priority):
    """Return the handle of a new stream."""
    cdef void *stream = NULL
    _check("Stream", tl_cuda_stream_create(device, priority, &stream))
    return <size_t>stream


def stream_destroy(int device, size_t stream):
    """Destroy a stream; what it was given still runs."""
    tl_cuda_stream_destroy(device, <void *>stream)


def stream_synchronize(int device, size_t stream):
    """Wait for a stream."""
    cdef int error
    with nogil:
        error = tl_cuda_stream_synchronize(device, <void *>stream)
    _check("Stream.synchronize", error)
    _check_faults(device)


def stream_query(int device, size_t stream):
    """Return whether a stream has done all it was given."""
    cdef int error = tl_cuda_stream_query(device, <void *>stream)
    if error != NOT_READY:
        _check("Stream.query", error)
    return error == 0


def current_stream(int device):
    """Return the handle of this thread's stream on a device."""
    return <size_t>tl_cuda_current_stream(device)


def set_stream(int device, size_t stream):
    """Make launches of this thread on a device go to a stream."""
    tl_cuda_set_stream(device, <void *>stream)


def event_create(int device, bint timing):
    """Return the handle of a new event."""
    cdef void *event = NULL
    _check("Event", tl_cuda_event_create(device, timing, &event))
    return <size_t>event


def event_destroy(int device, size_t event):
    """Destroy an event."""
    tl_cuda_event_destroy(device, <void *>event)


def event_record(int device, size_t event, size_t stream):
    """Have an event happen when a stream gets there."""
    _check("Event.record", tl_cuda_event_record(device, <void *>event, <void *>stream))


def event_synchronize(int device, size_t event):
    """Wait for an event."""
    cdef int error
    with nogil:
        error = tl_cuda_event_synchronize(device, <void *>event)
    _check("Event.synchronize", error)


def event_query(int device, size_t event):
    """Return whether an event has happened."""
    cdef int error = tl_cuda_event_query(device, <void *>event)
    if error != NOT_READY:
        _check("Event.query", error)
    return error == 0


def event_elapsed(size_t start, size_t end):
    """Return the milliseconds between two events."""
    cdef float found = 0
    _check(
        "Event.elapsed_time", tl_cuda_event_elapsed(<void *>start, <void *>end, &found)
    )
    return found


def stream_wait_event(int device, size_t stream, size_t event):
    """Have what a stream is given from now on wait for an event."""
    _check(
        "Stream.wait_event",
        tl_cuda_stream_wait_event(device, <void *>stream, <void *>event),
    )


def capture_begin(int device, size_t stream):
    """Begin to record what a stream is given, instead of doing it."""
    _check("graph", tl_cuda_capture_begin(device, <void *>stream))


def capture_end(int device, size_t stream):
    """Return the handles of the graph recorded since, and of its memory."""
    cdef void *graph = NULL
    cdef void *pool = NULL
    cdef int error = tl_cuda_capture_end(device, <void *>stream, &graph, &pool)
    if error:
        tl_cuda_graph_destroy(device, graph, pool)
    _check("graph", error)
    return <size_t>graph, <size_t>pool


def graph_launch(int device, size_t graph, size_t stream):
    """Do what a graph recorded, on a stream."""
    _check(
        "CUDAGraph.replay", tl_cuda_graph_launch(device, <void *>graph, <void *>stream)
    )


def graph_destroy(int device, size_t graph, size_t pool):
    """Destroy a graph; its memory goes back as its tensors go."""
    tl_cuda_graph_destroy(device, <void *>graph, <void *>pool)


# ---- kernels ---------------------------------------------------------------------
def set_library_path(str folders):
    """Say where NVIDIA's libraries may lie, folders separated by colons."""
    cdef bytes encoded = folders.encode()
    tl_cuda_set_library_path(encoded)


def set_float32_precision(bint allow_tf32):
    """Allow products of float32 matrices in TF32, or not."""
    tl_cuda_set_float32_precision(allow_tf32)


def register():
    """Enter the CUDA kernels into the kernel table, and the device's memory."""
    cdef tl_remote remote
    cdef const tl_cuda_entry *entries
    cdef int family = 0, count = 0, i
    remote.allocate, remote.release, remote.copy = _allocate, _release, _copy
    remote.allocate_pinned, remote.free_pinned = _allocate_pinned, _free_pinned
    remote.index_of, remote.stream, remote.order = _index_of, _stream, _order
    set_remote(TL_CUDA, &remote)
    set_failure_text(failure_text)
    while True:
        entries = tl_cuda_entries(family, &count)
        if entries == NULL:
            return
        for i in range(count):
            register_kernel(
                (<bytes>entries[i].op).decode(), TL_CUDA, entries[i].dtype, tl_cuda_run,
                &entries[i],
            )
        family += 1
