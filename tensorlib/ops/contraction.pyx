"""Products of two tensors, and einsum: contractions of axes.

Matrices are multiplied by `matmul`. Sums of products of vectors have a kernel of their
own, which reads each element once; where it cannot take them, they are products and
sums. einsum does what `einsum_plan` says.
"""
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, record2, run, tracking,
)
from tensorlib.core.abi cimport TL_CPU, TL_MAX_NDIM, tl_buffer
from tensorlib.core.dtype cimport (
    dtype_of, is_complex_code, is_float_code, promote_codes, working_code,
)
from tensorlib.core.layout cimport (
    broadcast_shape, broadcast_view, copy_layout, parse_axis, same_shape,
    set_contiguous, shape_tuple,
)
from tensorlib.core.tensor cimport Tensor, new_tensor, operators
from tensorlib.ops.elementwise cimport as_tensor, cast
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport move_last, permute, reshape_like, reshape_to

from math import prod

from tensorlib.core.errors import ShapeError, rename
from tensorlib.ops import einsum_plan
from tensorlib.ops.arguments import axes_of, int_of
from tensorlib.ops.diagonals import diagonal
from tensorlib.ops.linalg import matmul
from tensorlib.ops.reduce import sum as total

cdef enum:
    DOTS = 2        # einsum_plan's ways
    MATRICES = 1


# ---- scalar products -----------------------------------------------------------
cdef class VecDot(Primitive):
    """Sums of products along the last axis, which both operands walk by ones."""

    cdef Tensor apply(self, Tensor a, Tensor b):
        cdef tl_buffer shape, view_a, view_b
        cdef const tl_buffer *inputs[2]
        cdef const tl_buffer *target
        cdef Tensor out
        cdef int64_t n = a.buf.shape[a.buf.ndim - 1]
        inputs[0], inputs[1] = &a.buf, &b.buf
        if same_shape(&a.buf, &b.buf):
            copy_layout(&shape, &a.buf)
        else:
            if broadcast_shape(&shape, &a.buf, &b.buf) < 0:
                raise ShapeError(
                    "vecdot: axes before the last do not broadcast, got shapes "
                    f"{a.shape} and {b.shape}"
                )
            broadcast_view(&view_a, &a.buf, &shape)
            broadcast_view(&view_b, &b.buf, &shape)
            inputs[0], inputs[1] = &view_a, &view_b
        shape.ndim -= 1
        out = new_tensor(&shape, a.buf.dtype, TL_CPU, 0)
        target = &out.buf
        run(self, a.buf.dtype, &target, 1, inputs, 2, NULL, out.buf.size * n)
        if a.track | b.track and tracking(a.track | b.track):
            record2(self, out, a, b,
                    (a if b.track else None, b if a.track else None), False, None)
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        g = reshape_like(g, (*g.shape, 1))
        return (
            g * node.get(1) if node.needs(0) else None,
            g * node.get(0) if node.needs(1) else None,
        )

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        if tangents[0] is not None:
            out = _dots(<Tensor>tangents[0], node.get(1))
        if tangents[1] is not None:
            out = add_tangents(out, _dots(node.get(0), <Tensor>tangents[1]))
        return broadcast(out, node.shape_tuple())


cdef VecDot _vecdot = VecDot("vecdot")


cdef inline bint _in_rows(Tensor x) noexcept:
    cdef int last = x.buf.ndim - 1
    return x.buf.device_type == TL_CPU and (
        x.buf.strides[last] == 1 or x.buf.shape[last] <= 1
    )


cdef inline bint _fuses(Tensor a, Tensor b) noexcept:
    """Whether the kernel takes vectors of one dtype."""
    return is_float_code(a.buf.dtype) and _in_rows(a) and _in_rows(b)


cdef Tensor _dots(Tensor a, Tensor b):
    """Sums of products along the last axis, of one dtype and length."""
    cdef int dtype = a.buf.dtype, wide = working_code(dtype)
    if _fuses(a, b):
        return _vecdot.apply(a, b)
    # Rounded once, as a product of matrices is.
    a = <Tensor>operators().multiply(cast(a, wide), cast(b, wide))
    return cast(<Tensor>total(a, -1, dtype=dtype_of(wide)), dtype)


def squared_norm(Tensor x not None):
    """Return the sum of the squares of a real vector; autocast has no say in it."""
    return _dots(x, x)


def vecdot(x1, x2, /, *, axis=-1):
    """Return the scalar products of vectors along an axis.

    Parameters
    ----------
    x1, x2 : Tensor
        The other axes broadcast against each other. Of complex vectors, the first is
        conjugated.
    axis : int, default -1
        Of both; negative where they differ in dimensions.

    Returns
    -------
    Tensor
        Of the promoted dtype, without the axis.

    Raises
    ------
    ShapeError
        If the vectors differ in length, or the other axes do not broadcast.

    Notes
    -----
    Products of floats are added as `sum` adds, in one pass where the vectors lie
    together in memory.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.vecdot(tl.tensor([1.0, 2.0]), tl.tensor([3.0, 4.0]))
    tensor(11.)
    """
    cdef Tensor a = as_tensor("vecdot", x1)
    cdef Tensor b = as_tensor("vecdot", x2)
    cdef int left = parse_axis("vecdot", axis, a.buf.ndim)
    cdef int right = parse_axis("vecdot", axis, b.buf.ndim)
    cdef int dtype
    if a.buf.shape[left] != b.buf.shape[right]:
        raise ShapeError(
            f"vecdot: vectors must have one length, got {a.buf.shape[left]} and "
            f"{b.buf.shape[right]} along axis {axis} of shapes {a.shape} and {b.shape}"
        )
    if is_complex_code(a.buf.dtype):
        from tensorlib.ops.complex import conj

        a = <Tensor>conj(a)
    dtype = promote_codes(a.buf.dtype, b.buf.dtype)
    try:
        return _dots(
            move_last(cast(a, dtype), left), move_last(cast(b, dtype), right)
        )
    except ShapeError as error:
        rename(error, "vecdot")
        raise


# ---- products of two tensors ---------------------------------------------------
def tensordot(x1, x2, /, *, axes=2):
    """Return the sums of products over pairs of axes.

    Parameters
    ----------
    x1, x2 : Tensor
    axes : int or (sequence of int, sequence of int), default 2
        The last `axes` of `x1` with the first of `x2`, or which axes of each.

    Returns
    -------
    Tensor
        The other axes of `x1`, then those of `x2`.

    Raises
    ------
    ShapeError
        If paired axes differ in length, in number, or are out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tensordot(tl.ones((2, 3)), tl.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    cdef Tensor a = as_tensor("tensordot", x1)
    cdef Tensor b = as_tensor("tensordot", x2)
    left, right = _contracted(a, b, axes)
    rows = [d for d in range(a.buf.ndim) if d not in left]
    columns = [d for d in range(b.buf.ndim) if d not in right]
    k = prod([a.buf.shape[<int>d] for d in left])
    first = _arranged(a, ((), (*rows, *left), None))
    second = _arranged(b, ((), (*right, *columns), None))
    if not rows and not columns:
        return _scalar_products(
            reshape_like(first, (k,)), reshape_like(second, (k,))
        )
    shape = tuple([a.buf.shape[<int>d] for d in rows])
    shape_b = tuple([b.buf.shape[<int>d] for d in columns])
    return reshape_like(
        <Tensor>matmul(
            reshape_like(first, (prod(shape), k)),
            reshape_like(second, (k, prod(shape_b))),
        ),
        shape + shape_b,
    )


cdef tuple _contracted(Tensor a, Tensor b, object axes):
    """The axes of each that are paired."""
    if hasattr(axes, "__index__"):
        n = int_of("tensordot", "axes", axes)
        if not 0 <= n <= min(a.buf.ndim, b.buf.ndim):
            raise ShapeError(
                f"tensordot: expected axes in [0, {min(a.buf.ndim, b.buf.ndim)}] for "
                f"shapes {a.shape} and {b.shape}, got {n}"
            )
        left, right = tuple(range(a.buf.ndim - n, a.buf.ndim)), tuple(range(n))
    else:
        try:
            left, right = axes
        except (TypeError, ValueError):
            raise TypeError(
                f"tensordot: expected an int or two sequences of axes, got {axes!r}"
            ) from None
        left = axes_of("tensordot", left, a.buf.ndim)
        right = axes_of("tensordot", right, b.buf.ndim)
    extents = [a.buf.shape[<int>d] for d in left], [b.buf.shape[<int>d] for d in right]
    if extents[0] != extents[1]:
        raise ShapeError(
            f"tensordot: contracted axes must match, got {extents[0]} and {extents[1]} "
            f"of shapes {a.shape} and {b.shape}"
        )
    return left, right


def outer(x1, x2, /):
    """Return the products of all pairs of elements of two vectors.

    Parameters
    ----------
    x1 : Tensor of shape (M,)
    x2 : Tensor of shape (N,)

    Returns
    -------
    Tensor of shape (M, N)

    Raises
    ------
    ShapeError
        If an argument is not one-dimensional.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.outer(tl.tensor([1, 2]), tl.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    cdef Tensor a = as_tensor("outer", x1)
    cdef Tensor b = as_tensor("outer", x2)
    if a.buf.ndim != 1 or b.buf.ndim != 1:
        raise ShapeError(
            f"outer: expected one dimension each, got shapes {a.shape} and {b.shape}"
        )
    return operators().multiply(reshape_like(a, (a.buf.shape[0], 1)), b)


def kron(x1, x2, /):
    """Return the Kronecker product: every element of `x1` times the whole of `x2`.

    ``out[i * p + k, j * q + l] = x1[i, j] * x2[k, l]`` for `x2` of shape (p, q).

    Parameters
    ----------
    x1, x2 : Tensor
        Missing leading axes count as of length one.

    Returns
    -------
    Tensor
        Each extent is the product of the two.

    Raises
    ------
    ShapeError
        If an argument has more than 8 dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.kron(tl.tensor([1, 10]), tl.tensor([1, 2]))
    tensor([ 1,  2, 10, 20])
    """
    cdef Tensor a = as_tensor("kron", x1)
    cdef Tensor b = as_tensor("kron", x2)
    cdef tl_buffer left, right
    cdef int ndim = max(a.buf.ndim, b.buf.ndim), d
    cdef int before_a = ndim - a.buf.ndim, before_b = ndim - b.buf.ndim
    if 2 * ndim > TL_MAX_NDIM:
        raise ShapeError(
            f"kron: expected {TL_MAX_NDIM // 2} dimensions at most, got {ndim}"
        )
    left.ndim = right.ndim = 2 * ndim
    for d in range(ndim):
        left.shape[2 * d] = 1 if d < before_a else a.buf.shape[d - before_a]
        right.shape[2 * d + 1] = 1 if d < before_b else b.buf.shape[d - before_b]
        left.shape[2 * d + 1] = right.shape[2 * d] = 1
    set_contiguous(&left)
    set_contiguous(&right)
    merged = tuple([
        <object>left.shape[2 * d] * right.shape[2 * d + 1] for d in range(ndim)
    ])
    pairs = operators().multiply(reshape_to(a, &left), reshape_to(b, &right))
    return reshape_like(<Tensor>pairs, merged)


# ---- einsum --------------------------------------------------------------------
cdef object _plan_of = einsum_plan.plan_of


def einsum(subscripts, /, *operands):
    """Return a sum of products of tensors, by Einstein's convention.

    A letter names an axis. Axes with one letter run together, and those whose letter is
    missing from the output are summed: ``einsum("ik,kj->ij", a, b)`` is ``a @ b``.

    Parameters
    ----------
    subscripts : str
        The letters of each operand, separated by commas, and after ``->`` those of the
        output; without ``->``, the letters that occur once, in alphabetical order. An
        ellipsis stands for further axes, which broadcast.
    *operands : Tensor
        As many as there are groups of letters; promoted to one dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the subscripts are malformed or do not fit the number of operands.
    ShapeError
        If axes with one letter differ in length, or a group of letters does not have
        the number of its operand's axes.

    Notes
    -----
    Several operands are contracted pair by pair: at each step the pair whose result is
    smallest, relative to what it replaces. Each contraction is one product.
    The order and what it takes are worked out once for subscripts and shapes, and
    remembered.

    References
    ----------
    D. G. A. Smith and J. Gray, "opt_einsum", JOSS 3(26), 753 (2018): the greedy path.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.einsum("ij,ij->i", tl.ones((2, 3)), tl.ones((2, 3)))
    tensor([3., 3.])
    """
    cdef list terms = []
    cdef int dtype = -1, i
    cdef Tensor x
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: expected subscripts as a str, got {subscripts!r}")
    for operand in operands:
        x = as_tensor("einsum", operand)
        dtype = x.buf.dtype if dtype < 0 else promote_codes(dtype, x.buf.dtype)
        terms.append(x)
    plan = _plan_of(
        subscripts, tuple([shape_tuple(&(<Tensor>x).buf) for x in terms])
    )
    for i, how in enumerate(plan.singles):
        terms[i] = _prepared(cast(<Tensor>terms[i], dtype), how)
    for pair in plan.pairs:
        _contract(terms, pair)
    return _arranged(<Tensor>terms[0], plan.output)


cdef int _contract(list terms, object pair) except -1:
    """Put the product of two terms in their place, at the end."""
    cdef Tensor made
    i, j, left, right, way, shape = pair
    second, first = terms.pop(j), terms.pop(i)
    first = _arranged(<Tensor>first, left)
    second = _arranged(<Tensor>second, right)
    if way == DOTS:
        made = _scalar_products(first, second)
    elif way == MATRICES:
        made = <Tensor>matmul(first, second)
    else:
        made = <Tensor>operators().multiply(first, second)
    terms.append(made if shape is None else reshape_like(made, shape))
    return 0


cdef Tensor _scalar_products(Tensor a, Tensor b):
    """Of vectors in the last axes of two stacks of one shape, in any dtype."""
    cdef int dtype = promote_codes(a.buf.dtype, b.buf.dtype)
    a, b = cast(a, dtype), cast(b, dtype)
    if _fuses(a, b):
        return _vecdot.apply(a, b)
    shape = a.shape
    rows = reshape_like(a, (*shape[:-1], 1, shape[-1]))
    columns = reshape_like(b, (*shape, 1))
    return reshape_like(<Tensor>matmul(rows, columns), shape[:-1])


cdef Tensor _arranged(Tensor x, object how):
    """x without some axes, in another order, in another shape."""
    cdef int[TL_MAX_NDIM] axes
    cdef int d
    if how is None:
        return x
    gone, order, shape = how
    if gone:
        x = <Tensor>total(x, gone, dtype=x.dtype)
    if order is not None:
        for d, axis in enumerate(order):
            axes[d] = axis
        x = permute(x, axes)
    return x if shape is None else reshape_like(x, shape)


cdef Tensor _prepared(Tensor x, object how):
    """An operand with distinct letters, without axes that broadcast."""
    if how is None:
        return x
    diagonals, shape = how
    for first, second in diagonals:
        x = <Tensor>diagonal(x, 0, first, second)
    return x if shape is None else reshape_like(x, shape)
