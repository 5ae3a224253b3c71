"""Where batches are: in page-locked memory, from which GPUs copy, or on a GPU."""

from collections.abc import Mapping

from tensorlib.core.tensor import Tensor

__all__ = ["on_device", "pinned"]


def pinned(batch):
    """Return a batch with its tensors in page-locked memory.

    Tuples, lists and mappings are rebuilt; of other objects the method ``pin_memory``
    is called, where they have one. Tensors on a GPU stay.
    """
    return _mapped(batch, _pin)


def _pin(x):
    if isinstance(x, Tensor):
        return x if x.is_cuda else x.pin_memory()
    return x.pin_memory() if hasattr(x, "pin_memory") else x


def on_device(batch, device):
    """Return a batch with its tensors on a GPU; copies from page-locked memory go on.

    Of objects that are no tuples, lists or mappings the method ``to`` is called, where
    they have one.
    """

    def move(x):
        if isinstance(x, Tensor) or hasattr(x, "to"):
            return x.to(device, non_blocking=True)
        return x

    return _mapped(batch, move)


def _mapped(batch, function):
    """Apply a function to the leaves of a tree of tuples, lists and mappings."""
    if isinstance(batch, (str, bytes)):
        return batch
    if isinstance(batch, Mapping):
        items = {key: _mapped(value, function) for key, value in batch.items()}
        return items if type(batch) is dict else _rebuilt(batch, items)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*[_mapped(value, function) for value in batch])
    if isinstance(batch, (tuple, list)):
        values = [_mapped(value, function) for value in batch]
        return values if type(batch) is list else _rebuilt(batch, values)
    return function(batch)


def _rebuilt(batch, values):
    try:
        return type(batch)(values)
    except TypeError:  # its constructor takes something else
        return values
