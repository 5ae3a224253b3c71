"""Normalization over features and over the batch."""

import tensorlib as tl
from tensorlib.nn import functional, init
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = ["BatchNorm1d", "LayerNorm"]


class LayerNorm(Module):
    """Normalize the last axes of each sample.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, mean and biased variance
    over the axes of `normalized_shape`.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        Lengths of the last axes.
    eps : float, default 1e-5
        Added to the variance.
    elementwise_affine : bool, default True
        Whether there are weight and bias.
    bias : bool, default True
        Whether there is a bias, given `elementwise_affine`.
    device : device, optional
        Where the parameters live.
    dtype : dtype, optional
        Their dtype; float32 by default.

    Attributes
    ----------
    weight, bias : Parameter or None
        Shape `normalized_shape`; ones and zeros at the start.

    Raises
    ------
    ShapeError
        In ``forward``, if the input's last axes are not `normalized_shape`.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450, equation 3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> y = nn.LayerNorm(4)(tl.tensor([[1.0, 2.0, 3.0, 4.0]]))
    >>> [round(v, 3) for v in y[0].tolist()]
    [-1.342, -0.447, 0.447, 1.342]
    """

    def __init__(
        self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True,
        device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        if isinstance(normalized_shape, int):
            normalized_shape = (normalized_shape,)
        self.normalized_shape = tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        place = {"device": device, "dtype": dtype}
        if elementwise_affine:
            self.weight = Parameter(tl.ones(self.normalized_shape, **place))
        else:
            self.register_parameter("weight", None)
        if elementwise_affine and bias:
            self.bias = Parameter(tl.zeros(self.normalized_shape, **place))
        else:
            self.register_parameter("bias", None)

    def reset_parameters(self):
        """Set the weight to ones and the bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input):
        """Normalize `input` ``(..., *normalized_shape)``, keeping its shape."""
        return tl.layer_norm(
            input, self.normalized_shape, self.weight, self.bias, self.eps
        )

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}"
        )


class BatchNorm1d(Module):
    """Normalize each channel over the batch.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``. In training, mean and
    biased variance are the batch's, and the running ones move by
    ``running = (1 - momentum) running + momentum batch`` (with the unbiased
    variance); in evaluation the running ones are used.

    Parameters
    ----------
    num_features : int
        Number of channels C.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float or None, default 0.1
        Weight of the newest batch; None averages all batches equally.
    affine : bool, default True
        Whether there are weight and bias.
    track_running_stats : bool, default True
        Whether running statistics are kept; without them the batch's are used in
        evaluation too.
    device : device, optional
        Where the parameters live.
    dtype : dtype, optional
        Their dtype; float32 by default.

    Attributes
    ----------
    weight, bias : Parameter or None
        Shape ``(C,)``; ones and zeros at the start.
    running_mean, running_var : Tensor or None
        Buffers of shape ``(C,)``; zeros and ones at the start.
    num_batches_tracked : Tensor or None
        Buffer, int64, shape ``()``.

    Raises
    ------
    ShapeError
        In ``forward``, if the input is not ``(N, C)`` or ``(N, C, L)``.
    ValueError
        In ``forward`` in training, if there is one value a channel.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167, algorithm 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> layer = nn.BatchNorm1d(1)
    >>> layer(tl.tensor([[1.0], [3.0]])).shape
    (2, 1)
    >>> [round(v, 2) for v in (layer.running_mean.item(), layer.running_var.item())]
    [0.2, 1.1]
    """

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True,
        track_running_stats=True, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        place = {"device": device, "dtype": dtype}
        shape = (num_features,)
        if affine:
            self.weight = Parameter(tl.ones(shape, **place))
            self.bias = Parameter(tl.zeros(shape, **place))
        else:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        if track_running_stats:
            self.register_buffer("running_mean", tl.zeros(shape, **place))
            self.register_buffer("running_var", tl.ones(shape, **place))
            count = tl.zeros((), dtype=tl.int64, device=device)
            self.register_buffer("num_batches_tracked", count)
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)

    def reset_running_stats(self):
        """Set the running mean to 0, the variance to 1 and the count to 0."""
        if self.track_running_stats:
            self.running_mean.fill_(0)
            self.running_var.fill_(1)
            self.num_batches_tracked.fill_(0)

    def reset_parameters(self):
        """Reset the running statistics, the weight to ones, the bias to zeros."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, input):
        """Normalize `input` ``(N, C)`` or ``(N, C, L)``, keeping its shape."""
        shape = input.shape
        if len(shape) not in (2, 3) or shape[1] != self.num_features:
            raise tl.ShapeError(
                f"BatchNorm1d: expected (N, {self.num_features}) or "
                f"(N, {self.num_features}, L), got input.shape={tuple(shape)}"
            )
        momentum = self.momentum
        if self.training and self.track_running_stats:
            with tl.no_grad():
                self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / self.num_batches_tracked.item()
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, momentum, self.eps,
        )  # fmt: skip

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )
