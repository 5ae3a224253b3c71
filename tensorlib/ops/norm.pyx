"""Normalization by statistics of the input."""

from cpython.number cimport PyNumber_Index as index
from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, differentiated, record, run, tracking,
)
from tensorlib.core.abi cimport tl_buffer, tl_norm_params
from tensorlib.core.dtype cimport (
    dtype_of, is_float_code, promote_codes, working_code,
)
from tensorlib.core.layout cimport parse_shape, same_shape
from tensorlib.core.tensor cimport Tensor, new_like, new_tensor
from tensorlib.ops.composite cimport Composite
from tensorlib.ops.elementwise cimport (
    as_float, as_tensor, cast, contiguous, full_like,
)
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport reshape_like

from tensorlib.core.dtype import finfo
from tensorlib.core.errors import ShapeError
from tensorlib.ops.arguments import float_of
from tensorlib.ops.mathematics import rsqrt
from tensorlib.ops.reduce import mean, sum
from tensorlib.ops.shape import expand_dims
from tensorlib.kernels import load_families

load_families("norm")


cdef Tensor _along(Tensor x, int axis, int dtype):
    """A new tensor of one number for each index along the axis."""
    cdef tl_buffer layout
    layout.ndim = 1
    layout.shape[0] = x.buf.shape[axis]
    return new_tensor(&layout, dtype, x.buf.device_type, x.buf.device_index)


cdef bint _ends_in(const tl_buffer *x, const tl_buffer *inner) noexcept:
    """Whether the last axes of x are those of `inner`."""
    cdef int d, lead = x.ndim - inner.ndim
    if lead < 0:
        return False
    for d in range(inner.ndim):
        if x.shape[lead + d] != inner.shape[d]:
            return False
    return True


cdef int _parse_inner(
    str op, Tensor x, object normalized_shape, tl_buffer *inner
) except -1:
    """Describe the axes that are normalized, which must be the last ones of x."""
    cdef int d
    parse_shape(op, normalized_shape, inner)
    if inner.ndim == 0 or not _ends_in(&x.buf, inner):
        wanted = ", ".join([str(inner.shape[d]) for d in range(inner.ndim)])
        raise ShapeError(f"{op}: expected x of shape (..., {wanted}), got {x.shape}")
    return 0


cdef Tensor _affine(str op, str name, object given, const tl_buffer *inner):
    """A weight or bias, None where there is none; it must have the shape `inner`."""
    cdef Tensor x
    cdef int d
    if given is None:
        return None
    x = as_tensor(op, given)
    if x.buf.ndim != inner.ndim or not _ends_in(&x.buf, inner):
        wanted = tuple([inner.shape[d] for d in range(inner.ndim)])
        raise ShapeError(f"{op}: expected {name} of shape {wanted}, got {x.shape}")
    return x


cdef Tensor _as_vector(Tensor x, int dtype):
    x = contiguous(cast(x, dtype))
    return x if x.buf.ndim == 1 else reshape_like(x, (x.buf.size,))


cdef Tensor _as_rows(Tensor x, int dtype, const tl_buffer *inner):
    """x as a matrix, with a row for what is normalized together."""
    x = contiguous(cast(x, dtype))
    if x.buf.ndim == 2 and inner.ndim == 1:
        return x
    rows = x.buf.size // inner.size if inner.size else 0
    return reshape_like(x, (rows, inner.size))


cdef Tensor _shaped_as(Tensor rows, Tensor x):
    return rows if same_shape(&rows.buf, &x.buf) else reshape_like(rows, x.shape)


cdef tuple _row_grads(
    Primitive p, Tensor g, Tensor x, Tensor average, Tensor rstd, Tensor weight
):
    """Gradients of x, weight and bias by a kernel; without `average` of no bias."""
    cdef Tensor grad_x, grad_weight, grad_bias = None
    cdef const tl_buffer *written[3]
    cdef const tl_buffer *read[5]
    g, x, average, rstd, weight = aligned(p.name, (g, x, average, rstd, weight))
    grad_x = new_like(x, x.buf.dtype)
    grad_weight = _along(x, 1, x.buf.dtype)
    g = contiguous(g)
    written[0], written[1], written[2] = &grad_x.buf, &grad_weight.buf, NULL
    read[0], read[1], read[2], read[3] = &g.buf, &x.buf, NULL, &rstd.buf
    if average is not None:
        grad_bias = new_like(grad_weight, x.buf.dtype)
        written[2], read[2] = &grad_bias.buf, &average.buf
    if weight is not None:
        read[4] = &weight.buf
    run(p, x.buf.dtype, written, 3, read, 4 if weight is None else 5, NULL, x.buf.size)
    return grad_x, grad_weight, grad_bias


# ---- layer normalization -------------------------------------------------------
cdef class LayerNorm(Primitive):
    """Rows of (N, D); saved: x, mean, rstd and, when given, weight."""

    cdef Tensor apply(self, Tensor x, Tensor weight, Tensor bias, double eps):
        cdef tl_norm_params params
        cdef Tensor out, average, rstd
        cdef const tl_buffer *written[3]
        cdef const tl_buffer *read[3]
        cdef int nin = 1, track = x.track
        x, weight, bias = aligned(self.name, (x, weight, bias))
        out = new_like(x, x.buf.dtype)
        params.eps = eps
        average = _along(x, 0, working_code(x.buf.dtype))
        rstd = new_like(average, average.buf.dtype)
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
        if not differentiated():
            return self.kernel_vjp(node, g)
        # Recording: the same formulas in Tensor operations, differentiable again.
        normalized, rstd = self.normalized(node)
        weighted = g
        if node.inputs > 1:
            weighted = g * node.get(3)
        inner = mean(weighted * normalized, axis=1, keepdims=True)
        centred = weighted - mean(weighted, axis=1, keepdims=True)
        grads = [(centred - normalized * inner) * rstd]
        if node.inputs > 1:
            grads.append(sum(g * normalized, axis=0))
        if node.inputs > 2:
            grads.append(sum(g, axis=0))
        return tuple(grads)

    cdef tuple kernel_vjp(self, Node node, Tensor g):
        cdef Tensor weight = node.get(3) if node.inputs > 1 else None
        return _row_grads(
            _layer_norm_grad, g, node.get(0), node.get(1), node.get(2), weight
        )[:node.inputs]

    cdef tuple normalized(self, Node node):
        """(x - mean) * rstd with the statistics as functions of x, and rstd."""
        cdef Tensor x = node.get(0)
        if not differentiated():
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
            if node.inputs > 1:
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
    cdef Tensor w, b
    cdef int dtype = a.buf.dtype
    _parse_inner("layer_norm", a, normalized_shape, &inner)
    w = _affine("layer_norm", "weight", weight, &inner)
    b = _affine("layer_norm", "bias", bias, &inner)
    if w is not None:
        dtype = promote_codes(dtype, w.buf.dtype)
    if b is not None:
        dtype = promote_codes(dtype, b.buf.dtype)
        b = _as_vector(b, dtype)
    if w is not None:
        w = _as_vector(w, dtype)
    elif b is not None:
        w = full_like(b.detach(), 1)
    rows = _layer_norm.apply(
        _as_rows(a, dtype, &inner), w, b, float_of("layer_norm", "eps", eps)
    )
    return _shaped_as(<Tensor>rows, a)


# ---- groups of channels --------------------------------------------------------
cdef class GroupNorm(Composite):
    """Of (N, C, S); params: (groups, eps). Saved: x, weight and bias when given, then
    mean and rstd, of shape (N, groups)."""

    cdef Tensor apply(self, Tensor x, Tensor weight, Tensor bias, int64_t groups,
                      double eps):
        cdef tl_norm_params params
        cdef tl_buffer layout
        cdef Tensor out, average, rstd, each
        cdef const tl_buffer *written[3]
        cdef const tl_buffer *read[3]
        cdef int nin = 0, track = 0
        x, weight, bias = aligned(self.name, (x, weight, bias))
        params.eps = eps
        parse_shape(self.name, (x.buf.shape[0], groups), &layout)
        out = new_like(x, x.buf.dtype)
        average = new_tensor(
            &layout, x.buf.dtype, x.buf.device_type, x.buf.device_index
        )
        rstd = new_like(average, x.buf.dtype)
        written[0], written[1], written[2] = &out.buf, &average.buf, &rstd.buf
        inputs = tuple([each for each in (x, weight, bias) if each is not None])
        for each in inputs:
            read[nin] = &each.buf
            track |= each.track
            nin += 1
        run(self, x.buf.dtype, written, 3, read, nin, &params, x.buf.size)
        if track and tracking(track):
            record(self, out, inputs, (*inputs, average, rstd), False, (groups, eps))
        return out

    cdef Tensor compose(self, tuple inputs, object params):
        x, (groups, eps) = inputs[0], params
        n, channels, length = x.shape
        shape = (n * groups, channels // groups * length)
        y = layer_norm(x.reshape(shape), shape[1], None, None, eps).reshape(x.shape)
        if len(inputs) > 1:
            y = y * inputs[1].reshape((channels, 1))
        return <Tensor>(y + inputs[2].reshape((channels, 1)) if len(inputs) > 2 else y)

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor grad_x, products, sums, x, average, rstd, weight = None
        cdef const tl_buffer *written[3]
        cdef const tl_buffer *read[5]
        if differentiated():
            return self.composed_vjp(node, g)
        x, average, rstd = [node.get(k) for k in (0, node.inputs, node.inputs + 1)]
        if node.inputs > 1:
            weight = node.get(1)
        g, x, average, rstd, weight = aligned(
            self.name, (contiguous(g), x, average, rstd, weight)
        )
        grad_x = new_like(x, x.buf.dtype)
        products = _of_channels(x)
        sums = new_like(products, x.buf.dtype)
        written[0], written[1], written[2] = &grad_x.buf, &products.buf, &sums.buf
        read[0], read[1], read[2], read[3] = &g.buf, &x.buf, &average.buf, &rstd.buf
        if weight is not None:
            read[4] = &weight.buf
        run(
            _group_norm_grad, x.buf.dtype, written, 3, read, 4 if weight is None else 5,
            NULL, x.buf.size,
        )
        return (
            grad_x,
            sum(products, axis=0) if node.inputs > 1 and node.needs(1) else None,
            sum(sums, axis=0) if node.inputs > 2 and node.needs(2) else None,
        )[:node.inputs]

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.composed_jvp(node, tangents)


cdef Tensor _of_channels(Tensor x):
    """A new tensor of shape (N, C)."""
    cdef tl_buffer layout
    layout.ndim, layout.shape[0], layout.shape[1] = 2, x.buf.shape[0], x.buf.shape[1]
    return new_tensor(&layout, x.buf.dtype, x.buf.device_type, x.buf.device_index)


cdef GroupNorm _group_norm = GroupNorm("group_norm")
cdef Primitive _group_norm_grad = Primitive("group_norm_grad")


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    """Normalize each group of channels of each sample to mean 0 and variance 1.

    Parameters
    ----------
    x : Tensor of shape (N, C, ...)
    num_groups : int
        Groups of neighbouring channels; it divides C.
    weight, bias : Tensor of shape (C,), optional
    eps : float, default 1e-5

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    ValueError
        If `num_groups` is not positive.

    References
    ----------
    Y. Wu, K. He, "Group Normalization", arXiv:1803.08494.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.group_norm(tl.tensor([[1.0, 3.0, 0.0, 8.0]]), 2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    cdef Tensor a = as_float(as_tensor("group_norm", x)), out
    cdef int dtype = a.buf.dtype, work
    try:
        groups = index(num_groups)
    except TypeError:
        raise TypeError(
            f"group_norm: expected num_groups to be an int, got {num_groups!r}"
        ) from None
    if groups < 1:
        raise ValueError(f"group_norm: expected num_groups >= 1, got {groups}")
    if a.buf.ndim < 2 or a.buf.shape[1] % groups:
        raise ShapeError(
            f"group_norm: expected (N, C, ...) with C divisible by {groups}, got "
            f"{a.shape}"
        )
    affine = []
    for name, given in (("weight", weight), ("bias", bias)):
        if given is not None:
            given = as_tensor("group_norm", given)
            if given.shape != a.shape[1:2]:
                raise ShapeError(
                    f"group_norm: expected {name} of shape {a.shape[1:2]}, got "
                    f"{given.shape}"
                )
            dtype = promote_codes(dtype, (<Tensor>given).buf.dtype)
        affine.append(given)
    work = working_code(dtype)
    affine = [None if t is None else contiguous(cast(<Tensor>t, work)) for t in affine]
    if affine[0] is None and affine[1] is not None:
        affine[0] = full_like((<Tensor>affine[1]).detach(), 1)
    eps = float_of("group_norm", "eps", eps)
    n, channels = a.shape[:2]
    length = a.buf.size // (n * channels) if a.buf.size else 0
    rows = reshape_like(contiguous(cast(a, work)), (n, channels, length))
    if a.buf.size and a.device.type == "cuda":    # which has no kernel for it
        inputs = tuple([t for t in (rows, *affine) if t is not None])
        out = _group_norm.compose(inputs, (groups, eps))
    else:
        out = _group_norm.apply(rows, affine[0], affine[1], groups, eps)
    return cast(reshape_like(out, a.shape), dtype)


# ---- without a mean ------------------------------------------------------------
cdef class RmsNorm(Composite):
    """Rows of (N, D); params: eps. Saved: x, weight when given, and rstd."""

    cdef Tensor apply(self, Tensor x, Tensor weight, double eps):
        cdef tl_norm_params params
        cdef Tensor out, rstd
        cdef const tl_buffer *written[3]
        cdef const tl_buffer *read[2]
        cdef int track = x.track | (0 if weight is None else weight.track)
        x, weight = aligned(self.name, (x, weight))
        params.eps = eps
        out = new_like(x, x.buf.dtype)
        rstd = _along(x, 0, working_code(x.buf.dtype))
        written[0], written[1], written[2] = &out.buf, NULL, &rstd.buf
        read[0] = &x.buf
        inputs = (x,)
        if weight is not None:
            read[1] = &weight.buf
            inputs = (x, weight)
        run(self, x.buf.dtype, written, 3, read, len(inputs), &params, x.buf.size)
        if track and tracking(track):
            record(self, out, inputs, (*inputs, rstd), False, eps)
        return out

    cdef Tensor compose(self, tuple inputs, object params):
        x = inputs[0]
        y = x * rsqrt(mean(x * x, axis=1, keepdims=True) + params)
        return <Tensor>(y if len(inputs) == 1 else y * inputs[1])

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor weight
        if differentiated():
            return self.composed_vjp(node, g)
        weight = node.get(1) if node.inputs > 1 else None
        return _row_grads(
            _rms_norm_grad, g, node.get(0), None, node.get(node.inputs), weight
        )[:node.inputs]

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.composed_jvp(node, tangents)


cdef RmsNorm _rms_norm = RmsNorm("rms_norm")
cdef Primitive _rms_norm_grad = Primitive("rms_norm_grad")


cdef dict _epsilons = {}    # by dtype code


cdef double _epsilon(int dtype) except -1:
    """The spacing of the dtype's numbers at 1."""
    cdef object known = _epsilons.get(dtype)
    if known is None:
        known = _epsilons[dtype] = finfo(dtype_of(dtype)).eps
    return known


def rms_norm(x, normalized_shape, weight=None, eps=None):
    """Divide by the root of the mean square over the last axes, then scale.

    ``x / sqrt(mean(x * x) + eps) * weight``.

    Parameters
    ----------
    x : Tensor of shape (..., *normalized_shape)
    normalized_shape : int or tuple of int
    weight : Tensor of shape normalized_shape, optional
    eps : float, optional
        The dtype's epsilon by default.

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
    B. Zhang, R. Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467,
    equation 4.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.rms_norm(tl.tensor([[3.0, 3.0]]), 2)
    tensor([[1., 1.]])
    """
    cdef Tensor a = as_float(as_tensor("rms_norm", x))
    cdef tl_buffer inner
    cdef Tensor w, rows
    cdef int dtype = a.buf.dtype
    _parse_inner("rms_norm", a, normalized_shape, &inner)
    eps = _epsilon(dtype) if eps is None else float_of("rms_norm", "eps", eps)
    w = _affine("rms_norm", "weight", weight, &inner)
    if w is not None:
        dtype = promote_codes(dtype, w.buf.dtype)
        w = _as_vector(w, dtype)
    rows = _as_rows(a, dtype, &inner)
    if is_float_code(dtype):
        rows = _rms_norm.apply(rows, w, eps)
    elif rows.buf.size:    # complex
        rows = _rms_norm.compose((rows,) if w is None else (rows, w), eps)
    return _shaped_as(rows, a)
