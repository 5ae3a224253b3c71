"""Operations of neural networks: softmax, cross-entropy, normalization, embedding."""
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, record, record1, record2, run, tracking,
)
from tensorlib.core.abi cimport (
    TL_INT64, tl_buffer, tl_cross_entropy_params, tl_norm_params,
)
from tensorlib.core.dispatch cimport thread_state
from tensorlib.core.dtype cimport (
    dtype_of, is_float_code, is_integer_code, promote_codes,
)
from tensorlib.core.layout cimport parse_axis, parse_shape
from tensorlib.core.tensor cimport Tensor, check_same_device, new_like, new_tensor
from tensorlib.ops.elementwise cimport (
    as_float, as_tensor, cast, contiguous, full_like,
)
from tensorlib.ops.indexing cimport take_rows
from tensorlib.ops.logic cimport select
from tensorlib.ops.reduce cimport broadcast, moved_last
from tensorlib.ops.shape cimport reshape_like

from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.ops.creation import arange
from tensorlib.ops.mathematics import exp
from tensorlib.ops.random import bernoulli
from tensorlib.ops.reduce import max as reduce_max
from tensorlib.ops.reduce import mean, min as reduce_min, sum
from tensorlib.ops.shape import expand_dims, permute_dims


# ---- softmax -------------------------------------------------------------------
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
        cdef Tensor out = new_like(y, y.buf.dtype)
        cdef Tensor moved_g = moved_last(g, axis)
        cdef Tensor moved_y = moved_last(y, axis)
        cdef Tensor target = moved_last(out, axis)
        cdef const tl_buffer *written = &target.buf
        cdef const tl_buffer *inputs[2]
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


# ---- cross-entropy -------------------------------------------------------------
cdef class CrossEntropy(Primitive):
    """Loss of each row of logits; saved: logits, target, logsumexp of each row."""

    cdef Tensor apply(self, Tensor logits, Tensor target, Loss how):
        cdef tl_buffer rows
        cdef Tensor loss, lse
        cdef const tl_buffer *written[2]
        cdef const tl_buffer *read[2]
        rows.ndim = 1
        rows.shape[0] = logits.buf.shape[0]
        loss = new_tensor(
            &rows, logits.buf.dtype, logits.buf.device_type, logits.buf.device_index
        )
        lse = new_like(loss, loss.buf.dtype)
        written[0], written[1] = &loss.buf, &lse.buf
        read[0], read[1] = &logits.buf, &target.buf
        run(self, logits.buf.dtype, written, 2, read, 2, &how.params, logits.buf.size)
        if logits.track and tracking(logits.track):
            record1(self, loss, logits, (logits, target, lse), False, how)
        return loss

    cdef tuple vjp(self, Node node, Tensor g):
        return (_cross_entropy_grad.apply(
            node.get(0), node.get(2), node.get(1), g, node.params
        ),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor logits = node.get(0)
        one = _row_ones(logits)
        slope = _cross_entropy_grad.apply(
            logits, node.get(2), node.get(1), one, node.params
        )
        return <Tensor>sum(tangents[0] * slope, axis=1)


cdef class CrossEntropyGrad(Primitive):
    """g * (softmax(logits) - target distribution), zero for ignored rows."""

    cdef Tensor apply(
        self, Tensor logits, Tensor lse, Tensor target, Tensor g, Loss how
    ):
        cdef Tensor out = new_like(logits, logits.buf.dtype)
        cdef const tl_buffer *written = &out.buf
        cdef const tl_buffer *read[4]
        read[0], read[1] = &logits.buf, &lse.buf
        read[2], read[3] = &target.buf, &g.buf
        run(self, logits.buf.dtype, &written, 1, read, 4, &how.params, logits.buf.size)
        if logits.track | g.track and tracking(logits.track | g.track):
            record2(self, out, logits, g, (logits, lse, target, g), False, how)
        return out

    cdef Tensor curve(self, Node node, Tensor t):
        """The Hessian of each row's loss times its g, applied to t: symmetric."""
        p = _softmax.apply(node.get(0), 1)
        live = (node.get(2) != (<Loss>node.params).params.ignore_index)
        g = select(live, node.get(3), 0.0)
        return p * (t - sum(t * p, axis=1, keepdims=True)) * expand_dims(g, 1)

    cdef Tensor unit(self, Node node):
        return self.apply(
            node.get(0), node.get(1), node.get(2), _row_ones(node.get(0)), node.params
        )

    cdef tuple vjp(self, Node node, Tensor g):
        return (
            self.curve(node, g) if node.needs(0) else None,
            <Tensor>sum(g * self.unit(node), axis=1) if node.needs(1) else None,
        )

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        if tangents[0] is not None:
            out = self.curve(node, <Tensor>tangents[0])
        if tangents[1] is not None:
            out = add_tangents(out, self.unit(node) * expand_dims(tangents[1], 1))
        return out


cdef class Loss:
    """The parameters of a cross-entropy, kept with its node."""
    cdef tl_cross_entropy_params params


cdef CrossEntropy _cross_entropy = CrossEntropy("cross_entropy")
cdef CrossEntropyGrad _cross_entropy_grad = CrossEntropyGrad("cross_entropy_grad")


cdef Tensor _row_ones(Tensor logits):
    cdef tl_buffer rows
    cdef Tensor out
    rows.ndim = 1
    rows.shape[0] = logits.buf.shape[0]
    out = new_tensor(
        &rows, logits.buf.dtype, logits.buf.device_type, logits.buf.device_index
    )
    return full_like(out, 1)


def cross_entropy(
    logits, target, /, *, ignore_index=-100, label_smoothing=0.0, reduction="mean"
):
    """Return the cross-entropy between class indices and logits.

    For a row of logits `z` and its class `t` the loss is ``logsumexp(z) - z[t]``; with
    label smoothing `s` the target is ``1 - s`` on the class plus ``s / C`` on all.

    Parameters
    ----------
    logits : Tensor of shape (N, C), (C,) or (N, C, d1, ...)
        Unnormalized log-probabilities, floating.
    target : Tensor of integers of shape (N,), () or (N, d1, ...)
        Classes in ``[0, C)``, or `ignore_index`.
    ignore_index : int, default -100
        Rows of this class contribute nothing and are not counted in the mean.
    label_smoothing : float in [0, 1], default 0
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        0-d, or of the shape of `target` when `reduction` is "none".

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DTypeError
        If the target is not of integers.
    IndexError
        If a class is out of range.
    ValueError
        If `reduction` or `label_smoothing` is none of the above.

    References
    ----------
    C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
    CVPR 2016, section 7 (label smoothing).

    Examples
    --------
    >>> import tensorlib as tl
    >>> z = tl.tensor([[1000.0, 0.0], [0.0, 0.0]])
    >>> tl.cross_entropy(z, tl.tensor([0, 1]), reduction="none")
    tensor([0.       , 0.6931472])
    """
    cdef Tensor z = as_float(as_tensor("cross_entropy", logits))
    cdef Tensor t = as_tensor("cross_entropy", target)
    cdef Tensor loss
    cdef Loss how = Loss.__new__(Loss)
    cdef int64_t classes
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(
            "cross_entropy: expected reduction 'mean', 'sum' or 'none', "
            f"got {reduction!r}"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(
            f"cross_entropy: expected label_smoothing in [0, 1], got {label_smoothing}"
        )
    if not is_integer_code(t.buf.dtype):
        raise DTypeError(
            "cross_entropy: expected a target of integer classes, got "
            f"{dtype_of(t.buf.dtype)}"
        )
    expected = z.shape[:1] + z.shape[2:] if z.buf.ndim > 1 else ()
    if z.buf.ndim == 0 or t.shape != expected:
        raise ShapeError(
            "cross_entropy: expected logits of shape (N, C, ...) and a target of shape "
            f"(N, ...), got {z.shape} and {t.shape}"
        )
    check_same_device("cross_entropy", z, t)
    classes = z.buf.shape[0 if z.buf.ndim == 1 else 1]
    if z.buf.ndim > 2:
        z = <Tensor>permute_dims(z, (0, *range(2, z.buf.ndim), 1))
    z = contiguous(reshape_like(z, (t.buf.size, classes)))
    t = contiguous(cast(reshape_like(t, (t.buf.size,)), TL_INT64))
    how.params.ignore_index = ignore_index
    how.params.label_smoothing = label_smoothing
    how.params.scale = 1.0
    loss = _cross_entropy.apply(z, t, how)
    if reduction == "none":
        return reshape_like(loss, expected)
    total = sum(loss)
    if reduction == "sum":
        return total
    if ignore_index < 0 and t.buf.size and reduce_min(t).item() >= 0:
        return total / t.buf.size
    return total / cast(<Tensor>sum(t != ignore_index), z.buf.dtype)


# ---- layer normalization -------------------------------------------------------
cdef class LayerNorm(Primitive):
    """Rows of (N, D); saved: x, mean, rstd and, when given, weight."""

    cdef Tensor apply(self, Tensor x, Tensor weight, Tensor bias, double eps):
        cdef tl_norm_params params
        cdef tl_buffer rows
        cdef Tensor out = new_like(x, x.buf.dtype)
        cdef Tensor average, rstd
        cdef const tl_buffer *written[3]
        cdef const tl_buffer *read[3]
        cdef int nin = 1, track = x.track
        params.eps = eps
        rows.ndim = 1
        rows.shape[0] = x.buf.shape[0]
        average = new_tensor(
            &rows, x.buf.dtype, x.buf.device_type, x.buf.device_index
        )
        rstd = new_like(average, x.buf.dtype)
        written[0], written[1], written[2] = &out.buf, &average.buf, &rstd.buf
        read[0] = &x.buf
        if weight is not None:
            read[1] = &weight.buf
            nin = 2
            track |= weight.track
        if bias is not None:
            read[2] = &bias.buf
            nin = 3
            track |= bias.track
        run(self, x.buf.dtype, written, 3, read, nin, &params, x.buf.size)
        if track and tracking(track):
            if weight is None:
                record(self, out, (x,), (x, average, rstd), False, None)
            elif bias is None:
                record(self, out, (x, weight), (x, average, rstd, weight), False, None)
            else:
                record(
                    self, out, (x, weight, bias), (x, average, rstd, weight), False,
                    None,
                )
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        if thread_state().grad_disabled:
            return self.kernel_vjp(node, g)
        # Recording: the same formulas in Tensor operations, differentiable again.
        normalized, rstd = self.normalized(node)
        weighted = g
        if len(node.edges) > 1:
            weighted = g * node.get(3)
        inner = mean(weighted * normalized, axis=1, keepdims=True)
        centred = weighted - mean(weighted, axis=1, keepdims=True)
        grads = [(centred - normalized * inner) * rstd]
        if len(node.edges) > 1:
            grads.append(sum(g * normalized, axis=0))
        if len(node.edges) > 2:
            grads.append(sum(g, axis=0))
        return tuple(grads)

    cdef tuple kernel_vjp(self, Node node, Tensor g):
        cdef Tensor x = node.get(0)
        cdef Tensor average = node.get(1)
        cdef Tensor rstd = node.get(2)
        cdef Tensor weight = node.get(3) if len(node.edges) > 1 else None
        cdef Tensor grad_x = new_like(x, x.buf.dtype)
        cdef Tensor grad_weight, grad_bias
        cdef tl_buffer row
        cdef const tl_buffer *written[3]
        cdef const tl_buffer *read[5]
        row.ndim = 1
        row.shape[0] = x.buf.shape[1]
        grad_weight = new_tensor(
            &row, x.buf.dtype, x.buf.device_type, x.buf.device_index
        )
        grad_bias = new_like(grad_weight, x.buf.dtype)
        g = contiguous(g)
        written[0], written[1], written[2] = (
            &grad_x.buf, &grad_weight.buf, &grad_bias.buf
        )
        read[0], read[1], read[2], read[3] = &g.buf, &x.buf, &average.buf, &rstd.buf
        if weight is not None:
            read[4] = &weight.buf
        run(_layer_norm_grad, x.buf.dtype, written, 3, read,
            4 if weight is None else 5, NULL, x.buf.size)
        return (grad_x, grad_weight, grad_bias)[:len(node.edges)]

    cdef tuple normalized(self, Node node):
        """(x - mean) * rstd with the statistics as functions of x, and rstd."""
        cdef Tensor x = node.get(0)
        if thread_state().grad_disabled:
            rstd = expand_dims(node.get(2), 1)
            return (x - expand_dims(node.get(1), 1)) * rstd, rstd
        # The saved statistics carry no graph; their values serve, the graph does not.
        centred = x - mean(x, axis=1, keepdims=True)
        saved = expand_dims(node.get(2), 1)
        spread = mean(centred * centred, axis=1, keepdims=True)
        eps = 1.0 / (saved * saved) - spread.detach()
        rstd = (spread + eps) ** -0.5
        return centred * rstd, rstd

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        normalized, rstd = self.normalized(node)
        if tangents[0] is not None:
            t = tangents[0]
            inner = mean(t * normalized, axis=1, keepdims=True)
            centred = t - mean(t, axis=1, keepdims=True)
            out = (centred - normalized * inner) * rstd
            if len(node.edges) > 1:
                out = out * node.get(3)
        if len(tangents) > 1 and tangents[1] is not None:
            out = add_tangents(out, normalized * tangents[1])
        if len(tangents) > 2 and tangents[2] is not None:
            out = add_tangents(out, <Tensor>tangents[2])
        return broadcast(out, node.shape_tuple())


cdef LayerNorm _layer_norm = LayerNorm("layer_norm")
cdef Primitive _layer_norm_grad = Primitive("layer_norm_grad")


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Normalize over the last axes to mean 0 and variance 1, then scale and shift.

    ``(x - mean) / sqrt(var + eps) * weight + bias`` with the biased variance.

    Parameters
    ----------
    x : Tensor of shape (..., *normalized_shape)
    normalized_shape : int or tuple of int
    weight, bias : Tensor of shape normalized_shape, optional
    eps : float, default 1e-5

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    References
    ----------
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", arXiv:1607.06450, eq. 4.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.layer_norm(tl.tensor([[1.0, 3.0]]), 2, eps=0.0)
    tensor([[-1.,  1.]])
    """
    cdef Tensor a = as_float(as_tensor("layer_norm", x))
    cdef tl_buffer inner
    cdef Tensor w = None, b = None, out
    cdef int d, dtype = a.buf.dtype
    parse_shape("layer_norm", normalized_shape, &inner)
    wanted = tuple([inner.shape[d] for d in range(inner.ndim)])
    if inner.ndim == 0 or inner.ndim > a.buf.ndim or (
        a.shape[a.buf.ndim - inner.ndim:] != wanted
    ):
        raise ShapeError(
            f"layer_norm: expected x of shape (..., {', '.join(map(str, wanted))}), "
            f"got {a.shape}"
        )
    affine = []
    for name, given in (("weight", weight), ("bias", bias)):
        if given is not None:
            given = as_tensor("layer_norm", given)
            if given.shape != wanted:
                raise ShapeError(
                    f"layer_norm: expected {name} of shape {wanted}, got {given.shape}"
                )
            check_same_device("layer_norm", a, <Tensor>given)
            dtype = promote_codes(dtype, (<Tensor>given).buf.dtype)
        affine.append(given)
    if affine[0] is not None:
        w = reshape_like(contiguous(cast(<Tensor>affine[0], dtype)), (inner.size,))
    if affine[1] is not None:
        b = reshape_like(contiguous(cast(<Tensor>affine[1], dtype)), (inner.size,))
        if w is None:
            w = full_like(b.detach(), 1)
    shape = a.shape
    rows = a.buf.size // inner.size if inner.size else 0
    a = reshape_like(contiguous(cast(a, dtype)), (rows, inner.size))
    out = _layer_norm.apply(a, w, b, eps)
    return reshape_like(out, shape)


# ---- embedding, one-hot, dropout -----------------------------------------------
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
    hits = expand_dims(cast(a, TL_INT64), a.buf.ndim) == arange(num_classes)
    return cast(<Tensor>hits, TL_INT64)


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
    if not isinstance(p, (int, float)) or not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: expected a probability p in [0, 1], got {p!r}")
    if not is_float_code(a.buf.dtype):
        raise DTypeError(f"dropout: expected floating x, got {dtype_of(a.buf.dtype)}")
    if not training or p == 0.0:
        return a
    if p == 1.0:
        return a * full_like(a.detach(), 0)
    mask = bernoulli(
        1.0 - p, a.shape, dtype=dtype_of(a.buf.dtype), generator=generator
    )
    return a * (mask * (1.0 / (1.0 - p)))
