/* DLPack 1.x: the structures by which array libraries hand memory to each other.
 *
 * Written from the specification (https://dmlc.github.io/dlpack/latest/); the layout
 * is fixed by it, so every type below is binary compatible with other producers and
 * consumers. Two forms exist: the unversioned DLManagedTensor of DLPack 0.x, which
 * cannot say that memory is read-only, and DLManagedTensorVersioned.
 */
#ifndef TENSORLIB_DLPACK_H
#define TENSORLIB_DLPACK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TL_DLPACK_MAJOR 1 /* another major version means another layout */
#define TL_DLPACK_MINOR 1

/* DLDeviceType of the memory that this library can address. */
enum {
    TL_DL_CPU = 1,
    TL_DL_CUDA = 2,
    TL_DL_CUDA_HOST = 3 /* page-locked host memory, addressable by the CPU */
};

/* DLDataTypeCode */
enum {
    TL_DL_INT = 0,
    TL_DL_UINT = 1,
    TL_DL_FLOAT = 2,
    TL_DL_OPAQUE = 3,
    TL_DL_BFLOAT = 4,
    TL_DL_COMPLEX = 5,
    TL_DL_BOOL = 6
};

/* DLManagedTensorVersioned.flags */
#define TL_DL_FLAG_READ_ONLY ((uint64_t)1)
#define TL_DL_FLAG_IS_COPIED ((uint64_t)2)
#define TL_DL_FLAG_SUBBYTE_PADDED ((uint64_t)4)

typedef struct tl_dl_version {
    uint32_t major;
    uint32_t minor;
} tl_dl_version;

typedef struct tl_dl_device {
    int32_t device_type; /* TL_DL_CPU, ... */
    int32_t device_id;   /* 0 on the CPU */
} tl_dl_device;

typedef struct tl_dl_dtype {
    uint8_t code;   /* TL_DL_INT, ... */
    uint8_t bits;   /* of one lane */
    uint16_t lanes; /* 1 unless elements are short vectors */
} tl_dl_dtype;

typedef struct tl_dl_tensor {
    void *data; /* the allocation; elements start byte_offset later */
    tl_dl_device device;
    int32_t ndim;
    tl_dl_dtype dtype;
    int64_t *shape;       /* ndim extents, elements */
    int64_t *strides;     /* ndim steps in elements; NULL means C order */
    uint64_t byte_offset; /* bytes from data to the first element */
} tl_dl_tensor;

typedef struct tl_dl_managed {
    tl_dl_tensor tensor;
    void *context;                               /* the producer's */
    void (*deleter)(struct tl_dl_managed *self); /* may be NULL; from any thread */
} tl_dl_managed;

typedef struct tl_dl_managed_versioned {
    tl_dl_version version;
    void *context;
    void (*deleter)(struct tl_dl_managed_versioned *self);
    uint64_t flags; /* TL_DL_FLAG_* */
    tl_dl_tensor tensor;
} tl_dl_managed_versioned;

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_DLPACK_H */
