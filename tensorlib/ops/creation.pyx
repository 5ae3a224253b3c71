"""Functions that make tensors."""
from cpython.complex cimport PyComplex_Check
from cpython.float cimport PyFloat_Check
from cpython.list cimport PyList_Check
from cpython.long cimport PyLong_Check
from cpython.tuple cimport PyTuple_Check
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport Primitive, run
from tensorlib.core.abi cimport (
    TL_COMPLEX64, TL_CPU, TL_FLOAT32, TL_FLOAT64, TL_INT64, tl_buffer,
    tl_range_params,
)
from tensorlib.core.device cimport Device
from tensorlib.core.dtype cimport (
    as_dtype, dtype_of, dtype_sizes, is_complex_code, is_float_code, real_code,
    scalar_code,
)
from tensorlib.core.interop cimport to_tensor
from tensorlib.core.layout cimport (
    copy_layout, keep_order, parse_shape, update_layout,
)
from tensorlib.core.tensor cimport Tensor, detached, new_ordered, new_tensor, new_view
from tensorlib.ops.elementwise cimport as_tensor, cast, fill
from tensorlib.ops.elementwise cimport copy as copied
from tensorlib.ops.transfer cimport moved, usable_device

from math import ceil

from tensorlib.core.errors import DTypeError, rename
from tensorlib.core.naming import own_errors
from tensorlib.ops.arguments import int_of

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object x, int *overflow) except? -1

cdef Primitive _arange = Primitive("arange")


cdef Tensor _uninitialized(str op, object shape, int dtype, object device):
    cdef tl_buffer layout
    cdef Device where
    parse_shape(op, shape, &layout)
    if device is None:
        return new_tensor(&layout, dtype, TL_CPU, 0)
    where = usable_device(op, device)
    return new_tensor(&layout, dtype, where.type_code, where.index)


cdef Tensor _flagged(Tensor x, object requires_grad):
    if requires_grad:
        x.requires_grad = True
    return x


cdef int _code(object dtype, int default) except -1:
    return default if dtype is None else as_dtype(dtype).code


cdef inline bint _is_python(object x) noexcept:
    """Whether x is a sequence or number of Python, whose tensor has its own memory."""
    return PyList_Check(x) or PyTuple_Check(x) or PyFloat_Check(x) or (
        PyLong_Check(x) or PyComplex_Check(x)
    )


def asarray(x, /, *, dtype=None, device=None, copy=None):
    """Return `x` as a tensor, sharing its memory where that is possible.

    Parameters
    ----------
    x : Tensor, array, buffer, nested sequence or scalar
        Anything with the buffer protocol, DLPack or the array interface is taken
        without copying.
    dtype : DType, optional
        Defaults to that of `x`; Python floats become float32, ints int64.
    device : Device or str, optional
    copy : bool, optional
        True always copies, False raises when a copy would be needed, None copies
        when needed.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `x` is nothing that holds numbers.
    ValueError
        If ``copy=False`` and a copy is needed.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.asarray([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    cdef Tensor made, found
    cdef int code = -1 if dtype is None else as_dtype(dtype).code
    try:
        found = made = to_tensor(x, code)
    except (TypeError, ValueError, OverflowError) as error:
        rename(error, "asarray")
        raise
    if device is not None:
        made = moved(found, usable_device("asarray", device), True)
    code = _code(dtype, made.buf.dtype)
    if copy is None:
        return made if code == made.buf.dtype else cast(made, code)
    fresh = made is not found or _is_python(x)
    if copy is False and (fresh or code != made.buf.dtype):
        raise ValueError("asarray: copy=False, but a copy is needed")
    if code != made.buf.dtype:
        return cast(made, code)
    if copy and not fresh:
        return copied(made)
    return made


def tensor(data, *, dtype=None, device=None, requires_grad=False):
    """Return a new tensor that holds a copy of `data`, outside any graph.

    Parameters
    ----------
    data : Tensor, array, nested sequence or scalar
    dtype : DType, optional
        Defaults to that of the data; Python floats become float32, ints int64.
    device : Device or str, optional
    requires_grad : bool, default False

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tensor([1.5, 2.5], requires_grad=True)
    tensor([1.5, 2.5], requires_grad=True)
    """
    cdef Tensor made
    if type(data) is Tensor:
        data = detached(<Tensor>data)
    try:
        made = <Tensor>asarray(data, dtype=dtype, device=device)
    except (TypeError, ValueError, OverflowError) as error:
        rename(error, "tensor")
        raise
    if made is data or made.buf.storage.flags or not _is_python(data):
        made = copied(made)
    return _flagged(made, requires_grad)


def empty(shape, *, dtype=None, device=None, requires_grad=False):
    """Return a tensor whose elements are not initialized.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : DType, default float32
    device : Device or str, optional
    requires_grad : bool, default False

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.empty((2, 3)).shape
    (2, 3)
    """
    return _flagged(
        _uninitialized("empty", shape, _code(dtype, TL_FLOAT32), device), requires_grad
    )


def full(shape, fill_value, *, dtype=None, device=None, requires_grad=False):
    """Return a tensor filled with one value.

    Parameters
    ----------
    shape : int or tuple of int
    fill_value : scalar
    dtype : DType, optional
        Defaults to that of the value: bool, int64 or float32.
    device : Device or str, optional
    requires_grad : bool, default False

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.full(2, 7)
    tensor([7, 7])
    """
    cdef Tensor made
    if type(fill_value) is Tensor:
        fill_value = fill_value.item()
    made = _uninitialized("full", shape, _code(dtype, scalar_code(fill_value)), device)
    fill(made, fill_value)
    return _flagged(made, requires_grad)


def zeros(shape, *, dtype=None, device=None, requires_grad=False):
    """Return a tensor of zeros; see `full`.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : DType, default float32
    device : Device or str, optional
    requires_grad : bool, default False

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.zeros(2)
    tensor([0., 0.])
    """
    cdef Tensor made = _uninitialized("zeros", shape, _code(dtype, TL_FLOAT32), device)
    fill(made, 0)
    return _flagged(made, requires_grad)


def ones(shape, *, dtype=None, device=None, requires_grad=False):
    """Return a tensor of ones; see `full`.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : DType, default float32
    device : Device or str, optional
    requires_grad : bool, default False

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.ones(2)
    tensor([1., 1.])
    """
    cdef Tensor made = _uninitialized("ones", shape, _code(dtype, TL_FLOAT32), device)
    fill(made, 1)
    return _flagged(made, requires_grad)


cdef Tensor _shaped_like(str op, object x, object dtype, object device):
    cdef Tensor like = as_tensor(op, x)
    cdef Device where
    cdef int code = _code(dtype, like.buf.dtype)
    cdef Tensor made
    cdef const tl_buffer *model = &like.buf
    if device is None:
        return new_ordered(like, code)
    where = usable_device(op, device)
    made = new_tensor(model, code, where.type_code, where.index)
    keep_order(&made.buf, &model, 1)
    return made


cdef Tensor _filled_like(
    str op, object x, object value, object dtype, object device, object requires_grad
):
    cdef Tensor made = _shaped_like(op, x, dtype, device)
    fill(made, value)
    return <Tensor>_flagged(made, requires_grad)


def empty_like(x, /, *, dtype=None, device=None, requires_grad=False):
    """Return an uninitialized tensor of the shape, dtype and device of `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.empty_like(tl.zeros(3)).shape
    (3,)
    """
    return _flagged(_shaped_like("empty_like", x, dtype, device), requires_grad)


def full_like(x, /, fill_value, *, dtype=None, device=None, requires_grad=False):
    """Return a tensor of one value in the shape, dtype and device of `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.full_like(tl.zeros(2), 3)
    tensor([3., 3.])
    """
    if type(fill_value) is Tensor:
        fill_value = fill_value.item()
    return _filled_like("full_like", x, fill_value, dtype, device, requires_grad)


def zeros_like(x, /, *, dtype=None, device=None, requires_grad=False):
    """Return zeros in the shape, dtype and device of `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.zeros_like(tl.ones(2))
    tensor([0., 0.])
    """
    return _filled_like("zeros_like", x, 0, dtype, device, requires_grad)


def ones_like(x, /, *, dtype=None, device=None, requires_grad=False):
    """Return ones in the shape, dtype and device of `x`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.ones_like(tl.zeros(2))
    tensor([1., 1.])
    """
    return _filled_like("ones_like", x, 1, dtype, device, requires_grad)


def arange(
    start, /, stop=None, step=1, *, dtype=None, device=None, requires_grad=False,
):
    """Return the numbers ``start + i * step`` below `stop`.

    Parameters
    ----------
    start : scalar
        The first number; with one argument it is `stop`, and the first is 0.
    stop : scalar, optional
        Excluded.
    step : scalar, default 1
    dtype : DType, optional
        int64 when all three are ints, float32 otherwise.
    device : Device or str, optional
    requires_grad : bool, default False

    Returns
    -------
    Tensor of shape (ceil((stop - start) / step),)

    Raises
    ------
    TypeError
        If a bound is no number.
    ValueError
        If `step` is zero or a bound is complex or not finite.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.arange(5, 0, -2)
    tensor([5, 3, 1])
    """
    cdef int code
    if stop is None:
        start, stop = 0, start
    start, stop = _bound("arange", start), _bound("arange", stop)
    step = _bound("arange", step)
    whole = isinstance(start, int) and isinstance(stop, int) and isinstance(step, int)
    if step == 0:
        raise ValueError("arange: expected a step other than 0")
    if whole:
        count = len(range(start, stop, step))
    else:
        count = max(ceil((stop - start) / step), 0)
    code = _code(dtype, TL_INT64 if whole else TL_FLOAT32)
    return _flagged(
        _steps("arange", count, code, device, start, step), requires_grad
    )


cdef inline object _bound(str op, object value):
    """A finite real number; an int of C's is taken without a further look."""
    cdef int overflow = 0
    if type(value) is int:
        PyLong_AsLongLongAndOverflow(value, &overflow)
        if not overflow:
            return value
    found = _number(op, value)
    if isinstance(found, complex) or found - found != 0:
        raise ValueError(f"{op}: expected finite real numbers, got {found!r}")
    return found


def _number(op, value):
    """Return a bound as a Python number, which NumPy's scalars and 0-d tensors have."""
    found = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(found, (float, complex)):
        return found
    if hasattr(found, "as_integer_ratio"):  # int, Fraction, Decimal
        try:
            rounded = float(found)
        except OverflowError:
            raise OverflowError(
                f"{op}: expected bounds within float64's range, got one of about "
                f"2**{int(found).bit_length()}"
            ) from None
        return found if isinstance(found, int) else rounded
    raise TypeError(f"{op}: expected a number as a bound, got {value!r:.80}")


cdef Tensor _steps(
    str op, object count, int code, object device, object start, object step
):
    """The numbers start + i * step."""
    cdef tl_range_params params
    cdef Tensor made = _uninitialized(op, count, code, device)
    cdef const tl_buffer *target = &made.buf
    params.real, params.step_real = start, step
    params.integer = params.step_integer = 0
    if not is_float_code(code):
        params.integer, params.step_integer = int(start), int(step)
    run(_arange, code, &target, 1, NULL, 0, &params, made.buf.size)
    return made


def linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True):
    """Return `num` evenly spaced numbers from `start` to `stop`.

    Parameters
    ----------
    start, stop : float or complex
    num : int
        At least 0.
    dtype : DType, default float32, or complex64 for complex bounds
    device : Device or str, optional
    endpoint : bool, default True
        Whether `stop` is the last number.

    Returns
    -------
    Tensor of shape (num,)

    Raises
    ------
    TypeError
        If a bound is no number, or `num` no int.
    ValueError
        If `num` is negative.
    OverflowError
        If a bound is an int beyond the floating-point numbers.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linspace(0.0, 1.0, 3)
    tensor([0. , 0.5, 1. ])
    """
    cdef int code = _code(dtype, TL_FLOAT32)
    start, stop = _number("linspace", start), _number("linspace", stop)
    num = int_of("linspace", "num", num)
    if num < 0:
        raise ValueError(f"linspace: expected num >= 0, got {num}")
    if isinstance(start, complex) or isinstance(stop, complex) or is_complex_code(code):
        return _complex_linspace(start, stop, num, dtype, device, endpoint)
    parts = num - 1 if endpoint else num
    step = (stop - start) / parts if parts > 0 else 0.0
    # Each number is rounded once: steps of floating types are computed in float64.
    values = cast(
        _steps(
            "linspace", num, code if is_float_code(code) else TL_FLOAT64, device, start,
            step,
        ),
        code,
    )
    if endpoint and num > 1:
        values[num - 1] = stop
    return values


def _complex_linspace(start, stop, num, dtype, device, endpoint):
    from tensorlib.ops.complex import complex as from_parts

    cdef int code = _code(dtype, TL_COMPLEX64)
    if not is_complex_code(code):
        raise DTypeError(
            f"linspace: expected a complex dtype for complex bounds, got {dtype}"
        )
    start, stop = complex(start), complex(stop)
    how = {"dtype": dtype_of(real_code(code)), "device": device, "endpoint": endpoint}
    return from_parts(
        linspace(start.real, stop.real, num, **how),
        linspace(start.imag, stop.imag, num, **how),
    )


@own_errors
def eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None):
    """Return a matrix with ones on a diagonal and zeros elsewhere.

    Parameters
    ----------
    n_rows : int
    n_cols : int, optional
        Defaults to `n_rows`.
    k : int, default 0
        Which diagonal; positive is above the main one.
    dtype : DType, default float32
    device : Device or str, optional

    Returns
    -------
    Tensor of shape (n_rows, n_cols)

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    cdef Tensor made = zeros(
        (n_rows, n_rows if n_cols is None else n_cols), device=device,
        dtype="float32" if dtype is None else dtype,
    )
    cdef int64_t rows = made.buf.shape[0], columns = made.buf.shape[1]
    # Beyond the matrix, however far, there is nothing to fill.
    cdef int64_t offset = max(-rows, min(k, columns))
    cdef int64_t row = max(-offset, 0), column = max(offset, 0)
    cdef int64_t length = min(rows - row, columns - column)
    cdef tl_buffer layout
    if length > 0:
        copy_layout(&layout, &made.buf)
        layout.ndim, layout.shape[0], layout.strides[0] = 1, length, columns + 1
        row = (row * columns + column) * dtype_sizes()[layout.dtype]
        layout.data = <char *>layout.data + row
        update_layout(&layout)
        fill(new_view(made, &layout), 1)
    return made
