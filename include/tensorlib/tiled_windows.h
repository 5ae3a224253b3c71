/* The largest element or the mean of windows that lie side by side and do not overlap.
 *
 * The rows of a line of windows are joined first, column by column, and laid one line
 * behind the other in a block that stays in the nearest cache. There neighbouring
 * columns are joined, pairs at a time, over all lines of the block in one run: lines
 * shorter than a vector cost little more than long ones.
 */
#ifndef TENSORLIB_TILED_WINDOWS_H
#define TENSORLIB_TILED_WINDOWS_H

#include "tensorlib/windows.h"

namespace tl {

constexpr int64_t MOST_COLUMNS = 64; /* of a window that is pooled so */
constexpr int64_t BLOCK = 1024;      /* joined columns of a block */

/* Windows of planes D, H, W, from their first element on; what does not fill a window
 * at the end of an axis is left out. */
struct tile_grid {
    int64_t size[3];
    int64_t kernel[3];
    int64_t out[3];
};

/* Walks over the lines of all planes, by runs of lines below each other: where a plane
 * and, in it, a run begins. */
struct line_walk {
    const tile_grid &g;
    int64_t plane, line, run, d, h;
    line_walk(const tile_grid &g, int64_t index)
        : g(g), plane(index / (g.out[0] * g.out[1]) * pixels()),
          d(index / g.out[1] % g.out[0]), h(index % g.out[1]) {
        find_run();
    }
    int64_t pixels() const { return g.size[0] * g.size[1] * g.size[2]; }
    void find_run() {
        line = (d * g.kernel[0] * g.size[1] + h * g.kernel[1]) * g.size[2];
        run = g.out[1] - h;
    }
    void next_run() {
        h = 0;
        if (++d == g.out[0]) {
            d = 0;
            plane += pixels();
        }
        find_run();
    }
};

/* A block of joined columns. A vector may reach behind the last column: there is room
 * for it, and what it finds there goes nowhere. */
template <class T, class Step> struct columns {
    static constexpr int N = lanes<T>::count;
    typedef pack<T, N> P;
    T value[BLOCK + 2 * N];

    template <int M, class Found> void put(int64_t at, const Found &found, int64_t) {
        pack<T, M>::store(value + at, found.best);
    }
    /* n columns of 2 n. */
    void join_pairs(int64_t n) {
        constexpr auto order = std::make_index_sequence<N>();
        for (int64_t i = 0; i < n; i += N) {
            auto a = P::load(value + 2 * i), b = P::load(value + 2 * i + N);
            P::store(value + i, Step::join(every_second<0>(a, b, order),
                                           every_second<1>(a, b, order)));
        }
    }
    /* n columns of k n. */
    void join_runs(int64_t n, int64_t k) {
        for (int64_t i = 0; i < n; i++) {
            T all = value[i * k];
            for (int64_t t = 1; t < k; t++)
                all = Step::join(all, value[i * k + t]);
            value[i] = all;
        }
    }
};

template <class T> struct max_columns : columns<T, max_step> {
    T *y;
    template <int M> using found = largest<T, M>;
    explicit max_columns(T *y) : y(y) {}
    void finish(int64_t n, int64_t at) { memcpy(y + at, this->value, n * sizeof(T)); }
};
template <class T> struct mean_columns : columns<T, add_step> {
    T *y;
    T count, share;
    bool exact; /* a power of two: the product has the quotient's bits */
    template <int M> using found = sum<T, M>;
    mean_columns(T *y, int64_t count)
        : y(y), count((T)count), share(1 / (T)count), exact(!(count & (count - 1))) {}
    void finish(int64_t n, int64_t at) {
        if (exact)
            for (int64_t i = 0; i < n; i++)
                y[at + i] = this->value[i] * share;
        else
            for (int64_t i = 0; i < n; i++)
                y[at + i] = this->value[i] / count;
    }
};

/* The largest with its place in the plane: of equals the first, of NaNs the last. */
template <class T> struct placed_columns {
    static constexpr int N = lanes<T>::count;
    typedef offset<T, N> where;
    typedef pack<T, N> P;
    typedef pack<where, N> Q;
    T value[BLOCK + 2 * N];
    where place[BLOCK + 2 * N];
    T *y;
    int64_t *places;
    template <int M> using found = largest_place<T, M>;
    placed_columns(T *y, int64_t *places) : y(y), places(places) {}

    template <int M> void put(int64_t at, const found<M> &f, int64_t start) {
        offset<T, M> rows[M];
        pack<offset<T, M>, M>::store(rows, f.where);
        pack<T, M>::store(value + at, f.best);
        for (int l = 0; l < M; l++)
            place[at + l] = (where)(rows[l] + start + l);
    }
    template <class V, class I> static void join(V &a, I &at, V b, I other) {
        auto take = (b > a) | ((b == a) & (other < at)) |
                    ((b != b) & ((a == a) | (other > at)));
        a = take ? b : a;
        at = take ? other : at;
    }
    void join_pairs(int64_t n) {
        constexpr auto order = std::make_index_sequence<N>();
        for (int64_t i = 0; i < n; i += N) {
            auto v = P::load(value + 2 * i), w = P::load(value + 2 * i + N);
            auto p = Q::load(place + 2 * i), q = Q::load(place + 2 * i + N);
            auto best = every_second<0>(v, w, order);
            auto at = every_second<0>(p, q, order);
            join(best, at, every_second<1>(v, w, order), every_second<1>(p, q, order));
            P::store(value + i, best);
            Q::store(place + i, at);
        }
    }
    void join_runs(int64_t n, int64_t k) {
        for (int64_t i = 0; i < n; i++) {
            T best = value[i * k];
            where at = place[i * k];
            for (int64_t t = 1; t < k; t++)
                join(best, at, value[i * k + t], place[i * k + t]);
            value[i] = best;
            place[i] = at;
        }
    }
    void finish(int64_t n, int64_t at) {
        memcpy(y + at, value, n * sizeof(T));
        for (int64_t i = 0; i < n; i++)
            places[at + i] = place[i];
    }
};

/* A run of lines: the rows of their windows joined, `width` columns of each from column
 * `at` of the block on. Rows: of a window, where it has one plane; 0: any. */
template <int Rows, int M, class T, class Columns>
inline void join_run(const tile_grid &g, const T *line, int64_t start, int64_t lines,
                     int64_t width, int64_t at, Columns &block) {
    typedef pack<T, M> P;
    const int64_t next = g.size[2], area = g.size[1] * next;
    const int64_t rows = Rows ? Rows : g.kernel[1], planes = Rows ? 1 : g.kernel[0];
    const int64_t below = rows * next;
    for (; lines > 0; lines--, line += below, start += below, at += width)
        for (int64_t j = 0; j < width; j += M) {
            int64_t from = j + M <= width ? j : width - M;
            typename Columns::template found<M> found;
            found.best = P::load(line + from);
            for (int64_t d = 0; d < planes; d++)
                for (int64_t h = d == 0; h < rows; h++) {
                    int64_t row = d * area + h * next;
                    found.visit(P::load(line + from + row), row);
                }
            block.template put<M>(at + from, found, start + from);
        }
}

/* `width` columns of each of the lines, from `skip` columns after their begin. */
template <int M, class T, class Columns>
void join_rows(const tile_grid &g, const T *x, line_walk walk, int64_t lines,
               int64_t skip, int64_t width, Columns &block) {
    if constexpr (M > 1) {
        if (width < M) {
            join_rows<(M * sizeof(T) > 16 ? M / 2 : 1)>(g, x, walk, lines, skip, width,
                                                        block);
            return;
        }
    }
    for (int64_t at = 0; lines > 0; walk.next_run()) {
        int64_t run = walk.run < lines ? walk.run : lines, start = walk.line + skip;
        if (g.kernel[0] == 1 && g.kernel[1] == 2)
            join_run<2, M>(g, x + walk.plane + start, start, run, width, at, block);
        else
            join_run<0, M>(g, x + walk.plane + start, start, run, width, at, block);
        lines -= run;
        at += run * width;
    }
}

template <class T, class Columns>
void tiled_windows(const tile_grid &g, const T *x, int64_t first, int64_t last,
                   Columns &block) {
    const int64_t kernel = g.kernel[2], most = BLOCK / kernel;
    const int64_t span = g.out[2] < most ? g.out[2] : most, lines = most / span;
    for (int64_t line = first; line < last; line += lines) {
        line_walk walk(g, line);
        int64_t many = last - line < lines ? last - line : lines;
        for (int64_t w = 0; w < g.out[2]; w += span) {
            int64_t n = g.out[2] - w < span ? g.out[2] - w : span, k = kernel;
            join_rows<lanes<T>::count>(g, x, walk, many, w * kernel, n * kernel, block);
            n *= many;
            for (; k % 2 == 0; k /= 2)
                block.join_pairs(n * (k / 2));
            if (k > 1) block.join_runs(n, k);
            block.finish(n, line * g.out[2] + w);
        }
    }
}

/* Lines first to last of all planes; place is NULL where nobody asks. */
template <class T>
void tiled_max(const tile_grid &g, const T *x, int64_t first, int64_t last, T *y,
               int64_t *place) {
    if (place) {
        placed_columns<T> block(y, place);
        tiled_windows(g, x, first, last, block);
    } else {
        max_columns<T> block(y);
        tiled_windows(g, x, first, last, block);
    }
}
template <class T>
void tiled_mean(const tile_grid &g, const T *x, int64_t first, int64_t last, T *y,
                int64_t count) {
    mean_columns<T> block(y, count);
    tiled_windows(g, x, first, last, block);
}

} /* namespace tl */

#endif /* TENSORLIB_TILED_WINDOWS_H */
