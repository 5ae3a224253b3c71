/* Products with a matrix that is used many times over, as a recurrent layer's weights:
 * it is packed once into panels that the products read from front to back. A BLAS packs
 * it again at each call, which few rows on the other side do not pay for.
 *
 * Each element is summed in one order, however panels are shared out.
 */
#ifndef TENSORLIB_PACKED_H
#define TENSORLIB_PACKED_H

#include "tensorlib/gemm.h"

namespace tl {

template <class T> inline int64_t panel_count(const T *, int64_t n) {
    return (n + panel_width<T>() - 1) / panel_width<T>();
}
/* Elements of a packed (k, n). */
template <class T> inline int64_t packed_size(const T *b, int64_t k, int64_t n) {
    return panel_count(b, n) * panel_width<T>() * k;
}

/* b (k, n) by its strides; what lies beyond column n is not read. */
template <class T>
void pack_matrix(const T *b, int64_t row, int64_t col, int64_t k, int64_t n,
                 T *packed) {
    constexpr int64_t width = panel_width<T>();
    product<T> p{};
    p.b = b;
    p.b_row = row;
    p.b_col = col;
    for (int64_t j = 0; j < n; j += width, packed += k * width)
        pack_panel(p, 0, k, j, n - j < width ? n - j : width, packed);
}

/* Columns of panels first..last: c (m, n) = or += a (m, depth) @ rows begin..begin +
 * depth of packed (k, n); a has any strides. */
template <class T>
void packed_rows(const T *a, int64_t a_row, int64_t a_col, int64_t m, const T *packed,
                 int64_t k, int64_t n, int64_t begin, int64_t depth, int64_t first,
                 int64_t last, T *c, int64_t ldc, bool add) {
    constexpr int64_t width = panel_width<T>();
    for (int64_t inner = 0; inner < depth; inner += GEMM_DEPTH) {
        int64_t part = depth - inner < GEMM_DEPTH ? depth - inner : GEMM_DEPTH;
        for (int64_t panel = first; panel < last; panel++) {
            int64_t col = panel * width, cols = n - col < width ? n - col : width;
            gemm_rows(product<T>{m, cols, part, a + inner * a_col, a_row, a_col,
                                 packed + (panel * k + begin + inner) * width, width, 1,
                                 c + col, ldc, NULL, add || inner > 0});
        }
    }
}

/* Columns of panels first..last: c (m, n) = or += a (m, k) @ packed (k, n). */
template <class T>
void packed_product(const T *a, int64_t lda, int64_t m, int64_t k, const T *packed,
                    int64_t n, int64_t first, int64_t last, T *c, int64_t ldc,
                    bool add) {
    packed_rows(a, lda, 1, m, packed, k, n, 0, k, first, last, c, ldc, add);
}

/* The right side b (k, n) of many products, by its strides; packed where a is tall
 * enough to pay for that, else NULL. */
template <class T> struct operand {
    const T *b;
    int64_t row, col, k, n;
    T *packed;
};

template <class T> void pack_operand(operand<T> &x) {
    if (x.packed) pack_matrix(x.b, x.row, x.col, x.k, x.n, x.packed);
}

/* c (m, cols) = or += a (m, depth) @ rows begin..begin + depth and columns
 * first..first + cols of x; `first` is a multiple of a panel's width. With panels, the
 * columns of the last one are all computed. */
template <class T>
void operand_product(const T *a, int64_t a_row, int64_t a_col, int64_t m,
                     const operand<T> &x, int64_t begin, int64_t depth, int64_t first,
                     int64_t cols, T *c, int64_t ldc, bool add) {
    if (x.packed && depth > 0) {
        packed_rows(a, a_row, a_col, m, x.packed, x.k, x.n, begin, depth,
                    panel_count(a, first), panel_count(a, first + cols), c - first, ldc,
                    add);
        return;
    }
    product<T> p{
        m,     cols,  depth, a,   a_row, a_col, x.b + begin * x.row + first * x.col,
        x.row, x.col, c,     ldc, NULL,  add};
    if (x.col == 1 || depth == 0)
        gemm_rows(p);
    else if (x.row == 1 && a_col == 1 && depth >= lanes<T>::count)
        gemm_dots(p);
    else
        gemm_panels(p);
}

} /* namespace tl */

#endif /* TENSORLIB_PACKED_H */
