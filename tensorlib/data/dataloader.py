"""DataLoader: batches in order, loaded ahead by threads where asked for.

Kernels release the GIL, so threads suffice: no process is forked, no memory copied.
A pass is fixed by the generator's state at its start, hence "state at the start and
number of batches given out" is all a checkpoint needs to continue bit for bit.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import tensorlib as tl
from tensorlib.data.collate import default_collate
from tensorlib.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from tensorlib.data.seeding import batch_seed, use_generator

__all__ = ["DataLoader"]


class DataLoader:
    """Iterate over a data set in batches.

    Parameters
    ----------
    dataset : Dataset or sequence
        With ``take(indices)``, batches are gathered whole; otherwise samples are
        fetched one by one and collated.
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

    Raises
    ------
    ValueError
        If options exclude each other or a count is out of range.

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
        prefetch_factor=2,
    ):  # fmt: skip
        _check_options(
            batch_size, shuffle, sampler, batch_sampler, drop_last, num_workers,
            prefetch_factor,
        )  # fmt: skip
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.generator = generator
        self.collate_fn = collate_fn
        self.batch_size = None if batch_sampler is not None else batch_size
        self.drop_last = drop_last
        if batch_sampler is not None:
            self.sampler = None
            self.batch_sampler = batch_sampler
        else:
            if sampler is None:
                sampler = (
                    RandomSampler(dataset, generator=generator)
                    if shuffle
                    else SequentialSampler(dataset)
                )
            self.sampler = sampler
            self.batch_sampler = (
                None
                if batch_size is None
                else BatchSampler(sampler, batch_size, drop_last)
            )
        self._start_state = None
        self._position = 0
        self._resume_at = 0

    def __len__(self):
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)

    # ---- resuming ----------------------------------------------------------------

    def _generator(self):
        return tl.default_generator if self.generator is None else self.generator

    def state_dict(self):
        """Return where the newest pass stands.

        Returns
        -------
        dict
            ``"generator"``, the generator's state when that pass began (now, after
            its end), and ``"position"``, the batches it has given out.

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
            return {"generator": self._generator().get_state(), "position": 0}
        return {"generator": self._start_state, "position": self._position}

    def load_state_dict(self, state_dict):
        """Let the next pass go on where `state_dict` was taken.

        The generator goes back to the start of that pass, so give the loader one of
        its own where others draw from the default generator too.

        Parameters
        ----------
        state_dict : dict
            As `state_dict` returns it.
        """
        self._generator().set_state(state_dict["generator"])
        self._start_state = None
        self._resume_at = self._position = int(state_dict["position"])
        if self._resume_at:
            self._start_state = state_dict["generator"]

    # ---- iterating ---------------------------------------------------------------

    def __iter__(self):
        generator = self._generator()
        self._start_state = generator.get_state()
        skip, self._resume_at = self._resume_at, 0
        self._position = skip
        seed = tl.randint(0, 2**62, (1,), generator=generator).item()
        return self._deliver(self._tasks(seed), skip, self._start_state)

    def _tasks(self, pass_seed):
        """Draw the order; iterate over ``(number, seed, indices)`` of its batches."""
        if self.batch_sampler is None:
            batches = iter(self.sampler)
        elif isinstance(self.batch_sampler, BatchSampler):
            batches = self.batch_sampler.index_batches()
        else:
            batches = iter(self.batch_sampler)
        return (
            (number, batch_seed(pass_seed, number), indices)
            for number, indices in enumerate(batches)
        )

    def _deliver(self, tasks, skip, start_state):
        # The order is drawn in full even where its first batches are skipped.
        tasks = (task for task in tasks if task[0] >= skip)
        load = self._load_serially if self.num_workers == 0 else self._load_ahead
        batches = load(tasks)
        try:
            for number, batch in enumerate(batches, skip + 1):
                if self._start_state is start_state:
                    self._position = number
                yield batch
        finally:
            batches.close()
        if self._start_state is start_state:
            self._start_state, self._position = None, 0

    def _load_serially(self, tasks):
        for task in tasks:
            yield self._load(task)

    def _load_ahead(self, tasks):
        executor = ThreadPoolExecutor(self.num_workers, "tensorlib-data")
        pending = deque()
        try:
            for task in tasks:
                pending.append(executor.submit(self._load, task))
                if len(pending) >= self.num_workers * self.prefetch_factor:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # What is being loaded finishes on its own; nobody waits for it.
            executor.shutdown(wait=False, cancel_futures=True)

    def _load(self, task):
        number, seed, indices = task
        try:
            with use_generator(tl.Generator(seed)):
                return self._fetch(indices)
        except Exception as error:
            error.add_note(f"while DataLoader loaded batch {number}")
            raise

    def _fetch(self, indices):
        if self.batch_sampler is None:
            sample = self.dataset[int(indices)]
            return sample if self.collate_fn is None else self.collate_fn(sample)
        if self.collate_fn is None and hasattr(self.dataset, "take"):
            if not isinstance(indices, tl.Tensor):
                indices = tl.tensor(list(indices), dtype=tl.int64)
            return self.dataset.take(indices)
        if isinstance(indices, tl.Tensor):
            indices = indices.tolist()
        samples = [self.dataset[index] for index in indices]
        return (self.collate_fn or default_collate)(samples)


def _check_options(
    batch_size, shuffle, sampler, batch_sampler, drop_last, num_workers,
    prefetch_factor,
):  # fmt: skip
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
    if not isinstance(num_workers, int) or num_workers < 0:
        raise ValueError(f"DataLoader: expected num_workers >= 0, got {num_workers!r}")
    if not isinstance(prefetch_factor, int) or prefetch_factor < 1:
        raise ValueError(
            f"DataLoader: expected prefetch_factor >= 1, got {prefetch_factor!r}"
        )
