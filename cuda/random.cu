// Counter-based random fills, and dropout; the contract is written in scalar_random.h.
//
// A thread computes one Threefry block and writes its two or four elements together.
// The logarithms and sines of normals are the CPU's polynomials, so that numbers have
// the same bits on both, up to which products are fused with a sum.
#define TL_PORTABLE_MATH
#include "numbers.cuh"

#include "tensorlib/scalar_random.h"

#include <cmath>

namespace tl { // not by a using directive: ::sin would become ambiguous in CUDA's
               // headers
namespace {

struct Words {
    uint32_t at[4];
    __device__ uint64_t pair(int k) const {
        return join_words(at[2 * k], at[2 * k + 1]);
    }
};

// The words of the block of a seed that a counter names.
__device__ inline Words words_of(uint64_t seed, uint64_t counter) {
    Words words = {
        {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}};
    threefry4x32(words.at[0], words.at[1], words.at[2], words.at[3],
                 static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), 0, 0);
    return words;
}

// Each kind: the elements of a block, and how many they are.
template <typename T> struct Uniform {
    static constexpr int kElements = sizeof(T) == 8 ? 2 : 4;
    T low, high, last;
    explicit Uniform(const tl_random_params &p)
        : low(static_cast<T>(p.low)), high(static_cast<T>(p.high)),
          last(std::nextafter(high, low)) {}
    __device__ void fill(const Words &words, T *out) const {
        for (int k = 0; k < kElements; ++k) {
            if constexpr (kElements == 4)
                out[k] = uniform_between(unit_interval(words.at[k]), low, high, last);
            else
                out[k] = uniform_between(unit_interval(words.pair(k)), low, high, last);
        }
    }
};

template <typename T> struct Normal {
    using Computed = computed_t<T>;
    static constexpr int kElements = sizeof(T) == 8 ? 2 : 4;
    Computed mean, deviation;
    explicit Normal(const tl_random_params &p)
        : mean(static_cast<Computed>(p.low)), deviation(static_cast<Computed>(p.high)) {
    }
    __device__ void fill(const Words &words, T *out) const {
        Computed z[kElements];
        if constexpr (kElements == 4) {
            normal_pair(words.at[0], words.at[1], &z[0], &z[1]);
            normal_pair(words.at[2], words.at[3], &z[2], &z[3]);
        } else {
            normal_pair(words.pair(0), words.pair(1), &z[0], &z[1]);
        }
        for (int k = 0; k < kElements; ++k)
            store(out + k, mean + deviation * z[k]);
    }
};

template <typename T> struct Integers {
    static constexpr int kElements = 2;
    uint64_t low, span;
    explicit Integers(const tl_random_params &p)
        : low(static_cast<uint64_t>(p.integer_low)),
          span(static_cast<uint64_t>(p.integer_high) - low) {}
    __device__ void fill(const Words &words, T *out) const {
        for (int k = 0; k < kElements; ++k)
            out[k] = static_cast<T>(low + below(words.pair(k), span));
    }
};

template <typename T> struct Bernoulli {
    static constexpr int kElements = 4;
    uint64_t threshold;
    explicit Bernoulli(const tl_random_params &p)
        : threshold(bernoulli_threshold(p.low)) {}
    __device__ void fill(const Words &words, T *out) const {
        for (int k = 0; k < kElements; ++k)
            store(out + k, static_cast<computed_t<T>>(words.at[k] < threshold));
    }
};

struct Raw {
    static constexpr int kElements = 2;
    explicit Raw(const tl_random_params &) {}
    __device__ void fill(const Words &words, int64_t *out) const {
        for (int k = 0; k < kElements; ++k)
            out[k] = static_cast<int64_t>(words.pair(k));
    }
};

template <typename T, typename Kind> struct Fill {
    T *out;
    int64_t n;
    uint64_t seed, first; // block
    int64_t whole;        // blocks that are written as packs
    Kind kind;
    __device__ void operator()(int64_t block) const { write(block, whole); }
    template <typename Index>
    __device__ __forceinline__ void write(Index block, Index packs) const {
        constexpr int kElements = Kind::kElements;
        const Words words = words_of(seed, first + static_cast<uint64_t>(block));
        Pack<T, kElements> found;
        kind.fill(words, found.at);
        if (block < packs) {
            reinterpret_cast<Pack<T, kElements> *>(out)[block] = found;
            return;
        }
        const int64_t start = static_cast<int64_t>(block) * kElements;
        for (int k = 0; k < kElements; ++k)
            if (start + k < n) out[start + k] = found.at[k];
    }
};

// Counts of 32 bits: a fill is bound by instructions.
template <typename T, typename Kind>
__global__ void __launch_bounds__(kThreads)
    fill_kernel(Fill<T, Kind> fill, uint32_t blocks, uint32_t packs) {
    wait_for_previous();
    const uint32_t step = gridDim.x * kThreads;
    for (uint32_t i = blockIdx.x * kThreads + threadIdx.x; i < blocks; i += step)
        fill.write(i, packs);
}

template <typename T, typename Kind> tl_status run_fill(const tl_call *call) {
    const auto &params = *static_cast<const tl_random_params *>(call->params);
    T *out = static_cast<T *>(call->out[0]->data);
    const int64_t n = call->out[0]->size, blocks = ceil_div(n, Kind::kElements);
    const bool aligned = is_aligned(out, sizeof(T) * Kind::kElements);
    const Fill<T, Kind> fill = {
        out,         n, params.seed, params.offset, aligned ? n / Kind::kElements : 0,
        Kind(params)};
    if (blocks == 0) return TL_OK;
    if (blocks >> 31) return for_each(blocks, fill);
    return launch_early(blocks_for(blocks), kThreads, 0, fill_kernel<T, Kind>, fill,
                        static_cast<uint32_t>(blocks),
                        static_cast<uint32_t>(fill.whole));
}

// ---- dropout ------------------------------------------------------------------------
// Elements by the words of a bernoulli fill, compared as 32 bits: those up to `last`
// are kept. A thread takes 16 bytes, at least a block's elements.
template <typename T> struct Dropout {
    using V = computed_t<T>;
    static constexpr int kBlocks = sizeof(T) == 2 ? 2 : 1;
    static constexpr int kElements = 4 * kBlocks;
    using Elements = Pack<T, kElements>;
    T *out;
    const T *x;
    int64_t n;
    uint64_t seed, first; // block
    uint32_t last;
    V factor;
    bool aligned;
    __device__ Elements read(int64_t start) const {
        Elements found = {};
        if (aligned && start + kElements <= n)
            return *reinterpret_cast<const Elements *>(x + start);
        for (int k = 0; k < kElements; ++k)
            if (start + k < n) found.at[k] = x[start + k];
        return found;
    }
    __device__ void write(int64_t start, const Elements &made) const {
        if (aligned && start + kElements <= n) {
            *reinterpret_cast<Elements *>(out + start) = made;
            return;
        }
        for (int k = 0; k < kElements; ++k)
            if (start + k < n) out[start + k] = made.at[k];
    }
    __device__ void operator()(int64_t unit) const {
        Elements values = read(unit * kElements);
#pragma unroll
        for (int b = 0; b < kBlocks; ++b) {
            const Words words =
                words_of(seed, first + static_cast<uint64_t>(unit * kBlocks + b));
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                T *value = values.at + 4 * b + k;
                store(value, load(value) * (words.at[k] <= last ? factor : V(0)));
            }
        }
        write(unit * kElements, values);
    }
};

template <typename T> tl_status run_dropout(const tl_call *call) {
    const auto &params = *static_cast<const tl_random_params *>(call->params);
    if (call->in[0]->device_type != TL_CUDA) return TL_DECLINED;
    const int64_t n = call->out[0]->size;
    Dropout<T> op = {static_cast<T *>(call->out[0]->data),
                     static_cast<const T *>(call->in[0]->data),
                     n,
                     params.seed,
                     params.offset,
                     0,
                     0,
                     false};
    const uint64_t threshold = bernoulli_threshold(params.low);
    if (threshold > 0) {
        op.last = static_cast<uint32_t>(threshold - 1);
        op.factor = static_cast<computed_t<T>>(params.high);
    }
    constexpr int bytes = sizeof(typename Dropout<T>::Elements);
    op.aligned = is_aligned(op.out, bytes) && is_aligned(op.x, bytes);
    return for_each(ceil_div(n, Dropout<T>::kElements), op);
}

// ---- permutations -------------------------------------------------------------------
// Fisher-Yates swaps position i, from the last down, with one of 0 .. i. A swap may be
// done as soon as no earlier one that waits names either position: in each round every
// waiting swap reserves its two positions, the earliest (the largest i) wins each, and
// those that won both are done. About a quarter of them are, each round. J. Shun et
// al., "Sequential random permutation, list contraction and tree contraction are highly
// parallel", SODA 2015.
struct Shuffle {
    int64_t *out;
    unsigned long long *reserved; // by position: round and swap
    uint32_t *target;             // of each swap
    uint32_t *waiting[2];         // swaps, in any order; of this round and the next
    uint32_t *counts;             // how many they are, a round
    __device__ static unsigned long long stamp(uint32_t round, uint32_t i) {
        return static_cast<unsigned long long>(round + 1) << 32 | i;
    }
    __device__ void reserve(uint32_t round, uint32_t i) const {
        atomicMax(reserved + i, stamp(round, i));
        atomicMax(reserved + target[i], stamp(round, i));
    }
    // Past the L1 cache: atomics of other threads do not change what it holds.
    __device__ bool holds(uint32_t round, uint32_t i, uint32_t position) const {
        return static_cast<volatile unsigned long long *>(reserved)[position] ==
               stamp(round, i);
    }
    // Swaps if it may; or has it wait for the next round.
    __device__ void commit(uint32_t round, uint32_t i, uint32_t *next,
                           uint32_t *count) const {
        const uint32_t j = target[i];
        if (!holds(round, i, i) || !holds(round, i, j)) {
            next[atomicAdd(count, 1u)] = i;
            return;
        }
        const int64_t held = out[i];
        out[i] = out[j];
        out[j] = held;
    }
};

struct BeginShuffle {
    Shuffle shuffle;
    int64_t n;
    uint64_t seed, first;
    int rounds;
    __device__ void operator()(int64_t block) const {
        const Words words = words_of(seed, first + static_cast<uint64_t>(block));
        for (int k = 0; k < 2 && 2 * block + k < n; ++k) {
            const int64_t i = 2 * block + k;
            shuffle.out[i] = i;
            shuffle.reserved[i] = 0;
            shuffle.target[i] = static_cast<uint32_t>(below(words.pair(k), i + 1));
            if (i > 0) shuffle.waiting[0][i - 1] = static_cast<uint32_t>(i);
        }
        if (block == 0)
            for (int r = 0; r <= rounds; ++r)
                shuffle.counts[r] = r ? 0 : static_cast<uint32_t>(n - 1);
    }
};

__global__ void reserve_kernel(Shuffle shuffle, uint32_t round) {
    const uint32_t count = shuffle.counts[round], step = gridDim.x * blockDim.x;
    for (uint32_t k = blockIdx.x * blockDim.x + threadIdx.x; k < count; k += step)
        shuffle.reserve(round, shuffle.waiting[round % 2][k]);
}

__global__ void commit_kernel(Shuffle shuffle, uint32_t round) {
    const uint32_t count = shuffle.counts[round], step = gridDim.x * blockDim.x;
    for (uint32_t k = blockIdx.x * blockDim.x + threadIdx.x; k < count; k += step)
        shuffle.commit(round, shuffle.waiting[round % 2][k],
                       shuffle.waiting[(round + 1) % 2], shuffle.counts + round + 1);
}

// The remaining rounds, by one block: few swaps wait.
__global__ void finish_shuffle_kernel(Shuffle shuffle, uint32_t round) {
    __shared__ uint32_t next;
    uint32_t count = shuffle.counts[round];
    for (; count > 0; ++round) {
        const uint32_t *waiting = shuffle.waiting[round % 2];
        if (threadIdx.x == 0) next = 0;
        for (uint32_t k = threadIdx.x; k < count; k += blockDim.x)
            shuffle.reserve(round, waiting[k]);
        __syncthreads();
        for (uint32_t k = threadIdx.x; k < count; k += blockDim.x)
            shuffle.commit(round, waiting[k], shuffle.waiting[(round + 1) % 2], &next);
        __syncthreads();
        count = next;
        __syncthreads(); // before it is cleared
    }
}

constexpr int64_t kFewSwaps = 4096; // that one block does

tl_status run_permutation(const tl_call *call) {
    const auto &params = *static_cast<const tl_random_params *>(call->params);
    const int64_t n = call->out[0]->size;
    if (n >> 30) return TL_DECLINED;
    if (n == 0) return TL_OK;
    uint32_t rounds = 0;
    for (int64_t left = n; left > kFewSwaps; left -= left / 4)
        ++rounds;
    // reserved; target, both lists; counts.
    const Scratch scratch(n * 20 +
                          (rounds + 1) * static_cast<int64_t>(sizeof(uint32_t)));
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    Shuffle shuffle;
    shuffle.out = static_cast<int64_t *>(call->out[0]->data);
    shuffle.reserved = scratch.as<unsigned long long>();
    shuffle.target = reinterpret_cast<uint32_t *>(shuffle.reserved + n);
    shuffle.waiting[0] = shuffle.target + n;
    shuffle.waiting[1] = shuffle.waiting[0] + n;
    shuffle.counts = shuffle.waiting[1] + n;
    tl_status status =
        for_each(ceil_div(n, 2), BeginShuffle{shuffle, n, params.seed, params.offset,
                                              static_cast<int>(rounds)});
    int64_t left = n; // about
    for (uint32_t round = 0; round < rounds && status == TL_OK;
         ++round, left -= left / 4) {
        status = launch(blocks_for(left), kThreads, 0, reserve_kernel, shuffle, round);
        if (status == TL_OK)
            status =
                launch(blocks_for(left), kThreads, 0, commit_kernel, shuffle, round);
    }
    if (status != TL_OK) return status;
    return launch(1, 1024, 0, finish_shuffle_kernel, shuffle, rounds);
}

#define TL_FILL(op, dtype, T, Kind) {op, dtype, run_fill<T, Kind>, nullptr},

const tl_cuda_entry entries[] = {
    TL_FILL("random_uniform", TL_FLOAT32, float, Uniform<float>) TL_FILL(
        "random_uniform", TL_FLOAT64, double,
        Uniform<double>) TL_FILL("random_normal", TL_FLOAT16, tl_float16,
                                 Normal<tl_float16>)
        TL_FILL("random_normal", TL_BFLOAT16, tl_bfloat16, Normal<tl_bfloat16>) TL_FILL(
            "random_normal", TL_FLOAT32, float,
            Normal<float>) TL_FILL("random_normal", TL_FLOAT64, double, Normal<double>)
            TL_FILL("random_integers", TL_INT8, int8_t, Integers<int8_t>) TL_FILL(
                "random_integers", TL_INT16, int16_t,
                Integers<int16_t>) TL_FILL("random_integers", TL_INT32, int32_t,
                                           Integers<int32_t>) TL_FILL("random_integers",
                                                                      TL_INT64, int64_t,
                                                                      Integers<int64_t>)
                TL_FILL("random_integers", TL_UINT8, uint8_t, Integers<uint8_t>)
                    TL_FILL("random_integers", TL_UINT16, uint16_t, Integers<uint16_t>)
                        TL_FILL("random_integers", TL_UINT32, uint32_t,
                                Integers<uint32_t>) TL_FILL("random_bernoulli", TL_BOOL,
                                                            bool, Bernoulli<bool>)
                            TL_FILL("random_bernoulli", TL_FLOAT16, tl_float16,
                                    Bernoulli<tl_float16>)
                                TL_FILL("random_bernoulli", TL_BFLOAT16, tl_bfloat16,
                                        Bernoulli<tl_bfloat16>)
                                    TL_FILL("random_bernoulli", TL_FLOAT32, float,
                                            Bernoulli<float>)
                                        TL_FILL("random_bernoulli", TL_FLOAT64, double,
                                                Bernoulli<double>)
                                            TL_FILL("random_raw", TL_INT64, int64_t,
                                                    Raw){"random_permutation", TL_INT64,
                                                         run_permutation, nullptr},
    {"dropout", TL_FLOAT16, run_dropout<tl_float16>, nullptr},
    {"dropout", TL_BFLOAT16, run_dropout<tl_bfloat16>, nullptr},
    {"dropout", TL_FLOAT32, run_dropout<float>, nullptr},
    {"dropout", TL_FLOAT64, run_dropout<double>, nullptr},
};
#undef TL_FILL

} // namespace
} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_random_entries(int *count) {
    *count = static_cast<int>(sizeof(tl::entries) / sizeof(tl::entries[0]));
    return tl::entries;
}
