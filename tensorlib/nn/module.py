"""Module: the base class of everything with parameters.

Its members and the walks over them are in `tree`; here are calling, state,
conversions, hooks and the representation.
"""

from typing import Any

import tensorlib as tl
from tensorlib.autograd.budget import as_segment, open_budgets
from tensorlib.core.provenance import failing_line, line_text
from tensorlib.core.tensor import Tensor
from tensorlib.nn.hooks import RemovableHandle, call_with_hooks
from tensorlib.nn.state_dict import collect_state, load_state
from tensorlib.nn.summary import summary
from tensorlib.nn.tree import ModuleTree

__all__ = ["Module"]


class Module(ModuleTree):
    """Base class of all layers, models and losses.

    A subclass calls ``super().__init__()`` first, assigns parameters and submodules
    as attributes, and defines ``forward``. Calling the module runs ``forward``. An
    exception raised in it gets a note that names the module it came from.

    Attributes
    ----------
    training : bool
        True in training mode (the default), False after `eval`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> class TwoLayer(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(4, 8)
    ...         self.out = nn.Linear(8, 3)
    ...
    ...     def forward(self, x):
    ...         return self.out(tl.relu(self.hidden(x)))
    >>> model = TwoLayer()
    >>> model(tl.ones((2, 4))).shape
    (2, 3)
    >>> [name for name, _ in model.named_parameters()]
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    training = True
    _hooked = False

    def __init__(self):
        super().__init__()
        own = self.__dict__
        own["training"] = True
        own["_forward_pre_hooks"] = {}
        own["_forward_hooks"] = {}
        own["_backward_hooks"] = {}
        own["_backward_pre_hooks"] = {}
        own["_hook_count"] = 0

    # ---- calling -----------------------------------------------------------------

    def forward(self, *args, **kwargs):
        """Compute the output; every subclass defines it.

        Raises
        ------
        NotImplementedError
            If the subclass does not.
        """
        raise NotImplementedError(
            f'{type(self).__name__}: the required method "forward" is missing'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward``, and the hooks around it where there are any."""
        try:
            if open_budgets:
                return as_segment(self, self._run, args, kwargs)
            if self._hooked:
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            _note_module_path(self, error)
            raise

    def _run(self, *args, **kwargs):
        if self._hooked:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def summary(self, *args, verbose=True, **kwargs):
        """Run once and list layers, shapes, parameters, multiply-adds and memory.

        Parameters
        ----------
        *args, **kwargs
            What the module is called with.
        verbose : bool, default True
            Whether the table is printed.

        Returns
        -------
        ModelSummary
            See `tensorlib.nn.summary`, which is the same as a function.
        """
        return summary(self, *args, verbose=verbose, **kwargs)

    def multiply_adds(self, args, output):
        """Return how many multiply-adds with weights one call of ``forward`` takes.

        `summary` adds them up, and `memory_budget` runs again what has few of them. A
        layer with weights says its own number; modules below say theirs.

        Parameters
        ----------
        args : tuple
            The positional arguments of the call.
        output : Tensor or tuple
            What it returned.

        Returns
        -------
        int
            0 unless a subclass says otherwise.
        """
        return 0

    # ---- state -------------------------------------------------------------------

    def state_dict(self, *, prefix="", keep_vars=False) -> dict[str, Tensor]:
        """Return parameters and persistent buffers by dotted name.

        Parameters
        ----------
        prefix : str, default ""
            Put before each name, as it is.
        keep_vars : bool, default False
            Return the parameters themselves instead of detached tensors that share
            their storage.

        Returns
        -------
        dict of str to Tensor
            PyTorch's names and order.

        Examples
        --------
        >>> from tensorlib import nn
        >>> list(nn.Sequential(nn.Linear(3, 2)).state_dict())
        ['0.weight', '0.bias']
        """
        return collect_state(self, prefix, keep_vars)

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copy values from a state dict into the module.

        Nothing is changed unless everything fits.

        Parameters
        ----------
        state_dict : dict of str to Tensor
            As `state_dict` returns it.
        strict : bool, default True
            Whether missing and unexpected names are errors.
        assign : bool, default False
            Put the given tensors in place of the module's own instead of copying
            (dtype and device then follow the state dict).

        Returns
        -------
        IncompatibleKeys
            Named tuple ``(missing_keys, unexpected_keys)``.

        Raises
        ------
        RuntimeError
            Listing every missing name, unexpected name and shape mismatch.
        TypeError
            If `state_dict` is not a mapping.

        Examples
        --------
        >>> from tensorlib import nn
        >>> a, b = nn.Linear(3, 2), nn.Linear(3, 2)
        >>> a.load_state_dict(b.state_dict())
        <All keys matched successfully>
        """
        return load_state(self, state_dict, strict, assign)

    # ---- modes and conversions ---------------------------------------------------

    def train(self, mode=True):
        """Set training mode here and below; return the module.

        Raises
        ------
        ValueError
            If `mode` is not a bool.
        """
        if not isinstance(mode, bool):
            raise ValueError(f"train: expected mode to be a bool, got {mode!r}")
        for module in self.modules():
            module.__dict__["training"] = mode
        return self

    def eval(self):
        """Set evaluation mode here and below; return the module."""
        return self.train(False)

    def apply(self, fn):
        """Call `fn` on every submodule and then on the module; return the module.

        Examples
        --------
        >>> from tensorlib import nn
        >>> def zero_bias(module):
        ...     if isinstance(module, nn.Linear):
        ...         nn.init.zeros_(module.bias)
        >>> net = nn.Sequential(nn.Linear(2, 2)).apply(zero_bias)
        >>> net[0].bias.tolist()
        [0.0, 0.0]
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _convert(self, fn):
        """Replace the storage of every tensor by ``fn(tensor)``, gradients too."""
        for module in self.modules():
            own = module.__dict__
            for name in own["_parameter_names"]:
                parameter = own[name]
                if parameter is None:
                    continue
                gradient = parameter.grad
                parameter.grad = None
                parameter.data = fn(parameter.data)
                if gradient is not None:
                    parameter.grad = fn(gradient)
            for name in own["_buffer_names"]:
                if own[name] is not None:
                    own[name] = fn(own[name])
        return self

    def to(self, *args, dtype=None, device=None, non_blocking=False):
        """Convert parameters and buffers in place; return the module.

        ``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other_tensor)``.
        Integer and bool buffers keep their dtype.

        Parameters
        ----------
        *args
            A dtype, a device or its name, or a tensor to be like.
        dtype : dtype, optional
            A floating-point or complex dtype.
        device : device or str, optional
            Where to move.
        non_blocking : bool, default False
            See `Tensor.to`.

        Raises
        ------
        TypeError
            If an argument is none of these, or the dtype is an integer one.

        Examples
        --------
        >>> import tensorlib as tl
        >>> from tensorlib import nn
        >>> nn.Linear(2, 2).to(tl.float64).weight.dtype.name
        'float64'
        """
        for arg in args:
            if isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif isinstance(arg, type(tl.float32)):
                dtype = arg
            elif isinstance(arg, (str, type(tl.device("cpu")))):
                device = arg
            else:
                raise TypeError(
                    "to: expected a dtype, a device or a Tensor, "
                    f"got {type(arg).__name__}"
                )
        if dtype is not None and not _is_inexact(dtype):
            raise TypeError(
                f"to: expected a floating-point or complex dtype, got {dtype.name}"
            )

        def convert(tensor):
            kind = dtype if _is_inexact(tensor.dtype) else None
            return tensor.to(dtype=kind, device=device, non_blocking=non_blocking)

        return self._convert(convert)

    def float(self):
        """Convert floating-point parameters and buffers to float32."""
        return self.to(tl.float32)

    def cpu(self):
        """Move parameters and buffers to the CPU; return the module."""
        return self.to("cpu")

    def cuda(self, device=0):
        """Move parameters and buffers to a GPU; return the module."""
        return self.to(f"cuda:{device}" if isinstance(device, int) else device)

    def double(self):
        """Convert floating-point parameters and buffers to float64."""
        return self.to(tl.float64)

    def requires_grad_(self, requires_grad=True):
        """Set ``requires_grad`` of every parameter; return the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none=True):
        """Forget the gradients, or fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = tl.zeros_like(parameter.grad)

    # ---- hooks -------------------------------------------------------------------

    def _refresh_hooked(self):
        self.__dict__["_hooked"] = bool(
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
        )

    def _add_hook(self, table, hook, prepend, with_kwargs):
        return self._insert_hook(table, (hook, with_kwargs), prepend)

    def _insert_hook(self, table, entry, prepend):
        key = self.__dict__["_hook_count"] = self._hook_count + 1
        _insert(table, key, entry, prepend)
        self._refresh_hooked()

        def remove():
            table.pop(key, None)
            self._refresh_hooked()

        return RemovableHandle(remove)

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Call ``hook(module, args)`` before ``forward``.

        What it returns, unless None, replaces `args`.

        Parameters
        ----------
        hook : callable
            ``hook(module, args)``, or ``hook(module, args, kwargs)``.
        prepend : bool, default False
            Run before the hooks that are already there.
        with_kwargs : bool, default False
            Pass `kwargs` too; then ``(args, kwargs)`` is returned.

        Returns
        -------
        RemovableHandle
            ``handle.remove()`` undoes it.
        """
        return self._add_hook(self._forward_pre_hooks, hook, prepend, with_kwargs)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Call ``hook(module, args, output)`` after ``forward``.

        What it returns, unless None, replaces the output.

        Parameters
        ----------
        hook : callable
            ``hook(module, args, output)``, or ``hook(module, args, kwargs, output)``.
        prepend : bool, default False
            Run before the hooks that are already there.
        with_kwargs : bool, default False
            Pass `kwargs` too.

        Returns
        -------
        RemovableHandle
            ``handle.remove()`` undoes it.

        Examples
        --------
        >>> import tensorlib as tl
        >>> from tensorlib import nn
        >>> layer = nn.ReLU()
        >>> shapes = []
        >>> def note_shape(module, args, output):
        ...     shapes.append(output.shape)
        >>> handle = layer.register_forward_hook(note_shape)
        >>> _ = layer(tl.ones((2, 3)))
        >>> shapes
        [(2, 3)]
        >>> handle.remove()
        """
        return self._add_hook(self._forward_hooks, hook, prepend, with_kwargs)

    def register_full_backward_hook(self, hook, prepend=False):
        """Call ``hook(module, grad_input, grad_output)`` in the backward pass.

        It runs when the gradients of all differentiable inputs are known. What it
        returns, unless None, replaces `grad_input`.

        Parameters
        ----------
        hook : callable
            Gets two tuples of tensors (or None), one entry for each positional
            argument and for each output; returns None or one such tuple of gradients
            of the arguments.
        prepend : bool, default False
            Run before the hooks that are already there.

        Returns
        -------
        RemovableHandle
            ``handle.remove()`` undoes it.

        Raises
        ------
        ValueError
            In the backward pass, if the hook returns another number of gradients than
            there are positional arguments.
        ShapeError
            In the backward pass, if a gradient does not have its argument's shape.

        Examples
        --------
        >>> import tensorlib as tl
        >>> from tensorlib import nn
        >>> layer = nn.ReLU()
        >>> def show(module, grad_input, grad_output):
        ...     print(grad_input[0].tolist(), grad_output[0].tolist())
        >>> handle = layer.register_full_backward_hook(show)
        >>> layer(tl.tensor([-1.0, 2.0], requires_grad=True)).sum().backward()
        [0.0, 1.0] [1.0, 1.0]
        """
        return self._insert_hook(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Call ``hook(module, grad_output)`` before the module's backward.

        What it returns, unless None, replaces `grad_output`.

        Parameters
        ----------
        hook : callable
            Gets a tuple of tensors (or None), one entry for each output.
        prepend : bool, default False
            Run before the hooks that are already there.

        Returns
        -------
        RemovableHandle
            ``handle.remove()`` undoes it.

        Raises
        ------
        ValueError
            In the backward pass, if the hook returns another number of gradients than
            there are outputs.

        Examples
        --------
        >>> import tensorlib as tl
        >>> from tensorlib import nn
        >>> layer = nn.ReLU()
        >>> handle = layer.register_full_backward_pre_hook(lambda m, g: (g[0] * 10,))
        >>> x = tl.tensor([-1.0, 2.0], requires_grad=True)
        >>> layer(x).sum().backward()
        >>> x.grad
        tensor([ 0., 10.])
        """
        return self._insert_hook(self._backward_pre_hooks, hook, prepend)

    # ---- representation ----------------------------------------------------------

    def extra_repr(self):
        """Return what ``repr`` shows between the parentheses."""
        return ""

    def _get_name(self):
        return type(self).__name__

    def __repr__(self):
        extra = self.extra_repr()
        lines = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        if not lines:
            if "\n" in extra:
                extra = "\n  " + extra.replace("\n", "\n  ") + "\n"
            return f"{self._get_name()}({extra})"
        lines = [*extra.split("\n"), *lines] if extra else lines
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


def _insert(table, key, entry, first):
    later = dict(table) if first else {}
    for name in later:
        del table[name]
    table[key] = entry
    table.update(later)


def _is_inexact(dtype):
    return dtype.kind in "fc"


def _describe(module):
    extra = "" if module._module_names else module.extra_repr()
    return f"{module._get_name()}({extra})" if extra else module._get_name()


def _note_module_path(module, error):
    """Note on `error` the path from the outermost module to the failing one.

    The failing module leaves a note, with the user's line; each module around it, as
    the exception passes, puts its own name for the inner one in front.
    """
    trail = getattr(error, "_module_trail", None)
    if trail is None:
        place = failing_line(error)
        line = "" if place is None else f", at {line_text(place)}"
        trail = {"path": "", "failed": _describe(module), "line": line, "note": None}
    else:
        names = (name for name, m in module.named_modules() if m is trail["outermost"])
        name = next(names, None)
        if not name:  # called by, but not a part of, this module
            return
        trail["path"] = f"{name}.{trail['path']}" if trail["path"] else name
        if trail["note"] in error.__notes__:
            error.__notes__.remove(trail["note"])
    path, failed = trail["path"], trail["failed"]
    trail["outermost"] = module
    where = f"{path} ({failed})" if path else failed
    trail["note"] = f"in module {where}{trail['line']}"
    try:
        error._module_trail = trail
    except AttributeError:  # an exception class with __slots__ takes no attribute
        return
    error.add_note(trail["note"])
