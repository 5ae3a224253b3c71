"""Fold batch normalization of running statistics into the layer before it.

In evaluation ``BatchNorm`` is an affine map of each channel, with
``s = weight / sqrt(running_var + eps)``:

    y = (z - running_mean) s + bias

and so, after ``z = W x + b``, a layer with weight ``s W`` and bias
``(b - running_mean) s + bias`` [1]_.

References
----------
.. [1] B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
   Integer-Arithmetic-Only Inference", CVPR 2018, equation 14.
"""

import copy

import tensorlib as tl
from tensorlib.core.errors import ShapeError
from tensorlib.nn.parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]


def _folded(name, w, b, axis, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """Weight, whose `axis` counts the outputs, and bias as Parameters."""
    if bn_rm.shape != (w.shape[axis],):
        raise ShapeError(
            f"{name}: expected statistics of as many channels as the layer has "
            f"outputs, {w.shape[axis]}, got shape {bn_rm.shape}"
        )
    with tl.no_grad():
        scale = tl.rsqrt(bn_rv + bn_eps)
        if bn_w is not None:
            scale = scale * bn_w
        along = [1] * w.ndim
        along[axis] = -1
        bias = -bn_rm * scale if b is None else (b - bn_rm) * scale
        if bn_b is not None:
            bias = bias + bn_b
        weight = w * tl.reshape(scale, along)
    kept = w.requires_grad if b is None else b.requires_grad
    return (
        Parameter(tl.astype(weight, w.dtype), requires_grad=w.requires_grad),
        Parameter(tl.astype(bias, w.dtype), requires_grad=kept),
    )


def _fused(name, layer, bn, fold):
    for module in (layer, bn):
        if module.training:
            raise ValueError(
                f"{name}: expected modules in evaluation, got {type(module).__name__} "
                "in training; call its eval() first"
            )
    if bn.running_mean is None:
        raise ValueError(
            f"{name}: expected running statistics, got {type(bn).__name__} with "
            "track_running_stats=False"
        )
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = fold(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight,
        bn.bias,
    )  # fmt: skip
    return fused


def fuse_conv_bn_eval(conv, bn, transpose=False):
    """Return one convolution that does what `conv` and then `bn` do in evaluation.

    Parameters
    ----------
    conv : Module
        A convolution of any rank, in evaluation (``eval()``).
    bn : Module
        The batch normalization after it, in evaluation, with running statistics.
    transpose : bool, default False
        Whether `conv` is a transposed convolution; of one group.

    Returns
    -------
    Module
        A copy of `conv` with other parameters, always with a bias. Both arguments
        stay as they are.

    Raises
    ------
    ValueError
        If a module is in training, `bn` has no running statistics, or a transposed
        convolution has several groups.
    ShapeError
        If `bn` has not as many channels as `conv` has outputs.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> conv, bn = nn.Conv2d(1, 2, 3).eval(), nn.BatchNorm2d(2).eval()
    >>> x = tl.rand(1, 1, 5, 5)
    >>> bool(tl.allclose(nn.utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x))))
    True
    """
    if transpose and conv.groups != 1:
        raise ValueError(
            "fuse_conv_bn_eval: expected a transposed convolution of one group, got "
            f"groups={conv.groups}"
        )

    def fold(*tensors):
        return fuse_conv_bn_weights(*tensors, transpose=transpose)

    return _fused("fuse_conv_bn_eval", conv, bn, fold)


def fuse_conv_bn_weights(
    conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False
):
    """Return weight and bias of a convolution with the normalization folded in.

    Parameters
    ----------
    conv_w : Tensor
        Weight, shape ``(out, in // groups, *kernel_size)``; of a transposed
        convolution ``(in, out, *kernel_size)``.
    conv_b : Tensor or None
        Bias, shape ``(out,)``.
    bn_rm, bn_rv : Tensor
        Running mean and variance, shape ``(out,)``.
    bn_eps : float
        What is added to the variance.
    bn_w, bn_b : Tensor or None
        Weight and bias of the normalization, shape ``(out,)``; 1 and 0 if None.
    transpose : bool, default False
        Whether the convolution is a transposed one.

    Returns
    -------
    tuple of Parameter
        Weight and bias, in the dtype of `conv_w`.

    Raises
    ------
    ShapeError
        If the statistics have another number of channels.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> w, mean, var = tl.ones((1, 1, 1)), tl.ones(1), tl.full((1,), 4.0)
    >>> w, b = nn.utils.fuse_conv_bn_weights(w, None, mean, var, 0.0, None, None)
    >>> w.item(), b.item()
    (0.5, -0.5)
    """
    return _folded(
        "fuse_conv_bn_weights", conv_w, conv_b, int(transpose), bn_rm, bn_rv, bn_eps,
        bn_w, bn_b,
    )  # fmt: skip


def fuse_linear_bn_eval(linear, bn):
    """Return one linear layer that does what `linear` and then `bn` do in evaluation.

    Parameters
    ----------
    linear : Linear
        In evaluation (``eval()``).
    bn : BatchNorm1d
        The normalization after it, in evaluation, with running statistics.

    Returns
    -------
    Linear
        A copy of `linear` with other parameters, always with a bias.

    Raises
    ------
    ValueError
        If a module is in training or `bn` has no running statistics.
    ShapeError
        If `bn` has not as many channels as `linear` has outputs.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> linear, bn = nn.Linear(3, 2).eval(), nn.BatchNorm1d(2).eval()
    >>> x = tl.rand(4, 3)
    >>> bool(tl.allclose(nn.utils.fuse_linear_bn_eval(linear, bn)(x), bn(linear(x))))
    True
    """
    return _fused("fuse_linear_bn_eval", linear, bn, fuse_linear_bn_weights)


def fuse_linear_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """Return weight and bias of a linear layer with the normalization folded in.

    Parameters
    ----------
    linear_w : Tensor
        Weight, shape ``(out, in)``.
    linear_b : Tensor or None
        Bias, shape ``(out,)``.
    bn_rm, bn_rv : Tensor
        Running mean and variance, shape ``(out,)``.
    bn_eps : float
        What is added to the variance.
    bn_w, bn_b : Tensor or None
        Weight and bias of the normalization, shape ``(out,)``; 1 and 0 if None.

    Returns
    -------
    tuple of Parameter
        Weight and bias, in the dtype of `linear_w`.

    Raises
    ------
    ShapeError
        If the statistics have another number of channels.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> w, mean, var = tl.ones((1, 2)), tl.ones(1), tl.full((1,), 4.0)
    >>> w, b = nn.utils.fuse_linear_bn_weights(w, None, mean, var, 0.0, None, None)
    >>> w.tolist(), b.tolist()
    ([[0.5, 0.5]], [-0.5])
    """
    return _folded(
        "fuse_linear_bn_weights", linear_w, linear_b, 0, bn_rm, bn_rv, bn_eps, bn_w,
        bn_b,
    )  # fmt: skip
