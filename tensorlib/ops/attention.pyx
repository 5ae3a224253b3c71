"""Scaled dot-product attention, without the matrix of weights.

References
----------
A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1.
T. Dao et al., "FlashAttention", arXiv:2205.14135.
"""
from libc.math cimport sqrt
from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned, random_axes, repeat_draws
from tensorlib.autograd.primitive cimport (
    Node, Primitive, differentiated, record, run, tracking,
)
from tensorlib.core.abi cimport TL_BOOL, tl_attention_params, tl_buffer
from tensorlib.core.dtype cimport (
    dtype_of, is_float_code, promote_codes, working_code,
)
from tensorlib.core.layout cimport (
    broadcast_shape, broadcast_view, parse_shape, shape_tuple,
)
from tensorlib.core.tensor cimport Tensor, new_tensor, new_view
from tensorlib.ops.composite cimport Composite
from tensorlib.ops.elementwise cimport (
    as_float, as_tensor, cast, contiguous, full_like,
)
from tensorlib.ops.logic cimport select
from tensorlib.ops.shape cimport reshape_like, swap_axes

from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.ops.arguments import float_of
from tensorlib.ops.creation import arange
from tensorlib.ops.random import Generator, bernoulli, default_generator
from tensorlib.ops.reduce import all as reduce_all
from tensorlib.ops.shape import expand_dims
from tensorlib.ops.softmax import softmax
from tensorlib.kernels import load_families

load_families("attention")

cdef int64_t _MAX_BLAS = 2147483647


cdef class Attended:
    """The parameters of one application."""
    cdef tl_attention_params params
    cdef tuple lead          # the leading axes, broadcast
    cdef int64_t queries, keys, width
    cdef Tensor allowed      # a mask of bool, or None


cdef Tensor _spread(Tensor x, Attended how, int64_t rows, int64_t cols):
    """x over all leading axes, outside the graph; broadcast axes have stride 0."""
    cdef tl_buffer target, layout
    cdef int d, lead = len(how.lead)
    target.ndim = lead + 2
    for d in range(lead):
        target.shape[d] = how.lead[d]
    target.shape[lead], target.shape[lead + 1] = rows, cols
    broadcast_view(&layout, &x.buf, &target)
    return new_view(x, &layout)


cdef Tensor _empty(Tensor like, int dtype, Attended how, tuple rest):
    cdef tl_buffer layout
    parse_shape("scaled_dot_product_attention", (*how.lead, *rest), &layout)
    return new_tensor(&layout, dtype, like.buf.device_type, like.buf.device_index)


cdef Tensor _for_blas(Tensor x):
    """x, or a copy when its rows are not runs that the BLAS can step over."""
    cdef int last = x.buf.ndim - 1
    cdef int64_t row = x.buf.strides[last - 1]
    if x.buf.strides[last] == 1 and (
        x.buf.shape[last] <= row <= _MAX_BLAS or x.buf.shape[last - 1] == 1
    ):
        return x
    return contiguous(x)


cdef class Attention(Composite):
    """Inputs q, k, v and an additive mask; params: Attended.

    Saved: the inputs, then each row's largest score and 1 / total, then a mask of
    bool.
    """

    cdef Tensor apply(self, tuple inputs, Attended how):
        cdef Tensor q = inputs[0]
        cdef Tensor y = _empty(q, q.buf.dtype, how, (how.queries, how.width))
        cdef Tensor stats = _empty(
            q, working_code(q.buf.dtype), how, (how.queries, 2)
        )
        cdef list views = self.operands(inputs, how)
        cdef const tl_buffer *written[2]
        cdef const tl_buffer *read[4]
        cdef int track = 0
        written[0], written[1] = &y.buf, &stats.buf
        _point(read, views)
        run(self if how.params.dropout == 0 else _dropout, q.buf.dtype, written, 2,
            read, 4, &how.params,
            y.buf.size + how.keys)
        for each in inputs:
            track |= (<Tensor>each).track
        if track and tracking(track):
            saved = (*inputs, stats)
            if how.allowed is not None:
                saved = (*saved, how.allowed)
            record(self, y, inputs, saved, True, how)
        return y

    cdef list operands(self, tuple inputs, Attended how):
        """q, k, v and a mask (or None) as the kernels take them."""
        cdef Tensor q = inputs[0], mask = how.allowed
        if len(inputs) == 4:
            mask = inputs[3]
        depth = q.buf.shape[q.buf.ndim - 1]
        return [
            _spread(q, how, how.queries, depth),
            _spread(inputs[1], how, how.keys, depth),
            _spread(inputs[2], how, how.keys, how.width),
            None if mask is None else _spread(mask, how, how.queries, how.keys),
        ]

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Attended how = <Attended>node.params
        if how.allowed is not None:
            node.get(node.inputs + 1)        # raises if it was written to
        if differentiated():
            return self.composed_vjp(node, g)
        return self.kernel_vjp(node, contiguous(g))

    cdef tuple kernel_vjp(self, Node node, Tensor g):
        cdef Attended how = <Attended>node.params
        cdef tuple inputs = self.recorded_inputs(node)
        cdef Tensor q, y, stats
        cdef list views, grads
        cdef Tensor grad_q, grad_k, grad_v, grad_mask = None
        cdef const tl_buffer *written[4]
        cdef const tl_buffer *read[7]
        g, y, stats, *rest = aligned(
            self.name, (g, node.output(), node.get(len(inputs)), *inputs)
        )
        inputs = tuple(rest)
        views = self.operands(inputs, how)
        q = inputs[0]
        depth = q.buf.shape[q.buf.ndim - 1]
        grad_q = _empty(q, q.buf.dtype, how, (how.queries, depth))
        grad_k = _empty(q, q.buf.dtype, how, (how.keys, depth))
        grad_v = _empty(q, q.buf.dtype, how, (how.keys, how.width))
        grads = [grad_q, grad_k, grad_v]
        written[0], written[1], written[2] = &grad_q.buf, &grad_k.buf, &grad_v.buf
        written[3] = NULL
        if len(inputs) == 4:
            grads.append(None)
            if node.needs(3):
                grads[3] = grad_mask = _empty(
                    q, q.buf.dtype, how, (how.queries, how.keys)
                )
                written[3] = &grad_mask.buf
        read[0] = &g.buf
        _point(&read[1], views)
        read[5], read[6] = &y.buf, &stats.buf
        run(_attention_grad if how.params.dropout == 0 else _dropout_grad,
            q.buf.dtype, written, 4, read, 7, &how.params,
            y.buf.size + how.keys)
        return tuple(grads)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.composed_jvp(node, tangents)

    cdef Tensor compose(self, tuple inputs, object params):
        cdef Attended how = <Attended>params
        q, k, v = inputs[:3]
        scores = (q @ swap_axes(k, k.ndim - 2, k.ndim - 1)) * how.params.scale
        if len(inputs) == 4:
            scores = scores + inputs[3]
        if how.allowed is not None:
            scores = select(how.allowed, scores, -float("inf"))
        if how.params.causal:
            rows = expand_dims(arange(how.queries, device=q.device), 1)
            seen = rows >= arange(how.keys, device=q.device)
            scores = select(seen, scores, -float("inf"))
        # Rows that may see nothing are zeros, not softmax's NaN.
        idle = reduce_all(scores == -float("inf"), axis=-1, keepdims=True)
        weights = softmax(select(idle, 0.0, scores), axis=-1)
        weights = select(idle, 0.0, weights)
        if how.params.dropout > 0:
            weights = weights * _kept(how, weights)
        return <Tensor>(weights @ v)


cdef Attention _attention = Attention("attention")
cdef Primitive _attention_grad = Primitive("attention_grad")
cdef Primitive _dropout = Primitive("attention_dropout")
cdef Primitive _dropout_grad = Primitive("attention_dropout_grad")


cdef int _point(const tl_buffer **buffers, list views) except -1:
    """Addresses of the buffers of q, k, v and mask."""
    cdef int i
    for i in range(4):
        buffers[i] = NULL if views[i] is None else &(<Tensor>views[i]).buf
    return 0


cdef Tensor _kept(Attended how, Tensor like):
    """The factors on the weights that the kernels use: 0 or 1 / (1 - p)."""
    keep = 1.0 - how.params.dropout
    stream = Generator(0).set_state(
        {"seed": how.params.seed, "position": how.params.offset}
    )
    shape = (*how.lead, how.queries, how.keys)
    kept = bernoulli(
        keep, shape, dtype=dtype_of(like.buf.dtype), device=like.device,
        generator=stream,
    )
    return <Tensor>(kept * (1.0 / keep))


# ---- arguments -----------------------------------------------------------------
cdef int _share_lead(Attended how, list operands, list names) except -1:
    """The common leading axes of q, k and v."""
    cdef tl_buffer lead, other, joined
    cdef Tensor x
    lead.ndim = 0
    for x in operands:
        other = x.buf
        other.ndim -= 2
        if broadcast_shape(&joined, &lead, &other) < 0:
            raise ShapeError(
                "scaled_dot_product_attention: leading axes do not broadcast, got "
                + ", ".join(f"{n}.shape={o.shape}" for n, o in zip(names, operands))
            )
        lead = joined
    how.lead = shape_tuple(&lead)
    return 0


cdef int _check_sizes(Attended how, Tensor q, Tensor k, Tensor v) except -1:
    cdef int last_q = q.buf.ndim - 1, last_k = k.buf.ndim - 1, last_v = v.buf.ndim - 1
    if last_q < 1 or last_k < 1 or last_v < 1 or (
        q.buf.shape[last_q] != k.buf.shape[last_k]
        or k.buf.shape[last_k - 1] != v.buf.shape[last_v - 1]
    ):
        raise ShapeError(
            "scaled_dot_product_attention: expected query (..., L, E), key (..., S, E) "
            f"and value (..., S, V), got {q.shape}, {k.shape}, {v.shape}"
        )
    how.queries, how.keys = q.buf.shape[last_q - 1], k.buf.shape[last_k - 1]
    how.width = v.buf.shape[last_v]
    _share_lead(how, [q, k, v], ["query", "key", "value"])
    if max(q.buf.shape[last_q], how.width) > _MAX_BLAS:
        raise ShapeError(
            f"scaled_dot_product_attention: expected E and V up to {_MAX_BLAS}, got "
            f"{q.shape}, {v.shape}"
        )
    return 0


cdef Tensor _check_mask(Attended how, object attn_mask, int dtype):
    """A mask of bool or of `dtype` that broadcasts to (..., L, S)."""
    cdef Tensor mask = as_tensor("scaled_dot_product_attention", attn_mask)
    cdef tl_buffer target, layout
    cdef tuple shape = (*how.lead, how.queries, how.keys)
    target.ndim = len(shape)
    for d in range(target.ndim):
        target.shape[<int>d] = shape[d]
    if broadcast_view(&layout, &mask.buf, &target) < 0:
        raise ShapeError(
            "scaled_dot_product_attention: expected a mask that broadcasts to "
            f"{shape}, got {mask.shape}"
        )
    if mask.buf.dtype == TL_BOOL:
        return mask
    if not is_float_code(mask.buf.dtype):
        raise DTypeError(
            "scaled_dot_product_attention: expected a mask of bool or floats, got "
            f"{mask.dtype}"
        )
    return cast(mask, dtype)


cdef int _draw(Attended how, double dropout_p, object generator) except -1:
    """Reserve the random numbers of one draw a weight."""
    how.params.dropout = dropout_p
    how.params.seed = how.params.offset = 0
    if dropout_p == 0:
        return 0
    count = 1
    axes = random_axes("scaled_dot_product_attention")
    examples = () if axes is None else axes[0]
    for extent in (*examples, *how.lead, how.queries, how.keys):
        count *= extent
    if count > 1 << 62:
        raise ShapeError(
            f"scaled_dot_product_attention: too many weights to drop out: {count}"
        )
    source = default_generator if generator is None else generator
    if not isinstance(source, Generator):
        raise TypeError(
            f"scaled_dot_product_attention: expected a Generator, got {source!r}"
        )
    repeat_draws(source)
    state = source.get_state()
    how.params.seed, how.params.offset = state["seed"], state["position"]
    position = (state["position"] + (count + 3) // 4) % (1 << 64)
    source.set_state({"seed": state["seed"], "position": position})
    return 0


cdef tuple _grouped(Tensor q, Tensor k, Tensor v, object attn_mask):
    """Query heads (..., Hq, L, E) as (..., H, Hq / H, L, E) beside H key heads."""
    cdef int axis = q.buf.ndim - 3
    if axis < 0 or k.buf.ndim < 3 or v.buf.ndim < 3:
        raise ShapeError(
            "scaled_dot_product_attention: enable_gqa expects (..., H, L, E), got "
            f"{q.shape}, {k.shape}, {v.shape}"
        )
    heads, total = k.buf.shape[k.buf.ndim - 3], q.buf.shape[axis]
    if heads == 0 or total % heads or v.buf.shape[v.buf.ndim - 3] != heads:
        raise ShapeError(
            "scaled_dot_product_attention: enable_gqa expects a multiple of the key's "
            f"heads, and as many of the value, got {q.shape}, {k.shape}, {v.shape}"
        )
    split = (heads, total // heads)
    if attn_mask is not None:
        attn_mask = as_tensor("scaled_dot_product_attention", attn_mask)
        if attn_mask.ndim >= 3:
            own = split if attn_mask.shape[-3] == total else (1, attn_mask.shape[-3])
            shape = (*attn_mask.shape[:-3], *own, *attn_mask.shape[-2:])
            attn_mask = attn_mask.reshape(shape)
    q = reshape_like(q, (*q.shape[:axis], *split, *q.shape[axis + 1:]))
    return q, expand_dims(k, k.ndim - 2), expand_dims(v, v.ndim - 2), attn_mask


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None,
    enable_gqa=False, generator=None,
):
    """Return ``softmax(scale query key^T + mask) value``.

    The weights are computed block by block and never stored, so memory grows with
    L + S, not with L S; the gradient computes them again.

    Parameters
    ----------
    query : Tensor of shape (..., L, E)
        Floating; L positions that ask.
    key : Tensor of shape (..., S, E)
        S positions that answer.
    value : Tensor of shape (..., S, V)
        What they answer. Leading axes broadcast.
    attn_mask : Tensor that broadcasts to (..., L, S), optional
        Of bool: where a position may be attended to. Of floats: added to the scores.
    dropout_p : float in [0, 1], default 0.0
        Probability of zeroing a weight; the others are scaled by ``1 / (1 - p)``.
        It acts whenever it is not 0.
    is_causal : bool, default False
        Let position i attend to positions up to i only; instead of `attn_mask`.
    scale : float, optional
        ``1 / sqrt(E)`` by default.
    enable_gqa : bool, default False
        Query heads (axis -3) in groups that share a head of key and value.
    generator : Generator, optional
        Source of the dropout; the default generator otherwise.

    Returns
    -------
    Tensor of shape (..., L, V)

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DTypeError
        If the mask is of integers.
    ValueError
        If both a mask and `is_causal` are given, or `dropout_p` is no probability.

    Notes
    -----
    A row that may attend to nothing gives zeros, and no gradient. The elements dropped
    are those where ``tl.bernoulli(1 - p, (..., L, S))`` of the same generator is 0.

    References
    ----------
    A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, equation 1.
    T. Dao et al., arXiv:2205.14135, algorithms 1 and 4.

    Examples
    --------
    >>> import tensorlib as tl
    >>> q, k = tl.zeros((1, 2)), tl.zeros((4, 2))
    >>> v = tl.tensor([[1.0], [2.0], [3.0], [6.0]])
    >>> tl.scaled_dot_product_attention(q, k, v)
    tensor([[3.]])
    >>> tl.scaled_dot_product_attention(k, k, v, is_causal=True).flatten().tolist()
    [1.0, 1.5, 2.0, 3.0]
    """
    cdef str op = "scaled_dot_product_attention"
    cdef Tensor q = as_float(as_tensor(op, query))
    cdef Tensor k = as_float(as_tensor(op, key))
    cdef Tensor v = as_float(as_tensor(op, value))
    cdef Tensor mask = None, y
    cdef Attended how = Attended.__new__(Attended)
    cdef int64_t depth
    cdef int dtype
    dropout_p = float_of(op, "dropout_p", dropout_p)
    if not 0.0 <= dropout_p <= 1.0:
        raise ValueError(f"{op}: expected dropout_p in [0, 1], got {dropout_p!r}")
    if is_causal and attn_mask is not None:
        raise ValueError(f"{op}: expected attn_mask or is_causal, got both")
    shape = None
    if enable_gqa:
        shape = q.shape
        q, k, v, attn_mask = _grouped(q, k, v, attn_mask)
    _check_sizes(how, q, k, v)
    dtype = promote_codes(promote_codes(q.buf.dtype, k.buf.dtype), v.buf.dtype)
    if attn_mask is not None:
        mask = _check_mask(how, attn_mask, dtype)
    depth = q.buf.shape[q.buf.ndim - 1]
    if scale is None:
        scale = 1.0 / sqrt(<double>max(depth, 1))
    how.params.scale, how.params.causal = scale, bool(is_causal)
    _draw(how, 0.0 if dropout_p == 1 else dropout_p, generator)
    inputs = tuple([_for_blas(cast(x, dtype)) for x in (q, k, v)])
    *inputs, mask = aligned(op, (*inputs, mask))
    if mask is not None and mask.buf.dtype == TL_BOOL:
        how.allowed = mask.detach()
    elif mask is not None:
        inputs.append(mask)
    if how.params.dropout > 0 and random_axes(op) is not None:
        # The kernel counts on the weights of one example; `bernoulli` does not.
        y = _attention.compose(tuple(inputs), how)
    else:
        y = _attention.apply(tuple(inputs), how)
    if dropout_p == 1:
        y = <Tensor>(y * full_like(y.detach(), 0))
    if shape is not None:
        y = reshape_like(y, (*how.lead[:-2], shape[-3], how.queries, how.width))
    return y
