/* Activations and their gradients; see scalar_ops.h. In op_<name>_grad, g is the
 * cotangent, y the op's result and x its argument. Clamps keep limits at infinity from
 * becoming NaN.
 */
#ifndef TENSORLIB_SCALAR_ACTIVATION_H
#define TENSORLIB_SCALAR_ACTIVATION_H

#include "tensorlib/kernels.h"
#include "tensorlib/scalar_special.h"

namespace tl {

template <class T> TL_HD inline T op_relu(T x) { return at_least(x, T(0)); }
template <class T> TL_HD inline T op_sigmoid(T x) { return sigmoid(x); }
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
/* log sigmoid(x): the smaller of the two terms is the accurate one. */
template <class T> TL_HD inline T op_log_sigmoid(T x) {
    return at_most(x, T(0)) - tl::log1p(tl::exp(-absolute(x)));
}
/* Absolute error of tanh, 2 ulp of x at most: the difference cancels below 1. */
template <class T> TL_HD inline T op_tanhshrink(T x) { return x - tl::tanh(x); }
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
    n = blend(x < T(0), e * (e + T(2)), T(1) + T(2) * e);
    rest = blend(x < T(0), T(2), T(2) * (e * e));
    d = n + rest;
}
/* 6 ulp: a product of a quotient of two short sums. */
template <class T> TL_HD inline T op_mish(T x) {
    T n, d, rest, t = at_least(x, T(-1000));
    mish_parts(t, n, d, rest);
    return t * (n / d);
}

template <class T> TL_HD inline T op_relu_grad(T g, T y) { return y > T(0) ? g : T(0); }
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
/* b x above 0, b a (e^(c x) - 1) below: elu (b = c = 1), selu (c = 1), celu (c = 1/a) */
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
