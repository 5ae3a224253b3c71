// Elementwise kernels: one kernel for a formula and its types, operands of any strides.
//
// The host merges dimensions (layout.cuh) and plans the walk: packs of 16 bytes where
// the innermost strides are 1 or 0 and addresses allow it (contiguous operands,
// broadcast rows and columns, scalars), single elements otherwise. Both loops are in
// the same kernel, so that a contiguous call with a rest is one launch. Indices are of
// 32 bits: larger calls are split. An input that lies across the output is first turned
// around by tiles (cast.cu).
#pragma once

#include <cstring>

#include "layout.cuh"
#include "numbers.cuh"

namespace tl {

struct None {}; // an operand that a formula does not have

// Two results of one formula; the second lies `apart` elements (of the formula) behind.
template <typename T> struct Two { T first, second; };

// How dear a formula is. Light ones keep two packs in flight; dear ones are unrolled
// less, since code size and registers matter more. Those that networks spend their time
// in take whole packs, however dear.
enum class Cost { light, common, dear };
struct Light {
    static constexpr Cost cost = Cost::light;
};
struct Common {
    static constexpr Cost cost = Cost::common;
};
struct Dear {
    static constexpr Cost cost = Cost::dear;
};
template <bool common> using DearUnless = std::conditional_t<common, Common, Dear>;

// ---- memory accesses of a pack ------------------------------------------------------
template <int Bytes> struct word;
template <> struct word<1> { using type = uint8_t; };
template <> struct word<2> { using type = uint16_t; };
template <> struct word<4> { using type = uint32_t; };
template <> struct word<8> { using type = uint64_t; };
template <> struct word<16> { using type = uint4; };

template <int N, typename T>
__device__ __forceinline__ Pack<T, N> load_pack(const T *p) {
    using Word = typename word<sizeof(Pack<T, N>)>::type;
    const Word bits = *reinterpret_cast<const Word *>(p);
    Pack<T, N> found;
    memcpy(&found, &bits, sizeof found);
    return found;
}
template <int N, typename T>
__device__ __forceinline__ void store_pack(T *p, const Pack<T, N> &pack) {
    using Word = typename word<sizeof(Pack<T, N>)>::type;
    Word bits;
    memcpy(&bits, &pack, sizeof bits);
    *reinterpret_cast<Word *>(p) = bits;
}

// ---- operands as a kernel reads them ------------------------------------------------
// One value in all threads that the compiler takes for an unknown one: it would copy
// the loop around a choice by it, once for each combination.
__device__ __forceinline__ int opaque(int value) {
#ifndef TL_CUDA_EMULATED
    asm volatile("" : "+r"(value));
#endif
    return value;
}

enum class Reading : int {
    number, // `value`, of the host, serves every element
    one,    // one element serves a pack
    along   // a pack has neighbours
};

template <typename T> struct Source {
    const T *data;
    T value;
    Reading reading;

    template <int N> __device__ __forceinline__ Pack<T, N> pack(int64_t at) const {
        const Reading how = static_cast<Reading>(opaque(static_cast<int>(reading)));
        Pack<T, N> found;
        T one = value;
        if (N == 1 ? how != Reading::number : how == Reading::one) one = data[at];
#pragma unroll
        for (int j = 0; j < N; ++j)
            found.at[j] = one;
        if (N > 1 && how == Reading::along) found = load_pack<N>(data + at);
        return found;
    }
};
template <> struct Source<None> {
    template <int N> __device__ Pack<None, N> pack(int64_t) const { return {}; }
};

__device__ inline None load(const None *) { return {}; }

// ---- the kernel ---------------------------------------------------------------------
template <typename T> constexpr int size_of = sizeof(T);
template <> constexpr int size_of<None> = 0;
constexpr int larger(int a, int b) { return a > b ? a : b; }

// What is fixed for a formula and its types: the number of operands, the elements of a
// pack, and how many packs or single elements a thread has in flight.
template <class Op, class R, class A, class B, class C> struct Form {
    static constexpr int operands =
        1 + (size_of<A> > 0) + (size_of<B> > 0) + (size_of<C> > 0);
    static constexpr int widest =
        larger(larger(size_of<R>, size_of<A>), larger(size_of<B>, size_of<C>));
    static constexpr bool light = Op::cost == Cost::light;
    static constexpr int pack = Op::cost == Cost::dear && widest < 4 ? 4 : 16 / widest;
    static constexpr int packs_at_once = light && pack <= 4 ? 2 : 1;
    static constexpr int at_once = light ? 2 : 1; // single elements
};

template <class Op, class A, class B, class C>
__device__ __forceinline__ auto apply(const Op &op, A a, B b, C c) {
    if constexpr (!std::is_same<C, None>::value)
        return op(a, b, c);
    else if constexpr (!std::is_same<B, None>::value)
        return op(a, b);
    else if constexpr (!std::is_same<A, None>::value)
        return op(a);
    else
        return op();
}

template <typename T> struct is_two { static constexpr bool value = false; };
template <typename T> struct is_two<Two<T>> { static constexpr bool value = true; };

template <int N, class Op, class R, class A, class B, class C>
__device__ __forceinline__ void apply_pack(const Op &op, R *out, const Pack<A, N> &a,
                                           const Pack<B, N> &b, const Pack<C, N> &c) {
    Pack<R, N> first, second;
    constexpr bool two =
        is_two<decltype(apply(op, load(a.at), load(b.at), load(c.at)))>::value;
#pragma unroll
    for (int j = 0; j < N; ++j) {
        const auto y = apply(op, load(a.at + j), load(b.at + j), load(c.at + j));
        if constexpr (two) {
            store(first.at + j, y.first);
            store(second.at + j, y.second);
        } else {
            store(first.at + j, static_cast<computed_t<R>>(y));
        }
    }
    store_pack<N>(out, first);
    if constexpr (two) store_pack<N>(out + op.apart, second);
}

// The elements of a call: offsets in all operands of the i-th in the output's order.
template <int K> struct Walk {
    uint32_t packs; // of the first packs * pack elements; the rest goes one by one
    uint32_t size;
    int inner; // dimensions within the last
    Divider shape[kMaxMerged - 1];
    int32_t strides[kMaxMerged - 1][K];
    int32_t last[K]; // strides of the outermost dimension

    explicit Walk(const Layout<K> &layout)
        : packs(0), size(layout.size), inner(0), last{} {
        if (layout.ndim == 0) return;
        inner = layout.ndim - 1;
        for (int d = 0; d < inner; ++d) {
            shape[d] = Divider::by(static_cast<uint32_t>(layout.shape[d]));
            for (int k = 0; k < K; ++k)
                strides[d][k] = static_cast<int32_t>(layout.strides[d][k]);
        }
        for (int k = 0; k < K; ++k)
            last[k] = static_cast<int32_t>(layout.strides[inner][k]);
    }
    __device__ __forceinline__ void at(uint32_t i, int32_t (&found)[K]) const {
        int32_t sum[K] = {};
#pragma unroll 1
        for (int d = 0; d < inner; ++d) {
            const uint32_t q = shape[d].quotient(i), r = i - q * shape[d].divisor;
            i = q;
#pragma unroll
            for (int k = 0; k < K; ++k)
                sum[k] += static_cast<int32_t>(r) * strides[d][k];
        }
#pragma unroll
        for (int k = 0; k < K; ++k)
            found[k] = sum[k] + static_cast<int32_t>(i) * last[k];
    }
};

// The k-th offset, 0 for an operand that there is not.
template <int k, int K>
__device__ __forceinline__ int64_t offset(const int32_t (&at)[K]) {
    if constexpr (k < K)
        return at[k];
    else
        return 0;
}

// `count` packs of N elements from `begin` on, at_once of them in flight in a thread.
template <int N, int at_once, int K, class Op, class R, class A, class B, class C>
__device__ __forceinline__ void
run_packs(uint32_t begin, uint32_t count, const Walk<K> &walk, R *out,
          const Source<A> &a, const Source<B> &b, const Source<C> &c, const Op &op) {
    const uint32_t step = gridDim.x * (kThreads * at_once);
    uint32_t i = blockIdx.x * (kThreads * at_once) + threadIdx.x;
#pragma unroll 1
    for (; i < count; i += step) {
        Pack<A, N> x[at_once];
        Pack<B, N> y[at_once];
        Pack<C, N> z[at_once];
        int32_t at[at_once][K];
#pragma unroll
        for (int u = 0; u < at_once; ++u)
            if (u == 0 || i + u * kThreads < count) {
                walk.at(begin + (i + u * kThreads) * N, at[u]);
                x[u] = a.template pack<N>(offset<1>(at[u]));
                y[u] = b.template pack<N>(offset<2>(at[u]));
                z[u] = c.template pack<N>(offset<3>(at[u]));
            }
#pragma unroll
        for (int u = 0; u < at_once; ++u)
            if (u == 0 || i + u * kThreads < count)
                apply_pack<N>(op, out + offset<0>(at[u]), x[u], y[u], z[u]);
    }
}

template <class Op, class R, class A, class B, class C>
__global__ void __launch_bounds__(kThreads)
    elementwise_kernel(Walk<Form<Op, R, A, B, C>::operands> walk, R *out, Source<A> a,
                       Source<B> b, Source<C> c, Op op) {
    wait_for_previous();
    using F = Form<Op, R, A, B, C>;
    if (F::pack > 1)
        run_packs<F::pack, F::packs_at_once>(0, walk.packs, walk, out, a, b, c, op);
    const uint32_t rest = walk.packs * F::pack; // the first that goes by itself
    run_packs<1, F::at_once>(rest, walk.size - rest, walk, out, a, b, c, op);
}

// ---- planning, on the host ----------------------------------------------------------
// Bytes of an element, by dtype.
constexpr int kItemSize[TL_DTYPE_COUNT] = {1, 1, 2, 4, 8, 1, 2, 4,
                                           8, 2, 2, 4, 8, 8, 16};

// Copies between buffers of one shape and itemsize, of any strides (cast.cu).
tl_status copy_strided(const tl_buffer *out, const tl_buffer *in);
// Whether out reads better from in by tiles: it lies along another dimension.
bool is_turned(const tl_buffer *out, const tl_buffer *in);

template <int K> struct Plan {
    Walk<K> walk;
    const char *data[K]; // null: a number of the host
    Reading reading[K];
};
// Launches a form's kernel as planned; `call` is asked for numbers of the host and
// params.
template <int K>
using Launcher = tl_status (*)(const tl_call *call, const Plan<K> &plan);

template <int K> struct Job {
    const tl_call *call;
    int pack;
    Launcher<K> launch;
    int64_t apart; // of the two results of a formula: they must be aligned alike
    int itemsize[K];
};

inline bool is_scalar(const tl_buffer &buffer) {
    for (int d = 0; d < buffer.ndim; ++d)
        if (buffer.strides[d] != 0 && buffer.shape[d] != 1) return false;
    return true;
}

// Updates size and small after a change of the shape.
template <int K> void measure(Layout<K> &layout) {
    layout.size = 1;
    for (int d = 0; d < layout.ndim; ++d)
        layout.size *= layout.shape[d];
    layout.small = layout.size < (INT64_C(1) << 31);
    for (int k = 0; k < K; ++k) {
        int64_t reach = 0;
        for (int d = 0; d < layout.ndim; ++d)
            reach += (layout.shape[d] - 1) * detail::magnitude(layout.strides[d][k]);
        layout.small &= reach < (INT64_C(1) << 31);
    }
}

// Whether packs serve: neighbours or one element along the innermost dimension, whose
// length, and whatever leads to its starts, are multiples of a pack.
template <int K>
bool takes_packs(const Layout<K> &layout, const Job<K> &job,
                 const char *const (&data)[K]) {
    if (job.pack == 1 || job.apart % job.pack != 0) return false;
    if (layout.ndim == 0 || layout.strides[0][0] != 1) return false;
    if (layout.ndim > 1 && layout.shape[0] % job.pack != 0) return false;
    for (int k = 0; k < K; ++k) {
        if (layout.strides[0][k] == 0) continue;
        if (layout.strides[0][k] != 1 ||
            !is_aligned(data[k], job.pack * job.itemsize[k]))
            return false;
        for (int d = 1; d < layout.ndim; ++d)
            if (layout.strides[d][k] % job.pack != 0) return false;
    }
    return true;
}

template <int K>
tl_status run_small(const Layout<K> &layout, const Job<K> &job,
                    const char *const (&data)[K]) {
    Plan<K> plan = {Walk<K>(layout), {}, {}};
    if (takes_packs(layout, job, data))
        plan.walk.packs = static_cast<uint32_t>(layout.size / job.pack);
    for (int k = 0; k < K; ++k) {
        const bool along = layout.ndim > 0 && layout.strides[0][k] == 1;
        plan.data[k] = data[k];
        plan.reading[k] = data[k] == nullptr ? Reading::number
                          : along            ? Reading::along
                                             : Reading::one;
    }
    return job.launch(job.call, plan);
}

// In halves until indices fit 32 bits.
template <int K>
tl_status run_layout(const Layout<K> &layout, const Job<K> &job,
                     const char *const (&data)[K]) {
    if (layout.small) return run_small(layout, job, data);
    int d = layout.ndim - 1;
    while (layout.shape[d] == 1)
        --d;
    Layout<K> half = layout;
    half.shape[d] = layout.shape[d] / 2;
    if (half.shape[d] > 64) half.shape[d] &= ~INT64_C(63); // stays aligned
    measure(half);
    const tl_status status = run_layout(half, job, data);
    if (status != TL_OK) return status;
    const char *rest[K];
    for (int k = 0; k < K; ++k)
        rest[k] = data[k] == nullptr ? nullptr
                                     : data[k] + half.shape[d] * layout.strides[d][k] *
                                                     job.itemsize[k];
    half.shape[d] = layout.shape[d] - half.shape[d];
    measure(half);
    return run_layout(half, job, rest);
}

template <int K>
bool flat_layout(const tl_buffer *const (&operands)[K], Layout<K> &layout) {
    if (!(operands[0]->flags & TL_C_CONTIGUOUS)) return false;
    layout.ndim = 1;
    layout.size = layout.shape[0] = operands[0]->size;
    layout.strides[0][0] = 1;
    layout.small = layout.size < (INT64_C(1) << 31);
    for (int k = 1; k < K; ++k) {
        const bool dense = operands[k]->flags & TL_C_CONTIGUOUS;
        if (!dense && !is_scalar(*operands[k])) return false;
        layout.strides[0][k] = dense && operands[k]->size == layout.size;
    }
    return true;
}

template <int K> tl_status run_job(const Job<K> &job);

// The call with input k turned around first; TL_DECLINED where that cannot be.
template <int K> tl_status run_turned(const Job<K> &job, int k) {
    const tl_buffer *out = job.call->out[0], *in = job.call->in[k - 1];
    const Scratch scratch(out->size * job.itemsize[k]);
    if (scratch.data() == nullptr) return TL_DECLINED;
    tl_buffer turned = *out;
    turned.data = scratch.data();
    turned.dtype = in->dtype;
    const tl_status status = copy_strided(&turned, in);
    if (status != TL_OK) return status;
    const tl_buffer *inputs[K];
    for (int j = 1; j < K; ++j)
        inputs[j - 1] = j == k ? &turned : job.call->in[j - 1];
    tl_call call = *job.call;
    call.in = inputs;
    Job<K> next = job;
    next.call = &call;
    return run_job(next);
}

template <int K> tl_status run_job(const Job<K> &job) {
    // Stands for an element of the host: no strides, contiguous by no flag.
    static const tl_buffer scalar = {};
    const tl_buffer *operands[K];
    const char *data[K];
    for (int k = 0; k < K; ++k) {
        const tl_buffer *operand = k == 0 ? job.call->out[0] : job.call->in[k - 1];
        if (operand == nullptr) return TL_DECLINED;
        const bool host = operand->device_type != TL_CUDA;
        operands[k] = host || operand->ndim == 0 ? &scalar : operand;
        data[k] = host ? nullptr : static_cast<const char *>(operand->data);
        if (!host && !is_aligned(data[k], job.itemsize[k])) return TL_DECLINED;
    }
    operands[0] = job.call->out[0];
    if (data[0] == nullptr) return TL_DECLINED;
    Layout<K> layout;
    if (!flat_layout(operands, layout)) {
        if (operands[0]->flags & TL_C_CONTIGUOUS)
            for (int k = 1; k < K; ++k)
                if (is_turned(operands[0], operands[k])) {
                    const tl_status status = run_turned(job, k);
                    if (status != TL_DECLINED) return status;
                }
        layout = merged_layout(operands);
    }
    if (layout.ndim > kMaxMerged) return TL_DECLINED;
    return run_layout(layout, job, data);
}

// ---- run functions ------------------------------------------------------------------
template <typename T, int K>
Source<T> source_of(const tl_call *call, const Plan<K> &plan, int k) {
    Source<T> source = {};
    if constexpr (!std::is_same<T, None>::value) {
        source.data = reinterpret_cast<const T *>(plan.data[k]);
        source.reading = plan.reading[k];
        if (source.reading == Reading::number)
            memcpy(&source.value, call->in[k - 1]->data, sizeof(T));
    }
    return source;
}

// A formula from the call: its params where it is made of them.
template <class Op> Op formula_of(const tl_call *call) {
    if constexpr (std::is_constructible<Op, const tl_call *>::value)
        return Op(call);
    else
        return Op();
}

template <class Op, class R, class A, class B, class C>
tl_status launch_form(const tl_call *call,
                      const Plan<Form<Op, R, A, B, C>::operands> &plan) {
    using F = Form<Op, R, A, B, C>;
    // Blocks that stride over packs drift apart, and memory pages with them: each block
    // has one round instead.
    const int64_t blocks = plan.walk.packs
                               ? ceil_div(plan.walk.packs, kThreads * F::packs_at_once)
                               : blocks_for(ceil_div(plan.walk.size, F::at_once));
    return launch_early(static_cast<unsigned>(blocks), kThreads, 0,
                        elementwise_kernel<Op, R, A, B, C>, plan.walk,
                        reinterpret_cast<R *>(const_cast<char *>(plan.data[0])),
                        source_of<A>(call, plan, 1), source_of<B>(call, plan, 2),
                        source_of<C>(call, plan, 3), formula_of<Op>(call));
}

// out = op(in...): R, A, B and C are the types of the output and the inputs.
template <class Op, class R, class A = None, class B = None, class C = None>
tl_status run_two(const tl_call *call, int64_t apart) {
    using F = Form<Op, R, A, B, C>;
    if (call->out[0]->size == 0) return TL_OK;
    constexpr int sizes[4] = {size_of<R>, size_of<A>, size_of<B>, size_of<C>};
    Job<F::operands> job = {call, F::pack, launch_form<Op, R, A, B, C>, apart, {}};
    for (int k = 0; k < F::operands; ++k)
        job.itemsize[k] = sizes[k];
    return run_job(job);
}
template <class Op, class R, class A = None, class B = None, class C = None>
tl_status run_form(const tl_call *call) {
    return run_two<Op, R, A, B, C>(call, 0);
}

// ---- tables -------------------------------------------------------------------------
// A formula of scalar_ops.h as a type, light or dear.
#define TL_FORM(name, cost)                                                            \
    struct name##_form : cost {                                                        \
        template <typename... T>                                                       \
        __device__ __forceinline__ auto operator()(T... x) const {                     \
            return op_##name(x...);                                                    \
        }                                                                              \
    };
#define TL_LIGHT_FORM(name) TL_FORM(name, Light)
#define TL_DEAR_FORM(name) TL_FORM(name, DearUnless<is_common(#name)>)

constexpr bool equal_text(const char *a, const char *b) {
    while (*a && *a == *b)
        ++a, ++b;
    return *a == *b;
}
constexpr bool is_common(const char *name) {
    for (const char *common : {"exp", "log", "tanh", "sigmoid", "gelu", "gelu_tanh",
                               "silu", "gelu_grad", "gelu_tanh_grad", "silu_grad"})
        if (equal_text(name, common)) return true;
    return false;
}

} // namespace tl
