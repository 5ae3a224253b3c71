"""Automatic differentiation: the tape, its transforms and their checks."""

from tensorlib.autograd.forward import jvp
from tensorlib.autograd.primitive import Node, primitives
from tensorlib.autograd.tape import (
    backward,
    enable_grad,
    grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Node",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "jvp",
    "no_grad",
    "primitives",
    "set_grad_enabled",
]


def __getattr__(name):
    if name in ("gradcheck", "gradgradcheck"):
        from tensorlib.autograd import check

        return getattr(check, name)
    raise AttributeError(f"module 'tensorlib.autograd' has no attribute {name!r}")
