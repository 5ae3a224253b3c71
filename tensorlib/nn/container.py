"""Modules that hold other modules or parameters: lists, dictionaries, chains."""

import operator
from collections.abc import MutableMapping

from tensorlib.core.tensor import Tensor
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _position(container, index, length):
    try:
        position = operator.index(index)
    except TypeError:
        raise TypeError(
            f"{container}: expected an int or a slice as index, "
            f"got {type(index).__name__}"
        ) from None
    if not -length <= position < length:
        raise IndexError(
            f"{container}: index {position} is out of range for {length} entries"
        )
    return position % length if length else 0


class _NumberedModules(Module):
    """Modules named "0", "1", … in order."""

    def _listed(self):
        own = self.__dict__
        return [own[name] for name in own["_module_names"]]

    def _renumber(self, modules):
        own = self.__dict__
        for name in list(own["_module_names"]):
            del own[name]
        own["_module_names"].clear()
        for number, module in enumerate(modules):
            self.add_module(str(number), module)

    def __len__(self):
        return len(self._module_names)

    def __iter__(self):
        return iter(self._listed())

    def __contains__(self, module):
        return any(module is own for own in self._listed())

    def __getitem__(self, index):
        modules = self._listed()
        if isinstance(index, slice):
            return self._like(modules[index])
        return modules[_position(type(self).__name__, index, len(modules))]

    def __setitem__(self, index, module):
        position = _position(type(self).__name__, index, len(self))
        self.add_module(list(self._module_names)[position], module)

    def __delitem__(self, index):
        modules = self._listed()
        if not isinstance(index, slice):
            index = _position(type(self).__name__, index, len(modules))
        del modules[index]
        self._renumber(modules)

    def append(self, module):
        """Add a module at the end; return the container."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index, module):
        """Put a module before position `index`."""
        modules = self._listed()
        modules.insert(index, module)
        if not isinstance(module, Module):
            raise TypeError(f"insert: expected nn.Module, got {type(module).__name__}")
        self._renumber(modules)
        return self

    def extend(self, modules):
        """Add modules at the end; return the container."""
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, index=-1):
        """Take a module out and return it."""
        module = self[index]
        del self[index]
        return module


class Sequential(_NumberedModules):
    """Apply modules one after the other: ``x -> m_n(... m_1(m_0(x)))``.

    Parameters
    ----------
    *args : Module, or one dict of str to Module
        The modules in order; a dict gives them names.

    Raises
    ------
    TypeError
        If an argument is not a module.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> net(tl.ones((5, 4))).shape
    (5, 3)
    >>> net[1:]
    Sequential(
      (0): ReLU()
      (1): Linear(in_features=8, out_features=3, bias=True)
    )
    """

    def __init__(self, *args):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], dict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for number, module in enumerate(args):
                self.add_module(str(number), module)

    def forward(self, input):
        """Return the last module's output, given the first one's `input`."""
        own = self.__dict__
        for name in own["_module_names"]:
            input = own[name](input)
        return input

    def _like(self, modules):
        return type(self)(*modules)

    def __getitem__(self, index):
        if isinstance(index, slice):
            names = list(self._module_names)[index]
            chosen = {name: self.__dict__[name] for name in names}
            if all(name.isdigit() for name in names):
                return type(self)(*chosen.values())
            return type(self)(chosen)
        return super().__getitem__(index)

    def __add__(self, other):
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)


class ModuleList(_NumberedModules):
    """Hold modules in a list; calling them is up to the owner.

    Parameters
    ----------
    modules : iterable of Module, optional
        The first entries.

    Examples
    --------
    >>> from tensorlib import nn
    >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _like(self, modules):
        return type(self)(modules)

    def __iadd__(self, modules):
        return self.extend(modules)

    def __add__(self, modules):
        return type(self)([*self, *modules])


class ModuleDict(Module):
    """Hold modules in a dictionary; calling them is up to the owner.

    Parameters
    ----------
    modules : mapping or iterable of pairs, optional
        The first entries, str to Module.

    Raises
    ------
    KeyError
        If a key is empty, has a dot or is the name of a method.

    Examples
    --------
    >>> from tensorlib import nn
    >>> heads = nn.ModuleDict({"digit": nn.Linear(8, 10), "parity": nn.Linear(8, 2)})
    >>> list(heads), heads["parity"].out_features
    (['digit', 'parity'], 2)
    """

    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key):
        if key not in self._module_names:
            raise KeyError(f"{key!r}; the keys are {list(self._module_names)}")
        return self.__dict__[key]

    def __setitem__(self, key, module):
        self.add_module(key, module)

    def __delitem__(self, key):
        self[key]
        delattr(self, key)

    def __len__(self):
        return len(self._module_names)

    def __iter__(self):
        return iter(list(self._module_names))

    def __contains__(self, key):
        return key in self._module_names

    def keys(self):
        """Return the keys."""
        return list(self._module_names)

    def values(self):
        """Return the modules."""
        return list(self._modules.values())

    def items(self):
        """Return the ``(key, module)`` pairs."""
        return list(self._modules.items())

    def update(self, modules):
        """Add or replace entries from a mapping or from pairs."""
        for key, module in dict(modules).items():
            self[key] = module

    def pop(self, key):
        """Take a module out and return it."""
        module = self[key]
        del self[key]
        return module

    def clear(self):
        """Remove every entry."""
        for key in self:
            del self[key]


class ParameterList(Module):
    """Hold parameters in a list.

    Parameters
    ----------
    values : iterable of Tensor, optional
        The first entries; tensors that are no parameters become ones.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> scales = nn.ParameterList([tl.ones(3), tl.ones(2)])
    >>> [p.shape for p in scales]
    [(3,), (2,)]
    """

    def __init__(self, values=None):
        super().__init__()
        for value in () if values is None else values:
            self.append(value)

    def append(self, value):
        """Add a parameter at the end; return the list."""
        self.register_parameter(str(len(self)), _as_parameter(value))
        return self

    def extend(self, values):
        """Add parameters at the end; return the list."""
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values):
        return self.extend(values)

    def __contains__(self, parameter):
        return any(parameter is own for own in self)

    def _renumber(self, entries):
        own = self.__dict__
        for name in list(own["_parameter_names"]):
            delattr(self, name)
        for number, entry in enumerate(entries):
            self.register_parameter(str(number), entry)

    def __delitem__(self, index):
        entries = list(self)
        if not isinstance(index, slice):
            index = _position("ParameterList", index, len(entries))
        del entries[index]
        self._renumber(entries)

    def insert(self, index, value):
        """Put a parameter before position `index`; return the list."""
        entries = list(self)
        entries.insert(index, _as_parameter(value))
        self._renumber(entries)
        return self

    def pop(self, index=-1):
        """Take a parameter out and return it."""
        entry = self[index]
        del self[index]
        return entry

    def __len__(self):
        return len(self._parameter_names)

    def __iter__(self):
        return iter(self._parameters.values())

    def __getitem__(self, index):
        entries = list(self)
        if isinstance(index, slice):
            return type(self)(entries[index])
        return entries[_position("ParameterList", index, len(entries))]

    def __setitem__(self, index, value):
        position = _position("ParameterList", index, len(self))
        self.register_parameter(str(position), _as_parameter(value))

    def extra_repr(self):
        """Return one line an entry."""
        return "\n".join(f"({n}): {_described(p)}" for n, p in enumerate(self))


class ParameterDict(Module):
    """Hold parameters in a dictionary.

    Parameters
    ----------
    parameters : mapping of str to Tensor, optional
        The first entries; tensors that are no parameters become ones.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> params = nn.ParameterDict({"scale": tl.ones(3)})
    >>> params["scale"].requires_grad
    True
    """

    def __init__(self, parameters=None):
        super().__init__()
        for key, value in dict(parameters or {}).items():
            self[key] = value

    def __getitem__(self, key):
        if key not in self._parameter_names:
            raise KeyError(f"{key!r}; the keys are {list(self._parameter_names)}")
        return self.__dict__[key]

    def __setitem__(self, key, value):
        self.register_parameter(key, _as_parameter(value))

    def __delitem__(self, key):
        self[key]
        delattr(self, key)

    def __len__(self):
        return len(self._parameter_names)

    def __iter__(self):
        return iter(list(self._parameter_names))

    def __contains__(self, key):
        return key in self._parameter_names

    def keys(self):
        """Return the keys."""
        return list(self._parameter_names)

    def values(self):
        """Return the parameters."""
        return list(self._parameters.values())

    def items(self):
        """Return the ``(key, parameter)`` pairs."""
        return list(self._parameters.items())

    # The rest of a dictionary, on the methods above. Modules are equal by identity, so
    # the class cannot be a MutableMapping itself.
    get = MutableMapping.get
    pop = MutableMapping.pop
    clear = MutableMapping.clear
    update = MutableMapping.update

    def setdefault(self, key, default=None):
        """Return the parameter at `key`, which becomes `default` if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def popitem(self):
        """Remove the last ``(key, parameter)`` pair and return it."""
        if not self:
            raise KeyError("popitem: the ParameterDict is empty")
        key = self.keys()[-1]
        return key, self.pop(key)

    def copy(self):
        """Return another ParameterDict of the same parameters."""
        return type(self)(self)

    def extra_repr(self):
        """Return one line an entry."""
        return "\n".join(f"({key}): {_described(p)}" for key, p in self.items())


def _as_parameter(value):
    if isinstance(value, Tensor) and value.is_parameter:
        return value
    return Parameter(value)


def _described(parameter):
    return f"Parameter of shape {tuple(parameter.shape)}, {parameter.dtype.name}"
