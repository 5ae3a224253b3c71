/* Every scalar formula of tensorlib, once: op_<name>, the name of the kernel; those of
 * arithmetic and of activations are in headers of their own.
 *
 * CPU loops and CUDA kernels are generated around these; the X-lists at the end name
 * the ops by signature and are what kernels/render.py reads. bool tensors hold the
 * bytes 0 and 1 and use the uint8_t formulas: add is bitwise_or, multiply is
 * bitwise_and, maximum and minimum likewise, bitwise_invert is logical_not.
 */
#ifndef TENSORLIB_SCALAR_OPS_H
#define TENSORLIB_SCALAR_OPS_H

#include <type_traits>

#include "tensorlib/half.h"
#include "tensorlib/scalar_activation.h"
#include "tensorlib/scalar_arithmetic.h"
#include "tensorlib/scalar_trig.h"

namespace tl {

/* ---- unary, floating ---------------------------------------------------------- */
template <class T> TL_HD inline T op_sqrt(T x) { return std::sqrt(x); }
template <class T> TL_HD inline T op_rsqrt(T x) { return T(1) / std::sqrt(x); }
template <class T> TL_HD inline T op_reciprocal(T x) { return T(1) / x; }
template <class T> TL_HD inline T op_exp(T x) { return tl::exp(x); }
template <class T> TL_HD inline T op_expm1(T x) { return tl::expm1(x); }
template <class T> TL_HD inline T op_log(T x) { return tl::log(x); }
template <class T> TL_HD inline T op_log1p(T x) { return tl::log1p(x); }
template <class T> TL_HD inline T op_sin(T x) { return tl::sin(x); }
template <class T> TL_HD inline T op_cos(T x) { return tl::cos(x); }
template <class T> TL_HD inline T op_tan(T x) { return tl::tan(x); }
/* Cheaper forms, to the same bits, for arguments that are not hard. */
template <class T> TL_HD inline T op_exp_moderate(T x) { return exp_moderate(x); }
template <class T> TL_HD inline T op_log_moderate(T x) { return log_moderate(x); }
template <class T> TL_HD inline T op_sin_moderate(T x) { return sin_moderate(x); }
template <class T> TL_HD inline T op_cos_moderate(T x) { return cos_moderate(x); }
template <class T> TL_HD inline T op_tan_moderate(T x) { return tan_moderate(x); }
template <class T> TL_HD inline int op_exp_is_hard(T x) { return exp_is_hard(x); }
template <class T> TL_HD inline int op_log_is_hard(T x) { return log_is_hard(x); }
template <class T> TL_HD inline int op_sin_is_hard(T x) { return trig_is_huge(x); }
template <class T> TL_HD inline int op_cos_is_hard(T x) { return trig_is_huge(x); }
template <class T> TL_HD inline int op_tan_is_hard(T x) { return trig_is_huge(x); }
template <class T> TL_HD inline T op_tanh(T x) { return tl::tanh(x); }
template <class T> TL_HD inline T op_tanh_grad(T g, T y) { return g * (T(1) - y * y); }
template <class T> TL_HD inline T op_erf(T x) { return tl::erf(x); }
template <class T> TL_HD inline T op_floor(T x) { return std::floor(x); }
template <class T> TL_HD inline T op_ceil(T x) { return std::ceil(x); }
template <class T> TL_HD inline T op_round(T x) { return std::nearbyint(x); }
/* ---- tests of floats ------------------------------------------------------------ */
template <class T> TL_HD inline bool op_isnan(T x) { return x != x; }
template <class T> TL_HD inline bool op_isinf(T x) { return absolute(x) == limits<T>::inf; }
template <class T> TL_HD inline bool op_isfinite(T x) { return absolute(x) < limits<T>::inf; }
template <class T> TL_HD inline bool op_signbit(T x) {
    return to_bits(x) >> (8 * sizeof(T) - 1);
}
template <class T> TL_HD inline bool op_logical_not(T x) { return x == T(0); }
template <class T> TL_HD inline T op_bitwise_invert(T x) { return static_cast<T>(~x); }

/* ---- comparison and logic ------------------------------------------------------ */
template <class T> TL_HD inline bool op_equal(T a, T b) { return a == b; }
template <class T> TL_HD inline bool op_not_equal(T a, T b) { return a != b; }
template <class T> TL_HD inline bool op_less(T a, T b) { return a < b; }
template <class T> TL_HD inline bool op_less_equal(T a, T b) { return a <= b; }
template <class T> TL_HD inline bool op_greater(T a, T b) { return a > b; }
template <class T> TL_HD inline bool op_greater_equal(T a, T b) { return a >= b; }
template <class T> TL_HD inline bool op_logical_and(T a, T b) {
    return (a != T(0)) & (b != T(0));
}
template <class T> TL_HD inline bool op_logical_or(T a, T b) {
    return (a != T(0)) | (b != T(0));
}
template <class T> TL_HD inline bool op_logical_xor(T a, T b) {
    return (a != T(0)) ^ (b != T(0));
}

/* ---- ternary ------------------------------------------------------------------- */
template <class T> TL_HD inline T op_where(uint8_t c, T a, T b) { return c ? a : b; }
template <class T> TL_HD inline T op_clip(T x, T low, T high) {
    return op_minimum(op_maximum(x, low), high);
}

/* ---- conversion ---------------------------------------------------------------- */
TL_HD inline float to_float(tl_float16 x) { return tl_float16_to_float(x); }
TL_HD inline float to_float(tl_bfloat16 x) { return tl_bfloat16_to_float(x); }
template <class T>
constexpr bool is_half = std::is_same<T, tl_float16>::value || std::is_same<T, tl_bfloat16>::value;

/* x as a float that rounds to 16 bits as x itself would. */
template <class S> TL_HD inline float before_half(S x) {
    if constexpr (sizeof(S) == 8 && !is_float<S>) {
        /* Bits that float64 could lose leave a trace in one that it keeps. */
        using U = std::make_unsigned_t<S>;
        U low = static_cast<U>(x) & 0x7ffu, high = static_cast<U>(x) & ~U(0x7ff);
        bool wide = std::is_signed<S>::value
                        ? x >= S(INT64_C(1) << 53) || x <= static_cast<S>(-(INT64_C(1) << 53))
                        : x >= S(INT64_C(1) << 53);
        S kept = wide ? static_cast<S>(high | (low != 0 ? U(0x800) : U(0))) : x;
        return tl_double_to_odd(static_cast<double>(kept));
    } else if constexpr (sizeof(S) == 8 || (sizeof(S) == 4 && !is_float<S>)) {
        return tl_double_to_odd(static_cast<double>(x));
    } else {
        return static_cast<float>(x);
    }
}

/* Floats beyond int64, and NaN, become 2^63. */
template <class S> TL_HD inline uint64_t to_uint64(S x) {
    constexpr S half = S(9223372036854775808.0);
    bool large = x >= half, fits = (x >= -half) & (x < half * S(2));
    int64_t low = static_cast<int64_t>(fits ? (large ? x - half : x) : S(0));
    constexpr uint64_t top = UINT64_C(1) << 63;
    return fits ? static_cast<uint64_t>(low) + (large ? top : 0) : top;
}

/* Out-of-range and NaN become the most negative integer, as x86 converts; the narrow
 * types go through int32, uint32 through int64, and wrap. To bool: x != 0. */
template <class D, class S> TL_HD inline D op_cast(S x) {
    if constexpr (std::is_same<D, S>::value) {
        return x;
    } else if constexpr (is_half<S>) {
        return op_cast<D>(to_float(x));
    } else if constexpr (std::is_same<D, tl_float16>::value) {
        return tl_float16_of_float(before_half(x));
    } else if constexpr (std::is_same<D, tl_bfloat16>::value) {
        return tl_bfloat16_of_float(before_half(x));
    } else if constexpr (std::is_same<D, bool>::value) {
        return x != S(0);
    } else if constexpr (is_float<S> && std::is_same<D, uint64_t>::value) {
        return to_uint64(x);
    } else if constexpr (is_float<S> && !is_float<D>) {
        using I = std::conditional_t<
            sizeof(D) < 4, int32_t,
            std::conditional_t<std::is_unsigned<D>::value, int64_t, D>>;
        constexpr S bound = sizeof(I) == 8 ? S(9223372036854775808.0) : S(2147483648.0);
        /* In float64 the values in (-2^31 - 1, -2^31) truncate into range. */
        constexpr S low = sizeof(S) > sizeof(I) ? -bound - S(1) : -bound;
        bool fits = (x < bound) & (sizeof(S) > sizeof(I) ? x > low : x >= low);
        I whole = static_cast<I>(fits ? x : S(0));
        constexpr I lowest = static_cast<I>(I(1) << (8 * sizeof(I) - 2)) * -2;
        return static_cast<D>(fits ? whole : lowest);
    } else {
        return static_cast<D>(x);
    }
}

} // namespace tl

/* ---- X-lists -------------------------------------------------------------------- */
#define TL_UNARY_FLOAT_OPS(X) \
    X(sqrt) X(rsqrt) X(reciprocal) X(floor) X(ceil) X(round) X(softsign) X(hardsigmoid) \
    X(hardswish)
#define TL_UNARY_MATH_OPS(X) \
    X(expm1) X(log1p) X(tanh) X(erf) X(gelu_tanh) \
    X(softplus) X(log_sigmoid) X(tanhshrink) X(mish)
/* Those of the two lists above that go through rows (unary_rows.h), as split ones do. */
#define TL_ROW_OPS(X) X(sqrt) X(expm1) X(log1p) X(tanh)
#define TL_SPLIT_OPS(X) X(exp) X(log) X(sin) X(cos) X(tan) X(sigmoid) X(silu)
#define TL_UNARY_OPS(X) X(negative) X(abs) X(sign) X(square) X(relu)
#define TL_FLOAT_TEST_OPS(X) X(isnan) X(isinf) X(isfinite) X(signbit)
#define TL_BINARY_OPS(X) X(add) X(subtract) X(multiply) X(maximum) X(minimum)
#define TL_CHECKED_OPS(X) X(floor_divide) X(remainder) X(pow)
#define TL_MODULO_OPS(X) X(floor_divide) X(remainder)
#define TL_BITWISE_OPS(X) \
    X(bitwise_and) X(bitwise_or) X(bitwise_xor) X(bitwise_left_shift) \
    X(bitwise_right_shift)
#define TL_COMPARE_OPS(X) \
    X(equal) X(not_equal) X(less) X(less_equal) X(greater) X(greater_equal) \
    X(logical_and) X(logical_or) X(logical_xor)
#define TL_BINARY_FLOAT_OPS(X) \
    X(divide) X(relu_grad) X(tanh_grad) X(sigmoid_grad) X(softsign_grad) \
    X(hardsigmoid_grad) X(hardswish_grad) X(prelu)
#define TL_BINARY_MATH_OPS(X) X(silu_grad) X(gelu_tanh_grad) X(mish_grad)
/* Cheap ones, which have loops of 16-bit floats of their own (half_loops.h). */
#define TL_HALF_UNARY_OPS(X) X(negative) X(abs) X(relu)
#define TL_HALF_BINARY_OPS(X) \
    X(add) X(subtract) X(multiply) X(divide) X(maximum) X(minimum) X(relu_grad)
/* With activation_numbers; the second list has a cotangent first. */
#define TL_ACTIVATION_OPS(X) \
    X(leaky_relu) X(elu) X(hardtanh) X(threshold) X(hardshrink) X(softshrink)
#define TL_ACTIVATION_GRAD_OPS(X) \
    X(leaky_relu_grad) X(elu_grad) X(hardtanh_grad) X(threshold_grad) X(shrink_grad)

#endif /* TENSORLIB_SCALAR_OPS_H */
