/* One element's step of each optimizer, as PyTorch defines it.
 *
 * A rule is a plain struct of T: its settings, in the order in which the Python class
 * passes them (as doubles, rounded once), and update(), the step. The X-lists at the
 * end name the rules by the number of state tensors beside the parameter.
 */
#ifndef TENSORLIB_SCALAR_OPTIM_H
#define TENSORLIB_SCALAR_OPTIM_H

#include "tensorlib/kernels.h"
#include "tensorlib/scalar_bits.h"

namespace tl {

/* What every rule begins with. */
template <class T> struct decayed {
    T sign;         /* -1 to maximize */
    T weight_decay; /* of the gradient (L2) */
    T shrink;       /* decoupled: factor on the parameter before the step */
    TL_HD T gradient(T &p, T g) const {
        p *= shrink;
        return sign * g + weight_decay * p;
    }
};

/* Settings from doubles. */
template <class Rule, class T>
TL_HD inline void fill_rule(Rule &rule, const double *from, T) {
    constexpr int count = sizeof(Rule) / sizeof(T);
    static_assert(count <= TL_OPTIM_SETTINGS, "too many settings");
    /* One by one: a block copy of an odd size hides the fields from the vectorizer. */
    for (int i = 0; i < count; i++) {
        T rounded = T(from[i]);
        memcpy((char *)&rule + i * sizeof(T), &rounded, sizeof(T));
    }
}

/* m moves towards x by the share new1. */
template <class T> TL_HD inline T moved(T &m, T x, T new1) {
    return m += new1 * (x - m);
}
/* v = keep v + add x^2. */
template <class T> TL_HD inline T squares(T &v, T x, T keep, T add) {
    return v = keep * v + add * (x * x);
}

template <class T> struct sgd_rule : decayed<T> {
    T lr;
    TL_HD void update(T &p, T g) const { p -= lr * this->gradient(p, g); }
};

/* keep: 1 - dampening, 1 at the first step; scale: 1 / (1 - momentum^t) when unbiased
 */
template <class T> struct sgd_momentum_rule : decayed<T> {
    T lr, momentum, keep, scale, nesterov;
    TL_HD void update(T &p, T g, T &v) const {
        T d = this->gradient(p, g);
        v = momentum * v + keep * d;
        T smooth = v * scale;
        p -= lr * blend(nesterov != T(0), d + momentum * smooth, smooth);
    }
};

/* new1 = 1 - beta1, new2 = 1 - beta2, step_size = lr / (1 - beta1^t),
 * root_correction = 1 / sqrt(1 - beta2^t) */
template <class T> struct adam_rule : decayed<T> {
    T step_size, new1, beta2, new2, root_correction, eps;
    TL_HD void update(T &p, T g, T &m, T &v) const {
        T d = this->gradient(p, g), first = moved(m, d, new1);
        T root = std::sqrt(squares(v, d, beta2, new2));
        p -= step_size * (first / (root * root_correction + eps));
    }
};
template <class T> struct adam_amsgrad_rule : adam_rule<T> {
    TL_HD void update(T &p, T g, T &m, T &v, T &most) const {
        T d = this->gradient(p, g), first = moved(m, d, this->new1);
        T second = squares(v, d, this->beta2, this->new2);
        most = (second > most) | (second != second) ? second : most;
        p -= this->step_size *
             (first / (std::sqrt(most) * this->root_correction + this->eps));
    }
};

template <class T> struct adamax_rule : decayed<T> {
    T step_size, new1, beta2, eps;
    TL_HD void update(T &p, T g, T &m, T &u) const {
        T d = this->gradient(p, g), first = moved(m, d, new1);
        T kept = beta2 * u, now = absolute(d) + eps;
        u = kept > now ? kept : now;
        p -= step_size * (first / u);
    }
};

/* from_gradient = lr (1 - mu_t) / (1 - prod mu), from_momentum = lr mu_(t+1) / (1 -
 * ...), correction = 1 - beta2^t */
template <class T> struct nadam_rule : decayed<T> {
    T from_gradient, from_momentum, new1, beta2, new2, correction, eps;
    TL_HD void update(T &p, T g, T &m, T &v) const {
        T d = this->gradient(p, g), first = moved(m, d, new1);
        T root = std::sqrt(squares(v, d, beta2, new2) / correction) + eps;
        p -= from_gradient * (d / root);
        p -= from_momentum * (first / root);
    }
};

/* rectified: sqrt(1 - beta2^t) times the rectification, or 0 for a step of momentum */
template <class T> struct radam_rule : decayed<T> {
    T step_size, new1, beta2, new2, rectified, eps;
    TL_HD void update(T &p, T g, T &m, T &v) const {
        T d = this->gradient(p, g), first = moved(m, d, new1);
        T root = std::sqrt(squares(v, d, beta2, new2)) + eps;
        p -= step_size * first * blend(rectified > T(0), rectified / root, T(1));
    }
};

template <class T> struct rmsprop_base : decayed<T> {
    T lr, alpha, rest, eps, momentum; /* rest = 1 - alpha */
    TL_HD T scaled(T d, T mean_square) const {
        return d / (std::sqrt(mean_square) + eps);
    }
    TL_HD T centred(T d, T &v, T &mean) const {
        T square = squares(v, d, alpha, rest), m = moved(mean, d, rest);
        return scaled(d, square - m * m);
    }
    TL_HD void heavy(T &p, T &buffer, T step) const {
        buffer = momentum * buffer + step;
        p -= lr * buffer;
    }
};
template <class T> struct rmsprop_rule : rmsprop_base<T> {
    TL_HD void update(T &p, T g, T &v) const {
        T d = this->gradient(p, g);
        p -= this->lr * this->scaled(d, squares(v, d, this->alpha, this->rest));
    }
};
template <class T> struct rmsprop_momentum_rule : rmsprop_base<T> {
    TL_HD void update(T &p, T g, T &v, T &buffer) const {
        T d = this->gradient(p, g);
        T square = squares(v, d, this->alpha, this->rest);
        this->heavy(p, buffer, this->scaled(d, square));
    }
};
template <class T> struct rmsprop_centered_rule : rmsprop_base<T> {
    TL_HD void update(T &p, T g, T &v, T &mean) const {
        T d = this->gradient(p, g);
        p -= this->lr * this->centred(d, v, mean);
    }
};
template <class T> struct rmsprop_centered_momentum_rule : rmsprop_base<T> {
    TL_HD void update(T &p, T g, T &v, T &buffer, T &mean) const {
        T d = this->gradient(p, g);
        this->heavy(p, buffer, this->centred(d, v, mean));
    }
};

template <class T> struct adagrad_rule : decayed<T> {
    T lr, eps; /* lr has the decay by steps in it */
    TL_HD void update(T &p, T g, T &total) const {
        T d = this->gradient(p, g);
        total += d * d;
        p -= lr * (d / (std::sqrt(total) + eps));
    }
};

template <class T> struct adadelta_rule : decayed<T> {
    T lr, rho, rest, eps; /* rest = 1 - rho */
    TL_HD void update(T &p, T g, T &v, T &deltas) const {
        T d = this->gradient(p, g), square = squares(v, d, rho, rest);
        T step = std::sqrt(deltas + eps) / std::sqrt(square + eps) * d;
        squares(deltas, step, rho, rest);
        p -= lr * step;
    }
};

template <class T> struct lion_rule : decayed<T> {
    T lr, beta1, new1, beta2, new2;
    TL_HD void update(T &p, T g, T &m) const {
        T d = this->gradient(p, g), c = beta1 * m + new1 * d;
        m = beta2 * m + new2 * d;
        p -= lr * (T(c > T(0)) - T(c < T(0)));
    }
};

template <class T> struct rprop_rule : decayed<T> {
    T shrinking, growing, least, most;
    TL_HD void update(T &p, T g, T &last, T &step) const {
        T d = this->gradient(p, g), turn = d * last;
        T factor = turn > T(0) ? growing : turn < T(0) ? shrinking : T(1);
        step = at_most(at_least(step * factor, least), most);
        d = turn < T(0) ? T(0) : d;
        p -= step * (T(d > T(0)) - T(d < T(0)));
        last = d;
    }
};

} // namespace tl

#define TL_RULE0_OPS(X) X(sgd)
#define TL_RULE1_OPS(X) X(sgd_momentum) X(rmsprop) X(adagrad) X(lion)
#define TL_RULE2_OPS(X)                                                                \
    X(adam)                                                                            \
    X(adamax)                                                                          \
    X(nadam) X(radam) X(rmsprop_momentum) X(rmsprop_centered) X(adadelta) X(rprop)
#define TL_RULE3_OPS(X) X(adam_amsgrad) X(rmsprop_centered_momentum)

#endif /* TENSORLIB_SCALAR_OPTIM_H */
