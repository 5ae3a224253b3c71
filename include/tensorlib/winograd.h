/* Winograd's convolution F(4x4, 3x3): 36 multiplications for 16 outputs, instead of
 * 144.
 *
 * Tiles of 6 x 6 inputs, 4 apart, and filters are taken to their values at the points
 * 0, +-1/sqrt 2, +-sqrt 2 and infinity of both axes; there the convolution is a product
 * of matrices for each of the 36 points, and the way back gives 4 x 4 outputs. These
 * points keep the largest error at 1e-6 to 4e-6 of the largest output (64 to 512
 * channels of random numbers), where 0, +-1, +-2 have five times as much (64 channels).
 * The weight's gradient is the same scheme with the roles of outputs and filter
 * exchanged, and vectors over tiles, in the order of rows of tiles; forward they run
 * over channels (winograd_channels.h).
 *
 * Lavin, Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308.
 */
#ifndef TENSORLIB_WINOGRAD_H
#define TENSORLIB_WINOGRAD_H

#include "tensorlib/blocked_gemm.h"
#include "tensorlib/conv_direct.h"

namespace tl {

constexpr int POINTS = 36;

/* A convolution as tiles; a block is some images, or some rows of tiles of one. */
struct winograd_plan {
    bool turned; /* filters, as in conv_shape */
    int64_t n, groups, c, o;
    int64_t size[2], out[2], padding[2];
    int64_t tiles[2];
    int64_t images, rows, pieces; /* of a block; blocks of an image */
    int64_t blocks;
    int64_t pitch; /* tiles of a block in memory, and a vector more */
    int64_t parts; /* of the output channels, each a task */
};

struct winograd_block {
    int64_t first, images, row, rows, tiles;
};

template <class T>
inline winograd_plan winograd_describe(const conv_shape *p, int64_t bytes, int64_t most,
                                       int64_t tasks, const T *) {
    const int64_t unit = 2 * lanes<T>::count;
    winograd_plan d;
    d.turned = p->turned;
    d.n = p->n;
    d.groups = p->groups;
    d.c = p->c;
    d.o = p->o;
    for (int a = 0; a < 2; a++) {
        d.size[a] = p->size[a + 1];
        d.out[a] = p->out[a + 1];
        d.padding[a] = p->padding[a + 1];
        d.tiles[a] = direct_ceil(d.out[a], 4);
    }
    int64_t wanted = bytes / (POINTS * (int64_t)sizeof(T) * (d.c + d.o)) / unit * unit;
    int64_t image = d.tiles[0] * d.tiles[1];
    wanted = direct_min(direct_min(wanted, most), d.n * image * d.groups / tasks);
    wanted = direct_max(wanted, unit);
    d.images = direct_max(direct_min(wanted / image, d.n), 1);
    d.pieces = direct_ceil(d.tiles[0], direct_max(wanted / d.tiles[1], 1));
    d.rows = direct_ceil(d.tiles[0], d.pieces);
    d.pieces = direct_ceil(d.tiles[0], d.rows);
    d.blocks = direct_ceil(d.n, d.images) * d.pieces;
    const int64_t lane = lanes<T>::count;
    d.pitch = direct_ceil(d.images * d.rows * d.tiles[1], lane) * lane + lane;
    /* Each part transforms the inputs anew: two at most of few channels. */
    const int64_t most_parts = direct_max(d.o / 64, direct_min(d.o / 16, 2));
    d.parts = direct_ceil(tasks, d.blocks * d.groups);
    d.parts = direct_max(direct_min(d.parts, most_parts), 1);
    return d;
}

inline winograd_block winograd_at(const winograd_plan *d, int64_t block) {
    winograd_block b;
    b.first = block / d->pieces * d->images;
    b.images = direct_min(d->images, d->n - b.first);
    b.row = block % d->pieces * d->rows;
    b.rows = direct_min(d->rows, d->tiles[0] - b.row);
    b.tiles = b.images * b.rows * d->tiles[1];
    return b;
}

/* ---- one axis of the transforms: n values, `step` apart, in place of vectors -------
 */
constexpr double HALF_ROOT = 0.70710678118654752440, ROOT = 1.41421356237309504880;

/* B^T x of 6 inputs. */
template <class T, class V> inline void winograd_inputs(V *x, int step) {
    V &x0 = x[0], &x1 = x[step], &x2 = x[2 * step], &x3 = x[3 * step];
    V &x4 = x[4 * step], &x5 = x[5 * step];
    V even = x4 - T(2) * x2, odd = T(HALF_ROOT) * x3 - T(ROOT) * x1;
    V even2 = x4 - T(0.5) * x2, odd2 = T(ROOT) * x3 - T(HALF_ROOT) * x1;
    V first = x0 - T(2.5) * x2 + x4, last = x1 - T(2.5) * x3 + x5;
    x0 = first;
    x1 = even + odd;
    x2 = even - odd;
    x3 = even2 + odd2;
    x4 = even2 - odd2;
    x5 = last;
}

/* G g: 3 taps, or 4 outputs of which a gradient is given, to 6. */
template <class T, int N, class V> inline void winograd_filters(V *x, int step) {
    V x0 = x[0], x1 = x[step], x2 = x[2 * step], zero{};
    V x3 = N == 4 ? x[(N - 1) * step] : zero;
    V even = (x0 + T(0.5) * x2) * T(-2 / 3.), even2 = (x0 + T(2) * x2) * T(1 / 6.);
    V odd = (x1 + T(0.5) * x3) * T(-2 / 3. * HALF_ROOT);
    V odd2 = (x1 + T(2) * x3) * T(1 / 6. * ROOT);
    x[step] = even + odd;
    x[2 * step] = even - odd;
    x[3 * step] = even2 + odd2;
    x[4 * step] = even2 - odd2;
    x[5 * step] = N == 4 ? x3 : x2;
}

/* A^T m: 6 products to 4 outputs, or to the gradient of 3 taps. */
template <class T, int N, class V> inline void winograd_outputs(V *x, int step) {
    V p = x[step] + x[2 * step], q = x[step] - x[2 * step];
    V p2 = x[3 * step] + x[4 * step], q2 = x[3 * step] - x[4 * step], m5 = x[5 * step];
    x[0] = x[0] + p + p2;
    x[step] = T(HALF_ROOT) * q + T(ROOT) * q2;
    x[2 * step] = T(0.5) * p + T(2) * p2;
    if (N == 4)
        x[3 * step] = T(HALF_ROOT / 2) * q + T(2 * ROOT) * q2 + m5;
    else
        x[2 * step] += m5;
}

/* ---- columns to residues modulo 4, and back -----------------------------------------
 */
/* Columns [first, first + lanes) of a line of `size`, zeros outside of it. */
template <class T>
inline typename lanes<T>::vector winograd_load(const T *line, int64_t first,
                                               int64_t size) {
    typedef lanes<T> L;
    typedef typename std::conditional<sizeof(T) == 4, int32_t, int64_t>::type index;
    typedef index indices __attribute__((vector_size(LANE_BYTES)));
    typename L::vector zero{};
    if (first >= 0 && first + L::count <= size) return L::load(line + first);
    if (first >= size || first + L::count <= 0) return zero;
    if (size < L::count) {
        for (int64_t l = 0; l < L::count; l++)
            if (first + l >= 0 && first + l < size) zero[l] = line[first + l];
        return zero;
    }
    int64_t start = direct_max(direct_min(first, size - L::count), 0);
    indices at;
    for (int l = 0; l < L::count; l++)
        at[l] = l;
    at += (index)direct_max(direct_min(first - start, L::count), -L::count);
    typename L::vector v = __builtin_shuffle(L::load(line + start), at);
    return (at >= 0) & (at < (index)L::count) ? v : zero;
}

template <int At, class V, size_t... I>
inline V winograd_next(V a, V b, std::index_sequence<I...>) {
    constexpr int n = sizeof...(I);
    return __builtin_shufflevector(a, b, (int)(I + 1 < n ? I + 1 : n + At)...);
}

/* Columns of as many tiles as a vector has lanes, by their places in a tile: four, and
 * the first two of the next tile. */
template <class T, int Columns>
inline void winograd_part(const T *line, int64_t first, int64_t size, T *to,
                          int64_t step) {
    typedef lanes<T> L;
    constexpr auto all = std::make_index_sequence<L::count>();
    typename L::vector x[5], r[6];
    for (int i = 0; i < 5; i++)
        x[i] = winograd_load(line, first + i * L::count, size);
    auto e = every_second<0>(x[0], x[1], all), f = every_second<0>(x[2], x[3], all);
    auto g = every_second<1>(x[0], x[1], all), h = every_second<1>(x[2], x[3], all);
    r[0] = every_second<0>(e, f, all);
    r[1] = every_second<0>(g, h, all);
    r[2] = every_second<1>(e, f, all);
    r[3] = every_second<1>(g, h, all);
    r[4] = winograd_next<0>(r[0], x[4], all);
    r[5] = winograd_next<1>(r[1], x[4], all);
    for (int i = 0; i < Columns; i++)
        memcpy(to + i * step, &r[i], sizeof r[0]);
}

/* ---- transforms of blocks -------------------------------------------------------- */

/* Elements of a thread's work beside the values at the points. */
template <class T> inline int64_t winograd_work(const winograd_plan *d, const T *) {
    return 24 * ((d->rows + 1) * d->tiles[1] + lanes<T>::count);
}

/* Rows of a plane as residues of both axes: [row % 4][column of a tile][tile], for
 * `Columns` (6, or 4 that do not overlap) columns; outside of the plane are zeros. */
template <class T, int Columns>
inline void winograd_gather(const winograd_plan *d, const T *plane, const int64_t *size,
                            int64_t top, int64_t left, int64_t rows, int64_t span,
                            T *planes) {
    for (int64_t r = 0; r < rows; r++) {
        T *to = planes + (r % 4 * Columns) * span + r / 4 * d->tiles[1];
        int64_t y = top + r;
        if (y >= 0 && y < size[0]) {
            for (int64_t t = 0; t < d->tiles[1]; t += lanes<T>::count)
                winograd_part<T, Columns>(plane + y * size[1], 4 * t - left, size[1],
                                          to + t, span);
            continue;
        }
        for (int64_t j = 0; j < Columns; j++)
            for (int64_t t = 0; t < d->tiles[1]; t++)
                to[j * span + t] = 0;
    }
}

/* A vector of tiles, of which v holds the N x N inputs, at the points. */
template <class T, int N>
inline void winograd_values(typename lanes<T>::vector *v, T *at, int64_t apart) {
    for (int j = 0; j < N; j++) {
        if constexpr (N == 4)
            winograd_filters<T, 4>(v + j, 6);
        else
            winograd_inputs<T>(v + j, 6);
    }
    for (int r = 0; r < 6; r++) {
        if constexpr (N == 4)
            winograd_filters<T, 4>(v + 6 * r, 1);
        else
            winograd_inputs<T>(v + 6 * r, 1);
        for (int j = 0; j < 6; j++)
            memcpy(at + (6 * r + j) * apart, &v[6 * r + j], sizeof v[0]);
    }
}

/* Every tile of images with so few that vectors run across images: each image is laid
 * into a frame of zeros, and its tiles into lanes. */
template <class T, int N>
inline void winograd_enter_small(const winograd_plan *d, const winograd_block *b,
                                 const T *x, int64_t image, const int64_t *size,
                                 const int64_t *padding, T *at, int64_t apart) {
    typedef lanes<T> L;
    T frame[28 * L::count] = {}, lane[N * N][L::count] = {};
    const int64_t width = 4 * d->tiles[1] + N - 4, height = 4 * d->tiles[0] + N - 4;
    const int64_t rows = direct_min(size[0], height - padding[0]);
    const int64_t columns = direct_min(size[1], width - padding[1]);
    int64_t l = 0;
    for (int64_t tile = 0; tile < b->tiles; x += image) {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < columns; j++)
                frame[(padding[0] + r) * width + padding[1] + j] = x[r * size[1] + j];
        for (int64_t q = 0; q < d->tiles[0]; q++)
            for (int64_t t = 0; t < d->tiles[1]; t++) {
                for (int r = 0; r < N; r++)
                    for (int j = 0; j < N; j++)
                        lane[N * r + j][l] = frame[(4 * q + r) * width + 4 * t + j];
                tile++;
                if (++l < L::count && tile < b->tiles) continue;
                typename L::vector v[POINTS];
                for (int r = 0; r < N; r++)
                    for (int j = 0; j < N; j++)
                        v[6 * r + j] = L::load(lane[N * r + j]);
                winograd_values<T, N>(v, at, apart);
                at += L::count;
                l = 0;
            }
    }
}

/* Every tile of a block and a channel at the 36 points: at + point * apart + tile.
 * Gradient: of the outputs, whose tiles are 4 x 4 and lie at 0. */
template <class T, bool Gradient>
inline void winograd_enter(const winograd_plan *d, const winograd_block *b, const T *x,
                           int64_t image, T *planes, T *at, int64_t apart) {
    typedef lanes<T> L;
    constexpr int N = Gradient ? 4 : 6;
    const int64_t none[2] = {0, 0}, *padding = Gradient ? none : d->padding;
    const int64_t *size = Gradient ? d->out : d->size;
    const int64_t tiles = b->rows * d->tiles[1];
    const int64_t span = (d->rows + 1) * d->tiles[1] + L::count;
    if (d->pieces == 1 && tiles <= L::count && padding[0] >= 0 && padding[1] >= 0) {
        winograd_enter_small<T, N>(d, b, x, image, size, padding, at, apart);
        return;
    }
    for (int64_t i = 0; i < b->images; i++, x += image, at += tiles) {
        winograd_gather<T, N>(d, x, size, 4 * b->row - padding[0], padding[1],
                              4 * b->rows + N - 4, span, planes);
        for (int64_t t = 0; t < tiles; t += L::count) {
            typename L::vector v[POINTS];
            for (int j = 0; j < N; j++)
                for (int r = 0; r < N; r++)
                    v[6 * r + j] = L::load(planes + (r % 4 * N + j) * span +
                                           r / 4 * d->tiles[1] + t);
            winograd_values<T, N>(v, at + t, apart);
        }
    }
}

/* A copy of n elements, plus `shift`; whether any is infinite or NaN. */
inline bool winograd_copy(const float *from, int64_t n, float shift, float *to) {
    int32_t odd = 0;
    for (int64_t i = 0; i < n; i++) {
        float x = from[i] + shift;
        int32_t bits;
        memcpy(&bits, &x, sizeof bits);
        odd |= (bits & 0x7f800000) == 0x7f800000;
        to[i] = x;
    }
    return odd;
}

/* ---- filters --------------------------------------------------------------------- */

/* Elements that a block's filters of one point take: a vector more than they are. */
template <class T> inline int64_t winograd_stride(int64_t outs, int64_t c, const T *) {
    return outs * c + lanes<T>::count;
}

/* Blocks of a vector of channels, as even as they can be, and their first channels. */
template <class T> inline int64_t winograd_blocks(const winograd_plan *d, const T *) {
    return direct_ceil(d->o, lanes<T>::count);
}
template <class T>
inline int64_t winograd_first(const winograd_plan *d, int64_t block, const T *like) {
    return d->o * block / winograd_blocks(d, like);
}
/* Elements before a block's filters, all of a group's lying together. */
template <class T>
inline int64_t winograd_place(const winograd_plan *d, int64_t group, int64_t block,
                              const T *like) {
    return POINTS * ((group * d->o + winograd_first(d, block, like)) * d->c +
                     (group * winograd_blocks(d, like) + block) * lanes<T>::count);
}

/* Filters of output channels [first, first + outs) of a group, w, at the points:
 * u[point][i][o]. Vectors run over both channels; what the last one has too many is
 * slack. */
template <class T>
inline void winograd_filter(const winograd_plan *d, const T *w, int64_t first,
                            int64_t outs, T *u) {
    typedef lanes<T> L;
    const int64_t c = d->c, apart = winograd_stride(outs, c, u);
    const int64_t down = d->turned ? 9 : 9 * c, right = d->turned ? 9 * d->o : 9;
    const int64_t last = d->turned ? 8 : 0, step = d->turned ? -1 : 1;
    w += first * down + last;
    int64_t i = 0, o = 0;
    for (int64_t at = 0; at < outs * c; at += L::count) {
        T g[9][L::count] = {};
        typename L::vector v[POINTS];
        const int64_t count = direct_min(outs * c - at, L::count);
        for (int64_t l = 0; l < count; l++) {
            for (int k = 0; k < 9; k++)
                g[k][l] = w[o * down + i * right + k * step];
            if (++o == outs) o = 0, i++;
        }
        for (int j = 0; j < 3; j++) {
            for (int r = 0; r < 3; r++)
                v[6 * r + j] = L::load(g[3 * r + j]);
            winograd_filters<T, 3>(v + j, 6);
        }
        for (int r = 0; r < 6; r++) {
            winograd_filters<T, 3>(v + 6 * r, 1);
            for (int j = 0; j < 6; j++)
                memcpy(u + at + (6 * r + j) * apart, &v[6 * r + j], sizeof v[0]);
        }
    }
}

/* The gradient of filters [first, last) of 9 taps from their values u[point][filter];
 * true: not finite. */
template <class T>
inline bool winograd_taps(const T *u, int64_t apart, int64_t first, int64_t last,
                          T *w) {
    typedef lanes<T> L;
    bool odd = false;
    for (int64_t i = first; i < last; i += L::count) {
        int64_t count = direct_min(last - i, L::count);
        T lane[POINTS][L::count] = {};
        typename L::vector v[POINTS];
        for (int k = 0; k < POINTS; k++)
            if (count == L::count)
                v[k] = L::load(u + k * apart + i);
            else
                for (int64_t l = 0; l < L::count; l++)
                    v[k][l] = l < count ? u[k * apart + i + l] : 0;
        for (int j = 0; j < 6; j++)
            winograd_outputs<T, 3>(v + j, 6);
        for (int r = 0; r < 3; r++)
            winograd_outputs<T, 3>(v + 6 * r, 1);
        memcpy(lane, v, sizeof lane);
        for (int64_t l = 0; l < count; l++)
            for (int k = 0; k < 9; k++)
                w[(i + l) * 9 + k] = lane[k / 3 * 6 + k % 3][l];
        odd |= winograd_copy(w + i * 9, count * 9, 0, w + i * 9);
    }
    return odd;
}

/* Elements of the work of winograd_sum. */
template <class T>
inline int64_t winograd_sum_room(const winograd_plan *d, const T *like) {
    return packed_size(like, d->pitch, d->c);
}
/* u (o, c) = or += y (o, tiles) times x (c, tiles) transposed: values at one point. A
 * panel of y is read where it lies, and meets all of x, so that u, which may be larger
 * than both, is gone through from front to back. */
template <class T>
inline void winograd_sum(const winograd_plan *d, int64_t tiles, const T *y, const T *x,
                         bool begun, T *u, T *work) {
    constexpr int64_t width = panel_width<T>(), lane = lanes<T>::count;
    const T zeros[width] = {};
    for (int64_t j = 0; j < d->c; j += lane)
        channel_turn(x + j * d->pitch, d->pitch, direct_min(d->c - j, lane), tiles,
                     work + j / width * width * tiles + j % width, width);
    for (int64_t i = 0; i < row_panels(d->o); i++) {
        const int64_t row = first_row(d->o, i), rows = first_row(d->o, i + 1) - row;
        const T *from = y + row * d->pitch;
        /* Sums that follow are fetched meanwhile, as many as are added up here. */
        const T *next = u + (row + rows) * d->c;
        const int64_t share = direct_ceil(rows * width * (int64_t)sizeof(T), tiles);
        for (int64_t j = 0; j < d->c; j += width) {
            T *to = u + row * d->c + j;
            const block_target<T> block = {to,
                                           d->c,
                                           begun ? to : zeros,
                                           begun ? d->c : 0,
                                           (const char *)(next + j * rows),
                                           share};
            if (d->c - j >= width)
                block_rows<T, 2, false>(rows, tiles, from, 1, d->pitch,
                                        work + j * tiles, block);
            else
                block_part<T, false>(rows, d->c - j, tiles, from, 1, d->pitch,
                                     work + j * tiles, block);
        }
    }
}

/* Filters that a dozen tiles pay for; their values at the points are 1 MB. */
constexpr int64_t FEW_FILTERS = 8192;
constexpr int64_t MANY_FILTERS = 4096; /* of the gradient */

/* Whether tiles fit the outputs, and channels and tiles pay for the transforms. */
template <class T> inline bool winograd_suits(const conv_shape *p, const T *) {
    int64_t tiles = direct_ceil(p->out[1], 4) * direct_ceil(p->out[2], 4);
    return std::is_same<T, float>::value && !p->channels_last && p->size[0] == 1 &&
           p->out[0] == 1 && p->kernel[0] == 1 && p->kernel[1] == 3 &&
           p->kernel[2] == 3 && p->stride[1] == 1 && p->stride[2] == 1 &&
           p->dilation[1] == 1 && p->dilation[2] == 1 && p->padding[0] == 0 &&
           p->c >= 16 && p->o >= 16 && 16 * tiles <= 1.8 * p->positions &&
           (p->n * tiles >= 32 || (p->n * tiles >= 12 && p->c * p->o <= FEW_FILTERS));
}
/* Products of fewer filters take longer than those saved. */
template <class T>
inline bool winograd_suits_weight(const conv_shape *p, const T *like) {
    int64_t tiles = direct_ceil(p->out[1], 4) * direct_ceil(p->out[2], 4);
    return p->n * tiles >= 32 && p->c * p->o >= MANY_FILTERS && winograd_suits(p, like);
}

} /* namespace tl */

#endif /* TENSORLIB_WINOGRAD_H */
