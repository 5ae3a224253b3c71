/* Workers spin for a short while after a job, then sleep on a futex. A job is published
 * like a seqlock: its fields are copied between two equal, even readings of generation.
 * A claim raises claimed[part] to the job's generation, so a worker that comes late
 * with an old job finds every part of it taken and can do no harm.
 */
#define _GNU_SOURCE
#include "tensorlib/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Pauses before a worker sleeps: meant to outlast the serial stretches inside a
 * training step; chosen from one short noisy run, in which rows moved both ways. The
 * caller, idle for the sake of a part already begun, sleeps sooner: that worker lost
 * its core. */
enum { WORKER_SPINS = 40000, CALLER_SPINS = 4000 };

typedef void (*body_fn)(void *);

typedef struct {
    uint64_t generation;
    body_fn body;
    void *arg;
    unsigned parts;
    unsigned threads;
} job;

static struct {
    _Alignas(64) atomic_uint_least64_t generation; /* odd while being published */
    _Atomic(body_fn) body;
    _Atomic(void *) arg;
    atomic_uint parts;
    atomic_uint threads;
    _Alignas(64) atomic_uint doorbell; /* futex: rung after each publication */
    atomic_uint sleepers;
    _Alignas(64) atomic_uint remaining; /* futex: parts not finished */
    atomic_uint caller_sleeps;
    _Alignas(64) atomic_flag busy;
    unsigned workers;
    unsigned limit; /* threads that may run parts at once */
    _Alignas(64) atomic_uint_least64_t claimed[TL_POOL_MAX_PARTS];
} pool = {.busy = ATOMIC_FLAG_INIT};

static __thread unsigned current_part, current_parts;

static void pause_once(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(atomic_uint *word, unsigned seen) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, unsigned count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void run_part(const job *j, unsigned part) {
    unsigned outer_part = current_part, outer_parts = current_parts;
    current_part = part;
    current_parts = j->parts;
    j->body(j->arg);
    current_part = outer_part;
    current_parts = outer_parts;
}

static int claim(const job *j, unsigned part) {
    uint64_t seen = atomic_load_explicit(&pool.claimed[part], memory_order_relaxed);
    return seen < j->generation && atomic_compare_exchange_strong_explicit(
                                       &pool.claimed[part], &seen, j->generation,
                                       memory_order_acq_rel, memory_order_relaxed);
}

/* Thread `number` of `threads` begins with its own share of the parts. */
static void take_parts(const job *j, unsigned number) {
    unsigned first = number * j->parts / j->threads;
    for (unsigned k = 0; k < j->parts; k++) {
        unsigned part = (first + k) % j->parts;
        if (!claim(j, part)) continue;
        run_part(j, part);
        if (atomic_fetch_sub(&pool.remaining, 1) == 1 &&
            atomic_load(&pool.caller_sleeps))
            futex_wake(&pool.remaining, 1);
    }
}

/* Whether a job newer than j is there; it is copied to j. */
static int newer_job(job *j) {
    uint64_t before = atomic_load_explicit(&pool.generation, memory_order_acquire);
    job found = {.generation = before};
    if (before == j->generation || before & 1) return 0;
    found.body = atomic_load_explicit(&pool.body, memory_order_relaxed);
    found.arg = atomic_load_explicit(&pool.arg, memory_order_relaxed);
    found.parts = atomic_load_explicit(&pool.parts, memory_order_relaxed);
    found.threads = atomic_load_explicit(&pool.threads, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&pool.generation, memory_order_relaxed) != before)
        return 0;
    *j = found;
    return 1;
}

static void wait_for_job(job *j) {
    for (;;) {
        unsigned rung;
        for (int spin = 0; spin < WORKER_SPINS; spin++) {
            if (newer_job(j)) return;
            pause_once();
        }
        rung = atomic_load(&pool.doorbell);
        if (newer_job(j)) return;
        atomic_fetch_add(&pool.sleepers, 1);
        futex_wait(&pool.doorbell, rung);
        atomic_fetch_sub(&pool.sleepers, 1);
    }
}

static void *work(void *number) {
    job j = {.generation = 0};
    for (;;) {
        wait_for_job(&j);
        take_parts(&j, (unsigned)(uintptr_t)number);
    }
    return NULL;
}

/* Start workers up to count; fewer do as well, since the caller takes what is left. */
static void start_workers(unsigned count) {
    sigset_t all, before;
    if (pool.workers >= count) return;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all,
                    &before); /* signals are for the program's threads */
    while (pool.workers < count) {
        pthread_t thread;
        void *number = (void *)(uintptr_t)(pool.workers + 1);
        if (pthread_create(&thread, NULL, work, number) != 0) break;
        pthread_detach(thread);
        pool.workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void publish(job *j) {
    uint64_t before = atomic_load_explicit(&pool.generation, memory_order_relaxed);
    j->generation = before + 2;
    atomic_store(&pool.remaining, j->parts);
    atomic_store_explicit(&pool.generation, before + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&pool.body, j->body, memory_order_relaxed);
    atomic_store_explicit(&pool.arg, j->arg, memory_order_relaxed);
    atomic_store_explicit(&pool.parts, j->parts, memory_order_relaxed);
    atomic_store_explicit(&pool.threads, j->threads, memory_order_relaxed);
    atomic_store(&pool.generation, j->generation);
    atomic_fetch_add(&pool.doorbell, 1);
    if (atomic_load(&pool.sleepers)) futex_wake(&pool.doorbell, j->threads - 1);
}

static void wait_for_parts(void) {
    unsigned left;
    for (int spin = 0; spin < CALLER_SPINS; spin++) {
        if (atomic_load_explicit(&pool.remaining, memory_order_acquire) == 0) return;
        pause_once();
    }
    atomic_store(&pool.caller_sleeps, 1);
    while ((left = atomic_load(&pool.remaining)) != 0)
        futex_wait(&pool.remaining, left);
    atomic_store(&pool.caller_sleeps, 0);
}

static void run_alone(const job *j) {
    for (unsigned part = 0; part < j->parts; part++)
        run_part(j, part);
}

static void run(body_fn body, void *arg, unsigned parts) {
    job j = {.body = body, .arg = arg, .parts = parts ? parts : 1};
    j.threads = j.parts < pool.limit ? j.parts : pool.limit;
    if (j.threads <= 1 || j.parts > TL_POOL_MAX_PARTS || current_parts ||
        atomic_flag_test_and_set_explicit(&pool.busy, memory_order_acquire)) {
        run_alone(&j);
        return;
    }
    start_workers(j.threads - 1);
    publish(&j);
    take_parts(&j, 0);
    wait_for_parts();
    atomic_flag_clear_explicit(&pool.busy, memory_order_release);
}

/* The child of a fork has no workers; whatever the parent was doing is not its job. */
static void forget_workers(void) {
    uint64_t generation = atomic_load(&pool.generation);
    atomic_store(&pool.parts, 0); /* a new worker may look before the first job */
    atomic_store(&pool.threads, 1);
    atomic_store(&pool.generation, (generation | 1) + 1);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.caller_sleeps, 0);
    atomic_flag_clear(&pool.busy);
    pool.workers = 0;
}

void tl_pool_set_threads(unsigned threads) { pool.limit = threads; }

static unsigned part(void) { return current_part; }

static unsigned parts(void) { return current_parts; }

const tl_pool *tl_thread_pool(void) {
    static const tl_pool api = {run, part, parts};
    static atomic_flag registered = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&registered))
        pthread_atfork(NULL, NULL, forget_workers);
    return &api;
}
