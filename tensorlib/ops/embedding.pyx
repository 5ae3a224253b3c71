"""Embedding, one-hot and dropout."""
from tensorlib.autograd.batch cimport random_axes, repeat_draws
from tensorlib.autograd.primitive cimport Node, Primitive, record1, run1, tracking
from tensorlib.core.abi cimport TL_INT64, tl_random_params
from tensorlib.core.dtype cimport dtype_of, is_float_code, is_integer_code
from tensorlib.core.tensor cimport Tensor, new_like
from tensorlib.ops.elementwise cimport as_tensor, cast, contiguous, full_like
from tensorlib.ops.indexing cimport take_rows
from tensorlib.ops.random cimport Generator, source_of

from tensorlib.core.errors import DTypeError, GraphError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.core.tensor import is_batched
from tensorlib.ops.creation import arange, zeros
from tensorlib.ops.random import bernoulli
from tensorlib.ops.reduce import max as reduce_max
from tensorlib.ops.reduce import min as reduce_min
from tensorlib.ops.shape import expand_dims


def embedding(indices, weight, /):
    """Return the rows of `weight` that `indices` name.

    Parameters
    ----------
    indices : Tensor of integers, of any shape
    weight : Tensor of shape (rows, features)

    Returns
    -------
    Tensor of shape (*indices.shape, features)

    Raises
    ------
    IndexError
        If an index is out of range.

    Notes
    -----
    The gradient adds into the rows in a fixed order: the same bits every time.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.embedding(tl.tensor([1, 1]), tl.tensor([[0.0], [5.0]]))
    tensor([[5.],
            [5.]])
    """
    cdef Tensor w = as_tensor("embedding", weight)
    if w.buf.ndim != 2:
        raise ShapeError(
            f"embedding: expected weight of shape (rows, features), got {w.shape}"
        )
    return take_rows("embedding", w, as_tensor("embedding", indices))


cdef Tensor _one_hot_compared(Tensor a, object num_classes):
    """The same under vmap, where nobody can look at the classes."""
    if num_classes == -1:
        raise GraphError("one_hot: under vmap num_classes is needed")
    classes = arange(num_classes, device=a.device)
    return cast(<Tensor>(expand_dims(a, -1) == classes), TL_INT64)


@own_errors
def one_hot(x, /, num_classes=-1):
    """Return a tensor with a 1 at each class and 0 elsewhere.

    Parameters
    ----------
    x : Tensor of integers, of any shape
    num_classes : int, default -1
        -1 takes the largest class plus one.

    Returns
    -------
    Tensor of int64 of shape (*x.shape, num_classes)
        Under `vmap` a class out of range has no 1 instead of raising.

    Raises
    ------
    IndexError
        If a class is negative or not below `num_classes`.
    DTypeError
        If `x` is not of integers.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.one_hot(tl.tensor([0, 2]), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    cdef Tensor a = as_tensor("one_hot", x)
    if not is_integer_code(a.buf.dtype):
        raise DTypeError(f"one_hot: expected integers, got {dtype_of(a.buf.dtype)}")
    if is_batched(a):
        return _one_hot_compared(a, num_classes)
    if num_classes == -1:
        if a.buf.size == 0:
            raise ValueError("one_hot: num_classes is needed for an empty tensor")
        num_classes = int(reduce_max(a).item()) + 1
    if a.buf.size and (
        reduce_min(a).item() < 0 or reduce_max(a).item() >= num_classes
    ):
        raise IndexError(
            f"one_hot: expected classes in [0, {num_classes}), got values from "
            f"{reduce_min(a).item()} to {reduce_max(a).item()}"
        )
    out = zeros((*a.shape, num_classes), dtype=dtype_of(TL_INT64), device=a.device)
    rows = arange(a.buf.size, device=a.device) * num_classes
    out.reshape(out.size)[rows + cast(a, TL_INT64).reshape(a.buf.size)] = 1
    return out


cdef class Draws:
    """The place in the stream of one dropout, what it keeps and the factor on that."""
    cdef tl_random_params params


cdef class Dropout(Primitive):
    """Linear in x: the rules draw the same numbers again, and save nothing."""

    cdef Tensor apply(self, Tensor x, Draws draws):
        cdef Tensor out
        x = contiguous(x)
        out = new_like(x, x.buf.dtype)
        run1(self, out, &x.buf, &draws.params)
        if x.track and tracking(x.track):
            record1(self, out, x, (), False, draws)
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        return (self.apply(g, <Draws>node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.apply(<Tensor>tangents[0], <Draws>node.params)


cdef Dropout _dropout = Dropout("dropout")


def dropout(x, /, p=0.5, training=True, *, generator=None):
    """Zero each element with probability `p` and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    x : Tensor
        Floating.
    p : float in [0, 1], default 0.5
    training : bool, default True
        When False, return `x` itself.
    generator : Generator, optional
        Where the random numbers come from.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If `p` is not a probability.
    DTypeError
        If `x` is not floating.

    References
    ----------
    N. Srivastava et al., "Dropout", JMLR 15 (2014) 1929-1958.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.dropout(tl.ones(3), p=0.0)
    tensor([1., 1., 1.])
    """
    cdef Tensor a = as_tensor("dropout", x)
    cdef Draws draws = Draws.__new__(Draws)
    cdef Generator source
    if not isinstance(p, (int, float)) or not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: expected a probability p in [0, 1], got {p!r}")
    if not is_float_code(a.buf.dtype):
        raise DTypeError(f"dropout: expected floating x, got {dtype_of(a.buf.dtype)}")
    if not training or p == 0.0:
        return a
    if p == 1.0:
        return a * full_like(a.detach(), 0)
    draws.params.low, draws.params.high = 1.0 - p, 1.0 / (1.0 - p)
    if random_axes("dropout") is not None:
        # The kernel draws for one example; `bernoulli` does for each.
        mask = bernoulli(
            draws.params.low, a.shape, dtype=dtype_of(a.buf.dtype), device=a.device,
            generator=generator,
        )
        return a * (mask * draws.params.high)
    source = source_of("dropout", generator)
    repeat_draws(source)
    source.take(&draws.params, a.buf.size, 4)
    return _dropout.apply(a, draws)
