"""Kernels under `vmap`: how `launch` shows them hidden batch axes.

No kernel is registered for TL_BATCHED, memory under the hidden axes of `vmap`: there
`launch` comes here, and these axes are shown to the kernel of the memory's device, as
leading axes or as more rows where the kernel can take them so, else an example at a
time. What it can take is the kernel's batching rule, which stands where its TL_BATCHED
loop would be, and holds for the kernels of every device.
"""
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_C_CONTIGUOUS, TL_CPU, TL_DEVICE_TYPE_COUNT, TL_DTYPE_COUNT,
    TL_MAX_NDIM, tl_buffer, tl_call, tl_kernel, tl_kernel_fn,
)
from tensorlib.core.hidden cimport MAX_LEVELS, find_level, hidden_axes, tl_hidden
from tensorlib.core.dispatch cimport absent_launch, kernel_row, launch, set_absent
from tensorlib.core.dtype cimport dtype_sizes, wider_code
from tensorlib.core.layout cimport copy_layout, update_layout

from tensorlib.core.errors import GraphError

# How a kernel can take batch axes; 0 for a kernel that nobody spoke for.
cdef enum:
    AS_AXES = 1      # more leading axes of every operand that has them
    AS_ROWS = 2      # more rows, the first axis, of every operand that has them
    IN_TURN = 3      # an example at a time, the examples shared among threads
    WAYS = 4

cdef tuple _WAYS = (None, "axes", "rows", "loop")
# A rule is a way, and bits for the operands that are shared or packed.
cdef enum:
    SHARED = 2       # first bit
    PACKED = 18
# Kernels that any loop over elements may be registered with.
cdef tl_kernel_fn[8] _any_axes
cdef int _any_axes_count = 0

# What runs a row's kernel of the CPU on operands of another device.
cdef absent_launch _on_host = NULL
# What runs the kernel of one example on each, and how to load it.
cdef tl_kernel_fn _examples = NULL
cdef object _load_examples = None


cdef void set_host_launch(absent_launch function) noexcept:
    global _on_host
    _on_host = function


cdef void set_examples(tl_kernel_fn run) noexcept:
    global _examples
    _examples = run


def load_examples(load):
    """Have `load` called, which calls `set_examples`, when that is first missed."""
    global _load_examples
    _load_examples = load


cdef int takes_any_axes(tl_kernel_fn run) except -1:
    global _any_axes_count
    if _any_axes_count == 8:
        raise RuntimeError("kernel table: too many kernels that take any axes")
    _any_axes[_any_axes_count] = run
    _any_axes_count += 1
    return 0


def set_batching_rule(op, way, shared=(), packed=()):
    """State how the kernels of an op take the batch axes of `vmap`.

    A kernel that nothing is said about is called for each example, which is right for
    every kernel.

    Parameters
    ----------
    op : str
        The kernels' name in the table.
    way : {"axes", "rows", "loop"}
        As leading axes, as more rows (the first axis), or an example at a time.
    shared : sequence of int
        Operands, outputs before inputs, that "axes" and "rows" pass as they are: the
        rule holds for calls in which these are the same for all examples.
    packed : sequence of int
        Operands whose strides the kernel does not look at, because they are
        contiguous: the rule holds where they are so with the batch axes. With "rows"
        all are.

    Raises
    ------
    ValueError
        If `way` is none of these, or an operand is not in [0, 16).

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.autograd.set_batching_rule("layer_norm", "rows", (4, 5))  # weight and bias
    """
    cdef tl_kernel *row
    cdef uintptr_t rule
    cdef int dtype
    if way not in _WAYS[1:]:
        raise ValueError(
            f"set_batching_rule: expected 'axes', 'rows' or 'loop', got {way!r}"
        )
    rule = _WAYS.index(way)
    for first, places in ((SHARED, shared), (PACKED, packed)):
        for place in places:
            if not 0 <= place < PACKED - SHARED:
                raise ValueError(
                    f"set_batching_rule: expected operands in [0, {PACKED - SHARED}), "
                    f"got {place}"
                )
            rule |= <uintptr_t>1 << (<int>first + <int>place)
    row = kernel_row(op) + TL_BATCHED * TL_DTYPE_COUNT
    for dtype in range(TL_DTYPE_COUNT):
        row[dtype].loop = <const void *>rule


cdef uintptr_t _rule_of(const tl_kernel *row, int dtype) noexcept:
    cdef uintptr_t rule = <uintptr_t>row[TL_BATCHED * TL_DTYPE_COUNT + dtype].loop
    cdef int i
    if row[TL_CPU * TL_DTYPE_COUNT + dtype].run == NULL and wider_code(dtype) >= 0:
        dtype = wider_code(dtype)
    if rule == 0:
        for i in range(_any_axes_count):
            if row[TL_CPU * TL_DTYPE_COUNT + dtype].run == _any_axes[i]:
                return AS_AXES
    return rule


def batching_rule(op):
    """Return how the op's kernels take batch axes: a way of `set_batching_rule`.

    "axes" is understood for loops over elements, and reductions. None for other kernels
    that nothing was said about; an example at a time is right for these too.
    """
    cdef const tl_kernel *row = kernel_row(op)
    return _WAYS[max([_rule_of(row, d) % WAYS for d in range(TL_DTYPE_COUNT)])]


cdef int _describe(
    str op, Operand *operand, const tl_buffer *given, const tl_hidden *axes,
    bint written,
) except -1:
    """The operand where its memory is, and its step along each batch axis of the call.
    """
    cdef const tl_hidden *own
    cdef bint present
    cdef int i, at, matched = 0
    copy_layout(&operand.view, given)
    operand.view.storage = NULL
    if given.device_type != TL_BATCHED:
        if written:
            raise _not_batched(op)
        return 0
    own = hidden_axes(given.device_index)
    operand.view.device_type = <uint8_t>own.device_type
    operand.view.device_index = own.device_index
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


cdef bint _merge(Batch *batch) noexcept:
    """Make the operands those of one call for all examples; False when it cannot be."""
    cdef Operand *operand
    cdef int k
    cdef bint fits, packed
    if batch.rule % WAYS not in (AS_AXES, AS_ROWS):
        return False
    for k in range(batch.n):
        if batch.given[k] == NULL:
            continue
        operand = &batch.operands[batch.n + k]
        packed = batch.rule % WAYS == AS_ROWS or batch.rule >> (PACKED + k) & 1
        if batch.rule >> (SHARED + k) & 1:
            fits = _is_shared(operand, &batch.axes)
        elif batch.rule % WAYS == AS_AXES:
            fits = _with_axes(operand, &batch.axes)
        else:
            fits = _with_rows(operand, &batch.axes)
        if not fits or packed and not operand.view.flags & TL_C_CONTIGUOUS:
            return False
    return True


cdef bint _show_axes(Batch *batch) noexcept:
    """Show all operands with their batch axes; False when there are too many."""
    cdef int k
    for k in range(batch.n):
        if batch.given[k] != NULL and not _with_axes(
            &batch.operands[batch.n + k], &batch.axes
        ):
            return False
    return True


cdef void _reset(Batch *batch) noexcept:
    """Make the operands those of the first example."""
    cdef int k
    for k in range(batch.n):
        batch.operands[batch.n + k] = batch.operands[k]


cdef void _next_example(Batch *batch, int64_t *at) noexcept:
    """Move the operands on by one in C order of the batch axes, where `at` counts."""
    cdef Operand *moved = batch.operands + batch.n
    cdef int k, d = batch.axes.n - 1
    while d >= 0:
        at[d] += 1
        for k in range(batch.n):
            moved[k].view.data = <char *>moved[k].view.data + moved[k].steps[d]
        if at[d] < batch.axes.size[d]:
            return
        for k in range(batch.n):
            moved[k].view.data = <char *>moved[k].view.data - at[d] * moved[k].steps[d]
        at[d] = 0
        d -= 1


cdef int _describe_call(str op, Batch *batch, tl_call *call) except -1:
    cdef int k
    if batch.operands == NULL or batch.given == NULL:
        raise MemoryError(f"{op}: no memory for {batch.n} operands")
    for k in range(batch.n):
        batch.given[k] = call.out[k] if k < call.nout else call.in_[k - call.nout]
        if batch.given[k] != NULL:
            _describe(
                op, &batch.operands[k], batch.given[k], &batch.axes, k < call.nout
            )
            batch.given[batch.n + k] = &batch.operands[batch.n + k].view
    batch.count = 1
    for k in range(batch.axes.n):
        batch.count *= batch.axes.size[k]
    batch.one = call[0]
    batch.one.out, batch.one.in_ = (
        batch.given + batch.n, batch.given + batch.n + call.nout
    )
    return 0


cdef int _launch_in_turn(
    str op, const tl_kernel *row, int dtype, Batch *batch
) except -1:
    """A call for each example: operands that must be widened, or of too many axes."""
    cdef int64_t[MAX_LEVELS] at
    cdef int k
    for k in range(batch.axes.n):
        at[k] = 0
    while batch.count:
        launch(op, row, batch.axes.device_type, dtype, &batch.one, batch.work)
        batch.count -= 1
        _next_example(batch, at)
    return 0


cdef int _launch_examples(
    str op, const tl_kernel *row, int dtype, Batch *batch, bint on_host
) except -1:
    """One launch of the CPU's kernel for each example, by threads; 1 if it cannot be.

    Operands on another device go to the host at once, and not one example at a time.
    """
    cdef tl_kernel[TL_DEVICE_TYPE_COUNT * TL_DTYPE_COUNT] shared
    cdef tl_kernel *entry = shared + TL_CPU * TL_DTYPE_COUNT + dtype
    batch.kernel = row + TL_CPU * TL_DTYPE_COUNT + dtype
    if batch.kernel.run == NULL or not _show_axes(batch):
        return 1
    if _examples == NULL:
        _load_examples()
    memset(shared, 0, sizeof(shared))
    entry.run, entry.loop = _examples, batch
    if on_host:
        return _on_host(op, shared, dtype, &batch.one, batch.work * batch.count)
    return launch(op, shared, TL_CPU, dtype, &batch.one, batch.work * batch.count)


cdef bint _is_absent(const tl_kernel *row, int device_type, int dtype) noexcept:
    cdef int wide = wider_code(dtype)
    row += device_type * TL_DTYPE_COUNT
    return row[dtype].run == NULL and (wide < 0 or row[wide].run == NULL)


cdef int _launch_batched(
    str op, const tl_kernel *row, int dtype, tl_call *call, int64_t work
) except -1:
    cdef Batch batch
    cdef int device_type
    batch.axes = hidden_axes(call.out[0].device_index)[0]
    device_type = batch.axes.device_type
    batch.work = work
    batch.rule = _rule_of(row, dtype)
    batch.n = call.nout + call.nin
    batch.operands = <Operand *>calloc(2 * batch.n, sizeof(Operand))
    batch.given = <const tl_buffer **>calloc(2 * batch.n, sizeof(void *))
    try:
        _describe_call(op, &batch, call)
        if batch.count == 0:
            return 0
        _reset(&batch)
        if _merge(&batch):
            return launch(op, row, device_type, dtype, &batch.one, work * batch.count)
        _reset(&batch)
        if device_type == TL_CPU or _is_absent(row, device_type, dtype):
            if not _launch_examples(op, row, dtype, &batch, device_type != TL_CPU):
                return 0
            _reset(&batch)
        return _launch_in_turn(op, row, dtype, &batch)
    finally:
        free(batch.operands)
        free(batch.given)


set_absent(TL_BATCHED, _launch_batched)
