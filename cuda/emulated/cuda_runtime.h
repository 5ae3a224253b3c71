// CUDA for a plain C++ compiler: kernels run on the CPU, one block at a time, each
// thread of a block a fiber. g++ -x c++ -DTL_CUDA_EMULATED -Icuda/emulated -Iinclude
// FILE.cu
//
// It is stricter than a GPU where that finds mistakes: fresh memory holds 0xff bytes,
// writes just outside of an allocation are found (tl_emulated_check), a barrier that
// not every thread reaches fails the launch with a message, what CUDA leaves undefined
// in a shuffle is 0xff bytes, and overloads that nvcc does not have are missing here
// too.
#pragma once

// libstdc++ spells attributes __noinline__: its headers come before the macro.
#include <algorithm>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "emulated_api.h"
#include "emulated_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __cluster_dims__(...)
// One block runs at a time (launches hold a lock), so its shared memory is a static.
#define __shared__ static
#define __builtin_assume(condition) ((void)0)

#pragma GCC visibility push(hidden)

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulated {

// What threads of a warp do together; lanes of one mask must all do the same.
enum class Together { sync, shuffle, ballot, match, reduce };

// The lanes of one mask at one operation, and what each brought.
struct Gathering {
    unsigned mask;
    unsigned arrived;
    unsigned unread;
    bool complete;
    Together what;
    uint64_t values[32];
};

cudaError_t start(dim3 grid, dim3 block, size_t shared, std::function<void()> body,
                  const char *name);
void *shared_memory();
int barrier(int kind, int predicate); // kind: 0 none, 1 or, 2 and, 3 count
int lane();
Gathering *gather(unsigned mask, Together what, uint64_t value); // waits for the lanes
void leave(Gathering *gathering);
void fail(const char *why); // ends the launch; does not return

template <typename Body>
cudaError_t launch(dim3 grid, dim3 block, size_t shared, Body body) {
    return start(grid, block, shared, body, __PRETTY_FUNCTION__);
}

template <typename To, typename From> To bits_as(From from) {
    To to = {};
    std::memcpy(&to, &from, sizeof(From) < sizeof(To) ? sizeof(From) : sizeof(To));
    return to;
}

// What `source(lane)` brought; undefined where that lane takes no part: all bits set
// here.
template <typename T, typename Source>
auto exchange(unsigned mask, T value, Source source) {
    using Passed = decltype(+value); // narrow integers travel as int
    static_assert(std::is_arithmetic<T>::value && sizeof(Passed) <= 8,
                  "CUDA shuffles numbers of 4 and 8 bytes only");
    const Passed passed = value;
    const int from = source(lane());
    Gathering *all = gather(mask, Together::shuffle, bits_as<uint64_t>(passed));
    const Passed found =
        bits_as<Passed>(all->arrived >> from & 1 ? all->values[from] : ~UINT64_C(0));
    leave(all);
    return found;
}

// f(values, lanes) of the lanes of the mask.
template <typename F> auto together(unsigned mask, Together what, uint64_t value, F f) {
    Gathering *all = gather(mask, what, value);
    const auto found = f(all->values, all->arrived);
    leave(all);
    return found;
}

template <typename T, typename Combine>
T reduce(unsigned mask, T value, Combine combine) {
    return together(mask, Together::reduce, bits_as<uint64_t>(value),
                    [&](const uint64_t *values, unsigned lanes) {
                        bool first = true;
                        T sum = {};
                        for (int i = 0; i < 32; ++i) {
                            if (!(lanes >> i & 1)) continue;
                            const T x = bits_as<T>(values[i]);
                            sum = first ? x : combine(sum, x);
                            first = false;
                        }
                        return sum;
                    });
}

inline unsigned ballot(unsigned mask, bool predicate) {
    return together(mask, Together::ballot, predicate,
                    [](const uint64_t *values, unsigned lanes) {
                        unsigned found = 0;
                        for (int i = 0; i < 32; ++i)
                            if (lanes >> i & 1) found |= unsigned(values[i] != 0) << i;
                        return found;
                    });
}

} // namespace emulated

// ---- barriers, warps ------------------------------------------------------------
inline void __syncthreads() { emulated::barrier(0, 0); }
inline int __syncthreads_or(int predicate) { return emulated::barrier(1, predicate); }
inline int __syncthreads_and(int predicate) { return emulated::barrier(2, predicate); }
inline int __syncthreads_count(int predicate) {
    return emulated::barrier(3, predicate);
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    emulated::leave(emulated::gather(mask, emulated::Together::sync, 0));
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}
inline void __trap() { emulated::fail("__trap()"); }
// Lanes need not run together: the one lane that is certain.
inline unsigned __activemask() { return 1u << emulated::lane(); }

template <typename T>
auto __shfl_sync(unsigned mask, T value, int from, int width = 32) {
    return emulated::exchange(mask, value, [=](int lane) {
        return (lane & ~(width - 1)) | (from & (width - 1));
    });
}
template <typename T>
auto __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    return emulated::exchange(mask, value, [=](int lane) {
        const int from = lane ^ bits;
        return from > (lane | (width - 1)) ? lane : from;
    });
}
template <typename T>
auto __shfl_up_sync(unsigned mask, T value, unsigned apart, int width = 32) {
    return emulated::exchange(mask, value, [=](int lane) {
        const int from = lane - static_cast<int>(apart);
        return from < (lane & ~(width - 1)) ? lane : from;
    });
}
template <typename T>
auto __shfl_down_sync(unsigned mask, T value, unsigned apart, int width = 32) {
    return emulated::exchange(mask, value, [=](int lane) {
        const int from = lane + static_cast<int>(apart);
        return from > (lane | (width - 1)) ? lane : from;
    });
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return emulated::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
    return emulated::ballot(mask, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
    return emulated::ballot(mask, predicate == 0) == 0;
}
template <typename T> unsigned __match_any_sync(unsigned mask, T value) {
    const uint64_t mine = emulated::bits_as<uint64_t>(value);
    return emulated::together(mask, emulated::Together::match, mine,
                              [=](const uint64_t *values, unsigned lanes) {
                                  unsigned found = 0;
                                  for (int i = 0; i < 32; ++i)
                                      if ((lanes >> i & 1) && values[i] == mine)
                                          found |= 1u << i;
                                  return found;
                              });
}
#define TL_EMULATED_REDUCE(name, T, formula)                                           \
    inline T name(unsigned mask, T value) {                                            \
        return emulated::reduce(mask, value, [](T a, T b) -> T { return formula; });   \
    }
TL_EMULATED_REDUCE(__reduce_add_sync, int, a + b)
TL_EMULATED_REDUCE(__reduce_add_sync, unsigned, a + b)
TL_EMULATED_REDUCE(__reduce_min_sync, int, a < b ? a : b)
TL_EMULATED_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
TL_EMULATED_REDUCE(__reduce_max_sync, int, a > b ? a : b)
TL_EMULATED_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
TL_EMULATED_REDUCE(__reduce_and_sync, unsigned, a &b)
TL_EMULATED_REDUCE(__reduce_or_sync, unsigned, a | b)
TL_EMULATED_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
#undef TL_EMULATED_REDUCE

// ---- atomics: blocks and threads take turns, so plain updates are atomic ----------
#define TL_EMULATED_ATOMIC(name, T, formula)                                           \
    inline T name(T *address, T value) {                                               \
        const T old = *address;                                                        \
        *address = formula;                                                            \
        return old;                                                                    \
    }
#define TL_EMULATED_ATOMICS(X, T)                                                      \
    X(atomicMin, T, value < old ? value : old)                                         \
    X(atomicMax, T, value > old ? value : old)                                         \
    X(atomicAnd, T, old &value)                                                        \
    X(atomicOr, T, old | value)                                                        \
    X(atomicXor, T, old ^ value)
TL_EMULATED_ATOMICS(TL_EMULATED_ATOMIC, int)
TL_EMULATED_ATOMICS(TL_EMULATED_ATOMIC, unsigned)
TL_EMULATED_ATOMICS(TL_EMULATED_ATOMIC, unsigned long long)
TL_EMULATED_ATOMIC(atomicMin, long long, value < old ? value : old)
TL_EMULATED_ATOMIC(atomicMax, long long, value > old ? value : old)
TL_EMULATED_ATOMIC(atomicAdd, int, old + value)
TL_EMULATED_ATOMIC(atomicAdd, unsigned, old + value)
TL_EMULATED_ATOMIC(atomicAdd, unsigned long long, old + value)
TL_EMULATED_ATOMIC(atomicAdd, float, old + value)
TL_EMULATED_ATOMIC(atomicAdd, double, old + value)
TL_EMULATED_ATOMIC(atomicSub, int, old - value)
TL_EMULATED_ATOMIC(atomicSub, unsigned, old - value)
TL_EMULATED_ATOMIC(atomicExch, int, value)
TL_EMULATED_ATOMIC(atomicExch, unsigned, value)
TL_EMULATED_ATOMIC(atomicExch, unsigned long long, value)
TL_EMULATED_ATOMIC(atomicExch, float, value)
TL_EMULATED_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
TL_EMULATED_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
#undef TL_EMULATED_ATOMICS
#undef TL_EMULATED_ATOMIC
#define TL_EMULATED_SWAP(T)                                                            \
    inline T atomicCAS(T *address, T expected, T value) {                              \
        const T old = *address;                                                        \
        if (old == expected) *address = value;                                         \
        return old;                                                                    \
    }
TL_EMULATED_SWAP(int)
TL_EMULATED_SWAP(unsigned)
TL_EMULATED_SWAP(unsigned long long)
TL_EMULATED_SWAP(unsigned short)
#undef TL_EMULATED_SWAP

#pragma GCC visibility pop

#include "emulated_math.h"
