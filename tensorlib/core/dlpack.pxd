# DLPack: memory handed between libraries without a copy.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from tensorlib.core.tensor cimport Tensor

cdef extern from "tensorlib/dlpack.h" nogil:
    enum:
        TL_DLPACK_MAJOR
        TL_DLPACK_MINOR
        TL_DL_CPU
        TL_DL_CUDA
        TL_DL_CUDA_HOST
        TL_DL_INT
        TL_DL_UINT
        TL_DL_FLOAT
        TL_DL_BFLOAT
        TL_DL_COMPLEX
        TL_DL_BOOL
        TL_DL_FLAG_READ_ONLY
        TL_DL_FLAG_IS_COPIED
        TL_DL_FLAG_SUBBYTE_PADDED

    ctypedef struct tl_dl_version:
        uint32_t major
        uint32_t minor

    ctypedef struct tl_dl_device:
        int32_t device_type
        int32_t device_id

    ctypedef struct tl_dl_dtype:
        uint8_t code
        uint8_t bits
        uint16_t lanes

    ctypedef struct tl_dl_tensor:
        void *data
        tl_dl_device device
        int32_t ndim
        tl_dl_dtype dtype
        int64_t *shape
        int64_t *strides
        uint64_t byte_offset

    ctypedef struct tl_dl_managed:
        tl_dl_tensor tensor
        void *context
        void (*deleter)(tl_dl_managed *self) noexcept nogil

    ctypedef struct tl_dl_managed_versioned:
        tl_dl_version version
        void *context
        void (*deleter)(tl_dl_managed_versioned *self) noexcept nogil
        uint64_t flags
        tl_dl_tensor tensor

# A tensor over the memory of an object with __dlpack__; copy: -1 as needed, 0, 1.
cdef Tensor import_dlpack(object x, int copy)
