"""One kernel call that updates all parameters of an optimizer's group."""
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from tensorlib.autograd.batch cimport alike
from tensorlib.autograd.primitive cimport Primitive, run
from tensorlib.core.abi cimport (
    TL_C_CONTIGUOUS, TL_CUDA, TL_FLOAT64, TL_OPTIM_SETTINGS, tl_buffer,
)
from tensorlib.core.dtype cimport is_float_code
from tensorlib.core.layout cimport (
    copy_layout, is_dense, same_shape, same_strides, set_contiguous,
)
from tensorlib.core.storage cimport derived_drop
from tensorlib.core.tensor cimport (
    Tensor, bump_version, check_same_device, check_writable, new_ordered, new_view,
)
from tensorlib.ops.elementwise cimport copy_into

from tensorlib.core.dispatch import registered_kernels
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.kernels import load_families
from tensorlib.ops.creation import empty

load_families("optim")

cdef dict _rules = {
    name: Primitive(name) for name in registered_kernels() if "/" in name
}

cdef Primitive _settings = Primitive("optimizer_settings")


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
        if not param.buf.flags & TL_C_CONTIGUOUS and not is_dense(&param.buf):
            raise ShapeError(f"{op}: expected contiguous or permuted parameters")
        if not same_strides(&param.buf, &other.buf):
            raise ShapeError(
                f"{op}: expected a {what} with the strides {param.strides} of its "
                f"parameter, got {other.strides}"
            )
    return 0


cdef Tensor _flat(Tensor x):
    """The elements of a dense tensor as they lie in memory."""
    cdef tl_buffer layout
    if x.buf.flags & TL_C_CONTIGUOUS:
        return x
    copy_layout(&layout, &x.buf)
    layout.ndim, layout.shape[0] = 1, x.buf.size
    set_contiguous(&layout)
    return new_view(x, &layout)


cdef Tensor _laid_like(Tensor g, Tensor param):
    """The elements of g in the order in which those of param lie in memory."""
    cdef Tensor made = g
    if not same_strides(&g.buf, &param.buf):
        made = new_ordered(param, g.buf.dtype)
        copy_into("copy", made, g)
    return _flat(made)


cdef list _checked(Primitive p, list columns, list grads):
    """Raise unless the tensors fit; return the gradients, in the parameters' order.

    Columns of parameters that are not in C order are made flat.
    """
    cdef Py_ssize_t i, k
    cdef Tensor x, g
    cdef bint flat = True
    kept = []
    for i in range(len(grads)):
        x = <Tensor>columns[0][i]
        if not is_float_code(x.buf.dtype):
            raise DTypeError(f"{p.name}: expected floating parameters, got {x.dtype}")
        for k in range(len(columns)):
            _check(p.name, x, <Tensor>columns[k][i], "parameter or state", True)
        g = <Tensor>grads[i]
        _check(p.name, x, g, "gradient", False)
        kept.append(_laid_like(g, x))
        flat = flat and x.buf.flags & TL_C_CONTIGUOUS
    if not flat:
        columns[:] = [[_flat(x) for x in column] for column in columns]
    return kept


cdef int _update(
    Primitive p, list columns, list grads, const void *params, Tensor held
) except -1:
    """Run p on [columns[0][i], columns[1][i], ...] and grads[i] for every i.

    One call a dtype and device: the kernel is chosen by the first parameter's. The
    settings are `params`, or on the device in `held`.
    """
    cdef Py_ssize_t n = len(grads), width = len(columns), i, k, used
    cdef int64_t work
    cdef Tensor x, like
    cdef list pending, later, kept = _checked(p, columns, grads)
    cdef int dtype
    cdef const tl_buffer **written
    cdef const tl_buffer **read
    written = <const tl_buffer **>malloc((n * width + 1) * sizeof(tl_buffer *))
    read = <const tl_buffer **>malloc((n + 2) * sizeof(tl_buffer *))
    try:
        if written == NULL or read == NULL:
            raise MemoryError(f"{p.name}: no memory for {n} parameters")
        pending = list(range(n))
        while pending:
            like = <Tensor>columns[0][pending[0]]
            dtype = like.buf.dtype
            later = []
            used = 0
            work = 0
            for i in pending:
                x = <Tensor>columns[0][i]
                if x.buf.dtype != dtype or not alike(x, like):
                    later.append(i)
                    continue
                for k in range(width):
                    written[used * width + k] = &(<Tensor>columns[k][i]).buf
                    bump_version(<Tensor>columns[k][i], p.c_name)
                read[used] = &(<Tensor>kept[i]).buf
                used += 1
                work += x.buf.size
            if held is not None:
                check_same_device(p.name, like, held)
                read[used] = &held.buf
            run(
                p, dtype, written, <int>(used * width), read,
                <int>used + (held is not None), params, work,
            )
            # Another thread may have read a parameter meanwhile, at this version.
            for i in range(used * width):
                if written[i].storage.derived != NULL:
                    derived_drop(written[i].storage)
            pending = later
    finally:
        free(written)
        free(read)
    return 0


def optimizer_step(str rule, params, grads, states, settings):
    """Update parameters and their state in place by one step of a rule.

    Parameters
    ----------
    rule : str
        A name of the X-lists in ``scalar_optim.h``.
    params, grads : list of Tensor
        Floating, pairwise of one shape; a parameter and its state lie in memory in
        one order of the axes, without gaps.
    states : list of list of Tensor
        For each of the rule's state tensors the list of them, one a parameter.
    settings : sequence of float or Tensor
        Sign (-1 to maximize), L2 factor, factor on the parameter before the step
        (decoupled decay), then those of the rule in the order of its struct. A tensor
        of `settings_on` for parameters on a GPU.

    Raises
    ------
    ShapeError, DTypeError
        If tensors do not fit each other.
    ValueError
        If there is no such rule for this number of states, or lists differ in length.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.ops.fused_optim import optimizer_step
    >>> p = tl.tensor([1.0])
    >>> optimizer_step("sgd", [p], [tl.tensor([2.0])], [], (1.0, 0.0, 1.0, 0.5))
    >>> p
    tensor([0.])
    """
    cdef double[TL_OPTIM_SETTINGS] numbers
    cdef Tensor held = None
    primitive = _rules.get(f"{rule}/{len(states)}")
    if primitive is None:
        raise ValueError(
            f"optimizer_step: there is no rule {rule!r} with {len(states)} states; "
            f"rules and numbers of states are {sorted(_rules)}"
        )
    if type(settings) is Tensor:
        held = <Tensor>settings
        if held.buf.dtype != TL_FLOAT64 or held.buf.size != TL_OPTIM_SETTINGS or (
            held.buf.device_type != TL_CUDA
        ):
            raise ValueError(
                f"{rule}: expected settings of settings_on, got a tensor of "
                f"{held.dtype} of shape {held.shape} on {held.device}"
            )
    else:
        _fill_settings(rule, numbers, settings)
    columns = [list(params)]
    for column in states:
        columns.append(list(column))
    grads = list(grads)
    _check_lists(rule, columns, grads)
    if grads:
        _update(
            <Primitive>primitive, columns, grads, numbers if held is None else NULL,
            held,
        )


cdef int _fill_settings(str rule, double *numbers, object settings) except -1:
    cdef int i = 0
    if len(settings) > TL_OPTIM_SETTINGS:
        raise ValueError(
            f"{rule}: expected at most {TL_OPTIM_SETTINGS} settings, "
            f"got {len(settings)}"
        )
    memset(numbers, 0, TL_OPTIM_SETTINGS * sizeof(double))
    for value in settings:
        numbers[i] = value
        i += 1
    return 0


def settings_on(device):
    """Return a tensor for the settings of a step that a CUDA graph repeats.

    `write_settings` fills it, on the current stream, before each replay.
    """
    return empty(TL_OPTIM_SETTINGS, dtype="float64", device=device)


def write_settings(Tensor held not None, settings):
    """Write settings, numbers of the host, to a tensor of `settings_on`.

    Raises
    ------
    ValueError
        If there are more than fit.
    """
    cdef double[TL_OPTIM_SETTINGS] numbers
    cdef const tl_buffer *out = &held.buf
    if held.buf.device_type != TL_CUDA or held.buf.size != TL_OPTIM_SETTINGS or (
        held.buf.dtype != TL_FLOAT64
    ):
        raise ValueError("write_settings: expected a tensor of settings_on")
    _fill_settings("write_settings", numbers, settings)
    run(_settings, TL_FLOAT64, &out, 1, NULL, 0, numbers, TL_OPTIM_SETTINGS)


cdef int _check_lists(str op, list columns, list grads) except -1:
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
