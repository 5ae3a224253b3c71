/* Direct convolution of planes: no patches, a block of output channels in registers.
 * Vectors run over targets, or over channels (conv_channels.h) where that leaves fewer
 * lanes idle.
 *
 * A box of the source (all channels of a group) is copied once with its border of
 * zeros; columns that a stride skips between are put side by side. Every tap of a row
 * of targets is then a contiguous run at a fixed distance, so that a list of distances
 * replaces the loops over channels and taps. Target t of an axis reads source element
 * t * step + shift(tap). The input's gradient has step 1 and, where the convolution
 * has strides s, s^3 phases of targets s apart, each with the taps that reach it.
 */
#ifndef TENSORLIB_CONV_DIRECT_H
#define TENSORLIB_CONV_DIRECT_H

#include "tensorlib/conv.h"
#include "tensorlib/conv_channels.h"
#include "tensorlib/lanes.h"

namespace tl {

constexpr int DIRECT_OUTS = 6; /* channels of a register block, of two vectors each */

constexpr int64_t DIRECT_BOX = 196608; /* bytes, within the second cache level */
constexpr int64_t DIRECT_TASKS = 16;   /* pieces of work, for as many threads */
constexpr int64_t DIRECT_AHEAD = 512; /* elements of a plane, fetched before its turn */

/* From a source (channels from) to a target (channels to) of a convolution. */
struct direct_plan {
    int64_t n, groups, from, to;
    int64_t source[3], target[3]; /* extents */
    int64_t kernel[3];
    int64_t step[3];   /* source elements between targets of a phase */
    int64_t phases[3]; /* targets of a phase lie so far apart */
    int64_t base[3];   /* source element of the first target's first tap ... */
    int64_t reach[3];  /* ... and the distance from there to that of its last tap */
    int64_t quota[3];  /* targets of a phase, at most */
    int64_t box[3];    /* targets of a phase in a box */
    int64_t boxes[3];
    int64_t inside[2]; /* rows of a packed box */
    int64_t run;       /* columns of one residue modulo step */
    int64_t residues;
    int64_t plane; /* elements of a channel's packed box */
    int64_t taps;
    bool channels; /* in the lanes of vectors */
    int64_t block; /* channels of a register block, at most */
};

inline int64_t direct_ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t direct_min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t direct_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* Where tap k of an axis reads, for target r of the first period: base + the result;
 * -1 if it reads nothing for targets of that phase. */
inline int64_t direct_shift(const conv_shape *p, const direct_plan *d, int axis,
                            bool input, int64_t k, int64_t r) {
    int64_t at = k * p->dilation[axis];
    if (!input) return at;
    at = r + p->padding[axis] - at;
    int64_t s = p->stride[axis];
    return at % s ? -1 : at / s - d->base[axis];
}

template <class T> inline int64_t direct_bytes(const direct_plan *d) {
    return d->from * d->plane * (int64_t)sizeof(T);
}

/* Extents of a packed box. */
template <class T> inline void direct_extents(direct_plan *d) {
    int64_t columns = d->channels ? d->box[2] : direct_max(d->box[2], lanes<T>::count);
    for (int a = 0; a < 2; a++)
        d->inside[a] = (d->box[a] - 1) * d->step[a] + d->reach[a] + 1;
    d->residues = direct_min(d->step[2], d->reach[2] + 1);
    d->run = columns + d->reach[2] / d->step[2];
    d->plane = d->inside[0] * d->inside[1] * d->residues * d->run;
}

/* Boxes are halved along their first long axis until they fit `bytes` and there are
 * `tasks` of them, groups and images. */
template <class T>
inline void direct_cut(direct_plan *d, int64_t bytes, int64_t tasks) {
    for (int a = 0; a < 3; a++)
        d->box[a] = d->quota[a];
    for (;;) {
        int64_t count = d->n * d->groups;
        for (int a = 0; a < 3; a++) {
            d->boxes[a] = direct_ceil(d->quota[a], d->box[a]);
            count *= d->boxes[a];
        }
        direct_extents<T>(d);
        if (direct_bytes<T>(d) <= bytes && count >= tasks) return;
        int64_t least[3] = {1, 4, 8 * lanes<T>::count};
        int a = 0;
        while (a < 3 && d->box[a] <= least[a])
            a++;
        if (a == 3) return;
        d->box[a] = direct_ceil(d->box[a], 2);
    }
}

/* A channel a group leaves a product nothing to do, however short the rows. */
inline bool direct_depthwise(const conv_shape *p) {
    return p->groups > 1 && p->c == 1 && !p->channels_last;
}

/* Whether channels fill the lanes of vectors as well as rows of targets would. */
template <class T> inline bool direct_channels(const direct_plan *d, const T *) {
    const int64_t lane = lanes<T>::count, row = d->quota[2];
    return sizeof(T) == sizeof(float) && d->from > 1 && 2 * d->to >= lane &&
           d->to * direct_ceil(row, lane) >= row * direct_ceil(d->to, lane);
}

template <class T>
inline direct_plan direct_describe(const conv_shape *p, bool input, int64_t bytes,
                                   int64_t tasks, const T *like) {
    direct_plan d;
    d.n = p->n;
    d.groups = p->groups;
    d.from = input ? p->o : p->c;
    d.to = input ? p->c : p->o;
    d.taps = p->taps;
    for (int a = 0; a < 3; a++) {
        int64_t span = (p->kernel[a] - 1) * p->dilation[a], s = p->stride[a];
        d.kernel[a] = p->kernel[a];
        d.source[a] = input ? p->out[a] : p->size[a];
        d.target[a] = input ? p->size[a] : p->out[a];
        d.step[a] = input ? 1 : s;
        d.phases[a] = input ? s : 1;
        d.base[a] = -p->padding[a];
        d.reach[a] = span;
        if (input) { /* floor and ceiling of (r + padding - k dilation) / s */
            int64_t low = p->padding[a] - span, high = s - 1 + p->padding[a];
            d.base[a] = low >= 0 ? low / s : -direct_ceil(-low, s);
            d.reach[a] = (high >= 0 ? high / s : -direct_ceil(-high, s)) - d.base[a];
        }
        d.quota[a] = direct_ceil(d.target[a], d.phases[a]);
    }
    d.channels = direct_channels(&d, like);
    d.block = d.channels ? lanes<T>::count : DIRECT_OUTS;
    direct_cut<T>(&d, bytes, tasks);
    return d;
}

inline int64_t direct_phases(const direct_plan *d) {
    return d->phases[0] * d->phases[1] * d->phases[2];
}

/* First targets of a box. */
inline void direct_start(const direct_plan *d, int64_t box, int64_t *start) {
    start[0] = box / (d->boxes[1] * d->boxes[2]) * d->box[0];
    start[1] = box / d->boxes[2] % d->boxes[1] * d->box[1];
    start[2] = box % d->boxes[2] * d->box[2];
}

/* Taps in the order of their phases: begin[f] is the first of phase f, tap its number
 * in the filter, at its distance in a packed box. All phases * 1 + 2 * taps entries. */
inline void direct_list(const conv_shape *p, const direct_plan *d, bool input,
                        int64_t *begin, int64_t *tap, int64_t *at) {
    int64_t count = 0, row = d->residues * d->run;
    for (int64_t f = 0; f < direct_phases(d); f++) {
        int64_t r[3] = {f / (d->phases[1] * d->phases[2]),
                        f / d->phases[2] % d->phases[1], f % d->phases[2]};
        begin[f] = count;
        for (int64_t k = 0; k < d->taps; k++) {
            int64_t e[3],
                place[3] = {k / (d->kernel[1] * d->kernel[2]),
                            k / d->kernel[2] % d->kernel[1], k % d->kernel[2]};
            for (int a = 0; a < 3; a++)
                e[a] = direct_shift(p, d, a, input, place[a], r[a]);
            if (e[0] < 0 || e[1] < 0 || e[2] < 0) continue;
            tap[count] = k;
            at[count++] = (e[0] * d->inside[1] + e[1]) * row +
                          e[2] % d->step[2] * d->run + e[2] / d->step[2];
        }
    }
    begin[direct_phases(d)] = count;
}

/* Every second element from two overlapping vectors: b begins where a ends. */
template <class V, size_t... I>
inline V direct_evens(V a, V b, std::index_sequence<I...>) {
    constexpr size_t half = sizeof...(I) / 2;
    return __builtin_shufflevector(a, b, (int)(2 * I + (I >= half))...);
}

/* n elements, Step (1 or 2) apart, side by side. */
template <class T, int Step> inline void direct_copy(const T *from, int64_t n, T *to) {
    typedef lanes<T> L;
    constexpr auto all = std::make_index_sequence<L::count>();
    for (; n >= L::count; n -= L::count, from += Step * L::count, to += L::count) {
        typename L::vector v = L::load(from);
        if (Step == 2) v = direct_evens(v, L::load(from + L::count - 1), all);
        memcpy(to, &v, sizeof v);
    }
#if defined(__AVX512F__)
    const int64_t width = Step * (n - 1) + 1;
    if (n == 0) return;
    typename L::vector v = load_first(from, direct_min(width, L::count));
    if (Step == 2 && width >= L::count)
        v = direct_evens(v, load_first(from + L::count - 1, width - L::count + 1), all);
    else if (Step == 2)
        v = direct_evens(v, v, all);
    store_first(to, n, v);
#else
    for (int64_t i = 0; i < n; i++)
        to[i] = from[i * Step];
#endif
}

/* One row of a source, from column `first` on, into a packed row; NULL: zeros. */
template <class T>
inline void direct_pack_row(const direct_plan *d, const T *line, int64_t first,
                            T *row) {
    int64_t step = d->step[2];
    for (int64_t ahead = 0; line && ahead < d->source[2]; ahead += 64 / sizeof(T))
        __builtin_prefetch(line + ahead + DIRECT_AHEAD);
    for (int64_t r = 0; r < d->residues; r++, row += d->run, first++) {
        int64_t low = first < 0 ? direct_ceil(-first, step) : 0;
        int64_t high = direct_ceil(direct_max(d->source[2] - first, 0), step);
        high = line ? direct_min(high, d->run) : 0;
        low = direct_min(low, high);
        for (int64_t i = 0; i < low; i++)
            row[i] = 0;
        if (step == 1)
            direct_copy<T, 1>(line + first + low, high - low, row + low);
        else if (step == 2)
            direct_copy<T, 2>(line + first + low * 2, high - low, row + low);
        else
            for (int64_t i = low; i < high; i++)
                row[i] = line[first + i * step];
        for (int64_t i = high; i < d->run; i++)
            row[i] = 0;
    }
}

/* The source of a box whose first targets are `start`: one group's channels. */
template <class T>
inline void direct_pack(const direct_plan *d, const T *source, const int64_t *start,
                        T *packed) {
    int64_t size = d->source[0] * d->source[1] * d->source[2];
    int64_t at[3], row = d->residues * d->run;
    for (int a = 0; a < 3; a++)
        at[a] = start[a] * d->step[a] + d->base[a];
    for (int64_t c = 0; c < d->from; c++, source += size)
        for (int64_t i = 0; i < d->inside[0]; i++)
            for (int64_t j = 0; j < d->inside[1]; j++, packed += row) {
                int64_t z = at[0] + i, y = at[1] + j;
                bool inside = z >= 0 && z < d->source[0] && y >= 0 && y < d->source[1];
                const T *line = source + (z * d->source[1] + y) * d->source[2];
                direct_pack_row(d, inside ? line : (const T *)0, at[2], packed);
            }
}

/* Whether boxes are small beside the work: wide dilations spread taps over large ones.
 */
template <class T>
inline bool direct_packs(const conv_shape *p, bool input, const T *like) {
    direct_plan d = direct_describe(p, input, DIRECT_BOX, DIRECT_TASKS, like);
    int64_t boxes = d.boxes[0] * d.boxes[1] * d.boxes[2];
    if (d.plane > (64 << 20) / ((int64_t)sizeof(T) * d.from)) return false;
    return direct_depthwise(p) || boxes * d.plane * 8 <= d.to * d.taps * p->positions;
}

/* Whether no window reaches far beyond the source: the sizes of packed boxes then stay
 * far from overflow. */
inline bool direct_near(const conv_shape *p) {
    constexpr int64_t far = 1 << 20;
    for (int axis = 0; axis < 3; axis++)
        if ((p->kernel[axis] - 1) * p->dilation[axis] > far || p->padding[axis] > far ||
            p->padding[axis] < -far)
            return false;
    return true;
}

/* Whether rows of so many targets fill the lanes of vectors. */
template <class T> inline bool direct_rows(int64_t row, const T *) {
    return 3 * direct_ceil(row, lanes<T>::count) * lanes<T>::count <= 4 * row;
}

/* Whether planes or channels are long enough for the loops below, and positions many
 * enough for the filters' packing. Of the input the other way adds overlapping patches,
 * which loses to lanes half of which are idle. */
template <class T>
inline bool direct_suits(const conv_shape *p, bool input, const T *like) {
    if (p->depth == 0 || p->o == 0 || p->pixels == 0 || p->positions == 0) return false;
    if (!direct_near(p)) return false;
    if (direct_depthwise(p)) return direct_packs(p, input, like);
    if (p->channels_last || p->pointwise) return false;
    direct_plan d = direct_describe(p, input, DIRECT_BOX, DIRECT_TASKS, like);
    if (d.channels ? !input && !direct_rows(d.to, like)
                   : !direct_rows(p->out[2], like) || p->n * p->positions < 64)
        return false;
    return direct_packs(p, input, like);
}

/* With rows in the lanes, sums of many weights would outgrow the cache. */
template <class T> inline bool direct_suits_weight(const conv_shape *p, const T *like) {
    if (!direct_suits(p, false, like)) return false;
    if (direct_depthwise(p)) return true;
    if (p->n * p->positions < 64) return false;
    return direct_describe(p, false, DIRECT_BOX, DIRECT_TASKS, like).channels ||
           (p->o * p->depth * LANE_BYTES <= 2 << 20 &&
            p->positions >= 8 * lanes<T>::count);
}

/* ---- forward, and the input's gradient ------------------------------------------- */

/* Blocks of channels: whole vectors, or as even as they can be. */
inline int64_t direct_blocks(const direct_plan *d) {
    return direct_ceil(d->to, d->block);
}
inline int64_t direct_first(const direct_plan *d, int64_t block) {
    if (d->channels) return direct_min(block * d->block, d->to);
    return d->to * block / direct_blocks(d);
}
/* Tasks that share a box's blocks, where there are too few boxes for `tasks`; each
 * packs the box anew, so that it has two blocks at least. */
inline int64_t direct_parts(const direct_plan *d, int64_t tasks) {
    int64_t count = d->n * d->groups * d->boxes[0] * d->boxes[1] * d->boxes[2];
    if (!d->channels) return 1;
    return direct_max(direct_min(direct_ceil(tasks, count), direct_blocks(d) / 2), 1);
}

/* Channels for which a block's filters have room. */
inline int64_t direct_room(const direct_plan *d, int64_t outs) {
    return d->channels ? d->block : outs;
}
/* Elements of a group's packed filters, for each tap of each source channel. */
inline int64_t direct_width(const direct_plan *d) {
    return d->channels ? direct_blocks(d) * d->block : d->to;
}
/* Elements before the filters of a block, all of one phase of a group lying together;
 * `begin` taps are of phases before. */
inline int64_t direct_place(const direct_plan *d, int64_t begin, int64_t taps,
                            int64_t block) {
    int64_t before = d->channels ? block * d->block : direct_first(d, block);
    return (direct_width(d) * begin + before * taps) * d->from;
}

/* A block's filters side by side: channels [first, first + outs) of a group. */
template <class T>
inline void direct_filters(const direct_plan *d, bool input, const T *w, int64_t first,
                           int64_t outs, const int64_t *tap, int64_t taps, T *packed) {
    if (d->channels && !input) { /* one phase of all taps, in order */
        channel_filters(w + first * d->from * taps, outs, d->from * taps, packed);
        return;
    }
    for (int64_t c = 0; c < d->from; c++)
        for (int64_t k = 0; k < taps; k++, packed += direct_room(d, outs))
            for (int64_t o = 0; o < direct_room(d, outs); o++) {
                int64_t row = input ? c * d->to + first + o : (first + o) * d->from + c;
                packed[o] = o < outs ? w[row * d->taps + tap[k]] : T(0);
            }
}

/* Sums of O channels and V vectors of targets, `apart` elements of the source apart. */
template <class T, int O, int V, size_t... I, size_t... J>
inline void direct_sums(std::index_sequence<I...>, std::index_sequence<J...>,
                        const T *x, int64_t apart, const int64_t *at, int64_t taps,
                        int64_t channels, int64_t plane, const T *w,
                        typename lanes<T>::vector (&sums)[O * V]) {
    typedef lanes<T> L;
    typename L::vector a[O * V], v[V];
    ((a[I] = sums[I]), ...);
    for (int64_t c = 0; c < channels; c++, x += plane)
        for (int64_t k = 0; k < taps; k++, w += O) {
            const T *from = x + at[k];
            ((v[J] = L::load(from + (int64_t)J * apart)), ...);
            ((a[I] += v[I % V] * w[I / V]), ...);
        }
    ((sums[I] = a[I]), ...);
}

/* Where a block of targets goes: channels `plane` apart, vectors `apart`; `count` lanes
 * of a vector are wanted, `stride` elements from each other. */
struct direct_store {
    int64_t plane, apart, count, stride;
};

template <class T>
inline void direct_put(typename lanes<T>::vector v, T *out, const direct_store *to) {
    if (to->stride == 1 && to->count == lanes<T>::count) {
        memcpy(out, &v, sizeof v);
        return;
    }
    T lane[lanes<T>::count];
    memcpy(lane, &v, sizeof v);
    for (int64_t l = 0; l < to->count; l++)
        out[l * to->stride] = lane[l];
}

template <class T, int O, int V>
inline void direct_tile(const direct_plan *d, const T *x, int64_t apart,
                        const int64_t *at, int64_t taps, const T *w, const T *bias,
                        T *out, const direct_store *to) {
    typename lanes<T>::vector sums[O * V];
    for (int i = 0; i < O * V; i++)
        sums[i] = (bias ? bias[i / V] : T(0)) - typename lanes<T>::vector{};
    direct_sums<T, O, V>(std::make_index_sequence<O * V>(),
                         std::make_index_sequence<V>(), x, apart, at, taps, d->from,
                         d->plane, w, sums);
    for (int i = 0; i < O * V; i++)
        direct_put(sums[i], out + i / V * to->plane + i % V * to->apart, to);
}

/* One block of channels, one phase, the rows [0, rows) of one slice of a box. A last
 * tile that would stick out moves back and computes some targets again. */
template <class T, int O, int V>
inline void direct_slice(const direct_plan *d, const T *x, const int64_t *at,
                         int64_t taps, const T *w, const T *bias, T *out, int64_t rows,
                         int64_t columns) {
    const int64_t lane = lanes<T>::count,
                  plane = d->target[0] * d->target[1] * d->target[2];
    const int64_t line = d->residues * d->run * d->step[1];
    const int64_t down = d->target[2] * d->phases[1], right = d->phases[2];
    const bool wide = rows < V && columns >= V * lane;
    const int64_t v = wide || rows < V ? 1 : V, reach = wide ? V * lane : lane;
    direct_store to = {plane, 0, direct_min(lane, columns), right};
    to.apart = wide ? lane * right : v == 1 ? 0 : down;
    const int64_t apart = wide ? lane : v == 1 ? 0 : line;
    for (int64_t r = 0; r < rows; r += v)
        for (int64_t j = 0; j < columns; j += reach) {
            int64_t row = direct_min(r, rows - v);
            int64_t column = direct_max(direct_min(j, columns - reach), 0);
            direct_tile<T, O, V>(d, x + row * line + column, apart, at, taps, w, bias,
                                 out + row * down + column * right, &to);
        }
}

template <class T>
inline void direct_outs(const direct_plan *d, int64_t outs, const T *x,
                        const int64_t *at, int64_t taps, const T *w, const T *bias,
                        T *out, int64_t rows, int64_t columns) {
    switch (outs) {
    case 1:
        if (rows >= 8)
            return direct_slice<T, 1, 8>(d, x, at, taps, w, bias, out, rows, columns);
        if (rows >= 4 || (rows == 1 && columns >= 4 * lanes<T>::count))
            return direct_slice<T, 1, 4>(d, x, at, taps, w, bias, out, rows, columns);
        return direct_slice<T, 1, 2>(d, x, at, taps, w, bias, out, rows, columns);
    case 2:
        return direct_slice<T, 2, 2>(d, x, at, taps, w, bias, out, rows, columns);
    case 3:
        return direct_slice<T, 3, 2>(d, x, at, taps, w, bias, out, rows, columns);
    case 4:
        return direct_slice<T, 4, 2>(d, x, at, taps, w, bias, out, rows, columns);
    case 5:
        return direct_slice<T, 5, 2>(d, x, at, taps, w, bias, out, rows, columns);
    default:
        return direct_slice<T, 6, 2>(d, x, at, taps, w, bias, out, rows, columns);
    }
}

/* A slice of targets of some channels: rows and columns of one phase. */
template <class T>
inline void direct_rows_of(const direct_plan *d, int64_t outs, const T *x,
                           const int64_t *at, int64_t taps, const T *w, const T *bias,
                           T *out, int64_t rows, int64_t columns) {
    if constexpr (sizeof(T) == sizeof(float)) {
        if (d->channels) {
            channel_block<T> b = {
                w, at, taps, d->from, d->plane, d->residues * d->run * d->step[1], {}};
            for (int64_t o = 0; bias && o < outs; o++)
                b.start[o] = bias[o];
            channel_store to = {outs, d->target[0] * d->target[1] * d->target[2],
                                d->target[2] * d->phases[1], d->phases[2]};
            channel_plane(b, x, rows, columns, to, out);
            return;
        }
    }
    direct_outs(d, outs, x, at, taps, w, bias, out, rows, columns);
}

/* Targets of blocks [low, high) of a packed box, of one image and group: `out` is its
 * first channel. */
template <class T>
inline void direct_box(const direct_plan *d, const int64_t *start, const T *packed,
                       const int64_t *begin, const int64_t *at, const T *w,
                       const T *bias, T *out, int64_t low, int64_t high) {
    int64_t plane = d->target[0] * d->target[1] * d->target[2];
    for (int64_t f = 0; f < direct_phases(d); f++) {
        int64_t r[3] = {f / (d->phases[1] * d->phases[2]),
                        f / d->phases[2] % d->phases[1], f % d->phases[2]};
        int64_t taps = begin[f + 1] - begin[f], count[3];
        for (int a = 0; a < 3; a++) {
            count[a] = direct_ceil(direct_max(d->target[a] - r[a], 0), d->phases[a]);
            count[a] = direct_min(count[a] - start[a], d->box[a]);
        }
        if (count[1] <= 0 || count[2] <= 0) continue;
        for (int64_t b = low; b < high; b++) {
            int64_t first = direct_first(d, b), outs = direct_first(d, b + 1) - first;
            const T *filters = w + direct_place(d, begin[f], taps, b);
            for (int64_t i = 0; i < count[0]; i++) {
                int64_t z = (start[0] + i) * d->phases[0] + r[0];
                int64_t y = start[1] * d->phases[1] + r[1];
                int64_t x = start[2] * d->phases[2] + r[2];
                direct_rows_of(
                    d, outs,
                    packed + i * d->step[0] * d->inside[1] * d->residues * d->run,
                    at + begin[f], taps, filters, bias ? bias + first : bias,
                    out + first * plane + (z * d->target[1] + y) * d->target[2] + x,
                    count[1], count[2]);
            }
        }
    }
}

/* ---- the weight's gradient ------------------------------------------------------- */

/* The lanes of n vectors added up: halving as many vectors as one has lanes leaves one
 * with a total in each lane. */
template <class T>
inline void direct_totals(const typename lanes<T>::vector *sums, int64_t n, T *total) {
    typedef lanes<T> L;
    constexpr auto all = std::make_index_sequence<L::count>();
    int64_t i = 0;
    for (; i + L::count <= n; i += L::count) {
        typename L::vector v[L::count];
        memcpy(v, sums + i, sizeof v);
        for (int64_t left = L::count / 2; left > 0; left /= 2)
            for (int64_t k = 0; k < left; k++)
                v[k] = every_second<0>(v[2 * k], v[2 * k + 1], all) +
                       every_second<1>(v[2 * k], v[2 * k + 1], all);
        memcpy(total + i, v, sizeof v[0]);
    }
    for (; i < n; i++)
        total[i] = (T)across_in_double<add_step, T>(sums[i]);
}

/* What a block of sums runs over: a box's targets, and strides of both operands. */
struct direct_walk {
    int64_t images, slices, rows, columns;
    int64_t y_plane, y_image, y_slice, y_row; /* of the gradient */
    int64_t x_image, x_slice, x_row;          /* of the packed boxes */
};

/* sums[o][k] += y of channel o times x at distance at[k], lane by lane. The last vector
 * of a row may be part of one: x is cleared there (y was), so that no NaN comes in. */
template <class T, int O, int K, size_t... I, size_t... J>
inline void direct_products(std::index_sequence<I...>, std::index_sequence<J...>,
                            const direct_walk *walk, const T *y, const T *x,
                            const int64_t *at, typename lanes<T>::vector *sums,
                            int64_t ld) {
    typedef lanes<T> L;
    typedef typename L::vector vec;
    const int64_t whole = walk->columns / L::count * L::count;
    const bool rest = whole < walk->columns;
    vec a[O * K], v[K], live, lane;
    for (int l = 0; l < L::count; l++)
        lane[l] = T(l);
    auto wanted = lane < T(walk->columns - whole) - vec{};
    int64_t far[K] = {at[J]...};
    ((a[I] = sums[I / K * ld + I % K]), ...);
    for (int64_t i = 0; i < walk->images * walk->slices; i++)
        for (int64_t r = 0; r < walk->rows; r++) {
            int64_t image = i / walk->slices, slice = i % walk->slices, j = 0;
            const T *from =
                x + image * walk->x_image + slice * walk->x_slice + r * walk->x_row;
            const T *g =
                y + image * walk->y_image + slice * walk->y_slice + r * walk->y_row;
            for (; j < whole; j += L::count, g += L::count, from += L::count) {
                ((v[J] = L::load(from + far[J])), ...);
                ((a[I] += L::load(g + (int64_t)(I / K) * walk->y_plane) * v[I % K]),
                 ...);
            }
            if (rest) {
                ((live = L::load(from + far[J]), v[J] = wanted ? live : vec{}), ...);
                ((a[I] += L::load(g + (int64_t)(I / K) * walk->y_plane) * v[I % K]),
                 ...);
            }
        }
    ((sums[I / K * ld + I % K] = a[I]), ...);
}

/* O channels with all taps of all channels: K of them at a time, then the others. */
template <class T, int O, int K>
inline void direct_gradient_row(const direct_walk *walk, const T *y, const T *x,
                                const int64_t *at, int64_t depth,
                                typename lanes<T>::vector *sums) {
    int64_t k = 0;
    for (; k + K <= depth; k += K)
        direct_products<T, O, K>(std::make_index_sequence<O * K>(),
                                 std::make_index_sequence<K>(), walk, y, x, at + k,
                                 sums + k, depth);
    for (; k < depth; k++)
        direct_products<T, O, 1>(std::make_index_sequence<O>(),
                                 std::make_index_sequence<1>(), walk, y, x, at + k,
                                 sums + k, depth);
}

/* sums (to, depth) += this box's part; at has a distance for each of depth. */
template <class T>
inline void direct_gradient(int64_t to, int64_t depth, const direct_walk *walk,
                            const T *y, const T *x, const int64_t *at,
                            typename lanes<T>::vector *sums) {
    for (int64_t o = 0; o < to;) {
        const T *g = y + o * walk->y_plane;
        typename lanes<T>::vector *row = sums + o * depth;
        if (to - o >= 4) {
            direct_gradient_row<T, 4, 3>(walk, g, x, at, depth, row);
            o += 4;
        } else if (to - o >= 2) {
            direct_gradient_row<T, 2, 5>(walk, g, x, at, depth, row);
            o += 2;
        } else {
            direct_gradient_row<T, 1, 9>(walk, g, x, at, depth, row);
            o += 1;
        }
    }
}

/* The gradient's rows of a box, each filled up with zeros to whole vectors. */
template <class T>
inline void direct_pad(const direct_plan *d, const T *y, int64_t outs,
                       const int64_t *start, const int64_t *count, int64_t width,
                       T *packed) {
    for (int64_t o = 0; o < outs; o++)
        for (int64_t i = 0; i < count[0]; i++)
            for (int64_t j = 0; j < count[1]; j++, packed += width) {
                const T *line =
                    y +
                    (((o * d->target[0] + start[0] + i) * d->target[1] + start[1] + j) *
                         d->target[2] +
                     start[2]);
                for (int64_t k = 0; k < count[2]; k++)
                    packed[k] = line[k];
                for (int64_t k = count[2]; k < width; k++)
                    packed[k] = 0;
            }
}

/* Images whose boxes are packed at once: where one box is an image, sums are fetched
 * from memory less often if they run over several. */
template <class T> inline int64_t direct_batch(const direct_plan *d, const T *) {
    constexpr int64_t bytes = 262144;
    if (d->boxes[0] * d->boxes[1] * d->boxes[2] > 1) return 1;
    return direct_max(direct_min(bytes / direct_bytes<T>(d), d->n), 1);
}

/* Elements of the work space of direct_weight: sums, packed x and padded y. */
template <class T> inline int64_t direct_padded(const direct_plan *d, const T *) {
    const int64_t lane = lanes<T>::count;
    return d->to * d->box[0] * d->box[1] * direct_ceil(d->box[2], lane) * lane;
}
template <class T> inline int64_t direct_work(const direct_plan *d, const T *like) {
    const int64_t lane = lanes<T>::count, box = d->box[0] * d->box[1] * d->box[2];
    const int64_t outs = d->channels ? direct_ceil(d->to, lane) : d->to;
    const int64_t y = d->channels ? box * lane : direct_padded(d, like);
    return outs * d->from * d->taps * lane +
           direct_batch(d, like) * (d->from * d->plane + y) + 64;
}

/* Pack the boxes `index` of some images, and choose strides; y moves to where its
 * channels are read, in place or in `padded`. */
template <class T>
inline direct_walk direct_prepare(const direct_plan *d, const T **y, const T *x,
                                  int64_t index, int64_t outs, int64_t images,
                                  T *packed, T *padded) {
    const int64_t lane = lanes<T>::count, line = d->residues * d->run;
    const int64_t of_x = d->source[0] * d->source[1] * d->source[2] * d->from;
    const int64_t of_y = d->target[0] * d->target[1] * d->target[2];
    const int64_t boxes = d->boxes[0] * d->boxes[1] * d->boxes[2];
    int64_t image = index / boxes, start[3], count[3];
    direct_start(d, index % boxes, start);
    for (int a = 0; a < 3; a++)
        count[a] = direct_min(d->target[a] - start[a], d->box[a]);
    direct_walk walk = {images,
                        count[0],
                        count[1],
                        count[2],
                        of_y,
                        d->groups * d->to * of_y,
                        d->target[1] * d->target[2],
                        d->target[2],
                        d->from * d->plane,
                        d->step[0] * d->inside[1] * line,
                        d->step[1] * line};
    const T *g = *y + image * walk.y_image;
    for (int64_t i = 0; i < images; i++)
        direct_pack(d, x + (image + i) * d->groups * of_x, start,
                    packed + i * walk.x_image);
    *y = g + (start[0] * d->target[1] + start[1]) * d->target[2] + start[2];
    if (count[2] % lane == 0) return walk;
    const int64_t width = direct_ceil(count[2], lane) * lane,
                  each = direct_padded(d, x);
    for (int64_t i = 0; i < images; i++)
        direct_pad(d, g + i * walk.y_image, outs, start, count, width,
                   padded + i * each);
    *y = padded;
    walk.y_image = each;
    walk.y_row = width;
    walk.y_slice = count[1] * width;
    walk.y_plane = count[0] * walk.y_slice;
    return walk;
}

/* The gradient of a box for a vector of channels, from y at the box, as (targets,
 * lanes). */
template <class T>
inline void direct_turn(const direct_plan *d, const T *y, int64_t outs,
                        const int64_t *start, const channel_walk &walk, T *turned) {
    const int64_t plane = d->target[0] * d->target[1] * d->target[2];
    const bool whole = walk.columns == d->target[2];
    const int64_t run = whole ? walk.rows * walk.columns : walk.columns;
    for (int64_t i = 0; i < walk.images; i++, y += d->groups * d->to * plane)
        for (int64_t z = 0; z < walk.slices; z++)
            for (int64_t r = 0; r < (whole ? 1 : walk.rows); r++) {
                const T *from =
                    y + ((start[0] + z) * d->target[1] + start[1] + r) * d->target[2];
                channel_turn(from + start[2], plane, outs, run, turned);
                turned += run * lanes<T>::count;
            }
}

/* direct_weight with channels of y in the lanes of vectors. */
template <class T>
inline void direct_weight_channels(const direct_plan *d, const T *y, const T *x,
                                   int64_t outs, const int64_t *at, int64_t first,
                                   int64_t last, T *w, T *work) {
    const int64_t lane = lanes<T>::count, depth = d->from * d->taps;
    const int64_t batch = direct_batch(d, x), blocks = direct_ceil(outs, lane);
    const int64_t of_x = d->source[0] * d->source[1] * d->source[2] * d->from;
    const int64_t of_y = d->target[0] * d->target[1] * d->target[2];
    const int64_t boxes = d->boxes[0] * d->boxes[1] * d->boxes[2];
    const int64_t line = d->residues * d->run;
    T *packed = work + blocks * depth * lane,
      *turned = packed + batch * d->from * d->plane;
    memset(work, 0, blocks * depth * lane * sizeof(T));
    for (int64_t index = first; index < last; index += batch) {
        int64_t image = index / boxes, start[3], count[3];
        direct_start(d, index % boxes, start);
        for (int a = 0; a < 3; a++)
            count[a] = direct_min(d->target[a] - start[a], d->box[a]);
        const channel_walk walk = {direct_min(batch, last - index),
                                   count[0],
                                   count[1],
                                   count[2],
                                   d->from * d->plane,
                                   d->step[0] * d->inside[1] * line,
                                   d->step[1] * line};
        for (int64_t i = 0; i < walk.images; i++)
            direct_pack(d, x + (image + i) * d->groups * of_x, start,
                        packed + i * walk.x_image);
        for (int64_t b = 0; b < blocks; b++) {
            direct_turn(d, y + (image * d->groups * d->to + b * lane) * of_y,
                        direct_min(outs - b * lane, lane), start, walk, turned);
            channel_gradient<T>(walk, turned, packed, at, depth,
                                work + b * depth * lane);
        }
    }
    for (int64_t b = 0; b < blocks; b++)
        channel_totals<T>(work + b * depth * lane, direct_min(outs - b * lane, lane),
                          depth, w + b * lane * depth);
}

/* The boxes [first, last) of `outs` channels of one group, image by image: w (outs,
 * from * taps) is their sum. y and x start at these channels, and the group's, of the
 * first image; at is by channel and tap. */
template <class T>
inline void direct_weight(const direct_plan *d, const T *y, const T *x, int64_t outs,
                          const int64_t *at, int64_t first, int64_t last, T *w,
                          T *work) {
    typedef typename lanes<T>::vector vec;
    if constexpr (sizeof(T) == sizeof(float)) {
        if (d->channels)
            return direct_weight_channels(d, y, x, outs, at, first, last, w, work);
    }
    const int64_t depth = d->from * d->taps, batch = direct_batch(d, x);
    vec *sums = (vec *)work;
    T *packed = work + outs * depth * lanes<T>::count;
    T *padded = packed + batch * d->from * d->plane;
    for (int64_t i = 0; i < outs * depth; i++)
        sums[i] = vec{};
    for (int64_t index = first; index < last; index += batch) {
        const T *g = y;
        direct_walk walk = direct_prepare(
            d, &g, x, index, outs, direct_min(batch, last - index), packed, padded);
        direct_gradient(outs, depth, &walk, g, packed, at, sums);
    }
    direct_totals<T>(sums, outs * depth, w);
}

} /* namespace tl */

#endif /* TENSORLIB_CONV_DIRECT_H */
