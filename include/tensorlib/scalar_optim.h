/* One element's step of each optimizer, as PyTorch defines it.
 *
 * The double settings are combined in double and rounded once to T.
 */
#ifndef TENSORLIB_SCALAR_OPTIM_H
#define TENSORLIB_SCALAR_OPTIM_H

#include "tensorlib/kernels.h"
#include "tensorlib/scalar_bits.h"

namespace tl {

template <class T> struct sgd_terms {
    T lr, momentum, keep, weight_decay, sign, scale;
    bool nesterov, first_step;
    sgd_terms() = default;
    TL_HD explicit sgd_terms(const tl_sgd_params &p)
        : lr(T(p.lr)), momentum(T(p.momentum)), keep(T(1.0 - p.dampening)),
          weight_decay(T(p.weight_decay)), sign(T(p.maximize ? -1 : 1)),
          scale(T(p.momentum_scale)), nesterov(p.nesterov), first_step(p.first_step) {}
};

template <class T> TL_HD inline void sgd_step(T &p, T g, const sgd_terms<T> &t) {
    p -= t.lr * (t.sign * g + t.weight_decay * p);
}
template <class T>
TL_HD inline void sgd_momentum_step(T &p, T &v, T g, const sgd_terms<T> &t) {
    T d = t.sign * g + t.weight_decay * p;
    T velocity = t.first_step ? d : t.momentum * v + t.keep * d;
    v = velocity;
    T smooth = velocity * t.scale;
    p -= t.lr * (t.nesterov ? d + t.momentum * smooth : smooth);
}

template <class T> struct adam_terms {
    T beta2, new1, new2, eps, step_size, root_correction, shrink, weight_decay, sign;
    adam_terms() = default;
    TL_HD explicit adam_terms(const tl_adam_params &p)
        : beta2(T(p.beta2)), new1(T(1.0 - p.beta1)), new2(T(1.0 - p.beta2)),
          eps(T(p.eps)), step_size(T(p.lr / p.bias_correction1)),
          root_correction(T(1.0 / std::sqrt(p.bias_correction2))),
          shrink(T(p.decoupled ? 1.0 - p.lr * p.weight_decay : 1.0)),
          weight_decay(T(p.decoupled ? 0.0 : p.weight_decay)),
          sign(T(p.maximize ? -1 : 1)) {}
};

template <class T>
TL_HD inline void adam_step(T &p, T &m, T &v, T g, const adam_terms<T> &t) {
    T parameter = p * t.shrink;
    T d = t.sign * g + t.weight_decay * parameter;
    T first = m + t.new1 * (d - m);
    T second = t.beta2 * v + t.new2 * (d * d);
    m = first;
    v = second;
    p = parameter - t.step_size * (first / (std::sqrt(second) * t.root_correction + t.eps));
}

} // namespace tl

#endif /* TENSORLIB_SCALAR_OPTIM_H */
