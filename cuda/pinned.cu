// Page-locked memory of the host. Blocks are kept, because the driver takes long to
// lock one and waits for the whole device when it gets one back.
//
// A block may be released while a copy that nobody waits for still reads it. Such a
// copy leaves an event with the block, which is not handed out again before that
// happened.
#include "pinned.cuh"

#include <map>
#include <mutex>
#include <vector>

namespace {

constexpr int64_t kSmallest = 4096;             // bytes: pages are locked whole
constexpr int64_t kMostIdle = INT64_C(1) << 28; // bytes that are kept

struct Block {
    char *data;
    int64_t capacity;
    std::vector<cudaEvent_t> readers;
    bool recorded; // a graph reads it whenever it is replayed
};

struct Pinned {
    std::mutex mutex;
    std::map<const char *, Block *> live; // by address
    std::multimap<int64_t, Block *> idle; // by capacity
    int64_t idle_bytes = 0;
};

// Never destroyed: tensors may be released while the process exits.
Pinned &pinned() {
    static Pinned *all = new Pinned;
    return *all;
}

// Powers of two and the halves between them: few sizes, so that blocks are found again.
int64_t capacity_for(int64_t nbytes) {
    int64_t capacity = kSmallest;
    while (capacity < nbytes) {
        if (capacity + capacity / 2 >= nbytes) return capacity + capacity / 2;
        capacity *= 2;
    }
    return capacity;
}

bool is_read(Block *block) {
    while (!block->readers.empty()) {
        if (cudaEventQuery(block->readers.back()) == cudaErrorNotReady) {
            cudaGetLastError(); // clear the runtime's copy
            return true;
        }
        cudaEventDestroy(block->readers.back());
        block->readers.pop_back();
    }
    return block->recorded;
}

Block *idle_block(Pinned &all, int64_t capacity) {
    const auto range = all.idle.equal_range(capacity);
    for (auto at = range.first; at != range.second; ++at) {
        Block *block = at->second;
        if (is_read(block)) continue;
        all.idle.erase(at);
        all.idle_bytes -= capacity;
        return block;
    }
    return nullptr;
}

} // namespace

namespace tl {

cudaError_t note_reader(const void *source, cudaStream_t stream) {
    Pinned &all = pinned();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const char *at = static_cast<const char *>(source);
    auto next = all.live.upper_bound(at);
    if (next == all.live.begin()) return cudaSuccess;
    Block *block = (--next)->second;
    if (at >= block->data + block->capacity) return cudaSuccess; // not pinned by us
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaStreamIsCapturing(stream, &status);
    if (status != cudaStreamCaptureStatusNone) {
        block->recorded = true;
        return cudaSuccess;
    }
    cudaEvent_t read = nullptr;
    cudaError_t error = cudaEventCreateWithFlags(&read, cudaEventDisableTiming);
    if (error == cudaSuccess) error = cudaEventRecord(read, stream);
    if (error != cudaSuccess) return error;
    block->readers.push_back(read);
    return cudaSuccess;
}

} // namespace tl

extern "C" {

int tl_cuda_allocate_pinned(int64_t nbytes, void **data) {
    Pinned &all = pinned();
    const int64_t capacity = capacity_for(nbytes);
    *data = nullptr;
    if (nbytes < 0 || nbytes > (INT64_C(1) << 46)) return cudaErrorMemoryAllocation;
    const std::lock_guard<std::mutex> lock(all.mutex);
    Block *block = idle_block(all, capacity);
    if (block == nullptr) {
        void *made = nullptr;
        const cudaError_t error =
            cudaHostAlloc(&made, static_cast<size_t>(capacity), cudaHostAllocPortable);
        if (error != cudaSuccess) {
            cudaGetLastError(); // clear the runtime's copy
            return error;
        }
        block = new Block{static_cast<char *>(made), capacity, {}, false};
    }
    all.live[block->data] = block;
    *data = block->data;
    return cudaSuccess;
}

int tl_cuda_free_pinned(void *data) {
    Pinned &all = pinned();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.live.find(static_cast<char *>(data));
    if (found == all.live.end()) return cudaErrorInvalidValue;
    Block *block = found->second;
    all.live.erase(found);
    if (all.idle_bytes + block->capacity <= kMostIdle || is_read(block)) {
        all.idle.emplace(block->capacity, block);
        all.idle_bytes += block->capacity;
        return cudaSuccess;
    }
    const cudaError_t error = cudaFreeHost(block->data);
    delete block;
    return error;
}

} // extern "C"
