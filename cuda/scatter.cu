// Adding at integer positions, in a fixed order, and sums of weights by bins.
//
// Every tuple of indices becomes the number of its position. Wide integers are added by
// atomics, whose order does not matter. Others of few tuples, or of short rows of them,
// are added by the first of those that share a position. Of many, the numbers are
// sorted, stably; pieces of the sorted order are summed, each run in its order, and
// runs that cross pieces from the sums of their pieces.
#include "radix.cuh"
#include "tuples.cuh"

namespace {

using namespace tl;

constexpr int64_t kFew = 64; // tuples that look for each other
constexpr int kCombineThreads = 128;
constexpr uint32_t kNoPosition = 0xffffffffu;

// Where elements are: tuple i's value in column c, and column c at position p.
template <typename T, typename V = T> struct Places {
    T *x;
    const V *v;
    Offset1 x_rows, v_rows;
    Offsets<2, int64_t> rest; // of x and v
    int64_t n, columns;
    int64_t row;             // tuples that may share positions: a row of them
    const uint32_t *numbers; // of the tuples' positions; kNoPosition: out of range
    __device__ T *target(int64_t position, int64_t column) const {
        int64_t at[2];
        rest.at(column, at);
        return x + x_rows(position) + at[0];
    }
    __device__ const V *value(int64_t tuple, int64_t column) const {
        int64_t at[2];
        rest.at(column, at);
        return v + v_rows(tuple) + at[1];
    }
};

// ---- numbers of positions ----------------------------------------------------------
struct Narrow {
    const int64_t *wide;
    uint32_t *numbers;
    __device__ void operator()(int64_t i) const {
        numbers[i] = wide[i] == kNowhere ? kNoPosition : static_cast<uint32_t>(wide[i]);
    }
};

// Of one indexed axis, or of the last axis of rows.
struct NumberRows {
    IndexAxis axis;
    Split split; // of tuples into rows
    uint32_t *numbers;
    Fault fault;
    __device__ void operator()(int64_t i) const {
        int64_t rest;
        const int64_t row = split(i, &rest), index = axis(i);
        if (index < 0) fault.raise(TL_INDEX_OUT_OF_RANGE);
        numbers[i] =
            index < 0 ? kNoPosition : static_cast<uint32_t>(row * axis.length + index);
    }
};

// n tuples in rows of `row`, each row with `length` positions of its own.
tl_status number_rows(const tl_buffer *index, int64_t n, int64_t row, int64_t length,
                      uint32_t *numbers) {
    Layout<1> layout;
    if (index->device_type != TL_CUDA || !axes_of(index, 0, index->ndim, &layout))
        return TL_DECLINED;
    const IndexAxis axis = {static_cast<const int64_t *>(index->data), Offset1(layout),
                            length, 1};
    return for_each(n, NumberRows{axis, Split(n, row), numbers, fault()});
}

tl_status number_tuples(const tl_call *call, int indexed, int64_t n,
                        uint32_t *numbers) {
    const tl_buffer *x = call->out[0];
    if (indexed == 1) return number_rows(call->in[1], n, n, x->shape[0], numbers);
    const Scratch scratch(n * static_cast<int64_t>(sizeof(int64_t)));
    int64_t *wide = scratch.as<int64_t>();
    if (wide == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status = find_places(call, x, indexed, true, n, wide);
    return status == TL_OK ? for_each(n, Narrow{wide, numbers}) : status;
}

// ---- by atomics ---------------------------------------------------------------------
__device__ inline void add(uint32_t *x, uint32_t v) { atomicAdd(x, v); }
__device__ inline void add(uint64_t *x, uint64_t v) {
    atomicAdd(reinterpret_cast<unsigned long long *>(x),
              static_cast<unsigned long long>(v));
}
__device__ inline void add(bool *x, bool v) {
    if (v) *x = true;
}

template <typename T> struct AddAtomically {
    Places<T> places;
    Split split;
    __device__ void operator()(int64_t i) const {
        int64_t column;
        const int64_t tuple = split(i, &column);
        const uint32_t position = places.numbers[tuple];
        if (position != kNoPosition)
            add(places.target(position, column), *places.value(tuple, column));
    }
};

// ---- few tuples ---------------------------------------------------------------------
// The first tuple of a position adds the values of all in its row, in their order.
template <typename T, typename V> struct AddFew {
    Places<T, V> places;
    Split split, rows;
    __device__ void operator()(int64_t i) const {
        int64_t column, before;
        const int64_t tuple = split(i, &column);
        const uint32_t position = places.numbers[tuple];
        if (position == kNoPosition) return;
        rows(tuple, &before);
        for (int64_t other = tuple - before; other < tuple; ++other)
            if (places.numbers[other] == position) return;
        T *target = places.target(position, column);
        computed_t<T> sum = load(target);
        for (int64_t other = tuple; other < tuple - before + places.row; ++other)
            if (places.numbers[other] == position)
                sum += static_cast<computed_t<T>>(load(places.value(other, column)));
        store(target, sum);
    }
};

// ---- many: runs of the sorted numbers -----------------------------------------------
template <typename T, typename V> struct SortedSums {
    Places<T, V> places;   // numbers are sorted
    const uint32_t *order; // the tuple of each
    computed_t<T> *heads;  // (pieces, columns): of a piece's run that began before it
    computed_t<T> *tails;  // of its run that goes on behind it
    int64_t piece, pieces; // length of a piece
    Split split;
    __device__ uint32_t number(int64_t i) const { return places.numbers[i]; }
};

constexpr int kAhead = 4; // values that a thread asks for together

// One column of one piece.
template <typename T, typename V> struct SumPiece {
    SortedSums<T, V> sums;

    // What a thread knows of some sorted tuples, loaded without waiting for each other.
    struct Some {
        uint32_t position[kAhead];
        bool begins[kAhead];
        computed_t<T> old[kAhead], term[kAhead];
    };
    __device__ void look(int64_t first, int64_t end, int64_t column, Some &some) const {
        const Places<T, V> &places = sums.places;
        uint32_t before = first > 0 ? sums.number(first - 1) : kNoPosition;
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            some.position[k] = first + k < end ? sums.number(first + k) : kNoPosition;
            some.begins[k] = some.position[k] != before;
            before = some.position[k];
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            some.old[k] = some.term[k] = 0;
            if (some.position[k] == kNoPosition) continue;
            some.term[k] = static_cast<computed_t<T>>(
                load(places.value(sums.order[first + k], column)));
            if (some.begins[k])
                some.old[k] = load(places.target(some.position[k], column));
        }
    }
    __device__ void operator()(int64_t i) const {
        int64_t column;
        const int64_t piece = sums.split(i, &column), n = sums.places.n;
        const int64_t begin = piece * sums.piece,
                      slot = piece * sums.places.columns + column;
        const int64_t end = begin + sums.piece < n ? begin + sums.piece : n;
        uint32_t position = sums.number(begin);
        computed_t<T> sum = 0;
        // Of the run being summed: it began in an earlier piece.
        bool from_before = begin > 0 && sums.number(begin - 1) == position;
        for (int64_t first = begin; first < end; first += kAhead) {
            Some some;
            look(first, end, column, some);
#pragma unroll
            for (int k = 0; k < kAhead; ++k) {
                if (some.begins[k]) {
                    if (first + k > begin)
                        finish(position, column, from_before, slot, sum);
                    from_before = false;
                    position = some.position[k];
                    sum = some.old[k];
                }
                sum += some.term[k];
            }
        }
        if (position != kNoPosition && !from_before && end < n &&
            sums.number(end) == position)
            sums.tails[slot] = sum;
        else
            finish(position, column, from_before, slot, sum);
    }
    __device__ void finish(uint32_t position, int64_t column, bool from_before,
                           int64_t slot, computed_t<T> sum) const {
        if (position == kNoPosition) return;
        if (from_before)
            sums.heads[slot] = sum;
        else
            store(sums.places.target(position, column), sum);
    }
};

// The first sorted number behind those that equal the one at i.
template <typename T, typename V>
__device__ int64_t end_of_run(const SortedSums<T, V> &sums, int64_t i) {
    const uint32_t position = sums.number(i);
    int64_t low = i + 1, left = sums.places.n - low;
    while (left > 0) {
        const int64_t half = left / 2;
        const bool same = sums.number(low + half) == position;
        low += same ? half + 1 : 0;
        left = same ? left - half - 1 : half;
    }
    return low;
}

// A block for each piece and group of columns: if a run goes on behind the piece and
// began in it, the block adds the sums of the pieces that follow.
template <typename T, typename V>
__global__ void combine_pieces_kernel(SortedSums<T, V> sums, int wide, int64_t groups) {
    __shared__ computed_t<T> partial[kCombineThreads];
    const Places<T, V> &places = sums.places;
    const int64_t piece = blockIdx.x / groups, begin = piece * sums.piece;
    const int64_t next = begin + sums.piece; // there is a piece behind this one
    const uint32_t position = sums.number(next - 1);
    if (position == kNoPosition || sums.number(next) != position) return;
    if (begin > 0 && sums.number(begin - 1) == position) return; // it began before
    const int64_t column = blockIdx.x % groups * wide + threadIdx.x % wide;
    const int64_t share = threadIdx.x / wide, shares = blockDim.x / wide;
    const int64_t more = (end_of_run(sums, next - 1) - 1) / sums.piece - piece;
    computed_t<T> sum = 0;
    if (column < places.columns)
        for (int64_t p = more * share / shares; p < more * (share + 1) / shares; ++p)
            sum += sums.heads[(piece + 1 + p) * places.columns + column];
    partial[threadIdx.x] = sum;
    __syncthreads();
    if (share > 0 || column >= places.columns) return;
    sum = sums.tails[piece * places.columns + column];
    for (int64_t s = 0; s < shares; ++s)
        sum += partial[s * wide + threadIdx.x];
    store(places.target(position, column), sum);
}

// Long enough that few sums are kept, short enough that all threads have work.
int64_t piece_length(int64_t n, int64_t columns) {
    const int64_t enough = static_cast<int64_t>(processors()) * 2048;
    int64_t piece = 16;
    while (piece < 512 && n / (2 * piece) * columns >= enough)
        piece *= 2;
    return piece;
}

template <typename T, typename V> tl_status sum_sorted(SortedSums<T, V> &sums) {
    const int64_t columns = sums.places.columns;
    tl_status status = for_each(sums.pieces * columns, SumPiece<T, V>{sums});
    if (status != TL_OK || sums.pieces == 1) return status;
    int wide = 1;
    while (wide < kWarp && wide < columns)
        wide *= 2;
    const int64_t groups = ceil_div(columns, wide), blocks = (sums.pieces - 1) * groups;
    if (blocks >> 31) return TL_DECLINED;
    return launch(dim3(static_cast<unsigned>(blocks)), kCombineThreads, 0,
                  combine_pieces_kernel<T, V>, sums, wide, groups);
}

template <typename T, typename V>
tl_status add_sorted(const Places<T, V> &places, int64_t positions) {
    const int64_t n = places.n, piece = piece_length(n, places.columns);
    const int64_t pieces = ceil_div(n, piece), slots = pieces * places.columns;
    const int64_t room = ceil_div(2 * slots * sizeof(computed_t<T>), 16) * 16;
    if (pieces * ceil_div(places.columns, kWarp) >> 31) return TL_DECLINED;
    const Scratch scratch(room + 2 * n * static_cast<int64_t>(sizeof(uint32_t)));
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    uint32_t *sorted = reinterpret_cast<uint32_t *>(scratch.as<char>() + room);
    SortJob<uint32_t> job;
    job.from = plain_rows(places.numbers, 1, n);
    job.to = plain_rows(sorted, 1, n);
    job.to_index = sorted + n;
    job.rows = 1;
    job.n = n;
    job.order = {kUnsignedOrder, 0, 0};
    // kNoPosition is the largest in any number of bits that holds `positions` itself.
    job.bits = 64 - __builtin_clzll(static_cast<uint64_t>(positions));
    const tl_status status = radix_sort(job);
    if (status != TL_OK) return status;
    computed_t<T> *heads = scratch.as<computed_t<T>>();
    SortedSums<T, V> sums = {places,
                             job.to_index,
                             heads,
                             heads + slots,
                             piece,
                             pieces,
                             Split(slots, places.columns)};
    sums.places.numbers = sorted;
    return sum_sorted(sums);
}

// ---- the ops ------------------------------------------------------------------------
// Where the device has no atomic sums, the sorted numbers serve integers, too.
template <typename T>
constexpr bool kHasAtomics = std::is_integral<T>::value &&
                             (sizeof(T) >= 4 || std::is_same<T, bool>::value);

template <typename T, typename V>
tl_status add_all(const Places<T, V> &places, int64_t positions) {
    const int64_t size = places.n * places.columns;
    if constexpr (kHasAtomics<T>)
        return for_each(size, AddAtomically<T>{places, Split(size, places.columns)});
    else if (places.row <= kFew)
        return for_each(size, AddFew<T, V>{places, Split(size, places.columns),
                                           Split(places.n, places.row)});
    else
        return add_sorted(places, positions);
}

// Describes a call whose tuples have `tuple_axes` axes in v and `indexed` ones in x.
template <typename T, typename V>
bool describe(const tl_buffer *x, int indexed, const tl_buffer *v, int tuple_axes,
              Places<T, V> *places, int64_t *positions) {
    Layout<1> x_rows, v_rows;
    Layout<2> rest;
    if (v->device_type != TL_CUDA || !axes_of(x, 0, indexed, &x_rows) ||
        !axes_of(v, 0, tuple_axes, &v_rows) ||
        !axes_of_both(x, indexed, v, tuple_axes, x->ndim - indexed, &rest))
        return false;
    places->x = static_cast<T *>(x->data);
    places->v = static_cast<const V *>(v->data);
    places->x_rows = Offset1(x_rows);
    places->v_rows = Offset1(v_rows);
    places->rest = Offsets<2, int64_t>(rest);
    places->n = places->row = v_rows.size;
    places->columns = rest.size;
    *positions = x_rows.size;
    return places->n < INT64_C(1) << 32 &&
           *positions < static_cast<int64_t>(kNoPosition);
}

template <typename T> Places<T> no_places() {
    return {nullptr, nullptr, Offset1(), Offset1(), Offsets<2, int64_t>(Layout<2>{}),
            0,       0,       0,         nullptr};
}

template <typename T> tl_status run_index_add(const tl_call *call) {
    const auto *params = static_cast<const tl_index_params *>(call->params);
    const tl_buffer *x = call->out[0], *v = call->in[0];
    const int indexed = params->n_indexed;
    Places<T> places = no_places<T>();
    int64_t positions;
    if (!params->accumulate ||
        !describe(x, indexed, v, call->in[1]->ndim, &places, &positions))
        return TL_DECLINED;
    if (places.n == 0) return TL_OK;
    const Scratch scratch(places.n * static_cast<int64_t>(sizeof(uint32_t)));
    uint32_t *numbers = scratch.as<uint32_t>();
    if (numbers == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status = number_tuples(call, indexed, places.n, numbers);
    if (status != TL_OK || places.columns == 0 || positions == 0) return status;
    places.numbers = numbers;
    return add_all(places, positions);
}

template <typename T> tl_status run_scatter_add(const tl_call *call) {
    const tl_buffer *x = call->out[0], *v = call->in[0], *index = call->in[1];
    Places<T> places = no_places<T>();
    int64_t positions;
    if (!describe(x, x->ndim, v, v->ndim, &places, &positions)) return TL_DECLINED;
    if (places.n == 0) return TL_OK;
    const Scratch scratch(places.n * static_cast<int64_t>(sizeof(uint32_t)));
    uint32_t *numbers = scratch.as<uint32_t>();
    if (numbers == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status = number_rows(index, places.n, index->shape[index->ndim - 1],
                                         x->shape[x->ndim - 1], numbers);
    if (status != TL_OK || positions == 0) return status;
    places.numbers = numbers;
    places.row = index->shape[index->ndim - 1];
    return add_all(places, positions);
}

// ---- sums of weights ----------------------------------------------------------------
struct ZeroSums {
    double *to;
    __device__ void operator()(int64_t i) const { to[i] = 0; }
};

template <typename V> tl_status run_weighted_bincount(const tl_call *call) {
    const tl_buffer *out = call->out[0], *weights = call->in[0], *bins = call->in[1];
    Layout<1> x_rows, v_rows;
    if (weights->device_type != TL_CUDA || bins->device_type != TL_CUDA ||
        !axes_of(out, 0, 1, &x_rows) || !axes_of(weights, 0, 1, &v_rows) ||
        weights->size >> 32 || out->size >= static_cast<int64_t>(kNoPosition))
        return TL_DECLINED;
    tl_status status = for_each(out->size, ZeroSums{static_cast<double *>(out->data)});
    if (status != TL_OK || weights->size == 0) return status;
    const Scratch scratch(weights->size * static_cast<int64_t>(sizeof(uint32_t)));
    uint32_t *numbers = scratch.as<uint32_t>();
    if (numbers == nullptr) return TL_OUT_OF_MEMORY;
    status = number_rows(bins, weights->size, weights->size, out->size, numbers);
    if (status != TL_OK || out->size == 0) return status;
    return add_all(Places<double, V>{static_cast<double *>(out->data),
                                     static_cast<const V *>(weights->data),
                                     Offset1(x_rows), Offset1(v_rows),
                                     Offsets<2, int64_t>(Layout<2>{}), weights->size, 1,
                                     weights->size, numbers},
                   out->size);
}

// ---- entries ------------------------------------------------------------------------
#define TL_ADD_ENTRIES(dtype, T)                                                       \
    {"index_add", dtype, run_index_add<T>, nullptr},                                   \
        {"scatter_add", dtype, run_scatter_add<T>, nullptr},

const tl_cuda_entry entries[] = {
    TL_ADD_ENTRIES(TL_BOOL, bool) TL_ADD_ENTRIES(TL_INT8, uint8_t)
        TL_ADD_ENTRIES(TL_UINT8, uint8_t) TL_ADD_ENTRIES(TL_INT16, uint16_t)
            TL_ADD_ENTRIES(TL_UINT16, uint16_t) TL_ADD_ENTRIES(TL_INT32, uint32_t)
                TL_ADD_ENTRIES(TL_UINT32, uint32_t) TL_ADD_ENTRIES(TL_INT64, uint64_t)
                    TL_ADD_ENTRIES(TL_UINT64, uint64_t) TL_ADD_ENTRIES(
                        TL_FLOAT16, tl_float16) TL_ADD_ENTRIES(TL_BFLOAT16, tl_bfloat16)
                        TL_ADD_ENTRIES(TL_FLOAT32, float) TL_ADD_ENTRIES(
                            TL_FLOAT64, double){"weighted_bincount", TL_FLOAT32,
                                                run_weighted_bincount<float>, nullptr},
    {"weighted_bincount", TL_FLOAT64, run_weighted_bincount<double>, nullptr},
};
#undef TL_ADD_ENTRIES

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_scatter_entries(int *count) {
    *count = static_cast<int>(sizeof(entries) / sizeof(entries[0]));
    return entries;
}
