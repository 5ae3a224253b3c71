"""Pooling: the largest element or the mean of each window.

The largest element's place is found once; the derivatives put to and take from that
place, and each of the two is the other's transpose. So are the mean and its gradient.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy
from tensorlib.autograd.batch cimport aligned
from tensorlib.autograd.primitive cimport Node, Primitive, record1, run, tracking
from tensorlib.core.abi cimport TL_INT64, tl_buffer, tl_pool_params
from tensorlib.core.layout cimport parse_shape, set_contiguous
from tensorlib.core.tensor cimport Tensor, new_tensor
from tensorlib.ops.elementwise cimport as_float, as_tensor, contiguous
from tensorlib.ops.window cimport (
    as_volume, channels_last, fill_axes, from_volume, is_batched,
)

from tensorlib.core.errors import ShapeError
from tensorlib.ops.reduce import mean
from tensorlib.kernels import load_families

load_families("pool")


cdef class Windows:
    """Parameters of one pooling and the shapes of its input and output."""
    cdef tl_pool_params params
    cdef int64_t[5] x_shape
    cdef int64_t[5] y_shape


cdef class MaxPool(Primitive):
    """params: Windows; saved: the place of each largest element."""

    cdef tuple apply(self, Tensor x, Windows how, bint wanted):
        """The largest elements and their places; None where nothing wants these."""
        cdef Tensor out = _shaped(x, how.y_shape, x.buf.dtype), index = None
        cdef const tl_buffer *written[2]
        cdef const tl_buffer *read = &x.buf
        cdef bint tracked = x.track and tracking(x.track)
        written[0] = &out.buf
        if wanted or tracked:
            index = _shaped(x, how.y_shape, TL_INT64)
            written[1] = &index.buf
        run(self, x.buf.dtype, written, 1 if index is None else 2, &read, 1,
            &how.params, x.buf.size)
        if tracked:
            record1(self, out, x, (index,), False, how)
        return out, index

    cdef tuple vjp(self, Node node, Tensor g):
        return (_pool_scatter.apply(g, node.get(0), <Windows>node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return _pool_gather.apply(
            <Tensor>tangents[0], node.get(0), <Windows>node.params
        )


cdef class Between(Primitive):
    """A linear map between inputs and outputs of a pooling, and its transpose.

    params: Windows; saved: the places, or None where the windows say everything.
    """
    cdef bint back      # from y's shape to x's

    def __init__(self, name, back):
        self.back = back

    cdef Tensor apply(self, Tensor a, Tensor index, Windows how):
        cdef Tensor out
        cdef const tl_buffer *written
        cdef const tl_buffer *read[2]
        a, index = aligned(self.name, (contiguous(a), index))
        if self.back:
            out = _shaped(a, how.x_shape, a.buf.dtype)
        else:
            out = _shaped(a, how.y_shape, a.buf.dtype)
        written = &out.buf
        read[0] = &a.buf
        if index is not None:
            read[1] = &index.buf
        run(self, a.buf.dtype, &written, 1, read, 1 if index is None else 2,
            &how.params, a.buf.size + out.buf.size)
        if a.track and tracking(a.track):
            record1(self, out, a, (index,), False, how)
        return out

    cdef Tensor place(self, Node node):
        return node.get(0) if node.has_saved(0) else None

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Between transposed = _avg_pool if self.back else _avg_pool_grad
        cdef Tensor index = self.place(node)
        if index is not None:
            transposed = _pool_gather if self.back else _pool_scatter
        return (transposed.apply(g, index, <Windows>node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.apply(
            <Tensor>tangents[0], self.place(node), <Windows>node.params
        )


cdef MaxPool _max_pool = MaxPool("max_pool")
cdef Between _pool_scatter = Between("pool_scatter", True)
cdef Between _pool_gather = Between("pool_gather", False)
cdef Between _avg_pool = Between("avg_pool", False)
cdef Between _avg_pool_grad = Between("avg_pool_grad", True)


cdef Tensor _shaped(Tensor like, const int64_t *shape, int dtype):
    cdef tl_buffer layout
    layout.ndim = 5
    memcpy(layout.shape, shape, 5 * sizeof(int64_t))
    set_contiguous(&layout)
    return new_tensor(&layout, dtype, like.buf.device_type, like.buf.device_index)


# ---- arguments -----------------------------------------------------------------
cdef Tensor _input(str op, object x, int spatial, object layout, bint last):
    """x as a floating tensor whose planes are not empty."""
    cdef Tensor a = as_float(as_tensor(op, x))
    cdef int d, end
    is_batched(op, a, spatial, layout)
    end = a.buf.ndim - (1 if last else 0)
    for d in range(end - spatial, end):
        if a.buf.shape[d] == 0:
            raise ShapeError(
                f"{op}: expected planes that are not empty, got {a.shape}"
            )
    return a


cdef Windows _windows(Tensor volume, const int64_t *outs, bint last):
    """The parts that all poolings share; kernels read the shapes from buffers."""
    cdef Windows how = Windows.__new__(Windows)
    cdef int d
    memcpy(how.x_shape, volume.buf.shape, 5 * sizeof(int64_t))
    memcpy(how.y_shape, volume.buf.shape, 5 * sizeof(int64_t))
    how.params.channels_last = last
    how.params.adaptive = 0
    how.params.include_pad = 0
    how.params.divisor = 0
    for d in range(3):
        how.y_shape[d + (1 if last else 2)] = outs[d]
        how.params.kernel[d] = how.params.stride[d] = how.params.dilation[d] = 1
        how.params.padding[d] = 0
    return how


cdef int64_t _count(
    int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation,
    bint ceil_mode,
) noexcept:
    """Windows along an axis; one that would start in the padding after it is left out.

    Every argument is below 2**31, so nothing overflows.
    """
    cdef int64_t room = size + 2 * padding - dilation * (kernel - 1) - 1
    cdef int64_t found
    if room < 0 and not (ceil_mode and room + stride > 0):
        return 0
    found = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (found - 1) * stride >= size + padding:
        found -= 1
    return found


cdef int _even_counts(
    str op, const int64_t *sizes, int spatial, const tl_pool_params *by, bint ceil_mode,
    int64_t *outs,
) except -1:
    """How many windows there are along each axis."""
    cdef int d
    for d in range(3 - spatial, 3):
        if 2 * by.padding[d] > by.kernel[d]:
            raise ValueError(
                f"{op}: expected padding of at most half the kernel, got padding "
                f"{_listed(by.padding, spatial)} and kernel_size "
                f"{_listed(by.kernel, spatial)}"
            )
    for d in range(3 - spatial, 3):
        outs[d] = _count(
            sizes[d], by.kernel[d], by.stride[d], by.padding[d], by.dilation[d],
            ceil_mode,
        )
    for d in range(3 - spatial, 3):
        if outs[d] < 1:
            raise ShapeError(
                f"{op}: the window is larger than the padded input: got input extents "
                f"{_listed(sizes, spatial)}, kernel_size "
                f"{_listed(by.kernel, spatial)}, padding "
                f"{_listed(by.padding, spatial)}, dilation "
                f"{_listed(by.dilation, spatial)}"
            )
    return 0


cdef tuple _listed(const int64_t *values, int spatial):
    return tuple([values[d] for d in range(3 - spatial, 3)])


cdef Windows _even_windows(
    str op, Tensor volume, int spatial, bint last, tuple given
):
    """given: kernel_size, stride, padding, dilation and ceil_mode, as handed in."""
    cdef int64_t[3] outs = [1, 1, 1]
    cdef Windows how = _windows(volume, outs, last)
    cdef tl_pool_params *by = &how.params
    cdef int d, first = 1 if last else 2
    kernel_size, stride, padding, dilation, ceil_mode = given
    fill_axes(op, "kernel_size", kernel_size, spatial, 1, by.kernel)
    if stride is None or stride == ():
        memcpy(by.stride, by.kernel, 3 * sizeof(int64_t))
    else:
        fill_axes(op, "stride", stride, spatial, 1, by.stride)
    fill_axes(op, "padding", padding, spatial, 0, by.padding)
    fill_axes(op, "dilation", dilation, spatial, 1, by.dilation)
    _even_counts(op, volume.buf.shape + first, spatial, by, bool(ceil_mode), outs)
    for d in range(3):
        how.y_shape[first + d] = outs[d]
    return how


cdef Windows _adaptive_windows(
    str op, Tensor volume, int spatial, bint last, object output_size
):
    cdef Windows how
    cdef int64_t[3] outs = [1, 1, 1]
    cdef tl_buffer result
    first = 1 if last else 2
    sizes = volume.shape[first + 3 - spatial:first + 3]
    if not hasattr(output_size, "__index__") and not isinstance(output_size, str):
        try:
            output_size = tuple(output_size)
        except TypeError:
            raise TypeError(
                f"{op}: expected output_size to be an int or {spatial} ints or None, "
                f"got {output_size!r}"
            ) from None
        if len(output_size) == spatial:
            output_size = tuple([
                n if wanted is None else wanted
                for wanted, n in zip(output_size, sizes)
            ])
    fill_axes(op, "output_size", output_size, spatial, 0, outs)
    how = _windows(volume, outs, last)
    # The result may be larger than the input: more than a size can say.
    parse_shape(op, tuple([how.y_shape[d] for d in range(5)]), &result)
    how.params.adaptive = 1
    return how


cdef object _largest(
    str op, int spatial, object x, object layout, object return_indices, tuple even,
    object output_size,
):
    """Max pooling by windows of one size, or, where `even` is None, adaptive."""
    cdef bint last = channels_last(op, layout, spatial)
    cdef Tensor a = _input(op, x, spatial, layout, last)
    cdef bint batched = a.buf.ndim == spatial + 2
    cdef Tensor volume = as_volume(a, spatial, last), out, index
    cdef Windows how
    if even is None:
        how = _adaptive_windows(op, volume, spatial, last, output_size)
    else:
        how = _even_windows(op, volume, spatial, last, even)
    out, index = _max_pool.apply(volume, how, bool(return_indices))
    out = from_volume(out, spatial, last, batched)
    if not return_indices:
        return out
    return out, from_volume(index, spatial, last, batched)


cdef Tensor _mean(
    str op, int spatial, object x, object layout, tuple even, object output_size,
    object count_include_pad=False, object divisor_override=None,
):
    cdef bint last = channels_last(op, layout, spatial)
    cdef Tensor a = _input(op, x, spatial, layout, last)
    cdef bint batched = a.buf.ndim == spatial + 2
    cdef Tensor volume = as_volume(a, spatial, last)
    cdef Windows how
    cdef int first
    cdef int64_t[3] divisor
    if even is None:
        how = _adaptive_windows(op, volume, spatial, last, output_size)
        first = 1 if last else 2
        if volume.buf.size and (
            how.y_shape[first] * how.y_shape[first + 1] * how.y_shape[first + 2] == 1
        ):
            axes = (first, first + 1, first + 2)
            # One window is everything: a reduction.
            whole = mean(volume, axis=axes, keepdims=True)
            return from_volume(<Tensor>whole, spatial, last, batched)
    else:
        how = _even_windows(op, volume, spatial, last, even)
        how.params.include_pad = bool(count_include_pad)
        if divisor_override is not None:
            fill_axes(op, "divisor_override", divisor_override, 1, 1, divisor)
            how.params.divisor = divisor[2]
    return from_volume(_avg_pool.apply(volume, None, how), spatial, last, batched)


# ---- public functions ----------------------------------------------------------
def max_pool1d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
    return_indices=False, *, layout="NCL",
):
    """Return the largest element of each window of sequences: see `max_pool2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, L) or (C, L)
    kernel_size, stride, padding, dilation, ceil_mode, return_indices
        As in `max_pool2d`.
    layout : {"NCL", "NLC"}

    Returns
    -------
    Tensor, or a pair of Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.max_pool1d(tl.tensor([[3.0, 1.0, 2.0, 5.0]]), 2)
    tensor([[3., 5.]])
    """
    return _largest(
        "max_pool1d", 1, x, layout, return_indices,
        (kernel_size, stride, padding, dilation, ceil_mode), None,
    )


def max_pool2d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
    return_indices=False, *, layout="NCHW",
):
    """Return the largest element of each window of images.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W); (N, H, W, C) with layout "NHWC"
        Its padding is -inf: it is never the largest.
    kernel_size : int or (int, int)
        Elements of a window along each axis.
    stride : int or (int, int), optional
        From window to window; the kernel's size by default.
    padding : int or (int, int), default 0
        On both sides; at most half a window.
    dilation : int or (int, int), default 1
        From element to element of a window.
    ceil_mode : bool, default False
        Whether a last window may reach beyond the padding.
    return_indices : bool, default False
        Whether the place of each largest element in its plane is returned too.
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    Tensor of shape (N, C, H', W') in the layout of x, or a pair of it and int64 places
        ``H' = (H + 2 p - d (k - 1) - 1) // s + 1``, rounded up with `ceil_mode`.

    Raises
    ------
    ShapeError
        If a plane is empty or smaller than the window.
    ValueError
        If an argument is out of range.

    Notes
    -----
    NaN is larger than anything. Among equals the first counts, and it alone gets the
    gradient. A dilated window may have all its elements in the padding: -inf, place -1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[[1.0, 2.0, 3.0], [4.0, 9.0, 6.0]]])
    >>> tl.max_pool2d(x, 2, stride=1, return_indices=True)
    (tensor([[[9., 9.]]]), tensor([[[4, 4]]]))
    """
    return _largest(
        "max_pool2d", 2, x, layout, return_indices,
        (kernel_size, stride, padding, dilation, ceil_mode), None,
    )


def max_pool3d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
    return_indices=False, *, layout="NCDHW",
):
    """Return the largest element of each window of volumes: see `max_pool2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, D, H, W) or (C, D, H, W)
    kernel_size, stride, padding, dilation, ceil_mode, return_indices
        As in `max_pool2d`, with three ints where there are several.
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    Tensor, or a pair of Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.arange(8).astype(tl.float32).reshape(1, 2, 2, 2)
    >>> tl.max_pool3d(x, 2).item()
    7.0
    """
    return _largest(
        "max_pool3d", 3, x, layout, return_indices,
        (kernel_size, stride, padding, dilation, ceil_mode), None,
    )


def avg_pool1d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    *, layout="NCL",
):
    """Return the mean of each window of sequences: see `avg_pool2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, L) or (C, L)
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As in `avg_pool2d`.
    layout : {"NCL", "NLC"}

    Returns
    -------
    Tensor of shape (N, C, L')

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.avg_pool1d(tl.tensor([[3.0, 1.0, 2.0, 5.0]]), 2)
    tensor([[2. , 3.5]])
    """
    return _mean(
        "avg_pool1d", 1, x, layout, (kernel_size, stride, padding, 1, ceil_mode), None,
        count_include_pad,
    )


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None, *, layout="NCHW",
):
    """Return the mean of each window of images.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W); (N, H, W, C) with layout "NHWC"
    kernel_size : int or (int, int)
        Elements of a window along each axis.
    stride : int or (int, int), optional
        From window to window; the kernel's size by default.
    padding : int or (int, int), default 0
        Zeros on both sides; at most half a window.
    ceil_mode : bool, default False
        Whether a last window may reach beyond the padding.
    count_include_pad : bool, default True
        Whether zeros of the padding count as elements of their window.
    divisor_override : int, optional
        What the sums are divided by instead.
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    Tensor of shape (N, C, H', W') in the layout of x

    Raises
    ------
    ShapeError
        If a plane is empty or smaller than the window.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[[1.0, 2.0, 3.0], [4.0, 9.0, 6.0]]])
    >>> tl.avg_pool2d(x, 2, stride=1)
    tensor([[[4., 5.]]])
    """
    return _mean(
        "avg_pool2d", 2, x, layout, (kernel_size, stride, padding, 1, ceil_mode), None,
        count_include_pad, divisor_override,
    )


def avg_pool3d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None, *, layout="NCDHW",
):
    """Return the mean of each window of volumes: see `avg_pool2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, D, H, W) or (C, D, H, W)
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool2d`, with three ints where there are several.
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    Tensor of shape (N, C, D', H', W')

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.arange(8).astype(tl.float32).reshape(1, 2, 2, 2)
    >>> tl.avg_pool3d(x, 2).item()
    3.5
    """
    return _mean(
        "avg_pool3d", 3, x, layout, (kernel_size, stride, padding, 1, ceil_mode), None,
        count_include_pad, divisor_override,
    )


def adaptive_max_pool1d(x, output_size, return_indices=False, *, layout="NCL"):
    """Return the largest element of so many windows: see `adaptive_avg_pool2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, L) or (C, L)
    output_size : int
    return_indices : bool, default False
        Whether places are returned too, as by `max_pool2d`.
    layout : {"NCL", "NLC"}

    Returns
    -------
    Tensor, or a pair of Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.adaptive_max_pool1d(tl.tensor([[3.0, 1.0, 2.0, 5.0]]), 1)
    tensor([[5.]])
    """
    return _largest("adaptive_max_pool1d", 1, x, layout, return_indices, None,
                    output_size)


def adaptive_max_pool2d(x, output_size, return_indices=False, *, layout="NCHW"):
    """Return the largest element of so many windows: see `adaptive_avg_pool2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W)
    output_size : int or (int or None, int or None)
    return_indices : bool, default False
        Whether places are returned too, as by `max_pool2d`.
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    Tensor, or a pair of Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.adaptive_max_pool2d(tl.tensor([[[3.0, 1.0], [2.0, 5.0]]]), (1, None))
    tensor([[[3., 5.]]])
    """
    return _largest("adaptive_max_pool2d", 2, x, layout, return_indices, None,
                    output_size)


def adaptive_max_pool3d(x, output_size, return_indices=False, *, layout="NCDHW"):
    """Return the largest element of so many windows: see `adaptive_avg_pool2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, D, H, W) or (C, D, H, W)
    output_size : int or three of int or None
    return_indices : bool, default False
        Whether places are returned too, as by `max_pool2d`.
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    Tensor, or a pair of Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.adaptive_max_pool3d(tl.ones((1, 4, 4, 4)), 2).shape
    (1, 2, 2, 2)
    """
    return _largest("adaptive_max_pool3d", 3, x, layout, return_indices, None,
                    output_size)


def adaptive_avg_pool1d(x, output_size, *, layout="NCL"):
    """Return the means of so many windows: see `adaptive_avg_pool2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, L) or (C, L)
    output_size : int
    layout : {"NCL", "NLC"}

    Returns
    -------
    Tensor of shape (N, C, output_size)

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.adaptive_avg_pool1d(tl.tensor([[3.0, 1.0, 2.0, 5.0]]), 3)
    tensor([[2. , 1.5, 3.5]])
    """
    return _mean("adaptive_avg_pool1d", 1, x, layout, None, output_size)


def adaptive_avg_pool2d(x, output_size, *, layout="NCHW"):
    """Return the means of so many windows of images, whatever the images' extents.

    Window i of n along an axis of L elements is ``floor(i L / n) .. ceil((i + 1) L /
    n)``: windows cover everything and may overlap by an element.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W); (N, H, W, C) with layout "NHWC"
    output_size : int or (int or None, int or None)
        Windows along each axis; None: as many as there are elements.
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    Tensor of shape (N, C, *output_size) in the layout of x

    Raises
    ------
    ShapeError
        If a plane is empty.
    ValueError
        If `output_size` is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.adaptive_avg_pool2d(tl.tensor([[[3.0, 1.0], [2.0, 5.0]]]), (1, None))
    tensor([[[2.5, 3. ]]])
    """
    return _mean("adaptive_avg_pool2d", 2, x, layout, None, output_size)


def adaptive_avg_pool3d(x, output_size, *, layout="NCDHW"):
    """Return the means of so many windows of volumes: see `adaptive_avg_pool2d`.

    Parameters
    ----------
    x : Tensor of shape (N, C, D, H, W) or (C, D, H, W)
    output_size : int or three of int or None
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    Tensor of shape (N, C, *output_size)

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.adaptive_avg_pool3d(tl.ones((1, 4, 4, 4)), 2).shape
    (1, 2, 2, 2)
    """
    return _mean("adaptive_avg_pool3d", 3, x, layout, None, output_size)
