"""Layers and losses as functions, under PyTorch's names.

Functions of the array namespace are re-exported; those that exist only here are
compositions of its operations.
"""

import tensorlib as tl
from tensorlib import (
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    log_softmax,
    one_hot,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)

__all__ = [
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "l1_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def _reduce(op, loss, reduction):
    if reduction == "mean":
        return tl.mean(loss)
    if reduction == "sum":
        return tl.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(
        f'{op}: expected reduction "mean", "sum" or "none", got {reduction!r}'
    )


def _check_same_shape(op, input, target):
    if tuple(input.shape) != tuple(target.shape):
        raise tl.ShapeError(
            f"{op}: expected input and target of one shape, got "
            f"input.shape={tuple(input.shape)}, target.shape={tuple(target.shape)}"
        )


def mse_loss(input, target, *, reduction="mean"):
    """Return the mean squared error ``mean((input - target)²)``.

    Parameters
    ----------
    input, target : Tensor
        Floating-point tensors of one shape ``(...)``.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.

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
    _check_same_shape("mse_loss", input, target)
    return _reduce("mse_loss", tl.square(input - target), reduction)


def l1_loss(input, target, *, reduction="mean"):
    """Return the mean absolute error ``mean(|input - target|)``.

    Parameters
    ----------
    input, target : Tensor
        Floating-point tensors of one shape ``(...)``.
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

    Notes
    -----
    The gradient where the two are equal is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.functional.l1_loss(tl.tensor([1.0, 3.0]), tl.tensor([1.0, 1.0])).item()
    1.0
    """
    _check_same_shape("l1_loss", input, target)
    return _reduce("l1_loss", tl.abs(input - target), reduction)


def binary_cross_entropy_with_logits(
    input, target, weight=None, *, pos_weight=None, reduction="mean"
):
    """Return the binary cross-entropy of logits.

    ``-w [p t log s(x) + (1 - t) log(1 - s(x))]``, s the sigmoid, computed as
    ``w [(1 - t) x + (1 + (p - 1) t) softplus(-x)]``, finite for every finite x.

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
    _check_same_shape(op, input, target)
    positive = tl.softplus(-input)
    if pos_weight is not None:
        positive = positive * ((pos_weight - 1.0) * target + 1.0)
    loss = (1.0 - target) * input + positive
    if weight is not None:
        loss = loss * weight
    return _reduce(op, loss, reduction)


def _classes_last(op, input, target):
    """Reshape ``(C,)``, ``(N, C)`` or ``(N, C, ...)`` to ``(M, C)``; target to match.

    Returns the two and the shape of the unreduced loss.
    """
    shape = tuple(input.shape)
    if len(shape) == 0:
        raise tl.ShapeError(f"{op}: expected (C,), (N, C) or (N, C, ...), got ()")
    lead = shape[:-1] if len(shape) < 3 else (shape[0], *shape[2:])
    classes = shape[0] if len(shape) == 1 else shape[1]
    if len(shape) > 2:
        input = tl.permute_dims(input, (0, *range(2, len(shape)), 1))
    input = input.reshape((-1, classes))
    if tuple(target.shape) == shape and _is_floating(target):
        if len(shape) > 2:
            target = tl.permute_dims(target, (0, *range(2, len(shape)), 1))
        return input, target.reshape((-1, classes)), lead
    if tuple(target.shape) != lead:
        raise tl.ShapeError(
            f"{op}: expected target.shape={lead} for input.shape={shape}, "
            f"got {tuple(target.shape)}"
        )
    return input, target.reshape((-1,)), lead


def _is_floating(tensor):
    return tensor.dtype.kind == "f"


def _weighted_reduce(op, loss, weights, reduction, shape):
    """Join losses ``(M,)`` already multiplied by `weights` ``(M,)``."""
    if reduction == "mean":
        return tl.sum(loss) / tl.sum(weights)
    return _reduce(op, loss.reshape(shape), reduction)


def nll_loss(input, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """Return the negative log-likelihood ``-w[t] input[t]`` of target classes.

    Parameters
    ----------
    input : Tensor
        Log-probabilities, ``(C,)``, ``(N, C)`` or ``(N, C, ...)``.
    target : Tensor
        Classes, int64, ``()``, ``(N,)`` or ``(N, ...)``.
    weight : Tensor, optional
        A factor w a class, ``(C,)``.
    ignore_index : int, default -100
        Target value that counts for nothing.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined; the mean divides by the sum of the factors.

    Returns
    -------
    Tensor
        Shape ``()``, or the target's without reduction.

    Raises
    ------
    ShapeError
        If the target's shape does not fit.
    IndexError
        If a target is neither a class nor `ignore_index`.
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> log_p = tl.log_softmax(tl.zeros((2, 4)), axis=1)
    >>> loss = tl.nn.functional.nll_loss(log_p, tl.tensor([0, 3]))
    >>> round(loss.item(), 4)
    1.3863
    """
    log_p, classes, shape = _classes_last("nll_loss", input, target)
    kept = classes != ignore_index
    classes = tl.where(kept, classes, tl.zeros_like(classes))
    rows = tl.arange(log_p.shape[0], device=log_p.device)
    factors = kept.astype(log_p.dtype)
    if weight is not None:
        factors = factors * weight[classes]
    # where() rather than a product: an ignored -inf must not become NaN.
    picked = tl.where(kept, log_p[rows, classes], tl.zeros_like(factors))
    return _weighted_reduce("nll_loss", -picked * factors, factors, reduction, shape)


def cross_entropy(
    input, target, weight=None, *, ignore_index=-100, reduction="mean",
    label_smoothing=0.0,
):  # fmt: skip
    """Return the cross-entropy of logits and target classes or probabilities.

    ``-log softmax(x)[t]``; with smoothing ε the target is ``(1 - ε)`` on its class
    plus ``ε / C`` on every class.

    Parameters
    ----------
    input : Tensor
        Logits, ``(C,)``, ``(N, C)`` or ``(N, C, ...)``.
    target : Tensor
        Classes, int64, ``()``, ``(N,)`` or ``(N, ...)``; or probabilities of the
        shape and kind of `input`.
    weight : Tensor, optional
        A factor a class, ``(C,)``.
    ignore_index : int, default -100
        Target class that counts for nothing.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined; the mean divides by the sum of the factors.
    label_smoothing : float, default 0.0
        ε in [0, 1].

    Returns
    -------
    Tensor
        Shape ``()``, or one number a sample without reduction.

    Raises
    ------
    ShapeError
        If the target's shape does not fit.
    IndexError
        If a target is neither a class nor `ignore_index`.
    ValueError
        If `reduction` is unknown or `label_smoothing` outside [0, 1].

    Examples
    --------
    >>> import tensorlib as tl
    >>> loss = tl.nn.functional.cross_entropy(tl.zeros((2, 4)), tl.tensor([0, 3]))
    >>> round(loss.item(), 4)
    1.3863
    """
    if weight is None and target.dtype.kind in "iu":
        return tl.cross_entropy(
            input, target, ignore_index=ignore_index, reduction=reduction,
            label_smoothing=label_smoothing,
        )  # fmt: skip
    op = "cross_entropy"
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"{op}: expected 0 <= label_smoothing <= 1, got {label_smoothing}"
        )
    logits, target, shape = _classes_last(op, input, target)
    if target.ndim == 2:
        return _soft_cross_entropy(
            logits, target, weight, label_smoothing, reduction, shape
        )
    log_p = tl.log_softmax(logits, axis=1)
    loss = nll_loss(log_p, target, weight, ignore_index=ignore_index, reduction="none")
    kept = target != ignore_index
    factors = kept.astype(logits.dtype)
    if weight is not None:
        factors = factors * weight[tl.where(kept, target, tl.zeros_like(target))]
    if label_smoothing:
        every = log_p if weight is None else log_p * weight
        spread = tl.where(kept, -tl.sum(every, axis=1), tl.zeros_like(factors))
        share = label_smoothing / logits.shape[1]
        loss = loss * (1.0 - label_smoothing) + spread * share
    return _weighted_reduce(op, loss, factors, reduction, shape)


def _soft_cross_entropy(logits, target, weight, label_smoothing, reduction, shape):
    """Cross-entropy of probabilities ``(M, C)``; the mean divides by M."""
    if label_smoothing:
        share = label_smoothing / logits.shape[1]
        target = target * (1.0 - label_smoothing) + share
    terms = target * tl.log_softmax(logits, axis=1)
    if weight is not None:
        terms = terms * weight
    loss = -tl.sum(terms, axis=1)
    return _reduce("cross_entropy", loss.reshape(shape), reduction)


def batch_norm(
    input, running_mean, running_var, weight=None, bias=None, training=False,
    momentum=0.1, eps=1e-5,
):  # fmt: skip
    """Normalize each channel, by the batch or by running statistics.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``; see `BatchNorm1d`.

    Parameters
    ----------
    input : Tensor
        Shape ``(N, C)`` or ``(N, C, ...)``.
    running_mean, running_var : Tensor or None
        Shape ``(C,)``; changed in place in training, used otherwise.
    weight, bias : Tensor, optional
        Shape ``(C,)``.
    training : bool, default False
        Whether the batch's statistics are used.
    momentum : float, default 0.1
        Weight of this batch in the running statistics.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Raises
    ------
    ShapeError
        If the input has fewer than two axes.
    ValueError
        If a channel has one value in training, or running statistics are missing
        in evaluation.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[1.0], [3.0]])
    >>> y = tl.nn.functional.batch_norm(x, None, None, training=True)
    >>> [round(v, 3) for v in y[:, 0].tolist()]
    [-1.0, 1.0]
    """
    if input.ndim < 2:
        raise tl.ShapeError(
            f"batch_norm: expected (N, C) or (N, C, ...), got {tuple(input.shape)}"
        )
    along = (1, -1) + (1,) * (input.ndim - 2)
    if training:
        mean, var = _batch_statistics(input, running_mean, running_var, momentum)
    elif running_mean is None or running_var is None:
        raise ValueError(
            "batch_norm: running_mean and running_var are needed unless training=True"
        )
    else:
        mean, var = running_mean, running_var
    scale = tl.rsqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    output = (input - mean.reshape(along)) * scale.reshape(along)
    return output if bias is None else output + bias.reshape(along)


def _batch_statistics(input, running_mean, running_var, momentum):
    """Return mean and biased variance ``(C,)``; move the running ones."""
    count = input.size // max(input.shape[1], 1)
    if count <= 1:
        raise ValueError(
            "batch_norm: expected more than one value a channel in training, "
            f"got input.shape={tuple(input.shape)}"
        )
    axes = (0, *range(2, input.ndim))
    mean = tl.mean(input, axis=axes)
    var = tl.var(input, axis=axes)
    if running_mean is not None:
        with tl.no_grad():
            running_mean.mul_(1.0 - momentum).add_(mean.detach() * momentum)
            unbiased = var.detach() * (momentum * count / (count - 1))
            running_var.mul_(1.0 - momentum).add_(unbiased)
    return mean, var
