// Cross-entropy of rows of logits, and its gradient; losses of 16-bit logits and their
// cotangents are float32's. A group of threads goes along a
// row; rows that do not begin at a pack have a few elements before and behind the
// packs.
#include "rows.cuh"

namespace {

using tl::computed_t;

template <typename T> struct Logits {
    using V = computed_t<T>;
    const T *x;
    int64_t row_step, step;
    const int64_t *target;
    int64_t target_step;
    int64_t rows, n;
    int64_t ignored;
    double smoothing;
    int lanes;
    tl::Fault fault;

    __device__ int64_t label(int64_t row) const { return target[row * target_step]; }
    // The class of a label, or -1: ignored, or none at all, which is reported.
    __device__ int64_t class_of(int64_t found, int lane) const {
        if (found == ignored) return -1;
        if (found >= 0 && found < n) return found;
        if (lane == 0) fault.raise(TL_BAD_TARGET);
        return -1;
    }
    template <int P> __device__ void read(const T *row, int64_t i, V *values) const {
        if constexpr (P == 1)
            values[0] = tl::load(row + i * step);
        else
            tl::load_pack<P>(row + i, values);
    }
};

// visit.template at<P, U>(i, apart, end) for all elements of a row of n that are of
// part `part` of `parts`: U packs of P from i on, `apart` elements from one to the
// next, but none at `end` or behind.
template <int P, typename T, typename Visit>
__device__ void along_row(const T *row, int64_t n, int lane, int lanes, Visit &visit,
                          int64_t part = 0, int64_t parts = 1) {
    constexpr int U = P <= 4 ? 4 : 2; // loads in flight
    const auto place = reinterpret_cast<uintptr_t>(row) / sizeof(T);
    int64_t head = P == 1 ? 0 : static_cast<int64_t>((P - place % P) % P);
    head = head < n ? head : n;
    const int64_t packs = (n - head) / P, apart = static_cast<int64_t>(lanes) * P;
    if (P > 1 && part == 0) {
        for (int64_t i = lane; i < head; i += lanes)
            visit.template at<1, 1>(i, 0, n);
        for (int64_t i = head + packs * P + lane; i < n; i += lanes)
            visit.template at<1, 1>(i, 0, n);
    }
    const int64_t each = (packs + parts - 1) / parts, next = (part + 1) * each;
    const int64_t end = head + (next < packs ? next : packs) * P;
#pragma unroll 1
    for (int64_t i = head + (part * each + lane) * P; i < end; i += U * apart)
        visit.template at<P, U>(i, apart, end);
}

// ---- the loss ---------------------------------------------------------------------
template <typename T> struct AddTotals {
    using V = computed_t<T>;
    const Logits<T> &logits;
    const T *row;
    bool smoothed;
    tl::Exponentials<V> exponentials;
    V sum; // of the logits, for smoothing
    template <int P, int U> __device__ void at(int64_t i, int64_t apart, int64_t end) {
        V values[U * P];
#pragma unroll
        for (int k = 0; k < U; ++k) {
#pragma unroll
            for (int j = 0; j < P; ++j)
                values[k * P + j] = -tl::infinity<V>(); // adds nothing
            if (k == 0 || i + k * apart < end)
                logits.template read<P>(row, i + k * apart, values + k * P);
        }
        tl::add_exponentials<U * P, T>(exponentials, values);
        if (!smoothed) return;
#pragma unroll
        for (int k = 0; k < U; ++k)
            if (k == 0 || i + k * apart < end)
                sum += tl::pairwise_sum<P>(values + k * P);
    }
};

template <typename T, int P>
__global__ void __launch_bounds__(1024)
    cross_entropy_kernel(Logits<T> logits, computed_t<T> *loss, computed_t<T> *lse) {
    tl::wait_for_previous();
    using V = computed_t<T>;
    const int lanes = logits.lanes, lane = threadIdx.x % lanes;
    const int64_t row =
        static_cast<int64_t>(blockIdx.x) * (blockDim.x / lanes) + threadIdx.x / lanes;
    const bool live = row < logits.rows;
    const T *x = logits.x + (live ? row : 0) * logits.row_step;
    const double smoothing = logits.smoothing;
    // Asked for before the row is read, and the class's logit before sums are joined:
    // a row waits for neither.
    const int64_t label = live && lane == 0 ? logits.label(row) : logits.ignored;
    AddTotals<T> add = {logits, x, smoothing != 0, tl::no_exponentials<V>(), V(0)};
    if (live) along_row<P>(x, logits.n, lane, lanes, add);
    const int64_t target = logits.class_of(label, lane);
    const V chosen = target < 0 ? V(0) : tl::load(x + target * logits.step);
    const tl::Exponentials<V> totals = tl::group_exponentials(add.exponentials, lanes);
    if (smoothing != 0) add.sum = tl::group_reduce(add.sum, lanes, tl::Sum{});
    if (!live || lane != 0) return;
    // A row whose largest element is infinite is NaN, as the difference from it is.
    const V largest = totals.largest;
    const V found = largest + tl::log(totals.sum + (largest - largest));
    lse[row] = found;
    if (target < 0) {
        loss[row] = 0;
        return;
    }
    const V hit = found - chosen;
    const double spread = found - add.sum / static_cast<V>(logits.n);
    loss[row] = smoothing == 0
                    ? hit
                    : static_cast<V>((1 - smoothing) * hit + smoothing * spread);
}

// ---- its gradient -----------------------------------------------------------------
template <typename T> struct WriteGradient {
    using V = computed_t<T>;
    const Logits<T> &logits;
    const T *row;
    T *out;
    int64_t target; // -1: zeros
    V lse, factor, spread, hit;
    template <int P, int U> __device__ void at(int64_t i, int64_t apart, int64_t end) {
        V values[U * P];
#pragma unroll
        for (int k = 0; k < U; ++k)
            if (k == 0 || i + k * apart < end)
                logits.template read<P>(row, i + k * apart, values + k * P);
#pragma unroll
        for (int k = 0; k < U; ++k) {
            if (k > 0 && i + k * apart >= end) break;
            change<P>(i + k * apart, values + k * P);
            tl::store_pack<P>(out + i + k * apart, values + k * P);
        }
    }
    // Logits from i on become gradients.
    template <int P> __device__ void change(int64_t i, V *values) const {
        const int64_t ahead = target - i;
        const int place = ahead >= 0 && ahead < P ? static_cast<int>(ahead) : -1;
#pragma unroll
        for (int j = 0; j < P; ++j) {
            const V slope = tl::exp_for<T>(values[j] - lse) - spread;
            values[j] = factor * (j == place ? slope - hit : slope);
            values[j] = target < 0 ? V(0) : values[j];
        }
    }
};

template <typename T> struct Cotangent {
    const computed_t<T> *lse, *g;
    int64_t lse_step, g_step;
    double scale;
};

template <typename T, int P>
__global__ void __launch_bounds__(tl::kThreads)
    cross_entropy_grad_kernel(Logits<T> logits, Cotangent<T> cotangent, T *out,
                              unsigned parts) {
    tl::wait_for_previous();
    using V = computed_t<T>;
    const int lanes = logits.lanes, lane = threadIdx.x % lanes;
    const unsigned block = blockIdx.x / parts, part = blockIdx.x - block * parts;
    const int64_t row =
        static_cast<int64_t>(block) * (blockDim.x / lanes) + threadIdx.x / lanes;
    if (row >= logits.rows) return;
    const T *x = logits.x + row * logits.row_step;
    const double g = cotangent.g[row * cotangent.g_step];
    WriteGradient<T> write = {
        logits,
        x,
        out + row * logits.n,
        logits.class_of(logits.label(row), lane),
        cotangent.lse[row * cotangent.lse_step],
        static_cast<V>(cotangent.scale * g),
        static_cast<V>(logits.smoothing / static_cast<double>(logits.n)),
        static_cast<V>(1 - logits.smoothing)};
    along_row<P>(x, logits.n, lane, lanes, write, part, parts);
}

// ---- run functions ----------------------------------------------------------------
template <typename T>
Logits<T> logits_of(const tl_call *call, const tl_buffer *target) {
    const tl_buffer *x = call->in[0];
    const auto *params = static_cast<const tl_cross_entropy_params *>(call->params);
    return {static_cast<const T *>(x->data),
            x->strides[0],
            x->strides[1],
            static_cast<const int64_t *>(target->data),
            target->strides[0],
            x->shape[0],
            x->shape[1],
            params->ignore_index,
            params->label_smoothing,
            tl::kWarp,
            tl::fault()};
}

// Threads of a block, and how many of them take a row.
template <typename T> int share(Logits<T> &logits, int width) {
    const int64_t units = tl::ceil_div(logits.n, width);
    const int64_t lanes = tl::power_of_two_above(tl::ceil_div(units, 4));
    if (lanes <= tl::kWarp) {
        logits.lanes = static_cast<int>(lanes);
        return tl::kThreads;
    }
    const bool few = logits.rows < tl::processors() * 2;
    if (units <= 512 && !few) return tl::kThreads; // a warp a row
    logits.lanes = few && units >= 4096 ? 1024 : tl::kThreads;
    return logits.lanes;
}

template <typename T> unsigned blocks_of(const Logits<T> &logits, int threads) {
    return static_cast<unsigned>(tl::ceil_div(logits.rows, threads / logits.lanes));
}

// Whether rows go in packs, but for their ends.
template <typename T> bool in_packs(const Logits<T> &logits) {
    constexpr int P = tl::pack_of<T>;
    const bool aligned =
        logits.row_step % P == 0 && logits.n % P == 0 && tl::is_aligned(logits.x, 16);
    return logits.step == 1 && (aligned || logits.n >= 16 * P);
}

bool on_device(const tl_call *call) {
    for (int i = 0; i < call->nin; ++i)
        if (call->in[i]->device_type != TL_CUDA) return false;
    return true;
}

template <typename T> tl_status cross_entropy(const tl_call *call) {
    using V = computed_t<T>;
    constexpr int P = tl::pack_of<T>;
    if (!on_device(call)) return TL_DECLINED;
    Logits<T> logits = logits_of<T>(call, call->in[1]);
    if (logits.rows == 0) return TL_OK;
    V *loss = static_cast<V *>(call->out[0]->data);
    V *lse = static_cast<V *>(call->out[1]->data);
    const bool packs = in_packs(logits);
    const int threads = share(logits, packs ? P : 1);
    return tl::launch_early(blocks_of(logits, threads), threads, 0,
                            packs ? cross_entropy_kernel<T, P>
                                  : cross_entropy_kernel<T, 1>,
                            logits, loss, lse);
}

template <typename T> tl_status cross_entropy_grad(const tl_call *call) {
    using V = computed_t<T>;
    constexpr int P = tl::pack_of<T>;
    if (!on_device(call)) return TL_DECLINED;
    Logits<T> logits = logits_of<T>(call, call->in[2]);
    if (logits.rows == 0 || logits.n == 0) return TL_OK;
    const tl_buffer *lse = call->in[1], *g = call->in[3];
    const auto *params = static_cast<const tl_cross_entropy_params *>(call->params);
    const Cotangent<T> cotangent = {static_cast<const V *>(lse->data),
                                    static_cast<const V *>(g->data), lse->strides[0],
                                    g->strides[0], params->scale};
    T *out = static_cast<T *>(call->out[0]->data);
    // Packs are written where they are read: both rows must begin at the same place.
    const auto apart =
        reinterpret_cast<uintptr_t>(out) - reinterpret_cast<uintptr_t>(logits.x);
    const bool packs =
        in_packs(logits) && apart % 16 == 0 && (logits.row_step - logits.n) % P == 0;
    share(logits, packs ? P : 1);
    unsigned parts = 1;
    if (logits.lanes > tl::kWarp) { // a few rounds of loads for a block
        logits.lanes = tl::kThreads;
        const int64_t units = logits.n / (packs ? P : 1);
        parts = static_cast<unsigned>(tl::ceil_div(units, tl::kThreads * 8));
    }
    return tl::launch_early(blocks_of(logits, tl::kThreads) * parts, tl::kThreads, 0,
                            packs ? cross_entropy_grad_kernel<T, P>
                                  : cross_entropy_grad_kernel<T, 1>,
                            logits, cotangent, out, parts);
}

#define TL_REALS(name, run)                                                            \
    {name, TL_FLOAT16, run<tl_float16>, nullptr},                                      \
        {name, TL_BFLOAT16, run<tl_bfloat16>, nullptr},                                \
        {name, TL_FLOAT32, run<float>, nullptr}, {                                     \
        name, TL_FLOAT64, run<double>, nullptr                                         \
    }

const tl_cuda_entry entries[] = {
    TL_REALS("cross_entropy", cross_entropy),
    TL_REALS("cross_entropy_grad", cross_entropy_grad),
};

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_loss_entries(int *count) {
    *count = static_cast<int>(sizeof entries / sizeof *entries);
    return entries;
}
