"""Distinct elements and membership, by sorting. Loaded at the first use of a name."""

from collections import namedtuple

from tensorlib.core.dtype import result_type
from tensorlib.core.errors import DeviceError, DTypeError
from tensorlib.core.naming import own_errors
from tensorlib.core.tensor import Tensor
from tensorlib.ops.arguments import any_batched, tensor_of
from tensorlib.ops.complex import imag, real
from tensorlib.ops.creation import asarray, full, ones, zeros
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import nonzero, take, where
from tensorlib.ops.joining import concat
from tensorlib.ops.logic import isnan
from tensorlib.ops.reduce import cumsum
from tensorlib.ops.reduce import max as largest
from tensorlib.ops.reduce import min as smallest
from tensorlib.ops.shape import reshape
from tensorlib.ops.sorting import argsort, find_runs, searchsorted, sort

UniqueAll = namedtuple("UniqueAll", ("values", "indices", "inverse_indices", "counts"))
UniqueCounts = namedtuple("UniqueCounts", ("values", "counts"))
UniqueInverse = namedtuple("UniqueInverse", ("values", "inverse_indices"))


# ---- distinct elements ---------------------------------------------------------
def _flat(op, x):
    x = tensor_of(op, x).detach()
    return reshape(x, (x.size,))


def _lengths(starts, size):
    """Return how long the runs are that begin at `starts`."""
    last = full((min(starts.size, 1),), size, dtype="int64", device=starts.device)
    ends = concat((starts[1:], last))
    return ends - starts


def _distinct(op, x, *, equal_nan=False, inverse=True, counts=True):
    """Return values, first positions, inverse and counts, None where not asked."""
    flat = _flat(op, x)
    if flat.dtype.is_complex:
        order, starts, back = _complex_runs(flat, equal_nan)
    else:
        order = argsort(flat)
        starts, back = find_runs(flat, order, inverse, equal_nan)
    first = take(order, starts)
    back = reshape(back, tensor_of(op, x).shape) if inverse else None
    lengths = _lengths(starts, flat.size) if counts else None
    return UniqueAll(take(flat, first), first, back, lengths)


def _complex_runs(flat, equal_nan):
    """Return an order by real, then imaginary part, where runs begin, the way back.

    Runs of the parts are numbered, so that one number stands for both of them.
    """
    _, rows = find_runs(real(flat), argsort(real(flat)), True, True)
    _, columns = find_runs(imag(flat), argsort(imag(flat)), True, True)
    size = flat.size
    numbers = rows * size + columns
    unlike = isnan(flat)
    if equal_nan:  # one number, behind all others
        numbers = where(unlike, size * size, numbers)
    order = argsort(numbers)
    _, back = find_runs(numbers, order, True, False)
    how = {"device": flat.device}
    alone = zeros((size,), dtype="bool", **how) if equal_nan else take(unlike, order)
    group = take(back, order)
    first = ones((min(size, 1),), dtype="bool", **how)
    begins = concat((first, group[1:] != group[:-1]))
    begins = begins | alone
    places = cumsum(astype(begins, "int64"), 0) - 1
    inverse = zeros((size,), dtype="int64", **how)
    inverse[order] = places
    return order, nonzero(begins)[0], inverse


def _ordered_runs(op, x, equal_nan=False):
    """Return the sorted elements and where runs of equal ones begin."""
    flat = _flat(op, x)
    if flat.dtype.is_complex:
        order, starts, _ = _complex_runs(flat, equal_nan)
        return take(flat, order), starts
    ordered = sort(flat)
    return ordered, find_runs(ordered, None, False, equal_nan)[0]


@own_errors
def unique_values(x, /):
    """Return the distinct elements.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor of shape (N,)
        In ascending order; every NaN is distinct from the others.

    Notes
    -----
    Not differentiable. Of -0.0 and 0.0, which are equal, the first one stands.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.unique_values(tl.tensor([[3, 1], [1, 2]]))
    tensor([1, 2, 3])
    """
    return take(*_ordered_runs("unique_values", x))


@own_errors
def unique_counts(x, /):
    """Return the distinct elements and how often each occurs.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    values : Tensor of shape (N,)
        In ascending order; every NaN is distinct from the others.
    counts : Tensor of int64, of shape (N,)

    Examples
    --------
    >>> import tensorlib as tl
    >>> values, counts = tl.unique_counts(tl.tensor([3, 1, 3]))
    >>> values.tolist(), counts.tolist()
    ([1, 3], [1, 2])
    """
    ordered, starts = _ordered_runs("unique_counts", x)
    return UniqueCounts(take(ordered, starts), _lengths(starts, ordered.size))


@own_errors
def unique_inverse(x, /):
    """Return the distinct elements and where among them each element stands.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    values : Tensor of shape (N,)
        In ascending order; every NaN is distinct from the others.
    inverse_indices : Tensor of int64
        Of the shape of `x`: ``values[inverse_indices]`` is `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> values, inverse = tl.unique_inverse(tl.tensor([3, 1, 3]))
    >>> values.tolist(), inverse.tolist()
    ([1, 3], [1, 0, 1])
    """
    found = _distinct("unique_inverse", x, counts=False)
    return UniqueInverse(found.values, found.inverse_indices)


@own_errors
def unique_all(x, /):
    """Return the distinct elements, where each occurs first, and the way back.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    values : Tensor of shape (N,)
        In ascending order; every NaN is distinct from the others.
    indices : Tensor of int64, of shape (N,)
        First positions in the flattened `x`.
    inverse_indices : Tensor of int64
        Of the shape of `x`: ``values[inverse_indices]`` is `x`.
    counts : Tensor of int64, of shape (N,)

    Examples
    --------
    >>> import tensorlib as tl
    >>> found = tl.unique_all(tl.tensor([3, 1, 3]))
    >>> found.values.tolist(), found.indices.tolist(), found.counts.tolist()
    ([1, 3], [1, 0], [1, 2])
    """
    return _distinct("unique_all", x)


@own_errors
def unique(
    x,
    /,
    return_index=False,
    return_inverse=False,
    return_counts=False,
    *,
    equal_nan=True,
):
    """Return the distinct elements and, on request, what is known of them.

    Parameters
    ----------
    x : Tensor
    return_index, return_inverse, return_counts : bool, default False
        Whether to return first positions, places and counts too; see `unique_all`.
    equal_nan : bool, default True
        Whether all NaNs count as one element.

    Returns
    -------
    Tensor or tuple of Tensor
        The values in ascending order; with a request, a tuple that begins with them.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.unique(tl.tensor([tl.nan, 1.0, tl.nan]))
    tensor([ 1., nan])
    """
    if not (return_index or return_inverse or return_counts):
        return take(*_ordered_runs("unique", x, equal_nan))
    wanted = (True, return_index, return_inverse, return_counts)
    asked = {"inverse": return_inverse, "counts": return_counts}
    found = _distinct("unique", x, equal_nan=equal_nan, **asked)
    return tuple(part for part, want in zip(found, wanted, strict=True) if want)


# ---- membership ----------------------------------------------------------------
@own_errors
def isin(x1, x2, /, *, invert=False):
    """Return, for each element, whether it is among others.

    Parameters
    ----------
    x1 : Tensor or scalar
        The elements.
    x2 : Tensor or scalar
        The others, in any shape.
    invert : bool, default False
        Ask whether it is not among them.

    Returns
    -------
    Tensor of bool
        Of the shape of `x1`. NaN is among no elements.

    Raises
    ------
    DTypeError
        If both arguments are scalars.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.isin(tl.tensor([1, 5, 2]), tl.tensor([2, 1]))
    tensor([ True, False,  True])
    """
    elements, others = _operand(x1), _operand(x2)
    if not (isinstance(elements, Tensor) or isinstance(others, Tensor)):
        raise DTypeError("isin: expected at least one tensor, got two scalars")
    elements, others = _beside(elements, others), _beside(others, elements)
    dtype = result_type(elements, others)
    elements = astype(elements, dtype, copy=False)
    others = astype(reshape(others, (others.size,)), dtype, copy=False)
    if others.size == 0:
        if others.device != elements.device:
            raise DeviceError(
                "isin: expected tensors on one device, got "
                f"{elements.device} and {others.device}"
            )
        return full(elements.shape, bool(invert), dtype="bool", device=elements.device)
    found = _in_table(elements, others)
    if found is None:
        found = _in_sorted(elements, sort(others))
    return ~found if invert else found


def _in_table(elements, others):
    """Look integers up in a table of truths, None where it would be too long."""
    if others.dtype.kind not in "iu" or any_batched(others):
        return None
    low, high = smallest(others).item(), largest(others).item()
    if high - low >= 4 * (elements.size + others.size):
        return None
    table = zeros((high - low + 1,), dtype="bool", device=others.device)
    table[others - low] = True
    inside = (elements >= low) & (elements <= high)
    return (
        take(
            table, reshape(where(inside, elements - low, 0), (elements.size,))
        ).reshape(elements.shape)
        & inside
    )


def _in_sorted(elements, others):
    # A place behind all others stands for the last of them, which differs.
    places = searchsorted(others, elements)
    places = places - astype(places == others.size, "int64")
    found = take(others, reshape(places, (places.size,)))
    return reshape(found, elements.shape) == elements


def _operand(x):
    """Return a scalar as it is, anything else as a tensor."""
    if isinstance(x, (bool, int, float, complex)):
        return x
    return tensor_of("isin", x).detach()


def _beside(x, other):
    """Return a tensor; a scalar gets the dtype it has beside the other operand."""
    if isinstance(x, Tensor):
        return x
    return asarray(x, dtype=result_type(other, x), device=other.device)
