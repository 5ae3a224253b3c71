"""Handles of registered hooks, and the call that runs them."""

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
    output = module.forward(*args, **kwargs)
    for hook, with_kwargs in list(module._forward_hooks.values()):
        if with_kwargs:
            changed = hook(module, args, kwargs, output)
        else:
            changed = hook(module, args, output)
        if changed is not None:
            output = changed
    return output


def _checked_pair(hook, changed):
    if not (isinstance(changed, tuple) and len(changed) == 2):
        raise TypeError(
            f"forward pre-hook {hook!r}: expected None or (args, kwargs), "
            f"got {type(changed).__name__}"
        )
    return changed
