"""Data sets: things with a length and samples by index.

A data set may also define ``take(indices)``: the finished batch for an int64 index
tensor, gathered in one kernel call a tensor. `DataLoader` then calls that instead
of collating samples one by one.
"""

import itertools
import math

import tensorlib as tl

__all__ = ["Dataset", "Subset", "TensorDataset", "random_split"]


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


def random_split(dataset, lengths, generator=None):
    """Split a data set at random into parts that do not overlap.

    Parameters
    ----------
    dataset : Dataset
        The whole, N samples.
    lengths : sequence of int, or of float
        Lengths that sum to N, or shares that sum to 1 (rounded down, what is left
        over going to the first parts in turn).
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
    lengths = list(lengths)
    if math.isclose(sum(lengths), 1) and total != sum(lengths):
        lengths = [math.floor(total * share) for share in lengths]
        for part in range(total - sum(lengths)):
            lengths[part % len(lengths)] += 1
    if sum(lengths) != total or any(length < 0 for length in lengths):
        raise ValueError(
            f"random_split: expected lengths that sum to {total}, got {lengths}"
        )
    order = tl.randperm(total, generator=generator).tolist()
    ends = list(itertools.accumulate(lengths))
    return [
        Subset(dataset, order[end - length : end])
        for length, end in zip(lengths, ends, strict=True)
    ]
