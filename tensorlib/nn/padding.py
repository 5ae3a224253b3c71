"""Padding as modules."""

from tensorlib.nn import functional
from tensorlib.nn.module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """Pad the last axes; subclasses name their number and the mode.

    Parameters
    ----------
    padding : int or tuple of int
        One number for both ends of every axis, or ``(before, after)`` of the last
        axis, then of the one before it; see `functional.pad`.

    Raises
    ------
    ValueError
        If there are not two numbers an axis.
    ShapeError
        In ``forward``, if the padding does not fit the input.
    """

    _axes = 1
    _mode = "constant"

    def __init__(self, padding):
        super().__init__()
        if hasattr(padding, "__index__"):
            padding = (padding.__index__(),) * (2 * self._axes)
        self.padding = tuple(padding)
        if len(self.padding) != 2 * self._axes:
            raise ValueError(
                f"{type(self).__name__}: expected an int or {2 * self._axes} ints, "
                f"got {padding!r}"
            )

    def forward(self, input):
        """Pad `input`, whose last axes are padded, the last one first."""
        return functional.pad(input, self.padding, self._mode)

    def extra_repr(self):
        """Return the padding."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        """Pad `input`, whose last axes are padded, the last one first."""
        return functional.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        """Return padding and value."""
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(_Pad):
    """Pad sequences with zeros.

    Parameters: `padding`, an int or 2 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ZeroPad1d(1)(tl.zeros((1, 3))).shape
    (1, 5)
    """


class ZeroPad2d(_Pad):
    """Pad images with zeros.

    Parameters: `padding`, an int or 4 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ZeroPad2d(1)(tl.zeros((1, 3, 3))).shape
    (1, 5, 5)
    """

    _axes = 2


class ZeroPad3d(_Pad):
    """Pad volumes with zeros.

    Parameters: `padding`, an int or 6 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ZeroPad3d(1)(tl.zeros((1, 3, 3, 3))).shape
    (1, 5, 5, 5)
    """

    _axes = 3


class ConstantPad1d(_ConstantPad):
    """Pad sequences with a value.

    Parameters: `padding`, an int or 2 ints, the last axis first and a `value`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ConstantPad1d(1, 0.5)(tl.zeros((1, 3))).shape
    (1, 5)
    """


class ConstantPad2d(_ConstantPad):
    """Pad images with a value.

    Parameters: `padding`, an int or 4 ints, the last axis first and a `value`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ConstantPad2d(1, 0.5)(tl.zeros((1, 3, 3))).shape
    (1, 5, 5)
    """

    _axes = 2


class ConstantPad3d(_ConstantPad):
    """Pad volumes with a value.

    Parameters: `padding`, an int or 6 ints, the last axis first and a `value`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ConstantPad3d(1, 0.5)(tl.zeros((1, 3, 3, 3))).shape
    (1, 5, 5, 5)
    """

    _axes = 3


class ReflectionPad1d(_Pad):
    """Pad sequences with what lies across the border.

    Parameters: `padding`, an int or 2 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ReflectionPad1d(1)(tl.zeros((1, 3))).shape
    (1, 5)
    """

    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """Pad images with what lies across the border.

    Parameters: `padding`, an int or 4 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ReflectionPad2d(1)(tl.zeros((1, 3, 3))).shape
    (1, 5, 5)
    """

    _axes = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """Pad volumes with what lies across the border.

    Parameters: `padding`, an int or 6 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ReflectionPad3d(1)(tl.zeros((1, 3, 3, 3))).shape
    (1, 5, 5, 5)
    """

    _axes = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Pad sequences with the border's elements.

    Parameters: `padding`, an int or 2 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ReplicationPad1d(1)(tl.zeros((1, 3))).shape
    (1, 5)
    """

    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """Pad images with the border's elements.

    Parameters: `padding`, an int or 4 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ReplicationPad2d(1)(tl.zeros((1, 3, 3))).shape
    (1, 5, 5)
    """

    _axes = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """Pad volumes with the border's elements.

    Parameters: `padding`, an int or 6 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ReplicationPad3d(1)(tl.zeros((1, 3, 3, 3))).shape
    (1, 5, 5, 5)
    """

    _axes = 3
    _mode = "replicate"


class CircularPad1d(_Pad):
    """Pad sequences with the elements of the opposite end.

    Parameters: `padding`, an int or 2 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.CircularPad1d(1)(tl.zeros((1, 3))).shape
    (1, 5)
    """

    _mode = "circular"


class CircularPad2d(_Pad):
    """Pad images with the elements of the opposite end.

    Parameters: `padding`, an int or 4 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.CircularPad2d(1)(tl.zeros((1, 3, 3))).shape
    (1, 5, 5)
    """

    _axes = 2
    _mode = "circular"


class CircularPad3d(_Pad):
    """Pad volumes with the elements of the opposite end.

    Parameters: `padding`, an int or 6 ints, the last axis first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.CircularPad3d(1)(tl.zeros((1, 3, 3, 3))).shape
    (1, 5, 5, 5)
    """

    _axes = 3
    _mode = "circular"
