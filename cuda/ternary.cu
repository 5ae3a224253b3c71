// where and clip, keyed by the dtype of the values.
#include "elementwise.cuh"

#include "tensorlib/scalar_ops.h"

namespace tl {
namespace {

struct Where : Light { // moves bits, so that it knows sizes and not dtypes
    template <typename T>
    __device__ __forceinline__ T operator()(uint8_t condition, T x, T y) const {
        return op_where(condition, x, y);
    }
};
TL_LIGHT_FORM(clip)

#define TL_WHERE(code, T) {"where", code, run_form<Where, T, uint8_t, T, T>, nullptr},
#define TL_CLIP(code, T) {"clip", code, run_form<clip_form, T, T, T, T>, nullptr},

// clang-format off
const tl_cuda_entry entries[] = {
    TL_WHERE(TL_BOOL, uint8_t)
    TL_WHERE(TL_INT8, uint8_t)
    TL_WHERE(TL_UINT8, uint8_t)
    TL_WHERE(TL_INT16, uint16_t)
    TL_WHERE(TL_UINT16, uint16_t)
    TL_WHERE(TL_FLOAT16, uint16_t)
    TL_WHERE(TL_BFLOAT16, uint16_t)
    TL_WHERE(TL_INT32, uint32_t)
    TL_WHERE(TL_UINT32, uint32_t)
    TL_WHERE(TL_FLOAT32, uint32_t)
    TL_WHERE(TL_INT64, uint64_t)
    TL_WHERE(TL_UINT64, uint64_t)
    TL_WHERE(TL_FLOAT64, uint64_t)
    TL_CLIP(TL_INT32, int32_t)
    TL_CLIP(TL_INT64, int64_t)
    TL_CLIP(TL_UINT8, uint8_t)
    TL_CLIP(TL_UINT64, uint64_t)
    TL_CLIP(TL_FLOAT32, float)
    TL_CLIP(TL_FLOAT64, double)
    TL_CLIP(TL_FLOAT16, tl_float16)
    TL_CLIP(TL_BFLOAT16, tl_bfloat16)
};
// clang-format on

} // namespace
} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_ternary_entries(int *count) {
    *count = static_cast<int>(sizeof tl::entries / sizeof *tl::entries);
    return tl::entries;
}
