"""The residual connection of the course."""

from tensorlib.nn.module import Module

__all__ = ["Residual"]


class Residual(Module):
    """Add a function's output to its input: ``y = x + fn(x)``.

    Parameters
    ----------
    fn : Module
        Maps a shape to itself.

    Raises
    ------
    TypeError
        If `fn` is not a module.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385,
    equation 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Residual(nn.Identity())(tl.ones(2)).tolist()
    [2.0, 2.0]
    """

    def __init__(self, fn):
        super().__init__()
        if not isinstance(fn, Module):
            raise TypeError(f"Residual: expected nn.Module, got {type(fn).__name__}")
        self.fn = fn

    def forward(self, x):
        """Return ``x + fn(x)``, of the shape of `x`."""
        return x + self.fn(x)
