"""Activation functions.

The derivative of each is a primitive of its own (one pass over memory), whose rules
give the second derivatives.
"""
from libc.math cimport M_PI, sqrt as c_sqrt
from tensorlib.autograd.batch cimport aligned
from tensorlib.autograd.primitive cimport (
    Node, Primitive, differentiated, record1, run, tracking,
)
from tensorlib.core.abi cimport tl_buffer, tl_glu_params
from tensorlib.core.dtype cimport dtype_sizes, working_code
from tensorlib.core.layout cimport copy_layout, parse_axis, update_layout
from tensorlib.core.tensor cimport Tensor, new_like, new_tensor
from tensorlib.ops.composite cimport Composite
from tensorlib.ops.elementwise cimport (
    SAVE_A, SAVE_B, SAVE_OUT, Binary, Unary, as_float, as_tensor, cast, contiguous,
    full_like,
)
from tensorlib.ops.logic cimport select

from tensorlib.core.errors import ShapeError
from tensorlib.ops.joining import split
from tensorlib.ops.mathematics import exp, tanh


cdef class Activation(Unary):
    """An activation whose derivative primitive reads its input or its output."""
    cdef Binary gradient

    def __cinit__(self, str name, int saves, Binary gradient):
        self.saves = saves
        self.gradient = gradient
        self.float_only = name != "relu"

    cdef Tensor derivative(self, Node node, Tensor g):
        if self.saves & SAVE_OUT:
            return self.gradient.apply(g, node.output())
        return self.gradient.apply(g, node.get(0))


cdef class ActivationGrad(Binary):
    """g * f'(x), linear in g; a subclass says g * f''(x)."""

    def __cinit__(self, str name):
        self.saves = SAVE_A | SAVE_B

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return self.apply(g, node.get(1))

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return g * node.get(0) * self.second(node.get(1))

    cdef Tensor second(self, Tensor x):
        raise AssertionError("a subclass gives the second derivative")


cdef class ReluGrad(ActivationGrad):
    """Also of other activations made of straight pieces."""

    cdef Tensor second(self, Tensor x):
        return full_like(x, 0)


cdef class SigmoidGrad(ActivationGrad):
    """Reads y = sigmoid(x): d/dy of y * (1 - y)."""

    cdef Tensor second(self, Tensor x):
        return 1 - x * 2


cdef class GeluGrad(ActivationGrad):
    """(Phi(x) + x phi(x))' = phi(x) * (2 - x^2)."""

    cdef Tensor second(self, Tensor x):
        squared = x * x
        return exp(squared * -0.5) * (2 - squared) * (1 / c_sqrt(2 * M_PI))


cdef class GeluTanhGrad(ActivationGrad):
    """Second derivative of 0.5 x (1 + tanh u), u = k (x + c x^3)."""

    cdef Tensor second(self, Tensor x):
        cdef double k = c_sqrt(2 / M_PI)
        cdef double c = 0.044715
        t = tanh((x + x * x * x * c) * k)
        slope = (x * x * (3 * c) + 1) * k
        sech2 = 1 - t * t
        bend = x * (6 * c * k) - t * slope * slope * 2
        return sech2 * (slope + x * bend * 0.5)


cdef class SiluGrad(ActivationGrad):
    """(s + x s')' = s (1 - s) (2 + x (1 - 2 s))."""

    cdef Tensor second(self, Tensor x):
        s = _sigmoid.apply(x)
        return s * (1 - s) * (x * (1 - s * 2) + 2)


cdef class HardswishGrad(ActivationGrad):
    cdef Tensor second(self, Tensor x):
        return select((x > -3) & (x < 3), full_like(x, 1.0 / 3), 0.0)


cdef class SoftsignGrad(ActivationGrad):
    """(1 + |x|)^-2."""

    cdef Tensor second(self, Tensor x):
        return x.sign() * -2 / (x.abs() + 1) ** 3


cdef class MishGrad(ActivationGrad):
    """With t = tanh(softplus(x)), t' = (1 - t^2) s and s' = s (1 - s)."""

    cdef Tensor second(self, Tensor x):
        s = _sigmoid.apply(x)
        t = tanh(_softplus.apply(x))
        slope = (1 - t * t) * s
        return slope * (2 + x * (1 - s - t * s * 2))


cdef class Glu(Composite):
    """Input x, saved; params: the axis along which value and gate lie."""

    cdef Tensor apply(self, Tensor x, int axis):
        cdef tl_buffer value, gate
        cdef const tl_buffer *read[2]
        cdef const tl_buffer *written
        cdef Tensor y
        _halves(x, axis, &value, &gate)
        y = new_tensor(&value, x.buf.dtype, x.buf.device_type, x.buf.device_index)
        read[0], read[1], written = &value, &gate, &y.buf
        run(self, x.buf.dtype, &written, 1, read, 2, NULL, x.buf.size)
        if x.track and tracking(x.track):
            record1(self, y, x, (x,), False, axis)
        return y

    cdef tuple vjp(self, Node node, Tensor g):
        if differentiated():
            return self.composed_vjp(node, g)
        return (self.kernel_vjp(node.get(0), contiguous(g), node.params),)

    cdef Tensor kernel_vjp(self, Tensor x, Tensor g, int axis):
        cdef int wide = working_code(x.buf.dtype)
        if wide != x.buf.dtype:     # the kernel writes behind its output
            return cast(
                self.kernel_vjp(cast(x, wide), cast(g, wide), axis), x.buf.dtype
            )
        return self.gradient(x, g, axis)

    cdef Tensor gradient(self, Tensor x, Tensor g, int axis):
        cdef tl_buffer value, gate, target, behind
        cdef tl_glu_params params
        cdef const tl_buffer *read[3]
        cdef const tl_buffer *written = &target
        cdef Tensor found
        x, g = aligned(self.name, (x, g))
        found = new_like(x, x.buf.dtype)
        _halves(x, axis, &value, &gate)
        _halves(found, axis, &target, &behind)
        params.apart = found.buf.strides[axis] * target.shape[axis]
        read[0], read[1], read[2] = &g.buf, &value, &gate
        run(_glu_grad, x.buf.dtype, &written, 1, read, 3, &params, x.buf.size)
        return found

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.composed_jvp(node, tangents)

    cdef Tensor compose(self, tuple inputs, object params):
        half = inputs[0].shape[params] // 2
        value, gate = split(inputs[0], (half, half), axis=params)
        return value * _sigmoid.apply(gate)


cdef void _halves(
    Tensor x, int axis, tl_buffer *first, tl_buffer *second
) noexcept:
    """Views of x's halves along an axis of even length."""
    copy_layout(first, &x.buf)
    first.shape[axis] = x.buf.shape[axis] // 2
    update_layout(first)
    second[0] = first[0]
    second.data = <char *>x.buf.data + (
        first.shape[axis] * x.buf.strides[axis] * dtype_sizes()[x.buf.dtype]
    )


cdef class LogSigmoid(Unary):
    def __cinit__(self, str name):
        self.saves = SAVE_A
        self.float_only = True

    cdef Tensor derivative(self, Node node, Tensor g):
        return g * _sigmoid.apply(-node.get(0))


cdef class Tanhshrink(Unary):
    def __cinit__(self, str name):
        self.saves = SAVE_A
        self.float_only = True

    cdef Tensor derivative(self, Node node, Tensor g):
        t = tanh(node.get(0))
        return g * (t * t)


cdef class Softplus(Unary):
    def __cinit__(self, str name):
        self.saves = SAVE_A
        self.float_only = True

    cdef Tensor derivative(self, Node node, Tensor g):
        return g * _sigmoid.apply(node.get(0))


cdef Activation _relu = Activation("relu", SAVE_OUT, ReluGrad("relu_grad"))
cdef Activation _sigmoid = Activation("sigmoid", SAVE_OUT, SigmoidGrad("sigmoid_grad"))
cdef Activation _silu = Activation("silu", SAVE_A, SiluGrad("silu_grad"))
cdef Activation _gelu = Activation("gelu", SAVE_A, GeluGrad("gelu_grad"))
cdef Activation _gelu_tanh = Activation(
    "gelu_tanh", SAVE_A, GeluTanhGrad("gelu_tanh_grad")
)
cdef Softplus _softplus = Softplus("softplus")
cdef Activation _softsign = Activation(
    "softsign", SAVE_A, SoftsignGrad("softsign_grad")
)
cdef Activation _hardsigmoid = Activation(
    "hardsigmoid", SAVE_A, ReluGrad("hardsigmoid_grad")
)
cdef Activation _hardswish = Activation(
    "hardswish", SAVE_A, HardswishGrad("hardswish_grad")
)
cdef Activation _mish = Activation("mish", SAVE_A, MishGrad("mish_grad"))
cdef Glu _glu = Glu("glu")
cdef Primitive _glu_grad = Primitive("glu_grad")
cdef LogSigmoid _log_sigmoid = LogSigmoid("log_sigmoid")
cdef Tanhshrink _tanhshrink = Tanhshrink("tanhshrink")


def relu(x, /):
    """Return ``max(x, 0)`` elementwise.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Notes
    -----
    The gradient at 0 is 0. NaN stays NaN.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.relu(tl.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return _relu.apply(as_tensor("relu", x))


def sigmoid(x, /):
    """Return the logistic function elementwise.

    ``1 / (1 + exp(-x))``

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
    Within 2.3 ulp, subnormal results included.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.sigmoid(tl.tensor([0.0]))
    tensor([0.5])
    """
    return _sigmoid.apply(as_tensor("sigmoid", x))


def silu(x, /):
    """Return ``x * sigmoid(x)`` elementwise, also called swish.

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
    >>> tl.silu(tl.tensor([0.0]))
    tensor([0.])
    """
    return _silu.apply(as_tensor("silu", x))


def softplus(x, /):
    """Return ``log(1 + exp(x))`` elementwise, without overflow.

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
    >>> tl.softplus(tl.tensor([1000.0]))
    tensor([1000.])
    """
    return _softplus.apply(as_tensor("softplus", x))


def gelu(x, /, *, approximate="none"):
    """Return the Gaussian error linear unit elementwise.

    ``x * Phi(x)`` with the normal distribution function ``Phi``, or its form with
    tanh, ``0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.
    approximate : {"none", "tanh"}
        Which form.

    Returns
    -------
    Tensor
        Of floating dtype and the shape of `x`.

    Raises
    ------
    ValueError
        If `approximate` is neither.

    Notes
    -----
    Within 4 ulp and, with tanh, 3.3 ulp, also far below 0,
    where ``1 + erf`` and ``1 + tanh`` would cancel; -0 at minus infinity.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.gelu(tl.tensor([0.0]))
    tensor([0.])
    """
    if approximate == "none":
        return _gelu.apply(as_tensor("gelu", x))
    if approximate == "tanh":
        return _gelu_tanh.apply(as_tensor("gelu", x))
    raise ValueError(
        f"gelu: expected approximate 'none' or 'tanh', got {approximate!r}"
    )


def mish(x, /):
    """Return ``x * tanh(log(1 + exp(x)))`` elementwise.

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
    Within 4 ulp; -0 at minus infinity.

    References
    ----------
    D. Misra, "Mish: A Self Regularized Non-Monotonic Activation Function",
    arXiv:1908.08681.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.mish(tl.tensor([0.0, 1e4]))
    tensor([    0., 10000.])
    """
    return _mish.apply(as_tensor("mish", x))


def hardswish(x, /):
    """Return ``x * clip(x + 3, 0, 6) / 6`` elementwise.

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
    The gradient at -3 is 0 and at 3 is 1. Within 2 ulp of the parts.

    References
    ----------
    A. Howard et al., "Searching for MobileNetV3", arXiv:1905.02244, section 5.2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.hardswish(tl.tensor([-4.0, 0.0, 4.0]))
    tensor([-0.,  0.,  4.])
    """
    return _hardswish.apply(as_tensor("hardswish", x))


def hardsigmoid(x, /):
    """Return ``clip(x + 3, 0, 6) / 6`` elementwise.

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
    The gradient at -3 and 3 is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.hardsigmoid(tl.tensor([-4.0, 0.0, 4.0]))
    tensor([0. , 0.5, 1. ])
    """
    return _hardsigmoid.apply(as_tensor("hardsigmoid", x))


def log_sigmoid(x, /):
    """Return ``log(1 / (1 + exp(-x)))`` elementwise, without overflow.

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
    Within 3 ulp.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.log_sigmoid(tl.tensor([-1000.0]))
    tensor([-1000.])
    """
    return _log_sigmoid.apply(as_tensor("log_sigmoid", x))


def softsign(x, /):
    """Return ``x / (1 + |x|)`` elementwise.

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
    Within 1.5 ulp; 1 and -1 at the infinities.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.softsign(tl.tensor([-1.0, tl.inf]))
    tensor([-0.5,  1. ])
    """
    return _softsign.apply(as_tensor("softsign", x))


def tanhshrink(x, /):
    """Return ``x - tanh(x)`` elementwise.

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
    Within 4 ulp, near 0 too, where the difference would cancel.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tanhshrink(tl.tensor([0.0, 1e4]))
    tensor([   0., 9999.])
    """
    return _tanhshrink.apply(as_tensor("tanhshrink", x))


def glu(x, /, axis=-1):
    """Return the first half of `x` along an axis times the sigmoid of the second.

    Parameters
    ----------
    x : Tensor
        Integers and bool are computed in float32.
    axis : int, default -1
        Of even length.

    Returns
    -------
    Tensor
        Half as long along `axis`.

    Raises
    ------
    ShapeError
        If the axis has an odd length or does not exist.

    References
    ----------
    Y. Dauphin et al., "Language Modeling with Gated Convolutional Networks",
    arXiv:1612.08083, equation 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.glu(tl.tensor([4.0, 0.0]))
    tensor([2.])
    """
    cdef Tensor a = as_float(as_tensor("glu", x))
    cdef int d = parse_axis("glu", axis, a.buf.ndim)
    if a.buf.shape[d] % 2:
        raise ShapeError(
            f"glu: expected an even length along axis {axis}, got shape {a.shape}"
        )
    return _glu.apply(a, d)
