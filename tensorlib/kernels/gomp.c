/* The entry points of the OpenMP ABI that gcc emits for a static `prange`, linked into
 * each module and hidden: libgomp is not loaded, and another library's cannot be meant.
 *
 * One thread may run several parts after one another, so the barrier that gcc places at
 * the end of a loop must not wait; the end of the region does, and nothing follows the
 * barrier that reads what other parts wrote.
 */
#include "gomp.h"

#pragma GCC visibility push(hidden)

static const tl_pool *pool;

void tl_gomp_use(const tl_pool *in_use) { pool = in_use; }

void GOMP_parallel(void (*body)(void *), void *arg, unsigned parts, unsigned flags) {
    (void)flags;
    if (pool)
        pool->run(body, arg, parts);
    else
        body(arg);
}

void GOMP_barrier(void) {}

int omp_get_thread_num(void) { return pool ? (int)pool->part() : 0; }

int omp_get_num_threads(void) {
    unsigned parts = pool ? pool->parts() : 0;
    return parts ? (int)parts : 1;
}

/* What num_threads=0 would ask for; our loops say how many parts they have. */
int omp_get_max_threads(void) { return 1; }

#pragma GCC visibility pop
