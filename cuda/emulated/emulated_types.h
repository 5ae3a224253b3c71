// CUDA's vector types.
#pragma once

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

#define TL_EMULATED_VECTORS(name, T, align2, align4)                                   \
    struct name##1 {                                                                   \
        T x;                                                                           \
    };                                                                                 \
    struct alignas(align2) name##2 {                                                   \
        T x, y;                                                                        \
    };                                                                                 \
    struct alignas(align4) name##4 {                                                   \
        T x, y, z, w;                                                                  \
    };                                                                                 \
    inline name##1 make_##name##1(T x) { return {x}; }                                 \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                         \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }         \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }
#define TL_EMULATED_TRIPLE(name, T)                                                    \
    struct name##3 {                                                                   \
        T x, y, z;                                                                     \
    };
TL_EMULATED_TRIPLE(char, signed char)
TL_EMULATED_TRIPLE(uchar, unsigned char)
TL_EMULATED_TRIPLE(short, short)
TL_EMULATED_TRIPLE(ushort, unsigned short)
TL_EMULATED_TRIPLE(int, int)
TL_EMULATED_TRIPLE(float, float)
TL_EMULATED_TRIPLE(double, double)
TL_EMULATED_TRIPLE(longlong, long long)
TL_EMULATED_TRIPLE(ulonglong, unsigned long long)
TL_EMULATED_VECTORS(char, signed char, 2, 4)
TL_EMULATED_VECTORS(uchar, unsigned char, 2, 4)
TL_EMULATED_VECTORS(short, short, 4, 8)
TL_EMULATED_VECTORS(ushort, unsigned short, 4, 8)
TL_EMULATED_VECTORS(int, int, 8, 16)
TL_EMULATED_VECTORS(uint, unsigned, 8, 16)
TL_EMULATED_VECTORS(float, float, 8, 16)
TL_EMULATED_VECTORS(double, double, 16, 16)
TL_EMULATED_VECTORS(longlong, long long, 16, 16)
TL_EMULATED_VECTORS(ulonglong, unsigned long long, 16, 16)
#undef TL_EMULATED_VECTORS
#undef TL_EMULATED_TRIPLE
