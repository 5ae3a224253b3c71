"""Losses of classes as functions: negative log-likelihood and cross-entropy."""

import tensorlib as tl
from tensorlib.nn.loss_functions import reduce_loss
from tensorlib.ops.arguments import tensor_of

__all__ = ["cross_entropy", "nll_loss"]


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
    if target.dtype.kind not in "iu":
        raise tl.DTypeError(
            f"{op}: expected classes of an integer dtype, got {target.dtype.name}"
        )
    return input, target.reshape((-1,)), lead


def _is_floating(tensor):
    return tensor.dtype.kind == "f"


def _weighted_reduce(op, loss, weights, reduction, shape):
    """Join losses ``(M,)`` already multiplied by `weights` ``(M,)``."""
    if reduction == "mean":
        return tl.sum(loss) / tl.sum(weights)
    return reduce_loss(op, loss.reshape(shape), reduction)


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
    DTypeError
        If classes are not integers.
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
    input = tensor_of("nll_loss", input)
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
    DTypeError
        If classes are not integers.
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
    # Where the target is 0, a logit of -inf costs nothing.
    log_p = tl.log_softmax(logits, axis=1)
    terms = tl.where(target == 0, 0.0, target * log_p)
    if weight is not None:
        terms = terms * weight
    loss = -tl.sum(terms, axis=1)
    return reduce_loss("cross_entropy", loss.reshape(shape), reduction)
