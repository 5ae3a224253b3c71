"""DataLoader: batches in order, loaded ahead by threads where asked for.

A pass is fixed by the state of the generator (and of the sampler) at its start, hence
"state at the start and number of batches given out" is all a checkpoint needs to
continue bit for bit.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import tensorlib as tl
from tensorlib.data.collate import default_collate
from tensorlib.data.dataset import IterableDataset
from tensorlib.data.loading import (
    END,
    Stream,
    load_ahead,
    load_serially,
)
from tensorlib.data.placement import on_device, pinned
from tensorlib.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from tensorlib.data.seeding import batch_seed, use_generator
from tensorlib.data.workers import WorkerPool, note

__all__ = ["DataLoader"]


class DataLoader:
    """Iterate over a data set in batches.

    Parameters
    ----------
    dataset : Dataset, sequence or IterableDataset
        With ``take(indices)``, batches are gathered whole; otherwise samples are
        fetched one by one and collated. A stream is read in order.
    batch_size : int or None, default 1
        Samples a batch; None gives single samples, not collated.
    shuffle : bool, default False
        Draw a new order each pass.
    sampler : iterable of int, optional
        The order, instead of `shuffle`.
    batch_sampler : iterable of list of int, optional
        The batches, instead of `batch_size`, `shuffle`, `sampler` and `drop_last`.
    num_workers : int, default 0
        Threads that load ahead; 0 loads in the calling thread. The batches do not
        depend on it.
    collate_fn : callable, optional
        Joins a list of samples; `default_collate` otherwise.
    drop_last : bool, default False
        Whether an incomplete last batch is left out.
    generator : Generator, optional
        Source of order and of random transforms; the default generator otherwise.
    prefetch_factor : int, default 2
        Batches loaded ahead, a worker.
    worker_init_fn : callable, optional
        Called with its number, 0 to `num_workers` - 1, in each worker thread before
        the thread loads anything.
    persistent_workers : bool, default False
        Keep the threads from one pass to the next.
    timeout : float, default 0
        Seconds to wait for a batch that a worker loads; 0 waits without limit.
    pin_memory : bool, default False
        Put batches into page-locked memory, from which ``to(device,
        non_blocking=True)`` does not wait; without a GPU they are in plain memory.
    pin_memory_device : Device or str, optional
        With `pin_memory`, a GPU to which batches are sent when they are given out: the
        copy goes on while Python does. (PyTorch only pins for it.)

    Raises
    ------
    ValueError
        If options exclude each other or a count is out of range.
    TypeError
        If the data set has neither samples by index nor is an `IterableDataset`.

    Notes
    -----
    What is raised while a batch is loaded comes out of the loop at that batch, with
    its own traceback and notes that say which batch and which sample it was.

    Examples
    --------
    >>> import tensorlib as tl
    >>> data = tl.data.TensorDataset(tl.arange(5))
    >>> [x.tolist() for (x,) in tl.data.DataLoader(data, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self, dataset, batch_size=1, shuffle=False, sampler=None, batch_sampler=None,
        num_workers=0, collate_fn=None, *, drop_last=False, generator=None,
        prefetch_factor=2, worker_init_fn=None, persistent_workers=False, timeout=0,
        pin_memory=False, pin_memory_device="",
    ):  # fmt: skip
        shuffle = bool(shuffle)
        _check_order(batch_size, shuffle, sampler, batch_sampler, drop_last)
        _check_workers(num_workers, prefetch_factor, persistent_workers, timeout)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.generator = generator
        self.collate_fn = collate_fn
        self.worker_init_fn = worker_init_fn
        self.persistent_workers = bool(persistent_workers)
        self.timeout = timeout
        self.pin_memory = bool(pin_memory)
        self.pin_memory_device = _target(pin_memory, pin_memory_device)
        self._pins = False  # whether there is a GPU: asked for by each pass
        self.batch_size = None if batch_sampler is not None else batch_size
        self.drop_last = bool(drop_last)
        if isinstance(dataset, IterableDataset):
            _check_stream(shuffle, sampler, batch_sampler)
        elif not hasattr(dataset, "__getitem__"):
            raise TypeError(
                "DataLoader: expected a data set with __getitem__ and __len__, or an "
                f"IterableDataset, got {type(dataset).__name__}"
            )
        # Arrays and tensors have a take that means something else.
        self._takes = hasattr(dataset, "take") and not hasattr(dataset, "__array__")
        self._set_samplers(shuffle, sampler, batch_sampler)
        self._pool = None
        self._start_state = None
        self._position = 0
        self._resume_at = 0

    def _set_samplers(self, shuffle, sampler, batch_sampler):
        self.sampler, self.batch_sampler = sampler, batch_sampler
        if batch_sampler is not None:
            return
        if isinstance(self.dataset, IterableDataset):
            if self.batch_size is not None:  # for its check of the size
                BatchSampler((), self.batch_size, self.drop_last)
            return
        if sampler is None:
            kind = RandomSampler if shuffle else SequentialSampler
            self.sampler = kind(self.dataset)
        if self.batch_size is not None:
            self.batch_sampler = BatchSampler(
                self.sampler, self.batch_size, self.drop_last
            )

    def __len__(self):
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        if self.sampler is not None:
            return len(self.sampler)
        count, size = len(self.dataset), self.batch_size or 1
        return count // size if self.drop_last else -(-count // size)

    # ---- resuming ----------------------------------------------------------------

    def _generator(self):
        return tl.default_generator if self.generator is None else self.generator

    def state_dict(self):
        """Return where the newest pass stands.

        Returns
        -------
        dict
            ``"generator"``, the generator's state when that pass began (now, after
            its end), ``"position"``, the batches it has given out, and ``"sampler"``,
            the state of a sampler that has one of its own.

        Examples
        --------
        >>> import tensorlib as tl
        >>> def make():
        ...     return tl.data.DataLoader(
        ...         range(6), 2, shuffle=True, generator=tl.Generator(1)
        ...     )
        >>> loader = make()
        >>> batches = iter(loader)
        >>> _ = next(batches)
        >>> resumed = make()
        >>> resumed.load_state_dict(loader.state_dict())
        >>> [b.tolist() for b in resumed] == [b.tolist() for b in batches]
        True
        """
        if self._start_state is None:
            return {**self._current_state(), "position": 0}
        return {**self._start_state, "position": self._position}

    def _current_state(self):
        state = {"generator": self._generator().get_state()}
        sampler = self._stateful_sampler()
        saved = {} if sampler is None else sampler.state_dict()
        return {**state, "sampler": saved} if saved else state

    def _stateful_sampler(self):
        sampler = self.sampler if self.batch_sampler is None else self.batch_sampler
        return sampler if hasattr(sampler, "state_dict") else None

    def load_state_dict(self, state_dict):
        """Let the next pass go on where `state_dict` was taken.

        The generator goes back to the start of that pass, so give the loader one of
        its own where others draw from the default generator too.

        Parameters
        ----------
        state_dict : dict
            As `state_dict` returns it.

        Raises
        ------
        ValueError
            If it is no such state, or of a loader with another kind of sampler.
        """
        try:
            position = int(state_dict["position"])
            state = {key: state_dict[key] for key in state_dict if key != "position"}
            generator = state["generator"]
        except (KeyError, TypeError, ValueError):
            position = -1
        if position < 0:
            raise ValueError(
                "DataLoader: expected a state with 'generator' and 'position' >= 0, "
                f"got {state_dict!r}"
            )
        sampler = self._stateful_sampler()
        if sampler is not None:
            sampler.load_state_dict(state.get("sampler") or sampler.state_dict())
        self._generator().set_state(generator)
        self._resume_at = self._position = position
        self._start_state = state if position else None

    # ---- iterating ---------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        generator = self._generator()
        start_state = self._start_state = self._current_state()
        skip, self._resume_at = self._resume_at, 0
        self._position = skip
        seed = tl.randint(0, 2**62, (1,), generator=generator).item()
        self._pins = self.pin_memory and tl.cuda.is_available()
        stream = None
        if isinstance(self.dataset, IterableDataset):
            # Batch -1 does not exist: its seed is for what iter(dataset) draws.
            with use_generator(tl.Generator(batch_seed(seed, -1))):
                stream = Stream(self.dataset, self.batch_size, self.drop_last)
            tasks = self._stream_tasks(stream, seed, skip)
        else:
            tasks = _indexed_tasks(self._draw_order(generator), seed, skip)
        return self._deliver(tasks, stream, skip, start_state)

    def _draw_order(self, generator):
        """Iterate over the indices of each batch, drawn from `generator`."""
        batches = self.sampler if self.batch_sampler is None else self.batch_sampler
        with use_generator(generator):
            if isinstance(batches, BatchSampler):
                batches, sampler = batches.index_batches(), batches.sampler
                if hasattr(sampler, "index_tensor"):
                    return batches
            batches = iter(batches)
        # Other samplers may draw as they go.
        return _drawn_from(generator, batches)

    def _stream_tasks(self, stream, seed, skip):
        for number in itertools.count():
            task = (number, batch_seed(seed, number), stream)
            if number >= skip:
                yield task
            elif self._load(task, skip=True) is END:
                return

    def _deliver(self, tasks, stream, skip, start_state):
        pool = self._workers()
        if pool is None:
            batches = load_serially(self._load, tasks)
        else:
            ahead = self.num_workers * self.prefetch_factor
            batches = load_ahead(self._load, tasks, pool, ahead, self.timeout)
        try:
            for number, batch in enumerate(batches, skip + 1):
                if self._start_state is start_state:
                    self._position = number
                if self.pin_memory_device is not None:
                    batch = on_device(batch, self.pin_memory_device)
                yield batch
        finally:
            batches.close()
            if pool is None or pool.is_usable():
                if stream is not None:
                    stream.close()
                if pool is not None and pool is not self._pool:
                    pool.close()
        if self._start_state is start_state:
            self._start_state, self._position = None, 0

    def _workers(self):
        """Return the pool of a pass, or None without workers."""
        if self.num_workers == 0:
            return None
        if self._pool is not None and self._pool.is_usable():
            return self._pool
        pool = WorkerPool(self.num_workers, self.worker_init_fn)
        if self.persistent_workers:
            self._pool = pool
        return pool

    # ---- loading one batch, in any thread ----------------------------------------

    def _load(self, task, skip=False):
        number, seed, source = task
        try:
            with use_generator(tl.Generator(seed)):
                if not isinstance(source, Stream):
                    batch = self._fetch(source)
                else:
                    samples = source.read(number)
                    if skip or samples is END:
                        return samples
                    batch = self._join(samples)
            return pinned(batch) if self._pins else batch
        except Exception as error:
            note(error, f"while DataLoader loaded batch {number}")
            raise

    def _fetch(self, indices):
        if self.batch_sampler is None:
            return self._join([self._sample(int(indices))])
        if self.collate_fn is None and self._takes:
            return self._take(indices)
        if isinstance(indices, tl.Tensor):
            indices = indices.tolist()
        return self._join([self._sample(index) for index in indices])

    def _sample(self, index):
        try:
            return self.dataset[index]
        except Exception as error:
            note(error, f"sample index {index}")
            raise

    def _take(self, indices):
        if not isinstance(indices, tl.Tensor):
            indices = tl.tensor(list(indices), dtype=tl.int64)
        try:
            return self.dataset.take(indices)
        except Exception as error:
            note(error, f"sample indices {_shortened(indices.tolist())}")
            raise

    def _join(self, samples):
        if self.batch_size is None and self.batch_sampler is None:
            sample = samples[0]
            return sample if self.collate_fn is None else self.collate_fn(sample)
        return (self.collate_fn or default_collate)(samples)


def _target(pin_memory, device):
    """Return the GPU that batches go to, or None."""
    if device is None or device == "":
        return None
    where = tl.device(device)
    if not pin_memory or where.type != "cuda":
        raise ValueError(
            "DataLoader: expected pin_memory_device to be a GPU, and pin_memory=True "
            f"with it, got {device!r} and pin_memory={pin_memory!r}"
        )
    return where


def _indexed_tasks(batches, seed, skip):
    # The order is drawn in full even where its first batches are skipped.
    for number, indices in enumerate(batches):
        if number >= skip:
            yield number, batch_seed(seed, number), indices


def _drawn_from(generator, batches):
    while True:
        with use_generator(generator):
            try:
                indices = next(batches)
            except StopIteration:
                return
        yield indices


def _shortened(indices, limit=16):
    if len(indices) <= limit:
        return str(indices)
    return f"[{', '.join(map(str, indices[:limit]))}, ...] ({len(indices)} in all)"


def _check_order(batch_size, shuffle, sampler, batch_sampler, drop_last):
    if sampler is not None and shuffle:
        raise ValueError("DataLoader: sampler and shuffle exclude each other")
    if batch_sampler is not None and (
        batch_size != 1 or shuffle or sampler is not None or drop_last
    ):
        raise ValueError(
            "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and "
            "drop_last"
        )
    if batch_size is None and drop_last:
        raise ValueError("DataLoader: batch_size=None excludes drop_last")


def _check_stream(shuffle, sampler, batch_sampler):
    if shuffle or sampler is not None or batch_sampler is not None:
        raise ValueError(
            "DataLoader: an IterableDataset has an order of its own, which excludes "
            "shuffle, sampler and batch_sampler"
        )


def _check_workers(num_workers, prefetch_factor, persistent_workers, timeout):
    for name, count, least in (
        ("num_workers", num_workers, 0),
        ("prefetch_factor", prefetch_factor, 1),
    ):
        if isinstance(count, bool) or not isinstance(count, int) or count < least:
            raise ValueError(f"DataLoader: expected {name} >= {least}, got {count!r}")
    if persistent_workers and not num_workers:
        raise ValueError("DataLoader: persistent_workers needs num_workers > 0")
    if not timeout >= 0:
        raise ValueError(f"DataLoader: expected timeout >= 0, got {timeout!r}")
