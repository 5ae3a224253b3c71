"""In which order samples are visited, and how they are grouped into batches."""

import tensorlib as tl

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler"]


class Sampler:
    """Base class: define ``__iter__`` over indices and ``__len__``.

    A sampler that also defines ``index_tensor()`` gives one pass's indices as an
    int64 tensor, which batches then slice without copying.
    """

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__}: __iter__ is missing")


class SequentialSampler(Sampler):
    """Visit 0, 1, ..., N - 1.

    Parameters
    ----------
    data_source : sized
        The data set.

    Examples
    --------
    >>> from tensorlib.data import SequentialSampler
    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source):
        self.data_source = data_source

    def __len__(self):
        return len(self.data_source)

    def __iter__(self):
        return iter(range(len(self)))

    def index_tensor(self):
        """Return ``arange(N)``."""
        return tl.arange(len(self), dtype=tl.int64)


class RandomSampler(Sampler):
    """Visit samples in random order.

    Parameters
    ----------
    data_source : sized
        The data set, N samples.
    replacement : bool, default False
        Draw independently instead of permuting.
    num_samples : int, optional
        How many to draw; N by default.
    generator : Generator, optional
        Source of random numbers; the default generator otherwise.

    Raises
    ------
    ValueError
        If `num_samples` is not positive.

    Examples
    --------
    >>> from tensorlib.data import RandomSampler
    >>> sorted(RandomSampler("abc"))
    [0, 1, 2]
    """

    def __init__(
        self, data_source, replacement=False, num_samples=None, generator=None
    ):
        if num_samples is not None and not num_samples > 0:
            raise ValueError(
                f"RandomSampler: expected num_samples > 0, got {num_samples}"
            )
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator

    @property
    def num_samples(self):
        """How many indices one pass gives."""
        if self._num_samples is None:
            return len(self.data_source)
        return self._num_samples

    def __len__(self):
        return self.num_samples

    def __iter__(self):
        return iter(self.index_tensor().tolist())

    def index_tensor(self):
        """Draw one pass: int64, shape ``(num_samples,)``."""
        size, count = len(self.data_source), self.num_samples
        if self.replacement and size:
            return tl.randint(0, size, (count,), generator=self.generator)
        parts = []
        while count > 0 and size:
            part = tl.randperm(size, generator=self.generator)
            parts.append(part if count >= size else part[:count])
            count -= size
        if len(parts) == 1:
            return parts[0]
        return tl.concat(parts, axis=0) if parts else tl.arange(0, dtype=tl.int64)


class BatchSampler(Sampler):
    """Group a sampler's indices into batches.

    Parameters
    ----------
    sampler : iterable of int
        The order.
    batch_size : int
        Indices a batch.
    drop_last : bool
        Whether an incomplete last batch is left out.

    Raises
    ------
    ValueError
        If `batch_size` is not a positive int.

    Examples
    --------
    >>> from tensorlib.data import BatchSampler
    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler, batch_size, drop_last):
        if isinstance(batch_size, bool) or not isinstance(batch_size, int):
            raise ValueError(
                f"BatchSampler: expected batch_size to be an int, got {batch_size!r}"
            )
        if batch_size < 1:
            raise ValueError(f"BatchSampler: expected batch_size > 0, got {batch_size}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = bool(drop_last)

    def __len__(self):
        count = len(self.sampler)
        if self.drop_last:
            return count // self.batch_size
        return -(-count // self.batch_size)

    def __iter__(self):
        batch = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def index_batches(self):
        """Draw the order now; iterate over batches, int64 tensors where possible."""
        if not hasattr(self.sampler, "index_tensor"):
            return iter(self)
        indices = self.sampler.index_tensor()
        size = self.batch_size
        count = indices.shape[0]
        end = count - count % size if self.drop_last else count
        starts = range(0, end, size)
        return (indices[start : min(start + size, end)] for start in starts)
