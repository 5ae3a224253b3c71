"""How batches get loaded: in the calling thread, or ahead of it by a pool of threads.

A task is ``(number, seed, indices)``; loading it makes a generator of its seed current,
so a batch is the same whichever thread loads it. Kernels release the GIL, hence
threads suffice: no process is forked and no memory copied.
"""

import itertools
import os
import threading
from collections import deque

from tensorlib.data.workers import note

__all__ = ["END", "Stream", "load_ahead", "load_serially"]

END = object()  # what a task gives when the stream ended before it


def load_serially(load, tasks):
    """Iterate over the batches of `tasks`, each loaded when it is asked for."""
    for task in tasks:
        batch = load(task)
        if batch is END:
            return
        yield batch


def load_ahead(load, tasks, pool, ahead, timeout):
    """Iterate over the batches of `tasks` in order, with up to `ahead` under way."""
    process = os.getpid()
    pending = deque()
    failure = None
    tasks = iter(tasks)
    try:
        while True:
            while tasks is not None and len(pending) < ahead:
                try:
                    task = next(tasks)
                except StopIteration:
                    tasks = None
                except Exception as error:
                    # The sampler failed: its error comes after what it drew before.
                    tasks, failure = None, error
                else:
                    pending.append(pool.submit(load, task))
            if not pending:
                break
            batch = pending.popleft().result(timeout or None)
            if batch is END:
                return
            yield batch
            if os.getpid() != process:
                raise RuntimeError(
                    "DataLoader: this process was forked in the middle of a pass, and "
                    "the threads that load ahead stayed behind; start a new pass with "
                    "iter(loader)"
                )
        if failure is not None:
            raise failure
    finally:
        # What is being loaded finishes on its own; nobody waits for it. A forked child
        # has no such threads, but may have a copy of a lock that one of them held.
        # The last one goes first: a stream's batch waits for the one before it.
        if os.getpid() == process:
            while pending:
                pending.pop().cancel()
        failure = None  # its traceback refers to this frame


class Stream:
    """One pass over an iterable data set, read in the order of the batches' numbers.

    Threads take turns: whichever loads batch n waits until batch n - 1 has been read,
    so only the collating runs in parallel, and the samples come in their order.

    Parameters
    ----------
    dataset : iterable
        The data set.
    batch_size : int or None
        Samples a batch; None for single samples.
    drop_last : bool
        Whether an incomplete last batch is left out.
    """

    def __init__(self, dataset, batch_size, drop_last):
        self._batch_size = batch_size or 1
        self._drop_last = drop_last
        self._turn = 0
        # `with` takes a lock in one step, a condition in several.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ended = False
        self._samples = iter(dataset)

    def read(self, number):
        """Return the samples of batch `number`, a list, or END.

        Batches may be read by any thread, but each number must be asked for once.
        """
        with self._lock:
            self._changed.wait_for(lambda: self._ended or self._turn == number)
            if self._ended:
                return END
        try:
            batch = self._next_batch()
        except BaseException:
            self.close()
            raise
        if len(batch) < self._batch_size:
            self.close()
            return END if self._drop_last or not batch else batch
        with self._lock:
            self._turn += 1
            self._changed.notify_all()
        return batch

    def _next_batch(self):
        batch = []
        try:
            batch.extend(itertools.islice(self._samples, self._batch_size))
        except Exception as error:
            note(error, f"after {len(batch)} samples of the batch were read")
            raise
        return batch

    def close(self):
        """End the stream; whoever waits for a turn gets END."""
        with self._lock:
            self._ended = True
            self._changed.notify_all()
