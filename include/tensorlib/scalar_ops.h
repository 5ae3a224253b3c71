/* Every scalar formula of tensorlib, once: op_<name>, the name of the kernel.
 *
 * CPU loops and CUDA kernels are generated around these; the X-lists at the end name
 * the ops by signature and are what kernels/render.py reads. bool tensors hold the
 * bytes 0 and 1 and use the uint8_t formulas: add is bitwise_or, multiply is
 * bitwise_and, maximum and minimum likewise, bitwise_invert is logical_not.
 */
#ifndef TENSORLIB_SCALAR_OPS_H
#define TENSORLIB_SCALAR_OPS_H

#include <type_traits>

#include "tensorlib/buffer.h"
#include "tensorlib/scalar_special.h"
#include "tensorlib/scalar_trig.h"

namespace tl {

/* The type in which T's arithmetic wraps instead of being undefined. */
template <class T, bool = std::is_integral<T>::value> struct wrapping {
    using type = T;
};
template <class T> struct wrapping<T, true> {
    using type = std::make_unsigned_t<T>;
};
template <class T> using wrapping_t = typename wrapping<T>::type;
template <class T> constexpr bool is_float = std::is_floating_point<T>::value;

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
template <class T> TL_HD inline T op_sin_moderate(T x) { return sin_moderate(x); }
template <class T> TL_HD inline T op_cos_moderate(T x) { return cos_moderate(x); }
template <class T> TL_HD inline T op_tan_moderate(T x) { return tan_moderate(x); }
template <class T> TL_HD inline int op_is_huge(T x) { return trig_is_huge(x); }
template <class T> TL_HD inline T op_tanh(T x) { return tl::tanh(x); }
template <class T> TL_HD inline T op_sigmoid(T x) { return sigmoid(x); }
template <class T> TL_HD inline T op_erf(T x) { return tl::erf(x); }
template <class T> TL_HD inline T op_floor(T x) { return std::floor(x); }
template <class T> TL_HD inline T op_ceil(T x) { return std::ceil(x); }
template <class T> TL_HD inline T op_round(T x) { return std::nearbyint(x); }
/* The clamps keep -inf * 0 from becoming NaN: the limit is -0. */
template <class T> TL_HD inline T op_gelu(T x) {
    return at_least(x, T(-40)) * normal_cdf(x);
}
template <class T> TL_HD inline T op_silu(T x) {
    return at_least(x, T(-1000)) * sigmoid(x);
}
/* x (1 + tanh u) / 2 = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3). */
template <class T> TL_HD inline T op_gelu_tanh(T x) {
    T t = at_least(x, T(-1000));
    return t * sigmoid(T(1.59576912160573071) * (t + T(0.044715) * (t * t * t)));
}
template <class T> TL_HD inline T op_softplus(T x) {
    return at_least(x, T(0)) + tl::log1p(tl::exp(-absolute(x)));
}

/* ---- unary, all arithmetic dtypes --------------------------------------------- */
template <class T> TL_HD inline T op_negative(T x) {
    if constexpr (is_float<T>) return -x;
    else return static_cast<T>(0u - static_cast<wrapping_t<T>>(x));
}
template <class T> TL_HD inline T op_abs(T x) {
    if constexpr (is_float<T>) return absolute(x);
    else return x < T(0) ? op_negative(x) : x;
}
template <class T> TL_HD inline T op_sign(T x) {
    if constexpr (is_float<T>) return x != x ? x : T((x > T(0)) - (x < T(0)));
    else return static_cast<T>((x > T(0)) - (x < T(0)));
}
template <class T> TL_HD inline T op_relu(T x) { return at_least(x, T(0)); }

template <class T> TL_HD inline bool op_isnan(T x) { return x != x; }
template <class T> TL_HD inline bool op_isinf(T x) { return absolute(x) == limits<T>::inf; }
template <class T> TL_HD inline bool op_isfinite(T x) { return absolute(x) < limits<T>::inf; }
template <class T> TL_HD inline bool op_logical_not(T x) { return x == T(0); }
template <class T> TL_HD inline T op_bitwise_invert(T x) { return static_cast<T>(~x); }

/* ---- binary arithmetic; integers wrap, NaN propagates -------------------------- */
template <class T> TL_HD inline T op_add(T a, T b) {
    using W = wrapping_t<T>;
    return static_cast<T>(static_cast<W>(a) + static_cast<W>(b));
}
template <class T> TL_HD inline T op_subtract(T a, T b) {
    using W = wrapping_t<T>;
    return static_cast<T>(static_cast<W>(a) - static_cast<W>(b));
}
template <class T> TL_HD inline T op_multiply(T a, T b) {
    using W = wrapping_t<T>;
    return static_cast<T>(static_cast<W>(a) * static_cast<W>(b));
}
template <class T> TL_HD inline T op_square(T x) { return op_multiply(x, x); }
template <class T> TL_HD inline T op_divide(T a, T b) { return a / b; }
template <class T> TL_HD inline T op_maximum(T a, T b) {
    return (a > b) | (a != a) ? a : b;
}
template <class T> TL_HD inline T op_minimum(T a, T b) {
    return (a < b) | (a != a) ? a : b;
}

/* Checked ops: op_<name>_status tells from b whether the op fails; it never traps. */
template <class T> TL_HD inline int op_floor_divide_status(T b) {
    return !is_float<T> && b == T(0) ? TL_DIVISION_BY_ZERO : TL_OK;
}
template <class T> TL_HD inline int op_remainder_status(T b) {
    return op_floor_divide_status(b);
}
template <class T> TL_HD inline int op_pow_status(T b) {
    return !is_float<T> && b < T(0) ? TL_NEGATIVE_EXPONENT : TL_OK;
}

/* fmod by one division: exact while the quotient is below 2^28 (float, in double) or
 * 2^52 (double, fused multiply-add). Loops give hard operands to std::fmod; both
 * results are exact, so they agree bit for bit. */
TL_HD inline bool fmod_is_hard(float a, float b) {
    return !(absolute(a) < 268435456.0f * absolute(b));
}
TL_HD inline float fmod_moderate(float a, float b) {
    double x = a, y = b, quotient = __builtin_trunc(x / y);
    float mod = static_cast<float>(x - quotient * y);
    return with_sign(blend(absolute(a) < absolute(b), a, mod), a);
}
TL_HD inline bool fmod_is_hard(double a, double b) {
#if defined(__FMA__) || defined(__CUDACC__) || defined(__aarch64__)
    return !(absolute(a) < 4503599627370496.0 * absolute(b));
#else
    return true;
#endif
}
TL_HD inline double fmod_moderate(double a, double b) {
    double x = absolute(a), y = absolute(b);
    double mod = __builtin_fma(-__builtin_trunc(x / y), y, x);
    mod = blend(mod < 0.0, mod + y, mod); /* the quotient was rounded up */
    return with_sign(blend(x < y, x, mod), a);
}

/* Remainder with the sign of the divisor, as Python and NumPy define it. */
template <class T> TL_HD inline T remainder_of(T mod, T b) {
    T moved = blend((b < T(0)) != (mod < T(0)), mod + b, mod);
    return blend(mod == T(0), with_sign(T(0), b), moved);
}
/* floor(a / b) from the exact remainder, as NumPy's npy_divmod. */
template <class T> TL_HD inline T floor_divide_of(T a, T b, T mod) {
    T quotient = (a - mod) / b;
    bool lower = (mod != T(0)) & ((b < T(0)) != (mod < T(0)));
    quotient -= lower ? T(1) : T(0);
    T whole = std::floor(quotient);
    whole += quotient - whole > T(0.5) ? T(1) : T(0);
    T result = blend(quotient == T(0), with_sign(T(0), a / b), whole);
    return blend(b == T(0), a / b, result);
}
template <class T> TL_HD inline int op_is_hard(T a, T b) { return fmod_is_hard(a, b); }
template <class T> TL_HD inline T op_remainder_moderate(T a, T b) {
    return remainder_of(fmod_moderate(a, b), b);
}
template <class T> TL_HD inline T op_floor_divide_moderate(T a, T b) {
    return floor_divide_of(a, b, fmod_moderate(a, b));
}
template <class T> TL_HD inline T op_remainder(T a, T b) {
    if constexpr (is_float<T>) {
        return remainder_of(std::fmod(a, b), b);
    } else {
        bool minus_one = std::is_signed<T>::value && b == static_cast<T>(-1);
        T divisor = b == T(0) || minus_one ? T(1) : b;
        T mod = static_cast<T>(a % divisor);
        return mod != T(0) && (mod < T(0)) != (b < T(0)) ? static_cast<T>(mod + b) : mod;
    }
}
template <class T> TL_HD inline T op_floor_divide(T a, T b) {
    if constexpr (is_float<T>) {
        return floor_divide_of(a, b, std::fmod(a, b));
    } else {
        if (std::is_signed<T>::value && b == static_cast<T>(-1)) return op_negative(a);
        T divisor = b == T(0) ? T(1) : b;
        T quotient = static_cast<T>(a / divisor);
        bool inexact = static_cast<T>(quotient * divisor) != a;
        return inexact && (a < T(0)) != (b < T(0)) ? static_cast<T>(quotient - 1) : quotient;
    }
}
/* Integers by repeated squaring; a negative exponent gives 1 and a failure. */
template <class T> TL_HD inline T op_pow(T a, T b) {
    if constexpr (is_float<T>) {
        return tl::pow(a, b);
    } else {
        wrapping_t<T> base = static_cast<wrapping_t<T>>(a), result = 1;
        for (T e = b > T(0) ? b : T(0); e != T(0); e = static_cast<T>(e >> 1)) {
            if (e & 1) result = static_cast<wrapping_t<T>>(result * base);
            base = static_cast<wrapping_t<T>>(base * base);
        }
        return static_cast<T>(result);
    }
}

/* ---- bits; a shift by the width or more gives 0 (or -1), as in NumPy ------------ */
template <class T> TL_HD inline T op_bitwise_and(T a, T b) { return a & b; }
template <class T> TL_HD inline T op_bitwise_or(T a, T b) { return a | b; }
template <class T> TL_HD inline T op_bitwise_xor(T a, T b) { return a ^ b; }
template <class T> TL_HD inline T op_bitwise_left_shift(T a, T b) {
    using W = wrapping_t<T>;
    constexpr W width = 8 * sizeof(T), last = width - 1;
    W count = static_cast<W>(b);
    T shifted = static_cast<T>(static_cast<W>(a) << (count & last));
    return count < width ? shifted : T(0);
}
template <class T> TL_HD inline T op_bitwise_right_shift(T a, T b) {
    using W = wrapping_t<T>;
    constexpr W last = 8 * sizeof(T) - 1;
    W count = static_cast<W>(b);
    if constexpr (std::is_signed<T>::value) {
        return a >> (count < last ? count : last);
    } else {
        T shifted = static_cast<T>(a >> (count & last));
        return count <= last ? shifted : T(0);
    }
}

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

/* ---- gradients: g is the cotangent, y the op's result, x its argument ---------- */
template <class T> TL_HD inline T op_relu_grad(T g, T y) { return y > T(0) ? g : T(0); }
template <class T> TL_HD inline T op_tanh_grad(T g, T y) { return g * (T(1) - y * y); }
template <class T> TL_HD inline T op_sigmoid_grad(T g, T y) {
    return g * (y * (T(1) - y));
}
template <class T> TL_HD inline T op_gelu_grad(T g, T x) {
    T t = at_least(at_most(x, T(40)), T(-40));
    return g * (normal_cdf(t) + t * normal_pdf(t));
}
template <class T> TL_HD inline T op_silu_grad(T g, T x) {
    T t = at_least(at_most(x, T(1000)), T(-1000)), s = sigmoid(t);
    return g * (s + t * (s * (T(1) - s)));
}
template <class T> TL_HD inline T op_gelu_tanh_grad(T g, T x) {
    T t = at_least(at_most(x, T(1000)), T(-1000)), z = t * t;
    T s = sigmoid(T(1.59576912160573071) * (t + T(0.044715) * (z * t)));
    T slope = T(1.59576912160573071) * (T(1) + T(0.134145) * z);
    return g * (s + t * slope * (s * (T(1) - s)));
}

/* ---- ternary ------------------------------------------------------------------- */
template <class T> TL_HD inline T op_where(uint8_t c, T a, T b) { return c ? a : b; }
template <class T> TL_HD inline T op_clip(T x, T low, T high) {
    return op_minimum(op_maximum(x, low), high);
}

/* ---- conversion ---------------------------------------------------------------- */
/* Out-of-range and NaN become the most negative integer, as x86 converts; uint8 goes
 * through int32 and wraps. To bool: x != 0. */
template <class D, class S> TL_HD inline D op_cast(S x) {
    if constexpr (std::is_same<D, bool>::value) {
        return x != S(0);
    } else if constexpr (is_float<S> && !is_float<D>) {
        using I = std::conditional_t<sizeof(D) < 4, int32_t, D>;
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
    X(sqrt) X(rsqrt) X(reciprocal) X(floor) X(ceil) X(round)
#define TL_UNARY_MATH_OPS(X) \
    X(exp) X(expm1) X(log) X(log1p) X(tanh) X(sigmoid) X(erf) X(gelu) X(gelu_tanh) \
    X(silu) X(softplus)
#define TL_TRIG_OPS(X) X(sin) X(cos) X(tan)
#define TL_UNARY_OPS(X) X(negative) X(abs) X(sign) X(square) X(relu)
#define TL_FLOAT_TEST_OPS(X) X(isnan) X(isinf) X(isfinite)
#define TL_BINARY_OPS(X) X(add) X(subtract) X(multiply) X(maximum) X(minimum)
#define TL_CHECKED_OPS(X) X(floor_divide) X(remainder) X(pow)
#define TL_MODULO_OPS(X) X(floor_divide) X(remainder)
#define TL_BITWISE_OPS(X) \
    X(bitwise_and) X(bitwise_or) X(bitwise_xor) X(bitwise_left_shift) \
    X(bitwise_right_shift)
#define TL_COMPARE_OPS(X) \
    X(equal) X(not_equal) X(less) X(less_equal) X(greater) X(greater_equal) \
    X(logical_and) X(logical_or) X(logical_xor)
#define TL_BINARY_FLOAT_OPS(X) X(divide) X(relu_grad) X(tanh_grad) X(sigmoid_grad)
#define TL_BINARY_MATH_OPS(X) X(gelu_grad) X(silu_grad) X(gelu_tanh_grad)

#endif /* TENSORLIB_SCALAR_OPS_H */
