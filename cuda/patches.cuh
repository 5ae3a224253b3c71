// Patches of images as matrices and back: what convolutions, fold and unfold move.
//
// A patch holds what one position of a sliding window sees: (channel, tap). Copying
// goes from elements of patches to pixels; the transpose asks each pixel which patches
// saw it, so that nothing is added by two threads and sums have one order.
#pragma once

#include "layout.cuh"
#include "numbers.cuh"
#include "tensorlib/conv.h"

namespace tl {

// Where patches and images lie. Strides are in elements.
struct PatchShape {
    int64_t images, channels, taps;
    int64_t size[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t start, run; // positions of each image
    int64_t x_image, x_channel, x_pixel;
    int64_t p_image, p_channel, p_tap, p_position; // of patches
    bool channels_last; // which axis neighbouring threads walk along
};

// The extents of a convolution; strides are the caller's to fill in.
inline PatchShape patch_shape(const conv_shape &s) {
    PatchShape p = {};
    p.images = s.n, p.channels = s.c, p.taps = s.taps;
    for (int d = 0; d < 3; ++d) {
        p.size[d] = s.size[d], p.out[d] = s.out[d], p.kernel[d] = s.kernel[d];
        p.stride[d] = s.stride[d], p.padding[d] = s.padding[d];
        p.dilation[d] = s.dilation[d];
    }
    p.start = 0, p.run = s.positions;
    p.channels_last = s.channels_last;
    return p;
}

// An index taken apart into the coordinates of a grid, the last one innermost.
struct Grid3 {
    Divider extent[3];
    static Grid3 of(const int64_t (&size)[3]) {
        Grid3 g;
        for (int d = 0; d < 3; ++d)
            g.extent[d] = Divider::by(static_cast<uint32_t>(size[d] > 0 ? size[d] : 1));
        return g;
    }
    __device__ void split(uint32_t i, int (&at)[3]) const {
        const uint32_t rows = extent[2].quotient(i), planes = extent[1].quotient(rows);
        at[2] = static_cast<int>(i - rows * extent[2].divisor);
        at[1] = static_cast<int>(rows - planes * extent[1].divisor);
        at[0] = static_cast<int>(planes);
    }
};

__device__ __forceinline__ uint32_t take(uint32_t &i, const Divider &extent) {
    const uint32_t q = extent.quotient(i), r = i - q * extent.divisor;
    i = q;
    return r;
}

// Where taps fall, in 32 bits: extents of images stay below 2^31, and so does what a
// window of the padded image reaches.
struct Reach {
    int size[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    static bool fits(const PatchShape &p) {
        const int64_t most = INT64_C(1) << 30;
        bool good = p.size[0] * p.size[1] * p.size[2] < 2 * most;
        for (int d = 0; d < 3; ++d)
            good = good && p.size[d] < most && p.padding[d] < most &&
                   -p.padding[d] < most && p.out[d] * p.stride[d] < most &&
                   p.kernel[d] * p.dilation[d] < most;
        return good;
    }
    static Reach of(const PatchShape &p) {
        Reach r;
        for (int d = 0; d < 3; ++d) {
            r.size[d] = static_cast<int>(p.size[d]),
            r.out[d] = static_cast<int>(p.out[d]);
            r.kernel[d] = static_cast<int>(p.kernel[d]);
            r.stride[d] = static_cast<int>(p.stride[d]);
            r.padding[d] = static_cast<int>(p.padding[d]);
            r.dilation[d] = static_cast<int>(p.dilation[d]);
        }
        return r;
    }
};

// Element i of patches: copied from its pixel, zero outside of the image.
template <typename T> struct CopyPatches {
    PatchShape p;
    Reach reach;
    const T *x;
    T *patches;
    Divider channels, taps, run;
    Grid3 out, kernel;
    __device__ void operator()(int64_t i) const {
        uint32_t rest = static_cast<uint32_t>(i), channel, tap, q;
        if (p.channels_last) {
            channel = take(rest, channels), tap = take(rest, taps), q = take(rest, run);
        } else {
            q = take(rest, run), tap = take(rest, taps), channel = take(rest, channels);
        }
        int at[3], step[3];
        out.split(static_cast<uint32_t>(p.start) + q, at);
        kernel.split(tap, step);
        int pixel = 0;
        bool inside = true;
#pragma unroll
        for (int d = 0; d < 3; ++d) {
            const int place = at[d] * reach.stride[d] - reach.padding[d] +
                              step[d] * reach.dilation[d];
            inside &= place >= 0 && place < reach.size[d];
            pixel = inside ? pixel * reach.size[d] + place : 0;
        }
        T found = {};
        if (inside)
            found = x[rest * p.x_image + channel * p.x_channel + pixel * p.x_pixel];
        patches[rest * p.p_image + channel * p.p_channel + tap * p.p_tap +
                q * p.p_position] = found;
    }
};

// Images whose elements, or those of their patches, a 32-bit index can count.
inline int64_t counted_images(int64_t images, int64_t each) {
    const int64_t most = ((INT64_C(1) << 31) - 1) / (each > 0 ? each : 1);
    return images < most ? images : most;
}

template <typename T>
tl_status copy_patches(const PatchShape &p, const void *x, void *patches) {
    const int64_t each = p.channels * p.taps * p.run;
    const int64_t images = counted_images(p.images, each);
    if (images == 0 || !Reach::fits(p)) return TL_DECLINED;
    for (int64_t first = 0; first < p.images; first += images) {
        const int64_t count = p.images - first < images ? p.images - first : images;
        const CopyPatches<T> body = {p,
                                     Reach::of(p),
                                     static_cast<const T *>(x) + first * p.x_image,
                                     static_cast<T *>(patches) + first * p.p_image,
                                     Divider::by(static_cast<uint32_t>(p.channels)),
                                     Divider::by(static_cast<uint32_t>(p.taps)),
                                     Divider::by(static_cast<uint32_t>(p.run)),
                                     Grid3::of(p.out),
                                     Grid3::of(p.kernel)};
        const tl_status status = for_each(count * each, body);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

// Copying needs the elements' size alone; runs of channels move 16 bytes at a time.
inline tl_status copy_patches(PatchShape p, int64_t bytes, const void *x,
                              void *patches) {
    if (p.images * p.channels * p.taps * p.run == 0) return TL_OK;
    const int64_t width = 16 / bytes;
    const int64_t steps[] = {p.x_image, p.x_pixel,    p.p_image,
                             p.p_tap,   p.p_position, p.channels};
    bool wide = p.channels_last && p.x_channel == 1 && p.p_channel == 1 &&
                is_aligned(x, 16) && is_aligned(patches, 16);
    for (const int64_t step : steps)
        wide = wide && step % width == 0;
    if (wide) {
        p.channels /= width;
        p.x_image /= width, p.x_pixel /= width;
        p.p_image /= width, p.p_tap /= width, p.p_position /= width;
        return copy_patches<Pack<uint32_t, 4>>(p, x, patches);
    }
    switch (bytes) {
    case 2:
        return copy_patches<uint16_t>(p, x, patches);
    case 4:
        return copy_patches<uint32_t>(p, x, patches);
    default:
        return copy_patches<uint64_t>(p, x, patches);
    }
}

// Pixel i of images: the sum over the patches that saw it, in the order of their taps.
template <typename T> struct SumPatches {
    PatchShape p;
    Reach reach;
    const T *patches;
    T *x;
    const T *bias;   // of each channel, or null
    bool accumulate; // begin with what x holds
    Divider channels, pixels, stride[3];
    Grid3 size;
    // The position along an axis that sees pixel `at` by tap `tap`, or -1.
    __device__ __forceinline__ int position(int d, int at, int tap) const {
        const int from = at + reach.padding[d] - tap * reach.dilation[d];
        if (from < 0 || from > (reach.out[d] - 1) * reach.stride[d]) return -1;
        const int q = static_cast<int>(stride[d].quotient(static_cast<uint32_t>(from)));
        return q * reach.stride[d] == from ? q : -1;
    }
    __device__ void operator()(int64_t i) const {
        using S = computed_t<T>;
        uint32_t rest = static_cast<uint32_t>(i), channel, pixel;
        if (p.channels_last) {
            channel = take(rest, channels), pixel = take(rest, pixels);
        } else {
            pixel = take(rest, pixels), channel = take(rest, channels);
        }
        int at[3];
        size.split(pixel, at);
        T *target = x + rest * p.x_image + channel * p.x_channel + pixel * p.x_pixel;
        const T *from = patches + rest * p.p_image + channel * p.p_channel;
        S sum = accumulate        ? load(target)
                : bias != nullptr ? load(bias + channel)
                                  : S(0);
        for (int kd = 0; kd < reach.kernel[0]; ++kd) {
            const int qd = position(0, at[0], kd);
            for (int kh = 0; qd >= 0 && kh < reach.kernel[1]; ++kh) {
                const int qh = position(1, at[1], kh);
                for (int kw = 0; qh >= 0 && kw < reach.kernel[2]; ++kw) {
                    const int qw = position(2, at[2], kw);
                    const int64_t q =
                        (static_cast<int64_t>(qd) * reach.out[1] + qh) * reach.out[2] +
                        qw - p.start;
                    if (qw < 0 || q < 0 || q >= p.run) continue;
                    const int tap = (kd * reach.kernel[1] + kh) * reach.kernel[2] + kw;
                    sum += load(from + tap * p.p_tap + q * p.p_position);
                }
            }
        }
        store(target, sum);
    }
};

template <typename T>
tl_status sum_patches(const PatchShape &p, const T *patches, T *x, const T *bias,
                      bool accumulate) {
    const int64_t pixels = p.size[0] * p.size[1] * p.size[2],
                  each = p.channels * pixels;
    if (p.images * each == 0) return TL_OK;
    const int64_t images = counted_images(p.images, each);
    if (images == 0 || !Reach::fits(p)) return TL_DECLINED;
    for (int64_t first = 0; first < p.images; first += images) {
        const int64_t count = p.images - first < images ? p.images - first : images;
        SumPatches<T> body = {p,
                              Reach::of(p),
                              patches + first * p.p_image,
                              x + first * p.x_image,
                              bias,
                              accumulate,
                              Divider::by(static_cast<uint32_t>(p.channels)),
                              Divider::by(static_cast<uint32_t>(pixels)),
                              {},
                              Grid3::of(p.size)};
        for (int d = 0; d < 3; ++d)
            body.stride[d] = Divider::by(static_cast<uint32_t>(p.stride[d]));
        const tl_status status = for_each(count * each, body);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

} // namespace tl
