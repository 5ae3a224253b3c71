"""Affine maps and the modules that only change the shape."""

import math

import tensorlib as tl
from tensorlib.nn import init
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = ["Flatten", "Identity", "Linear", "Unflatten"]


class Identity(Module):
    """Return the input: ``y = x``. Arguments are accepted and ignored.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Identity(54, unused=1)(tl.ones(2)).tolist()
    [1.0, 1.0]
    """

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        """Return `input`."""
        return input


class Linear(Module):
    """Apply an affine map to the last axis: ``y = x Wᵀ + b``.

    Weight and bias start uniform in ``±1/sqrt(in_features)``.

    Parameters
    ----------
    in_features : int
        Length of the input's last axis.
    out_features : int
        Length of the output's last axis.
    bias : bool, default True
        Whether `b` is added.
    device : device, optional
        Where the parameters live.
    dtype : dtype, optional
        Their dtype; float32 by default.
    generator : Generator, optional
        Source of the initial values; the default generator otherwise.

    Attributes
    ----------
    weight : Parameter
        Shape ``(out_features, in_features)``.
    bias : Parameter or None
        Shape ``(out_features,)``.

    Raises
    ------
    ValueError
        If a feature count is not a non-negative int.
    ShapeError
        In ``forward``, if the input's last axis is not `in_features` long.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> layer = nn.Linear(20, 30)
    >>> layer(tl.ones((128, 20))).shape
    (128, 30)
    >>> layer
    Linear(in_features=20, out_features=30, bias=True)
    """

    def __init__(
        self, in_features, out_features, bias=True, device=None, dtype=None,
        *, generator=None,
    ):  # fmt: skip
        super().__init__()
        for name, count in (("in", in_features), ("out", out_features)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise ValueError(
                    f"Linear: expected {name}_features to be an int >= 0, got {count!r}"
                )
        self.in_features = in_features
        self.out_features = out_features
        shape = (out_features, in_features)
        self.weight = Parameter(tl.empty(shape, dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(tl.empty(shape[:1], dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw new initial values for weight and bias.

        Parameters
        ----------
        generator : Generator, optional
            Source of random numbers; the default generator otherwise.
        """
        # Kaiming with gain for slope sqrt(5) is uniform in ±1/sqrt(fan_in).
        init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound, generator=generator)

    def forward(self, input):
        """Map `input` ``(..., in_features)`` to ``(..., out_features)``."""
        return tl.linear(input, self.weight, self.bias)

    def multiply_adds(self, args, output):
        """Return one for each output and input feature."""
        return output.size * self.in_features

    def extra_repr(self):
        """Return the sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Flatten(Module):
    """Join a run of axes into one.

    Parameters
    ----------
    start_axis : int, default 1
        First axis joined.
    end_axis : int, default -1
        Last axis joined.

    Raises
    ------
    ShapeError
        In ``forward``, if an axis does not exist or the last comes before the first.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Flatten()(tl.zeros((32, 1, 8, 8))).shape
    (32, 64)
    """

    def __init__(self, start_axis=1, end_axis=-1):
        super().__init__()
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, input):
        """Return `input` with the axes joined."""
        try:
            return tl.flatten(input, self.start_axis, self.end_axis)
        except (IndexError, tl.ShapeError):
            raise tl.ShapeError(
                f"Flatten: axes {self.start_axis}..{self.end_axis} do not fit "
                f"input.shape={tuple(input.shape)}"
            ) from None

    def extra_repr(self):
        """Return the axes."""
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"


class Unflatten(Module):
    """Split one axis into several.

    Parameters
    ----------
    axis : int
        The axis to split.
    unflattened_size : tuple of int
        The new lengths; one of them may be -1.

    Raises
    ------
    ShapeError
        In ``forward``, if the lengths do not multiply to the axis's length.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Unflatten(1, (1, 8, 8))(tl.zeros((32, 64))).shape
    (32, 1, 8, 8)
    """

    def __init__(self, axis, unflattened_size):
        super().__init__()
        self.axis = axis
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input):
        """Return `input` with the axis split."""
        shape = tuple(input.shape)
        if not -len(shape) <= self.axis < len(shape):
            raise tl.ShapeError(
                f"Unflatten: axis {self.axis} is out of range for input.shape={shape}"
            )
        axis = self.axis % len(shape)
        sizes = self.unflattened_size
        if -1 in sizes:
            known = -math.prod(sizes)
            sizes = tuple(
                shape[axis] // known if s == -1 and known > 0 else s for s in sizes
            )
        if math.prod(sizes) != shape[axis] or min(sizes, default=0) < 0:
            raise tl.ShapeError(
                f"Unflatten: cannot split axis {axis} of input.shape={shape} into "
                f"{self.unflattened_size}"
            )
        return input.reshape((*shape[:axis], *sizes, *shape[axis + 1 :]))

    def extra_repr(self):
        """Return axis and lengths."""
        return f"axis={self.axis}, unflattened_size={self.unflattened_size}"
