"""The handle of a registered hook."""

__all__ = ["RemovableHandle"]


class RemovableHandle:
    """Undo one registration; also a context manager that does so at its end.

    Parameters
    ----------
    undo : callable
        Takes the hook out; harmless when it is out already.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones(1, requires_grad=True)
    >>> with x.register_hook(lambda grad: grad * 10):
    ...     x.sum().backward()
    >>> x.sum().backward()
    >>> x.grad
    tensor([11.])
    """

    def __init__(self, undo):
        self._undo = undo

    def remove(self):
        """Take the hook out; doing so twice is harmless."""
        self._undo()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.remove()
