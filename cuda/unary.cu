// Unary elementwise kernels, keyed by the dtype of the operand.
#include "elementwise.cuh"
#include "narrow.cuh"

#include "tensorlib/scalar_elementary.h"
#include "tensorlib/scalar_ops.h"

namespace tl {
namespace {

TL_UNARY_FLOAT_OPS(TL_LIGHT_FORM)
TL_UNARY_MATH_OPS(TL_DEAR_FORM)
TL_SPLIT_OPS(TL_DEAR_FORM)
TL_DEAR_FORM(gelu)
TL_ELEMENTARY_OPS(TL_DEAR_FORM)
TL_ELEMENTARY_SPLIT_OPS(TL_DEAR_FORM)
TL_UNARY_OPS(TL_LIGHT_FORM)
TL_FLOAT_TEST_OPS(TL_LIGHT_FORM)
TL_LIGHT_FORM(logical_not)
TL_LIGHT_FORM(bitwise_invert)

// ---- the table: an output of the operand's type, or bool ----------------------------
#define TL_ROW(op, form, code, R, T) {op, code, run_form<form, R, T>, nullptr},
#define TL_SAME(op, code, T) TL_ROW(#op, op##_form, code, T, T)
#define TL_FLOAT_ROWS(op)                                                              \
    TL_SAME(op, TL_FLOAT32, float)                                                     \
    TL_SAME(op, TL_FLOAT64, double)                                                    \
    TL_SAME(op, TL_FLOAT16, tl_float16)                                                \
    TL_SAME(op, TL_BFLOAT16, tl_bfloat16)
#define TL_INTEGER_ROWS(op)                                                            \
    TL_SAME(op, TL_INT32, int32_t)                                                     \
    TL_SAME(op, TL_INT64, int64_t)                                                     \
    TL_SAME(op, TL_UINT8, uint8_t)                                                     \
    TL_SAME(op, TL_UINT64, uint64_t)
#define TL_ARITHMETIC_ROWS(op) TL_INTEGER_ROWS(op) TL_FLOAT_ROWS(op)
// Two's complement shares kernels where the sign makes no difference.
#define TL_SIGNLESS_ROWS(op)                                                           \
    TL_SAME(op, TL_INT8, uint8_t)                                                      \
    TL_SAME(op, TL_UINT32, int32_t)
#define TL_TEST_ROW(op, code, T) TL_ROW(#op, op##_form, code, bool, T)
#define TL_FLOAT_TEST_ROWS(op)                                                         \
    TL_TEST_ROW(op, TL_FLOAT32, float)                                                 \
    TL_TEST_ROW(op, TL_FLOAT64, double)                                                \
    TL_TEST_ROW(op, TL_FLOAT16, tl_float16)                                            \
    TL_TEST_ROW(op, TL_BFLOAT16, tl_bfloat16)

// clang-format off
const tl_cuda_entry entries[] = {
    TL_UNARY_FLOAT_OPS(TL_FLOAT_ROWS)
    TL_UNARY_MATH_OPS(TL_FLOAT_ROWS)
    TL_SPLIT_OPS(TL_FLOAT_ROWS)
    TL_SAME(gelu, TL_FLOAT32, float)
    TL_SAME(gelu, TL_FLOAT64, double)
    TL_ROW("gelu", narrow_gelu_form, TL_FLOAT16, tl_float16, tl_float16)
    TL_ROW("gelu", narrow_gelu_form, TL_BFLOAT16, tl_bfloat16, tl_bfloat16)
    TL_ELEMENTARY_OPS(TL_FLOAT_ROWS)
    TL_ELEMENTARY_SPLIT_OPS(TL_FLOAT_ROWS)
    TL_UNARY_OPS(TL_ARITHMETIC_ROWS)
    TL_SIGNLESS_ROWS(negative)
    TL_SIGNLESS_ROWS(square)
    TL_SAME(abs, TL_INT8, int8_t)
    TL_SAME(sign, TL_INT8, int8_t)
    TL_SAME(relu, TL_INT8, int8_t)
    TL_FLOAT_TEST_OPS(TL_FLOAT_TEST_ROWS)
    TL_FLOAT_TEST_ROWS(logical_not)
    TL_TEST_ROW(logical_not, TL_BOOL, uint8_t)
    TL_TEST_ROW(logical_not, TL_INT8, uint8_t)
    TL_TEST_ROW(logical_not, TL_INT32, int32_t)
    TL_TEST_ROW(logical_not, TL_INT64, int64_t)
    TL_TEST_ROW(logical_not, TL_UINT8, uint8_t)
    TL_TEST_ROW(logical_not, TL_UINT32, int32_t)
    TL_TEST_ROW(logical_not, TL_UINT64, int64_t)
    TL_ROW("bitwise_invert", logical_not_form, TL_BOOL, bool, uint8_t)
    TL_INTEGER_ROWS(bitwise_invert)
    TL_SIGNLESS_ROWS(bitwise_invert)
};
// clang-format on

} // namespace
} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_unary_entries(int *count) {
    *count = static_cast<int>(sizeof tl::entries / sizeof *tl::entries);
    return tl::entries;
}
