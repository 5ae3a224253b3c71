/* What the kernels are told of a row, the memory they get, and what they share. */
#ifndef TENSORLIB_ROW_TASK_H
#define TENSORLIB_ROW_TASK_H

#include "tensorlib/sort.h"

namespace tl {

/* A row and where its results go. */
struct row_task {
    const void *x;
    void *values;
    int64_t *indices;
    const int64_t *ranks;
    int64_t x_step, values_step, indices_step, ranks_step; /* in elements */
    int64_t n;                                             /* elements of the row */
    int64_t k;        /* results: ranks, or of topk */
    int32_t flipped;  /* descending, NaN last */
    int32_t turned;   /* descending, NaN first */
    int32_t sorted;   /* topk: in order; by position otherwise */
    int32_t skip_nan; /* median: of the other elements; NaN where there is one if 0 */
    char *scratch;    /* row_scratch() bytes */
    tl::parts parts;
};

constexpr int64_t WIDE_ROW = (int64_t)1 << 32; /* positions need 64 bits */
constexpr int64_t SEVERAL = 8; /* ranks for which sorting all records is cheaper */

/* Counters, two records an element, and what is found. */
inline int64_t row_scratch(int64_t n, int64_t k, int64_t parts) {
    return counters(parts) * (int64_t)sizeof(uint64_t) +
           (2 * n + 2 * k) * (int64_t)sizeof(keyed<uint64_t>) +
           k * (int64_t)sizeof(int64_t);
}

/* Bytes of an order's keys. */
template <class O> constexpr int width = sizeof(typename O::bits);

template <class R> struct workspace {
    typename record<R>::offset *counts;
    R *room;
    explicit workspace(const row_task &t)
        : counts((typename record<R>::offset *)t.scratch),
          room((R *)(t.scratch + counters(t.parts.count) * (int64_t)sizeof(uint64_t))) {
    }
};

template <class O, class R> inline row<O, R> row_of(const row_task &t) {
    typedef typename O::bits U;
    const U all = (U) ~(U)0;
    return {(const U *)t.x, t.x_step, t.flipped ? all : (U)0, t.turned ? all : (U)0, 0};
}

/* At most SEVERAL wanted ranks of a row in ascending order. */
struct ordered_ranks {
    const row_task &t;
    int64_t ranks[SEVERAL], places[SEVERAL];
    explicit ordered_ranks(const row_task &task) : t(task) {
        keyed<uint64_t> order[SEVERAL];
        for (int64_t q = 0; q < t.k; q++)
            make(order + q, (uint64_t)t.ranks[q * t.ranks_step], q);
        insert(order, t.k);
        for (int64_t q = 0; q < t.k; q++) {
            ranks[q] = (int64_t)order[q].key;
            places[q] = (int64_t)order[q].index;
        }
    }
    /* The position of the element of the q-th rank is a result. */
    void put(int64_t q, int64_t position) const {
        t.indices[places[q] * t.indices_step] = position;
    }
};

/* Records in order, in r or in spare. */
template <class R>
inline R *sort_records(R *r, int64_t n, R *spare, typename record<R>::offset *counts) {
    sorter<R, const R *> s{r, n, spare, r, {nullptr, 1}, counts};
    auto seen = look(s.x, 0, n, r[0].key);
    return s.sort(plan((uint64_t)seen.varying, (uint64_t)seen.varying, n));
}

/* The elements of a row side by side: x itself where they are, else copied to room. */
template <class U>
inline const U *together(const U *x, int64_t step, int64_t n, U *room) {
    if (step == 1) return x;
    for (int64_t i = 0; i < n; i++)
        room[i] = x[i * step];
    return room;
}

/* Zeros and NaNs, whose keys do not give them back, in the order of the row: values are
 * sorted but for these. */
template <class O, class R> inline void restore(const row_task &t, const row<O, R> &x) {
    typedef typename O::bits U;
    if constexpr (O::HAS_ODD) {
        const row<O, U> own{x.x, x.step, x.flip, x.turn, 0};
        U *out = (U *)t.values;
        const auto first = [&](U key) {
            int64_t low = 0, left = t.n;
            for (; left > 0; left /= 2) {
                const int64_t half = left / 2;
                if (own.key(out[(low + half) * t.values_step]) >= key) continue;
                low += half + 1;
                left--;
            }
            return low;
        };
        const auto any_odd = [&]() {
            U some = 0; /* as wide as elements, or the loop would not be vectorized */
            for (int64_t i = 0; i < t.n; i++)
                some |= (U)O::odd(own.x[i * own.step]);
            return some != 0;
        };
        /* In a short row it is sooner to look at all elements than to search. */
        if (t.n <= LONG_ROW && !any_odd()) return;
        int64_t nans = first(O::ALL), zeros = first(own.key(0));
        const bool none =
            nans == t.n && (zeros == t.n || !O::zero(out[zeros * t.values_step]));
        if (t.n > LONG_ROW && (none || !any_odd())) return;
        /* At most as many as have places: another thread may change x meanwhile. */
        for (int64_t i = 0; i < t.n; i++) {
            const U v = own.x[i * own.step];
            const bool zero = O::zero(v);
            int64_t &place = zero ? zeros : nans;
            if ((zero || O::odd(v)) && place < t.n) out[place++ * t.values_step] = v;
        }
    }
}

} /* namespace tl */

#endif /* TENSORLIB_ROW_TASK_H */
