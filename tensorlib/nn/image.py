"""Resizing and rearranging of images, as modules."""

from tensorlib.nn import functional
from tensorlib.nn.module import Module

__all__ = [
    "ChannelShuffle",
    "Fold",
    "PixelShuffle",
    "PixelUnshuffle",
    "Unfold",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
]


class Upsample(Module):
    """Resize sequences, images or volumes; see `functional.interpolate`.

    Parameters
    ----------
    size : int or tuple of int, optional
        Extents of the result.
    scale_factor : float or tuple of float, optional
        Factors of the extents instead.
    mode : str, default "nearest"
        "nearest", "nearest-exact", "area", "linear", "bilinear" or "trilinear".
    align_corners : bool, optional
        Of the linear modes.
    recompute_scale_factor : bool, optional
        Whether positions follow from the extents instead of `scale_factor` itself.

    Raises
    ------
    ValueError
        In ``forward``, if the arguments do not fit.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Upsample(scale_factor=2)(tl.zeros((1, 3, 4, 5))).shape
    (1, 3, 8, 10)
    """

    def __init__(
        self, size=None, scale_factor=None, mode="nearest", align_corners=None,
        recompute_scale_factor=None,
    ):  # fmt: skip
        super().__init__()
        self.size = size
        self.scale_factor = scale_factor
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple(float(f) for f in scale_factor)
        elif scale_factor is not None:
            self.scale_factor = float(scale_factor)
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input):
        """Resize `input` ``(N, C, ...)``."""
        return functional.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners,
            self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self):
        """Return size or factor, and the mode."""
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor}, mode={self.mode!r}"
        return f"size={self.size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Resize images by the nearest element: `Upsample` of that mode.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.UpsamplingNearest2d(scale_factor=2)(tl.ones((1, 1, 1, 1))).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Resize images bilinearly with aligned corners: `Upsample` of that mode.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.UpsamplingBilinear2d(size=(1, 3))(tl.tensor([[[[0.0, 1.0]]]])).tolist()
    [[[[0.0, 0.5, 1.0]]]]
    """

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    """Rearrange channels into pixels; see `functional.pixel_shuffle`.

    Parameters
    ----------
    upscale_factor : int
        Factor of both extents.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.PixelShuffle(2)(tl.zeros((1, 12, 4, 5))).shape
    (1, 3, 8, 10)
    """

    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        """Map ``(..., C r², H, W)`` to ``(..., C, H r, W r)``."""
        return functional.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self):
        """Return the factor."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Rearrange pixels into channels; see `functional.pixel_unshuffle`.

    Parameters
    ----------
    downscale_factor : int
        Divisor of both extents.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.PixelUnshuffle(2)(tl.zeros((1, 3, 8, 10))).shape
    (1, 12, 4, 5)
    """

    def __init__(self, downscale_factor):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input):
        """Map ``(..., C, H r, W r)`` to ``(..., C r², H, W)``."""
        return functional.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self):
        """Return the divisor."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Interleave groups of channels; see `functional.channel_shuffle`.

    Parameters
    ----------
    groups : int
        Number of groups.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ChannelShuffle(2)(tl.arange(4).reshape((1, 4))).tolist()
    [[0, 2, 1, 3]]
    """

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        """Rearrange `input` ``(N, C, ...)``."""
        return functional.channel_shuffle(input, self.groups)

    def extra_repr(self):
        """Return the number of groups."""
        return f"groups={self.groups}"


class Unfold(Module):
    """Return patches as columns; see `tensorlib.unfold`.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Extents of the window.
    dilation : int or (int, int), default 1
        From element to element of a window.
    padding : int or (int, int), default 0
        Zeros on both sides of each axis.
    stride : int or (int, int), default 1
        From window to window.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Unfold((2, 3))(tl.zeros((2, 5, 3, 4))).shape
    (2, 30, 4)
    """

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        """Unfold `input` ``(N, C, H, W)`` or ``(C, H, W)``."""
        return functional.unfold(
            input, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Fold(Module):
    """Sum patches into images; see `tensorlib.fold`.

    Parameters
    ----------
    output_size : int or (int, int)
        Extents of the images.
    kernel_size : int or (int, int)
        Extents of the window.
    dilation : int or (int, int), default 1
        From element to element of a window.
    padding : int or (int, int), default 0
        What is cut off from both sides of each axis.
    stride : int or (int, int), default 1
        From window to window.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Fold((3, 4), (2, 3))(tl.zeros((2, 30, 4))).shape
    (2, 5, 3, 4)
    """

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        """Fold `input` ``(N, C kH kW, L)`` or ``(C kH kW, L)``."""
        return functional.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding,
            self.stride,
        )  # fmt: skip

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
