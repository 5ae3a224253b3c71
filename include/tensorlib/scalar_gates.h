/* Gates: the logistic function and the normal distribution, alone and times x, exact to
 * few ulp also where they are small; see scalar_math.h.
 *
 * All need e^v for v <= 0 alone, and that times a number of moderate size: it is kept
 * times a power of two until the end, so that a subnormal result is rounded once.
 */
#ifndef TENSORLIB_SCALAR_GATES_H
#define TENSORLIB_SCALAR_GATES_H

#include "tensorlib/scalar_special.h"

namespace tl {

/* The raised exponential's power of two, and where it may stop: 1000 e^least is 0. */
template <class T> struct raised;
template <> struct raised<float> {
    static constexpr uint32_t bits = 75;
    static constexpr float up = 0x1p75f, down = 0x1p-75f, least = -120.0f;
};
template <> struct raised<double> {
    static constexpr uint64_t bits = 600;
    static constexpr double up = 0x1p600, down = 0x1p-600, least = -760.0;
};

/* e^(v + low) 2^bits for v <= 0; low is what rounding to v lost. */
template <class T> TL_HD inline T exp_raised(T v, T low) {
    T bounded = at_least(v, raised<T>::least);
    decltype(to_bits(v)) n;
    T r = reduce_exp(bounded, n) + low;
    return exp_reduced(r) * two_to(n + raised<T>::bits);
}

/* a / b for b of moderate size; on a GPU to 2 ulp, without the cases of extreme b. */
TL_HD inline float ratio(float a, float b) {
#ifdef __CUDA_ARCH__
    float y; /* of b's reciprocal, which is a normal number */
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(b));
    return a * y;
#else
    return a / b;
#endif
}
TL_HD inline double ratio(double a, double b) { return a / b; }

/* What rounding to p = a b lost; without fused multiply-add by Dekker's halves. */
#if defined(__FMA__) || defined(__CUDACC__) || defined(__aarch64__)
TL_HD inline float product_error(float a, float b, float p) {
    return __builtin_fmaf(a, b, -p);
}
TL_HD inline double product_error(double a, double b, double p) {
    return __builtin_fma(a, b, -p);
}
/* (c a + d) p + n */
template <class T> TL_HD inline T line_times(T a, T c, T d, T p, T n) {
    return (c * a + d) * p + n;
}
#else
TL_HD inline float upper_half(float x) { return x * 4097.0f - (x * 4097.0f - x); }
TL_HD inline double upper_half(double x) {
    return x * 134217729.0 - (x * 134217729.0 - x);
}
template <class T> TL_HD inline T product_error(T a, T b, T p) {
    T x = upper_half(a), y = upper_half(b), u = a - x, w = b - y;
    return u * w - (((p - x * y) - u * y) - x * w);
}
/* What roundings lost is added at the end: four of them would cost 1.5 ulp. */
template <class T> TL_HD inline T line_times(T a, T c, T d, T p, T n) {
    T w = c * a, m = w * p, sum = m + n, back = sum - m;
    T lost = (m - (sum - back)) + (n - back);
    return sum + (lost + (product_error(w, p, m) + (product_error(c, a, w) + d) * p));
}
#endif

/* e^r p, r as exp_reduced takes it: one rounding less than the product. */
template <class T> TL_HD inline T exp_times(T r, T p) {
#ifdef __CUDA_ARCH__
    return exp_reduced(r) * p;
#else
    return p * exp_excess(r) + p;
#endif
}

/* 1 / (1 + e^-x). float32: 2.2 ulp (on a GPU 5), float64: 2.2 ulp. */
template <class T> TL_HD inline T sigmoid(T x) {
    T e = exp_raised(-absolute(x), T(-0.0)) * raised<T>::down; /* adding -0 is nothing */
    return ratio(blend(x < T(0), e, T(1)), T(1) + e);
}
/* Within these bounds, nearly always, e^-x is a normal number and so is the result: one
 * exponential, one sum, one quotient. Beyond them the form above. */
TL_HD inline bool sigmoid_is_hard(float x) { return !(absolute(x) < 87.0f); }
TL_HD inline bool sigmoid_is_hard(double x) { return !(absolute(x) < 708.0); }
template <class T> TL_HD inline T sigmoid_moderate(T x) {
    return T(1) / (T(1) + exp_moderate(-x));
}
/* x sigmoid(v + low). */
template <class T> TL_HD inline T gated(T x, T v, T low) {
    bool falls = v < T(0);
    T up = exp_raised(-absolute(v), blend(falls, low, -low));
    T part = ratio(blend(falls, up, T(1)), T(1) + up * raised<T>::down);
    return x * part * blend(falls, raised<T>::down, T(1));
}

/* ---- the normal distribution ----------------------------------------------------- */
/* Phi(-a) = e^(-a^2 / 2) p / q, where q = (c a + d) p + n: fits of erfcx(a / sqrt 2) /
 * 2 to a relative 2^-27 for a <= 14.6, 2^-60 for a <= 39. The quotient grows as c a, so
 * that rounding in p cancels and that in n weighs little; q as a polynomial would lose
 * 5 ulp. */
TL_HD inline void normal_ratio(float a, float &p, float &q) {
    p = 4.12179935e-03f;
    p = p * a + 4.06711163e-02f;
    p = p * a + 1.83348970e-01f;
    p = p * a + 4.38450847e-01f;
    p = p * a + 5.00000003e-01f;
    float n = 1.01137542e-02f;
    n = n * a + 1.03622873e-01f;
    n = n * a + 4.20683444e-01f;
    n = n * a + 9.99083786e-01f;
    q = line_times(a, 2.50659959f, 1.83242804e-03f, p, n);
}
TL_HD inline void normal_ratio(double a, double &p, double &q) {
    p = 2.24443180538494201e-07;
    p = p * a + 6.98277606870708237e-06;
    p = p * a + 1.06660497188853472e-04;
    p = p * a + 1.04043439150383027e-03;
    p = p * a + 7.12695625271943137e-03;
    p = p * a + 3.56843745751941426e-02;
    p = p * a + 1.32094344670032382e-01;
    p = p * a + 3.57441918557086739e-01;
    p = p * a + 6.79733190717184162e-01;
    p = p * a + 8.28003226489818682e-01;
    p = p * a + 5.00000000000000000e-01;
    double n = 5.62595618245012146e-07;
    n = n * a + 1.75032241173593694e-05;
    n = n * a + 2.66233017640440661e-04;
    n = n * a + 2.57297610618724523e-03;
    n = n * a + 1.73355323613827396e-02;
    n = n * a + 8.44066703233486314e-02;
    n = n * a + 2.98011910265190118e-01;
    n = n * a + 7.41891836117647309e-01;
    n = n * a + 1.20057687634296588e+00;
    n = n * a + 9.99999999924926874e-01;
    q = line_times(a, 2.50662827463043094e+00, 1.50146252136520406e-10, p, n);
}
/* |x| as far as Phi(-|x|) is not 0, and -a^2 / 2 reduced for exp_reduced. */
template <class T> TL_HD inline T normal_bounded(T x) {
    return at_most(absolute(x), sizeof(T) == 4 ? T(15) : T(39));
}
template <class T, class U> TL_HD inline T normal_exponent(T a, U &n) {
    T square = a * a;
    return reduce_exp(T(-0.5) * square, n) + T(-0.5) * product_error(a, a, square);
}
/* Phi(x), raised where x < 0, and e^(-x^2 / 2) raised. */
template <class T> TL_HD inline T normal_cdf(T x, T &up) {
    decltype(to_bits(x)) n;
    T a = normal_bounded(x), p, q, r = normal_exponent(a, n);
    up = exp_reduced(r) * two_to(n + raised<T>::bits);
    normal_ratio(a, p, q);
    T tail = up * p;
    return ratio(blend(x < T(0), tail, q - tail * raised<T>::down), q);
}
/* Where e^(-x^2 / 2) is far from the subnormal numbers: nearly always. */
TL_HD inline bool normal_is_hard(float x) { return !(absolute(x) < 12.0f); }
TL_HD inline bool normal_is_hard(double x) { return !(absolute(x) < 36.0); }
/* Phi(x) - 1/2 for |x| <= 1/2 by its Taylor series. */
TL_HD inline float normal_near(float x) {
    float z = x * x, s = 1.15434692e-04f;
    s = s * z - 1.18732822e-03f;
    s = s * z + 9.97355701e-03f;
    s = s * z - 6.64903801e-02f;
    s = s * z + 3.98942280e-01f;
    return s * x;
}
TL_HD inline double normal_near(double x) {
    double z = x * x, s = -1.13011716416192129e-10;
    s = s * z + 2.27352982437280637e-09;
    s = s * z - 4.12266741486268888e-08;
    s = s * z + 6.65969351631665127e-07;
    s = s * z - 9.44465625950361453e-06;
    s = s * z + 1.15434687616155289e-04;
    s = s * z - 1.18732821548045440e-03;
    s = s * z + 9.97355701003581695e-03;
    s = s * z - 6.64903800669054463e-02;
    s = s * z + 3.98942280401432678e-01;
    return s * x;
}

} // namespace tl

#endif /* TENSORLIB_SCALAR_GATES_H */
