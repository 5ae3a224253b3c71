"""Layers and losses as functions, under PyTorch's names.

Functions of the array namespace are re-exported; those that exist only here are
compositions of its operations.
"""

import tensorlib as tl
from tensorlib import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    celu,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    ctc_loss,
    dropout,
    elu,
    embedding,
    gelu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    layer_norm,
    leaky_relu,
    linear,
    log_softmax,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    mish,
    one_hot,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from tensorlib import log_sigmoid as logsigmoid
from tensorlib.nn.cross_entropy import cross_entropy, nll_loss
from tensorlib.nn.distances import (
    cosine_embedding_loss,
    cosine_similarity,
    hinge_embedding_loss,
    margin_ranking_loss,
    normalize,
    pairwise_distance,
    triplet_margin_loss,
)
from tensorlib.nn.dropout_functions import (
    alpha_dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from tensorlib.nn.loss_functions import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
)

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "feature_alpha_dropout",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pairwise_distance",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
]


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
