/* The CUDA module's C interface: what the host code may call, without CUDA headers.
 *
 * A function returns 0 or the runtime's error number (cudaError_t); its text comes
 * from tl_cuda_error_text. Kernels have the signature of kernels.h and report
 * TL_DEVICE_ERROR; tl_cuda_last_error then gives the number, per host thread.
 */
#ifndef TENSORLIB_CUDA_H
#define TENSORLIB_CUDA_H

#include "tensorlib/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TL_CUDA_MAX_DEVICES 16

typedef enum tl_cuda_copy_kind {
    TL_CUDA_TO_DEVICE = 1,
    TL_CUDA_TO_HOST = 2
} tl_cuda_copy_kind;

/* ---- errors ---- */
const char *tl_cuda_error_text(int error);
const char *tl_cuda_error_name(int error);
int tl_cuda_last_error(void); /* of a kernel that failed in this thread; clears it */
/* What a kernel found wrong with its input since the last call: a tl_status, and the op.
 * Meaningful after the device has been waited for. */
int tl_cuda_take_fault(int device, const char **op);

/* ---- devices ---- */
int tl_cuda_device_count(int *count);
int tl_cuda_device_name(int device, char *name, int size); /* size: bytes of name */
int tl_cuda_device_memory(int device, int64_t *free_bytes, int64_t *total_bytes);
int tl_cuda_device_capability(int device, int *major, int *minor, int *processors);
int tl_cuda_driver_version(int *version);  /* 1000 * major + 10 * minor; 0: none */
int tl_cuda_runtime_version(int *version); /* of the runtime linked in */
int tl_cuda_synchronize(int device);       /* wait for everything launched so far */

/* ---- memory: blocks from a caching allocator, ordered by the current stream ---- */
typedef struct tl_cuda_statistics {
    int64_t allocated, peak_allocated; /* bytes in live blocks (capacity) */
    int64_t reserved, peak_reserved;   /* bytes held from the driver, cached ones too */
    int64_t live, allocations, system_calls;
    int64_t limit; /* bytes; 0 = none */
} tl_cuda_statistics;
int tl_cuda_allocate(int device, int64_t nbytes, void **data, void **block);
void tl_cuda_release(void *block);
int tl_cuda_empty_cache(int device);
int tl_cuda_memory_statistics(int device, tl_cuda_statistics *found);
int tl_cuda_reset_peaks(int device);
int tl_cuda_set_limit(int device, int64_t nbytes);
int tl_cuda_allocate_pinned(int64_t nbytes, void **data); /* host memory, page-locked */
int tl_cuda_free_pinned(void *data);
/* Which device has the memory; an error when none has. */
int tl_cuda_pointer_device(const void *data, int *device);

/* Copies on the current stream of `device`; waits for the end where `wait`. */
int tl_cuda_copy(int device, void *target, const void *source, int64_t nbytes,
                 tl_cuda_copy_kind kind, int wait);

/* ---- streams and events: handles are cudaStream_t and cudaEvent_t ---- */
int tl_cuda_stream_create(int device, int priority, void **stream);
int tl_cuda_stream_destroy(int device, void *stream);
int tl_cuda_stream_synchronize(int device, void *stream);
int tl_cuda_stream_query(int device, void *stream); /* cudaErrorNotReady while busy */
void *tl_cuda_current_stream(int device); /* of this thread */
void tl_cuda_set_stream(int device, void *stream);
int tl_cuda_event_create(int device, int timing, void **event);
int tl_cuda_event_destroy(int device, void *event);
int tl_cuda_event_record(int device, void *event, void *stream);
int tl_cuda_event_synchronize(int device, void *event);
int tl_cuda_event_query(int device, void *event);
int tl_cuda_event_elapsed(void *start, void *end, float *milliseconds);
int tl_cuda_stream_wait_event(int device, void *stream, void *event);

/* ---- graphs: launches on a stream recorded once and replayed ---- */
int tl_cuda_capture_begin(int device, void *stream);
int tl_cuda_capture_end(int device, void *stream, void **graph, void **pool);
int tl_cuda_graph_launch(int device, void *graph, void *stream);
int tl_cuda_graph_destroy(int device, void *graph, void *pool);

/* ---- libraries: NVIDIA's own, loaded at first use where they are installed ---- */
/* Folders to search after the loader's path, with colons between them. */
void tl_cuda_set_library_path(const char *folders);
/* Products of float32: 0 = every bit (the default), 1 = TF32, which keeps 10 bits of each
 * factor's fraction. */
void tl_cuda_set_float32_precision(int precision);
int tl_cuda_float32_precision(void);
/* Whether convolutions go to cuDNN where it is installed: 1 (the default) or 0. */
void tl_cuda_set_cudnn(int used);
/* Whether small products go to tiles of our own (sliced.cuh): 1 (the default), or 0, as
 * larger ones go, to cuBLASLt where it is installed. */
void tl_cuda_set_small_products(int used);

/* One rung of the ladder of matrix products (gemm.cuh), for benchmarks: c = a @ b of
 * row-major device arrays, a (m, k), b (k, n), on the current stream. Sizes a rung does
 * not take are an error: REGISTERS wants k and n divisible by 4, TENSOR_CORES by 8. */
typedef enum tl_cuda_rung {
    TL_CUDA_NAIVE = 0,       /* float32: one thread an element */
    TL_CUDA_SHARED = 1,      /* float32: tiles in shared memory */
    TL_CUDA_REGISTERS = 2,   /* float32: tiles in registers, double-buffered */
    TL_CUDA_TENSOR_CORES = 3 /* bfloat16 */
} tl_cuda_rung;
int tl_cuda_teaching_matmul(int which, int device, int64_t m, int64_t n, int64_t k,
                            const void *a, const void *b, void *c);

/* ---- kernels ---- */
typedef struct tl_cuda_entry {
    const char *op;
    int32_t dtype;      /* tl_dtype */
    tl_kernel_fn run;   /* asynchronous; the output's device is current */
    const void *loop;   /* for run: whatever tells the ops that share it apart */
} tl_cuda_entry;

/* The run function of every entry in the kernel table; call->loop is the entry. */
tl_status tl_cuda_run(const tl_call *call);

/* Every kernel file gives its entries: tl_cuda_<family>_entries(&count). */
#define TL_CUDA_FAMILIES(X)                                                             \
    X(unary) X(binary) X(ternary) X(cast) X(activation) X(fill) X(reduce) X(scan)       \
    X(softmax) X(norm) X(loss) X(matmul) X(conv) X(pool) X(indexing) X(scatter)         \
    X(sort) X(random) X(optim) X(attention) X(recurrent)
#define TL_CUDA_DECLARE(name) const tl_cuda_entry *tl_cuda_##name##_entries(int *count);
TL_CUDA_FAMILIES(TL_CUDA_DECLARE)
#undef TL_CUDA_DECLARE
/* The table of family number `family`, from 0; null past the last. */
const tl_cuda_entry *tl_cuda_entries(int family, int *count);

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_CUDA_H */
