/* Pointwise convolution: filters times the pixels of all images, a product a group.
 *
 * Columns of the product are pixels, those of an image after those of the one before,
 * so that few are left over however small images are. They are packed in panels, some
 * at a time, while the panels that come next are fetched; filters are packed once, for
 * all images and threads. Blocks are those of blocked_gemm.h, and so are sums: in
 * order, by runs of GEMM_DEPTH channels.
 *
 * The weight's gradient sums along pixels, by units of a run of them or of some images.
 * The operand with fewer channels is turned around, to columns; that with more is read
 * where it lies if it is read few times.
 */
#ifndef TENSORLIB_CONV_POINTWISE_H
#define TENSORLIB_CONV_POINTWISE_H

#include "tensorlib/blocked_gemm.h"
#include "tensorlib/conv_channels.h"
#include "tensorlib/conv_direct.h"

namespace tl {

/* Panels of pixels packed together: 256 KB with AVX-512, of the second cache level. */
constexpr int64_t POINT_PANELS = 8;
/* Pixels that a slice of the weight's gradient should have, for its sums are added up
 * once more. */
constexpr int64_t POINT_SLICE = 1024;

struct point_plan {
    int64_t n, groups, from, to, pixels;
    int64_t w_row, w_col; /* of filters, (to, from), in elements */
    int64_t panels;       /* of the pixels of all images */
};

inline bool point_suits(const conv_shape *p) {
    return p->pointwise && !p->channels_last && p->c > 0;
}

template <class T>
inline point_plan point_describe(const conv_shape *p, const T *like) {
    return {p->n,
            p->groups,
            p->c,
            p->o,
            p->pixels,
            p->turned ? 1 : p->c,
            p->turned ? p->o : 1,
            panel_count(like, p->n * p->pixels)};
}

/* ---- forward -------------------------------------------------------------------- */

/* Elements of a packed panel of filters, and of a thread's work. */
template <class T> inline int64_t point_room(const point_plan *d, const T *) {
    return BLOCK_ROWS * d->from + lanes<T>::count;
}
template <class T> inline int64_t point_work(const point_plan *d, const T *) {
    const int64_t depth = direct_min(d->from, GEMM_DEPTH);
    return direct_min(d->panels, POINT_PANELS) * depth * panel_width<T>();
}

/* Panel i of a group's filters. */
template <class T>
inline void point_filters(const point_plan *d, const T *w, int64_t i, T *packed) {
    const int64_t row = first_row(d->to, i);
    pack_rows(w + row * d->w_row, d->w_row, d->w_col, first_row(d->to, i + 1) - row,
              d->from, packed + i * point_room(d, w));
}

/* visit(image, pixel, column, count) for every image that a panel has pixels of. */
template <class T, class Visit>
inline void point_pieces(const point_plan *d, int64_t panel, const T *, Visit visit) {
    constexpr int64_t width = panel_width<T>();
    const int64_t first = panel * width;
    const int64_t columns = direct_min(d->n * d->pixels - first, width);
    int64_t image = first / d->pixels, pixel = first - image * d->pixels;
    for (int64_t j = 0, count; j < columns; j += count, image++, pixel = 0) {
        count = direct_min(columns - j, d->pixels - pixel);
        visit(image, pixel, j, count);
    }
}

/* Whether all pixels of a panel, and no fewer than it has columns, are of one image. */
template <class T>
inline bool point_whole(const point_plan *d, int64_t panel, const T *) {
    const int64_t pixel = panel * panel_width<T>() % d->pixels;
    return pixel + panel_width<T>() <= d->pixels;
}

/* The first n lanes of a vector, which alone are in memory. */
template <class T> inline typename lanes<T>::vector point_load(const T *x, int64_t n) {
#if defined(__AVX512F__)
    return load_first(x, n);
#else
    typename lanes<T>::vector v{};
    memcpy(&v, x, n * sizeof(T));
    return v;
#endif
}
template <class T>
inline void point_store(T *x, int64_t n, typename lanes<T>::vector v) {
#if defined(__AVX512F__)
    store_first(x, n, v);
#else
    memcpy(x, &v, n * sizeof(T));
#endif
}

/* `depth` channels of a panel that is not whole, from those at x on; columns of no
 * pixel become 0. */
template <class T>
inline void point_pack(const point_plan *d, const T *x, int64_t panel, int64_t depth,
                       T *packed) {
    constexpr int64_t width = panel_width<T>(), lane = lanes<T>::count;
    const int64_t image = d->groups * d->from * d->pixels;
    if ((panel + 1) * width > d->n * d->pixels)
        memset(packed, 0, depth * width * sizeof(T));
    point_pieces(d, panel, x, [&](int64_t i, int64_t pixel, int64_t j, int64_t count) {
        for (int64_t k = 0; k < count; k += lane) {
            const T *from = x + i * image + pixel + k;
            const int64_t part = direct_min(count - k, lane);
            for (int64_t q = 0; q < depth; q++)
                point_store(packed + q * width + j + k, part,
                            point_load(from + q * d->pixels, part));
        }
    });
}

/* block_tile of a whole panel of pixels, which is packed as it is read: its lines come
 * from the second cache level while sums go on. */
template <class T, size_t... R>
inline void point_enter(std::index_sequence<R...>, int64_t depth, const T *w,
                        const T *x, int64_t pixels, T *packed,
                        const block_target<T> &to) {
    typedef lanes<T> L;
    typedef typename L::vector vec;
    constexpr int V = 2;
    constexpr auto clear = [](vec(&sum)[V]) { sum[0] = sum[1] = vec{}; };
    constexpr auto multiply = [](vec(&sum)[V], T left, const vec(&right)[V]) {
        for (int v = 0; v < V; v++)
            sum[v] += left * right[v];
    };
    constexpr auto put = [](const vec(&sum)[V], const T *start, T *c) {
        for (int v = 0; v < V; v++) {
            const vec all = L::load(start + v * L::count) + sum[v];
            memcpy(c + v * L::count, &all, sizeof all);
        }
    };
    vec sums[sizeof...(R)][V]; /* in registers, since every row has a name */
    (clear(sums[R]), ...);
    const char *next = to.next;
    for (int64_t q = 0; q < depth; q++, w += BLOCK_ROWS, x += pixels) {
        __builtin_prefetch(next, 0, 2);
        next += to.share;
        vec right[V];
        for (int v = 0; v < V; v++, packed += L::count) {
            right[v] = L::load(x + v * L::count);
            memcpy(packed, &right[v], sizeof right[v]);
        }
        (multiply(sums[R], w[(int64_t)R], right), ...);
    }
    (put(sums[R], to.start + (int64_t)R * to.start_row, to.c + (int64_t)R * to.row),
     ...);
}

/* point_enter for a number of rows known when run. */
template <class T, int R = BLOCK_ROWS>
inline void point_rows(int64_t rows, int64_t depth, const T *w, const T *x,
                       int64_t pixels, T *packed, const block_target<T> &to) {
    if constexpr (R > 1) {
        if (rows < R)
            return point_rows<T, R - 1>(rows, depth, w, x, pixels, packed, to);
    }
    point_enter(std::make_index_sequence<R>(), depth, w, x, pixels, packed, to);
}

/* The start of sums that have not begun, and where they go. */
template <class T> struct point_target {
    const T *bias; /* of the first row, or NULL */
    bool begun;    /* sums are added to those of the channels before */
    T *y;          /* the first row, of the first image */
};

/* Some rows of a panel of pixels, which the first of them packs from x. */
template <class T>
inline void point_tile(const point_plan *d, int64_t rows, int64_t depth, const T *w,
                       const T *x, T *packed, int64_t panel, const point_target<T> &to,
                       const T *next, bool fetch) {
    constexpr int64_t width = panel_width<T>();
    alignas(64) T aside[BLOCK_ROWS * width];
    const int64_t image = d->groups * d->to * d->pixels;
    const int64_t first = panel * width;
    block_target<T> block = {aside,
                             width,
                             aside,
                             0,
                             (const char *)next,
                             fetch ? d->pixels * (int64_t)sizeof(T) : 0};
    if (point_whole(d, panel, w)) {
        block.c = to.y + first / d->pixels * image + first % d->pixels;
        block.row = d->pixels;
        if (to.begun) {
            block.start = block.c;
            block.start_row = d->pixels;
        } else if (to.bias) {
            block.start_row = width;
            for (int64_t r = 0; r < rows; r++)
                for (int64_t j = 0; j < width; j++)
                    aside[r * width + j] = to.bias[r];
        } else {
            memset(aside, 0, width * sizeof(T));
        }
        if (x)
            point_rows<T>(rows, depth, w,
                          x + first / d->pixels * d->groups * d->from * d->pixels +
                              first % d->pixels,
                          d->pixels, packed, block);
        else
            block_rows<T, 2, true>(rows, depth, w, 0, 0, packed, block);
        return;
    }
    const T zeros[width] = {};
    block.start = zeros;
    if (x) point_pack(d, x, panel, depth, packed);
    block_rows<T, 2, true>(rows, depth, w, 0, 0, packed, block);
    point_pieces(d, panel, w, [&](int64_t i, int64_t pixel, int64_t j, int64_t count) {
        for (int64_t k = 0; k < count; k += lanes<T>::count) {
            const int64_t part = direct_min(count - k, lanes<T>::count);
            T *y = to.y + i * image + pixel + k;
            for (int64_t r = 0; r < rows; r++, y += d->pixels) {
                auto sum = point_load(aside + r * width + j + k, part);
                if (to.begun)
                    sum += point_load(y, part);
                else if (to.bias)
                    sum += to.bias[r];
                point_store(y, part, sum);
            }
        }
    });
}

/* Where the pixels of a panel lie that a tile of row panel i fetches: both lines of a
 * full panel, and its last pixel, which may be of another image. */
template <class T>
inline const T *point_ahead(const point_plan *d, const T *x, int64_t panel, int64_t i) {
    constexpr int64_t width = panel_width<T>();
    const int64_t at = i == 0 ? 0 : i == 1 ? width / 2 : width - 1;
    const int64_t column = direct_min(panel * width + at, d->n * d->pixels - 1);
    return x + column / d->pixels * d->groups * d->from * d->pixels +
           column % d->pixels;
}

/* Row panels [low, high) of panels of pixels [first, last) of a group, whose first
 * images are x and y. */
template <class T>
void point_part(const point_plan *d, const T *x, const T *w, const T *bias, T *y,
                int64_t low, int64_t high, int64_t first, int64_t last, T *work) {
    constexpr int64_t width = panel_width<T>();
    const int64_t room = point_room(d, w);
    for (int64_t begin = first; begin < last; begin += POINT_PANELS) {
        const int64_t end = direct_min(begin + POINT_PANELS, last);
        for (int64_t inner = 0, depth; inner < d->from; inner += depth) {
            depth = direct_min(d->from - inner, GEMM_DEPTH);
            const bool more = inner + depth < d->from;
            for (int64_t i = low; i < high; i++) {
                const int64_t row = first_row(d->to, i);
                for (int64_t j = begin; j < end; j++) {
                    const int64_t after = more ? j : j + POINT_PANELS;
                    const T *source = more ? x + (inner + depth) * d->pixels : x;
                    const bool fetch = i - low < 3 && after < last;
                    T *panel = work + (j - begin) * depth * width;
                    point_tile<T>(
                        d, first_row(d->to, i + 1) - row, depth,
                        w + i * room + inner * BLOCK_ROWS,
                        i == low ? x + inner * d->pixels : NULL, panel, j,
                        {bias ? bias + row : bias, inner > 0, y + row * d->pixels},
                        fetch ? point_ahead(d, source, after, i - low) : panel, fetch);
                }
            }
        }
    }
}

/* ---- the weight's gradient ------------------------------------------------------- */

/* Sums (rows, columns) over pixels of a (rows, pixels) and b (columns, pixels). */
struct point_sums {
    bool turned; /* rows are channels of x, columns those of y */
    int64_t groups, rows, columns, pixels;
    int64_t n;
    int64_t images; /* of a unit: some images, or a run of pixels of one */
    int64_t runs;   /* of an image */
    int64_t units;
    int64_t slices; /* with sums of their own */
    int64_t pitch;  /* of a row of sums */
};

template <class T>
inline point_sums point_gradient(const conv_shape *p, int64_t tasks, const T *like) {
    point_sums s;
    s.turned = p->c >= p->o;
    s.groups = p->groups;
    s.rows = s.turned ? p->c : p->o;
    s.columns = s.turned ? p->o : p->c;
    s.pixels = p->pixels;
    s.n = p->n;
    s.images = direct_min(direct_max(GEMM_DEPTH / p->pixels, 1), p->n);
    s.runs = direct_ceil(p->pixels, GEMM_DEPTH);
    s.units = direct_ceil(p->n, s.images) * s.runs;
    s.slices =
        direct_min(direct_ceil(tasks, p->groups), p->n * p->pixels / POINT_SLICE);
    s.slices = direct_max(direct_min(s.slices, s.units), 1);
    s.pitch = panel_count(like, s.columns) * panel_width<T>();
    return s;
}

/* Elements of a thread's work: packed columns, and a panel of rows. */
template <class T> inline int64_t point_sum_work(const point_sums *s, const T *) {
    return (s->pitch + BLOCK_ROWS) * GEMM_DEPTH + lanes<T>::count;
}

/* Images [first, first + images), pixels [start, start + run) of each. */
struct point_unit {
    int64_t first, images, start, run;
};
inline point_unit point_at(const point_sums *s, int64_t unit) {
    point_unit u;
    u.first = unit / s->runs * s->images;
    u.images = direct_min(s->images, s->n - u.first);
    const int64_t i = unit % s->runs;
    u.start = s->pixels * i / s->runs;
    u.run = s->pixels * (i + 1) / s->runs - u.start;
    return u;
}

/* The columns of a unit, turned around in panels of images * run vectors. */
template <class T>
inline void point_turn(const point_sums *s, const point_unit &u, const T *b,
                       T *packed) {
    constexpr int64_t lane = lanes<T>::count, width = panel_width<T>();
    const int64_t depth = u.images * u.run, image = s->groups * s->columns * s->pixels;
    for (int64_t j = 0; j < s->columns; j += lane)
        for (int64_t i = 0; i < u.images; i++)
            channel_turn(b + (u.first + i) * image + j * s->pixels + u.start, s->pixels,
                         direct_min(s->columns - j, lane), u.run,
                         packed + j / width * width * depth + j % width +
                             i * u.run * width,
                         width);
}

/* Row panels [low, high) of the sums of units [first, last); a and b start at the
 * group's channels of the first image. */
template <class T>
void point_sum(const point_sums *s, const T *a, const T *b, int64_t low, int64_t high,
               int64_t first, int64_t last, T *sums, T *work) {
    constexpr int64_t lane = lanes<T>::count, width = panel_width<T>();
    const int64_t image = s->groups * s->rows * s->pixels;
    T *panel = work + s->pitch * GEMM_DEPTH;
    const T zeros[width] = {};
    for (int64_t unit = first; unit < last; unit++) {
        const point_unit u = point_at(s, unit);
        const int64_t depth = u.images * u.run;
        const bool packs = u.images > 1;
        point_turn(s, u, b, work);
        for (int64_t i = low; i < high; i++) {
            const int64_t row = first_row(s->rows, i);
            const int64_t rows = first_row(s->rows, i + 1) - row;
            const T *from = a + u.first * image + row * s->pixels + u.start;
            if (packs)
                for (int64_t k = 0; k < u.images; k++)
                    pack_rows(from + k * image, s->pixels, 1, rows, u.run,
                              panel + k * u.run * BLOCK_ROWS);
            for (int64_t j = 0; j < s->columns; j += width) {
                T *c = sums + row * s->pitch + j;
                const T *right = work + j * depth;
                block_target<T> to = {c, s->pitch, zeros, 0, (const char *)from, 0};
                if (unit > first) to.start = c, to.start_row = s->pitch;
                if (u.images == s->images && unit + 1 < last && j == 0 &&
                    s->runs == 1) {
                    to.next = (const char *)(from + u.images * image);
                    to.share = 64;
                }
                if (packs && s->columns - j > lane)
                    block_rows<T, 2, true>(rows, depth, panel, 0, 0, right, to);
                else if (packs)
                    block_rows<T, 1, true>(rows, depth, panel, 0, 0, right, to);
                else if (s->columns - j > lane)
                    block_rows<T, 2, false>(rows, depth, from, 1, s->pixels, right, to);
                else
                    block_rows<T, 1, false>(rows, depth, from, 1, s->pixels, right, to);
            }
        }
    }
}

/* Sums of all slices (slices, rows, pitch) of a group, as filters. */
template <class T> void point_totals(const point_sums *s, T *sums, T *w) {
    const int64_t n = s->rows * s->pitch;
    if (s->slices > 1) add_slices(sums, s->slices, n, sums);
    if (s->turned)
        tl_turn(sums, s->pitch, sizeof(T), s->columns, s->rows, w, s->rows);
    else
        for (int64_t r = 0; r < s->rows; r++)
            memcpy(w + r * s->columns, sums + r * s->pitch, s->columns * sizeof(T));
}

} /* namespace tl */

#endif /* TENSORLIB_CONV_POINTWISE_H */
