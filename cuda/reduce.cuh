// Reductions of any axes: rows (a group of threads a result), columns (neighbouring
// results side by side) and, where results are few, several parts of each. The parts
// are joined in a fixed order, by the last block to end with one or, where they are
// many for a block, by a second kernel.
//
// An Op is passed to the kernels by value:
// - Value: what load<P>(values, offset) reads of each of P neighbours
// - State: what elements become, by empty(), add<N>(state, values, local, place), join
// - Local: what is known of a result beforehand, local(offset of its first element,
// out)
// - finish(state, local, out): out is the result's offset
// - kPack: neighbours read at a time; aligned(P), alike(P), head<P>: where packs begin
// - kOrdered: positions count
#pragma once

#include "rows.cuh"

namespace tl {

// Positions of N values in their row, in groups of `width`, whose starts lie `step`
// apart.
template <int Width> struct Place {
    int64_t first;
    int64_t step;
    __device__ int64_t of(int j) const { return first + j / Width * step + j % Width; }
};

constexpr int kReduceThreads = 256;
// Independent loads in flight, of P elements each: as many as sixteen elements make.
template <int P> constexpr int kUnits = P <= 4 ? 4 : 2;

struct RowsPlan {
    Walk<2> kept;    // offsets of a row in x and out
    Walk<1> reduced; // of a unit (an element or a pack) in its row
    int64_t n;       // elements of a row
    uint32_t splits; // parts of a row
    int lanes;       // threads of a part
    bool peeled;     // rows are runs that begin or end between packs
};

// Where parts of results meet: their states, and counters of those that are there.
template <typename State> struct Parts {
    State *states;     // null: results are not cut
    unsigned *tickets; // null: a second kernel joins the states
};

// Whether this block is the last of `count` to come here, after which it sees what the
// others wrote. All threads of the block must call it.
__device__ __forceinline__ bool is_last(unsigned *ticket, unsigned count) {
    __shared__ bool last;
    __syncthreads(); // what the block wrote is behind it
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        __threadfence();
        last = atomicInc(ticket, count - 1) == count - 1; // the last leaves a zero
        __threadfence();
    }
    __syncthreads();
    return last;
}

template <class Op> struct Joined {
    const Op &op;
    __device__ typename Op::State operator()(const typename Op::State &a,
                                             const typename Op::State &b) const {
        return op.join(a, b);
    }
};

template <class Op>
__device__ __forceinline__ void
fold_elements(const Op &op, typename Op::State &state, const typename Op::Local &local,
              int64_t base, int64_t first, int64_t last, int lanes) {
#pragma unroll 1
    for (int64_t i = first; i < last; i += lanes) {
        typename Op::Value value[1];
        op.template load<1>(value, base + i);
        op.template add<1>(state, value, local, Place<1>{i, 0});
    }
}

// Part `part` of a row, as far as thread `lane` of its group sees it.
template <class Op, int P>
__device__ __forceinline__ typename Op::State
fold_row(const Op &op, const RowsPlan &plan, const typename Op::Local &local,
         int64_t base, uint32_t part, int lane) {
    constexpr int U = kUnits<P>;
    const int lanes = plan.lanes;
    typename Op::State state = op.empty();
    int64_t head = 0, n = plan.n;
    if (P > 1 && plan.peeled) {
        head = op.template head<P>(base);
        head = head < n ? head : n;
        if (part == 0) fold_elements(op, state, local, base, lane, head, lanes);
    }
    const uint32_t units = static_cast<uint32_t>((n - head) / P);
    const uint32_t each = (units + plan.splits - 1) / plan.splits;
    const uint32_t begin = part * each, rest = begin < units ? units - begin : 0;
    const uint32_t end = begin + (rest < each ? rest : each);
    const int64_t body = base + head;
    uint32_t u = begin + lane;
#pragma unroll 1
    for (; u + (U - 1) * lanes < end; u += U * lanes) {
        typename Op::Value values[U * P];
#pragma unroll
        for (int k = 0; k < U; ++k)
            op.template load<P>(values + k * P, body + plan.reduced.at(u + k * lanes));
        op.template add<U * P>(state, values, local,
                               Place<P>{head + static_cast<int64_t>(u) * P,
                                        static_cast<int64_t>(lanes) * P});
    }
#pragma unroll 1
    for (; u < end; u += lanes) {
        typename Op::Value values[P];
        op.template load<P>(values, body + plan.reduced.at(u));
        op.template add<P>(state, values, local,
                           Place<P>{head + static_cast<int64_t>(u) * P, 0});
    }
    if (P > 1 && plan.peeled && part == plan.splits - 1)
        fold_elements(op, state, local, base,
                      head + static_cast<int64_t>(units) * P + lane, n, lanes);
    return state;
}

// Joins the states of a group of threads; its first gets the result.
template <class Op, typename State>
__device__ __forceinline__ State join_group(const Op &op, const State &state,
                                            int lanes) {
    return group_reduce(state, lanes, Joined<Op>{op});
}
template <class Op, typename V>
__device__ __forceinline__ Exponentials<V>
join_group(const Op &, const Exponentials<V> &state, int lanes) {
    return group_exponentials(state, lanes);
}

template <class Op, int P>
__global__ void __launch_bounds__(kReduceThreads, 4)
    reduce_rows_kernel(Op op, RowsPlan plan, Parts<typename Op::State> parts) {
    wait_for_previous();
    const int lane = threadIdx.x % plan.lanes;
    const uint32_t groups = blockDim.x / plan.lanes;
    // Fewer than 2^31: there are parts of rows only where rows are few.
    const uint32_t task = blockIdx.x * groups + threadIdx.x / plan.lanes;
    const bool live = task < plan.kept.count * plan.splits;
    const uint32_t row = !live ? 0 : plan.splits == 1 ? task : task / plan.splits;
    int64_t at[2];
    plan.kept.at(row, at);
    typename Op::Local local = {};
    typename Op::State state = op.empty();
    if (live && plan.n > 0) {
        local = op.local(at[0], at[1]);
        state = fold_row<Op, P>(op, plan, local, at[0], task - row * plan.splits, lane);
    }
    // Threads without a task take part in the joining. It comes twice where rows are in
    // parts, each a block's: then the last block joins the parts.
    constexpr int kAhead = sizeof(typename Op::State) <= 4 ? 4 : 1;
    typename Op::State *const states = parts.states + row * plan.splits;
#pragma unroll 1
    for (bool whole = parts.states == nullptr;; whole = true) {
        state = join_group(op, state, plan.lanes);
        if (whole) break;
        if (lane == 0) states[task - row * plan.splits] = state;
        if (!is_last(parts.tickets + row, plan.splits)) return;
        state = op.empty();
#pragma unroll kAhead
        for (uint32_t part = lane; part < plan.splits; part += kReduceThreads)
            state = op.join(state, states[part]);
    }
    if (live && lane == 0) op.finish(state, local, at[1]);
}

struct ColumnsPlan {
    Walk<2> batch;   // offsets of a block of columns in x and out
    Walk<1> reduced; // of a row
    uint32_t columns;
    uint32_t tiles; // of blockDim.x packs of columns
    int64_t x_step; // from a column to the next; 1 where they are read in packs
    int64_t out_step;
};

// Columns that a thread takes: a pack, where a state for each fits the registers.
template <class Op>
constexpr int kColumns = Op::kPack <= 4 || Op::kPack * sizeof(typename Op::State) <= 32
                             ? Op::kPack
                             : 4;
// Rows that a thread has in flight: of narrow elements more, to have as many bytes.
template <class Op, int P>
constexpr int kRows = (P > 4 || (P > 1 && Op::kPack > P) ? 2 : 1) * kUnits<P>;

// Joins what the block's rows of threads hold; the first gets the results.
template <class Op, int P>
__device__ __forceinline__ void join_down(const Op &op,
                                          typename Op::State (&state)[P]) {
    if (blockDim.y == 1) return;
    __shared__ typename Op::State tile[kReduceThreads];
    const int place = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int p = 0; p < P; ++p) {
        __syncthreads();
        tile[place] = state[p];
        __syncthreads();
#pragma unroll 1
        for (int half = blockDim.y / 2; half > 0; half /= 2) {
            if (static_cast<int>(threadIdx.y) < half)
                tile[place] = op.join(tile[place], tile[place + half * blockDim.x]);
            __syncthreads();
        }
        state[p] = tile[place];
    }
}

template <class Op, int P>
__device__ __forceinline__ void fold_columns(const Op &op, const ColumnsPlan &plan,
                                             const typename Op::Local (&local)[P],
                                             int64_t base, uint32_t begin, uint32_t end,
                                             typename Op::State (&state)[P]) {
    constexpr int U = kRows<Op, P>;
    const uint32_t step = blockDim.y;
    uint32_t r = begin + threadIdx.y;
#pragma unroll 1
    for (; r + (U - 1) * step < end; r += U * step) {
        typename Op::Value values[U][P], column[U];
#pragma unroll
        for (int k = 0; k < U; ++k)
            op.template load<P>(values[k], base + plan.reduced.at(r + k * step));
#pragma unroll
        for (int p = 0; p < P; ++p) {
#pragma unroll
            for (int k = 0; k < U; ++k)
                column[k] = values[k][p];
            op.template add<U>(state[p], column, local[p], Place<1>{r, step});
        }
    }
#pragma unroll 1
    for (; r < end; r += step) {
        typename Op::Value values[P];
        op.template load<P>(values, base + plan.reduced.at(r));
#pragma unroll
        for (int p = 0; p < P; ++p)
            op.template add<1>(state[p], values + p, local[p], Place<1>{r, 0});
    }
}

template <class Op, int P>
__global__ void __launch_bounds__(kReduceThreads, 4)
    reduce_columns_kernel(Op op, ColumnsPlan plan, Parts<typename Op::State> parts) {
    wait_for_previous();
    const uint32_t batch = blockIdx.x / plan.tiles,
                   tile = blockIdx.x - batch * plan.tiles;
    const uint32_t column = (tile * blockDim.x + threadIdx.x) * P;
    const uint32_t each = (plan.reduced.count + gridDim.y - 1) / gridDim.y;
    const uint32_t begin = blockIdx.y * each;
    uint32_t end = begin + each;
    end = end < plan.reduced.count ? end : plan.reduced.count;
    int64_t at[2];
    plan.batch.at(batch, at);
    const int64_t base = at[0] + column * plan.x_step;
    const int64_t out = at[1] + column * plan.out_step;
    typename Op::State state[P];
    typename Op::Local local[P];
#pragma unroll
    for (int p = 0; p < P; ++p)
        state[p] = op.empty();
    const bool live = column < plan.columns;
    if (live) {
#pragma unroll
        for (int p = 0; p < P; ++p)
            local[p] = op.local(base + p * plan.x_step, out + p * plan.out_step);
        fold_columns<Op, P>(op, plan, local, base, begin, end, state);
    }
    const int64_t results = static_cast<int64_t>(plan.batch.count) * plan.columns;
    const int64_t place = static_cast<int64_t>(batch) * plan.columns + column;
    typename Op::State *const states = parts.states + place;
#pragma unroll 1
    for (bool whole = parts.states == nullptr;; whole = true) {
        join_down(op, state);
        if (whole) break;
        if (live && threadIdx.y == 0)
#pragma unroll
            for (int p = 0; p < P; ++p)
                states[blockIdx.y * results + p] = state[p];
        if (parts.tickets == nullptr) return;
        if (!is_last(parts.tickets + blockIdx.x, gridDim.y)) return;
#pragma unroll
        for (int p = 0; p < P; ++p)
            state[p] = op.empty();
        if (!live) continue;
#pragma unroll 1
        for (uint32_t part = threadIdx.y; part < gridDim.y; part += blockDim.y)
#pragma unroll
            for (int p = 0; p < P; ++p)
                state[p] = op.join(state[p], states[part * results + p]);
    }
    if (live && threadIdx.y == 0)
#pragma unroll
        for (int p = 0; p < P; ++p)
            op.finish(state[p], local[p], out + p * plan.out_step);
}

// Joins the parts of each result, `lanes` threads a result.
template <class Op>
__global__ void reduce_parts_kernel(Op op, Walk<2> kept,
                                    const typename Op::State *states, int64_t parts,
                                    int lanes) {
    wait_for_previous();
    const int lane = threadIdx.x % lanes;
    const uint32_t groups = blockDim.x / lanes;
    const uint32_t row = blockIdx.x * groups + threadIdx.x / lanes;
    typename Op::State state = op.empty();
    if (row < kept.count)
#pragma unroll 1
        for (int64_t part = lane; part < parts; part += lanes)
            state = op.join(state, states[row + part * kept.count]);
    state = join_group(op, state, lanes);
    if (row >= kept.count || lane != 0) return;
    int64_t at[2];
    kept.at(row, at);
    op.finish(state, op.local(at[0], at[1]), at[1]);
}

namespace detail {

template <class Op>
tl_status join_parts(const Op &op, const Walk<2> &kept,
                     const typename Op::State *states, int64_t parts) {
    int lanes = static_cast<int>(power_of_two_above(ceil_div(parts, 4)));
    if (lanes > kWarp) lanes = kept.count > 4096 ? kWarp : kReduceThreads;
    const int64_t groups = kReduceThreads / lanes;
    return launch_early(static_cast<unsigned>(ceil_div(kept.count, groups)),
                        kReduceThreads, 0, reduce_parts_kernel<Op>, op, kept, states,
                        parts, lanes);
}

// How many threads work on a row of `units`, and in how many parts it is cut.
inline void share_row(int64_t units, RowsPlan &plan) {
    const int64_t rows = plan.kept.count, full = processors() * 8;
    plan.splits = 1;
    plan.lanes = static_cast<int>(power_of_two_above(ceil_div(units, 4)));
    if (plan.lanes <= kWarp) return;
    plan.lanes = kWarp;
    const bool idle = rows * kWarp < processors() * INT64_C(1024);
    if (units <= (idle ? 256 : 1024)) return;
    plan.lanes = kReduceThreads;
    // Fewer rows than the device has room for: parts of at least four rounds.
    if (rows * 2 > full || rows > kTickets || units < kReduceThreads * 16) return;
    const int64_t parts = full / rows, most = units / (kReduceThreads * 4);
    plan.splits = static_cast<uint32_t>(parts < most ? parts : most);
}

template <class Op, int P>
tl_status run_rows(const Op &op, RowsPlan &plan, int64_t units) {
    share_row(units, plan);
    const int64_t tasks = static_cast<int64_t>(plan.kept.count) * plan.splits;
    const int64_t blocks = ceil_div(tasks, kReduceThreads / plan.lanes);
    const unsigned grid = static_cast<unsigned>(blocks);
    Parts<typename Op::State> parts = {nullptr, nullptr};
    if (plan.splits == 1)
        return launch_early(grid, kReduceThreads, 0, reduce_rows_kernel<Op, P>, op,
                            plan, parts);
    const Scratch scratch(tasks * static_cast<int64_t>(sizeof(typename Op::State)));
    parts = {scratch.as<typename Op::State>(), tickets()};
    if (parts.states == nullptr || parts.tickets == nullptr) return TL_OUT_OF_MEMORY;
    return launch_early(grid, kReduceThreads, 0, reduce_rows_kernel<Op, P>, op, plan,
                        parts);
}

template <class Op, int P>
tl_status run_columns(const Op &op, ColumnsPlan &plan, const Walk<2> &kept) {
    const int64_t n = plan.reduced.count, packs = plan.columns / P;
    int64_t across = power_of_two_above(packs < kWarp ? packs : kWarp);
    int64_t down = kReduceThreads / across;
    const int64_t useful = power_of_two_above(ceil_div(n, kRows<Op, P>));
    if (down > useful) { // few rows: wider tiles
        down = useful;
        const int64_t wide = power_of_two_above(packs);
        across = wide < kReduceThreads / down ? wide : kReduceThreads / down;
    }
    plan.tiles = static_cast<uint32_t>(ceil_div(packs, across));
    const int64_t blocks = static_cast<int64_t>(plan.batch.count) * plan.tiles;
    const int64_t room = processors() * 4 / blocks,
                  most = n / (down * kRows<Op, P> * 2);
    int64_t splits = room < most ? room : most;
    splits = splits < 1 ? 1 : splits;
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(splits));
    const dim3 block(static_cast<unsigned>(across), static_cast<unsigned>(down));
    Parts<typename Op::State> parts = {nullptr, nullptr};
    if (splits == 1)
        return launch_early(grid, block, 0, reduce_columns_kernel<Op, P>, op, plan,
                            parts);
    const Scratch scratch(kept.count * splits *
                          static_cast<int64_t>(sizeof(typename Op::State)));
    parts.states = scratch.as<typename Op::State>();
    // A few parts a thread go faster than another kernel starts.
    if (splits <= down * 2 && blocks <= kTickets) parts.tickets = tickets();
    if (parts.states == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status =
        launch_early(grid, block, 0, reduce_columns_kernel<Op, P>, op, plan, parts);
    if (status != TL_OK || parts.tickets != nullptr) return status;
    return join_parts<Op>(op, kept, parts.states, splits);
}

// Whether strides of dimensions from `first` on keep packs of `width` aligned.
template <int K> bool keeps_packs(const Layout<K> &layout, int first, int width) {
    for (int d = first; d < layout.ndim; ++d)
        if (layout.strides[d][0] % width != 0) return false;
    return true;
}

template <class Op>
tl_status plan_columns(const Op &op, const Layout<2> &kept, const Layout<1> &reduced) {
    constexpr int P = kColumns<Op>;
    ColumnsPlan plan;
    Walk<2> all;
    if (!all.set(kept) || !plan.batch.set(kept, 1) || !plan.reduced.set(reduced))
        return TL_DECLINED;
    plan.columns = static_cast<uint32_t>(kept.shape[0]);
    plan.x_step = kept.strides[0][0];
    plan.out_step = kept.strides[0][1];
    if constexpr (P > 1)
        if (plan.x_step == 1 && plan.columns % P == 0 && op.aligned(P) &&
            keeps_packs(kept, 1, P) && keeps_packs(reduced, 0, P))
            return run_columns<Op, P>(op, plan, all);
    return run_columns<Op, 1>(op, plan, all);
}

template <class Op>
tl_status plan_rows(const Op &op, const Layout<2> &kept, Layout<1> &reduced) {
    constexpr int P = Op::kPack;
    RowsPlan plan;
    if (!plan.kept.set(kept)) return TL_DECLINED;
    plan.n = reduced.size;
    plan.peeled = false;
    if constexpr (P > 1) {
        const bool run = reduced.ndim > 0 && reduced.strides[0][0] == 1;
        const bool whole = run && reduced.shape[0] % P == 0 && op.aligned(P) &&
                           keeps_packs(kept, 0, P) && keeps_packs(reduced, 1, P);
        plan.peeled =
            run && !whole && reduced.ndim == 1 && plan.n >= 16 * P && op.alike(P);
        if (whole || plan.peeled) {
            Layout<1> packs = reduced;
            packs.shape[0] /= P;
            packs.strides[0][0] = P;
            if (plan.reduced.set(packs)) return run_rows<Op, P>(op, plan, plan.n / P);
            return TL_DECLINED;
        }
    }
    if (!plan.reduced.set(reduced)) return TL_DECLINED;
    return run_rows<Op, 1>(op, plan, plan.n);
}

} // namespace detail

// Reduces x, whose kept axes come first, into out.
template <class Op>
tl_status reduce(const Op &op, const tl_buffer *x, const tl_buffer *out,
                 int n_reduced) {
    if (out->size == 0) return TL_OK;
    const int n_kept = x->ndim - n_reduced;
    const tl_buffer x_kept = axes_of(x, 0, n_kept),
                    x_reduced = axes_of(x, n_kept, n_reduced);
    const tl_buffer *const kept_operands[2] = {&x_kept, out};
    const tl_buffer *const reduced_operands[1] = {&x_reduced};
    const Layout<2> kept = merged_layout(kept_operands);
    Layout<1> reduced = merged_layout(reduced_operands, !Op::kOrdered);
    if (x_reduced.size == 0) reduced.ndim = 0;
    const bool columns = x_reduced.size > 1 && kept.ndim > 0 &&
                         kept.strides[0][0] != 0 &&
                         detail::magnitude(kept.strides[0][0]) <
                             detail::magnitude(reduced.strides[0][0]);
    return columns ? detail::plan_columns(op, kept, reduced)
                   : detail::plan_rows(op, kept, reduced);
}

} // namespace tl
