// Counter-based random fills; the contract is written in scalar_random.h.
//
// A thread computes one Threefry block and writes its two or four elements together. The
// logarithms and sines of normals are the CPU's polynomials, so that numbers have the same
// bits on both, up to which products are fused with a sum.
#define TL_PORTABLE_MATH
#include "numbers.cuh"

#include "tensorlib/scalar_random.h"

#include <cmath>

namespace tl { // not by a using directive: ::sin would become ambiguous in CUDA's headers
namespace {

struct Words {
    uint32_t at[4];
    __device__ uint64_t pair(int k) const { return join_words(at[2 * k], at[2 * k + 1]); }
};

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
            else out[k] = uniform_between(unit_interval(words.pair(k)), low, high, last);
        }
    }
};

template <typename T> struct Normal {
    using Computed = computed_t<T>;
    static constexpr int kElements = sizeof(T) == 8 ? 2 : 4;
    Computed mean, deviation;
    explicit Normal(const tl_random_params &p)
        : mean(static_cast<Computed>(p.low)), deviation(static_cast<Computed>(p.high)) {}
    __device__ void fill(const Words &words, T *out) const {
        Computed z[kElements];
        if constexpr (kElements == 4) {
            normal_pair(words.at[0], words.at[1], &z[0], &z[1]);
            normal_pair(words.at[2], words.at[3], &z[2], &z[3]);
        } else {
            normal_pair(words.pair(0), words.pair(1), &z[0], &z[1]);
        }
        for (int k = 0; k < kElements; ++k) store(out + k, mean + deviation * z[k]);
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
    uint64_t threshold = 0;
    explicit Bernoulli(const tl_random_params &p) {
        if (p.low >= 1.0) threshold = UINT64_C(1) << 32;
        else if (p.low > 0.0) threshold = static_cast<uint64_t>(p.low * 4294967296.0);
    }
    __device__ void fill(const Words &words, T *out) const {
        for (int k = 0; k < kElements; ++k)
            store(out + k, static_cast<computed_t<T>>(words.at[k] < threshold));
    }
};

struct Raw {
    static constexpr int kElements = 2;
    explicit Raw(const tl_random_params &) {}
    __device__ void fill(const Words &words, int64_t *out) const {
        for (int k = 0; k < kElements; ++k) out[k] = static_cast<int64_t>(words.pair(k));
    }
};

template <typename T, typename Kind> struct Fill {
    T *out;
    int64_t n;
    uint64_t seed, first; // block
    bool aligned;
    Kind kind;
    __device__ void operator()(int64_t block) const {
        constexpr int kElements = Kind::kElements;
        const uint64_t counter = first + static_cast<uint64_t>(block);
        Words words = {{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                        0, 0}};
        threefry4x32(words.at[0], words.at[1], words.at[2], words.at[3],
                     static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), 0, 0);
        Pack<T, kElements> found;
        kind.fill(words, found.at);
        const int64_t start = block * kElements;
        if (aligned && start + kElements <= n) {
            *reinterpret_cast<Pack<T, kElements> *>(out + start) = found;
            return;
        }
        for (int k = 0; k < kElements; ++k)
            if (start + k < n) out[start + k] = found.at[k];
    }
};

template <typename T, typename Kind> tl_status run_fill(const tl_call *call) {
    const auto &params = *static_cast<const tl_random_params *>(call->params);
    T *out = static_cast<T *>(call->out[0]->data);
    const int64_t n = call->out[0]->size;
    return for_each(ceil_div(n, Kind::kElements),
                    Fill<T, Kind>{out, n, params.seed, params.offset,
                                  is_aligned(out, sizeof(T) * Kind::kElements),
                                  Kind(params)});
}

#define TL_FILL(op, dtype, T, Kind) {op, dtype, run_fill<T, Kind>, nullptr},

const tl_cuda_entry entries[] = {
    TL_FILL("random_uniform", TL_FLOAT32, float, Uniform<float>)
    TL_FILL("random_uniform", TL_FLOAT64, double, Uniform<double>)
    TL_FILL("random_normal", TL_FLOAT16, tl_float16, Normal<tl_float16>)
    TL_FILL("random_normal", TL_BFLOAT16, tl_bfloat16, Normal<tl_bfloat16>)
    TL_FILL("random_normal", TL_FLOAT32, float, Normal<float>)
    TL_FILL("random_normal", TL_FLOAT64, double, Normal<double>)
    TL_FILL("random_integers", TL_INT8, int8_t, Integers<int8_t>)
    TL_FILL("random_integers", TL_INT16, int16_t, Integers<int16_t>)
    TL_FILL("random_integers", TL_INT32, int32_t, Integers<int32_t>)
    TL_FILL("random_integers", TL_INT64, int64_t, Integers<int64_t>)
    TL_FILL("random_integers", TL_UINT8, uint8_t, Integers<uint8_t>)
    TL_FILL("random_integers", TL_UINT16, uint16_t, Integers<uint16_t>)
    TL_FILL("random_integers", TL_UINT32, uint32_t, Integers<uint32_t>)
    TL_FILL("random_bernoulli", TL_BOOL, bool, Bernoulli<bool>)
    TL_FILL("random_bernoulli", TL_FLOAT16, tl_float16, Bernoulli<tl_float16>)
    TL_FILL("random_bernoulli", TL_BFLOAT16, tl_bfloat16, Bernoulli<tl_bfloat16>)
    TL_FILL("random_bernoulli", TL_FLOAT32, float, Bernoulli<float>)
    TL_FILL("random_bernoulli", TL_FLOAT64, double, Bernoulli<double>)
    TL_FILL("random_raw", TL_INT64, int64_t, Raw)
};
#undef TL_FILL

} // namespace
} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_random_entries(int *count) {
    *count = static_cast<int>(sizeof(tl::entries) / sizeof(tl::entries[0]));
    return tl::entries;
}
