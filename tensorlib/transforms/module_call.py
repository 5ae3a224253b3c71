"""A module as a function of its parameters."""

from collections.abc import Mapping

from tensorlib.core.errors import ShapeError
from tensorlib.core.tensor import Tensor
from tensorlib.nn.module import Module

__all__ = ["functional_call"]


def functional_call(module, params, args=(), kwargs=None):
    """Call `module` with other tensors in place of its parameters and buffers.

    Parameters
    ----------
    module : nn.Module
    params : dict of str to Tensor, or sequence of them
        By dotted name, as ``named_parameters()`` and ``named_buffers()`` give them;
        what is not named keeps its tensor. A tensor that the module has under several
        names (tied weights) is replaced under all of them.
    args : tuple or object
        Positional arguments of the call; what is not a tuple is the only one.
    kwargs : dict, optional

    Returns
    -------
    object
        What the module returns.

    Raises
    ------
    TypeError
        If `module` is no Module, or a value is no Tensor.
    KeyError
        If a name is not one of the module's.
    ShapeError
        If a tensor's shape is not that of the one it stands for.
    ValueError
        If names of one tied tensor are given different tensors.

    Notes
    -----
    The tensors are put into the module for the time of the call, so one module must not
    be called so by two threads at once. Buffers that the call changes in place change
    in the tensors given.

    Examples
    --------
    >>> import tensorlib as tl
    >>> layer = tl.nn.Linear(2, 1)
    >>> params = {"weight": tl.tensor([[1.0, 10.0]]), "bias": tl.tensor([0.5])}
    >>> tl.functional_call(layer, params, (tl.tensor([3.0, 4.0]),))
    tensor([43.5])

    The gradient by the parameters, as a dict:

    >>> def loss(params, x):
    ...     return tl.functional_call(layer, params, x).sum()
    >>> tl.grad(loss)(params, tl.tensor([3.0, 4.0]))
    {'weight': tensor([[3., 4.]]), 'bias': tensor([1.])}
    """
    if not isinstance(module, Module):
        raise TypeError(
            f"functional_call: expected a Module, got {type(module).__name__}"
        )
    given = _merged(params)
    places = _places(module)
    _check_names(given, places)
    swaps = _swaps(given, places)
    if not isinstance(args, tuple):
        args = (args,)
    kept = [(owner, name, owner.__dict__[name]) for owner, name, _ in swaps]
    try:
        for owner, name, value in swaps:
            owner.__dict__[name] = value
        return module(*args, **(kwargs or {}))
    finally:
        for owner, name, value in kept:
            owner.__dict__[name] = value


def _merged(params):
    if isinstance(params, Mapping):
        return dict(params)
    merged = {}
    for part in params if isinstance(params, (tuple, list)) else [params]:
        if not isinstance(part, Mapping):
            raise TypeError(
                "functional_call: expected a dict of tensors by name, got "
                f"{type(part).__name__}"
            )
        merged.update(part)
    return merged


def _places(module):
    """Return ``{dotted name: (owner, attribute)}`` of parameters and buffers."""
    found = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        lead = f"{path}." if path else ""
        own = owner.__dict__
        for name in (*own["_parameter_names"], *own["_buffer_names"]):
            if own[name] is not None:
                found[lead + name] = owner, name
    return found


def _check_names(given, places):
    for name, value in given.items():
        if name not in places:
            raise KeyError(
                f"functional_call: the module has no parameter or buffer {name!r}; it "
                f"has {', '.join(places) or 'none'}"
            )
        if not isinstance(value, Tensor):
            raise TypeError(
                f"functional_call: expected a Tensor for {name!r}, got "
                f"{type(value).__name__}"
            )
        owner, attribute = places[name]
        shape = owner.__dict__[attribute].shape
        if value.shape != shape:
            raise ShapeError(
                f"functional_call: expected shape {shape} for {name!r}, "
                f"got {value.shape}"
            )


def _swaps(given, places):
    """Return ``(owner, attribute, tensor)`` for every place to be changed."""
    chosen = {}
    for name, value in given.items():
        owner, attribute = places[name]
        key = id(owner.__dict__[attribute])
        if chosen.setdefault(key, (name, value))[1] is not value:
            raise ValueError(
                f"functional_call: {name!r} and {chosen[key][0]!r} are one tied tensor "
                "and were given different tensors; give one of them"
            )
    return [
        (owner, attribute, chosen[id(owner.__dict__[attribute])][1])
        for owner, attribute in places.values()
        if id(owner.__dict__[attribute]) in chosen
    ]
