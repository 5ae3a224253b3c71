"""Join samples into a batch."""

import copy
from collections.abc import Mapping, MutableMapping, Sequence

import tensorlib as tl
from tensorlib.core.tensor import Tensor

__all__ = ["default_collate"]


def default_collate(batch):
    """Join a list of samples into one batch.

    Tensors and arrays are stacked on a new first axis; numbers become a tensor, int64
    for ints and float64 for floats (NumPy's keep their dtype); strings and bytes stay
    a list; tuples, named tuples, other sequences and mappings are joined entry by
    entry and keep their type.

    Parameters
    ----------
    batch : list
        B samples of one kind.

    Returns
    -------
    object
        What a sample is, with a first axis of length B.

    Raises
    ------
    TypeError
        If the samples are of another kind.
    ValueError
        If the batch is empty, or sequences or mappings in the samples differ in
        length or keys.
    ShapeError
        If tensors differ in shape.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x, y = tl.data.default_collate([(tl.ones(2), 3), (tl.zeros(2), 4)])
    >>> x.tolist(), y.tolist()
    ([[1.0, 1.0], [0.0, 0.0]], [3, 4])
    """
    if not batch:
        raise ValueError("default_collate: expected at least one sample, got none")
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack(batch)
    if hasattr(first, "__array__") and hasattr(first, "dtype"):
        return _stack([tl.asarray(sample) for sample in batch])
    if isinstance(first, float):
        return tl.tensor(batch, dtype=tl.float64)
    if isinstance(first, (bool, int, complex)):
        return tl.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _collate_mappings(batch)
    if isinstance(first, Sequence):
        return _collate_sequences(batch)
    raise TypeError(
        "default_collate: expected tensors, arrays, numbers, strings, or sequences "
        f"and mappings of them, got {type(first).__name__}; pass collate_fn"
    )


def _stack(tensors):
    first = tuple(tensors[0].shape)
    for number, tensor in enumerate(tensors):
        if tuple(tensor.shape) != first:
            raise tl.ShapeError(
                f"default_collate: cannot stack tensors of shapes {first} (sample 0) "
                f"and {tuple(tensor.shape)} (sample {number}); pad them, or pass "
                "collate_fn"
            )
    return tl.stack(tensors, axis=0)


def _collate_mappings(batch):
    first = batch[0]
    for number, sample in enumerate(batch):
        if not isinstance(sample, Mapping) or sample.keys() != first.keys():
            found = list(sample) if isinstance(sample, Mapping) else sample
            raise ValueError(
                f"default_collate: expected mappings with keys {list(first)} as in "
                f"sample 0, got {found!r} in sample {number}; pass collate_fn"
            )
    joined = {key: default_collate([sample[key] for sample in batch]) for key in first}
    try:
        if not isinstance(first, MutableMapping):
            return type(first)(joined)
        # A copy keeps what the type holds besides its items (a default factory, say).
        clone = copy.copy(first)
        clone.update(joined)
        return clone
    except TypeError:
        return joined


def _collate_sequences(batch):
    first = batch[0]
    for number, sample in enumerate(batch):
        if not isinstance(sample, Sequence) or len(sample) != len(first):
            found = (
                f"length {len(sample)}"
                if isinstance(sample, Sequence)
                else type(sample).__name__
            )
            raise ValueError(
                f"default_collate: expected sequences of length {len(first)} as in "
                f"sample 0, got {found} in sample {number}; pad them, or pass "
                "collate_fn"
            )
    columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
    if hasattr(first, "_fields"):
        return type(first)(*columns)
    if isinstance(first, tuple):
        return tuple(columns)
    try:
        return type(first)(columns)
    except TypeError:  # a range, say
        return columns
