/* Fourier transforms of groups of lines, and of long lines.
 *
 * A group is transformed by one chain. A long line is a group by itself: the columns of
 * its matrix, and then the rows. Real lines of 2 n numbers are transformed as n pairs.
 */
#ifndef TENSORLIB_FOURIER_H
#define TENSORLIB_FOURIER_H

#include "tensorlib/fourier_passes.h"

namespace tl {

template <class T> struct fourier : fourier_passes<T> {
    typedef fourier_passes<T> P;
    typedef typename P::F F;
    typedef typename P::L L;
    typedef typename P::V V;
    typedef typename P::number number;
    typedef typename P::progress progress;
    typedef typename P::template from_memory<false> from_memory;
    typedef typename P::template to_memory<false> to_memory;
    typedef typename P::to_rows to_rows;
    using P::begin, P::enter, P::get, P::leave, P::leave_directly, P::passes, P::put,
        P::scale, P::W;
    static constexpr int H = F::H;
    static_assert(H <= TL_FOURIER_LANES, "half a vector must fit a side of a matrix");

    /* ---- real lines ------------------------------------------------------------ */
    /* With e = a + conj(b), o = a - conj(b) and t = o * root, of terms a = z[k] and
     * b = z[n - k]: half (e + t) and half conj(e - t) are terms k and n - k of the half
     * spectrum of 2 n reals whose pairs have the spectrum z. The conjugate roots, and
     * no half, take the half spectrum back to twice z. */
    struct factors {
        T re, im; /* on the parts */
        /* Adding 0 makes no zero negative. */
        [[gnu::always_inline]] number operator()(V a, V b) const {
            return {a * re, b * im + (T)0};
        }
    };
    template <class C>
    [[gnu::always_inline]] static void untangle(number a, number b, C c, C s,
                                                factors by, number &k, number &j) {
        number e = {a.re + b.re, a.im - b.im}, o = {a.re - b.re, a.im + b.im};
        number t = o.times(c, s);
        k = by(e.re + t.re, e.im + t.im);
        j = by(e.re - t.re, t.im - e.im);
    }
    /* n terms z at x to n + 1 at y, times factors whose half is `by`. */
    static void to_half(const T *x, T *y, int64_t n, const T *roots, factors by) {
        number z = get(x);
        put(y, {(z.re + z.im) * (2 * by.re), V{}});
        put(y + 2 * W * n, {(z.re - z.im) * (2 * by.re), V{}});
        for (int64_t k = 1; 2 * k <= n; k++) {
            number a, b;
            untangle(get(x + 2 * W * k), get(x + 2 * W * (n - k)), roots[2 * k],
                     roots[2 * k + 1], by, a, b);
            put(y + 2 * W * (n - k), b);
            put(y + 2 * W * k, a);
        }
    }
    /* n + 1 terms at x to n terms at y with their parts swapped. */
    static void from_half(const T *x, T *y, int64_t n, const T *roots, T factor) {
        V first = L::load(x), last = L::load(x + 2 * W * n);
        put(y, {(first - last) * factor, (first + last) * factor});
        for (int64_t k = 1; 2 * k <= n; k++) {
            number a, b;
            untangle(get(x + 2 * W * k), get(x + 2 * W * (n - k)), roots[2 * k],
                     -roots[2 * k + 1], {factor, factor}, a, b);
            put(y + 2 * W * (n - k), b.swapped());
            put(y + 2 * W * k, a.swapped());
        }
    }

    /* ---- groups of lines --------------------------------------------------------- */
    /* One group, each line as one chain. */
    static void group(const tl_fourier_params *how, const T *x,
                      const fourier_side &from, T *y, const fourier_side &to,
                      T *space) {
        const T *half = (const T *)how->plan->half;
        progress run = begin(&how->plan->whole, space);
        int64_t n = run.chain->n;
        T factor = (T)how->scale;
        bool swap = how->backward && how->kind != TL_FOURIER_TO_HALF;
        if (how->kind == TL_FOURIER_FROM_HALF) {
            F::load(run.other, x, from, n + 1, false);
            from_half(run.other, run.at, n, half, factor);
        } else {
            enter(run, x, from, swap);
        }
        if (how->kind == TL_FOURIER_TO_HALF) {
            T re = factor * (T)0.5, im = how->backward ? -re : re;
            passes(run, run.chain->passes);
            to_half(run.at, run.other, n, half, {re, im});
            F::store(y, run.other, to, n + 1, false);
        } else {
            if (how->kind == TL_FOURIER_COMPLEX) scale(run, factor);
            leave(run, y, to, swap);
        }
    }

    /* ---- long lines -------------------------------------------------------------- */
    /* Half groups of columns: the last one of `count` columns overlaps the one before,
     * and is repeated where it would be a group's first. */
    struct halves {
        int64_t first, second;
    };
    static halves columns_of(int64_t group, int64_t count) {
        int64_t last = count - H;
        return {std::min(group * W, last), std::min(group * W + H, last)};
    }
    /* Columns of which each begins `apart` numbers after the last. */
    static fourier_side side(halves of, int64_t apart, int64_t step, int64_t gap) {
        fourier_side s = {step, gap, apart, W, {}};
        for (int l = 0; l < H; l++) {
            s.at[l] = (of.first + l) * apart;
            s.at[l + H] = (of.second + l) * apart;
        }
        return s;
    }
    /* One group of columns: x, of this step and gap, to z, where they are rows. */
    static void columns(const tl_fourier_plan *plan, const T *x, int64_t step,
                        int64_t gap, T *z, int64_t group, bool swap, T *space) {
        int64_t n = plan->first.n, m = plan->second.n;
        halves q = columns_of(group, m);
        progress run = begin(&plan->first, space);
        enter(run, x, side(q, step, m * step, gap), swap);
        passes(run, run.chain->passes - 1);
        const T *cross = (const T *)plan->cross + 2 * q.first;
        to_rows out = {run.other, cross, 2 * (q.second - q.first), 2 * m};
        if (!leave_directly(run, out)) {
            passes(run, run.chain->passes);
            out.y = run.at;
            for (int64_t k = 0; k < n; k++)
                out(k, get(run.at + 2 * W * k));
        }
        F::store(z, run.at, side(q, 2 * n, 2, 1), n, false);
    }
    /* One group of what are then columns again: z to y, of this step and gap. */
    static void rows(const tl_fourier_plan *plan, const T *z, T *y, int64_t step,
                     int64_t gap, int64_t group, bool swap, T factor, T *space) {
        int64_t m = plan->first.n;
        halves k = columns_of(group, m);
        progress run = begin(&plan->second, space);
        enter(run, z, side(k, 2, 2 * m, 1), false);
        scale(run, factor);
        leave(run, y, side(k, step, m * step, gap), swap);
    }
    static V reversed(V v) { return reversed(v, typename F::all()); }
    template <size_t... I> static V reversed(V v, std::index_sequence<I...>) {
        return __builtin_shufflevector(v, v, (W - 1 - (int)I)...);
    }
    /* Elements k, k + 1, ... of one line in the lanes, and back. */
    [[gnu::always_inline]] static number at(const T *x, int64_t step, int64_t k) {
        if (step == 2) return from_memory{x + 2 * k, W, 0}(0);
        T held[2 * W];
        F::load(held, x, side({k, k + H}, step, 0, 1), 1, false);
        return get(held);
    }
    [[gnu::always_inline]] static void set(T *y, int64_t step, int64_t k, number v) {
        if (step == 2) return to_memory{y + 2 * k, W, 0}(0, v);
        T held[2 * W];
        put(held, v);
        F::store(y, held, side({k, k + H}, step, 0, 1), 1, false);
    }
    /* to_half (Back 0) or from_half without a swap along one line. */
    template <int Back>
    static void untangle_line(const T *x, int64_t x_step, T *y, int64_t y_step,
                              int64_t n, const T *roots, factors by) {
        T last = x[Back ? x_step * n : 1], both = Back ? by.re : 2 * by.re;
        y[0] = (x[0] + last) * both;
        y[Back ? 1 : y_step * n] = (x[0] - last) * both;
        if (!Back) y[1] = y[y_step * n + 1] = 0;
        for (int64_t group = 0; group * W < n / 2; group++) {
            int64_t k = 1 + std::min(group * W, n / 2 - W), mirrored = n - k - W + 1;
            number root = at(roots, 2, k), u = at(x, x_step, k);
            number v = at(x, x_step, mirrored);
            v = {reversed(v.re), reversed(v.im)};
            untangle(u, v, root.re, Back ? -root.im : root.im, by, u, v);
            set(y, y_step, k, u);
            set(y, y_step, mirrored, {reversed(v.re), reversed(v.im)});
        }
    }
};

/* ---- what cpu_fourier.pyx.in calls ------------------------------------------------
 */
template <class T> int64_t fourier_lines(const T *) { return fourier<T>::W; }
template <class T> int64_t fourier_groups(int64_t count, const T *) {
    return (count + fourier<T>::W - 1) / fourier<T>::W;
}
/* Numbers of work space of a group whose lines are chains of n. */
template <class T> int64_t fourier_work(int64_t n, const T *) {
    return 4 * fourier<T>::W * (n + 1);
}
template <class T>
void fourier_group(const tl_fourier_params *how, const T *x, const fourier_side *from,
                   T *y, const fourier_side *to, T *space) {
    fourier<T>::group(how, x, *from, y, *to, space);
}
template <class T>
void fourier_columns(const tl_fourier_plan *plan, const T *x, int64_t step, int64_t gap,
                     T *z, int64_t first, int64_t last, bool swap, T *space) {
    for (int64_t group = first; group < last; group++)
        fourier<T>::columns(plan, x, step, gap, z, group, swap, space);
}
template <class T>
void fourier_rows(const tl_fourier_plan *plan, const T *z, T *y, int64_t step,
                  int64_t gap, int64_t first, int64_t last, bool swap, T factor,
                  T *space) {
    for (int64_t group = first; group < last; group++)
        fourier<T>::rows(plan, z, y, step, gap, group, swap, factor, space);
}
template <class T>
void fourier_to_half(const tl_fourier_plan *plan, const T *x, T *y, int64_t step, T re,
                     T im) {
    fourier<T>::template untangle_line<0>(x, 2, y, step, plan->n, (const T *)plan->half,
                                          {re * (T)0.5, im * (T)0.5});
}
template <class T>
void fourier_from_half(const tl_fourier_plan *plan, const T *x, int64_t step, T *y,
                       T factor) {
    fourier<T>::template untangle_line<1>(x, step, y, 2, plan->n, (const T *)plan->half,
                                          {factor, factor});
}

} /* namespace tl */

#endif /* TENSORLIB_FOURIER_H */
