"""One kernel call that updates all parameters of an optimizer's group."""
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from tensorlib.autograd.primitive cimport Primitive, run
from tensorlib.core.abi cimport (
    TL_C_CONTIGUOUS, tl_adam_params, tl_buffer, tl_sgd_params,
)
from tensorlib.core.dtype cimport is_float_code
from tensorlib.core.layout cimport same_shape
from tensorlib.core.tensor cimport (
    Tensor, bump_version, check_same_device, check_writable,
)

from tensorlib.core.errors import DTypeError, ShapeError

cdef Primitive _sgd = Primitive("sgd")
cdef Primitive _adam = Primitive("adam")


cdef int _check(str op, Tensor param, Tensor other, str what, bint written) except -1:
    """Raise unless `other` can stand beside `param` in the kernel."""
    if not same_shape(&param.buf, &other.buf):
        raise ShapeError(
            f"{op}: expected a {what} of shape {param.shape}, got {other.shape}"
        )
    if param.buf.dtype != other.buf.dtype:
        raise DTypeError(
            f"{op}: expected a {what} of {param.dtype}, got {other.dtype}"
        )
    check_same_device(op, param, other)
    if written:
        check_writable(op, other)
        if not other.buf.flags & TL_C_CONTIGUOUS:
            raise ShapeError(f"{op}: expected a contiguous {what}")
    return 0


cdef int _update(Primitive p, list columns, list grads, const void *params) except -1:
    """Run p on [columns[0][i], columns[1][i], ...] and grads[i] for every i.

    One call a dtype: the kernel is chosen by the first parameter's.
    """
    cdef Py_ssize_t n = len(grads), width = len(columns), i, k, used
    cdef int64_t work
    cdef Tensor x
    cdef list pending, later, kept = []
    cdef int dtype
    cdef const tl_buffer **written
    cdef const tl_buffer **read
    for i in range(n):
        x = <Tensor>columns[0][i]
        if not is_float_code(x.buf.dtype):
            raise DTypeError(f"{p.name}: expected floating parameters, got {x.dtype}")
        for k in range(width):
            _check(p.name, x, <Tensor>columns[k][i], "parameter or state", True)
        _check(p.name, x, <Tensor>grads[i], "gradient", False)
        g = <Tensor>grads[i]
        kept.append(g if (<Tensor>g).buf.flags & TL_C_CONTIGUOUS else g.contiguous())
    written = <const tl_buffer **>malloc((n * width + 1) * sizeof(tl_buffer *))
    read = <const tl_buffer **>malloc((n + 1) * sizeof(tl_buffer *))
    try:
        if written == NULL or read == NULL:
            raise MemoryError(f"{p.name}: no memory for {n} parameters")
        pending = list(range(n))
        while pending:
            dtype = (<Tensor>columns[0][pending[0]]).buf.dtype
            later = []
            used = 0
            work = 0
            for i in pending:
                x = <Tensor>columns[0][i]
                if x.buf.dtype != dtype:
                    later.append(i)
                    continue
                for k in range(width):
                    written[used * width + k] = &(<Tensor>columns[k][i]).buf
                    bump_version(<Tensor>columns[k][i], p.c_name)
                read[used] = &(<Tensor>kept[i]).buf
                used += 1
                work += x.buf.size
            run(p, dtype, written, <int>(used * width), read, <int>used, params, work)
            pending = later
    finally:
        free(written)
        free(read)
    return 0


def sgd_step(
    params, grads, momentum_buffers, *, lr, momentum=0.0, dampening=0.0,
    weight_decay=0.0, nesterov=False, maximize=False, first_step=False,
    momentum_scale=1.0,
):
    """Update parameters in place by stochastic gradient descent.

    Parameters
    ----------
    params, grads : list of Tensor
        Floating and contiguous, pairwise of one shape.
    momentum_buffers : list of Tensor or None
        None when there is no momentum.
    lr, momentum, dampening, weight_decay : float
    nesterov, maximize : bool
    first_step : bool
        The momentum buffers hold nothing yet.
    momentum_scale : float
        Factor on the momentum in the update: ``1 / (1 - momentum**t)`` for the
        unbiased form.

    Raises
    ------
    ShapeError, DTypeError
        If tensors do not fit each other.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.fused_optim import sgd_step
    >>> p = tl.tensor([1.0])
    >>> sgd_step([p], [tl.tensor([2.0])], None, lr=0.5)
    >>> p
    tensor([0.])
    """
    cdef tl_sgd_params how
    how.lr, how.momentum, how.dampening = lr, momentum, dampening
    how.weight_decay, how.momentum_scale = weight_decay, momentum_scale
    how.nesterov, how.maximize, how.first_step = nesterov, maximize, first_step
    columns = [list(params)]
    if momentum_buffers is not None:
        columns.append(list(momentum_buffers))
    _check_lengths("sgd", columns, grads)
    if grads:
        _update(_sgd, columns, list(grads), &how)


def adam_step(
    params, grads, exp_avgs, exp_avg_sqs, *, lr, beta1, beta2, eps, weight_decay=0.0,
    bias_correction1=1.0, bias_correction2=1.0, decoupled=False, maximize=False,
):
    """Update parameters and their moments in place by Adam or AdamW.

    Parameters
    ----------
    params, grads, exp_avgs, exp_avg_sqs : list of Tensor
        Floating and contiguous, of one shape for each parameter.
    lr, beta1, beta2, eps, weight_decay : float
    bias_correction1, bias_correction2 : float
        ``1 - beta**t``.
    decoupled : bool
        Decay the parameter (AdamW), not the gradient.
    maximize : bool

    Raises
    ------
    ShapeError, DTypeError
        If tensors do not fit each other.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam", ICLR 2015, algorithm 1; I. Loshchilov, F. Hutter,
    "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.fused_optim import adam_step
    >>> p, m, v = tl.tensor([1.0]), tl.zeros(1), tl.zeros(1)
    >>> adam_step([p], [tl.tensor([2.0])], [m], [v], lr=0.5, beta1=0.9, beta2=0.999,
    ...           eps=0.0, bias_correction1=0.1, bias_correction2=0.001)
    >>> round(p.item(), 4)
    0.5
    """
    cdef tl_adam_params how
    how.lr, how.beta1, how.beta2, how.eps = lr, beta1, beta2, eps
    how.weight_decay = weight_decay
    how.bias_correction1, how.bias_correction2 = bias_correction1, bias_correction2
    how.decoupled, how.maximize = decoupled, maximize
    columns = [list(params), list(exp_avgs), list(exp_avg_sqs)]
    _check_lengths("adam", columns, grads)
    if grads:
        _update(_adam, columns, list(grads), &how)


cdef int _check_lengths(str op, list columns, object grads) except -1:
    for column in columns:
        if len(column) != len(grads):
            raise ValueError(
                f"{op}: expected {len(grads)} tensors in each list, got {len(column)}"
            )
        for x in column:
            if type(x) is not Tensor:
                raise TypeError(f"{op}: expected Tensors, got {type(x).__name__}")
    for g in grads:
        if type(g) is not Tensor:
            raise TypeError(f"{op}: expected Tensors, got {type(g).__name__}")
    return 0
