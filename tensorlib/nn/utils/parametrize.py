"""Parametrizations: a tensor of a module that is computed from other parameters.

``register_parametrization(module, "weight", p)`` moves the parameter to
``module.parametrizations.weight.original`` and gives the module a class of its own, in
which ``weight`` is a property: ``p(original)``, computed anew at each access. State
dicts have PyTorch's names.
"""

from tensorlib.core.tensor import Tensor
from tensorlib.nn.container import ModuleDict, ModuleList
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = [
    "ParametrizationList",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
]


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, and what they start from.

    Parameters
    ----------
    modules : iterable of Module
        The parametrizations; they may have ``right_inverse``.
    original : Tensor
        The value that the tensor shall have.

    Attributes
    ----------
    original : Parameter
        What the first parametrization is given; several are ``original0``,
        ``original1``, ...
    """

    def __init__(self, modules, original):
        super().__init__(modules)
        value = self._invert(original)
        self._several = not isinstance(value, Tensor)
        parts = value if self._several else (value,)
        for number, part in enumerate(parts):
            name = f"original{number}" if self._several else "original"
            trained = original.requires_grad
            self.register_parameter(name, Parameter(part.detach(), trained))

    def _originals(self):
        own = self.__dict__
        return [own[name] for name in own["_parameter_names"]]

    def _invert(self, value):
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                value = module.right_inverse(value)
        return value

    def right_inverse(self, value):
        """Set the originals so that the tensor becomes `value`.

        Parameters
        ----------
        value : Tensor
            As given to the last parametrization's ``right_inverse``.
        """
        found = self._invert(value)
        parts = found if self._several else (found,)
        for own, part in zip(self._originals(), parts, strict=True):
            own.data.copy_(part.detach())

    def forward(self):
        """Return the tensor computed from the originals."""
        first, *rest = self
        value = first(*self._originals())
        for module in rest:
            value = module(value)
        return value


def _parametrized_class(kind, name):
    """Make a subclass in which `name` is computed."""
    names = {name, *getattr(kind, "_parametrized_names", ())}
    base = getattr(kind, "_plain_class", kind)

    def set_attribute(self, key, value):
        if key in names:
            self.parametrizations[key].right_inverse(value)
        else:
            base.__setattr__(self, key, value)

    def computed(key):
        return property(lambda self: self.parametrizations[key]())

    members = {key: computed(key) for key in names}
    members["__setattr__"] = set_attribute
    members["__reduce__"] = lambda self: (
        _remade, (base, tuple(sorted(names))), self.__dict__
    )  # fmt: skip
    members.update(_plain_class=base, _parametrized_names=frozenset(names))
    return type(f"Parametrized{base.__name__}", (base,), members)


def _remade(kind, names):
    """Make an empty module of a class with computed tensors, for pickle and copy."""
    for name in names:
        kind = _parametrized_class(kind, name)
    return kind.__new__(kind)


def register_parametrization(module, tensor_name, parametrization):
    """Compute a parameter of a module by another module from now on.

    Parameters
    ----------
    module : Module
        Which has the parameter.
    tensor_name : str
        The parameter's name.
    parametrization : Module
        Gives the value from the original; ``right_inverse``, if it has one, gives the
        original(s) from the present value.

    Returns
    -------
    Module
        `module`.

    Raises
    ------
    ValueError
        If there is no such parameter, or the result has another shape or dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> from tensorlib.nn.utils import parametrize
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return (x + x.T) / 2
    >>> layer = nn.Linear(3, 3, bias=False)
    >>> _ = parametrize.register_parametrization(layer, "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    >>> list(layer.state_dict())
    ['parametrizations.weight.original']
    """
    present = getattr(module, tensor_name, None)
    if is_parametrized(module, tensor_name):
        _append(module.parametrizations[tensor_name], parametrization, present)
        return module
    if tensor_name not in module._parameter_names or present is None:
        raise ValueError(
            f"register_parametrization: {type(module).__name__} has no parameter "
            f"{tensor_name!r}"
        )
    found = ParametrizationList([parametrization], present)
    found.train(module.training)
    _check_same(tensor_name, found(), present)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = found
    module.__class__ = _parametrized_class(type(module), tensor_name)
    return module


def _append(found, parametrization, present):
    if hasattr(parametrization, "right_inverse"):
        inner = parametrization.right_inverse(present)
        if not isinstance(inner, Tensor):
            raise ValueError(
                "register_parametrization: only the first parametrization may have "
                "several originals"
            )
        found.right_inverse(inner)
    else:
        inner = present
    _check_same("the tensor", parametrization(inner), present)
    found.append(parametrization)


def _check_same(name, value, present):
    if value.shape != present.shape or value.dtype != present.dtype:
        raise ValueError(
            f"register_parametrization: expected {name} to stay {present.dtype} of "
            f"shape {present.shape}, got {value.dtype} of shape {value.shape}"
        )


def is_parametrized(module, tensor_name=None):
    """Tell whether a module, or one tensor of it, is parametrized.

    Parameters
    ----------
    module : Module
        The module.
    tensor_name : str, optional
        Any tensor by default.

    Examples
    --------
    >>> from tensorlib import nn
    >>> nn.utils.parametrize.is_parametrized(nn.Linear(2, 2))
    False
    """
    names = getattr(type(module), "_parametrized_names", ())
    return tensor_name in names if tensor_name is not None else bool(names)


def remove_parametrizations(module, tensor_name):
    """Make a computed tensor a parameter again, with its present value.

    Parameters
    ----------
    module : Module
        Which has the tensor.
    tensor_name : str
        Its name.

    Returns
    -------
    Module
        `module`.

    Raises
    ------
    ValueError
        If it is not parametrized.

    Examples
    --------
    >>> from tensorlib import nn
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> _ = nn.utils.parametrize.remove_parametrizations(layer, "weight")
    >>> sorted(layer.state_dict())
    ['bias', 'weight']
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(
            f"remove_parametrizations: {tensor_name!r} of {type(module).__name__} is "
            "not parametrized"
        )
    kind = type(module)
    own = module.parametrizations[tensor_name].parameters()
    trained = any(p.requires_grad for p in own)
    value = Parameter(getattr(module, tensor_name).detach().copy(), trained)
    rest = kind._parametrized_names - {tensor_name}
    module.__class__ = kind._plain_class
    for name in rest:
        module.__class__ = _parametrized_class(type(module), name)
    del module.parametrizations[tensor_name]
    if not rest:
        del module.parametrizations
    Module.register_parameter(module, tensor_name, value)
    return module
