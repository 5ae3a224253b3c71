"""The call of a module that has hooks."""

import tensorlib as tl
from tensorlib.autograd.function import Function
from tensorlib.core.handles import RemovableHandle
from tensorlib.core.tensor import Tensor

__all__ = ["RemovableHandle"]


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
    hooked = module._backward_hooks or module._backward_pre_hooks
    if hooked and tl.is_grad_enabled():
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


class _Gate(Function):
    """The identity, whose backward hands all cotangents to a function at once."""

    @staticmethod
    def forward(ctx, passed, *tensors):
        ctx.passed = passed
        ctx.set_materialize_grads(False)
        return tensors

    @staticmethod
    def backward(ctx, *grads):
        return None, *ctx.passed(grads)

    @staticmethod
    def jvp(ctx, _, *tangents):
        return tangents


class _BackwardWatch:
    """Collect the gradients of one call's outputs and inputs for backward hooks.

    Inputs and outputs go through a gate each, so that only what flows through this call
    is seen, and all of it at once.
    """

    def __init__(self, module):
        self.module = module
        self.grad_outputs = ()
        self.inputs = ()

    def watch_inputs(self, args):
        """Return the positional arguments, differentiable tensors behind a gate."""
        self.arguments = len(args)
        self.inputs, args = _gated(args, self._leave)
        return args

    def watch_output(self, output):
        """Return the output, its differentiable tensors behind a gate."""
        many = isinstance(output, (tuple, list))
        parts = tuple(output) if many else (output,)
        self.outputs = len(parts)
        self.places, parts = _gated(parts, self._enter)
        if not many:
            return parts[0]
        # A namedtuple takes its fields one by one.
        return (
            type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
        )

    def _enter(self, grads):
        """Run the pre-hooks on the cotangents of the outputs."""
        found = [None] * self.outputs
        for place, g in zip(self.places, grads, strict=True):
            found[place] = g
        found = tuple(found)
        for hook in list(self.module._backward_pre_hooks.values()):
            changed = hook(self.module, found)
            if changed is not None:
                found = self._replaced("pre-hook", changed, found)
        self.grad_outputs = found
        if not self.inputs:
            self._run_hooks((None,) * self.arguments)
        return [found[place] for place in self.places]

    def _leave(self, grads):
        """Run the hooks on the gradients of the inputs."""
        found = [None] * self.arguments
        for place, g in zip(self.inputs, grads, strict=True):
            found[place] = g
        found = self._run_hooks(tuple(found))
        self.grad_outputs = ()
        return [found[place] for place in self.inputs]

    def _run_hooks(self, grads):
        for hook in list(self.module._backward_hooks.values()):
            changed = hook(self.module, grads, self.grad_outputs)
            if changed is not None:
                grads = self._replaced("hook", changed, grads)
        return grads

    def _replaced(self, kind, changed, grads):
        changed = tuple(changed) if isinstance(changed, (tuple, list)) else (changed,)
        if len(changed) != len(grads):
            raise ValueError(
                f"{self.module._get_name()}: expected the full backward {kind} to "
                f"return {len(grads)} gradients or None, got {len(changed)}"
            )
        for n, (new, old) in enumerate(zip(changed, grads, strict=True)):
            if new is not None and old is not None and new.shape != old.shape:
                raise tl.ShapeError(
                    f"{self.module._get_name()}: expected the full backward {kind} to "
                    f"return gradient {n} of shape {old.shape}, got {new.shape}"
                )
        return changed


def _gated(values, passed):
    """Return where differentiable tensors are, and the values with those gated."""
    places = [
        n for n, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad
    ]
    if not places:
        return places, values
    values = list(values)
    made = _Gate.apply(passed, *(values[n] for n in places))
    for n, x in zip(places, made, strict=True):
        values[n] = x
    return places, tuple(values)
