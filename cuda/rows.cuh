// What reductions, scans and kernels over rows share: parts of a buffer's axes as
// walks, and groups of threads (some lanes of a warp, or a block) that reduce a row
// together.
#pragma once

#include <cstring>

#include "layout.cuh"
#include "numbers.cuh"
#include "tensorlib/scalar_math.h"
#include "warp.cuh"

namespace tl {

inline uint32_t power_of_two_above(int64_t n) { // the least one >= n
    uint32_t found = 1;
    while (found < n)
        found *= 2;
    return found;
}

// Axes first .. first + count of a buffer, as a buffer of its own.
inline tl_buffer axes_of(const tl_buffer *buffer, int first, int count) {
    tl_buffer part;
    part.data = buffer->data;
    part.ndim = static_cast<int16_t>(count);
    part.size = 1;
    for (int d = 0; d < count; ++d) {
        part.shape[d] = buffer->shape[first + d];
        part.strides[d] = buffer->strides[first + d];
        part.size *= part.shape[d];
    }
    return part;
}

// Offsets of K operands at positions 0 <= i < count < 2^31; any strides.
template <int K> struct Walk {
    int ndim = 0;
    uint32_t count = 1;
    Divider shape[kMaxMerged];
    int64_t strides[kMaxMerged][K];

    // False where kernels do not take the layout. Dimensions before `first` are left
    // out.
    bool set(const Layout<K> &layout, int first = 0) {
        int64_t size = 1;
        ndim = 0;
        for (int d = first; d < layout.ndim; ++d, ++ndim) {
            size *= layout.shape[d];
            if (ndim == kMaxMerged || size >= INT64_C(1) << 31) return false;
            shape[ndim] = Divider::by(static_cast<uint32_t>(layout.shape[d]));
            for (int k = 0; k < K; ++k)
                strides[ndim][k] = layout.strides[d][k];
        }
        count = static_cast<uint32_t>(size);
        return true;
    }
    __device__ void at(uint32_t i, int64_t (&found)[K]) const {
#pragma unroll
        for (int k = 0; k < K; ++k)
            found[k] = 0;
#pragma unroll 1
        for (int d = 0; d < ndim - 1; ++d) {
            const uint32_t q = shape[d].quotient(i), r = i - q * shape[d].divisor;
            i = q;
#pragma unroll
            for (int k = 0; k < K; ++k)
                found[k] += r * strides[d][k];
        }
        if (ndim == 0) return;
#pragma unroll
        for (int k = 0; k < K; ++k)
            found[k] += i * strides[ndim - 1][k];
    }
    __device__ int64_t at(uint32_t i) const {
        int64_t found[K];
        at(i, found);
        return found[0];
    }
};

// A state of several words from the lane `apart` away.
template <typename S> __device__ __forceinline__ S shuffle_xor(S value, int apart) {
    static_assert(sizeof(S) % 4 == 0, "states travel as words of 32 bits");
    uint32_t words[sizeof(S) / 4];
    memcpy(words, &value, sizeof(S));
#pragma unroll
    for (unsigned i = 0; i < sizeof(S) / 4; ++i)
        words[i] = __shfl_xor_sync(kAllLanes, words[i], apart);
    memcpy(&value, words, sizeof(S));
    return value;
}

template <typename S> __device__ __forceinline__ S shuffle_first(S value) {
    uint32_t words[sizeof(S) / 4];
    memcpy(words, &value, sizeof(S));
#pragma unroll
    for (unsigned i = 0; i < sizeof(S) / 4; ++i)
        words[i] = __shfl_sync(kAllLanes, words[i], 0);
    memcpy(&value, words, sizeof(S));
    return value;
}

// Joins the states of a group of `lanes` threads: a power of two up to 32, or the whole
// block, of full warps. Every thread gets the result where join is commutative, to the
// bit; otherwise the group's first. All threads of the block must call it.
template <typename S, typename Join>
__device__ __forceinline__ S group_reduce(S value, int lanes, const Join &join) {
    const int within = lanes < kWarp ? lanes : kWarp;
#pragma unroll 1
    for (int apart = 1; apart < within; apart *= 2)
        value = join(value, shuffle_xor(value, apart));
    if (lanes <= kWarp) return value;
    __shared__ S partial[kWarp];
    const int lane = threadIdx.x % kWarp, warps = lanes / kWarp;
    __syncthreads(); // an earlier call's readers are done
    if (lane == 0) partial[threadIdx.x / kWarp] = value;
    __syncthreads();
    // Lanes without a warp take no part; going up from 1, lane 0 misses none.
    value = partial[lane < warps ? lane : 0];
#pragma unroll 1
    for (int apart = 1; apart < warps; apart *= 2) {
        const S other = shuffle_xor(value, apart);
        if ((lane ^ apart) < warps) value = join(value, other);
    }
    return shuffle_first(value);
}

// Reads P neighbours in one access and widens them.
template <int P, typename T>
__device__ __forceinline__ void load_pack(const T *x, computed_t<T> *values) {
    const Pack<T, P> pack = *reinterpret_cast<const Pack<T, P> *>(x);
#pragma unroll
    for (int j = 0; j < P; ++j)
        values[j] = load(&pack.at[j]);
}
template <int P, typename T>
__device__ __forceinline__ void store_pack(T *y, const computed_t<T> *values) {
    Pack<T, P> pack;
#pragma unroll
    for (int j = 0; j < P; ++j)
        store(&pack.at[j], values[j]);
    *reinterpret_cast<Pack<T, P> *>(y) = pack;
}

// N numbers (a power of two) summed in pairs.
template <int N, typename V>
__device__ __forceinline__ V pairwise_sum(const V *values) {
    if constexpr (N == 1) {
        return values[0];
    } else {
        return pairwise_sum<N / 2>(values) + pairwise_sum<N / 2>(values + N / 2);
    }
}

template <typename V> __device__ __forceinline__ V infinity();
template <> __device__ __forceinline__ float infinity<float>() {
    return tl_float_of_bits(0x7f800000u);
}
template <> __device__ __forceinline__ double infinity<double>() {
    return static_cast<double>(tl_float_of_bits(0x7f800000u));
}
template <typename V> __device__ __forceinline__ V larger(V a, V b) {
    return max(a, b); // CUDA's: a number before NaN
}

// e^x for elements of T; of 16-bit numbers, whose rounding hides its error, the
// processor's.
template <typename T>
__device__ __forceinline__ computed_t<T> exp_for(computed_t<T> x) {
    if constexpr (sizeof(T) == 2)
        return exp2_fast(1.4426950408889634f * x);
    else
        return tl::exp(x);
}

// What exponentials add up to, their largest argument taken out.
template <typename V> struct Exponentials {
    V largest; // -inf before any
    V sum;     // of exp(x - shift())
    __device__ V shift() const {
        return largest - largest == 0 ? largest : V(0); // infinities shift nothing
    }
};
template <typename V> __device__ __forceinline__ Exponentials<V> no_exponentials() {
    return {-infinity<V>(), V(0)};
}

// exp(from - to) for from <= to, infinities included.
template <typename V> __device__ __forceinline__ V decay(V from, V to) {
    return from == to ? V(1) : tl::exp_nonpositive(from - to);
}
template <typename V>
__device__ __forceinline__ Exponentials<V> join_exponentials(const Exponentials<V> &a,
                                                             const Exponentials<V> &b) {
    const V now = larger(a.largest, b.largest);
    return {now, a.sum * decay(a.largest, now) + b.sum * decay(b.largest, now)};
}
struct Larger {
    template <typename V> __device__ V operator()(V a, V b) const {
        return larger(a, b);
    }
};
// Those of a group of threads, as group_reduce. The largest comes first: so each thread
// has one exponential to compute, where joining pairs takes two at every step.
template <typename V>
__device__ __forceinline__ Exponentials<V>
group_exponentials(const Exponentials<V> &own, int lanes) {
    const V largest = group_reduce(own.largest, lanes, Larger{});
    const V sum = own.sum * decay(own.largest, largest);
    return {largest, group_reduce(sum, lanes, Sum{})};
}
template <int N, typename T, typename V>
__device__ __forceinline__ void add_exponentials(Exponentials<V> &state,
                                                 const V *values) {
    V now = state.largest, terms[N];
#pragma unroll
    for (int j = 0; j < N; ++j)
        now = larger(now, values[j]);
    state.sum *= decay(state.largest, now);
    state.largest = now;
    const V shift = state.shift();
#pragma unroll
    for (int j = 0; j < N; ++j)
        terms[j] = exp_for<T>(values[j] - shift);
    state.sum += pairwise_sum<N>(terms);
}

// Mean, sum of squared deviations from it, and count.
template <typename V> struct Moments { V mean, squares, count; };
// Chan, Golub and LeVeque (1979), equation 2.1.
template <typename V>
__device__ __forceinline__ Moments<V> join_moments(const Moments<V> &a,
                                                   const Moments<V> &b) {
    if (b.count == 0) return a;
    const V count = a.count + b.count, part = b.count / count, delta = b.mean - a.mean;
    return {a.mean + delta * part,
            a.squares + b.squares + delta * delta * a.count * part, count};
}
// Moments about `shift`, a number of the row itself: nothing is lost where the mean is
// large beside the deviations.
template <int N, typename V>
__device__ __forceinline__ void add_moments(Moments<V> &state, const V *values,
                                            V shift) {
    V moved[N];
#pragma unroll
    for (int j = 0; j < N; ++j)
        moved[j] = values[j] - shift;
    const V mean = pairwise_sum<N>(moved) / N;
#pragma unroll
    for (int j = 0; j < N; ++j)
        moved[j] = (moved[j] - mean) * (moved[j] - mean);
    state = join_moments(state, Moments<V>{mean, pairwise_sum<N>(moved), V(N)});
}

} // namespace tl
