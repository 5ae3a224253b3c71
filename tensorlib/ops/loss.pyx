"""Losses with kernels of their own."""
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, record1, record2, run, tracking,
)
from tensorlib.core.abi cimport TL_INT64, tl_buffer, tl_cross_entropy_params
from tensorlib.core.dtype cimport dtype_of, is_integer_code
from tensorlib.core.tensor cimport Tensor, check_same_device, new_like, new_tensor
from tensorlib.ops.elementwise cimport (
    as_float, as_tensor, cast, contiguous, full_like,
)
from tensorlib.ops.logic cimport select
from tensorlib.ops.shape cimport reshape_like

from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.ops.reduce import min as reduce_min
from tensorlib.ops.reduce import sum
from tensorlib.ops.shape import expand_dims, permute_dims
from tensorlib.ops.softmax import softmax


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
        p = softmax(node.get(0), 1)
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
