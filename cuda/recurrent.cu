// Recurrent layers in one direction: the loop over time, forward and back.
//
// Small layers take one launch: a block keeps the recurrent weights in shared memory
// and walks over all steps of a few sequences. Others take a launch or two a step, in
// each of which a block computes a tile of the product of the state with the weights
// and, forward, the cells of its units. 16-bit floats are widened by the core, so that
// the state is not rounded at every step.
#include "layout.cuh"
#include "numbers.cuh"
#include "tensorlib/recurrent.h"

namespace tl {
namespace {

// ---- the layer ----------------------------------------------------------------------
// Sizes in elements: gates is G, stored is K of tl_recurrent_params.
template <typename T> struct Layer {
    int32_t cell, reverse;
    int32_t units, outputs, gates, stored;
    int64_t steps, batch;
    const int64_t *lengths;
    const T *w_hh, *h0, *c0, *bias, *w_hr;
    // Forward, h and gates are written; back, they are read.
    T *h, *gates_data;

    __host__ __device__ int64_t time(int64_t index) const {
        return reverse ? steps - 1 - index : index;
    }
    __device__ bool active(int64_t t, int64_t row) const {
        return lengths == nullptr || t < lengths[row];
    }
    __device__ T *gates_at(int64_t t, int64_t row) const {
        return gates_data + (t * batch + row) * stored;
    }
    // The state of a sequence before the step of an index.
    __host__ __device__ const T *before_h(int64_t index, int64_t row) const {
        return index == 0 ? h0 + row * outputs
                          : h + (time(index - 1) * batch + row) * outputs;
    }
    __device__ T before_c(int64_t index, int64_t row, int unit) const {
        return index == 0 ? c0[row * units + unit]
                          : gates_at(time(index - 1), row)[4 * units + unit];
    }
    // How many numbers of a unit are stored, and how many gates the state has a part
    // in.
    __host__ __device__ int kept() const { return stored / units; }
    __host__ __device__ int parts() const { return gates / units; }
};

constexpr int kMostStored = 5, kMostGates = 4;

// One unit: a holds the input's parts and becomes what is stored; state: the state's.
template <typename T>
__device__ T cell_forward(const Layer<T> &layer, T (&a)[kMostStored],
                          const T (&state)[kMostGates], int unit, T before_h,
                          T before_c) {
    T h;
    if (layer.cell == TL_GRU) {
        const T *bias = layer.bias;
        a[0] += state[0] + (bias == nullptr ? T(0) : bias[unit]);
        a[1] += state[1] + (bias == nullptr ? T(0) : bias[layer.units + unit]);
        a[3] = state[2] + (bias == nullptr ? T(0) : bias[2 * layer.units + unit]);
        gru_cell(&a[0], &a[1], &a[2], &a[3], &before_h, &h, 1);
    } else if (layer.cell == TL_LSTM) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
            a[i] += state[i];
        lstm_cell(&a[0], &a[1], &a[2], &a[3], &before_c, &a[4], &h, 1);
    } else {
        a[0] += state[0];
        rnn_cell(layer.cell == TL_RNN_RELU, &a[0], &h, 1);
        a[0] = h;
    }
    return h;
}

// A unit's cell, or its state kept where the sequence has ended; returns the output.
template <typename T>
__device__ T advance(const Layer<T> &layer, int64_t index, int64_t row, int unit,
                     T (&a)[kMostStored], const T (&state)[kMostGates], T before_h,
                     T before_c, T *c_n) {
    const int64_t t = layer.time(index);
    T *stored = layer.gates_at(t, row) + unit;
    T h = before_h;
    if (layer.active(t, row)) {
        h = cell_forward(layer, a, state, unit, before_h, before_c);
        for (int i = 0; i < kMostStored; ++i)
            if (i < layer.kept()) stored[i * layer.units] = a[i];
    } else if (layer.cell == TL_LSTM) {
        a[4] = before_c;
        stored[4 * layer.units] = before_c;
    }
    if (layer.cell == TL_LSTM && index == layer.steps - 1)
        c_n[row * layer.units + unit] = a[4];
    return h;
}

// A unit's gradients from what the forward pass stored; dh leaves as what passes the
// cell by. db: those of the state's parts.
template <typename T>
__device__ void cell_backward(int cell, const T (&a)[kMostStored], T before_h,
                              T before_c, T &dh, T &dc, T (&da)[kMostGates],
                              T (&db)[kMostGates]) {
    if (cell == TL_GRU) {
        gru_cell_grad(a, &before_h, &dh, da, db, 1);
        return;
    }
    if (cell == TL_LSTM)
        lstm_cell_grad(a, &before_c, &a[4], &dh, &dc, da, 1);
    else
        rnn_cell_grad(cell == TL_RNN_RELU, a, &dh, da, 1);
#pragma unroll
    for (int i = 0; i < kMostGates; ++i)
        db[i] = da[i];
    dh = T(0);
}

// Where a gradient goes, beside those of the states.
template <typename T> struct Cotangents {
    const T *h;           // (T, N, P) of the outputs
    const T *c_n;         // (N, H), null: none
    T *da, *db;           // (T, N, G); the same but for a GRU
    T *dh, *dc;           // (N, P), (N, H)
    T *projected, *inner; // a projection's outputs' gradient and its inputs
};

// A unit's part of a step back. Sequences that are not active pass dh on.
template <typename T>
__device__ void retreat(const Layer<T> &layer, const Cotangents<T> &to, int64_t index,
                        int64_t row, int unit, T &dh, T &dc, T (&db)[kMostGates]) {
    const int64_t t = layer.time(index);
    const T *stored = layer.gates_at(t, row) + unit;
    T a[kMostStored] = {}, da[kMostGates] = {}, inner = T(0);
#pragma unroll
    for (int i = 0; i < kMostGates; ++i)
        db[i] = T(0);
    if (layer.active(t, row)) {
        for (int i = 0; i < kMostStored; ++i)
            if (i < layer.kept()) a[i] = stored[i * layer.units];
        const T before_h =
            layer.cell == TL_GRU ? layer.before_h(index, row)[unit] : T(0);
        const T before_c =
            layer.cell == TL_LSTM ? layer.before_c(index, row, unit) : T(0);
        cell_backward(layer.cell, a, before_h, before_c, dh, dc, da, db);
        if (to.inner != nullptr) lstm_output(&a[3], &a[4], &inner, 1);
    }
    const int64_t at = (t * layer.batch + row) * layer.gates + unit;
    for (int i = 0; i < kMostGates; ++i)
        if (i < layer.parts()) {
            to.da[at + i * layer.units] = da[i];
            if (to.db != to.da) to.db[at + i * layer.units] = db[i];
        }
    if (to.inner != nullptr)
        to.inner[(t * layer.batch + row) * layer.units + unit] = inner;
}

// ---- a tile of a product ------------------------------------------------------------
constexpr int kTile = 32;         // sequences and columns of a block
constexpr int kDepth = 64;        // elements of the sum staged at a time
constexpr int kPitch = kTile + 4; // 16-byte reads from every row
constexpr int kSide = 4;          // a thread owns 4 x 4 of the tile,
constexpr int kGroups = 4;        // a quarter of the threads a part of the sum
constexpr int kLoads = kTile * kDepth / kThreads;
static_assert(kGroups * kTile * kTile / (kSide * kSide) == kThreads,
              "all threads work");

// Columns of the right operand: column c is that of gate c / across at unit
// first + c % across; element k of column x lies at x column_step + k depth_step.
template <typename T> struct Columns {
    const T *data;
    int64_t column_step, depth_step;
    int first, across, units, parts;

    __device__ int64_t column(int c) const { // -1: none
        const int part = c / across, unit = first + c % across;
        return part < parts && unit < units ? static_cast<int64_t>(part) * units + unit
                                            : -1;
    }
};

// Rows of the left operand.
template <typename T> struct RowBlock {
    const T *data;
    int64_t step;
    int count;
};

// A thread's loads of a chunk, in the order in which neighbours in memory are read by
// neighbouring threads.
template <typename T> struct Chunk {
    T left[kLoads], right[kLoads];

    __device__ static void place(bool along_depth, int i, int &item, int &k) {
        const int thread = threadIdx.x;
        item = along_depth ? thread / 8 : thread % kTile;
        k = (along_depth ? thread % 8 : thread / kTile) + 8 * i;
    }
    __device__ void load(const RowBlock<T> &a, const Columns<T> &b, int begin,
                         int depth) {
#pragma unroll
        for (int i = 0; i < kLoads; ++i) {
            int item, k;
            place(true, i, item, k);
            left[i] = item < a.count && begin + k < depth
                          ? a.data[item * a.step + begin + k]
                          : T(0);
            place(b.depth_step == 1, i, item, k);
            const int64_t column = b.column(item);
            right[i] = column >= 0 && begin + k < depth
                           ? b.data[column * b.column_step + (begin + k) * b.depth_step]
                           : T(0);
        }
    }
    __device__ void store(T *staged, bool along_depth) const {
#pragma unroll
        for (int i = 0; i < kLoads; ++i) {
            int item, k;
            place(true, i, item, k);
            staged[k * kPitch + item] = left[i];
            place(along_depth, i, item, k);
            staged[(kDepth + k) * kPitch + item] = right[i];
        }
    }
};
static_assert(kThreads / 8 == kTile && kThreads / kTile == 8, "Chunk::place");

template <typename T> __device__ void read_four(const T *p, T (&x)[kSide]) {
    constexpr int n = 16 / sizeof(T) < kSide ? 16 / sizeof(T) : kSide;
#pragma unroll
    for (int i = 0; i < kSide; i += n) {
        const Pack<T, n> pack = *reinterpret_cast<const Pack<T, n> *>(p + i);
#pragma unroll
        for (int j = 0; j < n; ++j)
            x[i + j] = pack.at[j];
    }
}

template <typename T> constexpr int kProductShared = kGroups *kTile *kPitch;

// tile[row * kPitch + column] = rows times columns, in shared memory of kProductShared.
template <typename T>
__device__ void tile_product(const RowBlock<T> &a, const Columns<T> &b, int depth,
                             T *tile) {
    const int group = threadIdx.x / 64, row = threadIdx.x % 64 / 8 * kSide;
    const int column = threadIdx.x % 8 * kSide;
    T sum[kSide][kSide] = {};
    Chunk<T> chunk;
    chunk.load(a, b, 0, depth);
    for (int begin = 0; begin < depth; begin += kDepth) {
        chunk.store(tile, b.depth_step == 1);
        __syncthreads();
        if (begin + kDepth < depth) chunk.load(a, b, begin + kDepth, depth);
        const int first = group * (kDepth / kGroups);
#pragma unroll 4
        for (int k = first; k < first + kDepth / kGroups; ++k) {
            T left[kSide], right[kSide];
            read_four(tile + k * kPitch + row, left);
            read_four(tile + (kDepth + k) * kPitch + column, right);
#pragma unroll
            for (int i = 0; i < kSide; ++i)
#pragma unroll
                for (int j = 0; j < kSide; ++j)
                    sum[i][j] += left[i] * right[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kSide; ++i)
#pragma unroll
        for (int j = 0; j < kSide; ++j)
            tile[(group * kTile + row + i) * kPitch + column + j] = sum[i][j];
    __syncthreads();
    for (int i = threadIdx.x; i < kTile * kTile; i += kThreads) {
        T *at = tile + i / kTile * kPitch + i % kTile;
        T total = at[0];
#pragma unroll
        for (int g = 1; g < kGroups; ++g)
            total += at[g * kTile * kPitch];
        at[0] = total;
    }
    __syncthreads();
}
static_assert(2 * kDepth <= kGroups * kTile, "the chunk fits");

// ---- a step a launch ----------------------------------------------------------------
inline __host__ __device__ int units_across(int parts) { return kTile / parts; }

// The cells of one step; out: (N, H) rows of the outputs, or of what a projection
// reads.
template <typename T>
__global__ void step_kernel(Layer<T> layer, int64_t index, T *out, T *c_n) {
    TL_DYNAMIC_SHARED(T, tile);
    const int across = units_across(layer.parts()), first = blockIdx.x * across;
    const int64_t first_row = static_cast<int64_t>(blockIdx.y) * kTile;
    const int rows = static_cast<int>(
        layer.batch - first_row < kTile ? layer.batch - first_row : kTile);
    tile_product({layer.before_h(index, first_row), layer.outputs, rows},
                 Columns<T>{layer.w_hh, layer.outputs, 1, first, across, layer.units,
                            layer.parts()},
                 layer.outputs, tile);
    const int64_t t = layer.time(index);
    for (int i = threadIdx.x; i < rows * across; i += kThreads) {
        const int unit = first + i % across;
        const int64_t row = first_row + i / across;
        if (unit >= layer.units) continue;
        T a[kMostStored] = {}, state[kMostGates] = {};
        for (int part = 0; part < layer.parts(); ++part) {
            a[part] = layer.gates_at(t, row)[part * layer.units + unit];
            state[part] = tile[i / across * kPitch + part * across + i % across];
        }
        const bool projected = layer.w_hr != nullptr;
        const T before_h = projected ? T(0) : layer.before_h(index, row)[unit];
        const T before_c =
            layer.cell == TL_LSTM ? layer.before_c(index, row, unit) : T(0);
        out[row * layer.units + unit] =
            advance(layer, index, row, unit, a, state, before_h, before_c, c_n);
    }
}

// c (N, n) = a (N, depth) b. What c was is added, or else sequences that are not active
// get the rows of `kept` (null: they are like others).
template <typename T> struct Result {
    T *c;
    const T *kept;
    bool add;
};

template <typename T>
__global__ void product_kernel(Layer<T> layer, int64_t t, const T *a, Columns<T> b,
                               int depth, Result<T> to) {
    TL_DYNAMIC_SHARED(T, tile);
    const int n = b.units;
    const int64_t first_row = static_cast<int64_t>(blockIdx.y) * kTile;
    const int rows = static_cast<int>(
        layer.batch - first_row < kTile ? layer.batch - first_row : kTile);
    b.first = blockIdx.x * kTile;
    tile_product({a + first_row * depth, depth, rows}, b, depth, tile);
    for (int i = threadIdx.x; i < rows * kTile; i += kThreads) {
        const int column = b.first + i % kTile;
        const int64_t row = first_row + i / kTile;
        if (column >= n) continue;
        const T product = tile[i / kTile * kPitch + i % kTile];
        T *c = to.c + row * n + column;
        if (to.add)
            *c += product;
        else if (to.kept == nullptr || layer.active(t, row))
            *c = product;
        else
            *c = to.kept[row * n + column];
    }
}

template <typename T>
tl_status launch_product(const Layer<T> &layer, int64_t t, const T *a, const T *b,
                         bool transposed, int depth, int n, const Result<T> &to) {
    const Columns<T> columns = {
        b, transposed ? depth : 1, transposed ? 1 : n, 0, kTile, n, 1};
    const dim3 grid(static_cast<unsigned>(ceil_div(n, kTile)),
                    static_cast<unsigned>(ceil_div(layer.batch, kTile)));
    return launch(grid, kThreads, kProductShared<T> * sizeof(T), product_kernel<T>,
                  layer, t, a, columns, depth, to);
}

template <typename T>
tl_status forward_by_steps(const Layer<T> &layer, T *inner, T *c_n) {
    const int across = units_across(layer.parts());
    const dim3 grid(static_cast<unsigned>(ceil_div(layer.units, across)),
                    static_cast<unsigned>(ceil_div(layer.batch, kTile)));
    for (int64_t index = 0; index < layer.steps; ++index) {
        const int64_t t = layer.time(index);
        T *h = layer.h + t * layer.batch * layer.outputs;
        tl_status status =
            launch(grid, kThreads, kProductShared<T> * sizeof(T), step_kernel<T>, layer,
                   index, inner == nullptr ? h : inner, c_n);
        if (status == TL_OK && inner != nullptr)
            status = launch_product(layer, t, static_cast<const T *>(inner), layer.w_hr,
                                    true, layer.units, layer.outputs,
                                    Result<T>{h, layer.before_h(index, 0), false});
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

// dh += the outputs' cotangent, and what of it reaches a projection.
template <typename T> struct AddCotangent {
    Layer<T> layer;
    Cotangents<T> to;
    int64_t t;
    __device__ void operator()(int64_t i) const {
        const int64_t at = t * layer.batch * layer.outputs + i;
        const T dh = to.dh[i] + to.h[at];
        to.dh[i] = dh;
        to.projected[at] = layer.active(t, i / layer.outputs) ? dh : T(0);
    }
};

// The cells of one step back; cell_dh: the gradient of their outputs, null where dh and
// the cotangent are it.
template <typename T> struct RetreatUnits {
    Layer<T> layer;
    Cotangents<T> to;
    int64_t index;
    const T *cell_dh;
    __device__ void operator()(int64_t i) const {
        const int64_t row = i / layer.units;
        T dh = cell_dh != nullptr
                   ? cell_dh[i]
                   : to.dh[i] + to.h[layer.time(index) * layer.batch * layer.units + i];
        T dc = layer.cell == TL_LSTM ? to.dc[i] : T(0), db[kMostGates];
        retreat(layer, to, index, row, static_cast<int>(i % layer.units), dh, dc, db);
        if (layer.cell == TL_LSTM) to.dc[i] = dc;
        if (cell_dh == nullptr) to.dh[i] = dh;
    }
};

template <typename T>
tl_status step_back(const Layer<T> &layer, const Cotangents<T> &to, int64_t index,
                    T *cell_dh) {
    const int64_t t = layer.time(index);
    tl_status status = TL_OK;
    if (cell_dh != nullptr) {
        status = for_each(layer.batch * layer.outputs, AddCotangent<T>{layer, to, t});
        if (status == TL_OK)
            status = launch_product(layer, t, static_cast<const T *>(to.dh), layer.w_hr,
                                    false, layer.outputs, layer.units,
                                    Result<T>{cell_dh, nullptr, false});
        if (status != TL_OK) return status;
    }
    status =
        for_each(layer.batch * layer.units, RetreatUnits<T>{layer, to, index, cell_dh});
    if (status != TL_OK) return status;
    // Under a projection dh still holds what came in: active sequences drop it.
    return launch_product(layer, t,
                          static_cast<const T *>(to.db) + t * layer.batch * layer.gates,
                          layer.w_hh, false, layer.gates, layer.outputs,
                          Result<T>{to.dh, to.dh, cell_dh == nullptr});
}

template <typename T> struct BeginGradient {
    Cotangents<T> to;
    int64_t h_size, c_size;
    __device__ void operator()(int64_t i) const {
        if (i < h_size) to.dh[i] = T(0);
        if (i < c_size) to.dc[i] = to.c_n[i];
    }
};

template <typename T>
tl_status backward_by_steps(const Layer<T> &layer, const Cotangents<T> &to,
                            T *cell_dh) {
    const int64_t h_size = layer.batch * layer.outputs;
    const int64_t c_size = layer.cell == TL_LSTM ? layer.batch * layer.units : 0;
    tl_status status = for_each(h_size > c_size ? h_size : c_size,
                                BeginGradient<T>{to, h_size, c_size});
    for (int64_t index = layer.steps - 1; index >= 0 && status == TL_OK; --index)
        status = step_back(layer, to, index, cell_dh);
    return status;
}

// ---- all steps in a launch ----------------------------------------------------------
constexpr int kSequences = 4;   // of a block
constexpr int kMostUnits = 128; // which its threads cover in
constexpr int kItems = kSequences * kMostUnits / kThreads;
constexpr size_t kMostShared = 200 * 1024;

// The thread's item: a unit of one of the block's sequences.
struct Item {
    int sequence, unit;
    int64_t row;
    bool exists;
    template <typename T> __device__ Item(const Layer<T> &layer, int i) {
        const int at = threadIdx.x + i * kThreads;
        sequence = at / layer.units;
        unit = at % layer.units;
        row = static_cast<int64_t>(blockIdx.x) * kSequences + sequence;
        exists = sequence < kSequences && row < layer.batch;
    }
};

// Elements of shared memory: the weights, and two arrays of the sequences' numbers.
template <typename T> int64_t forward_shared(const Layer<T> &layer) {
    const int64_t pitch = layer.gates | 1;
    return ceil_div(pitch * layer.outputs, 4) * 4 +
           kSequences * (layer.outputs + layer.gates);
}
template <typename T> int64_t backward_shared(const Layer<T> &layer) {
    return ceil_div(static_cast<int64_t>(layer.gates) * layer.outputs, 4) * 4 +
           kSequences * (layer.gates + kThreads);
}

// parts[c][sequence] = the state of each sequence times column c of the weights.
template <typename T>
__device__ void state_parts(const T *weights, int pitch, int depth, int columns,
                            const T *state, T *parts) {
    for (int c = threadIdx.x; c < columns; c += kThreads) {
        T sum[kSequences] = {};
#pragma unroll 8
        for (int k = 0; k < depth; ++k) {
            T h[kSequences];
            read_four(state + k * kSequences, h);
            const T w = weights[k * pitch + c];
#pragma unroll
            for (int s = 0; s < kSequences; ++s)
                sum[s] += w * h[s];
        }
#pragma unroll
        for (int s = 0; s < kSequences; ++s)
            parts[c * kSequences + s] = sum[s];
    }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) all_steps_kernel(Layer<T> layer, T *c_n) {
    TL_DYNAMIC_SHARED(T, weights); // the transpose: [k][gate]
    const int pitch = layer.gates | 1, depth = layer.outputs;
    T *state = weights + (pitch * depth + 3) / 4 * 4;
    T *parts = state + kSequences * depth;
    for (int i = threadIdx.x; i < layer.gates * depth; i += kThreads)
        weights[i % depth * pitch + i / depth] = layer.w_hh[i];
    T c[kItems] = {};
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
        const Item item(layer, i);
        if (item.sequence >= kSequences) continue;
        state[item.unit * kSequences + item.sequence] =
            item.exists ? layer.h0[item.row * depth + item.unit] : T(0);
        if (item.exists && layer.cell == TL_LSTM)
            c[i] = layer.c0[item.row * layer.units + item.unit];
    }
    __syncthreads();
    for (int64_t index = 0; index < layer.steps; ++index) {
        const int64_t t = layer.time(index);
        T a[kItems][kMostStored] = {}; // asked for before the product, needed behind it
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            const Item item(layer, i);
#pragma unroll
            for (int part = 0; part < kMostGates; ++part)
                if (item.exists && part < layer.parts())
                    a[i][part] =
                        layer.gates_at(t, item.row)[part * layer.units + item.unit];
        }
        state_parts(weights, pitch, depth, layer.gates, state, parts);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            const Item item(layer, i);
            if (!item.exists) continue;
            T own[kMostGates] = {};
#pragma unroll
            for (int part = 0; part < kMostGates; ++part)
                if (part < layer.parts())
                    own[part] = parts[(part * layer.units + item.unit) * kSequences +
                                      item.sequence];
            T *h = state + item.unit * kSequences + item.sequence;
            *h = advance(layer, index, item.row, item.unit, a[i], own, *h, c[i], c_n);
            c[i] = a[i][4];
            layer.h[(t * layer.batch + item.row) * depth + item.unit] = *h;
        }
        __syncthreads();
    }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    all_steps_grad_kernel(Layer<T> layer, Cotangents<T> to) {
    TL_DYNAMIC_SHARED(T, weights); // as they are: [gate][output]
    const int n = layer.outputs;
    T *slopes = weights + (layer.gates * n + 3) / 4 * 4; // [gate][sequence]
    T *parts = slopes + kSequences * layer.gates;        // [group][output][sequence]
    const int columns = n <= 32 ? 32 : n <= 64 ? 64 : 128, groups = kThreads / columns;
    const int group = threadIdx.x / columns, column = threadIdx.x % columns;
    for (int i = threadIdx.x; i < layer.gates * n; i += kThreads)
        weights[i] = layer.w_hh[i];
    T dh[kItems] = {}, dc[kItems] = {};
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
        const Item item(layer, i);
        if (item.exists && layer.cell == TL_LSTM)
            dc[i] = to.c_n[item.row * layer.units + item.unit];
    }
    for (int64_t index = layer.steps - 1; index >= 0; --index) {
        const int64_t t = layer.time(index);
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            const Item item(layer, i);
            if (item.sequence >= kSequences) continue;
            T db[kMostGates] = {};
            if (item.exists) {
                dh[i] += to.h[(t * layer.batch + item.row) * n + item.unit];
                retreat(layer, to, index, item.row, item.unit, dh[i], dc[i], db);
            }
#pragma unroll
            for (int part = 0; part < kMostGates; ++part)
                if (part < layer.parts())
                    slopes[(part * layer.units + item.unit) * kSequences +
                           item.sequence] = db[part];
        }
        __syncthreads();
        T sum[kSequences] = {};
        if (column < n)
#pragma unroll 4
            for (int gate = group; gate < layer.gates; gate += groups) {
                T slope[kSequences];
                read_four(slopes + gate * kSequences, slope);
                const T w = weights[gate * n + column];
#pragma unroll
                for (int s = 0; s < kSequences; ++s)
                    sum[s] += w * slope[s];
            }
#pragma unroll
        for (int s = 0; s < kSequences; ++s)
            parts[(group * columns + column) * kSequences + s] = sum[s];
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
            const Item item(layer, i);
            if (item.sequence >= kSequences) continue;
            for (int g = 0; g < groups; ++g)
                dh[i] += parts[(g * columns + item.unit) * kSequences + item.sequence];
        }
    }
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
        const Item item(layer, i);
        if (!item.exists) continue;
        to.dh[item.row * n + item.unit] = dh[i];
        if (layer.cell == TL_LSTM) to.dc[item.row * layer.units + item.unit] = dc[i];
    }
}

// ---- run functions ------------------------------------------------------------------
template <typename T> const T *data_or_null(const tl_buffer *b) {
    return b == nullptr ? nullptr : static_cast<const T *>(b->data);
}
template <typename T> T *written(const tl_buffer *b) {
    return b == nullptr ? nullptr : static_cast<T *>(b->data);
}

// h, gates and the operands from in[first] on: w_hh, h0, c0[, b_hh], w_hr, lengths.
template <typename T>
bool describe(const tl_call *call, const tl_buffer *h, const tl_buffer *gates,
              int first, Layer<T> &layer) {
    for (int i = 0; i < call->nin; ++i)
        if (call->in[i] != nullptr && call->in[i]->device_type != TL_CUDA) return false;
    const auto &params = *static_cast<const tl_recurrent_params *>(call->params);
    const tl_buffer *weight = call->in[first];
    const int behind = first ? 3 : 4; // b_hh comes to the forward pass alone
    layer.cell = params.cell;
    layer.reverse = params.reverse;
    layer.steps = h->shape[0];
    layer.batch = h->shape[1];
    if (weight->shape[0] > INT32_MAX / 8 || h->shape[2] > INT32_MAX / 8 ||
        ceil_div(layer.batch, kTile) > 65535)
        return false;
    layer.outputs = static_cast<int32_t>(h->shape[2]);
    layer.gates = static_cast<int32_t>(weight->shape[0]);
    layer.stored = static_cast<int32_t>(gates->shape[2]);
    layer.units = layer.gates / (layer.cell == TL_LSTM  ? 4
                                 : layer.cell == TL_GRU ? 3
                                                        : 1);
    layer.w_hh = data_or_null<T>(weight);
    layer.h0 = data_or_null<T>(call->in[first + 1]);
    layer.c0 = data_or_null<T>(call->in[first + 2]);
    layer.bias = first ? nullptr : data_or_null<T>(call->in[first + 3]);
    layer.w_hr = data_or_null<T>(call->in[first + behind]);
    layer.lengths = data_or_null<int64_t>(call->in[first + behind + 1]);
    layer.h = static_cast<T *>(h->data);
    layer.gates_data = static_cast<T *>(gates->data);
    return true;
}

template <typename T> bool fits_block(const Layer<T> &layer, int64_t elements) {
    return layer.units <= kMostUnits && layer.w_hr == nullptr &&
           elements * sizeof(T) <= kMostShared;
}

template <typename T> tl_status run_recurrent(const tl_call *call) {
    Layer<T> layer = {};
    if (call->out[0]->size == 0 && (call->nout < 3 || call->out[2]->size == 0))
        return TL_OK;
    if (!describe(call, call->out[0], call->out[1], 0, layer)) return TL_DECLINED;
    T *c_n = call->nout < 3 ? nullptr : static_cast<T *>(call->out[2]->data);
    const int64_t elements = forward_shared(layer);
    if (fits_block(layer, elements))
        return launch(static_cast<unsigned>(ceil_div(layer.batch, kSequences)),
                      kThreads, elements * sizeof(T), all_steps_kernel<T>, layer, c_n);
    if (layer.w_hr == nullptr) return forward_by_steps<T>(layer, nullptr, c_n);
    Scratch inner(layer.batch * layer.units * sizeof(T));
    if (inner.data() == nullptr) return TL_OUT_OF_MEMORY;
    return forward_by_steps(layer, inner.as<T>(), c_n);
}

template <typename T> tl_status run_recurrent_grad(const tl_call *call) {
    Layer<T> layer = {};
    if (!describe(call, call->in[2], call->in[3], 4, layer)) return TL_DECLINED;
    if (layer.batch == 0) return TL_OK;
    T *da = written<T>(call->out[0]), *db = written<T>(call->out[3]);
    const Cotangents<T> to = {data_or_null<T>(call->in[0]),
                              data_or_null<T>(call->in[1]),
                              da,
                              db == nullptr ? da : db,
                              written<T>(call->out[1]),
                              written<T>(call->out[2]),
                              written<T>(call->out[4]),
                              written<T>(call->out[5])};
    const int64_t elements = backward_shared(layer);
    if (fits_block(layer, elements))
        return launch(static_cast<unsigned>(ceil_div(layer.batch, kSequences)),
                      kThreads, elements * sizeof(T), all_steps_grad_kernel<T>, layer,
                      to);
    if (layer.w_hr == nullptr) return backward_by_steps<T>(layer, to, nullptr);
    Scratch cell_dh(layer.batch * layer.units * sizeof(T));
    if (cell_dh.data() == nullptr) return TL_OUT_OF_MEMORY;
    return backward_by_steps(layer, to, cell_dh.as<T>());
}

const tl_cuda_entry entries[] = {
    {"recurrent", TL_FLOAT32, run_recurrent<float>, nullptr},
    {"recurrent", TL_FLOAT64, run_recurrent<double>, nullptr},
    {"recurrent_grad", TL_FLOAT32, run_recurrent_grad<float>, nullptr},
    {"recurrent_grad", TL_FLOAT64, run_recurrent_grad<double>, nullptr},
};

} // namespace
} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_recurrent_entries(int *count) {
    *count = static_cast<int>(sizeof tl::entries / sizeof tl::entries[0]);
    return tl::entries;
}
