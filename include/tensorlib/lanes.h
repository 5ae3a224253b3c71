/* Reductions of a contiguous run, with explicit lanes.
 *
 * Without -ffast-math a compiler keeps a float reduction in one chain; four named
 * vectors make it wide (an array of them would be spilled to the stack). A run is
 * short (a few thousand elements), so float lanes lose little: their totals are
 * joined in double. Which lane an element joins depends on its position only.
 */
#ifndef TENSORLIB_LANES_H
#define TENSORLIB_LANES_H

#include <stdint.h>
#include <string.h>
#include <type_traits>

namespace tl {

#if defined(__AVX512F__)
constexpr int LANE_BYTES = 64;
#elif defined(__AVX__)
constexpr int LANE_BYTES = 32;
#else
constexpr int LANE_BYTES = 16;
#endif

template <class T> struct lanes {
    typedef T vector __attribute__((vector_size(LANE_BYTES)));
    static constexpr int64_t count = LANE_BYTES / sizeof(T);
    static vector load(const T *x) {
        vector v;
        memcpy(&v, x, sizeof v);
        return v;
    }
};

/* Steps: how an element (or a vector of them) joins an accumulator. */
struct add_step {
    template <class V> static V join(V a, V x) { return a + x; }
};
struct multiply_step {
    template <class V> static V join(V a, V x) { return a * x; }
};
template <class T> inline bool is_nan(T x) { return x != x; }

/* NaN wins and stays. beats: x takes the place of an earlier a. */
struct max_step {
    template <class V> static V join(V a, V x) { return (x > a) | (x != x) ? x : a; }
    template <class T> static int beats(T a, T x) {
        return (x > a) | (is_nan(x) & !is_nan(a));
    }
};
struct min_step {
    template <class V> static V join(V a, V x) { return (x < a) | (x != x) ? x : a; }
    template <class T> static int beats(T a, T x) {
        return (x < a) | (is_nan(x) & !is_nan(a));
    }
};

/* Fold n elements, each mapped first; total is the type the lanes end in. */
template <class Step, class Total, class T, class Map>
inline Total fold(const T *x, int64_t n, T identity, Map map) {
    typedef lanes<T> L;
    Total total = (Total)identity;
    int64_t i = 0;
    if (n < L::count) {
        T few = identity;
        for (; i < n; i++) few = Step::join(few, (T)map(x[i]));
        return (Total)few;
    }
    typename L::vector a = identity - typename L::vector{}, b = a, c = a, d = a;
    for (; i + 4 * L::count <= n; i += 4 * L::count) {
        a = Step::join(a, map(L::load(x + i)));
        b = Step::join(b, map(L::load(x + i + L::count)));
        c = Step::join(c, map(L::load(x + i + 2 * L::count)));
        d = Step::join(d, map(L::load(x + i + 3 * L::count)));
    }
    for (; i + L::count <= n; i += L::count) a = Step::join(a, map(L::load(x + i)));
    a = Step::join(Step::join(a, b), Step::join(c, d));
    for (int64_t l = 0; l < L::count; l++) total = Step::join(total, (Total)a[l]);
    for (; i < n; i++) total = Step::join(total, (Total)map(x[i]));
    return total;
}

struct same {
    template <class V> V operator()(V x) const { return x; }
};
template <class T> struct squared_deviation {
    T mean;
    template <class V> V operator()(V x) const {
        V d = x - mean;
        return d * d;
    }
};

/* A double for floats; an int64, wrapping around, for integers (their additions
 * associate, so the compiler widens that loop by itself). */
template <class T> inline auto lane_sum(const T *x, int64_t n) {
    if constexpr (std::is_floating_point<T>::value) {
        return fold<add_step, double>(x, n, (T)0, same());
    } else {
        uint64_t total = 0;
        for (int64_t i = 0; i < n; i++) total += (uint64_t)(int64_t)x[i];
        return (int64_t)total;
    }
}
template <class T> inline auto lane_prod(const T *x, int64_t n) {
    if constexpr (std::is_floating_point<T>::value) {
        return fold<multiply_step, double>(x, n, (T)1, same());
    } else {
        uint64_t total = 1;
        for (int64_t i = 0; i < n; i++) total *= (uint64_t)(int64_t)x[i];
        return (int64_t)total;
    }
}
/* n >= 1 */
template <class T> inline T lane_max(const T *x, int64_t n) {
    return fold<max_step, T>(x, n, x[0], same());
}
template <class T> inline T lane_min(const T *x, int64_t n) {
    return fold<min_step, T>(x, n, x[0], same());
}
/* Sum of (x - mean)^2. */
template <class T>
inline double lane_sum_squared_deviation(const T *x, int64_t n, T mean) {
    return fold<add_step, double>(x, n, (T)0, squared_deviation<T>{mean});
}
/* Sum of x * y. */
template <class T> inline double lane_dot(const T *x, const T *y, int64_t n) {
    typedef lanes<T> L;
    typename L::vector a{}, b{}, c{}, d{};
    int64_t i = 0;
    for (; i + 4 * L::count <= n; i += 4 * L::count) {
        a += L::load(x + i) * L::load(y + i);
        b += L::load(x + i + L::count) * L::load(y + i + L::count);
        c += L::load(x + i + 2 * L::count) * L::load(y + i + 2 * L::count);
        d += L::load(x + i + 3 * L::count) * L::load(y + i + 3 * L::count);
    }
    for (; i + L::count <= n; i += L::count) a += L::load(x + i) * L::load(y + i);
    a = (a + b) + (c + d);
    double total = 0;
    if (i)
        for (int64_t l = 0; l < L::count; l++) total += (double)a[l];
    for (; i < n; i++) total += (double)(x[i] * y[i]);
    return total;
}

} /* namespace tl */

#endif /* TENSORLIB_LANES_H */
