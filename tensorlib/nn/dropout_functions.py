"""Dropout of channels, and dropout that keeps mean and variance, as functions."""

import math

import tensorlib as tl

__all__ = [
    "alpha_dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]

# Minus scale times alpha of selu: its limit at minus infinity.
SELU_LIMIT = -1.7580993408473766


def _check(op, x, p):
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: expected 0 <= p <= 1, got p={p}")
    if not x.dtype.is_floating_point:
        raise tl.DTypeError(f"{op}: expected floating input, got {x.dtype}")


def _kept(shape, p, like, generator):
    """Return 1 with probability 1 - p, else 0."""
    return tl.bernoulli(
        1.0 - p, shape, dtype=like.dtype, device=like.device, generator=generator
    )


def _drop_channels(op, x, p, training, axes, generator):
    _check(op, x, p)
    if x.ndim not in (axes + 1, axes + 2):
        raise tl.ShapeError(
            f"{op}: expected {axes + 1} or {axes + 2} axes, got shape {x.shape}"
        )
    if not training or p == 0:
        return x
    mask = _kept((*x.shape[: x.ndim - axes], *[1] * axes), p, x, generator)
    return x * (mask * (1.0 / (1.0 - p) if p < 1 else 0.0))


def dropout1d(input, p=0.5, training=True, *, generator=None):
    """Zero whole channels with probability `p` and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    input : Tensor
        ``(N, C, L)`` or ``(C, L)``.
    p : float, default 0.5
        Probability of zero.
    training : bool, default True
        When False, return the input.
    generator : Generator, optional
        Source of the masks; the default generator otherwise.

    Raises
    ------
    ShapeError
        If the input has another number of axes.
    ValueError
        If `p` is no probability.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> F.dropout1d(tl.ones((2, 3)), p=1.0).sum().item()
    0.0
    """
    return _drop_channels("dropout1d", input, p, training, 1, generator)


def dropout2d(input, p=0.5, training=True, *, generator=None):
    """Zero whole channels of ``(N, C, H, W)`` or ``(C, H, W)``; see `dropout1d`.

    References
    ----------
    Tompson et al., "Efficient Object Localization Using Convolutional Networks",
    arXiv:1411.4280, section 3.2.
    """
    return _drop_channels("dropout2d", input, p, training, 2, generator)


def dropout3d(input, p=0.5, training=True, *, generator=None):
    """Zero whole channels of ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    See `dropout1d`.
    """
    return _drop_channels("dropout3d", input, p, training, 3, generator)


def _drop_alpha(x, p, mask):
    """Return a (m x + (1 - m) limit) + b, so that mean 0 and variance 1 stay."""
    scale = 1.0 / math.sqrt((1.0 - p) * (1.0 + p * SELU_LIMIT**2)) if p < 1 else 0.0
    shift = -scale * SELU_LIMIT * p
    return x * (mask * scale) + ((1.0 - mask) * (scale * SELU_LIMIT) + shift)


def alpha_dropout(input, p=0.5, training=False, *, generator=None):
    """Set elements to the limit of `selu` with probability `p`; keep the moments.

    Parameters
    ----------
    input : Tensor
        Of mean 0 and variance 1, as after `selu`; any shape.
    p : float, default 0.5
        Probability of the limit.
    training : bool, default False
        When False, return the input. (`dropout` has the other default, as in PyTorch.)
    generator : Generator, optional
        Source of the masks; the default generator otherwise.

    Raises
    ------
    ValueError
        If `p` is no probability.

    References
    ----------
    Klambauer et al., "Self-Normalizing Neural Networks", NeurIPS 2017, section 3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> F.alpha_dropout(tl.ones(2)).tolist()
    [1.0, 1.0]
    """
    _check("alpha_dropout", input, p)
    if not training or p == 0:
        return input
    return _drop_alpha(input, p, _kept(input.shape, p, input, generator))


def feature_alpha_dropout(input, p=0.5, training=False, *, generator=None):
    """Treat whole channels of ``(N, C, ...)`` as `alpha_dropout` does elements."""
    _check("feature_alpha_dropout", input, p)
    if input.ndim < 2:
        raise tl.ShapeError(
            f"feature_alpha_dropout: expected (N, C, ...), got {input.shape}"
        )
    if not training or p == 0:
        return input
    shape = (*input.shape[:2], *[1] * (input.ndim - 2))
    return _drop_alpha(input, p, _kept(shape, p, input, generator))
