// Conversion between dtypes, and copies: cast_<target>, keyed by the source dtype.
//
// Copies know sizes, not dtypes. Runs of elements move as words of up to 16 bytes;
// a transpose goes through tiles in shared memory, so that both sides are read and
// written by lines.
#include "elementwise.cuh"

#include "tensorlib/scalar_ops.h"

namespace tl {
namespace {

struct alignas(16) Sixteen {
    uint64_t low, high;
};

struct Copy : Light {
    template <typename T> __device__ __forceinline__ T operator()(T x) const {
        return x;
    }
};

// ---- transposes ---------------------------------------------------------------------
constexpr int kSide = 32;  // words along a tile's side
constexpr int kShort = 16; // shorter dimensions are not worth tiles

// Dimension 0 is the one along which the output lies, dimension 1 the input's; what is
// left are batches. Strides in elements.
struct Tiles {
    uint32_t count, along0, along1; // tiles in all, and by dimension
    int64_t shape0, shape1;
    int64_t in_stride0, out_stride1;
    Offsets<2, int64_t> batches;
};

// V x V elements are turned in registers, words of V in shared memory. There a word's
// column is changed by its row, so that no two lanes meet in a bank either way.
template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    tile_kernel(Tiles tiles, T *out, const T *in) {
    wait_for_previous();
    constexpr int side = kSide * V, warps = kThreads / 32, steps = kSide / warps;
    __shared__ Pack<T, V> tile[side][kSide];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (uint32_t t = blockIdx.x; t < tiles.count; t += gridDim.x) {
        const uint32_t t0 = t % tiles.along0, rest = t / tiles.along0;
        const uint32_t t1 = rest % tiles.along1;
        int64_t at[2];
        tiles.batches.at(rest / tiles.along1, at);
        const int64_t first0 = static_cast<int64_t>(t0) * side;
        const int64_t first1 = static_cast<int64_t>(t1) * side;
        const int n0 = static_cast<int>(min(tiles.shape0 - first0, int64_t(side)));
        const int n1 = static_cast<int>(min(tiles.shape1 - first1, int64_t(side)));
        const T *from = in + at[1] + first0 * tiles.in_stride0 + first1 + lane * V;
        T *to = out + at[0] + first1 * tiles.out_stride1 + first0 + lane * V;
        Pack<T, V> rows[steps][V];
#pragma unroll
        for (int s = 0; s < steps; ++s) {
            const int group = warp + s * warps;
            if (lane * V < n1 && group * V < n0)
#pragma unroll
                for (int i = 0; i < V; ++i)
                    rows[s][i] =
                        load_pack<V>(from + (group * V + i) * tiles.in_stride0);
        }
#pragma unroll
        for (int s = 0; s < steps; ++s) {
            const int group = warp + s * warps;
#pragma unroll
            for (int j = 0; j < V; ++j) {
                Pack<T, V> column;
#pragma unroll
                for (int i = 0; i < V; ++i)
                    column.at[i] = rows[s][i].at[j];
                tile[lane * V + j][group ^ lane] = column;
            }
        }
        __syncthreads();
        if (lane * V < n0)
            for (int r = warp; r < n1; r += warps)
                store_pack<V>(to + r * tiles.out_stride1, tile[r][lane ^ (r / V)]);
        __syncthreads(); // the tile is free for the next
    }
}

// The layout's dimensions as tiles; `turned` is the one along which the input lies.
Tiles tiles_of(const Layout<2> &layout, int turned, int side) {
    Layout<2> outer = {};
    int64_t batches = 1;
    for (int d = 1; d < layout.ndim; ++d) {
        if (d == turned) continue;
        outer.shape[outer.ndim] = layout.shape[d];
        for (int k = 0; k < 2; ++k)
            outer.strides[outer.ndim][k] = layout.strides[d][k];
        batches *= layout.shape[d];
        ++outer.ndim;
    }
    const int64_t along0 = ceil_div(layout.shape[0], side);
    const int64_t along1 = ceil_div(layout.shape[turned], side);
    return {static_cast<uint32_t>(along0 * along1 * batches),
            static_cast<uint32_t>(along0),
            static_cast<uint32_t>(along1),
            layout.shape[0],
            layout.shape[turned],
            layout.strides[0][1],
            layout.strides[turned][0],
            Offsets<2, int64_t>(outer)};
}

// Whether words of `pack` elements fit both sides of the tiles.
bool fits_words(const Layout<2> &layout, int turned, int pack) {
    if (layout.shape[0] % pack || layout.shape[turned] % pack) return false;
    for (int d = 0; d < layout.ndim; ++d)
        if ((d != 0 && layout.strides[d][0] % pack) ||
            (d != turned && layout.strides[d][1] % pack))
            return false;
    return true;
}

template <typename T, int V>
tl_status copy_tiles(const Layout<2> &layout, int turned, void *out, const void *in) {
    if constexpr (V > 1) {
        constexpr int bytes = V * sizeof(T);
        if (!fits_words(layout, turned, V) || !is_aligned(out, bytes) ||
            !is_aligned(in, bytes))
            return copy_tiles<T, 1>(layout, turned, out, in);
    }
    const Tiles tiles = tiles_of(layout, turned, kSide * V);
    return launch_early(tiles.count, kThreads, 0, tile_kernel<T, V>, tiles,
                        static_cast<T *>(out), static_cast<const T *>(in));
}

// The dimension along which the input lies, where tiles serve; else 0.
int turned_dimension(const Layout<2> &layout) {
    constexpr int64_t most = INT64_C(1) << 40; // elements: tiles are counted in 31 bits
    if (layout.ndim < 2 || layout.ndim > kMaxMerged || layout.size > most) return 0;
    if (layout.strides[0][0] != 1 || layout.strides[0][1] == 0 ||
        layout.shape[0] < kShort)
        return 0;
    if (detail::magnitude(layout.strides[0][1]) == 1) return 0;
    for (int d = 1; d < layout.ndim; ++d)
        if (layout.strides[d][1] == 1 && layout.shape[d] >= kShort) return d;
    return 0;
}

// ---- copies -------------------------------------------------------------------------
template <typename T> tl_status copy_elements(const tl_call *call) {
    return run_form<Copy, T, T>(call);
}

tl_status copy_sized(const tl_call *call, int bytes) {
    switch (bytes) {
    case 1:
        return copy_elements<uint8_t>(call);
    case 2:
        return copy_elements<uint16_t>(call);
    case 4:
        return copy_elements<uint32_t>(call);
    case 8:
        return copy_elements<uint64_t>(call);
    default:
        return copy_elements<Sixteen>(call);
    }
}

// The largest word, in bytes, of which runs along the innermost dimension consist.
int word_bytes(const Layout<2> &layout, const void *out, const void *in, int itemsize) {
    if (layout.ndim == 0 || layout.strides[0][0] != 1 || layout.strides[0][1] != 1)
        return itemsize;
    int64_t all = layout.shape[0] * itemsize;
    all |= static_cast<int64_t>(reinterpret_cast<uintptr_t>(out) |
                                reinterpret_cast<uintptr_t>(in));
    for (int d = 1; d < layout.ndim; ++d)
        all |= (layout.strides[d][0] | layout.strides[d][1]) * itemsize;
    int bytes = 16;
    while (bytes > itemsize && all % bytes != 0)
        bytes /= 2;
    return bytes;
}

// A side of the layout as a buffer of words; dimensions the outermost first.
tl_buffer as_words(const tl_buffer &buffer, const Layout<2> &layout, int side,
                   int scale) {
    tl_buffer words = {};
    words.data = buffer.data;
    words.device_type = buffer.device_type;
    words.device_index = buffer.device_index;
    words.ndim = static_cast<int16_t>(layout.ndim);
    words.size = layout.size / scale;
    for (int d = 0; d < layout.ndim; ++d) {
        const int to = layout.ndim - 1 - d;
        words.shape[to] = d == 0 ? layout.shape[d] / scale : layout.shape[d];
        words.strides[to] =
            d == 0 ? layout.strides[d][side] : layout.strides[d][side] / scale;
    }
    return words;
}

tl_status copy_tiles_sized(const Layout<2> &layout, int turned, void *out,
                           const void *in, int bytes) {
    switch (bytes) {
    case 1:
        return copy_tiles<uint8_t, 4>(layout, turned, out, in);
    case 2:
        return copy_tiles<uint16_t, 2>(layout, turned, out, in);
    case 4:
        return copy_tiles<uint32_t, 2>(layout, turned, out, in);
    case 8:
        return copy_tiles<uint64_t, 1>(layout, turned, out, in);
    default:
        return copy_tiles<Sixteen, 1>(layout, turned, out, in);
    }
}

tl_status run_copy(const tl_call *call) {
    const tl_buffer *out = call->out[0], *in = call->in[0];
    const int itemsize = kItemSize[out->dtype];
    if (out->size == 0) return TL_OK;
    const bool flat = out->flags & in->flags & TL_C_CONTIGUOUS;
    if (flat || in->device_type != TL_CUDA || in->ndim != out->ndim)
        return copy_sized(call, itemsize);
    const tl_buffer *const operands[2] = {out, in};
    const Layout<2> layout = merged_layout(operands);
    if (const int turned = turned_dimension(layout))
        return copy_tiles_sized(layout, turned, out->data, in->data, itemsize);
    const int bytes = word_bytes(layout, out->data, in->data, itemsize);
    if (bytes == itemsize || layout.ndim > kMaxMerged)
        return copy_sized(call, itemsize);
    const tl_buffer out_words = as_words(*out, layout, 0, bytes / itemsize);
    const tl_buffer in_words = as_words(*in, layout, 1, bytes / itemsize);
    const tl_buffer *outputs[] = {&out_words}, *inputs[] = {&in_words};
    tl_call words = *call;
    words.out = outputs;
    words.in = inputs;
    return copy_sized(&words, bytes);
}

// ---- conversion ---------------------------------------------------------------------
// The value that store() rounds once: 16-bit floats are loaded and stored as float.
template <class D> struct Cast : Light {
    template <typename S>
    __device__ __forceinline__ computed_t<D> operator()(S x) const {
        if constexpr (is_half<D>)
            return before_half(x);
        else
            return op_cast<D>(x);
    }
};

template <int Bytes, bool Signed> struct integer_of;
template <> struct integer_of<1, true> { using type = int8_t; };
template <> struct integer_of<2, true> { using type = int16_t; };
template <> struct integer_of<4, true> { using type = int32_t; };
template <> struct integer_of<8, true> { using type = int64_t; };
template <> struct integer_of<1, false> { using type = uint8_t; };
template <> struct integer_of<2, false> { using type = uint16_t; };
template <> struct integer_of<4, false> { using type = uint32_t; };
template <> struct integer_of<8, false> { using type = uint64_t; };

// Types whose conversions are the same bits share a kernel: integers cut off or
// compared with 0 have no sign, nor have narrow integers that floats are converted to.
template <class T> using unsigned_of = typename integer_of<sizeof(T), false>::type;
template <class S, class D>
constexpr bool
    source_signless = std::is_integral<S>::value &&std::is_integral<D>::value &&
                      (std::is_same<D, bool>::value || sizeof(D) <= sizeof(S));
template <class S, class D>
constexpr bool target_signless =
    std::is_integral<D>::value && !std::is_same<D, bool>::value &&
    (std::is_integral<S>::value || sizeof(D) < 4);
// A lazy choice: unsigned_of is not defined for floats.
template <class T, bool signless> struct shared_type { using type = T; };
template <class T> struct shared_type<T, true> { using type = unsigned_of<T>; };

template <class D, class S> tl_status run_cast(const tl_call *call) {
    using Target = typename shared_type<D, target_signless<S, D>>::type;
    using From = std::conditional_t<std::is_same<S, bool>::value, uint8_t, S>;
    using Given = typename shared_type<From, source_signless<From, D>>::type;
    if constexpr (std::is_integral<Given>::value && std::is_same<Given, Target>::value)
        return run_copy(call);
    else
        return run_form<Cast<Target>, Target, Given>(call);
}

// ---- the table ----------------------------------------------------------------------
#define TL_DTYPES(X, ...)                                                              \
    X(bool, TL_BOOL, bool, __VA_ARGS__)                                                \
    X(int8, TL_INT8, int8_t, __VA_ARGS__)                                              \
    X(int16, TL_INT16, int16_t, __VA_ARGS__)                                           \
    X(int32, TL_INT32, int32_t, __VA_ARGS__)                                           \
    X(int64, TL_INT64, int64_t, __VA_ARGS__)                                           \
    X(uint8, TL_UINT8, uint8_t, __VA_ARGS__)                                           \
    X(uint16, TL_UINT16, uint16_t, __VA_ARGS__)                                        \
    X(uint32, TL_UINT32, uint32_t, __VA_ARGS__)                                        \
    X(uint64, TL_UINT64, uint64_t, __VA_ARGS__)                                        \
    X(float16, TL_FLOAT16, tl_float16, __VA_ARGS__)                                    \
    X(bfloat16, TL_BFLOAT16, tl_bfloat16, __VA_ARGS__)                                 \
    X(float32, TL_FLOAT32, float, __VA_ARGS__)                                         \
    X(float64, TL_FLOAT64, double, __VA_ARGS__)

// The kernels of cast_<target> for every source; from a dtype to itself it is the copy.
template <class D, class S> constexpr tl_kernel_fn cast_from() {
    if constexpr (std::is_same<D, S>::value)
        return run_copy;
    else
        return run_cast<D, S>;
}
#define TL_CAST_ROW(name, code, S, target, D)                                          \
    {target, code, cast_from<D, S>(), nullptr},
#define TL_SOURCES_OF(target, D) TL_DTYPES(TL_CAST_ROW, "cast_" #target, D)

// clang-format off
const tl_cuda_entry entries[] = {
    TL_SOURCES_OF(bool, bool)
    TL_SOURCES_OF(int8, int8_t)
    TL_SOURCES_OF(int16, int16_t)
    TL_SOURCES_OF(int32, int32_t)
    TL_SOURCES_OF(int64, int64_t)
    TL_SOURCES_OF(uint8, uint8_t)
    TL_SOURCES_OF(uint16, uint16_t)
    TL_SOURCES_OF(uint32, uint32_t)
    TL_SOURCES_OF(uint64, uint64_t)
    TL_SOURCES_OF(float16, tl_float16)
    TL_SOURCES_OF(bfloat16, tl_bfloat16)
    TL_SOURCES_OF(float32, float)
    TL_SOURCES_OF(float64, double)
    {"cast_complex64", TL_COMPLEX64, run_copy, nullptr},
    {"cast_complex128", TL_COMPLEX128, run_copy, nullptr},
};
// clang-format on

} // namespace

tl_status copy_strided(const tl_buffer *out, const tl_buffer *in) {
    tl_call call = {};
    call.out = &out;
    call.in = &in;
    call.nout = call.nin = 1;
    return run_copy(&call);
}

bool is_turned(const tl_buffer *out, const tl_buffer *in) {
    constexpr int64_t small = 16384; // elements: another launch would cost more
    if (out->size < small || in->ndim != out->ndim) return false;
    for (int d = 0; d < in->ndim; ++d)
        if (in->strides[d] == 0 && in->shape[d] != 1) return false; // it would grow
    const tl_buffer *const operands[2] = {out, in};
    return turned_dimension(merged_layout(operands)) != 0;
}

} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_cast_entries(int *count) {
    *count = static_cast<int>(sizeof tl::entries / sizeof *tl::entries);
    return tl::entries;
}
