// Reading and assigning at integer positions; positions of truths.
//
// Moving needs only the size of an element. Rows that are one run in both tensors move
// in the widest units that every row's address allows; others element by element. Of
// several values assigned to one position the last stays: tuples that a later one
// repeats are found first, and write nothing.
#include "compaction.cuh"
#include "tuples.cuh"

namespace {

using namespace tl;

using Sixteen = Pack<uint32_t, 4>;

constexpr int kAtOnce = 4;       // loads of a thread that wait for memory together
constexpr int64_t kPairs = 2048; // tuples that are compared with each other

// Where the tuples lead in x: read from one index in place, or found before.
struct Places {
    const int64_t *found; // offsets in elements; null: use axis
    IndexAxis axis;
    Fault fault;
    __device__ int64_t operator()(int64_t tuple) const {
        if (found != nullptr) return found[tuple];
        const int64_t index = axis(tuple);
        if (index < 0) fault.raise(TL_INDEX_OUT_OF_RANGE);
        return index < 0 ? kNowhere : index * axis.step;
    }
};

// One call: x is the indexed tensor; v is what is read, or the values.
struct Move {
    char *x, *v;
    int64_t n, row;   // tuples, elements of a row
    int64_t item;     // bytes of an element
    int64_t v_step;   // elements from a tuple's row of v to the next, where v_even
    bool v_even;      // the rows of v are evenly spaced
    bool runs;        // a row is one run in both
    Layout<1> v_rows; // index axes of v
    Layout<2> rest;   // of what is written and what is read
    Places places;
};

bool describe(const tl_call *call, const tl_buffer *x, const tl_buffer *v, bool reading,
              Move *move) {
    const int indexed = static_cast<const tl_index_params *>(call->params)->n_indexed;
    const int axes = call->in[1]->ndim, rest = x->ndim - indexed;
    move->x = static_cast<char *>(x->data);
    move->v = static_cast<char *>(v->data);
    move->item = dtype_bytes(x->dtype);
    move->places.found = nullptr;
    move->places.fault = fault();
    if (!axes_of(v, 0, axes, &move->v_rows)) return false;
    if (reading ? !axes_of_both(v, axes, x, indexed, rest, &move->rest)
                : !axes_of_both(x, indexed, v, axes, rest, &move->rest))
        return false;
    move->n = move->v_rows.size;
    move->row = move->rest.size;
    move->runs = move->rest.contiguous;
    move->v_even = move->v_rows.ndim <= 1;
    move->v_step = move->v_rows.ndim == 1 ? move->v_rows.strides[0][0] : 0;
    return true;
}

// Whether the kernels that move can read the only index themselves.
bool reads_index(const tl_call *call, const tl_buffer *x, Move *move) {
    Layout<1> layout;
    const tl_buffer *index = call->in[1];
    if (static_cast<const tl_index_params *>(call->params)->n_indexed != 1 ||
        index->device_type != TL_CUDA || !axes_of(index, 0, index->ndim, &layout) ||
        layout.ndim > 1)
        return false;
    move->places.axis = {static_cast<const int64_t *>(index->data), Offset1(layout),
                         x->shape[0], x->strides[0]};
    return true;
}

// ---- rows that are runs -----------------------------------------------------------
struct RowMove {
    char *x, *v;
    int64_t item, v_bytes; // of an element; from a row of v to the next
    int64_t size;          // units in all
    Split split;           // into tuples and units of a row
    Places places;
};

template <typename U, bool kReading> __global__ void move_rows_kernel(RowMove move) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x * kAtOnce;
    for (int64_t base =
             static_cast<int64_t>(blockIdx.x) * blockDim.x * kAtOnce + threadIdx.x;
         base < move.size; base += step) {
        U held[kAtOnce];
        U *to[kAtOnce];
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) {
            const int64_t i = base + k * static_cast<int64_t>(blockDim.x);
            to[k] = nullptr;
            if (i >= move.size) continue;
            int64_t unit;
            const int64_t tuple = move.split(i, &unit), place = move.places(tuple);
            if (place == kNowhere) continue;
            U *x = reinterpret_cast<U *>(move.x + place * move.item) + unit;
            U *v = reinterpret_cast<U *>(move.v + tuple * move.v_bytes) + unit;
            to[k] = kReading ? v : x;
            held[k] = kReading ? *x : *v;
        }
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k)
            if (to[k] != nullptr) *to[k] = held[k];
    }
}

template <typename U, bool kReading> tl_status move_units(const Move &move) {
    const int64_t units = move.row * move.item / static_cast<int64_t>(sizeof(U));
    const int64_t size = move.n * units;
    const RowMove rows = {move.x,     move.v,
                          move.item,  move.v_step * move.item,
                          size,       Split(size, units),
                          move.places};
    return launch(blocks_for(ceil_div(size, kAtOnce)), kThreads, 0,
                  move_rows_kernel<U, kReading>, rows);
}

// The widest unit, in bytes, in which every row may move.
int64_t unit_of(const Move &move, const tl_buffer *x, int indexed) {
    uint64_t all =
        reinterpret_cast<uintptr_t>(move.x) | reinterpret_cast<uintptr_t>(move.v);
    all |= static_cast<uint64_t>(move.row * move.item | move.v_step * move.item);
    for (int d = 0; d < indexed; ++d)
        all |= static_cast<uint64_t>(x->strides[d] * move.item);
    int64_t unit = 16;
    while (all & static_cast<uint64_t>(unit - 1))
        unit /= 2;
    return unit;
}

// ---- columns: rows of x have a step, those of v have none
// ----------------------------
constexpr int kTile = 32, kTileRows = 8;

template <typename U> struct ColumnMove {
    const U *x;
    U *v;
    int64_t n, row; // tuples, elements of a row
    int64_t x_step,
        v_step;    // from an element of x to the next; from a row of v to the next
    int64_t tiles; // of a row
    Places places;
};

// Reads where neighbours are tuples and writes where they are elements, by way of a
// tile.
template <typename U> __global__ void read_columns_kernel(ColumnMove<U> move) {
    __shared__ U held[kTile][kTile + 1];
    const int64_t first_tuple = blockIdx.x / move.tiles * kTile;
    const int64_t first = blockIdx.x % move.tiles * kTile;
    const int lane = threadIdx.x, height = threadIdx.y;
    int64_t place =
        first_tuple + lane < move.n ? move.places(first_tuple + lane) : kNowhere;
#pragma unroll
    for (int k = height; k < kTile; k += kTileRows)
        if (place != kNowhere && first + k < move.row)
            held[k][lane] = move.x[place + (first + k) * move.x_step];
    __syncthreads();
    for (int k = height; k < kTile; k += kTileRows) {
        const int64_t tuple = first_tuple + k;
        if (tuple < move.n && first + lane < move.row && move.places(tuple) != kNowhere)
            move.v[tuple * move.v_step + first + lane] = held[lane][k];
    }
}

template <typename U> tl_status read_columns(const Move &move) {
    const int64_t tiles = ceil_div(move.row, kTile),
                  blocks = tiles * ceil_div(move.n, kTile);
    if (blocks >> 31) return TL_DECLINED;
    const ColumnMove<U> columns = {reinterpret_cast<const U *>(move.x),
                                   reinterpret_cast<U *>(move.v),
                                   move.n,
                                   move.row,
                                   move.rest.strides[0][1],
                                   move.v_step,
                                   tiles,
                                   move.places};
    return launch(dim3(static_cast<unsigned>(blocks)), dim3(kTile, kTileRows), 0,
                  read_columns_kernel<U>, columns);
}

bool is_columns(const Move &move) {
    return move.rest.ndim == 1 && move.rest.strides[0][0] == 1 &&
           detail::magnitude(move.rest.strides[0][1]) > 1 && move.v_even &&
           move.n >= kTileRows && move.row >= kTileRows;
}

// ---- others -----------------------------------------------------------------------
template <typename U, bool kReading> struct MoveElements {
    U *x, *v;
    Split split;
    bool tuples_first; // neighbours in memory are tuples
    Offset1 v_rows;
    Offsets<2, int64_t> rest;
    Places places;
    __device__ void operator()(int64_t i) const {
        int64_t tuple, element, at[2];
        if (tuples_first)
            element = split(i, &tuple);
        else
            tuple = split(i, &element);
        const int64_t place = places(tuple);
        if (place == kNowhere) return;
        rest.at(element, at);
        U *row = v + v_rows(tuple);
        if (kReading)
            row[at[0]] = x[place + at[1]];
        else
            x[place + at[0]] = row[at[1]];
    }
};

// Whether tuples are nearer to each other in v than elements of a row are.
bool has_tuples_first(const Move &move, bool reading) {
    return move.v_rows.ndim == 1 && move.rest.ndim > 0 &&
           detail::magnitude(move.v_rows.strides[0][0]) <
               detail::magnitude(move.rest.strides[0][reading ? 0 : 1]);
}

template <typename U, bool kReading> tl_status move_elements(const Move &move) {
    const int64_t size = move.n * move.row;
    if (kReading && is_columns(move)) return read_columns<U>(move);
    const bool tuples_first = has_tuples_first(move, kReading);
    const MoveElements<U, kReading> body = {
        reinterpret_cast<U *>(move.x),
        reinterpret_cast<U *>(move.v),
        Split(size, tuples_first ? move.n : move.row),
        tuples_first,
        Offset1(move.v_rows),
        Offsets<2, int64_t>(move.rest),
        move.places};
    return for_each(size, body);
}

template <bool kReading>
tl_status move_all(const Move &move, const tl_buffer *x, int indexed) {
    if (move.runs && move.v_even) {
        switch (unit_of(move, x, indexed)) {
        case 16:
            return move_units<Sixteen, kReading>(move);
        case 8:
            return move_units<uint64_t, kReading>(move);
        case 4:
            return move_units<uint32_t, kReading>(move);
        case 2:
            return move_units<uint16_t, kReading>(move);
        default:
            return move_units<uint8_t, kReading>(move);
        }
    }
    switch (move.item) {
    case 16:
        return move_elements<Pack<uint64_t, 2>, kReading>(move);
    case 8:
        return move_elements<uint64_t, kReading>(move);
    case 4:
        return move_elements<uint32_t, kReading>(move);
    case 2:
        return move_elements<uint16_t, kReading>(move);
    default:
        return move_elements<uint8_t, kReading>(move);
    }
}

tl_status run_index_get(const tl_call *call) {
    const tl_buffer *x = call->in[0];
    const int indexed = static_cast<const tl_index_params *>(call->params)->n_indexed;
    Move move;
    if (x->device_type != TL_CUDA || !describe(call, x, call->out[0], true, &move))
        return TL_DECLINED;
    if (move.n == 0) return TL_OK;
    if (move.row && reads_index(call, x, &move))
        return move_all<true>(move, x, indexed);
    const Scratch scratch(move.n * static_cast<int64_t>(sizeof(int64_t)));
    int64_t *places = scratch.as<int64_t>();
    if (places == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status = find_places(call, x, indexed, false, move.n, places);
    if (status != TL_OK || move.row == 0) return status;
    move.places.found = places;
    return move_all<true>(move, x, indexed);
}

// ---- assigning --------------------------------------------------------------------
// Few tuples: each looks for a later one that leads to the same place.
struct DropRepeated {
    int64_t *places;
    int64_t n;
    __device__ void operator()(int64_t i) const {
        const int64_t mine = places[i];
        bool repeated = false;
        // The last of those that are equal is never dropped: who looks always finds it.
        for (int64_t j = i + 1; j < n; ++j)
            repeated |= places[j] == mine;
        if (repeated) places[i] = kNowhere;
    }
};

// Many: each position holds the number of the last tuple that leads there.
struct ClearOwners {
    uint32_t *owners;
    __device__ void operator()(int64_t i) const { owners[i] = 0; }
};
struct ClaimOwners {
    uint32_t *owners;
    const int64_t *numbers;
    __device__ void operator()(int64_t i) const {
        if (numbers[i] != kNowhere)
            atomicMax(&owners[numbers[i]], static_cast<uint32_t>(i) + 1);
    }
};
struct DropOthers {
    const uint32_t *owners;
    const int64_t *numbers;
    int64_t *places;
    __device__ void operator()(int64_t i) const {
        if (numbers[i] != kNowhere &&
            owners[numbers[i]] != static_cast<uint32_t>(i) + 1)
            places[i] = kNowhere;
    }
};

tl_status drop_by_owners(const tl_call *call, const tl_buffer *x, int indexed,
                         int64_t n, int64_t *places) {
    int64_t positions = 1;
    for (int d = 0; d < indexed; ++d)
        positions *= x->shape[d];
    if (n >> 31) return TL_DECLINED;
    const int64_t bytes = n * static_cast<int64_t>(sizeof(int64_t));
    const Scratch scratch(bytes + positions * static_cast<int64_t>(sizeof(uint32_t)));
    int64_t *numbers = scratch.as<int64_t>();
    if (numbers == nullptr) return TL_OUT_OF_MEMORY;
    uint32_t *owners = reinterpret_cast<uint32_t *>(numbers + n);
    tl_status status = find_places(call, x, indexed, true, n, numbers);
    if (status == TL_OK) status = for_each(positions, ClearOwners{owners});
    if (status == TL_OK) status = for_each(n, ClaimOwners{owners, numbers});
    return status == TL_OK ? for_each(n, DropOthers{owners, numbers, places}) : status;
}

tl_status run_index_put(const tl_call *call) {
    const tl_buffer *x = call->out[0], *v = call->in[0];
    const auto *params = static_cast<const tl_index_params *>(call->params);
    Move move;
    if (params->accumulate || v->device_type != TL_CUDA ||
        !describe(call, x, v, false, &move))
        return TL_DECLINED;
    if (move.n == 0) return TL_OK;
    const bool alike = move.n == 1 || (move.v_even && move.v_step == 0);
    if (alike && move.row && reads_index(call, x, &move))
        return move_all<false>(move, x, params->n_indexed);
    const Scratch scratch(move.n * static_cast<int64_t>(sizeof(int64_t)));
    int64_t *places = scratch.as<int64_t>();
    if (places == nullptr) return TL_OUT_OF_MEMORY;
    tl_status status = find_places(call, x, params->n_indexed, false, move.n, places);
    if (status != TL_OK || move.row == 0) return status;
    if (!alike)
        status = move.n <= kPairs
                     ? for_each(move.n, DropRepeated{places, move.n})
                     : drop_by_owners(call, x, params->n_indexed, move.n, places);
    if (status != TL_OK) return status;
    move.places.found = places;
    return move_all<false>(move, x, params->n_indexed);
}

// ---- along the last axis ----------------------------------------------------------
// W neighbours of a row travel together: their indices, and what they name.
template <typename U, int W> struct Gather {
    U *v;
    const int64_t *index;
    const U *x;
    Split split;              // of v's elements, by W, into rows
    Offsets<3, int64_t> rows; // of v, index and x
    int64_t steps[3];
    int64_t length; // of x's axis
    Fault fault;
    __device__ void operator()(int64_t i) const {
        constexpr int kTwo = W > 1 ? 2 : 1; // indices in 16 bytes
        int64_t j, at[3];
        rows.at(split(i, &j), at);
        j *= W;
        const int64_t *from = index + at[1] + j * steps[1];
        Pack<int64_t, kTwo> found[W / kTwo];
#pragma unroll
        for (int k = 0; k < W / kTwo; ++k)
            found[k] = reinterpret_cast<const Pack<int64_t, kTwo> *>(from)[k];
        Pack<U, W> held;
        bool good[W], all = true;
#pragma unroll
        for (int k = 0; k < W; ++k) {
            int64_t one = found[k / kTwo].at[k % kTwo];
            if (one < 0) one += length;
            all &= good[k] = one >= 0 && one < length;
            if (good[k]) held.at[k] = x[at[2] + one * steps[2]];
        }
        U *to = v + at[0] + j * steps[0];
        if (all)
            *reinterpret_cast<Pack<U, W> *>(to) = held;
        else
            store_good(to, held, good);
    }
    __device__ void store_good(U *to, const Pack<U, W> &held,
                               const bool (&good)[W]) const {
        fault.raise(TL_INDEX_OUT_OF_RANGE);
#pragma unroll
        for (int k = 0; k < W; ++k)
            if (good[k]) to[k] = held.at[k];
    }
};

// Whether groups of W elements of v, and of their indices, lie together and aligned.
template <int W> bool has_groups(const tl_buffer &v, const tl_buffer &index) {
    const int last = v.ndim - 1;
    bool groups = v.shape[last] % W == 0 && v.strides[last] == 1 &&
                  index.strides[last] == 1 && is_aligned(index.data, 16) &&
                  is_aligned(v.data, static_cast<int>(W * dtype_bytes(v.dtype)));
    for (int d = 0; d < last; ++d)
        groups &= v.strides[d] % W == 0 && index.strides[d] % 2 == 0;
    return groups;
}

template <typename U, int W>
tl_status gather_groups(const tl_buffer *const (&operands)[3], const Layout<3> &rows) {
    const int last = operands[0]->ndim - 1;
    const int64_t groups = operands[0]->size / W;
    const Gather<U, W> gather = {static_cast<U *>(operands[0]->data),
                                 static_cast<const int64_t *>(operands[1]->data),
                                 static_cast<const U *>(operands[2]->data),
                                 Split(groups, operands[0]->shape[last] / W),
                                 Offsets<3, int64_t>(rows),
                                 {operands[0]->strides[last],
                                  operands[1]->strides[last],
                                  operands[2]->strides[last]},
                                 operands[2]->shape[last],
                                 fault()};
    return for_each(groups, gather);
}

template <typename U> tl_status run_gather(const tl_call *call) {
    constexpr int kGroup = sizeof(U) > 4 ? 2 : 4;
    const tl_buffer *const operands[3] = {call->out[0], call->in[1], call->in[0]};
    const int last = operands[0]->ndim - 1;
    tl_buffer outer[3];
    if (operands[0]->size == 0) return TL_OK;
    for (int k = 0; k < 3; ++k) {
        if (operands[k]->device_type != TL_CUDA) return TL_DECLINED;
        outer[k] = *operands[k];
        outer[k].ndim = static_cast<int16_t>(last);
        outer[k].size = operands[0]->size / operands[0]->shape[last];
    }
    const tl_buffer *const rows[3] = {&outer[0], &outer[1], &outer[2]};
    const Layout<3> layout = merged_layout(rows, false);
    if (layout.ndim > kMaxMerged) return TL_DECLINED;
    return has_groups<kGroup>(*operands[0], *operands[1])
               ? gather_groups<U, kGroup>(operands, layout)
               : gather_groups<U, 1>(operands, layout);
}

tl_status gather_by_size(const tl_call *call) {
    switch (dtype_bytes(call->in[0]->dtype)) {
    case 16:
        return run_gather<Pack<uint64_t, 2>>(call);
    case 8:
        return run_gather<uint64_t>(call);
    case 4:
        return run_gather<uint32_t>(call);
    case 2:
        return run_gather<uint16_t>(call);
    default:
        return run_gather<uint8_t>(call);
    }
}

// ---- positions of truths ----------------------------------------------------------
struct FindTruths {
    const uint8_t *x;
    int64_t *to;
    int64_t n, room;
    bool aligned;
    __device__ uint32_t bits(int64_t first) const {
        Pack<uint8_t, kFlags> found = {};
        if (aligned && first + kFlags <= n)
            found = *reinterpret_cast<const Pack<uint8_t, kFlags> *>(x + first);
        else
            for (int k = 0; k < kFlags; ++k)
                if (first + k < n) found.at[k] = x[first + k];
        uint32_t bits = 0;
#pragma unroll
        for (int k = 0; k < kFlags; ++k)
            bits |= static_cast<uint32_t>(found.at[k] != 0) << k;
        return bits;
    }
    __device__ void all(int64_t, int64_t) const {}
    __device__ void at(int64_t place, int64_t i) const {
        if (place < room) to[place] = i;
    }
    __device__ void total(int64_t) const {}
};

tl_status run_nonzero(const tl_call *call) {
    const tl_buffer *x = call->in[0];
    if (x->device_type != TL_CUDA) return TL_DECLINED;
    if (x->size == 0 || call->out[0]->size == 0) return TL_OK;
    const FindTruths find = {static_cast<const uint8_t *>(x->data),
                             static_cast<int64_t *>(call->out[0]->data), x->size,
                             call->out[0]->size, is_aligned(x->data, kFlags)};
    return compact(x->size, find);
}

// ---- entries ----------------------------------------------------------------------
#define TL_MOVE_ENTRIES(dtype)                                                         \
    {"index_get", dtype, run_index_get, nullptr},                                      \
        {"index_put", dtype, run_index_put, nullptr},                                  \
        {"gather", dtype, gather_by_size, nullptr},

const tl_cuda_entry entries[] = {
    TL_MOVE_ENTRIES(TL_BOOL) TL_MOVE_ENTRIES(TL_INT8) TL_MOVE_ENTRIES(TL_INT16)
        TL_MOVE_ENTRIES(TL_INT32) TL_MOVE_ENTRIES(TL_INT64) TL_MOVE_ENTRIES(TL_UINT8)
            TL_MOVE_ENTRIES(TL_UINT16) TL_MOVE_ENTRIES(TL_UINT32)
                TL_MOVE_ENTRIES(TL_UINT64) TL_MOVE_ENTRIES(TL_FLOAT16)
                    TL_MOVE_ENTRIES(TL_BFLOAT16) TL_MOVE_ENTRIES(TL_FLOAT32)
                        TL_MOVE_ENTRIES(TL_FLOAT64) TL_MOVE_ENTRIES(TL_COMPLEX64)
                            TL_MOVE_ENTRIES(TL_COMPLEX128){"nonzero", TL_BOOL,
                                                           run_nonzero, nullptr},
};
#undef TL_MOVE_ENTRIES

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_indexing_entries(int *count) {
    *count = static_cast<int>(sizeof(entries) / sizeof(entries[0]));
    return entries;
}
