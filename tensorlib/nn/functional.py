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
    batch_norm,
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
    fold,
    gelu,
    glu,
    group_norm,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    instance_norm,
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
    rms_norm,
    scaled_dot_product_attention,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
    unfold,
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
from tensorlib.nn.image_functions import (
    channel_shuffle,
    interpolate,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
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
    "channel_shuffle",
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
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
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
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "scaled_dot_product_attention",
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
    "unfold",
]


def embedding(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0,
    scale_grad_by_freq=False, sparse=False,
):  # fmt: skip
    """Look up rows of a table: ``y[...] = weight[input[...]]``.

    Parameters
    ----------
    input : Tensor
        Integers in 0..V-1, shape ``(...)``.
    weight : Tensor
        The table, shape ``(V, D)``.
    padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        As in `tensorlib.nn.Embedding`.

    Returns
    -------
    Tensor
        Shape ``(..., D)``.

    Raises
    ------
    ValueError
        If `padding_idx` is no row, or `sparse` asked for.
    IndexError
        If an index is outside 0..V-1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.functional.embedding(tl.tensor([2, 0]), tl.eye(3)).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if sparse:
        raise ValueError("embedding: gradients are dense; pass sparse=False")
    if max_norm is not None and input.size:
        _limit_norms(input, weight, max_norm, norm_type)
    rows = tl.embedding(input, weight)
    if padding_idx is not None and not -len(weight) <= padding_idx < len(weight):
        raise ValueError(
            f"embedding: padding_idx {padding_idx} is out of range for "
            f"{len(weight)} rows"
        )
    if not rows.requires_grad:
        return rows
    if scale_grad_by_freq:
        # The value is kept; only a share of the gradient goes on.
        hits = tl.one_hot(input.reshape((-1,)), len(weight)).sum(axis=0)
        share = 1.0 / tl.take(hits, input.reshape((-1,)), axis=0)
        share = share.reshape((*input.shape, 1)).astype(rows.dtype)
        rows = rows.detach() + (rows - rows.detach()) * share
    if padding_idx is not None:
        # The value is kept; the constant branch stops the gradient.
        padding = tl.expand_dims(input == padding_idx % len(weight), axis=-1)
        rows = tl.where(padding, rows.detach(), rows)
    return rows


def _limit_norms(index, weight, max_norm, norm_type):
    """Scale the rows of `weight` at `index` that are longer, in place."""
    with tl.no_grad():
        index = index.reshape((-1,))
        rows = tl.embedding(index, weight).detach()
        norms = pairwise_distance(
            rows, tl.zeros_like(rows), norm_type, 0.0, keepdims=True
        )
        scale = tl.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
        weight[index] = rows * scale


def softplus(input, beta=1.0, threshold=20.0):
    """Return ``log(1 + exp(beta x)) / beta`` of each element x.

    Parameters
    ----------
    input : Tensor
        Floating-point, any shape.
    beta : float, default 1.0
        Sharpness.
    threshold : float, default 20.0
        Accepted so that scripts port; the formula used is accurate for every x.

    Raises
    ------
    ValueError
        If `beta` is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> round(tl.nn.functional.softplus(tl.zeros(1), beta=2.0).item(), 4)
    0.3466
    """
    if beta == 0:
        raise ValueError("softplus: expected beta != 0, got 0")
    return tl.softplus(input) if beta == 1 else tl.softplus(input * beta) / beta
