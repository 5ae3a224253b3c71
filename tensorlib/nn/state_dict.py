"""Collect a module's state by name, and load it back, all or nothing."""

from collections import namedtuple
from collections.abc import Mapping

import tensorlib as tl
from tensorlib.core.tensor import Tensor

__all__ = ["IncompatibleKeys"]


class IncompatibleKeys(
    namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])
):
    """Names that ``load_state_dict(strict=False)`` did not find or did not use."""

    __slots__ = ()

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()


def _state_places(module, prefix):
    """Yield ``(full name, owner, attribute)`` in the order of a state dict."""
    for path, owner in module.named_modules(remove_duplicate=False):
        lead = f"{prefix}{path}." if path else prefix
        own = owner.__dict__
        for name in own["_parameter_names"]:
            if own[name] is not None:
                yield lead + name, owner, name
        for name in own["_buffer_names"]:
            if own[name] is not None and name not in owner._non_persistent_buffer_names:
                yield lead + name, owner, name


def collect_state(module, prefix, keep_vars):
    """Return ``{dotted name: tensor}`` of parameters and persistent buffers."""
    state = {}
    for full_name, owner, name in _state_places(module, prefix):
        value = owner.__dict__[name]
        state[full_name] = value if keep_vars else value.detach()
    return state


def load_state(module, state_dict, strict, assign):
    """Check everything first, then copy; see ``Module.load_state_dict``."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "load_state_dict: expected a mapping of names to tensors, "
            f"got {type(state_dict).__name__}"
        )
    places = {name: (owner, attr) for name, owner, attr in _state_places(module, "")}
    missing = [name for name in places if name not in state_dict]
    unexpected = [name for name in state_dict if name not in places]
    problems = []
    if strict and missing:
        problems.append(f"missing keys: {', '.join(map(repr, missing))}")
    if strict and unexpected:
        problems.append(f"unexpected keys: {', '.join(map(repr, unexpected))}")
    for name, (owner, attr) in places.items():
        if name in state_dict:
            problem = _mismatch(name, state_dict[name], owner.__dict__[attr])
            if problem:
                problems.append(problem)
    if problems:
        raise RuntimeError(
            f"load_state_dict: the state does not fit {type(module).__name__} "
            "(nothing was changed):\n    " + "\n    ".join(problems)
        )
    with tl.no_grad():
        for name, (owner, attr) in places.items():
            if name in state_dict:
                _put(owner, attr, state_dict[name], assign)
    return IncompatibleKeys(missing, unexpected)


def _mismatch(name, value, current):
    if not isinstance(value, Tensor):
        return f"{name}: expected a Tensor, got {type(value).__name__}"
    if tuple(value.shape) != tuple(current.shape):
        return (
            f"shape mismatch for {name}: the state has {tuple(value.shape)}, "
            f"the module has {tuple(current.shape)}"
        )
    return None


def _put(owner, attr, value, assign):
    current = owner.__dict__[attr]
    if not assign:
        current.copy_(value)
        return
    if current.is_parameter:
        value = value.detach()
        value.requires_grad = current.requires_grad
        value.is_parameter = True
    owner.__dict__[attr] = value
