// Convolutions: patches in scratch memory, then a matrix product; fold and unfold.
//
// Channels first, a product is (filters, depth) @ (depth, positions) for each image;
// last, (positions, depth) @ (depth, filters) for all. Patches are made for as many
// images, or positions of one, as fit a chunk. Where a patch is one pixel the image is
// its own patches. The gradient of the weight sums over images and positions: both are
// K there. Most planes are turned to have their channels last first: `turns` says
// which.
#include "conv.cuh"
#include "depthwise.cuh"
#include "elementwise.cuh"
#include "matmul.cuh"

namespace {

using tl::conv_shape;
using tl::ConvOutput;
using tl::MatrixProduct;
using tl::PatchShape;

constexpr int64_t kChunkBytes = 64 << 20; // patches at once: mostly within the L2 cache
constexpr int64_t kLeastRun = 256;        // positions

// Some images of a batch and all their positions, or one image and some of them.
struct Chunk {
    int64_t first, images, start, run;
};

// Walks over the chunks of a convolution; `row` is the bytes of all patches of a
// position.
class Chunks {
public:
    Chunks(const conv_shape &s, int64_t row) : n_(s.n), positions_(s.positions) {
        const int64_t image = row * s.positions;
        images_ = image > 0 ? kChunkBytes / image : s.n;
        images_ = images_ < 1 ? 1 : images_ < s.n ? images_ : s.n;
        run_ = s.positions;
        if (image > 2 * kChunkBytes) {
            run_ = kChunkBytes / row / kLeastRun * kLeastRun;
            run_ = run_ < kLeastRun ? kLeastRun : run_;
            run_ = run_ < s.positions ? run_ : s.positions;
        }
    }
    int64_t largest() const { return images_ * run_; } // positions
    // The chunk after one (begin with {}): false at the end.
    bool next(Chunk &chunk) const {
        if (chunk.run == 0)
            chunk.first = chunk.start = 0;
        else if (chunk.start + chunk.run < positions_)
            chunk.start += chunk.run;
        else
            chunk.first += chunk.images, chunk.start = 0;
        if (chunk.first >= n_) return false;
        chunk.images = n_ - chunk.first < images_ ? n_ - chunk.first : images_;
        chunk.run = positions_ - chunk.start < run_ ? positions_ - chunk.start : run_;
        return true;
    }

private:
    int64_t n_, positions_, images_, run_;
};

// A convolution and its arrays; T's element count is what offsets are in.
template <typename T> struct Conv {
    conv_shape s;
    const T *x, *w, *y, *bias; // the output among them is written through `out`
    T *out;
    int64_t x_image() const { return s.groups * s.c * s.pixels; }
    int64_t y_image() const { return s.groups * s.o * s.positions; }
};

MatrixProduct product(int dtype, int64_t m, int64_t n, int64_t k) {
    MatrixProduct p = {};
    p.dtype = dtype;
    p.m = m, p.n = n, p.k = k;
    p.c_col = 1;
    p.batch = 1;
    return p;
}

template <typename T> constexpr int kDtype = tl::dtype_of<T>::code;

// The patches of a chunk as they lie in scratch memory, channels first: images on end.
template <typename T> PatchShape planes_shape(const Conv<T> &v, const Chunk &chunk) {
    PatchShape p = tl::patch_shape(v.s);
    p.images = chunk.images, p.channels = v.s.groups * v.s.c;
    p.start = chunk.start, p.run = chunk.run;
    p.x_image = v.x_image(), p.x_channel = v.s.pixels, p.x_pixel = 1;
    p.p_position = 1, p.p_tap = chunk.run, p.p_channel = v.s.taps * chunk.run;
    p.p_image = p.channels * p.p_channel;
    return p;
}

// Channels last, of one group: a row a position.
template <typename T> PatchShape rows_shape(const Conv<T> &v, const Chunk &chunk) {
    PatchShape p = tl::patch_shape(v.s);
    p.images = chunk.images;
    p.start = chunk.start, p.run = chunk.run;
    p.x_image = v.x_image(), p.x_channel = 1, p.x_pixel = v.s.groups * v.s.c;
    p.p_channel = 1, p.p_tap = v.s.c, p.p_position = v.s.depth;
    p.p_image = chunk.run * v.s.depth;
    return p;
}

// Channel (i / inner) % channels of every element becomes its bias, or 0.
template <typename T> struct FillChannels {
    T *out;
    const T *bias;
    int64_t inner, channels;
    bool small; // 32 bits count the elements
    tl::Divider by_inner, by_channels;
    __device__ void operator()(int64_t i) const {
        if (bias == nullptr) {
            out[i] = T{};
        } else if (small) {
            uint32_t rest = by_inner.quotient(static_cast<uint32_t>(i));
            out[i] = bias[tl::take(rest, by_channels)];
        } else {
            out[i] = bias[i / inner % channels];
        }
    }
};
template <typename T>
tl_status fill(T *out, const T *bias, int64_t n, int64_t channels, int64_t inner) {
    const bool small = n < (INT64_C(1) << 31);
    const auto divider = [=](int64_t by) {
        return tl::Divider::by(small && by > 0 ? static_cast<uint32_t>(by) : 1);
    };
    return tl::for_each(n, FillChannels<T>{out, bias, inner, channels, small,
                                           divider(inner), divider(channels)});
}
template <typename T>
tl_status fill_channels(const Conv<T> &v, int64_t channels, int64_t inner) {
    return fill(v.out, v.bias, v.s.n * channels * inner, channels,
                v.s.channels_last ? 1 : inner);
}

// A product for every (image, group): one call for all of the longer axis, which is
// walked by the strides `image` or `group` of a, b and c.
struct Walk {
    int64_t a, b, c;
};
tl_status for_groups(MatrixProduct p, int64_t images, Walk image, int64_t groups,
                     Walk group, int64_t bytes) {
    const bool by_group = groups > images;
    const Walk inside = by_group ? group : image, outside = by_group ? image : group;
    p.batch = by_group ? groups : images;
    p.a_batch = inside.a, p.b_batch = inside.b, p.c_batch = inside.c;
    for (int64_t i = 0; i < (by_group ? images : groups); ++i) {
        MatrixProduct one = p;
        one.a = static_cast<const char *>(p.a) + i * outside.a * bytes;
        one.b = static_cast<const char *>(p.b) + i * outside.b * bytes;
        one.c = static_cast<char *>(p.c) + i * outside.c * bytes;
        const tl_status status = tl::multiply(one);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

// ---- y from x and w ---------------------------------------------------------------
template <typename T> tl_status forward_planes(const Conv<T> &v) {
    const conv_shape &s = v.s;
    if (v.bias != nullptr) {
        const tl_status status = fill_channels(v, s.groups * s.o, s.positions);
        if (status != TL_OK) return status;
    }
    const int64_t row = s.groups * s.depth * static_cast<int64_t>(sizeof(T));
    const Chunks chunks(s, s.pointwise ? 0 : row);
    const tl::Scratch scratch(s.pointwise ? 0 : chunks.largest() * row);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    for (Chunk chunk = {}; chunks.next(chunk);) {
        const PatchShape shape = planes_shape(v, chunk);
        const T *x = v.x + chunk.first * v.x_image();
        tl_status status = TL_OK;
        if (!s.pointwise)
            status = tl::copy_patches(shape, sizeof(T), x, scratch.data());
        if (status != TL_OK) return status;
        MatrixProduct p = product(kDtype<T>, s.o, chunk.run, s.depth);
        p.a = v.w, p.a_row = s.depth, p.a_col = 1;
        p.b = s.pointwise ? x : scratch.as<T>(), p.b_row = chunk.run, p.b_col = 1;
        p.c = v.out + chunk.first * v.y_image() + chunk.start, p.c_row = s.positions;
        p.accumulate = v.bias != nullptr;
        const Walk image = {0, s.groups * s.depth * chunk.run, v.y_image()};
        const Walk group = {s.o * s.depth, s.depth * chunk.run, s.o * s.positions};
        status = for_groups(p, chunk.images, image, s.groups, group, sizeof(T));
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

template <typename T> tl_status forward_rows(const Conv<T> &v) {
    const conv_shape &s = v.s;
    const int64_t row = s.depth * static_cast<int64_t>(sizeof(T));
    const Chunks chunks(s, s.pointwise ? 0 : row);
    const tl::Scratch scratch(s.pointwise ? 0 : chunks.largest() * row);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    for (Chunk chunk = {}; chunks.next(chunk);)
        for (int64_t group = 0; group < s.groups; ++group) {
            const T *x = v.x + chunk.first * v.x_image() + group * s.c;
            tl_status status = TL_OK;
            if (!s.pointwise)
                status = tl::copy_patches(rows_shape(v, chunk), sizeof(T), x,
                                          scratch.data());
            if (status != TL_OK) return status;
            MatrixProduct p =
                product(kDtype<T>, chunk.images * chunk.run, s.o, s.depth);
            p.a = s.pointwise ? x : scratch.as<T>(), p.a_col = 1;
            p.a_row = s.pointwise ? s.groups * s.c : s.depth;
            p.b = v.w + group * s.o * s.depth, p.b_row = 1, p.b_col = s.depth;
            p.c = v.out + chunk.first * v.y_image() + chunk.start * s.groups * s.o +
                  group * s.o;
            p.c_row = s.groups * s.o;
            p.bias = v.bias == nullptr ? nullptr : v.bias + group * s.o;
            status = tl::multiply(p);
            if (status != TL_OK) return status;
        }
    return TL_OK;
}

// ---- x from y and w ---------------------------------------------------------------
template <typename T> tl_status input_planes(const Conv<T> &v) {
    const conv_shape &s = v.s;
    if (s.pointwise && v.bias != nullptr) {
        const tl_status status = fill_channels(v, s.groups * s.c, s.pixels);
        if (status != TL_OK) return status;
    }
    const int64_t row = s.groups * s.depth * static_cast<int64_t>(sizeof(T));
    const Chunks chunks(s, s.pointwise ? 0 : row);
    const tl::Scratch scratch(s.pointwise ? 0 : chunks.largest() * row);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    for (Chunk chunk = {}; chunks.next(chunk);) {
        T *x = v.out + chunk.first * v.x_image();
        MatrixProduct p = product(kDtype<T>, s.depth, chunk.run, s.o);
        p.a = v.w, p.a_row = 1, p.a_col = s.depth;
        p.b = v.y + chunk.first * v.y_image() + chunk.start;
        p.b_row = s.positions, p.b_col = 1;
        p.c = s.pointwise ? x : scratch.as<T>(), p.c_row = chunk.run;
        p.accumulate = s.pointwise && v.bias != nullptr;
        const Walk image = {0, v.y_image(), s.groups * s.depth * chunk.run};
        const Walk group = {s.o * s.depth, s.o * s.positions, s.depth * chunk.run};
        tl_status status =
            for_groups(p, chunk.images, image, s.groups, group, sizeof(T));
        if (status == TL_OK && !s.pointwise)
            status = tl::sum_patches<T>(planes_shape(v, chunk), scratch.as<T>(), x,
                                        v.bias, chunk.start > 0);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

// to[i][j][k] = from[i * steps[0] + j * steps[1] + k * steps[2]], by tiles where that
// is a transpose.
struct Steps {
    int64_t at[3];
};
template <typename T>
tl_status rearrange(const T *from, Steps steps, T *to, const int64_t (&shape)[3]) {
    tl_buffer in = {}, out = {};
    in.data = const_cast<T *>(from), out.data = to;
    int64_t step = 1;
    for (int d = 2; d >= 0; --d) {
        in.shape[d] = out.shape[d] = shape[d];
        in.strides[d] = steps.at[d], out.strides[d] = step;
        step *= shape[d];
    }
    for (tl_buffer *each : {&in, &out}) {
        each->ndim = 3, each->size = step;
        each->dtype = kDtype<T>, each->device_type = TL_CUDA;
    }
    return tl::copy_strided(&out, &in);
}

// Whether the gradient of x is better found as a convolution of y, than by adding
// patches: its patches are rounded to T only once they are summed, and are read by 16
// bytes.
bool is_convolution_of_y(const conv_shape &s) {
    const bool dense = s.stride[0] == 1 && s.stride[1] == 1 && s.stride[2] == 1;
    return dense && s.groups == 1 && !s.pointwise && s.o <= 2 * s.c;
}

// That convolution: by the weight with its taps reversed and its channels exchanged.
template <typename T> tl_status input_by_forward(const Conv<T> &v) {
    const conv_shape &s = v.s;
    const tl::Scratch scratch(s.o * s.depth * static_cast<int64_t>(sizeof(T)));
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status = rearrange(v.w + (s.taps - 1) * s.c, {{1, -s.c, s.depth}},
                                       scratch.as<T>(), {s.c, s.taps, s.o});
    if (status != TL_OK) return status;
    Conv<T> turned = v;
    conv_shape &t = turned.s;
    t.c = s.o, t.o = s.c, t.depth = s.o * s.taps;
    t.pixels = s.positions, t.positions = s.pixels;
    for (int d = 0; d < 3; ++d) {
        t.size[d] = s.out[d], t.out[d] = s.size[d];
        t.padding[d] = s.dilation[d] * (s.kernel[d] - 1) - s.padding[d];
    }
    turned.x = v.y, turned.w = scratch.as<T>();
    return forward_rows(turned);
}

template <typename T> tl_status input_rows(const Conv<T> &v) {
    const conv_shape &s = v.s;
    if (is_convolution_of_y(s)) return input_by_forward(v);
    const int64_t row = s.depth * static_cast<int64_t>(sizeof(T));
    const Chunks chunks(s, s.pointwise ? 0 : row);
    const tl::Scratch scratch(s.pointwise ? 0 : chunks.largest() * row);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    for (Chunk chunk = {}; chunks.next(chunk);)
        for (int64_t group = 0; group < s.groups; ++group) {
            T *x = v.out + chunk.first * v.x_image() + group * s.c;
            const T *bias = v.bias == nullptr ? nullptr : v.bias + group * s.c;
            MatrixProduct p =
                product(kDtype<T>, chunk.images * chunk.run, s.depth, s.o);
            p.a = v.y + chunk.first * v.y_image() + chunk.start * s.groups * s.o +
                  group * s.o;
            p.a_row = s.groups * s.o, p.a_col = 1;
            p.b = v.w + group * s.o * s.depth, p.b_row = s.depth, p.b_col = 1;
            p.c = s.pointwise ? x : scratch.as<T>();
            p.c_row = s.pointwise ? s.groups * s.c : s.depth;
            p.bias = s.pointwise ? bias : nullptr;
            tl_status status = tl::multiply(p);
            if (status == TL_OK && !s.pointwise)
                status = tl::sum_patches<T>(rows_shape(v, chunk), scratch.as<T>(), x,
                                            bias, chunk.start > 0);
            if (status != TL_OK) return status;
        }
    return TL_OK;
}

// ---- w from y and x ---------------------------------------------------------------
// y of a chunk with its images side by side: (channels, images, run).
template <typename T>
tl_status gather_planes(const Conv<T> &v, const Chunk &chunk, T *target) {
    PatchShape p = {};
    p.images = chunk.images, p.channels = v.s.groups * v.s.o, p.taps = 1;
    for (int d = 0; d < 3; ++d) {
        p.size[d] = p.out[d] = v.s.out[d];
        p.kernel[d] = p.stride[d] = p.dilation[d] = 1;
    }
    p.start = chunk.start, p.run = chunk.run;
    p.x_image = v.y_image(), p.x_channel = v.s.positions, p.x_pixel = 1;
    p.p_position = p.p_tap = 1, p.p_image = chunk.run;
    p.p_channel = chunk.images * chunk.run;
    return tl::copy_patches(p, sizeof(T), v.y + chunk.first * v.y_image(), target);
}

template <typename T> tl_status weight_planes(const Conv<T> &v) {
    const conv_shape &s = v.s;
    const int64_t bytes = sizeof(T);
    const Chunks chunks(s, s.groups * s.depth * bytes);
    const int64_t most = chunks.largest(), patches = s.groups * s.depth * most;
    const int64_t aligned = tl::ceil_div(patches, 128) * 128;
    const tl::Scratch scratch((aligned + s.groups * s.o * most) * bytes);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    for (Chunk chunk = {}; chunks.next(chunk);) {
        const int64_t depth = chunk.images * chunk.run;
        PatchShape shape = planes_shape(v, chunk);
        shape.p_image = chunk.run, shape.p_tap = depth,
        shape.p_channel = s.taps * depth;
        tl_status status = tl::copy_patches(
            shape, bytes, v.x + chunk.first * v.x_image(), scratch.data());
        if (status != TL_OK) return status;
        MatrixProduct p = product(kDtype<T>, s.o, s.depth, depth);
        p.a = v.y + chunk.first * v.y_image() + chunk.start;
        p.a_row = s.positions, p.a_col = 1, p.a_batch = s.o * s.positions;
        if (chunk.images > 1) {
            status = gather_planes(v, chunk, scratch.as<T>() + aligned);
            if (status != TL_OK) return status;
            p.a = scratch.as<T>() + aligned, p.a_row = depth, p.a_batch = s.o * depth;
        }
        p.b = scratch.data(), p.b_row = 1, p.b_col = depth, p.b_batch = s.depth * depth;
        p.c = v.out, p.c_row = s.depth, p.c_batch = s.o * s.depth;
        p.batch = s.groups;
        p.accumulate = chunk.first + chunk.start > 0;
        status = tl::multiply(p);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

template <typename T> tl_status weight_rows(const Conv<T> &v) {
    const conv_shape &s = v.s;
    const int64_t row = s.depth * static_cast<int64_t>(sizeof(T));
    const Chunks chunks(s, s.pointwise ? 0 : row);
    const tl::Scratch scratch(s.pointwise ? 0 : chunks.largest() * row);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    for (Chunk chunk = {}; chunks.next(chunk);)
        for (int64_t group = 0; group < s.groups; ++group) {
            const T *x = v.x + chunk.first * v.x_image() + group * s.c;
            tl_status status = TL_OK;
            if (!s.pointwise)
                status = tl::copy_patches(rows_shape(v, chunk), sizeof(T), x,
                                          scratch.data());
            if (status != TL_OK) return status;
            MatrixProduct p =
                product(kDtype<T>, s.o, s.depth, chunk.images * chunk.run);
            p.a = v.y + chunk.first * v.y_image() + chunk.start * s.groups * s.o +
                  group * s.o;
            p.a_row = 1, p.a_col = s.groups * s.o;
            p.b = s.pointwise ? x : scratch.as<T>(), p.b_col = 1;
            p.b_row = s.pointwise ? s.groups * s.c : s.depth;
            p.c = v.out + group * s.o * s.depth, p.c_row = s.depth;
            p.accumulate = chunk.first + chunk.start > 0;
            status = tl::multiply(p);
            if (status != TL_OK) return status;
        }
    return TL_OK;
}

// ---- the ops ----------------------------------------------------------------------
bool on_device(const tl_call *call) {
    for (int i = 0; i < call->nin; ++i)
        if (call->in[i] != nullptr && call->in[i]->device_type != TL_CUDA) return false;
    return true;
}

template <typename T> const T *data_of(const tl_buffer *x) {
    return static_cast<const T *>(x->data);
}

// One channel a group, so that a product would be a vector's with a vector.
bool is_depthwise(const conv_shape &s) {
    return !s.channels_last && s.groups > 1 && s.c == 1;
}

template <typename T>
Conv<T> describe(const tl_call *call, const tl_buffer *x, const tl_buffer *w,
                 const tl_buffer *y) {
    Conv<T> v = {};
    v.s = tl::conv_describe(static_cast<const tl_conv_params *>(call->params), x, w, y);
    v.x = data_of<T>(x), v.w = data_of<T>(w), v.y = data_of<T>(y);
    v.bias =
        call->nin > 2 && call->in[2] != nullptr ? data_of<T>(call->in[2]) : nullptr;
    v.out = static_cast<T *>(call->out[0]->data);
    // Images of one pixel lie the same either way, and are rows of a matrix.
    if (v.s.groups == 1 && v.s.pixels == 1 && v.s.positions == 1 && v.s.taps == 1)
        v.s.channels_last = true;
    return v;
}

// ---- which way --------------------------------------------------------------------
// The rules are from times on an H200, of 3 x 3 windows and 64 to 256 images. bfloat16,
// 256 channels of 14 x 14: own rows 46 us, cuDNN's rows 56, its planes 100, own planes
// 208. Patches of more than a chunk leave the L2 cache, which implicit ones do not.
// In full float32 cuDNN reaches 10 to 38 TFLOP/s, the product 49, and patches cost it
// 2 / columns bytes an operation; a weight's gradient of 3 channels takes cuDNN 0.8 ms.
constexpr int64_t kFewChannels = 16;
constexpr int64_t kManyColumns = 128;

bool is_narrow(int dtype) { return dtype == TL_FLOAT16 || dtype == TL_BFLOAT16; }
bool on_tensor_cores(int dtype) {
    return is_narrow(dtype) ||
           (dtype == TL_FLOAT32 && tl_cuda_float32_precision() != 0);
}
bool has_few_channels(const conv_shape &s) {
    return s.c < kFewChannels || s.o < kFewChannels;
}

// Whether patches and a product come before cuDNN.
bool prefers_product(ConvOutput output, int dtype, const conv_shape &s) {
    if (s.groups > 1 || dtype == TL_FLOAT64) return false;
    if (on_tensor_cores(dtype)) {
        const int64_t patches = output == ConvOutput::x && is_convolution_of_y(s)
                                    ? s.n * s.pixels * s.o * s.taps
                                    : s.n * s.positions * s.depth;
        return s.channels_last && !has_few_channels(s) &&
               patches * tl::dtype_bytes(dtype) <= kChunkBytes;
    }
    if (has_few_channels(s)) return output == ConvOutput::w;
    return (output == ConvOutput::x ? s.c : s.o) >= kManyColumns;
}

// Whether planes are worth two passes over x and y to have their channels last, as
// tensor cores and products of short planes want them: 256 bfloat16 images of 32 x 32,
// 64 to 128 channels, are 200 MB, 50 us, of 180. Patches of one pixel are not: matmul
// takes such planes as they are, but for 16-bit numbers that begin anywhere.
bool turns(ConvOutput output, int dtype, const conv_shape &s) {
    if (s.channels_last || s.groups > 1 || has_few_channels(s)) return false;
    if (s.pointwise && (!is_narrow(dtype) || s.pixels % 8 == 0)) return false;
    return on_tensor_cores(dtype) || prefers_product(output, dtype, s);
}

// A convolution in the layout that it has.
template <typename T> tl_status convolve(ConvOutput output, const Conv<T> &v) {
    const bool last = v.s.channels_last;
    if (!prefers_product(output, kDtype<T>, v.s)) {
        const tl_status status =
            tl::cudnn_conv(output, kDtype<T>, v.s, v.x, v.w, v.y, v.bias);
        if (status != TL_DECLINED) return status;
    }
    switch (output) {
    case ConvOutput::y:
        return last ? forward_rows(v) : forward_planes(v);
    case ConvOutput::x:
        return last ? input_rows(v) : input_planes(v);
    default:
        return last ? weight_rows(v) : weight_planes(v);
    }
}

// An operand as planes (n, channels, extent), and its copy with the channels last.
template <typename T> struct Turned {
    const T *planes;
    T *rows;
    int64_t n, channels, extent;
    int64_t reserved() const { // elements, so that the next copy is aligned, too
        return tl::ceil_div(n * channels * extent, 128) * 128;
    }
    tl_status to_rows() const {
        return rearrange(planes, {{channels * extent, 1, extent}}, rows,
                         {n, extent, channels});
    }
    tl_status to_planes(T *target) const {
        return rearrange<T>(rows, {{channels * extent, 1, channels}}, target,
                            {n, channels, extent});
    }
};

// A convolution of planes by way of copies with their channels last.
template <typename T> tl_status convolve_turned(ConvOutput output, const Conv<T> &v) {
    const conv_shape &s = v.s;
    Turned<T> operands[3] = {{v.y, nullptr, s.n, s.o, s.positions}, // by ConvOutput
                             {v.x, nullptr, s.n, s.c, s.pixels},
                             {v.w, nullptr, s.o, s.c, s.taps}};
    int64_t elements = 0;
    for (const Turned<T> &each : operands)
        elements += each.reserved();
    const tl::Scratch scratch(elements * static_cast<int64_t>(sizeof(T)));
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    T *rows = scratch.as<T>();
    tl_status status = TL_OK;
    for (Turned<T> &each : operands) {
        each.rows = rows;
        rows += each.reserved();
        if (&each != &operands[static_cast<int>(output)] && status == TL_OK)
            status = each.to_rows();
    }
    const Turned<T> &found = operands[static_cast<int>(output)];
    Conv<T> turned = v;
    turned.s.channels_last = true;
    turned.y = operands[0].rows, turned.x = operands[1].rows;
    turned.w = operands[2].rows, turned.out = found.rows;
    if (status == TL_OK) status = convolve(output, turned);
    return status == TL_OK ? found.to_planes(v.out) : status;
}

template <typename T> tl_status best_way(ConvOutput output, const Conv<T> &v) {
    if (turns(output, kDtype<T>, v.s)) {
        const tl_status status = convolve_turned(output, v);
        if (status != TL_OUT_OF_MEMORY && status != TL_DECLINED) return status;
    }
    return convolve(output, v);
}

template <typename T> tl_status run_conv(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (!on_device(call)) return TL_DECLINED;
    const Conv<T> v = describe<T>(call, call->in[0], call->in[1], call->out[0]);
    const conv_shape &s = v.s;
    if (s.depth == 0 || s.pixels == 0)
        return fill_channels(v, s.groups * s.o, s.positions);
    if (is_depthwise(s)) return tl::depthwise_forward<T>(s, v.x, v.w, v.bias, v.out);
    return best_way(ConvOutput::y, v);
}

template <typename T> tl_status run_conv_input(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (!on_device(call)) return TL_DECLINED;
    const Conv<T> v = describe<T>(call, call->out[0], call->in[1], call->in[0]);
    const conv_shape &s = v.s;
    if (s.o == 0 || s.positions == 0 || s.taps == 0)
        return fill_channels(v, s.groups * s.c, s.pixels);
    if (is_depthwise(s)) return tl::depthwise_input<T>(s, v.y, v.w, v.bias, v.out);
    return best_way(ConvOutput::x, v);
}

template <typename T> tl_status run_conv_weight(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (!on_device(call)) return TL_DECLINED;
    const Conv<T> v = describe<T>(call, call->in[1], call->out[0], call->in[0]);
    const conv_shape &s = v.s;
    if (call->in[0]->size == 0 || call->in[1]->size == 0)
        return fill<T>(v.out, nullptr, call->out[0]->size, 1, 1);
    if (is_depthwise(s)) return tl::depthwise_weight<T>(s, v.x, v.y, v.out);
    return best_way(ConvOutput::w, v);
}

// Columns (N, C * taps, positions) of planes; in[1] and in[2] have the extents of the
// kernel and of the positions only.
PatchShape columns_shape(const tl_call *call, const tl_buffer *x) {
    const conv_shape s = tl::conv_describe(
        static_cast<const tl_conv_params *>(call->params), x, call->in[1], call->in[2]);
    PatchShape p = tl::patch_shape(s);
    p.images = s.n * x->shape[1], p.channels = 1;
    p.x_image = s.pixels, p.x_pixel = 1;
    p.p_position = 1, p.p_tap = s.positions, p.p_image = s.taps * s.positions;
    return p;
}

template <typename T> tl_status run_unfold(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (call->in[0]->device_type != TL_CUDA) return TL_DECLINED;
    return tl::copy_patches(columns_shape(call, call->in[0]), sizeof(T),
                            call->in[0]->data, call->out[0]->data);
}

template <typename T> tl_status run_fold(const tl_call *call) {
    if (call->out[0]->size == 0) return TL_OK;
    if (call->in[0]->device_type != TL_CUDA) return TL_DECLINED;
    return tl::sum_patches<T>(columns_shape(call, call->out[0]),
                              data_of<T>(call->in[0]),
                              static_cast<T *>(call->out[0]->data), nullptr, false);
}

#define TL_CONV_ENTRIES(T)                                                             \
    {"conv", kDtype<T>, run_conv<T>, nullptr},                                         \
        {"conv_input", kDtype<T>, run_conv_input<T>, nullptr},                         \
        {"conv_weight", kDtype<T>, run_conv_weight<T>, nullptr},                       \
        {"unfold", kDtype<T>, run_unfold<T>, nullptr}, {                               \
        "fold", kDtype<T>, run_fold<T>, nullptr                                        \
    }
const tl_cuda_entry entries[] = {
    TL_CONV_ENTRIES(float),
    TL_CONV_ENTRIES(double),
    TL_CONV_ENTRIES(tl_float16),
    TL_CONV_ENTRIES(tl_bfloat16),
};
#undef TL_CONV_ENTRIES

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_conv_entries(int *count) {
    *count = sizeof entries / sizeof *entries;
    return entries;
}
