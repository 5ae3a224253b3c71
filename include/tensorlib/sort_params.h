/* Parameters of the kernels that sort, select and search (cpu_sort). */
#ifndef TENSORLIB_SORT_PARAMS_H
#define TENSORLIB_SORT_PARAMS_H

#include <stdint.h>

/* sort: out = the rows in order. argsort: out = int64 positions. Both stable.
 * topk: out = values, int64 positions. argselect: in = x, int64 ranks (..., m), out =
 * int64 positions (..., m) of the elements that have these ranks in the sorted row.
 * The last axis of x is the one that is sorted. */
typedef struct tl_sort_params {
    int64_t k;          /* topk: elements that are kept of each row */
    int32_t descending; /* topk: the largest; NaN then comes first */
    int32_t sorted;     /* topk: in order; by position otherwise */
} tl_sort_params;

/* median: in = x (..., n), n >= 1; out = (...), float64 of float64, else float32. */
typedef struct tl_median_params {
    int32_t skip_nan; /* of the elements that are not NaN; else NaN where one is */
} tl_median_params;

/* searchsorted: in = a (n), sorted, and values; out = int64 positions. All contiguous.
 */
typedef struct tl_search_params {
    int32_t right; /* behind elements that are equal */
} tl_search_params;

/* runs: in = x (n)[, int64 order that sorts it], contiguous; out = where runs of equal
 * elements begin (n + 1), whose last entry is their number[, each element's run (n)].
 */
typedef struct tl_runs_params {
    int32_t equal_nan; /* all NaNs are one run; else each is one */
} tl_runs_params;

#endif /* TENSORLIB_SORT_PARAMS_H */
