"""Contractions of axes, all through matmul: einsum, tensordot, vecdot, outer, trace.

einsum contracts its operands pair by pair. A pair's axes are sorted into batch (in both
and kept), left, right and contracted ones, and the two become stacks of matrices.
"""

from collections import namedtuple
from functools import lru_cache
from itertools import combinations
from math import prod

from tensorlib.core.dtype import result_type
from tensorlib.core.errors import ShapeError
from tensorlib.ops.arguments import axes_of, axis_of, int_of, tensor_of
from tensorlib.ops.arithmetic import multiply
from tensorlib.ops.elementwise import astype
from tensorlib.ops.linalg import matmul
from tensorlib.ops.manipulation import diagonal, moveaxis
from tensorlib.ops.reduce import sum as total
from tensorlib.ops.shape import expand_dims, permute_dims, reshape

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


# ---- products of two tensors ---------------------------------------------------
def tensordot(x1, x2, /, *, axes=2):
    """Return the sums of products over pairs of axes.

    Parameters
    ----------
    x1, x2 : Tensor
    axes : int or (sequence of int, sequence of int), default 2
        The last `axes` of `x1` with the first of `x2`, or which axes of each.

    Returns
    -------
    Tensor
        The other axes of `x1`, then those of `x2`.

    Raises
    ------
    ShapeError
        If paired axes differ in length, in number, or are out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tensordot(tl.ones((2, 3)), tl.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    a, b = tensor_of("tensordot", x1), tensor_of("tensordot", x2)
    if hasattr(axes, "__index__"):
        n = int_of("tensordot", "axes", axes)
        if not 0 <= n <= min(a.ndim, b.ndim):
            raise ShapeError(
                f"tensordot: expected axes in [0, {min(a.ndim, b.ndim)}] for shapes "
                f"{a.shape} and {b.shape}, got {n}"
            )
        left, right = tuple(range(a.ndim - n, a.ndim)), tuple(range(n))
    else:
        try:
            left, right = axes
        except (TypeError, ValueError):
            raise TypeError(
                f"tensordot: expected an int or two sequences of axes, got {axes!r}"
            ) from None
        left, right = axes_of("tensordot", left, a.ndim), axes_of(
            "tensordot", right, b.ndim
        )  # fmt: skip
    extents = [a.shape[d] for d in left], [b.shape[d] for d in right]
    if extents[0] != extents[1]:
        raise ShapeError(
            f"tensordot: contracted axes must match, got {extents[0]} and {extents[1]} "
            f"of shapes {a.shape} and {b.shape}"
        )
    rows = [d for d in range(a.ndim) if d not in left]
    columns = [d for d in range(b.ndim) if d not in right]
    shape = tuple([a.shape[d] for d in rows] + [b.shape[d] for d in columns])
    m, n = prod(a.shape[d] for d in rows), prod(b.shape[d] for d in columns)
    k = prod(extents[0])
    first = reshape(permute_dims(a, (*rows, *left)), (m, k))
    second = reshape(permute_dims(b, (*right, *columns)), (k, n))
    return reshape(matmul(first, second), shape)


def vecdot(x1, x2, /, *, axis=-1):
    """Return the scalar products of vectors along an axis.

    Parameters
    ----------
    x1, x2 : Tensor
        The other axes broadcast against each other. Of complex vectors, the first is
        conjugated.
    axis : int, default -1
        Of both; negative where they differ in dimensions.

    Returns
    -------
    Tensor
        Of the promoted dtype, without the axis.

    Raises
    ------
    ShapeError
        If the vectors differ in length, or the other axes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.vecdot(tl.tensor([1.0, 2.0]), tl.tensor([3.0, 4.0]))
    tensor(11.)
    """
    a, b = tensor_of("vecdot", x1), tensor_of("vecdot", x2)
    left, right = axis_of("vecdot", axis, a.ndim), axis_of("vecdot", axis, b.ndim)
    if a.shape[left] != b.shape[right]:
        raise ShapeError(
            f"vecdot: vectors must have one length, got {a.shape[left]} and "
            f"{b.shape[right]} along axis {axis} of shapes {a.shape} and {b.shape}"
        )
    if a.dtype.is_complex:
        from tensorlib.ops.complex import conj

        a = conj(a)
    dtype = result_type(a, b)
    if dtype.name in ("float16", "bfloat16"):
        # Rounded once, as a product of matrices is.
        a, b = astype(a, "float32"), astype(b, "float32")
    product = moveaxis(a, left, -1) * moveaxis(b, right, -1)
    return astype(total(product, axis=-1, dtype=result_type(a, b)), dtype, copy=False)


def outer(x1, x2, /):
    """Return the products of all pairs of elements of two vectors.

    Parameters
    ----------
    x1 : Tensor of shape (M,)
    x2 : Tensor of shape (N,)

    Returns
    -------
    Tensor of shape (M, N)

    Raises
    ------
    ShapeError
        If an argument is not one-dimensional.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.outer(tl.tensor([1, 2]), tl.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    a, b = tensor_of("outer", x1), tensor_of("outer", x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(
            f"outer: expected one dimension each, got shapes {a.shape} and {b.shape}"
        )
    return expand_dims(a, axis=1) * b


def trace(x, /, *, offset=0, dtype=None):
    """Return the sums along a diagonal of the matrices in the last two axes.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
    offset : int, default 0
        Which diagonal; positive ones lie above the main diagonal.
    dtype : DType, optional
        Compute and return in this dtype; integers and bool sum in int64 by default.

    Returns
    -------
    Tensor of shape (...)

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.trace(tl.tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    x = tensor_of("trace", x)
    if x.ndim < 2:
        raise ShapeError(f"trace: expected at least 2 dimensions, got shape {x.shape}")
    return total(diagonal(x, offset, -2, -1), axis=-1, dtype=dtype)


# ---- einsum --------------------------------------------------------------------
def einsum(subscripts, /, *operands):
    """Return a sum of products of tensors, by Einstein's convention.

    A letter names an axis. Axes with one letter run together, and those whose letter is
    missing from the output are summed: ``einsum("ik,kj->ij", a, b)`` is ``a @ b``.

    Parameters
    ----------
    subscripts : str
        The letters of each operand, separated by commas, and after ``->`` those of the
        output; without ``->``, the letters that occur once, in alphabetical order. An
        ellipsis stands for further axes, which broadcast.
    *operands : Tensor
        As many as there are groups of letters; promoted to one dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the subscripts are malformed or do not fit the number of operands.
    ShapeError
        If axes with one letter differ in length, or a group of letters does not have
        the number of its operand's axes.

    Notes
    -----
    Several operands are contracted pair by pair: at each step the pair whose result is
    smallest, relative to what it replaces. Each contraction is one `matmul`. The order
    and what it takes are worked out once for subscripts and shapes, and remembered.

    References
    ----------
    D. G. A. Smith and J. Gray, "opt_einsum", JOSS 3(26), 753 (2018): the greedy path.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.einsum("ij,ij->i", tl.ones((2, 3)), tl.ones((2, 3)))
    tensor([3., 3.])
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: expected subscripts as a str, got {subscripts!r}")
    tensors = [tensor_of("einsum", x) for x in operands]
    plan = _plan(subscripts, tuple([x.shape for x in tensors]))
    dtype = result_type(*tensors)
    terms = [
        _prepared(astype(x, dtype, copy=False), *how)
        for x, how in zip(tensors, plan.singles, strict=True)
    ]
    for pair in plan.pairs:
        second, first = terms.pop(pair.j), terms.pop(pair.i)
        product = matmul if pair.inner else multiply
        found = product(_arranged(first, pair.left), _arranged(second, pair.right))
        terms.append(found if found.shape == pair.shape else reshape(found, pair.shape))
    return _arranged(terms[0], plan.output)


# How an operand is brought into place: axes to sum, then an order, then a shape; None
# where there is nothing to do.
_Arrangement = namedtuple("_Arrangement", ("gone", "order", "shape"))
# Terms i and j are taken out of the list, and their product goes to its end; inner:
# whether axes are contracted.
_Pair = namedtuple("_Pair", ("i", "j", "left", "right", "inner", "shape"))
_Plan = namedtuple("_Plan", ("singles", "pairs", "output"))


def _arranged(x, how):
    if how.gone:
        x = total(x, axis=how.gone, dtype=x.dtype)
    if how.order is not None:
        x = permute_dims(x, how.order)
    return x if how.shape is None else reshape(x, how.shape)


def _prepared(x, diagonals, shape):
    """Return an operand with distinct letters, without axes that broadcast."""
    for first, second in diagonals:
        x = diagonal(x, 0, first, second)
    return x if shape is None else reshape(x, shape)


@lru_cache(maxsize=256)
def _plan(subscripts, shapes):
    """Return what is to be done, in which order, for operands of these shapes."""
    groups, output = _parse(subscripts, [len(shape) for shape in shapes])
    sizes = _extents(groups, shapes)
    singles, terms, pairs = [], [], []
    for group, shape in zip(groups, shapes, strict=True):
        letters, how = _single(group, shape, sizes)
        singles.append(how)
        terms.append(letters)
    while len(terms) > 1:
        i, j = _cheapest(terms, output, sizes)
        second, first = terms.pop(j), terms.pop(i)
        needed = set(output).union(*terms)
        letters, pair = _paired(i, j, first, second, needed, sizes)
        pairs.append(pair)
        terms.append(letters)
    kept = [c for c in terms[0] if c in output]
    gone = tuple(d for d, c in enumerate(terms[0]) if c not in output)
    order = _order(kept, output)
    return _Plan(singles, pairs, _Arrangement(gone, order, None))


def _order(letters, wanted):
    """Return the permutation that brings letters into an order, None for none."""
    order = tuple(letters.index(c) for c in wanted)
    return None if order == tuple(range(len(order))) else order


def _parse(subscripts, dimensions):
    """Return the letters of each operand and of the output, ellipses written out.

    The axes of an ellipsis have the names "0", "1", ... from the right.
    """
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    groups = left.split(",")
    if len(groups) != len(dimensions):
        raise ValueError(
            f"einsum: {subscripts!r} has {len(groups)} groups of letters, got "
            f"{len(dimensions)} operands"
        )
    found = [
        _letters(subscripts, group, ndim)
        for group, ndim in zip(groups, dimensions, strict=True)
    ]
    rest = max((sum(c.isdigit() for c in letters) for letters in found), default=0)
    spread = [str(k) for k in range(rest)][::-1]
    named = [c for letters in found for c in letters if not c.isdigit()]
    if not arrow:
        return found, spread + sorted(c for c in set(named) if named.count(c) == 1)
    output = _expanded(subscripts, right, spread)
    if len(set(output)) != len(output) or not set(output) <= {*named, *spread}:
        raise ValueError(
            f"einsum: the output of {subscripts!r} may name each letter of the inputs "
            "once, and no other"
        )
    return found, output


def _letters(subscripts, group, ndim):
    written = len(group.replace("...", ""))
    more = ndim - written
    if more < 0 or (more and "..." not in group):
        raise ShapeError(
            f"einsum: the letters {group!r} of {subscripts!r} do not fit an operand of "
            f"{ndim} dimensions"
        )
    return _expanded(subscripts, group, [str(k) for k in range(more)][::-1])


def _expanded(subscripts, group, spread):
    before, dots, after = group.partition("...")
    if any(c not in _LETTERS for c in before + after):
        raise ValueError(
            f"einsum: expected letters, commas, one '...' a group and one '->', got "
            f"{subscripts!r}"
        )
    return [*before, *(spread if dots else ()), *after]


def _extents(groups, shapes):
    """Return the length of each letter's axes; those of an ellipsis may be 1."""
    sizes = {}
    for letters, shape in zip(groups, shapes, strict=True):
        for c, n in zip(letters, shape, strict=True):
            known = sizes.setdefault(c, n)
            if known == n or (c.isdigit() and n == 1):
                continue
            if not (c.isdigit() and known == 1):
                name = "an axis of '...'" if c.isdigit() else f"axis {c!r}"
                raise ShapeError(
                    f"einsum: {name} has length {known} in one operand and {n} in "
                    f"another, got shapes {', '.join(str(shape) for shape in shapes)}"
                )
            sizes[c] = n
    return sizes


def _single(letters, shape, sizes):
    """Return an operand's letters once each, and how it is brought to them."""
    letters, shape, diagonals = list(letters), list(shape), []
    for c in sorted(set(letters)):
        while letters.count(c) > 1:
            first = letters.index(c)
            second = letters.index(c, first + 1)
            diagonals.append((first, second))
            del letters[second], letters[first], shape[second]
            letters.append(c)
            shape.append(shape.pop(first))
    kept = [d for d, c in enumerate(letters) if shape[d] == sizes[c]]
    if len(kept) == len(letters):
        return letters, (diagonals, None)
    new_shape = tuple(shape[d] for d in kept)
    return [letters[d] for d in kept], (diagonals, new_shape)


def _cheapest(terms, output, sizes):
    """Return the pair whose contraction frees most memory."""

    def size(letters):
        return prod(sizes[c] for c in letters)

    def cost(pair):
        i, j = pair
        others = [letters for k, letters in enumerate(terms) if k not in pair]
        both = {*terms[i], *terms[j]}
        kept = both & set(output).union(*others)
        return size(kept) - size(terms[i]) - size(terms[j]), size(both)

    return min(combinations(range(len(terms)), 2), key=cost)


def _paired(i, j, a, b, needed, sizes):
    """Return the letters of a product, and how it is made of stacks of matrices."""
    batch = [c for c in a if c in b and c in needed]
    inner = [c for c in a if c in b and c not in needed]
    rows = [c for c in a if c not in b and c in needed]
    columns = [c for c in b if c not in a and c in needed]

    def stack(letters, *parts):
        wanted = [c for part in parts for c in part]
        kept = [c for c in letters if c in wanted]
        gone = tuple(d for d, c in enumerate(letters) if c not in wanted)
        extents = [tuple(sizes[c] for c in part) for part in parts]
        shape = (*extents[0], *(prod(extent) for extent in extents[1:]))
        same = shape == tuple(sizes[c] for c in wanted)
        return _Arrangement(gone, _order(kept, wanted), None if same else shape)

    left = stack(a, batch, rows, inner)
    right = stack(b, batch, inner, columns)
    letters = batch + rows + columns
    shape = tuple(sizes[c] for c in letters)
    return letters, _Pair(i, j, left, right, bool(inner), shape)
