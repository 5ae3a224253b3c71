"""Tensor: a cdef class over the C struct strided buffer.

The class holds what needs no op: attributes, conversion to Python values, the
buffer protocol. Operators go through a table of C functions and the other methods
are the op functions themselves, put into the class once by `bind_methods`; both
are filled by the ops package, which depends on this module and not the reverse.
"""
cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_BFLOAT16, TL_C_CONTIGUOUS, TL_CPU, TL_CUDA, TL_MAX_NDIM,
    TL_STORAGE_READONLY, tl_buffer, tl_storage,
)
from tensorlib.core.hidden cimport batched_storage
from tensorlib.core.device cimport device_of
from tensorlib.core.dtype cimport (
    dtype_format, dtype_of, dtype_sizes, is_inexact_code,
)
from tensorlib.core.layout cimport (
    check_contiguity, copy_layout, keep_order, same_shape, set_contiguous, shape_tuple,
    strides_tuple,
)
from tensorlib.core.number cimport nested_list, read_scalar, write_scalar
from tensorlib.core.pooled cimport tl_pool
from tensorlib.core.provenance cimport note_write
from tensorlib.core.remote cimport TO_HOST, cross, storage_on
from tensorlib.core.sealed cimport tl_seal
from tensorlib.core.storage cimport (
    STORAGE_INFERENCE, derived_drop, storage_lend, storage_new, storage_release,
    storage_retain, storage_return,
)

from tensorlib.core.errors import DeviceError, DTypeError, GraphError, ShapeError

cdef extern from "Python.h":
    int PyDict_SetItem(PyObject *d, object key, object value) except -1
    void PyType_Modified(PyTypeObject *t)

cdef extern from *:
    """
    #define tl_type_dict(t) (((PyTypeObject *)(t))->tp_dict)
    """
    PyObject *tl_type_dict(object t)

# What a buffer's consumer holds until it releases the buffer.
cdef struct Lending:
    tl_storage *storage
    Py_ssize_t shape[TL_MAX_NDIM]
    Py_ssize_t strides[TL_MAX_NDIM]     # bytes

cdef Operators _operators


cdef Operators *operators() noexcept:
    return &_operators


@cython.final
@cython.binding(False)   # method descriptors, unlike functions, check self
@cython.embedsignature.format("clinic")   # and show their arguments so
cdef class Tensor:
    """An n-dimensional array on a device that can be differentiated through.

    Made by functions such as `tensorlib.tensor`, `zeros` and `rand`, never by
    calling the class.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([[2., 4.],
            [6., 8.]])
    """
    # NumPy arrays leave mixed operators to us.
    __array_ufunc__ = None

    # ---- layout ----------------------------------------------------------------
    @property
    def shape(self):
        """The extent of each axis, a tuple of ints."""
        return shape_tuple(&self.buf)

    @property
    def strides(self):
        """The step of each axis in elements (not bytes), a tuple of ints."""
        return strides_tuple(&self.buf)

    @property
    def ndim(self):
        """The number of axes."""
        return self.buf.ndim

    @property
    def size(self):
        """The number of elements."""
        return self.buf.size

    @property
    def itemsize(self):
        """Bytes an element takes."""
        return dtype_sizes()[self.buf.dtype]

    @property
    def nbytes(self):
        """Bytes the elements take, `size` times `itemsize`."""
        return self.buf.size * dtype_sizes()[self.buf.dtype]

    @property
    def dtype(self):
        """The type of the elements."""
        return dtype_of(self.buf.dtype)

    @property
    def device(self):
        """The device that holds the elements."""
        return device_of(self.buf.device_type, self.buf.device_index)

    @property
    def is_cuda(self):
        """Whether a GPU holds the elements."""
        return self.buf.device_type == TL_CUDA

    @property
    def T(self):  # noqa: N802
        """The transpose of a matrix: a view with its two axes exchanged."""
        return _operators.transpose(self)

    @property
    def mT(self):  # noqa: N802
        """The transpose of each matrix in a stack: the last two axes exchanged."""
        return _operators.matrix_transpose(self)

    @property
    def is_contiguous(self):
        """Whether the elements lie in C order without gaps."""
        return (self.buf.flags & TL_C_CONTIGUOUS) != 0

    @property
    def is_readonly(self):
        """Whether writing raises, because the memory's owner forbids it."""
        return (self.buf.storage.flags & TL_STORAGE_READONLY) != 0

    def data_ptr(self):
        """Return the address of the first element as an int."""
        storage_lend(self.buf.storage)      # for good: who has it is not known
        return <size_t>self.buf.data

    # ---- autograd --------------------------------------------------------------
    @property
    def requires_grad(self):
        """Whether operations on this tensor are recorded for `backward`."""
        return (self.track & TRACK_GRAD) != 0

    @requires_grad.setter
    def requires_grad(self, value):
        if self.node is not None:
            raise GraphError(
                "requires_grad can be set on leaf tensors only; this one was made by "
                f"{self.node}; use .detach() first"
            )
        if value and not is_inexact_code(self.buf.dtype):
            raise DTypeError(
                "requires_grad: expected a floating-point or complex tensor, got "
                f"{dtype_of(self.buf.dtype)}"
            )
        if value and self.buf.storage.flags & STORAGE_INFERENCE:
            raise GraphError(
                "requires_grad: expected a tensor made outside of inference_mode, got "
                "one made inside; use .clone() outside of it"
            )
        if value:
            self.track |= TRACK_GRAD
        else:
            self.track &= ~TRACK_GRAD

    def requires_grad_(self, requires_grad=True):
        """Set `requires_grad` in place and return the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad(self):
        """The accumulated gradient, a tensor of the same shape, or None."""
        return self.grad_

    @grad.setter
    def grad(self, value):
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: expected a Tensor or None, got {value!r}")
            if value is self:
                raise GraphError("grad: a tensor cannot be its own gradient")
            if not same_shape(&self.buf, &(<Tensor>value).buf):
                raise ShapeError(
                    f"grad: expected shape {self.shape}, got {value.shape}"
                )
            if self.buf.dtype != (<Tensor>value).buf.dtype:
                raise DTypeError(f"grad: expected {self.dtype}, got {value.dtype}")
            check_same_device("grad", self, <Tensor>value)
        self.grad_ = value

    @property
    def grad_fn(self):
        """The graph node that made this tensor, None for leaves."""
        return self.node

    @property
    def is_leaf(self):
        """Whether no recorded operation made this tensor."""
        return self.node is None

    @property
    def is_parameter(self):
        """Whether modules register this tensor as a parameter."""
        return self.parameter != 0

    @is_parameter.setter
    def is_parameter(self, value):
        self.parameter = 1 if value else 0

    @property
    def data(self):
        """The same elements outside the graph; assigning replaces them."""
        return detached(self)

    @data.setter
    def data(self, value):
        cdef Tensor other
        if not isinstance(value, Tensor):
            raise TypeError(f"data: expected a Tensor, got {type(value).__name__}")
        other = <Tensor>value
        if self.track & TRACK_GRAD and not is_inexact_code(other.buf.dtype):
            raise DTypeError(
                "data: expected a floating dtype, because the tensor requires grad, "
                f"got {other.dtype}"
            )
        if self.node is not None:
            check_same_device("data", self, other)
        if self.node is not None and (
            other.buf.dtype != self.buf.dtype or not same_shape(&self.buf, &other.buf)
        ):
            raise ShapeError(
                f"data: expected shape {self.shape} of {self.dtype}, which the graph "
                f"was recorded with, got {other.shape} of {other.dtype}"
            )
        storage_retain(other.buf.storage)
        storage_release(self.buf.storage)
        copy_layout(&self.buf, &other.buf)
        self.buf.storage = other.buf.storage

    def is_inference(self):
        """Return whether the elements were made in `inference_mode`.

        Examples
        --------
        >>> import tensorlib as tl
        >>> with tl.inference_mode():
        ...     x = tl.ones(2)
        >>> x.is_inference(), x.clone().is_inference()
        (True, False)
        """
        return (self.buf.storage.flags & STORAGE_INFERENCE) != 0

    @property
    def version(self):
        """How many in-place writes the storage has seen."""
        return self.buf.storage.version

    def detach(self):
        """Return a tensor over the same elements that is outside the graph.

        Examples
        --------
        >>> import tensorlib as tl
        >>> x = tl.ones(2, requires_grad=True)
        >>> x.detach().requires_grad
        False
        """
        return detached(self)

    # ---- Python values ---------------------------------------------------------
    def item(self):
        """Return the only element as a Python scalar.

        Raises
        ------
        ValueError
            If there is not exactly one element.
        GraphError
            Under `vmap`, where there is one for each example.

        Examples
        --------
        >>> import tensorlib as tl
        >>> tl.tensor([3]).item()
        3
        """
        if self.buf.size != 1:
            raise ValueError(
                f"item: expected a tensor of one element, got shape {self.shape}"
            )
        cdef uint64_t[2] element
        if self.buf.device_type != TL_CPU:
            check_host("item", self, True)
            cross(
                self.buf.device_type, self.buf.device_index, element, self.buf.data,
                dtype_sizes()[self.buf.dtype], TO_HOST,
            )
            return read_scalar(self.buf.dtype, element)
        return read_scalar(self.buf.dtype, self.buf.data)

    def tolist(self):
        """Return the elements as nested lists, a scalar for a 0-d tensor."""
        check_host("tolist", self, True)
        if self.buf.device_type != TL_CPU:
            return self.cpu().tolist()
        return nested_list(&self.buf, 0, <const char *>self.buf.data)

    def numpy(self):
        """Return a NumPy array over the same memory.

        Raises
        ------
        GraphError
            If the tensor requires grad: use ``x.detach().numpy()``.
        DeviceError
            If the tensor is not on the CPU.
        """
        import numpy

        check_host("numpy", self)
        _check_export(self)
        if self.buf.dtype == TL_BFLOAT16:
            raise DTypeError(
                "numpy: NumPy has no bfloat16; use .astype('float32').numpy()"
            )
        return numpy.asarray(memoryview(self))

    def __array__(self, dtype=None, copy=None):
        """Return a NumPy array over the same memory, a copy where one is needed."""
        import numpy
        found = self.numpy()
        if dtype is not None and found.dtype != dtype:
            if copy is False:
                raise ValueError("__array__: changing the dtype needs a copy")
            return found.astype(dtype)
        return numpy.array(found, copy=True) if copy else found

    @property
    def __array_interface__(self):
        """NumPy's array interface, for what reads neither buffers nor DLPack (Pillow).

        A tensor that has no NumPy array has no such attribute.
        """
        try:
            found = self.numpy().__array_interface__
            storage_lend(self.buf.storage)      # for good, as with data_ptr
            return found
        except (DeviceError, DTypeError, GraphError) as error:
            raise AttributeError(f"__array_interface__: {error}") from None

    def tobytes(self):
        """Return a copy of the elements in C order as bytes.

        Examples
        --------
        >>> import tensorlib as tl
        >>> tl.tensor([[1, 2], [3, 4]], dtype=tl.uint8).T.tobytes()
        b'\\x01\\x03\\x02\\x04'
        """
        check_host("tobytes", self, True)
        return bytes(memoryview(self.cpu()))

    def __bool__(self):
        if self.buf.size != 1:
            raise ValueError(
                "bool: the truth value of a tensor with shape "
                f"{self.shape} is ambiguous; use .any() or .all()"
            )
        return bool(self.item())

    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def __complex__(self):
        return complex(self.item())

    def __index__(self):
        if is_inexact_code(self.buf.dtype) or self.buf.ndim:
            raise TypeError(
                "index: only 0-d integer tensors can be an index, got "
                f"shape {self.shape} of {self.dtype}"
            )
        return int(self.item())

    def __len__(self):
        if self.buf.ndim == 0:
            raise TypeError("len: a 0-d tensor has no length")
        return self.buf.shape[0]

    def __iter__(self):
        if self.buf.ndim == 0:
            raise TypeError("iter: a 0-d tensor cannot be iterated over")
        return _iterate(self)

    def __contains__(self, value):
        found = _operators.compare(self, value, 2)
        if found is NotImplemented:
            return False
        return bool(found.any())

    def __repr__(self):
        # Loaded by the first tensor that is printed.
        from tensorlib.core.format import tensor_repr

        return tensor_repr(self)

    def __format__(self, spec):
        if not isinstance(spec, str):
            raise TypeError(f"format: expected a str, got {type(spec).__name__}")
        if self.buf.ndim == 0:
            return format(self.item(), spec)
        if spec:
            raise TypeError(
                f"format: {spec!r} applies to 0-d tensors, got shape {self.shape}"
            )
        return str(self)

    def __hash__(self):
        return <Py_ssize_t><void *>self >> 4

    # ---- operators -------------------------------------------------------------
    def __add__(self, other): return _operators.add(self, other)
    def __radd__(self, other): return _operators.add(other, self)
    def __iadd__(self, other): return _operators.add_(self, other)
    def __sub__(self, other): return _operators.subtract(self, other)
    def __rsub__(self, other): return _operators.subtract(other, self)
    def __isub__(self, other): return _operators.subtract_(self, other)
    def __mul__(self, other): return _operators.multiply(self, other)
    def __rmul__(self, other): return _operators.multiply(other, self)
    def __imul__(self, other): return _operators.multiply_(self, other)
    def __truediv__(self, other): return _operators.divide(self, other)
    def __rtruediv__(self, other): return _operators.divide(other, self)
    def __itruediv__(self, other): return _operators.divide_(self, other)
    def __floordiv__(self, other): return _operators.floor_divide(self, other)
    def __rfloordiv__(self, other): return _operators.floor_divide(other, self)
    def __ifloordiv__(self, other): return _operators.floor_divide_(self, other)
    def __mod__(self, other): return _operators.remainder(self, other)
    def __rmod__(self, other): return _operators.remainder(other, self)
    def __imod__(self, other): return _operators.remainder_(self, other)
    def __matmul__(self, other): return _operators.matmul(self, other)
    def __rmatmul__(self, other): return _operators.matmul(other, self)
    def __and__(self, other): return _operators.bitwise_and(self, other)
    def __rand__(self, other): return _operators.bitwise_and(other, self)
    def __iand__(self, other): return _operators.and_(self, other)
    def __or__(self, other): return _operators.bitwise_or(self, other)
    def __ror__(self, other): return _operators.bitwise_or(other, self)
    def __ior__(self, other): return _operators.or_(self, other)
    def __xor__(self, other): return _operators.bitwise_xor(self, other)
    def __rxor__(self, other): return _operators.bitwise_xor(other, self)
    def __ixor__(self, other): return _operators.xor_(self, other)
    def __lshift__(self, other): return _operators.left_shift(self, other)
    def __rlshift__(self, other): return _operators.left_shift(other, self)
    def __ilshift__(self, other): return _operators.left_shift_(self, other)
    def __rshift__(self, other): return _operators.right_shift(self, other)
    def __rrshift__(self, other): return _operators.right_shift(other, self)
    def __irshift__(self, other): return _operators.right_shift_(self, other)

    def __pow__(self, other, modulus):
        if modulus is not None:
            raise TypeError("pow: a modulus is not supported")
        return _operators.pow(self, other)

    def __rpow__(self, other, modulus):
        if modulus is not None:
            raise TypeError("pow: a modulus is not supported")
        return _operators.pow(other, self)

    def __ipow__(self, other): return _operators.pow_(self, other)
    def __neg__(self): return _operators.negative(self)
    def __pos__(self): return self
    def __abs__(self): return _operators.abs(self)
    def __invert__(self): return _operators.invert(self)

    def __richcmp__(self, other, int which):
        return _operators.compare(self, other, which)

    def __getitem__(self, key): return _operators.getitem(self, key)

    def __setitem__(self, key, value): _operators.setitem(self, key, value)

    # ---- buffer protocol -------------------------------------------------------
    def __getbuffer__(self, Py_buffer *view, int flags):
        cdef int d, ndim = self.buf.ndim
        cdef Lending *lending
        cdef int itemsize = dtype_sizes()[self.buf.dtype]
        cdef bint readonly = is_exposed_readonly(self)
        if self.buf.device_type != TL_CPU:
            raise BufferError(
                f"buffer: the tensor is on {self.device} or under vmap; it has no "
                "memory of its shape on the host"
            )
        if self.track & TRACK_GRAD:
            raise BufferError("buffer: the tensor requires grad; use .detach()")
        if (flags & PyBUF_WRITABLE) == PyBUF_WRITABLE and readonly:
            raise BufferError("buffer: the tensor is read-only; use .copy()")
        if flags & PyBUF_FORMAT and self.buf.dtype == TL_BFLOAT16:
            raise BufferError(
                "buffer: bfloat16 has no format that other libraries know; use "
                ".astype('float32')"
            )
        check_contiguity(&self.buf, flags)
        lending = <Lending *>malloc(sizeof(Lending))
        if lending == NULL:
            raise MemoryError("buffer: no memory for the shape")
        for d in range(ndim):
            lending.shape[d] = self.buf.shape[d]
            lending.strides[d] = self.buf.strides[d] * itemsize
        view.buf = self.buf.data
        view.obj = self
        view.len = self.buf.size * itemsize
        view.itemsize = itemsize
        view.readonly = readonly
        view.ndim = ndim
        view.format = NULL
        if flags & PyBUF_FORMAT:
            view.format = <char *>dtype_format(self.buf.dtype)
        view.shape = lending.shape if flags & PyBUF_ND else NULL
        view.strides = NULL
        if (flags & PyBUF_STRIDES) == PyBUF_STRIDES:
            view.strides = lending.strides
        view.suboffsets = NULL
        view.internal = lending
        lending.storage = self.buf.storage      # `data` may be assigned meanwhile
        storage_retain(lending.storage)
        storage_lend(lending.storage)

    def __releasebuffer__(self, Py_buffer *view):
        cdef tl_storage *storage = (<Lending *>view.internal).storage
        storage_return(storage)
        storage_release(storage)
        free(view.internal)


def address_to_read(Tensor x):
    """Return the address of the first element, for who reads there at once.

    Unlike `Tensor.data_ptr`, it lets kernels go on keeping what they made of the
    elements.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones((2,))
    >>> address_to_read(x) == x.data_ptr()
    True
    """
    return <size_t>x.buf.data


cdef int _check_export(Tensor x) except -1:
    if x.track & TRACK_GRAD:
        raise GraphError("numpy: the tensor requires grad; use .detach().numpy()")
    return 0


cdef int check_host(str op, Tensor x, bint crosses=False) except -1:
    if x.buf.device_type == TL_BATCHED:
        raise GraphError(
            f"{op}: under vmap a tensor has a value for each example, so Python cannot "
            "have its value; choose between results by tl.where, or read it after vmap"
        )
    if x.buf.device_type != TL_CPU and not crosses:
        raise DeviceError(
            f"{op}: expected a CPU tensor, got one on {x.device}; use x.cpu()"
        )
    return 0


cdef int check_same_device(str op, Tensor a, Tensor b) except -1:
    if (
        a.buf.device_type != b.buf.device_type
        or a.buf.device_index != b.buf.device_index
    ):
        if TL_BATCHED in (a.buf.device_type, b.buf.device_type):
            raise GraphError(
                f"{op}: expected operands that vmap maps alike, got one that has a "
                "value for each example and one that has not"
            )
        raise DeviceError(
            f"{op}: expected tensors on one device, got {a.device} and {b.device}"
        )
    return 0


cdef int check_alignable(str op, Tensor a, Tensor b) except -1:
    if TL_BATCHED in (a.buf.device_type, b.buf.device_type):
        return 0
    return check_same_device(op, a, b)


cdef int check_writable(str op, Tensor x) except -1:
    cdef int d
    if x.buf.storage.flags & TL_STORAGE_READONLY:
        raise ValueError(f"{op}: the tensor's memory is read-only; use .copy()")
    for d in range(x.buf.ndim if x.buf.size else 0):
        if x.buf.strides[d] == 0 and x.buf.shape[d] > 1:
            raise ValueError(
                f"{op}: several elements of the tensor share one memory location "
                f"(axis {d} is broadcast); use .contiguous() first"
            )
    return 0


cdef bint is_exposed_readonly(Tensor x) noexcept:
    """Read-only memory, or several elements at one address: as `check_writable`."""
    cdef int d
    if x.buf.storage.flags & TL_STORAGE_READONLY:
        return True
    for d in range(x.buf.ndim if x.buf.size else 0):
        if x.buf.strides[d] == 0 and x.buf.shape[d] > 1:
            return True
    return False


cdef void bump_version(Tensor x, const char *op) noexcept:
    x.buf.storage.version += 1
    x.buf.storage.last_writer = op
    if x.buf.storage.derived != NULL:
        derived_drop(x.buf.storage)
    note_write(x.buf.storage, x.buf.storage.version)


def _iterate(Tensor x):
    cdef int64_t i
    for i in range(x.buf.shape[0]):
        yield _operators.getitem(x, i)


def is_batched(Tensor x not None):
    """Return whether `x` has a value for each example of an enclosing `vmap`."""
    return x.buf.device_type == TL_BATCHED


# ---- making tensors ------------------------------------------------------------
cdef Tensor new_tensor(
    const tl_buffer *layout, int dtype, int device_type, int device_index
):
    cdef Tensor made = Tensor.__new__(Tensor)
    cdef tl_buffer *b = &made.buf
    cdef int d
    b.ndim = layout.ndim
    for d in range(layout.ndim):
        b.shape[d] = layout.shape[d]
    b.dtype = <uint8_t>dtype
    b.device_type = <uint8_t>device_type
    b.device_index = <uint16_t>device_index
    set_contiguous(b)
    if device_type == TL_BATCHED:
        b.storage = batched_storage(device_index, b.size * dtype_sizes()[dtype])
        b.device_index = b.storage.device_index
    elif device_type == TL_CPU:
        b.storage = storage_new(b.size * dtype_sizes()[dtype])
    else:
        b.storage = storage_on(
            device_type, device_index, b.size * dtype_sizes()[dtype]
        )
    b.data = b.storage.data
    return made


cdef Tensor new_like(Tensor like, int dtype):
    return new_tensor(
        &like.buf, dtype, like.buf.device_type, like.buf.device_index
    )


cdef Tensor new_ordered(Tensor like, int dtype):
    cdef Tensor made = new_like(like, dtype)
    cdef const tl_buffer *model = &like.buf
    if not model.flags & TL_C_CONTIGUOUS:
        keep_order(&made.buf, &model, 1)
    return made


cdef Tensor new_scalar(object value, int dtype):
    cdef tl_buffer layout
    cdef Tensor made
    layout.ndim = 0
    made = new_tensor(&layout, dtype, TL_CPU, 0)
    write_scalar(dtype, made.buf.data, value)
    return made


cdef Tensor new_over(tl_storage *storage, const tl_buffer *layout):
    cdef Tensor made = Tensor.__new__(Tensor)
    storage_retain(storage)
    copy_layout(&made.buf, layout)
    made.buf.storage = storage
    return made


cdef Tensor new_view(Tensor base, const tl_buffer *layout):
    cdef Tensor made = new_over(base.buf.storage, layout)
    made.is_view = 1
    made.recorded_seen = base.buf.storage.recorded_writes
    return made


cdef Tensor detached(Tensor x):
    return new_over(x.buf.storage, &x.buf)


def bind_methods(methods):
    """Make each function of the dict `methods` a method of Tensor."""
    for name, function in methods.items():
        PyDict_SetItem(tl_type_dict(Tensor), name, function)
    PyType_Modified(<PyTypeObject *>Tensor)


cdef void _before_free(PyObject *x) noexcept:
    if (<Tensor>x).buf.storage != NULL:
        storage_release((<Tensor>x).buf.storage)


cdef int _pool_tensors() except -1:
    cdef Tensor x = Tensor.__new__(Tensor)
    cdef char *start = <char *><PyObject *>x
    tl_pool(
        Tensor, _before_free,
        <char *>&x.buf.shape - start, <char *>(&x.buf.strides + 1) - start, False,
    )
    return 0


_pool_tensors()
tl_seal(Tensor)
