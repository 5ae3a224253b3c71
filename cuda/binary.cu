// Binary elementwise kernels, keyed by the dtype of the operands.
#include "elementwise.cuh"
#include "narrow.cuh"

#include "tensorlib/scalar_elementary.h"
#include "tensorlib/scalar_ops.h"

namespace tl {
namespace {

TL_BINARY_OPS(TL_LIGHT_FORM)
TL_BITWISE_OPS(TL_LIGHT_FORM)
TL_COMPARE_OPS(TL_LIGHT_FORM)
TL_BINARY_FLOAT_OPS(TL_LIGHT_FORM)
TL_BINARY_MATH_OPS(TL_DEAR_FORM)
TL_DEAR_FORM(gelu_grad)
TL_ELEMENTARY_BINARY_OPS(TL_DEAR_FORM)

// Integers that may fail: the fault becomes an exception when the host next waits.
#define TL_CHECKED_FORM(name)                                                          \
    struct name##_form : Dear {                                                        \
        Fault fault;                                                                   \
        explicit name##_form(const tl_call *) : fault(tl::fault()) {}                  \
        template <typename T>                                                          \
        __device__ __forceinline__ T operator()(T x, T y) const {                      \
            const int status = op_##name##_status(y);                                  \
            if (status != TL_OK) fault.raise(static_cast<tl_status>(status));          \
            return op_##name(x, y);                                                    \
        }                                                                              \
    };
TL_CHECKED_OPS(TL_CHECKED_FORM)

// Floats: one division where that is exact, the long one elsewhere, to the same bits.
#define TL_MODULO_FORM(name)                                                           \
    struct name##_float_form : Dear {                                                  \
        template <typename T>                                                          \
        __device__ __forceinline__ T operator()(T x, T y) const {                      \
            return op_is_hard(x, y) ? op_##name(x, y) : op_##name##_moderate(x, y);    \
        }                                                                              \
    };
TL_MODULO_OPS(TL_MODULO_FORM)
struct pow_float_form : Dear {
    template <typename T> __device__ __forceinline__ T operator()(T x, T y) const {
        return op_pow(x, y);
    }
};

// The neighbours of a 16-bit float are not those of the float that it is computed in.
template <typename H> struct nextafter_half_form : Dear {
    explicit nextafter_half_form(const tl_call *) {}
    __device__ __forceinline__ float operator()(float x, float y) const {
        return next_half<H>(x, y);
    }
};

} // namespace

// A 16-bit second operand goes with a float32 first, as residuals in mixed precision
// do.
template <>
tl_status run_form<add_form, float, float, float, None>(const tl_call *call) {
    switch (call->in[1]->dtype) {
    case TL_FLOAT16:
        return run_form<add_form, float, float, tl_float16>(call);
    case TL_BFLOAT16:
        return run_form<add_form, float, float, tl_bfloat16>(call);
    default:
        return run_two<add_form, float, float, float, None>(call, 0);
    }
}

namespace {

// ---- the table: an output of the operands' type, or bool ----------------------------
#define TL_ROW(op, form, code, R, T) {op, code, run_form<form, R, T, T>, nullptr},
#define TL_SAME(op, form, code, T) TL_ROW(op, form, code, T, T)
#define TL_WIDE_FLOATS(op, form)                                                       \
    TL_SAME(op, form, TL_FLOAT32, float)                                               \
    TL_SAME(op, form, TL_FLOAT64, double)
#define TL_FLOATS(op, form)                                                            \
    TL_WIDE_FLOATS(op, form)                                                           \
    TL_SAME(op, form, TL_FLOAT16, tl_float16)                                          \
    TL_SAME(op, form, TL_BFLOAT16, tl_bfloat16)
#define TL_INTEGERS(op, form)                                                          \
    TL_SAME(op, form, TL_INT32, int32_t)                                               \
    TL_SAME(op, form, TL_INT64, int64_t)                                               \
    TL_SAME(op, form, TL_UINT8, uint8_t)                                               \
    TL_SAME(op, form, TL_UINT64, uint64_t)

#define TL_ARITHMETIC_ROWS(op) TL_INTEGERS(#op, op##_form) TL_FLOATS(#op, op##_form)
#define TL_FLOAT_ROWS(op) TL_FLOATS(#op, op##_form)
#define TL_CHECKED_ROWS(op) TL_INTEGERS(#op, op##_form)
// Large and rarely met in 16 bits: there the core widens the operands.
#define TL_WIDE_FLOAT_ROWS(op) TL_WIDE_FLOATS(#op, op##_form)
#define TL_MODULO_ROWS(op) TL_WIDE_FLOATS(#op, op##_float_form)
#define TL_BITWISE_ROWS(op) TL_INTEGERS(#op, op##_form)
// Two's complement shares kernels where the sign makes no difference.
#define TL_SIGNLESS_ROWS(op)                                                           \
    TL_SAME(#op, op##_form, TL_INT8, uint8_t)                                          \
    TL_SAME(#op, op##_form, TL_UINT32, int32_t)
#define TL_COMPARE_ROW(op, code, T) TL_ROW(#op, op##_form, code, bool, T)
#define TL_COMPARE_ROWS(op)                                                            \
    TL_COMPARE_ROW(op, TL_BOOL, uint8_t)                                               \
    TL_COMPARE_ROW(op, TL_INT32, int32_t)                                              \
    TL_COMPARE_ROW(op, TL_INT64, int64_t)                                              \
    TL_COMPARE_ROW(op, TL_UINT8, uint8_t)                                              \
    TL_COMPARE_ROW(op, TL_UINT64, uint64_t)                                            \
    TL_COMPARE_ROW(op, TL_FLOAT32, float)                                              \
    TL_COMPARE_ROW(op, TL_FLOAT64, double)                                             \
    TL_COMPARE_ROW(op, TL_FLOAT16, tl_float16)                                         \
    TL_COMPARE_ROW(op, TL_BFLOAT16, tl_bfloat16)
#define TL_COMPARE_SIGNLESS_ROWS(op)                                                   \
    TL_COMPARE_ROW(op, TL_INT8, uint8_t)                                               \
    TL_COMPARE_ROW(op, TL_UINT32, int32_t)

// clang-format off
const tl_cuda_entry entries[] = {
    TL_BINARY_OPS(TL_ARITHMETIC_ROWS)
    TL_SIGNLESS_ROWS(add)
    TL_SIGNLESS_ROWS(subtract)
    TL_SIGNLESS_ROWS(multiply)
    TL_SAME("maximum", maximum_form, TL_INT8, int8_t)
    TL_SAME("minimum", minimum_form, TL_INT8, int8_t)
    TL_CHECKED_OPS(TL_CHECKED_ROWS)
    TL_MODULO_OPS(TL_MODULO_ROWS)
    TL_FLOATS("pow", pow_float_form)
    TL_BITWISE_OPS(TL_BITWISE_ROWS)
    TL_SIGNLESS_ROWS(bitwise_and)
    TL_SIGNLESS_ROWS(bitwise_or)
    TL_SIGNLESS_ROWS(bitwise_xor)
    TL_COMPARE_OPS(TL_COMPARE_ROWS)
    TL_COMPARE_SIGNLESS_ROWS(equal)
    TL_COMPARE_SIGNLESS_ROWS(not_equal)
    TL_BINARY_FLOAT_OPS(TL_FLOAT_ROWS)
    TL_BINARY_MATH_OPS(TL_FLOAT_ROWS)
    TL_WIDE_FLOAT_ROWS(gelu_grad)
    TL_SAME("gelu_grad", narrow_gelu_grad_form, TL_FLOAT16, tl_float16)
    TL_SAME("gelu_grad", narrow_gelu_grad_form, TL_BFLOAT16, tl_bfloat16)
    TL_ELEMENTARY_BINARY_OPS(TL_WIDE_FLOAT_ROWS)
    TL_SAME("nextafter", nextafter_half_form<tl_float16>, TL_FLOAT16, tl_float16)
    TL_SAME("nextafter", nextafter_half_form<tl_bfloat16>, TL_BFLOAT16, tl_bfloat16)
    // bool is the bytes 0 and 1.
    TL_SAME("add", bitwise_or_form, TL_BOOL, uint8_t)
    TL_SAME("multiply", bitwise_and_form, TL_BOOL, uint8_t)
    TL_SAME("maximum", bitwise_or_form, TL_BOOL, uint8_t)
    TL_SAME("minimum", bitwise_and_form, TL_BOOL, uint8_t)
    TL_SAME("bitwise_and", bitwise_and_form, TL_BOOL, uint8_t)
    TL_SAME("bitwise_or", bitwise_or_form, TL_BOOL, uint8_t)
    TL_SAME("bitwise_xor", bitwise_xor_form, TL_BOOL, uint8_t)
};
// clang-format on

} // namespace
} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_binary_entries(int *count) {
    *count = static_cast<int>(sizeof tl::entries / sizeof *tl::entries);
    return tl::entries;
}
