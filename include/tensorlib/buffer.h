/* The strided buffer: the one data structure every layer of tensorlib shares.
 *
 * Pure C11, no Python. Kernels (CPU and CUDA) see tensors only as tl_buffer.
 */
#ifndef TENSORLIB_BUFFER_H
#define TENSORLIB_BUFFER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TL_MAX_NDIM 32

/* Order matters: it indexes the kernel and promotion tables. */
typedef enum tl_dtype {
    TL_BOOL = 0,
    TL_INT8,
    TL_INT16,
    TL_INT32,
    TL_INT64,
    TL_UINT8,
    TL_UINT16,
    TL_UINT32,
    TL_UINT64,
    TL_FLOAT16,
    TL_BFLOAT16,
    TL_FLOAT32,
    TL_FLOAT64,
    TL_COMPLEX64,
    TL_COMPLEX128,
    TL_DTYPE_COUNT
} tl_dtype;

typedef enum tl_device_type {
    TL_CPU = 0,
    TL_CUDA,
    TL_BATCHED, /* CPU memory under hidden batch axes: core/hidden.pyx */
    TL_DEVICE_TYPE_COUNT
} tl_device_type;

/* What a kernel reports; core/errors.pyx turns each into one exception type. */
typedef enum tl_status {
    TL_OK = 0,
    TL_OUT_OF_MEMORY,
    TL_INDEX_OUT_OF_RANGE,
    TL_DIVISION_BY_ZERO,
    TL_NEGATIVE_EXPONENT,
    TL_BAD_TARGET,
    TL_DEVICE_ERROR,
    TL_DECLINED, /* the device has no kernel for this case: take the slower way */
    TL_STATUS_COUNT
} tl_status;

enum {
    TL_STORAGE_READONLY = 1, /* writing raises; set for read-only exporters */
    TL_STORAGE_BORROWED = 2  /* data belongs to somebody else; call release */
};

/* Reference-counted memory. Ours follows this header, from 128 bytes on. */
typedef struct tl_storage {
    void *data;             /* first byte, 64-byte aligned when ours */
    int64_t nbytes;         /* bytes asked for */
    int64_t capacity;       /* bytes held (size class) */
    int64_t refcount;       /* atomic */
    uint32_t version;       /* bumped by every in-place write */
    uint8_t flags;          /* TL_STORAGE_* */
    uint8_t device_type;    /* tl_device_type */
    uint16_t device_index;  /* 0 on the CPU; TL_BATCHED: which hidden axes */
    uint32_t recorded_writes; /* in-place writes that autograd recorded */
    uint32_t lent;          /* who else has the address: data may change unseen */
    const char *last_writer; /* name of the op that bumped version, or NULL */
    void *owner;            /* borrowed memory: what release is given */
    void (*release)(void *owner); /* called once, when refcount reaches 0 */
    void *derived;           /* what kernels made of data and keep: core/storage.pyx */
} tl_storage;

enum { TL_C_CONTIGUOUS = 1 };

typedef struct tl_buffer {
    void *data;                   /* first element, already offset */
    tl_storage *storage;          /* counted reference, NULL for scratch views */
    int64_t size;                 /* number of elements */
    int16_t ndim;                 /* 0..TL_MAX_NDIM */
    uint16_t device_index;        /* as the storage's */
    uint8_t dtype;                /* tl_dtype */
    uint8_t device_type;          /* tl_device_type */
    uint8_t flags;                /* TL_C_CONTIGUOUS */
    int64_t shape[TL_MAX_NDIM];   /* elements; entries past ndim are undefined */
    int64_t strides[TL_MAX_NDIM]; /* elements; 0 = broadcast, negative allowed */
} tl_buffer;

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_BUFFER_H */
