"""Rectifiers and other activations that take numbers, as leaky_relu its slope."""
from tensorlib.autograd.batch cimport aligned
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, record1, record2, run1, run2, tracking,
)
from tensorlib.core.abi cimport tl_activation_params
from tensorlib.core.tensor cimport Tensor, new_ordered
from tensorlib.ops.elementwise cimport (
    SAVE_A, SAVE_B, Binary, Unary, as_float, as_tensor, full_like,
    new_result,
)
from tensorlib.ops.logic cimport select
from tensorlib.ops.shape cimport reshape_like

from tensorlib.core.errors import DTypeError, ShapeError, rename
from tensorlib.ops.arguments import float_of
from tensorlib.ops.mathematics import exp

# Klambauer et al. 2017, equation 14, to double precision.
cdef double SELU_ALPHA = 1.6732632423543772848170429916717
cdef double SELU_SCALE = 1.0507009873554804934193349852946


cdef class Numbers:
    """What an activation was given, kept with its node."""
    cdef tl_activation_params params


cdef double number(str op, str name, object value) except? -1.0:
    return value if type(value) is float else float_of(op, name, value)


cdef Numbers numbers(double a, double b=0.0, double c=0.0):
    cdef Numbers how = Numbers.__new__(Numbers)
    how.params.a, how.params.b, how.params.c = a, b, c
    return how


cdef class Shaped(Unary):
    """An activation with numbers; its gradient reads the input and the numbers."""
    cdef ShapedGrad gradient

    def __cinit__(self, str name, ShapedGrad gradient):
        self.gradient = gradient

    cdef Tensor shape_by(self, Tensor a, Numbers how):
        cdef Tensor out
        a = as_float(a)
        out = new_ordered(a, a.buf.dtype)
        run1(self, out, &a.buf, &how.params)
        if a.track and tracking(a.track):
            record1(self, out, a, (a,), False, how)
        return out

    cdef Tensor derivative(self, Node node, Tensor g):
        return self.gradient.weigh(g, node.get(0), <Numbers>node.params)


cdef class ShapedGrad(Primitive):
    """g * f'(x), linear in g; f'' is 0 unless a subclass says otherwise."""

    cdef Tensor weigh(self, Tensor g, Tensor x, Numbers how):
        cdef Tensor out
        g, x = aligned(self.name, (g, x))
        out = new_result(x, g, x.buf.dtype)
        run2(self, out, &g.buf, &x.buf, &how.params)
        if g.track | x.track and tracking(g.track | x.track):
            record2(self, out, g, x, (g, x), False, how)
        return out

    cdef Tensor bent(self, Node node, Tensor t):
        return t * full_like(node.get(1).detach(), 0)

    cdef tuple vjp(self, Node node, Tensor g):
        return (
            self.weigh(g, node.get(1), <Numbers>node.params)
            if node.needs(0) else None,
            self.bent(node, g) if node.needs(1) else None,
        )

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        if tangents[0] is not None:
            out = self.weigh(
                <Tensor>tangents[0], node.get(1), <Numbers>node.params
            )
        if tangents[1] is not None:
            out = add_tangents(out, self.bent(node, <Tensor>tangents[1]))
        return out


cdef class EluGrad(ShapedGrad):
    """b below 0 becomes a b c e^(c x), whose derivative is c times that."""

    cdef Tensor bent(self, Node node, Tensor t):
        cdef tl_activation_params *s = &(<Numbers>node.params).params
        x = node.get(1)
        below = select(x > 0, 0.0, x)
        curve = exp(below * s.c) * (s.a * s.b * s.c * s.c)
        return t * node.get(0) * select(x > 0, 0.0, curve)


cdef class Prelu(Binary):
    """x above 0, slope * x below; both are differentiable."""

    def __cinit__(self, str name):
        self.saves = SAVE_A | SAVE_B
        self.float_only = True

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return select(node.get(0) > 0, g, g * node.get(1))

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return select(node.get(0) > 0, 0.0, g * node.get(0))


cdef Prelu _prelu = Prelu("prelu")
cdef ShapedGrad _shrink_grad = ShapedGrad("shrink_grad")
cdef Shaped _hardshrink = Shaped("hardshrink", _shrink_grad)
cdef Shaped _softshrink = Shaped("softshrink", _shrink_grad)
cdef Shaped _leaky_relu = Shaped("leaky_relu", ShapedGrad("leaky_relu_grad"))
cdef Shaped _elu = Shaped("elu", EluGrad("elu_grad"))
cdef Shaped _hardtanh = Shaped("hardtanh", ShapedGrad("hardtanh_grad"))
cdef Shaped _threshold = Shaped("threshold", ShapedGrad("threshold_grad"))


cdef object _shaped(str op, Shaped p, object x, Numbers how):
    """An activation that is another with certain numbers, under its own name."""
    try:
        return p.shape_by(as_tensor(op, x), how)
    except DTypeError as error:
        rename(error, op)
        raise


def leaky_relu(x, /, negative_slope=0.01):
    """Return `x` where positive, ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.
    negative_slope : float, default 0.01

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    The gradient at 0 is the slope. Rounded once.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.leaky_relu(tl.tensor([-2.0, 2.0]), 0.5)
    tensor([-1.,  2.])
    """
    return _leaky_relu.shape_by(as_tensor("leaky_relu", x), numbers(
        number("leaky_relu", "negative_slope", negative_slope)
    ))


def elu(x, /, alpha=1.0):
    """Return `x` where positive, ``alpha * (exp(x) - 1)`` elsewhere.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.
    alpha : float, default 1

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    Within 3 ulp.

    References
    ----------
    D.-A. Clevert et al., "Fast and Accurate Deep Network Learning by Exponential
    Linear Units", arXiv:1511.07289, equation 16.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.elu(tl.tensor([-1e4, 2.0]))
    tensor([-1.,  2.])
    """
    return _elu.shape_by(
        as_tensor("elu", x), numbers(number("elu", "alpha", alpha), 1.0, 1.0)
    )


def selu(x, /):
    """Return the scaled exponential linear unit elementwise.

    ``scale * elu(x, alpha)`` with alpha = 1.6733 and scale = 1.0507, for which
    activations tend to mean 0 and variance 1.

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
    Within 4 ulp.

    References
    ----------
    G. Klambauer et al., "Self-Normalizing Neural Networks", NeurIPS 2017, equation 2
    and, for the constants, 14.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.selu(tl.tensor([1.0]))
    tensor([1.050701])
    """
    return _shaped("selu", _elu, x, numbers(SELU_ALPHA, SELU_SCALE, 1.0))


def celu(x, /, alpha=1.0):
    """Return `x` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.
    alpha : float, default 1

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Raises
    ------
    ValueError
        If `alpha` is 0.

    Notes
    -----
    Its derivative is continuous for every `alpha`. Within 4 ulp.

    References
    ----------
    J. T. Barron, "Continuously Differentiable Exponential Linear Units",
    arXiv:1704.07483, equation 2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.celu(tl.tensor([-1e4, 2.0]), 0.5)
    tensor([-0.5,  2. ])
    """
    cdef double a = number("celu", "alpha", alpha)
    if a == 0:
        raise ValueError("celu: expected alpha != 0, got 0")
    return _shaped("celu", _elu, x, numbers(a, 1.0, 1.0 / a))


def hardtanh(x, /, min_val=-1.0, max_val=1.0):
    """Return `x` kept within ``[min_val, max_val]``.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.
    min_val, max_val : float, default -1 and 1

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Raises
    ------
    ValueError
        If `min_val` is larger than `max_val`.

    Notes
    -----
    The gradient at the bounds is 0, unlike that of `clip`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.hardtanh(tl.tensor([-4.0, 0.5, 4.0]))
    tensor([-1. ,  0.5,  1. ])
    """
    cdef double low = number("hardtanh", "min_val", min_val)
    cdef double high = number("hardtanh", "max_val", max_val)
    if low > high:
        raise ValueError(
            f"hardtanh: expected min_val <= max_val, got {min_val} and {max_val}"
        )
    return _hardtanh.shape_by(as_tensor("hardtanh", x), numbers(low, high))


def relu6(x, /):
    """Return ``min(max(x, 0), 6)`` elementwise.

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
    The gradient at 0 and 6 is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.relu6(tl.tensor([-4.0, 4.0, 8.0]))
    tensor([0., 4., 6.])
    """
    return _shaped("relu6", _hardtanh, x, numbers(0.0, 6.0))


def threshold(x, threshold, value, /):
    """Return `x` where it is above `threshold`, `value` elsewhere.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.
    threshold, value : float

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Notes
    -----
    The gradient at the threshold is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.threshold(tl.tensor([0.1, 0.2]), 0.1, 20.0)
    tensor([20. ,  0.2])
    """
    return _threshold.shape_by(as_tensor("threshold", x), numbers(
        number("threshold", "threshold", threshold), number("threshold", "value", value)
    ))


def hardshrink(x, /, lambd=0.5):
    """Return 0 where ``|x| <= lambd``, `x` elsewhere.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.
    lambd : float, default 0.5

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.hardshrink(tl.tensor([0.25, -2.0]))
    tensor([ 0., -2.])
    """
    return _hardshrink.shape_by(
        as_tensor("hardshrink", x), numbers(number("hardshrink", "lambd", lambd))
    )


def softshrink(x, /, lambd=0.5):
    """Return `x` moved towards 0 by `lambd`, and 0 within that distance.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.
    lambd : float, default 0.5

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Raises
    ------
    ValueError
        If `lambd` is negative.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.softshrink(tl.tensor([0.25, -2.0]))
    tensor([ 0. , -1.5])
    """
    cdef double margin = number("softshrink", "lambd", lambd)
    if not margin >= 0:
        raise ValueError(f"softshrink: expected lambd >= 0, got {lambd}")
    return _softshrink.shape_by(as_tensor("softshrink", x), numbers(margin))


def prelu(x, weight, /):
    """Return `x` where positive, ``weight * x`` elsewhere, the slope being learned.

    Parameters
    ----------
    x : Tensor of shape (N, C, ...)
        Integers and bool are computed in float32.
    weight : Tensor of shape (C,), or of one element
        A slope for each channel (axis 1), or one for all.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ShapeError
        If `weight` has neither one element nor one for each channel.

    Notes
    -----
    The gradient at 0 is the slope.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", arXiv:1502.01852, equation 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.prelu(tl.tensor([[-2.0, -2.0]]), tl.tensor([0.5, 0.0]))
    tensor([[-1., -0.]])
    """
    cdef Tensor a = as_tensor("prelu", x)
    cdef Tensor w = as_tensor("prelu", weight)
    channels = a.shape[1] if a.buf.ndim > 1 else 1
    if w.buf.ndim > 1 or w.buf.size not in (1, channels):
        raise ShapeError(
            f"prelu: expected weight of shape (1,) or ({channels},), got {w.shape}"
        )
    if w.buf.size != 1 or a.buf.ndim > 1:
        w = reshape_like(w, (w.buf.size,) + (1,) * (a.buf.ndim - 2))
    elif a.buf.ndim == 0:
        w = reshape_like(w, ())
    return _prelu.apply(a, w)
