"""Losses as modules."""

from tensorlib.nn import functional
from tensorlib.nn.module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "SoftmaxLoss",
]


class ReducedLoss(Module):
    _reductions: tuple[str, ...] = ("mean", "sum", "none")

    def __init__(self, reduction):
        super().__init__()
        if reduction not in self._reductions:
            raise ValueError(
                f"{type(self).__name__}: expected reduction one of {self._reductions}, "
                f"got {reduction!r}"
            )
        self.reduction = reduction


class CrossEntropyLoss(ReducedLoss):
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


class NLLLoss(ReducedLoss):
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


class MSELoss(ReducedLoss):
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


class L1Loss(ReducedLoss):
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


class BCEWithLogitsLoss(ReducedLoss):
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


class SmoothL1Loss(ReducedLoss):
    """Absolute error, squared near 0.

    See `functional.smooth_l1_loss`.

    Parameters
    ----------
    beta : float, default 1.0
        Where the two forms meet.
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
    >>> nn.SmoothL1Loss()(tl.tensor([0.5, 3.0]), tl.zeros(2)).item()
    1.3125
    """

    def __init__(self, *, beta=1.0, reduction="mean"):
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input, target):
        """Return the loss of two tensors of one shape."""
        return functional.smooth_l1_loss(
            input, target, beta=self.beta, reduction=self.reduction
        )


class HuberLoss(ReducedLoss):
    """Squared error, linear far from 0.

    See `functional.huber_loss`.

    Parameters
    ----------
    delta : float, default 1.0
        Where the two forms meet.
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
    >>> nn.HuberLoss()(tl.tensor([1.0, 3.0]), tl.zeros(2)).item()
    1.5
    """

    def __init__(self, *, delta=1.0, reduction="mean"):
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input, target):
        """Return the loss of two tensors of one shape."""
        return functional.huber_loss(
            input, target, delta=self.delta, reduction=self.reduction
        )


class BCELoss(ReducedLoss):
    """Binary cross-entropy of probabilities.

    See `functional.binary_cross_entropy`.

    Parameters
    ----------
    weight : Tensor, optional
        Factors, broadcast to the input.
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
    >>> nn.BCELoss()(tl.ones(2), tl.ones(2)).item()
    0.0
    """

    def __init__(self, weight=None, *, reduction="mean"):
        super().__init__(reduction)
        self.register_buffer("weight", weight)

    def forward(self, input, target):
        """Return the loss of two tensors of probabilities."""
        return functional.binary_cross_entropy(
            input, target, weight=self.weight, reduction=self.reduction
        )


class KLDivLoss(ReducedLoss):
    """Kullback-Leibler divergence of log-probabilities from a target.

    See `functional.kl_div`.

    Parameters
    ----------
    log_target : bool, default False
        Whether the target is in logarithms.
    reduction : {"mean", "batchmean", "sum", "none"}, default "mean"
        How elements are joined.

    Raises
    ------
    ValueError
        If an option is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.KLDivLoss(reduction="sum")(tl.zeros(1), tl.ones(1)).item()
    0.0
    """

    _reductions = ("mean", "batchmean", "sum", "none")

    def __init__(self, *, log_target=False, reduction="mean"):
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input, target):
        """Return the divergence of log-probabilities from probabilities."""
        return functional.kl_div(
            input, target, log_target=self.log_target, reduction=self.reduction
        )


class SoftMarginLoss(ReducedLoss):
    """Logistic loss of scores and signs.

    See `functional.soft_margin_loss`.

    Parameters
    ----------
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
    >>> round(nn.SoftMarginLoss()(tl.zeros(1), tl.ones(1)).item(), 4)
    0.6931
    """

    def __init__(self, *, reduction="mean"):
        super().__init__(reduction)

    def forward(self, input, target):
        """Return the loss of scores and targets of 1 and -1."""
        return functional.soft_margin_loss(input, target, reduction=self.reduction)


class GaussianNLLLoss(ReducedLoss):
    """Negative log-likelihood of normal distributions.

    See `functional.gaussian_nll_loss`.

    Parameters
    ----------
    full : bool, default False
        Whether the constant is added.
    eps : float, default 1e-6
        The least variance.
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
    >>> nn.GaussianNLLLoss()(tl.ones(1), tl.zeros(1), tl.ones(1)).item()
    0.5
    """

    def __init__(self, *, full=False, eps=1e-6, reduction="mean"):
        super().__init__(reduction)
        self.full = full
        self.eps = eps

    def forward(self, input, target, var):
        """Return the loss of means, samples and variances."""
        return functional.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
        )


class PoissonNLLLoss(ReducedLoss):
    """Negative log-likelihood of Poisson distributions.

    See `functional.poisson_nll_loss`.

    Parameters
    ----------
    log_input : bool, default True
        Whether rates are in logarithms.
    full : bool, default False
        Whether Stirling's form of the logarithm of ``target!`` is added.
    eps : float, default 1e-8
        Keeps the logarithm of a rate of 0 finite.
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
    >>> nn.PoissonNLLLoss()(tl.zeros(1), tl.ones(1)).item()
    1.0
    """

    def __init__(self, log_input=True, full=False, *, eps=1e-8, reduction="mean"):
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, input, target):
        """Return the loss of rates and counts."""
        return functional.poisson_nll_loss(
            input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class CTCLoss(ReducedLoss):
    """Connectionist temporal classification: labels without their places in time.

    See `functional.ctc_loss`.

    Parameters
    ----------
    blank : int, default 0
        The class that stands for no label.
    reduction : {"mean", "sum", "none"}, default "mean"
        How sequences are joined; "mean" first divides by the number of labels.
    zero_infinity : bool, default False
        Whether the losses of labels that do not fit are 0 rather than infinite.

    Raises
    ------
    ValueError
        If `reduction` is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> log_p = tl.log_softmax(tl.zeros((4, 1, 3)), axis=2)
    >>> round(nn.CTCLoss()(log_p, tl.tensor([[1, 2]]), [4], [2]).item(), 4)
    0.8432
    """

    def __init__(self, blank=0, reduction="mean", zero_infinity=False):
        super().__init__(reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        """Return the loss of log-probabilities ``(T, N, C)`` and labels ``(N, S)``."""
        return functional.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank,
            self.reduction, self.zero_infinity,
        )  # fmt: skip
