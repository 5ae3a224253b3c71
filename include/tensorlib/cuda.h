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

typedef enum tl_cuda_copy_kind {
    TL_CUDA_TO_DEVICE = 1,
    TL_CUDA_TO_HOST = 2,
    TL_CUDA_ON_DEVICE = 3
} tl_cuda_copy_kind;

/* ---- errors ---- */
const char *tl_cuda_error_text(int error);
const char *tl_cuda_error_name(int error);
int tl_cuda_last_error(void); /* of a kernel that failed in this thread; clears it */

/* ---- devices ---- */
int tl_cuda_device_count(int *count);
int tl_cuda_device_name(int device, char *name, int size); /* size: bytes of name */
int tl_cuda_driver_version(int *version);  /* 1000 * major + 10 * minor; 0: none */
int tl_cuda_runtime_version(int *version); /* of the runtime linked in */
int tl_cuda_synchronize(int device);       /* wait for everything launched so far */

/* ---- memory ---- */
int tl_cuda_malloc(int device, int64_t nbytes, void **data);
int tl_cuda_free(int device, void *data);
int tl_cuda_copy(int device, void *target, const void *source, int64_t nbytes,
                 tl_cuda_copy_kind kind);

/* ---- kernels: C-contiguous operands of one shape and dtype ---- */
tl_status tl_cuda_add(const tl_call *call); /* float32, float64 */

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_CUDA_H */
