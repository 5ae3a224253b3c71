"""Arithmetic: the operators on numbers, sign and rounding, clipping."""
from tensorlib.autograd.primitive cimport Node, add_tangents
from tensorlib.core.abi cimport TL_BOOL
from tensorlib.core.dtype cimport is_complex_code, is_inexact_code
from tensorlib.core.tensor cimport Operators, Tensor, operators
from tensorlib.ops.elementwise cimport (
    SAVE_A, SAVE_B, SAVE_C, SAVE_CROSS, SAVE_OUT, Binary, Ternary, Unary, as_tensor,
    cast, common_dtype, copy, full_like, in_dtype, real_part,
)
from tensorlib.ops.logic cimport select

from tensorlib.core.errors import DTypeError, rename


# ---- primitives ----------------------------------------------------------------
cdef class Add(Binary):
    def __cinit__(self, str name):
        self.mixes = True

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return g

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return g


cdef class Subtract(Binary):
    cdef Tensor derivative_a(self, Node node, Tensor g):
        return g

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return -g


cdef class Multiply(Binary):
    def __cinit__(self, str name):
        self.saves = SAVE_CROSS

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return g * node.get(1)

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return g * node.get(0)


cdef class Divide(Binary):
    def __cinit__(self, str name):
        self.saves = SAVE_B | SAVE_OUT
        self.float_only = True

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return g / node.get(1)

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return -g * node.output() / node.get(1)


cdef class FloorDivide(Binary):
    cdef Tensor derivative_a(self, Node node, Tensor g):
        return full_like(g, 0)

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return full_like(g, 0)


cdef class Remainder(Binary):
    def __cinit__(self, str name):
        self.saves = SAVE_A | SAVE_B

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return g

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return -g * (node.get(0) // node.get(1))


cdef class Pow(Binary):
    def __cinit__(self, str name):
        self.saves = SAVE_A | SAVE_B | SAVE_OUT

    cdef Tensor derivative_a(self, Node node, Tensor g):
        # 0 at exponent 0, also where the base is 0 and the product would be NaN.
        a, b = node.get(0), node.get(1)
        return g * select(b == 0, 0.0, b * a ** (b - 1))

    cdef Tensor derivative_b(self, Node node, Tensor g):
        # 0 where the base is 0 and the exponent >= 0: the limit of a^b ln a.
        a, b = node.get(0), node.get(1)
        flat = (a == 0) & (real_part(b) >= 0)
        return g * select(flat, 0.0, node.output() * select(flat, 1.0, a).log())


cdef class Maximum(Binary):
    """At a tie each input gets half of the gradient."""
    cdef bint larger_wins

    def __cinit__(self, str name, bint larger_wins):
        self.saves = SAVE_A | SAVE_B
        self.larger_wins = larger_wins

    cdef Tensor derivative_a(self, Node node, Tensor g):
        return self.share(node.get(0), node.get(1), g)

    cdef Tensor derivative_b(self, Node node, Tensor g):
        return self.share(node.get(1), node.get(0), g)

    cdef Tensor share(self, Tensor mine, Tensor other, Tensor g):
        # Half where equal; NaN compares unequal and goes to the input that is NaN.
        won = mine > other if self.larger_wins else mine < other
        return select(
            won | (mine != mine), g, select(mine == other, g * 0.5, 0.0)
        )


cdef class Negative(Unary):
    cdef Tensor derivative(self, Node node, Tensor g):
        return -g


cdef class Abs(Unary):
    def __cinit__(self, str name):
        self.saves = SAVE_A

    cdef Tensor apply(self, Tensor a):
        if is_complex_code(a.buf.dtype):
            from tensorlib.ops.complex import magnitude

            return <Tensor>magnitude(a)
        return Unary.apply(self, a)

    cdef Tensor derivative(self, Node node, Tensor g):
        return g * _sign.apply(node.get(0))


cdef class Flat(Unary):
    """Piecewise constant: the derivative is zero where it exists."""

    cdef Tensor derivative(self, Node node, Tensor g):
        return full_like(g, 0)


cdef class Sign(Flat):
    cdef Tensor apply(self, Tensor a):
        if is_complex_code(a.buf.dtype):
            from tensorlib.ops.complex import direction

            return <Tensor>direction(a)
        return Unary.apply(self, a)


cdef class Square(Unary):
    def __cinit__(self, str name):
        self.saves = SAVE_A

    cdef Tensor derivative(self, Node node, Tensor g):
        return g * (node.get(0) * 2)


cdef class Clip(Ternary):
    """Gradient passes where lo <= x <= hi; at a bound it goes to x."""

    def __cinit__(self, str name):
        self.saves = SAVE_A | SAVE_B | SAVE_C

    cdef tuple masks(self, Node node):
        x, lo, hi = node.get(0), node.get(1), node.get(2)
        crossed = lo > hi
        high = (x > hi) | crossed
        low = (x < lo) & ~crossed
        return ~(low | high), low, high

    cdef tuple vjp(self, Node node, Tensor g):
        return tuple([select(mask, g, 0.0) for mask in self.masks(node)])

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        for mask, tangent in zip(self.masks(node), tangents):
            if tangent is not None:
                out = add_tangents(out, select(mask, tangent, 0.0))
        return <Tensor>out.broadcast_to(node.shape_tuple())


cdef Add _add = Add("add")
cdef Subtract _subtract = Subtract("subtract")
cdef Multiply _multiply = Multiply("multiply")
cdef Divide _divide = Divide("divide")
cdef FloorDivide _floor_divide = FloorDivide("floor_divide")
cdef Remainder _remainder = Remainder("remainder")
cdef Pow _pow = Pow("pow")
cdef Maximum _maximum = Maximum("maximum", True)
cdef Maximum _minimum = Maximum("minimum", False)
cdef Negative _negative = Negative("negative")
cdef Abs _abs = Abs("abs")
cdef Sign _sign = Sign("sign")
cdef Flat _floor = Flat("floor")
cdef Flat _ceil = Flat("ceil")
cdef Flat _round = Flat("round")
cdef Square _square = Square("square")
cdef Clip _clip = Clip("clip")


# ---- operator table ------------------------------------------------------------
cdef object _add_op(object a, object b): return _add.operate(a, b)
cdef object _subtract_op(object a, object b): return _subtract.operate(a, b)
cdef object _multiply_op(object a, object b): return _multiply.operate(a, b)
cdef object _divide_op(object a, object b): return _divide.operate(a, b)
cdef object _floor_divide_op(object a, object b): return _floor_divide.operate(a, b)
cdef object _remainder_op(object a, object b): return _remainder.operate(a, b)
cdef object _add_to(object a, object b): return _add.inplace(a, b)
cdef object _subtract_to(object a, object b): return _subtract.inplace(a, b)
cdef object _multiply_to(object a, object b): return _multiply.inplace(a, b)
cdef object _divide_to(object a, object b): return _divide.inplace(a, b)
cdef object _floor_divide_to(object a, object b): return _floor_divide.inplace(a, b)
cdef object _remainder_to(object a, object b): return _remainder.inplace(a, b)
cdef object _pow_to(object a, object b): return _pow.inplace(a, b)
cdef object _negative_op(object a): return negative(a)
cdef object _abs_op(object a): return _abs.apply(<Tensor>a)


cdef object _pow_op(object a, object b):
    if type(a) is Tensor:
        a = as_tensor("pow", a)
        if type(b) is int and b == 2:
            return _square.apply(<Tensor>a)
    return _pow.operate(a, b)


cdef int bind_arithmetic() except -1:
    """Fill the arithmetic part of Tensor's operator table."""
    cdef Operators *table = operators()
    table.add, table.add_ = _add_op, _add_to
    table.subtract, table.subtract_ = _subtract_op, _subtract_to
    table.multiply, table.multiply_ = _multiply_op, _multiply_to
    table.divide, table.divide_ = _divide_op, _divide_to
    table.floor_divide, table.floor_divide_ = _floor_divide_op, _floor_divide_to
    table.remainder, table.remainder_ = _remainder_op, _remainder_to
    table.pow, table.pow_ = _pow_op, _pow_to
    table.negative, table.abs = _negative_op, _abs_op
    return 0


# ---- public functions ----------------------------------------------------------
def add(x1, x2, /):
    """Return ``x1 + x2`` elementwise (logical or for bool).

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any numeric dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.add(tl.tensor([1, 2]), 10)
    tensor([11, 12])
    """
    return _add.call(x1, x2)


def subtract(x1, x2, /):
    """Return ``x1 - x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any numeric dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.subtract(tl.tensor([1, 2]), 10)
    tensor([-9, -8])
    """
    return _subtract.call(x1, x2)


def multiply(x1, x2, /):
    """Return ``x1 * x2`` elementwise (logical and for bool).

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any numeric dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.multiply(tl.tensor([1, 2]), 10)
    tensor([10, 20])
    """
    return _multiply.call(x1, x2)


def divide(x1, x2, /):
    """Return ``x1 / x2`` elementwise; integers divide in float32.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any numeric dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Floating.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.divide(tl.tensor([1, 2]), 4)
    tensor([0.25, 0.5 ])
    """
    return _divide.call(x1, x2)


def floor_divide(x1, x2, /):
    """Return ``floor(x1 / x2)`` elementwise, as Python's ``//``.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any numeric dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.
    ZeroDivisionError
        If an integer divisor is zero.

    Notes
    -----
    The derivative is zero where it exists.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.floor_divide(tl.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """
    return _floor_divide.call(x1, x2)


def remainder(x1, x2, /):
    """Return the remainder of floor division, as Python's ``%``.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any numeric dtype; broadcast against each other.

    Returns
    -------
    Tensor
        ``x1 - x2 * floor(x1 / x2)``; it has the divisor's sign.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.
    ZeroDivisionError
        If an integer divisor is zero.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.remainder(tl.tensor([7, -7]), 3)
    tensor([1, 2])
    """
    return _remainder.call(x1, x2)


def pow(x1, x2, /):
    """Return ``x1 ** x2`` elementwise.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any numeric dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.
    ValueError
        If an integer is raised to a negative integer.

    Notes
    -----
    Gradients: ``x2 * x1 ** (x2 - 1)``, 0 where ``x2 == 0``; ``x1 ** x2 * ln(x1)``, 0
    where ``x1 == 0 <= x2``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.pow(tl.tensor([2.0, 3.0]), 3)
    tensor([ 8., 27.])
    """
    if type(x1) is Tensor:
        x1 = as_tensor("pow", x1)
    return _pow.call(x1, x2)


def maximum(x1, x2, /):
    """Return the larger of `x1` and `x2` elementwise; NaN if either is NaN.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any numeric dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Notes
    -----
    At a tie each input gets half of the gradient.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.maximum(tl.tensor([1, 5]), 3)
    tensor([3, 5])
    """
    return _maximum.call(x1, x2)


def minimum(x1, x2, /):
    """Return the smaller of `x1` and `x2` elementwise; NaN if either is NaN.

    Parameters
    ----------
    x1, x2 : Tensor or Python scalar
        Of any numeric dtype; broadcast against each other.

    Returns
    -------
    Tensor
        Of the promoted dtype and broadcast shape.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast.

    Notes
    -----
    At a tie each input gets half of the gradient.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.minimum(tl.tensor([1, 5]), 3)
    tensor([1, 3])
    """
    return _minimum.call(x1, x2)


def negative(x, /):
    """Return ``-x`` elementwise.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype; unsigned integers wrap.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Raises
    ------
    DTypeError
        If `x` is bool; use `logical_not`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.negative(tl.tensor([1, -2]))
    tensor([-1,  2])
    """
    cdef Tensor a = as_tensor("negative", x)
    if a.buf.dtype == TL_BOOL:
        raise DTypeError("negative: bool has no negative; use logical_not (~)")
    return _negative.apply(a)


def abs(x, /):
    """Return ``|x|`` elementwise.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype.

    Returns
    -------
    Tensor
        Of the same shape and dtype; real for a complex `x`.

    Notes
    -----
    The gradient at 0 is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.abs(tl.tensor([1, -2]))
    tensor([1, 2])
    """
    return _abs.apply(as_tensor("abs", x))


def sign(x, /):
    """Return -1, 0 or 1 by the sign of `x`, and x / |x| of a complex `x`.

    NaN stays NaN.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.sign(tl.tensor([-3.0, 0.0, 2.0]))
    tensor([-1.,  0.,  1.])
    """
    return _sign.apply(as_tensor("sign", x))


def square(x, /):
    """Return ``x * x`` elementwise.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.square(tl.tensor([3, -2]))
    tensor([9, 4])
    """
    return _square.apply(as_tensor("square", x))


def floor(x, /):
    """Return the largest integer <= `x`, elementwise.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype; integers come back as they are.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.floor(tl.tensor([1.5, -1.5]))
    tensor([ 1., -2.])
    """
    return _step(_floor, x)


def ceil(x, /):
    """Return the smallest integer >= `x`, elementwise.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype; integers come back as they are.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.ceil(tl.tensor([1.5, -1.5]))
    tensor([ 2., -1.])
    """
    return _step(_ceil, x)


def round(x, /):
    """Return the nearest integer, elementwise; halves go to the even one.

    Parameters
    ----------
    x : Tensor
        Of numeric dtype; integers come back as they are.

    Returns
    -------
    Tensor
        Of the same shape and dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.round(tl.tensor([0.5, 1.5, 2.6]))
    tensor([0., 2., 3.])
    """
    cdef Tensor a = as_tensor("round", x)
    if is_complex_code(a.buf.dtype):
        from tensorlib.ops.complex import over_parts

        return over_parts(round, a)
    return _step(_round, a)


cdef Tensor _step(Unary p, object x):
    """Rounding, which leaves integers as they are."""
    cdef Tensor a = as_tensor(p.name, x)
    return p.apply(a) if is_inexact_code(a.buf.dtype) else copy(a)


def clip(x, /, min=None, max=None):
    """Limit the elements of `x` to the interval [`min`, `max`].

    Parameters
    ----------
    x : Tensor
    min, max : Tensor or Python scalar, optional
        Bounds, broadcast to `x`; None for no bound. Where ``min > max`` the result
        is `max`.

    Returns
    -------
    Tensor
        NaN elements stay NaN.

    Notes
    -----
    The gradient passes inside the interval, bounds included.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.clip(tl.tensor([-2, 1, 9]), 0, 5)
    tensor([0, 1, 5])
    """
    cdef Tensor a = as_tensor("clip", x)
    cdef int dtype
    if min is None and max is None:
        return copy(a)
    try:
        if min is None:
            return minimum(a, max)
        if max is None:
            return maximum(a, min)
    except (TypeError, ValueError) as error:
        rename(error, "clip")
        raise
    bounds = [
        v if isinstance(v, (bool, int, float, complex)) else as_tensor("clip", v)
        for v in (min, max)
    ]
    dtype = common_dtype([a, *bounds])
    return _clip.apply(
        cast(a, dtype), in_dtype(bounds[0], dtype), in_dtype(bounds[1], dtype)
    )


# ---- in-place forms ------------------------------------------------------------
cdef object _in_place(str name, Binary p, object x, object other):
    try:
        return p.inplace(x, other)
    except (TypeError, ValueError, RuntimeError) as error:
        rename(error, name)
        raise


def add_(x, other, /):
    """Apply ``add`` in place and return `x`; see `add`."""
    return _in_place("add_", _add, x, other)


def sub_(x, other, /):
    """Apply ``sub`` in place and return `x`; see `subtract`."""
    return _in_place("sub_", _subtract, x, other)


def mul_(x, other, /):
    """Apply ``mul`` in place and return `x`; see `multiply`."""
    return _in_place("mul_", _multiply, x, other)


def div_(x, other, /):
    """Apply ``div`` in place and return `x`; see `divide`."""
    return _in_place("div_", _divide, x, other)
