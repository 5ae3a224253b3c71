/* Large matrix products: both operands packed into blocks for the caches.
 *
 * As in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
 * 2008: b's columns in panels of two vectors, a's rows in panels of a dozen, both in
 * runs of GEMM_DEPTH along k. A register block multiplies a panel of each; b's panel
 * stays in the first cache level, a block of a's in the second. b is packed once for
 * all threads, a block of a's rows by the thread that multiplies it; or each thread
 * packs both for itself, where that costs less than lines that move between cores.
 *
 * Every element of c is its start plus one sum a run of k, in order: its bits depend on
 * k alone, not on how rows and columns are cut.
 *
 * 16-bit floats become floats where they are packed, and sums of theirs are rounded
 * once, in registers after the last run.
 */
#ifndef TENSORLIB_BLOCKED_GEMM_H
#define TENSORLIB_BLOCKED_GEMM_H

#include "tensorlib/half_lanes.h"
#include "tensorlib/packed.h"

namespace tl {

/* Most rows of a register block of two vectors each: what the registers hold beside two
 * vectors of b and an element of a. */
constexpr int BLOCK_ROWS = LANE_BYTES == 64 ? 12 : 6;
/* Panels of a block of a: 240 or 120 KB, of the second cache level. */
constexpr int64_t BLOCK_PANELS = 20;
/* Panels of b from which a is packed: below, its elements are used too few times. */
constexpr int64_t BLOCK_REUSE = 4;
/* Elements that are packed in the time for which threads wait for one another (3 us).
 */
constexpr int64_t BLOCK_WAIT = 1 << 14;

/* Panels of m rows, as even as they can be. */
inline int64_t row_panels(int64_t m) { return (m + BLOCK_ROWS - 1) / BLOCK_ROWS; }
inline int64_t first_row(int64_t m, int64_t panel) { return m * panel / row_panels(m); }

/* What elements are packed as, and summed in. */
template <class T> using sum_of = decltype(lanes_of<T>::one(T()));
template <class T> constexpr bool holds_sums = std::is_same_v<T, sum_of<T>>;
template <class T> inline int64_t sum_size(const T *) { return sizeof(sum_of<T>); }

/* Columns of a panel of b. */
template <class T> inline int64_t panel_columns(const T *) {
    return panel_width<sum_of<T>>();
}

/* Elements of a packed block of a, the last of which are only written over. */
template <class T> inline int64_t block_size(const T *) {
    return BLOCK_PANELS * BLOCK_ROWS * GEMM_DEPTH + lanes_of<T>::count;
}

/* BLOCK_ROWS of the `rows` that a has, at `depth` of k, side by side: panel[q *
 * BLOCK_ROWS + r]. What is written beyond them is not read, but by the next store. */
template <class T>
inline void pack_rows(const T *a, int64_t a_row, int64_t a_col, int64_t rows,
                      int64_t depth, sum_of<T> *panel) {
    typedef lanes_of<T> L;
    typedef typename L::vector vec;
    constexpr int G = (BLOCK_ROWS + L::count - 1) / L::count;
    const int64_t used = rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
    int64_t q = 0;
    if (a_col == 1) {
        for (; q + L::count <= depth; q += L::count) {
            vec v[G][L::count];
            for (int g = 0; g < G; g++) {
                for (int r = 0; r < L::count; r++) {
                    const int64_t row = g * L::count + r;
                    v[g][r] = L::load(a + (row < used ? row : used - 1) * a_row + q);
                }
                transpose_steps<vec, L::count, 1>(v[g]);
            }
            for (int s = 0; s < L::count; s++)
                for (int g = 0; g < G; g++)
                    memcpy(panel + (q + s) * BLOCK_ROWS + g * L::count, &v[g][s],
                           sizeof(vec));
        }
    }
    for (; q < depth && a_row == 1 && rows >= G * L::count; q++)
        for (int g = 0; g < G; g++) {
            const vec v = L::load(a + q * a_col + g * L::count);
            memcpy(panel + q * BLOCK_ROWS + g * L::count, &v, sizeof v);
        }
    for (; q < depth; q++)
        for (int64_t r = 0; r < used; r++)
            panel[q * BLOCK_ROWS + r] = L::one(a[r * a_row + q * a_col]);
}

/* Where sums go, and what they are added to: rows apart by `row` and `start_row`. */
template <class T, class C = T> struct block_target {
    C *c;
    int64_t row;
    const T *start;
    int64_t start_row;
    const char *next; /* what comes after it, fetched by `share` bytes a step */
    int64_t share;
};

inline void put_sum(float *c, float sum) { *c = sum; }
inline void put_sum(double *c, double sum) { *c = sum; }
template <class C> inline void put_sum(C *c, float sum) { narrow_to(c, sum); }

/* Vectors of sums, rounded where c is narrower. */
template <class C, class vec, int V> inline void put_sums(C *c, const vec (&sums)[V]) {
    if constexpr (holds_sums<C>) {
        memcpy(c, sums, sizeof sums);
    } else {
        constexpr int count = V * lanes_of<C>::count;
        sum_of<C> line[count];
        memcpy(line, sums, sizeof sums);
        int j = 0;
        for (; j + GROUP <= count; j += GROUP)
            narrow_group(c + j, line + j);
        for (; j < count; j++)
            narrow_to(c + j, line[j]);
    }
}

/* R rows of a, packed or `step` elements from one k to the next and `apart` from row to
 * row, times a panel of b, for V vectors of columns. */
template <class T, int V, bool Packed, class C, size_t... R>
inline void block_tile(std::index_sequence<R...>, int64_t depth, const T *a,
                       int64_t step, int64_t apart, const T *b,
                       const block_target<T, C> &to) {
    typedef lanes<T> L;
    typedef typename L::vector vec;
    constexpr auto clear = [](vec(&sum)[V]) {
        for (int v = 0; v < V; v++)
            sum[v] = vec{};
    };
    constexpr auto multiply = [](vec(&sum)[V], T left, const vec(&right)[V]) {
        for (int v = 0; v < V; v++)
            sum[v] += left * right[v];
    };
    constexpr auto put = [](const vec(&sum)[V], const T *start, C *c) {
        vec all[V];
        for (int v = 0; v < V; v++)
            all[v] = L::load(start + v * L::count) + sum[v];
        put_sums(c, all);
    };
    if (Packed) step = BLOCK_ROWS, apart = 1;
    vec sums[sizeof...(R)][V]; /* in registers, since every row has a name */
    (clear(sums[R]), ...);
    /* c's lines are asked for a row at a time: all at once they take the buffers that
     * a's and b's wait for. */
    constexpr int64_t apart_steps = 16, rows = sizeof...(R);
    const char *next = to.next;
    for (int64_t q = 0; q < depth; q++, a += step, b += panel_width<T>()) {
        if (q % apart_steps == 0 && q < rows * apart_steps)
            for (int v = 0; v < V; v++)
                __builtin_prefetch(to.c + q / apart_steps * to.row + v * L::count, 1);
        __builtin_prefetch(next, 0, 2);
        next += to.share;
        vec right[V];
        for (int v = 0; v < V; v++)
            right[v] = L::load(b + v * L::count);
        (multiply(sums[R], a[(int64_t)R * apart], right), ...);
    }
    (put(sums[R], to.start + (int64_t)R * to.start_row, to.c + (int64_t)R * to.row),
     ...);
}

/* block_tile for a number of rows known when run. */
template <class T, int V, bool Packed, int R = BLOCK_ROWS, class C>
inline void block_rows(int64_t rows, int64_t depth, const T *a, int64_t step,
                       int64_t apart, const T *b, const block_target<T, C> &to) {
    if constexpr (R > 1) {
        if (rows < R)
            return block_rows<T, V, Packed, R - 1>(rows, depth, a, step, apart, b, to);
    }
    block_tile<T, V, Packed>(std::make_index_sequence<R>(), depth, a, step, apart, b,
                             to);
}

/* The same for some columns of a panel, of which nothing else is touched. */
template <class T, bool Packed, class C>
inline void block_part(int64_t rows, int64_t columns, int64_t depth, const T *a,
                       int64_t step, int64_t apart, const T *b,
                       const block_target<T, C> &to) {
    constexpr int64_t count = lanes<T>::count, width = panel_width<T>();
    alignas(64) T all[BLOCK_ROWS * width], zeros[width] = {};
    const block_target<T> aside = {all, width, zeros, 0, to.next, to.share};
    if (columns > count)
        block_rows<T, 2, Packed>(rows, depth, a, step, apart, b, aside);
    else
        block_rows<T, 1, Packed>(rows, depth, a, step, apart, b, aside);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j++)
            put_sum(to.c + r * to.row + j,
                    to.start[r * to.start_row + j] + all[r * width + j]);
}

/* Rows `begin`..`begin` + `depth` of b in panels, of which [low, high) are wanted. */
template <class T> struct block_columns {
    const sum_of<T> *packed;
    int64_t begin, depth, low, high;
    sum_of<T> *sums; /* (m, n), between runs of k: where c does not hold them */
};

/* What the sums of a tile of c start from, at the first run of k. */
template <class T>
inline const sum_of<T> *block_start(const T *c, int64_t c_row, int64_t rows,
                                    int64_t columns, sum_of<T> *room) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j++)
            room[r * columns + j] = lanes_of<T>::one(c[r * c_row + j]);
    return room;
}

/* Row panels [first, last), BLOCK_PANELS at most, at one run of k. */
template <class T, bool Packed>
inline void block_run(const product<T> &p, const block_columns<T> &b, int64_t first,
                      int64_t last, int64_t inner, int64_t depth, const sum_of<T> *a) {
    typedef sum_of<T> S;
    constexpr int64_t width = panel_width<S>();
    const int64_t top = first_row(p.m, first);
    const bool begun = b.begin + inner > 0, ends = b.begin + inner + depth == p.k;
    for (int64_t j = b.low; j < b.high; j++) {
        const int64_t left = p.n - j * width, columns = left < width ? left : width;
        const S *panel = b.packed + (j * b.depth + inner) * width;
        const char *next = (const char *)(panel + b.depth * width);
        const int64_t share = (width * sizeof(S) + last - first - 1) / (last - first);
        S line[width] = {}, tile[holds_sums<T> ? 1 : BLOCK_ROWS * width];
        if (p.bias && !p.accumulate && !begun)
            block_start(p.bias + j * width, 0, 1, columns, line);
        for (int64_t i = first; i < last; i++) {
            const int64_t row = first_row(p.m, i);
            const int64_t rows = first_row(p.m, i + 1) - row;
            const S *from = Packed ? a + (i - first) * BLOCK_ROWS * depth
                                   : a + (row - top) * p.a_row;
            const char *soon = next + (i - first) * depth * share;
            auto multiply = [&](auto *c, int64_t c_row, const S *start,
                                int64_t start_row) {
                block_target<S, std::remove_pointer_t<decltype(c)>> to = {
                    c, c_row, start, start_row, soon, share};
                if (columns == width)
                    block_rows<S, 2, Packed>(rows, depth, from, p.a_col, p.a_row, panel,
                                             to);
                else
                    block_part<S, Packed>(rows, columns, depth, from, p.a_col, p.a_row,
                                          panel, to);
            };
            T *c = p.c + row * p.c_row + j * width;
            const S *start = line;
            int64_t start_row = 0;
            if constexpr (holds_sums<T>) {
                if (p.accumulate || begun) start = c, start_row = p.c_row;
                multiply(c, p.c_row, start, start_row);
            } else {
                S *sums = b.sums ? b.sums + row * p.n + j * width : NULL;
                if (begun)
                    start = sums, start_row = p.n;
                else if (p.accumulate)
                    start = block_start(c, p.c_row, rows, columns, tile),
                    start_row = columns;
                if (ends)
                    multiply(c, p.c_row, start, start_row);
                else
                    multiply(sums, p.n, start, start_row);
            }
        }
    }
}

/* Row panels [first, last) of c, for b's rows and panels; `block` has block_size
 * elements. */
template <class T>
void block_product(const product<T> &p, const block_columns<T> &b, int64_t first,
                   int64_t last, sum_of<T> *block) {
    const bool packs = !holds_sums<T> || b.high - b.low >= BLOCK_REUSE;
    const int64_t blocks = (last - first + BLOCK_PANELS - 1) / BLOCK_PANELS;
    for (int64_t s = 0; s < blocks; s++) {
        const int64_t low = first + (last - first) * s / blocks;
        const int64_t high = first + (last - first) * (s + 1) / blocks;
        for (int64_t inner = 0; inner < b.depth; inner += GEMM_DEPTH) {
            const int64_t left = b.depth - inner;
            const int64_t depth = left < GEMM_DEPTH ? left : GEMM_DEPTH;
            const T *a = p.a + (b.begin + inner) * p.a_col;
            if constexpr (holds_sums<T>)
                if (!packs) {
                    block_run<T, false>(p, b, low, high, inner, depth,
                                        a + first_row(p.m, low) * p.a_row);
                    continue;
                }
            for (int64_t i = low; i < high; i++) {
                const int64_t row = first_row(p.m, i);
                pack_rows(a + row * p.a_row, p.a_row, p.a_col, p.m - row, depth,
                          block + (i - low) * BLOCK_ROWS * depth);
            }
            block_run<T, true>(p, b, low, high, inner, depth, block);
        }
    }
}

/* Runs of c's rows times runs of its columns. */
struct block_grid {
    int64_t down, across;
};

/* As many tasks as parts, or more. Rows are shared out first, for each task packs its
 * own of a; each has four panels, so that b's are not read for less. */
template <class T>
block_grid share_blocks(const product<T> &p, const block_columns<T> &b, int parts) {
    const int64_t rows = row_panels(p.m), most = rows / 4 + 1;
    block_grid grid;
    grid.down = (rows + BLOCK_PANELS - 1) / BLOCK_PANELS;
    if (grid.down < parts)
        grid.down = most < parts ? most : parts;
    else
        grid.down = (grid.down + parts - 1) / parts * parts;
    grid.across = (parts + grid.down - 1) / grid.down;
    if (grid.across > b.high) grid.across = b.high;
    return grid;
}

/* Tasks [first, last), along rows of the grid. */
template <class T>
void block_tasks(const product<T> &p, const block_columns<T> &b, const block_grid &grid,
                 int64_t first, int64_t last, sum_of<T> *block) {
    const int64_t rows = row_panels(p.m);
    for (int64_t task = first; task < last; task++) {
        const int64_t i = task / grid.across, j = task % grid.across;
        block_columns<T> part = b;
        part.low = b.high * j / grid.across;
        part.high = b.high * (j + 1) / grid.across;
        block_product(p, part, rows * i / grid.down, rows * (i + 1) / grid.down, block);
    }
}

/* Panel j of rows begin..begin + depth of b; what lies beyond its columns is 0. */
template <class T>
void pack_columns(const product<T> &p, int64_t begin, int64_t depth, int64_t j,
                  sum_of<T> *packed) {
    constexpr int64_t width = panel_width<sum_of<T>>();
    const int64_t left = p.n - j * width;
    sum_of<T> *panel = packed + j * depth * width;
    if (left < width) memset(panel, 0, depth * width * sizeof *panel);
    pack_panel(p, begin, depth, j * width, left < width ? left : width, panel);
}

/* A part a thread that packs what it multiplies by itself, if that is quicker than b
 * packed together, whose lines the other threads then hold and give back slowly: twice
 * the time (measured with two threads), and a wait. Else down is 0. */
template <class T> block_grid own_blocks(const product<T> &p, int parts) {
    const int64_t panels = (p.n + panel_columns(p.b) - 1) / panel_columns(p.b);
    int64_t least = (p.m + 2 * p.n) / parts + BLOCK_WAIT / (p.k + 1);
    block_grid grid = {0, 0};
    for (int64_t across = parts; across > 0; across--) {
        const int64_t down = parts / across, cost = p.m / down + p.n / across;
        if (down * across == parts && cost < least && across <= panels &&
            down <= row_panels(p.m)) {
            grid = {down, across};
            least = cost;
        }
    }
    return grid;
}

/* Elements that a part needs besides sums: its panels of b, and a block of a. */
template <class T> int64_t own_size(const product<T> &p, const block_grid &grid) {
    const int64_t width = panel_columns(p.b), panels = (p.n + width - 1) / width;
    return (panels + grid.across - 1) / grid.across * width * p.k + block_size(p.b);
}

template <class T>
void own_block(const product<T> &p, const block_grid &grid, int64_t part,
               sum_of<T> *room, sum_of<T> *sums) {
    const int64_t width = panel_columns(p.b), panels = (p.n + width - 1) / width;
    const int64_t rows = row_panels(p.m), i = part / grid.across;
    const int64_t first = panels * (part % grid.across) / grid.across;
    const int64_t last = panels * (part % grid.across + 1) / grid.across;
    product<T> q = p;
    q.b += first * width * p.b_col;
    q.c += first * width;
    if (q.bias) q.bias += first * width;
    q.n = (last < panels ? last * width : p.n) - first * width;
    for (int64_t j = 0; j < last - first; j++)
        pack_columns(q, 0, q.k, j, room);
    block_columns<T> b = {room, 0, q.k, 0, last - first, NULL};
    if (sums) b.sums = sums + p.m * first * width;
    block_product(q, b, rows * i / grid.down, rows * (i + 1) / grid.down,
                  room + (last - first) * width * q.k);
}

} /* namespace tl */

#endif /* TENSORLIB_BLOCKED_GEMM_H */
