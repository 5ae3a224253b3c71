"""Convolutions as modules."""

import math

import tensorlib as tl
from tensorlib.nn import functional, init
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_CHANNELS_LAST = ("NLC", "NHWC", "NDHWC")


def _tuple_of(value, count):
    """Return an int, or a sequence, as a tuple of `count` values."""
    if hasattr(value, "__index__"):
        return (value.__index__(),) * count
    value = tuple(value)
    return value * count if len(value) == 1 else value


class _Convolution(Module):
    """What convolutions of every rank share; subclasses name axes and function."""

    _layout = ""  # of the subclass, channels first
    _transposed = False

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation,
        output_padding, groups, bias, padding_mode, device, dtype, layout, generator,
    ):  # fmt: skip
        super().__init__()
        name, axes = type(self).__name__, len(self._layout) - 2
        for what, count in (
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("groups", groups),
        ):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(
                    f"{name}: expected {what} to be an int >= 1, got {count!r}"
                )
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: expected in_channels and out_channels to be divisible by "
                f"groups, got {in_channels}, {out_channels} and groups={groups}"
            )
        if padding_mode not in _PADDING_MODES[: 1 if self._transposed else 4]:
            raise ValueError(
                f"{name}: expected padding_mode in {_PADDING_MODES}, got "
                f"{padding_mode!r}"
                + ("; the transpose knows zeros only" if self._transposed else "")
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _tuple_of(kernel_size, axes)
        self.stride = _tuple_of(stride, axes)
        self.padding = padding if isinstance(padding, str) else _tuple_of(padding, axes)
        self.dilation = _tuple_of(dilation, axes)
        self.output_padding = _tuple_of(output_padding, axes)
        self.groups = groups
        self.padding_mode = padding_mode
        self.layout = self._layout if layout is None else layout
        first, second = out_channels, in_channels // groups
        if self._transposed:
            first, second = in_channels, out_channels // groups
        shape = (first, second, *self.kernel_size)
        self.weight = Parameter(tl.empty(shape, dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(tl.empty(out_channels, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw new initial values: uniform in ``±1/sqrt(fan_in)``.

        Parameters
        ----------
        generator : Generator, optional
            Source of random numbers; the default generator otherwise.
        """
        init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        fan_in = math.prod(self.weight.shape[1:])
        if self.bias is not None and fan_in:
            bound = 1 / math.sqrt(fan_in)
            init.uniform_(self.bias, -bound, bound, generator=generator)

    def _own_padding(self):
        """Return what the padding mode adds before and after each axis."""
        if self.padding == "valid":
            return [(0, 0)] * len(self.kernel_size)
        if self.padding == "same":
            totals = [
                d * (k - 1)
                for d, k in zip(self.dilation, self.kernel_size, strict=True)
            ]
            return [(total // 2, total - total // 2) for total in totals]
        return [(p, p) for p in self.padding]

    def forward(self, input):
        """Convolve `input`, of the shape that the class names."""
        padding = self.padding
        if self.padding_mode != "zeros":
            widths = [(0, 0)] * input.ndim
            first = input.ndim - len(self.kernel_size)
            first -= self.layout in _CHANNELS_LAST
            widths[first : first + len(self.kernel_size)] = self._own_padding()
            input = tl.pad(input, widths, mode=self.padding_mode)
            padding = 0
        return self._function(
            input, self.weight, self.bias, self.stride, padding, self.dilation,
            self.groups, layout=self.layout,
        )  # fmt: skip

    def multiply_adds(self, args, output):
        """Return one for each weight of a channel and place that it meets."""
        met = args[0] if self._transposed else output
        return met.size * math.prod(self.weight.shape[1:])

    def extra_repr(self):
        """Return the arguments that differ from their defaults."""
        text = (
            f"{self.in_channels}, {self.out_channels}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}"
        )
        ones, zeros = (1,) * len(self.kernel_size), (0,) * len(self.kernel_size)
        for name, default in (
            ("padding", zeros),
            ("dilation", ones),
            ("output_padding", zeros),
            ("groups", 1),
        ):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text if self.layout == self._layout else f"{text}, layout={self.layout}"


class _Conv(_Convolution):
    """Convolutions, as against their transposes."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
        groups=1, bias=True, padding_mode="zeros", device=None, dtype=None,
        *, layout=None, generator=None,
    ):  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0,
            groups, bias, padding_mode, device, dtype, layout, generator,
        )  # fmt: skip


class Conv2d(_Conv):
    """Convolve images with learned filters; see `tensorlib.conv2d` for the formula.

    Weight and bias start uniform in ``±1/sqrt(fan_in)``, fan_in being
    ``in_channels / groups * kH * kW``.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int or (int, int)
        Extents of the filters.
    stride, dilation : int or (int, int), default 1
        From window to window, and from tap to tap of one.
    padding : int, (int, int), "valid" or "same", default 0
        What is added on both sides of each axis.
    groups : int, default 1
        Groups of channels that do not mix.
    bias : bool, default True
        Whether there is a bias.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, default "zeros"
        What the padding holds; see `tensorlib.pad`.
    device : device, optional
        Where the parameters live.
    dtype : dtype, optional
        Their dtype; float32 by default.
    layout : {"NCHW", "NHWC"}, optional
        Order of the input's axes.
    generator : Generator, optional
        Source of the initial values; the default generator otherwise.

    Attributes
    ----------
    weight : Parameter
        Shape ``(out_channels, in_channels / groups, kH, kW)`` in either layout.
    bias : Parameter or None
        Shape ``(out_channels,)``.

    Raises
    ------
    ValueError
        If channels are not positive or not divisible by `groups`.
    ShapeError
        In ``forward``, if the input does not fit.

    References
    ----------
    LeCun et al., "Gradient-Based Learning Applied to Document Recognition",
    Proc. IEEE 86 (1998), section II.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Conv2d(3, 16, 3, padding=1)(tl.zeros((8, 3, 32, 32))).shape
    (8, 16, 32, 32)
    """

    _layout = "NCHW"
    _function = staticmethod(functional.conv2d)


class Conv1d(_Conv):
    """Convolve sequences with learned filters; parameters as of `Conv2d`.

    Input ``(N, C, L)`` or ``(C, L)``; weight ``(out, in / groups, kL)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Conv1d(4, 8, 3, stride=2)(tl.zeros((2, 4, 9))).shape
    (2, 8, 4)
    """

    _layout = "NCL"
    _function = staticmethod(functional.conv1d)


class Conv3d(_Conv):
    """Convolve volumes with learned filters; parameters as of `Conv2d`.

    Input ``(N, C, D, H, W)`` or ``(C, D, H, W)``; weight
    ``(out, in / groups, kD, kH, kW)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Conv3d(1, 2, 3, padding="same")(tl.zeros((1, 1, 4, 5, 6))).shape
    (1, 2, 4, 5, 6)
    """

    _layout = "NCDHW"
    _function = staticmethod(functional.conv3d)


class _ConvTranspose(_Convolution):
    """Transposes of convolutions."""

    _transposed = True

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0,
        output_padding=0, groups=1, bias=True, dilation=1, padding_mode="zeros",
        device=None, dtype=None, *, layout=None, generator=None,
    ):  # fmt: skip
        if isinstance(padding, str):
            raise ValueError(
                f"{type(self).__name__}: expected padding to be ints, got {padding!r}"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation,
            output_padding, groups, bias, padding_mode, device, dtype, layout,
            generator,
        )  # fmt: skip

    def forward(self, input, output_size=None):
        """Return the transposed convolution of `input`.

        Parameters
        ----------
        input : Tensor
            Of the shape that the class names.
        output_size : sequence of int, optional
            Extents of the result, where the stride leaves a choice of several; takes
            the place of `output_padding`.
        """
        extra = self.output_padding
        if output_size is not None:
            extra = self._padding_for(input, output_size)
        return self._function(
            input, self.weight, self.bias, self.stride, self.padding, extra,
            self.groups, self.dilation, layout=self.layout,
        )  # fmt: skip

    def _padding_for(self, input, output_size):
        axes = len(self.kernel_size)
        wanted = tuple(output_size)[-axes:]
        last = self.layout in _CHANNELS_LAST
        sizes = input.shape[-axes - 1 : -1] if last else input.shape[-axes:]
        extra = []
        for n, w, s, p, d, k in zip(
            sizes, wanted, self.stride, self.padding, self.dilation, self.kernel_size,
            strict=True,
        ):  # fmt: skip
            least = (n - 1) * s - 2 * p + d * (k - 1) + 1
            if not least <= w < least + max(s, d):
                raise ValueError(
                    f"{type(self).__name__}: expected output_size in [{least}, "
                    f"{least + max(s, d)}) for {n} elements, got {output_size}"
                )
            extra.append(w - least)
        return tuple(extra)


class ConvTranspose2d(_ConvTranspose):
    """Apply the transpose of a convolution of images, as generators do to upsample.

    See `tensorlib.conv_transpose2d`. Weight and bias start uniform in
    ``±1/sqrt(out_channels / groups * kH * kW)``.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int or (int, int)
        Extents of the filters.
    stride, dilation : int or (int, int), default 1
        From copy to copy of the filter, and from tap to tap of one.
    padding : int or (int, int), default 0
        What is cut off from both sides of each axis.
    output_padding : int or (int, int), default 0
        What is added after each axis.
    groups : int, default 1
        Groups of channels that do not mix.
    bias : bool, default True
        Whether there is a bias.
    padding_mode : {"zeros"}
        Accepted so that scripts port.
    device : device, optional
        Where the parameters live.
    dtype : dtype, optional
        Their dtype; float32 by default.
    layout : {"NCHW", "NHWC"}, optional
        Order of the input's axes.
    generator : Generator, optional
        Source of the initial values; the default generator otherwise.

    Attributes
    ----------
    weight : Parameter
        Shape ``(in_channels, out_channels / groups, kH, kW)`` in either layout.
    bias : Parameter or None
        Shape ``(out_channels,)``.

    Raises
    ------
    ValueError
        If channels are not positive or not divisible by `groups`.
    ShapeError
        In ``forward``, if the input does not fit.

    References
    ----------
    Radford et al., "Unsupervised Representation Learning with Deep Convolutional
    Generative Adversarial Networks", arXiv:1511.06434, section 3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> layer = nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)
    >>> layer(tl.zeros((1, 8, 7, 7))).shape
    (1, 4, 14, 14)
    """

    _layout = "NCHW"
    _function = staticmethod(functional.conv_transpose2d)


class ConvTranspose1d(_ConvTranspose):
    """Apply the transpose of a convolution of sequences, as `ConvTranspose2d`.

    Input ``(N, C, L)`` or ``(C, L)``; weight ``(in, out / groups, kL)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ConvTranspose1d(4, 2, 3, stride=2)(tl.zeros((1, 4, 5))).shape
    (1, 2, 11)
    """

    _layout = "NCL"
    _function = staticmethod(functional.conv_transpose1d)


class ConvTranspose3d(_ConvTranspose):
    """Apply the transpose of a convolution of volumes, as `ConvTranspose2d`.

    Input ``(N, C, D, H, W)`` or ``(C, D, H, W)``; weight
    ``(in, out / groups, kD, kH, kW)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ConvTranspose3d(2, 1, 2, stride=2)(tl.zeros((1, 2, 3, 3, 3))).shape
    (1, 1, 6, 6, 6)
    """

    _layout = "NCDHW"
    _function = staticmethod(functional.conv_transpose3d)
