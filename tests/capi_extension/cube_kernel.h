#ifndef CUBE_KERNEL_H
#define CUBE_KERNEL_H

#include "tensorlib/kernels.h"

/* Whole kernel: any strides, one thread. */
tl_status cube_float64(const tl_call *call);

#endif /* CUBE_KERNEL_H */
