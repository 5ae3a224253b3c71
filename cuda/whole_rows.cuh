// Kernels that need a row's statistics before they write it (softmax, normalization and
// their gradients). A row is read once and kept in registers by some lanes of a warp or
// by a block; rows too long for that are read twice, in parts; rows that lie side by
// side (the axis is not the innermost) are read twice by columns of threads.
//
// An Op is passed to the kernels by value; V is the type it computes in:
// - T, kInputs (1 or 2), kAnyAxis (or always the innermost)
// - out, a, b: operands; fill(): what stands behind the end of a row of a
// - Row row<Long>(i, offset of a): what is known of a row beforehand
// - Stats summarize<P, K>(a, b, row, part): of a row in registers; may change a and b
// - finish<P>(a, b, stats, row, column): results, into a, of what summarize left
// - State add<N, P>(state, a, b, row, column, apart), join, stats(state): of a long row
// - result<P>(a, b, stats, row, column): results, into a, of what was read
// - note(stats, i): what is written once a row
#pragma once

#include "rows.cuh"

namespace tl {

struct WholeRows {
    Walk<3> rows; // offsets in out, a, b
    int64_t
        steps[3]; // from an element of a row to the next; 1 where they come in packs
    int64_t n;
    uint32_t units;  // packs (or elements) of a row
    uint32_t splits; // parts of a long row
    int lanes;       // threads of a row
};

// A thread's part of a row in registers: unit(k) for 0 <= k < K.
struct RowPart {
    int lane, lanes;
    uint32_t units;
    int64_t n;
    bool live;
    __device__ uint32_t unit(int k) const { return lane + k * lanes; }
    __device__ bool holds(int k) const { return live && unit(k) < units; }
    template <typename V, typename Join>
    __device__ V reduce(V value, const Join &join) const {
        return group_reduce(value, lanes, join);
    }
};

template <int P, typename T, typename V>
__device__ __forceinline__ void read_unit(const T *x, int64_t unit, int64_t step,
                                          V *values) {
    if constexpr (P == 1)
        values[0] = load(x + unit * step);
    else
        load_pack<P>(x + unit * P, values);
}
template <int P, typename T, typename V>
__device__ __forceinline__ void write_unit(T *y, int64_t unit, int64_t step,
                                           const V *values) {
    if constexpr (P == 1)
        store(y + unit * step, values[0]);
    else
        store_pack<P>(y + unit * P, values);
}

template <class Op, int P, int K>
__global__ void __launch_bounds__(1024) whole_rows_kernel(Op op, WholeRows plan) {
    wait_for_previous();
    using V = computed_t<typename Op::T>;
    constexpr bool two = Op::kInputs == 2;
    RowPart part = {static_cast<int>(threadIdx.x) % plan.lanes, plan.lanes, plan.units,
                    plan.n, true};
    uint32_t row = blockIdx.x * (blockDim.x / plan.lanes) + threadIdx.x / plan.lanes;
    part.live = row < plan.rows.count;
    row = part.live ? row : 0;
    int64_t at[3];
    plan.rows.at(row, at);
    V a[K * P], b[two ? K * P : 1];
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
        for (int j = 0; j < P; ++j) {
            a[k * P + j] = op.fill();
            if (two) b[k * P + j] = 0;
        }
        if (!part.holds(k)) continue;
        read_unit<P>(op.a + at[1], part.unit(k), plan.steps[1], a + k * P);
        if constexpr (two)
            read_unit<P>(op.b + at[2], part.unit(k), plan.steps[2], b + k * P);
    }
    const auto known = op.template row<false>(row, at[1]);
    const auto stats = op.template summarize<P, K>(a, b, known, part);
#pragma unroll
    for (int k = 0; k < K; ++k) {
        if (!part.holds(k)) continue;
        op.template finish<P>(a + k * P, b + (two ? k * P : 0), stats, known,
                              part.unit(k) * P);
        write_unit<P>(op.out + at[0], part.unit(k), plan.steps[0], a + k * P);
    }
    if (part.live && part.lane == 0) op.note(stats, row);
}

constexpr int kLongThreads = 256;

// Units of part `part` of a long row, for a thread of its block.
struct LongPart {
    uint32_t row, begin, end;
    __device__ LongPart(const WholeRows &plan) {
        row = blockIdx.x / plan.splits;
        const uint32_t part = blockIdx.x - row * plan.splits;
        const uint32_t each = (plan.units + plan.splits - 1) / plan.splits;
        begin = part * each;
        const uint32_t rest = begin < plan.units ? plan.units - begin : 0;
        end = begin + (rest < each ? rest : each);
    }
};

template <class Op> struct JoinStates {
    const Op &op;
    __device__ typename Op::State operator()(const typename Op::State &x,
                                             const typename Op::State &y) const {
        return op.join(x, y);
    }
};

template <class Op, int P>
__global__ void __launch_bounds__(kLongThreads)
    long_rows_state_kernel(Op op, WholeRows plan, typename Op::State *states) {
    wait_for_previous();
    using V = computed_t<typename Op::T>;
    constexpr int U = 8 / P > 1 ? 8 / P : 1;
    const LongPart part(plan);
    int64_t at[3];
    plan.rows.at(part.row, at);
    const auto known = op.template row<true>(part.row, at[1]);
    typename Op::State state = op.empty();
#pragma unroll 1
    for (uint32_t u = part.begin + threadIdx.x; u < part.end; u += U * kLongThreads) {
        V a[U * P], b[U * P];
        int count = 0;
#pragma unroll
        for (int k = 0; k < U; ++k) {
            const uint32_t unit = u + k * kLongThreads;
            if (unit >= part.end) break;
            read_unit<P>(op.a + at[1], unit, plan.steps[1], a + k * P);
            if constexpr (Op::kInputs == 2)
                read_unit<P>(op.b + at[2], unit, plan.steps[2], b + k * P);
            ++count;
        }
        if (count == U) {
            op.template add<U * P, P>(state, a, b, known, int64_t(u) * P,
                                      kLongThreads * P);
        } else {
#pragma unroll
            for (int k = 0; k < U; ++k)
                if (k < count)
                    op.template add<P, P>(state, a + k * P, b + k * P, known,
                                          int64_t(u + k * kLongThreads) * P, 0);
        }
    }
    state = group_reduce(state, kLongThreads, JoinStates<Op>{op});
    if (threadIdx.x == 0) states[blockIdx.x] = state;
}

template <class Op, int P>
__global__ void __launch_bounds__(kLongThreads)
    long_rows_result_kernel(Op op, WholeRows plan, const typename Op::State *states) {
    wait_for_previous();
    using V = computed_t<typename Op::T>;
    const LongPart part(plan);
    int64_t at[3];
    plan.rows.at(part.row, at);
    const auto known = op.template row<true>(part.row, at[1]);
    typename Op::State state = op.empty();
    const typename Op::State *own =
        states + static_cast<int64_t>(part.row) * plan.splits;
    for (uint32_t i = threadIdx.x; i < plan.splits; i += kLongThreads)
        state = op.join(state, own[i]);
    const auto stats =
        op.stats(group_reduce(state, kLongThreads, JoinStates<Op>{op}), known);
#pragma unroll 4
    for (uint32_t u = part.begin + threadIdx.x; u < part.end; u += kLongThreads) {
        V a[P], b[P];
        read_unit<P>(op.a + at[1], u, plan.steps[1], a);
        if constexpr (Op::kInputs == 2) read_unit<P>(op.b + at[2], u, plan.steps[2], b);
        op.template result<P>(a, b, stats, known, int64_t(u) * P);
        write_unit<P>(op.out + at[0], u, plan.steps[0], a);
    }
    if (part.begin == 0 && threadIdx.x == 0) op.note(stats, part.row);
}

// Rows side by side: threadIdx.x takes a row, the threads of a column share it.
template <class Op>
__global__ void __launch_bounds__(kLongThreads)
    side_rows_kernel(Op op, WholeRows plan) {
    wait_for_previous();
    using V = computed_t<typename Op::T>;
    constexpr int U = 4;
    __shared__ typename Op::State tile[kLongThreads];
    const uint32_t row = blockIdx.x * blockDim.x + threadIdx.x;
    const bool live = row < plan.rows.count;
    int64_t at[3];
    plan.rows.at(live ? row : 0, at);
    const auto known = op.template row<true>(live ? row : 0, at[1]);
    typename Op::State state = op.empty();
    const int down = blockDim.y;
    const int64_t n = live ? plan.n : 0;
#pragma unroll 1
    for (int64_t i = threadIdx.y; i < n; i += U * down) {
        V a[U], b[U];
#pragma unroll
        for (int k = 0; k < U; ++k) {
            a[k] = op.fill();
            b[k] = 0;
            if (i + k * down >= n) continue;
            a[k] = load(op.a + at[1] + (i + k * down) * plan.steps[1]);
            if (Op::kInputs == 2)
                b[k] = load(op.b + at[2] + (i + k * down) * plan.steps[2]);
        }
        op.template add<U, 1>(state, a, b, known, i, down);
    }
    const int place = threadIdx.y * blockDim.x + threadIdx.x;
    tile[place] = state;
    __syncthreads();
    state = op.empty();
    for (int i = 0; i < down; ++i)
        state = op.join(state, tile[i * blockDim.x + threadIdx.x]);
    const auto stats = op.stats(state, known);
#pragma unroll 4
    for (int64_t i = threadIdx.y; i < n; i += down) {
        V a[1] = {load(op.a + at[1] + i * plan.steps[1])}, b[1] = {0};
        if (Op::kInputs == 2) b[0] = load(op.b + at[2] + i * plan.steps[2]);
        op.template result<1>(a, b, stats, known, i);
        store(op.out + at[0] + i * plan.steps[0], a[0]);
    }
}

namespace detail {

template <class Op, int P> tl_status run_long_rows(const Op &op, WholeRows &plan) {
    const int64_t chunk = 16384 / P;
    const int64_t splits = ceil_div(plan.units, chunk);
    plan.splits = static_cast<uint32_t>(splits < 1024 ? splits : 1024);
    const int64_t tasks = static_cast<int64_t>(plan.rows.count) * plan.splits;
    if (tasks >= INT64_C(1) << 31) return TL_DECLINED;
    const Scratch scratch(tasks * static_cast<int64_t>(sizeof(typename Op::State)));
    auto *states = scratch.as<typename Op::State>();
    if (states == nullptr) return TL_OUT_OF_MEMORY;
    const dim3 grid(static_cast<unsigned>(tasks));
    const tl_status status = launch_early(
        grid, kLongThreads, 0, long_rows_state_kernel<Op, P>, op, plan, states);
    if (status != TL_OK) return status;
    return launch_early(grid, kLongThreads, 0, long_rows_result_kernel<Op, P>, op, plan,
                        static_cast<const typename Op::State *>(states));
}

template <class Op, int P> tl_status run_rows_of(const Op &op, WholeRows &plan) {
    // Elements a thread keeps: few where a warp or less has a row, else all it can.
    constexpr int size = sizeof(computed_t<typename Op::T>);
    constexpr int few = 32 / size;
    // Single elements make long code: half as many.
    constexpr int many = (P == 1 ? 64 : 128) / size / Op::kInputs;
    plan.units = static_cast<uint32_t>(plan.n / P);
    plan.splits = 1;
    int64_t threads = kThreads;
    if (plan.n <= few * kWarp) {
        plan.lanes = static_cast<int>(power_of_two_above(ceil_div(plan.n, few)));
    } else if (plan.n <= many * kWarp) {
        plan.lanes = kWarp;
    } else {
        threads = ceil_div(ceil_div(plan.n, many), kWarp) * kWarp;
        if (threads > 1024) return run_long_rows<Op, P>(op, plan);
        plan.lanes = static_cast<int>(threads);
    }
    const int64_t blocks = ceil_div(plan.rows.count, threads / plan.lanes);
    const dim3 grid(static_cast<unsigned>(blocks)),
        block(static_cast<unsigned>(threads));
    if (plan.n <= few * kWarp)
        return launch_early(grid, block, 0, whole_rows_kernel<Op, P, few / P>, op,
                            plan);
    return launch_early(grid, block, 0, whole_rows_kernel<Op, P, many / P>, op, plan);
}

template <class Op> tl_status run_side_rows(const Op &op, const WholeRows &plan) {
    int64_t down = power_of_two_above(ceil_div(plan.n, 4));
    down = down < 8 ? down : 8;
    int64_t across = kLongThreads / down;
    const int64_t rows = plan.rows.count;
    // Few rows and long ones: more threads a row.
    while (across > kWarp / 2 && rows / across < processors() && down * 8 < plan.n) {
        across /= 2;
        down *= 2;
    }
    return launch_early(
        dim3(static_cast<unsigned>(ceil_div(rows, across))),
        dim3(static_cast<unsigned>(across), static_cast<unsigned>(down)), 0,
        side_rows_kernel<Op>, op, plan);
}

} // namespace detail

// Whether a row's elements come in aligned packs of P.
template <int P, typename T>
bool in_packs(const T *x, const Walk<3> &rows, int operand, int64_t step, int64_t n) {
    bool fit =
        step == 1 && n % P == 0 && is_aligned(x, P * static_cast<int>(sizeof(T)));
    for (int d = 0; d < rows.ndim; ++d)
        fit &= rows.strides[d][operand] % P == 0;
    return fit;
}

// Lays the rows of an op out; TL_DECLINED where kernels do not take them.
template <class Op>
tl_status plan_rows_of(const tl_buffer *out, const tl_buffer *a, const tl_buffer *b,
                       WholeRows &plan) {
    const int last = out->ndim - 1;
    const tl_buffer *const operands[3] = {out, a, Op::kInputs == 2 ? b : a};
    tl_buffer outer[3];
    for (int k = 0; k < 3; ++k) {
        if (operands[k]->device_type != TL_CUDA) return TL_DECLINED;
        outer[k] = axes_of(operands[k], 0, last);
        plan.steps[k] = operands[k]->strides[last];
    }
    plan.n = out->shape[last];
    const tl_buffer *const parts[3] = {outer, outer + 1, outer + 2};
    const bool taken = plan.rows.set(merged_layout(parts)) && plan.n < INT64_C(1) << 31;
    return taken ? TL_OK : TL_DECLINED;
}

template <class Op> bool rows_in_packs(const Op &op, const WholeRows &plan) {
    constexpr int P = pack_of<typename Op::T>;
    return in_packs<P>(op.out, plan.rows, 0, plan.steps[0], plan.n) &&
           in_packs<P>(op.a, plan.rows, 1, plan.steps[1], plan.n) &&
           (Op::kInputs == 1 || in_packs<P>(op.b, plan.rows, 2, plan.steps[2], plan.n));
}

// Runs an op over rows along the last axis. `b` is null of an op with one input.
template <class Op>
tl_status whole_rows(const Op &op, const tl_buffer *out, const tl_buffer *a,
                     const tl_buffer *b) {
    if (out->size == 0) return TL_OK;
    WholeRows plan;
    const tl_status status = plan_rows_of<Op>(out, a, b, plan);
    if (status != TL_OK) return status;
    if (rows_in_packs(op, plan))
        return detail::run_rows_of<Op, pack_of<typename Op::T>>(op, plan);
    const auto &rows = plan.rows;
    const bool beside = plan.n > 1 && rows.ndim > 0 && plan.steps[0] != 1 &&
                        plan.steps[1] != 1 && rows.strides[0][0] == 1 &&
                        rows.strides[0][1] == 1;
    if constexpr (Op::kAnyAxis)
        if (beside) return detail::run_side_rows(op, plan);
    return detail::run_rows_of<Op, 1>(op, plan);
}

// The same where every row is long.
template <class Op>
tl_status long_rows(const Op &op, const tl_buffer *out, const tl_buffer *a,
                    const tl_buffer *b) {
    WholeRows plan;
    const tl_status status = plan_rows_of<Op>(out, a, b, plan);
    if (status != TL_OK) return status;
    if (!rows_in_packs(op, plan)) {
        plan.units = static_cast<uint32_t>(plan.n);
        return detail::run_long_rows<Op, 1>(op, plan);
    }
    constexpr int P = pack_of<typename Op::T>;
    plan.units = static_cast<uint32_t>(plan.n / P);
    return detail::run_long_rows<Op, P>(op, plan);
}

} // namespace tl
