"""Comparison, logical and bitwise operations, tests on elements, selection."""
from tensorlib.autograd.primitive cimport Node, run
from tensorlib.core.abi cimport TL_BOOL, tl_buffer
from tensorlib.core.dtype cimport dtype_of, is_inexact_code, promote_codes
from tensorlib.core.layout cimport broadcast_view
from tensorlib.core.tensor cimport Operators, Tensor, operators
from tensorlib.ops.elementwise cimport (
    SAVE_A, Binary, Ternary, Unary, as_tensor, cast, common_dtype, full_like, in_dtype,
)

from tensorlib.core.errors import DTypeError


# ---- primitives ----------------------------------------------------------------
cdef class Discrete(Binary):
    """An operation on integers or to bool: nothing to differentiate."""

    def __cinit__(self, str name, bint to_bool=False):
        self.to_bool = to_bool

    cdef Tensor apply(self, Tensor a, Tensor b):
        cdef int dtype
        if not self.to_bool:
            dtype = promote_codes(a.buf.dtype, b.buf.dtype)
            if is_inexact_code(dtype):
                raise DTypeError(
                    f"{self.name}: expected integer or bool tensors, got "
                    f"{dtype_of(a.buf.dtype)} and {dtype_of(b.buf.dtype)}"
                )
        return Binary.apply(self, a, b)


cdef class Test(Unary):
    """A unary operation to bool, or on bits: nothing to differentiate."""

    def __cinit__(self, str name, bint to_bool=True):
        self.to_bool = to_bool


cdef class Where(Ternary):
    def __cinit__(self, str name):
        self.saves = SAVE_A

    cdef tuple vjp(self, Node node, Tensor g):
        condition = node.get(0)
        zero = full_like(g, 0)
        return (
            None,
            _where.apply(condition, g, zero) if node.needs(1) else None,
            _where.apply(condition, zero, g) if node.needs(2) else None,
        )

    cdef Tensor jvp(self, Node node, tuple tangents):
        _, a, b = tangents
        return <Tensor>select(
            node.get(0), 0.0 if a is None else a, 0.0 if b is None else b
        ).broadcast_to(node.shape_tuple())


cdef Discrete _equal = Discrete("equal", True)
cdef Discrete _not_equal = Discrete("not_equal", True)
cdef Discrete _less = Discrete("less", True)
cdef Discrete _less_equal = Discrete("less_equal", True)
cdef Discrete _greater = Discrete("greater", True)
cdef Discrete _greater_equal = Discrete("greater_equal", True)
cdef Discrete _logical_and = Discrete("logical_and", True)
cdef Discrete _logical_or = Discrete("logical_or", True)
cdef Discrete _logical_xor = Discrete("logical_xor", True)
cdef Discrete _bitwise_and = Discrete("bitwise_and")
cdef Discrete _bitwise_or = Discrete("bitwise_or")
cdef Discrete _bitwise_xor = Discrete("bitwise_xor")
cdef Discrete _bitwise_left_shift = Discrete("bitwise_left_shift")
cdef Discrete _bitwise_right_shift = Discrete("bitwise_right_shift")
cdef Test _isnan = Test("isnan")
cdef Test _isinf = Test("isinf")
cdef Test _isfinite = Test("isfinite")
cdef Test _logical_not = Test("logical_not")
cdef Test _bitwise_invert = Test("bitwise_invert", False)
cdef Where _where = Where("where")


cdef Tensor select(Tensor condition, object a, object b):
    cdef int dtype = common_dtype([a, b])
    return _where.apply(condition, in_dtype(a, dtype), in_dtype(b, dtype))


cdef int select_into(Tensor x, Tensor condition, Tensor value) except -1:
    cdef tl_buffer spread
    cdef const tl_buffer *inputs[3]
    cdef const tl_buffer *target = &x.buf
    broadcast_view(&spread, &value.buf, &x.buf)
    inputs[0], inputs[1], inputs[2] = &condition.buf, &spread, &x.buf
    return run(_where, x.buf.dtype, &target, 1, inputs, 3, NULL, x.buf.size)


# ---- operator table ------------------------------------------------------------
cdef object _and_op(object a, object b): return _bitwise_and.operate(a, b)
cdef object _or_op(object a, object b): return _bitwise_or.operate(a, b)
cdef object _xor_op(object a, object b): return _bitwise_xor.operate(a, b)
cdef object _lshift_op(object a, object b): return _bitwise_left_shift.operate(a, b)
cdef object _rshift_op(object a, object b): return _bitwise_right_shift.operate(a, b)
cdef object _and_to(object a, object b): return _bitwise_and.inplace(a, b)
cdef object _or_to(object a, object b): return _bitwise_or.inplace(a, b)
cdef object _xor_to(object a, object b): return _bitwise_xor.inplace(a, b)
cdef object _lshift_to(object a, object b): return _bitwise_left_shift.inplace(a, b)
cdef object _rshift_to(object a, object b): return _bitwise_right_shift.inplace(a, b)
cdef object _invert_op(object a): return bitwise_invert(a)


cdef object _compare_op(object a, object b, int which):
    if which == 0:
        return _less.operate(a, b)
    if which == 1:
        return _less_equal.operate(a, b)
    if which == 2:
        return _equal.operate(a, b)
    if which == 3:
        return _not_equal.operate(a, b)
    if which == 4:
        return _greater.operate(a, b)
    return _greater_equal.operate(a, b)


cdef int bind_logic() except -1:
    """Fill the logical part of Tensor's operator table."""
    cdef Operators *table = operators()
    table.bitwise_and, table.and_ = _and_op, _and_to
    table.bitwise_or, table.or_ = _or_op, _or_to
    table.bitwise_xor, table.xor_ = _xor_op, _xor_to
    table.left_shift, table.left_shift_ = _lshift_op, _lshift_to
    table.right_shift, table.right_shift_ = _rshift_op, _rshift_to
    table.compare = _compare_op
    table.invert = _invert_op
    return 0


# ---- public functions ----------------------------------------------------------
def equal(x1, x2, /):
    """Return ``x1 == x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of dtype bool.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.equal(tl.tensor([1, 2, 3]), 2)
    tensor([False,  True, False])
    """
    return _equal.call(x1, x2)


def not_equal(x1, x2, /):
    """Return ``x1 != x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of dtype bool.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.not_equal(tl.tensor([1, 2, 3]), 2)
    tensor([ True, False,  True])
    """
    return _not_equal.call(x1, x2)


def less(x1, x2, /):
    """Return ``x1 < x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of dtype bool.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.less(tl.tensor([1, 2, 3]), 2)
    tensor([ True, False, False])
    """
    return _less.call(x1, x2)


def less_equal(x1, x2, /):
    """Return ``x1 <= x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of dtype bool.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.less_equal(tl.tensor([1, 2, 3]), 2)
    tensor([ True,  True, False])
    """
    return _less_equal.call(x1, x2)


def greater(x1, x2, /):
    """Return ``x1 > x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of dtype bool.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.greater(tl.tensor([1, 2, 3]), 2)
    tensor([False, False,  True])
    """
    return _greater.call(x1, x2)


def greater_equal(x1, x2, /):
    """Return ``x1 >= x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of dtype bool.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.greater_equal(tl.tensor([1, 2, 3]), 2)
    tensor([False,  True,  True])
    """
    return _greater_equal.call(x1, x2)


def logical_and(x1, x2, /):
    """Return whether both are true (not zero), elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of dtype bool.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.logical_and(tl.tensor([0, 0, 2]), tl.tensor([0, 1, 1]))
    tensor([False, False,  True])
    """
    return _logical_and.call(x1, x2)


def logical_or(x1, x2, /):
    """Return whether either is true (not zero), elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of dtype bool.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.logical_or(tl.tensor([0, 0, 2]), tl.tensor([0, 1, 1]))
    tensor([False,  True,  True])
    """
    return _logical_or.call(x1, x2)


def logical_xor(x1, x2, /):
    """Return whether exactly one is true (not zero), elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of dtype bool.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.logical_xor(tl.tensor([0, 0, 2]), tl.tensor([0, 1, 1]))
    tensor([False,  True, False])
    """
    return _logical_xor.call(x1, x2)


def bitwise_and(x1, x2, /):
    """Return ``x1 & x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of integer or bool dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.
    DTypeError
        If an input is floating.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.bitwise_and(tl.tensor([6]), 3)
    tensor([2])
    """
    return _bitwise_and.call(x1, x2)


def bitwise_or(x1, x2, /):
    """Return ``x1 | x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of integer or bool dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.
    DTypeError
        If an input is floating.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.bitwise_or(tl.tensor([6]), 3)
    tensor([7])
    """
    return _bitwise_or.call(x1, x2)


def bitwise_xor(x1, x2, /):
    """Return ``x1 ^ x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of integer or bool dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.
    DTypeError
        If an input is floating.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.bitwise_xor(tl.tensor([6]), 3)
    tensor([5])
    """
    return _bitwise_xor.call(x1, x2)


def bitwise_left_shift(x1, x2, /):
    """Return ``x1 << x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of integer dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.
    DTypeError
        If an input is floating.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.bitwise_left_shift(tl.tensor([6]), 1)
    tensor([12])
    """
    return _bitwise_left_shift.call(x1, x2)


def bitwise_right_shift(x1, x2, /):
    """Return ``x1 >> x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of integer dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.
    DTypeError
        If an input is floating.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.bitwise_right_shift(tl.tensor([6]), 1)
    tensor([3])
    """
    return _bitwise_right_shift.call(x1, x2)


def isnan(x, /):
    """Return whether each element is NaN.

    Parameters
    ----------
    x : Tensor
        Of any dtype; integers are finite.

    Returns
    -------
    Tensor
        Of dtype bool.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.isnan(tl.tensor([float("nan"), float("inf"), 1.0]))
    tensor([ True, False, False])
    """
    return _classify(_isnan, x, False)


def isinf(x, /):
    """Return whether each element is infinite.

    Parameters
    ----------
    x : Tensor
        Of any dtype; integers are finite.

    Returns
    -------
    Tensor
        Of dtype bool.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.isinf(tl.tensor([float("nan"), float("inf"), 1.0]))
    tensor([False,  True, False])
    """
    return _classify(_isinf, x, False)


def isfinite(x, /):
    """Return whether each element is neither NaN nor infinite.

    Parameters
    ----------
    x : Tensor
        Of any dtype; integers are finite.

    Returns
    -------
    Tensor
        Of dtype bool.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.isfinite(tl.tensor([float("nan"), float("inf"), 1.0]))
    tensor([False, False,  True])
    """
    return _classify(_isfinite, x, True)


def logical_not(x, /):
    """Return whether each element is zero (false).

    Parameters
    ----------
    x : Tensor
        Of any dtype.

    Returns
    -------
    Tensor
        Of dtype bool.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.logical_not(tl.tensor([0, 2]))
    tensor([ True, False])
    """
    return _logical_not.apply(as_tensor("logical_not", x))


def bitwise_invert(x, /):
    """Return ``~x`` elementwise (logical not for bool).

    Parameters
    ----------
    x : Tensor
        Of integer or bool dtype.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Raises
    ------
    DTypeError
        If `x` is floating.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.bitwise_invert(tl.tensor([0, 5]))
    tensor([-1, -6])
    """
    cdef Tensor a = as_tensor("bitwise_invert", x)
    if is_inexact_code(a.buf.dtype):
        raise DTypeError(
            f"bitwise_invert: expected integers or bool, got {dtype_of(a.buf.dtype)}"
        )
    return _bitwise_invert.apply(a)


cdef Tensor _classify(Unary p, object x, bint of_integers):
    cdef Tensor a = as_tensor(p.name, x)
    if is_inexact_code(a.buf.dtype):
        return p.apply(a)
    return full_like(cast(a, TL_BOOL), of_integers)
