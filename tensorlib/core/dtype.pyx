"""Data types and type promotion.

Promotion follows the Array API: within a kind by width, unsigned with signed to a
signed type that holds both. Where the standard leaves mixed kinds open we do as
PyTorch does: the tensor of the higher kind (bool < integer < float) decides, so an
integer tensor never widens float32. A Python scalar only raises the kind.
"""
cimport cython

from tensorlib.core.sealed cimport tl_seal
from tensorlib.core.abi cimport (
    TL_BFLOAT16, TL_BOOL, TL_COMPLEX64, TL_COMPLEX128, TL_DTYPE_COUNT, TL_FLOAT16,
    TL_FLOAT32, TL_FLOAT64, TL_INT8, TL_INT16, TL_INT32, TL_INT64, TL_UINT8, TL_UINT16,
    TL_UINT32, TL_UINT64,
)

from tensorlib.core.errors import DTypeError

# tl_dtype order: name, bytes, kind, struct format.
_ROWS = (
    ("bool", 1, "b", "?"), ("int8", 1, "i", "b"), ("int16", 2, "i", "h"),
    ("int32", 4, "i", "i"), ("int64", 8, "i", "l"), ("uint8", 1, "u", "B"),
    ("uint16", 2, "u", "H"), ("uint32", 4, "u", "I"), ("uint64", 8, "u", "L"),
    ("float16", 2, "f", "e"), ("bfloat16", 2, "f", ""), ("float32", 4, "f", "f"),
    ("float64", 8, "f", "d"), ("complex64", 8, "c", "Zf"),
    ("complex128", 16, "c", "Zd"),
)

cdef int[TL_DTYPE_COUNT] _sizes
cdef int[TL_DTYPE_COUNT][TL_DTYPE_COUNT] _promotion
cdef const char *_formats[TL_DTYPE_COUNT]
cdef list _encoded = [row[3].encode() for row in _ROWS]
cdef list _dtypes = [None] * TL_DTYPE_COUNT
cdef dict _by_name = {}


@cython.final
cdef class DType:
    """The type of a tensor's elements, such as ``tl.float32``.

    Attributes
    ----------
    name : str
    itemsize : int
        Bytes an element takes.
    kind : str
        ``'b'`` boolean, ``'i'`` signed, ``'u'`` unsigned integer, ``'f'`` floating,
        ``'c'`` complex.
    format : str
        The buffer protocol's character for it.
    code : int
        Its number in C, a ``tl_dtype``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.float32, tl.float32.itemsize
    (tensorlib.float32, 4)
    """

    def __repr__(self):
        return f"tensorlib.{self.name}"

    def __str__(self):
        return self.name

    def __reduce__(self):
        return (dtype, (self.name,))

    def __eq__(self, other):
        if isinstance(other, DType):
            return self is other
        if isinstance(other, (str, type)) or hasattr(other, "itemsize"):
            try:
                return as_dtype(other) is self
            except DTypeError:
                return False
        return NotImplemented

    def __hash__(self):
        return hash(self.name)

    @property
    def is_floating_point(self):
        """Whether this is a real floating-point type."""
        return self.kind == "f"

    @property
    def is_complex(self):
        """Whether this is a complex floating-point type."""
        return self.kind == "c"


cdef int *dtype_sizes() noexcept nogil:
    return _sizes


cdef const char *dtype_format(int code) noexcept:
    return _formats[code]


cdef DType dtype_of(int code):
    return <DType>_dtypes[code]


cdef DType as_dtype(object spec):
    if type(spec) is DType:
        return <DType>spec
    found = None
    if isinstance(spec, str):
        found = _by_name.get(spec)
    elif spec is float:
        found = _dtypes[TL_FLOAT32]
    elif spec is int:
        found = _dtypes[TL_INT64]
    elif spec is bool:
        found = _dtypes[TL_BOOL]
    elif spec is complex:
        found = _dtypes[TL_COMPLEX64]
    else:
        # numpy.dtype has a name; numpy.float32 is a class whose __name__ is one.
        name = getattr(spec, "name", None) or getattr(spec, "__name__", None)
        if isinstance(name, str):
            found = _by_name.get(name.rstrip("_"))
    if found is None:
        raise DTypeError(
            f"dtype: expected one of {', '.join(_by_name)}, got {spec!r}"
        )
    return <DType>found


def dtype(spec):
    """Return the data type that `spec` names.

    Parameters
    ----------
    spec : DType, str, type or numpy.dtype

    Returns
    -------
    DType

    Raises
    ------
    DTypeError
        If there is no such data type.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.dtype("int64")
    tensorlib.int64
    """
    return as_dtype(spec)


def dtype_name(int code):
    """Return the name of a tl_dtype code."""
    return _ROWS[code][0]


cdef bint is_float_code(int code) noexcept nogil:
    return TL_FLOAT16 <= code <= TL_FLOAT64


cdef bint is_complex_code(int code) noexcept nogil:
    return code >= TL_COMPLEX64


cdef bint is_inexact_code(int code) noexcept nogil:
    return code >= TL_FLOAT16


cdef int real_code(int code) noexcept nogil:
    if code < TL_COMPLEX64:
        return code
    return TL_FLOAT32 if code == TL_COMPLEX64 else TL_FLOAT64


cdef bint is_integer_code(int code) noexcept nogil:
    return TL_INT8 <= code <= TL_UINT64


cdef int sum_code(int code) noexcept nogil:
    if is_inexact_code(code):
        return code
    return TL_UINT64 if TL_UINT8 <= code <= TL_UINT64 else TL_INT64


cdef int working_code(int code) noexcept nogil:
    return TL_FLOAT32 if code == TL_FLOAT16 or code == TL_BFLOAT16 else code


cdef int wider_code(int code) noexcept nogil:
    if is_float_code(code):
        return TL_FLOAT32 if code < TL_FLOAT32 else -1
    if code == TL_INT8 or code == TL_INT16 or code == TL_UINT8 or code == TL_UINT16:
        return TL_INT32
    return TL_INT64 if code == TL_UINT32 else -1


cdef int promote_codes(int a, int b) noexcept nogil:
    return a if a == b else _promotion[a][b]


cdef int scalar_code(object scalar) except -1:
    if isinstance(scalar, bool):
        return TL_BOOL
    if isinstance(scalar, int):
        return TL_INT64
    if isinstance(scalar, float):
        return TL_FLOAT32
    if isinstance(scalar, complex):
        return TL_COMPLEX64
    raise DTypeError(
        "expected a tensor or a Python bool, int, float or complex, got "
        f"{type(scalar).__name__}"
    )


cdef int promote_scalar(int code, object scalar) except -1:
    cdef int other
    if type(scalar) is float:
        return code if is_inexact_code(code) else TL_FLOAT32
    other = scalar_code(scalar)
    if other == TL_COMPLEX64:
        return promote_codes(code, other)
    if other == TL_BOOL:
        return code
    if other == TL_INT64:
        return TL_INT64 if code == TL_BOOL else code
    return code if is_inexact_code(code) else TL_FLOAT32


def result_type(*operands):
    """Return the data type that an operation on `operands` computes in.

    Parameters
    ----------
    *operands : Tensor, DType or Python scalar
        Python scalars only raise the kind (bool, integer, floating, complex), never the
        width.

    Returns
    -------
    DType

    Raises
    ------
    ValueError
        Without operands.
    DTypeError
        If an operand has no dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.result_type(tl.int32, tl.float32)
    tensorlib.float32
    >>> tl.result_type(tl.uint8, tl.int32, 2.5)
    tensorlib.float32
    """
    cdef int code = -1
    if not operands:
        raise ValueError("result_type: expected at least one operand")
    scalars = []
    for operand in operands:
        if isinstance(operand, (bool, int, float, complex)):
            scalars.append(operand)
            continue
        found = as_dtype(getattr(operand, "dtype", operand))
        code = found.code if code < 0 else promote_codes(code, (<DType>found).code)
    for scalar in scalars:
        code = scalar_code(scalar) if code < 0 else promote_scalar(code, scalar)
    return dtype_of(code)


def can_cast(from_, to, /):
    """Return whether a dtype promotes to another: whether together they give `to`.

    Parameters
    ----------
    from_ : DType or Tensor
    to : DType

    Returns
    -------
    bool

    Notes
    -----
    An integer promotes to any floating dtype, as in all operations of tensorlib.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.can_cast(tl.int32, tl.int64), tl.can_cast(tl.float64, tl.float32)
    (True, False)
    """
    cdef DType source = as_dtype(
        from_ if type(from_) is DType else getattr(from_, "dtype", from_)
    )
    cdef DType target = as_dtype(to)
    return promote_codes(source.code, target.code) == target.code


class finfo:  # noqa: N801
    """Numerical properties of a floating-point data type, or of a complex one's parts.

    Attributes
    ----------
    bits : int
    eps, max, min, smallest_normal : float
    dtype : DType

    References
    ----------
    IEEE 754-2019, table 3.5.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.finfo(tl.float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type, /):
        found = as_dtype(getattr(type, "dtype", type))
        if found.kind == "c":
            found = _dtypes[real_code((<DType>found).code)]
        if found.kind != "f":
            raise DTypeError(f"finfo: expected a floating-point dtype, got {found}")
        digits, exponent = {
            "float16": (10, 15), "bfloat16": (7, 127), "float32": (23, 127),
            "float64": (52, 1023),
        }[found.name]
        self.dtype = found
        self.bits = found.itemsize * 8
        self.eps = 2.0**-digits
        self.max = (2.0 - self.eps) * 2.0**exponent
        self.min = -self.max
        self.smallest_normal = 2.0 ** (1 - exponent)

    def __repr__(self):
        return (
            f"finfo(min={self.min!r}, max={self.max!r}, eps={self.eps!r}, "
            f"smallest_normal={self.smallest_normal!r}, dtype={self.dtype})"
        )


class iinfo:  # noqa: N801
    """Numerical properties of an integer data type.

    Attributes
    ----------
    bits, max, min : int
    dtype : DType

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.iinfo(tl.uint8)
    iinfo(min=0, max=255, dtype=uint8)
    """

    def __init__(self, type, /):
        found = as_dtype(getattr(type, "dtype", type))
        if found.kind not in "iu":
            raise DTypeError(f"iinfo: expected an integer dtype, got {found}")
        signed = found.kind == "i"
        self.dtype = found
        self.bits = found.itemsize * 8
        self.max = (1 << (self.bits - signed)) - 1
        self.min = -(1 << (self.bits - 1)) if signed else 0

    def __repr__(self):
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def _fill_tables():
    cdef int a, b, code
    cdef DType item
    order = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    index = {row[0]: code for code, row in enumerate(_ROWS)}

    def widest(a, b):
        row_a, row_b = _ROWS[a], _ROWS[b]
        if TL_FLOAT64 in (a, b) and TL_COMPLEX64 in (a, b):
            return TL_COMPLEX128
        if order[row_a[2]] != order[row_b[2]]:
            return a if order[row_a[2]] > order[row_b[2]] else b
        if row_a[2] != row_b[2]:  # signed with unsigned: a signed type holding both
            signed, other = (row_a, row_b) if row_a[2] == "i" else (row_b, row_a)
            bits = max(8 * signed[1], 16 * other[1])
            return index[f"int{bits}"] if bits <= 64 else TL_FLOAT64
        if {a, b} == {TL_FLOAT16, TL_BFLOAT16}:
            return TL_FLOAT32
        return a if row_a[1] >= row_b[1] else b

    for a in range(TL_DTYPE_COUNT):
        _sizes[a] = _ROWS[a][1]
        _formats[a] = _encoded[a]
        for b in range(TL_DTYPE_COUNT):
            _promotion[a][b] = widest(a, b)
    for code in range(TL_DTYPE_COUNT):
        name, size, kind, format = _ROWS[code]
        item = DType.__new__(DType)
        item.name, item.itemsize, item.kind = name, size, kind
        item.format, item.code = format, code
        _dtypes[code] = item
        _by_name[name] = item


_fill_tables()
tl_seal(DType)
bool_ = _dtypes[TL_BOOL]
int8 = _dtypes[TL_INT8]
int16 = _dtypes[TL_INT16]
int32 = _dtypes[TL_INT32]
int64 = _dtypes[TL_INT64]
uint8 = _dtypes[TL_UINT8]
uint16 = _dtypes[TL_UINT16]
uint32 = _dtypes[TL_UINT32]
uint64 = _dtypes[TL_UINT64]
float16 = _dtypes[TL_FLOAT16]
bfloat16 = _dtypes[TL_BFLOAT16]
float32 = _dtypes[TL_FLOAT32]
float64 = _dtypes[TL_FLOAT64]
complex64 = _dtypes[TL_COMPLEX64]
complex128 = _dtypes[TL_COMPLEX128]
