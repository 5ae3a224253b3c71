/* The sizes of one convolution, for the kernel families that compute it.
 *
 * One and two dimensions are three with unit extents. Channels are those of one group.
 */
#ifndef TENSORLIB_CONV_H
#define TENSORLIB_CONV_H

#include <stdint.h>

#include "tensorlib/kernels.h"
#include "tensorlib/turn.h"

namespace tl {

struct conv_shape {
    bool channels_last;
    bool pointwise; /* a patch is one element of the image */
    bool turned;    /* filters are (groups, c, o, taps), with taps from last to first */
    int64_t n, groups, c, o;
    int64_t size[3];
    int64_t out[3];
    int64_t kernel[3];
    int64_t stride[3];
    int64_t padding[3];
    int64_t dilation[3];
    int64_t pixels;    /* of one image */
    int64_t positions; /* of one output */
    int64_t taps;
    int64_t depth; /* c * taps */
};

/* The same with the tiles of the families that multiply patches. */
struct conv_tiles : conv_shape {
    int64_t images; /* of a tile: some images, or a run of positions of one */
    int64_t run;
    int64_t pieces; /* runs of an image */
    int64_t tiles;
    int64_t columns; /* most positions of a tile */
    int64_t block;   /* channels of a block of conv_input and conv_weight */
    int64_t blocks;
};

/* From buffers that are contiguous in the layout of params. */
inline conv_shape conv_describe(const tl_conv_params *params, const tl_buffer *x,
                                const tl_buffer *w, const tl_buffer *y) {
    conv_shape p;
    int spatial = params->channels_last ? 1 : 2;
    int channel = params->channels_last ? 4 : 1;
    p.channels_last = params->channels_last;
    p.turned = params->turned;
    p.n = x->shape[0];
    p.groups = params->groups;
    p.c = x->shape[channel] / p.groups;
    p.o = y->shape[channel] / p.groups;
    p.pixels = p.positions = p.taps = 1;
    p.pointwise = true;
    for (int d = 0; d < 3; d++) {
        p.size[d] = x->shape[spatial + d];
        p.out[d] = y->shape[spatial + d];
        p.kernel[d] = w->shape[spatial + d];
        p.stride[d] = params->stride[d];
        p.padding[d] = params->padding[d];
        p.dilation[d] = params->dilation[d];
        p.pixels *= p.size[d];
        p.positions *= p.out[d];
        p.taps *= p.kernel[d];
        p.pointwise = p.pointwise && p.kernel[d] == 1 && p.padding[d] == 0 &&
                      p.stride[d] == 1 && p.size[d] == p.out[d];
    }
    p.depth = p.c * p.taps;
    if (p.pointwise && p.pixels == 1)
        p.channels_last = true; /* they are first as well */
    return p;
}

/* Filters that lie turned around, w, as they do for others: (groups, o, c, taps) or,
 * with channels last, (groups, o, taps, c). */
template <class T> inline void conv_turn(const conv_shape *p, const T *w, T *filters) {
    constexpr int64_t block = 16; /* channels whose lines stay in the first cache */
    const int64_t size = p->c * p->o * p->taps, last = p->taps - 1;
    for (int64_t g = 0; g < p->groups; g++, w += size, filters += size) {
        if (p->channels_last || p->taps == 1) {
            for (int64_t k = 0; k <= last; k++)
                tl_turn(w + k * p->o, p->taps * p->o, sizeof(T), p->o, p->c,
                        filters + (last - k) * p->c, p->taps * p->c);
            continue;
        }
        for (int64_t first = 0; first < p->c; first += block)
            for (int64_t o = 0; o < p->o; o++)
                for (int64_t c = first; c < p->c && c < first + block; c++)
                    for (int64_t k = 0; k <= last; k++)
                        filters[(o * p->c + c) * p->taps + k] =
                            w[(c * p->o + o) * p->taps + last - k];
    }
}

/* total[i] = the sum of partial[k][i] over k slices, in order and in double. */
template <class T>
inline void add_slices(const T *partial, int64_t slices, int64_t n, T *total) {
    constexpr int64_t block = 64;
    for (int64_t i = 0; i < n; i += block) {
        double sum[block] = {};
        int64_t width = n - i < block ? n - i : block;
        for (int64_t k = 0; k < slices; k++)
            for (int64_t j = 0; j < width; j++)
                sum[j] += partial[k * n + i + j];
        for (int64_t j = 0; j < width; j++)
            total[i + j] = (T)sum[j];
    }
}

} /* namespace tl */

#endif /* TENSORLIB_CONV_H */
