// Threads of a block as fibers.
//
// A thread runs on a fiber's stack until it waits; only then the next one starts, on
// another stack. A fiber whose thread ended takes the next thread, so that a kernel
// without barriers runs on one stack, without a switch.
#include "cuda_runtime.h"
#include "emulated_state.h"

#include <deque>

#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace {

using namespace emulated;

constexpr size_t kStack = 256 << 10, kPage = 4096;
constexpr size_t kMostShared = 227 << 10, kSharedGuard = 64;
constexpr int kMostThreads = 1024, kWarp = 32;

// ---- switching of stacks ---------------------------------------------------------
#if defined(__x86_64__)
struct Context {
    void *stack_pointer;
};
// Saves what a call keeps, goes over to the other stack, and returns there.
__attribute__((naked, noinline)) void switch_to(Context *, Context *) {
    asm("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n movq (%rsi), %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret");
}
void prepare(Context *context, char *stack, void (*main)()) {
    void **top = reinterpret_cast<void **>(stack + kStack);
    *--top = nullptr; // the return address of main, which never returns
    *--top = reinterpret_cast<void *>(main);
    for (int i = 0; i < 6; ++i)
        *--top = nullptr;
    context->stack_pointer = top;
}
#else
struct Context {
    ucontext_t state;
};
void switch_to(Context *from, Context *to) { swapcontext(&from->state, &to->state); }
void prepare(Context *context, char *stack, void (*main)()) {
    getcontext(&context->state);
    context->state.uc_stack.ss_sp = stack;
    context->state.uc_stack.ss_size = kStack;
    makecontext(&context->state, main, 0);
}
#endif

struct Fiber {
    Context context;
    char *stack;
};

enum class State { fresh, running, at_barrier, in_warp, ready, done };

struct Thread {
    State state;
    Fiber *fiber;
    Gathering *gathering;
};

struct Warp {
    unsigned alive; // lanes that have not ended
    unsigned used;  // gatherings in use, a bit each
    Gathering gatherings[kWarp];
};

struct Launch {
    dim3 grid, block;
    size_t shared;
    std::function<void()> body;
    const char *name;
};

// The block that runs; launches hold the lock.
std::mutex launch_mutex;
const Launch *launched;
Thread threads[kMostThreads];
Warp warps[kMostThreads / kWarp];
int count, started, live, current; // threads
int waiting, barrier_kind, barrier_sum, barrier_outcome;
std::deque<int> ready;
std::vector<Fiber *> idle;
Fiber *running;
Context scheduler;
bool broken;
int reversed, deferred;
alignas(1024) unsigned char shared_bytes[kMostShared + kSharedGuard];

std::mutex report_mutex;
std::string reported;
cudaError_t found_error = cudaSuccess; // for the next flush
std::deque<Launch> queued;             // under launch_mutex
std::vector<Launch> *recorded;         // where a capture takes down launches; likewise

void become(int thread) {
    current = thread;
    const unsigned t = static_cast<unsigned>(thread);
    threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y,
                 t / (blockDim.x * blockDim.y)};
}

void pause() { switch_to(&running->context, &scheduler); }

void wait_as(State state) {
    threads[current].state = state;
    pause();
}

void wake(int thread) {
    threads[thread].state = State::ready;
    ready.push_back(thread);
}

// Calls f(thread) in the order of this run.
template <typename F> void in_order(int first, int last, F f) {
    if (reversed)
        for (int t = last - 1; t >= first; --t)
            f(t);
    else
        for (int t = first; t < last; ++t)
            f(t);
}

// ---- barriers of the block and gatherings of warps --------------------------------
void open_barrier() {
    barrier_outcome = barrier_kind == 1   ? barrier_sum > 0
                      : barrier_kind == 2 ? barrier_sum == waiting
                                          : barrier_sum;
    waiting = barrier_sum = 0;
    in_order(0, count, [](int t) {
        if (threads[t].state == State::at_barrier) wake(t);
    });
}

void complete(Gathering *gathering, int warp) {
    gathering->complete = true;
    gathering->unread = static_cast<unsigned>(__builtin_popcount(gathering->arrived));
    const int first = warp * kWarp, last = std::min(count, first + kWarp);
    in_order(first, last, [=](int t) {
        if (threads[t].state == State::in_warp && threads[t].gathering == gathering)
            wake(t);
    });
}

bool everyone_is_there(const Gathering &gathering, const Warp &warp) {
    return (gathering.mask & warp.alive & ~gathering.arrived) == 0;
}

// A thread that ended no longer keeps others waiting.
void end_thread() {
    threads[current].state = State::done;
    --live;
    const int index = current / kWarp;
    Warp &warp = warps[index];
    warp.alive &= ~(1u << current % kWarp);
    for (unsigned used = warp.used; used; used &= used - 1) {
        Gathering &gathering = warp.gatherings[__builtin_ctz(used)];
        if (!gathering.complete && everyone_is_there(gathering, warp))
            complete(&gathering, index);
    }
    if (waiting && waiting == live) open_barrier();
}

Gathering *find_gathering(Warp &warp, unsigned mask) {
    for (unsigned used = warp.used; used; used &= used - 1) {
        Gathering &gathering = warp.gatherings[__builtin_ctz(used)];
        if (!gathering.complete && gathering.mask == mask) return &gathering;
    }
    return nullptr;
}

// ---- running a block -------------------------------------------------------------
void fiber_main() {
    for (;;) {
        const int thread = reversed ? count - 1 - started : started;
        ++started;
        threads[thread].fiber = running;
        threads[thread].state = State::running;
        become(thread);
        launched->body();
        end_thread();
        if (started < count && ready.empty()) continue;
        idle.push_back(running);
        pause();
    }
}

Fiber *idle_fiber() {
    if (idle.empty()) {
        Fiber *made = new Fiber;
        void *pages = mmap(nullptr, kStack + kPage, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (pages == MAP_FAILED) std::abort();
        mprotect(pages, kPage, PROT_NONE); // an overflow stops here
        made->stack = static_cast<char *>(pages) + kPage;
        prepare(&made->context, made->stack, fiber_main);
        return made;
    }
    Fiber *found = idle.back();
    idle.pop_back();
    return found;
}

void resume(Fiber *fiber) {
    running = fiber;
    switch_to(&scheduler, &fiber->context);
}

void fail_at(const char *why) {
    char place[160];
    std::snprintf(place, sizeof place, " (block %u,%u,%u thread %u,%u,%u of %u) in ",
                  blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y,
                  threadIdx.z, blockDim.x * blockDim.y * blockDim.z);
    report((std::string(why) + place + launched->name).c_str());
    broken = true;
}

void report_deadlock() {
    int at_barrier = 0, in_warp = 0;
    for (int t = 0; t < count; ++t) {
        if (threads[t].state == State::done || threads[t].state == State::fresh)
            continue;
        if (threads[t].state == State::in_warp)
            ++in_warp;
        else
            ++at_barrier;
        become(t);
    }
    char text[200];
    std::snprintf(
        text, sizeof text,
        "barrier mismatch, nobody can go on: of %d threads %d ended, %d wait at "
        "__syncthreads, %d for lanes of their warp",
        count, count - live, at_barrier, in_warp);
    fail_at(text);
}

// The stacks of threads that never end are begun anew.
void abandon_threads() {
    for (int t = 0; t < count; ++t) {
        if (threads[t].state == State::done || threads[t].state == State::fresh)
            continue;
        prepare(&threads[t].fiber->context, threads[t].fiber->stack, fiber_main);
        idle.push_back(threads[t].fiber);
    }
}

void reset_block() {
    started = waiting = barrier_sum = 0;
    live = count;
    ready.clear();
    std::fill_n(threads, count, Thread{State::fresh, nullptr, nullptr});
    for (int w = 0; w * kWarp < count; ++w) {
        const int lanes = std::min(kWarp, count - w * kWarp);
        warps[w].alive = lanes == kWarp ? ~0u : (1u << lanes) - 1;
        warps[w].used = 0;
    }
    std::memset(shared_bytes, 0xff, launched->shared);
    std::memset(shared_bytes + launched->shared, 0xa5, kSharedGuard);
}

void run_block() {
    reset_block();
    while (live && !broken) {
        if (!ready.empty()) {
            const int thread = ready.front();
            ready.pop_front();
            threads[thread].state = State::running;
            become(thread);
            resume(threads[thread].fiber);
        } else if (started < count) {
            resume(idle_fiber());
        } else {
            report_deadlock();
        }
    }
    for (size_t i = 0; i < kSharedGuard && !broken; ++i)
        if (shared_bytes[launched->shared + i] != 0xa5)
            fail_at("a kernel wrote past the end of its dynamic shared memory");
    if (broken) abandon_threads();
}

cudaError_t run_launch(const Launch &launch) {
    const Access access;
    launched = &launch;
    gridDim = launch.grid;
    blockDim = launch.block;
    count = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
    broken = false;
    const uint64_t blocks = static_cast<uint64_t>(gridDim.x) * gridDim.y * gridDim.z;
    for (uint64_t b = 0; b < blocks && !broken; ++b) {
        const uint64_t i = reversed ? blocks - 1 - b : b;
        blockIdx = {static_cast<unsigned>(i % gridDim.x),
                    static_cast<unsigned>(i / gridDim.x % gridDim.y),
                    static_cast<unsigned>(i / gridDim.x / gridDim.y)};
        run_block();
    }
    launched = nullptr;
    return broken ? cudaErrorLaunchFailure : cudaSuccess;
}

bool is_valid(dim3 grid, dim3 block, size_t shared) {
    const uint64_t size = static_cast<uint64_t>(block.x) * block.y * block.z;
    return size > 0 && size <= kMostThreads && block.x <= 1024 && block.y <= 1024 &&
           block.z <= 64 && grid.x > 0 && grid.x < (1u << 31) && grid.y > 0 &&
           grid.y < 65536 && grid.z > 0 && grid.z < 65536 && shared <= kMostShared;
}

} // namespace

namespace emulated {

void report(const char *text, cudaError_t error) {
    const std::lock_guard<std::mutex> lock(report_mutex);
    if (error != cudaSuccess) found_error = error;
    std::fprintf(stderr, "emulated CUDA: %s\n", text);
    if (!reported.empty()) reported += "; ";
    reported += text;
}

cudaError_t start(dim3 grid, dim3 block, size_t shared, std::function<void()> body,
                  const char *name) {
    if (!is_valid(grid, block, shared)) return cudaErrorInvalidConfiguration;
    Launch launch{grid, block, shared, std::move(body), name};
    const std::lock_guard<std::mutex> lock(launch_mutex);
    if (recorded != nullptr) {
        recorded->push_back(std::move(launch));
        return cudaSuccess;
    }
    if (!deferred) return run_launch(launch);
    queued.push_back(std::move(launch));
    return cudaSuccess;
}

cudaError_t flush() {
    const std::lock_guard<std::mutex> lock(launch_mutex);
    cudaError_t error = cudaSuccess;
    for (; !queued.empty(); queued.pop_front())
        if (error == cudaSuccess) error = run_launch(queued.front());
    const std::lock_guard<std::mutex> reports(report_mutex);
    const cudaError_t found = std::exchange(found_error, cudaSuccess);
    return error == cudaSuccess ? found : error;
}

bool is_recording() { return recorded != nullptr; }

void begin_recording() {
    flush();
    const std::lock_guard<std::mutex> lock(launch_mutex);
    recorded = new std::vector<Launch>;
}

void *end_recording() {
    const std::lock_guard<std::mutex> lock(launch_mutex);
    return std::exchange(recorded, nullptr);
}

cudaError_t replay(void *launches) {
    cudaError_t error = flush();
    const std::lock_guard<std::mutex> lock(launch_mutex);
    for (const Launch &launch : *static_cast<std::vector<Launch> *>(launches))
        if (error == cudaSuccess) error = run_launch(launch);
    return error;
}

void forget_recording(void *launches) {
    delete static_cast<std::vector<Launch> *>(launches);
}

void *shared_memory() { return shared_bytes; }
int lane() { return current % kWarp; }

void fail(const char *why) {
    fail_at(why);
    for (;;)
        wait_as(State::at_barrier);
}

int barrier(int kind, int predicate) {
    if (waiting && barrier_kind != kind)
        fail("barrier mismatch: different kinds of __syncthreads meet");
    barrier_kind = kind;
    barrier_sum += predicate != 0;
    ++waiting;
    if (waiting == live)
        open_barrier();
    else
        wait_as(State::at_barrier);
    return barrier_outcome;
}

Gathering *gather(unsigned mask, Together what, uint64_t value) {
    const int lane = current % kWarp;
    Warp &warp = warps[current / kWarp];
    if (!(mask >> lane & 1)) fail("a lane is not in its own warp operation's mask");
    Gathering *found = find_gathering(warp, mask);
    if (found == nullptr) {
        const int slot = __builtin_ctz(~warp.used); // a lane is in one: 32 are enough
        warp.used |= 1u << slot;
        found = &warp.gatherings[slot];
        *found = {mask, 0, 0, false, what, {}};
    }
    if (found->what != what) fail("barrier mismatch: different warp operations meet");
    found->arrived |= 1u << lane;
    found->values[lane] = value;
    threads[current].gathering = found;
    if (everyone_is_there(*found, warp))
        complete(found, current / kWarp);
    else
        wait_as(State::in_warp);
    return found;
}

void leave(Gathering *gathering) {
    Warp &warp = warps[current / kWarp];
    if (--gathering->unread == 0) warp.used &= ~(1u << (gathering - warp.gatherings));
}

} // namespace emulated

void tl_emulated_set_reversed(int value) { reversed = value; }
void tl_emulated_set_deferred(int value) { deferred = value; }

const char *tl_emulated_check(void) {
    static std::string given;
    check_all_guards();
    const std::lock_guard<std::mutex> lock(report_mutex);
    given = std::exchange(reported, std::string());
    found_error = cudaSuccess;
    return given.empty() ? nullptr : given.c_str();
}

// What gcc calls where -fsanitize=alignment,bounds found something: a GPU stops at a
// misaligned access, and an index past a shared array has nothing else to catch it.
namespace {
struct Place {
    const char *file;
    uint32_t line, column;
};
void fail_in_source(const char *what, const void *where) {
    const Place *place = static_cast<const Place *>(where);
    const char *slash = std::strrchr(place->file, '/');
    char text[300];
    std::snprintf(text, sizeof text, "%s at %s:%u", what,
                  slash == nullptr ? place->file : slash + 1, place->line);
    if (launched != nullptr) fail(text);
    report(text);
}
} // namespace

extern "C" {
void __ubsan_handle_type_mismatch_v1(void *place, void *) {
    fail_in_source("misaligned access", place);
}
void __ubsan_handle_out_of_bounds(void *place, void *) {
    fail_in_source("index outside of an array", place);
}

// Optional libraries need a GPU: kernels take their other paths.
__attribute__((weak)) void tl_cuda_set_library_path(const char *) {}
__attribute__((weak)) void tl_cuda_set_float32_precision(int) {}
}
namespace tl {
__attribute__((weak)) void *library_function(const char *, const char *) {
    return nullptr;
}
} // namespace tl
