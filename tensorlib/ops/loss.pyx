"""Losses with kernels of their own."""
from libc.stdint cimport int64_t
from tensorlib.autograd.autocast cimport autocast_contexts, autocast_dtype
from tensorlib.autograd.batch cimport aligned
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, differentiated, record1, record2, run, tracking,
)
from tensorlib.core.abi cimport (
    TL_CPU, TL_INT64, tl_buffer, tl_cross_entropy_params, tl_ctc_params,
)
from tensorlib.core.dtype cimport dtype_of, is_integer_code, working_code
from tensorlib.core.tensor cimport Tensor, new_like, new_tensor
from tensorlib.ops.elementwise cimport (
    as_float, as_tensor, cast, contiguous, copy, full_like,
)
from tensorlib.ops.logic cimport select
from tensorlib.ops.shape cimport reshape_like
from tensorlib.ops.transfer cimport moved

from tensorlib.autograd.batch import innermost_level
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.core.tensor import is_batched
from tensorlib.ops.arguments import float_of
from tensorlib.ops.creation import arange, asarray, full
from tensorlib.ops.indexing import take_along_axis, where
from tensorlib.ops.joining import concat, stack
from tensorlib.ops.linalg import matmul
from tensorlib.ops.mathematics import exp
from tensorlib.ops.reduce import broadcast_to, logsumexp
from tensorlib.ops.reduce import max as reduce_max
from tensorlib.ops.reduce import min as reduce_min
from tensorlib.ops.reduce import sum
from tensorlib.ops.shape import expand_dims, permute_dims
from tensorlib.ops.softmax import softmax
from tensorlib.kernels import load_families

load_families("ctc")


# ---- cross-entropy -------------------------------------------------------------
cdef class CrossEntropy(Primitive):
    """Loss of each row of logits; saved: logits, target, logsumexp of each row.

    Losses of 16-bit logits are float32's.
    """

    cdef Tensor apply(self, Tensor logits, Tensor target, Loss how):
        cdef Tensor loss, lse
        cdef const tl_buffer *written[2]
        cdef const tl_buffer *read[2]
        logits, target = aligned(self.name, (logits, target))
        loss = _new_rows(logits)
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
        slope = _cross_entropy_grad.apply(
            logits, node.get(2), node.get(1), full_like(_new_rows(logits), 1),
            node.params,
        )
        return _row_dot(<Tensor>tangents[0], slope)


cdef class CrossEntropyGrad(Primitive):
    """g * (softmax(logits) - target distribution), zero for ignored rows."""

    cdef Tensor apply(
        self, Tensor logits, Tensor lse, Tensor target, Tensor g, Loss how
    ):
        cdef Tensor out
        cdef const tl_buffer *written
        cdef const tl_buffer *read[4]
        logits, lse, target, g = aligned(self.name, (logits, lse, target, g))
        out = new_like(logits, logits.buf.dtype)
        written = &out.buf
        read[0], read[1] = &logits.buf, &lse.buf
        read[2], read[3] = &target.buf, &g.buf
        run(self, logits.buf.dtype, &written, 1, read, 4, &how.params, logits.buf.size)
        if logits.track | g.track and tracking(logits.track | g.track):
            record2(self, out, logits, g, (logits, lse, target, g), False, how)
        return out

    cdef Tensor curve(self, Node node, Tensor t):
        """The Hessian of each row's loss times its g, applied to t: symmetric."""
        cdef int dtype = t.buf.dtype, wide = working_code(dtype)
        p = softmax(cast(node.get(0), wide), 1)
        t = cast(t, wide)
        live = (node.get(2) != (<Loss>node.params).params.ignore_index)
        g = select(live, node.get(3), 0.0)
        return cast(
            <Tensor>(p * (t - sum(t * p, axis=1, keepdims=True)) * expand_dims(g, 1)),
            dtype,
        )

    cdef Tensor unit(self, Node node):
        return self.apply(
            node.get(0), node.get(1), node.get(2),
            full_like(_new_rows(node.get(0)), 1), node.params,
        )

    cdef tuple vjp(self, Node node, Tensor g):
        return (
            self.curve(node, g) if node.needs(0) else None,
            _row_dot(g, self.unit(node)) if node.needs(1) else None,
        )

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor slope, out = None
        if tangents[0] is not None:
            out = self.curve(node, <Tensor>tangents[0])
        if tangents[1] is not None:
            slope = self.unit(node)
            out = add_tangents(out, cast(
                <Tensor>(slope * expand_dims(tangents[1], 1)), slope.buf.dtype
            ))
        return out


cdef class Loss:
    """The parameters of a cross-entropy, kept with its node."""
    cdef tl_cross_entropy_params params


cdef CrossEntropy _cross_entropy = CrossEntropy("cross_entropy")
cdef CrossEntropyGrad _cross_entropy_grad = CrossEntropyGrad("cross_entropy_grad")


cdef Tensor _new_rows(Tensor logits):
    """A number for each row, in the dtype that losses have."""
    cdef tl_buffer rows
    rows.ndim = 1
    rows.shape[0] = logits.buf.shape[0]
    return new_tensor(
        &rows, working_code(logits.buf.dtype), logits.buf.device_type,
        logits.buf.device_index,
    )


cdef Tensor _row_dot(Tensor a, Tensor b):
    """The sum of the products of each row, in the dtype that losses have."""
    cdef int dtype = working_code(a.buf.dtype)
    return <Tensor>sum(cast(a, dtype) * cast(b, dtype), axis=1)


cdef Tensor _unconverted(str op, object logits):
    """As a tensor: autocast's float32 is what the kernels compute in anyway."""
    return <Tensor>logits if type(logits) is Tensor else as_tensor(op, logits)


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
    cdef Tensor z = as_float(_unconverted("cross_entropy", logits))
    cdef Tensor t = as_tensor("cross_entropy", target)
    cdef int dtype = z.buf.dtype
    cdef Tensor loss, total
    cdef Loss how = Loss.__new__(Loss)
    cdef int64_t classes
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(
            "cross_entropy: expected reduction 'mean', 'sum' or 'none', "
            f"got {reduction!r}"
        )
    label_smoothing = float_of("cross_entropy", "label_smoothing", label_smoothing)
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
    classes = z.buf.shape[0 if z.buf.ndim == 1 else 1]
    if z.buf.ndim > 2:
        z = <Tensor>permute_dims(z, (0, *range(2, z.buf.ndim), 1))
    z = contiguous(reshape_like(z, (t.buf.size, classes)))
    t = contiguous(cast(reshape_like(t, (t.buf.size,)), TL_INT64))
    how.params.ignore_index = ignore_index
    how.params.label_smoothing = label_smoothing
    how.params.scale = 1.0
    if autocast_contexts:
        dtype = autocast_dtype("cross_entropy", z)
    loss = _cross_entropy.apply(z, t, how)
    if reduction == "none":
        return cast(reshape_like(loss, expected), dtype)
    total = <Tensor>sum(loss)
    if reduction == "sum":
        return cast(total, dtype)
    # On a GPU counting is cheaper than waiting for the smallest class.
    if ignore_index < 0 and t.buf.size and t.buf.device_type == TL_CPU and (
        reduce_min(t).item() >= 0
    ):
        return cast(<Tensor>(total / t.buf.size), dtype)
    count = cast(<Tensor>sum(t != ignore_index), total.buf.dtype)
    return cast(<Tensor>(total / count), dtype)


# ---- connectionist temporal classification -------------------------------------
cdef class Alignment:
    """What CTC aligns with what, kept with its node; int64 and contiguous."""
    cdef tl_ctc_params params
    cdef Tensor targets         # all labels, one sequence after the other
    cdef Tensor offsets         # (N,): where each begins
    cdef Tensor input_lengths   # (N,)
    cdef Tensor target_lengths  # (N,)
    cdef int64_t longest        # of the target lengths


cdef class CTCLoss(Primitive):
    """Loss of each sequence; saved: log-probabilities, states' scores, losses."""

    cdef Tensor apply(self, Tensor x, Alignment how):
        cdef tl_buffer shape
        cdef Tensor loss, alpha
        cdef const tl_buffer *written[2]
        cdef const tl_buffer *read = &x.buf
        shape.ndim = 3
        shape.shape[0] = x.buf.shape[1]
        shape.shape[1] = x.buf.shape[0]
        shape.shape[2] = 2 * how.longest + 1
        alpha = new_tensor(&shape, x.buf.dtype, x.buf.device_type, x.buf.device_index)
        shape.ndim = 1
        loss = new_tensor(&shape, x.buf.dtype, x.buf.device_type, x.buf.device_index)
        written[0], written[1] = &loss.buf, &alpha.buf
        run(self, x.buf.dtype, written, 2, &read, 1, &how.params, alpha.buf.size)
        if x.track and tracking(x.track):
            record1(self, loss, x, (x, alpha, loss.detach()), False, how)
        return loss

    cdef Tensor slope(self, Node node, Tensor g):
        """g times the derivative of each loss: minus the share of each class."""
        cdef Tensor x = node.get(0)
        cdef Tensor alpha = node.get(1)
        cdef Tensor loss = node.get(2)
        cdef Alignment how = <Alignment>node.params
        cdef Tensor out
        cdef const tl_buffer *written
        cdef const tl_buffer *read[4]
        if x.buf.size and differentiated():
            # Recording: the same in Tensor operations, differentiable again.
            return -_occupation(x, how) * expand_dims(g, 1)
        x, alpha, loss, g = aligned(self.name, (x, alpha, loss, contiguous(g)))
        out = new_like(x, x.buf.dtype)
        written = &out.buf
        read[0], read[1] = &x.buf, &alpha.buf
        read[2], read[3] = &loss.buf, &g.buf
        run(_ctc_loss_grad, x.buf.dtype, &written, 1, read, 4, &how.params,
            alpha.buf.size)
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        return (self.slope(node, g),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        one = full_like(node.get(2), 1)
        return <Tensor>sum(tangents[0] * self.slope(node, one), axis=(0, 2))


cdef CTCLoss _ctc_loss = CTCLoss("ctc_loss")
cdef Primitive _ctc_loss_grad = Primitive("ctc_loss_grad")


cdef tuple _states(Alignment how, object device):
    """Labels of the states (N, W), which exist, and which may be skipped to."""
    cdef int64_t blank = how.params.blank
    lengths = how.target_lengths.tolist()
    flat, starts = how.targets.tolist(), how.offsets.tolist()
    width = 2 * how.longest + 1
    rows = []
    for start, length in zip(starts, lengths):
        row = [blank] * width
        row[1:2 * length:2] = flat[start:start + length]
        rows.append(row)
    exists = [[k < 2 * length + 1 for k in range(width)] for length in lengths]
    skips = [
        [k > 1 and row[k] != blank and row[k] != row[k - 2] for k in range(width)]
        for row in rows
    ]
    return tuple([asarray(found, device=device) for found in (rows, exists, skips)])


def _passes(scores, exists, skips, start, lengths):
    """Sums over the paths to each state and step (T, N, W); -1e30 where none leads.

    Steps from each sequence's length on repeat the last one before it.
    """
    low = full(scores.shape[1:], -1e30, dtype=scores.dtype, device=scores.device)
    width = scores.shape[2]
    state = where(start & exists, scores[0], low)
    found = [state]
    for t in range(1, scores.shape[0]):
        by_one = concat([low[:, :1], state[:, :-1]], axis=1)[:, :width]
        by_two = concat([low[:, :2], state[:, :-2]], axis=1)[:, :width]
        ways = stack([state, by_one, where(skips, by_two, low)])
        after = where(exists, logsumexp(ways, axis=0) + scores[t], low)
        state = where(expand_dims(lengths > t, 1), after, state)
        found.append(state)
    return stack(found)


def _reversed_steps(x, lengths):
    """The first lengths[n] steps of each sequence of x (T, N, W) backwards."""
    steps = expand_dims(arange(x.shape[0], device=x.device), 1)
    order = where(steps < lengths, lengths - 1 - steps, steps)
    return take_along_axis(x, broadcast_to(expand_dims(order, 2), x.shape), axis=0)


def _occupation(Tensor x, Alignment how):
    """The probability of each class at each step, given the labels: (T, N, C)."""
    place = x.device
    labels, exists, skips = _states(how, place)
    lengths = moved(how.input_lengths, place, True)
    steps, count, classes = x.shape
    width = labels.shape[1]
    position = arange(width, device=place)
    # From the end everything is a mirror image: states, too, are counted backwards.
    last = expand_dims(moved(how.target_lengths, place, True) * 2, 1)
    mirror = where(position <= last, last - position, position)
    spread = broadcast_to(labels, (steps, count, width))
    scores = take_along_axis(x, spread, axis=2)
    backwards = take_along_axis(
        _reversed_steps(scores, lengths), broadcast_to(mirror, scores.shape), axis=2
    )
    mirrored = take_along_axis(labels, mirror, axis=1)
    blank = how.params.blank
    differs = concat(
        [
            full((count, min(2, width)), False, device=place),
            mirrored[:, 2:] != mirrored[:, :-2],
        ],
        axis=1,
    )
    start = broadcast_to(position < 2, (count, width))
    alpha = _passes(scores, exists, skips, start, lengths)
    beta = _passes(
        backwards, exists, (mirrored != blank) & differs, start, lengths
    )
    beta = _reversed_steps(
        take_along_axis(beta, broadcast_to(mirror, beta.shape), axis=2), lengths
    )
    both = alpha + beta - scores
    total = logsumexp(both[:1], axis=2, keepdims=True)
    live = (
        expand_dims(arange(steps, device=place), 1) < lengths
    ) & (total[:, :, 0] > -1e29)
    live = expand_dims(live, 2) & exists & (both > -1e29)
    share = where(live, exp(where(live, both - total, -1e30)), 0.0)
    hits = cast(
        <Tensor>(expand_dims(labels, 2) == arange(classes, device=place)), x.buf.dtype
    )
    return permute_dims(matmul(permute_dims(share, (1, 0, 2)), hits), (1, 0, 2))


@own_errors
def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean",
    zero_infinity=False,
):
    """Return the connectionist temporal classification loss.

    Minus the logarithm of the summed probability of all paths through the classes that
    give the labels once repetitions are joined and blanks removed.

    Parameters
    ----------
    log_probs : Tensor of shape (T, N, C) or (T, C)
        Logarithms of probabilities, as of `log_softmax`.
    targets : Tensor of integers of shape (N, S), (S,) or (sum(target_lengths),)
        Labels, padded to one length or one sequence after the other.
    input_lengths, target_lengths : Tensor of integers, sequence of int, or int
        Shape (N,), or a number without a batch: the steps and labels that count.
    blank : int, default 0
        The class that stands for no label.
    reduction : {"mean", "sum", "none"}
        "mean" first divides each loss by its number of labels (at least 1).
    zero_infinity : bool, default False
        Whether losses of labels that do not fit into the steps, and their gradients,
        are 0 rather than infinite and NaN.

    Returns
    -------
    Tensor
        0-d, or of shape (N,) when `reduction` is "none" and there is a batch.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DTypeError
        If targets or lengths are not integers.
    IndexError
        If a label or `blank` is no class.
    ValueError
        If a length is out of range or `reduction` is none of the above.

    Notes
    -----
    The gradient is that of the loss itself. PyTorch adds ``exp(log_probs)``, which
    makes no difference where `log_softmax` comes before.

    References
    ----------
    A. Graves et al., "Connectionist Temporal Classification", ICML 2006, equations
    5-16.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.log_softmax(tl.zeros((4, 1, 3)), axis=2)
    >>> tl.ctc_loss(x, tl.tensor([[1, 2]]), [4], [2], reduction="sum")
    tensor(1.686399)
    """
    cdef Tensor x = as_float(as_tensor("ctc_loss", log_probs))
    cdef Tensor loss, counts
    cdef bint batched = x.buf.ndim == 3
    if x.buf.ndim not in (2, 3):
        raise ShapeError(
            f"ctc_loss: expected log_probs of shape (T, N, C) or (T, C), got {x.shape}"
        )
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(
            f"ctc_loss: expected reduction 'mean', 'sum' or 'none', got {reduction!r}"
        )
    if not batched:
        x = <Tensor>expand_dims(x, 1)
    loss, counts = _ctc_losses(
        x, targets, input_lengths, target_lengths, blank, zero_infinity
    )
    if reduction == "sum":
        return sum(loss)
    if reduction == "mean":
        counts = cast(moved(counts, x.device, True), x.buf.dtype)
        return sum(loss / counts.clip(1)) / loss.buf.size
    return loss if batched else reshape_like(loss, ())


cdef tuple _ctc_losses(
    Tensor x, object targets, object input_lengths, object target_lengths,
    object blank, object zero_infinity,
):
    """The loss of each sequence of x (T, N, C), and the lengths of the targets."""
    cdef Tensor loss
    level = innermost_level(targets, input_lengths, target_lengths)
    if level is not None:
        given = (targets, input_lengths, target_lengths)
        return _ctc_losses_of_examples(level, x, given, blank, zero_infinity)
    how = _alignment(x, targets, input_lengths, target_lengths, blank, zero_infinity)
    loss = _ctc_loss.apply(x, how)
    if zero_infinity:
        loss = select(loss.detach().isinf(), 0.0, loss)
    return loss, how.target_lengths


cdef tuple _ctc_losses_of_examples(
    object level, Tensor x, tuple given, object blank, object zero_infinity
):
    """Those of all examples of a vmap as further sequences of one batch."""
    cdef int64_t count = x.buf.shape[1]
    shown = permute_dims(level.show(x, 0), (1, 0, 2, 3))
    steps, examples, _, classes = shown.shape
    sequences = (examples, count)
    lengths = []
    for name, values in zip(("input_lengths", "target_lengths"), given[1:]):
        values = as_tensor("ctc_loss", values)
        if values.size != count or values.ndim > 1:
            raise _wrong_lengths(name, count, values)
        lengths.append(level.show(values, 0).reshape((examples * count,)))
    targets = as_tensor("ctc_loss", given[0])
    labels = level.show(targets, 0)
    if targets.ndim == 1 and count != 1:
        totals = sum(lengths[1].reshape(sequences), axis=1)
        if not is_batched(totals) and bool((totals != targets.size).any()):
            raise _wrong_total(totals.tolist(), targets)
        labels = labels.reshape((labels.size,))
    elif targets.ndim and targets.size:
        labels = labels.reshape((examples * count, targets.shape[-1]))
    loss, counts = _ctc_losses(
        <Tensor>shown.reshape((steps, examples * count, classes)), labels, lengths[0],
        lengths[1], blank, zero_infinity,
    )
    return (
        level.hide(loss.reshape(sequences), 0), level.hide(counts.reshape(sequences), 0)
    )


cdef object _wrong_lengths(str name, int64_t count, object given):
    return ShapeError(
        f"ctc_loss: expected {name} of shape ({count},), got {given.shape}"
    )


cdef object _wrong_total(object total, object targets):
    return ShapeError(
        f"ctc_loss: expected {total} targets, the sum of their lengths, "
        f"got {targets.size}"
    )


cdef Tensor _own(Tensor x):
    """A flat int64 copy on the CPU: the indices must not change with the caller's."""
    return copy(cast(<Tensor>reshape_like(x, (x.buf.size,)).cpu(), TL_INT64))


cdef Tensor _lengths(str name, object given, int64_t count, int64_t most):
    """Lengths as int64 of shape (count,), each in [0, most]."""
    cdef Tensor x = as_tensor("ctc_loss", given)
    if x.buf.size == 0 and count == 0:
        return cast(<Tensor>reshape_like(x, (0,)).cpu(), TL_INT64)
    if not is_integer_code(x.buf.dtype):
        raise DTypeError(
            f"ctc_loss: expected {name} of integers, got {dtype_of(x.buf.dtype)}"
        )
    if x.buf.ndim > 1 or x.buf.size != count:
        raise _wrong_lengths(name, count, x)
    x = _own(x)
    low, high = reduce_min(x).item(), reduce_max(x).item()
    if low < 0 or high > most:
        raise ValueError(
            f"ctc_loss: expected {name} in [0, {most}], got {low} to {high}"
        )
    return x


cdef Alignment _alignment(
    Tensor x, object targets, object input_lengths, object target_lengths,
    object blank, object zero_infinity,
):
    """Check everything that the kernel will index by."""
    cdef Alignment how = Alignment.__new__(Alignment)
    cdef Tensor t = as_tensor("ctc_loss", targets)
    cdef int64_t count = x.buf.shape[1], classes = x.buf.shape[2], total
    cdef bint padded = t.buf.ndim == 2
    if not is_integer_code(t.buf.dtype) and t.buf.size:
        raise DTypeError(
            f"ctc_loss: expected targets of integers, got {dtype_of(t.buf.dtype)}"
        )
    if t.buf.ndim not in (1, 2) or padded and t.buf.shape[0] != count:
        raise ShapeError(
            f"ctc_loss: expected targets of shape ({count}, S) or (sum of lengths,), "
            f"got {t.shape}"
        )
    if not 0 <= blank < classes:
        raise IndexError(f"ctc_loss: blank {blank} is no class of {classes}")
    how.input_lengths = _lengths("input_lengths", input_lengths, count, x.buf.shape[0])
    how.target_lengths = _lengths(
        "target_lengths", target_lengths, count, t.buf.shape[t.buf.ndim - 1]
    )
    total = int(sum(how.target_lengths).item())
    if not padded and total != t.buf.size and count != 1:
        raise _wrong_total(total, t)
    starts, start = [], 0
    for length in how.target_lengths.tolist():
        starts.append(start)
        start += t.buf.shape[1] if padded else length
    how.targets = _own(t)
    how.offsets = cast(as_tensor("ctc_loss", asarray(starts)), TL_INT64)
    how.longest = int(reduce_max(how.target_lengths).item()) if count else 0
    _check_labels(how, classes, padded)
    how.params.targets = <const int64_t *>how.targets.buf.data
    how.params.offsets = <const int64_t *>how.offsets.buf.data
    how.params.input_lengths = <const int64_t *>how.input_lengths.buf.data
    how.params.target_lengths = <const int64_t *>how.target_lengths.buf.data
    how.params.blank = blank
    how.params.zero_infinity = bool(zero_infinity)
    return how


cdef int _check_labels(Alignment how, int64_t classes, bint padded) except -1:
    """Raise unless every label that counts is a class; padding may be anything."""
    cdef const int64_t *labels = <const int64_t *>how.targets.buf.data
    cdef const int64_t *starts = <const int64_t *>how.offsets.buf.data
    cdef const int64_t *counts = <const int64_t *>how.target_lengths.buf.data
    cdef int64_t n, k, label
    for n in range(how.offsets.buf.size):
        for k in range(counts[n]):
            label = labels[starts[n] + k]
            if label < 0 or label >= classes:
                raise IndexError(
                    f"ctc_loss: label {label} of sequence {n} is outside "
                    f"[0, {classes})"
                )
    return 0
