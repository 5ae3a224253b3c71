/* Blocks turned around: what transposed operands and copies are made of.
 *
 * A tile of a square number of elements, one vector a line, is transposed in registers:
 * a line and the one half the tile further are interleaved, to a pair of lines, in as
 * many rounds as halve the tile to one line. A plain loop stores element by element.
 * Elements are told by size alone; vectors have 16 bytes, which every processor has.
 */
#ifndef TENSORLIB_TURN_H
#define TENSORLIB_TURN_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint8_t tl_lane1 __attribute__((vector_size(16)));
typedef uint16_t tl_lane2 __attribute__((vector_size(16)));
typedef uint32_t tl_lane4 __attribute__((vector_size(16)));
typedef uint64_t tl_lane8 __attribute__((vector_size(16)));

#define TL_LOW1 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define TL_HIGH1 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define TL_LOW2 0, 8, 1, 9, 2, 10, 3, 11
#define TL_HIGH2 4, 12, 5, 13, 6, 14, 7, 15
#define TL_LOW4 0, 4, 1, 5
#define TL_HIGH4 2, 6, 3, 7
#define TL_LOW8 0, 2
#define TL_HIGH8 1, 3

/* Lines stay in registers: as memory, copied in larger pieces, they would wait for
 * their own stores. */
#define TL_TURN_UNROLL _Pragma("GCC unroll 16")

/* tl_turn_<size>: block[i * width + j] = source[j * step + i] for i < rows, j <
 * columns; step and width in elements. */
#define TL_DEFINE_TURN(SIZE, TYPE, LANES)                                              \
    static inline void tl_turn_tile_##SIZE(const TYPE *source, int64_t step,           \
                                           TYPE *block, int64_t width) {               \
        tl_lane##SIZE line[LANES], pairs[LANES];                                       \
        TL_TURN_UNROLL                                                                 \
        for (int j = 0; j < LANES; j++)                                                \
            memcpy(&line[j], source + j * step, 16);                                   \
        TL_TURN_UNROLL                                                                 \
        for (int round = 1; round < LANES; round *= 2) {                               \
            TL_TURN_UNROLL                                                             \
            for (int j = 0; j < LANES / 2; j++) {                                      \
                pairs[2 * j] = __builtin_shufflevector(line[j], line[j + LANES / 2],   \
                                                       TL_LOW##SIZE);                  \
                pairs[2 * j + 1] = __builtin_shufflevector(                            \
                    line[j], line[j + LANES / 2], TL_HIGH##SIZE);                      \
            }                                                                          \
            TL_TURN_UNROLL                                                             \
            for (int j = 0; j < LANES; j++)                                            \
                line[j] = pairs[j];                                                    \
        }                                                                              \
        TL_TURN_UNROLL                                                                 \
        for (int i = 0; i < LANES; i++)                                                \
            memcpy(block + i * width, &line[i], 16);                                   \
    }                                                                                  \
    static inline void tl_turn_##SIZE(const TYPE *source, int64_t step, int64_t rows,  \
                                      int64_t columns, TYPE *block, int64_t width) {   \
        const int64_t whole = rows - rows % LANES, tiles = columns - columns % LANES;  \
        for (int64_t j = 0; j < tiles; j += LANES) {                                   \
            for (int64_t i = 0; i < whole; i += LANES)                                 \
                tl_turn_tile_##SIZE(source + j * step + i, step,                       \
                                    block + i * width + j, width);                     \
            for (int64_t k = j; k < j + LANES; k++)                                    \
                for (int64_t i = whole; i < rows; i++)                                 \
                    block[i * width + k] = source[k * step + i];                       \
        }                                                                              \
        for (int64_t j = tiles; j < columns; j++)                                      \
            for (int64_t i = 0; i < rows; i++)                                         \
                block[i * width + j] = source[j * step + i];                           \
    }

TL_DEFINE_TURN(1, uint8_t, 16)
TL_DEFINE_TURN(2, uint16_t, 8)
TL_DEFINE_TURN(4, uint32_t, 4)
TL_DEFINE_TURN(8, uint64_t, 2)

/* The same for elements of itemsize bytes, 1, 2, 4 or 8; step and width in elements. */
static inline void tl_turn(const void *source, int64_t step, int64_t itemsize,
                           int64_t rows, int64_t columns, void *block, int64_t width) {
    if (itemsize == 1)
        tl_turn_1((const uint8_t *)source, step, rows, columns, (uint8_t *)block,
                  width);
    else if (itemsize == 2)
        tl_turn_2((const uint16_t *)source, step, rows, columns, (uint16_t *)block,
                  width);
    else if (itemsize == 4)
        tl_turn_4((const uint32_t *)source, step, rows, columns, (uint32_t *)block,
                  width);
    else
        tl_turn_8((const uint64_t *)source, step, rows, columns, (uint64_t *)block,
                  width);
}

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_TURN_H */
