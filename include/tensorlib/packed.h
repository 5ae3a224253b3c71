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

/* What remains of sums whose lanes are joined by halves, 2 H lanes each and the sums of
 * a before those of b: H lanes each, as `across` joins them. */
template <int H, class V, size_t... I>
inline V halved(V a, V b, std::index_sequence<I...>) {
    constexpr int half = sizeof...(I) / 2;
    constexpr auto lane = [](int i) {
        int in = i % half;
        return (i < half ? 0 : 2 * half) + in / H * 2 * H + in % H;
    };
    return __builtin_shufflevector(a, b, lane(I)...) +
           __builtin_shufflevector(a, b, (lane(I) + H)...);
}
/* N / H vectors of sums, N lanes each, as one of H lanes each. */
template <int H, int N, class V> inline V halved_to(const V *sums) {
    if constexpr (H == N)
        return *sums;
    else
        return halved<H>(halved_to<2 * H, N>(sums),
                         halved_to<2 * H, N>(sums + N / (2 * H)),
                         std::make_index_sequence<N>());
}

/* c += the dots of a with as many rows of b as a vector has lanes. */
template <class T> void add_vector_of_dots(const T *a, int64_t k, const T *b,
                                           int64_t ldb, T *c) {
    typedef lanes<T> L;
    constexpr int N = L::count;
    typename L::vector sums[N];
    int64_t q = 0, rest = k % N;
    for (int r = 0; r < N; r++)
        sums[r] = typename L::vector{};
    for (; q + N <= k; q += N) {
        auto left = L::load(a + q);
        for (int r = 0; r < N; r++)
            sums[r] += left * L::load(b + r * ldb + q);
    }
    if (rest) {
        auto left = load_rest(a + k, rest, (T)0);
        for (int r = 0; r < N; r++)
            sums[r] += left * load_rest(b + r * ldb + k, rest, (T)0);
    }
    typename L::vector sum = L::load(c) + halved_to<1, N>(sums);
    memcpy(c, &sum, sizeof sum);
}

/* c (m, n) += a (m, k) @ b (n, k) transposed, read where it is: for the few rows of a that
 * do not pay for packing. k is at least a vector's elements; which columns a call gets
 * does not change their bits. */
template <class T>
void add_dots(const T *a, int64_t lda, int64_t m, int64_t k, const T *b, int64_t ldb,
              int64_t n, T *c, int64_t ldc) {
    constexpr int N = lanes<T>::count;
    const int64_t whole = n / N * N;
    for (int64_t j = 0; j < whole; j += N)
        for (int64_t i = 0; i < m; i++)
            add_vector_of_dots(a + i * lda, k, b + j * ldb, ldb, c + i * ldc + j);
    gemm_dots(product<T>{m, n - whole, k, a, lda, 1, b + whole * ldb, 1, ldb, c + whole,
                         ldc, NULL, true});
}
template <class T> inline int64_t least_dot(const T *) { return lanes<T>::count; }

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
