# The C headers of include/tensorlib as Cython sees them. No logic here.
from libc.stdint cimport (
    int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)

cdef extern from "tensorlib/half.h" nogil:
    ctypedef struct tl_float16:
        uint16_t bits
    ctypedef struct tl_bfloat16:
        uint16_t bits
    float tl_double_to_odd(double x)
    float tl_float16_to_float(tl_float16 x)
    tl_float16 tl_float16_of_float(float x)
    float tl_bfloat16_to_float(tl_bfloat16 x)
    tl_bfloat16 tl_bfloat16_of_float(float x)

cdef extern from "tensorlib/buffer.h" nogil:
    enum:
        TL_MAX_NDIM
        TL_STORAGE_READONLY
        TL_STORAGE_BORROWED
        TL_C_CONTIGUOUS

    ctypedef enum tl_dtype:
        TL_BOOL
        TL_INT8
        TL_INT16
        TL_INT32
        TL_INT64
        TL_UINT8
        TL_UINT16
        TL_UINT32
        TL_UINT64
        TL_FLOAT16
        TL_BFLOAT16
        TL_FLOAT32
        TL_FLOAT64
        TL_COMPLEX64
        TL_COMPLEX128
        TL_DTYPE_COUNT

    ctypedef enum tl_device_type:
        TL_CPU
        TL_CUDA
        TL_BATCHED
        TL_DEVICE_TYPE_COUNT

    ctypedef enum tl_status:
        TL_OK
        TL_OUT_OF_MEMORY
        TL_INDEX_OUT_OF_RANGE
        TL_DIVISION_BY_ZERO
        TL_NEGATIVE_EXPONENT
        TL_BAD_TARGET
        TL_DEVICE_ERROR
        TL_DECLINED
        TL_STATUS_COUNT

    ctypedef struct tl_storage:
        void *data
        int64_t nbytes
        int64_t capacity
        int64_t refcount
        uint32_t version
        uint8_t flags
        uint8_t device_type
        uint16_t device_index
        uint32_t recorded_writes
        uint32_t lent
        const char *last_writer
        void *owner
        void (*release)(void *owner) noexcept nogil
        void *derived

    ctypedef struct tl_buffer:
        void *data
        tl_storage *storage
        int64_t size
        int16_t ndim
        uint16_t device_index
        uint8_t dtype
        uint8_t device_type
        uint8_t flags
        int64_t *shape      # inline arrays of TL_MAX_NDIM in C
        int64_t *strides

cdef extern from "tensorlib/kernels.h" nogil:
    ctypedef struct tl_call:
        const tl_buffer **out
        const tl_buffer **in_ "in"
        int32_t nout
        int32_t nin
        const void *params
        const void *loop

    ctypedef tl_status (*tl_kernel_fn)(const tl_call *call) noexcept nogil

    ctypedef int (*tl_loop)(void *out, const void *a, const void *b, const void *c,
                            const int64_t *strides, int64_t n,
                            const void *params) noexcept nogil

    ctypedef struct tl_kernel:
        tl_kernel_fn run
        const void *loop

    ctypedef struct tl_reduce_params:
        int32_t n_reduced
        double scale
        double correction

    ctypedef struct tl_matmul_params:
        int32_t accumulate

    ctypedef struct tl_norm_params:
        double eps

    ctypedef struct tl_index_params:
        int32_t n_indexed
        int32_t accumulate

    ctypedef struct tl_cross_entropy_params:
        int64_t ignore_index
        double label_smoothing
        double scale

    enum:
        TL_RNN_TANH
        TL_RNN_RELU
        TL_LSTM
        TL_GRU

    ctypedef struct tl_recurrent_params:
        int32_t cell
        int32_t reverse

    ctypedef struct tl_attention_params:
        double scale
        double dropout
        uint64_t seed
        uint64_t offset
        int32_t causal

    ctypedef struct tl_conv_params:
        int64_t groups
        int64_t stride[3]
        int64_t padding[3]
        int64_t dilation[3]
        int32_t channels_last
        int32_t keeps
        int32_t turned

    ctypedef struct tl_pool_params:
        int64_t kernel[3]
        int64_t stride[3]
        int64_t padding[3]
        int64_t dilation[3]
        int64_t divisor
        int32_t channels_last
        int32_t adaptive
        int32_t include_pad

    ctypedef struct tl_fill_params:
        uint64_t element[2]

    ctypedef struct tl_range_params:
        double real
        double step_real
        int64_t integer
        int64_t step_integer

    ctypedef struct tl_random_params:
        uint64_t seed
        uint64_t offset
        double low
        double high
        int64_t integer_low
        int64_t integer_high

    ctypedef struct tl_activation_params:
        double a
        double b
        double c

    ctypedef struct tl_glu_params:
        int64_t apart

    ctypedef struct tl_ctc_params:
        const int64_t *targets
        const int64_t *offsets
        const int64_t *input_lengths
        const int64_t *target_lengths
        int64_t blank
        int32_t zero_infinity

    enum:
        TL_OPTIM_SETTINGS

    ctypedef struct tl_warp_params:
        double fill
        int32_t bilinear
