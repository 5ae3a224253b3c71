"""Activations as modules."""

import tensorlib as tl
from tensorlib.nn import functional
from tensorlib.nn.module import Module

__all__ = [
    "GELU",
    "GLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
]


class ReLU(Module):
    """Apply ``max(x, 0)`` elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    Notes
    -----
    The gradient at 0 is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ReLU()(tl.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        """Return ``relu(input)``, of the same shape."""
        return tl.relu(input)

    def extra_repr(self):
        """Return ``inplace=True`` where it was asked for."""
        return "inplace=True" if self.inplace else ""


class GELU(Module):
    """Apply ``x Φ(x)`` elementwise, Φ the normal distribution function.

    Parameters
    ----------
    approximate : {"none", "tanh"}, default "none"
        Φ by the error function, or by the tanh formula.

    Raises
    ------
    ValueError
        If `approximate` is neither.

    References
    ----------
    Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> round(nn.GELU()(tl.tensor([1.0])).item(), 4)
    0.8413
    """

    def __init__(self, approximate="none"):
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(
                f'GELU: expected approximate="none" or "tanh", got {approximate!r}'
            )
        self.approximate = approximate

    def forward(self, input):
        """Return ``gelu(input)``, of the same shape."""
        return tl.gelu(input, approximate=self.approximate)

    def extra_repr(self):
        """Return the form."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """Apply ``x sigmoid(x)`` elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.SiLU()(tl.zeros(1)).tolist()
    [0.0]
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        """Return ``silu(input)``, of the same shape."""
        return tl.silu(input)


class Tanh(Module):
    """Apply the hyperbolic tangent elementwise.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Tanh()(tl.zeros(1)).tolist()
    [0.0]
    """

    def forward(self, input):
        """Return ``tanh(input)``, of the same shape."""
        return tl.tanh(input)


class Sigmoid(Module):
    """Apply ``1 / (1 + exp(-x))`` elementwise.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Sigmoid()(tl.zeros(1)).tolist()
    [0.5]
    """

    def forward(self, input):
        """Return ``sigmoid(input)``, of the same shape."""
        return tl.sigmoid(input)


class Softplus(Module):
    """Apply ``log(1 + exp(beta x)) / beta`` elementwise.

    Parameters
    ----------
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
    >>> from tensorlib import nn
    >>> round(nn.Softplus()(tl.zeros(1)).item(), 4)
    0.6931
    """

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        if beta == 0:
            raise ValueError("Softplus: expected beta != 0, got 0")
        self.beta = beta
        self.threshold = threshold

    def forward(self, input):
        """Return ``softplus(input)``, of the same shape."""
        return functional.softplus(input, self.beta, self.threshold)

    def extra_repr(self):
        """Return beta and threshold."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """Normalize exponentials along an axis: ``exp(x_i) / sum_j exp(x_j)``.

    Parameters
    ----------
    axis : int, default -1
        The axis whose entries sum to 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Softmax()(tl.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, axis=-1):
        super().__init__()
        self.axis = axis

    def forward(self, input):
        """Return ``softmax(input)``, of the same shape."""
        return tl.softmax(input, axis=self.axis)

    def extra_repr(self):
        """Return the axis."""
        return f"axis={self.axis}"


class LogSoftmax(Module):
    """Apply the logarithm of softmax: ``x_i - logsumexp(x)``.

    Parameters
    ----------
    axis : int, default -1
        The axis whose exponentials sum to 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> round(nn.LogSoftmax()(tl.zeros((1, 2)))[0, 0].item(), 4)
    -0.6931
    """

    def __init__(self, axis=-1):
        super().__init__()
        self.axis = axis

    def forward(self, input):
        """Return ``log_softmax(input)``, of the same shape."""
        return tl.log_softmax(input, axis=self.axis)

    def extra_repr(self):
        """Return the axis."""
        return f"axis={self.axis}"


class Mish(Module):
    """Apply ``x tanh(log(1 + exp(x)))`` elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    References
    ----------
    Misra, arXiv:1908.08681.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Mish()(tl.zeros(1)).tolist()
    [0.0]
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        """Return ``mish(input)``, of the same shape."""
        return tl.mish(input)

    def extra_repr(self):
        """Return ``inplace=True`` where it was asked for."""
        return "inplace=True" if self.inplace else ""


class LogSigmoid(Module):
    """Apply ``log(1 / (1 + exp(-x)))`` elementwise, without overflow.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.LogSigmoid()(tl.tensor([-1000.0])).tolist()
    [-1000.0]
    """

    def forward(self, input):
        """Return ``log_sigmoid(input)``, of the same shape."""
        return tl.log_sigmoid(input)


class Softsign(Module):
    """Apply ``x / (1 + |x|)`` elementwise.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Softsign()(tl.tensor([-1.0, 3.0])).tolist()
    [-0.5, 0.75]
    """

    def forward(self, input):
        """Return ``softsign(input)``, of the same shape."""
        return tl.softsign(input)


class Tanhshrink(Module):
    """Apply ``x - tanh(x)`` elementwise.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Tanhshrink()(tl.tensor([0.0, 100.0])).tolist()
    [0.0, 99.0]
    """

    def forward(self, input):
        """Return ``tanhshrink(input)``, of the same shape."""
        return tl.tanhshrink(input)


class Softmin(Module):
    """Normalize exponentials of minus the input along an axis.

    Parameters
    ----------
    axis : int, default -1
        The axis whose entries sum to 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Softmin()(tl.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, axis=-1):
        super().__init__()
        self.axis = axis

    def forward(self, input):
        """Return ``softmax(-input)``, of the same shape."""
        return tl.softmin(input, axis=self.axis)

    def extra_repr(self):
        """Return the axis."""
        return f"axis={self.axis}"


class GLU(Module):
    """Split an axis in halves; return the first times the sigmoid of the second.

    Parameters
    ----------
    axis : int, default -1
        The axis, of even length.

    Raises
    ------
    ShapeError
        In ``forward``, if the axis is of odd length.

    References
    ----------
    Dauphin et al., arXiv:1612.08083, equation 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.GLU()(tl.tensor([4.0, 0.0])).tolist()
    [2.0]
    """

    def __init__(self, axis=-1):
        super().__init__()
        self.axis = axis

    def forward(self, input):
        """Return ``glu(input)``, half as long along the axis."""
        return tl.glu(input, axis=self.axis)

    def extra_repr(self):
        """Return the axis."""
        return f"axis={self.axis}"


class Softmax2d(Module):
    """Normalize over the channels at each place: ``(N, C, H, W)`` or ``(C, H, W)``.

    Raises
    ------
    ShapeError
        In ``forward``, if the input has neither three nor four axes.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Softmax2d()(tl.zeros((2, 1, 1))).flatten().tolist()
    [0.5, 0.5]
    """

    def forward(self, input):
        """Return the softmax over the third axis from the end."""
        if input.ndim not in (3, 4):
            raise tl.ShapeError(
                f"Softmax2d: expected (N, C, H, W) or (C, H, W), got {input.shape}"
            )
        return tl.softmax(input, axis=-3)
