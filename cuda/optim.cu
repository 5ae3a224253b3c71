// Fused optimizer steps: as many parameters a launch as its arguments can name.
//
// Settings are arguments of the kernel, or lie in device memory where a graph repeats
// the step: `optimizer_settings` writes them there before each replay.
//
// Blocks share out chunks of elements, not parameters, so that a launch ends everywhere
// at about the same time; a block finds its parameter by a search in the arguments.
#include "numbers.cuh"

#include "tensorlib/scalar_optim.h"

#include <utility>

namespace {

using namespace tl;

constexpr int kChunk = 8192;         // elements that a block updates
constexpr int kArgumentBytes = 3840; // of pointers and sizes; launches take 4 KiB

// The parameters of a launch: operand 0 is the gradient, 1 the parameter, then its
// state.
template <typename E, int kOperands> struct Batch {
    static constexpr int kMost = kArgumentBytes / (8 * kOperands + 12);
    E *data[kOperands][kMost];
    int64_t size[kMost];
    uint32_t first[kMost]; // the first block of each
    int count;
    uint32_t blocks;
};

template <typename Rule, typename T, size_t... kStates>
__device__ void update_one(const Rule &rule, T *x, std::index_sequence<kStates...>) {
    rule.update(x[1], x[0], x[2 + kStates]...);
}

template <typename Rule, typename E, int kOperands> struct Update {
    using T = computed_t<E>;
    Rule rule;
    const double *settings; // where they are, null: in the rule
    // Elements at one place of all operands, in registers.
    __device__ void one(E *(&data)[kOperands], int64_t i) const {
        T x[kOperands];
#pragma unroll
        for (int o = 0; o < kOperands; ++o)
            x[o] = load(data[o] + i);
        update_one(rule, x, std::make_index_sequence<kOperands - 2>());
#pragma unroll
        for (int o = 1; o < kOperands; ++o)
            store(data[o] + i, x[o]);
    }
    __device__ void pack(E *(&data)[kOperands], int64_t i) const {
        constexpr int kPack = pack_of<E>;
        Pack<E, kPack> held[kOperands];
#pragma unroll
        for (int o = 0; o < kOperands; ++o)
            held[o] = *reinterpret_cast<const Pack<E, kPack> *>(data[o] + i);
#pragma unroll
        for (int k = 0; k < kPack; ++k) {
            T x[kOperands];
#pragma unroll
            for (int o = 0; o < kOperands; ++o)
                x[o] = load(&held[o].at[k]);
            update_one(rule, x, std::make_index_sequence<kOperands - 2>());
#pragma unroll
            for (int o = 1; o < kOperands; ++o)
                store(&held[o].at[k], x[o]);
        }
#pragma unroll
        for (int o = 1; o < kOperands; ++o)
            *reinterpret_cast<Pack<E, kPack> *>(data[o] + i) = held[o];
    }
};

template <typename Rule, typename E, int kOperands>
__global__ void __launch_bounds__(kThreads)
    optimizer_kernel(Batch<E, kOperands> batch, Update<Rule, E, kOperands> update) {
    wait_for_previous();
    if (update.settings != nullptr)
        fill_rule(update.rule, update.settings, computed_t<E>(0));
    int low = 0; // the last parameter whose first block is not behind this one
    for (int left = batch.count; left > 1; left -= left / 2)
        if (batch.first[low + left / 2] <= blockIdx.x) low += left / 2;
    E *data[kOperands];
    uintptr_t all = 0;
#pragma unroll
    for (int o = 0; o < kOperands; ++o) {
        data[o] = batch.data[o][low];
        all |= reinterpret_cast<uintptr_t>(data[o]);
    }
    const int64_t begin = static_cast<int64_t>(blockIdx.x - batch.first[low]) * kChunk;
    const int64_t end =
        begin + kChunk < batch.size[low] ? begin + kChunk : batch.size[low];
    int64_t i = begin;
    if (all % 16 == 0) {
        constexpr int kPack = pack_of<E>;
        const int64_t packs = (end - begin) / kPack;
#pragma unroll 1
        for (int64_t p = threadIdx.x; p < packs; p += kThreads)
            update.pack(data, begin + p * kPack);
        i += packs * kPack;
    }
    for (i += threadIdx.x; i < end; i += kThreads)
        update.one(data, i);
}

template <typename Rule, typename E, int kOperands>
tl_status run_batch(Batch<E, kOperands> *batch,
                    const Update<Rule, E, kOperands> &update) {
    const dim3 grid(batch->blocks);
    const int count = batch->count;
    batch->count = 0;
    batch->blocks = 0;
    if (count == 0) return TL_OK;
    Batch<E, kOperands> full = *batch;
    full.count = count;
    return launch_early(grid, kThreads, 0, optimizer_kernel<Rule, E, kOperands>, full,
                        update);
}

bool is_plain(const tl_buffer *x) {
    return x->device_type == TL_CUDA && x->flags & TL_C_CONTIGUOUS;
}

template <typename Rule, typename E, int kStates>
tl_status run_rule(const tl_call *call) {
    constexpr int kOperands = kStates + 2;
    using T = computed_t<E>;
    const int count = call->nin - (call->params == nullptr);
    for (int i = 0; i < call->nin; ++i)
        if (!is_plain(call->in[i])) return TL_DECLINED;
    for (int i = 0; i < call->nout; ++i)
        if (!is_plain(call->out[i])) return TL_DECLINED;
    Update<Rule, E, kOperands> update;
    update.settings = nullptr;
    if (call->params != nullptr)
        fill_rule(update.rule, static_cast<const double *>(call->params), T(0));
    else
        update.settings = static_cast<const double *>(call->in[count]->data);
    Batch<E, kOperands> batch;
    batch.count = 0;
    batch.blocks = 0;
    for (int i = 0; i < count; ++i) {
        const int64_t size = call->in[i]->size, blocks = ceil_div(size, kChunk);
        if (size == 0) continue;
        if (blocks >> 30) return TL_DECLINED;
        if (batch.count == batch.kMost || (batch.blocks + blocks) >> 31) {
            const tl_status status = run_batch(&batch, update);
            if (status != TL_OK) return status;
        }
        const int at = batch.count++;
        // Gradients are only read: the pointers share a table with those written.
        batch.data[0][at] = static_cast<E *>(call->in[i]->data);
        for (int k = 0; k <= kStates; ++k)
            batch.data[1 + k][at] =
                static_cast<E *>(call->out[i * (kStates + 1) + k]->data);
        batch.size[at] = size;
        batch.first[at] = batch.blocks;
        batch.blocks += static_cast<uint32_t>(blocks);
    }
    return run_batch(&batch, update);
}

struct Settings {
    double at[TL_OPTIM_SETTINGS];
};

__global__ void settings_kernel(double *out, Settings settings) {
    out[threadIdx.x] = settings.at[threadIdx.x];
}

// out = the settings, which travel as arguments: nobody has to keep them meanwhile.
tl_status run_settings(const tl_call *call) {
    if (call->out[0]->size != TL_OPTIM_SETTINGS) return TL_DECLINED;
    return launch(1, TL_OPTIM_SETTINGS, 0, settings_kernel,
                  static_cast<double *>(call->out[0]->data),
                  *static_cast<const Settings *>(call->params));
}

#define TL_RULE_ENTRY(name, states, dtype, E, T)                                       \
    {#name "/" #states, dtype, run_rule<name##_rule<T>, E, states>, nullptr},
#define TL_RULE_ENTRIES(name, states)                                                  \
    TL_RULE_ENTRY(name, states, TL_FLOAT32, float, float)                              \
    TL_RULE_ENTRY(name, states, TL_FLOAT64, double, double)
#define TL_HALF_ENTRIES(name, states)                                                  \
    TL_RULE_ENTRY(name, states, TL_FLOAT16, tl_float16, float)                         \
    TL_RULE_ENTRY(name, states, TL_BFLOAT16, tl_bfloat16, float)
#define TL_RULE0_ENTRIES(name) TL_RULE_ENTRIES(name, 0)
#define TL_RULE1_ENTRIES(name) TL_RULE_ENTRIES(name, 1)
#define TL_RULE2_ENTRIES(name) TL_RULE_ENTRIES(name, 2)
#define TL_RULE3_ENTRIES(name) TL_RULE_ENTRIES(name, 3)

// 16-bit parameters have kernels where they are common; the core widens for the others.
const tl_cuda_entry entries[] = {
    {"optimizer_settings", TL_FLOAT64, run_settings, nullptr},
    TL_RULE0_OPS(TL_RULE0_ENTRIES) TL_RULE1_OPS(TL_RULE1_ENTRIES)
        TL_RULE2_OPS(TL_RULE2_ENTRIES) TL_RULE3_OPS(TL_RULE3_ENTRIES)
            TL_HALF_ENTRIES(sgd, 0) TL_HALF_ENTRIES(sgd_momentum, 1)
                TL_HALF_ENTRIES(lion, 1) TL_HALF_ENTRIES(adam, 2)};

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_optim_entries(int *count) {
    *count = static_cast<int>(sizeof(entries) / sizeof(entries[0]));
    return entries;
}
