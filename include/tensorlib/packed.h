/* Products with a matrix that is used many times over, as a recurrent layer's weights:
 * it is packed once into panels that the product reads from front to back. A BLAS packs
 * it again at each call, which few rows on the other side do not pay for.
 *
 * A tile of up to six rows by a panel stays in registers over a block of the inner
 * dimension; each element is summed in one order, however panels are shared out.
 */
#ifndef TENSORLIB_PACKED_H
#define TENSORLIB_PACKED_H

#include "tensorlib/lanes.h"

namespace tl {

constexpr int TILE_ROWS = 6;
constexpr int64_t INNER_BLOCK = 256; /* of the inner dimension: a panel's stays in L1 */

/* Columns of a panel: two vectors. */
template <class T> constexpr int64_t panel_width() { return 2 * lanes<T>::count; }
template <class T> inline int64_t panel_count(const T *, int64_t n) {
    return (n + panel_width<T>() - 1) / panel_width<T>();
}
/* Elements of a packed (k, n). */
template <class T> inline int64_t packed_size(const T *b, int64_t k, int64_t n) {
    return panel_count(b, n) * panel_width<T>() * k;
}

/* b (k, n) by its strides; columns beyond n are zeros. */
template <class T>
void pack(const T *b, int64_t row, int64_t col, int64_t k, int64_t n, T *packed) {
    constexpr int64_t width = panel_width<T>();
    for (int64_t begin = 0; begin < n; begin += width)
        for (int64_t p = 0; p < k; p++)
            for (int64_t j = begin; j < begin + width; j++)
                *packed++ = j < n ? b[p * row + j * col] : 0;
}

/* c (M, cols) = or += a (M, k) @ a panel's part (k, width). */
template <int M, class T>
inline void product_tile(const T *a, int64_t lda, const T *b, int64_t k, T *c,
                         int64_t ldc, int64_t cols, bool add) {
    typedef lanes<T> L;
    typename L::vector left[M]{}, right[M]{};
    for (int64_t p = 0; p < k; p++, b += 2 * L::count) {
        typename L::vector first = L::load(b), second = L::load(b + L::count);
#pragma GCC unroll 6
        for (int r = 0; r < M; r++) {
            left[r] += a[r * lda + p] * first;
            right[r] += a[r * lda + p] * second;
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < M; r++) {
        T row[2 * L::count];
        memcpy(row, &left[r], sizeof left[r]);
        memcpy(row + L::count, &right[r], sizeof right[r]);
        for (int64_t j = 0; j < cols; j++)
            c[r * ldc + j] = add ? c[r * ldc + j] + row[j] : row[j];
    }
}

template <class T>
inline void product_rows(int64_t rows, const T *a, int64_t lda, const T *b, int64_t k,
                         T *c, int64_t ldc, int64_t cols, bool add) {
    switch (rows) {
    case 1:
        return product_tile<1>(a, lda, b, k, c, ldc, cols, add);
    case 2:
        return product_tile<2>(a, lda, b, k, c, ldc, cols, add);
    case 3:
        return product_tile<3>(a, lda, b, k, c, ldc, cols, add);
    case 4:
        return product_tile<4>(a, lda, b, k, c, ldc, cols, add);
    case 5:
        return product_tile<5>(a, lda, b, k, c, ldc, cols, add);
    default:
        return product_tile<6>(a, lda, b, k, c, ldc, cols, add);
    }
}

/* Columns of panels first..last: c (m, n) = or += a (m, k) @ packed (k, n). */
template <class T>
void packed_product(const T *a, int64_t lda, int64_t m, int64_t k, const T *packed,
                    int64_t n, int64_t first, int64_t last, T *c, int64_t ldc,
                    bool add) {
    constexpr int64_t width = panel_width<T>();
    int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS, rows = (m + tiles - 1) / tiles;
    for (int64_t inner = 0; inner < k; inner += INNER_BLOCK) {
        int64_t depth = k - inner < INNER_BLOCK ? k - inner : INNER_BLOCK;
        for (int64_t panel = first; panel < last; panel++) {
            const T *b = packed + (panel * k + inner) * width;
            int64_t col = panel * width, cols = n - col < width ? n - col : width;
            for (int64_t i = 0; i < m; i += rows)
                product_rows(m - i < rows ? m - i : rows, a + i * lda + inner, lda, b,
                             depth, c + i * ldc + col, ldc, cols, add || inner > 0);
        }
    }
}

} /* namespace tl */

#endif /* TENSORLIB_PACKED_H */
