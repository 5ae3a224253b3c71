/* The pool of threads that every parallel kernel shares.
 *
 * A job is `parts` calls of one function. The caller runs the first parts and whatever
 * no worker has claimed; it never waits for a worker that is late, only for parts that
 * one has begun. Each worker claims its own share first, so that successive jobs give
 * the same rows to the same core.
 */
#ifndef TENSORLIB_POOL_H
#define TENSORLIB_POOL_H

#ifdef __cplusplus
extern "C" {
#endif

enum { TL_POOL_MAX_PARTS = 1024 };

typedef struct tl_pool {
    /* Call body(arg) parts times, each with its own part(); returns when all are done.
     * Inside a part, or while another thread uses the pool, the caller runs them all.
     */
    void (*run)(void (*body)(void *), void *arg, unsigned parts);
    unsigned (*part)(void);  /* the part that the calling thread runs, 0 outside */
    unsigned (*parts)(void); /* of its job; 0 outside a job */
} tl_pool;

const tl_pool *tl_thread_pool(void);

/* How many threads may run parts at once, the caller among them; parts may be more. */
void tl_pool_set_threads(unsigned threads);

#ifdef __cplusplus
}
#endif

#endif /* TENSORLIB_POOL_H */
