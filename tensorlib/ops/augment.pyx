"""Transforms of a batch of images in one kernel call; data.transforms draws for them.

Images are (N, C, H, W), and each has numbers of its own: where its window lies, how it
is turned. Nothing here is differentiable, nothing is random. The kernels are loaded
with this module, which is not part of `import tensorlib`.
"""
from tensorlib.autograd.primitive cimport Primitive, run, tracking
from tensorlib.core.abi cimport (
    TL_FLOAT32, TL_FLOAT64, TL_INT64, TL_UINT8, tl_buffer, tl_warp_params,
)
from tensorlib.core.dtype cimport dtype_of, is_float_code
from tensorlib.core.layout cimport parse_shape
from tensorlib.core.tensor cimport Tensor, check_host, new_like, new_scalar, new_tensor
from tensorlib.ops.elementwise cimport as_tensor, contiguous

from tensorlib.core.errors import DTypeError, GraphError, ShapeError
from tensorlib.core.tensor import is_batched
from tensorlib.kernels import load_families

load_families("augment")

cdef Primitive _window = Primitive("augment_window")
cdef Primitive _erase = Primitive("augment_erase")
cdef Primitive _paste = Primitive("augment_paste")
cdef Primitive _warp = Primitive("augment_warp")
cdef Primitive _normalize = Primitive("augment_normalize")
cdef Primitive _blend = Primitive("augment_blend")


cdef Tensor _images(str op, object images, tuple dtypes):
    """The batch, contiguous; dtypes is empty where every one will do."""
    cdef Tensor x = as_tensor(op, images)
    if not is_batched(x):
        check_host(op, x)
    if x.buf.ndim != 4:
        raise ShapeError(f"{op}: expected images of shape (N, C, H, W), got {x.shape}")
    if dtypes and x.buf.dtype not in dtypes:
        raise DTypeError(
            f"{op}: expected images of {', '.join([dtype_of(c).name for c in dtypes])}"
            f", got {dtype_of(x.buf.dtype)}"
        )
    if tracking(x.track):
        raise GraphError(f"{op}: is not differentiable; detach() the images")
    return contiguous(x)


cdef Tensor _numbers(str op, str what, object numbers, int dtype, tuple shape):
    """A small tensor of the transform's numbers, contiguous."""
    cdef Tensor x = as_tensor(op, numbers)
    check_host(op, x)
    if x.buf.dtype != dtype or x.shape != shape:
        raise (DTypeError if x.shape == shape else ShapeError)(
            f"{op}: expected {what} of {dtype_of(dtype)} and shape {shape}, got "
            f"{dtype_of(x.buf.dtype)} and {x.shape}"
        )
    return contiguous(x)


cdef Tensor _applied(Primitive p, Tensor out, Tensor x, tuple numbers):
    """Run p on the images and its one or two small tensors."""
    cdef const tl_buffer *target = &out.buf
    cdef const tl_buffer *read[3]
    cdef int i
    read[0] = &x.buf
    for i in range(len(numbers)):
        read[i + 1] = &(<Tensor>numbers[i]).buf
    run(p, x.buf.dtype, &target, 1, read, 1 + <int>len(numbers), NULL, out.buf.size)
    return out


def window(images, places, size, *, fill=0):
    """Cut a window out of each image; what lies outside the image is `fill`.

    Parameters
    ----------
    images : Tensor of shape (N, C, H, W)
    places : Tensor of int64, of shape (N, 3)
        Top row, left column, and whether the window is mirrored left to right.
    size : (int, int)
        Rows and columns of the window.
    fill : number, default 0

    Returns
    -------
    Tensor of shape (N, C, *size)

    Raises
    ------
    ShapeError, DTypeError
        If `images` or `places` are of another shape or dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.augment import window
    >>> window(tl.tensor([[[[1, 2, 3]]]]), tl.tensor([[0, 1, 1]]), (1, 3)).tolist()
    [[[[0, 3, 2]]]]
    """
    cdef Tensor x = _images("window", images, ())
    cdef tl_buffer layout
    cdef Tensor at, out
    at = _numbers("window", "places", places, TL_INT64, (x.shape[0], 3))
    rows, columns = size
    parse_shape("window", (x.shape[0], x.shape[1], rows, columns), &layout)
    out = new_tensor(&layout, x.buf.dtype, x.buf.device_type, x.buf.device_index)
    return _applied(_window, out, x, (at, new_scalar(fill, x.buf.dtype)))


def erase(images, boxes, *, fill=0):
    """Set a box of each image to `fill`.

    Parameters
    ----------
    images : Tensor of shape (N, C, H, W)
    boxes : Tensor of int64, of shape (N, 4)
        First row, row after the last, first column, column after the last; what lies
        outside the image is cut off.
    fill : number, default 0

    Returns
    -------
    Tensor of shape (N, C, H, W)

    Raises
    ------
    ShapeError, DTypeError
        If `images` or `boxes` are of another shape or dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.augment import erase
    >>> erase(tl.tensor([[[[1, 2, 3]]]]), tl.tensor([[0, 1, 1, 9]])).tolist()
    [[[[1, 0, 0]]]]
    """
    cdef Tensor x = _images("erase", images, ())
    cdef Tensor at = _numbers("erase", "boxes", boxes, TL_INT64, (x.shape[0], 4))
    out = new_like(x, x.buf.dtype)
    return _applied(_erase, out, x, (at, new_scalar(fill, x.buf.dtype)))


def paste(images, partners, boxes):
    """Replace a box of each image by the same box of its partner in the batch.

    Parameters
    ----------
    images : Tensor of shape (N, C, H, W)
    partners : Tensor of int64, of shape (N,)
        Numbers of images in the batch.
    boxes : Tensor of int64, of shape (N, 4)
        As in `erase`.

    Returns
    -------
    Tensor of shape (N, C, H, W)

    Raises
    ------
    ShapeError, DTypeError
        If an argument is of another shape or dtype.
    IndexError
        If a partner is not in the batch.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.augment import paste
    >>> both = tl.tensor([[[[1, 2]]], [[[3, 4]]]])
    >>> paste(both, tl.tensor([1, 1]), tl.tensor([[0, 1, 1, 2]] * 2)).tolist()
    [[[[1, 4]]], [[[3, 4]]]]
    """
    cdef Tensor x = _images("paste", images, ())
    count = x.shape[0]
    cdef Tensor other = _numbers("paste", "partners", partners, TL_INT64, (count,))
    cdef Tensor at = _numbers("paste", "boxes", boxes, TL_INT64, (count, 4))
    return _applied(_paste, new_like(x, x.buf.dtype), x, (other, at))


def warp(images, matrices, *, mode="bilinear", fill=0.0):
    """Transform each image by an affine map of its pixels' coordinates.

    Output pixel ``(i, j)`` takes the source's value at row ``m0 i + m1 j + m2``,
    column ``m3 i + m4 j + m5``; pixel centres have whole coordinates.

    Parameters
    ----------
    images : Tensor of uint8, float32 or float64, of shape (N, C, H, W)
    matrices : Tensor of float64, of shape (N, 2, 3)
    mode : {"bilinear", "nearest"}
        Between pixels: the weighted mean of four, rounded half up for uint8; or the
        nearest one.
    fill : float, default 0.0
        The value of all pixels outside the source; 0 to 255 for uint8.

    Returns
    -------
    Tensor of shape (N, C, H, W)

    Raises
    ------
    ShapeError, DTypeError
        If `images` or `matrices` are of another shape or dtype.
    ValueError
        If `mode` is unknown or `fill` cannot be stored.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.augment import warp
    >>> half = tl.tensor([[[1, 0, 0], [0, 1, 0.5]]], dtype=tl.float64)
    >>> warp(tl.tensor([[[[1.0, 3.0]]]]), half).tolist()
    [[[[2.0, 1.5]]]]
    """
    cdef Tensor x = _images("warp", images, (TL_UINT8, TL_FLOAT32, TL_FLOAT64))
    shape = (x.shape[0], 2, 3)
    cdef Tensor m = _numbers("warp", "matrices", matrices, TL_FLOAT64, shape)
    cdef Tensor out = new_like(x, x.buf.dtype)
    cdef const tl_buffer *target = &out.buf
    cdef const tl_buffer *read[2]
    cdef tl_warp_params how
    if mode not in ("bilinear", "nearest"):
        raise ValueError(f"warp: expected mode 'bilinear' or 'nearest', got {mode!r}")
    if x.buf.dtype == TL_UINT8 and not 0 <= fill <= 255:
        raise ValueError(f"warp: expected a fill in [0, 255] for uint8, got {fill}")
    how.fill, how.bilinear = fill, mode == "bilinear"
    read[0], read[1] = &x.buf, &m.buf
    run(_warp, x.buf.dtype, &target, 1, read, 2, &how, x.buf.size)
    return out


def normalize(images, mean, std):
    """Return ``(images - mean) / std``, channel by channel; bytes are divided by 255.

    Parameters
    ----------
    images : Tensor of uint8, float32 or float64, of shape (N, C, H, W)
    mean, std : Tensor of float64, of shape (C,)

    Returns
    -------
    Tensor of shape (N, C, H, W)
        Of the images' dtype; float32 for uint8.

    Raises
    ------
    ShapeError, DTypeError
        If an argument is of another shape or dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.augment import normalize
    >>> one = tl.ones(1, dtype=tl.float64)
    >>> normalize(tl.full((1, 1, 1, 1), 255, dtype=tl.uint8), one * 0.5, one).item()
    0.5
    """
    cdef Tensor x = _images("normalize", images, (TL_UINT8, TL_FLOAT32, TL_FLOAT64))
    cdef Tensor m = _numbers("normalize", "mean", mean, TL_FLOAT64, (x.shape[1],))
    cdef Tensor s = _numbers("normalize", "std", std, TL_FLOAT64, (x.shape[1],))
    dtype = x.buf.dtype if is_float_code(x.buf.dtype) else TL_FLOAT32
    return _applied(_normalize, new_like(x, dtype), x, (m, s))


def blend(images, partners, weights):
    """Return ``w * image + (1 - w) * partner`` for each image of a batch.

    Parameters
    ----------
    images : Tensor of float32 or float64, of shape (N, C, H, W)
    partners : Tensor of int64, of shape (N,)
        Numbers of images in the batch.
    weights : Tensor of float64, of shape (N,)

    Returns
    -------
    Tensor of shape (N, C, H, W)

    Raises
    ------
    ShapeError, DTypeError
        If an argument is of another shape or dtype.
    IndexError
        If a partner is not in the batch.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.augment import blend
    >>> both = tl.tensor([[[[0.0]]], [[[4.0]]]])
    >>> quarter = tl.full(2, 0.25, dtype=tl.float64)
    >>> blend(both, tl.tensor([1, 0]), quarter).tolist()
    [[[[3.0]]], [[[1.0]]]]
    """
    cdef Tensor x = _images("blend", images, (TL_FLOAT32, TL_FLOAT64))
    count = x.shape[0]
    cdef Tensor other = _numbers("blend", "partners", partners, TL_INT64, (count,))
    cdef Tensor w = _numbers("blend", "weights", weights, TL_FLOAT64, (count,))
    return _applied(_blend, new_like(x, x.buf.dtype), x, (other, w))
