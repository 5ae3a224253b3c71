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

/* Columns of panels first..last: c (m, n) = or += a (m, k) @ packed (k, n). */
template <class T>
void packed_product(const T *a, int64_t lda, int64_t m, int64_t k, const T *packed,
                    int64_t n, int64_t first, int64_t last, T *c, int64_t ldc,
                    bool add) {
    constexpr int64_t width = panel_width<T>();
    for (int64_t inner = 0; inner < k; inner += GEMM_DEPTH) {
        int64_t depth = k - inner < GEMM_DEPTH ? k - inner : GEMM_DEPTH;
        for (int64_t panel = first; panel < last; panel++) {
            int64_t col = panel * width, cols = n - col < width ? n - col : width;
            gemm_rows(product<T>{m, cols, depth, a + inner, lda, 1,
                                 packed + (panel * k + inner) * width, width, 1,
                                 c + col, ldc, NULL, add || inner > 0});
        }
    }
}

} /* namespace tl */

#endif /* TENSORLIB_PACKED_H */
