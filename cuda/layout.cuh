// Operands of any strides: dimensions merged on the host, offsets computed on the
// device.
#pragma once

#include "launch.cuh"

namespace tl {

// Division by a fixed divisor, as a product and a shift; exact for 0 <= n < 2^31.
// T. Granlund, P. Montgomery, "Division by invariant integers using multiplication",
// PLDI 1994, section 4.
struct Divider {
    uint32_t divisor, magic, shift;
    static Divider by(uint32_t d) {
        uint32_t shift = 0;
        while (shift < 32 && (UINT64_C(1) << shift) < d)
            ++shift;
        const uint64_t magic =
            ((UINT64_C(1) << 32) * ((UINT64_C(1) << shift) - d)) / d + 1;
        return {d, static_cast<uint32_t>(magic), shift};
    }
    __device__ uint32_t quotient(uint32_t n) const {
#ifdef TL_CUDA_EMULATED
        return n / divisor;
#else
        return (__umulhi(n, magic) + n) >> shift;
#endif
    }
};

// The shape shared by K operands and each one's strides, dimensions merged where every
// operand allows it, the innermost first. Strides are in elements. Operand 0 is the
// output: its order decides which dimension is innermost.
template <int K> struct Layout {
    int ndim;
    int64_t size;
    bool contiguous; // every operand is one run: offset(i, k) == i
    bool small;      // sizes and offsets fit 31 bits
    int64_t shape[TL_MAX_NDIM];
    int64_t strides[TL_MAX_NDIM][K];
};

// The same for kernels; `Index` is uint32_t (layout.small) or int64_t. Passed by value.
template <int K, typename Index> struct Offsets;

constexpr int kMaxMerged = 12; // dimensions left after merging that kernels take

template <int K> struct Offsets<K, uint32_t> {
    int ndim;
    Divider shape[kMaxMerged];
    int32_t strides[kMaxMerged][K];
    explicit Offsets(const Layout<K> &layout) : ndim(layout.ndim) {
        for (int d = 0; d < ndim; ++d) {
            shape[d] = Divider::by(static_cast<uint32_t>(layout.shape[d]));
            for (int k = 0; k < K; ++k)
                strides[d][k] = static_cast<int32_t>(layout.strides[d][k]);
        }
    }
    // Offsets in elements of all operands at the i-th element in the output's order.
    __device__ void at(uint32_t i, int64_t (&found)[K]) const {
        int32_t sum[K] = {};
#pragma unroll 1
        for (int d = 0; d < ndim - 1; ++d) {
            const uint32_t q = shape[d].quotient(i), r = i - q * shape[d].divisor;
            i = q;
#pragma unroll
            for (int k = 0; k < K; ++k)
                sum[k] += static_cast<int32_t>(r) * strides[d][k];
        }
#pragma unroll
        for (int k = 0; k < K; ++k)
            found[k] =
                sum[k] + (ndim ? static_cast<int32_t>(i) * strides[ndim - 1][k] : 0);
    }
};

template <int K> struct Offsets<K, int64_t> {
    int ndim;
    int64_t shape[kMaxMerged];
    int64_t strides[kMaxMerged][K];
    explicit Offsets(const Layout<K> &layout) : ndim(layout.ndim) {
        for (int d = 0; d < ndim; ++d) {
            shape[d] = layout.shape[d];
            for (int k = 0; k < K; ++k)
                strides[d][k] = layout.strides[d][k];
        }
    }
    __device__ void at(int64_t i, int64_t (&found)[K]) const {
        for (int k = 0; k < K; ++k)
            found[k] = 0;
#pragma unroll 1
        for (int d = 0; d < ndim; ++d) {
            const int64_t q = d == ndim - 1 ? 0 : i / shape[d], r = i - q * shape[d];
            i = q;
#pragma unroll
            for (int k = 0; k < K; ++k)
                found[k] += r * strides[d][k];
        }
    }
};

namespace detail {
inline int64_t magnitude(int64_t stride) { return stride < 0 ? -stride : stride; }
} // namespace detail

// The merged layout of buffers of one shape. Dimensions are sorted by the first
// operand's strides where `sorted`, so that neighbours in memory are neighbours in the
// walk.
template <int K>
Layout<K> merged_layout(const tl_buffer *const (&operands)[K], bool sorted = true) {
    Layout<K> found = {};
    found.size = operands[0]->size;
    for (int d = operands[0]->ndim - 1; d >= 0; --d) {
        if (operands[0]->shape[d] == 1) continue;
        int at = found.ndim++;
        while (sorted && at > 0 && operands[0]->strides[d] != 0 &&
               detail::magnitude(found.strides[at - 1][0]) >
                   detail::magnitude(operands[0]->strides[d])) {
            found.shape[at] = found.shape[at - 1];
            for (int k = 0; k < K; ++k)
                found.strides[at][k] = found.strides[at - 1][k];
            --at;
        }
        found.shape[at] = operands[0]->shape[d];
        for (int k = 0; k < K; ++k)
            found.strides[at][k] = operands[k]->strides[d];
    }
    int last = 0;
    for (int d = 1; d < found.ndim; ++d) {
        bool merge = true;
        for (int k = 0; k < K; ++k)
            merge &= found.strides[d][k] == found.strides[last][k] * found.shape[last];
        if (merge) {
            found.shape[last] *= found.shape[d];
            continue;
        }
        ++last;
        found.shape[last] = found.shape[d];
        for (int k = 0; k < K; ++k)
            found.strides[last][k] = found.strides[d][k];
    }
    if (found.ndim) found.ndim = last + 1;
    found.contiguous = found.ndim <= 1;
    found.small = found.size < (INT64_C(1) << 31);
    for (int k = 0; k < K; ++k) {
        int64_t reach = 0;
        for (int d = 0; d < found.ndim; ++d)
            reach += (found.shape[d] - 1) * detail::magnitude(found.strides[d][k]);
        found.small &= reach < (INT64_C(1) << 31);
        found.contiguous &= found.ndim == 0 || found.strides[0][k] == 1;
    }
    return found;
}

} // namespace tl
