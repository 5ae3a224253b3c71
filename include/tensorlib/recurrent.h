/* The cells of recurrent layers over a run of units: forward and gradient.
 *
 * A run is one row of a batch, or a part of it; every pointer names its own memory,
 * which lets the compiler vectorize over units (ivdep says so). Gates come in as
 * pre-activations and are left as activations, which the gradients read.
 */
#ifndef TENSORLIB_RECURRENT_H
#define TENSORLIB_RECURRENT_H

#include <stdint.h>

#include "tensorlib/scalar_gates.h"

/* The CUDA kernels call the cells, too, for one unit at a time. */
#ifdef __CUDACC__
#define TL_CELL __host__ __device__
#define TL_INDEPENDENT
#else
#define TL_CELL
#define TL_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace tl {

/* h = tanh(a) or max(a, 0). */
template <class T> TL_CELL inline void rnn_cell(int relu, const T *a, T *h, int64_t n) {
    if (relu)
        for (int64_t j = 0; j < n; j++)
            h[j] = at_least(a[j], T(0));
    else
        for (int64_t j = 0; j < n; j++)
            h[j] = tl::tanh(a[j]);
}
template <class T>
TL_CELL inline void rnn_cell_grad(int relu, const T *h, const T *dh, T *da, int64_t n) {
    if (relu)
        for (int64_t j = 0; j < n; j++)
            da[j] = h[j] > T(0) ? dh[j] : T(0);
    else
        for (int64_t j = 0; j < n; j++)
            da[j] = dh[j] * (T(1) - h[j] * h[j]);
}

/* c = sigmoid(f) c' + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c). */
template <class T>
TL_CELL inline void lstm_cell(T *__restrict i, T *__restrict f, T *__restrict g,
                              T *__restrict o, const T *__restrict before,
                              T *__restrict c, T *__restrict h, int64_t n) {
    TL_INDEPENDENT
    for (int64_t j = 0; j < n; j++) {
        T in = sigmoid(i[j]), keep = sigmoid(f[j]), new_ = tl::tanh(g[j]);
        T out = sigmoid(o[j]), state = keep * before[j] + in * new_;
        i[j] = in;
        f[j] = keep;
        g[j] = new_;
        o[j] = out;
        c[j] = state;
        h[j] = out * tl::tanh(state);
    }
}
/* gates: the activations i, f, g, o, n of each; da likewise. dc goes from the gradient
 * of c to that of the state before. */
template <class T>
TL_CELL inline void lstm_cell_grad(const T *__restrict gates,
                                   const T *__restrict before, const T *__restrict c,
                                   const T *__restrict dh, T *__restrict dc,
                                   T *__restrict da, int64_t n) {
    const T *i = gates, *f = gates + n, *g = gates + 2 * n, *o = gates + 3 * n;
    TL_INDEPENDENT
    for (int64_t j = 0; j < n; j++) {
        T tanh_c = tl::tanh(c[j]);
        T d = dc[j] + dh[j] * o[j] * (T(1) - tanh_c * tanh_c);
        da[j] = d * g[j] * (i[j] * (T(1) - i[j]));
        da[j + n] = d * before[j] * (f[j] * (T(1) - f[j]));
        da[j + 2 * n] = d * i[j] * (T(1) - g[j] * g[j]);
        da[j + 3 * n] = dh[j] * tanh_c * (o[j] * (T(1) - o[j]));
        dc[j] = d * f[j];
    }
}
/* What a projection read: o tanh(c). */
template <class T>
TL_CELL inline void lstm_output(const T *__restrict o, const T *__restrict c,
                                T *__restrict h, int64_t n) {
    for (int64_t j = 0; j < n; j++)
        h[j] = o[j] * tl::tanh(c[j]);
}

/* h = (1 - z) tanh(n + r hidden) + z h', with r and z through the sigmoid. */
template <class T>
TL_CELL inline void gru_cell(T *__restrict r, T *__restrict z, T *__restrict fresh,
                             const T *__restrict hidden, const T *__restrict before,
                             T *__restrict h, int64_t n) {
    TL_INDEPENDENT
    for (int64_t j = 0; j < n; j++) {
        T reset = sigmoid(r[j]), keep = sigmoid(z[j]);
        T next = tl::tanh(fresh[j] + reset * hidden[j]);
        r[j] = reset;
        z[j] = keep;
        fresh[j] = next;
        h[j] = (T(1) - keep) * next + keep * before[j];
    }
}
/* da: gradients of the three gates from the input, db: of those from the state;
 * they differ in the third only. dh leaves as what reaches h' directly. */
template <class T>
TL_CELL inline void gru_cell_grad(const T *__restrict gates, const T *__restrict before,
                                  T *__restrict dh, T *__restrict da, T *__restrict db,
                                  int64_t n) {
    const T *r = gates, *z = gates + n, *fresh = gates + 2 * n, *hidden = gates + 3 * n;
    TL_INDEPENDENT
    for (int64_t j = 0; j < n; j++) {
        T d = dh[j] * (T(1) - z[j]) * (T(1) - fresh[j] * fresh[j]);
        T reset = d * hidden[j] * (r[j] * (T(1) - r[j]));
        T keep = dh[j] * (before[j] - fresh[j]) * (z[j] * (T(1) - z[j]));
        da[j] = db[j] = reset;
        da[j + n] = db[j + n] = keep;
        da[j + 2 * n] = d;
        db[j + 2 * n] = d * r[j];
        dh[j] = dh[j] * z[j];
    }
}

} /* namespace tl */

#undef TL_CELL
#undef TL_INDEPENDENT

#endif /* TENSORLIB_RECURRENT_H */
