"""Distances of vectors, and the losses made of them, as functions."""

import math

import tensorlib as tl
from tensorlib.nn.loss_functions import check_same_shape, reduce_loss
from tensorlib.ops.arguments import tensor_of

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "normalize",
    "pairwise_distance",
    "triplet_margin_loss",
]


def cosine_similarity(x1, x2, axis=1, eps=1e-8):
    """Return the cosine of the angle between vectors along an axis.

    ``x1 · x2 / (max(|x1|, eps) max(|x2|, eps))``.

    Parameters
    ----------
    x1, x2 : Tensor
        Floating point, broadcast with each other.
    axis : int, default 1
        Along which the vectors lie.
    eps : float, default 1e-8
        The least length that is divided by.

    Returns
    -------
    Tensor
        Without the axis.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> F.cosine_similarity(tl.tensor([3.0, 4.0]), tl.tensor([4.0, 3.0]), axis=0)
    tensor(0.96000004)
    """
    x1, x2 = _same_extents("cosine_similarity", x1, x2)
    unit1, unit2 = (normalize(x, axis=axis, eps=eps) for x in (x1, x2))
    return tl.sum(unit1 * unit2, axis=axis)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdims=False):
    """Return the p-norm of differences along the last axis.

    ``|x1 - x2 + eps|_p``.

    Parameters
    ----------
    x1, x2 : Tensor
        Floating point, broadcast with each other.
    p : float, default 2.0
        Which norm; ``inf`` for the largest element.
    eps : float, default 1e-6
        Added to the difference, which keeps its norm off 0.
    keepdims : bool, default False
        Whether the last axis stays, with length 1.

    Returns
    -------
    Tensor
        Without the last axis, or with length 1.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> round(F.pairwise_distance(tl.zeros((1, 2)), tl.tensor([[3.0, 4.0]])).item(), 4)
    5.0
    """
    x1, x2 = (tensor_of("pairwise_distance", x) for x in (x1, x2))
    return _norm(x1 - x2 + eps, p, -1, keepdims)


def normalize(input, p=2.0, axis=1, eps=1e-12):
    """Divide by the p-norm along an axis, ``x / max(|x|_p, eps)``.

    Parameters
    ----------
    input : Tensor
        Floating point.
    p : float, default 2.0
        Which norm.
    axis : int, default 1
        Along which the vectors lie.
    eps : float, default 1e-12
        The least norm that is divided by.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Notes
    -----
    The gradient of the norm at 0 is taken as 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> [round(v, 4) for v in F.normalize(tl.tensor([3.0, 4.0]), axis=0).tolist()]
    [0.6, 0.8]
    """
    input = tensor_of("normalize", input)
    return input / tl.clip(_norm(input, p, axis, True), min=eps)


def _norm(x, p, axis, keepdims):
    """Return the p-norm along an axis, with gradient 0 where it is 0."""
    if p == math.inf:
        return tl.max(tl.abs(x), axis=axis, keepdims=keepdims)
    if p == 0:
        return tl.sum((x != 0).astype(x.dtype), axis=axis, keepdims=keepdims)
    if p == 1:
        return tl.sum(tl.abs(x), axis=axis, keepdims=keepdims)
    powers = tl.square(x) if p == 2 else tl.abs(x) ** p
    total = tl.sum(powers, axis=axis, keepdims=keepdims)
    nothing = total == 0
    safe = tl.where(nothing, 1.0, total)
    root = tl.sqrt(safe) if p == 2 else safe ** (1.0 / p)
    return tl.where(nothing, 0.0, root)


def _same_extents(op, x1, x2):
    """Broadcast two tensors to one shape."""
    total = (x1.detach() + x2.detach()).shape if x1.shape != x2.shape else x1.shape
    return tl.broadcast_to(x1, total), tl.broadcast_to(x2, total)


def hinge_embedding_loss(input, target, margin=1.0, *, reduction="mean"):
    """Return distances of like pairs, and what unlike ones lack to the margin.

    ``x`` where the target is 1, ``max(0, margin - x)`` where it is -1.

    Parameters
    ----------
    input : Tensor
        Distances x, shape ``(...)``.
    target : Tensor
        1 or -1, of the same shape.
    margin : float, default 1.0
        How far unlike pairs should be.
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
    >>> x, t = tl.tensor([0.5, 0.25]), tl.tensor([1, -1])
    >>> F.hinge_embedding_loss(x, t, reduction="none").tolist()
    [0.5, 0.75]
    """
    input, target = check_same_shape("hinge_embedding_loss", input, target)
    like = tl.where(target != -1, input, 0.0)
    unlike = tl.where(target != 1, tl.clip(margin - input, min=0), 0.0)
    return reduce_loss("hinge_embedding_loss", like + unlike, reduction)


def margin_ranking_loss(input1, input2, target, margin=0.0, *, reduction="mean"):
    """Return what the better of two scores lacks to a margin over the other.

    ``max(0, -t (input1 - input2) + margin)``.

    Parameters
    ----------
    input1, input2 : Tensor
        Scores, shape ``(...)``.
    target : Tensor
        t, 1 where the first should be higher and -1 where the second should.
    margin : float, default 0.0
        By how much.
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
    >>> F.margin_ranking_loss(tl.ones(1), tl.zeros(1), -tl.ones(1)).item()
    1.0
    """
    input1, input2 = check_same_shape("margin_ranking_loss", input1, input2)
    loss = tl.clip(-(target * (input1 - input2)) + margin, min=0)
    return reduce_loss("margin_ranking_loss", loss, reduction)


def cosine_embedding_loss(input1, input2, target, margin=0.0, *, reduction="mean"):
    """Return ``1 - cos`` of like pairs and ``max(0, cos - margin)`` of unlike ones.

    Parameters
    ----------
    input1, input2 : Tensor
        Vectors, ``(N, D)`` or ``(D,)``.
    target : Tensor
        1 or -1, ``(N,)`` or ``()``.
    margin : float, default 0.0
        In [-1, 1].
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(N,)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> x = tl.tensor([[1.0, 0.0]])
    >>> F.cosine_embedding_loss(x, x, tl.tensor([1])).item()
    0.0
    """
    op = "cosine_embedding_loss"
    input1, input2 = check_same_shape(op, input1, input2)
    if input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        raise tl.ShapeError(
            f"{op}: expected inputs (N, D) and target (N,), or (D,) and (), got "
            f"{input1.shape} and {target.shape}"
        )
    product = tl.sum(input1 * input2, axis=-1)
    lengths = [tl.sum(tl.square(x), axis=-1) + 1e-12 for x in (input1, input2)]
    cosine = product / tl.sqrt(lengths[0] * lengths[1])
    like = tl.where(target == 1, 1.0 - cosine, 0.0)
    unlike = tl.where(target == -1, tl.clip(cosine - margin, min=0), 0.0)
    return reduce_loss(op, like + unlike, reduction)


def triplet_margin_loss(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2.0,
    eps=1e-6,
    swap=False,
    *,
    reduction="mean",
):
    """Return how much nearer an anchor is to the wrong one, plus a margin, from 0 up.

    ``max(0, d(a, p) - d(a, n) + margin)``, d the `pairwise_distance`.

    Parameters
    ----------
    anchor, positive, negative : Tensor
        Vectors along the last axis, ``(N, D)`` or ``(D,)``.
    margin : float, default 1.0
        The difference of distances that is asked for.
    p, eps : float, default 2.0 and 1e-6
        See `pairwise_distance`.
    swap : bool, default False
        Whether ``d(p, n)`` is taken where it is smaller than ``d(a, n)``.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the elements are joined.

    Returns
    -------
    Tensor
        Shape ``()``, or ``(N,)`` without reduction.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.
    ValueError
        If `reduction` is unknown or the margin not positive.

    References
    ----------
    Balntas et al., "Learning local feature descriptors with triplets and shallow
    convolutional neural networks", BMVC 2016 (the swap).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.nn import functional as F
    >>> a, b = tl.zeros((1, 2)), tl.ones((1, 2))
    >>> F.triplet_margin_loss(a, a, b, margin=0.5).item()
    0.0
    """
    if not margin > 0:
        raise ValueError(f"triplet_margin_loss: expected margin > 0, got {margin}")
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = tl.minimum(far, pairwise_distance(positive, negative, p, eps))
    loss = tl.clip(near - far + margin, min=0)
    return reduce_loss("triplet_margin_loss", loss, reduction)
