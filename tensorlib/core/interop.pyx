"""Python values, sequences and other libraries' arrays as tensors.

Nested sequences take two passes: one finds the shape and the dtype, one fills a fresh
buffer through typed code. Arrays are borrowed without a copy through the buffer
protocol, the array interface, DLPack or CUDA's array interface, whichever the object
offers first.
"""
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from cpython.complex cimport PyComplex_Check
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check, PyFloat_CheckExact
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_AsDouble, PyLong_Check, PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from tensorlib.core.abi cimport (
    TL_BOOL, TL_COMPLEX64, TL_COMPLEX128, TL_CPU, TL_CUDA, TL_FLOAT16, TL_FLOAT32,
    TL_FLOAT64, TL_INT8, TL_INT16, TL_INT32, TL_INT64, TL_MAX_NDIM, TL_UINT8, TL_UINT16,
    TL_UINT32, TL_UINT64, tl_buffer,
)
from tensorlib.core.borrow cimport (
    Foreign, adopt_memory, check_dtype, over_buffer, packed_copy, release_buffer,
)
from tensorlib.core.dlpack cimport import_dlpack
from tensorlib.core.dtype cimport (
    as_dtype, dtype_of, dtype_sizes, is_complex_code, is_float_code, is_inexact_code,
    promote_codes, scalar_code,
)
from tensorlib.core.layout cimport parse_shape
from tensorlib.core.number cimport read_scalar, write_scalar
from tensorlib.core.remote cimport open_remote, remote_of, tl_remote
from tensorlib.core.tensor cimport (
    TRACK_GRAD, Tensor, check_host, new_over, new_scalar, new_tensor,
)

import sys

from tensorlib.core.errors import DTypeError, GraphError, ShapeError

cdef enum:
    DEFAULT_STREAM = 1      # CUDA's number of it

cdef str CUDA_INTERFACE = "__cuda_array_interface__"

cdef extern from "Python.h":
    bint PyBool_Check(object o) noexcept
    bint Py_IsInitialized() noexcept nogil
    long long PyLong_AsLongLongAndOverflow(object o, int *overflow) except? -1
    bint PySequence_Check(object o) noexcept
    object PyMemoryView_FromMemory(char *memory, Py_ssize_t size, int flags)
    # hasattr makes and drops an exception, which takes as long as all the rest.
    PyObject *_PyType_Lookup(type x, object name) noexcept


# ---- buffer protocol -----------------------------------------------------------
cdef int _code_of(int kind, Py_ssize_t itemsize) noexcept:
    """The tl_dtype of a kind character and a size, -1 when there is none."""
    cdef int[5] codes       # of 1, 2, 4, 8 and 16 bytes
    cdef int power = 0
    codes[:] = [-1, -1, -1, -1, -1]
    if kind == c"b":
        codes[0] = TL_BOOL
    elif kind == c"i":
        codes[:] = [TL_INT8, TL_INT16, TL_INT32, TL_INT64, -1]
    elif kind == c"u":
        codes[:] = [TL_UINT8, TL_UINT16, TL_UINT32, TL_UINT64, -1]
    elif kind == c"f":
        codes[:] = [-1, TL_FLOAT16, TL_FLOAT32, TL_FLOAT64, -1]
    elif kind == c"c":
        codes[:] = [-1, -1, -1, TL_COMPLEX64, TL_COMPLEX128]
    while power < 4 and itemsize > 1 << power:
        power += 1
    return codes[power] if itemsize == 1 << power else -1


cdef int _plain_format(const char *format, Py_ssize_t itemsize) noexcept:
    """The tl_dtype of a single native letter, -1 for anything else."""
    if format == NULL or format[0] == 0 or format[1] != 0:
        return -1
    if format[0] in b"fd":
        return _code_of(c"f", itemsize)
    if format[0] in b"bhilq":
        return _code_of(c"i", itemsize)
    if format[0] in b"BHILQ":
        return _code_of(c"u", itemsize)
    return _code_of(c"b", itemsize) if format[0] == c"?" else -1


cdef int _buffer_dtype(str format, Py_ssize_t itemsize) except -1:
    """The tl_dtype of a buffer's struct format."""
    cdef int dtype = -1
    cdef str letters = format.lstrip("@=<>!")
    cdef bint swapped = itemsize > 1 and format[:1] == (
        ">" if sys.byteorder == "little" else "<"
    )
    swapped = swapped or (itemsize > 1 and format[:1] == "!")
    if swapped:
        raise DTypeError(
            f"expected the machine's byte order, got format {format!r}; convert first, "
            "for example with array.astype(array.dtype.newbyteorder('='))"
        )
    if letters == "?":
        dtype = _code_of(c"b", itemsize)
    elif len(letters) == 1 and letters in "bhilqn":
        dtype = _code_of(c"i", itemsize)
    elif len(letters) == 1 and letters in "BHILQN":
        dtype = _code_of(c"u", itemsize)
    elif len(letters) == 1 and letters in "efd":
        dtype = _code_of(c"f", itemsize)
    elif letters in ("Zf", "Zd"):
        dtype = _code_of(c"c", itemsize)
    check_dtype("asarray", dtype, f"elements of format {format!r}")
    return dtype


cdef Tensor _from_buffer(object x):
    cdef Foreign memory
    cdef int64_t[TL_MAX_NDIM] shape, strides
    cdef Py_buffer *view = <Py_buffer *>malloc(sizeof(Py_buffer))
    cdef int64_t step
    cdef int d
    if view == NULL:
        raise MemoryError("asarray: no memory for a buffer view")
    try:
        PyObject_GetBuffer(x, view, PyBUF_STRIDES | PyBUF_FORMAT)
    except (BufferError, ValueError, TypeError) as error:
        free(view)
        raise DTypeError(
            f"expected a buffer of numbers, {type(x).__name__} refuses: {error}"
        ) from None
    except BaseException:
        free(view)
        raise
    try:
        step = view.itemsize
        memory.dtype = _plain_format(view.format, view.itemsize)
        if memory.dtype < 0:
            format = "B" if view.format == NULL else (<bytes>view.format).decode()
            memory.dtype = _buffer_dtype(format, view.itemsize)
        if view.ndim > TL_MAX_NDIM:
            raise ShapeError(
                f"expected at most {TL_MAX_NDIM} dimensions, got {view.ndim}"
            )
    except BaseException:
        release_buffer(view)
        raise
    # Some exporters leave out the shape or the strides that were asked for.
    for d in range(view.ndim - 1, -1, -1):
        shape[d] = view.len // view.itemsize if view.shape == NULL else view.shape[d]
        strides[d] = step if view.strides == NULL else view.strides[d]
        step *= shape[d]
    memory.data = view.buf
    memory.ndim = view.ndim
    memory.shape = shape
    memory.strides = strides
    memory.readonly = view.readonly
    memory.device_type = memory.device_index = TL_CPU
    memory.owner = view
    memory.release = release_buffer
    return adopt_memory("asarray", &memory, False)


# ---- array interface -----------------------------------------------------------
# The PyArrayInterface of numpy.org, "The array interface protocol", section "C-struct
# access". A third of the cost of a buffer, whose format NumPy writes and compares anew.
cdef struct ArrayStruct:
    int two                 # a check
    int nd
    char typekind
    int itemsize
    int flags
    Py_ssize_t *shape
    Py_ssize_t *strides     # bytes
    void *data

cdef enum:
    NOT_SWAPPED = 0x200
    WRITEABLE = 0x400

cdef object _ndarray = None     # numpy.ndarray, once NumPy has been imported


cdef bint _is_ndarray(object x) except -1:
    global _ndarray
    if _ndarray is None:
        _ndarray = getattr(sys.modules.get("numpy"), "ndarray", None)
    return type(x) is _ndarray


cdef Tensor _from_struct(object array):
    """Over the memory of a numpy.ndarray; None where a buffer has to tell more."""
    cdef Foreign memory
    cdef int64_t[TL_MAX_NDIM] shape, strides
    cdef int d
    capsule = array.__array_struct__
    cdef ArrayStruct *found = <ArrayStruct *>PyCapsule_GetPointer(capsule, NULL)
    memory.dtype = _code_of(found.typekind, found.itemsize)
    if memory.dtype < 0 or not found.flags & NOT_SWAPPED or found.nd > TL_MAX_NDIM:
        return None
    for d in range(found.nd):
        shape[d], strides[d] = found.shape[d], found.strides[d]
    memory.data = found.data
    memory.ndim = found.nd
    memory.shape = shape
    memory.strides = strides
    memory.readonly = not found.flags & WRITEABLE
    memory.device_type = memory.device_index = TL_CPU
    Py_INCREF(array)
    memory.owner = <void *>array
    memory.release = _release_object
    return adopt_memory("asarray", &memory, False)


cdef void _release_object(void *owner) noexcept nogil:
    if not Py_IsInitialized():
        return
    with gil:
        Py_DECREF(<object>owner)


cdef int _find_memory(Foreign *memory, object described) except -1:
    """On which GPU the memory is; our stream then waits for the exporter's."""
    cdef const tl_remote *remote
    cdef size_t ours, theirs
    if described.get("mask") is not None:
        raise DTypeError("asarray: expected an array without a mask, got a masked one")
    open_remote("asarray", TL_CUDA, 0)
    remote = remote_of(TL_CUDA)
    memory.device_type = TL_CUDA
    if memory.data != NULL:
        memory.device_index = remote.index_of(memory.data)
    stream = described.get("stream")
    if stream is None:
        return 0
    ours, theirs = remote.stream(memory.device_index), stream
    if theirs == 0:
        raise ValueError("asarray: expected the stream of an array not to be 0")
    if theirs != (ours or DEFAULT_STREAM):
        remote.order(memory.device_index, ours, theirs)
    return 0


cdef Tensor _from_interface(object x, object described, str attribute):
    """An object with NumPy's __array_interface__ (PIL images, …), or Numba's for CUDA.

    References
    ----------
    numpy.org, "The array interface protocol", version 3; numba.readthedocs.io, "CUDA
    Array Interface (Version 3)".
    """
    cdef Foreign memory
    cdef int64_t[TL_MAX_NDIM] shape, strides
    cdef uint64_t length        # may wrap: adopt_memory checks the size
    cdef int d
    try:
        extents = tuple(described["shape"])
        typestr = described["typestr"]
        order, kind, *size = str(typestr)
        itemsize = int("".join(size))
        data = described.get("data")
        if isinstance(data, tuple):
            pointer, readonly = data
            memory.data = <void *><size_t>pointer
            memory.readonly = bool(readonly)
        steps = described.get("strides")
        steps = None if steps is None else tuple(steps)
        if steps is not None and len(steps) != len(extents):
            raise ValueError(f"strides {steps} for shape {extents}")
        if len(extents) > TL_MAX_NDIM:
            raise ShapeError(
                f"expected at most {TL_MAX_NDIM} dimensions, got {len(extents)}"
            )
        for d, extent in enumerate(extents):
            shape[d] = extent
        for d, step in enumerate(() if steps is None else steps):
            strides[d] = step
    except ShapeError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"{type(x).__name__}.{attribute} is malformed: {error!r}"
        ) from None
    if steps is None:
        length = itemsize
        for d in range(<int>len(extents) - 1, -1, -1):
            strides[d] = <int64_t>length
            length *= <uint64_t>shape[d]
    if order == ("<" if sys.byteorder == "big" else ">") and itemsize > 1:
        kind = "?"
    memory.dtype = _code_of(ord(kind), itemsize)
    check_dtype("asarray", memory.dtype, f"elements of type {typestr!r}")
    memory.ndim = <int>len(extents)
    memory.shape = shape
    memory.strides = strides
    memory.device_type = memory.device_index = TL_CPU
    if attribute == CUDA_INTERFACE:
        if not isinstance(data, tuple):
            raise TypeError(
                f"{type(x).__name__}.{attribute} is malformed: no address in 'data'"
            )
        _find_memory(&memory, described)
    elif not isinstance(data, tuple):
        return over_buffer(
            x if data is None else data, &memory, described.get("offset", 0)
        )
    owner = (x, described)
    Py_INCREF(owner)
    memory.owner = <void *>owner
    memory.release = _release_object
    return adopt_memory("asarray", &memory, False)


# ---- nested sequences ----------------------------------------------------------
cdef enum Kind:
    NO_SCALAR = 0
    BOOL_SCALAR
    INT_SCALAR
    FLOAT_SCALAR
    COMPLEX_SCALAR
    OTHER

cdef struct Nest:
    int ndim                      # -1 until the first element is met
    int known                     # axes whose extent is known
    int scalars                   # highest Kind among Python scalars
    int arrays                    # promoted tl_dtype of array elements, -1: none
    int depth                     # of path
    int64_t shape[TL_MAX_NDIM]
    int64_t path[TL_MAX_NDIM + 1]  # index of the element at hand, for messages


cdef str _where(const Nest *nest):
    return "".join([f"[{nest.path[d]}]" for d in range(nest.depth)])


cdef str _at_where(const Nest *nest):
    return f"at {_where(nest)}: " if nest.depth else ""


cdef inline int _kind_of(object x) except -1:
    """Which Python scalar x is; NumPy's float64 is a float too, but an array first."""
    if PyFloat_CheckExact(x):
        return FLOAT_SCALAR
    if PyLong_CheckExact(x):
        return INT_SCALAR
    if PyBool_Check(x):
        return BOOL_SCALAR
    if PyObject_CheckBuffer(x):
        return OTHER
    if PyComplex_Check(x):
        return COMPLEX_SCALAR
    if PyLong_Check(x):
        return INT_SCALAR
    return FLOAT_SCALAR if PyFloat_Check(x) else OTHER


cdef inline bint _is_sequence(object x) noexcept:
    return type(x) is list or type(x) is tuple


cdef inline Py_ssize_t _length(object sequence) noexcept:
    if type(sequence) is list:
        return PyList_GET_SIZE(sequence)
    return PyTuple_GET_SIZE(sequence)


cdef inline object _at(object sequence, Py_ssize_t i):
    if type(sequence) is list:
        return <object>PyList_GET_ITEM(sequence, i)
    return <object>PyTuple_GET_ITEM(sequence, i)


cdef int _match_extent(Nest *nest, int axis, int64_t extent) except -1:
    if axis >= TL_MAX_NDIM:
        raise ShapeError(
            f"nested more than {TL_MAX_NDIM} deep at {_where(nest)[:60]}, "
            "or a sequence contains itself"
        )
    if axis == nest.known:
        nest.shape[axis] = extent
        nest.known += 1
    elif nest.shape[axis] != extent:
        raise ShapeError(
            f"ragged nested sequence: expected length {nest.shape[axis]} at "
            f"{_where(nest)}, as before it, got {extent}"
        )
    return 0


cdef int _match_depth(Nest *nest, int ndim, str what) except -1:
    """Check or fix the number of dimensions, now that an element ends them."""
    cdef int expected = max(nest.ndim, nest.known) - nest.depth
    if nest.ndim < 0 and ndim >= nest.known:
        nest.ndim = ndim
    elif nest.ndim != ndim:
        raise ShapeError(
            f"ragged nested sequence: {_where(nest)} is {what}, but its neighbours "
            + (f"have {expected} dimensions" if expected else "are scalars")
        )
    return 0


cdef int _measure_array(Nest *nest, Tensor x) except -1:
    cdef int d
    check_host("asarray", x)
    if x.track & TRACK_GRAD:
        raise GraphError(
            f"{_at_where(nest)}a tensor that requires grad would lose its gradient; "
            "use stack(), or .detach() it"
        )
    nest.arrays = x.buf.dtype if nest.arrays < 0 else promote_codes(
        nest.arrays, x.buf.dtype
    )
    if nest.ndim >= 0 and nest.ndim != nest.depth + x.buf.ndim:
        _match_depth(nest, nest.depth + x.buf.ndim, f"an array of shape {x.shape}")
    for d in range(x.buf.ndim):
        _match_extent(nest, nest.depth + d, x.buf.shape[d])
    return _match_depth(
        nest, nest.depth + x.buf.ndim, f"an array of shape {x.shape}"
    )


cdef int _measure(Nest *nest, object x, list parts) except -1:
    """First pass over x at nest.depth: shape and dtype; conversions go to parts."""
    cdef Py_ssize_t i
    cdef int kind, depth = nest.depth
    if not _is_sequence(x):
        kind = _kind_of(x)
        if kind != OTHER:
            nest.scalars = max(nest.scalars, kind)
            return _match_depth(nest, depth, f"a {type(x).__name__}")
        converted = _element(nest, x)
        parts.append(converted)
        if type(converted) is Tensor:
            return _measure_array(nest, <Tensor>converted)
        x = converted
    if nest.ndim >= 0 and depth >= nest.ndim:
        _match_depth(nest, depth + 1, f"a {type(x).__name__}")
    _match_extent(nest, depth, _length(x))
    if _length(x) == 0:
        return _match_depth(nest, depth + 1, "an empty sequence")
    nest.depth += 1
    i = 0
    while i < _length(x):
        nest.path[depth] = i
        kind = _kind_of(_at(x, i))
        if kind != OTHER and nest.ndim == depth + 1:     # the usual case, flat
            if kind > nest.scalars:
                nest.scalars = kind
        else:
            _measure(nest, _at(x, i), parts)
        i += 1
    nest.depth = depth
    return 0


cdef object _element(const Nest *nest, object x):
    """An element that is no number, list or tuple: as a Tensor or a list."""
    try:
        return _from_object(x)
    except DTypeError as error:
        raise DTypeError(f"{_at_where(nest)}{error}") from None
    except TypeError as error:
        raise TypeError(f"{_at_where(nest)}{error}") from None


cdef int _nest_dtype(const Nest *nest) noexcept:
    """Arrays decide the width; Python scalars only raise the kind."""
    cdef int dtype = nest.arrays
    if dtype < 0:
        if nest.scalars == INT_SCALAR:
            return TL_INT64
        if nest.scalars == COMPLEX_SCALAR:
            return TL_COMPLEX64
        return TL_BOOL if nest.scalars == BOOL_SCALAR else TL_FLOAT32
    if nest.scalars == COMPLEX_SCALAR:
        return promote_codes(dtype, TL_COMPLEX64)
    if nest.scalars == FLOAT_SCALAR:
        return dtype if is_inexact_code(dtype) else TL_FLOAT32
    if nest.scalars == INT_SCALAR and dtype == TL_BOOL:
        return TL_INT64
    return dtype


cdef int _store(Nest *nest, int dtype, char *out, object x) except -1:
    """Write the Python scalar x as an element of dtype."""
    cdef int overflow = 0
    cdef int64_t integer
    cdef double real
    if is_complex_code(dtype):
        return write_scalar(dtype, out, x)
    if isinstance(x, complex):
        raise DTypeError(
            f"{_at_where(nest)}the complex number {x} cannot be stored in "
            f"{dtype_of(dtype)}; take its real or imaginary part"
        )
    if is_float_code(dtype):
        real = PyFloat_AS_DOUBLE(x) if isinstance(x, float) else PyLong_AsDouble(x)
        if dtype == TL_FLOAT32:
            (<float *>out)[0] = <float>real
            return 0
        return write_scalar(dtype, out, real)
    if dtype == TL_BOOL:
        (<uint8_t *>out)[0] = 1 if x else 0
        return 0
    if isinstance(x, float):
        real = PyFloat_AS_DOUBLE(x)
        if not isfinite(real):
            raise ValueError(
                f"{_at_where(nest)}{x} cannot be stored in {dtype_of(dtype)}"
            )
        x = int(real)
    if dtype == TL_INT64:
        integer = PyLong_AsLongLongAndOverflow(x, &overflow)
        if not overflow:
            (<int64_t *>out)[0] = integer
            return 0
    try:
        return write_scalar(dtype, out, int(x))
    except OverflowError as error:
        raise OverflowError(f"{_at_where(nest)}{error}") from None


cdef char *_fill_array(Nest *nest, int dtype, char *out, Tensor x) except NULL:
    cdef int64_t i
    cdef int size = dtype_sizes()[dtype], source = dtype_sizes()[x.buf.dtype]
    x = packed_copy(x)
    if x.buf.dtype == dtype:
        if x.buf.size:
            memcpy(out, x.buf.data, x.buf.size * size)
        return out + x.buf.size * size
    for i in range(x.buf.size):
        _store(nest, dtype, out, read_scalar(
            x.buf.dtype, <char *>x.buf.data + i * source
        ))
        out += size
    return out


cdef char *_fill(
    Nest *nest, int dtype, char *out, object x, list parts
) except NULL:
    """Second pass: write x's elements in order; returns the end of the output."""
    cdef Py_ssize_t i
    cdef int depth = nest.depth
    cdef int size = dtype_sizes()[dtype]
    if not _is_sequence(x):
        if _kind_of(x) != OTHER:
            _store(nest, dtype, out, x)
            return out + size
        if not parts:
            raise RuntimeError("asarray: the sequence changed while it was read")
        x = parts.pop()
        if type(x) is Tensor:
            return _fill_array(nest, dtype, out, <Tensor>x)
    if depth >= nest.ndim or _length(x) != nest.shape[depth]:
        raise RuntimeError("asarray: the sequence changed while it was read")
    nest.depth += 1
    for i in range(nest.shape[depth]):
        nest.path[depth] = i
        item = _at(x, i)
        if dtype == TL_FLOAT32 and PyFloat_CheckExact(item) and (
            nest.ndim == depth + 1
        ):
            (<float *>out)[0] = <float>PyFloat_AS_DOUBLE(item)
            out += 4
        else:
            out = _fill(nest, dtype, out, item, parts)
        if _length(x) != nest.shape[depth]:
            raise RuntimeError("asarray: the sequence changed while it was read")
    nest.depth = depth
    return out


cdef Tensor _from_sequence(object x, int dtype):
    cdef Nest nest
    cdef tl_buffer layout
    cdef Tensor out
    cdef list parts = []
    cdef int d
    nest.ndim = -1
    nest.known = nest.depth = 0
    nest.scalars = NO_SCALAR
    nest.arrays = -1
    _measure(&nest, x, parts)
    if dtype < 0:
        dtype = _nest_dtype(&nest)
    layout.ndim = nest.ndim
    for d in range(nest.ndim):
        layout.shape[d] = nest.shape[d]
    out = new_tensor(&layout, dtype, TL_CPU, 0)
    if out.buf.size:
        parts.reverse()
        nest.depth = 0
        _fill(&nest, dtype, <char *>out.buf.data, x, parts)
    return out


# ---- any object ----------------------------------------------------------------
cdef int _check_kind(object x) except -1:
    """Arrays of dates, objects and texts are refused by the name of their dtype."""
    if getattr(getattr(x, "dtype", None), "kind", None) in ("M", "m", "O", "U", "S"):
        raise DTypeError(
            f"expected bool or numbers, got an array of {x.dtype}"
        )
    return 0


cdef Tensor _from_exporter(object x):
    """A Tensor over a buffer; its kind is looked at where the format does not tell it.
    """
    cdef Tensor found = None
    if _is_ndarray(x):
        found = _from_struct(x)
        if found is not None:
            return found
    try:
        found = _from_buffer(x)
    except DTypeError:
        _check_kind(x)
        raise
    if found.buf.dtype == TL_UINT8:     # a date of NumPy's exports its bytes
        _check_kind(x)
    return found


cdef object _from_object(object x):
    """A Tensor from an array, a list from another sequence; raises otherwise."""
    if type(x) is Tensor:
        return x
    if PyObject_CheckBuffer(x) and (
        _is_ndarray(x) or _PyType_Lookup(type(x), CUDA_INTERFACE) == NULL
    ):                              # CuPy's arrays have a buffer, which only raises
        return _from_exporter(x)
    _check_kind(x)
    described = getattr(x, "__array_interface__", None)
    if isinstance(described, dict):
        return _from_interface(x, described, "__array_interface__")
    if hasattr(x, "__dlpack__"):
        return import_dlpack(x, -1)
    described = getattr(x, CUDA_INTERFACE, None)
    if isinstance(described, dict):
        return _from_interface(x, described, CUDA_INTERFACE)
    if hasattr(x, "__array__") and not isinstance(x, type):
        found = x.__array__()
        if PyObject_CheckBuffer(found):
            return _from_buffer(found)
    if isinstance(x, str) or not (
        PySequence_Check(x) and hasattr(x, "__len__")
    ):
        raise TypeError(
            "expected a tensor, a bool, int, float or complex, a nested sequence of "
            f"them, or an array, got {type(x).__name__}"
        )
    return list(x)


cdef Tensor to_tensor(object x, int dtype):
    cdef int kind
    if type(x) is Tensor:
        return <Tensor>x
    if _is_sequence(x):
        return _from_sequence(x, dtype)
    kind = _kind_of(x)
    if kind != OTHER:
        return new_scalar(x, scalar_code(x)) if dtype < 0 else _from_sequence(x, dtype)
    found = _from_object(x)
    if type(found) is Tensor:
        return <Tensor>found
    return _from_sequence(found, dtype)


def asarray(x):
    """Return `x` as a tensor, without a copy where there is memory to share.

    Parameters
    ----------
    x : object
        A Tensor, a Python scalar, nested sequences of scalars and arrays, or any
        object with the buffer protocol, ``__array_interface__``, ``__dlpack__``,
        ``__cuda_array_interface__`` or ``__array__``.

    Returns
    -------
    Tensor
        Python bools become bool, ints int64, floats float32, complex numbers complex64;
        arrays keep their dtype.

    Raises
    ------
    ShapeError
        If nested sequences are ragged or too deep.
    DTypeError
        If elements have a type that tensors do not have.
    TypeError
        If `x` is none of the above.
    OverflowError
        If a Python integer does not fit in int64.

    Notes
    -----
    The result shares memory that it did not copy; it is read-only when the memory is.
    """
    return to_tensor(x, -1)


def as_bits(x):
    """Return the bits of the elements of `x` as unsigned integers, without a copy.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor of the unsigned dtype as wide, outside the graph

    Raises
    ------
    DTypeError
        If there is none, which is so for complex128.
    """
    cdef Tensor a = <Tensor?>x
    cdef tl_buffer layout = a.buf
    cdef int code = _code_of(c"u", dtype_sizes()[a.buf.dtype])
    if code < 0:
        raise DTypeError(f"as_bits: expected elements of up to 8 bytes, got {a.dtype}")
    layout.dtype = <uint8_t>code
    return new_over(a.buf.storage, &layout)


def over_bytes(data, dtype, shape, offset=0):
    """Return a tensor of `dtype` and `shape` over C-ordered bytes in a buffer.

    Parameters
    ----------
    data : buffer
        Bytes, bytearray, memoryview, mmap, …; kept alive, not copied when aligned.
    dtype : DType or str
    shape : int or tuple of int
    offset : int, default 0
        Bytes before the first element.

    Raises
    ------
    ValueError
        If the buffer is too short.
    """
    cdef Foreign memory
    cdef tl_buffer layout
    cdef int d
    memory.dtype = as_dtype(dtype).code
    parse_shape("over_bytes", shape, &layout)
    for d in range(layout.ndim):
        layout.strides[d] *= dtype_sizes()[memory.dtype]
    memory.ndim = layout.ndim
    memory.shape = layout.shape
    memory.strides = layout.strides
    return over_buffer(data, &memory, offset)


def from_numpy(array):
    """Return a tensor over the memory of a NumPy array.

    Parameters
    ----------
    array : numpy.ndarray
        Of bool or numbers.

    Returns
    -------
    Tensor
        Writing to one is seen in the other; read-only when the array is. Arrays
        whose strides are not whole elements (fields of records) are copied.

    Raises
    ------
    TypeError
        If `array` is not a NumPy array.
    DTypeError
        If its dtype has no counterpart or another byte order.

    Examples
    --------
    >>> import numpy as np, tensorlib as tl
    >>> a = np.zeros(3, dtype=np.float32)
    >>> x = tl.from_numpy(a)
    >>> a[0] = 7.0
    >>> x
    tensor([7., 0., 0.])
    """
    if not _is_ndarray(array) and (_ndarray is None or not isinstance(array, _ndarray)):
        raise TypeError(
            f"from_numpy: expected a numpy.ndarray, got {type(array).__name__}"
        )
    try:
        return _from_exporter(array)
    except DTypeError as error:
        _check_kind(array)
        raise DTypeError(f"from_numpy: {error}") from None
