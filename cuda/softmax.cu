// Softmax and its logarithm along the last axis, and their gradients.
#include "whole_rows.cuh"

namespace {

using tl::computed_t;

struct Nothing {};

// exp(x - max) / sum, or its logarithm: (x - max) - log(sum).
template <typename Element> struct SoftmaxOp {
    using T = Element;
    using V = computed_t<T>;
    using Row = Nothing;
    using State = tl::Exponentials<V>;
    struct Stats {
        V largest, factor; // 1 / sum, or log(sum)
    };
    static constexpr int kInputs = 1;
    static constexpr bool kAnyAxis = true;
    T *out;
    const T *a, *b;
    bool log;

    __device__ V fill() const { return -tl::infinity<V>(); }
    template <bool Long> __device__ Nothing row(uint32_t, int64_t) const { return {}; }
    template <int P, int K>
    __device__ Stats summarize(V *a, V *, Nothing, const tl::RowPart &part) const {
        V largest = a[0], terms[P], total = 0;
#pragma unroll
        for (int j = 1; j < K * P; ++j)
            largest = tl::larger(largest, a[j]);
        largest = part.reduce(largest, tl::Larger{});
#pragma unroll
        for (int k = 0; k < K; ++k) {
#pragma unroll
            for (int j = 0; j < P; ++j) {
                terms[j] =
                    part.holds(k) ? tl::exp_for<T>(a[k * P + j] - largest) : V(0);
                if (!log) a[k * P + j] = terms[j];
            }
            total += tl::pairwise_sum<P>(terms);
        }
        total = part.reduce(total, tl::Sum{});
        return {largest, log ? tl::log(total) : 1 / total};
    }
    template <int P>
    __device__ void finish(V *a, V *, const Stats &stats, Nothing, int64_t) const {
#pragma unroll
        for (int j = 0; j < P; ++j)
            a[j] = log ? (a[j] - stats.largest) - stats.factor : a[j] * stats.factor;
    }
    __device__ State empty() const { return tl::no_exponentials<V>(); }
    __device__ State join(const State &x, const State &y) const {
        return tl::join_exponentials(x, y);
    }
    template <int N, int>
    __device__ void add(State &state, const V *a, const V *, Nothing, int64_t,
                        int) const {
        tl::add_exponentials<N, T>(state, a);
    }
    // A row whose largest element is infinite is NaN.
    __device__ Stats stats(const State &state, Nothing) const {
        const V total = state.sum + (state.largest - state.largest);
        return {state.largest, log ? tl::log(total) : 1 / total};
    }
    template <int P>
    __device__ void result(V *a, V *b, const Stats &stats, Nothing, int64_t) const {
        if (!log) {
#pragma unroll
            for (int j = 0; j < P; ++j)
                a[j] = tl::exp_for<T>(a[j] - stats.largest);
        }
        finish<P>(a, b, stats, Nothing{}, 0);
    }
    __device__ void note(const Stats &, uint32_t) const {}
};

// Of g and y: y * (g - sum(g * y)), or of the logarithm g - exp(y) * sum(g).
template <typename Element> struct SoftmaxGradOp {
    using T = Element;
    using V = computed_t<T>;
    using Row = Nothing;
    using State = V;
    using Stats = V;
    static constexpr int kInputs = 2;
    static constexpr bool kAnyAxis = true;
    T *out;
    const T *a, *b;
    bool log;

    __device__ V fill() const { return 0; }
    template <bool Long> __device__ Nothing row(uint32_t, int64_t) const { return {}; }
    template <int N, int>
    __device__ void add(V &state, const V *a, const V *b, Nothing, int64_t, int) const {
        V terms[N];
#pragma unroll
        for (int j = 0; j < N; ++j)
            terms[j] = log ? a[j] : a[j] * b[j];
        state += tl::pairwise_sum<N>(terms);
    }
    template <int P, int K>
    __device__ V summarize(V *a, V *b, Nothing, const tl::RowPart &part) const {
        V total = 0;
        add<K * P, P>(total, a, b, Nothing{}, 0, 0);
        return part.reduce(total, tl::Sum{});
    }
    template <int P>
    __device__ void finish(V *a, V *b, V total, Nothing, int64_t) const {
#pragma unroll
        for (int j = 0; j < P; ++j)
            a[j] = log ? a[j] - tl::exp_for<T>(b[j]) * total : b[j] * (a[j] - total);
    }
    __device__ V empty() const { return 0; }
    __device__ V join(V x, V y) const { return x + y; }
    __device__ V stats(V state, Nothing) const { return state; }
    template <int P>
    __device__ void result(V *a, V *b, V total, Nothing, int64_t column) const {
        finish<P>(a, b, total, Nothing{}, column);
    }
    __device__ void note(V, uint32_t) const {}
};

const bool plain = false, logarithm = true;

template <typename Op> tl_status run(const tl_call *call) {
    using T = typename Op::T;
    const tl_buffer *b = Op::kInputs == 2 ? call->in[1] : nullptr;
    const Op op = {static_cast<T *>(call->out[0]->data),
                   static_cast<const T *>(call->in[0]->data),
                   b ? static_cast<const T *>(b->data) : nullptr,
                   *static_cast<const bool *>(call->loop)};
    return tl::whole_rows(op, call->out[0], call->in[0], b);
}

#define TL_ROWS(name, Op, which)                                                       \
    {name, TL_FLOAT16, run<Op<tl_float16>>, &which},                                   \
        {name, TL_BFLOAT16, run<Op<tl_bfloat16>>, &which},                             \
        {name, TL_FLOAT32, run<Op<float>>, &which}, {                                  \
        name, TL_FLOAT64, run<Op<double>>, &which                                      \
    }

const tl_cuda_entry entries[] = {
    TL_ROWS("softmax", SoftmaxOp, plain),
    TL_ROWS("log_softmax", SoftmaxOp, logarithm),
    TL_ROWS("softmax_grad", SoftmaxGradOp, plain),
    TL_ROWS("log_softmax_grad", SoftmaxGradOp, logarithm),
};

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_softmax_entries(int *count) {
    *count = static_cast<int>(sizeof entries / sizeof *entries);
    return entries;
}
