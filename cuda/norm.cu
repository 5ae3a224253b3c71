// Layer normalization of rows, batch normalization of channels, and their gradients.
// rms_norm is a layer normalization whose mean (null) is taken to be 0: a kernel that
// waits for memory has the time to ask.
#include "reduce.cuh"
#include "whole_rows.cuh"

namespace {

using tl::computed_t;

template <typename T> const T *read_only(const tl_buffer *buffer) {
    return static_cast<const T *>(buffer->data);
}
template <typename T> T *written(const tl_buffer *buffer) {
    return static_cast<T *>(buffer->data);
}
// Of an operand that may be left out.
template <typename T> T *given(const tl_buffer *buffer) {
    return buffer == nullptr ? nullptr : written<T>(buffer);
}
double eps_of(const tl_call *call) {
    return static_cast<const tl_norm_params *>(call->params)->eps;
}
bool on_device(const tl_call *call) {
    for (int i = 0; i < call->nin; ++i)
        if (call->in[i] != nullptr && call->in[i]->device_type != TL_CUDA) return false;
    return true;
}

template <typename V> __device__ __forceinline__ V inverse_root(V x) {
    return V(1) / std::sqrt(x);
}

// P of a row's weights (or biases) from `column` on; ones (zeros) without them.
template <int P, typename T>
__device__ __forceinline__ void affine(const T *x, int64_t column, bool packed,
                                       float absent, computed_t<T> *values) {
    if (x != nullptr && P > 1 && packed) {
        tl::load_pack<P>(x + column, values);
        return;
    }
#pragma unroll
    for (int j = 0; j < P; ++j)
        values[j] = x == nullptr ? absent : tl::load(x + column + j);
}

// ---- layer normalization ----------------------------------------------------------
template <typename Element> struct LayerNormOp {
    using T = Element;
    using V = computed_t<T>;
    using Row = V; // a number of the row, about which a long one's moments are taken
    using State = tl::Moments<V>;
    struct Stats {
        V mean, rstd;
    };
    static constexpr int kInputs = 1;
    static constexpr bool kAnyAxis = false;
    T *out;
    const T *a, *b; // b: none
    const T *weight, *bias;
    V *mean, *rstd; // mean: null of rms_norm
    double eps;
    int64_t n;
    bool packed; // weight and bias can be read in packs

    __device__ V fill() const { return 0; }
    template <bool Long> __device__ V row(uint32_t, int64_t offset) const {
        return Long ? tl::load(a + offset) : V(0);
    }
    __device__ Stats of(V mean_found, V squares) const {
        return {mean_found,
                inverse_root(squares / static_cast<V>(n) + static_cast<V>(eps))};
    }
    template <int P, int K>
    __device__ Stats summarize(const V *x, V *, V, const tl::RowPart &part) const {
        V centre = 0;
        if (mean != nullptr)
            centre =
                part.reduce(tl::pairwise_sum<K * P>(x), tl::Sum{}) / static_cast<V>(n);
        V squares[K * P];
#pragma unroll
        for (int k = 0; k < K; ++k) {
#pragma unroll
            for (int j = 0; j < P; ++j) {
                const V apart = x[k * P + j] - centre;
                squares[k * P + j] = part.holds(k) ? apart * apart : V(0);
            }
        }
        return of(centre, part.reduce(tl::pairwise_sum<K * P>(squares), tl::Sum{}));
    }
    template <int P>
    __device__ void finish(V *x, V *, const Stats &stats, V, int64_t column) const {
        V scale[P], shift[P];
        affine<P>(weight, column, packed, 1, scale);
        affine<P>(bias, column, packed, 0, shift);
#pragma unroll
        for (int j = 0; j < P; ++j)
            x[j] = (x[j] - stats.mean) * stats.rstd * scale[j] + shift[j];
    }
    __device__ State empty() const { return {0, 0, 0}; }
    __device__ State join(const State &x, const State &y) const {
        return tl::join_moments(x, y);
    }
    template <int N, int>
    __device__ void add(State &state, const V *x, const V *, V shift, int64_t,
                        int) const {
        tl::add_moments<N>(state, x, shift);
    }
    __device__ Stats stats(const State &state, V shift) const {
        const V centre = state.mean + shift;
        if (mean != nullptr) return of(centre, state.squares);
        return of(0, state.squares + static_cast<V>(n) * centre * centre);
    }
    template <int P>
    __device__ void result(V *x, V *y, const Stats &stats, V shift,
                           int64_t column) const {
        finish<P>(x, y, stats, shift, column);
    }
    __device__ void note(const Stats &stats, uint32_t i) const {
        if (mean != nullptr) mean[i] = stats.mean;
        rstd[i] = stats.rstd;
    }
};

// ---- its gradient -----------------------------------------------------------------
// Of the weighted gradient: its part along the normalized row, and its mean, times n.
template <typename V> struct Slopes { V along, average; };
struct AddSlopes {
    template <typename V>
    __device__ Slopes<V> operator()(const Slopes<V> &x, const Slopes<V> &y) const {
        return {x.along + y.along, x.average + y.average};
    }
};

// The part for x of long rows; shorter ones go through layer_norm_grad_kernel.
template <typename Element> struct LayerNormGradOp {
    using T = Element;
    using V = computed_t<T>;
    struct Row {
        V mean, rstd;
    };
    using State = Slopes<V>;
    using Stats = Slopes<V>;
    static constexpr int kInputs = 2;
    T *out;
    const T *a, *b; // gradient, x
    const T *weight;
    const V *mean, *rstd; // mean: null of rms_norm
    int64_t n;
    bool packed;

    __device__ V fill() const { return 0; }
    template <bool> __device__ Row row(uint32_t i, int64_t) const {
        return {mean == nullptr ? V(0) : mean[i], rstd[i]};
    }
    // a: weighted gradient, b: normalized x.
    template <int P>
    __device__ void prepare(V *g, V *x, const Row &row, int64_t column) const {
        V scale[P];
        affine<P>(weight, column, packed, 1, scale);
#pragma unroll
        for (int j = 0; j < P; ++j) {
            g[j] *= scale[j];
            x[j] = (x[j] - row.mean) * row.rstd;
        }
    }
    template <int P>
    __device__ void finish(V *g, const V *x, const Stats &stats, const Row &row,
                           int64_t) const {
        const V count = static_cast<V>(n);
        const V along = stats.along / count;
        const V average = mean == nullptr ? V(0) : stats.average / count;
#pragma unroll
        for (int j = 0; j < P; ++j)
            g[j] = row.rstd * (g[j] - average - x[j] * along);
    }
    __device__ State empty() const { return {0, 0}; }
    __device__ State join(const State &x, const State &y) const {
        return AddSlopes{}(x, y);
    }
    template <int N, int P>
    __device__ void add(State &state, V *g, V *x, const Row &row, int64_t column,
                        int apart) const {
        V products[N];
#pragma unroll
        for (int k = 0; k < N / P; ++k)
            prepare<P>(g + k * P, x + k * P, row,
                       column + static_cast<int64_t>(k) * apart);
#pragma unroll
        for (int j = 0; j < N; ++j)
            products[j] = g[j] * x[j];
        state.along += tl::pairwise_sum<N>(products);
        state.average += tl::pairwise_sum<N>(g);
    }
    __device__ Stats stats(const State &state, const Row &) const { return state; }
    template <int P>
    __device__ void result(V *g, V *x, const Stats &stats, const Row &row,
                           int64_t column) const {
        prepare<P>(g, x, row, column);
        finish<P>(g, x, stats, row, column);
    }
    __device__ void note(const Stats &, uint32_t) const {}
};

// What threads of one row's columns add up for weight and bias goes to `partial`:
// (blocks, 2, n), each block's sums over its rows.
template <typename T> struct GradRows {
    LayerNormGradOp<T> op;
    computed_t<T> *partial;
    int64_t rows;
    uint32_t units; // of a row
    int lanes;
};

// Rows of a group's threads, all kept in registers; then the block's sums of each
// column.
template <typename T, int P, int K>
__global__ void __launch_bounds__(1024) layer_norm_grad_kernel(GradRows<T> plan) {
    tl::wait_for_previous();
    using V = computed_t<T>;
    const LayerNormGradOp<T> &op = plan.op;
    const int lanes = plan.lanes, lane = threadIdx.x % lanes,
              groups = blockDim.x / lanes;
    V weight_sum[K * P] = {}, bias_sum[K * P] = {};
    const int64_t step = static_cast<int64_t>(gridDim.x) * groups;
#pragma unroll 1
    for (int64_t first = static_cast<int64_t>(blockIdx.x) * groups; first < plan.rows;
         first += step) {
        const int64_t row = first + threadIdx.x / lanes;
        const bool live = row < plan.rows;
        V g[K * P] = {}, x[K * P] = {};
        const auto known =
            op.template row<false>(static_cast<uint32_t>(live ? row : 0), 0);
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const uint32_t unit = lane + k * lanes;
            if (!live || unit >= plan.units) continue;
            tl::load_pack<P>(op.a + row * op.n + unit * P, g + k * P);
            tl::load_pack<P>(op.b + row * op.n + unit * P, x + k * P);
        }
        Slopes<V> slopes = {0, 0};
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const uint32_t unit = lane + k * lanes;
            if (!live || unit >= plan.units) continue;
#pragma unroll
            for (int j = k * P; j < (k + 1) * P; ++j) {
                bias_sum[j] += g[j];
                weight_sum[j] += g[j] * ((x[j] - known.mean) * known.rstd);
            }
            op.template add<P, P>(slopes, g + k * P, x + k * P, known, unit * P, 0);
        }
        slopes = tl::group_reduce(slopes, lanes, AddSlopes{});
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const uint32_t unit = lane + k * lanes;
            if (!live || unit >= plan.units) continue;
            op.template finish<P>(g + k * P, x + k * P, slopes, known, unit * P);
            tl::store_pack<P>(op.out + row * op.n + unit * P, g + k * P);
        }
    }
    __shared__ V tile[2][1024];
    V *partial = plan.partial + static_cast<int64_t>(blockIdx.x) * 2 * op.n;
#pragma unroll
    for (int j = 0; j < K * P; ++j) {
        __syncthreads();
        tile[0][threadIdx.x] = weight_sum[j];
        tile[1][threadIdx.x] = bias_sum[j];
        __syncthreads();
        const uint32_t unit = lane + j / P * lanes;
        if (static_cast<int>(threadIdx.x) >= lanes || unit >= plan.units) continue;
        V weight = 0, bias = 0;
        for (int i = lane; i < groups * lanes; i += lanes) {
            weight += tile[0][i];
            bias += tile[1][i];
        }
        partial[unit * P + j % P] = weight;
        partial[op.n + unit * P + j % P] = bias;
    }
}

// The same sums without the rest: threadIdx.x takes a column, threadIdx.y every so many
// rows.
constexpr int kDown = 8;
template <typename T>
__global__ void __launch_bounds__(kDown *tl::kWarp)
    layer_norm_columns_kernel(GradRows<T> plan) {
    tl::wait_for_previous();
    using V = computed_t<T>;
    const LayerNormGradOp<T> &op = plan.op;
    const int64_t column = static_cast<int64_t>(blockIdx.x) * tl::kWarp + threadIdx.x;
    V weight = 0, bias = 0;
    if (column < op.n) {
#pragma unroll 4
        for (int64_t row = static_cast<int64_t>(blockIdx.y) * kDown + threadIdx.y;
             row < plan.rows; row += static_cast<int64_t>(gridDim.y) * kDown) {
            const V g = tl::load(op.a + row * op.n + column);
            const V x = tl::load(op.b + row * op.n + column);
            bias += g;
            const auto known = op.template row<true>(static_cast<uint32_t>(row), 0);
            weight += g * ((x - known.mean) * known.rstd);
        }
    }
    __shared__ V tile[2][kDown][tl::kWarp];
    tile[0][threadIdx.y][threadIdx.x] = weight;
    tile[1][threadIdx.y][threadIdx.x] = bias;
    __syncthreads();
    if (threadIdx.y > 1 || column >= op.n) return;
    V sum = 0;
    for (int i = 0; i < kDown; ++i)
        sum += tile[threadIdx.y][i][threadIdx.x];
    plan.partial[(static_cast<int64_t>(blockIdx.y) * 2 + threadIdx.y) * op.n + column] =
        sum;
}

// Column sums of `parts` rows of 2n numbers, in double: to weight's gradient and
// bias's, which rms_norm has not. A block has few columns, since there are few of them.
constexpr int kSumColumns = 16, kSumRows = 64;
template <typename T>
__global__ void __launch_bounds__(kSumColumns *kSumRows)
    layer_norm_sums_kernel(const computed_t<T> *partial, int parts, int64_t n,
                           T *weight, T *bias) {
    tl::wait_for_previous();
    const int64_t column = static_cast<int64_t>(blockIdx.x) * kSumColumns + threadIdx.x;
    double sum = 0;
    const int64_t wanted = bias == nullptr ? n : 2 * n;
    if (column < wanted)
#pragma unroll 8
        for (int part = threadIdx.y; part < parts; part += blockDim.y)
            sum += static_cast<double>(partial[part * 2 * n + column]);
    __shared__ double tile[kSumRows][kSumColumns + 1];
    tile[threadIdx.y][threadIdx.x] = sum;
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half)
            tile[threadIdx.y][threadIdx.x] += tile[threadIdx.y + half][threadIdx.x];
    }
    if (threadIdx.y > 0 || column >= wanted) return;
    T *out = column < n ? weight + column : bias + (column - n);
    tl::store(out, static_cast<computed_t<T>>(tile[0][threadIdx.x]));
}

template <typename T> constexpr int kRowElements = 32 / sizeof(computed_t<T>);

template <typename T, int P>
tl_status launch_grad_rows(GradRows<T> &plan, int *parts, const tl::Scratch &scratch) {
    plan.partial = scratch.as<computed_t<T>>();
    return tl::launch_early(static_cast<unsigned>(*parts),
                            plan.lanes > tl::kWarp ? plan.lanes : tl::kThreads, 0,
                            layer_norm_grad_kernel<T, P, kRowElements<T> / P>, plan);
}

// Threads of a row and blocks of layer_norm_grad_kernel; false where a row is too long.
template <typename T> bool share_grad_rows(GradRows<T> &plan, int64_t n, int *blocks) {
    int64_t threads = tl::kThreads;
    plan.lanes =
        static_cast<int>(tl::power_of_two_above(tl::ceil_div(n, kRowElements<T>)));
    if (plan.lanes > tl::kWarp) {
        threads = tl::ceil_div(tl::ceil_div(n, kRowElements<T>), tl::kWarp) * tl::kWarp;
        if (threads > 1024) return false;
        plan.lanes = static_cast<int>(threads);
    }
    const int64_t most = tl::processors() * (1024 / threads);
    const int64_t wanted = tl::ceil_div(plan.rows, threads / plan.lanes * 8);
    *blocks = static_cast<int>(wanted < most ? wanted : most);
    return true;
}

template <typename T>
tl_status sum_grad_parts(const tl_call *call, const void *partial, int parts,
                         int64_t n) {
    const int down = parts >= 128 ? kSumRows : 8;
    return tl::launch_early(
        dim3(static_cast<unsigned>(tl::ceil_div(2 * n, kSumColumns))),
        dim3(kSumColumns, down), 0, layer_norm_sums_kernel<T>,
        static_cast<const computed_t<T> *>(partial), parts, n, written<T>(call->out[1]),
        given<T>(call->out[2]));
}

template <typename T> tl_status layer_norm_grad(const tl_call *call) {
    using V = computed_t<T>;
    constexpr int P = tl::pack_of<T>;
    if (!on_device(call)) return TL_DECLINED;
    const tl_buffer *gx = call->out[0];
    const int64_t rows = gx->shape[0], n = gx->shape[1];
    if (n == 0) return TL_OK;
    if (rows == 0) return sum_grad_parts<T>(call, nullptr, 0, n);
    const T *weight = call->nin > 4 ? given<T>(call->in[4]) : nullptr;
    GradRows<T> plan = {{written<T>(gx), read_only<T>(call->in[0]),
                         read_only<T>(call->in[1]), weight, given<V>(call->in[2]),
                         read_only<V>(call->in[3]), n, tl::is_aligned(weight, 16)},
                        nullptr,
                        rows,
                        0,
                        1};
    int parts = 0;
    const bool fused = share_grad_rows(plan, n, &parts);
    if (!fused) {
        const int64_t most = tl::ceil_div(rows, kDown * 4);
        const int64_t wanted =
            tl::ceil_div(tl::processors() * 8, tl::ceil_div(n, tl::kWarp));
        parts = static_cast<int>(wanted < most ? wanted : most);
    }
    const tl::Scratch scratch(parts * 2 * n * static_cast<int64_t>(sizeof(V)));
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    plan.partial = scratch.as<V>();
    tl_status status;
    if (fused) {
        const bool packs = n % P == 0 && tl::is_aligned(plan.op.out, 16) &&
                           tl::is_aligned(plan.op.a, 16) &&
                           tl::is_aligned(plan.op.b, 16);
        plan.units = static_cast<uint32_t>(packs ? n / P : n);
        status = packs ? launch_grad_rows<T, P>(plan, &parts, scratch)
                       : launch_grad_rows<T, 1>(plan, &parts, scratch);
    } else {
        status = tl::launch_early(
            dim3(static_cast<unsigned>(tl::ceil_div(n, tl::kWarp)),
                 static_cast<unsigned>(parts)),
            dim3(tl::kWarp, kDown), 0, layer_norm_columns_kernel<T>, plan);
        if (status == TL_OK)
            status = tl::long_rows(plan.op, gx, call->in[0], call->in[1]);
    }
    return status == TL_OK ? sum_grad_parts<T>(call, scratch.data(), parts, n) : status;
}

template <typename T> tl_status layer_norm(const tl_call *call) {
    using V = computed_t<T>;
    if (!on_device(call)) return TL_DECLINED;
    const T *weight = call->nin > 1 ? given<T>(call->in[1]) : nullptr;
    const T *bias = call->nin > 2 ? given<T>(call->in[2]) : nullptr;
    const LayerNormOp<T> op = {written<T>(call->out[0]),
                               read_only<T>(call->in[0]),
                               nullptr,
                               weight,
                               bias,
                               given<V>(call->out[1]),
                               written<V>(call->out[2]),
                               eps_of(call),
                               call->out[0]->shape[1],
                               tl::is_aligned(weight, 16) && tl::is_aligned(bias, 16)};
    return tl::whole_rows(op, call->out[0], call->in[0], nullptr);
}

// ---- batch normalization ----------------------------------------------------------
// Weights and biases of 16-bit inputs are float32, and so are their gradients.
//
// What a channel's elements are transformed with. Forward: (x - mean) * scale + shift;
// gradient: scale * (g - shift - (x - mean) * slope).
template <typename V> struct alignas(4 * sizeof(V)) Channel {
    V mean, scale, shift, slope;
};

template <typename T> struct ChannelStatistics {
    static constexpr int kPack = sizeof(T) == 8 ? 1 : 4;
    static constexpr bool kOrdered = false;
    using Value = computed_t<T>;
    using State = tl::Moments<Value>;
    using Local = Value;
    const T *x;
    const Value *weight, *bias;
    Value *mean, *var, *rstd;
    Channel<Value> *channels;
    double count, eps;

    bool aligned(int width) const { return tl::is_aligned(x, width * sizeof(T)); }
    bool alike(int) const { return false; }
    template <int P> __device__ int64_t head(int64_t) const { return 0; }
    template <int P> __device__ void load(Value *values, int64_t offset) const {
        tl::load_pack<P>(x + offset, values);
    }
    __device__ State empty() const { return {0, 0, 0}; }
    __device__ State join(const State &a, const State &b) const {
        return tl::join_moments(a, b);
    }
    __device__ Value local(int64_t offset, int64_t) const {
        return tl::load(x + offset);
    }
    template <int N, typename Place>
    __device__ void add(State &state, const Value *values, Value shift,
                        const Place &) const {
        tl::add_moments<N>(state, values, shift);
    }
    // What the mean loses when it is rounded goes into the shift.
    __device__ void finish(const State &state, Value moved, int64_t c) const {
        const double exact =
            static_cast<double>(moved) + static_cast<double>(state.mean);
        const Value centre = static_cast<Value>(exact);
        const double spread = state.squares / count;
        const Value inverse = static_cast<Value>(1.0 / std::sqrt(spread + eps));
        const Value scale = inverse * weight[c];
        mean[c] = centre;
        var[c] = static_cast<Value>(spread);
        rstd[c] = inverse;
        const double shift = bias[c] - (exact - centre) * scale;
        channels[c] = {centre, scale, static_cast<Value>(shift), 0};
    }
};

template <typename T> struct ChannelSlopes {
    static constexpr int kPack = sizeof(T) == 8 ? 1 : 4;
    static constexpr bool kOrdered = false;
    using V = computed_t<T>;
    struct Value {
        V g, x;
    };
    struct State {
        V sum, product;
    };
    using Local = V;
    const T *g, *x;
    const V *weight, *mean, *rstd;
    V *weight_grad, *bias_grad;
    Channel<V> *channels;
    double count;

    bool aligned(int width) const {
        const int bytes = width * static_cast<int>(sizeof(T));
        return tl::is_aligned(g, bytes) && tl::is_aligned(x, bytes);
    }
    bool alike(int) const { return false; }
    template <int P> __device__ int64_t head(int64_t) const { return 0; }
    template <int P> __device__ void load(Value *values, int64_t offset) const {
        V g_values[P], x_values[P];
        tl::load_pack<P>(g + offset, g_values);
        tl::load_pack<P>(x + offset, x_values);
#pragma unroll
        for (int j = 0; j < P; ++j)
            values[j] = {g_values[j], x_values[j]};
    }
    __device__ State empty() const { return {0, 0}; }
    __device__ State join(const State &a, const State &b) const {
        return {a.sum + b.sum, a.product + b.product};
    }
    __device__ V local(int64_t, int64_t c) const { return mean[c]; }
    template <int N, typename Place>
    __device__ void add(State &state, const Value *values, V centre,
                        const Place &) const {
        V sums[N], products[N];
#pragma unroll
        for (int j = 0; j < N; ++j) {
            sums[j] = values[j].g;
            products[j] = values[j].g * (values[j].x - centre);
        }
        state.sum += tl::pairwise_sum<N>(sums);
        state.product += tl::pairwise_sum<N>(products);
    }
    __device__ void finish(const State &state, V centre, int64_t c) const {
        const V inverse = rstd[c];
        const V average = static_cast<V>(state.sum / count);
        const V along = static_cast<V>(state.product / count * inverse * inverse);
        bias_grad[c] = state.sum;
        weight_grad[c] = state.product * inverse;
        channels[c] = {centre, weight[c] * inverse, average, along};
    }
};

// (N, C, S) as memory has it; a pack may reach into the next channel.
template <typename T> struct ChannelMap {
    using V = computed_t<T>;
    T *out;
    const T *a, *b; // x; or gradient and x
    const Channel<V> *channels;
    tl::Divider length, count;
    int64_t extent, n_channels; // S and C
    bool small;                 // positions fit 31 bits

    __device__ void place(int64_t i, int64_t &rest, int64_t &channel) const {
        if (small) {
            const uint32_t row = length.quotient(static_cast<uint32_t>(i));
            rest = i - row * extent;
            channel = row - count.quotient(row) * count.divisor;
        } else {
            const int64_t row = i / extent;
            rest = i - row * extent;
            channel = row % n_channels;
        }
    }
};

template <typename T, bool Grad, int P>
__global__ void __launch_bounds__(tl::kThreads)
    map_channels_kernel(ChannelMap<T> map, int64_t packs) {
    tl::wait_for_previous();
    using V = computed_t<T>;
    constexpr int U = Grad || P > 4 ? 2 : 4;
    const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    const int64_t start = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
#pragma unroll 1
    for (int64_t p = start; p < packs; p += U * step) {
        V a[U][P], b[U][P];
#pragma unroll
        for (int k = 0; k < U; ++k) {
            if (p + k * step >= packs) continue;
            tl::load_pack<P>(map.a + (p + k * step) * P, a[k]);
            if (Grad) tl::load_pack<P>(map.b + (p + k * step) * P, b[k]);
        }
#pragma unroll
        for (int k = 0; k < U; ++k) {
            const int64_t i = (p + k * step) * P;
            if (p + k * step >= packs) continue;
            int64_t rest, channel;
            map.place(i, rest, channel);
            Channel<V> with = map.channels[channel];
#pragma unroll
            for (int j = 0; j < P; ++j) {
                if (j > 0 && ++rest == map.extent) {
                    rest = 0;
                    channel = channel + 1 == map.n_channels ? 0 : channel + 1;
                    with = map.channels[channel];
                }
                a[k][j] = Grad ? with.scale * (a[k][j] - with.shift -
                                               (b[k][j] - with.mean) * with.slope)
                               : (a[k][j] - with.mean) * with.scale + with.shift;
            }
            tl::store_pack<P>(map.out + i, a[k]);
        }
    }
}

template <typename T, bool Grad>
tl_status map_channels(const tl_buffer *out, const T *a, const T *b,
                       const Channel<computed_t<T>> *channels) {
    constexpr int P = tl::pack_of<T>;
    const int64_t size = out->size;
    const bool small = size < INT64_C(1) << 31;
    const auto divider = [&](int64_t d) {
        return tl::Divider::by(small ? static_cast<uint32_t>(d) : 1);
    };
    const ChannelMap<T> map = {written<T>(out),
                               a,
                               b,
                               channels,
                               divider(out->shape[2]),
                               divider(out->shape[1]),
                               out->shape[2],
                               out->shape[1],
                               small};
    const bool packs = size % P == 0 && tl::is_aligned(map.out, 16) &&
                       tl::is_aligned(a, 16) && tl::is_aligned(b, 16);
    const int64_t count = packs ? size / P : size;
    return tl::launch_early(tl::blocks_for(tl::ceil_div(count, 2)), tl::kThreads, 0,
                            packs ? map_channels_kernel<T, Grad, P>
                                  : map_channels_kernel<T, Grad, 1>,
                            map, count);
}

// (N, C, S) with the channels first, and an output of one number a channel.
tl_buffer channels_first(const tl_buffer *x) {
    tl_buffer moved = tl::axes_of(x, 0, 3);
    moved.shape[0] = x->shape[1];
    moved.strides[0] = x->strides[1];
    moved.shape[1] = x->shape[0];
    moved.strides[1] = x->strides[0];
    return moved;
}
double channel_count(const tl_buffer *x) {
    return static_cast<double>(x->shape[0]) * static_cast<double>(x->shape[2]);
}

template <typename T> tl_status batch_norm(const tl_call *call) {
    using V = computed_t<T>;
    const tl_buffer *x = call->in[0], *out = call->out[0];
    if (!on_device(call)) return TL_DECLINED;
    if (out->size == 0) return TL_OK;
    const tl::Scratch scratch(x->shape[1] * static_cast<int64_t>(sizeof(Channel<V>)));
    auto *channels = scratch.as<Channel<V>>();
    if (channels == nullptr) return TL_OUT_OF_MEMORY;
    const ChannelStatistics<T> op = {read_only<T>(x),
                                     read_only<V>(call->in[1]),
                                     read_only<V>(call->in[2]),
                                     written<V>(call->out[1]),
                                     written<V>(call->out[2]),
                                     written<V>(call->out[3]),
                                     channels,
                                     channel_count(x),
                                     eps_of(call)};
    const tl_buffer moved = channels_first(x);
    const tl_status status = tl::reduce(op, &moved, call->out[1], 2);
    return status == TL_OK ? map_channels<T, false>(out, op.x, nullptr, channels)
                           : status;
}

template <typename T> tl_status batch_norm_grad(const tl_call *call) {
    using V = computed_t<T>;
    const tl_buffer *x = call->in[1], *out = call->out[0];
    if (!on_device(call)) return TL_DECLINED;
    if (out->size == 0) return TL_OK;
    const tl::Scratch scratch(x->shape[1] * static_cast<int64_t>(sizeof(Channel<V>)));
    auto *channels = scratch.as<Channel<V>>();
    if (channels == nullptr) return TL_OUT_OF_MEMORY;
    const ChannelSlopes<T> op = {read_only<T>(call->in[0]), read_only<T>(x),
                                 read_only<V>(call->in[4]), read_only<V>(call->in[2]),
                                 read_only<V>(call->in[3]), written<V>(call->out[1]),
                                 written<V>(call->out[2]),  channels,
                                 channel_count(x)};
    const tl_buffer moved = channels_first(x);
    const tl_status status = tl::reduce(op, &moved, call->out[1], 2);
    return status == TL_OK ? map_channels<T, true>(out, op.g, op.x, channels) : status;
}

#define TL_REALS(name, run)                                                            \
    {#name, TL_FLOAT16, run<tl_float16>, nullptr},                                     \
        {#name, TL_BFLOAT16, run<tl_bfloat16>, nullptr},                               \
        {#name, TL_FLOAT32, run<float>, nullptr}, {                                    \
#name, TL_FLOAT64, run < double>, nullptr                                      \
    }

const tl_cuda_entry entries[] = {
    TL_REALS(layer_norm, layer_norm), TL_REALS(layer_norm_grad, layer_norm_grad),
    TL_REALS(rms_norm, layer_norm),   TL_REALS(rms_norm_grad, layer_norm_grad),
    TL_REALS(batch_norm, batch_norm), TL_REALS(batch_norm_grad, batch_norm_grad),
};

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_norm_entries(int *count) {
    *count = static_cast<int>(sizeof entries / sizeof *entries);
    return entries;
}
