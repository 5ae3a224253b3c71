/* Quicksort as the kernels use it, for a number of bad bounds that is given: rows on
 * which the bounds chosen from samples divide badly are not to be had by hand. */
#include <vector>

#include "tensorlib/quicksort.h"

#ifdef TL_SORT_BLOCKS
namespace {

template <class U> void sort(const U *x, U *out, int64_t n, int bad) {
    std::vector<U> keys(x, x + n), room(n);
    std::vector<typename tl::record<U>::offset> counts(tl::counters(1));
    const auto emit = [=](const U *sorted, int64_t count, int64_t at) {
        std::copy(sorted, sorted + count, out + at);
    };
    tl::quicksort<U, decltype(emit)>{emit, keys.data(), room.data(), counts.data()}
        .sort({keys.data(), n, 0, (U) ~(U)0}, 0, bad, counts.data());
}

} /* namespace */

extern "C" void sort_uint32(const uint32_t *x, uint32_t *out, int64_t n, int bad) {
    sort(x, out, n, bad);
}
extern "C" void sort_uint64(const uint64_t *x, uint64_t *out, int64_t n, int bad) {
    sort(x, out, n, bad);
}
#endif
