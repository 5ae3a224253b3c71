"""How einsum contracts its operands: in which order, and by which products.

Operands are contracted pair by pair. A pair's axes are sorted into batch (in both and
kept), left, right and contracted ones, and the two become stacks of matrices, or of
vectors where only contracted axes are left. Loaded with einsum.
"""

from collections import namedtuple
from functools import lru_cache
from itertools import combinations
from math import prod

from tensorlib.core.errors import ShapeError

__all__ = ["DOTS", "ELEMENTS", "MATRICES", "plan_of"]

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Products of a pair: of elements, of matrices, of vectors.
ELEMENTS, MATRICES, DOTS = range(3)


# What is to be done is None where there is nothing to do.
# An operand is brought into place: axes to sum, then an order, then a shape.
_Arrangement = namedtuple("_Arrangement", ("gone", "order", "shape"))
# Terms i and j are taken out of the list, and their product, by one of the ways above
# and in another shape, goes to its end.
_Pair = namedtuple("_Pair", ("i", "j", "left", "right", "way", "shape"))
_Plan = namedtuple("_Plan", ("singles", "pairs", "output"))


@lru_cache(maxsize=256)
def plan_of(subscripts, shapes):
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
    return _Plan(singles, pairs, _arrangement(gone, order, None))


def _arrangement(gone, order, shape):
    found = _Arrangement(gone, order, shape)
    return None if found == ((), None, None) else found


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
    """Return an operand's letters once each, and how it is brought to them.

    That is by diagonals of pairs of axes, then a shape without axes that broadcast.
    """
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
        return letters, (diagonals, None) if diagonals else None
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
    """Return the letters of a product, and how it is made of two stacks."""
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
        return _arrangement(gone, _order(kept, wanted), None if same else shape)

    if rows or columns:
        way = MATRICES if inner else ELEMENTS
        left, right = stack(a, batch, rows, inner), stack(b, batch, inner, columns)
    else:
        way = DOTS if inner else ELEMENTS
        stacked = (batch, inner) if inner else (batch,)
        left, right = stack(a, *stacked), stack(b, *stacked)
    letters = batch + rows + columns
    shape = tuple(sizes[c] for c in letters)
    same = len(rows) == len(columns) == 1 or not (rows or columns)
    return letters, _Pair(i, j, left, right, way, None if same else shape)
