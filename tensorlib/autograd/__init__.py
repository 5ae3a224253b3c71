"""Automatic differentiation: the tape, its transforms and their checks."""

from tensorlib.autograd.forward import jvp
from tensorlib.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from tensorlib.autograd.primitive import Node, primitives
from tensorlib.autograd.saved import saved_tensors_hooks
from tensorlib.autograd.tape import backward, grad
from tensorlib.core.batching import set_batching_rule

# Modules whose names are loaded at the first use of one of them.
_LAZY_NAMES = {
    "Function": "function",
    "FunctionCtx": "function",
    "checkpoint": "recompute",
    "checkpoint_sequential": "recompute",
    "detect_anomaly": "anomaly",
    "gradcheck": "check",
    "gradgradcheck": "check",
    "memory_budget": "budget",
    "once_differentiable": "function",
    "register_op": "register",
    "registered_ops": "register",
}

__all__ = [
    "Function",
    "FunctionCtx",
    "Node",
    "backward",
    "checkpoint",
    "checkpoint_sequential",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "jvp",
    "memory_budget",
    "no_grad",
    "once_differentiable",
    "primitives",
    "register_op",
    "registered_ops",
    "saved_tensors_hooks",
    "set_batching_rule",
    "set_grad_enabled",
]


def __getattr__(name):
    if name in _LAZY_NAMES:
        from importlib import import_module

        found = getattr(import_module(f"tensorlib.autograd.{_LAZY_NAMES[name]}"), name)
        globals()[name] = found  # in place of a module of the same name
        return found
    raise AttributeError(f"module 'tensorlib.autograd' has no attribute {name!r}")
