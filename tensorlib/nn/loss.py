"""Losses as modules."""

from tensorlib.nn import functional
from tensorlib.nn.module import Module

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SoftmaxLoss",
]


class _Loss(Module):
    def __init__(self, reduction):
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f'{type(self).__name__}: expected reduction "mean", "sum" or "none", '
                f"got {reduction!r}"
            )
        self.reduction = reduction


class CrossEntropyLoss(_Loss):
    """Cross-entropy of logits and classes (or probabilities).

    ``-log softmax(x)[t]``; see `functional.cross_entropy`. `SoftmaxLoss`, the
    course's name, is the same class.

    Parameters
    ----------
    weight : Tensor, optional
        A factor a class, ``(C,)``.
    ignore_index : int, default -100
        Target class that counts for nothing.
    reduction : {"mean", "sum", "none"}, default "mean"
        How samples are joined.
    label_smoothing : float, default 0.0
        ε in [0, 1].

    Raises
    ------
    ValueError
        If `reduction` is unknown or `label_smoothing` outside [0, 1].

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> loss = nn.CrossEntropyLoss()(tl.zeros((2, 10)), tl.tensor([3, 7]))
    >>> round(loss.item(), 4)
    2.3026
    """

    def __init__(
        self, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
    ):
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                "CrossEntropyLoss: expected 0 <= label_smoothing <= 1, "
                f"got {label_smoothing}"
            )
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input, target):
        """Return the loss of logits ``(N, C)`` and classes ``(N,)``."""
        return functional.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index,
            reduction=self.reduction, label_smoothing=self.label_smoothing,
        )  # fmt: skip


SoftmaxLoss = CrossEntropyLoss


class NLLLoss(_Loss):
    """Negative log-likelihood of log-probabilities and classes.

    Parameters
    ----------
    weight : Tensor, optional
        A factor a class, ``(C,)``.
    ignore_index : int, default -100
        Target class that counts for nothing.
    reduction : {"mean", "sum", "none"}, default "mean"
        How samples are joined.

    Raises
    ------
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> log_p = nn.LogSoftmax(axis=1)(tl.zeros((1, 4)))
    >>> round(nn.NLLLoss()(log_p, tl.tensor([2])).item(), 4)
    1.3863
    """

    def __init__(self, weight=None, *, ignore_index=-100, reduction="mean"):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input, target):
        """Return the loss of log-probabilities ``(N, C)`` and classes ``(N,)``."""
        return functional.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index,
            reduction=self.reduction,
        )  # fmt: skip


class MSELoss(_Loss):
    """Mean squared error ``mean((x - t)²)``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How elements are joined.

    Raises
    ------
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.MSELoss()(tl.ones(3), tl.zeros(3)).item()
    1.0
    """

    def __init__(self, *, reduction="mean"):
        super().__init__(reduction)

    def forward(self, input, target):
        """Return the loss of two tensors of one shape."""
        return functional.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Mean absolute error ``mean(|x - t|)``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        How elements are joined.

    Raises
    ------
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.L1Loss(reduction="sum")(tl.ones(3), tl.zeros(3)).item()
    3.0
    """

    def __init__(self, *, reduction="mean"):
        super().__init__(reduction)

    def forward(self, input, target):
        """Return the loss of two tensors of one shape."""
        return functional.l1_loss(input, target, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits; see the function of the long name.

    Parameters
    ----------
    weight : Tensor, optional
        Factors, broadcast to the input.
    reduction : {"mean", "sum", "none"}, default "mean"
        How elements are joined.
    pos_weight : Tensor, optional
        Factors of the positive term, broadcast to the input.

    Raises
    ------
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> round(nn.BCEWithLogitsLoss()(tl.zeros(2), tl.ones(2)).item(), 4)
    0.6931
    """

    def __init__(self, weight=None, *, reduction="mean", pos_weight=None):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input, target):
        """Return the loss of logits and probabilities of one shape."""
        return functional.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight,
            reduction=self.reduction,
        )  # fmt: skip
