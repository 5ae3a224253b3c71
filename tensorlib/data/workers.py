"""A pool of threads that an interrupt at any moment leaves in order.

``concurrent.futures`` would do the same work, but its locks are Python code: a Ctrl-C
between taking one and entering the ``with`` block leaves it taken, and the process
waits for its threads for ever. Here the calling thread uses nothing but
`queue.SimpleQueue`, whose operations are single steps as far as signals go.
"""

import atexit
import contextlib
import os
import threading
import weakref
from queue import Empty, SimpleQueue

__all__ = ["WorkerPool", "note"]

# Of each running thread, the jobs it takes.
_queues: dict[threading.Thread, SimpleQueue] = {}


def note(error, text):
    """Add a note to an exception, once."""
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)


class Job:
    """A task on its way through a pool."""

    def __init__(self, load, task):
        self._load = load
        self._task = task
        self._outcome = SimpleQueue()  # of one pair: a batch, and the error instead
        self._cancelled = False

    def cancel(self):
        """Leave the task out if no thread has begun it."""
        self._cancelled = True

    def result(self, timeout):
        """Wait for the task's result, once; raise what it raised.

        Raises
        ------
        RuntimeError
            If it takes more than `timeout` seconds.
        """
        try:
            result, error = self._outcome.get(timeout=timeout)
        except Empty:
            raise RuntimeError(
                f"DataLoader: no batch came within timeout={timeout} s; a worker "
                "thread is slow or waits for something"
            ) from None
        if error is None:
            return result
        try:
            raise error
        finally:
            error = self = None  # the traceback refers to this frame

    def run(self, prepare):
        """Call `prepare`, do the task and keep its outcome."""
        if self._cancelled:
            return
        try:
            prepare()
            outcome = self._load(self._task), None
        except BaseException as error:
            outcome = None, error
        self._outcome.put(outcome)


class WorkerPool:
    """Threads that load; each calls `init` with its number before its first task.

    Parameters
    ----------
    count : int
        How many threads.
    init : callable or None
        Called as ``init(worker)`` in each thread; what it raises fails the task.
    """

    def __init__(self, count, init):
        self.count = count
        self._init = init
        self._jobs = SimpleQueue()
        self._started = 0
        self._starting = False
        self._process = os.getpid()
        # A pool that is dropped closes itself: a call from C, which nothing interrupts.
        self._dropped = weakref.ref(self, self._jobs.put)

    def is_usable(self):
        """Whether its threads are in this process, and as many as it counted.

        A forked child has none, and an interrupt may come while one is started.
        """
        return os.getpid() == self._process and not self._starting

    def submit(self, load, task):
        """Queue a task; return its `Job`."""
        job = Job(load, task)
        self._jobs.put(job)
        if self._started < self.count:
            self._starting = True
            threading.Thread(
                target=_work,
                args=(self._jobs, self._started, self._init, self._dropped),
                name=f"tensorlib-data_{self._started}",
                daemon=True,  # they are ended below, at exit
            ).start()
            self._started += 1
            self._starting = False
        return job

    def close(self):
        """End the threads, when they have finished what was submitted."""
        self._jobs.put(None)

    def __reduce__(self):
        return (WorkerPool, (self.count, self._init))


def _work(jobs, number, init, dropped):
    """Run `jobs` until something else comes: what a thread does.

    That is None or `dropped`, kept here because a weak reference has to outlive what
    it refers to, and is left in the queue for the other threads.
    """
    prepared = init is None

    def prepare():
        nonlocal prepared
        if prepared:
            return
        try:
            init(number)
        except Exception as error:
            note(error, f"while DataLoader called worker_init_fn({number})")
            raise
        prepared = True

    thread = threading.current_thread()
    _queues[thread] = jobs
    try:
        while isinstance(job := jobs.get(), Job):
            job.run(prepare)
            del job  # an idle thread keeps no batch
        jobs.put(job)
    finally:
        _queues.pop(thread, None)


@atexit.register
def _end_all():
    # A thread in a kernel must not outlive the interpreter.
    for jobs in list(_queues.values()):
        with contextlib.suppress(Empty):
            while True:
                jobs.get_nowait()
        jobs.put(None)
    for thread in list(_queues):
        thread.join()


os.register_at_fork(after_in_child=_queues.clear)
