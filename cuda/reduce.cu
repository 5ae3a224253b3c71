// Reductions: what each op does with elements (reduce.cuh decides which meet, and
// where).
//
// Ops that differ in little share their kernels: min is the max of numbers turned
// upside down, any and all note which truths they saw, and integers of one width are
// one type.
#include "reduce.cuh"

#include <limits>

namespace {

using tl::computed_t;

// ---- operands ---------------------------------------------------------------------
struct Nothing {};

// Elements of T at x; packs are aligned to their size. Those of 8 bytes fill a warp's
// accesses one at a time.
template <typename T> struct Source {
    static constexpr int kPack = sizeof(T) == 8       ? 1
                                 : tl::pack_of<T> < 8 ? tl::pack_of<T>
                                                      : 8;
    const T *x;

    bool aligned(int width) const {
        return tl::is_aligned(x, width * static_cast<int>(sizeof(T)));
    }
    bool alike(int) const { return true; } // one operand has one alignment
    // Elements from `offset` to the next pack.
    template <int P> __device__ int64_t head(int64_t offset) const {
        const auto place = reinterpret_cast<uintptr_t>(x + offset) / sizeof(T);
        return static_cast<int64_t>((P - place % P) % P);
    }
    template <int P> __device__ void load(computed_t<T> *values, int64_t offset) const {
        tl::load_pack<P>(x + offset, values);
    }
};

template <typename T>
constexpr bool is_real = std::is_floating_point<computed_t<T>>::value;

// ---- sum and product --------------------------------------------------------------
// What totals are kept in and stored as. Products of floats leave their range early.
template <typename T, bool Product> struct Total {
    using type = std::conditional_t<!is_real<T>, uint64_t,
                                    std::conditional_t<Product, double, computed_t<T>>>;
    using stored = std::conditional_t<is_real<T>, T, int64_t>;
};

template <typename T, bool Product> struct TotalOp : Source<T> {
    static constexpr bool kOrdered = false;
    static constexpr int kPack = Product ? 1 : Source<T>::kPack; // products are rare
    using Value = computed_t<T>;
    using State = typename Total<T, Product>::type;
    using Stored = typename Total<T, Product>::stored;
    // Of bytes a few add up in 32 bits.
    using Part = std::conditional_t<sizeof(T) == 1 && !Product, uint32_t, State>;
    using Local = Nothing;
    Stored *out;
    double scale;

    __device__ State empty() const { return Product ? 1 : 0; }
    __device__ State join(State a, State b) const { return Product ? a * b : a + b; }
    __device__ Nothing local(int64_t, int64_t) const { return {}; }
    template <int N, typename Place>
    __device__ void add(State &state, const Value *values, Nothing,
                        const Place &) const {
        Part wide[N];
#pragma unroll
        for (int j = 0; j < N; ++j)
            wide[j] = static_cast<Part>(values[j]);
        if constexpr (Product) {
#pragma unroll
            for (int j = 0; j < N; ++j)
                state *= wide[j];
        } else {
            state += tl::pairwise_sum<N>(wide);
        }
    }
    __device__ void finish(State state, Nothing, int64_t at) const {
        if constexpr (is_real<T>)
            tl::store(out + at, static_cast<Value>(static_cast<double>(state) * scale));
        else
            out[at] = static_cast<int64_t>(state);
    }
};

// ---- extremes ---------------------------------------------------------------------
// Turns numbers so that the wanted extreme is the largest: floats are multiplied by -1,
// integers have bits flipped.
template <typename T, bool Real = is_real<T>> struct Turn;
template <typename T> struct Turn<T, true> {
    computed_t<T> sign;
    Turn(bool least, uint64_t) : sign(least ? -1 : 1) {}
    __device__ computed_t<T> operator()(computed_t<T> x) const { return x * sign; }
    static __device__ computed_t<T> lowest() { return -tl::infinity<computed_t<T>>(); }
};
template <typename T> struct Turn<T, false> {
    T flipped;
    Turn(bool least, uint64_t flip) : flipped(static_cast<T>(least ? ~flip : flip)) {}
    __device__ T operator()(T x) const { return static_cast<T>(x ^ flipped); }
    static constexpr T kLowest = std::numeric_limits<T>::min();
    static __device__ T lowest() { return kLowest; }
};

// Whether x takes the place of an earlier a: NaN beats numbers and nothing beats NaN.
template <typename V> __device__ __forceinline__ bool beats(V a, V x) {
    if constexpr (std::is_floating_point<V>::value)
        return !(x <= a) && a == a;
    else
        return x > a;
}

template <typename T> struct ExtremeOp : Source<T> {
    static constexpr bool kOrdered = false;
    using Value = computed_t<T>;
    using State = std::conditional_t<sizeof(Value) < 4, int32_t, Value>;
    using Local = Nothing;
    T *out;
    Turn<T> turn;

    __device__ State empty() const { return Turn<T>::lowest(); }
    __device__ State join(State a, State b) const { return beats(a, b) ? b : a; }
    __device__ Nothing local(int64_t, int64_t) const { return {}; }
    template <int N, typename Place>
    __device__ void add(State &state, const Value *values, Nothing,
                        const Place &) const {
#pragma unroll
        for (int j = 0; j < N; ++j)
            state = join(state, turn(values[j]));
    }
    __device__ void finish(State state, Nothing, int64_t at) const {
        tl::store(out + at, turn(static_cast<Value>(state)));
    }
};

template <typename T> struct PositionOp : Source<T> {
    static constexpr bool kOrdered = true;
    static constexpr int64_t kNone = INT64_MAX;
    using Value = computed_t<T>;
    using Best = std::conditional_t<sizeof(Value) < 4, int32_t, Value>;
    struct State {
        int64_t index;
        Best value;
        uint32_t padding[sizeof(Best) == 4 ? 1 : 2]; // shuffles pass whole words
    };
    using Local = Nothing;
    int64_t *out;
    Turn<T> turn;

    __device__ State empty() const { return {kNone, Turn<T>::lowest(), {}}; }
    __device__ State join(const State &a, const State &b) const {
        const bool equal =
            a.value == b.value || (a.value != a.value && b.value != b.value);
        return beats(a.value, b.value) || (equal && b.index < a.index) ? b : a;
    }
    __device__ Nothing local(int64_t, int64_t) const { return {}; }
    // A thread sees its elements in order, so that an equal one comes too late.
    template <int N, typename Place>
    __device__ void add(State &state, const Value *values, Nothing,
                        const Place &place) const {
        Best best = turn(values[0]);
        int found = 0;
#pragma unroll
        for (int j = 1; j < N; ++j) {
            const Best value = turn(values[j]);
            const bool better = beats(best, value);
            best = better ? value : best;
            found = better ? j : found;
        }
        if (state.index == kNone || beats(state.value, best)) {
            state.value = best;
            state.index = place.of(found);
        }
    }
    __device__ void finish(const State &state, Nothing, int64_t at) const {
        out[at] = state.index;
    }
};

struct Best {
    template <typename V> __device__ V operator()(V a, V b) const {
        return beats(a, b) ? b : a;
    }
};
struct First {
    __device__ int64_t operator()(int64_t a, int64_t b) const { return b < a ? b : a; }
};
// The best value first, then where it is: fewer words travel than of whole states.
template <typename T, typename State>
__device__ __forceinline__ State join_group(const PositionOp<T> &, const State &own,
                                            int lanes) {
    State state = own;
    state.value = tl::group_reduce(own.value, lanes, Best{});
    const bool here = own.value == state.value || // or both are NaN
                      (own.value != own.value && state.value != state.value);
    const int64_t index = here ? own.index : PositionOp<T>::kNone;
    state.index = tl::group_reduce(index, lanes, First{});
    return state;
}

// ---- any and all ------------------------------------------------------------------
// Elements as unsigned integers of their width, whose bits under a mask tell the truth
// (those of floats but the sign).
template <typename U> struct TruthOp : Source<U> {
    static constexpr bool kOrdered = false;
    using Value = U;
    using State = uint32_t; // bit 0: a true element, bit 1: a false one
    using Local = Nothing;
    uint8_t *out;
    U mask;
    bool all;

    __device__ State empty() const { return 0; }
    __device__ State join(State a, State b) const { return a | b; }
    __device__ Nothing local(int64_t, int64_t) const { return {}; }
    template <int N, typename Place>
    __device__ void add(State &state, const Value *values, Nothing,
                        const Place &) const {
#pragma unroll
        for (int j = 0; j < N; ++j)
            state |= values[j] & mask ? 1u : 2u;
    }
    __device__ void finish(State state, Nothing, int64_t at) const {
        out[at] = all ? !(state & 2u) : state & 1u;
    }
};

// ---- variance ---------------------------------------------------------------------
template <typename T> struct VarianceOp : Source<T> {
    static constexpr bool kOrdered = false;
    using Value = computed_t<T>;
    using State = tl::Moments<Value>;
    using Local = Value;
    T *out;
    double count, correction;

    __device__ State empty() const { return {0, 0, 0}; }
    __device__ State join(const State &a, const State &b) const {
        return tl::join_moments(a, b);
    }
    __device__ Value local(int64_t offset, int64_t) const {
        return tl::load(this->x + offset);
    }
    template <int N, typename Place>
    __device__ void add(State &state, const Value *values, Value shift,
                        const Place &) const {
        tl::add_moments<N>(state, values, shift);
    }
    __device__ void finish(const State &state, Value, int64_t at) const {
        const double divisor = count - correction > 0 ? count - correction : 0;
        const double nan = 0 * static_cast<double>(tl::infinity<float>());
        tl::store(out + at,
                  static_cast<Value>(count > 0 ? state.squares / divisor : nan));
    }
};

// ---- logarithm of a sum of exponentials -------------------------------------------
template <typename T> struct LogSumExpOp : Source<T> {
    static constexpr bool kOrdered = false;
    using Value = computed_t<T>;
    using State = tl::Exponentials<Value>;
    using Local = Nothing;
    T *out;

    __device__ State empty() const { return tl::no_exponentials<Value>(); }
    __device__ State join(const State &a, const State &b) const {
        return tl::join_exponentials(a, b);
    }
    __device__ Nothing local(int64_t, int64_t) const { return {}; }
    template <int N, typename Place>
    __device__ void add(State &state, const Value *values, Nothing,
                        const Place &) const {
        tl::add_exponentials<N, T>(state, values);
    }
    __device__ void finish(const State &state, Nothing, int64_t at) const {
        tl::store(out + at, state.shift() + tl::log(state.sum));
    }
};

// ---- run functions ----------------------------------------------------------------
// What tells ops that share a run function apart.
struct Variant {
    bool least;    // min, argmin; or all
    uint64_t bits; // integers: flipped so that their order is T's; truths: that count
};

template <typename T> Source<T> source(const tl_call *call) {
    return {static_cast<const T *>(call->in[0]->data)};
}
template <typename T> T *target(const tl_call *call) {
    return static_cast<T *>(call->out[0]->data);
}
const tl_reduce_params &params(const tl_call *call) {
    return *static_cast<const tl_reduce_params *>(call->params);
}
const Variant &variant(const tl_call *call) {
    return *static_cast<const Variant *>(call->loop);
}

template <typename Op> tl_status run(const tl_call *call, const Op &op) {
    if (call->in[0]->device_type != TL_CUDA) return TL_DECLINED;
    return tl::reduce(op, call->in[0], call->out[0], params(call).n_reduced);
}

template <typename T, bool Product> tl_status total(const tl_call *call) {
    using Op = TotalOp<T, Product>;
    return run(call, Op{source<T>(call), target<typename Op::Stored>(call),
                        params(call).scale});
}
template <typename T> tl_status extreme(const tl_call *call) {
    const Variant &how = variant(call);
    return run(call,
               ExtremeOp<T>{source<T>(call), target<T>(call), {how.least, how.bits}});
}
template <typename T> tl_status position(const tl_call *call) {
    const Variant &how = variant(call);
    return run(
        call,
        PositionOp<T>{source<T>(call), target<int64_t>(call), {how.least, how.bits}});
}
template <typename U> tl_status truth(const tl_call *call) {
    const Variant &how = variant(call);
    return run(call, TruthOp<U>{source<U>(call), target<uint8_t>(call),
                                static_cast<U>(how.bits), how.least});
}
template <typename T> tl_status variance(const tl_call *call) {
    const tl_buffer *x = call->in[0];
    double count = 1;
    for (int d = x->ndim - params(call).n_reduced; d < x->ndim; ++d)
        count *= static_cast<double>(x->shape[d]);
    return run(call, VarianceOp<T>{source<T>(call), target<T>(call), count,
                                   params(call).correction});
}
template <typename T> tl_status logsumexp(const tl_call *call) {
    return run(call, LogSumExpOp<T>{source<T>(call), target<T>(call)});
}

// ---- the table --------------------------------------------------------------------
constexpr uint64_t kTop8 = 0x80, kTop32 = 0x80000000u, kTop64 = UINT64_C(1) << 63;
const Variant largest = {false, 0}, least = {true, 0};
const Variant largest8 = {false, kTop8}, least8 = {true, kTop8};
const Variant largest32 = {false, kTop32}, least32 = {true, kTop32};
const Variant largest64 = {false, kTop64}, least64 = {true, kTop64};
const Variant any_whole = {false, ~UINT64_C(0)}, all_whole = {true, ~UINT64_C(0)};
const Variant any16 = {false, 0x7fff}, all16 = {true, 0x7fff};
const Variant any32 = {false, kTop32 - 1}, all32 = {true, kTop32 - 1};
const Variant any64 = {false, kTop64 - 1}, all64 = {true, kTop64 - 1};

#define TL_TOTALS(name, product)                                                       \
    {name, TL_BOOL, total<uint8_t, product>, nullptr},                                 \
        {name, TL_UINT8, total<uint8_t, product>, nullptr},                            \
        {name, TL_INT32, total<int32_t, product>, nullptr},                            \
        {name, TL_INT64, total<int64_t, product>, nullptr},                            \
        {name, TL_UINT64, total<int64_t, product>, nullptr},                           \
        {name, TL_FLOAT16, total<tl_float16, product>, nullptr},                       \
        {name, TL_BFLOAT16, total<tl_bfloat16, product>, nullptr},                     \
        {name, TL_FLOAT32, total<float, product>, nullptr}, {                          \
        name, TL_FLOAT64, total<double, product>, nullptr                              \
    }
#define TL_EXTREMES(name, run, which)                                                  \
    {name, TL_BOOL, run<uint8_t>, &which}, {name, TL_UINT8, run<uint8_t>, &which},     \
        {name, TL_INT8, run<uint8_t>, &which##8},                                      \
        {name, TL_INT32, run<int32_t>, &which},                                        \
        {name, TL_UINT32, run<int32_t>, &which##32},                                   \
        {name, TL_INT64, run<int64_t>, &which},                                        \
        {name, TL_UINT64, run<int64_t>, &which##64},                                   \
        {name, TL_FLOAT16, run<tl_float16>, &which},                                   \
        {name, TL_BFLOAT16, run<tl_bfloat16>, &which},                                 \
        {name, TL_FLOAT32, run<float>, &which}, {                                      \
        name, TL_FLOAT64, run<double>, &which                                          \
    }
#define TL_TRUTHS(name)                                                                \
    {#name, TL_BOOL, truth<uint8_t>, &name##_whole},                                   \
        {#name, TL_INT8, truth<uint8_t>, &name##_whole},                               \
        {#name, TL_UINT8, truth<uint8_t>, &name##_whole},                              \
        {#name, TL_INT16, truth<uint16_t>, &name##_whole},                             \
        {#name, TL_UINT16, truth<uint16_t>, &name##_whole},                            \
        {#name, TL_INT32, truth<uint32_t>, &name##_whole},                             \
        {#name, TL_UINT32, truth<uint32_t>, &name##_whole},                            \
        {#name, TL_INT64, truth<uint64_t>, &name##_whole},                             \
        {#name, TL_UINT64, truth<uint64_t>, &name##_whole},                            \
        {#name, TL_FLOAT16, truth<uint16_t>, &name##16},                               \
        {#name, TL_BFLOAT16, truth<uint16_t>, &name##16},                              \
        {#name, TL_FLOAT32, truth<uint32_t>, &name##32}, {                             \
#name, TL_FLOAT64, truth < uint64_t>, &name##64                                \
    }
#define TL_REALS(name, run)                                                            \
    {name, TL_FLOAT16, run<tl_float16>, nullptr},                                      \
        {name, TL_BFLOAT16, run<tl_bfloat16>, nullptr},                                \
        {name, TL_FLOAT32, run<float>, nullptr}, {                                     \
        name, TL_FLOAT64, run<double>, nullptr                                         \
    }

const tl_cuda_entry entries[] = {
    TL_TOTALS("sum", false),
    TL_TOTALS("prod", true),
    TL_EXTREMES("max", extreme, largest),
    TL_EXTREMES("min", extreme, least),
    TL_EXTREMES("argmax", position, largest),
    TL_EXTREMES("argmin", position, least),
    TL_TRUTHS(any),
    TL_TRUTHS(all),
    TL_REALS("var", variance),
    TL_REALS("logsumexp", logsumexp),
};

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_reduce_entries(int *count) {
    *count = static_cast<int>(sizeof entries / sizeof *entries);
    return entries;
}
