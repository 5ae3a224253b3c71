"""Inverse trigonometry, hyperbolic functions, logarithms, the structure of floats.

Loaded at the first use of one of its names: most programs need none of them.
"""
from libc.math cimport M_LN2, M_LN10
from tensorlib.autograd.primitive cimport Node
from tensorlib.core.abi cimport TL_BOOL
from tensorlib.core.dtype cimport is_complex_code, is_float_code
from tensorlib.core.tensor cimport Tensor
from tensorlib.ops.elementwise cimport (
    SAVE_A, SAVE_B, SAVE_OUT, Binary, Unary, as_tensor, copy, full_like,
)
from tensorlib.ops.logic cimport select

from tensorlib.core.errors import DTypeError
from tensorlib.kernels import load_families
from tensorlib.ops.logic import isinf
from tensorlib.ops.mathematics import rsqrt

load_families("elementary")


# ---- primitives ----------------------------------------------------------------
cdef class Elementary(Unary):
    def __cinit__(self, str name):
        self.float_only = True
        self.saves = SAVE_A


cdef class Acos(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        x = node.get(0)
        return -g * rsqrt((1 - x) * (1 + x))


cdef class Acosh(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        x = node.get(0)
        return g * rsqrt(x - 1) * rsqrt(x + 1)


cdef class Asin(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        x = node.get(0)
        return g * rsqrt((1 - x) * (1 + x))


cdef class Asinh(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        x = node.get(0)
        if is_complex_code(node.dtype):
            return g * rsqrt(x * x + 1)
        return g / _hypot.call(x, 1.0)


cdef class Atan(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g / (node.get(0) ** 2 + 1)


cdef class Atanh(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        x = node.get(0)
        return g / ((1 - x) * (1 + x))


cdef class Sinh(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g * _cosh.apply(node.get(0))


cdef class Cosh(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g * _sinh.apply(node.get(0))


cdef class Log2(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g / node.get(0) * (1 / M_LN2)


cdef class Log10(Elementary):
    cdef Tensor derivative(self, Node node, Tensor g):
        return g / node.get(0) * (1 / M_LN10)


cdef class Trunc(Unary):
    """Piecewise constant: the derivative is zero where it exists."""

    cdef Tensor derivative(self, Node node, Tensor g):
        return full_like(g, 0)


cdef class Signbit(Unary):
    def __cinit__(self, str name):
        self.float_only = True
        self.to_bool = True


cdef class FloatBinary(Binary):
    def __cinit__(self, str name, int saves=SAVE_A | SAVE_B):
        self.float_only = True
        self.saves = saves


cdef class Atan2(FloatBinary):
    """d/da = b / (a^2 + b^2), d/db = -a / (a^2 + b^2), by quotients that fit."""

    cdef Tensor derivative_a(self, Node node, Tensor g):
        length = _hypot.call(node.get(0), node.get(1))
        return g * (node.get(1) / length) / length

    cdef Tensor derivative_b(self, Node node, Tensor g):
        length = _hypot.call(node.get(0), node.get(1))
        return -g * (node.get(0) / length) / length


cdef class Logaddexp(FloatBinary):
    """The weights are sigmoids of the difference; equal infinities share evenly."""

    cdef Tensor share(self, Tensor mine, Tensor other):
        same = (mine == other) & isinf(mine)
        return select(same, 0.0, mine - other).sigmoid()

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return g * self.share(node.get(0), node.get(1))

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return g * self.share(node.get(1), node.get(0))


cdef class Hypot(FloatBinary):
    """Each input over the output; zero at the origin, a kink."""

    cdef Tensor share(self, Node node, Tensor mine):
        length = node.output()
        return mine / select(length == 0, 1.0, length)

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return g * self.share(node, node.get(0))

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return g * self.share(node, node.get(1))


cdef class Copysign(FloatBinary):
    cdef Tensor derivative_a(self, Node node, Tensor g):
        a = node.get(0)
        return g * a.sign() * _copysign.apply(full_like(a, 1), node.get(1))

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return full_like(g, 0)


cdef class Nextafter(FloatBinary):
    """The first input and a unit in its last place."""

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return g

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return full_like(g, 0)


cdef Acos _acos = Acos("acos")
cdef Acosh _acosh = Acosh("acosh")
cdef Asin _asin = Asin("asin")
cdef Asinh _asinh = Asinh("asinh")
cdef Atan _atan = Atan("atan")
cdef Atanh _atanh = Atanh("atanh")
cdef Sinh _sinh = Sinh("sinh")
cdef Cosh _cosh = Cosh("cosh")
cdef Log2 _log2 = Log2("log2")
cdef Log10 _log10 = Log10("log10")
cdef Trunc _trunc = Trunc("trunc")
cdef Signbit _signbit = Signbit("signbit")
cdef Atan2 _atan2 = Atan2("atan2")
cdef Logaddexp _logaddexp = Logaddexp("logaddexp")
cdef Hypot _hypot = Hypot("hypot", SAVE_A | SAVE_B | SAVE_OUT)
cdef Copysign _copysign = Copysign("copysign")
cdef Nextafter _nextafter = Nextafter("nextafter", 0)


# ---- public functions ----------------------------------------------------------
def acos(x, /):
    """Return the angle in [0, pi] whose cosine is `x`, elementwise.

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
    NaN outside [-1, 1]; the gradient at -1 and 1 is infinite. Within 1 ulp in
    float32 and in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.acos(tl.tensor([1.0, 0.0]))
    tensor([0.       , 1.5707964])
    """
    return _acos.apply(as_tensor("acos", x))


def acosh(x, /):
    """Return the nonnegative number whose hyperbolic cosine is `x`, elementwise.

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
    NaN below 1; the gradient at 1 is infinite. Within 0.6 ulp in float32 and 2 ulp in
    float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.acosh(tl.tensor([1.0, 2.0]))
    tensor([0.       , 1.316958])
    """
    return _acosh.apply(as_tensor("acosh", x))


def asin(x, /):
    """Return the angle in [-pi/2, pi/2] whose sine is `x`, elementwise.

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
    NaN outside [-1, 1]; the gradient at -1 and 1 is infinite. Within 1.1 ulp in
    float32 and 1 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.asin(tl.tensor([0.0, 1.0]))
    tensor([0.       , 1.5707964])
    """
    return _asin.apply(as_tensor("asin", x))


def asinh(x, /):
    """Return the number whose hyperbolic sine is `x`, elementwise.

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
    Within 1.8 ulp in float32 and 2 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.asinh(tl.tensor([0.0, 1.0]))
    tensor([0.       , 0.8813736])
    """
    return _asinh.apply(as_tensor("asinh", x))


def atan(x, /):
    """Return the angle in [-pi/2, pi/2] whose tangent is `x`, elementwise.

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
    Within 1.5 ulp in float32 and 1 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.atan(tl.tensor([0.0, 1.0]))
    tensor([0.       , 0.7853982])
    """
    return _atan.apply(as_tensor("atan", x))


def atanh(x, /):
    """Return the number whose hyperbolic tangent is `x`, elementwise.

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
    Infinite at -1 and 1, NaN beyond. Within 2 ulp.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.atanh(tl.tensor([0.0, 0.5]))
    tensor([0.        , 0.54930615])
    """
    return _atanh.apply(as_tensor("atanh", x))


def sinh(x, /):
    """Return the hyperbolic sine ``(exp(x) - exp(-x)) / 2`` elementwise.

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
    Within 2 ulp in float32 and in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.sinh(tl.tensor([0.0, 1.0]))
    tensor([0.       , 1.1752012])
    """
    return _sinh.apply(as_tensor("sinh", x))


def cosh(x, /):
    """Return the hyperbolic cosine ``(exp(x) + exp(-x)) / 2`` elementwise.

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
    Within 2 ulp in float32 and in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cosh(tl.tensor([0.0, 1.0]))
    tensor([1.       , 1.5430806])
    """
    return _cosh.apply(as_tensor("cosh", x))


def log2(x, /):
    """Return the logarithm to base 2 elementwise; -inf at 0, NaN below.

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
    Exact at powers of two. Within 1 ulp; 2 ulp in float32 without fused multiply-add.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.log2(tl.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """
    return _log2.apply(as_tensor("log2", x))


def log10(x, /):
    """Return the logarithm to base 10 elementwise; -inf at 0, NaN below.

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
    Within 2 ulp, and 1 ulp in float32 where the processor has fused multiply-add.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.log10(tl.tensor([1.0, 1000.0]))
    tensor([0., 3.])
    """
    return _log10.apply(as_tensor("log10", x))


def signbit(x, /):
    """Return whether the sign bit is set, elementwise: also that of -0 and of NaN.

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
    Integers are below zero when their float32 value is.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.signbit(tl.tensor([1.0, -0.0, -2.0]))
    tensor([False,  True,  True])
    """
    return _signbit.apply(as_tensor("signbit", x))


def atan2(x1, x2, /):
    """Return the angle of the point (`x2`, `x1`) in [-pi, pi], elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        The ordinate (y) and the abscissa (x) of the point.

    Returns
    -------
    Tensor
        Of floating dtype and the broadcast shape; integers are computed in float32.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Notes
    -----
    The quadrant follows from the signs, those of zeros included: ``atan2(0, -0)`` is
    pi. The gradient at the origin is NaN. Within 2 ulp in float32 and 1 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.atan2(tl.tensor([1.0, -1.0]), tl.tensor([1.0, -1.0]))
    tensor([ 0.7853982, -2.3561945])
    """
    return _atan2.call(x1, x2)


def logaddexp(x1, x2, /):
    """Return ``log(exp(x1) + exp(x2))`` elementwise, without overflow.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Broadcast against each other.

    Returns
    -------
    Tensor
        Of floating dtype and the broadcast shape; integers are computed in float32.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Notes
    -----
    Two equal infinities give that infinity, each with half of the gradient. Within 2
    ulp of the largest of the result and the inputs.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.logaddexp(tl.tensor([0.0, 1000.0]), tl.tensor([0.0, 1000.0]))
    tensor([6.9314718e-01, 1.0006932e+03])
    """
    return _logaddexp.call(x1, x2)


def hypot(x1, x2, /):
    """Return ``sqrt(x1**2 + x2**2)`` elementwise, without overflow of the squares.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Broadcast against each other.

    Returns
    -------
    Tensor
        Of floating dtype and the broadcast shape; integers are computed in float32.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Notes
    -----
    Infinite where either is, even beside NaN. The gradient at the origin is 0. Within
    0.6 ulp in float32 and 1.3 ulp in float64.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.hypot(tl.tensor([3.0]), tl.tensor([4.0]))
    tensor([5.])
    """
    return _hypot.call(x1, x2)


def copysign(x1, x2, /):
    """Return the magnitude of `x1` with the sign of `x2`, elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Broadcast against each other.

    Returns
    -------
    Tensor
        Of floating dtype and the broadcast shape; integers are computed in float32.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Notes
    -----
    The signs of zeros and of NaN count. The gradient of `x2` is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.copysign(tl.tensor([1.0, 2.0]), tl.tensor([-0.0, 3.0]))
    tensor([-1.,  2.])
    """
    return _copysign.call(x1, x2)


def nextafter(x1, x2, /):
    """Return the next floating-point number after `x1` towards `x2`, elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Broadcast against each other.

    Returns
    -------
    Tensor
        Of floating dtype and the broadcast shape; integers are computed in float32.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Notes
    -----
    Equal inputs give `x2`; NaN in either gives NaN. The gradient is that of `x1`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nextafter(tl.tensor([1.0]), 2.0) - 1
    tensor([1.1920929e-07])
    """
    return _nextafter.call(x1, x2)


def trunc(x, /):
    """Return `x` without its fraction, elementwise: rounded towards zero.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype; integers come back as they are.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.trunc(tl.tensor([1.5, -1.5]))
    tensor([ 1., -1.])
    """
    cdef Tensor a = as_tensor("trunc", x)
    return _trunc.apply(a) if is_float_code(a.buf.dtype) else copy(a)


def positive(x, /):
    """Return `x` itself: ``+x``.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        For bool.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.positive(tl.tensor([1.5, -1.5]))
    tensor([ 1.5, -1.5])
    """
    cdef Tensor a = as_tensor("positive", x)
    if a.buf.dtype == TL_BOOL:
        raise DTypeError("positive: expected a numeric tensor, got bool")
    return a
