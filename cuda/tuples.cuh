// Index tuples as the positions that they name, with every index checked.
#pragma once

#include "layout.cuh"
#include "numbers.cuh"

namespace tl {

// i as a quotient and a rest by a fixed divisor, quickly where all i fit 31 bits.
struct Split {
    Divider by;
    int64_t divisor;
    bool small;
    Split(int64_t size, int64_t divisor_) : divisor(divisor_) {
        small = size < (INT64_C(1) << 31) && divisor > 0;
        by =
            Divider::by(small && divisor <= size ? static_cast<uint32_t>(divisor) : 1u);
        small = small && divisor <= size;
    }
    __device__ int64_t operator()(int64_t i, int64_t *rest) const {
        const int64_t q = small ? by.quotient(static_cast<uint32_t>(i)) : i / divisor;
        *rest = i - q * divisor;
        return q;
    }
};

// Some axes of a buffer in C order; false where too many are left.
inline bool axes_of(const tl_buffer *x, int first, int last, Layout<1> *found) {
    tl_buffer part = *x;
    part.ndim = static_cast<int16_t>(last - first);
    part.size = 1;
    for (int d = first; d < last; ++d) {
        part.shape[d - first] = x->shape[d];
        part.strides[d - first] = x->strides[d];
        part.size *= x->shape[d];
    }
    const tl_buffer *const one[1] = {&part};
    *found = merged_layout(one, false);
    return found->ndim <= kMaxMerged;
}

// Axes of two buffers that have one shape there, from `first` of each; the first
// buffer's neighbours in memory are neighbours in the walk.
inline bool axes_of_both(const tl_buffer *to, int to_first, const tl_buffer *from,
                         int from_first, int axes, Layout<2> *found) {
    tl_buffer parts[2] = {*to, *from};
    const int firsts[2] = {to_first, from_first};
    for (int k = 0; k < 2; ++k) {
        const tl_buffer *whole = k ? from : to;
        parts[k].ndim = static_cast<int16_t>(axes);
        parts[k].size = 1;
        for (int d = 0; d < axes; ++d) {
            parts[k].shape[d] = whole->shape[firsts[k] + d];
            parts[k].strides[d] = whole->strides[firsts[k] + d];
            parts[k].size *= parts[k].shape[d];
        }
    }
    const tl_buffer *const both[2] = {&parts[0], &parts[1]};
    *found = merged_layout(both);
    return found->ndim <= kMaxMerged;
}

struct Offset1 : Offsets<1, int64_t> {
    explicit Offset1(const Layout<1> &layout) : Offsets<1, int64_t>(layout) {}
    Offset1() : Offset1(Layout<1>{}) {}
    __device__ int64_t operator()(int64_t i) const {
        int64_t found[1];
        at(i, found);
        return found[0];
    }
};

// One indexed axis: the indices of all tuples, in any strides.
struct IndexAxis {
    const int64_t *index;
    Offset1 at;
    int64_t length; // of the axis
    int64_t step;   // what an index of 1 adds to the position
    // The index from the axis's start; negative where it is out of range.
    __device__ int64_t operator()(int64_t i) const {
        const int64_t found = index[at(i)],
                      from_end = found < 0 ? found + length : found;
        return from_end < length ? from_end : -1;
    }
};

constexpr int kAxesTogether = 4;
constexpr int64_t kNowhere = INT64_MIN; // the place of a tuple that is out of range

// places[i] (+)= what the tuple's indices on some axes add.
struct FindPlaces {
    IndexAxis axes[kAxesTogether];
    int count;
    bool first; // of several such passes
    int64_t *places;
    Fault fault;
    __device__ void operator()(int64_t i) const {
        int64_t sum = first ? 0 : places[i];
        for (int k = 0; k < count && sum != kNowhere; ++k) {
            const int64_t index = axes[k](i);
            if (index < 0) fault.raise(TL_INDEX_OUT_OF_RANGE);
            sum = index < 0 ? kNowhere : sum + index * axes[k].step;
        }
        places[i] = sum;
    }
};

// Places of n tuples in x, whose first axes are indexed by call->in[1 ...]: offsets in
// elements, or numbers of the positions in C order.
inline tl_status find_places(const tl_call *call, const tl_buffer *x, int indexed,
                             bool numbers, int64_t n, int64_t *places) {
    FindPlaces find;
    find.places = places;
    find.fault = fault();
    int64_t number = 1;
    for (int last = indexed; last > 0; last -= kAxesTogether) {
        find.first = last == indexed;
        find.count = last < kAxesTogether ? last : kAxesTogether;
        for (int k = 0; k < find.count; ++k) {
            const int axis = last - 1 - k;
            const tl_buffer *index = call->in[axis + 1];
            Layout<1> layout;
            if (index->device_type != TL_CUDA ||
                !axes_of(index, 0, index->ndim, &layout))
                return TL_DECLINED;
            find.axes[k] = {static_cast<const int64_t *>(index->data), Offset1(layout),
                            x->shape[axis], numbers ? number : x->strides[axis]};
            number *= x->shape[axis];
        }
        const tl_status status = for_each(n, find);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

} // namespace tl
