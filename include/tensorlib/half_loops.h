/* Elementwise loops of 16-bit floats that compute on floats in registers.
 *
 * The driver would do the same by blocks of floats in the first cache; these serve ops
 * so cheap that moving the blocks costs more than the arithmetic. Operands are read by
 * groups (half_rows.h); elements that do not lie together, or are fewer than a group,
 * are gathered first. Each function is a tl_loop; its memory may be that of an input.
 */
#ifndef TENSORLIB_HALF_LOOPS_H
#define TENSORLIB_HALF_LOOPS_H

#include "tensorlib/half_rows.h"
#include "tensorlib/scalar_elementary.h"
#include "tensorlib/scalar_ops.h"

namespace tl {

/* Formulas as types; one of a single operand leaves the second aside. */
#define TL_UNARY_FORM(op)                                                              \
    struct form_##op {                                                                 \
        template <class T> static auto of(T x, T) { return op_##op(x); }               \
    };
#define TL_BINARY_FORM(op)                                                             \
    struct form_##op {                                                                 \
        template <class T> static auto of(T x, T y) { return op_##op(x, y); }          \
    };
TL_HALF_UNARY_OPS(TL_UNARY_FORM)
TL_HALF_BINARY_OPS(TL_BINARY_FORM)
#undef TL_UNARY_FORM
#undef TL_BINARY_FORM
/* The neighbours of a 16-bit float are not those of the float that it is computed in.
 */
template <class H> struct form_nextafter {
    static float of(float x, float y) { return next_half<H>(x, y); }
};

template <class H>
using half_loop = int(H *, const H *, const H *, const void *, const int64_t *, int64_t,
                      const void *);

/* The first m of a group, and the last of them in the other places. */
template <class H>
__attribute__((noinline)) void gather(H *group, const H *a, int64_t step, int64_t m) {
#pragma GCC unroll 1
    for (int64_t j = 0; j < GROUP; j++)
        group[j] = a[(j < m ? j : m - 1) * step];
}
template <class H>
__attribute__((noinline)) void scatter(H *out, int64_t step, const H *group,
                                       int64_t m) {
    for (int64_t j = 0; j < m; j++)
        out[j * step] = group[j];
}

/* Elements first.. of a loop, gathered into groups that it then takes. */
template <class H>
__attribute__((noinline)) int by_groups(half_loop<H> *loop, H *out, const H *a,
                                        const H *b, const int64_t *strides,
                                        int64_t first, int64_t n) {
    static const int64_t together[3] = {1, 1, 1};
    H left[GROUP], right[GROUP], part[GROUP];
    for (int64_t i = first; i < n; i += GROUP) {
        int64_t m = n - i < GROUP ? n - i : GROUP;
        gather(left, a + i * strides[1], strides[1], m);
        gather(right, b + i * strides[2], strides[2], m);
        loop(part, left, right, nullptr, together, GROUP, nullptr);
        scatter(out + i * strides[0], strides[0], part, m);
    }
    return 0;
}

template <class Form, class H>
int half_binary(H *out, const H *a, const H *b, const void *, const int64_t *strides,
                int64_t n, const void *) {
    int64_t sa = strides[1], sb = strides[2], i = 0;
    if (strides[0] == 1 && (sa | 1) == 1 && (sb | 1) == 1 && n >= GROUP) {
        float x[GROUP], y[GROUP], z[GROUP];
        H left[GROUP], right[GROUP];
        const H *p = a, *q = b;
        if (sa == 0) gather(left, a, 0, 1), p = left;
        if (sb == 0) gather(right, b, 0, 1), q = right;
        for (; i + GROUP <= n; i += GROUP) {
            widen_group(x, p + i * sa);
            widen_group(y, q + i * sb);
            for (int j = 0; j < GROUP; j++)
                z[j] = Form::of(x[j], y[j]);
            narrow_group(out + i, z);
        }
    }
    return i < n ? by_groups(half_binary<Form, H>, out, a, b, strides, i, n) : 0;
}
template <class Form, class H>
int half_unary(H *out, const H *a, const void *, const void *c, const int64_t *strides,
               int64_t n, const void *params) {
    int64_t own[3] = {strides[0], strides[1], 0};
    return half_binary<Form>(out, a, a, c, own, n, params);
}

} // namespace tl

#endif /* TENSORLIB_HALF_LOOPS_H */
