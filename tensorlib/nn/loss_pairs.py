"""Losses of pairs and triplets, and distances, as modules."""

from tensorlib.nn import functional
from tensorlib.nn.loss import ReducedLoss
from tensorlib.nn.module import Module

__all__ = [
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "PairwiseDistance",
    "TripletMarginLoss",
]


class HingeEmbeddingLoss(ReducedLoss):
    """Distances of like pairs, and what unlike ones lack to a margin.

    See `functional.hinge_embedding_loss`.

    Parameters
    ----------
    margin : float, default 1.0
        How far unlike pairs should be.
    reduction : {"mean", "sum", "none"}, default "mean"
        How elements are joined.

    Raises
    ------
    ValueError
        If an option is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.HingeEmbeddingLoss()(tl.tensor([0.25]), tl.tensor([-1])).item()
    0.75
    """

    def __init__(self, margin=1.0, *, reduction="mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input, target):
        """Return the loss of distances and targets of 1 and -1."""
        return functional.hinge_embedding_loss(
            input, target, margin=self.margin, reduction=self.reduction
        )


class MarginRankingLoss(ReducedLoss):
    """What the better of two scores lacks to a margin over the other.

    See `functional.margin_ranking_loss`.

    Parameters
    ----------
    margin : float, default 0.0
        By how much it should be higher.
    reduction : {"mean", "sum", "none"}, default "mean"
        How elements are joined.

    Raises
    ------
    ValueError
        If an option is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.MarginRankingLoss()(tl.ones(1), tl.zeros(1), -tl.ones(1)).item()
    1.0
    """

    def __init__(self, margin=0.0, *, reduction="mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1, input2, target):
        """Return the loss of two tensors of scores and targets of 1 and -1."""
        return functional.margin_ranking_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class CosineEmbeddingLoss(ReducedLoss):
    """Angles of like pairs, and how much unlike ones exceed a margin.

    See `functional.cosine_embedding_loss`.

    Parameters
    ----------
    margin : float, default 0.0
        The cosine that unlike pairs may have.
    reduction : {"mean", "sum", "none"}, default "mean"
        How elements are joined.

    Raises
    ------
    ValueError
        If an option is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> x = tl.tensor([[1.0, 0.0]])
    >>> nn.CosineEmbeddingLoss()(x, x, tl.tensor([1])).item()
    0.0
    """

    def __init__(self, margin=0.0, *, reduction="mean"):
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1, input2, target):
        """Return the loss of vectors ``(N, D)`` and targets of 1 and -1."""
        return functional.cosine_embedding_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class TripletMarginLoss(ReducedLoss):
    """How much nearer an anchor is to the wrong one, plus a margin.

    See `functional.triplet_margin_loss`.

    Parameters
    ----------
    margin : float, default 1.0
        The difference of distances that is asked for.
    p : float, default 2.0
        Which norm.
    eps : float, default 1e-6
        Added to differences.
    swap : bool, default False
        Whether the positive stands for the anchor where it is nearer to the negative.
    reduction : {"mean", "sum", "none"}, default "mean"
        How elements are joined.

    Raises
    ------
    ValueError
        If an option is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> a, b = tl.zeros((1, 2)), tl.ones((1, 2))
    >>> nn.TripletMarginLoss(margin=0.5)(a, a, b).item()
    0.0
    """

    def __init__(self, margin=1.0, p=2.0, eps=1e-6, swap=False, *, reduction="mean"):
        super().__init__(reduction)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor, positive, negative):
        """Return the loss of three tensors of vectors ``(N, D)``."""
        return functional.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class CosineSimilarity(Module):
    """Cosine of the angle between vectors along an axis.

    See `functional.cosine_similarity`.

    Parameters
    ----------
    axis : int, default 1
        Along which the vectors lie.
    eps : float, default 1e-8
        The least length that is divided by.

    Raises
    ------
    ShapeError
        In ``forward``, if the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.CosineSimilarity()(tl.ones((1, 1)), -tl.ones((1, 1))).tolist()
    [-1.0]
    """

    def __init__(self, axis=1, eps=1e-8):
        super().__init__()
        self.axis = axis
        self.eps = eps

    def forward(self, x1, x2):
        """Return the cosines, without the axis."""
        return functional.cosine_similarity(x1, x2, axis=self.axis, eps=self.eps)


class PairwiseDistance(Module):
    """The p-norm of differences along the last axis.

    See `functional.pairwise_distance`.

    Parameters
    ----------
    p : float, default 2.0
        Which norm.
    eps : float, default 1e-6
        Added to the difference.
    keepdims : bool, default False
        Whether the last axis stays, with length 1.

    Raises
    ------
    ShapeError
        In ``forward``, if the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.PairwiseDistance(eps=0.0)(tl.zeros((1, 1)), tl.ones((1, 1))).tolist()
    [1.0]
    """

    def __init__(self, p=2.0, eps=1e-6, keepdims=False):
        super().__init__()
        self.p = p
        self.eps = eps
        self.keepdims = keepdims

    def forward(self, x1, x2):
        """Return the distances, without the last axis."""
        return functional.pairwise_distance(
            x1, x2, p=self.p, eps=self.eps, keepdims=self.keepdims
        )
