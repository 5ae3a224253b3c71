"""Moving tensors between devices: `to`, `cpu`, `cuda`, `pin_memory`.

A transfer is an op like any other, and linear: its transpose moves the gradient back.
"""
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport Node, Primitive, record1, tracking
from tensorlib.core.abi cimport TL_BATCHED, TL_CPU, TL_CUDA, tl_buffer, tl_storage
from tensorlib.core.device cimport Device, as_device
from tensorlib.core.dtype cimport dtype_sizes
from tensorlib.core.layout cimport copy_layout, set_contiguous
from tensorlib.core.remote cimport (
    TO_DEVICE, TO_DEVICE_LATER, TO_HOST, cross, pinned_storage,
)
from tensorlib.core.storage cimport storage_release
from tensorlib.core.tensor cimport Tensor, new_over, new_tensor
from tensorlib.ops.elementwise cimport cast, contiguous, copy_into
from tensorlib.ops.elementwise cimport copy as copied

from tensorlib.autograd.batch import hide_levels, show_levels
from tensorlib.core.errors import DTypeError, DeviceError, rename
from tensorlib.core.remote import set_opener

cdef bint[256] _opened      # by index of a GPU


cdef Device usable_device(str op, object spec):
    cdef Device where = as_device(spec)
    if where.type_code == TL_CUDA and not _opened[where.index]:
        from tensorlib.kernels.devices import open_device

        open_device(op, where.index)
        _opened[where.index] = True
    return where


def _open(str op, int index):
    usable_device(op, f"cuda:{index}")


set_opener(_open)


cdef class Transfer(Primitive):
    """A copy on another device."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (moved(g, <Device>(<tuple>node.params)[0], True),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return moved(<Tensor>tangents[0], <Device>(<tuple>node.params)[1], True)


cdef Transfer _transfer = Transfer("to")


cdef int _copy_bytes(Tensor out, Tensor x, bint wait) except -1:
    """Between contiguous tensors of one shape and dtype, at least one on a device."""
    cdef int64_t nbytes = x.buf.size * dtype_sizes()[x.buf.dtype]
    cdef Tensor host
    if x.buf.device_type == TL_CPU:
        return cross(
            out.buf.device_type, out.buf.device_index, out.buf.data, x.buf.data, nbytes,
            TO_DEVICE if wait else TO_DEVICE_LATER,
        )
    if out.buf.device_type == TL_CPU:
        return cross(
            x.buf.device_type, x.buf.device_index, out.buf.data, x.buf.data, nbytes,
            TO_HOST,
        )
    host = new_tensor(&x.buf, x.buf.dtype, TL_CPU, 0)
    _copy_bytes(host, x, True)
    return _copy_bytes(out, host, True)


cdef Tensor moved(Tensor x, Device where, bint wait):
    cdef Tensor out, source
    if (
        x.buf.device_type == where.type_code and x.buf.device_index == where.index
    ):
        return x
    if x.buf.device_type == TL_BATCHED:
        return _move_examples(x, where, wait)
    source = contiguous(x.detach())
    out = new_tensor(&source.buf, x.buf.dtype, where.type_code, where.index)
    if x.buf.size:
        _copy_bytes(out, source, wait)
    if x.track and tracking(x.track):
        record1(_transfer, out, x, (), False, (x.device, where))
    return out


cdef Tensor _move_examples(Tensor x, Device where, bint wait):
    """All examples of vmap at once."""
    if x.device == where:
        return x
    shown, levels = show_levels(x)
    return hide_levels(moved(<Tensor>shown, where, wait), levels)


def to(x, /, target=None, *, dtype=None, device=None, non_blocking=False, copy=False):
    """Return the tensor with another dtype or on another device.

    Parameters
    ----------
    target : DType, Device, str or Tensor, optional
        A dtype, a device, or a tensor whose dtype and device are taken.
    dtype : DType, optional
    device : Device or str, optional
    non_blocking : bool, default False
        To a GPU from pinned memory (`pin_memory`): return before the copy is done. The
        source must not be changed until then.
    copy : bool, default False
        Make a copy even when nothing changes.

    Returns
    -------
    Tensor
        The tensor itself when nothing changes.

    Raises
    ------
    DeviceError
        If the device is not available; says why.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.ones(1).to(tl.int32)
    tensor([1], dtype=int32)
    >>> tl.ones(1).to("cpu").device
    device('cpu')
    """
    cdef Tensor a
    if not isinstance(x, Tensor):
        raise TypeError(f"to: expected a Tensor, got {type(x).__name__}")
    if isinstance(target, Tensor):
        dtype, device = target.dtype, target.device
    elif target is not None:
        from tensorlib.core.dtype import dtype as dtype_named

        try:
            dtype = dtype_named(target)
        except DTypeError:
            device = as_device(target)
    a = <Tensor>x
    if device is not None:
        a = moved(a, usable_device("to", device), not non_blocking)
    if dtype is not None:
        from tensorlib.core.dtype import dtype as dtype_named

        try:
            a = cast(a, dtype_named(dtype).code)
        except DTypeError as error:
            rename(error, "to")
            raise
    return copied(a) if copy and a is x else a


def cpu(x, /):
    """Return the tensor on the CPU: itself when it is there.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones(2)
    >>> x.cpu() is x
    True
    """
    return to(x, device="cpu")


def cuda(x, device=None, /, *, non_blocking=False):
    """Return the tensor on a GPU.

    Parameters
    ----------
    device : Device, str or int, optional
        ``"cuda:0"`` by default.
    non_blocking : bool, default False
        See `to`.

    Raises
    ------
    DeviceError
        If there is no such GPU; says why.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cuda.is_available() and not tl.ones(2).cuda().is_cuda
    False
    """
    if device is None or isinstance(device, int):
        device = f"cuda:{device or 0}"
    return to(x, device=device, non_blocking=non_blocking)


def to_device(x, device, /, *, stream=None):
    """Return the tensor on a device: itself when it is there.

    Parameters
    ----------
    device : Device or str
    stream : None
        The copy is always ordered with the current stream.

    Returns
    -------
    Tensor

    Raises
    ------
    DeviceError
        If the device is not available.
    ValueError
        If a stream is given.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.ones(1).to_device("cpu")
    tensor([1.])
    """
    if stream is not None:
        raise ValueError(
            "to_device: expected stream=None, the current stream of the device, got "
            f"{stream!r}"
        )
    return to(x, device=device)


def pin_memory(x, /):
    """Return a copy in page-locked host memory, from which copies to a GPU are faster.

    Raises
    ------
    DeviceError
        If there is no GPU, or the tensor is on one.

    Examples
    --------
    >>> import tensorlib as tl
    >>> if tl.cuda.is_available():
    ...     batch = tl.ones(3).pin_memory().to("cuda", non_blocking=True)
    """
    cdef tl_buffer layout
    cdef tl_storage *storage
    cdef Tensor made
    if not isinstance(x, Tensor):
        raise TypeError(f"pin_memory: expected a Tensor, got {type(x).__name__}")
    if (<Tensor>x).buf.device_type != TL_CPU:
        raise DeviceError(f"pin_memory: expected a CPU tensor, got one on {x.device}")
    usable_device("pin_memory", "cuda")
    copy_layout(&layout, &(<Tensor>x).buf)
    set_contiguous(&layout)
    storage = pinned_storage(TL_CUDA, layout.size * dtype_sizes()[layout.dtype])
    layout.data = storage.data
    made = new_over(storage, &layout)
    storage_release(storage)
    copy_into("pin_memory", made, <Tensor>x)
    return made
