/* Results too large for the caches, written past them.
 *
 * A store to memory that is not in a cache reads the line first. A loop whose operands
 * exceed the caches writes blocks on the stack instead, which are then stored without
 * reading; meanwhile the operands' next elements are fetched.
 */
#ifndef TENSORLIB_STREAMED_H
#define TENSORLIB_STREAMED_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>
#include <unistd.h>
#endif

#include "tensorlib/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TL_STREAMED_LINE = 64,      /* bytes */
    TL_STREAMED_BLOCK = 2048,   /* bytes of the widest operand's */
    TL_STREAMED_MOST = 1 << 26, /* bytes that stay in a shared cache, at best */
    TL_STREAMED_LEAST = 65536,  /* elements of an output worth a thought */
    TL_STREAMED_OPERANDS = 4
};

/* What a run needs to know; it stands in for the call's params. */
typedef struct tl_streamed {
    tl_loop loop;
    const void *params;
    int64_t itemsize[TL_STREAMED_OPERANDS]; /* bytes, 0 where there is no operand */
    int64_t block;                          /* elements */
} tl_streamed;

#if defined(__x86_64__) && defined(__linux__)
#define TL_STREAMED_TARGET __attribute__((target("avx")))

/* Bytes of operands and result from which on streaming pays: what does not fit the last
 * cache, or what of a large one is left by others. 0: never. */
static inline int64_t tl_streamed_from(void) {
    const int64_t last = sysconf(_SC_LEVEL3_CACHE_SIZE);
    __builtin_cpu_init();
    if (last <= 0 || !__builtin_cpu_supports("avx")) return 0;
    return last < TL_STREAMED_MOST ? last : TL_STREAMED_MOST;
}
/* A line to memory past the caches; and what orders it before later stores. */
TL_STREAMED_TARGET static inline void tl_streamed_line(char *out, const char *block) {
    _mm256_stream_si256((__m256i *)out, _mm256_load_si256((const __m256i *)block));
    _mm256_stream_si256((__m256i *)(out + 32),
                        _mm256_load_si256((const __m256i *)(block + 32)));
}
static inline void tl_streamed_end(void) { _mm_sfence(); }
#else
#define TL_STREAMED_TARGET

static inline int64_t tl_streamed_from(void) { return 0; }
static inline void tl_streamed_line(char *out, const char *block) {
    memcpy(out, block, TL_STREAMED_LINE);
}
static inline void tl_streamed_end(void) {}
#endif

/* m elements by the loop, to `target` if not NULL; operands step beyond them. */
static inline int tl_streamed_part(const tl_streamed *job, char **data,
                                   const int64_t *strides, int64_t m, char *target) {
    int status = m == 0 ? TL_OK
                        : job->loop(target ? target : data[0], data[1], data[2],
                                    data[3], strides, m, job->params);
    for (int k = 0; k < TL_STREAMED_OPERANDS; k++)
        data[k] += m * strides[k] * job->itemsize[k];
    return status;
}

/* n elements of a block, whole lines, to memory past the caches; as many further ones
 * of the operands that lie side by side are fetched. */
TL_STREAMED_TARGET static inline void
tl_streamed_store(const tl_streamed *job, char *const *data, const int64_t *strides,
                  char *out, const char *block, int64_t n) {
    const int64_t line = TL_STREAMED_LINE / job->itemsize[0];
    for (int64_t i = 0; i < n; i += line) {
        for (int k = 1; k < TL_STREAMED_OPERANDS; k++)
            if (strides[k] == 1)
                for (int64_t j = i * job->itemsize[k];
                     j < (i + line) * job->itemsize[k]; j += TL_STREAMED_LINE)
                    __builtin_prefetch(data[k] + j);
        tl_streamed_line(out + i * job->itemsize[0], block + i * job->itemsize[0]);
    }
}

/* A tl_loop: up to a whole line, blocks of whole lines, and what is left. Few blocks
 * are not worth the wait for the last line. */
static inline int tl_streaming_loop(void *out, const void *a, const void *b,
                                    const void *c, const int64_t *strides, int64_t n,
                                    const void *params) {
    const tl_streamed *job = (const tl_streamed *)params;
    char *data[] = {(char *)out, (char *)a, (char *)b, (char *)c};
    char block[TL_STREAMED_BLOCK] __attribute__((aligned(TL_STREAMED_LINE)));
    const int64_t line = TL_STREAMED_LINE / job->itemsize[0];
    int64_t m = (int64_t)(-(uintptr_t)out % TL_STREAMED_LINE) / job->itemsize[0];
    int status;
    if (strides[0] != 1 || n < m + 4 * job->block)
        return job->loop(out, a, b, c, strides, n, job->params);
    status = tl_streamed_part(job, data, strides, m, NULL);
    for (n -= m; n >= line; n -= m) {
        char *target = data[0];
        m = n < job->block ? n - n % line : job->block;
        status |= tl_streamed_part(job, data, strides, m, block);
        tl_streamed_store(job, data, strides, target, block, m);
    }
    tl_streamed_end();
    return status | tl_streamed_part(job, data, strides, n, NULL);
}

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_STREAMED_H */
