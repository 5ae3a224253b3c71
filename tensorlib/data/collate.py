"""Join samples into a batch."""

from collections.abc import Mapping

import tensorlib as tl
from tensorlib.core.tensor import Tensor

__all__ = ["default_collate"]


def default_collate(batch):
    """Join a list of samples into one batch.

    Tensors and arrays are stacked on a new first axis, numbers become a tensor
    (float ones of the default dtype), strings stay a list; tuples, lists and
    mappings are joined entry by entry.

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
        If sequences in the samples differ in length.
    ShapeError
        If tensors differ in shape.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x, y = tl.data.default_collate([(tl.ones(2), 3), (tl.zeros(2), 4)])
    >>> x.tolist(), y.tolist()
    ([[1.0, 1.0], [0.0, 0.0]], [3, 4])
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack(batch)
    if isinstance(first, (bool, int, float, complex)):
        return tl.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if hasattr(first, "__array__"):
        return _stack([tl.asarray(sample) for sample in batch])
    if isinstance(first, Mapping):
        return {
            key: default_collate([sample[key] for sample in batch]) for key in first
        }
    if isinstance(first, (tuple, list)):
        lengths = {len(sample) for sample in batch}
        if len(lengths) != 1:
            raise ValueError(
                "default_collate: expected sequences of one length, got lengths "
                f"{sorted(lengths)}; pass collate_fn"
            )
        columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
        if hasattr(first, "_fields"):
            return type(first)(*columns)
        return tuple(columns) if isinstance(first, tuple) else columns
    raise TypeError(
        "default_collate: expected tensors, arrays, numbers, strings, or tuples, lists "
        f"and dicts of them, got {type(first).__name__}; pass collate_fn"
    )


def _stack(tensors):
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) != 1:
        raise tl.ShapeError(
            "default_collate: cannot stack tensors of different shapes "
            f"{sorted(shapes)}; pad them, or pass collate_fn"
        )
    return tl.stack(tensors, axis=0)
