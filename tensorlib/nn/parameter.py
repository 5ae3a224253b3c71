"""Parameter: a Tensor marked as something an optimizer trains.

Tensor is a final compiled class, so a parameter is not a subclass: it is a Tensor
whose ``is_parameter`` flag is set. ``Parameter(...)`` makes one, and
``isinstance(x, Parameter)`` asks for the flag.
"""

import tensorlib as tl
from tensorlib.core.tensor import Tensor

__all__ = ["Parameter"]


class _ParameterType(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, Tensor) and instance.is_parameter

    def __subclasscheck__(cls, subclass):
        return subclass is cls


class Parameter(metaclass=_ParameterType):
    """Mark a tensor as a trainable parameter of a module.

    Assigning a parameter to an attribute of a `Module` registers it there.

    Parameters
    ----------
    data : Tensor or array-like, optional
        Values, shape ``(...)``. The parameter shares their storage and starts a
        graph of its own. Without it the parameter is empty, shape ``(0,)``.
    requires_grad : bool, default True
        Whether gradients are recorded for it.

    Returns
    -------
    Tensor
        A leaf tensor of the same shape and dtype with ``is_parameter`` set.

    Raises
    ------
    RuntimeError
        If `requires_grad` is set and the dtype is not floating point or complex.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> w = nn.Parameter(tl.zeros((2, 3)))
    >>> w.requires_grad, isinstance(w, nn.Parameter), isinstance(w, tl.Tensor)
    (True, True, True)
    >>> isinstance(tl.zeros((2, 3)), nn.Parameter)
    False
    """

    def __new__(cls, data=None, requires_grad=True):
        """Return the tensor itself, not an instance of this class."""
        if data is None:
            data = tl.empty((0,))
        elif not isinstance(data, Tensor):
            data = tl.asarray(data)
        parameter = data.detach()
        parameter.requires_grad = requires_grad
        parameter.is_parameter = True
        return parameter
