"""Dropout as modules."""

import tensorlib as tl
from tensorlib.nn import dropout_functions
from tensorlib.nn.module import Module

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
]


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
            raise ValueError(f"{type(self).__name__}: expected 0 <= p <= 1, got p={p}")
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


class Dropout1d(Dropout):
    """Zero whole channels of ``(N, C, L)`` or ``(C, L)`` in training.

    See `functional.dropout1d`; the identity after ``eval()``.

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping, 0 <= p <= 1.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.
    generator : Generator, optional
        Source of the masks; the default generator otherwise.

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Dropout1d(0.5).eval()(tl.ones((2, 2, 3))).sum().item()
    12.0
    """

    def forward(self, input):
        """Return `input` with parts dropped in training, of the same shape."""
        return dropout_functions.dropout1d(
            input, self.p, self.training, generator=self.generator
        )


class Dropout2d(Dropout):
    """Zero whole channels of ``(N, C, H, W)`` or ``(C, H, W)`` in training.

    See `functional.dropout2d`; the identity after ``eval()``.

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping, 0 <= p <= 1.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.
    generator : Generator, optional
        Source of the masks; the default generator otherwise.

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Dropout2d(0.5).eval()(tl.ones((2, 2, 3, 1))).sum().item()
    12.0
    """

    def forward(self, input):
        """Return `input` with parts dropped in training, of the same shape."""
        return dropout_functions.dropout2d(
            input, self.p, self.training, generator=self.generator
        )


class Dropout3d(Dropout):
    """Zero whole channels of ``(N, C, D, H, W)`` or ``(C, D, H, W)`` in training.

    See `functional.dropout3d`; the identity after ``eval()``.

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping, 0 <= p <= 1.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.
    generator : Generator, optional
        Source of the masks; the default generator otherwise.

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Dropout3d(0.5).eval()(tl.ones((2, 2, 3, 1, 1))).sum().item()
    12.0
    """

    def forward(self, input):
        """Return `input` with parts dropped in training, of the same shape."""
        return dropout_functions.dropout3d(
            input, self.p, self.training, generator=self.generator
        )


class AlphaDropout(Dropout):
    """Set elements to the limit of SELU in training; keep mean and variance.

    See `functional.alpha_dropout`; the identity after ``eval()``.

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping, 0 <= p <= 1.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.
    generator : Generator, optional
        Source of the masks; the default generator otherwise.

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AlphaDropout(0.5).eval()(tl.ones((2, 2, 3))).sum().item()
    12.0
    """

    def forward(self, input):
        """Return `input` with parts dropped in training, of the same shape."""
        return dropout_functions.alpha_dropout(
            input, self.p, self.training, generator=self.generator
        )


class FeatureAlphaDropout(Dropout):
    """Set channels to the limit of SELU in training; keep mean and variance.

    See `functional.feature_alpha_dropout`; the identity after ``eval()``.

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping, 0 <= p <= 1.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.
    generator : Generator, optional
        Source of the masks; the default generator otherwise.

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.FeatureAlphaDropout(0.5).eval()(tl.ones((2, 2, 3))).sum().item()
    12.0
    """

    def forward(self, input):
        """Return `input` with parts dropped in training, of the same shape."""
        return dropout_functions.feature_alpha_dropout(
            input, self.p, self.training, generator=self.generator
        )
