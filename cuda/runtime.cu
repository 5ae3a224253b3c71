// Devices, copies, streams, errors and the runner of kernels, behind tensorlib/cuda.h.
#include "launch.cuh"
#include "pinned.cuh"

#include <mutex>

#ifndef TL_CUDA_EMULATED
#include <cuda.h>
#endif

namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local cudaStream_t streams[TL_CUDA_MAX_DEVICES];
thread_local const char *running = "";
thread_local int scope_device = -1; // of the innermost DeviceScope

struct DeviceInfo {
    std::once_flag once;
    int processors = 1;
    bool early = false; // kernels may be brought to it before the one before them ends
    tl::Fault::Report *report = nullptr;
};
DeviceInfo devices[TL_CUDA_MAX_DEVICES];

// Whether the device has programmatic launches, the driver has them in graphs, too, and
// kernels were compiled to wait (launch.cuh): they all have this one's architecture.
#ifdef TL_CUDA_EMULATED
bool can_be_early(int) { return false; }
#else
__global__ void architecture_kernel() {}
bool can_be_early(int device) {
    const tl::DeviceScope scope(device);
    int driver = 0;
    cudaFuncAttributes code;
    if (cudaDriverGetVersion(&driver) == cudaSuccess &&
        cudaFuncGetAttributes(&code, architecture_kernel) == cudaSuccess)
        return driver >= 12030 && code.ptxVersion >= 90;
    cudaGetLastError(); // clear the runtime's copy
    return false;
}
#endif

DeviceInfo &device_info(int device) {
    DeviceInfo &info = devices[device];
    std::call_once(info.once, [&] {
        cudaDeviceGetAttribute(&info.processors, cudaDevAttrMultiProcessorCount,
                               device);
        info.early = can_be_early(device);
        void *memory = nullptr;
        if (cudaHostAlloc(&memory, sizeof(tl::Fault::Report), cudaHostAllocPortable) ==
            cudaSuccess)
            info.report = new (memory) tl::Fault::Report{nullptr, TL_OK};
    });
    return info;
}

// Whether every thread is on device 0, since there is no other.
bool has_one_device() {
    static const bool one = [] {
        int count = 0;
        return cudaGetDeviceCount(&count) == cudaSuccess && count == 1;
    }();
    return one;
}

cudaStream_t as_stream(void *stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t as_event(void *event) { return static_cast<cudaEvent_t>(event); }

// A query's answer. "Not ready" is no error, for which the next launch would be blamed.
cudaError_t answer(cudaError_t error) {
    if (error == cudaErrorNotReady) cudaGetLastError();
    return error;
}

// Runs a call of the runtime with a device made current.
template <typename Call> int on_device(int device, Call call) {
    const tl::DeviceScope scope(device);
    return scope.error() != cudaSuccess ? scope.error() : call();
}

} // namespace

namespace tl {

tl_status check(cudaError_t error) {
    if (error == cudaSuccess) return TL_OK;
    last_error = error;
    return error == cudaErrorMemoryAllocation ? TL_OUT_OF_MEMORY : TL_DEVICE_ERROR;
}

int current_device() {
    if (scope_device >= 0) return scope_device;
    int device = 0;
    cudaGetDevice(&device);
    return device;
}

DeviceScope::DeviceScope(int device)
    : device_(device), previous_(device), outer_(scope_device) {
    if (device != 0 || !has_one_device()) {
        int now = device;
        error_ = cudaGetDevice(&now);
        if (error_ == cudaSuccess && now != device) {
            previous_ = now;
            error_ = cudaSetDevice(device);
        }
    }
    scope_device = device;
}

DeviceScope::~DeviceScope() {
    scope_device = outer_;
    if (previous_ != device_) cudaSetDevice(previous_);
}

cudaStream_t stream() { return streams[current_device()]; }
int processors() { return device_info(current_device()).processors; }
Fault fault() { return {device_info(current_device()).report, running}; }

} // namespace tl

// ---- launches -----------------------------------------------------------------------
#ifndef TL_CUDA_EMULATED
namespace {

using Launch = CUresult (*)(const CUlaunchConfig *, CUfunction, void **, void **);

Launch find_launch() {
    void *function = nullptr;
    cudaDriverEntryPointQueryResult found;
    constexpr const char *name = "cuLaunchKernelEx";
#if CUDART_VERSION >= 12050
    const cudaError_t error = cudaGetDriverEntryPointByVersion(
        name, &function, 12000, cudaEnableDefault, &found);
#else
    const cudaError_t error =
        cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &found);
#endif
    const bool there = error == cudaSuccess && found == cudaDriverEntryPointSuccess;
    return there ? reinterpret_cast<Launch>(function) : nullptr;
}

// A kernel as the driver knows it, in the current device's context.
struct Known {
    const void *kernel;
    int device;
    CUfunction function;
};
constexpr int kKnown = 512; // that a thread keeps, each at one place
thread_local Known known[kKnown];

// Null where there is none.
CUfunction function_of(const void *kernel) {
    const int device = tl::current_device();
    Known &entry = known[reinterpret_cast<uintptr_t>(kernel) / 16 % kKnown];
    if (entry.kernel == kernel && entry.device == device) return entry.function;
    cudaFunction_t function = nullptr;
    if (cudaGetFuncBySymbol(&function, kernel) != cudaSuccess) {
        cudaGetLastError(); // clear the runtime's copy
        return nullptr;
    }
    entry = {kernel, device, function};
    return function;
}

cudaError_t start_by_runtime(const tl::Shape &shape, const void *kernel,
                             void **arguments) {
    if (shape.shared > 48 * 1024) {
        const cudaError_t error =
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shape.shared));
        if (error != cudaSuccess) return error;
    }
    return cudaLaunchKernel(kernel, shape.grid, shape.block, arguments, shape.shared,
                            tl::stream());
}

} // namespace

namespace tl {

// The driver's launch of a function already looked up is shorter than the runtime's by
// a tenth. Where it fails, the runtime mends what can be (a context that is not
// current, a limit of shared memory not raised yet), or tells what is wrong.
tl_status start(const Shape &shape, const void *kernel, void **arguments) {
    static const Launch launch = find_launch();
    const CUfunction function = launch == nullptr ? nullptr : function_of(kernel);
    if (function != nullptr) {
        const dim3 &grid = shape.grid, &block = shape.block;
        CUlaunchAttribute early;
        early.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
        early.value.programmaticStreamSerializationAllowed = 1;
        CUlaunchConfig config = {};
        config.gridDimX = grid.x, config.gridDimY = grid.y, config.gridDimZ = grid.z;
        config.blockDimX = block.x, config.blockDimY = block.y;
        config.blockDimZ = block.z;
        config.sharedMemBytes = static_cast<unsigned>(shape.shared);
        config.hStream = stream();
        config.attrs = &early;
        config.numAttrs = shape.early && device_info(current_device()).early ? 1 : 0;
        if (launch(&config, function, arguments, nullptr) == CUDA_SUCCESS) return TL_OK;
    }
    const cudaError_t error = start_by_runtime(shape, kernel, arguments);
    if (error != cudaSuccess) cudaGetLastError(); // clear the runtime's copy
    return check(error);
}

} // namespace tl
#endif

extern "C" {

tl_status tl_cuda_run(const tl_call *call) {
    const tl_cuda_entry *entry = static_cast<const tl_cuda_entry *>(call->loop);
    const tl::DeviceScope scope(call->out[0]->device_index);
    if (scope.error() != cudaSuccess) return tl::check(scope.error());
    tl_call inner = *call;
    inner.loop = entry->loop;
    running = entry->op;
    return entry->run(&inner);
}

const char *tl_cuda_error_text(int error) {
    return cudaGetErrorString(static_cast<cudaError_t>(error));
}

const char *tl_cuda_error_name(int error) {
    return cudaGetErrorName(static_cast<cudaError_t>(error));
}

int tl_cuda_last_error(void) {
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

int tl_cuda_take_fault(int device, const char **op) {
    tl::Fault::Report *report = device_info(device).report;
    if (report == nullptr || report->status == TL_OK) return TL_OK;
    const int status = report->status;
    *op = report->op;
    report->status = TL_OK;
    return status;
}

int tl_cuda_device_count(int *count) {
    *count = 0;
    const cudaError_t error = cudaGetDeviceCount(count);
    if (error != cudaSuccess) cudaGetLastError(); // clear the runtime's copy
    if (*count > TL_CUDA_MAX_DEVICES) *count = TL_CUDA_MAX_DEVICES;
    return error;
}

int tl_cuda_device_name(int device, char *name, int size) {
    cudaDeviceProp properties;
    const cudaError_t error = cudaGetDeviceProperties(&properties, device);
    if (error != cudaSuccess) return error;
    int i = 0;
    for (; i < size - 1 && properties.name[i]; ++i)
        name[i] = properties.name[i];
    if (size > 0) name[i] = '\0';
    return cudaSuccess;
}

int tl_cuda_device_memory(int device, int64_t *free_bytes, int64_t *total_bytes) {
    return on_device(device, [=] {
        size_t free_now = 0, total = 0;
        const cudaError_t error = cudaMemGetInfo(&free_now, &total);
        *free_bytes = static_cast<int64_t>(free_now);
        *total_bytes = static_cast<int64_t>(total);
        return error;
    });
}

int tl_cuda_device_capability(int device, int *major, int *minor, int *processors) {
    cudaError_t error =
        cudaDeviceGetAttribute(major, cudaDevAttrComputeCapabilityMajor, device);
    if (error == cudaSuccess)
        error =
            cudaDeviceGetAttribute(minor, cudaDevAttrComputeCapabilityMinor, device);
    if (error == cudaSuccess)
        error =
            cudaDeviceGetAttribute(processors, cudaDevAttrMultiProcessorCount, device);
    return error;
}

int tl_cuda_driver_version(int *version) {
    *version = 0;
    return cudaDriverGetVersion(version);
}

int tl_cuda_runtime_version(int *version) {
    *version = 0;
    return cudaRuntimeGetVersion(version);
}

int tl_cuda_synchronize(int device) {
    return on_device(device, [] { return cudaDeviceSynchronize(); });
}

int tl_cuda_copy(int device, void *target, const void *source, int64_t nbytes,
                 tl_cuda_copy_kind kind, int wait) {
    static const cudaMemcpyKind kinds[] = {cudaMemcpyHostToHost, cudaMemcpyHostToDevice,
                                           cudaMemcpyDeviceToHost};
    if (nbytes < 0 || kind < TL_CUDA_TO_DEVICE || kind > TL_CUDA_TO_HOST)
        return cudaErrorInvalidValue;
    if (nbytes == 0) return cudaSuccess;
    return on_device(device, [=] {
        const cudaError_t error = cudaMemcpyAsync(
            target, source, static_cast<size_t>(nbytes), kinds[kind], streams[device]);
        if (error != cudaSuccess) return error;
        if (wait) return cudaStreamSynchronize(streams[device]);
        return kind == TL_CUDA_TO_DEVICE ? tl::note_reader(source, streams[device])
                                         : cudaSuccess;
    });
}

int tl_cuda_pointer_device(const void *data, int *device) {
    cudaPointerAttributes found;
    const cudaError_t error = cudaPointerGetAttributes(&found, data);
    if (error != cudaSuccess) return error;
    *device = found.device;
    return found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged
               ? cudaSuccess
               : cudaErrorInvalidValue;
}

int tl_cuda_stream_create(int device, int priority, void **stream) {
    return on_device(device, [=] {
        cudaStream_t made = nullptr;
        const cudaError_t error =
            cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, priority);
        *stream = made;
        return error;
    });
}

int tl_cuda_stream_destroy(int device, void *stream) {
    return on_device(device, [=] { return cudaStreamDestroy(as_stream(stream)); });
}

int tl_cuda_stream_synchronize(int device, void *stream) {
    return on_device(device, [=] { return cudaStreamSynchronize(as_stream(stream)); });
}

int tl_cuda_stream_query(int device, void *stream) {
    return on_device(device,
                     [=] { return answer(cudaStreamQuery(as_stream(stream))); });
}

void *tl_cuda_current_stream(int device) { return streams[device]; }
void tl_cuda_set_stream(int device, void *stream) {
    streams[device] = as_stream(stream);
}

int tl_cuda_event_create(int device, int timing, void **event) {
    return on_device(device, [=] {
        cudaEvent_t made = nullptr;
        const cudaError_t error = cudaEventCreateWithFlags(
            &made, timing ? cudaEventDefault : cudaEventDisableTiming);
        *event = made;
        return error;
    });
}

int tl_cuda_event_destroy(int device, void *event) {
    return on_device(device, [=] { return cudaEventDestroy(as_event(event)); });
}

int tl_cuda_event_record(int device, void *event, void *stream) {
    return on_device(
        device, [=] { return cudaEventRecord(as_event(event), as_stream(stream)); });
}

int tl_cuda_event_synchronize(int device, void *event) {
    return on_device(device, [=] { return cudaEventSynchronize(as_event(event)); });
}

int tl_cuda_event_query(int device, void *event) {
    return on_device(device, [=] { return answer(cudaEventQuery(as_event(event))); });
}

int tl_cuda_event_elapsed(void *start, void *end, float *milliseconds) {
    return cudaEventElapsedTime(milliseconds, as_event(start), as_event(end));
}

int tl_cuda_stream_wait_event(int device, void *stream, void *event) {
    return on_device(device, [=] {
        return cudaStreamWaitEvent(as_stream(stream), as_event(event), 0);
    });
}

} // extern "C"
