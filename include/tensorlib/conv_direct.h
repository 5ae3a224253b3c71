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
    int64_t gap[3];    /* source elements between taps, without phases */
    int64_t quota[3];  /* targets of a phase, at most */
    int64_t box[3];    /* targets of a phase in a box */
    int64_t boxes[3];
    int64_t inside[2]; /* rows of a packed box */
    int64_t run;       /* columns of one residue modulo step */
    int64_t residues;
    int64_t plane; /* elements of a channel's packed box */
    int64_t taps;
    bool channels; /* in the lanes of vectors */
    bool turned;   /* filters lie by source channels, their taps from last to first */
    int64_t lane;  /* elements of a vector */
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
    d.turned = p->turned;
    for (int a = 0; a < 3; a++) {
        int64_t span = (p->kernel[a] - 1) * p->dilation[a], s = p->stride[a];
        d.kernel[a] = p->kernel[a];
        d.source[a] = input ? p->out[a] : p->size[a];
        d.target[a] = input ? p->size[a] : p->out[a];
        d.step[a] = input ? 1 : s;
        d.phases[a] = input ? s : 1;
        d.base[a] = -p->padding[a];
        d.reach[a] = span;
        d.gap[a] = p->dilation[a];
        if (input) { /* floor and ceiling of (r + padding - k dilation) / s */
            int64_t low = p->padding[a] - span, high = s - 1 + p->padding[a];
            d.base[a] = low >= 0 ? low / s : -direct_ceil(-low, s);
            d.reach[a] = (high >= 0 ? high / s : -direct_ceil(-high, s)) - d.base[a];
        }
        d.quota[a] = direct_ceil(d.target[a], d.phases[a]);
    }
    d.channels = direct_channels(&d, like);
    d.lane = lanes<T>::count;
    d.block = d.channels ? CHANNEL_VECTORS * d.lane : DIRECT_OUTS;
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

/* Lanes [low, high) of the vector at x, zeros beside them: nothing else is read. */
template <class T>
inline typename lanes<T>::vector direct_between(const T *x, int64_t low, int64_t high) {
#if defined(__AVX512F__)
    const uint32_t mask = (1u << high) - (1u << low);
    if constexpr (sizeof(T) == sizeof(float))
        return (typename lanes<T>::vector)_mm512_maskz_loadu_ps((__mmask16)mask, x);
    else
        return (typename lanes<T>::vector)_mm512_maskz_loadu_pd((__mmask8)mask, x);
#else
    if (high - low == lanes<T>::count) return lanes<T>::load(x);
    typename lanes<T>::vector v{};
    memcpy((T *)&v + low, x + low, (high - low) * sizeof(T));
    return v;
#endif
}

/* Lanes of a vector at column `first` that a row of `size` has. */
struct direct_span {
    int64_t low, high;
};
template <class T>
inline direct_span direct_within(int64_t first, int64_t size, const T *) {
    const int64_t most = lanes<T>::count;
    const int64_t low = direct_min(direct_max(-first, 0), most);
    return {low, direct_max(direct_min(size - first, most), low)};
}

/* Columns [at, at + a vector) of every residue, of rows whose packed columns begin at
 * column `first` of the source. A vector may reach into what is packed next. */
template <class T, int Step>
inline void direct_pack_columns(const direct_plan *d, const T *line, int64_t first,
                                int64_t rows, int64_t at, T *packed) {
    typedef lanes<T> L;
    constexpr auto all = std::make_index_sequence<L::count>();
    const int64_t column = first + Step * at, size = d->source[2];
    const direct_span here = direct_within(column, size, line);
    const direct_span next = direct_within(column + L::count, size, line);
    packed += at;
    line += column;
    for (int64_t j = 0; j < rows; j++, line += size, packed += d->residues * d->run) {
        typename L::vector v = direct_between(line, here.low, here.high);
        if constexpr (Step == 2) {
            auto w = direct_between(line + L::count, next.low, next.high);
            auto odd = every_second<1>(v, w, all);
            v = every_second<0>(v, w, all);
            memcpy(packed, &v, sizeof v);
            if (d->residues == 2) memcpy(packed + d->run, &odd, sizeof odd);
        } else {
            memcpy(packed, &v, sizeof v);
        }
        if (at > 0) continue;
        for (int64_t k = 0; k < size; k += 64 / (int64_t)sizeof(T))
            __builtin_prefetch(line + k + DIRECT_AHEAD);
    }
}

/* Rows of a source, packed; their columns begin at column `first`. Step: of the plan, 0
 * where only a call knows it. The last vector of a row moves back to its end. */
template <class T, int Step>
inline void direct_pack_rows(const direct_plan *d, const T *line, int64_t first,
                             int64_t rows, T *packed) {
    if constexpr (Step != 0) {
        const int64_t lane = lanes<T>::count, last = direct_max(d->run - lane, 0);
        for (int64_t at = 0; at < last; at += lane)
            direct_pack_columns<T, Step>(d, line, first, rows, at, packed);
        direct_pack_columns<T, Step>(d, line, first, rows, last, packed);
        return;
    }
    for (int64_t j = 0; j < rows; j++, line += d->source[2])
        for (int64_t r = 0; r < d->residues; r++)
            for (int64_t i = 0; i < d->run; i++) {
                const int64_t column = first + r + i * d->step[2];
                const bool inside = column >= 0 && column < d->source[2];
                *packed++ = inside ? line[column] : T(0);
            }
}

/* The source of a box whose first targets are `start`: one group's channels. Behind it
 * is room for a vector. */
template <class T, int Step>
inline void direct_pack_by(const direct_plan *d, const T *source, const int64_t *start,
                           T *packed) {
    const int64_t size = d->source[0] * d->source[1] * d->source[2];
    const int64_t row = d->residues * d->run, tall = d->inside[1];
    int64_t at[3];
    for (int a = 0; a < 3; a++)
        at[a] = start[a] * d->step[a] + d->base[a];
    const int64_t above = direct_min(direct_max(-at[1], 0), tall);
    const int64_t end = direct_min(direct_max(d->source[1] - at[1], above), tall);
    for (int64_t c = 0; c < d->from; c++, source += size)
        for (int64_t z = at[0]; z < at[0] + d->inside[0]; z++, packed += tall * row) {
            if (z < 0 || z >= d->source[0]) {
                memset(packed, 0, tall * row * sizeof(T));
                continue;
            }
            memset(packed, 0, above * row * sizeof(T));
            direct_pack_rows<T, Step>(
                d, source + (z * d->source[1] + at[1] + above) * d->source[2], at[2],
                end - above, packed + above * row);
            memset(packed + end * row, 0, (tall - end) * row * sizeof(T));
        }
}
template <class T>
inline void direct_pack(const direct_plan *d, const T *source, const int64_t *start,
                        T *packed) {
    if (d->step[2] == 1)
        direct_pack_by<T, 1>(d, source, start, packed);
    else if (d->step[2] == 2)
        direct_pack_by<T, 2>(d, source, start, packed);
    else
        direct_pack_by<T, 0>(d, source, start, packed);
}

/* Filters of which there are loops on planes as they lie (conv_planes.h). */
inline bool plane_suits(const direct_plan *d, bool input) {
    const int64_t size = d->kernel[1];
    bool suits = !input && d->to == 1 && size == d->kernel[2];
    for (int a = 0; a < 3; a++)
        suits = suits && d->step[a] == 1;
    return suits && (size == 3 || size == 5 || size == 7);
}

/* Whether boxes are small beside the work, if any are packed: wide dilations spread
 * taps over large ones. */
template <class T>
inline bool direct_packs(const conv_shape *p, bool input, const T *like) {
    direct_plan d = direct_describe(p, input, DIRECT_BOX, DIRECT_TASKS, like);
    int64_t boxes = d.boxes[0] * d.boxes[1] * d.boxes[2];
    if (plane_suits(&d, input)) return true;
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
 * enough for the filters' packing. The other way, products of patches, loses to lanes
 * half of which are idle. */
template <class T>
inline bool direct_suits(const conv_shape *p, bool input, const T *like) {
    if (p->depth == 0 || p->o == 0 || p->pixels == 0 || p->positions == 0) return false;
    if (!direct_near(p)) return false;
    if (direct_depthwise(p)) return direct_packs(p, input, like);
    if (p->channels_last || p->pointwise) return false;
    direct_plan d = direct_describe(p, input, DIRECT_BOX, DIRECT_TASKS, like);
    if (!d.channels && (!direct_rows(p->out[2], like) || p->n * p->positions < 64))
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
 * packs the box anew, so that it has two vectors of channels at least. */
inline int64_t direct_parts(const direct_plan *d, int64_t tasks) {
    int64_t count = d->n * d->groups * d->boxes[0] * d->boxes[1] * d->boxes[2];
    if (!d->channels) return 1;
    const int64_t most = direct_ceil(d->to, d->lane) / 2;
    return direct_max(direct_min(direct_ceil(tasks, count), most), 1);
}

/* Channels for which filters of so many have room. */
inline int64_t direct_room(const direct_plan *d, int64_t outs) {
    return d->channels ? direct_ceil(outs, d->lane) * d->lane : outs;
}
/* Elements of a group's packed filters, for each tap of each source channel. */
inline int64_t direct_width(const direct_plan *d) { return direct_room(d, d->to); }
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
    const int64_t room = direct_room(d, outs);
    const bool swapped = input || d->turned;
    if (d->channels && taps == d->taps) { /* one phase: all taps, in order */
        const int64_t pieces = swapped ? d->from : 1, run = d->from * taps / pieces;
        const int64_t apart = swapped ? taps : d->from * taps;
        const int64_t begin = d->turned ? (run - 1) * room : 0;
        w += first * apart;
        for (int64_t c = 0; c < pieces; c++, w += d->to * taps, packed += run * room)
            for (int64_t o = 0; o < outs; o += d->lane)
                channel_turn(w + o * apart, apart, direct_min(outs - o, d->lane), run,
                             packed + begin + o, d->turned ? -room : room);
        return;
    }
    for (int64_t c = 0; c < d->from; c++)
        for (int64_t k = 0; k < taps; k++, packed += room)
            for (int64_t o = 0; o < room; o++) {
                int64_t row =
                    swapped ? c * d->to + first + o : (first + o) * d->from + c;
                int64_t at = d->turned ? d->taps - 1 - tap[k] : tap[k];
                packed[o] = o < outs ? w[row * d->taps + at] : T(0);
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
#if defined(__AVX512F__)
    if (to->stride == 1) {
        store_first(out, to->count, v);
        return;
    }
#endif
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
            const int64_t lane = lanes<T>::count;
            channel_block<T> b = {
                w, at, taps, d->from, d->plane, d->residues * d->run * d->step[1], {}};
            for (int64_t o = 0; bias && o < outs; o++)
                b.start[o / lane][o % lane] = bias[o];
            channel_store to = {outs, d->target[0] * d->target[1] * d->target[2],
                                d->target[2] * d->phases[1], d->phases[2]};
            if (outs > lane)
                channel_plane<T, CHANNEL_VECTORS>(b, x, rows, columns, to, out);
            else
                channel_plane<T, 1>(b, x, rows, columns, to, out);
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

} /* namespace tl */

#endif /* TENSORLIB_CONV_DIRECT_H */
