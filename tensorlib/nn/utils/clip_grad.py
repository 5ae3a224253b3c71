"""Bound gradients before an optimizer step."""

import math

import tensorlib as tl
from tensorlib.core.tensor import Tensor

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


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
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False):
    """Return the norm of all elements of several tensors together.

    Parameters
    ----------
    tensors : iterable of Tensor, or a Tensor
        As a rule gradients.
    norm_type : float, default 2.0
        p of the p-norm; ``inf`` for the largest absolute value.
    error_if_nonfinite : bool, default False
        Whether a NaN or infinite norm is an error.

    Returns
    -------
    Tensor
        Shape ``()``; 0 without tensors.

    Raises
    ------
    RuntimeError
        If the norm is not finite and `error_if_nonfinite` is set.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.utils.get_total_norm([tl.tensor([3.0]), tl.tensor([[4.0]])]).item()
    5.0
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    with tl.no_grad():
        if not tensors:
            return tl.zeros(())
        if norm_type == math.inf:
            norms = [tl.max(tl.abs(g)) for g in tensors if g.size]
            total = tl.max(tl.stack(norms)) if norms else tl.zeros(())
        elif norm_type == 2.0:
            total = tl.sqrt(tl.sum(tl.stack([tl.sum(g * g) for g in tensors])))
        else:
            powers = [tl.sum(tl.abs(g) ** norm_type) for g in tensors]
            total = tl.sum(tl.stack(powers)) ** (1.0 / norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"get_total_norm: the gradients' norm is {total.item()}; look for NaN or "
            "infinity in the loss, or pass error_if_nonfinite=False"
        )
    return total


def clip_grads_with_norm_(parameters, max_norm, total_norm):
    """Scale gradients in place by ``min(1, max_norm / (total_norm + 1e-6))``.

    Parameters
    ----------
    parameters : iterable of Tensor, or a Tensor
        Those without a gradient are skipped.
    max_norm : float
        The bound.
    total_norm : Tensor
        Their norm, as `get_total_norm` gives it.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> p = nn.Parameter(tl.zeros(1))
    >>> p.grad = tl.tensor([4.0])
    >>> nn.utils.clip_grads_with_norm_(p, 1.0, tl.tensor(4.0))
    >>> round(p.grad.item(), 4)
    1.0
    """
    factor = max_norm / (total_norm.item() + 1e-6)
    if factor >= 1.0:  # NaN scales too, and so stays visible
        return
    with tl.no_grad():
        for gradient in _gradients(parameters):
            gradient.mul_(factor)


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
