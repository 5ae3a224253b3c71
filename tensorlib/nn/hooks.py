"""Handles of registered hooks, and the call that runs them."""

from functools import partial

import tensorlib as tl
from tensorlib.core.tensor import Tensor

__all__ = ["RemovableHandle"]


class RemovableHandle:
    """Undo one hook registration; also a context manager that does so at its end.

    Parameters
    ----------
    module : Module
        The module that holds the hook.
    table : dict
        The table the hook sits in.
    key : int
        Its key there.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> layer = nn.Identity()
    >>> with layer.register_forward_hook(lambda module, args, out: out + 1):
    ...     layer(tl.zeros(2)).tolist()
    [1.0, 1.0]
    >>> layer(tl.zeros(2)).tolist()
    [0.0, 0.0]
    """

    def __init__(self, module, table, key):
        self._module = module
        self._table = table
        self._key = key

    def remove(self):
        """Take the hook out; doing so twice is harmless."""
        self._table.pop(self._key, None)
        self._module._refresh_hooked()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.remove()


def call_with_hooks(module, args, kwargs):
    """Run the pre-hooks, ``forward`` and the forward hooks of `module`."""
    for hook, with_kwargs in list(module._forward_pre_hooks.values()):
        if with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is not None:
                args, kwargs = _checked_pair(hook, changed)
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    watch = None
    if module._backward_hooks and tl.is_grad_enabled():
        watch = _BackwardWatch(module)
        args = watch.watch_inputs(args)
    output = module.forward(*args, **kwargs)
    for hook, with_kwargs in list(module._forward_hooks.values()):
        if with_kwargs:
            changed = hook(module, args, kwargs, output)
        else:
            changed = hook(module, args, output)
        if changed is not None:
            output = changed
    return output if watch is None else watch.watch_output(output)


def _checked_pair(hook, changed):
    if not (isinstance(changed, tuple) and len(changed) == 2):
        raise TypeError(
            f"forward pre-hook {hook!r}: expected None or (args, kwargs), "
            f"got {type(changed).__name__}"
        )
    return changed


class _BackwardWatch:
    """Collect the gradients of one call's outputs and inputs for backward hooks.

    Inputs and outputs are replaced by views, so that only what flows through this
    call is seen.
    """

    def __init__(self, module):
        self.module = module
        self.grad_inputs = []
        self.grad_outputs = []
        self.inputs = 0
        self.missing = 0

    def watch_inputs(self, args):
        """Return the positional arguments, differentiable tensors as watched views."""
        self.grad_inputs = [None] * len(args)
        watched = [self._watched(arg, n, self._input) for n, arg in enumerate(args)]
        pairs = zip(watched, args, strict=True)
        self.inputs = self.missing = sum(new is not old for new, old in pairs)
        return tuple(watched)

    def watch_output(self, output):
        """Return the output, its differentiable tensors as watched views."""
        if isinstance(output, (tuple, list)):
            self.grad_outputs = [None] * len(output)
            parts = [self._watched(x, n, self._output) for n, x in enumerate(output)]
            return type(output)(parts)
        self.grad_outputs = [None]
        return self._watched(output, 0, self._output)

    @staticmethod
    def _watched(value, position, hook):
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        view = tl.permute_dims(value, tuple(range(value.ndim)))
        view.register_hook(partial(hook, position))
        return view

    def _output(self, position, grad):
        self.grad_outputs[position] = grad
        self.missing = self.inputs
        if not self.inputs:
            self._call_hooks()

    def _input(self, position, grad):
        self.grad_inputs[position] = grad
        self.missing -= 1
        if self.missing == 0:
            return self._call_hooks()
        return None

    def _call_hooks(self):
        module, replaced = self.module, None
        for hook in list(module._backward_hooks.values()):
            changed = hook(module, tuple(self.grad_inputs), tuple(self.grad_outputs))
            if changed is None:
                continue
            if self.inputs != 1:
                raise NotImplementedError(
                    f"{module._get_name()}: a full backward hook can replace the "
                    "gradient only of a module with one differentiable input, this "
                    f"call had {self.inputs}; return None"
                )
            changed = changed if isinstance(changed, (tuple, list)) else (changed,)
            self.grad_inputs = list(changed)
            replaced = next(grad for grad in changed if grad is not None)
        return replaced
