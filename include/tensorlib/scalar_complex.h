/* Scalar formulas of the complex dtypes; see scalar_ops.h.
 *
 * Functions with branch cuts are the C library's (C11 annex G, which is what the Array API
 * asks for); products are the textbook's, quotients of double Smith's.
 *
 * References: R. L. Smith, "Algorithm 116: Complex division", CACM 5 (1962) 435;
 * W. Kahan, "Branch cuts for complex elementary functions", 1987.
 */
#ifndef TENSORLIB_SCALAR_COMPLEX_H
#define TENSORLIB_SCALAR_COMPLEX_H

#include <cmath>
#include <complex>

#include "tensorlib/scalar_elementary.h"

namespace tl {

template <class T> using complex = std::complex<T>;

template <class T> inline complex<T> op_add(complex<T> a, complex<T> b) { return a + b; }
template <class T> inline complex<T> op_subtract(complex<T> a, complex<T> b) { return a - b; }
template <class T> inline complex<T> op_multiply(complex<T> a, complex<T> b) {
    return {a.real() * b.real() - a.imag() * b.imag(),
            a.real() * b.imag() + a.imag() * b.real()};
}
/* By the divisor, not its reciprocal, which may be beyond the largest number. */
template <class T> inline complex<T> op_divide(complex<T> a, complex<T> b) {
    T c = b.real(), d = b.imag();
    if (std::abs(c) >= std::abs(d)) {
        if (c == T(0) && d == T(0)) return {a.real() / std::abs(c), a.imag() / std::abs(d)};
        T ratio = d / c, under = c + d * ratio;
        return {(a.real() + a.imag() * ratio) / under, (a.imag() - a.real() * ratio) / under};
    }
    T ratio = c / d, under = d + c * ratio;
    return {(a.real() * ratio + a.imag()) / under, (a.imag() * ratio - a.real()) / under};
}
/* The textbook's in double, which holds the squares of floats; else as above. */
inline complex<float> op_divide(complex<float> a, complex<float> b) {
    double x = a.real(), y = a.imag(), c = b.real(), d = b.imag(), under = c * c + d * d;
    if (!(under > 0.0 && under < HUGE_VAL)) return op_divide<float>(a, b);
    return {static_cast<float>((x * c + y * d) / under),
            static_cast<float>((y * c - x * d) / under)};
}
/* Small whole exponents by multiplication: exact where that is. */
template <class T> inline complex<T> op_pow(complex<T> a, complex<T> b) {
    T n = b.real();
    if (b == complex<T>(0)) return T(1);
    if (a == complex<T>(0)) {
        if (b.imag() == T(0) && n > T(0)) return T(0);
        return {T(NAN), T(NAN)};
    }
    if (b.imag() == T(0) && n == std::trunc(n) && std::abs(n) <= T(64)) {
        complex<T> power = a, result = T(1);
        for (int e = static_cast<int>(std::abs(n)); e != 0; e >>= 1) {
            if (e & 1) result = op_multiply(result, power);
            power = op_multiply(power, power);
        }
        return n < T(0) ? op_divide(complex<T>(1), result) : result;
    }
    return std::exp(op_multiply(b, std::log(a)));
}
template <class T> inline bool op_equal(complex<T> a, complex<T> b) { return a == b; }
template <class T> inline bool op_not_equal(complex<T> a, complex<T> b) { return a != b; }

template <class T> inline complex<T> op_negative(complex<T> z) { return -z; }
template <class T> inline complex<T> op_square(complex<T> z) { return op_multiply(z, z); }
template <class T> inline complex<T> op_reciprocal(complex<T> z) {
    return op_divide(complex<T>(1), z);
}
template <class T> inline complex<T> op_sign(complex<T> z) {
    T size = std::hypot(z.real(), z.imag());
    if (size == T(0)) return T(0);
    if (std::isinf(size) && std::isfinite(z.imag())) return std::copysign(T(1), z.real());
    return {z.real() / size, z.imag() / size};
}
template <class T> inline complex<T> op_conj(complex<T> z) { return std::conj(z); }
template <class T> inline complex<T> op_sqrt(complex<T> z) { return std::sqrt(z); }
template <class T> inline complex<T> op_rsqrt(complex<T> z) {
    return op_reciprocal(std::sqrt(z));
}
template <class T> inline complex<T> op_exp(complex<T> z) { return std::exp(z); }
template <class T> inline complex<T> op_log(complex<T> z) { return std::log(z); }
template <class T> inline complex<T> op_sin(complex<T> z) { return std::sin(z); }
template <class T> inline complex<T> op_cos(complex<T> z) { return std::cos(z); }
template <class T> inline complex<T> op_sinh(complex<T> z) { return std::sinh(z); }
template <class T> inline complex<T> op_cosh(complex<T> z) { return std::cosh(z); }
/* At infinite x the sign of the zero is y's (Array API); C leaves it that of sin(2 y). */
template <class T> inline complex<T> op_tanh(complex<T> z) {
    T x = z.real(), y = z.imag();
    if (std::isinf(x) && std::isfinite(y))
        return {std::copysign(T(1), x), std::copysign(T(0), y)};
    return std::tanh(z);
}
/* tan(z) = -i tanh(iz). */
template <class T> inline complex<T> op_tan(complex<T> z) {
    if (!std::isinf(z.imag())) return std::tan(z);
    complex<T> turned = op_tanh(complex<T>(-z.imag(), z.real()));
    return {turned.imag(), -turned.real()};
}
template <class T> inline complex<T> op_tanh_grad(complex<T> g, complex<T> y) {
    return op_multiply(g, complex<T>(1) - op_multiply(y, y));
}
template <class T> inline complex<T> op_asin(complex<T> z) { return std::asin(z); }
template <class T> inline complex<T> op_acos(complex<T> z) { return std::acos(z); }
template <class T> inline complex<T> op_atan(complex<T> z) { return std::atan(z); }
template <class T> inline complex<T> op_asinh(complex<T> z) { return std::asinh(z); }
template <class T> inline complex<T> op_acosh(complex<T> z) { return std::acosh(z); }
template <class T> inline complex<T> op_atanh(complex<T> z) { return std::atanh(z); }
/* log(z) / log(base): the imaginary part of an infinite or zero z stays exact. */
template <class T> inline complex<T> op_log2(complex<T> z) {
    complex<T> found = std::log(z);
    constexpr T scale = T(1.4426950408889634074);
    return {found.real() * scale, found.imag() * scale};
}
template <class T> inline complex<T> op_log10(complex<T> z) {
    complex<T> found = std::log(z);
    constexpr T scale = T(0.43429448190325182765);
    return {found.real() * scale, found.imag() * scale};
}
/* log|1 + z| by log1p, in float64 for float: x (2 + x) + y^2 cancels near the circle. */
template <class T> inline complex<T> op_log1p(complex<T> z) {
    T x = z.real(), y = z.imag();
    if (!std::isfinite(x) || !std::isfinite(y) || std::abs(x) > T(0.5) || std::abs(y) > T(0.5)) {
        complex<T> found = std::log(complex<T>(T(1) + x, y));
        return {found.real(), std::atan2(y, T(1) + x)};
    }
    double a = x, b = y;
    return {static_cast<T>(0.5 * std::log1p(a * (2.0 + a) + b * b)), std::atan2(y, T(1) + x)};
}
/* expm1(x) cos y - 2 sin(y / 2)^2 + i exp(x) sin y. */
template <class T> inline complex<T> op_expm1(complex<T> z) {
    T x = z.real(), y = z.imag();
    if (y == T(0)) return {std::expm1(x) + T(0), y}; /* +0 for x = -0, by the standard */
    if (!std::isfinite(x) || !std::isfinite(y)) {
        complex<T> found = std::exp(z);
        return {found.real() - T(1), found.imag()};
    }
    T half = std::sin(y / T(2));
    return {std::expm1(x) * std::cos(y) - T(2) * half * half, std::exp(x) * std::sin(y)};
}

/* ---- to bool or to the parts' type ----------------------------------------------- */
template <class T> inline bool op_isnan(complex<T> z) {
    return std::isnan(z.real()) || std::isnan(z.imag());
}
template <class T> inline bool op_isinf(complex<T> z) {
    return std::isinf(z.real()) || std::isinf(z.imag());
}
template <class T> inline bool op_isfinite(complex<T> z) {
    return std::isfinite(z.real()) && std::isfinite(z.imag());
}
template <class T> inline bool op_logical_not(complex<T> z) { return z == complex<T>(0); }
/* The real functions' forms in float32, which vectorize; the C library's in float64. */
inline float op_magnitude(complex<float> z) { return tl::hypot(z.real(), z.imag()); }
inline double op_magnitude(complex<double> z) { return std::hypot(z.real(), z.imag()); }
template <class T> inline T op_angle(complex<T> z) { return tl::atan2(z.imag(), z.real()); }

} // namespace tl

#define TL_COMPLEX_UNARY_OPS(X) \
    X(negative) X(square) X(reciprocal) X(sign) X(conj) X(sqrt) X(rsqrt) X(exp) X(expm1) \
    X(log) X(log1p) X(log2) X(log10) X(sin) X(cos) X(tan) X(sinh) X(cosh) X(tanh) X(asin) \
    X(acos) X(atan) X(asinh) X(acosh) X(atanh)
#define TL_COMPLEX_BINARY_OPS(X) \
    X(add) X(subtract) X(multiply) X(divide) X(pow) X(tanh_grad)
#define TL_COMPLEX_COMPARE_OPS(X) X(equal) X(not_equal)
#define TL_COMPLEX_TEST_OPS(X) X(isnan) X(isinf) X(isfinite) X(logical_not)
#define TL_COMPLEX_PART_OPS(X) X(magnitude) X(angle)

#endif /* TENSORLIB_SCALAR_COMPLEX_H */
