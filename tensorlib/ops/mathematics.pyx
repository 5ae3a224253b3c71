"""Roots, exponentials, logarithms, trigonometry."""
from libc.math cimport M_PI, sqrt as c_sqrt
from tensorlib.autograd.primitive cimport Node
from tensorlib.core.tensor cimport Tensor
from tensorlib.ops.elementwise cimport (
    SAVE_A, SAVE_B, SAVE_OUT, Binary, Unary, as_tensor,
)


cdef class Transcendental(Unary):
    def __cinit__(self, str name, int saves):
        self.float_only = True
        self.saves = saves


cdef class Sqrt(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g / (node.output() * 2)


cdef class Rsqrt(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g * node.output() ** 3 * -0.5


cdef class Reciprocal(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return -g * node.output() ** 2


cdef class Exp(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g * node.output()


cdef class Expm1(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g * (node.output() + 1)


cdef class Log(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g / node.get(0)


cdef class Log1p(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g / (node.get(0) + 1)


cdef class Sin(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g * _cos.apply(node.get(0))


cdef class Cos(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return -g * _sin.apply(node.get(0))


cdef class Tan(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g * (node.output() ** 2 + 1)


cdef class Tanh(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return _tanh_grad.apply(g, node.output())


cdef class Erf(Transcendental):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g * _exp.apply(-(node.get(0) ** 2)) * (2 / c_sqrt(M_PI))


cdef class TanhGrad(Binary):
    """g * (1 - y^2) in one pass, where y = tanh(x)."""

    def __cinit__(self, str name):
        self.saves = SAVE_A | SAVE_B

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return _tanh_grad.apply(g, node.get(1))

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return g * node.get(0) * node.get(1) * -2


cdef Sqrt _sqrt = Sqrt("sqrt", SAVE_OUT)
cdef Rsqrt _rsqrt = Rsqrt("rsqrt", SAVE_OUT)
cdef Reciprocal _reciprocal = Reciprocal("reciprocal", SAVE_OUT)
cdef Exp _exp = Exp("exp", SAVE_OUT)
cdef Expm1 _expm1 = Expm1("expm1", SAVE_OUT)
cdef Log _log = Log("log", SAVE_A)
cdef Log1p _log1p = Log1p("log1p", SAVE_A)
cdef Sin _sin = Sin("sin", SAVE_A)
cdef Cos _cos = Cos("cos", SAVE_A)
cdef Tan _tan = Tan("tan", SAVE_OUT)
cdef Tanh _tanh = Tanh("tanh", SAVE_OUT)
cdef Erf _erf = Erf("erf", SAVE_A)
cdef TanhGrad _tanh_grad = TanhGrad("tanh_grad")


def sqrt(x, /):
    """Return the square root elementwise; NaN below zero.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    The gradient at 0 is infinite. Correctly rounded.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.sqrt(tl.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    return _sqrt.apply(as_tensor("sqrt", x))


def rsqrt(x, /):
    """Return ``1 / sqrt(x)`` elementwise.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.rsqrt(tl.tensor([4.0]))
    tensor([0.5])
    """
    return _rsqrt.apply(as_tensor("rsqrt", x))


def reciprocal(x, /):
    """Return ``1 / x`` elementwise.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.reciprocal(tl.tensor([4.0]))
    tensor([0.25])
    """
    return _reciprocal.apply(as_tensor("reciprocal", x))


def exp(x, /):
    """Return e to the power `x` elementwise.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 1.0 ulp in float32 and 1.2 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.exp(tl.tensor([0.0, 1.0]))
    tensor([1.       , 2.7182817])
    """
    return _exp.apply(as_tensor("exp", x))


def expm1(x, /):
    """Return ``exp(x) - 1`` elementwise, accurate near 0.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 1.5 ulp in float32 and 1.9 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.expm1(tl.tensor([0.0]))
    tensor([0.])
    """
    return _expm1.apply(as_tensor("expm1", x))


def log(x, /):
    """Return the natural logarithm elementwise; -inf at 0, NaN below.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 0.9 ulp in float32 and 0.8 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.log(tl.tensor([1.0]))
    tensor([0.])
    """
    return _log.apply(as_tensor("log", x))


def log1p(x, /):
    """Return ``log(1 + x)`` elementwise, accurate near 0.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 0.8 ulp in float32 and 0.8 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.log1p(tl.tensor([0.0]))
    tensor([0.])
    """
    return _log1p.apply(as_tensor("log1p", x))


def sin(x, /):
    """Return the sine of `x` (radians) elementwise.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 1.5 ulp in float32 and 1.5 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.sin(tl.tensor([0.0]))
    tensor([0.])
    """
    return _sin.apply(as_tensor("sin", x))


def cos(x, /):
    """Return the cosine of `x` (radians) elementwise.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 1.5 ulp in float32 and 1.5 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cos(tl.tensor([0.0]))
    tensor([1.])
    """
    return _cos.apply(as_tensor("cos", x))


def tan(x, /):
    """Return the tangent of `x` (radians) elementwise.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 3.3 ulp in float32 and 1 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tan(tl.tensor([0.0]))
    tensor([0.])
    """
    return _tan.apply(as_tensor("tan", x))


def tanh(x, /):
    """Return the hyperbolic tangent elementwise.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 1.3 ulp in float32 and 1.4 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tanh(tl.tensor([0.0]))
    tensor([0.])
    """
    return _tanh.apply(as_tensor("tanh", x))


def erf(x, /):
    """Return the error function elementwise.

    ``2 / sqrt(pi)`` times the integral of ``exp(-t**2)`` from 0 to `x`.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 1.1 ulp in float32 and 1 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.erf(tl.tensor([0.0]))
    tensor([0.])
    """
    return _erf.apply(as_tensor("erf", x))
