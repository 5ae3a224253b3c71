# Data types: small immutable objects, one for each tl_dtype.
cimport cython


@cython.final
cdef class DType:
    cdef readonly str name
    cdef readonly int itemsize      # bytes
    cdef readonly str kind          # 'b' bool, 'i' signed, 'u' unsigned, 'f' float
    cdef readonly str format        # struct/buffer-protocol character
    cdef readonly int code          # tl_dtype

# Bytes an element of each tl_dtype takes.
cdef int *dtype_sizes() noexcept nogil
# Its struct format, an immortal C string.
cdef const char *dtype_format(int code) noexcept
# The DType of a code.
cdef DType dtype_of(int code)
# A DType from a DType, its name, a Python type or a NumPy dtype.
cdef DType as_dtype(object spec)
# The common tl_dtype of two, -1 when there is none.
cdef int promote_codes(int a, int b) noexcept nogil
# The dtype of `tensor <op> python_scalar`, and of a bare Python scalar.
cdef int promote_scalar(int code, object scalar) except -1
cdef int scalar_code(object scalar) except -1
# What kernels compute a dtype in that they have no loops of; -1: in nothing else. Its
# numbers hold all of the narrow dtype's, and integers wrap alike when stored again.
cdef int wider_code(int code) noexcept nogil
# What intermediate results of a floating dtype are kept in.
cdef int working_code(int code) noexcept nogil
# What sums of a dtype are returned in: integers in 64 bits (Array API, 2025.12).
cdef int sum_code(int code) noexcept nogil
cdef bint is_float_code(int code) noexcept nogil        # real
cdef bint is_complex_code(int code) noexcept nogil
cdef bint is_inexact_code(int code) noexcept nogil      # either: what has gradients
# The dtype of a complex dtype's parts; others are their own.
cdef int real_code(int code) noexcept nogil
cdef bint is_integer_code(int code) noexcept nogil
