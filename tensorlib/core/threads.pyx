"""How many threads kernels use, and the pool that they use.

The default is the smallest of the affinity mask, the cgroup CPU quota and
``OMP_NUM_THREADS``, read once at import. Built with gcc on Linux, parallel loops run on
the pool of ``pool.c``, which a forked child starts anew. Otherwise they run on the
compiler's OpenMP runtime; its threads are gone in a forked child, where entering a
parallel region would wait for them for ever, so kernels there keep to one thread.
"""
import os

from libc.stdint cimport int64_t

cdef extern from "<pthread.h>" nogil:
    int pthread_atfork(
        void (*prepare)() noexcept nogil,
        void (*parent)() noexcept nogil,
        void (*child)() noexcept nogil,
    )

cdef extern from *:
    """
    #ifdef _OPENMP
    #define TL_OPENMP _OPENMP
    #else
    #define TL_OPENMP 0
    #endif
    #if defined(TL_OWN_POOL)
    #define TL_POOL_IS_OURS 1
    #define tl_serial(forked) 0
    #else
    #define TL_POOL_IS_OURS 0
    #define tl_thread_pool() NULL
    #define tl_pool_set_threads(n) ((void)(n))
    #ifdef _OPENMP
    #include <omp.h>
    #define tl_serial(forked) ((forked) || omp_in_parallel())
    #else
    #define tl_serial(forked) 1
    #endif
    #endif
    """
    const int TL_OPENMP
    const int TL_POOL_IS_OURS
    bint tl_serial(bint in_forked_child) noexcept nogil

cdef int _threads = 1
cdef bint _in_forked_child = False


cdef void _after_fork_in_child() noexcept nogil:
    global _in_forked_child
    _in_forked_child = True


cdef const tl_pool *thread_pool() noexcept:
    return tl_thread_pool()


cdef int thread_count() noexcept nogil:
    return 1 if tl_serial(_in_forked_child) else _threads


cdef int threads_for(int64_t work, int64_t grain) noexcept nogil:
    cdef int64_t wanted = work // grain
    cdef int available
    if wanted <= 1:
        return 1
    available = thread_count()
    return available if wanted > available else <int>wanted


def _read_first_line(path):
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return None


def _quota_of(quota, period):
    """Cores from two fields of microseconds; None for no quota or a malformed one."""
    try:
        quota, period = int(quota), int(period)
    except (TypeError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _cgroup_v2_paths(root, group):
    """Yield the group's cpu.max files, from the group up to the root."""
    while True:
        yield os.path.join(root, group.strip("/"), "cpu.max")
        if group in ("", "/"):
            return
        group = os.path.dirname(group)


def cgroup_quota(root="/sys/fs/cgroup", membership="/proc/self/cgroup"):
    """Return the CPU quota in cores as a float, or None when there is none.

    Reads cgroup v2 ``cpu.max`` of the process's group and its ancestors (the
    smallest counts), and v1 ``cpu.cfs_quota_us`` / ``cpu.cfs_period_us``.

    References
    ----------
    Linux kernel documentation, "Control Group v2", section "CPU", and
    "CFS Bandwidth Control".
    """
    quotas = []
    try:
        with open(membership) as file:
            entries = [line.strip().split(":", 2) for line in file]
    except OSError:
        entries = []
    for _, controllers, group in (e for e in entries if len(e) == 3):
        if controllers == "":
            for path in _cgroup_v2_paths(root, group):
                fields = (_read_first_line(path) or "max").split()
                if len(fields) == 2:
                    quotas.append(_quota_of(*fields))
        elif "cpu" in controllers.split(","):
            for folder in (group.strip("/"), ""):
                base = os.path.join(root, "cpu", folder)
                quota = _read_first_line(os.path.join(base, "cpu.cfs_quota_us"))
                period = _read_first_line(os.path.join(base, "cpu.cfs_period_us"))
                quotas.append(_quota_of(quota, period))
    return min([quota for quota in quotas if quota is not None], default=None)


def default_threads():
    """Return ``(count, reasons)``: the default thread count and what decided it.

    Examples
    --------
    >>> count, reasons = default_threads()
    >>> count >= 1 and "affinity" in reasons
    True
    """
    try:
        affinity = len(os.sched_getaffinity(0))
    except AttributeError:
        affinity = os.cpu_count() or 1
    reasons = {"affinity": affinity}
    count = affinity
    quota = cgroup_quota()
    if quota is not None:
        reasons["cgroup quota"] = quota
        count = min(count, max(1, int(-(-quota // 1))))
    setting = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if setting.isdigit() and int(setting) > 0:
        reasons["OMP_NUM_THREADS"] = int(setting)
        count = int(setting)
    if not TL_OPENMP:
        reasons["built without OpenMP"] = 1
        count = 1
    return count, reasons


def get_num_threads():
    """Return how many threads kernels may use in this process.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.get_num_threads() >= 1
    True
    """
    return thread_count()


def set_num_threads(n):
    """Set how many threads kernels may use. Results do not depend on it.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    ValueError
        If `n` is not an integer in 1..1024.

    Examples
    --------
    >>> import tensorlib as tl
    >>> before = tl.get_num_threads()
    >>> tl.set_num_threads(2)
    >>> tl.get_num_threads()
    2
    >>> tl.set_num_threads(before)
    """
    global _threads
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 1024:
        raise ValueError(f"set_num_threads: expected an integer in 1..1024, got {n!r}")
    _threads = n
    tl_pool_set_threads(n)


class num_threads:  # noqa: N801
    """Use `n` threads inside a ``with`` block.

    Parameters
    ----------
    n : int
        At least 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> with tl.num_threads(1):
    ...     tl.get_num_threads()
    1
    """

    def __init__(self, n):
        self._n = n
        self._before = []

    def __enter__(self):
        before = _threads
        set_num_threads(self._n)
        self._before.append(before)
        return self

    def __exit__(self, *exc_info):
        set_num_threads(self._before.pop())


def openmp_version():
    """Return the OpenMP version as its release date ``yyyymm``, 0 when absent."""
    return TL_OPENMP


def pool_is_ours():
    """Return whether parallel loops run on tensorlib's own pool of threads."""
    return bool(TL_POOL_IS_OURS)


pthread_atfork(NULL, NULL, _after_fork_in_child)
set_num_threads(default_threads()[0])
