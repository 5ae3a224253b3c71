"""ModuleTree: attributes that are parameters, buffers and submodules, and the walks.

A module's attributes live in its instance dictionary like those of any object, so
reading one costs a plain attribute look-up. Beside them the module keeps which
*names* are parameters, buffers and submodules; every walk (``parameters()``,
``state_dict()``, ``to()``) reads names there and values from the instance.
"""

from collections.abc import Iterator

from tensorlib.core.tensor import Tensor

__all__ = ["ModuleTree"]

_KINDS = {
    "_parameter_names": "parameter",
    "_buffer_names": "buffer",
    "_module_names": "module",
}


class ModuleTree:
    """The part of `Module` that knows its members and those below them."""

    def __init__(self):
        own = self.__dict__
        own["_parameter_names"] = {}
        own["_buffer_names"] = {}
        own["_module_names"] = {}
        own["_non_persistent_buffer_names"] = set()

    # ---- attributes --------------------------------------------------------------

    def __setattr__(self, name, value):
        if isinstance(value, Tensor) and value.is_parameter:
            self._register("_parameter_names", name, value)
        elif isinstance(value, ModuleTree):
            self._register("_module_names", name, value)
        else:
            own = self.__dict__
            if name in own.get("_parameter_names", ()):
                _check_assignment(name, value, "parameter", "nn.Parameter")
            elif name in own.get("_module_names", ()):
                _check_assignment(name, value, "module", "nn.Module")
            elif name in own.get("_buffer_names", ()):
                if not isinstance(value, Tensor):
                    _check_assignment(name, value, "buffer", "tl.Tensor")
            else:
                object.__setattr__(self, name, value)
                return
            own[name] = value

    def __getattr__(self, name):
        # Only reached when the normal look-up fails.
        kind = type(self).__name__
        if name.startswith("_") and "_module_names" not in self.__dict__:
            raise AttributeError(
                f"{kind}: {name!r} is missing; call super().__init__() first in "
                f"{kind}.__init__"
            )
        message = f"{kind!r} object has no attribute {name!r}"
        if self._module_names or self._parameter_names or self._buffer_names:
            members = [
                *self._parameter_names,
                *self._buffer_names,
                *self._module_names,
            ]
            message += f"; its parameters, buffers and modules are {members}"
        raise AttributeError(message, name=name, obj=self)

    def __delattr__(self, name):
        object.__delattr__(self, name)
        for kind in _KINDS:
            self.__dict__[kind].pop(name, None)
        self._non_persistent_buffer_names.discard(name)

    def _register(self, kind, name, value):
        """Store `value` under `name` as a member of `kind` and of no other."""
        own = self.__dict__
        if kind not in own:
            raise AttributeError(
                f"{type(self).__name__}: cannot assign a {_KINDS[kind]} before "
                f"Module.__init__(); call super().__init__() first"
            )
        if name not in own:
            _check_name(self, name, _KINDS[kind])
        for other in _KINDS:
            if other != kind:
                own[other].pop(name, None)
        if kind != "_buffer_names":
            own["_non_persistent_buffer_names"].discard(name)
        own[kind][name] = None
        own[name] = value

    def _refuse_existing(self, kind, name):
        if name in self.__dict__ and name not in self.__dict__.get(kind, {}):
            raise KeyError(f"attribute {name!r} already exists")

    def register_parameter(self, name, param):
        """Add a parameter, or reserve its name with None.

        Parameters
        ----------
        name : str
            Attribute name, without dots.
        param : Parameter or None
            With None the parameter is absent from ``state_dict()``.

        Raises
        ------
        KeyError
            If the name is empty, has a dot or is taken by another attribute.
        TypeError
            If `param` is neither a Parameter nor None.

        Examples
        --------
        >>> from tensorlib import nn
        >>> layer = nn.Module()
        >>> layer.register_parameter("bias", None)
        >>> layer.bias is None
        True
        """
        if param is not None and not (isinstance(param, Tensor) and param.is_parameter):
            raise TypeError(
                f"register_parameter: expected nn.Parameter or None for {name!r}, "
                f"got {type(param).__name__}; wrap it in nn.Parameter"
            )
        self._refuse_existing("_parameter_names", name)
        self._register("_parameter_names", name, param)

    def register_buffer(self, name, tensor, persistent=True):
        """Add a tensor that is state but is not trained, like a running mean.

        Parameters
        ----------
        name : str
            Attribute name, without dots.
        tensor : Tensor or None
            The buffer's value.
        persistent : bool, default True
            Whether it is part of ``state_dict()``.

        Raises
        ------
        KeyError
            If the name is empty, has a dot or is taken by another attribute.
        TypeError
            If `tensor` is neither a Tensor nor None.

        Examples
        --------
        >>> import tensorlib as tl
        >>> from tensorlib import nn
        >>> layer = nn.Module()
        >>> layer.register_buffer("count", tl.zeros(1), persistent=False)
        >>> list(layer.state_dict()), [name for name, _ in layer.named_buffers()]
        ([], ['count'])
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"register_buffer: expected a Tensor or None for {name!r}, "
                f"got {type(tensor).__name__}"
            )
        self._refuse_existing("_buffer_names", name)
        self._register("_buffer_names", name, tensor)
        if persistent:
            self._non_persistent_buffer_names.discard(name)
        else:
            self._non_persistent_buffer_names.add(name)

    def add_module(self, name, module):
        """Add a submodule under a name that may be a number, as containers do.

        Parameters
        ----------
        name : str
            Attribute name, without dots.
        module : Module or None
            The submodule.

        Raises
        ------
        KeyError
            If the name is empty, has a dot or is taken by another attribute.
        TypeError
            If `module` is neither a Module nor None.
        """
        if module is not None and not isinstance(module, ModuleTree):
            raise TypeError(
                f"add_module: expected nn.Module or None for {name!r}, "
                f"got {type(module).__name__}"
            )
        self._refuse_existing("_module_names", name)
        self._register("_module_names", name, module)

    register_module = add_module

    def _members(self, kind):
        own = self.__dict__
        return {name: own[name] for name in own[kind]}

    @property
    def _parameters(self):
        """A snapshot ``{name: parameter or None}``; changing it changes nothing."""
        return self._members("_parameter_names")

    @property
    def _buffers(self):
        return self._members("_buffer_names")

    @property
    def _modules(self):
        return self._members("_module_names")

    # ---- walking -----------------------------------------------------------------

    def named_children(self):
        """Yield ``(name, module)`` of the direct submodules, each module once."""
        seen = set()
        own = self.__dict__
        for name in own["_module_names"]:
            module = own[name]
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self):
        """Yield the direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """Yield ``(path, module)`` of this module and all below it, depth first.

        Parameters
        ----------
        memo : set, optional
            Modules to leave out, as ``id``s; filled on the way.
        prefix : str, default ""
            Put before each path.
        remove_duplicate : bool, default True
            Whether a module reached twice is yielded once.

        Examples
        --------
        >>> from tensorlib import nn
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> [name for name, _ in net.named_modules()]
        ['', '0', '1']
        """
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        own = self.__dict__
        for name in own["_module_names"]:
            module = own[name]
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self, remove_duplicate=True):
        """Yield this module and all below it, depth first.

        Parameters
        ----------
        remove_duplicate : bool, default True
            Whether a module reached twice is yielded once.
        """
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def _named_tensors(self, kind, prefix, recurse, remove_duplicate):
        seen = set()
        if recurse:
            modules = self.named_modules(
                prefix=prefix, remove_duplicate=remove_duplicate
            )
        else:
            modules = [(prefix, self)]
        for path, module in modules:
            own = module.__dict__
            for name in own[kind]:
                value = own[name]
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix="", recurse=True, remove_duplicate=True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield ``(path, parameter)``; a shared parameter once unless told otherwise.

        Parameters
        ----------
        prefix : str, default ""
            Put before each path.
        recurse : bool, default True
            Whether to go into submodules.
        remove_duplicate : bool, default True
            Whether a parameter reached twice is yielded once.

        Examples
        --------
        >>> from tensorlib import nn
        >>> [(n, p.shape) for n, p in nn.Linear(3, 2).named_parameters()]
        [('weight', (2, 3)), ('bias', (2,))]
        """
        return self._named_tensors(
            "_parameter_names", prefix, recurse, remove_duplicate
        )

    def parameters(self, recurse=True) -> Iterator[Tensor]:
        """Yield the parameters, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix="", recurse=True, remove_duplicate=True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield ``(path, buffer)``; arguments as in `named_parameters`."""
        return self._named_tensors("_buffer_names", prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """Yield the buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target):
        """Return the submodule at a dotted path; "" is the module itself.

        Raises
        ------
        AttributeError
            If a step of the path does not exist or is not a module.

        Examples
        --------
        >>> from tensorlib import nn
        >>> nn.Sequential(nn.Sequential(nn.ReLU())).get_submodule("0.0")
        ReLU()
        """
        module = self
        walked = []
        for name in target.split(".") if target else ():
            if name not in module._module_names or module.__dict__[name] is None:
                place = ".".join(walked) or type(self).__name__
                raise AttributeError(
                    f"get_submodule: {place} has no submodule {name!r}; it has "
                    f"{list(module._module_names)}"
                )
            module = module.__dict__[name]
            walked.append(name)
        return module

    def _get_tensor(self, kind, target):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if name not in module.__dict__[kind]:
            raise AttributeError(
                f"{path or type(self).__name__} has no {_KINDS[kind]} {name!r}; it has "
                f"{list(module.__dict__[kind])}"
            )
        return module.__dict__[name]

    def get_parameter(self, target):
        """Return the parameter at a dotted path.

        Raises
        ------
        AttributeError
            If there is none.
        """
        return self._get_tensor("_parameter_names", target)

    def get_buffer(self, target):
        """Return the buffer at a dotted path.

        Raises
        ------
        AttributeError
            If there is none.
        """
        return self._get_tensor("_buffer_names", target)


def _check_assignment(name, value, kind, expected):
    if value is not None:
        raise TypeError(
            f"cannot assign {type(value).__name__} as {kind} {name!r} "
            f"({expected} or None expected); delete the attribute first to change "
            "what it is"
        )


def _check_name(module, name, kind):
    if not isinstance(name, str):
        raise TypeError(f"{kind} name: expected a str, got {type(name).__name__}")
    if not name or "." in name:
        raise KeyError(f"{kind} name: expected no dots and not empty, got {name!r}")
    if hasattr(type(module), name):
        raise KeyError(f"attribute {name!r} already exists")
