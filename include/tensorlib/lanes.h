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
#include <utility>

#if defined(__SSE4_1__)
#include <immintrin.h>
#endif

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

/* How elements of S in memory become lanes; half_lanes.h has the 16-bit floats. */
template <class S> struct lanes_of : lanes<S> {
    static S one(S x) { return x; }
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
    template <class V> static V better(V a, V x) { return x > a ? x : a; }
    template <class T> static int beats(T a, T x) {
        return (x > a) | (is_nan(x) & !is_nan(a));
    }
};
struct min_step {
    template <class V> static V join(V a, V x) { return (x < a) | (x != x) ? x : a; }
    template <class V> static V better(V a, V x) { return x < a ? x : a; }
    template <class T> static int beats(T a, T x) {
        return (x < a) | (is_nan(x) & !is_nan(a));
    }
};

/* Half of a vector: its lanes from First on. */
template <int First, class V, size_t... I>
inline auto lanes_from(V v, std::index_sequence<I...>) {
    return __builtin_shufflevector(v, v, (First + (int)I)...);
}
template <int N, class V> inline auto lower(V v) {
    return lanes_from<0>(v, std::make_index_sequence<N / 2>());
}
template <int N, class V> inline auto upper(V v) {
    return lanes_from<N / 2>(v, std::make_index_sequence<N / 2>());
}

/* Lanes First, First + 2, ... of two vectors, the one after the other. */
template <int First, class V, size_t... I>
inline V every_second(V a, V b, std::index_sequence<I...>) {
    return __builtin_shufflevector(a, b, (First + 2 * (int)I)...);
}

/* Join the N lanes of a vector by halves. */
template <class Step, int N, class T, class V> inline T across(V v) {
    if constexpr (N == 2)
        return Step::join((T)v[0], (T)v[1]);
    else
        return across<Step, N / 2, T>(Step::join(lower<N>(v), upper<N>(v)));
}

/* The same with the lanes made doubles first. */
template <class Step, class T> inline double across_in_double(typename lanes<T>::vector v) {
    constexpr int N = lanes<T>::count;
    if constexpr (std::is_same<T, double>::value) {
        return across<Step, N, T>(v);
    } else {
        typedef double wide __attribute__((vector_size(sizeof(double) * N / 2)));
        return across<Step, N / 2, double>(
            Step::join(__builtin_convertvector(lower<N>(v), wide),
                       __builtin_convertvector(upper<N>(v), wide)));
    }
}

/* The last `rest` elements before `end` in the upper lanes, `fill` in the lower ones;
 * a whole vector must lie before `end`. */
template <class T, class S>
inline typename lanes<T>::vector load_rest(const S *end, int64_t rest, T fill) {
    typedef lanes_of<S> L;
    typename L::vector v = L::load(end - L::count);
    for (int l = 0; l < L::count; l++) v[l] = l < L::count - rest ? fill : v[l];
    return v;
}

/* Fold n elements, each mapped first, in double. map(unmapped) must be identity. */
template <class Step, class S, class T, class Map>
inline double fold(const S *x, int64_t n, T identity, T unmapped, Map map) {
    typedef lanes_of<S> L;
    int64_t i = 0;
    if (n < L::count) {
        T few = identity;
        for (; i < n; i++) few = Step::join(few, (T)map(L::one(x[i])));
        return (double)few;
    }
    typename L::vector a = identity - typename L::vector{}, b = a, c = a, d = a;
    for (; i + 4 * L::count <= n; i += 4 * L::count) {
        a = Step::join(a, map(L::load(x + i)));
        b = Step::join(b, map(L::load(x + i + L::count)));
        c = Step::join(c, map(L::load(x + i + 2 * L::count)));
        d = Step::join(d, map(L::load(x + i + 3 * L::count)));
    }
    for (; i + L::count <= n; i += L::count) a = Step::join(a, map(L::load(x + i)));
    if (i < n) b = Step::join(b, map(load_rest(x + n, n - i, unmapped)));
    return across_in_double<Step, T>(Step::join(Step::join(a, b), Step::join(c, d)));
}

/* Rules for vectors of elements: the whole one, and a cheap one that loses NaNs but adds
 * up x * 0 beside, which is 0 if there was no NaN (nor infinity). */
template <class Step, class V> struct whole_rule {
    V operator()(V a, V x) { return Step::join(a, x); }
};
template <class Step, class V> struct quick_rule {
    V odd{};
    V operator()(V a, V x) {
        odd += x * V{};
        return Step::better(a, x);
    }
};

/* n >= a vector's elements, joined lane by lane; the last load may overlap the one
 * before, since a second look at an element changes nothing. */
template <class Rule, class S>
inline auto extremes(const S *x, int64_t n, Rule (&rule)[4]) {
    typedef lanes_of<S> L;
    typename L::vector a = L::one(x[0]) - typename L::vector{}, b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * L::count <= n; i += 4 * L::count) {
        a = rule[0](a, L::load(x + i));
        b = rule[1](b, L::load(x + i + L::count));
        c = rule[2](c, L::load(x + i + 2 * L::count));
        d = rule[3](d, L::load(x + i + 3 * L::count));
    }
    for (; i < n; i += L::count)
        a = rule[0](a, L::load(x + (i + L::count <= n ? i : n - L::count)));
    return rule[0](rule[1](a, b), rule[2](c, d));
}

/* The largest or smallest of n >= 1 elements. */
template <class Step, class S> inline auto extreme(const S *x, int64_t n) {
    typedef lanes_of<S> L;
    typedef typename L::vector V;
    typedef decltype(L::one(x[0])) T;
    whole_rule<Step, V> whole[4];
    if (n < L::count) {
        T best = L::one(x[0]);
        for (int64_t i = 1; i < n; i++) best = Step::join(best, L::one(x[i]));
        return best;
    }
    if constexpr (std::is_floating_point<T>::value) {
        quick_rule<Step, V> quick[4];
        V best = extremes(x, n, quick);
        V odd = (quick[0].odd + quick[1].odd) + (quick[2].odd + quick[3].odd);
        if (across<add_step, L::count, T>(odd) == 0)
            return across<Step, L::count, T>(best);
    }
    return across<Step, L::count, T>(extremes(x, n, whole));
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

/* Whether a bit of a vector is set. */
template <class V> inline bool any_bit(V v) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)v, (__m512i)v);
#elif defined(__AVX__)
    return !_mm256_testz_si256((__m256i)v, (__m256i)v);
#elif defined(__SSE4_1__)
    return !_mm_testz_si128((__m128i)v, (__m128i)v);
#else
    uint64_t words[sizeof(V) / 8], found = 0;
    memcpy(words, &v, sizeof v);
    for (uint64_t w : words) found |= w;
    return found;
#endif
}

/* The first of n elements that match, or 0. What lies behind them is asked for, likely
 * the next row: a search in what a fold has just read leaves memory idle. */
template <class T, class Match>
inline int64_t first_match(const T *x, int64_t n, Match match) {
    typedef lanes<T> L;
    constexpr int64_t block = 4 * L::count;
    int64_t i = 0;
    for (; i + block <= n; i += block) {
        for (int64_t k = 0; k < block; k += 64 / (int64_t)sizeof(T))
            __builtin_prefetch(x + n + i + k);
        auto low = match(L::load(x + i)) | match(L::load(x + i + L::count));
        auto high = match(L::load(x + i + 2 * L::count)) |
                    match(L::load(x + i + 3 * L::count));
        if (any_bit(low | high)) break;
    }
    while (i + L::count <= n && !any_bit(match(L::load(x + i)))) i += L::count;
    for (; i < n; i++)
        if (match(x[i])) return i;
    return 0;
}
/* The first place of a value, or of a NaN when it is one. */
template <class T> inline int64_t first_place(const T *x, int64_t n, T value) {
    if (is_nan(value)) return first_match(x, n, [](auto a) { return a != a; });
    return first_match(x, n, [value](auto a) { return a == value; });
}

/* A double for floats; an int64, wrapping around, for integers (their additions
 * associate, so the compiler widens that loop by itself). */
template <class T> inline auto lane_sum(const T *x, int64_t n) {
    if constexpr (std::is_floating_point<T>::value) {
        return fold<add_step>(x, n, (T)0, (T)0, same());
    } else {
        uint64_t total = 0;
        for (int64_t i = 0; i < n; i++) total += (uint64_t)(int64_t)x[i];
        return (int64_t)total;
    }
}
template <class T> inline auto lane_prod(const T *x, int64_t n) {
    if constexpr (std::is_floating_point<T>::value) {
        return fold<multiply_step>(x, n, (T)1, (T)1, same());
    } else {
        uint64_t total = 1;
        for (int64_t i = 0; i < n; i++) total *= (uint64_t)(int64_t)x[i];
        return (int64_t)total;
    }
}
/* n >= 1 */
template <class T> inline T lane_max(const T *x, int64_t n) {
    return extreme<max_step>(x, n);
}
template <class T> inline T lane_min(const T *x, int64_t n) {
    return extreme<min_step>(x, n);
}
/* Sum of (x - mean)^2. */
template <class T>
inline double lane_sum_squared_deviation(const T *x, int64_t n, T mean) {
    return fold<add_step>(x, n, (T)0, mean, squared_deviation<T>{mean});
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
    double total = i ? across_in_double<add_step, T>((a + b) + (c + d)) : 0;
    for (; i < n; i++) total += (double)(x[i] * y[i]);
    return total;
}

} /* namespace tl */

#endif /* TENSORLIB_LANES_H */
