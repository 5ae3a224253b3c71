"""Reductions and scans, and broadcasting, which is the sum's transpose.

A kernel sees its input with the kept axes first and the reduced ones last; the
permutation costs nothing, it is a layout on the stack.
"""
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport (
    Node, Primitive, record1, run, run1, tracking,
)
from tensorlib.core.abi cimport (
    TL_BOOL, TL_INT64, TL_MAX_NDIM, tl_buffer, tl_reduce_params,
)
from tensorlib.core.dtype cimport as_dtype, is_complex_code, sum_code
from tensorlib.core.layout cimport (
    broadcast_view, copy_layout, parse_axes, parse_axis, parse_shape, same_shape,
    set_contiguous, update_layout,
)
from tensorlib.core.tensor cimport Tensor, new_like, new_tensor, new_view
from tensorlib.ops.elementwise cimport as_float, as_tensor, cast, fill
from tensorlib.ops.logic cimport select
from tensorlib.ops.shape cimport reshape_like

from tensorlib.core.errors import ShapeError
from tensorlib.core.tensor import is_batched
from tensorlib.ops.arguments import float_of
from tensorlib.ops.mathematics import exp, sqrt
from tensorlib.ops.shape import expand_dims, flip


# ---- primitives ----------------------------------------------------------------
cdef class Broadcast(Primitive):
    """Zero strides over new axes; params: the input's shape."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (sum_to_shape(g, node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return broadcast(<Tensor>tangents[0], node.shape_tuple())


cdef class Reduction:
    """How a reduction was applied: kept with its node."""
    cdef tuple shape             # of the input
    cdef tuple kept_shape        # of the output with keepdims
    cdef tuple axes
    cdef int64_t count           # elements reduced into each output
    cdef double scale
    cdef double correction


cdef class Reduce(Primitive):
    """A reduction over axes; params: a Reduction."""
    cdef int saves               # 1: input, 2: output
    cdef bint to_bool
    cdef bint to_index
    cdef bint widens             # integers and bool give int64

    def __cinit__(self, str name, *, kernel=None, int saves=0, result=None):
        self.saves = saves
        self.to_bool = result == "bool"
        self.to_index = result == "index"
        self.widens = result == "wide"

    cdef Tensor apply(self, Tensor x, object axis, bint keepdims, Reduction how):
        cdef bint[TL_MAX_NDIM] mask
        cdef tl_buffer view, kept
        cdef tl_reduce_params params
        cdef const tl_buffer *target
        cdef const tl_buffer *source = &view
        cdef Tensor out
        cdef int dtype = x.buf.dtype
        parse_axes(self.name, axis, x.buf.ndim, mask)
        params.n_reduced = _arrange(&x.buf, mask, &view, &kept)
        how.count = x.buf.size // kept.size if kept.size else _extent(&x.buf, mask)
        if how.scale != 1.0:
            how.scale = 1.0 / how.count if how.count else INFINITY
        params.scale = how.scale
        params.correction = how.correction
        if self.to_bool:
            dtype = TL_BOOL
        elif self.to_index:
            dtype = TL_INT64
        elif self.widens:
            dtype = sum_code(dtype)
        out = new_tensor(&kept, dtype, x.buf.device_type, x.buf.device_index)
        target = &out.buf
        if how.count == 0 and kept.size and self.name in (
            "max", "min", "argmax", "argmin"
        ):
            raise ShapeError(
                f"{self.name}: cannot reduce zero elements, got shape {x.shape} "
                f"and axis {axis}"
            )
        run(self, x.buf.dtype, &target, 1, &source, 1, &params, x.buf.size)
        if keepdims or x.track:
            _keep_axes(&kept, &x.buf, mask)
        if x.track and not (self.to_bool or self.to_index) and tracking(x.track):
            how.shape = x.shape
            how.axes = tuple([d for d in range(x.buf.ndim) if mask[d]])
            how.kept_shape = tuple([kept.shape[d] for d in range(kept.ndim)])
            record1(self, out, x, (x,) if self.saves & 1 else (), self.saves & 2, how)
        if keepdims:
            return reshape_like(
                out, tuple([kept.shape[d] for d in range(kept.ndim)])
            )
        return out

    cdef Tensor spread(self, Node node, Tensor g):
        """g broadcast to the input's shape."""
        cdef Reduction how = <Reduction>node.params
        return broadcast(reshape_like(g, how.kept_shape), how.shape)

    cdef Tensor kept_output(self, Node node):
        return reshape_like(node.output(), (<Reduction>node.params).kept_shape)

    cdef Tensor total(self, Node node, Tensor t):
        """t summed over the reduced axes."""
        return <Tensor>sum(t, axis=(<Reduction>node.params).axes)


cdef int _arrange(
    const tl_buffer *x, const bint *mask, tl_buffer *view, tl_buffer *kept
) noexcept nogil:
    """Lay x out with its reduced axes last; kept gets the output's shape."""
    cdef int d, n = 0, reduced = 0
    copy_layout(view, x)
    for d in range(x.ndim):
        if not mask[d]:
            view.shape[n] = kept.shape[n] = x.shape[d]
            view.strides[n] = x.strides[d]
            n += 1
    kept.ndim = n
    for d in range(x.ndim):
        if mask[d]:
            view.shape[n + reduced] = x.shape[d]
            view.strides[n + reduced] = x.strides[d]
            reduced += 1
    set_contiguous(kept)
    update_layout(view)
    return reduced


cdef int64_t _extent(const tl_buffer *x, const bint *mask) noexcept nogil:
    cdef int64_t count = 1
    cdef int d
    for d in range(x.ndim):
        if mask[d]:
            count *= x.shape[d]
    return count


cdef void _keep_axes(tl_buffer *kept, const tl_buffer *x, const bint *mask) noexcept:
    cdef int d
    kept.ndim = x.ndim
    for d in range(x.ndim):
        kept.shape[d] = 1 if mask[d] else x.shape[d]
    set_contiguous(kept)


cdef class Sum(Reduce):
    """Also the mean: the sum times 1 / count."""

    cdef tuple vjp(self, Node node, Tensor g):
        cdef double scale = (<Reduction>node.params).scale
        return (self.spread(node, g if scale == 1.0 else g * scale),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef double scale = (<Reduction>node.params).scale
        cdef Tensor t = self.total(node, <Tensor>tangents[0])
        return t if scale == 1.0 else t * scale


cdef class Prod(Reduce):
    """The partial derivative is the product of the other elements."""

    cdef Tensor others(self, Node node):
        cdef Reduction how = <Reduction>node.params
        cdef Tensor x = node.get(0)
        if not is_batched(x) and not (x == 0).any():
            return self.kept_output(node) / x
        # With zeros, leave each element out in turn: n^2 products, right to any order.
        n = how.count
        kept = [d for d in range(x.buf.ndim) if d not in how.axes]
        order = kept + list(how.axes)
        rows = x.permute_dims(*order).reshape(-1, 1, n)
        left_out = select(_diagonal(rows, n), 1, rows).prod(axis=-1)
        moved = left_out.reshape(*[how.shape[d] for d in order])
        return moved.permute_dims(*[order.index(d) for d in range(x.buf.ndim)])

    cdef tuple vjp(self, Node node, Tensor g):
        return (self.spread(node, g) * self.others(node),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.total(node, tangents[0] * self.others(node))


cdef Tensor _diagonal(Tensor like, int64_t n):
    """The bool identity matrix of n rows, where `like` is."""
    cdef tl_buffer shape
    cdef Tensor ones
    shape.ndim = 1
    shape.shape[0] = n
    ones = new_tensor(
        &shape, TL_INT64, like.buf.device_type, like.buf.device_index
    )
    fill(ones, 1)
    positions = _cumsum.apply(ones, 0)
    return expand_dims(positions, 1) == positions


cdef class Extremum(Reduce):
    """Equal extrema share the gradient evenly."""

    cdef Tensor weights(self, Node node):
        cdef Tensor mask = node.get(0) == self.kept_output(node)
        cdef Tensor hits = cast(mask, node.dtype)
        return hits / <Tensor>sum(
            hits, axis=(<Reduction>node.params).axes, keepdims=True
        )

    cdef tuple vjp(self, Node node, Tensor g):
        return (self.spread(node, g) * self.weights(node),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.total(node, tangents[0] * self.weights(node))


cdef class Var(Reduce):
    cdef Tensor slope(self, Node node):
        cdef Reduction how = <Reduction>node.params
        cdef Tensor x = node.get(0)
        cdef double divisor = how.count - how.correction
        centred = x - mean(x, axis=how.axes, keepdims=True)
        return centred * (2.0 / divisor if divisor > 0 else INFINITY)

    cdef tuple vjp(self, Node node, Tensor g):
        return (self.spread(node, g) * self.slope(node),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.total(node, tangents[0] * self.slope(node))


cdef class LogSumExp(Reduce):
    cdef Tensor weights(self, Node node):
        # Where everything is -inf the weights are zero, not NaN.
        out = self.kept_output(node)
        return exp(node.get(0) - select(out == -INFINITY, 0.0, out))

    cdef tuple vjp(self, Node node, Tensor g):
        return (self.spread(node, g) * self.weights(node),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.total(node, tangents[0] * self.weights(node))


cdef class Cumsum(Primitive):
    """A running sum; params: the axis. Its transpose runs from the other end."""

    cdef Tensor apply(self, Tensor x, int axis):
        cdef Tensor out = new_like(x, sum_code(x.buf.dtype))
        cdef Tensor source = moved_last(x, axis)
        cdef Tensor target = moved_last(out, axis)
        run1(self, target, &source.buf, NULL)
        if x.track and tracking(x.track):
            record1(self, out, x, (), False, axis)
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        axis = node.params
        return (flip(self.apply(flip(g, axis), axis), axis),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.apply(<Tensor>tangents[0], node.params)


cdef Tensor moved_last(Tensor x, int axis):
    """x with axis last, outside the graph."""
    cdef tl_buffer view, kept
    cdef bint[TL_MAX_NDIM] mask
    cdef int d
    for d in range(x.buf.ndim):
        mask[d] = d == axis
    _arrange(&x.buf, mask, &view, &kept)
    return new_view(x, &view)


cdef Broadcast _broadcast = Broadcast("broadcast_to")
cdef Sum _sum = Sum("sum", result="wide")
cdef Sum _mean = Sum("mean", kernel="sum")
cdef Prod _prod = Prod("prod", saves=3, result="wide")
cdef Extremum _max = Extremum("max", saves=3)
cdef Extremum _min = Extremum("min", saves=3)
cdef Reduce _argmax = Reduce("argmax", result="index")
cdef Reduce _argmin = Reduce("argmin", result="index")
cdef Reduce _any = Reduce("any", result="bool")
cdef Reduce _all = Reduce("all", result="bool")
cdef Var _var = Var("var", saves=1)
cdef LogSumExp _logsumexp = LogSumExp("logsumexp", saves=3)
cdef Cumsum _cumsum = Cumsum("cumsum")


cdef Reduction _plan(double scale=1.0, double correction=0.0):
    cdef Reduction how = Reduction.__new__(Reduction)
    how.scale = scale
    how.correction = correction
    return how


cdef Tensor _in(str op, object x, object dtype):
    """The tensor in the dtype asked for, if one was."""
    cdef Tensor a = as_tensor(op, x)
    return a if dtype is None else cast(a, as_dtype(dtype).code)


def _complex():
    from tensorlib.ops import complex

    return complex


cdef Tensor _truth(str op, object x):
    cdef Tensor a = as_tensor(op, x)
    return <Tensor>(a != 0) if is_complex_code(a.buf.dtype) else a


# ---- broadcasting --------------------------------------------------------------
cdef Tensor broadcast(Tensor x, tuple shape):
    cdef tl_buffer target, layout
    cdef Tensor out
    parse_shape("broadcast_to", shape, &target)
    if same_shape(&target, &x.buf):
        return x
    if broadcast_view(&layout, &x.buf, &target) < 0:
        raise ShapeError(
            f"broadcast_to: shape {x.shape} does not broadcast to {shape}"
        )
    out = new_view(x, &layout)
    if x.track and tracking(x.track):
        record1(_broadcast, out, x, (), False, x.shape)
    return out


cdef Tensor sum_to_shape(Tensor g, tuple shape):
    """Sum g over the axes along which `shape` was broadcast to g's shape."""
    cdef int lead = g.buf.ndim - <int>len(shape)
    cdef int d
    axes = [d for d in range(lead)]
    axes += [
        d for d in range(lead, g.buf.ndim)
        if shape[d - lead] == 1 and g.buf.shape[d] != 1
    ]
    if axes:
        g = <Tensor>sum(g, axis=tuple(axes), keepdims=True)
    return reshape_like(g, shape)


def broadcast_to(x, /, shape):
    """Return a read-only-by-use view of `x` broadcast to `shape` by zero strides.

    Parameters
    ----------
    x : Tensor
    shape : int or tuple of int

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If `x` does not broadcast to `shape`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.broadcast_to(tl.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    cdef tl_buffer target
    parse_shape("broadcast_to", shape, &target)
    return broadcast(as_tensor("broadcast_to", x), tuple(
        [target.shape[d] for d in range(target.ndim)]
    ))


# ---- public functions ----------------------------------------------------------
def sum(x, /, axis=None, keepdims=False, *, dtype=None):
    """Return the sum of elements over axes.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.
    dtype : DType, optional
        Compute and return in this dtype.

    Returns
    -------
    Tensor
        Integers and bool sum in int64.

    Notes
    -----
    Summed in blocks: the error grows with the logarithm of the count. The bits do
    not depend on the number of threads.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.sum(tl.tensor([[1, 2], [3, 4]]), axis=0)
    tensor([4, 6])
    """
    cdef Tensor a = _in("sum", x, dtype)
    if is_complex_code(a.buf.dtype):
        return _complex().reduced(sum, a, axis, keepdims)
    return _in("sum", _sum.apply(a, axis, keepdims, _plan()), dtype)


def mean(x, /, axis=None, keepdims=False):
    """Return the arithmetic mean of elements over axes; NaN when there are none.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Floating; integers are averaged in float32.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.mean(tl.tensor([1.0, 2.0, 6.0]))
    tensor(3.)
    """
    cdef Tensor a = as_float(as_tensor("mean", x))
    if is_complex_code(a.buf.dtype):
        return _complex().reduced(mean, a, axis, keepdims)
    return _mean.apply(a, axis, keepdims, _plan(0.0))


def prod(x, /, axis=None, keepdims=False, *, dtype=None):
    """Return the product of elements over axes; 1 when there are none.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.
    dtype : DType, optional
        Compute and return in this dtype.

    Returns
    -------
    Tensor
        Integers and bool multiply in int64.

    Notes
    -----
    The gradient is right where elements are zero.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.prod(tl.tensor([2, 3, 4]))
    tensor(24)
    """
    cdef Tensor a = _in("prod", x, dtype)
    if is_complex_code(a.buf.dtype):
        return _complex().product(a, axis, keepdims)
    return _in("prod", _prod.apply(a, axis, keepdims, _plan()), dtype)


def max(x, /, axis=None, keepdims=False):
    """Return the largest element over axes; NaN if there is one.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Of the dtype of `x`.

    Raises
    ------
    ShapeError
        If there is nothing to reduce.

    Notes
    -----
    Equal extrema share the gradient evenly.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.max(tl.tensor([1, 3, 2]))
    tensor(3)
    """
    return _max.apply(as_tensor("max", x), axis, keepdims, _plan())


def min(x, /, axis=None, keepdims=False):
    """Return the smallest element over axes; NaN if there is one.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Of the dtype of `x`.

    Raises
    ------
    ShapeError
        If there is nothing to reduce.

    Notes
    -----
    Equal extrema share the gradient evenly.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.min(tl.tensor([1, 3, 2]))
    tensor(1)
    """
    return _min.apply(as_tensor("min", x), axis, keepdims, _plan())


def argmax(x, /, axis=None, keepdims=False):
    """Return the index of the first largest element, of the first NaN if any.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        The flattened tensor by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Of dtype int64.

    Raises
    ------
    ShapeError
        If there is nothing to reduce.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.argmax(tl.tensor([1, 3, 2]))
    tensor(1)
    """
    if isinstance(axis, (tuple, list)):
        raise TypeError(f"argmax: expected one axis or None, got {axis!r}")
    return _argmax.apply(as_tensor("argmax", x), axis, keepdims, _plan())


def argmin(x, /, axis=None, keepdims=False):
    """Return the index of the first smallest element, of the first NaN if any.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        The flattened tensor by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Of dtype int64.

    Raises
    ------
    ShapeError
        If there is nothing to reduce.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.argmin(tl.tensor([1, 3, 2]))
    tensor(0)
    """
    if isinstance(axis, (tuple, list)):
        raise TypeError(f"argmin: expected one axis or None, got {axis!r}")
    return _argmin.apply(as_tensor("argmin", x), axis, keepdims, _plan())


def any(x, /, axis=None, keepdims=False):
    """Return whether any element is true (not zero) over axes.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Of dtype bool.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.any(tl.tensor([True, False]))
    tensor(True)
    """
    return _any.apply(_truth("any", x), axis, keepdims, _plan())


def all(x, /, axis=None, keepdims=False):
    """Return whether all elements are true (not zero) over axes.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Of dtype bool.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.all(tl.tensor([True, False]))
    tensor(False)
    """
    return _all.apply(_truth("all", x), axis, keepdims, _plan())


def var(x, /, axis=None, keepdims=False, *, correction=0):
    """Return the variance of elements over axes.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.
    correction : float, default 0
        The divisor is ``count - correction``; 1 gives the unbiased estimate.

    Returns
    -------
    Tensor
        Of floating dtype.

    Notes
    -----
    Computed from deviations about the mean.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.var(tl.tensor([1.0, 3.0]))
    tensor(1.)
    """
    cdef Tensor a = as_float(as_tensor("var", x))
    if is_complex_code(a.buf.dtype):
        return _complex().variance(a, axis, keepdims, correction)
    how = _plan(1.0, float_of("var", "correction", correction))
    return _var.apply(a, axis, keepdims, how)


def std(x, /, axis=None, keepdims=False, *, correction=0):
    """Return the standard deviation of elements over axes.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.
    correction : float, default 0
        The divisor is ``count - correction``; 1 gives the unbiased estimate.

    Returns
    -------
    Tensor
        Of floating dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.std(tl.tensor([1.0, 3.0]))
    tensor(1.)
    """
    cdef Tensor a = as_float(as_tensor("std", x))
    cdef bint[TL_MAX_NDIM] mask
    parse_axes("std", axis, a.buf.ndim, mask)
    by = float_of("std", "correction", correction)
    return sqrt(var(a, axis, keepdims, correction=by))


def logsumexp(x, /, axis=None, keepdims=False):
    """Return ``log(sum(exp(x)))`` over axes, without overflow.

    Parameters
    ----------
    x : Tensor
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep reduced axes with length one.

    Returns
    -------
    Tensor
        Of floating dtype.

    Notes
    -----
    The maximum is taken out first; all -inf gives -inf.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.logsumexp(tl.tensor([1000.0, 0.0]))
    tensor(1000.)
    """
    return _logsumexp.apply(
        as_float(as_tensor("logsumexp", x)), axis, keepdims, _plan()
    )


def cumsum(x, /, axis=None, *, dtype=None):
    """Return the running sum along an axis.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        May be left out for one-dimensional tensors.
    dtype : DType, optional
        Compute and return in this dtype.

    Returns
    -------
    Tensor
        Of the shape of `x`; integers and bool sum in int64.

    Raises
    ------
    ShapeError
        If `axis` is left out and there is not exactly one.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cumsum(tl.tensor([1, 2, 3]))
    tensor([1, 3, 6])
    """
    cdef Tensor a = _in("cumsum", x, dtype)
    if axis is None:
        if a.buf.ndim != 1:
            raise ShapeError(f"cumsum: expected an axis for shape {a.shape}")
        axis = 0
    axis = parse_axis("cumsum", axis, a.buf.ndim)
    if is_complex_code(a.buf.dtype):
        return _complex().over_parts(cumsum, a, axis)
    return _in("cumsum", _cumsum.apply(a, axis), dtype)
