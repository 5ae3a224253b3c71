"""Sequences of unequal length: padding them, and packing the padding away."""

from itertools import pairwise
from typing import NamedTuple

import tensorlib as tl
from tensorlib.core.tensor import Tensor

__all__ = [
    "PackedSequence",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """Sequences without padding, step by step, longest first.

    Made by `pack_padded_sequence` and `pack_sequence`; recurrent modules take and
    return it.

    Attributes
    ----------
    data : Tensor of shape (sum of lengths, ...)
        The first elements of all sequences, then the second ones, and so on.
    batch_sizes : Tensor of int64 of shape (T,)
        How many sequences reach each step; never grows.
    sorted_indices : Tensor of int64 of shape (N,) or None
        Which sequence of the original batch each one is; None: in the same order.
    unsorted_indices : Tensor of int64 of shape (N,) or None
        The inverse.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn.utils.rnn import pack_sequence
    >>> packed = pack_sequence([tl.tensor([1, 2, 3]), tl.tensor([4])])
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([1, 4, 2, 3], [2, 1, 1])
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def pad_sequence(
    sequences, batch_first=False, padding_value=0.0, padding_side="right"
):  # fmt: skip
    """Stack sequences of unequal length, filling up the shorter ones.

    Parameters
    ----------
    sequences : list of Tensor of shape (length, ...)
        At least one; equal but for the length.
    batch_first : bool, default False
        Return (N, T, ...) instead of (T, N, ...).
    padding_value : float, default 0.0
    padding_side : {"right", "left"}, default "right"

    Returns
    -------
    Tensor of shape (T, N, ...) or (N, T, ...)
        T is the greatest length.

    Raises
    ------
    ValueError
        If there is no sequence, or `padding_side` is neither.
    ShapeError
        If a sequence is 0-d or the other axes differ.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn.utils.rnn import pad_sequence
    >>> pad_sequence([tl.tensor([1, 2]), tl.tensor([3])], batch_first=True).tolist()
    [[1, 2], [3, 0]]
    """
    sequences = list(sequences)
    if not sequences:
        raise ValueError("pad_sequence: expected at least one sequence, got none")
    if padding_side not in ("right", "left"):
        raise ValueError(
            f"pad_sequence: expected padding_side 'right' or 'left', got "
            f"{padding_side!r}"
        )
    rest = sequences[0].shape[1:]
    for sequence in sequences:
        if sequence.ndim == 0 or sequence.shape[1:] != rest:
            raise tl.ShapeError(
                f"pad_sequence: expected sequences of shape (length, {rest}), got "
                f"{[s.shape for s in sequences]}"
            )
    longest = max(s.shape[0] for s in sequences)
    value = int(padding_value) if sequences[0].dtype.kind in "iu" else padding_value
    padded = []
    for sequence in sequences:
        missing = longest - sequence.shape[0]
        ends = (missing, 0) if padding_side == "left" else (0, missing)
        widths = [ends] + [(0, 0)] * len(rest)
        padded.append(tl.pad(sequence, widths, value=value) if missing else sequence)
    return tl.stack(padded, axis=0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """Undo `pad_sequence`.

    Parameters
    ----------
    padded_sequences : Tensor of shape (T, N, ...) or (N, T, ...)
    lengths : Tensor of integers of shape (N,), or list of int
    batch_first : bool, default False

    Returns
    -------
    list of Tensor of shape (length, ...)

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn.utils.rnn import unpad_sequence
    >>> [s.tolist() for s in unpad_sequence(tl.tensor([[1, 3], [2, 0]]), [2, 1])]
    [[1, 2], [3]]
    """
    lengths = _as_lengths("unpad_sequence", lengths)
    batch = padded_sequences.shape[0 if batch_first else 1]
    if len(lengths) != batch:
        raise tl.ShapeError(
            f"unpad_sequence: expected {batch} lengths, got {len(lengths)}"
        )
    if not batch_first:
        padded_sequences = tl.transpose(padded_sequences, 0, 1)
    return [padded_sequences[n, :length] for n, length in enumerate(lengths)]


def _as_lengths(op, lengths):
    """Return the lengths as a list of int."""
    if isinstance(lengths, Tensor):
        lengths = lengths.tolist()
    try:
        found = [int(n) for n in lengths]
    except (TypeError, ValueError):
        raise TypeError(
            f"{op}: expected a tensor or list of lengths, got {lengths!r}"
        ) from None
    return found


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Drop the padding of a batch of sequences.

    Parameters
    ----------
    input : Tensor of shape (T, N, ...) or (N, T, ...)
    lengths : Tensor of integers of shape (N,), or list of int
        Each in [1, T].
    batch_first : bool, default False
    enforce_sorted : bool, default True
        Require falling lengths; otherwise the sequences are sorted here, and what
        recurrent modules return is put back in order.

    Returns
    -------
    PackedSequence

    Raises
    ------
    ValueError
        If a length is out of range, or they are not sorted but should be.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn.utils.rnn import pack_padded_sequence
    >>> pack_padded_sequence(tl.tensor([[1, 3], [2, 0]]), [2, 1]).data.tolist()
    [1, 3, 2]
    """
    op = "pack_padded_sequence"
    lengths = _as_lengths(op, lengths)
    if input.ndim < 2:
        raise tl.ShapeError(f"{op}: expected (T, N, ...), got {input.shape}")
    if batch_first:
        input = tl.transpose(input, 0, 1)
    steps, batch = input.shape[:2]
    if len(lengths) != batch:
        raise tl.ShapeError(f"{op}: expected {batch} lengths, got {len(lengths)}")
    if not lengths or min(lengths) < 1 or max(lengths) > steps:
        raise ValueError(f"{op}: expected lengths in [1, {steps}], got {lengths}")
    order = unorder = None
    if any(a < b for a, b in pairwise(lengths)):
        if enforce_sorted:
            raise ValueError(
                f"{op}: expected falling lengths, got {lengths}; pass "
                "enforce_sorted=False to have them sorted"
            )
        order = sorted(range(batch), key=lambda n: -lengths[n])
        unorder = sorted(range(batch), key=order.__getitem__)
    elif not enforce_sorted:
        order = unorder = list(range(batch))
    columns = range(batch) if order is None else order
    positions = [
        t * batch + n for t in range(max(lengths)) for n in columns if t < lengths[n]
    ]
    sizes = [sum(n > t for n in lengths) for t in range(max(lengths))]
    rows = input.reshape((steps * batch, *input.shape[2:]))
    return PackedSequence(
        rows[tl.tensor(positions)],
        tl.tensor(sizes),
        None if order is None else tl.tensor(order),
        None if unorder is None else tl.tensor(unorder),
    )


def pack_sequence(sequences, enforce_sorted=True):
    """Pack sequences of unequal length.

    Parameters
    ----------
    sequences : list of Tensor of shape (length, ...)
    enforce_sorted : bool, default True
        As in `pack_padded_sequence`.

    Returns
    -------
    PackedSequence

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn.utils.rnn import pack_sequence
    >>> pack_sequence([tl.tensor([1, 2]), tl.tensor([3])]).data.tolist()
    [1, 3, 2]
    """
    sequences = list(sequences)
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(
        pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted
    )


def pad_packed_sequence(
    sequence, batch_first=False, padding_value=0.0, total_length=None
):
    """Undo `pack_padded_sequence`.

    Parameters
    ----------
    sequence : PackedSequence
    batch_first : bool, default False
    padding_value : float, default 0.0
    total_length : int, optional
        Number of steps of the result, at least the greatest length.

    Returns
    -------
    padded : Tensor of shape (T, N, ...) or (N, T, ...)
    lengths : Tensor of int64 of shape (N,)

    Raises
    ------
    ValueError
        If `total_length` is less than the greatest length.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn.utils.rnn import pack_sequence, pad_packed_sequence
    >>> packed = pack_sequence([tl.tensor([1, 2]), tl.tensor([3])])
    >>> padded, lengths = pad_packed_sequence(packed)
    >>> padded.tolist(), lengths.tolist()
    ([[1, 3], [2, 0]], [2, 1])
    """
    padded, lengths = unpacked(sequence, padding_value)
    steps = padded.shape[0]
    if total_length is not None and total_length < steps:
        raise ValueError(
            f"pad_packed_sequence: expected total_length >= {steps}, got {total_length}"
        )
    if total_length is not None and total_length > steps:
        widths = [(0, total_length - steps)] + [(0, 0)] * (padded.ndim - 1)
        padded = tl.pad(padded, widths, value=padding_value)
    if sequence.unsorted_indices is not None:
        padded = tl.take(padded, sequence.unsorted_indices, axis=1)
        lengths = lengths[sequence.unsorted_indices]
    return (tl.transpose(padded, 0, 1) if batch_first else padded), lengths.cpu()


def unpack_sequence(packed_sequences):
    """Undo `pack_sequence`.

    Parameters
    ----------
    packed_sequences : PackedSequence

    Returns
    -------
    list of Tensor of shape (length, ...)
        In the order in which they were packed.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn.utils.rnn import pack_sequence, unpack_sequence
    >>> packed = pack_sequence([tl.tensor([1, 2]), tl.tensor([3])])
    >>> [sequence.tolist() for sequence in unpack_sequence(packed)]
    [[1, 2], [3]]
    """
    return unpad_sequence(*pad_packed_sequence(packed_sequences))


def unpacked(sequence, padding_value=0.0):
    """Return (T, N, ...) and the lengths (N,), both longest first."""
    sizes = sequence.batch_sizes.tolist()
    batch = sizes[0]
    starts = [sum(sizes[:t]) for t in range(len(sizes))]
    positions = [
        [start + n if n < size else 0 for n in range(batch)]
        for start, size in zip(starts, sizes, strict=True)
    ]
    data = sequence.data
    lengths = tl.tensor(
        [sum(size > n for size in sizes) for n in range(batch)], device=data.device
    )
    live = tl.expand_dims(tl.arange(len(sizes), device=data.device), 1) < lengths
    live = live.reshape((*live.shape, *[1] * (data.ndim - 1)))
    value = tl.full((), padding_value).astype(data.dtype)
    return tl.where(live, data[tl.tensor(positions)], value), lengths


def repacked(padded, sequence):
    """Pack (T, N, ...), longest first, as `sequence` is packed."""
    steps, batch = padded.shape[:2]
    positions = [
        t * batch + n
        for t, size in enumerate(sequence.batch_sizes.tolist())
        for n in range(size)
    ]
    rows = padded.reshape((steps * batch, *padded.shape[2:]))
    return sequence._replace(data=rows[tl.tensor(positions)])
