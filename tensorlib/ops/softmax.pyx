"""Softmax and its logarithm, along any axis."""
from tensorlib.autograd.batch cimport aligned, alike
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, record1, record2, run, tracking,
)
from tensorlib.core.abi cimport tl_buffer
from tensorlib.core.layout cimport parse_axis
from tensorlib.core.tensor cimport Tensor, new_like
from tensorlib.ops.elementwise cimport as_float, as_tensor
from tensorlib.ops.reduce cimport moved_last

from tensorlib.core.errors import DTypeError, rename
from tensorlib.ops.mathematics import exp
from tensorlib.ops.reduce import sum


cdef class AlongAxis(Primitive):
    """A kernel over the last axis, applied along any; params: the axis."""

    cdef Tensor apply(self, Tensor x, int axis):
        cdef Tensor out = new_like(x, x.buf.dtype)
        cdef Tensor source = moved_last(x, axis)
        cdef Tensor target = moved_last(out, axis)
        cdef const tl_buffer *written = &target.buf
        cdef const tl_buffer *read = &source.buf
        run(self, x.buf.dtype, &written, 1, &read, 1, NULL, x.buf.size)
        if x.track and tracking(x.track):
            record1(self, out, x, (), True, axis)
        return out


cdef class AlongAxisGrad(Primitive):
    """Two inputs (g, y), linear in g; params: the axis."""

    cdef Tensor apply(self, Tensor g, Tensor y, int axis):
        cdef Tensor out, moved_g, moved_y, target
        cdef const tl_buffer *written
        cdef const tl_buffer *inputs[2]
        if not alike(g, y):
            g, y = aligned(self.name, (g, y))
        out = new_like(y, y.buf.dtype)
        moved_g, moved_y = moved_last(g, axis), moved_last(y, axis)
        target = moved_last(out, axis)
        written = &target.buf
        inputs[0], inputs[1] = &moved_g.buf, &moved_y.buf
        run(self, y.buf.dtype, &written, 1, inputs, 2, NULL, y.buf.size)
        if g.track | y.track and tracking(g.track | y.track):
            record2(self, out, g, y, (g, y), False, axis)
        return out


cdef class Softmax(AlongAxis):
    cdef tuple vjp(self, Node node, Tensor g):
        return (_softmax_grad.apply(g, node.output(), node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _softmax_grad.apply(<Tensor>tangents[0], node.output(), node.params)


cdef class SoftmaxGrad(AlongAxisGrad):
    """y * (g - sum(g * y)): symmetric in g, so its own transpose."""

    cdef Tensor slope(self, Node node, Tensor t, bint transposed):
        g, y, axis = node.get(0), node.get(1), node.params
        inner = sum(g * y, axis=axis, keepdims=True)
        if transposed:
            return t * (g - inner) - g * sum(t * y, axis=axis, keepdims=True)
        return t * (g - inner) - y * sum(g * t, axis=axis, keepdims=True)

    cdef tuple vjp(self, Node node, Tensor g):
        return (
            self.apply(g, node.get(1), node.params) if node.needs(0) else None,
            self.slope(node, g, True) if node.needs(1) else None,
        )

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        if tangents[0] is not None:
            out = self.apply(<Tensor>tangents[0], node.get(1), node.params)
        if tangents[1] is not None:
            out = add_tangents(out, self.slope(node, <Tensor>tangents[1], False))
        return out


cdef class LogSoftmax(AlongAxis):
    cdef tuple vjp(self, Node node, Tensor g):
        return (_log_softmax_grad.apply(g, node.output(), node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        t = tangents[0]
        return t - sum(t * exp(node.output()), axis=node.params, keepdims=True)


cdef class LogSoftmaxGrad(AlongAxisGrad):
    """g - exp(y) * sum(g)."""

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor p = <Tensor>exp(node.get(1))
        axis = node.params
        total = sum(node.get(0), axis=axis, keepdims=True)
        return (g - sum(g * p, axis=axis, keepdims=True), -g * p * total)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        axis = node.params
        p = exp(node.get(1))
        if tangents[0] is not None:
            t = tangents[0]
            out = t - p * sum(t, axis=axis, keepdims=True)
        if tangents[1] is not None:
            total = sum(node.get(0), axis=axis, keepdims=True)
            out = add_tangents(out, -tangents[1] * p * total)
        return out


cdef Softmax _softmax = Softmax("softmax")
cdef SoftmaxGrad _softmax_grad = SoftmaxGrad("softmax_grad")
cdef LogSoftmax _log_softmax = LogSoftmax("log_softmax")
cdef LogSoftmaxGrad _log_softmax_grad = LogSoftmaxGrad("log_softmax_grad")


def softmax(x, /, axis=-1):
    """Return ``exp(x) / sum(exp(x))`` along an axis, without overflow.

    Parameters
    ----------
    x : Tensor
    axis : int, default -1

    Returns
    -------
    Tensor
        Of floating dtype; sums to 1 along `axis`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.softmax(tl.tensor([1000.0, 1000.0]))
    tensor([0.5, 0.5])
    """
    cdef Tensor a = as_float(as_tensor("softmax", x))
    return _softmax.apply(a, parse_axis("softmax", axis, a.buf.ndim))


def log_softmax(x, /, axis=-1):
    """Return ``x - logsumexp(x)`` along an axis.

    Parameters
    ----------
    x : Tensor
    axis : int, default -1

    Returns
    -------
    Tensor
        Of floating dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.log_softmax(tl.tensor([1000.0, 0.0]))
    tensor([    0., -1000.])
    """
    cdef Tensor a = as_float(as_tensor("log_softmax", x))
    return _log_softmax.apply(a, parse_axis("log_softmax", axis, a.buf.ndim))


def softmin(x, /, axis=-1):
    """Return ``softmax(-x)`` along an axis: the smallest element gets the most.

    Parameters
    ----------
    x : Tensor
    axis : int, default -1

    Returns
    -------
    Tensor
        Of floating dtype; sums to 1 along `axis`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.softmin(tl.tensor([1000.0, 0.0]))
    tensor([0., 1.])
    """
    cdef Tensor a = as_float(as_tensor("softmin", x))
    cdef int where = parse_axis("softmin", axis, a.buf.ndim)
    try:
        return _softmax.apply(-a, where)
    except DTypeError as error:
        rename(error, "softmin")
        raise
