"""Normalization over features and over the batch."""

import tensorlib as tl
from tensorlib.nn import functional, init
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "RMSNorm",
]


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
            f"elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class _RunningNorm(Module):
    """Affine parameters and running statistics of normalizations of channels."""

    _shapes: tuple[str, ...] = ()  # of inputs, in words
    _ranks: tuple[int, ...] = ()

    def __init__(
        self, num_features, eps, momentum, affine, track_running_stats, device, dtype,
        bias,
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
        else:
            self.register_parameter("weight", None)
        if affine and bias:
            self.bias = Parameter(tl.zeros(shape, **place))
        else:
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
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check(self, input, channels):
        """Raise unless `input` has one of the ranks and C elements on an axis."""
        shape = tuple(input.shape)
        if len(shape) not in self._ranks or shape[channels] != self.num_features:
            wanted = " or ".join(self._shapes).replace("C", str(self.num_features))
            raise tl.ShapeError(
                f"{type(self).__name__}: expected {wanted}, got input.shape={shape}"
            )

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    """Normalization over the batch."""

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True,
        track_running_stats=True, device=None, dtype=None,
        *, bias=True,
    ):  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype,
            bias,
        )  # fmt: skip

    def forward(self, input):
        """Normalize `input`, of a shape that the class names, keeping its shape."""
        self._check(input, 1)
        momentum = self.momentum
        if self.training and self.track_running_stats:
            with tl.no_grad():
                self.num_batches_tracked.add_(1)
            if momentum is None:
                momentum = 1.0 / self.num_batches_tracked.item()
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None,
            0.0 if momentum is None else momentum, self.eps,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm):
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
    bias : bool, default True
        Whether there is a bias, given `affine`.

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

    _shapes = ("(N, C)", "(N, C, L)")
    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalize each channel over a batch of images, as `BatchNorm1d` does.

    Input ``(N, C, H, W)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.BatchNorm2d(3)(tl.randn(4, 3, 5, 5)).shape
    (4, 3, 5, 5)
    """

    _shapes = ("(N, C, H, W)",)
    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalize each channel over a batch of volumes, as `BatchNorm1d` does.

    Input ``(N, C, D, H, W)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.BatchNorm3d(2)(tl.randn(2, 2, 3, 3, 3)).shape
    (2, 2, 3, 3, 3)
    """

    _shapes = ("(N, C, D, H, W)",)
    _ranks = (5,)


class _InstanceNorm(_RunningNorm):
    """Normalization of each sample."""

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=False,
        track_running_stats=False, device=None, dtype=None,
        *, bias=True,
    ):  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype,
            bias,
        )  # fmt: skip

    def forward(self, input):
        """Normalize `input`, of a shape that the class names, keeping its shape."""
        batched = input.ndim == self._ranks[-1]
        self._check(input, 1 if batched else 0)
        output = functional.instance_norm(
            input if batched else tl.expand_dims(input, 0),
            self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum, self.eps,
        )  # fmt: skip
        return output if batched else output[0]


class InstanceNorm1d(_InstanceNorm):
    """Normalize each channel of each sequence by itself.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, mean and biased variance over
    the last axis. With running statistics, these are used in evaluation.

    Parameters
    ----------
    num_features : int
        Number of channels C.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float, default 0.1
        Weight of the newest batch in the running statistics.
    affine : bool, default False
        Whether there are weight and bias.
    track_running_stats : bool, default False
        Whether running statistics are kept.
    device : device, optional
        Where the parameters live.
    dtype : dtype, optional
        Their dtype; float32 by default.
    bias : bool, default True
        Whether there is a bias, given `affine`.

    Raises
    ------
    ShapeError
        In ``forward``, if the input is not ``(N, C, L)`` or ``(C, L)``.
    ValueError
        In ``forward``, if a channel of a sample has one value.

    References
    ----------
    Ulyanov et al., "Instance Normalization", arXiv:1607.08022.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> y = nn.InstanceNorm1d(1)(tl.tensor([[[1.0, 3.0]]]))
    >>> [round(v, 3) for v in y[0, 0].tolist()]
    [-1.0, 1.0]
    """

    _shapes = ("(N, C, L)", "(C, L)")
    _ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalize each channel of each image by itself, as `InstanceNorm1d` does.

    Input ``(N, C, H, W)`` or ``(C, H, W)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.InstanceNorm2d(3)(tl.randn(4, 3, 5, 5)).shape
    (4, 3, 5, 5)
    """

    _shapes = ("(N, C, H, W)", "(C, H, W)")
    _ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalize each channel of each volume by itself, as `InstanceNorm1d` does.

    Input ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.InstanceNorm3d(2)(tl.randn(2, 2, 3, 3, 3)).shape
    (2, 2, 3, 3, 3)
    """

    _shapes = ("(N, C, D, H, W)", "(C, D, H, W)")
    _ranks = (4, 5)


class GroupNorm(Module):
    """Normalize each group of channels of each sample.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, mean and biased variance over
    a group's channels and all further axes.

    Parameters
    ----------
    num_groups : int
        Number of groups; it divides `num_channels`.
    num_channels : int
        Number of channels C.
    eps : float, default 1e-5
        Added to the variance.
    affine : bool, default True
        Whether there are weight and bias, one a channel.
    device : device, optional
        Where the parameters live.
    dtype : dtype, optional
        Their dtype; float32 by default.
    bias : bool, default True
        Whether there is a bias, given `affine`.

    Raises
    ------
    ValueError
        If `num_channels` is not divisible by `num_groups`.
    ShapeError
        In ``forward``, if the input is not ``(N, C, ...)``.

    References
    ----------
    Wu and He, "Group Normalization", arXiv:1803.08494.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.GroupNorm(3, 6)(tl.randn(20, 6, 10, 10)).shape
    (20, 6, 10, 10)
    """

    def __init__(
        self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None,
        *, bias=True,
    ):  # fmt: skip
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                "GroupNorm: expected num_channels divisible by num_groups, got "
                f"{num_channels} and {num_groups}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        place = {"device": device, "dtype": dtype}
        if affine:
            self.weight = Parameter(tl.ones((num_channels,), **place))
        else:
            self.register_parameter("weight", None)
        if affine and bias:
            self.bias = Parameter(tl.zeros((num_channels,), **place))
        else:
            self.register_parameter("bias", None)

    def reset_parameters(self):
        """Set the weight to ones and the bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input):
        """Normalize `input` ``(N, C, ...)``, keeping its shape."""
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            raise tl.ShapeError(
                f"GroupNorm: expected (N, {self.num_channels}, ...), got "
                f"input.shape={tuple(input.shape)}"
            )
        return functional.group_norm(
            input, self.num_groups, self.weight, self.bias, self.eps
        )

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, "
            f"affine={self.affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divide the last axes of each sample by the root of their mean square.

    ``y = x / sqrt(mean(x²) + eps) * weight``.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        Lengths of the last axes.
    eps : float, optional
        Added to the mean; the dtype's epsilon by default.
    elementwise_affine : bool, default True
        Whether there is a weight.
    device : device, optional
        Where the parameters live.
    dtype : dtype, optional
        Their dtype; float32 by default.

    Raises
    ------
    ShapeError
        In ``forward``, if the input's last axes are not `normalized_shape`.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467,
    equation 4.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.RMSNorm(2)(tl.tensor([[3.0, 3.0]])).tolist()
    [[1.0, 1.0]]
    """

    def __init__(
        self, normalized_shape, eps=None, elementwise_affine=True, device=None,
        dtype=None,
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

    def reset_parameters(self):
        """Set the weight to ones."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input):
        """Normalize `input` ``(..., *normalized_shape)``, keeping its shape."""
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}"
        )
