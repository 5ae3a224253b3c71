"""How elementwise primitives are applied.

A subclass states its rules; this module promotes dtypes, broadcasts, allocates, runs
the kernel and records. Two tensors of one shape and dtype take a short path: compare,
allocate, call.
"""

from cpython.object cimport Py_NE
from tensorlib.autograd.autocast cimport autocast_dtype, keep_cast, known_cast
from tensorlib.autograd.batch cimport aligned, alike
from tensorlib.autograd.primitive cimport (
    Node, Primitive, add_tangents, record, record1, record2, run, run1, run2, tracking,
)
from tensorlib.autograd.saved cimport check_no_inference
from tensorlib.core.abi cimport (
    TL_BOOL, TL_C_CONTIGUOUS, TL_CPU, TL_CUDA, TL_FLOAT32, tl_buffer, tl_fill_params,
)
from tensorlib.core.device cimport as_device
from tensorlib.core.dtype cimport (
    as_dtype, dtype_of, is_complex_code, is_inexact_code, is_integer_code,
    promote_codes, promote_scalar, scalar_code, working_code,
)
from tensorlib.core.layout cimport (
    broadcast_shape, broadcast_view, keep_order, same_shape,
)
from tensorlib.core.remote cimport is_host_scalar
from tensorlib.core.number cimport write_scalar
from tensorlib.core.tensor cimport (
    TRACK_GRAD, Tensor, bump_version, check_same_device, check_writable, new_like,
    new_ordered, new_scalar, new_tensor, operators,
)

from tensorlib.core.errors import DTypeError, GraphError, ShapeError, rename
from tensorlib.core.interop import asarray


# ---- conversion ----------------------------------------------------------------
cdef Tensor _by_policy(str op, Tensor x):
    """x in the dtype in which autocast has `op` take it."""
    cdef int dtype = autocast_dtype(op, x)
    cdef Tensor made
    if dtype == x.buf.dtype:
        return x
    made = known_cast(x, dtype)
    if made is None:
        made = cast(x, dtype)
        keep_cast(x, made)
    return made


cdef Tensor converted(str op, object x):
    if type(x) is Tensor:
        return _by_policy(op, <Tensor>x)
    if isinstance(x, (bool, int, float, complex)):
        return new_scalar(x, scalar_code(x))
    try:
        return <Tensor>asarray(x)
    except (TypeError, ValueError, OverflowError) as error:
        rename(error, op)
        raise


cdef class Cast(Primitive):
    """The linear map to another dtype; its transpose is the cast back."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (cast_cotangent(g, node.params),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return cast(<Tensor>tangents[0], node.dtype)


cdef list _casts = [
    Cast("astype", kernel=f"cast_{name}") for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
        "uint64", "float16", "bfloat16", "float32", "float64", "complex64",
        "complex128",
    )
]


cdef Tensor _convert(Tensor x, int dtype):
    return _convert_into(x, dtype, None)


cdef Tensor _convert_into(Tensor x, int dtype, Tensor out):
    """The values of x in out, new; by default in a tensor that keeps x's order."""
    cdef Cast p = <Cast>_casts[dtype]
    if is_complex_code(x.buf.dtype) and not is_complex_code(dtype):
        if dtype == TL_BOOL:
            return <Tensor>operators().compare(x, 0, Py_NE)
        raise DTypeError(
            f"astype: expected a complex dtype for a {dtype_of(x.buf.dtype)} tensor, "
            f"got {dtype_of(dtype)}; take tl.real(x), tl.imag(x), tl.abs(x), or x != 0"
        )
    if out is None:
        out = new_ordered(x, dtype)
    run1(p, out, &x.buf, NULL)
    if x.track and is_inexact_code(dtype) and tracking(x.track):
        record1(p, out, x, (), False, x.buf.dtype)
    return out


cdef Tensor cast(Tensor x, int dtype):
    return x if x.buf.dtype == dtype else _convert(x, dtype)


cdef Tensor real_part(Tensor x):
    if not is_complex_code(x.buf.dtype):
        return x
    from tensorlib.ops.complex import real

    return <Tensor>real(x)


cdef Tensor cast_cotangent(Tensor g, int dtype):
    return cast(g if is_complex_code(dtype) else real_part(g), dtype)


cdef Tensor copy(Tensor x):
    return _convert_into(x, x.buf.dtype, new_like(x, x.buf.dtype))


cdef Tensor clone(Tensor x):
    return _convert(x, x.buf.dtype)


cdef Tensor contiguous(Tensor x):
    return x if x.buf.flags & TL_C_CONTIGUOUS else copy(x)


cdef int copy_into(str op, Tensor target, Tensor source) except -1:
    cdef const tl_buffer *out = &target.buf
    cdef const tl_buffer *a = &source.buf
    run(<Cast>_casts[target.buf.dtype], source.buf.dtype, &out, 1, &a, 1, NULL,
        target.buf.size)
    return 0


cdef Tensor as_float(Tensor x):
    return x if is_inexact_code(x.buf.dtype) else cast(x, TL_FLOAT32)


cdef class Fill(Primitive):
    """Writes one value to every element; a source, so it has no rules."""

cdef Fill _fill = Fill("fill")


cdef int fill(Tensor x, object value) except -1:
    cdef tl_fill_params params
    cdef const tl_buffer *out = &x.buf
    write_scalar(x.buf.dtype, params.element, value)
    return run(_fill, x.buf.dtype, &out, 1, NULL, 0, &params, x.buf.size)


cdef Tensor full_like(Tensor x, object value):
    cdef Tensor out = new_ordered(x, x.buf.dtype)
    fill(out, value)
    return out


cdef int common_dtype(list operands) except -1:
    """The dtype that tensors and Python scalars are computed in."""
    cdef int dtype = -1
    for x in operands:
        if type(x) is Tensor:
            dtype = (<Tensor>x).buf.dtype if dtype < 0 else promote_codes(
                dtype, (<Tensor>x).buf.dtype
            )
    for x in operands:
        if type(x) is not Tensor:
            dtype = scalar_code(x) if dtype < 0 else promote_scalar(dtype, x)
    return dtype


cdef Tensor in_dtype(object x, int dtype):
    if type(x) is Tensor:
        return cast(<Tensor>x, dtype)
    return new_scalar(x, dtype)


# ---- in-place rules ------------------------------------------------------------
cdef int check_inplace(str op, Tensor x, bint recorded) except -1:
    check_writable(op, x)
    if not recorded:
        return 0
    if x.node is None and x.track & TRACK_GRAD:
        raise GraphError(
            f"{op}: a leaf tensor that requires grad cannot be changed in place while "
            "operations are recorded; use tl.no_grad() or the out-of-place form"
        )
    if x.is_view:
        raise GraphError(
            f"{op}: a view cannot be changed in place while gradients are recorded, "
            "because the tensor it views would not know; assign to the base instead "
            "(base[index] = value), or use the out-of-place form"
        )
    check_no_inference(op, x)
    return 0


cdef int adopt(Tensor x, Tensor made) except -1:
    x.node = made.node
    x.track = made.track
    x.tangent = made.tangent
    x.buf.storage.recorded_writes += 1
    return 0


cdef Tensor beside(str op, Tensor target, Tensor x):
    if target.buf.device_type == TL_CPU and x.buf.device_type == TL_CUDA:
        check_same_device(op, target, x)
    made, x = aligned(op, (target, x))
    if made is not target:
        raise GraphError(
            f"{op}: a value that differs between the examples of vmap cannot be "
            "written to a tensor that vmap does not map; use the out-of-place form"
        )
    return x


cdef Tensor disjoint(Tensor x, Tensor target):
    cdef int d
    cdef bint same
    if x.buf.storage != target.buf.storage:
        return x
    same = x.buf.data == target.buf.data and same_shape(&x.buf, &target.buf)
    if same:
        for d in range(x.buf.ndim):
            same = same and x.buf.strides[d] == target.buf.strides[d]
    return x if same else copy(x)


# ---- application ---------------------------------------------------------------
cdef class Elementwise(Primitive):
    """A primitive that works element by element."""

    def __cinit__(self, str name, *args, **kwargs):
        self.saves = 0
        self.float_only = False
        self.to_bool = False


cdef class Unary(Elementwise):
    """One input; f'(a) serves both directions, because the Jacobian is diagonal."""

    cdef Tensor apply(self, Tensor a):
        cdef Tensor out
        if self.float_only and not is_inexact_code(a.buf.dtype):
            a = cast(a, TL_FLOAT32)
        out = new_ordered(a, TL_BOOL if self.to_bool else a.buf.dtype)
        run1(self, out, &a.buf, NULL)
        if a.track and not self.to_bool and tracking(a.track):
            record1(self, out, a, (a,) if self.saves & SAVE_A else (),
                    self.saves & SAVE_OUT, None)
        return out

    cdef Tensor derivative(self, Node node, Tensor g):
        raise GraphError(f"{self.name}: is not differentiable")

    cdef tuple vjp(self, Node node, Tensor g):
        return (self.derivative(node, g),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.derivative(node, <Tensor>tangents[0])

    cdef object inplace(self, object x):
        cdef Tensor a
        cdef bint recorded
        if type(x) is not Tensor:
            raise TypeError(
                f"{self.name}_: expected a Tensor, got {type(x).__name__}"
            )
        a = <Tensor>x
        if self.float_only and not is_inexact_code(a.buf.dtype):
            raise DTypeError(
                f"{self.name}_: the result is floating and cannot be stored in "
                f"{dtype_of(a.buf.dtype)}"
            )
        recorded = tracking(a.track)
        check_inplace(self.name, a, recorded)
        if recorded:
            made = self.apply(_preserved(a, self.saves & SAVE_A))
            copy_into(self.name, a, <Tensor>made)
            adopt(a, <Tensor>made)
        else:
            run1(self, a, &a.buf, NULL)
        bump_version(a, self.c_name)
        return a


cdef Tensor _preserved(Tensor a, bint needed):
    """The present value of a, safe from being overwritten, same place in the graph."""
    cdef Tensor kept
    if not needed:
        return a
    kept = new_ordered(a, a.buf.dtype)
    copy_into("copy", kept, a)
    kept.node = a.node
    kept.track = a.track
    kept.tangent = a.tangent
    return kept


cdef inline bint _fits(Tensor x, Tensor like) noexcept:
    """Whether x is on the device of `like`, or a number that kernels take by value."""
    return alike(x, like) or is_host_scalar(&x.buf)


cdef inline bint _takes_scalar(Tensor a, Tensor b) noexcept:
    """Whether one is on a GPU and the other a number."""
    if a.buf.device_type == TL_CUDA:
        return is_host_scalar(&b.buf)
    return b.buf.device_type == TL_CUDA and is_host_scalar(&a.buf)


cdef inline void _keep_order(Tensor out, Tensor a, Tensor b) noexcept:
    cdef const tl_buffer *operands[2]
    if not a.buf.flags & b.buf.flags & TL_C_CONTIGUOUS:
        operands[0], operands[1] = &a.buf, &b.buf
        keep_order(&out.buf, operands, 2)


cdef Tensor new_result(Tensor a, Tensor b, int dtype):
    cdef Tensor out = new_like(a, dtype)
    _keep_order(out, a, b)
    return out


cdef bint _mix(Tensor a, Tensor b) noexcept:
    """Whether one is float32 and one of 16-bit floats, both on a GPU."""
    cdef int dtype = a.buf.dtype, other = b.buf.dtype
    if a.buf.device_type != TL_CUDA or b.buf.device_type != TL_CUDA or dtype == other:
        return False
    return (dtype == TL_FLOAT32 or other == TL_FLOAT32) and (
        working_code(dtype) == working_code(other) == TL_FLOAT32
    )


cdef class Binary(Elementwise):
    """Two inputs, promoted to one dtype and broadcast to one shape.

    The Jacobian of each input is diagonal, so one function an input serves both
    directions.
    """

    cdef Tensor derivative_a(self, Node node, Tensor g):
        raise GraphError(f"{self.name}: is not differentiable")

    cdef Tensor derivative_b(self, Node node, Tensor g):
        raise GraphError(f"{self.name}: is not differentiable")

    cdef tuple vjp(self, Node node, Tensor g):
        return (
            self.derivative_a(node, g) if node.needs(0) else None,
            self.derivative_b(node, g) if node.needs(1) else None,
        )

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef Tensor out = None
        if tangents[0] is not None:
            out = self.derivative_a(node, <Tensor>tangents[0])
        if tangents[1] is not None:
            out = add_tangents(out, self.derivative_b(node, <Tensor>tangents[1]))
        if out.buf.ndim != node.ndim or out.shape != node.shape_tuple():
            out = <Tensor>out.broadcast_to(node.shape_tuple())
        return cast(out, node.dtype)    # of the wider operand, where two are mixed

    cdef object operate(self, object a, object b):
        if type(a) is Tensor:
            if type(b) is Tensor:
                return self.apply(<Tensor>a, <Tensor>b)
            if isinstance(b, (int, float, complex)):
                return self.apply(
                    <Tensor>a,
                    new_scalar(b, promote_scalar((<Tensor>a).buf.dtype, b)),
                )
        elif isinstance(a, (int, float, complex)):
            return self.apply(
                new_scalar(a, promote_scalar((<Tensor>b).buf.dtype, a)), <Tensor>b
            )
        if hasattr(b if type(a) is Tensor else a, "__array_interface__"):
            return self.apply(as_tensor(self.name, a), as_tensor(self.name, b))
        return NotImplemented

    cdef Tensor call(self, object a, object b):
        if type(a) is Tensor and type(b) is Tensor:
            return self.apply(<Tensor>a, <Tensor>b)
        if type(a) is not Tensor and type(b) is not Tensor:
            return self.apply(as_tensor(self.name, a), as_tensor(self.name, b))
        made = self.operate(a, b)
        if made is NotImplemented:
            return self.apply(as_tensor(self.name, a), as_tensor(self.name, b))
        return <Tensor>made

    cdef Tensor apply(self, Tensor a, Tensor b):
        cdef Tensor out
        cdef int dtype = a.buf.dtype
        cdef bint plain = (
            dtype == b.buf.dtype
            and a.buf.device_type == b.buf.device_type
            and a.buf.device_index == b.buf.device_index
        )
        if plain and self.float_only:
            plain = is_inexact_code(dtype)
        if not plain:
            if not alike(a, b) and not _takes_scalar(a, b):
                a, b = aligned(self.name, (a, b))
            dtype = promote_codes(dtype, b.buf.dtype)
            if self.float_only and not is_inexact_code(dtype):
                dtype = TL_FLOAT32
            if not self.mixes or not _mix(a, b):
                a = cast(a, dtype)
                b = cast(b, dtype)
            elif a.buf.dtype != TL_FLOAT32:
                a, b = b, a
        if same_shape(&a.buf, &b.buf) and alike(a, b):
            out = new_result(a, b, TL_BOOL if self.to_bool else dtype)
            run2(self, out, &a.buf, &b.buf, NULL)
        else:
            out = self.spread(a, b)
        if a.track | b.track and not self.to_bool and tracking(a.track | b.track):
            self.keep(out, a, b)
        return out

    cdef Tensor spread(self, Tensor a, Tensor b):
        """Compute over the broadcast shape."""
        cdef tl_buffer shape, view_a, view_b
        cdef Tensor out, like
        if broadcast_shape(&shape, &a.buf, &b.buf) < 0:
            raise ShapeError(
                f"{self.name}: shapes {a.shape} and {b.shape} do not broadcast: "
                "aligned from the right, each pair must be equal or contain a 1"
            )
        like = b if is_host_scalar(&a.buf) else a
        out = new_tensor(
            &shape, TL_BOOL if self.to_bool else a.buf.dtype, like.buf.device_type,
            like.buf.device_index,
        )
        _keep_order(out, a, b)
        broadcast_view(&view_a, &a.buf, &out.buf)
        broadcast_view(&view_b, &b.buf, &out.buf)
        run2(self, out, &view_a, &view_b, NULL)
        return out

    cdef int keep(self, Tensor out, Tensor a, Tensor b) except -1:
        """Record, saving no more than the rules will read."""
        cdef bint save_a = self.saves & SAVE_A
        cdef bint save_b = self.saves & SAVE_B
        if self.saves & SAVE_CROSS:
            save_a = b.track != 0
            save_b = a.track != 0
        if save_a or save_b:
            saved = (a if save_a else None, b if save_b else None)
        else:
            saved = ()
        return record2(self, out, a, b, saved, self.saves & SAVE_OUT, None)

    cdef object inplace(self, object x, object y):
        cdef Tensor a, b
        cdef bint recorded
        if type(x) is not Tensor:
            raise TypeError(
                f"{self.name}_: expected a Tensor, got {type(x).__name__}"
            )
        a = <Tensor>x
        if type(y) is Tensor:
            b = <Tensor>y
        elif isinstance(y, (int, float, complex)):
            b = new_scalar(y, promote_scalar(a.buf.dtype, y))
        else:
            b = as_tensor(self.name, y)
        recorded = tracking(a.track | b.track)
        check_inplace(self.name, a, recorded)
        if not alike(a, b) and not (
            a.buf.device_type == TL_CUDA and is_host_scalar(&b.buf)
        ):
            b = beside(self.name, a, b)
        self.check_target(a, b)
        if recorded:
            if b.buf.storage == a.buf.storage:
                b = _preserved(b, True)
            made = self.apply(_preserved(a, True), b)
            copy_into(self.name, a, <Tensor>made)
            adopt(a, <Tensor>made)
        else:
            self.write(a, cast(b, a.buf.dtype))
        bump_version(a, self.c_name)
        return a

    cdef int check_target(self, Tensor a, Tensor b) except -1:
        """Raise unless the result of a <op> b can be stored in a."""
        cdef tl_buffer shape
        cdef int dtype = promote_codes(a.buf.dtype, b.buf.dtype)
        if self.float_only and not is_inexact_code(dtype):
            dtype = TL_FLOAT32
        if (
            is_inexact_code(dtype) and not is_inexact_code(a.buf.dtype)
        ) or (
            is_complex_code(dtype) and not is_complex_code(a.buf.dtype)
        ) or (is_integer_code(dtype) and a.buf.dtype == TL_BOOL):
            raise DTypeError(
                f"{self.name}_: the result has dtype {dtype_of(dtype)} and cannot be "
                f"stored in {dtype_of(a.buf.dtype)}; use the out-of-place form"
            )
        if broadcast_shape(&shape, &a.buf, &b.buf) < 0 or not same_shape(
            &shape, &a.buf
        ):
            raise ShapeError(
                f"{self.name}_: shape {b.shape} does not broadcast to the target's "
                f"shape {a.shape}"
            )
        return 0

    cdef int write(self, Tensor a, Tensor b) except -1:
        """a = a <op> b by the kernel, with a as its output."""
        cdef tl_buffer view
        b = disjoint(b, a)
        broadcast_view(&view, &b.buf, &a.buf)
        return run2(self, a, &a.buf, &view, NULL)


cdef class Ternary(Elementwise):
    """Three inputs of one shape; the kernel is chosen by the dtype of the second."""

    cdef Tensor apply(self, Tensor a, Tensor b, Tensor c):
        cdef tl_buffer shape, partial
        cdef tl_buffer views[3]
        cdef const tl_buffer *inputs[3]
        cdef const tl_buffer *target
        cdef Tensor out, like = b
        cdef int i
        if not (alike(a, b) and alike(b, c)):
            like = c if is_host_scalar(&b.buf) else b
            like = a if is_host_scalar(&like.buf) else like
            if like.buf.device_type != TL_CUDA or not (
                _fits(a, like) and _fits(b, like) and _fits(c, like)
            ):
                a, b, c = aligned(self.name, (a, b, c))
                like = b
        if (
            broadcast_shape(&partial, &a.buf, &b.buf) < 0
            or broadcast_shape(&shape, &partial, &c.buf) < 0
        ):
            raise ShapeError(
                f"{self.name}: shapes {a.shape}, {b.shape} and {c.shape} do not "
                "broadcast: aligned from the right, they must be equal or 1"
            )
        out = new_tensor(
            &shape, b.buf.dtype, like.buf.device_type, like.buf.device_index
        )
        inputs[0], inputs[1], inputs[2] = &a.buf, &b.buf, &c.buf
        keep_order(&out.buf, inputs, 3)
        broadcast_view(&views[0], &a.buf, &out.buf)
        broadcast_view(&views[1], &b.buf, &out.buf)
        broadcast_view(&views[2], &c.buf, &out.buf)
        for i in range(3):
            inputs[i] = &views[i]
        target = &out.buf
        run(self, b.buf.dtype, &target, 1, inputs, 3, NULL, out.buf.size)
        if a.track | b.track | c.track and tracking(a.track | b.track | c.track):
            record(
                self, out, (a, b, c),
                (a if self.saves & SAVE_A else None,
                 b if self.saves & SAVE_B else None,
                 c if self.saves & SAVE_C else None),
                self.saves & SAVE_OUT, None,
            )
        return out


# ---- public --------------------------------------------------------------------
def tensor_of(str op, x):
    """Return `x` as a tensor for an op written in Python, and as autocast has it.

    Parameters
    ----------
    op : str
        Its name, for messages and for the policy.
    x : Tensor or array
        Anything that `asarray` takes.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tensor_of("f", [1.0])
    tensor([1.])
    """
    return as_tensor(op, x)


def astype(x, dtype, /, *, copy=True, device=None):
    """Return `x` with another dtype.

    Float to integer truncates towards zero. Differentiable between floating dtypes.

    Parameters
    ----------
    x : Tensor
    dtype : DType or str
    copy : bool, default True
        When False, return `x` itself if it has the dtype already.
    device : Device or str, optional
        Where the result should be: that of `x` by default.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.astype(tl.tensor([1.7, -1.7]), tl.int32)
    tensor([ 1, -1], dtype=int32)
    """
    cdef Tensor a = as_tensor("astype", x)
    cdef int code = as_dtype(dtype).code
    if device is not None and as_device(device) != a.device:
        a, copy = <Tensor>a.to(device=device), False
    return a if a.buf.dtype == code and not copy else _convert(a, code)
