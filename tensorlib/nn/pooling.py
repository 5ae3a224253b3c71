"""Pooling as modules."""

from tensorlib.nn import functional
from tensorlib.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]


class _MaxPool(Module):
    """The largest element of each window."""

    _layout = ""  # of the subclass, channels first

    def __init__(
        self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False,
        ceil_mode=False, *, layout=None,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode
        self.layout = self._layout if layout is None else layout

    def forward(self, input):
        """Pool `input`, of the shape that the class names."""
        return self._function(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            self.ceil_mode, self.return_indices, layout=self.layout,
        )  # fmt: skip

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool2d(_MaxPool):
    """Take the largest element of each window of images; see `tensorlib.max_pool2d`.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Extents of a window.
    stride : int or (int, int), optional
        From window to window; `kernel_size` by default.
    padding : int or (int, int), default 0
        -inf on both sides of each axis; at most half a window.
    dilation : int or (int, int), default 1
        From element to element of a window.
    return_indices : bool, default False
        Whether places are returned too.
    ceil_mode : bool, default False
        Whether a last window may reach beyond the padding.
    layout : {"NCHW", "NHWC"}, optional
        Order of the input's axes.

    Raises
    ------
    ValueError
        In ``forward``, if an argument is out of range.
    ShapeError
        In ``forward``, if the input does not fit.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.MaxPool2d(2)(tl.zeros((8, 16, 28, 28))).shape
    (8, 16, 14, 14)
    """

    _layout = "NCHW"
    _function = staticmethod(functional.max_pool2d)


class MaxPool1d(_MaxPool):
    """Take the largest element of each window of sequences, as `MaxPool2d`.

    Input ``(N, C, L)`` or ``(C, L)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.MaxPool1d(2)(tl.tensor([[1.0, 3.0, 2.0, 4.0]])).tolist()
    [[3.0, 4.0]]
    """

    _layout = "NCL"
    _function = staticmethod(functional.max_pool1d)


class MaxPool3d(_MaxPool):
    """Take the largest element of each window of volumes, as `MaxPool2d`.

    Input ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.MaxPool3d(2)(tl.zeros((1, 1, 4, 4, 4))).shape
    (1, 1, 2, 2, 2)
    """

    _layout = "NCDHW"
    _function = staticmethod(functional.max_pool3d)


class _AvgPool(Module):
    """The mean of each window."""

    _layout = ""  # of the subclass, channels first

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False,
        count_include_pad=True, divisor_override=None, *, layout=None,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override
        self.layout = self._layout if layout is None else layout

    def forward(self, input):
        """Pool `input`, of the shape that the class names."""
        return self._function(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override, layout=self.layout,
        )  # fmt: skip

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}"
        )


class AvgPool2d(_AvgPool):
    """Take the mean of each window of images; see `tensorlib.avg_pool2d`.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Extents of a window.
    stride : int or (int, int), optional
        From window to window; `kernel_size` by default.
    padding : int or (int, int), default 0
        Zeros on both sides of each axis; at most half a window.
    ceil_mode : bool, default False
        Whether a last window may reach beyond the padding.
    count_include_pad : bool, default True
        Whether zeros of the padding count as elements.
    divisor_override : int, optional
        What the sums are divided by instead.
    layout : {"NCHW", "NHWC"}, optional
        Order of the input's axes.

    Raises
    ------
    ValueError
        In ``forward``, if an argument is out of range.
    ShapeError
        In ``forward``, if the input does not fit.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AvgPool2d(2)(tl.zeros((8, 16, 28, 28))).shape
    (8, 16, 14, 14)
    """

    _layout = "NCHW"
    _function = staticmethod(functional.avg_pool2d)


class AvgPool1d(_AvgPool):
    """Take the mean of each window of sequences, as `AvgPool2d`.

    Input ``(N, C, L)`` or ``(C, L)``; there is no `divisor_override`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AvgPool1d(2)(tl.tensor([[1.0, 3.0, 2.0, 4.0]])).tolist()
    [[2.0, 3.0]]
    """

    _layout = "NCL"

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False,
        count_include_pad=True, *, layout=None,
    ):  # fmt: skip
        super().__init__(
            kernel_size, stride, padding, ceil_mode, count_include_pad, layout=layout
        )

    def forward(self, input):
        """Pool `input` ``(N, C, L)`` or ``(C, L)``."""
        return functional.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, layout=self.layout,
        )  # fmt: skip


class AvgPool3d(_AvgPool):
    """Take the mean of each window of volumes, as `AvgPool2d`.

    Input ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AvgPool3d(2)(tl.zeros((1, 1, 4, 4, 4))).shape
    (1, 1, 2, 2, 2)
    """

    _layout = "NCDHW"
    _function = staticmethod(functional.avg_pool3d)


class _AdaptiveAvgPool(Module):
    """The mean of each of so many windows."""

    _layout = ""  # of the subclass, channels first

    def __init__(self, output_size, *, layout=None):
        super().__init__()
        self.output_size = output_size
        self.layout = self._layout if layout is None else layout

    def forward(self, input):
        """Pool `input`, of the shape that the class names."""
        return self._function(input, self.output_size, layout=self.layout)

    def extra_repr(self):
        """Return the number of windows."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Take means over so many windows of images, whatever their extents.

    See `tensorlib.adaptive_avg_pool2d`; with `output_size` 1 it is global pooling.

    Parameters
    ----------
    output_size : int or (int or None, int or None)
        Windows along each axis; None keeps the axis.
    layout : {"NCHW", "NHWC"}, optional
        Order of the input's axes.

    Raises
    ------
    ShapeError
        In ``forward``, if the input does not fit.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AdaptiveAvgPool2d((1, None))(tl.zeros((8, 16, 7, 5))).shape
    (8, 16, 1, 5)
    """

    _layout = "NCHW"
    _function = staticmethod(functional.adaptive_avg_pool2d)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Take means over so many windows of sequences, as `AdaptiveAvgPool2d`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AdaptiveAvgPool1d(1)(tl.tensor([[1.0, 3.0]])).tolist()
    [[2.0]]
    """

    _layout = "NCL"
    _function = staticmethod(functional.adaptive_avg_pool1d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Take means over so many windows of volumes, as `AdaptiveAvgPool2d`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AdaptiveAvgPool3d(2)(tl.zeros((1, 1, 5, 6, 7))).shape
    (1, 1, 2, 2, 2)
    """

    _layout = "NCDHW"
    _function = staticmethod(functional.adaptive_avg_pool3d)


class _AdaptiveMaxPool(Module):
    """The largest element of each of so many windows."""

    _layout = ""  # of the subclass, channels first

    def __init__(self, output_size, return_indices=False, *, layout=None):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices
        self.layout = self._layout if layout is None else layout

    def forward(self, input):
        """Pool `input`, of the shape that the class names."""
        return self._function(
            input, self.output_size, self.return_indices, layout=self.layout
        )

    def extra_repr(self):
        """Return the number of windows."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Take the largest element of so many windows of images.

    Windows are those of `AdaptiveAvgPool2d`.

    Parameters
    ----------
    output_size : int or (int or None, int or None)
        Windows along each axis; None keeps the axis.
    return_indices : bool, default False
        Whether places are returned too.
    layout : {"NCHW", "NHWC"}, optional
        Order of the input's axes.

    Raises
    ------
    ShapeError
        In ``forward``, if the input does not fit.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AdaptiveMaxPool2d(3)(tl.zeros((8, 16, 7, 5))).shape
    (8, 16, 3, 3)
    """

    _layout = "NCHW"
    _function = staticmethod(functional.adaptive_max_pool2d)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Take the largest element of so many windows of sequences.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AdaptiveMaxPool1d(1)(tl.tensor([[1.0, 3.0]])).tolist()
    [[3.0]]
    """

    _layout = "NCL"
    _function = staticmethod(functional.adaptive_max_pool1d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Take the largest element of so many windows of volumes.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.AdaptiveMaxPool3d(2)(tl.zeros((1, 1, 5, 6, 7))).shape
    (1, 1, 2, 2, 2)
    """

    _layout = "NCDHW"
    _function = staticmethod(functional.adaptive_max_pool3d)
