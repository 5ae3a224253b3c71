// Stable radix sort of rows, least digit first, by the orders of tensorlib/sort.h.
//
// Passes move raw elements and find their keys anew, so zeros and NaNs keep their bits
// and their order. A tile is what a block sorts in shared memory: short rows are one,
// longer ones are counted, their counts summed, and moved, in three launches a digit; of
// few tiles every block sums the counts itself.
#pragma once

#include "layout.cuh"
#include "warp.cuh"

#include "tensorlib/sort.h"

namespace tl {

enum OrderKind { kUnsignedOrder, kSignedOrder, kFloatOrder, kBfloat16Order };

template <typename U> struct float_infinity;
template <> struct float_infinity<uint8_t> { static constexpr uint8_t bits = 0x7f; };
template <> struct float_infinity<uint16_t> {
    static constexpr uint16_t bits = 0x7c00;
};
template <> struct float_infinity<uint32_t> {
    static constexpr uint32_t bits = 0x7f800000;
};
template <> struct float_infinity<uint64_t> {
    static constexpr uint64_t bits = UINT64_C(0x7ff0000000000000);
};

// Keys of elements: one type for all dtypes of a width, so that they share kernels.
template <typename U> struct Order {
    int kind;
    U flip, turn; // all ones: descending with NaN last, or first
    __device__ U key(U x) const {
        if (kind == kUnsignedOrder) return unsigned_order<U>::key(x, flip) ^ turn;
        if (kind == kSignedOrder) return signed_order<U>::key(x, flip) ^ turn;
        if (sizeof(U) == 2 && kind == kBfloat16Order)
            return float_order<U, U(0x7f80)>::key(x, flip) ^ turn;
        return float_order<U, float_infinity<U>::bits>::key(x, flip) ^ turn;
    }
};

// Rows of a buffer: where each begins, and the step along it.
template <typename T> struct Rows {
    T *data = nullptr;
    int64_t step = 1;
    Offsets<1, int64_t> starts;
    Rows() : starts(Layout<1>{}) {}
    __device__ T *row(int64_t i) const {
        int64_t at[1];
        starts.at(i, at);
        return data + at[0];
    }
};

// Adjoining rows of n elements.
template <typename T> Rows<T> plain_rows(T *data, int64_t rows, int64_t n) {
    Layout<1> layout = {};
    layout.ndim = 1;
    layout.shape[0] = rows;
    layout.strides[0][0] = n;
    Rows<T> found;
    found.data = data;
    found.starts = Offsets<1, int64_t>(layout);
    return found;
}

// The rows of a buffer along its last axis, in C order; false where there are too many
// axes.
template <typename T> bool rows_of(const tl_buffer *x, Rows<T> *found) {
    tl_buffer outer = *x;
    const int last = x->ndim - 1;
    outer.ndim = static_cast<int16_t>(last);
    outer.size = 1;
    for (int d = 0; d < last; ++d)
        outer.size *= x->shape[d];
    const tl_buffer *const one[1] = {&outer};
    const Layout<1> layout = merged_layout(one, false);
    if (layout.ndim > kMaxMerged) return false;
    found->data = static_cast<T *>(x->data);
    found->step = x->strides[last];
    found->starts = Offsets<1, int64_t>(layout);
    return true;
}

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
constexpr int kSortThreads = kDigits, kSortWarps = kSortThreads / kWarp;
template <typename U> constexpr int kSortItems = sizeof(U) == 8 ? 8 : 16;
template <typename U> constexpr int kSortTile = kSortThreads *kSortItems<U>;

// The sum of the values of the threads before; all threads of the block must call it.
__device__ inline uint32_t block_scan(uint32_t value, uint32_t *total = nullptr) {
    __shared__ uint32_t sums[kWarp];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int warps = (blockDim.x + kWarp - 1) / kWarp;
    uint32_t sum = value;
    for (int apart = 1; apart < kWarp; apart *= 2) {
        const uint32_t before = __shfl_up_sync(kAllLanes, sum, apart);
        if (lane >= apart) sum += before;
    }
    __syncthreads(); // an earlier call's readers are done
    if (lane == kWarp - 1) sums[warp] = sum;
    __syncthreads();
    uint32_t before = 0, all = 0;
    for (int w = 0; w < warps; ++w) {
        if (w == warp) before = all;
        all += sums[w];
    }
    if (total != nullptr) *total = all;
    return before + sum - value;
}

// What ranking a tile needs in shared memory.
struct TileCounts {
    uint32_t of_warp[kSortWarps][kDigits];
    uint32_t starts[kDigits]; // where each digit's elements begin in the sorted tile
};

// Lanes of the warp whose digit is the same.
__device__ inline unsigned digit_peers(uint32_t digit) {
    unsigned peers = kAllLanes;
#pragma unroll
    for (int bit = 0; bit < kDigitBits; ++bit) {
        const bool mine = digit >> bit & 1;
        const unsigned set = __ballot_sync(kAllLanes, mine);
        peers &= mine ? set : ~set;
    }
    return peers;
}

// Stable places in the sorted tile. digit[k] is that of the tile's element
// warp * 32 * kItems + 32 * k + lane.
template <int kItems>
__device__ void rank_tile(const uint8_t (&digit)[kItems], uint32_t (&rank)[kItems],
                          TileCounts &counts) {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    for (int w = 0; w < kSortWarps; ++w)
        counts.of_warp[w][threadIdx.x] = 0;
    __syncthreads();
    uint32_t *own = counts.of_warp[warp];
#pragma unroll
    for (int k = 0; k < kItems; ++k) {
        const unsigned peers = digit_peers(digit[k]);
        const unsigned below = peers & ((1u << lane) - 1);
        const uint32_t before = own[digit[k]];
        __syncwarp();
        if (below == 0) own[digit[k]] = before + __popc(peers);
        __syncwarp();
        rank[k] = before + __popc(below);
    }
    __syncthreads();
    uint32_t sum = 0; // this thread's digit, over the warps before
    for (int w = 0; w < kSortWarps; ++w) {
        const uint32_t count = counts.of_warp[w][threadIdx.x];
        counts.of_warp[w][threadIdx.x] = sum;
        sum += count;
    }
    counts.starts[threadIdx.x] = block_scan(sum);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kItems; ++k)
        rank[k] += counts.starts[digit[k]] + own[digit[k]];
}

// Where a thread's k-th element is in its tile.
template <int kItems> __device__ int tile_place(int k) {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    return warp * kWarp * kItems + k * kWarp + lane;
}

// One pass: rows of n elements from one buffer to the other by one digit. Which passes
// there are is known on the device only: digits in which no keys differ are passed
// over.
template <typename U> struct RadixPass {
    Rows<const U> first;  // what the first pass reads
    Rows<U> last;         // what the last one writes; data may be null
    uint32_t *last_index; // (rows, n); null: positions are not wanted
    U *spare[2];          // what others read and write
    uint32_t *spare_index[2];
    uint32_t *counts;        // (rows, digits, tiles); (rows, tiles, digits) where few
    uint32_t *totals;        // (rows, digits); not of few
    const uint64_t *varying; // bits in which keys differ; null: all do
    int64_t n;
    int64_t tiles;
    bool few; // tiles
    Order<U> order;
    int passes, pass;
    unsigned mask; // of the pass's digit: the last one may have fewer bits
    __device__ uint8_t digit(U x) const {
        return static_cast<uint8_t>(order.key(x) >> (pass * kDigitBits) & mask);
    }
    __device__ uint32_t &count(int64_t row, int64_t tile, int digit) const {
        return counts[few ? (row * tiles + tile) * kDigits + digit
                          : (row * kDigits + digit) * tiles + tile];
    }
    // How many elements of the row have a digit, and how many of them lie in the tiles
    // before.
    __device__ uint32_t total(int64_t row, int64_t tile, int digit,
                              uint32_t *before) const {
        if (!few) {
            *before = count(row, tile, digit);
            return totals[row * kDigits + digit];
        }
        uint32_t sum = 0, earlier = 0;
#pragma unroll 8
        for (int64_t t = 0; t < tiles; ++t) {
            const uint32_t found = count(row, t, digit);
            sum += found;
            if (t < tile) earlier += found;
        }
        *before = earlier;
        return sum;
    }
    // A bit for each digit that is sorted by, one at least.
    __device__ unsigned digits() const {
        if (varying == nullptr) return (1u << passes) - 1;
        unsigned found = 0;
        for (int p = 0; p < passes; ++p)
            found |= static_cast<unsigned>((*varying >> (p * kDigitBits) & 255) != 0)
                     << p;
        return found ? found : 1;
    }
};

// Where a pass reads and writes, found by every thread alike.
template <typename U> struct RadixPlaces {
    bool skipped;
    const U *from;
    U *to;
    int64_t from_step, to_step;
    const uint32_t *from_index;
    uint32_t *to_index;
    __device__ RadixPlaces(const RadixPass<U> &pass, int64_t row) {
        const unsigned digits = pass.digits(),
                       earlier = digits & ((1u << pass.pass) - 1);
        const int done = __popc(earlier), all = __popc(digits);
        const int64_t start = row * pass.n;
        const bool final = done == all - 1, index = pass.last_index != nullptr;
        skipped = !(digits >> pass.pass & 1);
        from = done == 0 ? pass.first.row(row) : pass.spare[(done - 1) % 2] + start;
        from_step = done == 0 ? pass.first.step : 1;
        from_index =
            done == 0 || !index ? nullptr : pass.spare_index[(done - 1) % 2] + start;
        to = !final                      ? pass.spare[done % 2] + start
             : pass.last.data == nullptr ? nullptr
                                         : pass.last.row(row);
        to_step = final ? pass.last.step : 1;
        to_index = !index  ? nullptr
                   : final ? pass.last_index + start
                           : pass.spare_index[done % 2] + start;
    }
};

// Bits in which any key differs from the first one.
template <typename U>
__global__ void radix_vary_kernel(RadixPass<U> pass, int64_t rows, uint64_t *varying) {
    const U one = pass.order.key(pass.first.row(0)[0]);
    uint64_t bits = 0;
    const int64_t all = rows * pass.tiles;
    for (int64_t t = blockIdx.x; t < all; t += gridDim.x) {
        const U *x = pass.first.row(t / pass.tiles);
        const int64_t first = t % pass.tiles * kSortTile<U> + threadIdx.x;
#pragma unroll
        for (int k = 0; k < kSortItems<U>; ++k) {
            const int64_t i = first + k * kSortThreads;
            if (i < pass.n)
                bits |= static_cast<U>(pass.order.key(x[i * pass.first.step]) ^ one);
        }
    }
    for (int apart = kWarp / 2; apart > 0; apart /= 2)
        bits |= __shfl_xor_sync(kAllLanes, bits, apart);
    if (threadIdx.x % kWarp == 0 && bits)
        atomicOr(reinterpret_cast<unsigned long long *>(varying),
                 static_cast<unsigned long long>(bits));
}

static __global__ void radix_clear_kernel(uint64_t *varying) { *varying = 0; }

template <typename U> __global__ void radix_count_kernel(RadixPass<U> pass) {
    __shared__ uint32_t counts[kDigits];
    const int64_t row = blockIdx.x / pass.tiles, tile = blockIdx.x % pass.tiles;
    const RadixPlaces<U> places(pass, row);
    if (places.skipped) return;
    counts[threadIdx.x] = 0;
    __syncthreads();
    const int64_t first = tile * kSortTile<U> + threadIdx.x;
#pragma unroll
    for (int k = 0; k < kSortItems<U>; ++k) {
        const int64_t i = first + k * kSortThreads;
        if (i < pass.n)
            atomicAdd(&counts[pass.digit(places.from[i * places.from_step])], 1u);
    }
    __syncthreads();
    pass.count(row, tile, threadIdx.x) = counts[threadIdx.x];
}

// Counts of one row's digit become how many lie in the tiles before.
static __global__ void radix_scan_kernel(uint32_t *counts, uint32_t *totals,
                                         int64_t tiles) {
    uint32_t *own = counts + blockIdx.x * tiles;
    uint32_t sum = 0;
    for (int64_t first = 0; first < tiles; first += blockDim.x) {
        const int64_t i = first + threadIdx.x;
        uint32_t all;
        const uint32_t before = block_scan(i < tiles ? own[i] : 0, &all);
        if (i < tiles) own[i] = sum + before;
        sum += all;
    }
    if (threadIdx.x == 0) totals[blockIdx.x] = sum;
}

template <typename U>
__global__ void __launch_bounds__(kSortThreads) radix_move_kernel(RadixPass<U> pass) {
    constexpr int kItems = kSortItems<U>;
    __shared__ TileCounts counts;
    __shared__ uint32_t bases[kDigits]; // of each digit in the row, less its place here
    __shared__ U elements[kSortTile<U>];
    __shared__ uint32_t indices[kSortTile<U>];
    const int64_t row = blockIdx.x / pass.tiles, tile = blockIdx.x % pass.tiles;
    const int64_t first = tile * kSortTile<U>, left = pass.n - first;
    const RadixPlaces<U> places(pass, row);
    if (places.skipped) return;
    U element[kItems];
    uint32_t rank[kItems];
    uint8_t digit[kItems];
#pragma unroll
    for (int k = 0; k < kItems; ++k) {
        const int place = tile_place<kItems>(k);
        if (place < left) element[k] = places.from[(first + place) * places.from_step];
    }
    // What lies behind the row's end has the largest digit, and comes last.
#pragma unroll
    for (int k = 0; k < kItems; ++k)
        digit[k] = tile_place<kItems>(k) < left ? pass.digit(element[k]) : kDigits - 1;
    rank_tile(digit, rank, counts);
    uint32_t before;
    const uint32_t total = pass.total(row, tile, threadIdx.x, &before);
    bases[threadIdx.x] = block_scan(total) + before - counts.starts[threadIdx.x];
#pragma unroll
    for (int k = 0; k < kItems; ++k) {
        const int place = tile_place<kItems>(k);
        if (place >= left) continue;
        elements[rank[k]] = element[k];
        if (places.to_index != nullptr)
            indices[rank[k]] = places.from_index != nullptr
                                   ? places.from_index[first + place]
                                   : static_cast<uint32_t>(first + place);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kSortTile<U> && i < left; i += kSortThreads) {
        const int64_t at = static_cast<uint32_t>(bases[pass.digit(elements[i])] + i);
        if (places.to != nullptr) places.to[at * places.to_step] = elements[i];
        if (places.to_index != nullptr) places.to_index[at] = indices[i];
    }
}

template <typename U> struct SortJob {
    Rows<const U> from;
    Rows<U> to;         // data may be null
    uint32_t *to_index; // (rows, n); may be null
    int64_t rows, n;    // n < 2^32
    Order<U> order;
    int bits = 8 * sizeof(U); // of the keys that differ
    bool look = false;        // find out on the device which do
};

constexpr int64_t kFewTiles = 64;

// One digit's two or three launches.
template <typename U> tl_status radix_pass(const RadixPass<U> &pass, int64_t rows) {
    const dim3 grid(static_cast<unsigned>(rows * pass.tiles));
    tl_status status = launch(grid, kSortThreads, 0, radix_count_kernel<U>, pass);
    const dim3 digits(static_cast<unsigned>(rows * kDigits));
    if (status == TL_OK && !pass.few)
        status = launch(digits, pass.tiles <= 128 ? 32 : 1024, 0, radix_scan_kernel,
                        pass.counts, pass.totals, pass.tiles);
    if (status != TL_OK) return status;
    return launch(grid, kSortThreads, 0, radix_move_kernel<U>, pass);
}

// Finds which bits vary: worth a look where elements are integers, which often are
// small.
template <typename U>
tl_status find_varying(RadixPass<U> *pass, int64_t rows, uint64_t *room) {
    const int64_t all = rows * pass->tiles,
                  most = 8 * static_cast<int64_t>(processors());
    const dim3 grid(static_cast<unsigned>(all < most ? all : most));
    tl_status status = launch(1, 1, 0, radix_clear_kernel, room);
    if (status == TL_OK)
        status = launch(grid, kSortThreads, 0, radix_vary_kernel<U>, *pass, rows, room);
    pass->varying = room;
    return status;
}

// Sorts rows of any length; to must not be from.
template <typename U> tl_status radix_sort(const SortJob<U> &job) {
    const int passes = job.bits > 0 ? (job.bits + kDigitBits - 1) / kDigitBits : 1;
    const int64_t tiles = ceil_div(job.n, kSortTile<U>), size = job.rows * job.n;
    const int64_t slots = job.rows * kDigits * (tiles + 1) + 2;
    if (job.n == 0 || job.rows == 0) return TL_OK;
    if (job.n >> 32 || job.rows * (tiles > kDigits ? tiles : kDigits) >> 31)
        return TL_DECLINED;
    // Two buffers to go to and fro between, each elements and then positions.
    const int spares = passes > 2 ? 2 : passes - 1;
    const int64_t elements = ceil_div(size * sizeof(U), 16) * 16;
    const int64_t each = elements + (job.to_index ? ceil_div(size, 4) * 16 : 0);
    const int64_t head = ceil_div(slots, 4) * 16;
    const Scratch scratch(head + each * spares);
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    RadixPass<U> pass;
    pass.first = job.from;
    pass.last = job.to;
    pass.last_index = job.to_index;
    for (int k = 0; k < 2; ++k) {
        char *room = scratch.as<char>() + head + k * each;
        pass.spare[k] = reinterpret_cast<U *>(room);
        pass.spare_index[k] = reinterpret_cast<uint32_t *>(room + elements);
    }
    pass.counts = scratch.as<uint32_t>() + 2;
    pass.totals = pass.counts + job.rows * kDigits * tiles;
    pass.varying = nullptr;
    pass.n = job.n;
    pass.tiles = tiles;
    pass.few = tiles <= kFewTiles;
    pass.order = job.order;
    pass.passes = passes;
    tl_status status = TL_OK;
    if (job.look && passes > 2)
        status = find_varying(&pass, job.rows, scratch.as<uint64_t>());
    for (pass.pass = 0; pass.pass < passes && status == TL_OK; ++pass.pass) {
        const int left = job.bits - pass.pass * kDigitBits;
        pass.mask = left < kDigitBits ? (1u << (left > 0 ? left : 0)) - 1 : kDigits - 1;
        status = radix_pass(pass, job.rows);
    }
    return status;
}

} // namespace tl
