/* How a Fourier transform of one length is computed, and its roots of unity.
 *
 * Lengths whose prime factors are at most TL_FOURIER_PRIME have a plan. Short ones are
 * a chain of passes; a long one, n = first.n * second.n, is a matrix whose columns and
 * then rows are transformed by such chains, with a factor for each element in between
 * (D. H. Bailey, "FFTs in External or Hierarchical Memory", J. Supercomputing 4, 1990).
 */
#ifndef TENSORLIB_FOURIER_PLAN_H
#define TENSORLIB_FOURIER_PLAN_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TL_FOURIER_PRIME =
        61, /* largest prime factor: its turn takes 61 products a number */
    TL_FOURIER_PASSES = 40,  /* of a chain: more than any int64 needs */
    TL_FOURIER_SHORT = 128,  /* longest transform that is always one chain */
    TL_FOURIER_CHAIN = 4096, /* longest that ever is: two work spaces fit into L2 */
    TL_FOURIER_LANES = 8,    /* sides of the matrix have at least so many elements */
    TL_FOURIER_LONGEST = 1 << 22 /* of a plan: its tables are as large as a line */
};

typedef struct tl_fourier_chain {
    int64_t n;                        /* complex numbers of a line */
    int32_t passes;                   /* how many */
    int32_t radix[TL_FOURIER_PASSES]; /* of each pass; their product is n */
    const void *roots;                /* factors of all passes, in order */
} tl_fourier_chain;

/* Tables are pairs (real, imaginary) of the transform's precision. */
typedef struct tl_fourier_plan {
    int64_t n;                      /* complex numbers of a line */
    tl_fourier_chain whole;         /* the line as one chain; n is 0 for the longest */
    tl_fourier_chain first, second; /* of a matrix; first.n is 0 where there is none */
    const void *cross;              /* exp(-2 pi i j k / n), (first.n, second.n) */
    const void *half;               /* -i exp(-2 pi i k / 2 n), k = 0 ... n / 2 */
} tl_fourier_plan;

/* What a transform makes of the lines along one axis. */
typedef enum tl_fourier_kind {
    TL_FOURIER_COMPLEX = 0,
    TL_FOURIER_TO_HALF,  /* 2 n reals to n + 1 complex numbers */
    TL_FOURIER_FROM_HALF /* n + 1 complex numbers to 2 n reals */
} tl_fourier_kind;

/* fourier: in = x, out = y, of the same extents along all axes but `axis`; y may be x.
 * The dtype of the table's entry is the complex one. */
typedef struct tl_fourier_params {
    const tl_fourier_plan *plan;
    double scale;     /* factor on the result */
    int32_t axis;     /* counted from the first */
    int32_t kind;     /* tl_fourier_kind */
    int32_t backward; /* exp(+2 pi i ...); FROM_HALF is always so */
} tl_fourier_params;

/* The next radix for what is left of a length: odd ones first, since the last pass has
 * no factors and is best a large one; 0 where a prime is too large. */
static inline int tl_fourier_radix(int64_t n) {
    for (int odd = 3; odd <= TL_FOURIER_PRIME; odd += 2)
        if (n % odd == 0) return odd; /* the least divisor is a prime */
    if (n & (n - 1)) return 0;
    /* 2^k = 8^a times 1, 4 or 2, which is best done by two passes of 4. */
    return n % 7 == 1 ? 8 : n == 2 ? 2 : 4;
}

/* Choose the radices; whether there are any for n. */
static inline int tl_fourier_factor(tl_fourier_chain *chain, int64_t n) {
    memset(chain, 0, sizeof *chain);
    chain->n = n;
    while (n > 1) {
        int radix = tl_fourier_radix(n);
        if (radix == 0) return 0;
        chain->radix[chain->passes++] = radix;
        n /= radix;
    }
    return 1;
}

/* How many factors a chain's passes have. */
static inline int64_t tl_fourier_roots(const tl_fourier_chain *chain) {
    int64_t count = 0, rest = chain->n;
    for (int i = 0; i < chain->passes; i++) {
        rest /= chain->radix[i];
        count += (rest + 1) * (chain->radix[i] - 1);
    }
    return count;
}

/* The divisor that makes the best matrix: lanes are full, and it is nearly square. */
static inline int64_t tl_fourier_side(int64_t n) {
    int64_t best = 0, least = INT64_MAX, lanes = TL_FOURIER_LANES;
    for (int64_t a = lanes; a * lanes <= n && a * a <= 64 * n; a++) {
        if (n % a) continue;
        int64_t b = n / a;
        int64_t work = b * ((a + lanes - 1) / lanes) + a * ((b + lanes - 1) / lanes);
        work = work * lanes + a + b;
        if (work < least) least = work, best = a;
    }
    return best;
}

/* Set the lengths and radices of a plan for n > 0; whether there is one. */
static inline int tl_fourier_describe(tl_fourier_plan *plan, int64_t n) {
    memset(plan, 0, sizeof *plan);
    plan->n = n;
    if (n > TL_FOURIER_LONGEST || !tl_fourier_factor(&plan->whole, n)) return 0;
    if (n > TL_FOURIER_CHAIN) memset(&plan->whole, 0, sizeof plan->whole);
    int64_t side = n > TL_FOURIER_SHORT ? tl_fourier_side(n) : 0;
    if (side) {
        tl_fourier_factor(&plan->first, side);
        tl_fourier_factor(&plan->second, n / side);
    }
    return 1;
}

/* exp(-2 pi i k / n), 0 <= k < n, from an angle of at most an eighth of a turn. */
static inline void tl_fourier_root(int64_t k, int64_t n, double *re, double *im) {
    int64_t quarter = 4 * k / n,
            rest = 4 * k % n; /* k / n = (quarter + rest / n) / 4 */
    int mirrored = 2 * rest > n;
    double angle =
        1.5707963267948966 * (double)(mirrored ? n - rest : rest) / (double)n;
    double c = mirrored ? sin(angle) : cos(angle);
    double s = mirrored ? cos(angle) : sin(angle);
    *re = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
    *im = quarter == 0 ? -s : quarter == 1 ? -c : quarter == 2 ? s : c;
}

/* A table as it is filled. */
typedef struct tl_fourier_table {
    void *data;
    int64_t count; /* of the pairs so far */
    int is_double;
} tl_fourier_table;

static inline void tl_fourier_put(tl_fourier_table *table, double re, double im) {
    int64_t at = 2 * table->count++;
    if (table->is_double)
        ((double *)table->data)[at] = re, ((double *)table->data)[at + 1] = im;
    else
        ((float *)table->data)[at] = (float)re,
                ((float *)table->data)[at + 1] = (float)im;
}

static inline const void *tl_fourier_next(const tl_fourier_table *table) {
    return (char *)table->data + table->count * (table->is_double ? 16 : 8);
}

/* Pass by pass, with what is left of the length: exp(-2 pi i p k / rest) for p = 0, 1,
 * ... and k = 1 ... radix - 1; after the last p of a pass one that makes k / radix
 * turns.
 */
static inline void tl_fourier_fill_chain(tl_fourier_chain *chain,
                                         tl_fourier_table *table) {
    int64_t n = chain->n;
    double re, im;
    chain->roots = tl_fourier_next(table);
    for (int i = 0; i < chain->passes; n /= chain->radix[i++])
        for (int64_t p = 0; p <= n / chain->radix[i]; p++)
            for (int k = 1; k < chain->radix[i]; k++) {
                tl_fourier_root(p * k % n, n, &re, &im);
                tl_fourier_put(table, re, im);
            }
}

/* Pairs of all the tables of a plan. */
static inline int64_t tl_fourier_size(const tl_fourier_plan *plan) {
    return tl_fourier_roots(&plan->whole) + tl_fourier_roots(&plan->first) +
           tl_fourier_roots(&plan->second) + (plan->first.n ? plan->n : 0) +
           plan->n / 2 + 1;
}

/* Compute the tables, in memory of so many pairs that lives as long as the plan. Whole
 * vectors of `cross` are loaded: it comes first, for memory that begins a cache line.
 */
static inline void tl_fourier_fill(tl_fourier_plan *plan, void *data, int is_double) {
    tl_fourier_table table = {data, 0, is_double};
    double re, im;
    plan->cross = data;
    for (int64_t j = 0; j < plan->first.n; j++)
        for (int64_t k = 0; k < plan->second.n; k++) {
            tl_fourier_root(j * k, plan->n, &re, &im);
            tl_fourier_put(&table, re, im);
        }
    tl_fourier_fill_chain(&plan->whole, &table);
    tl_fourier_fill_chain(&plan->first, &table);
    tl_fourier_fill_chain(&plan->second, &table);
    plan->half = tl_fourier_next(&table);
    for (int64_t k = 0; k <= plan->n / 2; k++) {
        tl_fourier_root(k, 2 * plan->n, &re, &im);
        tl_fourier_put(&table, im, -re);
    }
}

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_FOURIER_PLAN_H */
