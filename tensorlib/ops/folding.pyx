"""Patches of images as columns, and their sums back: im2col and its transpose."""
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport Node, Primitive, record1, run, tracking
from tensorlib.core.abi cimport tl_buffer, tl_conv_params
from tensorlib.core.layout cimport parse_shape
from tensorlib.core.tensor cimport Tensor, new_tensor
from tensorlib.ops.elementwise cimport as_float, as_tensor, contiguous
from tensorlib.ops.shape cimport reshape_like
from tensorlib.ops.window cimport as_volume, per_axis

from tensorlib.core.errors import ShapeError
from tensorlib.kernels import load_families

load_families("conv")


cdef class Patches:
    """Parameters of one unfolding: shapes of images and of columns."""
    cdef tl_conv_params params
    cdef tl_buffer weight       # extents of the kernel; the kernels read the shape only
    cdef tl_buffer output       # extents of the positions
    cdef tuple x_shape          # (N, C, 1, H, W)
    cdef tuple columns          # (N, C * kH * kW, positions)


cdef class Folding(Primitive):
    """A linear map between images and columns; params: Patches."""
    cdef bint back              # from columns to images

    def __init__(self, name, back):
        self.back = back

    cdef Tensor apply(self, Tensor a, Patches how):
        cdef Tensor out
        cdef tl_buffer layout
        cdef const tl_buffer *written
        cdef const tl_buffer *read[3]
        a = contiguous(a)
        parse_shape(self.name, how.x_shape if self.back else how.columns, &layout)
        out = new_tensor(&layout, a.buf.dtype, a.buf.device_type, a.buf.device_index)
        written = &out.buf
        read[0], read[1], read[2] = &a.buf, &how.weight, &how.output
        run(self, a.buf.dtype, &written, 1, read, 3, &how.params,
            a.buf.size + out.buf.size)
        if a.track and tracking(a.track):
            record1(self, out, a, (), False, how)
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        return ((_unfold if self.back else _fold).apply(g, <Patches>node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.apply(<Tensor>tangents[0], <Patches>node.params)


cdef Folding _unfold = Folding("unfold", False)
cdef Folding _fold = Folding("fold", True)


cdef Patches _patches(
    str op, object count, object channels, tuple sizes, object kernel_size,
    object dilation, object padding, object stride,
):
    cdef Patches how = Patches.__new__(Patches)
    cdef int d
    kernel = per_axis(op, "kernel_size", kernel_size, 2, 1)
    gaps = per_axis(op, "dilation", dilation, 2, 1)
    pads = per_axis(op, "padding", padding, 2, 0)
    steps = per_axis(op, "stride", stride, 2, 1)
    outs = []
    for n, k, g, p, s in zip(sizes, kernel, gaps, pads, steps):
        room = n + 2 * p - g * (k - 1) - 1
        if room < 0:
            raise ShapeError(
                f"{op}: the window is larger than the padded image: got extents "
                f"{sizes}, kernel_size {kernel}, padding {pads}, dilation {gaps}"
            )
        outs.append(room // s + 1)
    how.params.groups = 1
    how.params.channels_last = 0
    how.params.stride[0] = how.params.dilation[0] = 1
    how.params.padding[0] = 0
    for d in range(2):
        how.params.stride[d + 1], how.params.dilation[d + 1] = steps[d], gaps[d]
        how.params.padding[d + 1] = pads[d]
    parse_shape(op, (1, 1, 1, *kernel), &how.weight)
    parse_shape(op, (1, 1, 1, *outs), &how.output)
    how.x_shape = (count, channels, 1, *sizes)
    how.columns = (count, channels * kernel[0] * kernel[1], outs[0] * outs[1])
    return how


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """Return the patches that a window sees as columns: im2col.

    A convolution is the product of its weight, one filter a row, with these columns.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W)
    kernel_size : int or (int, int)
        Extents of the window.
    dilation, stride : int or (int, int), default 1
        From element to element of a window, and from window to window.
    padding : int or (int, int), default 0
        Zeros on both sides of each axis.

    Returns
    -------
    Tensor of shape (N, C * kH * kW, L) or (C * kH * kW, L)
        L is the number of windows, row by row.

    Raises
    ------
    ShapeError
        If `x` is no image, or smaller than the window.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.unfold(tl.arange(6).astype(tl.float32).reshape(1, 2, 3), 2)
    tensor([[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]])
    """
    cdef Tensor a = as_float(as_tensor("unfold", x))
    cdef Patches how
    if a.buf.ndim not in (3, 4):
        raise ShapeError(f"unfold: expected (N, C, H, W) or (C, H, W), got {a.shape}")
    shape = a.shape if a.buf.ndim == 4 else (1, *a.shape)
    how = _patches(
        "unfold", shape[0], shape[1], shape[2:], kernel_size, dilation, padding, stride
    )
    out = _unfold.apply(as_volume(a, 2, False), how)
    return out if a.buf.ndim == 4 else reshape_like(out, out.shape[1:])


def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Return images that are the sums of overlapping patches: `unfold`'s transpose.

    Parameters
    ----------
    x : Tensor of shape (N, C * kH * kW, L) or (C * kH * kW, L)
    output_size : int or (int, int)
        Extents H and W of the images.
    kernel_size, dilation, padding, stride : int or (int, int)
        As of `unfold`.

    Returns
    -------
    Tensor of shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    ShapeError
        If `x` is not what `unfold` would give for these arguments.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fold(tl.ones((4, 2)), (2, 3), 2)
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    cdef Tensor a = as_float(as_tensor("fold", x))
    cdef Patches how
    cdef int64_t taps
    sizes = per_axis("fold", "output_size", output_size, 2, 1)
    kernel = per_axis("fold", "kernel_size", kernel_size, 2, 1)
    taps = kernel[0] * kernel[1]
    if a.buf.ndim not in (2, 3) or a.buf.shape[a.buf.ndim - 2] % taps:
        raise ShapeError(
            f"fold: expected (N, C * {taps}, L) or (C * {taps}, L), got {a.shape}"
        )
    shape = a.shape if a.buf.ndim == 3 else (1, *a.shape)
    how = _patches(
        "fold", shape[0], shape[1] // taps, sizes, kernel, dilation, padding, stride
    )
    if shape[2] != how.columns[2]:
        raise ShapeError(
            f"fold: expected {how.columns[2]} columns for output_size {sizes}, got "
            f"{shape[2]}"
        )
    out = _fold.apply(reshape_like(a, shape), how)
    shape = (shape[0], shape[1] // taps, *sizes)
    return reshape_like(out, shape if a.buf.ndim == 3 else shape[1:])
