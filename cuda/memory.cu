// The caching allocator: blocks are kept by device, stream and size class.
//
// A block that is released may be handed out again at once to work on the same stream,
// because that work runs after everything launched with the block before. Blocks never
// change streams. While a stream is captured into a graph its blocks come from a pool
// of the graph's own, which nobody else is given: a replay finds its memory as it left
// it.
#include "launch.cuh"

#include <mutex>
#include <unordered_map>

namespace {

constexpr int64_t kSmallest = 512; // bytes; every class is a multiple
constexpr int kClasses = 4 * 44;   // four an octave

struct Pool;

struct Block {
    void *data;
    int64_t capacity;
    Pool *pool;
    Block *next; // in a free list
};

struct Pool {
    int device = 0;
    Block *free[kClasses] = {};
    int64_t blocks = 0;     // made so far and not returned to the driver
    bool capturing = false; // a graph's pool while its stream is captured
    bool abandoned = false; // its graph is gone: released blocks go to the driver
    unsigned *tickets = nullptr;
    ~Pool() { cudaFree(tickets); }
};

struct DeviceMemory {
    std::mutex mutex;
    std::unordered_map<cudaStream_t, Pool *> pools;
    cudaStream_t last_stream = nullptr; // spares most calls the search
    Pool *last_pool = nullptr;
    tl_cuda_statistics statistics = {};
};
DeviceMemory memories[TL_CUDA_MAX_DEVICES];

int log2_of(uint64_t n) { return 63 - __builtin_clzll(n); }

int size_class(int64_t nbytes) {
    const uint64_t n = nbytes > kSmallest ? nbytes - 1 : kSmallest - 1;
    const int octave = log2_of(n);
    return 4 * (octave - 8) + static_cast<int>((n >> (octave - 2)) & 3) - 3;
}

int64_t class_bytes(int index) {
    const int octave = (index + 3) / 4 + 8, quarter = (index + 3) % 4;
    return (static_cast<int64_t>(4 + quarter + 1) << octave) >> 2;
}

void forget(DeviceMemory &memory, Block *block) {
    cudaFree(block->data);
    memory.statistics.reserved -= block->capacity;
    --block->pool->blocks;
    delete block;
}

// Returns every cached block to the driver; the lock is held.
void drop_cache(DeviceMemory &memory, Pool *pool) {
    if (pool->capturing) return;
    for (Block *&list : pool->free)
        while (list != nullptr) {
            Block *block = list;
            list = block->next;
            forget(memory, block);
        }
}

void drop_caches(DeviceMemory &memory) {
    cudaDeviceSynchronize(); // cached blocks may still be in use by what was launched
    for (auto &entry : memory.pools)
        drop_cache(memory, entry.second);
}

Pool *pool_for(DeviceMemory &memory, int device, cudaStream_t stream) {
    if (memory.last_pool != nullptr && memory.last_stream == stream)
        return memory.last_pool;
    Pool *&pool = memory.pools[stream];
    if (pool == nullptr) {
        pool = new Pool;
        pool->device = device;
    }
    memory.last_stream = stream;
    memory.last_pool = pool;
    return pool;
}

cudaError_t take(DeviceMemory &memory, Pool *pool, int64_t nbytes, Block **found) {
    const int index = size_class(nbytes);
    const int64_t capacity = class_bytes(index);
    tl_cuda_statistics &statistics = memory.statistics;
    if (pool->free[index] != nullptr) {
        *found = pool->free[index];
        pool->free[index] = (*found)->next;
        return cudaSuccess;
    }
    const auto over = [&] {
        return statistics.limit && statistics.reserved + capacity > statistics.limit;
    };
    if (over() && !pool->capturing) drop_caches(memory);
    if (over()) return cudaErrorMemoryAllocation;
    void *data = nullptr;
    cudaError_t error = cudaMalloc(&data, static_cast<size_t>(capacity));
    if (error == cudaErrorMemoryAllocation && !pool->capturing) {
        cudaGetLastError(); // clear the runtime's copy
        drop_caches(memory);
        error = cudaMalloc(&data, static_cast<size_t>(capacity));
    }
    if (error != cudaSuccess) {
        cudaGetLastError();
        return error;
    }
    *found = new Block{data, capacity, pool, nullptr};
    ++pool->blocks;
    ++statistics.system_calls;
    statistics.reserved += capacity;
    if (statistics.reserved > statistics.peak_reserved)
        statistics.peak_reserved = statistics.reserved;
    return cudaSuccess;
}

cudaError_t allocate(int device, cudaStream_t stream, int64_t nbytes, Block **found) {
    DeviceMemory &memory = memories[device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    const cudaError_t error =
        take(memory, pool_for(memory, device, stream), nbytes, found);
    if (error != cudaSuccess) return error;
    tl_cuda_statistics &statistics = memory.statistics;
    statistics.allocated += (*found)->capacity;
    if (statistics.allocated > statistics.peak_allocated)
        statistics.peak_allocated = statistics.allocated;
    ++statistics.live;
    ++statistics.allocations;
    return cudaSuccess;
}

void release(Block *block) {
    Pool *pool = block->pool;
    DeviceMemory &memory = memories[pool->device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    memory.statistics.allocated -= block->capacity;
    --memory.statistics.live;
    if (pool->abandoned) {
        forget(memory, block);
        if (pool->blocks == 0) delete pool;
        return;
    }
    const int index = size_class(block->capacity);
    block->next = pool->free[index];
    pool->free[index] = block;
}

} // namespace

namespace tl {

Scratch::Scratch(int64_t nbytes) {
    Block *block = nullptr;
    if (check(allocate(current_device(), stream(), nbytes, &block)) != TL_OK) return;
    block_ = block;
    data_ = block->data;
}

Scratch::~Scratch() {
    if (block_ != nullptr) release(static_cast<Block *>(block_));
}

// A graph has those of its own pool: replays never count with a stream's. The zeros are
// written in stream order, in a capture by a node of the graph.
unsigned *tickets() {
    const int device = current_device();
    DeviceMemory &memory = memories[device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    Pool *pool = pool_for(memory, device, stream());
    if (pool->tickets != nullptr) return pool->tickets;
    constexpr size_t bytes = kTickets * sizeof(unsigned);
    void *data = nullptr;
    if (check(cudaMalloc(&data, bytes)) != TL_OK) {
        cudaGetLastError(); // clear the runtime's copy
        return nullptr;
    }
    if (check(cudaMemsetAsync(data, 0, bytes, stream())) != TL_OK) {
        cudaFree(data);
        return nullptr;
    }
    return pool->tickets = static_cast<unsigned *>(data);
}

} // namespace tl

extern "C" {

int tl_cuda_allocate(int device, int64_t nbytes, void **data, void **block) {
    *data = *block = nullptr;
    if (nbytes < 0 || nbytes > (INT64_C(1) << 48)) return cudaErrorMemoryAllocation;
    const tl::DeviceScope scope(device);
    if (scope.error() != cudaSuccess) return scope.error();
    Block *found = nullptr;
    const cudaError_t error = allocate(device, tl::stream(), nbytes, &found);
    if (error != cudaSuccess) return error;
    *data = found->data;
    *block = found;
    return cudaSuccess;
}

void tl_cuda_release(void *block) { release(static_cast<Block *>(block)); }

int tl_cuda_empty_cache(int device) {
    const tl::DeviceScope scope(device);
    if (scope.error() != cudaSuccess) return scope.error();
    DeviceMemory &memory = memories[device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    drop_caches(memory);
    return cudaSuccess;
}

int tl_cuda_memory_statistics(int device, tl_cuda_statistics *found) {
    DeviceMemory &memory = memories[device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    *found = memory.statistics;
    return cudaSuccess;
}

int tl_cuda_reset_peaks(int device) {
    DeviceMemory &memory = memories[device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    memory.statistics.peak_allocated = memory.statistics.allocated;
    memory.statistics.peak_reserved = memory.statistics.reserved;
    return cudaSuccess;
}

int tl_cuda_set_limit(int device, int64_t nbytes) {
    DeviceMemory &memory = memories[device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    memory.statistics.limit = nbytes;
    return cudaSuccess;
}

int tl_cuda_capture_begin(int device, void *stream) {
    const tl::DeviceScope scope(device);
    if (scope.error() != cudaSuccess) return scope.error();
    const cudaStream_t captured = static_cast<cudaStream_t>(stream);
    DeviceMemory &memory = memories[device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    Pool *pool = pool_for(memory, device, captured);
    drop_caches(memory);
    if (pool->blocks) { // live tensors keep the old pool; the graph gets a new one
        pool->abandoned = true;
        memory.pools.erase(captured);
        memory.last_pool = nullptr;
        pool = pool_for(memory, device, captured);
    }
    pool->capturing = true;
    const cudaError_t error =
        cudaStreamBeginCapture(captured, cudaStreamCaptureModeRelaxed);
    if (error != cudaSuccess) pool->capturing = false;
    return error;
}

int tl_cuda_capture_end(int device, void *stream, void **graph, void **pool) {
    *graph = *pool = nullptr;
    const tl::DeviceScope scope(device);
    if (scope.error() != cudaSuccess) return scope.error();
    const cudaStream_t captured = static_cast<cudaStream_t>(stream);
    cudaGraph_t recorded = nullptr;
    cudaGraphExec_t made = nullptr;
    cudaError_t error = cudaStreamEndCapture(captured, &recorded);
    if (error == cudaSuccess) {
        error = cudaGraphInstantiate(&made, recorded, 0);
        cudaGraphDestroy(recorded);
    }
    DeviceMemory &memory = memories[device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    Pool *own = pool_for(memory, device, captured);
    own->capturing = false;
    memory.pools.erase(captured);
    memory.last_pool = nullptr;
    *graph = made;
    *pool = own;
    return error;
}

int tl_cuda_graph_launch(int device, void *graph, void *stream) {
    const tl::DeviceScope scope(device);
    if (scope.error() != cudaSuccess) return scope.error();
    return cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph),
                           static_cast<cudaStream_t>(stream));
}

int tl_cuda_graph_destroy(int device, void *graph, void *pool) {
    const tl::DeviceScope scope(device);
    if (scope.error() != cudaSuccess) return scope.error();
    cudaError_t error = cudaDeviceSynchronize();
    if (graph != nullptr) {
        const cudaError_t destroyed =
            cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
        error = error == cudaSuccess ? destroyed : error;
    }
    Pool *own = static_cast<Pool *>(pool);
    if (own == nullptr) return error;
    DeviceMemory &memory = memories[device];
    const std::lock_guard<std::mutex> lock(memory.mutex);
    drop_cache(memory, own);
    own->abandoned = true;
    if (own->blocks == 0) delete own;
    return error;
}

} // extern "C"
