// The emulated runtime: one device whose memory is the host's, with guards around every
// allocation; streams that are always idle.
//
// With TENSORLIB_EMULATED_PROTECT=1 the host may not touch the device's memory but
// through the runtime: it lies in one arena that is inaccessible while no kernel or
// copy runs, and a read of it ends the process as it would with a GPU.
#include "cuda_runtime.h"
#include "emulated_state.h"

#include <sys/mman.h>

#include <chrono>
#include <map>

struct EmulatedStream {
    unsigned flags;
};
struct EmulatedEvent {
    std::chrono::steady_clock::time_point at;
};

namespace {

constexpr size_t kGuard = 64, kAlign = 256;
constexpr unsigned char kGuardByte = 0xa5, kFreshByte = 0xff;
constexpr size_t kTotal = size_t(8) << 30;

struct Allocation {
    char *block;
    size_t nbytes; // asked for
    size_t whole;  // with the guards
    bool reported;
};

std::mutex memory_mutex;
std::map<char *, Allocation> allocations; // by the address given out
size_t used = 0;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t failed(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

// ---- the arena ---------------------------------------------------------------------
constexpr size_t kPage = 4096;
char *arena = nullptr;
size_t arena_used = 0; // under memory_mutex, as the rest
std::multimap<size_t, char *> arena_free;
int arena_users = 0;

bool is_protected() {
    static const bool wanted = [] {
        const char *set = std::getenv("TENSORLIB_EMULATED_PROTECT");
        return set != nullptr && *set == '1';
    }();
    return wanted;
}

char *take_block(size_t nbytes) {
    if (!is_protected()) return static_cast<char *>(std::malloc(nbytes));
    if (arena == nullptr) {
        void *made = mmap(nullptr, 2 * kTotal, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (made == MAP_FAILED) return nullptr;
        arena = static_cast<char *>(made);
    }
    nbytes = (nbytes + kPage - 1) / kPage * kPage;
    const auto found = arena_free.find(nbytes);
    if (found != arena_free.end()) {
        char *block = found->second;
        arena_free.erase(found);
        return block;
    }
    if (arena_used + nbytes > 2 * kTotal) return nullptr;
    char *block = arena + arena_used;
    arena_used += nbytes;
    if (arena_users) mprotect(block, nbytes, PROT_READ | PROT_WRITE);
    return block;
}

void give_block(char *block, size_t nbytes) {
    if (!is_protected())
        std::free(block);
    else
        arena_free.emplace((nbytes + kPage - 1) / kPage * kPage, block);
}

bool is_hidden() {
    const char *visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return visible != nullptr && (*visible == '\0' || *visible == '-');
}

char *allocate(size_t nbytes, size_t misalignment) {
    const emulated::Access access;
    const std::lock_guard<std::mutex> lock(memory_mutex);
    if (nbytes > kTotal - used) return nullptr;
    const size_t whole = nbytes + misalignment + 2 * kAlign + kGuard;
    char *block = take_block(whole);
    if (block == nullptr) return nullptr;
    const uintptr_t from = reinterpret_cast<uintptr_t>(block) + kGuard + kAlign - 1;
    char *data = reinterpret_cast<char *>(from / kAlign * kAlign + misalignment);
    std::memset(data - kGuard, kGuardByte, kGuard);
    std::memset(data, kFreshByte, nbytes);
    std::memset(data + nbytes, kGuardByte, kGuard);
    allocations[data] = {block, nbytes, whole, false};
    used += nbytes;
    return data;
}

// Reports a write just outside of an allocation, once.
void check_guards(char *data, Allocation &allocation) {
    for (size_t i = 0; i < kGuard && !allocation.reported; ++i) {
        const bool before = static_cast<unsigned char>(data[i - kGuard]) != kGuardByte;
        const bool after =
            static_cast<unsigned char>(data[allocation.nbytes + i]) != kGuardByte;
        if (!before && !after) continue;
        char text[160];
        std::snprintf(text, sizeof text,
                      "a kernel wrote %lld bytes %s an allocation of %lld bytes",
                      static_cast<long long>(before ? kGuard - i : i + 1),
                      before ? "before" : "past the end of",
                      static_cast<long long>(allocation.nbytes));
        emulated::report(text, cudaErrorIllegalAddress);
        allocation.reported = true;
    }
}

cudaError_t release(char *data) {
    const emulated::Access access;
    const std::lock_guard<std::mutex> lock(memory_mutex);
    const auto found = allocations.find(data);
    if (found == allocations.end()) return cudaErrorInvalidDevicePointer;
    check_guards(data, found->second);
    used -= found->second.nbytes;
    give_block(found->second.block, found->second.whole);
    allocations.erase(found);
    return cudaSuccess;
}

cudaError_t make_event(cudaEvent_t *event) {
    *event = new EmulatedEvent{std::chrono::steady_clock::now()};
    return cudaSuccess;
}

} // namespace

namespace emulated {
Access::Access() {
    if (!is_protected()) return;
    const std::lock_guard<std::mutex> lock(memory_mutex);
    if (arena_users++ == 0 && arena_used)
        mprotect(arena, arena_used, PROT_READ | PROT_WRITE);
}
Access::~Access() {
    if (!is_protected()) return;
    const std::lock_guard<std::mutex> lock(memory_mutex);
    if (--arena_users == 0 && arena_used) mprotect(arena, arena_used, PROT_NONE);
}

void check_all_guards() {
    const Access access;
    const std::lock_guard<std::mutex> lock(memory_mutex);
    for (auto &entry : allocations)
        check_guards(entry.first, entry.second);
}
} // namespace emulated

void *tl_emulated_allocate(int64_t nbytes, int64_t misalignment) {
    return allocate(static_cast<size_t>(nbytes), static_cast<size_t>(misalignment));
}
void tl_emulated_free(void *data) { release(static_cast<char *>(data)); }

// ---- errors ----------------------------------------------------------------------
const char *cudaGetErrorString(cudaError_t error) {
#define TL_EMULATED_ERROR(name, number, text)                                          \
    case number:                                                                       \
        return text;
    switch (error) { TL_EMULATED_ERRORS(TL_EMULATED_ERROR) }
#undef TL_EMULATED_ERROR
    return "unrecognized error code";
}
const char *cudaGetErrorName(cudaError_t error) {
#define TL_EMULATED_ERROR(name, number, text)                                          \
    case number:                                                                       \
        return #name;
    switch (error) { TL_EMULATED_ERRORS(TL_EMULATED_ERROR) }
#undef TL_EMULATED_ERROR
    return "unrecognized error code";
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

// ---- the device ------------------------------------------------------------------
cudaError_t cudaGetDeviceCount(int *count) {
    *count = is_hidden() ? 0 : 1;
    return is_hidden() ? failed(cudaErrorNoDevice) : cudaSuccess;
}
cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return is_hidden() ? failed(cudaErrorNoDevice) : cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    return device == 0 && !is_hidden() ? cudaSuccess : failed(cudaErrorInvalidDevice);
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    if (device != 0 || is_hidden()) return failed(cudaErrorInvalidDevice);
    switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = 48 << 10;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = 4;
        break;
    case cudaDevAttrL2CacheSize:
        *value = 50 << 20;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = 2048;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = 9;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = 0;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = 228 << 10;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = 227 << 10;
        break;
    default:
        return failed(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *found, int device) {
    if (device != 0 || is_hidden()) return failed(cudaErrorInvalidDevice);
    *found = {};
    std::strcpy(found->name, "emulated");
    found->totalGlobalMem = kTotal;
    found->sharedMemPerBlock = 48 << 10;
    found->sharedMemPerBlockOptin = 227 << 10;
    found->major = 9;
    found->multiProcessorCount = 4;
    found->l2CacheSize = 50 << 20;
    found->warpSize = 32;
    found->maxThreadsPerBlock = 1024;
    found->maxThreadsPerMultiProcessor = 2048;
    found->regsPerBlock = 65536;
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    return failed(emulated::is_recording() ? cudaErrorStreamCaptureUnsupported
                                           : emulated::flush());
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = 12000;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 12000;
    return cudaSuccess;
}

// ---- memory ----------------------------------------------------------------------
cudaError_t cudaMalloc(void **data, size_t nbytes) {
    *data = nullptr;
    if (is_hidden()) return failed(cudaErrorNoDevice);
    if (nbytes == 0) return cudaSuccess;
    *data = allocate(nbytes, 0);
    return *data == nullptr ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}
cudaError_t cudaFree(void *data) {
    const cudaError_t error = emulated::flush();
    if (data == nullptr) return failed(error);
    const cudaError_t released = release(static_cast<char *>(data));
    return failed(error == cudaSuccess ? released : error);
}
cudaError_t cudaHostAlloc(void **data, size_t nbytes, unsigned) {
    *data = is_hidden() ? nullptr
                        : std::aligned_alloc(kAlign, (nbytes / kAlign + 1) * kAlign);
    if (is_hidden()) return failed(cudaErrorNoDevice);
    return *data == nullptr ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}
cudaError_t cudaMallocHost(void **data, size_t nbytes) {
    return cudaHostAlloc(data, nbytes, cudaHostAllocDefault);
}
cudaError_t cudaFreeHost(void *data) {
    const cudaError_t error = emulated::flush();
    std::free(data);
    return failed(error);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *found, const void *data) {
    const std::lock_guard<std::mutex> lock(memory_mutex);
    char *at = static_cast<char *>(const_cast<void *>(data));
    auto next = allocations.upper_bound(at);
    *found = {cudaMemoryTypeUnregistered, -2};
    if (next == allocations.begin()) return cudaSuccess;
    --next;
    if (at < next->first + next->second.nbytes) *found = {cudaMemoryTypeDevice, 0};
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    const std::lock_guard<std::mutex> lock(memory_mutex);
    *free_bytes = kTotal - used;
    *total = kTotal;
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t nbytes,
                            cudaMemcpyKind kind, cudaStream_t) {
    if (emulated::is_recording()) {
        if (kind != cudaMemcpyDeviceToDevice)
            return failed(cudaErrorStreamCaptureUnsupported);
        return failed(
            emulated::launch(1, 1, 0, [=] { std::memmove(to, from, nbytes); }));
    }
    const cudaError_t error = emulated::flush();
    const emulated::Access access;
    std::memmove(to, from, nbytes);
    return failed(error);
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t nbytes, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, nbytes, kind);
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from,
                              size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind, cudaStream_t) {
    const cudaError_t error = emulated::flush();
    const emulated::Access access;
    for (size_t row = 0; row < height; ++row)
        std::memmove(static_cast<char *>(to) + row * to_pitch,
                     static_cast<const char *>(from) + row * from_pitch, width);
    return failed(error);
}
cudaError_t cudaMemsetAsync(void *data, int byte, size_t nbytes, cudaStream_t) {
    if (emulated::is_recording())
        return failed(
            emulated::launch(1, 1, 0, [=] { std::memset(data, byte, nbytes); }));
    const cudaError_t error = emulated::flush();
    const emulated::Access access;
    std::memset(data, byte, nbytes);
    return failed(error);
}
cudaError_t cudaMemset(void *data, int byte, size_t nbytes) {
    return cudaMemsetAsync(data, byte, nbytes);
}

// ---- streams and events ----------------------------------------------------------
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    *stream = new EmulatedStream{flags};
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *stream) {
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int) {
    return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const cudaError_t error = emulated::flush();
    delete stream;
    return failed(error);
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return failed(emulated::is_recording() ? cudaErrorStreamCaptureUnsupported
                                           : emulated::flush());
}
cudaError_t cudaStreamQuery(cudaStream_t) { return failed(emulated::flush()); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus *status) {
    *status = emulated::is_recording() ? cudaStreamCaptureStatusActive
                                       : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t function, void *argument) {
    const cudaError_t error = emulated::flush();
    function(argument);
    return failed(error);
}
cudaError_t cudaEventCreate(cudaEvent_t *event) { return make_event(event); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    return make_event(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    const cudaError_t error = emulated::flush();
    event->at = std::chrono::steady_clock::now();
    return failed(error);
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return failed(emulated::flush()); }
cudaError_t cudaEventQuery(cudaEvent_t) { return failed(emulated::flush()); }
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start,
                                 cudaEvent_t end) {
    *milliseconds =
        std::chrono::duration<float, std::milli>(end->at - start->at).count();
    return cudaSuccess;
}

// ---- graphs ----------------------------------------------------------------------
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    emulated::begin_recording();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph) {
    *graph = static_cast<cudaGraph_t>(emulated::end_recording());
    return *graph == nullptr ? failed(cudaErrorInvalidValue) : cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *made, cudaGraph_t graph,
                                 unsigned long long) {
    *made = reinterpret_cast<cudaGraphExec_t>(graph);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t) {
    return cudaSuccess;
} // the executable has it
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
    return failed(emulated::replay(graph));
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    emulated::forget_recording(graph);
    return cudaSuccess;
}
