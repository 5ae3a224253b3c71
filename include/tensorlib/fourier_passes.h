/* Passes of Fourier transforms over a group of lines, and chains of them.
 *
 * A chain transforms as many lines as a vector has lanes, each in a lane of its own, by
 * Stockham's passes, whose results come out in order (P. N. Swarztrauber, "FFT
 * Algorithms for Vector Computers", Parallel Computing 1, 1984).
 */
#ifndef TENSORLIB_FOURIER_PASSES_H
#define TENSORLIB_FOURIER_PASSES_H

#include "tensorlib/fourier_lanes.h"
#include "tensorlib/fourier_plan.h"

namespace tl {

template <class T> struct fourier_passes {
    typedef fourier_lanes<T> F;
    typedef typename F::L L;
    typedef typename F::V V;
    static constexpr int W = F::W, HALF = TL_FOURIER_PRIME / 2;

    struct number {
        V re, im;
        [[gnu::always_inline]] friend number operator+(number a, number b) {
            return {a.re + b.re, a.im + b.im};
        }
        [[gnu::always_inline]] friend number operator-(number a, number b) {
            return {a.re - b.re, a.im - b.im};
        }
        [[gnu::always_inline]] number minus_i_times() const { return {im, -re}; }
        [[gnu::always_inline]] number swapped() const { return {im, re}; }
        [[gnu::always_inline]] number times(T c, T s) const {
            return {re * c - im * s, im * c + re * s};
        }
        [[gnu::always_inline]] number times(V c, V s) const {
            return {re * c - im * s, im * c + re * s};
        }
    };
    [[gnu::always_inline]] static number get(const T *x) {
        return {L::load(x), L::load(x + W)};
    }
    [[gnu::always_inline]] static void put(T *x, number v) {
        F::put(x, v.re);
        F::put(x + W, v.im);
    }

    /* ---- transforms of a few numbers, in place -------------------------------- */
    [[gnu::always_inline]] static void turn2(number &a, number &b) {
        number sum = a + b;
        b = a - b;
        a = sum;
    }
    [[gnu::always_inline]] static void turn4(number &a, number &b, number &c,
                                             number &d) {
        turn2(a, c);
        turn2(b, d);
        d = d.minus_i_times();
        turn2(a, b);
        turn2(c, d);
        number second = c; /* in order: a, c, b, d */
        c = b;
        b = second;
    }
    [[gnu::always_inline]] static void turn8(number *a) {
        constexpr T h = (T)0.70710678118654752440;
        turn4(a[0], a[2], a[4], a[6]);
        turn4(a[1], a[3], a[5], a[7]);
        number b = a[3], c = a[5].minus_i_times(), d = a[7];
        b = {(b.re + b.im) * h, (b.im - b.re) * h};
        d = {(d.im - d.re) * h, (d.im + d.re) * -h};
        number e[4] = {a[0], a[2], a[4], a[6]}, o[4] = {a[1], b, c, d};
        for (int k = 0; k < 4; k++) {
            a[k] = e[k] + o[k];
            a[k + 4] = e[k] - o[k];
        }
    }
    /* An odd R; circle holds exp(-2 pi i k / R), k = 1 ... R - 1. */
    template <int R>
    [[gnu::always_inline]] static void turn_odd(number *a, int radix, const T *circle) {
        int r = R ? R : radix, h = r / 2;
        number sum[HALF], difference[HALF], first = a[0];
        for (int k = 0; k < h; k++) {
            sum[k] = a[k + 1] + a[r - 1 - k];
            difference[k] = a[k + 1] - a[r - 1 - k];
            a[0] = a[0] + sum[k];
        }
        for (int j = 1; j <= h; j++) {
            number u = first, v = {};
            for (int k = 1, at = j; k <= h; k++, at += at + j < r ? j : j - r) {
                T c = circle[2 * at - 2], s = circle[2 * at - 1];
                u = {u.re + sum[k - 1].re * c, u.im + sum[k - 1].im * c};
                v = {v.re - difference[k - 1].im * s, v.im + difference[k - 1].re * s};
            }
            a[j] = u + v;
            a[r - j] = u - v;
        }
    }
    template <int R>
    [[gnu::always_inline]] static void turn(number *a, int radix, const T *circle) {
        if constexpr (R == 2)
            turn2(a[0], a[1]);
        else if constexpr (R == 4)
            turn4(a[0], a[1], a[2], a[3]);
        else if constexpr (R == 8)
            turn8(a);
        else
            turn_odd<R>(a, radix, circle);
    }

    /* ---- passes ---------------------------------------------------------------- */
    /* Where a pass reads its numbers, by index, and where it writes them; in a last
     * pass m is 1, and so are all factors. */
    struct from_space {
        const T *x;
        [[gnu::always_inline]] number operator()(int64_t i) const {
            return get(x + 2 * W * i);
        }
    };
    template <bool Last> struct to_space {
        static constexpr bool last = Last;
        T *y;
        [[gnu::always_inline]] void operator()(int64_t i, number v) const {
            put(y + 2 * W * i, v);
        }
    };
    /* A group the lines of whose halves lie side by side; Swap the parts. */
    template <bool Swap> struct from_memory {
        const T *x;
        int64_t half, step; /* from half to half, and along a line */
        [[gnu::always_inline]] number operator()(int64_t i) const {
            V a = L::load(x + i * step), b = L::load(x + half + i * step);
            number v = {F::reals(a, b), F::imags(a, b)};
            return Swap ? v.swapped() : v;
        }
    };
    template <bool Swap> struct to_memory {
        static constexpr bool last = true;
        T *y;
        int64_t half, step;
        [[gnu::always_inline]] void operator()(int64_t i, number v) const {
            if (Swap) v = v.swapped();
            F::put(y + i * step, F::first_pairs(v.re, v.im));
            F::put(y + half + i * step, F::last_pairs(v.re, v.im));
        }
    };
    /* Each number times the factor of its column. */
    struct to_rows {
        static constexpr bool last = true;
        T *y;
        const T *cross;
        int64_t half, step; /* as in from_memory */
        [[gnu::always_inline]] void operator()(int64_t i, number v) const {
            V a = L::load(cross + i * step), b = L::load(cross + half + i * step);
            put(y + 2 * W * i, v.times(F::reals(a, b), F::imags(a, b)));
        }
    };
    struct pass_shape {
        int radix;
        int64_t m, s;
        const T *roots, *circle;
    };
    /* in is (R, m, s), out (m, R, s): a transform over R for each p of m and q of s,
     * times roots[p, k - 1]. */
    template <int R, class In, class Out>
    static void pass(const pass_shape &shape, In in, Out out) {
        int64_t m = Out::last ? 1 : shape.m, s = shape.s;
        int radix = R ? R : shape.radix;
        const T *roots = shape.roots;
        for (int64_t p = 0; p < m; p++, roots += 2 * (radix - 1))
            for (int64_t q = 0; q < s; q++) {
                number a[R ? R : TL_FOURIER_PRIME];
                for (int k = 0; k < radix; k++)
                    a[k] = in(q + s * (p + m * k));
                turn<R>(a, radix, shape.circle);
                int64_t to = q + s * radix * p;
                out(to, a[0]);
                for (int k = 1; k < radix; k++) {
                    if constexpr (!Out::last)
                        a[k] = a[k].times(roots[2 * k - 2], roots[2 * k - 1]);
                    out(to + s * k, a[k]);
                }
            }
    }
    static void pass_in_space(const pass_shape &shape, const T *x, T *y) {
        from_space in = {x};
        to_space<false> out = {y};
        switch (shape.radix) {
        case 2:
            pass<2>(shape, in, out);
            break;
        case 3:
            pass<3>(shape, in, out);
            break;
        case 4:
            pass<4>(shape, in, out);
            break;
        case 5:
            pass<5>(shape, in, out);
            break;
        case 8:
            pass<8>(shape, in, out);
            break;
        default:
            pass<0>(shape, in, out);
        }
    }
    /* Without a way through the work space, for the commonest passes; whether it is. */
    template <class In, class Out>
    static bool pass_directly(const pass_shape &shape, In in, Out out) {
        if (shape.radix == 8)
            pass<8>(shape, in, out);
        else if (shape.radix == 4)
            pass<4>(shape, in, out);
        return shape.radix == 8 || shape.radix == 4;
    }
    /* A chain under way: `at` is the work space that holds the numbers now. */
    struct progress {
        const tl_fourier_chain *chain;
        T *at, *other;
        int done;
        pass_shape next;
    };
    static void look_ahead(progress &run) {
        pass_shape &next = run.next;
        if (run.done == run.chain->passes) return;
        next.radix = run.chain->radix[run.done];
        next.m /= next.radix;
        next.circle = next.roots + 2 * next.m * (next.radix - 1);
    }
    static progress begin(const tl_fourier_chain *chain, T *space) {
        const T *roots = (const T *)chain->roots;
        progress run = {chain, space, space + 2 * W * (chain->n + 1), 0, {}};
        run.next = {1, chain->n, 1, roots, roots};
        look_ahead(run);
        return run;
    }
    static void advance(progress &run) {
        T *held = run.at;
        run.at = run.other;
        run.other = held;
        run.done++;
        run.next.s *= run.next.radix;
        run.next.roots = run.next.circle + 2 * (run.next.radix - 1);
        look_ahead(run);
    }
    static void passes(progress &run, int end) {
        while (run.done < end) {
            bool is_last = run.done + 1 == run.chain->passes;
            from_space in = {run.at};
            if (!is_last || !pass_directly(run.next, in, to_space<true>{run.other}))
                pass_in_space(run.next, run.at, run.other);
            advance(run);
        }
    }
    /* The numbers of a group into its first pass, and those of the last one out. */
    template <bool Swap>
    static bool enter_directly(progress &run, const T *x, const fourier_side &from) {
        from_memory<Swap> in = {x + from.at[0], from.at[F::H] - from.at[0], from.step};
        bool entered = from.gap == 1 && from.apart == 2 && run.chain->passes &&
                       pass_directly(run.next, in, to_space<false>{run.other});
        if (entered) advance(run);
        return entered;
    }
    static void enter(progress &run, const T *x, const fourier_side &from, bool swap) {
        if (swap ? enter_directly<true>(run, x, from)
                 : enter_directly<false>(run, x, from))
            return;
        F::load(run.at, x, from, run.chain->n, swap);
    }
    static void scale(progress &run, T factor) {
        if (factor == 1) return;
        for (int64_t i = 0; i < 2 * run.chain->n; i++)
            F::put(run.at + W * i, L::load(run.at + W * i) * factor);
    }
    template <class Out> static bool leave_directly(progress &run, Out out) {
        passes(run, run.chain->passes - 1);
        if (run.done != run.chain->passes - 1) return false;
        bool left = pass_directly(run.next, from_space{run.at}, out);
        if (left) advance(run);
        return left;
    }
    template <bool Swap>
    static bool leave_to(progress &run, T *y, const fourier_side &to) {
        to_memory<Swap> out = {y + to.at[0], to.at[F::H] - to.at[0], to.step};
        return to.gap == 1 && to.apart == 2 && leave_directly(run, out);
    }
    static void leave(progress &run, T *y, const fourier_side &to, bool swap) {
        if (swap ? leave_to<true>(run, y, to) : leave_to<false>(run, y, to)) return;
        passes(run, run.chain->passes);
        F::store(y, run.at, to, run.chain->n, swap);
    }
};

} /* namespace tl */

#endif /* TENSORLIB_FOURIER_PASSES_H */
