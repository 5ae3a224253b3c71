// What the attention kernels are given: sizes, operands, mask, dropout.
#pragma once

#include <cmath>

#include "layout.cuh"
#include "numbers.cuh"
#include "tensorlib/scalar_random.h"
#include "warp.cuh"

namespace tl {

constexpr int kMaxLead = 6; // leading axes left after merging

// One call, of fewer than 2^31 matrices. y, its gradient and the
// rows' numbers are contiguous. `T`: the operands' dtype, `R`: what is computed with.
enum AttentionOperand { kQueries, kKeys, kValues, kMask, kAttentionOperands };

namespace detail {
// Which of a block's four words are below the threshold. Not inlined: a kernel calls it
// at many places, and without dropout at none.
inline __device__ __noinline__ unsigned kept_words(uint64_t seed, uint64_t block,
                                                   uint64_t threshold) {
    uint32_t a = static_cast<uint32_t>(block), b = static_cast<uint32_t>(block >> 32);
    uint32_t c = 0, d = 0;
    threefry4x32(a, b, c, d, static_cast<uint32_t>(seed),
                 static_cast<uint32_t>(seed >> 32), 0, 0);
    return (a < threshold) | (b < threshold) << 1 | (c < threshold) << 2 |
           (d < threshold) << 3;
}
} // namespace detail

template <typename T> struct Heads {
    using R = computed_t<T>;
    int32_t queries, keys, depth, width;
    int32_t lead;
    int64_t batch;
    int64_t extent[kMaxLead]; // innermost first
    int64_t strides[kMaxLead][kAttentionOperands];
    int64_t row[kAttentionOperands]; // elements from a row to the next
    int64_t mask_column;
    const T *q, *k, *v;
    const void *mask; // of bool or of T; null: none
    const T *g, *y;   // gradient and result; null in the forward pass
    const R *stats;   // (batch, queries, 2): largest score, 1 / total
    R scale;
    bool causal, masked_by_bool, drops;
    // Dropout: a weight is kept where its word is below the threshold.
    uint64_t seed, offset, threshold;
    R kept; // 1 / (1 - p)

    // Where matrix `index` of each operand begins.
    __device__ void starts(uint32_t index, int64_t (&found)[kAttentionOperands]) const {
#pragma unroll
        for (int i = 0; i < kAttentionOperands; ++i)
            found[i] = 0;
#pragma unroll 1
        for (int axis = 0; axis < lead; ++axis) {
            const uint32_t size = static_cast<uint32_t>(extent[axis]);
            const uint32_t at = index % size;
            index /= size;
#pragma unroll
            for (int i = 0; i < kAttentionOperands; ++i)
                found[i] += at * strides[axis][i];
        }
    }

    // The score of a pair from q k^T; mask: that of the pair's matrix, with its offset.
    __device__ R score(R product, int64_t mask_at, int query, int key) const {
        if (key >= keys || (causal && key > query)) return -INFINITY;
        product *= scale;
        if (mask == nullptr || query >= queries) return product;
        const int64_t at = mask_at + query * row[kMask] + key * mask_column;
        if (!masked_by_bool) return product + load(static_cast<const T *>(mask) + at);
        return static_cast<const uint8_t *>(mask)[at] ? product : R(-INFINITY);
    }

    // Whether the weights of keys key..key + 3 are kept: a bit each. The words are
    // those of a 4-byte fill, an element a weight (scalar_random.h).
    __device__ unsigned keep_four(int64_t matrix_index, int query, int key) const {
        const int64_t element = (matrix_index * queries + query) * keys + key;
        const int skipped = static_cast<int>(element & 3);
        unsigned bits = block_bits(element >> 2);
        if (skipped) bits |= block_bits((element >> 2) + 1) << 4;
        return (bits >> skipped) & 15u;
    }

    __device__ unsigned block_bits(int64_t index) const {
        return detail::kept_words(seed, offset + static_cast<uint64_t>(index),
                                  threshold);
    }
};

namespace detail {

// The leading axes of the operands, merged where every one allows it.
template <typename T>
bool merge_lead(Heads<T> &heads,
                const tl_buffer *const (&operands)[kAttentionOperands]) {
    const tl_buffer *q = operands[kQueries];
    heads.lead = 0;
    heads.batch = 1;
    for (int axis = q->ndim - 3; axis >= 0; --axis) {
        heads.batch *= q->shape[axis];
        if (q->shape[axis] == 1) continue;
        int64_t stride[kAttentionOperands];
        bool merge = heads.lead > 0;
        const int last = heads.lead - 1;
        for (int i = 0; i < kAttentionOperands; ++i) {
            stride[i] = operands[i] == nullptr ? 0 : operands[i]->strides[axis];
            merge = merge && stride[i] == heads.strides[last][i] * heads.extent[last];
        }
        if (merge) {
            heads.extent[last] *= q->shape[axis];
            continue;
        }
        if (heads.lead == kMaxLead) return false;
        heads.extent[heads.lead] = q->shape[axis];
        for (int i = 0; i < kAttentionOperands; ++i)
            heads.strides[heads.lead][i] = stride[i];
        ++heads.lead;
    }
    return true;
}

} // namespace detail

// From the operands q, k, v, mask, which begin at in[first]; false: not served.
template <typename T> bool describe(const tl_call *call, int first, Heads<T> &heads) {
    const tl_buffer *const operands[kAttentionOperands] = {
        call->in[first], call->in[first + 1], call->in[first + 2], call->in[first + 3]};
    const auto &p = *static_cast<const tl_attention_params *>(call->params);
    for (int i = 0; i < call->nin; ++i)
        if (call->in[i] != nullptr && call->in[i]->device_type != TL_CUDA) return false;
    for (int i = 0; i < kMask; ++i) {
        const tl_buffer *b = operands[i];
        const int last = b->ndim - 1;
        if (b->size > 0 && b->shape[last] > 1 && b->strides[last] != 1) return false;
        if (b->shape[last] > INT32_MAX / 2 || b->shape[last - 1] > INT32_MAX / 2)
            return false;
        heads.row[i] = b->strides[last - 1];
    }
    const int last = operands[kQueries]->ndim - 1;
    heads.queries = static_cast<int32_t>(operands[kQueries]->shape[last - 1]);
    heads.depth = static_cast<int32_t>(operands[kQueries]->shape[last]);
    heads.keys = static_cast<int32_t>(operands[kValues]->shape[last - 1]);
    heads.width = static_cast<int32_t>(operands[kValues]->shape[last]);
    heads.q = static_cast<const T *>(operands[kQueries]->data);
    heads.k = static_cast<const T *>(operands[kKeys]->data);
    heads.v = static_cast<const T *>(operands[kValues]->data);
    const tl_buffer *mask = operands[kMask];
    heads.mask = mask == nullptr ? nullptr : mask->data;
    heads.masked_by_bool = mask != nullptr && mask->dtype == TL_BOOL;
    heads.row[kMask] = mask == nullptr ? 0 : mask->strides[last - 1];
    heads.mask_column = mask == nullptr ? 0 : mask->strides[last];
    heads.g = heads.y = nullptr;
    heads.stats = nullptr;
    heads.scale = static_cast<computed_t<T>>(p.scale);
    heads.causal = p.causal != 0;
    heads.drops = p.dropout > 0;
    heads.seed = p.seed;
    heads.offset = p.offset;
    heads.threshold = static_cast<uint64_t>((1.0 - p.dropout) * 4294967296.0);
    heads.kept = static_cast<computed_t<T>>(1.0 / (1.0 - p.dropout));
    if (first) {
        heads.g = static_cast<const T *>(call->in[0]->data);
        heads.y = static_cast<const T *>(call->in[5]->data);
        heads.stats = static_cast<const computed_t<T> *>(call->in[6]->data);
    }
    return detail::merge_lead(heads, operands);
}

} // namespace tl
