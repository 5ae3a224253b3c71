"""DLPack in both directions, and CUDA's array interface outward.

An exported tensor's storage is retained by the managed structure and released by its
deleter, which needs no GIL. An imported structure is the owner of a borrowed storage.
On a GPU the stream of whoever takes a tensor waits for the work of whoever gives it.

References
----------
DLPack 1.1, https://dmlc.github.io/dlpack/latest/; Python Array API standard 2025.12,
"Data interchange mechanisms".
"""
from cpython.pycapsule cimport (
    PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New, PyCapsule_SetName,
)
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_BFLOAT16, TL_BOOL, TL_C_CONTIGUOUS, TL_COMPLEX64, TL_COMPLEX128,
    TL_CPU, TL_CUDA, TL_FLOAT16, TL_FLOAT32, TL_FLOAT64, TL_INT8, TL_INT16, TL_INT32,
    TL_INT64, TL_MAX_NDIM, TL_UINT8, TL_UINT16, TL_UINT32, TL_UINT64, tl_buffer,
    tl_storage,
)
from tensorlib.core.borrow cimport (
    Foreign, adopt_memory, check_dtype, packed_copy,
)
from tensorlib.core.device cimport Device, as_device
from tensorlib.core.dtype cimport (
    dtype_sizes, is_complex_code, is_float_code, is_integer_code,
)
from tensorlib.core.remote cimport open_remote, remote_of, tl_remote
from tensorlib.core.storage cimport (
    storage_lend, storage_release, storage_retain, storage_return,
)
from tensorlib.core.tensor cimport TRACK_GRAD, Tensor, is_exposed_readonly

from tensorlib.core.errors import DeviceError, ShapeError
from tensorlib.core.tensor import bind_methods

cdef enum:
    DEFAULT_STREAM = 1      # DLPack's and CUDA's number of it

cdef const char *PLAIN = "dltensor"
cdef const char *PLAIN_USED = "used_dltensor"
cdef const char *VERSIONED = "dltensor_versioned"
cdef const char *VERSIONED_USED = "used_dltensor_versioned"


# ---- export --------------------------------------------------------------------
cdef struct Export:
    tl_storage *storage
    int64_t shape[TL_MAX_NDIM]
    int64_t strides[TL_MAX_NDIM]
    tl_dl_managed plain
    tl_dl_managed_versioned versioned


cdef void _drop_export(Export *exported) noexcept nogil:
    storage_return(exported.storage)
    storage_release(exported.storage)
    free(exported)


cdef void _delete_plain(tl_dl_managed *self) noexcept nogil:
    _drop_export(<Export *>self.context)


cdef void _delete_versioned(tl_dl_managed_versioned *self) noexcept nogil:
    _drop_export(<Export *>self.context)


cdef void _destroy_plain(object capsule) noexcept:
    """A capsule that was never consumed still owns the structure."""
    if PyCapsule_IsValid(capsule, PLAIN):
        _delete_plain(<tl_dl_managed *>PyCapsule_GetPointer(capsule, PLAIN))


cdef void _destroy_versioned(object capsule) noexcept:
    if PyCapsule_IsValid(capsule, VERSIONED):
        _delete_versioned(
            <tl_dl_managed_versioned *>PyCapsule_GetPointer(capsule, VERSIONED)
        )


cdef tl_dl_dtype _described(int dtype) noexcept:
    cdef tl_dl_dtype found
    found.bits = <uint8_t>(8 * dtype_sizes()[dtype])
    found.lanes = 1
    if dtype == TL_BOOL:
        found.code = TL_DL_BOOL
    elif dtype == TL_BFLOAT16:
        found.code = TL_DL_BFLOAT
    elif is_float_code(dtype):
        found.code = TL_DL_FLOAT
    elif is_integer_code(dtype):
        found.code = TL_DL_INT if dtype <= TL_INT64 else TL_DL_UINT
    else:
        found.code = TL_DL_COMPLEX
    return found


cdef int _describe(Export *exported, tl_dl_tensor *view, const tl_buffer *b) noexcept:
    cdef int d
    for d in range(b.ndim):
        exported.shape[d] = b.shape[d]
        exported.strides[d] = b.strides[d]
    view.data = b.data
    view.device.device_type = TL_DL_CUDA if b.device_type == TL_CUDA else TL_DL_CPU
    view.device.device_id = b.device_index
    view.ndim = b.ndim
    view.dtype = _described(b.dtype)
    view.shape = exported.shape
    view.strides = exported.strides
    view.byte_offset = 0
    return 0


cdef object _capsule(Tensor x, bint versioned, uint64_t flags):
    cdef Export *exported = <Export *>malloc(sizeof(Export))
    if exported == NULL:
        raise MemoryError("__dlpack__: no memory for the managed tensor")
    storage_retain(x.buf.storage)
    exported.storage = x.buf.storage
    storage_lend(exported.storage)
    try:
        if versioned:
            _describe(exported, &exported.versioned.tensor, &x.buf)
            exported.versioned.version.major = TL_DLPACK_MAJOR
            exported.versioned.version.minor = TL_DLPACK_MINOR
            exported.versioned.context = exported
            exported.versioned.deleter = _delete_versioned
            exported.versioned.flags = flags
            return PyCapsule_New(&exported.versioned, VERSIONED, _destroy_versioned)
        _describe(exported, &exported.plain.tensor, &x.buf)
        exported.plain.context = exported
        exported.plain.deleter = _delete_plain
        return PyCapsule_New(&exported.plain, PLAIN, _destroy_plain)
    except MemoryError:
        _drop_export(exported)
        raise


cdef bint _wants_version(object max_version) except -1:
    if max_version is None:
        return False
    try:
        major, minor = max_version
        return int(major) >= 1 and int(minor) >= 0
    except (TypeError, ValueError):
        raise TypeError(
            f"__dlpack__: expected max_version=(major, minor), got {max_version!r}"
        ) from None


cdef tuple _place(Tensor x):
    return (TL_DL_CUDA if x.buf.device_type == TL_CUDA else TL_DL_CPU), (
        x.buf.device_index
    )


cdef Tensor _at_target(Tensor x, object dl_device, object copy):
    """x where the consumer wants it: a copy on the host if it is on a GPU."""
    if x.track & TRACK_GRAD:
        raise BufferError(
            "__dlpack__: the tensor requires grad, which DLPack cannot carry; "
            "use .detach()"
        )
    if x.buf.device_type == TL_BATCHED:
        raise BufferError("__dlpack__: expected a tensor outside of vmap")
    if dl_device is not None and not isinstance(dl_device, tuple):
        raise TypeError(
            f"__dlpack__: expected dl_device=(type, index), got {dl_device!r}"
        )
    if dl_device is None or dl_device == _place(x):
        return x
    if dl_device != (TL_DL_CPU, 0) or copy is False:
        raise BufferError(
            f"__dlpack__: cannot export from {_place(x)}, {x.device}, to {dl_device!r}"
            + (" without a copy" if dl_device == (TL_DL_CPU, 0) else "")
        )
    return x.cpu()


cdef bint _steps_back(Tensor x) noexcept:
    """Whether an axis is walked towards lower addresses."""
    cdef int d
    for d in range(x.buf.ndim):
        if x.buf.strides[d] < 0 and x.buf.shape[d] > 1:
            return True
    return False


cdef int _let_wait(Tensor x, object stream) except -1:
    """Let the consumer's stream wait for what has been launched on ours."""
    cdef const tl_remote *remote
    cdef size_t theirs, ours
    if x.buf.device_type == TL_CPU:
        if stream is not None:
            raise BufferError(
                f"__dlpack__: expected stream=None for a CPU tensor, got {stream!r}"
            )
        return 0
    if stream is not None and (
        isinstance(stream, bool) or not isinstance(stream, int) or stream < -1
    ):
        raise TypeError(f"__dlpack__: expected a stream's number, got {stream!r}")
    if stream == 0:
        raise BufferError(
            "__dlpack__: stream=0 may mean two streams; pass 1 for the default stream, "
            "2 for the thread's"
        )
    if stream == -1:
        return 0
    remote = remote_of(x.buf.device_type)
    theirs = DEFAULT_STREAM if stream is None else stream
    ours = remote.stream(x.buf.device_index)
    if theirs != ours and not (theirs == DEFAULT_STREAM and ours == 0):
        remote.order(x.buf.device_index, theirs, ours)
    return 0


def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
    """Return a capsule by which another library can use this tensor's memory.

    Parameters
    ----------
    stream : int, optional
        On a GPU, the consumer's stream, which then waits for this thread's work so
        far: 1 or None for the default stream, 2 for the thread's default stream, -1
        not to wait, else the stream's address. CPU tensors take none.
    max_version : tuple of int, optional
        The newest DLPack the consumer knows; without it the unversioned form.
    dl_device : tuple of int, optional
        Where the consumer wants the memory: where it is, or on the CPU, (1, 0), to
        which a tensor on a GPU is copied.
    copy : bool, optional
        True forces a copy, False forbids one. None shares the memory, unless a stride
        is negative: PyTorch ends the process on such, so it gets a copy.

    Raises
    ------
    BufferError
        If the tensor requires grad, or is read-only and the consumer's version
        cannot say so, or the consumer wants another device, or a copy is needed and
        `copy` is False, or the stream is one that the device does not have.

    Examples
    --------
    >>> import numpy as np, tensorlib as tl
    >>> x = tl.zeros(3)
    >>> np.from_dlpack(x)[0] = 5.0
    >>> x
    tensor([5., 0., 0.])
    """
    cdef Tensor x = <Tensor?>self
    cdef bint versioned = _wants_version(max_version)
    cdef uint64_t flags = 0
    x = _at_target(x, dl_device, copy)
    if x is self and (copy or _steps_back(x)):
        if copy is False:
            raise BufferError(
                f"__dlpack__: strides {x.strides} are negative, which consumers do not "
                "take; pass copy=None, or use .contiguous()"
            )
        x = packed_copy(x)
    _let_wait(x, stream)
    if x is not self:
        flags |= TL_DL_FLAG_IS_COPIED
    if is_exposed_readonly(x):
        if not versioned:
            raise BufferError(
                "__dlpack__: a read-only tensor needs DLPack 1.0 (max_version=(1, 0)) "
                "on the consumer's side; use .copy()"
            )
        flags |= TL_DL_FLAG_READ_ONLY
    return _capsule(x, versioned, flags)


def __dlpack_device__(self):
    """Return ``(device type, device index)`` in DLPack's numbers; (1, 0) is the CPU."""
    cdef Tensor x = <Tensor?>self
    if x.buf.device_type == TL_BATCHED:
        raise BufferError("__dlpack_device__: expected a tensor outside of vmap")
    return _place(x)


# ---- import --------------------------------------------------------------------
cdef void _release_plain(void *owner) noexcept nogil:
    cdef tl_dl_managed *managed = <tl_dl_managed *>owner
    if managed.deleter != NULL:
        managed.deleter(managed)


cdef void _release_versioned(void *owner) noexcept nogil:
    cdef tl_dl_managed_versioned *managed = <tl_dl_managed_versioned *>owner
    if managed.deleter != NULL:
        managed.deleter(managed)


cdef int _dtype_code(tl_dl_dtype described) noexcept:
    """The tl_dtype of a DLPack data type, -1 when there is none."""
    cdef int bits = described.bits
    if described.lanes != 1:
        return -1
    if described.code == TL_DL_BOOL:
        return TL_BOOL if bits == 8 else -1
    if described.code == TL_DL_BFLOAT:
        return TL_BFLOAT16 if bits == 16 else -1
    if described.code == TL_DL_INT:
        return {8: TL_INT8, 16: TL_INT16, 32: TL_INT32, 64: TL_INT64}.get(bits, -1)
    if described.code == TL_DL_UINT:
        return {8: TL_UINT8, 16: TL_UINT16, 32: TL_UINT32, 64: TL_UINT64}.get(bits, -1)
    if described.code == TL_DL_FLOAT:
        return {16: TL_FLOAT16, 32: TL_FLOAT32, 64: TL_FLOAT64}.get(bits, -1)
    if described.code == TL_DL_COMPLEX:
        return {64: TL_COMPLEX64, 128: TL_COMPLEX128}.get(bits, -1)
    return -1


cdef int _open_device(int kind, int index) except -1:
    """Raise unless there can be tensors on this device of DLPack's."""
    if kind in (TL_DL_CPU, TL_DL_CUDA_HOST):
        return 0
    reason = "copy it to the CPU first"
    if kind == TL_DL_CUDA:
        try:
            return open_remote("from_dlpack", TL_CUDA, index)
        except DeviceError as error:
            reason = str(error)
    raise BufferError(
        "from_dlpack: expected memory of the CPU or of a GPU that can be used (DLPack "
        f"device type 1, 2 or 3), got device type {kind}: {reason}"
    )


cdef int _check_incoming(const tl_dl_tensor *view) except -1:
    cdef int dtype = _dtype_code(view.dtype)
    _open_device(view.device.device_type, view.device.device_id)
    check_dtype(
        "from_dlpack", dtype,
        f"DLPack type code {view.dtype.code} of {view.dtype.bits} bits and "
        f"{view.dtype.lanes} lanes",
    )
    if not 0 <= view.ndim <= TL_MAX_NDIM:
        raise ShapeError(
            f"from_dlpack: expected at most {TL_MAX_NDIM} dimensions, got {view.ndim}"
        )
    if view.ndim and view.shape == NULL:
        raise BufferError("from_dlpack: the producer gave no shape")
    return dtype


cdef Tensor _adopt(
    const tl_dl_tensor *view, int dtype, bint readonly, bint copy, void *owner,
    void (*release)(void *owner) noexcept nogil,
):
    cdef Foreign memory
    cdef int64_t[TL_MAX_NDIM] strides
    cdef uint64_t step = dtype_sizes()[dtype]   # may wrap: adopt_memory checks the size
    cdef int d
    for d in range(view.ndim - 1, -1, -1):
        strides[d] = <int64_t>step
        if view.strides != NULL:
            strides[d] = view.strides[d] * dtype_sizes()[dtype]
        step *= <uint64_t>view.shape[d]
    memory.data = NULL
    if view.data != NULL:
        memory.data = <char *>view.data + view.byte_offset
    memory.dtype = dtype
    memory.ndim = view.ndim
    memory.shape = view.shape
    memory.strides = strides
    memory.readonly = readonly
    memory.device_type = memory.device_index = TL_CPU
    if view.device.device_type == TL_DL_CUDA:
        memory.device_type, memory.device_index = TL_CUDA, view.device.device_id
    memory.owner = owner
    memory.release = release
    return adopt_memory("from_dlpack", &memory, copy)


cdef Tensor _consume(object capsule, bint copy):
    """Take a capsule's tensor; a capsule that is refused keeps it."""
    cdef tl_dl_managed *plain
    cdef tl_dl_managed_versioned *managed
    cdef int dtype
    if PyCapsule_IsValid(capsule, VERSIONED):
        managed = <tl_dl_managed_versioned *>PyCapsule_GetPointer(capsule, VERSIONED)
        if managed.version.major != TL_DLPACK_MAJOR:
            raise BufferError(
                f"from_dlpack: expected DLPack {TL_DLPACK_MAJOR}.x, got "
                f"{managed.version.major}.{managed.version.minor}"
            )
        dtype = _check_incoming(&managed.tensor)
        PyCapsule_SetName(capsule, VERSIONED_USED)
        return _adopt(
            &managed.tensor, dtype, (managed.flags & TL_DL_FLAG_READ_ONLY) != 0, copy,
            managed, _release_versioned,
        )
    if PyCapsule_IsValid(capsule, PLAIN):
        plain = <tl_dl_managed *>PyCapsule_GetPointer(capsule, PLAIN)
        dtype = _check_incoming(&plain.tensor)
        PyCapsule_SetName(capsule, PLAIN_USED)
        return _adopt(&plain.tensor, dtype, False, copy, plain, _release_plain)
    raise BufferError(
        "from_dlpack: expected an unused 'dltensor' or 'dltensor_versioned' capsule, "
        f"got {capsule!r}"
    )


cdef object _request(object x, object copy, object target, object stream):
    """The producer's capsule; older producers know fewer keywords."""
    version = (TL_DLPACK_MAJOR, TL_DLPACK_MINOR)
    given = {} if stream is None else {"stream": stream}
    try:
        return x.__dlpack__(max_version=version, dl_device=target, copy=copy, **given)
    except TypeError:
        if target is not None:
            raise
        return x.__dlpack__(**given)


cdef object _our_stream(int kind, int index):
    """This thread's stream as DLPack numbers it, None on the CPU."""
    if kind != TL_DL_CUDA:
        return None
    return remote_of(TL_CUDA).stream(index) or DEFAULT_STREAM


cdef tuple _place_of(object x):
    if not hasattr(x, "__dlpack_device__"):
        raise TypeError(
            "from_dlpack: expected an object with __dlpack__ and __dlpack_device__, "
            f"got {type(x).__name__}"
        )
    kind, number = x.__dlpack_device__()
    return int(kind), int(number)


cdef Tensor import_dlpack(object x, int copy):
    kind, number = _place_of(x)
    _open_device(kind, number)
    # The copy, when there must be one, is ours: its memory is then ours too.
    return _consume(
        _request(x, None if copy else False, None, _our_stream(kind, number)), copy > 0
    )


cdef Tensor _on_device(object x, Device where, int copy):
    """The producer's array on a device that was asked for."""
    cdef Tensor made
    kind, number = _place_of(x)
    is_cuda = kind == TL_DL_CUDA
    if is_cuda == (where.type_code == TL_CUDA) and (
        number == where.index or not is_cuda
    ):
        return import_dlpack(x, copy)
    if copy == 0:
        raise ValueError(
            f"from_dlpack: the array is on another device than {where}, so a copy is "
            "needed, but copy=False was given"
        )
    try:
        made = import_dlpack(x, -1)
    except BufferError:
        if where.type_code != TL_CPU:
            raise
        # A GPU that is out of our reach: perhaps the producer brings it over.
        return _consume(_request(x, True, (TL_DL_CPU, 0), None), False)
    return made.to(where)


def from_dlpack(x, /, *, device=None, copy=None):
    """Return a tensor over the memory of any array that speaks DLPack.

    Parameters
    ----------
    x : object
        Has ``__dlpack__`` and ``__dlpack_device__`` (NumPy, PyTorch, JAX, CuPy, …).
    device : Device or str, optional
        Where the result should be; where the array is by default.
    copy : bool, optional
        True copies, False raises where a copy would be needed, None copies only
        when the memory cannot be addressed in place (misaligned elements).

    Returns
    -------
    Tensor
        Of the producer's shape and dtype; read-only when the producer says so.

    Raises
    ------
    BufferError
        If the memory is neither on the CPU nor on a GPU that can be used, or the
        producer refuses.
    DeviceError
        If `device` is not available.
    DTypeError
        If the elements have a type that tensors do not have.
    ValueError
        If `copy` is False and the elements cannot be addressed in place, or are on
        another device.

    Notes
    -----
    On a GPU this thread's stream waits for what the producer has launched. Memory goes
    back to the producer with the last tensor over it, whether or not kernels that were
    launched on it are done: where the producer uses another stream, wait before.

    Examples
    --------
    >>> import numpy as np, tensorlib as tl
    >>> a = np.arange(3.0)
    >>> tl.from_dlpack(a)
    tensor([0., 1., 2.], dtype=float64)
    """
    cdef Tensor made
    cdef int how = -1 if copy is None else 1 if copy else 0
    if device is None:
        made = import_dlpack(x, how)
    else:
        made = _on_device(x, as_device(device), how)
    if copy is not None and not copy and made.buf.storage.release == NULL:
        raise ValueError(
            "from_dlpack: the elements are not aligned, so a copy is needed, but "
            "copy=False was given"
        )
    return made


# ---- CUDA's array interface ------------------------------------------------------
def _cuda_array_interface(x):
    """The dict by which other libraries use the memory of a tensor on a GPU.

    Their stream must wait for the one that it names. A tensor that is not on a GPU, is
    to be differentiated, or is of a dtype without a type string has no such attribute.
    """
    cdef Tensor a = <Tensor?>x
    cdef int size = dtype_sizes()[a.buf.dtype]
    if a.buf.device_type != TL_CUDA:
        raise AttributeError("__cuda_array_interface__: expected a tensor on a GPU")
    if a.track & TRACK_GRAD:
        raise AttributeError(
            "__cuda_array_interface__: the tensor requires grad; use .detach()"
        )
    if a.buf.dtype == TL_BFLOAT16:
        raise AttributeError("__cuda_array_interface__: bfloat16 has no type string")
    strides = None
    if not a.buf.flags & TL_C_CONTIGUOUS:
        strides = tuple([step * size for step in a.strides])
    return {
        "shape": a.shape,
        "typestr": f"{'|' if size == 1 else '<'}{_kind_letter(a.buf.dtype)}{size}",
        "data": (<size_t>a.buf.data if a.buf.size else 0, is_exposed_readonly(a)),
        "strides": strides,
        "stream": remote_of(TL_CUDA).stream(a.buf.device_index) or DEFAULT_STREAM,
        "version": 3,
    }


cdef str _kind_letter(int dtype):
    if dtype == TL_BOOL:
        return "b"
    if is_complex_code(dtype):
        return "c"
    if is_float_code(dtype):
        return "f"
    return "i" if dtype <= TL_INT64 else "u"


bind_methods({
    "__dlpack__": __dlpack__,
    "__dlpack_device__": __dlpack_device__,
    "__cuda_array_interface__": property(_cuda_array_interface),
})
