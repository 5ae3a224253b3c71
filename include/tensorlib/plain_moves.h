/* Moving elements that adjoin in v, by positions that adjoin, to or from a run of
 * `length` elements at x. In one pass: to find places first would read positions twice.
 * Each function returns 0, with a part moved, where a position does not fit.
 */
#ifndef TENSORLIB_PLAIN_MOVES_H
#define TENSORLIB_PLAIN_MOVES_H

#include <stdint.h>

namespace tl {

struct sixteen {
    int64_t low, high;
};

/* move(j, position) for n positions in order. Until the first that counts from the end,
 * one branch that is not taken: cheaper than a clamp, and than gathering by vectors. */
template <class Move>
inline int move_plain(const int64_t *positions, int64_t n, int64_t length, Move move) {
    int64_t j = 0;
    for (; j < n; j++) {
        const int64_t p = positions[j];
        if ((uint64_t)p >= (uint64_t)length) break;
        move(j, p);
    }
    for (; j < n; j++) {
        const int64_t p = positions[j] + (positions[j] < 0 ? length : 0);
        if ((uint64_t)p >= (uint64_t)length) return 0;
        move(j, p);
    }
    return 1;
}

template <class T>
inline int read_plain(const int64_t *positions, int64_t n, int64_t length, void *x,
                      void *v) {
    const T *source = (const T *)x;
    T *target = (T *)v;
    return move_plain(positions, n, length,
                      [=](int64_t j, int64_t p) { target[j] = source[p]; });
}

template <class T>
inline int write_plain(const int64_t *positions, int64_t n, int64_t length, void *x,
                       void *v) {
    T *target = (T *)x;
    const T *source = (const T *)v;
    return move_plain(positions, n, length,
                      [=](int64_t j, int64_t p) { target[p] = source[j]; });
}

template <class T>
inline int add_plain(const int64_t *positions, int64_t n, int64_t length, void *x,
                     void *v) {
    T *target = (T *)x;
    const T *source = (const T *)v;
    return move_plain(positions, n, length, [=](int64_t j, int64_t p) {
        target[p] = (T)(target[p] + source[j]);
    });
}

} // namespace tl

#endif
