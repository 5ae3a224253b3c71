/* Places that index tuples name: element offsets in an indexed tensor x, and in v, what
 * is read from it or written to it. Found a block at a time by loops that vectorize.
 *
 * A negative position counts from the end of its axis. Each loop that reads positions
 * tells whether all were in range; only then are the places any good.
 */
#ifndef TENSORLIB_PLACES_H
#define TENSORLIB_PLACES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TL_PLACES_BLOCK = 512 }; /* tuples; three arrays of 4 KiB */

typedef struct tl_places {
    int64_t n;
    int64_t x[TL_PLACES_BLOCK];
    int64_t v[TL_PLACES_BLOCK];
    int64_t wide[TL_PLACES_BLOCK]; /* positions that are int32, or apart in memory */
} tl_places;

/* From a place on, position p times stride; the sign of *outside is set where p is out
 * of range, and the place any. */
static inline int64_t tl_place(int64_t from, int64_t p, int64_t length, int64_t stride,
                               int64_t *outside) {
    p += p < 0 ? length : 0;
    *outside |= p | (int64_t)((uint64_t)(length - 1) - (uint64_t)p);
    return (int64_t)((uint64_t)from + (uint64_t)p * (uint64_t)stride);
}

/* Places begin..begin + n of tuples by their first position, from x and v by steps. */
static inline int tl_places_start(tl_places *places, int64_t begin, int64_t n,
                                  const int64_t *positions, int64_t length,
                                  int64_t stride, int64_t x, int64_t x_step, int64_t v,
                                  int64_t v_step) {
    int64_t *x_places = places->x + begin, *v_places = places->v + begin, outside = 0;
    for (int64_t j = 0; j < n; ++j) {
        x_places[j] = tl_place(x + j * x_step, positions[j], length, stride, &outside);
        v_places[j] = v + j * v_step;
    }
    return outside >= 0;
}

/* Add what a further position contributes. */
static inline int tl_places_add(tl_places *places, int64_t begin, int64_t n,
                                const int64_t *positions, int64_t length,
                                int64_t stride) {
    int64_t *x_places = places->x + begin, outside = 0;
    for (int64_t j = 0; j < n; ++j)
        x_places[j] = tl_place(x_places[j], positions[j], length, stride, &outside);
    return outside >= 0;
}

/* n positions as adjoining int64: where they are, or a copy. */
static inline const int64_t *tl_places_widen(tl_places *places, const void *positions,
                                             int narrow, int64_t step, int64_t n) {
    const int32_t *narrow_ones = (const int32_t *)positions;
    const int64_t *wide_ones = (const int64_t *)positions;
    if (!narrow && step == 1) return wide_ones;
    if (narrow && step == 1) {
        for (int64_t j = 0; j < n; ++j)
            places->wide[j] = narrow_ones[j];
    } else {
        for (int64_t j = 0; j < n; ++j)
            places->wide[j] = narrow ? narrow_ones[j * step] : wide_ones[j * step];
    }
    return places->wide;
}

/* Leave the tuples that name low..high of x, in their order. No branch on the place:
 * random ones would be mispredicted. */
static inline void tl_places_keep(tl_places *places, int64_t low, int64_t high) {
    int64_t kept = 0;
    for (int64_t k = 0; k < places->n; ++k) {
        const int64_t x = places->x[k], v = places->v[k];
        places->x[kept] = x;
        places->v[kept] = v;
        kept += (x >= low) & (x < high);
    }
    places->n = kept;
}

#ifdef __cplusplus
}
#endif

#endif
