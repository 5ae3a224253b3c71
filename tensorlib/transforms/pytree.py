"""Trees of containers: taken apart into leaves, and put together again.

A node is a tuple, list, dict, OrderedDict, namedtuple, dataclass instance or None,
which has no leaves; anything else is a leaf.

What recurses is a function of the module, not one made by each call: that would refer
to itself, and keep the leaves' memory until the garbage collector comes round.
"""

import dataclasses
from collections import OrderedDict

__all__ = ["broadcast_prefix", "flatten", "flatten_like", "tree_map", "unflatten"]

_LEAF = ("leaf", None, ())


def _is_namedtuple(tree):
    return isinstance(tree, tuple) and hasattr(tree, "_fields")


def _is_dataclass(tree):
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type)


def _children(tree):
    """Return ``(type, keys, children)`` of a node, or None for a leaf."""
    kind = type(tree)
    if tree is None:
        return kind, (), ()
    if kind in (tuple, list) or _is_namedtuple(tree):
        return kind, tuple(range(len(tree))), tuple(tree)
    if kind in (dict, OrderedDict):
        return kind, tuple(tree), tuple(tree.values())
    if _is_dataclass(tree):
        names = tuple(f.name for f in dataclasses.fields(tree))
        return kind, names, tuple(getattr(tree, name) for name in names)
    return None


def flatten(tree):
    """Return the leaves of `tree`, a list, and its structure.

    Examples
    --------
    >>> leaves, structure = flatten({"a": 1, "b": (2, None)})
    >>> leaves
    [1, 2]
    >>> unflatten(structure, [x * 10 for x in leaves])
    {'a': 10, 'b': (20, None)}
    """
    leaves = []
    return leaves, _taken_apart(tree, leaves)


def _taken_apart(node, leaves):
    """Return the structure of `node`, whose leaves are appended to `leaves`."""
    found = _children(node)
    if found is None:
        leaves.append(node)
        return _LEAF
    kind, keys, children = found
    return kind, keys, tuple([_taken_apart(child, leaves) for child in children])


def unflatten(structure, leaves):
    """Return the tree of this structure with these leaves; the inverse of `flatten`."""
    return _put_together(structure, iter(leaves))


def _put_together(node, leaves):
    if node is _LEAF:
        return next(leaves)
    kind, keys, children = node
    return _made(kind, keys, [_put_together(child, leaves) for child in children])


def _made(kind, keys, values):
    if kind is type(None):
        return None
    if kind in (tuple, list):
        return kind(values)
    if kind in (dict, OrderedDict):
        return kind(zip(keys, values, strict=True))
    if issubclass(kind, tuple):
        return kind(*values)
    # A dataclass: its __init__ may take other arguments, and it may be frozen.
    made = object.__new__(kind)
    for key, value in zip(keys, values, strict=True):
        object.__setattr__(made, key, value)
    return made


def flatten_like(structure, tree, what):
    """Return the leaves of `tree`, which must have this structure.

    Raises
    ------
    ValueError
        If it has another one; `what` opens the message, which names the place.
    """
    leaves = []
    _match(structure, tree, what, "", leaves)
    return leaves


def _match(node, tree, what, path, leaves):
    if node is _LEAF:
        leaves.append(tree)
        return
    kind, keys, children = node
    found = _children(tree)
    if found is None or found[0] is not kind or set(found[1]) != set(keys):
        raise ValueError(
            f"{what}: expected {_described(kind, keys)} at {path or 'the top'}, "
            f"got {_described(*found[:2]) if found else type(tree).__name__}"
        )
    below = dict(zip(found[1], found[2], strict=True))
    for key, child in zip(keys, children, strict=True):
        _match(child, below[key], what, f"{path}[{key!r}]", leaves)


def broadcast_prefix(prefix, tree, what):
    """Return for each leaf of `tree` the entry of `prefix` that stands above it.

    `prefix` is `tree` with subtrees replaced by one entry each. None is an entry: it
    stands for the whole subtree, not for a node without leaves.

    Raises
    ------
    ValueError
        If `tree` does not begin like it; `what` opens the message.

    Examples
    --------
    >>> broadcast_prefix((0, {"a": None, "b": 1}), (5, {"a": (6, 7), "b": 8}), "axes")
    [0, None, None, 1]
    """
    found = []
    _repeat(prefix, tree, what, "", found)
    return found


def _repeat(prefix, tree, what, path, found):
    node = None if prefix is None else _children(prefix)
    if node is None:
        found.extend([prefix] * len(flatten(tree)[0]))
        return
    kind, keys, children = node
    below = _children(tree)
    if below is None or below[0] is not kind or set(below[1]) != set(keys):
        raise ValueError(
            f"{what}: expected a beginning of the tree it is for, got "
            f"{_described(kind, keys)} at {path or 'the top'} where that has "
            f"{_described(*below[:2]) if below else 'a leaf'}"
        )
    # In the tree's order of keys, which is that of its leaves.
    above = dict(zip(keys, children, strict=True))
    for key, child in zip(below[1], below[2], strict=True):
        _repeat(above[key], child, what, f"{path}[{key!r}]", found)


def _described(kind, keys):
    if kind is type(None):
        return "None"
    if kind in (tuple, list):
        return f"a {kind.__name__} of {len(keys)}"
    return f"a {kind.__name__} with {list(keys)}"


def tree_map(function, tree, *rest):
    """Return the tree of ``function(leaf, ...)`` over trees of one structure.

    Examples
    --------
    >>> tree_map(lambda x, y: x + y, {"a": 1, "b": [2]}, {"a": 10, "b": [20]})
    {'a': 11, 'b': [22]}
    """
    leaves, structure = flatten(tree)
    others = [flatten_like(structure, other, "tree_map") for other in rest]
    return unflatten(
        structure, [function(*x) for x in zip(leaves, *others, strict=True)]
    )
