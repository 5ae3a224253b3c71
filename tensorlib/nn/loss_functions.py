"""Losses of single elements as functions; see `cross_entropy` and `distances` too."""

import math

import tensorlib as tl
from tensorlib.core.tensor import is_batched
from tensorlib.ops.arguments import tensor_of

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
]


def reduce_loss(op, loss, reduction):
    if reduction == "mean":
        return tl.mean(loss)
    if reduction == "sum":
        return tl.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(
        f'{op}: expected reduction "mean", "sum" or "none", got {reduction!r}'
    )


def _weighted(op, loss, weight, reduction):
    """Return a loss whose elements count `weight` times; their mean is weighted too."""
    if weight is None:
        return reduce_loss(op, loss, reduction)
    if weight.shape != loss.shape:
        raise tl.ShapeError(
            f"{op}: expected a weight of the input's shape {tuple(loss.shape)}, got "
            f"{tuple(weight.shape)}"
        )
    if reduction == "mean":
        return tl.sum(loss * weight) / tl.sum(weight)
    return reduce_loss(op, loss * weight, reduction)


def check_same_shape(op, input, target):
    """Return the two as autocast has the op take them; raise unless of one shape."""
    if tuple(input.shape) != tuple(target.shape):
        raise tl.ShapeError(
            f"{op}: expected input and target of one shape, got "
            f"input.shape={tuple(input.shape)}, target.shape={tuple(target.shape)}"
        )
    return tensor_of(op, input), tensor_of(op, target)


def mse_loss(input, target, *, reduction="mean", weight=None):
    """Return the mean squared error ``mean((input - target)²)``.

    Parameters
    ----------
    input, target : Tensor
        Floating-point tensors of one shape ``(...)``.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.
    weight : Tensor, optional
        Of each element, shape ``(...)``; the mean is the weighted one.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes differ (they are not broadcast: that hides mistakes).
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.functional.mse_loss(tl.tensor([1.0, 3.0]), tl.tensor([1.0, 1.0])).item()
    2.0
    """
    input, target = check_same_shape("mse_loss", input, target)
    return _weighted("mse_loss", tl.square(input - target), weight, reduction)


def l1_loss(input, target, *, reduction="mean", weight=None):
    """Return the mean absolute error ``mean(|input - target|)``.

    Parameters
    ----------
    input, target : Tensor
        Floating-point tensors of one shape ``(...)``.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.
    weight : Tensor, optional
        Of each element, shape ``(...)``; the mean is the weighted one.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `reduction` is unknown.

    Notes
    -----
    The gradient where the two are equal is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.functional.l1_loss(tl.tensor([1.0, 3.0]), tl.tensor([1.0, 1.0])).item()
    1.0
    """
    input, target = check_same_shape("l1_loss", input, target)
    return _weighted("l1_loss", tl.abs(input - target), weight, reduction)


def smooth_l1_loss(input, target, *, reduction="mean", beta=1.0):
    """Return the absolute error, squared near 0.

    ``d² / (2 beta)`` where ``d = |input - target| < beta``, ``d - beta / 2`` elsewhere.

    Parameters
    ----------
    input, target : Tensor
        Floating-point tensors of one shape ``(...)``.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.
    beta : float, default 1.0
        Where the two forms meet; 0 gives the absolute error.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `reduction` is unknown or `beta` negative.

    References
    ----------
    Girshick, "Fast R-CNN", arXiv:1504.08083, equation 3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> x, t = tl.tensor([0.5, 3.0]), tl.zeros(2)
    >>> F.smooth_l1_loss(x, t, reduction="none").tolist()
    [0.125, 2.5]
    """
    input, target = check_same_shape("smooth_l1_loss", input, target)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: expected beta >= 0, got {beta}")
    distance = tl.abs(input - target)
    if beta > 0:
        near = distance < beta
        # The form that is not chosen gets 0, so that it has a gradient.
        small = tl.where(near, distance, 0.0)
        distance = tl.where(near, small * small * (0.5 / beta), distance - 0.5 * beta)
    return reduce_loss("smooth_l1_loss", distance, reduction)


def huber_loss(input, target, *, reduction="mean", delta=1.0, weight=None):
    """Return the squared error, linear far from 0.

    ``d² / 2`` where ``d = |input - target| < delta``, ``delta (d - delta / 2)``
    elsewhere.

    Parameters
    ----------
    input, target : Tensor
        Floating-point tensors of one shape ``(...)``.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.
    delta : float, default 1.0
        Where the two forms meet.
    weight : Tensor, optional
        Of each element, shape ``(...)``; the mean divides by their number.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `reduction` is unknown or `delta` not positive.

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", Ann. Math. Stat. 35 (1964).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> x, t = tl.tensor([1.0, 3.0]), tl.zeros(2)
    >>> F.huber_loss(x, t, reduction="none", delta=2.0).tolist()
    [0.5, 4.0]
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: expected delta > 0, got {delta}")
    input, target = check_same_shape("huber_loss", input, target)
    loss = smooth_l1_loss(input, target, reduction="none", beta=delta) * delta
    if weight is None or reduction != "mean":
        return _weighted("huber_loss", loss, weight, reduction)
    return tl.mean(_weighted("huber_loss", loss, weight, "none"))


def kl_div(input, target, *, reduction="mean", log_target=False):
    """Return the Kullback-Leibler divergence of log-probabilities from a target.

    ``t (log t - input)``, 0 where t is 0.

    Parameters
    ----------
    input : Tensor
        Log-probabilities, shape ``(...)``.
    target : Tensor
        Probabilities t, or with `log_target` their logarithms, of the same shape.
    reduction : {"mean", "batchmean", "sum", "none"}, default "mean"
        How the elements are joined; "batchmean", the mathematical definition, divides
        the sum by the length of the first axis.
    log_target : bool, default False
        Whether the target is in logarithms.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> p = tl.tensor([[0.5, 0.5]])
    >>> t = tl.tensor([[1.0, 0.0]])
    >>> round(F.kl_div(tl.log(p), t, reduction="sum").item(), 4)
    0.6931
    """
    input, target = check_same_shape("kl_div", input, target)
    if log_target:
        nothing, share, log_share = target == -tl.inf, tl.exp(target), target
    else:
        nothing, share = target == 0, target
        log_share = tl.log(tl.where(nothing, 1.0, target))
    # Where the target is 0, infinite logarithms must not become NaN.
    gap = tl.where(nothing, 0.0, log_share) - tl.where(nothing, 0.0, input)
    loss = share * gap
    if reduction == "batchmean":
        return tl.sum(loss) / (input.shape[0] if input.ndim else 1)
    return reduce_loss("kl_div", loss, reduction)


def binary_cross_entropy(input, target, weight=None, *, reduction="mean"):
    """Return the binary cross-entropy of probabilities.

    ``-w [t log x + (1 - t) log(1 - x)]``, the logarithms bounded by -100 from below.

    Parameters
    ----------
    input : Tensor
        Probabilities x in [0, 1], shape ``(...)``.
    target : Tensor
        Probabilities t in [0, 1], shape ``(...)``.
    weight : Tensor, optional
        Factors w, broadcast to ``(...)``.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `reduction` is unknown or an input is no probability.

    Notes
    -----
    Where a logarithm is bounded its gradient is 0; PyTorch has one of 1e12. Prefer
    `binary_cross_entropy_with_logits`, which has no bounds.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> F.binary_cross_entropy(tl.tensor([0.0]), tl.tensor([1.0])).item()
    100.0
    """
    op = "binary_cross_entropy"
    input, target = check_same_shape(op, input, target)
    inside = (input >= 0) & (input <= 1)
    if input.size and not is_batched(inside) and not bool(inside.all()):
        raise ValueError(
            f"{op}: expected probabilities in [0, 1]; see the _with_logits form"
        )
    hit, miss = _bounded_log(input), _bounded_log(1.0 - input)
    loss = -(target * hit + (1.0 - target) * miss)
    if weight is not None:
        loss = loss * weight
    return reduce_loss(op, loss, reduction)


def _bounded_log(x):
    """Return max(log x, -100); the gradient is 0 where the bound holds."""
    tiny = x < 3.7835e-44
    return tl.where(tiny, -100.0, tl.log(tl.where(tiny, 1.0, x)))


def binary_cross_entropy_with_logits(
    input, target, weight=None, *, pos_weight=None, reduction="mean"
):
    """Return the binary cross-entropy of logits.

    ``-w [p t log s(x) + (1 - t) log(1 - s(x))]``, s the sigmoid, computed as
    ``w [p t softplus(-x) + (1 - t) softplus(x)]``: finite for every finite x, and at
    infinity where the target agrees.

    Parameters
    ----------
    input : Tensor
        Logits x, shape ``(...)``.
    target : Tensor
        Probabilities t in [0, 1], floating point, shape ``(...)``.
    weight : Tensor, optional
        Factors w, broadcast to ``(...)``.
    pos_weight : Tensor, optional
        Factors p of the positive term, broadcast to ``(...)``.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes of input and target differ.
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> x, t = tl.tensor([0.0]), tl.tensor([1.0])
    >>> round(F.binary_cross_entropy_with_logits(x, t).item(), 4)
    0.6931
    """
    op = "binary_cross_entropy_with_logits"
    input, target = check_same_shape(op, input, target)
    share = target if pos_weight is None else target * pos_weight
    loss = _share(share, tl.softplus(-input)) + _share(1.0 - target, tl.softplus(input))
    if weight is not None:
        loss = loss * weight
    return reduce_loss(op, loss, reduction)


def _share(share, loss):
    """Return share * loss, and 0 where the share is 0 though the loss be infinite."""
    return tl.where(share == 0, 0.0, share * loss)


def soft_margin_loss(input, target, *, reduction="mean"):
    """Return the logistic loss of scores and signs, ``log(1 + exp(-t x))``.

    Computed as ``softplus(-t x)``, without overflow.

    Parameters
    ----------
    input : Tensor
        Scores x, shape ``(...)``.
    target : Tensor
        Signs t, 1 or -1, of the same shape.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> round(F.soft_margin_loss(tl.zeros(1), tl.ones(1)).item(), 4)
    0.6931
    """
    input, target = check_same_shape("soft_margin_loss", input, target)
    loss = tl.softplus(-(input * target))
    return reduce_loss("soft_margin_loss", loss, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """Return the negative log-likelihood of normal distributions.

    ``(log v + (input - target)² / v) / 2`` with ``v = max(var, eps)``.

    Parameters
    ----------
    input : Tensor
        Means, shape ``(...)``.
    target : Tensor
        Samples, broadcast with `input`.
    var : Tensor or float
        Variances: of the shape of `input`, of that without its last axis, or with a
        last axis of length 1.
    full : bool, default False
        Whether the constant ``log(2 pi) / 2`` is added.
    eps : float, default 1e-6
        The least variance; no gradient stops there.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    ValueError
        If `reduction` is unknown, `eps` not positive or a variance negative.

    References
    ----------
    Nix and Weigend, "Estimating the mean and variance of the target probability
    distribution", ICNN 1994.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> F.gaussian_nll_loss(tl.ones(1), tl.zeros(1), tl.ones(1)).item()
    0.5
    """
    op = "gaussian_nll_loss"
    input, target = tensor_of(op, input), tensor_of(op, target)
    if not isinstance(var, tl.Tensor):
        var = tl.full((), var, dtype=input.dtype)
    elif var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = tl.expand_dims(var, -1)
        elif var.shape[:-1] != input.shape[:-1] or var.shape[-1] != 1:
            raise tl.ShapeError(
                f"{op}: var of shape {var.shape} does not fit input of {input.shape}"
            )
    if not eps > 0:
        raise ValueError(f"{op}: expected eps > 0, got {eps}")
    if not is_batched(var) and bool((var < 0).any()):
        raise ValueError(f"{op}: expected variances >= 0")
    var = var + (tl.clip(var, min=eps) - var).detach()
    loss = (tl.log(var) + tl.square(input - target) / var) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce_loss(op, loss, reduction)


def poisson_nll_loss(
    input, target, log_input=True, full=False, *, eps=1e-8, reduction="mean"
):
    """Return the negative log-likelihood of Poisson distributions.

    ``exp(x) - t x`` for rates in logarithms, ``x - t log(x + eps)`` for rates.

    Parameters
    ----------
    input : Tensor
        Rates x or their logarithms, shape ``(...)``.
    target : Tensor
        Counts t, of the same shape.
    log_input : bool, default True
        Whether `input` is in logarithms.
    full : bool, default False
        Whether Stirling's form of ``log t!`` is added where ``t > 1``.
    eps : float, default 1e-8
        Keeps the logarithm of a rate of 0 finite.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(...)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> F.poisson_nll_loss(tl.zeros(1), tl.ones(1)).item()
    1.0
    """
    input, target = check_same_shape("poisson_nll_loss", input, target)
    if log_input:
        loss = tl.exp(input) - _share(target, input)
    else:
        loss = input - target * tl.log(input + eps)
    if full:
        large = target > 1
        t = tl.where(large, target, 1.0)
        stirling = t * tl.log(t) - t + 0.5 * tl.log(t * (2 * math.pi))
        loss = loss + tl.where(large, stirling, 0.0)
    return reduce_loss("poisson_nll_loss", loss, reduction)
