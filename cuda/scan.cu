// Cumulative sums and products along the last axis.
//
// A block goes along a row in tiles, scanned in registers and by shuffles; rows that
// lie side by side, and short ones, go one a thread. Where there are few rows they are
// cut into chunks, whose totals a first kernel finds. Floats are carried in double,
// sums of halves in float.
#include "rows.cuh"

namespace {

using tl::computed_t;
using tl::kAllLanes;
using tl::kWarp;

template <typename T>
constexpr bool is_real = std::is_floating_point<computed_t<T>>::value;

template <typename Element, bool Product> struct Scan {
    using T = Element;
    using Carry = std::conditional_t<
        !is_real<T>, unsigned long long,
        std::conditional_t<sizeof(T) == 2 && !Product, float, double>>;
    using Out = std::conditional_t<is_real<T>, T, uint64_t>;
    // Elements of a pack; products are rare, and go one by one.
    static constexpr int kPack =
        Product ? 1 : 16 / (sizeof(T) > sizeof(Out) ? sizeof(T) : sizeof(Out));

    static __device__ Carry none() { return Product ? 1 : 0; }
    static __device__ Carry join(Carry a, Carry b) { return Product ? a * b : a + b; }
    __device__ Carry operator()(Carry a, Carry b) const { return join(a, b); }

    template <int P>
    static __device__ __forceinline__ void read(const T *x, int64_t i, int64_t step,
                                                Carry *values) {
        computed_t<T> read[P];
        if constexpr (P == 1)
            read[0] = tl::load(x + i * step);
        else
            tl::load_pack<P>(x + i, read);
#pragma unroll
        for (int j = 0; j < P; ++j)
            values[j] = static_cast<Carry>(read[j]);
    }
    template <int P>
    static __device__ __forceinline__ void write(Out *y, int64_t i, int64_t step,
                                                 const Carry *values) {
        computed_t<Out> written[P];
#pragma unroll
        for (int j = 0; j < P; ++j)
            written[j] = static_cast<computed_t<Out>>(values[j]);
        if constexpr (P == 1)
            tl::store(y + i * step, written[0]);
        else
            tl::store_pack<P>(y + i, written);
    }
};

template <class S> struct Lines {
    tl::Walk<2> lines; // offsets of a line in x and y
    const typename S::T *x;
    typename S::Out *y;
    typename S::Carry *totals; // of chunks, or null: each line is one
    int64_t x_step, y_step;
    int64_t n;
    int64_t chunk;   // elements of a chunk
    uint32_t chunks; // of a line
};

// ---- along rows -------------------------------------------------------------------
constexpr int kBands = 4; // packs of a thread in a tile, a band of the tile each

// Inclusive scan over a warp's lanes.
template <class S, typename Carry = typename S::Carry>
__device__ __forceinline__ Carry warp_scan(Carry value, int lane) {
#pragma unroll
    for (int apart = 1; apart < kWarp; apart *= 2) {
        const Carry before = __shfl_up_sync(kAllLanes, value, apart);
        if (lane >= apart) value = S::join(before, value);
    }
    return value;
}

// What the chunks before a block's own add up to.
template <class S>
__device__ typename S::Carry carry_of(const typename S::Carry *totals, uint32_t chunk) {
    typename S::Carry carry = S::none();
    for (uint32_t i = threadIdx.x; i < chunk; i += blockDim.x)
        carry = S::join(carry, totals[i]);
    return tl::group_reduce(carry, blockDim.x, S());
}

// Scans a tile of kBands * blockDim.x packs, this thread's at unit + k * blockDim.x,
// and moves the carry on. The buffer in shared memory alternates: one barrier a tile.
template <class S, int P>
__device__ __forceinline__ void scan_tile(typename S::Carry (&values)[kBands][P],
                                          typename S::Carry &carry,
                                          typename S::Carry *buffer) {
    using Carry = typename S::Carry;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int warps = blockDim.x / kWarp;
    Carry before[kBands];
#pragma unroll
    for (int k = 0; k < kBands; ++k) {
#pragma unroll
        for (int j = 1; j < P; ++j)
            values[k][j] = S::join(values[k][j - 1], values[k][j]);
        const Carry upto = warp_scan<S>(values[k][P - 1], lane);
        if (lane == kWarp - 1) buffer[k * warps + warp] = upto;
        before[k] = __shfl_up_sync(kAllLanes, upto, 1);
        if (lane == 0) before[k] = S::none();
    }
    __syncthreads();
    // At most 32 warps of bands: each warp scans their totals for itself.
    const int count = kBands * warps;
    const Carry upto = warp_scan<S>(lane < count ? buffer[lane] : S::none(), lane);
#pragma unroll
    for (int k = 0; k < kBands; ++k) {
        const int place = k * warps + warp;
        Carry start = __shfl_sync(kAllLanes, upto, place > 0 ? place - 1 : 0);
        start = place > 0 ? S::join(carry, start) : carry;
        start = S::join(start, before[k]);
#pragma unroll
        for (int j = 0; j < P; ++j)
            values[k][j] = S::join(start, values[k][j]);
    }
    carry = S::join(carry, __shfl_sync(kAllLanes, upto, count - 1));
}

template <class S, int P>
__global__ void __launch_bounds__(tl::kThreads) scan_rows_kernel(Lines<S> plan) {
    using Carry = typename S::Carry;
    __shared__ Carry buffer[2][kWarp];
    const uint32_t line = blockIdx.x / plan.chunks,
                   chunk = blockIdx.x - line * plan.chunks;
    const int64_t begin = chunk * plan.chunk;
    const int64_t rest = plan.n - begin,
                  end = begin + (rest < plan.chunk ? rest : plan.chunk);
    int64_t at[2];
    plan.lines.at(line, at);
    Carry carry = S::none();
    if (plan.totals != nullptr)
        carry =
            carry_of<S>(plan.totals + static_cast<int64_t>(line) * plan.chunks, chunk);
    const int apart = blockDim.x * P;
    int turn = 0;
#pragma unroll 1
    for (int64_t tile = begin; tile < end; tile += kBands * apart, turn ^= 1) {
        const int64_t first = tile + threadIdx.x * P;
        Carry values[kBands][P];
#pragma unroll
        for (int k = 0; k < kBands; ++k) {
#pragma unroll
            for (int j = 0; j < P; ++j)
                values[k][j] = S::none();
            if (first + k * apart < end)
                S::template read<P>(plan.x + at[0], first + k * apart, plan.x_step,
                                    values[k]);
        }
        scan_tile<S, P>(values, carry, buffer[turn]);
#pragma unroll
        for (int k = 0; k < kBands; ++k)
            if (first + k * apart < end)
                S::template write<P>(plan.y + at[1], first + k * apart, plan.y_step,
                                     values[k]);
    }
}

template <class S, int P>
__global__ void __launch_bounds__(tl::kThreads) row_totals_kernel(Lines<S> plan) {
    using Carry = typename S::Carry;
    const uint32_t line = blockIdx.x / plan.chunks,
                   chunk = blockIdx.x - line * plan.chunks;
    const int64_t begin = chunk * plan.chunk;
    const int64_t rest = plan.n - begin,
                  end = begin + (rest < plan.chunk ? rest : plan.chunk);
    int64_t at[2];
    plan.lines.at(line, at);
    Carry total = S::none();
    const int apart = blockDim.x * P;
#pragma unroll 4
    for (int64_t i = begin + threadIdx.x * P; i < end; i += apart) {
        Carry values[P];
        S::template read<P>(plan.x + at[0], i, plan.x_step, values);
#pragma unroll
        for (int j = 0; j < P; ++j)
            total = S::join(total, values[j]);
    }
    total = tl::group_reduce(total, blockDim.x, S());
    if (threadIdx.x == 0) plan.totals[blockIdx.x] = total;
}

// ---- a thread a line --------------------------------------------------------------
// Chunk blockIdx.y of each line; `Totals`: nothing is written but its total.
template <class S, bool Totals>
__global__ void __launch_bounds__(tl::kThreads) scan_lines_kernel(Lines<S> plan) {
    using Carry = typename S::Carry;
    constexpr int U = 8;
    const uint32_t line = blockIdx.x * blockDim.x + threadIdx.x;
    if (line >= plan.lines.count) return;
    const int64_t begin = blockIdx.y * plan.chunk;
    const int64_t rest = plan.n - begin,
                  end = begin + (rest < plan.chunk ? rest : plan.chunk);
    int64_t at[2];
    plan.lines.at(line, at);
    Carry carry = S::none();
    if (!Totals)
#pragma unroll 4
        for (uint32_t i = 0; i < blockIdx.y; ++i)
            carry = S::join(
                carry, plan.totals[static_cast<int64_t>(i) * plan.lines.count + line]);
#pragma unroll 1
    for (int64_t i = begin; i < end; i += U) {
        Carry values[U];
#pragma unroll
        for (int k = 0; k < U; ++k) {
            values[k] = S::none();
            if (i + k < end)
                S::template read<1>(plan.x + at[0], i + k, plan.x_step, values + k);
        }
#pragma unroll
        for (int k = 0; k < U; ++k) {
            carry = S::join(carry, values[k]);
            if (!Totals && i + k < end)
                S::template write<1>(plan.y + at[1], i + k, plan.y_step, &carry);
        }
    }
    if (Totals)
        plan.totals[static_cast<int64_t>(blockIdx.y) * plan.lines.count + line] = carry;
}

// ---- run functions ----------------------------------------------------------------
// Cuts lines of n into at most `most` chunks of a multiple of `grain` elements.
template <class S> void cut(Lines<S> &plan, int64_t most, int64_t grain) {
    const int64_t chunks = most < 1 ? 1 : most;
    plan.chunk = tl::ceil_div(tl::ceil_div(plan.n, chunks), grain) * grain;
    plan.chunks = static_cast<uint32_t>(tl::ceil_div(plan.n, plan.chunk));
}

template <class S, int P> tl_status scan_rows(Lines<S> &plan) {
    int64_t threads = tl::ceil_div(plan.n, kBands * P * kWarp) * kWarp;
    threads = threads < tl::kThreads ? threads : tl::kThreads;
    const int64_t tile = kBands * P * threads, lines = plan.lines.count;
    const int64_t room = tl::processors() * 8 / lines, useful = plan.n / (tile * 2);
    cut(plan, room < useful ? room : useful, tile);
    const int64_t tasks = lines * plan.chunks;
    const dim3 grid(static_cast<unsigned>(tasks)),
        block(static_cast<unsigned>(threads));
    if (plan.chunks == 1)
        return tl::launch(grid, block, 0, scan_rows_kernel<S, P>, plan);
    const tl::Scratch scratch(tasks * static_cast<int64_t>(sizeof(typename S::Carry)));
    plan.totals = scratch.as<typename S::Carry>();
    if (plan.totals == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status = tl::launch(grid, block, 0, row_totals_kernel<S, P>, plan);
    if (status != TL_OK) return status;
    return tl::launch(grid, block, 0, scan_rows_kernel<S, P>, plan);
}

template <class S> tl_status scan_lines(Lines<S> &plan) {
    const int64_t lines = plan.lines.count;
    const int64_t room = tl::processors() * INT64_C(1024) / lines, useful = plan.n / 64;
    const int64_t most = room < useful ? room : useful;
    cut(plan, most < 256 ? most : 256, 8);
    const dim3 grid(static_cast<unsigned>(tl::ceil_div(lines, 128)), plan.chunks);
    if (plan.chunks == 1)
        return tl::launch(grid, 128, 0, scan_lines_kernel<S, false>, plan);
    const tl::Scratch scratch(lines * plan.chunks *
                              static_cast<int64_t>(sizeof(typename S::Carry)));
    plan.totals = scratch.as<typename S::Carry>();
    if (plan.totals == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status = tl::launch(grid, 128, 0, scan_lines_kernel<S, true>, plan);
    if (status != TL_OK) return status;
    return tl::launch(grid, 128, 0, scan_lines_kernel<S, false>, plan);
}

template <class S> bool in_packs(const Lines<S> &plan) {
    constexpr int P = S::kPack;
    bool fit = plan.x_step == 1 && plan.y_step == 1 && plan.n % P == 0 &&
               tl::is_aligned(plan.x, P * sizeof(typename S::T)) &&
               tl::is_aligned(plan.y, P * sizeof(typename S::Out));
    for (int d = 0; d < plan.lines.ndim; ++d)
        fit &= plan.lines.strides[d][0] % P == 0 && plan.lines.strides[d][1] % P == 0;
    return fit;
}

template <typename T, bool Product> tl_status scan(const tl_call *call) {
    using S = Scan<T, Product>;
    const tl_buffer *x = call->in[0], *y = call->out[0];
    if (y->size == 0) return TL_OK;
    if (x->device_type != TL_CUDA) return TL_DECLINED;
    const int last = x->ndim - 1;
    const tl_buffer outer_x = tl::axes_of(x, 0, last),
                    outer_y = tl::axes_of(y, 0, last);
    const tl_buffer *const outer[2] = {&outer_x, &outer_y};
    Lines<S> plan;
    if (!plan.lines.set(tl::merged_layout(outer))) return TL_DECLINED;
    plan.x = static_cast<const T *>(x->data);
    plan.y = static_cast<typename S::Out *>(y->data);
    plan.totals = nullptr;
    plan.x_step = x->strides[last];
    plan.y_step = y->strides[last];
    plan.n = x->shape[last];
    const bool beside = plan.lines.ndim > 0 && plan.x_step != 1 &&
                        plan.lines.strides[0][0] == 1 && plan.lines.count >= kWarp / 2;
    const bool brief = plan.n <= 32 && plan.lines.count >= 1024;
    if (beside || brief || plan.n <= 8) return scan_lines(plan);
    if constexpr (S::kPack > 1)
        if (in_packs(plan)) return scan_rows<S, S::kPack>(plan);
    return scan_rows<S, 1>(plan);
}

#define TL_SCANS(name, product)                                                        \
    {name, TL_BOOL, scan<uint8_t, product>, nullptr},                                  \
        {name, TL_UINT8, scan<uint8_t, product>, nullptr},                             \
        {name, TL_INT32, scan<int32_t, product>, nullptr},                             \
        {name, TL_INT64, scan<int64_t, product>, nullptr},                             \
        {name, TL_UINT64, scan<int64_t, product>, nullptr},                            \
        {name, TL_FLOAT16, scan<tl_float16, product>, nullptr},                        \
        {name, TL_BFLOAT16, scan<tl_bfloat16, product>, nullptr},                      \
        {name, TL_FLOAT32, scan<float, product>, nullptr}, {                           \
        name, TL_FLOAT64, scan<double, product>, nullptr                               \
    }

const tl_cuda_entry entries[] = {
    TL_SCANS("cumsum", false),
    TL_SCANS("cumprod", true),
};

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_scan_entries(int *count) {
    *count = static_cast<int>(sizeof entries / sizeof *entries);
    return entries;
}
