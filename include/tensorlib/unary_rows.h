/* Functions of one number over a run of elements: op_row(out, x, n) side by side, and
 * op_run with any strides, for each op of the X-lists of functions. `out` may be `x`.
 *
 * A formula is compiled once for a dtype: other strides than 1 go through blocks on the
 * stack, whose copies are cheap beside it. With AVX-512 some rows of floats have a form
 * of their own (unary_lanes.h).
 */
#ifndef TENSORLIB_UNARY_ROWS_H
#define TENSORLIB_UNARY_ROWS_H

#include <stdint.h>

#include "tensorlib/scalar_elementary.h"
#include "tensorlib/scalar_ops.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include "tensorlib/unary_lanes.h"
#endif

namespace tl {

template <class T, class F> inline void map_run(T *out, const T *x, int64_t n, F f) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++)
        out[i] = f(x[i]);
}
/* Blocks without a hard argument, nearly all, take the cheaper form. */
template <class T, class Hard, class Moderate, class Any>
inline void map_split(T *out, const T *x, int64_t n, Hard is_hard, Moderate moderate,
                      Any any) {
    for (int64_t start = 0; start < n; start += 1024) {
        int64_t stop = start + 1024 < n ? start + 1024 : n;
        int hard = 0;
        for (int64_t i = start; i < stop; i++)
            hard |= is_hard(x[i]);
        if (hard)
            map_run(out + start, x + start, stop - start, any);
        else
            map_run(out + start, x + start, stop - start, moderate);
    }
}
template <class T, class Row>
inline void run_in_blocks(T *out, int64_t so, const T *x, int64_t sx, int64_t n,
                          Row row) {
    constexpr int64_t block = 256;
    T some[block];
    if (so == 1 && sx == 1) return row(out, x, n);
    for (int64_t start = 0; start < n; start += block) {
        int64_t count = n - start < block ? n - start : block;
        for (int64_t i = 0; i < count; i++)
            some[i] = x[(start + i) * sx];
        row(some, some, count);
        for (int64_t i = 0; i < count; i++)
            out[(start + i) * so] = some[i];
    }
}

#define TL_PLAIN_ROW(op)                                                               \
    template <class T> inline void op##_row(T *out, const T *x, int64_t n) {           \
        map_run(out, x, n, [](T v) { return op_##op(v); });                            \
    }
#define TL_SPLIT_ROW(op)                                                               \
    template <class T> inline void op##_row(T *out, const T *x, int64_t n) {           \
        map_split(                                                                     \
            out, x, n, [](T v) { return op_##op##_is_hard(v); },                       \
            [](T v) { return op_##op##_moderate(v); },                                 \
            [](T v) { return op_##op(v); });                                           \
    }
#define TL_RUN(op)                                                                     \
    template <class T>                                                                 \
    inline void op##_run(T *out, int64_t so, const T *x, int64_t sx, int64_t n) {      \
        run_in_blocks(out, so, x, sx, n, op##_row<T>);                                 \
    }
TL_ROW_OPS(TL_PLAIN_ROW)
TL_ELEMENTARY_OPS(TL_PLAIN_ROW)
TL_SPLIT_OPS(TL_SPLIT_ROW)
TL_ELEMENTARY_SPLIT_OPS(TL_SPLIT_ROW)

#if defined(__AVX512F__) && defined(__AVX512DQ__)

/* The last lanes of a run that fills no vector are of 1, which is easy everywhere. */
template <class Lanes> inline void map_lanes(float *out, const float *x, int64_t n) {
    const Lanes lanes{};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(out + i, lanes.at(_mm512_loadu_ps(x + i)));
    if (i == n) return;
    __mmask16 rest = static_cast<__mmask16>((1u << (n - i)) - 1u);
    __m512 v = _mm512_mask_loadu_ps(all_lanes(1.0f), rest, x + i);
    _mm512_mask_storeu_ps(out + i, rest, lanes.at(v));
}
#define TL_LANES_ROW(op, lanes)                                                        \
    template <> inline void op##_row(float *out, const float *x, int64_t n) {          \
        map_lanes<lanes>(out, x, n);                                                   \
    }
TL_LANES_ROW(sqrt, sqrt_lanes)
TL_LANES_ROW(exp, exp_lanes)
TL_LANES_ROW(expm1, expm1_lanes)
TL_LANES_ROW(log, log_lanes<natural>)
TL_LANES_ROW(log2, log_lanes<binary>)
TL_LANES_ROW(log10, log_lanes<decimal>)
TL_LANES_ROW(log1p, log1p_lanes)
TL_LANES_ROW(tanh, tanh_lanes)
TL_LANES_ROW(sinh, sinh_lanes)
TL_LANES_ROW(cosh, cosh_lanes)
TL_LANES_ROW(asinh, asinh_lanes)
TL_LANES_ROW(atanh, atanh_lanes)
#undef TL_LANES_ROW

#endif /* __AVX512F__ */

TL_ROW_OPS(TL_RUN)
TL_ELEMENTARY_OPS(TL_RUN)
TL_SPLIT_OPS(TL_RUN)
TL_ELEMENTARY_SPLIT_OPS(TL_RUN)
#undef TL_PLAIN_ROW
#undef TL_SPLIT_ROW
#undef TL_RUN

} // namespace tl

#endif /* TENSORLIB_UNARY_ROWS_H */
