"""The kernel table: (op, device, dtype) to a function.

Kernel modules fill it when they are imported; a primitive looks its row up once
and indexes it at every call. `launch` is the single place where an op leaves
Python, where the GIL is released, and where a kernel's status is checked.

No kernel is registered for TL_BATCHED, memory under the hidden axes of `vmap`: there
`launch` shows these axes to the CPU's kernel, as leading axes or as more rows where the
kernel can take them so, else one example after the other. What it can take is the
kernel's batching rule, which stands where its TL_BATCHED loop would be.
"""
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_CPU, TL_DEVICE_TYPE_COUNT, TL_DTYPE_COUNT, TL_MAX_NDIM, TL_OK,
    tl_buffer, tl_call, tl_kernel, tl_kernel_fn, tl_status,
)
from tensorlib.core.batch cimport MAX_LEVELS, find_level, hidden_axes, tl_hidden
from tensorlib.core.dtype cimport dtype_sizes
from tensorlib.core.layout cimport copy_layout, update_layout

from tensorlib.core.errors import GraphError, missing_kernel, raise_status

cdef extern from *:
    """
    static __thread struct { int grad_disabled; int forward_mode; } tl_state_;
    """
    tl_thread_state tl_state_

# Below this many elements the kernel is shorter than a GIL hand-over (about 1 us).
cdef enum:
    NOGIL_WORK = 4096

cdef dict _rows = {}


cdef tl_thread_state *thread_state() noexcept nogil:
    return <tl_thread_state *>&tl_state_


cdef tl_kernel *kernel_row(str op) except NULL:
    cdef object address = _rows.get(op)
    cdef tl_kernel *row
    if address is None:
        row = <tl_kernel *>calloc(
            TL_DEVICE_TYPE_COUNT * TL_DTYPE_COUNT, sizeof(tl_kernel)
        )
        if row == NULL:
            raise MemoryError(f"kernel table: no memory for a row of {op!r}")
        _rows[op] = <size_t>row
        return row
    return <tl_kernel *><size_t>address


cdef int register_kernel(
    str op, int device_type, int dtype, tl_kernel_fn run, const void *loop
) except -1:
    cdef tl_kernel *entry = kernel_row(op) + device_type * TL_DTYPE_COUNT + dtype
    entry.run = run
    entry.loop = loop
    return 0


cdef int launch(
    str op, const tl_kernel *row, int device_type, int dtype, tl_call *call,
    int64_t work
) except -1:
    cdef const tl_kernel *entry = row + device_type * TL_DTYPE_COUNT + dtype
    cdef tl_status status
    if entry.run == NULL:
        if device_type == TL_BATCHED:
            return _launch_batched(op, row, dtype, call, work)
        missing_kernel(op, device_type, dtype)
    call.loop = entry.loop
    if work < NOGIL_WORK:
        status = entry.run(call)
    else:
        with nogil:
            status = entry.run(call)
    if status != TL_OK:
        raise_status(op, <int>status)
    return 0


# ---- hidden batch axes -----------------------------------------------------------
# How a kernel can take batch axes; 0 for a kernel that nobody spoke for.
cdef enum:
    AS_AXES = 1      # more leading axes of every operand that has them
    AS_ROWS = 2      # more rows, the first axis, of every operand that has them
    IN_TURN = 3      # an example at a time
    WAYS = 4

cdef tuple _WAYS = (None, "axes", "rows", "loop")

# One operand under the batch axes of a call: its layout, and its step along each.
ctypedef struct Operand:
    tl_buffer view
    int64_t[MAX_LEVELS] steps       # bytes


def set_batching_rule(op, way, shared=()):
    """State how the kernels of an op take the batch axes of `vmap`.

    Parameters
    ----------
    op : str
        The kernels' name in the table.
    way : {"axes", "rows", "loop"}
        As leading axes, as more rows (the first axis), or an example at a time.
    shared : sequence of int
        Operands, outputs before inputs, that "axes" and "rows" pass as they are: the
        rule holds for calls in which these are the same for all examples.
    """
    cdef tl_kernel *row = kernel_row(op) + TL_BATCHED * TL_DTYPE_COUNT
    cdef uintptr_t rule = _WAYS.index(way)
    cdef int dtype
    for place in shared:
        rule |= <uintptr_t>WAYS << <int>place
    for dtype in range(TL_DTYPE_COUNT):
        row[dtype].loop = <const void *>rule


cdef uintptr_t _rule_of(const tl_kernel *row, int dtype) noexcept:
    """The rule, or nothing said: a loop over elements takes any axes."""
    cdef uintptr_t rule = <uintptr_t>row[TL_BATCHED * TL_DTYPE_COUNT + dtype].loop
    if rule == 0 and row[TL_CPU * TL_DTYPE_COUNT + dtype].loop != NULL:
        return AS_AXES
    return rule


def batching_rule(op):
    """Return how the op's kernels take batch axes: a way of `set_batching_rule`.

    "axes" is understood for kernels that are loops over elements. None for other
    kernels that nothing was said about; an example at a time is right for these too.
    """
    cdef const tl_kernel *row = kernel_row(op)
    return _WAYS[max([_rule_of(row, d) % WAYS for d in range(TL_DTYPE_COUNT)])]


cdef int _describe(
    str op, Operand *operand, const tl_buffer *given, const tl_hidden *axes,
    bint written,
) except -1:
    """The operand on the CPU, and how it moves along each of the call's batch axes."""
    cdef const tl_hidden *own
    cdef bint present
    cdef int i, at, matched = 0
    copy_layout(&operand.view, given)
    operand.view.device_type, operand.view.device_index = TL_CPU, 0
    operand.view.storage = NULL
    if given.device_type != TL_BATCHED:
        if written:
            raise _not_batched(op)
        return 0
    own = hidden_axes(given.device_index)
    for i in range(axes.n):
        at = find_level(own, axes.level[i], &present)
        if present:
            operand.steps[i] = own.stride[at]
            matched += 1
    if matched != own.n or (written and matched != axes.n):
        raise _not_batched(op)
    return 0


cdef object _not_batched(str op):
    return GraphError(
        f"{op}: a result that differs between the examples of vmap cannot be written "
        "to a tensor that vmap does not map; use the out-of-place form"
    )


cdef bint _is_shared(const Operand *operand, const tl_hidden *axes) noexcept:
    cdef int i
    for i in range(axes.n):
        if operand.steps[i] and axes.size[i] > 1:
            return False
    return True


cdef bint _with_axes(Operand *operand, const tl_hidden *axes) noexcept:
    """Put the batch axes in front; False when there are too many."""
    cdef tl_buffer *view = &operand.view
    cdef int64_t size = dtype_sizes()[view.dtype]
    cdef int d
    if view.ndim + axes.n > TL_MAX_NDIM:
        return False
    for d in range(view.ndim - 1, -1, -1):
        view.shape[d + axes.n], view.strides[d + axes.n] = (
            view.shape[d], view.strides[d]
        )
    for d in range(axes.n):
        view.shape[d], view.strides[d] = axes.size[d], operand.steps[d] // size
    view.ndim += axes.n
    update_layout(view)
    return True


cdef bint _with_rows(Operand *operand, const tl_hidden *axes) noexcept:
    """Merge the batch axes into the first; False when the memory does not allow it."""
    cdef tl_buffer *view = &operand.view
    cdef int64_t size = dtype_sizes()[view.dtype]
    cdef int d
    if view.ndim == 0:
        return False
    for d in range(axes.n - 1, -1, -1):
        if axes.size[d] != 1 and (
            operand.steps[d] != view.shape[0] * view.strides[0] * size
        ):
            return False
        view.shape[0] *= axes.size[d]
    update_layout(view)
    return True


cdef bint _merged(
    uintptr_t rule, Operand *operands, int n, const tl_hidden *axes,
    const tl_buffer **given
) noexcept:
    """Whether the call can be one call for all examples; then operands are made so."""
    cdef int k
    cdef bint fits
    for k in range(n):
        if given[k] == NULL:
            continue
        if rule & (<uintptr_t>WAYS << k):
            fits = _is_shared(&operands[k], axes)
        elif rule % WAYS == AS_AXES:
            fits = _with_axes(&operands[k], axes)
        else:
            fits = _with_rows(&operands[k], axes)
        if not fits:
            return False
    return True


cdef int _launch_batched(
    str op, const tl_kernel *row, int dtype, tl_call *call, int64_t work
) except -1:
    cdef tl_hidden axes = hidden_axes(call.out[0].device_index)[0]
    cdef uintptr_t rule = _rule_of(row, dtype)
    cdef int k, n = call.nout + call.nin
    cdef int64_t count = 1
    cdef Operand *operands = <Operand *>calloc(2 * n, sizeof(Operand))
    cdef const tl_buffer **given = <const tl_buffer **>calloc(2 * n, sizeof(void *))
    try:
        if operands == NULL or given == NULL:
            raise MemoryError(f"{op}: no memory for {n} operands")
        for k in range(n):
            given[k] = call.out[k] if k < call.nout else call.in_[k - call.nout]
            if given[k] != NULL:
                _describe(op, &operands[k], given[k], &axes, k < call.nout)
        for k in range(axes.n):
            count *= axes.size[k]
        if count == 0:
            return 0
        return _run_batched(op, row, dtype, call, work, &axes, count, rule, operands,
                            given)
    finally:
        free(operands)
        free(given)


cdef int _run_batched(
    str op, const tl_kernel *row, int dtype, tl_call *call, int64_t work,
    const tl_hidden *axes, int64_t count, uintptr_t rule, Operand *operands,
    const tl_buffer **given
) except -1:
    cdef int k, d, n = call.nout + call.nin
    cdef int64_t[MAX_LEVELS] at
    cdef tl_call one = call[0]
    cdef Operand *merged = operands + n
    one.out, one.in_ = given + n, given + n + call.nout
    for k in range(n):
        merged[k] = operands[k]
        given[n + k] = NULL if given[k] == NULL else &merged[k].view
    if rule % WAYS in (AS_AXES, AS_ROWS) and _merged(rule, merged, n, axes, given):
        return launch(op, row, TL_CPU, dtype, &one, work * count)
    for k in range(n):
        merged[k] = operands[k]
    for d in range(axes.n):
        at[d] = 0
    while count:
        launch(op, row, TL_CPU, dtype, &one, work)
        count -= 1
        d = axes.n - 1
        while d >= 0:
            at[d] += 1
            for k in range(n):
                merged[k].view.data = <char *>merged[k].view.data + merged[k].steps[d]
            if at[d] < axes.size[d]:
                break
            for k in range(n):
                merged[k].view.data = (
                    <char *>merged[k].view.data - at[d] * merged[k].steps[d]
                )
            at[d] = 0
            d -= 1
    return 0


def registered_kernels():
    """Return the kernel table as ``{op: [(device_type, dtype), ...]}``.

    Examples
    --------
    >>> (0, 11) in registered_kernels()["exp"]  # float32 on the CPU
    True
    """
    cdef tl_kernel *row
    cdef int device, dtype
    table = {}
    for op, address in _rows.items():
        row = <tl_kernel *><size_t>address
        table[op] = [
            (device, dtype)
            for device in range(TL_DEVICE_TYPE_COUNT)
            for dtype in range(TL_DTYPE_COUNT)
            if row[device * TL_DTYPE_COUNT + dtype].run != NULL
        ]
    return table
