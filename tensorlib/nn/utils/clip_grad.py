"""Bound gradients before an optimizer step."""

import math

import tensorlib as tl
from tensorlib.core.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def _gradients(parameters):
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    return [p.grad for p in parameters if p.grad is not None]


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False):
    """Scale gradients in place so that their joint norm is at most `max_norm`.

    ``g *= min(1, max_norm / (norm + 1e-6))``.

    Parameters
    ----------
    parameters : iterable of Tensor, or a Tensor
        Those without a gradient are skipped.
    max_norm : float
        The bound.
    norm_type : float, default 2.0
        p of the p-norm; ``inf`` for the largest absolute value.
    error_if_nonfinite : bool, default False
        Whether a NaN or infinite norm is an error.

    Returns
    -------
    Tensor
        The joint norm before scaling, shape ``()``.

    Raises
    ------
    RuntimeError
        If the norm is not finite and `error_if_nonfinite` is set.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> p = nn.Parameter(tl.zeros(2))
    >>> p.grad = tl.tensor([3.0, 4.0])
    >>> nn.utils.clip_grad_norm_([p], 1.0).item()
    5.0
    >>> [round(v, 4) for v in p.grad.tolist()]
    [0.6, 0.8]
    """
    gradients = _gradients(parameters)
    norm_type = float(norm_type)
    with tl.no_grad():
        if not gradients:
            return tl.zeros(())
        if norm_type == math.inf:
            norms = [tl.max(tl.abs(g)) for g in gradients if g.size]
            total = tl.max(tl.stack(norms)) if norms else tl.zeros(())
        elif norm_type == 2.0:
            total = tl.sqrt(tl.sum(tl.stack([tl.sum(g * g) for g in gradients])))
        else:
            powers = [tl.sum(tl.abs(g) ** norm_type) for g in gradients]
            total = tl.sum(tl.stack(powers)) ** (1.0 / norm_type)
        norm = total.item()
        if error_if_nonfinite and not math.isfinite(norm):
            raise RuntimeError(
                f"clip_grad_norm_: the gradients' norm is {norm}; look for NaN or "
                "infinity in the loss, or pass error_if_nonfinite=False"
            )
        factor = max_norm / (norm + 1e-6)
        if not factor >= 1.0:  # NaN scales too, and so stays visible
            for gradient in gradients:
                gradient.mul_(factor)
        return total


def clip_grad_value_(parameters, clip_value):
    """Clip each gradient element in place to ``[-clip_value, clip_value]``.

    Parameters
    ----------
    parameters : iterable of Tensor, or a Tensor
        Those without a gradient are skipped.
    clip_value : float
        The bound.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> p = nn.Parameter(tl.zeros(2))
    >>> p.grad = tl.tensor([3.0, -0.5])
    >>> nn.utils.clip_grad_value_([p], 1.0)
    >>> p.grad.tolist()
    [1.0, -0.5]
    """
    with tl.no_grad():
        for gradient in _gradients(parameters):
            gradient.copy_(tl.clip(gradient, -clip_value, clip_value))
