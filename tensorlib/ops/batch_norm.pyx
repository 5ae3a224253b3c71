"""Normalization of channels over the batch, and of each channel of each sample."""
from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned
from tensorlib.autograd.primitive cimport (
    Node, Primitive, differentiated, record, run, tracking,
)
from tensorlib.core.abi cimport TL_CPU, TL_FLOAT32, tl_buffer, tl_norm_params
from tensorlib.core.dtype cimport (
    dtype_of, is_float_code, promote_codes, working_code,
)
from tensorlib.core.layout cimport copy_layout, parse_shape, set_contiguous
from tensorlib.core.tensor cimport Tensor, new_like, new_tensor
from tensorlib.ops.composite cimport Composite
from tensorlib.ops.elementwise cimport (
    as_float, as_tensor, cast, contiguous, full_like,
)
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport reshape_like, reshape_to

from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.ops.arguments import float_of
from tensorlib.ops.mathematics import rsqrt
from tensorlib.ops.reduce import mean
from tensorlib.kernels import load_families

load_families("norm")


cdef class BatchNorm(Composite):
    """(N, C, S) by the statistics of each channel; params: eps.

    Saved: x, weight, bias, mean and rstd. Of a 16-bit x all others are float32.
    """

    cdef tuple apply(self, Tensor x, Tensor weight, Tensor bias, double eps):
        """The result, and mean and biased variance of each channel."""
        cdef tl_norm_params params
        cdef Tensor out, average, spread, rstd
        cdef const tl_buffer *written[4]
        cdef const tl_buffer *read[3]
        cdef int track = x.track | weight.track | bias.track
        params.eps = eps
        x, weight, bias = aligned(self.name, (x, weight, bias))
        out = new_like(x, x.buf.dtype)
        average = new_like(weight, weight.buf.dtype)
        spread = new_like(weight, weight.buf.dtype)
        rstd = new_like(weight, weight.buf.dtype)
        written[0], written[1] = &out.buf, &average.buf
        written[2], written[3] = &spread.buf, &rstd.buf
        read[0], read[1], read[2] = &x.buf, &weight.buf, &bias.buf
        run(self, x.buf.dtype, written, 4, read, 3, &params, x.buf.size)
        if track and tracking(track):
            record(self, out, (x, weight, bias), (x, weight, bias, average, rstd),
                   False, eps)
        return out, average, spread

    cdef Tensor compose(self, tuple inputs, object params):
        x, weight, bias = inputs
        shape = (weight.shape[0], 1)
        wide = cast(x, (<Tensor>weight).buf.dtype)
        centred = wide - mean(wide, axis=(0, 2), keepdims=True)
        scale = rsqrt(mean(centred * centred, axis=(0, 2), keepdims=True) + params)
        return cast(
            <Tensor>(centred * scale * weight.reshape(shape) + bias.reshape(shape)),
            (<Tensor>x).buf.dtype,
        )

    cdef tuple vjp(self, Node node, Tensor g):
        if differentiated():
            return self.composed_vjp(node, g)
        return self.kernel_vjp(node, g)

    cdef tuple kernel_vjp(self, Node node, Tensor g):
        cdef Tensor x = node.get(0)
        cdef Tensor weight = node.get(1)
        cdef Tensor average = node.get(3)
        cdef Tensor rstd = node.get(4)
        cdef Tensor grad_x, grad_weight, grad_bias
        cdef const tl_buffer *written[3]
        cdef const tl_buffer *read[5]
        g, x, weight, average, rstd = aligned(
            self.name, (contiguous(g), x, weight, average, rstd)
        )
        grad_x = new_like(x, x.buf.dtype)
        grad_weight = new_like(weight, weight.buf.dtype)
        grad_bias = new_like(weight, weight.buf.dtype)
        written[0], written[1] = &grad_x.buf, &grad_weight.buf
        written[2] = &grad_bias.buf
        read[0], read[1], read[2] = &g.buf, &x.buf, &average.buf
        read[3], read[4] = &rstd.buf, &weight.buf
        run(_batch_norm_grad, x.buf.dtype, written, 3, read, 5, NULL, x.buf.size)
        return (grad_x, grad_weight, grad_bias)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.composed_jvp(node, tangents)


cdef class ChannelNorm(Composite):
    """(N, C, S) by statistics that are given; params: eps.

    Inputs and saved: x, weight, bias, mean and variance. Of a 16-bit x all others are
    float32.
    """

    cdef Tensor apply(self, tuple inputs, double eps):
        cdef tl_norm_params params
        cdef Tensor x = inputs[0], out = new_like(x, x.buf.dtype)
        cdef const tl_buffer *written = &out.buf
        cdef const tl_buffer *read[5]
        cdef int i, track = 0
        params.eps = eps
        for i in range(5):
            read[i] = &(<Tensor>inputs[i]).buf
            track |= (<Tensor>inputs[i]).track
        run(self, x.buf.dtype, &written, 1, read, 5, &params, x.buf.size)
        if track and tracking(track):
            record(self, out, inputs, inputs, False, eps)
        return out

    cdef Tensor compose(self, tuple inputs, object params):
        x, weight, bias, average, spread = inputs
        return _scaled(x, weight, bias, average, spread, params)

    cdef tuple vjp(self, Node node, Tensor g):
        return self.composed_vjp(node, g)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.composed_jvp(node, tangents)


cdef BatchNorm _batch_norm = BatchNorm("batch_norm")
cdef ChannelNorm _channel_norm = ChannelNorm("channel_norm")
cdef Primitive _batch_norm_grad = Primitive("batch_norm_grad")


# ---- arguments -----------------------------------------------------------------
cdef Tensor _channel_values(str op, str name, object given, Tensor x):
    """A tensor of one value a channel of x (N, C, ...), or None."""
    cdef Tensor found
    if given is None:
        return None
    found = as_tensor(op, given)
    if found.buf.ndim != 1 or found.buf.shape[0] != x.buf.shape[1]:
        raise ShapeError(
            f"{op}: expected {name} of shape ({x.buf.shape[1]},), got {found.shape}"
        )
    if not is_float_code(found.buf.dtype) and name.startswith("running"):
        raise DTypeError(
            f"{op}: expected a floating {name}, got {dtype_of(found.buf.dtype)}"
        )
    return found


cdef Tensor _constant(Tensor like, int64_t channels, object value):
    """A weight or bias that is not given."""
    cdef tl_buffer layout
    parse_shape("norm", (channels,), &layout)
    return full_like(new_tensor(
        &layout, working_code(like.buf.dtype), like.buf.device_type,
        like.buf.device_index,
    ), value)


cdef int _move(Tensor running, Tensor found, double momentum, double factor) except -1:
    """running = (1 - momentum) * running + momentum * factor * found, in place."""
    if running is None:
        return 0
    if running.requires_grad:
        raise ValueError("batch_norm: running statistics must not require grad")
    found = cast(found, running.buf.dtype)
    running.mul_(1.0 - momentum).add_(found * (momentum * factor))
    return 0


cdef tuple _operands(
    str op, object x, object weight, object bias, object running_mean,
    object running_var,
):
    """The five as tensors, the first three of one floating dtype.

    But a 16-bit x stays so where weight and bias are float32, as in mixed precision,
    and 16-bit weights become float32: what is multiplied is.
    """
    cdef Tensor a = as_float(as_tensor(op, x))
    cdef Tensor w, b
    cdef int dtype = a.buf.dtype, wide
    cdef bint mixed = working_code(dtype) == TL_FLOAT32
    if a.buf.ndim < 2:
        raise ShapeError(f"{op}: expected (N, C) or (N, C, ...), got {a.shape}")
    w = _channel_values(op, "weight", weight, a)
    b = _channel_values(op, "bias", bias, a)
    for given in (w, b):
        if given is not None:
            dtype = promote_codes(dtype, (<Tensor>given).buf.dtype)
            mixed &= (<Tensor>given).buf.dtype == TL_FLOAT32
    wide = working_code(dtype)
    if mixed:
        dtype = a.buf.dtype
    return (
        cast(a, dtype),
        None if w is None else cast(w, wide),
        None if b is None else cast(b, wide),
        _channel_values(op, "running_mean", running_mean, a),
        _channel_values(op, "running_var", running_var, a),
    )


cdef Tensor _scaled(
    Tensor x, Tensor w, Tensor b, Tensor average, Tensor spread, double eps
):
    """(x - mean) / sqrt(var + eps) * weight + bias in small operations."""
    cdef int dtype = working_code(x.buf.dtype)
    along = (-1, *(1,) * (x.buf.ndim - 2))
    scale = rsqrt(cast(spread, dtype) + eps)
    if w is not None:
        scale = scale * w
    out = (x - cast(average, dtype).reshape(along)) * scale.reshape(along)
    return cast(<Tensor>(out if b is None else out + b.reshape(along)), x.buf.dtype)


cdef Tensor _by_running(
    str op, Tensor x, Tensor w, Tensor b, Tensor average, Tensor spread, double eps
):
    """The same with statistics that are given: one kernel on the CPU."""
    cdef int dtype = working_code(x.buf.dtype), d
    cdef int64_t channels = x.buf.shape[1]
    cdef tl_buffer rows
    cdef Tensor out
    if average is None or spread is None:
        raise ValueError(
            f"{op}: running_mean and running_var are needed unless the input's "
            "statistics are used"
        )
    for each in (x, w, b, average, spread):
        if each is not None and (<Tensor>each).buf.device_type != TL_CPU:
            return _scaled(x, w, b, average, spread, eps)
    w = _constant(x, channels, 1) if w is None else contiguous(w)
    b = _constant(x, channels, 0) if b is None else contiguous(b)
    rows.ndim = 3
    rows.shape[0], rows.shape[1], rows.shape[2] = x.buf.shape[0], channels, 1
    for d in range(2, x.buf.ndim):
        rows.shape[2] *= x.buf.shape[d]
    set_contiguous(&rows)
    out = _channel_norm.apply(
        (reshape_to(contiguous(x), &rows), w, b, contiguous(cast(average, dtype)),
         contiguous(cast(spread, dtype))), eps,
    )
    copy_layout(&rows, &x.buf)
    set_contiguous(&rows)
    return reshape_to(out, &rows)


def batch_norm(
    x, running_mean=None, running_var=None, weight=None, bias=None, training=False,
    momentum=0.1, eps=1e-5,
):
    """Normalize each channel, by the batch's or by running statistics.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``. In training mean and biased
    variance are those of all elements of a channel, and the running ones move by
    ``running = (1 - momentum) running + momentum batch``, with the unbiased variance.

    Parameters
    ----------
    x : Tensor of shape (N, C) or (N, C, ...)
    running_mean, running_var : Tensor of shape (C,), optional
        Changed in place in training, used otherwise.
    weight, bias : Tensor of shape (C,), optional
        Float32 ones leave a 16-bit `x` its dtype.
    training : bool, default False
        Whether the batch's statistics are used.
    momentum : float, default 0.1
        Weight of this batch in the running statistics.
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
        If a channel has one value in training, or running statistics are missing
        otherwise.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch Normalization", arXiv:1502.03167, algorithm 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.batch_norm(tl.tensor([[1.0], [3.0]]), training=True, eps=0.0)
    tensor([[-1.],
            [ 1.]])
    """
    cdef Tensor a, w, b, average, spread, out
    cdef int64_t channels, count, length = 1
    cdef double step = float_of("batch_norm", "momentum", momentum)
    eps = float_of("batch_norm", "eps", eps)
    a, w, b, average, spread = _operands(
        "batch_norm", x, weight, bias, running_mean, running_var
    )
    if not training:
        return _by_running("batch_norm", a, w, b, average, spread, eps)
    channels = a.buf.shape[1]
    for extent in a.shape[2:]:
        length *= extent
    count = a.buf.shape[0] * length
    if count <= 1:
        raise ValueError(
            "batch_norm: expected more than one value a channel in training, got "
            f"x.shape={a.shape}"
        )
    w = _constant(a, channels, 1) if w is None else contiguous(w)
    b = _constant(a, channels, 0) if b is None else contiguous(b)
    shape = a.shape
    a = reshape_like(contiguous(a), (shape[0], channels, length))
    out, found_mean, found_var = _batch_norm.apply(a, w, b, eps)
    _move(average, found_mean, step, 1.0)
    _move(spread, found_var, step, count / (count - 1.0))
    return reshape_like(out, shape)


@own_errors
def instance_norm(
    x, running_mean=None, running_var=None, weight=None, bias=None,
    use_input_stats=True, momentum=0.1, eps=1e-5,
):
    """Normalize each channel of each sample, by its own or by running statistics.

    Parameters
    ----------
    x : Tensor of shape (N, C, ...)
    running_mean, running_var : Tensor of shape (C,), optional
        Moved, as by `batch_norm`, by the statistics' means over the samples.
    weight, bias : Tensor of shape (C,), optional
    use_input_stats : bool, default True
        Whether each sample's own statistics are used.
    momentum : float, default 0.1
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
        If a channel of a sample has one value only, or running statistics are needed
        and missing.

    References
    ----------
    D. Ulyanov et al., "Instance Normalization", arXiv:1607.08022.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.instance_norm(tl.tensor([[[1.0, 3.0], [0.0, 8.0]]]), eps=0.0)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    cdef Tensor a, w, b, average, spread, out
    cdef int64_t channels, count, length = 1
    a, w, b, average, spread = _operands(
        "instance_norm", x, weight, bias, running_mean, running_var
    )
    if not use_input_stats:
        return _by_running("instance_norm", a, w, b, average, spread, eps)
    shape = a.shape
    channels, count = shape[1], shape[0]
    for extent in shape[2:]:
        length *= extent
    if length <= 1 and a.buf.size:
        raise ValueError(
            "instance_norm: expected more than one value a channel of a sample, got "
            f"x.shape={shape}"
        )
    w = _constant(a, channels, 1) if w is None else w
    b = _constant(a, channels, 0) if b is None else b
    rows = (count * channels,)
    out, found_mean, found_var = _batch_norm.apply(
        reshape_like(contiguous(a), (1, count * channels, length)),
        reshape_like(contiguous(broadcast(w, (count, channels))), rows),
        reshape_like(contiguous(broadcast(b, (count, channels))), rows), eps,
    )
    if count and length > 1:
        samples = (count, channels)
        _move(average, <Tensor>mean(found_mean.reshape(samples), axis=0), momentum, 1.0)
        _move(spread, <Tensor>mean(found_var.reshape(samples), axis=0), momentum,
              length / (length - 1.0))
    return reshape_like(out, shape)
