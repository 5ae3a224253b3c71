"""Data sets: things with a length and samples by index, or streams of samples.

A data set by index may also define ``take(indices)``: the finished batch for an int64
index tensor, gathered in one kernel call a tensor. `DataLoader` then calls that instead
of collating samples one by one.
"""

import bisect
import itertools
import math
import operator
from collections.abc import Mapping

import tensorlib as tl

__all__ = [
    "ChainDataset",
    "ConcatDataset",
    "Dataset",
    "IterableDataset",
    "StackDataset",
    "Subset",
    "TensorDataset",
    "random_split",
]


class Dataset:
    """Base class: define ``__len__`` and ``__getitem__``.

    Examples
    --------
    >>> from tensorlib.data import Dataset
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 10
    ...
    ...     def __getitem__(self, index):
    ...         return index**2
    >>> Squares()[3]
    9
    """

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__}: __getitem__ is missing")

    def __len__(self):
        raise NotImplementedError(f"{type(self).__name__}: __len__ is missing")

    def __add__(self, other):
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base class of streams: define ``__iter__``, and ``__len__`` where it is known.

    Worker threads of a `DataLoader` share one iterator, so each sample is given out
    once, in order, whatever their number.

    Examples
    --------
    >>> from tensorlib.data import DataLoader, IterableDataset
    >>> class Countdown(IterableDataset):
    ...     def __iter__(self):
    ...         yield from (3, 2, 1)
    >>> [batch.tolist() for batch in DataLoader(Countdown(), batch_size=2)]
    [[3, 2], [1]]
    """

    def __getitem__(self, index):
        raise TypeError(f"{type(self).__name__}: a stream has no samples by index")

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__}: __iter__ is missing")

    def __len__(self):
        raise TypeError(f"{type(self).__name__}: the length of this stream is unknown")

    def __add__(self, other):
        return ChainDataset([self, other])


class TensorDataset(Dataset):
    """Samples along the first axis of tensors held in memory.

    Parameters
    ----------
    *tensors : Tensor or array
        Each of shape ``(N, ...)``.

    Raises
    ------
    ValueError
        If there is no tensor.
    ShapeError
        If the first axes differ in length.

    Examples
    --------
    >>> import tensorlib as tl
    >>> data = tl.data.TensorDataset(tl.ones((4, 2)), tl.arange(4))
    >>> x, y = data.take(tl.tensor([3, 0]))
    >>> x.shape, y.tolist()
    ((2, 2), [3, 0])
    """

    def __init__(self, *tensors):
        if not tensors:
            raise ValueError("TensorDataset: expected at least one tensor")
        self.tensors = tuple(tl.asarray(tensor) for tensor in tensors)
        shapes = [tuple(tensor.shape) for tensor in self.tensors]
        if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
            raise tl.ShapeError(
                f"TensorDataset: first axes must agree in length, got shapes {shapes}"
            )

    def __len__(self):
        return self.tensors[0].shape[0]

    def __getitem__(self, index):
        return tuple(tensor[index] for tensor in self.tensors)

    def take(self, indices):
        """Return the batch at an int64 tensor ``(B,)``: one ``(B, ...)`` a tensor."""
        return tuple(tl.take(tensor, indices, axis=0) for tensor in self.tensors)


class Subset(Dataset):
    """Some samples of a data set.

    Parameters
    ----------
    dataset : Dataset
        The whole.
    indices : sequence of int
        Which samples, in order.

    Examples
    --------
    >>> from tensorlib.data import Subset
    >>> list(Subset(["a", "b", "c"], [2, 0]))
    ['c', 'a']
    """

    def __init__(self, dataset, indices):
        self.dataset = dataset
        self.indices = [int(index) for index in indices]
        if hasattr(dataset, "take"):
            index_tensor = tl.tensor(self.indices, dtype=tl.int64)
            self.take = lambda indices: dataset.take(tl.take(index_tensor, indices))

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        return self.dataset[self.indices[index]]

    def __iter__(self):
        return (self.dataset[index] for index in self.indices)


class ConcatDataset(Dataset):
    """Data sets one after the other.

    Parameters
    ----------
    datasets : iterable of Dataset
        At least one, none of them a stream.

    Raises
    ------
    ValueError
        If there is none.
    TypeError
        If one is an `IterableDataset`.

    Attributes
    ----------
    cumulative_sizes : list of int
        The index after the last sample of each.

    Examples
    --------
    >>> from tensorlib.data import ConcatDataset
    >>> both = ConcatDataset(["abc", "de"])
    >>> len(both), both[3], both[-1]
    (5, 'd', 'e')
    """

    def __init__(self, datasets):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: expected at least one data set, got none")
        for part in self.datasets:
            if isinstance(part, IterableDataset):
                raise TypeError(
                    "ConcatDataset: expected data sets with samples by index, got "
                    f"{type(part).__name__}, a stream; use ChainDataset"
                )
        self.cumulative_sizes = list(itertools.accumulate(map(len, self.datasets)))

    def __len__(self):
        return self.cumulative_sizes[-1]

    def __getitem__(self, index):
        index = _checked_index("ConcatDataset", index, len(self))
        part = bisect.bisect_right(self.cumulative_sizes, index)
        start = self.cumulative_sizes[part - 1] if part else 0
        return self.datasets[part][index - start]


class ChainDataset(IterableDataset):
    """Streams one after the other.

    Parameters
    ----------
    datasets : iterable of IterableDataset
        Each is opened when the one before it has ended.

    Examples
    --------
    >>> from tensorlib.data import ChainDataset
    >>> list(ChainDataset(["ab", "c"]))
    ['a', 'b', 'c']
    """

    def __init__(self, datasets):
        self.datasets = list(datasets)

    def __iter__(self):
        return itertools.chain.from_iterable(self.datasets)

    def __len__(self):
        return sum(map(len, self.datasets))


class StackDataset(Dataset):
    """Data sets side by side: a sample is a tuple, or a dict, of one from each.

    Parameters
    ----------
    *args : Dataset
        For samples that are tuples.
    **kwargs : Dataset
        For samples that are dicts; instead of `args`.

    Raises
    ------
    ValueError
        If there is none, both kinds are given, or lengths differ.

    Examples
    --------
    >>> from tensorlib.data import StackDataset
    >>> StackDataset(image=[10, 20], label="ab")[1]
    {'image': 20, 'label': 'b'}
    """

    def __init__(self, *args, **kwargs):
        if bool(args) == bool(kwargs):
            raise ValueError(
                "StackDataset: expected data sets by position or by name, got "
                f"{len(args)} by position and {len(kwargs)} by name"
            )
        self.datasets = args or kwargs
        lengths = [len(part) for part in args or kwargs.values()]
        if len(set(lengths)) != 1:
            raise ValueError(
                f"StackDataset: expected data sets of one length, got {lengths}"
            )
        self._length = lengths[0]

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        if isinstance(self.datasets, Mapping):
            return {name: part[index] for name, part in self.datasets.items()}
        return tuple(part[index] for part in self.datasets)


def _checked_index(owner, index, length):
    """Return `index` as 0 <= int < length, negative ones counted from the end."""
    index = operator.index(index)
    if not -length <= index < length:
        raise IndexError(f"{owner}: index {index} is out of range for {length} samples")
    return index % length


def random_split(dataset, lengths, generator=None):
    """Split a data set at random into parts that do not overlap.

    Parameters
    ----------
    dataset : Dataset
        The whole, N samples.
    lengths : sequence of int, or of float
        Lengths that sum to N, or fractions that sum to 1 (lengths rounded down, what
        is left over going to the first parts in turn).
    generator : Generator, optional
        Source of the permutation; the default generator otherwise.

    Returns
    -------
    list of Subset
        One a length.

    Raises
    ------
    ValueError
        If the lengths do not sum to N.

    Examples
    --------
    >>> import tensorlib as tl
    >>> train, test = tl.data.random_split(range(10), [0.75, 0.25])
    >>> len(train), len(test)
    (8, 2)
    """
    total = len(dataset)
    lengths = _split_lengths(list(lengths), total)
    order = tl.randperm(total, generator=generator).tolist()
    ends = list(itertools.accumulate(lengths))
    return [
        Subset(dataset, order[end - length : end])
        for length, end in zip(lengths, ends, strict=True)
    ]


def _split_lengths(lengths, total):
    wrong = ValueError(
        f"random_split: expected lengths that sum to {total}, or fractions in [0, 1] "
        f"that sum to 1, got {lengths}"
    )
    if any(not length >= 0 for length in lengths):
        raise wrong
    if math.isclose(sum(lengths), 1) and total != sum(lengths):
        lengths = [math.floor(total * fraction) for fraction in lengths]
        for part in range(total - sum(lengths)):
            lengths[part % len(lengths)] += 1
    if sum(lengths) != total or any(length != int(length) for length in lengths):
        raise wrong
    return [int(length) for length in lengths]
