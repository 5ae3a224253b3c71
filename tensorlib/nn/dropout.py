"""Dropout as a module."""

import tensorlib as tl
from tensorlib.nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """Zero each element with probability `p` in training, scale the rest.

    ``y = x m / (1 - p)`` with ``m`` Bernoulli(1 - p); the identity after ``eval()``.

    Parameters
    ----------
    p : float, default 0.5
        Probability of zero, 0 <= p <= 1.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.
    generator : Generator, optional
        Source of the masks; the default generator otherwise.

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].

    References
    ----------
    Srivastava et al., "Dropout", JMLR 15 (2014), section 4.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Dropout(0.5).eval()(tl.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, p=0.5, inplace=False, *, generator=None):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: expected 0 <= p <= 1, got p={p}")
        self.p = p
        self.inplace = inplace
        self.generator = generator

    def forward(self, input):
        """Return `input` with elements dropped in training, of the same shape."""
        if not self.training or self.p == 0:
            return input
        return tl.dropout(input, self.p, generator=self.generator)

    def extra_repr(self):
        """Return the probability."""
        return f"p={self.p}, inplace={self.inplace}"
