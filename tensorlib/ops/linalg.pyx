"""Matrix products."""
from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned, alike
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, record, record2, run, tracking,
)
from tensorlib.core.abi cimport tl_buffer, tl_matmul_params
from tensorlib.core.dtype cimport is_complex_code, is_float_code, promote_codes
from tensorlib.core.layout cimport broadcast_shape, broadcast_view
from tensorlib.core.tensor cimport Tensor, new_tensor, operators
from tensorlib.ops.elementwise cimport as_tensor, cast, contiguous
from tensorlib.ops.reduce cimport broadcast, sum_to_shape
from tensorlib.ops.shape cimport reshape_like, swap_axes

from tensorlib.core.errors import ShapeError


cdef class Matmul(Primitive):
    """Products of stacks of matrices; operands have at least two axes."""

    cdef Tensor apply(self, Tensor a, Tensor b):
        cdef tl_buffer shape, view_a, view_b
        cdef const tl_buffer *inputs[2]
        cdef const tl_buffer *target
        cdef tl_matmul_params params
        cdef Tensor out
        params.accumulate = 0
        if not alike(a, b):
            a, b = aligned("matmul", (a, b))
        if a.buf.shape[a.buf.ndim - 1] != b.buf.shape[b.buf.ndim - 2]:
            raise ShapeError(
                f"matmul: inner dimensions must match, got a.shape={a.shape}, "
                f"b.shape={b.shape}"
            )
        if is_complex_code(a.buf.dtype):
            from tensorlib.ops.complex import matrix_product

            return <Tensor>matrix_product(a, b)
        if a.buf.ndim == 2 and b.buf.ndim == 2:
            shape.ndim = 2
            inputs[0], inputs[1] = &a.buf, &b.buf
        else:
            _align(&a.buf, &b.buf, &shape, &view_a, &view_b)
            inputs[0], inputs[1] = &view_a, &view_b
        shape.shape[shape.ndim - 2] = a.buf.shape[a.buf.ndim - 2]
        shape.shape[shape.ndim - 1] = b.buf.shape[b.buf.ndim - 1]
        out = new_tensor(&shape, a.buf.dtype, a.buf.device_type, a.buf.device_index)
        target = &out.buf
        run(self, a.buf.dtype, &target, 1, inputs, 2, &params,
            a.buf.size + b.buf.size + out.buf.size)
        if a.track | b.track and tracking(a.track | b.track):
            record2(self, out, a, b,
                    (a if b.track else None, b if a.track else None), False, None)
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor grad_a = None, grad_b = None
        if node.needs(0):
            grad_a = _product(g, _mt(node.get(1)))
        if node.needs(1):
            grad_b = _product(_mt(node.get(0)), g)
        return (grad_a, grad_b)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        if tangents[0] is not None:
            out = _product(<Tensor>tangents[0], node.get(1))
        if tangents[1] is not None:
            out = add_tangents(out, _product(node.get(0), <Tensor>tangents[1]))
        return broadcast(out, node.shape_tuple())


cdef class Linear(Primitive):
    """x @ weight.T + bias with the bias as the product's starting value."""

    cdef Tensor apply(self, Tensor x, Tensor weight, Tensor bias):
        cdef tl_buffer shape, transposed
        cdef const tl_buffer *inputs[3]
        cdef const tl_buffer *target
        cdef tl_matmul_params params
        cdef Tensor out
        shape.ndim = 2
        shape.shape[0] = x.buf.shape[0]
        shape.shape[1] = weight.buf.shape[0]
        out = new_tensor(&shape, x.buf.dtype, x.buf.device_type, x.buf.device_index)
        params.accumulate = 0
        if bias is not None:
            inputs[2] = &bias.buf
        transposed = weight.buf
        transposed.shape[0], transposed.shape[1] = (
            weight.buf.shape[1], weight.buf.shape[0]
        )
        transposed.strides[0], transposed.strides[1] = (
            weight.buf.strides[1], weight.buf.strides[0]
        )
        transposed.flags = 0
        inputs[0], inputs[1] = &x.buf, &transposed
        target = &out.buf
        run(self, x.buf.dtype, &target, 1, inputs, 2 if bias is None else 3, &params,
            x.buf.size + weight.buf.size + out.buf.size)
        return out

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Tensor grad_x = None, grad_weight = None, grad_bias = None
        if node.needs(0):
            grad_x = _product(g, node.get(1))
        if node.needs(1):
            grad_weight = _product(swap_axes(g, 0, 1), node.get(0))
        if node.inputs == 3 and node.needs(2):
            grad_bias = sum_to_shape(g, (g.buf.shape[1],))
        return (grad_x, grad_weight, grad_bias)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        if tangents[0] is not None:
            out = _product(<Tensor>tangents[0], _mt(node.get(1)))
        if tangents[1] is not None:
            out = add_tangents(out, _product(node.get(0), _mt(<Tensor>tangents[1])))
        if len(tangents) == 3 and tangents[2] is not None:
            out = add_tangents(out, <Tensor>tangents[2])
        return broadcast(out, node.shape_tuple())


cdef Matmul _matmul = Matmul("matmul")
cdef Linear _linear = Linear("linear", kernel="matmul")


cdef inline Tensor _mt(Tensor x):
    return swap_axes(x, x.buf.ndim - 2, x.buf.ndim - 1)


cdef int _align(
    const tl_buffer *a, const tl_buffer *b, tl_buffer *shape, tl_buffer *view_a,
    tl_buffer *view_b,
) except -1:
    """Broadcast the leading axes of two stacks; shape gets them and two to fill."""
    cdef tl_buffer lead_a = a[0], lead_b = b[0], lead
    cdef tl_buffer target
    cdef int d
    lead_a.ndim -= 2
    lead_b.ndim -= 2
    if broadcast_shape(&lead, &lead_a, &lead_b) < 0:
        raise ShapeError(
            "matmul: leading dimensions do not broadcast, got a.shape="
            f"{tuple([a.shape[d] for d in range(a.ndim)])}, "
            f"b.shape={tuple([b.shape[d] for d in range(b.ndim)])}"
        )
    shape[0] = lead
    shape.ndim = lead.ndim + 2
    for operand in range(2):
        target = lead
        target.ndim = lead.ndim + 2
        if operand == 0:
            target.shape[lead.ndim] = a.shape[a.ndim - 2]
            target.shape[lead.ndim + 1] = a.shape[a.ndim - 1]
            broadcast_view(view_a, a, &target)
        else:
            target.shape[lead.ndim] = b.shape[b.ndim - 2]
            target.shape[lead.ndim + 1] = b.shape[b.ndim - 1]
            broadcast_view(view_b, b, &target)
    return 0


cdef Tensor _product(Tensor a, Tensor b):
    """The matrix product of two tensors of at least two axes."""
    if a.buf.shape[a.buf.ndim - 1] == 1 and is_float_code(a.buf.dtype):
        # A column times a row, as in gradients for one example: a matter of memory.
        return <Tensor>operators().multiply(a, b)
    return _matmul.apply(a, b)


cdef Tensor _any_product(Tensor a, Tensor b):
    """matmul with NumPy's rules for vectors."""
    cdef int dtype
    cdef Tensor out
    cdef bint row = a.buf.ndim == 1
    cdef bint column = b.buf.ndim == 1
    if a.buf.ndim == 0 or b.buf.ndim == 0:
        raise ShapeError(
            "matmul: expected at least one dimension each, got "
            f"a.shape={a.shape}, b.shape={b.shape}; use * for scalars"
        )
    dtype = promote_codes(a.buf.dtype, b.buf.dtype)
    a, b = cast(a, dtype), cast(b, dtype)
    if not row and not column:
        return _matmul.apply(a, b)
    if a.buf.shape[a.buf.ndim - 1] != b.buf.shape[0 if column else b.buf.ndim - 2]:
        raise ShapeError(
            f"matmul: inner dimensions must match, got a.shape={a.shape}, "
            f"b.shape={b.shape}"
        )
    if row:
        a = reshape_like(a, (1, a.buf.shape[0]))
    if column:
        b = reshape_like(b, (b.buf.shape[0], 1))
    out = _matmul.apply(a, b)
    shape = list(out.shape)
    if column:
        del shape[-1]
    if row:
        del shape[-1 if column else -2]
    return reshape_like(out, tuple(shape))


def matmul(x1, x2, /):
    """Return the matrix product.

    Leading axes broadcast; a vector counts as a row on the left and as a column on
    the right, and its axis is dropped from the result.

    Parameters
    ----------
    x1 : Tensor of shape (..., M, K) or (K,)
    x2 : Tensor of shape (..., K, N) or (K,)

    Returns
    -------
    Tensor of shape (..., M, N)
        Of the promoted dtype. Its bits do not depend on the number of threads.

    Raises
    ------
    ShapeError
        If the inner dimensions differ, the leading ones do not broadcast, or an
        operand is 0-d.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.matmul(tl.tensor([[1.0, 2.0], [3.0, 4.0]]), tl.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    return _any_product(as_tensor("matmul", x1), as_tensor("matmul", x2))


cdef object _matmul_op(object a, object b):
    if type(a) is Tensor and type(b) is Tensor:
        return _any_product(as_tensor("matmul", a), as_tensor("matmul", b))
    if isinstance(a, (int, float, complex)) or isinstance(
        b, (int, float, complex)
    ):
        return NotImplemented
    return _any_product(as_tensor("matmul", a), as_tensor("matmul", b))


def linear(x, weight, bias=None, /):
    """Return ``x @ weight.T + bias``.

    Parameters
    ----------
    x : Tensor of shape (..., in)
    weight : Tensor of shape (out, in)
    bias : Tensor of shape (out,), optional

    Returns
    -------
    Tensor of shape (..., out)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.tensor([[1.0, 2.0]])
    >>> tl.linear(tl.tensor([[3.0, 4.0]]), w, tl.tensor([0.5]))
    tensor([[11.5]])
    """
    cdef Tensor a = as_tensor("linear", x)
    cdef Tensor w = as_tensor("linear", weight)
    cdef Tensor b = None if bias is None else as_tensor("linear", bias)
    cdef Tensor out
    cdef int dtype, track
    if (
        a.buf.ndim == 0 or w.buf.ndim != 2
        or a.buf.shape[a.buf.ndim - 1] != w.buf.shape[1]
    ):
        raise ShapeError(
            "linear: expected x of shape (..., in) and weight of shape (out, in), got "
            f"x.shape={a.shape}, weight.shape={w.shape}"
        )
    if b is not None and (b.buf.ndim != 1 or b.buf.shape[0] != w.buf.shape[0]):
        raise ShapeError(
            f"linear: expected a bias of shape ({w.buf.shape[0]},), got {b.shape}"
        )
    dtype = promote_codes(a.buf.dtype, w.buf.dtype)
    if b is not None:
        dtype = promote_codes(dtype, b.buf.dtype)
        b = contiguous(cast(b, dtype))
    a, w = cast(a, dtype), cast(w, dtype)
    if is_complex_code(dtype):
        out = _any_product(a, swap_axes(w, 0, 1))
        return out if b is None else out + b
    if not alike(a, w) or (b is not None and not alike(a, b)):
        a, w, b = aligned("linear", (a, w, b))
    shape = None
    if a.buf.ndim != 2:
        shape = (*a.shape[:-1], w.buf.shape[0])
        a = reshape_like(a, (_rows(a), w.buf.shape[1]))
    out = _linear.apply(a, w, b)
    track = a.track | w.track | (0 if b is None else b.track)
    if track and tracking(track):
        saved = (a if w.track else None, w if a.track else None)
        if b is None:
            record2(_linear, out, a, w, saved, False, None)
        else:
            record(_linear, out, (a, w, b), saved, False, None)
    return out if shape is None else reshape_like(out, shape)


cdef int64_t _rows(Tensor x) noexcept:
    cdef int64_t rows = 1
    cdef int d
    for d in range(x.buf.ndim - 1):
        rows *= x.buf.shape[d]
    return rows


cdef int bind_linalg() except -1:
    """Fill the slot for the @ operator."""
    operators().matmul = _matmul_op
    return 0
