/* The sum of a run of bytes, which counts what holds in a mask.
 *
 * Bytes add up in lanes of 16 bits, the even ones and the odd ones together. A lane
 * holds those of 128 vectors: 128 * 2 * 255 < 2^16.
 */
#ifndef TENSORLIB_BYTE_LANES_H
#define TENSORLIB_BYTE_LANES_H

#include "tensorlib/lanes.h"

namespace tl {

/* The last `rest` bytes before `end`, each in its lane, and zeros. */
inline lanes<uint16_t>::vector last_bytes(const uint8_t *end, int64_t rest) {
    typedef lanes<uint16_t>::vector vector;
    static const vector kept[2] = {vector{}, ~vector{}};
    vector v, mask;
    memcpy(&v, end - LANE_BYTES, sizeof v);
    memcpy(&mask, (const uint8_t *)kept + rest, sizeof v);
    return v & mask;
}

/* Of a vector's bytes at least, and 128 vectors at most. */
inline int64_t sum_byte_vectors(const uint8_t *x, int64_t n) {
    lanes<uint16_t>::vector pairs = {}, v;
    int64_t i = 0;
    for (; i + LANE_BYTES <= n; i += LANE_BYTES) {
        memcpy(&v, x + i, sizeof v);
        pairs += (v & 255) + (v >> 8);
    }
    if (i < n) {
        v = last_bytes(x + n, n - i);
        pairs += (v & 255) + (v >> 8);
    }
    uint32_t total = 0;
    for (int l = 0; l < LANE_BYTES / 2; l++)
        total += pairs[l];
    return total;
}

inline int64_t sum_bytes(const uint8_t *x, int64_t n) {
    int64_t total = 0;
    while (n >= LANE_BYTES) {
        const int64_t some = n < 128 * LANE_BYTES ? n : 128 * LANE_BYTES;
        total += sum_byte_vectors(x, some);
        x += some;
        n -= some;
    }
    for (int64_t i = 0; i < n; i++)
        total += x[i];
    return total;
}

} // namespace tl

#endif
