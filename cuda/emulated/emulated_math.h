// CUDA's device functions on numbers and bits, after the attributes are defined.
#pragma once

#define TL_EMULATED_CAST(name, To, From)                                               \
    inline To name(From x) { return emulated::bits_as<To>(x); }
TL_EMULATED_CAST(__float_as_int, int, float)
TL_EMULATED_CAST(__float_as_uint, unsigned, float)
TL_EMULATED_CAST(__int_as_float, float, int)
TL_EMULATED_CAST(__uint_as_float, float, unsigned)
TL_EMULATED_CAST(__double_as_longlong, long long, double)
TL_EMULATED_CAST(__longlong_as_double, double, long long)
#undef TL_EMULATED_CAST
inline double __hiloint2double(int high, int low) {
    return emulated::bits_as<double>(static_cast<uint64_t>(static_cast<uint32_t>(high))
                                         << 32 |
                                     static_cast<uint32_t>(low));
}
inline int __double2hiint(double x) {
    return static_cast<int>(emulated::bits_as<uint64_t>(x) >> 32);
}
inline int __double2loint(double x) {
    return static_cast<int>(emulated::bits_as<uint64_t>(x));
}

// ---- integers -------------------------------------------------------------------
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline unsigned __brev(unsigned x) {
    unsigned found = 0;
    for (int i = 0; i < 32; ++i)
        found |= (x >> i & 1) << (31 - i);
    return found;
}
inline unsigned long long __brevll(unsigned long long x) {
    return static_cast<unsigned long long>(__brev(static_cast<unsigned>(x))) << 32 |
           __brev(static_cast<unsigned>(x >> 32));
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
inline int __mulhi(int a, int b) {
    return static_cast<int>(static_cast<int64_t>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline long long __mul64hi(long long a, long long b) {
    return static_cast<long long>(static_cast<__int128>(a) * b >> 64);
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const uint64_t both = static_cast<uint64_t>(y) << 32 | x;
    unsigned found = 0;
    for (int i = 0; i < 4; ++i)
        found |= static_cast<unsigned>(both >> 8 * (selector >> 4 * i & 7) & 0xff)
                 << 8 * i;
    return found;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>(
        (static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >>
                                 (shift & 31));
}

// min and max of numbers; of floating ones the number wins over NaN, as in CUDA.
template <typename A, typename B,
          typename = std::enable_if_t<std::is_arithmetic<A>::value &&
                                      std::is_arithmetic<B>::value>>
std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point<T>::value)
        return std::fmin(T(a), T(b));
    else
        return T(a) < T(b) ? T(a) : T(b);
}
template <typename A, typename B,
          typename = std::enable_if_t<std::is_arithmetic<A>::value &&
                                      std::is_arithmetic<B>::value>>
std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point<T>::value)
        return std::fmax(T(a), T(b));
    else
        return T(a) > T(b) ? T(a) : T(b);
}

// ---- floating numbers -----------------------------------------------------------
#define TL_EMULATED_FLOATS(T, prefix, suffix)                                          \
    inline T __##prefix##add_rn(T a, T b) { return a + b; }                            \
    inline T __##prefix##sub_rn(T a, T b) { return a - b; }                            \
    inline T __##prefix##mul_rn(T a, T b) { return a * b; }                            \
    inline T __##prefix##div_rn(T a, T b) { return a / b; }                            \
    inline T __##prefix##rcp_rn(T a) { return T(1) / a; }                              \
    inline T __##prefix##sqrt_rn(T a) { return std::sqrt(a); }                         \
    inline T __fma##suffix##_rn(T a, T b, T c) { return std::fma(a, b, c); }           \
    inline T rsqrt##suffix(T a) { return T(1) / std::sqrt(a); }
TL_EMULATED_FLOATS(float, f, f)
TL_EMULATED_FLOATS(double, d, )
#undef TL_EMULATED_FLOATS
inline float __frsqrt_rn(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
inline float normcdff(float x) { return 0.5f * std::erfc(-x * 0.70710678f); }
inline double normcdf(double x) { return 0.5 * std::erfc(-x * 0.7071067811865476); }
// glibc declares functions of these names, so macros.
#define __expf(x) std::exp(static_cast<float>(x))
#define __exp2f(x) std::exp2(static_cast<float>(x))
#define __exp10f(x) std::pow(10.0f, static_cast<float>(x))
#define __logf(x) std::log(static_cast<float>(x))
#define __log2f(x) std::log2(static_cast<float>(x))
#define __log10f(x) std::log10(static_cast<float>(x))
#define __sinf(x) std::sin(static_cast<float>(x))
#define __cosf(x) std::cos(static_cast<float>(x))
#define __tanf(x) std::tan(static_cast<float>(x))
#define __powf(x, y) std::pow(static_cast<float>(x), static_cast<float>(y))

namespace emulated {
template <typename To, typename From> To rounded(From x) { // saturates, NaN is 0
    if (x != x) return 0;
    const From low = static_cast<From>(std::numeric_limits<To>::min());
    const From high = static_cast<From>(std::numeric_limits<To>::max());
    if (x <= low) return std::numeric_limits<To>::min();
    if (x >= high) return std::numeric_limits<To>::max();
    return static_cast<To>(x);
}
} // namespace emulated
#define TL_EMULATED_ROUNDED(name, To, From)                                            \
    inline To __##name##_rn(From x) {                                                  \
        return emulated::rounded<To>(std::nearbyint(x));                               \
    }                                                                                  \
    inline To __##name##_rz(From x) { return emulated::rounded<To>(std::trunc(x)); }   \
    inline To __##name##_rd(From x) { return emulated::rounded<To>(std::floor(x)); }   \
    inline To __##name##_ru(From x) { return emulated::rounded<To>(std::ceil(x)); }
TL_EMULATED_ROUNDED(float2int, int, float)
TL_EMULATED_ROUNDED(float2uint, unsigned, float)
TL_EMULATED_ROUNDED(float2ll, long long, float)
TL_EMULATED_ROUNDED(float2ull, unsigned long long, float)
TL_EMULATED_ROUNDED(double2int, int, double)
TL_EMULATED_ROUNDED(double2uint, unsigned, double)
TL_EMULATED_ROUNDED(double2ll, long long, double)
TL_EMULATED_ROUNDED(double2ull, unsigned long long, double)
#undef TL_EMULATED_ROUNDED
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
inline double __ll2double_rn(long long x) { return static_cast<double>(x); }
inline double __ull2double_rn(unsigned long long x) { return static_cast<double>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

// ---- memory ---------------------------------------------------------------------
template <typename T> T __ldg(const T *p) { return *p; }
template <typename T> T __ldca(const T *p) { return *p; }
template <typename T> T __ldcg(const T *p) { return *p; }
template <typename T> T __ldcs(const T *p) { return *p; }
template <typename T> T __ldcv(const T *p) { return *p; }
template <typename T> void __stwb(T *p, T x) { *p = x; }
template <typename T> void __stcg(T *p, T x) { *p = x; }
template <typename T> void __stcs(T *p, T x) { *p = x; }
template <typename T> void __stwt(T *p, T x) { *p = x; }
