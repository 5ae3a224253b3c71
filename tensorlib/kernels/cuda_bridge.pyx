"""The CUDA module as Python and the kernel table see it.

Importing needs neither a GPU nor a driver: the runtime is linked in, and loads the
driver at the first call.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t
from tensorlib.core.abi cimport (
    TL_CUDA, TL_FLOAT32, TL_FLOAT64, TL_OK, tl_buffer, tl_call, tl_status,
)
from tensorlib.core.dispatch cimport register_kernel
from tensorlib.core.layout cimport set_contiguous

from tensorlib.core.errors import DeviceError

cdef extern from "tensorlib/cuda.h" nogil:
    ctypedef enum tl_cuda_copy_kind:
        TL_CUDA_TO_DEVICE
        TL_CUDA_TO_HOST
        TL_CUDA_ON_DEVICE

    const char *tl_cuda_error_text(int error)
    const char *tl_cuda_error_name(int error)
    int tl_cuda_last_error()
    int tl_cuda_device_count(int *count)
    int tl_cuda_device_name(int device, char *name, int size)
    int tl_cuda_driver_version(int *version)
    int tl_cuda_runtime_version(int *version)
    int tl_cuda_synchronize(int device)
    int tl_cuda_malloc(int device, int64_t nbytes, void **data)
    int tl_cuda_free(int device, void *data)
    int tl_cuda_copy(
        int device, void *target, const void *source, int64_t nbytes,
        tl_cuda_copy_kind kind)
    tl_status tl_cuda_add(const tl_call *call) noexcept

ctypedef fused real:
    float
    double


cdef str _text(int error):
    name = (<bytes>tl_cuda_error_name(error)).decode()
    return f"{(<bytes>tl_cuda_error_text(error)).decode()} ({name})"


cdef int _check(str op, int error) except -1:
    if error:
        raise DeviceError(f"{op}: {_text(error)}")
    return 0


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


cdef class _Memory:
    """Device memory as a one-dimensional buffer, freed with the object."""
    cdef tl_buffer buf

    def __dealloc__(self):
        tl_cuda_free(self.buf.device_index, self.buf.data)

    @staticmethod
    cdef _Memory make(int device, int dtype, int itemsize, int64_t size):
        cdef _Memory made = _Memory.__new__(_Memory)
        made.buf.ndim = 1
        made.buf.shape[0] = size
        made.buf.dtype = <uint8_t>dtype
        made.buf.device_type = TL_CUDA
        made.buf.device_index = <uint16_t>device
        set_contiguous(&made.buf)
        _check("malloc", tl_cuda_malloc(device, size * itemsize, &made.buf.data))
        return made


def vector_add(const real[::1] a, const real[::1] b, real[::1] out, *, int device=0):
    """Add two host vectors on the device, into `out`: copies in, kernel, copy out."""
    cdef int dtype = TL_FLOAT32 if real is float else TL_FLOAT64
    cdef int64_t nbytes = a.shape[0] * sizeof(real)
    cdef _Memory x, y, z
    cdef const tl_buffer *inputs[2]
    cdef const tl_buffer *output
    cdef tl_call call
    if not a.shape[0] == b.shape[0] == out.shape[0]:
        raise ValueError(
            f"vector_add: lengths {a.shape[0]}, {b.shape[0]}, {out.shape[0]} differ"
        )
    if nbytes == 0:
        return
    x = _Memory.make(device, dtype, sizeof(real), a.shape[0])
    y = _Memory.make(device, dtype, sizeof(real), a.shape[0])
    z = _Memory.make(device, dtype, sizeof(real), a.shape[0])
    inputs[0], inputs[1] = &x.buf, &y.buf
    output = &z.buf
    call.out, call.nout, call.in_, call.nin = &output, 1, inputs, 2
    call.params = call.loop = NULL
    _check("copy", tl_cuda_copy(device, x.buf.data, &a[0], nbytes, TL_CUDA_TO_DEVICE))
    _check("copy", tl_cuda_copy(device, y.buf.data, &b[0], nbytes, TL_CUDA_TO_DEVICE))
    if tl_cuda_add(&call) != TL_OK:
        _check("add", tl_cuda_last_error())
    _check("copy", tl_cuda_copy(device, &out[0], z.buf.data, nbytes, TL_CUDA_TO_HOST))


def register():
    """Enter the CUDA kernels into the kernel table."""
    for dtype in (TL_FLOAT32, TL_FLOAT64):
        register_kernel("add", TL_CUDA, dtype, tl_cuda_add, NULL)
