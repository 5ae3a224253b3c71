/* What gcc's OpenMP code calls, run by the pool of tensorlib/pool.h instead of libgomp.
 */
#ifndef TENSORLIB_KERNELS_GOMP_H
#define TENSORLIB_KERNELS_GOMP_H

#include "tensorlib/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* To be called once by each module that has a prange; its loops are serial before. */
#ifdef TL_OWN_POOL
void tl_gomp_use(const tl_pool *pool);
#else
static inline void tl_gomp_use(const tl_pool *pool) { (void)pool; }
#endif

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_KERNELS_GOMP_H */
