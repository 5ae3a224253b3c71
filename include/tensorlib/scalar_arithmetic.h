/* Arithmetic of every dtype: signs, sums, quotients, powers and bits; see scalar_ops.h. */
#ifndef TENSORLIB_SCALAR_ARITHMETIC_H
#define TENSORLIB_SCALAR_ARITHMETIC_H

#include <type_traits>

#include "tensorlib/buffer.h"
#include "tensorlib/scalar_special.h"

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
/* x < 0, without nvcc's warning where there is no such x. */
template <class T> TL_HD inline bool is_negative(T x) {
    if constexpr (std::is_unsigned<T>::value) return false;
    else return x < T(0);
}

/* ---- unary, all arithmetic dtypes --------------------------------------------- */
template <class T> TL_HD inline T op_negative(T x) {
    if constexpr (is_float<T>) return -x;
    else return static_cast<T>(0u - static_cast<wrapping_t<T>>(x));
}
template <class T> TL_HD inline T op_abs(T x) {
    if constexpr (is_float<T>) return absolute(x);
    else if constexpr (std::is_unsigned<T>::value) return x;
    else return x < T(0) ? op_negative(x) : x;
}
template <class T> TL_HD inline T op_sign(T x) {
    if constexpr (is_float<T>) return x != x ? x : T((x > T(0)) - (x < T(0)));
    else if constexpr (std::is_unsigned<T>::value) return x != T(0);
    else return static_cast<T>((x > T(0)) - (x < T(0)));
}

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
    return !is_float<T> && is_negative(b) ? TL_NEGATIVE_EXPONENT : TL_OK;
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
/* floor(a / b) from the exact remainder, as NumPy's npy_divmod; the exact quotient where
 * an operand is infinite, as the Array API has it (NumPy: NaN for a, -1 below 0 for b). */
template <class T> TL_HD inline T floor_divide_of(T a, T b, T mod) {
    T quotient = (a - mod) / b;
    bool lower = (mod != T(0)) & ((b < T(0)) != (mod < T(0)));
    quotient -= lower ? T(1) : T(0);
    T whole = std::floor(quotient);
    whole += quotient - whole > T(0.5) ? T(1) : T(0);
    T result = blend(quotient == T(0), with_sign(T(0), a / b), whole);
    bool exact = (b == T(0)) | (a - a != T(0)) | (b - b != T(0));
    return blend(exact, a / b, result);
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
        bool move = mod != T(0) && is_negative(mod) != is_negative(b);
        return move ? static_cast<T>(mod + b) : mod;
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
        bool lower = inexact && is_negative(a) != is_negative(b);
        return lower ? static_cast<T>(quotient - 1) : quotient;
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

} // namespace tl

#endif /* TENSORLIB_SCALAR_ARITHMETIC_H */
