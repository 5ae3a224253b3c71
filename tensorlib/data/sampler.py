"""In which order samples are visited, and how they are grouped into batches.

A random sampler draws from its own generator, if it has one, else from the generator
of the loader that uses it, else from the default generator.
"""

import bisect
import itertools
import math

import tensorlib as tl
from tensorlib.data.seeding import batch_generator, batch_seed

__all__ = [
    "BatchSampler",
    "DistributedSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]


class Sampler:
    """Base class: define ``__iter__`` over indices and ``__len__``.

    A sampler that also defines ``index_tensor()`` gives one pass's indices as an
    int64 tensor, which batches then slice without copying. One with a state of its
    own defines ``state_dict()`` and ``load_state_dict(state)``; loaders save it.
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


class _RandomSampler(Sampler):
    """What random samplers share: `index_tensor` draws from `_source`."""

    def __init__(self, generator):
        self.generator = generator

    def _source(self):
        return batch_generator() if self.generator is None else self.generator

    def __iter__(self):
        return iter(self.index_tensor().tolist())

    def index_tensor(self):
        """Draw one pass."""
        raise NotImplementedError(f"{type(self).__name__}: index_tensor is missing")

    def state_dict(self):
        """Return the state of the sampler's own generator, if it has one."""
        return (
            {} if self.generator is None else {"generator": self.generator.get_state()}
        )

    def load_state_dict(self, state_dict):
        """Set the state of the sampler's own generator.

        Raises
        ------
        ValueError
            If the state is of a sampler without a generator, or the other way round.
        """
        if ("generator" in state_dict) != (self.generator is not None):
            raise ValueError(
                f"{type(self).__name__}: the state was saved "
                f"{'with' if 'generator' in state_dict else 'without'} a generator of "
                "the sampler's own; make the sampler the same way before loading it"
            )
        if self.generator is not None:
            self.generator.set_state(state_dict["generator"])


class RandomSampler(_RandomSampler):
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
        Source of random numbers; see the module.

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
        super().__init__(generator)
        if num_samples is not None:
            _check_count("RandomSampler", num_samples)
        self.data_source = data_source
        self.replacement = bool(replacement)
        self._num_samples = num_samples

    @property
    def num_samples(self):
        """How many indices one pass gives."""
        if self._num_samples is None:
            return len(self.data_source)
        return self._num_samples

    def __len__(self):
        return self.num_samples

    def index_tensor(self):
        """Draw one pass: int64, shape ``(num_samples,)``."""
        size, count = len(self.data_source), self.num_samples
        generator = self._source()
        if self.replacement and size:
            return tl.randint(0, size, (count,), generator=generator)
        parts = []
        while count > 0 and size:
            part = tl.randperm(size, generator=generator)
            parts.append(part if count >= size else part[:count])
            count -= size
        if len(parts) == 1:
            return parts[0]
        return tl.concat(parts, axis=0) if parts else tl.arange(0, dtype=tl.int64)


class SubsetRandomSampler(_RandomSampler):
    """Visit the given indices in random order.

    Parameters
    ----------
    indices : sequence of int
        Which samples.
    generator : Generator, optional
        Source of random numbers; see the module.

    Examples
    --------
    >>> from tensorlib.data import SubsetRandomSampler
    >>> sorted(SubsetRandomSampler([7, 3, 5]))
    [3, 5, 7]
    """

    def __init__(self, indices, generator=None):
        super().__init__(generator)
        self.indices = [int(index) for index in indices]

    def __len__(self):
        return len(self.indices)

    def index_tensor(self):
        """Draw one pass: int64, shape ``(N,)``."""
        order = tl.randperm(len(self), generator=self._source())
        return tl.take(tl.tensor(self.indices, dtype=tl.int64), order, axis=0)


class WeightedRandomSampler(_RandomSampler):
    """Visit sample i with probability proportional to ``weights[i]``.

    Parameters
    ----------
    weights : sequence of float
        Finite, not negative, not all 0; they need not sum to 1.
    num_samples : int
        How many to draw.
    replacement : bool, default True
        Draw independently; otherwise each draw is among those not drawn yet.
    generator : Generator, optional
        Source of random numbers; see the module.

    Raises
    ------
    ValueError
        If a weight or `num_samples` is out of range, or without replacement fewer
        than `num_samples` weights are positive.

    References
    ----------
    Without replacement: Efraimidis and Spirakis, "Weighted random sampling with a
    reservoir", Inf. Process. Lett. 97 (2006), algorithm A.

    Examples
    --------
    >>> from tensorlib.data import WeightedRandomSampler
    >>> set(WeightedRandomSampler([0.0, 1.0, 0.0], 5))
    {1}
    """

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        super().__init__(generator)
        _check_count("WeightedRandomSampler", num_samples)
        self.weights = [float(weight) for weight in weights]
        for index, weight in enumerate(self.weights):
            if not 0 <= weight < math.inf:
                raise ValueError(
                    "WeightedRandomSampler: expected finite weights >= 0, got "
                    f"weights[{index}] = {weight}"
                )
        positive = sum(weight > 0 for weight in self.weights)
        if positive < (1 if replacement else num_samples):
            raise ValueError(
                f"WeightedRandomSampler: cannot draw {num_samples} samples "
                f"{'with' if replacement else 'without'} replacement: {positive} of "
                f"{len(self.weights)} weights are positive"
            )
        self.num_samples = num_samples
        self.replacement = bool(replacement)

    def __len__(self):
        return self.num_samples

    def index_tensor(self):
        """Draw one pass: int64, shape ``(num_samples,)``."""
        draw = self._with_replacement if self.replacement else self._without_replacement
        return tl.tensor(draw(self._source()), dtype=tl.int64)

    def _with_replacement(self, generator):
        ends = list(itertools.accumulate(self.weights))
        # Rounding may carry a draw to the very end, where no sample begins.
        last = bisect.bisect_left(ends, ends[-1])
        draws = tl.rand((self.num_samples,), dtype=tl.float64, generator=generator)
        return [
            min(bisect.bisect_right(ends, draw * ends[-1]), last)
            for draw in draws.tolist()
        ]

    def _without_replacement(self, generator):
        count = len(self.weights)
        draws = tl.rand((count,), dtype=tl.float64, generator=generator).tolist()
        keys = [
            -math.log1p(-draw) / weight if weight else math.inf
            for draw, weight in zip(draws, self.weights, strict=True)
        ]
        return sorted(range(count), key=keys.__getitem__)[: self.num_samples]


class DistributedSampler(Sampler):
    """One process's share of the samples: every `num_replicas`-th from `rank` on.

    All processes must use the same seed; call `set_epoch` before each pass for a new
    order.

    Parameters
    ----------
    dataset : sized
        The data set, N samples.
    num_replicas : int
        How many processes share it.
    rank : int
        Which of them this is.
    shuffle : bool, default True
        Whether the order is random, from `seed` and the epoch alone.
    seed : int, default 0
        The same in all processes.
    drop_last : bool, default False
        Make the shares equal by leaving samples out; otherwise the first samples of
        the order come once more.

    Raises
    ------
    ValueError
        If `rank` is not in [0, num_replicas).

    Examples
    --------
    >>> from tensorlib.data import DistributedSampler
    >>> [list(DistributedSampler("abcde", 2, rank, shuffle=False)) for rank in (0, 1)]
    [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self, dataset, num_replicas, rank, shuffle=True, seed=0, drop_last=False
    ):
        _check_count("DistributedSampler", num_replicas, "num_replicas")
        if isinstance(rank, bool) or not isinstance(rank, int):
            raise ValueError(f"DistributedSampler: expected an int rank, got {rank!r}")
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"DistributedSampler: expected rank in [0, {num_replicas}), got {rank}"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.shuffle = bool(shuffle)
        self.seed = seed
        self.drop_last = bool(drop_last)
        self.epoch = 0

    def set_epoch(self, epoch):
        """Choose the order of the next pass; the same number in all processes."""
        self.epoch = int(epoch)

    def __len__(self):
        count = len(self.dataset)
        if self.drop_last:
            return count // self.num_replicas
        return -(-count // self.num_replicas)

    def __iter__(self):
        return iter(self.index_tensor().tolist())

    def index_tensor(self):
        """Return this process's share of one pass, int64."""
        count, total = len(self.dataset), len(self) * self.num_replicas
        if self.shuffle:
            seed = batch_seed(self.seed, self.epoch)
            order = tl.randperm(count, generator=tl.Generator(seed))
        else:
            order = tl.arange(count, dtype=tl.int64)
        if total > count > 0:
            order = tl.concat([order] * -(-total // count), axis=0)
        return order[self.rank : total : self.num_replicas]

    def state_dict(self):
        """Return the epoch."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state_dict):
        """Set the epoch."""
        self.set_epoch(state_dict["epoch"])


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
        _check_count("BatchSampler", batch_size, "batch_size")
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

    def state_dict(self):
        """Return the state of the sampler inside, if it has one."""
        return _state_of(self.sampler)

    def load_state_dict(self, state_dict):
        """Set the state of the sampler inside, if it has one."""
        if hasattr(self.sampler, "load_state_dict"):
            self.sampler.load_state_dict(state_dict)


def _state_of(sampler):
    return sampler.state_dict() if hasattr(sampler, "state_dict") else {}


def _check_count(owner, count, name="num_samples"):
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"{owner}: expected an int {name} > 0, got {count!r}")
