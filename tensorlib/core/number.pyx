"""Python numbers and elements in memory: one read or written by its dtype."""
from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from tensorlib.core.abi cimport (
    TL_BOOL, TL_COMPLEX64, TL_COMPLEX128, TL_FLOAT16, TL_FLOAT32, TL_FLOAT64, TL_INT8,
    TL_INT16, TL_INT32, TL_INT64, TL_UINT8, TL_UINT16, TL_UINT32, TL_UINT64,
    tl_bfloat16, tl_bfloat16_of_float, tl_bfloat16_to_float, tl_buffer,
    tl_double_to_odd, tl_float16, tl_float16_of_float, tl_float16_to_float,
)
from tensorlib.core.dtype cimport dtype_of, dtype_sizes


cdef object read_scalar(int dtype, const void *data):
    if dtype == TL_FLOAT32:
        return <double>(<const float *>data)[0]
    if dtype == TL_FLOAT64:
        return (<const double *>data)[0]
    if dtype == TL_INT64:
        return (<const int64_t *>data)[0]
    if dtype == TL_INT32:
        return (<const int32_t *>data)[0]
    if dtype == TL_BOOL:
        return (<const uint8_t *>data)[0] != 0
    if dtype == TL_UINT8:
        return (<const uint8_t *>data)[0]
    if dtype == TL_INT8:
        return (<const int8_t *>data)[0]
    if dtype == TL_INT16:
        return (<const int16_t *>data)[0]
    if dtype == TL_UINT16:
        return (<const uint16_t *>data)[0]
    if dtype == TL_UINT32:
        return (<const uint32_t *>data)[0]
    if dtype == TL_UINT64:
        return (<const uint64_t *>data)[0]
    if dtype == TL_COMPLEX64:
        return complex((<const float *>data)[0], (<const float *>data)[1])
    if dtype == TL_COMPLEX128:
        return complex((<const double *>data)[0], (<const double *>data)[1])
    if dtype == TL_FLOAT16:
        return <double>tl_float16_to_float((<const tl_float16 *>data)[0])
    return <double>tl_bfloat16_to_float((<const tl_bfloat16 *>data)[0])


cdef int write_scalar(int dtype, void *data, object value) except -1:
    if dtype == TL_FLOAT32 and type(value) is float:
        (<float *>data)[0] = <float><double>value
        return 0
    try:
        if dtype == TL_FLOAT32:
            (<float *>data)[0] = <float><double>value
        elif dtype == TL_FLOAT64:
            (<double *>data)[0] = value
        elif dtype == TL_INT64:
            (<int64_t *>data)[0] = value
        elif dtype == TL_INT32:
            (<int32_t *>data)[0] = value
        elif dtype == TL_BOOL:
            (<uint8_t *>data)[0] = 1 if value else 0
        elif dtype == TL_UINT8:
            (<uint8_t *>data)[0] = value
        elif dtype == TL_INT8:
            (<int8_t *>data)[0] = value
        elif dtype == TL_INT16:
            (<int16_t *>data)[0] = value
        elif dtype == TL_UINT16:
            (<uint16_t *>data)[0] = value
        elif dtype == TL_UINT32:
            (<uint32_t *>data)[0] = value
        elif dtype == TL_UINT64:
            (<uint64_t *>data)[0] = value
        elif dtype == TL_COMPLEX64:
            (<float *>data)[0] = <float><double>value.real
            (<float *>data)[1] = <float><double>value.imag
        elif dtype == TL_COMPLEX128:
            (<double *>data)[0] = value.real
            (<double *>data)[1] = value.imag
        elif dtype == TL_FLOAT16:
            (<tl_float16 *>data)[0] = tl_float16_of_float(tl_double_to_odd(value))
        else:
            (<tl_bfloat16 *>data)[0] = tl_bfloat16_of_float(tl_double_to_odd(value))
    except AttributeError:
        raise TypeError(
            f"expected a number, got {type(value).__name__}"
        ) from None
    except OverflowError:
        raise OverflowError(
            f"the Python integer {value} is out of range for {dtype_of(dtype)}"
        ) from None
    return 0


cdef object nested_list(const tl_buffer *b, int axis, const char *data):
    cdef int64_t i
    cdef int64_t step
    if axis == b.ndim:
        return read_scalar(b.dtype, data)
    step = b.strides[axis] * dtype_sizes()[b.dtype]
    return [nested_list(b, axis + 1, data + i * step) for i in range(b.shape[axis])]
