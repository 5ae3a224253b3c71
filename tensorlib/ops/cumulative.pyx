"""The cumulative product, with its kernels, which are loaded with this module."""
from tensorlib.autograd.primitive cimport Node, record1, run1, tracking
from tensorlib.core.dtype cimport is_complex_code, sum_code
from tensorlib.core.tensor cimport Tensor, new_like
from tensorlib.ops.composite cimport Composite
from tensorlib.ops.reduce cimport moved_last

from tensorlib.core.tensor import is_batched
from tensorlib.kernels import load_families
from tensorlib.ops.joining import concat
from tensorlib.ops.reduce import cumsum
from tensorlib.ops.shape import flip

load_families("cumprod")


cdef bint _has_zeros(Tensor y):
    """Whether the product does, or may, under vmap, where nobody can look."""
    return is_batched(y) or (y.detach() == 0).any().item()


cdef class Cumprod(Composite):
    """params: the axis. Rules divide the output by x; where it has zeros, which tell
    nothing of their other factors, they are those of the definition.
    """

    cdef Tensor apply(self, Tensor x, int axis):
        cdef Tensor out, source
        if is_complex_code(x.buf.dtype):
            return self.compose((x,), axis)
        out = new_like(x, sum_code(x.buf.dtype))
        source = moved_last(x, axis)
        run1(self, moved_last(out, axis), &source.buf, NULL)
        if x.track and tracking(x.track):
            record1(self, out, x, (x,), True, axis)
        return out

    cdef Tensor compose(self, tuple inputs, object params):
        """By doubling: products of the whole with itself, moved by 1, 2, 4, ..."""
        y = inputs[0]
        before, step = (slice(None),) * params, 1
        while step < y.shape[params]:
            tail = y[(*before, slice(step, None))] * y[(*before, slice(None, -step))]
            y = concat((y[(*before, slice(None, step))], tail), axis=params)
            step *= 2
        return <Tensor>y

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor y = node.output()
        cdef int axis = node.params
        if _has_zeros(y):
            return self.composed_vjp(node, g)
        later = flip(cumsum(flip(g * y, axis), axis=axis), axis)
        return (later / node.get(0),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor y = node.output()
        if _has_zeros(y):
            return self.composed_jvp(node, tangents)
        return <Tensor>(y * cumsum(tangents[0] / node.get(0), axis=node.params))

    cdef tuple recorded_inputs(self, Node node):
        return (node.get(0),)


cdef Cumprod _cumprod = Cumprod("cumprod")


def cumprod(Tensor x not None, int axis):
    """Return the products of the elements up to each one along an axis in [0, ndim).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.cumulative import cumprod
    >>> cumprod(tl.tensor([1, 2, 3]), 0).tolist()
    [1, 2, 6]
    """
    return _cumprod.apply(x, axis)
