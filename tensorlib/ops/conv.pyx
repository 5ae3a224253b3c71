"""Convolutions and their transposes.

The form ``sum(y * conv(x, w))`` is linear in each of x, w and y. Its derivative with
respect to one of them, given the other two, is one primitive: `conv` gives y,
`conv_input` x and `conv_weight` w. The derivative of each is again one of the three,
so they close under differentiation. A transposed convolution is `conv_input`.
"""
from math import prod

from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned, hide_axis
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, record, run, tracking,
)
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_C_CONTIGUOUS, TL_CPU, TL_CUDA, tl_buffer, tl_conv_params,
)
from tensorlib.core.layout cimport copy_layout, parse_shape
from tensorlib.core.tensor cimport Tensor, detached, new_tensor
from tensorlib.ops.conv_geometry cimport (
    MOST, Geometry, check_channels, check_rank, checked_geometry, checked_operands,
    group_count, new_geometry,
)
from tensorlib.ops.elementwise cimport contiguous
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport reshape_like
from tensorlib.ops.window cimport (
    as_volume, channels_last, channels_moved, from_volume, is_batched, lay_volume,
    per_axis,
)

from tensorlib.autograd.batch import hide_levels, show_levels
from tensorlib.core.errors import ShapeError
from tensorlib.ops.reduce import sum
from tensorlib.ops.shape import permute_dims
from tensorlib.kernels import load_families

load_families("conv", "conv_direct", "conv_pointwise", "conv_winograd")

cdef enum:
    X = 0
    W = 1
    Y = 2


cdef class Trilinear(Primitive):
    """Operand `role` of the form from the two others; params: a Geometry."""
    cdef int role
    cdef int first
    cdef int second

    def __init__(self, name, role, first, second):
        self.role, self.first, self.second = role, first, second

    cdef Tensor apply(self, Tensor a, Tensor b, Tensor bias, Geometry how):
        cdef Tensor out
        cdef tl_buffer layout
        cdef tl_conv_params params
        cdef Tensor single
        cdef int track = a.track | b.track | (0 if bias is None else bias.track)
        a, b = contiguous(a), contiguous(b)
        single = b          # not copied for each example of a vmap
        if under_vmap(b) or under_vmap(bias) or self.role == W and under_vmap(a):
            out = self.in_groups(a, b, bias, how)
            a, b, bias = aligned(self.name, (a, b, bias))
        else:
            a, b, bias = aligned(self.name, (a, b, bias))
            parse_shape(self.name, how.shapes[self.role], &layout)
            out = new_tensor(
                &layout, a.buf.dtype, a.buf.device_type, a.buf.device_index
            )
            if (
                self.role == X and not how.has_steps()
                and out.buf.device_type != TL_CUDA
            ):
                _input_without_steps(out, a, single, bias, how)
            else:
                params = how.params
                params.keeps = self.role == Y and may_keep(b)
                _launch(self, out, a, b, bias, &params)
        if track and tracking(track):
            saved = (a if b.track else None, b if a.track else None)
            inputs = (a, b) if bias is None else (a, b, bias)
            record(self, out, inputs, saved, False, how)
        return out

    cdef Tensor in_groups(self, Tensor a, Tensor b, Tensor bias, Geometry how):
        """Examples of vmap with weights of their own, in one call.

        They are so many times the groups: the channels of one follow those of another.
        Examples that share a weight are rows. Where all share x, and it is not in
        groups itself, it is not copied: the examples are output channels.
        """
        cdef bint last = how.params.channels_last
        cdef bint shared
        cdef Tensor x = a if self.first == X else b
        cdef Tensor out
        shared = how.params.groups == 1 and self.role != X and not under_vmap(x)
        a = detached(a)
        b, bias = aligned(self.name, (detached(b), bias))
        if self.role == W and not shared:
            a, b = aligned(self.name, (a, b))
        levels = _sizes(a if self.role == W else b)
        every = levels if shared else _sizes(<Tensor>aligned(self.name, (a, b))[0])
        if not shared:
            a = <Tensor>aligned(self.name, (a, b))[0]
        rows = {k: n for k, n in every.items() if k not in levels}
        out = self.apply(
            _folded(a, rows, levels, self.first == W, last),
            _folded(b, {}, levels, self.second == W, last),
            None if bias is None else _folded(detached(bias), {}, levels, True, last),
            _widened(how, prod(rows.values()), prod(levels.values()), shared),
        )
        return _unfolded(out, how.shapes[self.role], rows, levels, self.role == W, last)

    cdef Tensor part(self, Node node, int wanted, int given, Tensor g):
        """The form's derivative by operand `wanted`; y's role is taken by g."""
        cdef list operands = [None, None, None]
        operands[self.role] = g
        operands[self.second if wanted == self.first else self.first] = (
            node.get(given)
        )
        return _contract(wanted, operands, <Geometry>node.params)

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor grad_a = None, grad_b = None
        g = contiguous(g)
        if node.needs(0):
            grad_a = self.part(node, self.first, 1, g)
        if node.needs(1):
            grad_b = self.part(node, self.second, 0, g)
        if node.inputs == 2:
            return (grad_a, grad_b)
        if not node.needs(2):
            return (grad_a, grad_b, None)
        last = (<Geometry>node.params).params.channels_last
        axes = (0, 1, 2, 3) if last else (0, 2, 3, 4)
        return (grad_a, grad_b, sum(g, axis=axes))

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        cdef Geometry how = <Geometry>node.params
        if tangents[0] is not None:
            out = self.apply(<Tensor>tangents[0], node.get(1), None, how)
        if tangents[1] is not None:
            out = add_tangents(
                out, self.apply(node.get(0), <Tensor>tangents[1], None, how)
            )
        if len(tangents) == 3 and tangents[2] is not None:
            shift = tangents[2]
            if not how.params.channels_last:
                shift = reshape_like(<Tensor>shift, (1, shift.shape[0], 1, 1, 1))
            out = add_tangents(out, broadcast(<Tensor>shift, node.shape_tuple()))
        return out


cdef Trilinear _conv = Trilinear("conv", Y, X, W)
cdef Trilinear _conv_input = Trilinear("conv_input", X, Y, W)
cdef Trilinear _conv_weight = Trilinear("conv_weight", W, Y, X)


cdef Tensor _contract(int role, list operands, Geometry how):
    cdef Trilinear p = _conv
    if role == X:
        p = _conv_input
    elif role == W:
        p = _conv_weight
    return p.apply(<Tensor>operands[p.first], <Tensor>operands[p.second], None, how)


cdef bint may_keep(Tensor w) noexcept:
    """Whether kernels may keep what they make of w: where it is not being trained."""
    return w.buf.device_type == TL_CPU and not tracking(w.track)


# ---- under vmap ----------------------------------------------------------------
cdef bint under_vmap(Tensor x) noexcept:
    return x is not None and x.buf.device_type == TL_BATCHED


cdef dict _sizes(Tensor x):
    """The vmap levels that x is under, and their numbers of examples."""
    shown, levels = show_levels(detached(x))
    return dict(zip(levels, shown.shape))


cdef Tensor _folded(Tensor x, dict rows, dict groups, bint is_weight, bint last):
    """x with the examples of some levels as rows, of others as channels.

    A weight's or bias's channels are its first axis, which is its rows too.
    """
    cdef tuple own, order, shape
    shown, levels = show_levels(x)
    own = shown.shape[len(levels):]
    before = [levels.index(k) for k in rows if k in levels]
    beside = [levels.index(k) for k in groups if k in levels]
    at = 0 if is_weight else len(own) - 1 if last else 1
    axes = tuple(range(len(levels), len(shown.shape)))
    order = (*before, *axes[:at], *beside, *axes[at:])
    count = prod([shown.shape[k] for k in beside])
    shape = (*own[:at], count * own[at], *own[at + 1:])
    if at:
        shape = (prod([shown.shape[k] for k in before]) * own[0], *shape[1:])
    return contiguous(reshape_like(<Tensor>permute_dims(shown, order), shape))


cdef Tensor _unfolded(
    Tensor x, tuple own, dict rows, dict groups, bint is_weight, bint last
):
    """A result of one example from what `_folded` operands gave, a view of it."""
    at = 0 if is_weight else len(own) - 1 if last else 1
    shape = (*rows.values(), *own[:at], *groups.values(), *own[at:])
    x = hide_levels(reshape_like(x, shape), tuple(rows))
    for level in groups:
        x = hide_axis(x, level, at)
    return x


cdef Geometry _widened(Geometry how, object rows, object count, bint shared):
    """For `rows` times the rows, and `count` times the groups or output channels."""
    cdef Geometry wide = Geometry.__new__(Geometry)
    cdef bint last = how.params.channels_last
    cdef list shapes = []
    times = 1 if shared else count
    for role, factor in ((X, times), (W, count), (Y, count)):
        shape = list(how.shapes[role])
        if role != W:
            shape[0] *= rows
        shape[0 if role == W else 4 if last else 1] *= factor
        shapes.append(tuple(shape))
    if max(shapes[Y][4 if last else 1], shapes[X][4 if last else 1]) > MOST:
        raise ValueError(
            f"conv: expected less than 2**31 channels of {count} examples together, "
            f"got weights of shape {how.shapes[W]} each"
        )
    wide.params, wide.shapes = how.params, tuple(shapes)
    wide.params.groups *= times
    return wide


cdef int _launch(
    Primitive p, Tensor out, Tensor a, Tensor b, Tensor bias,
    const tl_conv_params *params,
) except -1:
    cdef const tl_buffer *written = &out.buf
    cdef const tl_buffer *read[3]
    read[0], read[1] = &a.buf, &b.buf
    if bias is not None:
        read[2] = &bias.buf
    return run(p, out.buf.dtype, &written, 1, read, 2 if bias is None else 3, params,
               out.buf.size + a.buf.size + b.buf.size)


cdef int _input_without_steps(
    Tensor out, Tensor y, Tensor w, Tensor bias, Geometry how
) except -1:
    """x from y and w as a convolution of y with the weight read turned around.

    Without steps the two are one, and `conv` writes each element once where
    `conv_input` adds overlapping patches.
    """
    cdef tl_conv_params params = how.params
    cdef int d, at = 1 if params.channels_last else 2
    params.turned, params.keeps = True, False
    for d in range(3):
        params.padding[d] = (
            params.dilation[d] * (w.buf.shape[at + d] - 1) - params.padding[d]
        )
    return _launch(_conv, out, y, w, bias, &params)


cdef Tensor _weight_volume(Tensor w, int spatial, bint last):
    """(O, C, k...) as the kernels take it: five axes in the layout's order."""
    return as_volume(channels_moved(w, spatial, True) if last else w, spatial, last)


cdef Tensor _unrecorded(Tensor a, Tensor w, Tensor b, Geometry how, int spatial):
    """The convolution alone, where nobody follows it: no views of five axes."""
    cdef tl_buffer x_volume, w_volume, y_volume, layout
    cdef const tl_buffer *written = &y_volume
    cdef const tl_buffer *read[3]
    cdef tl_conv_params params = how.params
    cdef Tensor out
    cdef int d
    copy_layout(&layout, &a.buf)
    layout.shape[a.buf.ndim - spatial - 1] = w.buf.shape[0]
    for d in range(spatial):
        layout.shape[a.buf.ndim - spatial + d] = how.shapes[Y][5 - spatial + d]
    out = new_tensor(&layout, a.buf.dtype, TL_CPU, 0)
    lay_volume(&x_volume, &a.buf, spatial)
    lay_volume(&w_volume, &w.buf, spatial)
    lay_volume(&y_volume, &out.buf, spatial)
    params.keeps = may_keep(w)
    read[0], read[1] = &x_volume, &w_volume
    if b is not None:
        read[2] = &b.buf
    run(_conv, a.buf.dtype, &written, 1, read, 2 if b is None else 3, &params,
        out.buf.size + a.buf.size + w.buf.size)
    return out


cdef bint _is_unfollowed(Tensor a, Tensor w, Tensor b) noexcept:
    """Whether memory of the host is all that a call looks at."""
    cdef int track = a.track | w.track
    if b is not None:
        track |= b.track
        if b.buf.device_type != TL_CPU:
            return False
    return (
        a.buf.device_type == TL_CPU and w.buf.device_type == TL_CPU
        and a.buf.flags & w.buf.flags & TL_C_CONTIGUOUS and not tracking(track)
    )


cdef Tensor _convolve(
    str op, int spatial, object x, object weight, object bias, object stride,
    object padding, object dilation, object groups, object layout,
):
    cdef Tensor a, w, b, out
    cdef Geometry how
    cdef bint last = channels_last(op, layout, spatial), moved = False, batched
    cdef int64_t count = group_count(op, groups)
    a, w, b = checked_operands(op, x, weight, bias)
    batched = is_batched(op, a, spatial, layout)
    if last and count > 1 and w.buf.ndim > 1 and w.buf.shape[1] == 1:
        # Channel by channel there is no product: planes are quicker.
        a, last, moved = channels_moved(a, spatial, False), False, True
    how = checked_geometry(
        op, spatial, a, w, b, stride, padding, dilation, count, layout, last
    )
    if not last and _is_unfollowed(a, w, b):
        out = _unrecorded(a, w, b, how, spatial)
    else:
        out = _conv.apply(
            as_volume(a, spatial, last), _weight_volume(w, spatial, last), b, how
        )
        out = from_volume(out, spatial, last, batched)
    return channels_moved(out, spatial, True) if moved else out


cdef Tensor _convolve_transposed(
    str op, int spatial, object x, object weight, object bias, object stride,
    object padding, object output_padding, object groups, object dilation,
    object layout,
):
    cdef Tensor a, w, b, out
    cdef bint last = channels_last(op, layout, spatial), moved = False, batched
    cdef int64_t count = group_count(op, groups)
    a, w, b = checked_operands(op, x, weight, bias)
    batched = is_batched(op, a, spatial, layout)
    check_rank(op, w, spatial)
    steps = per_axis(op, "stride", stride, spatial, 1)
    gaps = per_axis(op, "dilation", dilation, spatial, 1)
    pads = per_axis(op, "padding", padding, spatial, 0)
    extra = per_axis(op, "output_padding", output_padding, spatial, 0)
    kernel = w.shape[2:]
    if last and count > 1 and w.buf.shape[1] == 1:
        a, last, moved = channels_moved(a, spatial, False), False, True
    shape = a.shape if batched else (1, *a.shape)
    channels = shape[-1] if last else shape[1]
    sizes = shape[1:-1] if last else shape[2:]
    produced = w.buf.shape[1] * count
    check_channels(op, w, b, spatial, channels, count, produced, True)
    outs = []
    for size, k, s, d, p, e in zip(sizes, kernel, steps, gaps, pads, extra):
        if e >= s and e >= d:
            raise ValueError(
                f"{op}: expected output_padding below stride or dilation, got "
                f"output_padding {extra}, stride {steps}, dilation {gaps}"
            )
        outs.append((size - 1) * s - 2 * p + d * (k - 1) + e + 1)
        if outs[-1] < 0:
            raise ShapeError(
                f"{op}: the output would have negative extents: got input extents "
                f"{sizes}, kernel {kernel}, stride {steps}, padding {pads}, "
                f"output_padding {extra}"
            )
    how = new_geometry(
        op, count, steps, pads, gaps, last, tuple(outs), kernel, sizes,
        (shape[0], produced, w.buf.shape[1], channels),
    )
    out = _conv_input.apply(
        as_volume(a, spatial, last), _weight_volume(w, spatial, last), b, how
    )
    out = from_volume(out, spatial, last, batched)
    return channels_moved(out, spatial, True) if moved else out


# ---- public functions ----------------------------------------------------------
def conv1d(
    x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCL"
):
    """Return the convolution of sequences with a bank of filters: see `conv2d`.

    ``y[n, o, t] = bias[o] + sum_{c, i} weight[o, c, i] x[n, c, t s - p + i d]``.

    Parameters
    ----------
    x : Tensor of shape (N, C, L) or (C, L); (N, L, C) with layout "NLC"
    weight : Tensor of shape (O, C / groups, kL)
    bias : Tensor of shape (O,), optional
    stride, padding, dilation, groups
        As in `conv2d`.
    layout : {"NCL", "NLC"}

    Returns
    -------
    Tensor of shape (N, O, L') in the layout of x

    Raises
    ------
    ShapeError, ValueError
        As in `conv2d`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[[1.0, 2.0, 4.0, 8.0]]])
    >>> tl.conv1d(x, tl.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2., 4.]]])
    """
    return _convolve(
        "conv1d", 1, x, weight, bias, stride, padding, dilation, groups, layout
    )


def conv2d(
    x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCHW"
):
    """Return the convolution of images with a bank of filters.

    ``y[n, o, h, w] = bias[o] + sum_{c, i, j} weight[o, c, i, j]
    x[n, c, h s - p + i d, w s - p + j d]``: stride s, padding p, dilation d; c runs
    over the channels of o's group, and x is 0 outside of the image. (A correlation, in
    the language of signal processing: the filter is not turned around.)

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W); (N, H, W, C) with layout "NHWC"
    weight : Tensor of shape (O, C / groups, kH, kW), in either layout
    bias : Tensor of shape (O,), optional
    stride, dilation : int or (int, int), default 1
    padding : int, (int, int), "valid" or "same", default 0
        Zeros on both sides of an axis; "valid" is 0, "same" keeps the extents (an odd
        total has its last zero after the axis) and needs stride 1.
    groups : int, default 1
        Channels are cut into so many groups that do not mix; C is a depthwise one.
    layout : {"NCHW", "NHWC"}
        Order of the axes of x and of the result.

    Returns
    -------
    Tensor of shape (N, O, H', W') in the layout of x
        ``H' = (H + 2 p - d (kH - 1) - 1) // s + 1``. Its bits do not depend on the
        number of threads.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or the kernel is larger than the padded image.
    ValueError
        If an argument is out of range or the layout unknown.

    Notes
    -----
    3 x 3 filters of many channels (float32, channels first, stride and dilation 1) use
    Winograd's transforms of 4 x 4 outputs. The largest error was 1e-6 to 4e-6 of
    the largest output for 64 to 512 channels of random numbers; beside values that are
    much larger, small outputs of the same tile lose digits. Infinities and NaN reach
    the outputs that see them and no others.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning",
    arXiv:1603.07285.
    A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks",
    arXiv:1509.09308.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.arange(9).astype(tl.float32).reshape(1, 1, 3, 3)
    >>> tl.conv2d(x, tl.ones((1, 1, 2, 2)))
    tensor([[[[ 8., 12.],
              [20., 24.]]]])
    """
    return _convolve(
        "conv2d", 2, x, weight, bias, stride, padding, dilation, groups, layout
    )


def conv3d(
    x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout="NCDHW"
):
    """Return the convolution of volumes with a bank of filters: see `conv2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, D, H, W) or (C, D, H, W); (N, D, H, W, C) with "NDHWC"
    weight : Tensor of shape (O, C / groups, kD, kH, kW)
    bias : Tensor of shape (O,), optional
    stride, padding, dilation, groups
        As in `conv2d`, with three ints where there are several.
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    Tensor of shape (N, O, D', H', W') in the layout of x

    Raises
    ------
    ShapeError, ValueError
        As in `conv2d`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.conv3d(tl.ones((1, 1, 2, 2, 2)), tl.ones((1, 1, 2, 2, 2))).item()
    8.0
    """
    return _convolve(
        "conv3d", 3, x, weight, bias, stride, padding, dilation, groups, layout
    )


def conv_transpose1d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1,
    *, layout="NCL",
):
    """Return the transposed convolution of sequences: see `conv_transpose2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, L) or (C, L); (N, L, C) with layout "NLC"
    weight : Tensor of shape (C, O / groups, kL)
    bias : Tensor of shape (O,), optional
    stride, padding, output_padding, groups, dilation
        As in `conv_transpose2d`.
    layout : {"NCL", "NLC"}

    Returns
    -------
    Tensor of shape (N, O, L') in the layout of x

    Raises
    ------
    ShapeError, ValueError
        As in `conv_transpose2d`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[[1.0, 2.0]]])
    >>> tl.conv_transpose1d(x, tl.tensor([[[1.0, 10.0, 100.0]]]), stride=2)
    tensor([[[  1.,  10., 102.,  20., 200.]]])
    """
    return _convolve_transposed(
        "conv_transpose1d", 1, x, weight, bias, stride, padding, output_padding, groups,
        dilation, layout,
    )


def conv_transpose2d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1,
    *, layout="NCHW",
):
    """Return the transposed convolution of images, the derivative of `conv2d` by x.

    Each element of x adds a copy of the filter, times itself, to the output; the
    copies lie `stride` apart.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W); (N, H, W, C) with layout "NHWC"
    weight : Tensor of shape (C, O / groups, kH, kW), in either layout
    bias : Tensor of shape (O,), optional
    stride, dilation : int or (int, int), default 1
    padding : int or (int, int), default 0
        How much is cut off from both sides of each axis of the output.
    output_padding : int or (int, int), default 0
        How much is added after each axis; below the stride or the dilation.
    groups : int, default 1
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    Tensor of shape (N, O, H', W') in the layout of x
        ``H' = (H - 1) s - 2 p + d (kH - 1) + output_padding + 1``.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or the output would have negative extents.
    ValueError
        If an argument is out of range or the layout unknown.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning",
    arXiv:1603.07285, chapter 4.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[[[1.0, 2.0]]]])
    >>> tl.conv_transpose2d(x, tl.ones((1, 1, 1, 2)))
    tensor([[[[1., 3., 2.]]]])
    """
    return _convolve_transposed(
        "conv_transpose2d", 2, x, weight, bias, stride, padding, output_padding, groups,
        dilation, layout,
    )


def conv_transpose3d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1,
    *, layout="NCDHW",
):
    """Return the transposed convolution of volumes: see `conv_transpose2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, D, H, W) or (C, D, H, W); (N, D, H, W, C) with "NDHWC"
    weight : Tensor of shape (C, O / groups, kD, kH, kW)
    bias : Tensor of shape (O,), optional
    stride, padding, output_padding, groups, dilation
        As in `conv_transpose2d`, with three ints where there are several.
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    Tensor of shape (N, O, D', H', W') in the layout of x

    Raises
    ------
    ShapeError, ValueError
        As in `conv_transpose2d`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> y = tl.conv_transpose3d(tl.ones((1, 1, 1, 1, 1)), tl.ones((1, 2, 2, 2, 2)))
    >>> y.shape
    (1, 2, 2, 2, 2)
    """
    return _convolve_transposed(
        "conv_transpose3d", 3, x, weight, bias, stride, padding, output_padding, groups,
        dilation, layout,
    )
