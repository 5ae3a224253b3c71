"""Activations with straight pieces or numbers, as modules."""

import tensorlib as tl
from tensorlib.nn import init
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = [
    "CELU",
    "ELU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "PReLU",
    "ReLU6",
    "Softshrink",
    "Threshold",
]


def _inplace(module):
    return ", inplace=True" if module.inplace else ""


class LeakyReLU(Module):
    """Apply ``max(x, 0) + negative_slope min(x, 0)`` elementwise.

    Parameters
    ----------
    negative_slope : float, default 0.01
        Slope below 0.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    References
    ----------
    Maas et al., "Rectifier Nonlinearities Improve Neural Network Acoustic Models",
    ICML 2013.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.LeakyReLU(0.5)(tl.tensor([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope=0.01, inplace=False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input):
        """Return ``leaky_relu(input)``, of the same shape."""
        return tl.leaky_relu(input, self.negative_slope)

    def extra_repr(self):
        """Return the numbers."""
        return f"negative_slope={self.negative_slope}" + _inplace(self)


class ELU(Module):
    """Apply ``x`` above 0 and ``alpha (exp(x) - 1)`` below, elementwise.

    Parameters
    ----------
    alpha : float, default 1.0
        Minus the limit at minus infinity.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    References
    ----------
    Clevert et al., arXiv:1511.07289, equation 16.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ELU()(tl.tensor([-100.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input):
        """Return ``elu(input)``, of the same shape."""
        return tl.elu(input, self.alpha)

    def extra_repr(self):
        """Return the numbers."""
        return f"alpha={self.alpha}" + _inplace(self)


class SELU(Module):
    """Apply ``scale elu(x, alpha)`` elementwise, alpha = 1.6733, scale = 1.0507.

    Parameters
    ----------
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    References
    ----------
    Klambauer et al., "Self-Normalizing Neural Networks", NeurIPS 2017.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> round(nn.SELU()(tl.ones(1)).item(), 4)
    1.0507
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        """Return ``selu(input)``, of the same shape."""
        return tl.selu(input)

    def extra_repr(self):
        """Return ``inplace=True`` where it was asked for."""
        return "inplace=True" if self.inplace else ""


class CELU(Module):
    """Apply ``x`` above 0 and ``alpha (exp(x / alpha) - 1)`` below, elementwise.

    Parameters
    ----------
    alpha : float, default 1.0
        Minus the limit at minus infinity; not 0.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    Raises
    ------
    ValueError
        If `alpha` is 0.

    References
    ----------
    Barron, arXiv:1704.07483, equation 2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.CELU(2.0)(tl.tensor([-100.0, 2.0])).tolist()
    [-2.0, 2.0]
    """

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        if alpha == 0:
            raise ValueError("CELU: expected alpha != 0, got 0")
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input):
        """Return ``celu(input)``, of the same shape."""
        return tl.celu(input, self.alpha)

    def extra_repr(self):
        """Return the numbers."""
        return f"alpha={self.alpha}" + _inplace(self)


class ReLU6(Module):
    """Apply ``min(max(x, 0), 6)`` elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.ReLU6()(tl.tensor([-1.0, 2.0, 8.0])).tolist()
    [0.0, 2.0, 6.0]
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        """Return ``relu6(input)``, of the same shape."""
        return tl.relu6(input)

    def extra_repr(self):
        """Return ``inplace=True`` where it was asked for."""
        return "inplace=True" if self.inplace else ""


class Hardtanh(Module):
    """Keep each element within ``[min_val, max_val]``.

    Parameters
    ----------
    min_val : float, default -1.0
        The least value.
    max_val : float, default 1.0
        The largest value.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    Raises
    ------
    ValueError
        If `min_val` is not below `max_val`.

    Notes
    -----
    The gradient at the bounds is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Hardtanh()(tl.tensor([-3.0, 0.5])).tolist()
    [-1.0, 0.5]
    """

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False):
        super().__init__()
        if not min_val < max_val:
            raise ValueError(
                f"Hardtanh: expected min_val < max_val, got {min_val} and {max_val}"
            )
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input):
        """Return ``hardtanh(input)``, of the same shape."""
        return tl.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self):
        """Return the numbers."""
        return f"min_val={self.min_val}, max_val={self.max_val}" + _inplace(self)


class Threshold(Module):
    """Replace each element that is not above `threshold` by `value`.

    Parameters
    ----------
    threshold : float
        The bound.
    value : float
        What stands for smaller elements.
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Threshold(0.1, 20.0)(tl.tensor([0.0, 0.5])).tolist()
    [20.0, 0.5]
    """

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input):
        """Return ``threshold(input)``, of the same shape."""
        return tl.threshold(input, self.threshold, self.value)

    def extra_repr(self):
        """Return the numbers."""
        return f"threshold={self.threshold}, value={self.value}" + _inplace(self)


class Hardshrink(Module):
    """Replace elements within `lambd` of 0 by 0.

    Parameters
    ----------
    lambd : float, default 0.5
        The distance.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Hardshrink()(tl.tensor([0.25, -2.0])).tolist()
    [0.0, -2.0]
    """

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        """Return ``hardshrink(input)``, of the same shape."""
        return tl.hardshrink(input, self.lambd)

    def extra_repr(self):
        """Return the numbers."""
        return f"{self.lambd}"


class Softshrink(Module):
    """Move each element towards 0 by `lambd`, at most to 0.

    Parameters
    ----------
    lambd : float, default 0.5
        The distance, not negative.

    Raises
    ------
    ValueError
        In ``forward``, if `lambd` is negative.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Softshrink()(tl.tensor([0.25, -2.0])).tolist()
    [0.0, -1.5]
    """

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        """Return ``softshrink(input)``, of the same shape."""
        return tl.softshrink(input, self.lambd)

    def extra_repr(self):
        """Return the numbers."""
        return f"{self.lambd}"


class Hardswish(Module):
    """Apply ``x min(max(x + 3, 0), 6) / 6`` elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    References
    ----------
    Howard et al., "Searching for MobileNetV3", arXiv:1905.02244, section 5.2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Hardswish()(tl.tensor([0.0, 4.0])).tolist()
    [0.0, 4.0]
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        """Return ``hardswish(input)``, of the same shape."""
        return tl.hardswish(input)

    def extra_repr(self):
        """Return ``inplace=True`` where it was asked for."""
        return "inplace=True" if self.inplace else ""


class Hardsigmoid(Module):
    """Apply ``min(max(x + 3, 0), 6) / 6`` elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Accepted so that scripts port; the result is a new tensor either way.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.Hardsigmoid()(tl.tensor([0.0, 4.0])).tolist()
    [0.5, 1.0]
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        """Return ``hardsigmoid(input)``, of the same shape."""
        return tl.hardsigmoid(input)

    def extra_repr(self):
        """Return ``inplace=True`` where it was asked for."""
        return "inplace=True" if self.inplace else ""


class PReLU(Module):
    """Apply ``x`` above 0 and ``weight x`` below; the slope is a parameter.

    Parameters
    ----------
    num_parameters : int, default 1
        One slope, or one for each channel (axis 1).
    init : float, default 0.25
        What the slopes start with.
    device : device, optional
        Where the parameter lives.
    dtype : dtype, optional
        Its dtype; float32 by default.

    Attributes
    ----------
    weight : Parameter
        Shape ``(num_parameters,)``.

    References
    ----------
    He et al., "Delving Deep into Rectifiers", arXiv:1502.01852, equation 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.PReLU()(tl.tensor([-1.0, 2.0])).tolist()
    [-0.25, 2.0]
    """

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        slopes = tl.empty((num_parameters,), device=device, dtype=dtype)
        self.weight = Parameter(slopes)
        self.reset_parameters()

    def reset_parameters(self):
        """Set the slopes to their initial value."""
        init.constant_(self.weight, self.init)

    def forward(self, input):
        """Return ``prelu(input, weight)``, of the same shape."""
        return tl.prelu(input, self.weight)

    def extra_repr(self):
        """Return the number of slopes."""
        return f"num_parameters={self.num_parameters}"
