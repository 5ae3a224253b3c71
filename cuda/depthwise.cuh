// Convolutions channel by channel (one input channel a group, channels first): sums
// over the taps of one plane, which are a matter of memory and not of matrix products.
#pragma once

#include "patches.cuh"
#include "warp.cuh"

namespace tl {

template <typename T> struct Depthwise {
    conv_shape s; // c == 1; s.o filters a group
    Divider positions, pixels, filters, groups, stride[3];
    Grid3 out, size;
};

template <typename T> Depthwise<T> depthwise(const conv_shape &s) {
    Depthwise<T> d = {};
    d.s = s;
    d.positions = Divider::by(static_cast<uint32_t>(s.positions));
    d.pixels = Divider::by(static_cast<uint32_t>(s.pixels));
    d.filters = Divider::by(static_cast<uint32_t>(s.o));
    d.groups = Divider::by(static_cast<uint32_t>(s.groups));
    for (int i = 0; i < 3; ++i)
        d.stride[i] = Divider::by(static_cast<uint32_t>(s.stride[i]));
    d.out = Grid3::of(s.out);
    d.size = Grid3::of(s.size);
    return d;
}

// y at i = (image, group, filter, position).
template <typename T> struct DepthwiseForward {
    Depthwise<T> d;
    const T *x, *w, *bias;
    T *y;
    __device__ void operator()(int64_t i) const {
        using S = computed_t<T>;
        const conv_shape &s = d.s;
        uint32_t rest = static_cast<uint32_t>(i);
        const uint32_t q = take(rest, d.positions), filter = take(rest, d.filters);
        const uint32_t group = rest - d.groups.quotient(rest) * d.groups.divisor;
        const uint32_t channel = group * d.filters.divisor + filter;
        const T *plane = x + static_cast<int64_t>(rest) * s.pixels; // (image, group)
        const T *taps = w + channel * s.taps;
        int at[3];
        d.out.split(q, at);
        S sum = bias != nullptr ? load(bias + channel) : S(0);
        for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
            const int64_t z = at[0] * s.stride[0] - s.padding[0] + kd * s.dilation[0];
            if (z < 0 || z >= s.size[0]) continue;
            for (int64_t kh = 0; kh < s.kernel[1]; ++kh) {
                const int64_t r =
                    at[1] * s.stride[1] - s.padding[1] + kh * s.dilation[1];
                if (r < 0 || r >= s.size[1]) continue;
                const T *line = plane + (z * s.size[1] + r) * s.size[2];
                const T *tap = taps + (kd * s.kernel[1] + kh) * s.kernel[2];
                const int64_t from = at[2] * s.stride[2] - s.padding[2];
#pragma unroll 4
                for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
                    const int64_t c = from + kw * s.dilation[2];
                    if (c >= 0 && c < s.size[2]) sum += load(line + c) * load(tap + kw);
                }
            }
        }
        store(y + i, sum);
    }
};

// x at i = (image, group, pixel), from the positions that saw it.
template <typename T> struct DepthwiseInput {
    Depthwise<T> d;
    const T *y, *w, *bias;
    T *x;
    __device__ int64_t position(int axis, int at, int64_t tap) const {
        const conv_shape &s = d.s;
        const int64_t reach = at + s.padding[axis] - tap * s.dilation[axis];
        if (reach < 0 || reach > (s.out[axis] - 1) * s.stride[axis]) return -1;
        const uint32_t q = d.stride[axis].quotient(static_cast<uint32_t>(reach));
        return q * s.stride[axis] == reach ? static_cast<int64_t>(q) : -1;
    }
    __device__ void operator()(int64_t i) const {
        using S = computed_t<T>;
        const conv_shape &s = d.s;
        uint32_t rest = static_cast<uint32_t>(i);
        const uint32_t pixel = take(rest, d.pixels);
        const uint32_t group = rest - d.groups.quotient(rest) * d.groups.divisor;
        int at[3];
        d.size.split(pixel, at);
        S sum = bias != nullptr ? load(bias + group) : S(0);
        for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
            const int64_t qd = position(0, at[0], kd);
            for (int64_t kh = 0; qd >= 0 && kh < s.kernel[1]; ++kh) {
                const int64_t qh = position(1, at[1], kh);
                for (int64_t kw = 0; qh >= 0 && kw < s.kernel[2]; ++kw) {
                    const int64_t qw = position(2, at[2], kw);
                    if (qw < 0) continue;
                    const int64_t q = (qd * s.out[1] + qh) * s.out[2] + qw;
                    const int64_t tap = (kd * s.kernel[1] + kh) * s.kernel[2] + kw;
                    for (int64_t filter = 0; filter < s.o; ++filter)
                        sum += load(y + (rest * s.o + filter) * s.positions + q) *
                               load(w + (group * s.o + filter) * s.taps + tap);
                }
            }
        }
        store(x + i, sum);
    }
};

// Gradients of the taps: a block sums kTaps of one filter over one slice of (image,
// position); slices are added in order afterwards.
constexpr int kTaps = 9;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    depthwise_weight_kernel(Depthwise<T> d, const T *x, const T *y,
                            computed_t<T> *partial) {
    using S = computed_t<T>;
    const conv_shape &s = d.s;
    const uint32_t filter = blockIdx.x, slice = blockIdx.y, slices = gridDim.y;
    const int first_tap = static_cast<int>(blockIdx.z) * kTaps;
    const int64_t filters = s.groups * s.o, group = filter / s.o;
    const int64_t all = s.n * s.positions;
    const int64_t begin = all * slice / slices, end = all * (slice + 1) / slices;
    S sums[kTaps] = {};
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
        const int64_t image = i / s.positions, q = i - image * s.positions;
        const S g = load(y + (image * filters + filter) * s.positions + q);
        const T *plane = x + (image * s.groups + group) * s.pixels;
        int at[3];
        d.out.split(static_cast<uint32_t>(q), at);
#pragma unroll
        for (int t = 0; t < kTaps; ++t) {
            const int tap = first_tap + t;
            if (tap >= s.taps) break;
            const int kw = tap % static_cast<int>(s.kernel[2]);
            const int lines = tap / static_cast<int>(s.kernel[2]);
            const int kh = lines % static_cast<int>(s.kernel[1]);
            const int kd = lines / static_cast<int>(s.kernel[1]);
            const int64_t z = at[0] * s.stride[0] - s.padding[0] + kd * s.dilation[0];
            const int64_t r = at[1] * s.stride[1] - s.padding[1] + kh * s.dilation[1];
            const int64_t c = at[2] * s.stride[2] - s.padding[2] + kw * s.dilation[2];
            if (z >= 0 && z < s.size[0] && r >= 0 && r < s.size[1] && c >= 0 &&
                c < s.size[2])
                sums[t] += g * load(plane + (z * s.size[1] + r) * s.size[2] + c);
        }
    }
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
        const S total = block_reduce(sums[t], S(0), Sum());
        if (threadIdx.x == 0 && first_tap + t < s.taps)
            partial[(static_cast<int64_t>(slice) * filters + filter) * s.taps +
                    first_tap + t] = total;
    }
}

template <typename T> struct AddSlices {
    const computed_t<T> *partial;
    T *total;
    int64_t slices, n;
    __device__ void operator()(int64_t i) const {
        computed_t<T> sum = 0;
        for (int64_t k = 0; k < slices; ++k)
            sum += partial[k * n + i];
        store(total + i, sum);
    }
};

template <typename T>
tl_status depthwise_weight(const conv_shape &s, const T *x, const T *y, T *w) {
    const int64_t filters = s.groups * s.o, n = filters * s.taps;
    const int64_t parts = ceil_div(s.taps, kTaps), all = s.n * s.positions;
    // Enough blocks to fill the device, each with some rounds of work.
    int64_t slices = ceil_div(static_cast<int64_t>(processors()) * 8, filters * parts);
    slices =
        slices < ceil_div(all, 8 * kThreads) ? slices : ceil_div(all, 8 * kThreads);
    if (filters >= (INT64_C(1) << 31) || parts > 65535) return TL_DECLINED;
    const Scratch scratch(slices * n * static_cast<int64_t>(sizeof(computed_t<T>)));
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    computed_t<T> *partial = scratch.as<computed_t<T>>();
    const dim3 grid(static_cast<unsigned>(filters), static_cast<unsigned>(slices),
                    static_cast<unsigned>(parts));
    const tl_status status = launch(grid, kThreads, 0, depthwise_weight_kernel<T>,
                                    depthwise<T>(s), x, y, partial);
    if (status != TL_OK) return status;
    return for_each(n, AddSlices<T>{partial, w, slices, n});
}

// Runs a body over `each` elements of every image, in ranges that 32 bits can count.
template <typename T>
tl_status depthwise_forward(const conv_shape &s, const T *x, const T *w, const T *bias,
                            T *y) {
    const int64_t each = s.groups * s.o * s.positions, step = counted_images(s.n, each);
    if (step == 0) return TL_DECLINED;
    for (int64_t first = 0; first < s.n; first += step) {
        const int64_t count = s.n - first < step ? s.n - first : step;
        const tl_status status =
            for_each(count * each, DepthwiseForward<T>{depthwise<T>(s),
                                                       x + first * s.groups * s.pixels,
                                                       w, bias, y + first * each});
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

template <typename T>
tl_status depthwise_input(const conv_shape &s, const T *y, const T *w, const T *bias,
                          T *x) {
    const int64_t each = s.groups * s.pixels, step = counted_images(s.n, each);
    const int64_t y_each = s.groups * s.o * s.positions;
    if (step == 0) return TL_DECLINED;
    for (int64_t first = 0; first < s.n; first += step) {
        const int64_t count = s.n - first < step ? s.n - first : step;
        const tl_status status = for_each(
            count * each, DepthwiseInput<T>{depthwise<T>(s), y + first * y_each, w,
                                            bias, x + first * each});
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

} // namespace tl
