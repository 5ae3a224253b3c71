#include "cube_kernel.h"

tl_status cube_float64(const tl_call *call) {
    const tl_buffer *out = call->out[0];
    const tl_buffer *in = call->in[0];
    int64_t index[TL_MAX_NDIM] = {0};
    for (int64_t i = 0; i < out->size; ++i) {
        int64_t to = 0, from = 0;
        for (int d = 0; d < out->ndim; ++d) {
            to += index[d] * out->strides[d];
            from += index[d] * in->strides[d];
        }
        const double x = ((const double *)in->data)[from];
        ((double *)out->data)[to] = x * x * x;
        for (int d = out->ndim - 1; d >= 0 && ++index[d] == out->shape[d]; --d)
            index[d] = 0;
    }
    return TL_OK;
}
