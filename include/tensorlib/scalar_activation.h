/* Activations and their gradients; see scalar_ops.h. In op_<name>_grad, g is the
 * cotangent, y the op's result and x its argument. Clamps keep limits at infinity from
 * becoming NaN.
 */
#ifndef TENSORLIB_SCALAR_ACTIVATION_H
#define TENSORLIB_SCALAR_ACTIVATION_H

#include "tensorlib/kernels.h"
#include "tensorlib/scalar_gates.h"

namespace tl {

template <class T> TL_HD inline T op_relu(T x) { return at_least(x, T(0)); }
/* On a GPU the form for any x alone is faster than both and a choice. */
template <class T> TL_HD inline T op_sigmoid(T x) {
#ifdef __CUDACC__
    return sigmoid(x);
#else
    return blend(sigmoid_is_hard(x), sigmoid(x), sigmoid_moderate(x));
#endif
}
template <class T> TL_HD inline T op_sigmoid_moderate(T x) { return sigmoid_moderate(x); }
template <class T> TL_HD inline int op_sigmoid_is_hard(T x) { return sigmoid_is_hard(x); }
/* x Phi(x), from |x| 1/2 on as max(x, 0) - |x| Phi(-|x|): one rounding less. */
template <class T> TL_HD inline T gelu_join(T x, T far) {
    return blend(absolute(x) < T(0.5), x * (T(0.5) + normal_near(x)), far);
}
/* The bits of the form below; its clamp keeps -inf * 0 from becoming NaN. */
template <class T> TL_HD inline T op_gelu(T x) {
    decltype(to_bits(x)) n;
    T a = normal_bounded(x), p, q, r = normal_exponent(a, n);
    normal_ratio(a, p, q);
    T part = ratio(exp_times(r, p) * two_to(n + raised<T>::bits), q);
    T falls = -a * part * raised<T>::down, rises = x - a * (part * raised<T>::down);
    return gelu_join(x, blend(x < T(0), falls, rises));
}
template <class T> TL_HD inline T op_gelu_moderate(T x) {
    decltype(to_bits(x)) n;
    T a = absolute(x), p, q, r = normal_exponent(a, n);
    normal_ratio(a, p, q);
    T part = exp_times(r, p) * two_to(n) / q;
    return gelu_join(x, at_least(x, T(-0.0)) - a * part);
}
template <class T> TL_HD inline T op_silu_moderate(T x) {
    return x / (T(1) + exp_moderate(-x));
}
template <class T> TL_HD inline int op_silu_is_hard(T x) { return sigmoid_is_hard(x); }
template <class T> TL_HD inline T op_silu(T x) {
    T t = at_least(x, T(-1000));
#ifdef __CUDACC__
    return gated(t, t, T(0));
#else
    return blend(sigmoid_is_hard(x), gated(t, t, T(0)), op_silu_moderate(x));
#endif
}
/* x (1 + tanh u) / 2 = x sigmoid(2u), 2u = x (a + b x^2), a = sqrt(8/pi), b = 0.044715
 * a. An error of 2u is one of the result's logarithm, so it has two parts; beyond 50
 * the exponential is 0. */
template <class T> TL_HD inline T gelu_tanh_exponent(T x, T &low) {
    constexpr T a = T(1.5957691216057307118), a_low = T(1.5957691216057307118L - a);
    constexpr T b = T(0.071354816272600248776), b_low = T(0.071354816272600248776L - b);
    T square = x * x, w = b * square, s = a + w, back = s - a;
    T lost = product_error(b, square, w) + b * product_error(x, x, square) +
             (b_low * square + a_low) + ((a - (s - back)) + (w - back));
    T v = x * s;
    low = product_error(x, s, v) + x * lost;
    return v;
}
template <class T> TL_HD inline T op_gelu_tanh(T x) {
    T low, v = gelu_tanh_exponent(at_most(at_least(x, T(-50)), T(50)), low);
    return gated(at_least(x, T(-1000)), v, low);
}
template <class T> TL_HD inline T op_softplus(T x) {
    return at_least(x, T(0)) + tl::log1p(tl::exp(-absolute(x)));
}
/* log sigmoid(x): the smaller of the two terms is the accurate one. */
template <class T> TL_HD inline T op_log_sigmoid(T x) {
    return at_most(x, T(0)) - tl::log1p(tl::exp(-absolute(x)));
}
/* x - tanh(x): x^3 p(x^2) below 1, 2^-27 and 2^-56; (a - 1) + 2 / (e^2a + 1) above. */
TL_HD inline float tanhshrink_ratio(float z) {
    float p = -0.000142819854f;
    p = p * z + 0.0009235948111f;
    p = p * z - 0.003206933632f;
    p = p * z + 0.008697937264f;
    p = p * z - 0.02182958061f;
    p = p * z + 0.05396342013f;
    p = p * z - 0.1333331069f;
    return p * z + 0.3333333316f;
}
TL_HD inline double tanhshrink_ratio(double z) {
    double p = -2.51597224566757348e-8;
    p = p * z + 2.63343075057704677e-7;
    p = p * z - 1.37930117287216035e-6;
    p = p * z + 4.98800138858226712e-6;
    p = p * z - 0.0000146064528382143966;
    p = p * z + 0.0000383899059360454342;
    p = p * z - 0.0000964629749906053605;
    p = p * z + 0.000238957146643062682;
    p = p * z - 0.000589979326974788244;
    p = p * z + 0.00145582469992505385;
    p = p * z - 0.00359212668066173724;
    p = p * z + 0.00886323540471652916;
    p = p * z - 0.0218694885291375763;
    p = p * z + 0.0539682539680465998;
    p = p * z - 0.133333333333330901;
    return p * z + 0.333333333333333329;
}
template <class T> TL_HD inline T op_tanhshrink(T x) {
    T a = absolute(x), z = a * a;
    T e = exp_moderate(T(2) * at_most(a, T(20)));
    T large = (a - T(1)) + T(2) / (e + T(1));
    return with_sign(blend(a < T(1), a * (z * tanhshrink_ratio(z)), large), x);
}
/* The clamp makes 1 + |x| finite and the quotient 1. */
template <class T> TL_HD inline T op_softsign(T x) {
    T a = at_most(absolute(x), limits<T>::most);
    return with_sign(a / (T(1) + a), x);
}
template <class T> TL_HD inline T op_hardsigmoid(T x) {
    return at_most(at_least(x + T(3), T(0)), T(6)) / T(6);
}
template <class T> TL_HD inline T op_hardswish(T x) {
    T t = at_least(x, T(-3)), s = at_most(t + T(3), T(6)) / T(6);
    return t * s;
}
/* tanh(log(1 + e^x)) = n / d with e = e^-|x|: n / d = (1 + 2e) / (1 + 2e + 2e^2) for
 * x >= 0, e (e + 2) / (e (e + 2) + 2) below; d - n is what is left of 1. */
template <class T> TL_HD inline void mish_parts(T x, T &n, T &d, T &rest) {
    T e = tl::exp(-absolute(x));
    n = blend(x < T(0), e * e + T(2) * e, T(1) + T(2) * e);
    rest = blend(x < T(0), T(2), T(2) * (e * e));
    d = n + rest;
}
template <class T> TL_HD inline T op_mish(T x) {
    bool falls = x < T(0);
    T up = exp_raised(-absolute(x), T(0)), e = up * raised<T>::down,
      most = T(1) + T(2) * e;
    T part = ratio(blend(falls, up * e + T(2) * up, most),
                   blend(falls, (e * e + T(2) * e) + T(2), most + T(2) * (e * e)));
    return at_least(x, T(-1000)) * part * blend(falls, raised<T>::down, T(1));
}

template <class T> TL_HD inline T op_relu_grad(T g, T y) { return y > T(0) ? g : T(0); }
template <class T> TL_HD inline T op_sigmoid_grad(T g, T y) {
    return g * (y * (T(1) - y));
}
template <class T> TL_HD inline T op_gelu_grad(T g, T x) {
    T t = at_least(at_most(x, T(40)), T(-40)), up, part = normal_cdf(t, up);
    T cdf = part * blend(x < T(0), raised<T>::down, T(1));
    return g * (cdf + t * (up * raised<T>::down * T(0.398942280401432677939946)));
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
template <class T> TL_HD inline T op_softsign_grad(T g, T x) {
    T d = T(1) / (T(1) + absolute(x));
    return g * (d * d);
}
/* The slope at the corners is 0, as PyTorch has it. */
template <class T> TL_HD inline T op_hardsigmoid_grad(T g, T x) {
    return (x <= T(-3)) | (x >= T(3)) ? T(0) : g / T(6);
}
template <class T> TL_HD inline T op_hardswish_grad(T g, T x) {
    T slope = x / T(3) + T(0.5);
    return x <= T(-3) ? T(0) : x >= T(3) ? g : g * slope;
}
/* t + x (1 - t^2) s with t = tanh(softplus(x)) and s = sigmoid(x). */
template <class T> TL_HD inline T op_mish_grad(T g, T x) {
    T n, d, rest, z = at_least(at_most(x, T(1000)), T(-1000));
    mish_parts(z, n, d, rest);
    T t = n / d, left = rest / d;
    return g * (t + z * (left * (T(1) + t)) * sigmoid(z));
}

/* Of a value and its gate; the gradient's two parts. */
template <class T> TL_HD inline T op_glu(T a, T b) { return a * sigmoid(b); }
template <class T> TL_HD inline void op_glu_grad(T g, T a, T b, T &ga, T &gb) {
    T s = sigmoid(b);
    ga = g * s;
    gb = (g * a) * (s * (T(1) - s));
}

/* ---- with numbers: s holds the op's arguments, rounded once ---------------------- */
template <class T> struct activation_numbers {
    T a, b, c;
    activation_numbers() = default;
    TL_HD explicit activation_numbers(const tl_activation_params &p)
        : a(T(p.a)), b(T(p.b)), c(T(p.c)) {}
};
template <class T> using numbers = const activation_numbers<T> &;

/* a: slope below 0 */
template <class T> TL_HD inline T op_leaky_relu(T x, numbers<T> s) {
    return x > T(0) ? x : s.a * x;
}
template <class T> TL_HD inline T op_leaky_relu_grad(T g, T x, numbers<T> s) {
    return x > T(0) ? g : s.a * g;
}
/* b x above 0, b a (e^(c x) - 1) below: elu (b = c = 1), selu (c = 1), celu (c = 1/a)
 */
template <class T> TL_HD inline T op_elu(T x, numbers<T> s) {
    return blend(x > T(0), s.b * x, s.b * s.a * tl::expm1(s.c * x));
}
template <class T> TL_HD inline T op_elu_grad(T g, T x, numbers<T> s) {
    return g * blend(x > T(0), s.b, s.b * s.a * s.c * tl::exp(s.c * x));
}
/* a: least, b: largest value */
template <class T> TL_HD inline T op_hardtanh(T x, numbers<T> s) {
    return at_most(at_least(x, s.a), s.b);
}
template <class T> TL_HD inline T op_hardtanh_grad(T g, T x, numbers<T> s) {
    return (x <= s.a) | (x >= s.b) ? T(0) : g;
}
/* x above a, else b */
template <class T> TL_HD inline T op_threshold(T x, numbers<T> s) {
    return x <= s.a ? s.b : x;
}
template <class T> TL_HD inline T op_threshold_grad(T g, T x, numbers<T> s) {
    return x <= s.a ? T(0) : g;
}
/* 0 within a of 0 */
template <class T> TL_HD inline T op_hardshrink(T x, numbers<T> s) {
    return absolute(x) <= s.a ? T(0) : x;
}
template <class T> TL_HD inline T op_softshrink(T x, numbers<T> s) {
    return absolute(x) <= s.a ? T(0) : x - with_sign(s.a, x);
}
template <class T> TL_HD inline T op_shrink_grad(T g, T x, numbers<T> s) {
    return absolute(x) <= s.a ? T(0) : g;
}
/* The slope below 0 is an operand. */
template <class T> TL_HD inline T op_prelu(T x, T slope) {
    return x > T(0) ? x : slope * x;
}

} // namespace tl

#endif /* TENSORLIB_SCALAR_ACTIVATION_H */
