// Sorting, selecting and searching along the last axis; runs; counting in bins.
//
// Elements are compared by their bits, so kernels are made for widths, and a dtype is a
// width and an order. Rows of up to 32 elements are ranked by a warp, rows of up to a
// tile sorted by a block, and others by the passes of radix.cuh.
#include "compaction.cuh"
#include "numbers.cuh"

#include "tensorlib/ordered.h"
#include "tensorlib/sort_params.h"

namespace {

using namespace tl;

// What is written of each sorted row: the elements of the first k ranks, or of given
// ones, and their positions; data is null where one is not wanted.
template <typename U> struct Chosen {
    Rows<U> values;
    Rows<int64_t> indices;
    Rows<const int64_t> ranks;
    int64_t k;
};

template <typename U> struct RowSort {
    Rows<const U> from;
    Chosen<U> to;
    int64_t rows, n;
    Order<U> order;
    Fault fault;
    // Elements of a row that may still be among the first: all, or those at
    // `positions`. A tile's first ones are kept for the next round, or they are
    // results.
    int64_t count, tiles = 1;
    const uint32_t *positions = nullptr; // (rows, count)
    uint32_t *kept = nullptr;            // (rows, kept_count)
    int64_t kept_count = 0;
    __device__ int64_t place(int64_t row, int64_t i) const {
        return positions == nullptr ? i : positions[row * count + i];
    }
    // The rank that the q-th result has in the sorted row.
    __device__ int64_t rank(int64_t row, int64_t q) const {
        if (to.ranks.data == nullptr) return q;
        const int64_t r = to.ranks.row(row)[q * to.ranks.step];
        if (r >= 0 && r < n) return r;
        fault.raise(TL_INDEX_OUT_OF_RANGE);
        return -1;
    }
    __device__ void write(int64_t row, int64_t q, int64_t at) const {
        if (to.values.data != nullptr)
            to.values.row(row)[q * to.values.step] = from.row(row)[at * from.step];
        if (to.indices.data != nullptr) to.indices.row(row)[q * to.indices.step] = at;
    }
};

// ---- rows of a warp ---------------------------------------------------------------
template <typename U>
using shuffled_t = std::conditional_t<sizeof(U) == 8, uint64_t, uint32_t>;

// A row a warp: each lane counts the elements that come before its own.
template <typename U> __global__ void rank_row_kernel(RowSort<U> job) {
    __shared__ uint8_t order[kThreads / kWarp][kWarp];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / kWarp) + warp;
    if (row >= job.rows) return;
    const int n = static_cast<int>(job.n);
    shuffled_t<U> key = 0;
    if (lane < n) key = job.order.key(job.from.row(row)[lane * job.from.step]);
    int rank = 0;
    for (int other = 0; other < n; ++other) {
        const shuffled_t<U> theirs = __shfl_sync(kAllLanes, key, other);
        rank += theirs < key || (theirs == key && other < lane);
    }
    if (lane < n) order[warp][rank] = static_cast<uint8_t>(lane);
    __syncwarp();
    for (int64_t q = lane; q < job.to.k; q += kWarp) {
        const int64_t r = job.rank(row, q);
        if (r >= 0) job.write(row, q, order[warp][r]);
    }
}

// ---- rows of a block --------------------------------------------------------------
template <typename U, int kItems>
__global__ void __launch_bounds__(kSortThreads) sort_row_kernel(RowSort<U> job) {
    constexpr int kTile = kSortThreads * kItems;
    __shared__ TileCounts counts;
    __shared__ U elements[kTile];
    __shared__ uint16_t places[kTile];
    const int64_t row = blockIdx.x / job.tiles, tile = blockIdx.x % job.tiles;
    const int64_t first = tile * kTile, left = job.count - first;
    const int n = static_cast<int>(left < kTile ? left : kTile);
    const U *x = job.from.row(row);
    U element[kItems];
    uint16_t number[kItems];
    uint32_t rank[kItems];
    uint8_t digit[kItems];
#pragma unroll
    for (int k = 0; k < kItems; ++k) {
        const int place = tile_place<kItems>(k);
        number[k] = static_cast<uint16_t>(place);
        element[k] =
            place < n ? x[job.place(row, first + place) * job.from.step] : U(0);
    }
#pragma unroll 1
    for (unsigned shift = 0; shift < 8 * sizeof(U); shift += kDigitBits) {
#pragma unroll
        for (int k = 0; k < kItems; ++k)
            // What lies behind the row's end stays there: it has the largest digit.
            digit[k] = tile_place<kItems>(k) < n
                           ? static_cast<uint8_t>(job.order.key(element[k]) >> shift)
                           : kDigits - 1;
        rank_tile(digit, rank, counts);
#pragma unroll
        for (int k = 0; k < kItems; ++k) {
            elements[rank[k]] = element[k];
            places[rank[k]] = number[k];
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < kItems; ++k) {
            element[k] = elements[tile_place<kItems>(k)];
            number[k] = places[tile_place<kItems>(k)];
        }
    }
    for (int64_t q = threadIdx.x; q < job.to.k; q += kSortThreads) {
        if (job.kept == nullptr) {
            const int64_t r = job.rank(row, q);
            if (r >= 0) job.write(row, q, job.place(row, places[r]));
        } else if (q < n) {
            job.kept[row * job.kept_count + tile * job.to.k + q] =
                static_cast<uint32_t>(job.place(row, first + places[q]));
        }
    }
}

// ---- rows of any length -----------------------------------------------------------
// Results from the positions of the sorted rows.
template <typename U> struct Choose {
    RowSort<U> job;
    const uint32_t *sorted;
    __device__ void operator()(int64_t i) const {
        const int64_t row = i / job.to.k, q = i - row * job.to.k;
        const int64_t r = job.rank(row, q);
        if (r >= 0) job.write(row, q, sorted[row * job.n + r]);
    }
};

template <typename U> tl_status sort_long_rows(const RowSort<U> &job) {
    SortJob<U> sort;
    sort.from = job.from;
    sort.rows = job.rows;
    sort.n = job.n;
    sort.order = job.order;
    sort.look = job.order.kind < kFloatOrder;
    if (job.to.indices.data == nullptr && job.to.k == job.n) {
        sort.to = job.to.values;
        sort.to_index = nullptr;
        return radix_sort(sort);
    }
    const Scratch scratch(job.rows * job.n * static_cast<int64_t>(sizeof(uint32_t)));
    sort.to_index = scratch.as<uint32_t>();
    if (sort.to_index == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status = radix_sort(sort);
    if (status != TL_OK) return status;
    return for_each(job.rows * job.to.k, Choose<U>{job, sort.to_index});
}

// The first few of long rows: those of each tile, then of what these are, until one
// tile holds all. Of equal elements the first stay first, as every tile is sorted
// stably.
template <typename U> tl_status choose_few(RowSort<U> job) {
    const int64_t k = job.to.k, tile = kSortTile<U>;
    const auto kept_of = [=](int64_t count) {
        const int64_t tiles = ceil_div(count, tile), last = count - (tiles - 1) * tile;
        return (tiles - 1) * k + (last < k ? last : k);
    };
    // Rounds write to two places in turn; the first is the largest, the second smaller.
    const int64_t most = job.rows * kept_of(job.n);
    const int64_t second = job.rows * kept_of(kept_of(job.n));
    const Scratch scratch((most + second) * static_cast<int64_t>(sizeof(uint32_t)));
    uint32_t *room = scratch.as<uint32_t>();
    if (room == nullptr) return TL_OUT_OF_MEMORY;
    constexpr int kItems = kSortItems<U>;
    for (int round = 0; job.count > tile; ++round) {
        job.tiles = ceil_div(job.count, tile);
        job.kept = room + (round % 2 ? most : 0);
        job.kept_count = kept_of(job.count);
        const dim3 grid(static_cast<unsigned>(job.rows * job.tiles));
        const tl_status status =
            launch(grid, kSortThreads, 0, sort_row_kernel<U, kItems>, job);
        if (status != TL_OK) return status;
        job.positions = job.kept;
        job.count = job.kept_count;
    }
    job.kept = nullptr;
    job.tiles = 1;
    const dim3 grid(static_cast<unsigned>(job.rows));
    return launch(grid, kSortThreads, 0, sort_row_kernel<U, kItems>, job);
}

template <typename U> tl_status sort_rows(const RowSort<U> &job) {
    if (job.rows * ceil_div(job.n, kSortTile<U>) >> 31 || job.n >> 32)
        return TL_DECLINED;
    const dim3 rows(static_cast<unsigned>(job.rows));
    if (job.n <= kWarp) {
        const dim3 grid(static_cast<unsigned>(ceil_div(job.rows, kThreads / kWarp)));
        return launch(grid, kThreads, 0, rank_row_kernel<U>, job);
    }
    if (job.n <= kSortThreads)
        return launch(rows, kSortThreads, 0, sort_row_kernel<U, 1>, job);
    if (job.n <= 4 * kSortThreads)
        return launch(rows, kSortThreads, 0, sort_row_kernel<U, 4>, job);
    if (job.n <= kSortTile<U>)
        return launch(rows, kSortThreads, 0, sort_row_kernel<U, kSortItems<U>>, job);
    const bool few = job.to.ranks.data == nullptr && job.to.k <= kSortTile<U> / 8;
    return few ? choose_few(job) : sort_long_rows(job);
}

// ---- run functions of the ops on rows ----------------------------------------------
constexpr OrderKind order_kinds[] = {kUnsignedOrder, kSignedOrder, kFloatOrder,
                                     kBfloat16Order};

template <typename U> Order<U> order_of(const tl_call *call) {
    return {static_cast<int>(*static_cast<const OrderKind *>(call->loop)), 0, 0};
}

bool on_device(const tl_call *call) {
    for (int i = 0; i < call->nin; ++i)
        if (call->in[i] != nullptr && call->in[i]->device_type != TL_CUDA) return false;
    return true;
}

// The input's rows; no results yet.
template <typename U> bool describe(const tl_call *call, RowSort<U> *job) {
    const tl_buffer *x = call->in[0];
    job->n = job->to.k = job->count = x->shape[x->ndim - 1];
    job->rows = job->n ? x->size / job->n : 0;
    job->order = order_of<U>(call);
    job->fault = fault();
    return on_device(call) && rows_of(x, &job->from);
}

template <typename U, bool kPositions> tl_status run_sort(const tl_call *call) {
    RowSort<U> job;
    if (call->out[0]->size == 0) return TL_OK;
    if (!describe(call, &job)) return TL_DECLINED;
    if (static_cast<const tl_sort_params *>(call->params)->descending)
        job.order.flip = static_cast<U>(~U(0));
    if (kPositions ? !rows_of(call->out[0], &job.to.indices)
                   : !rows_of(call->out[0], &job.to.values))
        return TL_DECLINED;
    return sort_rows(job);
}

template <typename U> tl_status run_topk(const tl_call *call) {
    const auto *params = static_cast<const tl_sort_params *>(call->params);
    RowSort<U> job;
    if (call->out[0]->size == 0) return TL_OK;
    if (!describe(call, &job)) return TL_DECLINED;
    if (params->descending) job.order.turn = static_cast<U>(~U(0));
    job.to.k = params->k;
    if (!rows_of(call->out[0], &job.to.values) ||
        !rows_of(call->out[1], &job.to.indices))
        return TL_DECLINED;
    return sort_rows(job);
}

template <typename U> tl_status run_argselect(const tl_call *call) {
    const tl_buffer *ranks = call->in[1];
    RowSort<U> job;
    if (call->out[0]->size == 0) return TL_OK;
    if (!describe(call, &job)) return TL_DECLINED;
    job.to.k = ranks->shape[ranks->ndim - 1];
    if (!rows_of(ranks, &job.to.ranks) || !rows_of(call->out[0], &job.to.indices))
        return TL_DECLINED;
    return sort_rows(job);
}

// ---- searching --------------------------------------------------------------------
template <typename U> struct Search {
    const U *sorted, *wanted;
    int64_t *to;
    int64_t n;
    Order<U> order;
    int right;
    __device__ void operator()(int64_t i) const {
        const U key = order.key(wanted[i]);
        int64_t low = 0;
        for (int64_t left = n; left > 0;) {
            const int64_t half = left / 2;
            const U found = order.key(sorted[low + half]);
            const bool passes = right ? found <= key : found < key;
            low += passes ? half + 1 : 0;
            left = passes ? left - half - 1 : half;
        }
        to[i] = low;
    }
};

template <typename U> tl_status run_searchsorted(const tl_call *call) {
    if (!on_device(call)) return TL_DECLINED;
    const Search<U> search = {
        static_cast<const U *>(call->in[0]->data),
        static_cast<const U *>(call->in[1]->data),
        static_cast<int64_t *>(call->out[0]->data),
        call->in[0]->size,
        order_of<U>(call),
        static_cast<const tl_search_params *>(call->params)->right};
    return for_each(call->out[0]->size, search);
}

// ---- runs -------------------------------------------------------------------------
// An element begins a run where its key differs from that of the one before.
template <typename U> struct FindRuns {
    const U *x;
    const int64_t *order;
    int64_t *starts, *inverse;
    int64_t n;
    Order<U> keys;
    bool split_nan;
    Fault fault;
    __device__ int64_t place(int64_t i) const {
        const int64_t at = order == nullptr ? i : order[i];
        if (at >= 0 && at < n) return at;
        fault.raise(TL_INDEX_OUT_OF_RANGE);
        return 0;
    }
    __device__ uint32_t bits(int64_t first) const {
        if (first >= n) return 0;
        const U nan = keys.key(static_cast<U>(~U(0)));
        U before = first ? keys.key(x[place(first - 1)]) : U(0);
        uint32_t found = 0;
        for (int k = 0; k < kFlags && first + k < n; ++k) {
            const U key = keys.key(x[place(first + k)]);
            const bool begins =
                first + k == 0 || key != before || (split_nan && key == nan);
            found |= static_cast<uint32_t>(begins) << k;
            before = key;
        }
        return found;
    }
    __device__ void all(int64_t i, int64_t found) const {
        if (inverse != nullptr && i < n) inverse[place(i)] = found - 1;
    }
    __device__ void at(int64_t place, int64_t i) const { starts[place] = i; }
    __device__ void total(int64_t found) const { starts[n] = found; }
};

struct WriteNumber {
    int64_t *to, number;
    __device__ void operator()(int64_t) const { *to = number; }
};

template <typename U> tl_status run_runs(const tl_call *call) {
    const tl_buffer *x = call->in[0];
    int64_t *starts = static_cast<int64_t *>(call->out[0]->data);
    if (!on_device(call)) return TL_DECLINED;
    if (x->size == 0) return for_each(1, WriteNumber{starts, 0});
    const Order<U> keys = order_of<U>(call);
    const bool equal_nan = static_cast<const tl_runs_params *>(call->params)->equal_nan;
    const FindRuns<U> find = {
        static_cast<const U *>(x->data),
        call->nin > 1 ? static_cast<const int64_t *>(call->in[1]->data) : nullptr,
        starts,
        call->nout > 1 ? static_cast<int64_t *>(call->out[1]->data) : nullptr,
        x->size,
        keys,
        keys.kind >= kFloatOrder && !equal_nan,
        fault()};
    return compact(x->size, find);
}

// ---- counting ---------------------------------------------------------------------
constexpr int kSharedBins = 4096; // counters that a block keeps for itself
constexpr int kLoads = 4;         // elements that a thread asks for together

struct Zero {
    int64_t *to;
    __device__ void operator()(int64_t i) const { to[i] = 0; }
};

// The bin that an element names.
struct NamedBins {
    using element = int64_t;
    int64_t bins;
    Fault fault;
    __device__ NamedBins ready() const { return *this; }
    __device__ int64_t bin(int64_t x) const {
        if (x >= 0 && x < bins) return x;
        fault.raise(TL_INDEX_OUT_OF_RANGE);
        return -1;
    }
};

// The bin between whose edges an element lies.
template <typename T> struct EdgedBins {
    using element = T;
    const T *edges;
    int64_t bins;
    __device__ uniform_bins<T> ready() const { return {edges, bins}; }
};

__device__ inline void add_count(int64_t *to, unsigned long long count) {
    atomicAdd(reinterpret_cast<unsigned long long *>(to), count);
}

// Counters of a block are added to the result once; they are 32 bits wide, which holds
// what one block sees. Without dynamic shared memory each element is added by itself.
template <typename Bins>
__global__ void count_bins_kernel(const typename Bins::element *x, int64_t n,
                                  int64_t bins, bool shared, Bins given,
                                  int64_t *counts) {
    TL_DYNAMIC_SHARED(uint32_t, own);
    const auto find = given.ready();
    for (int64_t b = threadIdx.x; shared && b < bins; b += blockDim.x)
        own[b] = 0;
    __syncthreads();
    const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x * kLoads;
    for (int64_t base =
             static_cast<int64_t>(blockIdx.x) * blockDim.x * kLoads + threadIdx.x;
         base < n; base += step) {
        typename Bins::element held[kLoads] = {};
#pragma unroll
        for (int k = 0; k < kLoads; ++k) {
            const int64_t i = base + k * static_cast<int64_t>(blockDim.x);
            if (i < n) held[k] = x[i];
        }
#pragma unroll
        for (int k = 0; k < kLoads; ++k) {
            if (base + k * static_cast<int64_t>(blockDim.x) >= n) break;
            const int64_t bin = find.bin(held[k]);
            if (bin < 0) continue;
            if (shared)
                atomicAdd(&own[bin], 1u);
            else
                add_count(counts + bin, 1);
        }
    }
    __syncthreads();
    for (int64_t b = threadIdx.x; shared && b < bins; b += blockDim.x)
        if (own[b]) add_count(counts + b, own[b]);
}

template <typename Bins> tl_status count_all(const tl_call *call, const Bins &find) {
    using element = typename Bins::element;
    const int64_t n = call->in[0]->size, bins = call->out[0]->size;
    int64_t *counts = static_cast<int64_t *>(call->out[0]->data);
    if (!on_device(call)) return TL_DECLINED;
    const tl_status status = for_each(bins, Zero{counts});
    if (status != TL_OK || n == 0 || bins == 0) return status;
    const bool shared = bins <= kSharedBins;
    const int64_t most = 8 * static_cast<int64_t>(processors());
    const int64_t wanted = ceil_div(n, kLoads * kThreads);
    const int64_t blocks = wanted < most ? wanted : most;
    return launch(dim3(static_cast<unsigned>(blocks)), kThreads, shared ? bins * 4 : 0,
                  count_bins_kernel<Bins>,
                  static_cast<const element *>(call->in[0]->data), n, bins, shared,
                  find, counts);
}

tl_status run_bincount(const tl_call *call) {
    return count_all(call, NamedBins{call->out[0]->size, fault()});
}

template <typename T> tl_status run_histogram(const tl_call *call) {
    const T *edges = static_cast<const T *>(call->in[1]->data);
    return count_all(call, EdgedBins<T>{edges, call->out[0]->size});
}

// ---- entries ----------------------------------------------------------------------
#define TL_SORT_ENTRIES(dtype, U, kind)                                                \
    {"sort", dtype, run_sort<U, false>, &order_kinds[kind]},                           \
        {"argsort", dtype, run_sort<U, true>, &order_kinds[kind]},                     \
        {"topk", dtype, run_topk<U>, &order_kinds[kind]},                              \
        {"argselect", dtype, run_argselect<U>, &order_kinds[kind]},                    \
        {"searchsorted", dtype, run_searchsorted<U>, &order_kinds[kind]},              \
        {"runs", dtype, run_runs<U>, &order_kinds[kind]},

const tl_cuda_entry entries[] = {
    TL_SORT_ENTRIES(TL_BOOL, uint8_t, kUnsignedOrder) TL_SORT_ENTRIES(TL_UINT8, uint8_t,
                                                                      kUnsignedOrder)
        TL_SORT_ENTRIES(TL_INT8, uint8_t,
                        kSignedOrder) TL_SORT_ENTRIES(TL_INT16, uint16_t, kSignedOrder)
            TL_SORT_ENTRIES(TL_UINT16, uint16_t, kUnsignedOrder) TL_SORT_ENTRIES(
                TL_FLOAT16, uint16_t,
                kFloatOrder) TL_SORT_ENTRIES(TL_BFLOAT16, uint16_t, kBfloat16Order)
                TL_SORT_ENTRIES(TL_INT32, uint32_t, kSignedOrder)
                    TL_SORT_ENTRIES(TL_UINT32, uint32_t, kUnsignedOrder)
                        TL_SORT_ENTRIES(TL_FLOAT32, uint32_t, kFloatOrder)
                            TL_SORT_ENTRIES(TL_INT64, uint64_t, kSignedOrder)
                                TL_SORT_ENTRIES(TL_UINT64, uint64_t, kUnsignedOrder)
                                    TL_SORT_ENTRIES(TL_FLOAT64, uint64_t, kFloatOrder){
                                        "bincount", TL_INT64, run_bincount, nullptr},
    {"histogram", TL_FLOAT32, run_histogram<float>, nullptr},
    {"histogram", TL_FLOAT64, run_histogram<double>, nullptr},
};
#undef TL_SORT_ENTRIES

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_sort_entries(int *count) {
    *count = static_cast<int>(sizeof(entries) / sizeof(entries[0]));
    return entries;
}
