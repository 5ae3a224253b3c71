"""Tensors under `vmap`, and how derivatives pass its border.

A `BatchLevel` is one vmap call. Its examples lie along a hidden axis (`core/hidden`) of
every tensor that depends on what is mapped. Three maps cross the border, and a rule of
each is another one of them, so that `vmap` and both modes nest in any order:

- `hide_axis`, on the way in: an axis becomes the level's; transposed by
- `show_axis`, on the way out;
- `lift`: a tensor that is the same for all examples, beside one that is not. Its
  transpose sums over the examples, unless the level is open when the pass runs: then
  the derivative is being taken inside vmap, for each example.

References
----------
J. Bradbury et al., "JAX: composable transformations of Python+NumPy programs", 2018.
"""
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
from tensorlib.autograd.primitive cimport Node, Primitive, record1, tracking
from tensorlib.autograd.tape cimport tape_ops
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_CPU, TL_MAX_NDIM, tl_buffer, tl_call, tl_fill_params, tl_storage,
)
from tensorlib.core.dispatch cimport kernel_row, launch
from tensorlib.core.hidden cimport (
    find_level, hidden_axes, hidden_view, insert_axis, remove_axis, root_storage,
    tl_hidden, union_axes,
)
from tensorlib.core.dtype cimport dtype_sizes
from tensorlib.core.layout cimport copy_layout, update_layout
from tensorlib.core.storage cimport storage_release
from tensorlib.core.tensor cimport Tensor, new_over, new_tensor

from tensorlib.core.errors import DeviceError, GraphError, ShapeError

cdef extern from *:
    """
    static __thread struct { int open; PyObject *stack; } tl_batch_;
    """
    ctypedef struct tl_batch:
        int open             # levels of this thread
        PyObject *stack      # list of them, while there are any
    tl_batch tl_batch_

cdef uint64_t _last_level = 0
cdef dict _open = {}             # level: BatchLevel, of all threads
cdef tuple _RANDOMNESS = ("error", "different", "same")


# ---- primitives ----------------------------------------------------------------
cdef class Hide(Primitive):
    """params: (level, axis, size)."""

    cdef tuple vjp(self, Node node, Tensor g):
        level, axis, size = node.params
        return (show_axis(g, level, axis, size),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return hide_axis(<Tensor>tangents[0], node.params[0], node.params[1])


cdef class Show(Primitive):
    """params: (level, axis, size)."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (hide_axis(g, node.params[0], node.params[1]),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        level, axis, size = node.params
        return show_axis(<Tensor>tangents[0], level, axis, size)


cdef class Lift(Primitive):
    """params: the axes that were added, as (level, size) pairs."""

    cdef tuple vjp(self, Node node, Tensor g):
        shape = g.shape
        shown = 0
        for level, size in node.params:
            if level not in _open:
                g = show_axis(g, level, 0, size)
                shown += 1
        return (<Tensor>tape_ops().sum_to(g, shape) if shown else g,)

    cdef Tensor jvp(self, Node node, tuple tangents):
        cdef tl_hidden axes
        axes.n = 0
        for level, size in node.params:
            insert_axis(&axes, level, size, 0)
        return _lifted(<Tensor>tangents[0], &axes)


cdef Hide _hide = Hide("vmap_hide")
cdef Show _show = Show("vmap_show")
cdef Lift _lift = Lift("vmap_lift")


# ---- the three maps --------------------------------------------------------------
cdef tl_hidden _axes_of(Tensor x) noexcept:
    cdef tl_hidden none
    if x.buf.device_type == TL_BATCHED:
        return hidden_axes(x.buf.device_index)[0]
    none.n = 0
    none.device_type, none.device_index = x.buf.device_type, x.buf.device_index
    return none


cdef Tensor _under(Tensor x, tl_buffer *layout, const tl_hidden *axes):
    """x's memory, with this layout, under these axes."""
    cdef tl_storage *root = root_storage(x.buf.storage)
    cdef tl_storage *storage
    cdef Tensor made
    if axes.n == 0:
        layout.device_type = <uint8_t>axes.device_type
        layout.device_index = axes.device_index
        made = new_over(root, layout)
        if root != x.buf.storage:
            made.is_view = 1
            made.recorded_seen = root.recorded_writes
        return made
    storage = hidden_view(root, axes)
    layout.device_type, layout.device_index = TL_BATCHED, storage.device_index
    made = new_over(storage, layout)
    storage_release(storage)
    return made


cdef Tensor hide_axis(Tensor x, uint64_t level, int axis):
    cdef tl_buffer layout
    cdef tl_hidden axes = _axes_of(x)
    cdef int64_t size = x.buf.shape[axis]
    cdef Tensor made
    cdef int d
    insert_axis(
        &axes, level, size, x.buf.strides[axis] * dtype_sizes()[x.buf.dtype]
    )
    copy_layout(&layout, &x.buf)
    layout.ndim -= 1
    for d in range(axis, layout.ndim):
        layout.shape[d], layout.strides[d] = x.buf.shape[d + 1], x.buf.strides[d + 1]
    update_layout(&layout)
    made = _under(x, &layout, &axes)
    if x.track and tracking(x.track):
        record1(_hide, made, x, (), False, (level, axis, size))
    return made


cdef Tensor show_axis(Tensor x, uint64_t level, int axis, int64_t size):
    cdef tl_buffer layout
    cdef tl_hidden axes = _axes_of(x)
    cdef Tensor made
    cdef bint present
    cdef int d, at = find_level(&axes, level, &present)
    if not present:
        insert_axis(&axes, level, size, 0)
        x = _lifted(x, &axes)
        axes = _axes_of(x)
        at = find_level(&axes, level, &present)
    if x.buf.ndim == TL_MAX_NDIM:
        raise ShapeError(
            f"vmap: expected results of fewer than {TL_MAX_NDIM} dimensions, got "
            f"{x.shape}"
        )
    copy_layout(&layout, &x.buf)
    for d in range(x.buf.ndim - 1, axis - 1, -1):
        layout.shape[d + 1], layout.strides[d + 1] = layout.shape[d], layout.strides[d]
    layout.shape[axis] = axes.size[at]
    layout.strides[axis] = axes.stride[at] // dtype_sizes()[x.buf.dtype]
    layout.ndim += 1
    update_layout(&layout)
    remove_axis(&axes, at)
    made = _under(x, &layout, &axes)
    if x.track and tracking(x.track):
        record1(_show, made, x, (), False, (level, axis, size))
    return made


cdef Tensor _lifted(Tensor x, const tl_hidden *wanted):
    """x under the wanted axes too, the same for all examples along the new ones."""
    cdef tl_buffer layout
    cdef tl_hidden axes
    cdef tl_hidden own = _axes_of(x)
    cdef Tensor made
    cdef bint present
    cdef int i, before = own.n
    cdef list added = []
    union_axes(&axes, &own, wanted)
    if axes.n == before:
        return x
    for i in range(axes.n):
        find_level(&own, axes.level[i], &present)
        if not present:
            added.append((axes.level[i], axes.size[i]))
    copy_layout(&layout, &x.buf)
    made = _under(x, &layout, &axes)
    if x.track and tracking(x.track):
        record1(_lift, made, x, (), False, tuple(added))
    return made


cdef Tensor _sent(Tensor scalar, int device_type, int device_index):
    """The number of a CPU tensor without axes on another device, outside the graph.

    By a kernel that writes it, so nobody waits.
    """
    cdef tl_fill_params params
    cdef tl_call call
    cdef Tensor made
    cdef const tl_buffer *out
    made = new_tensor(&scalar.buf, scalar.buf.dtype, device_type, device_index)
    memcpy(params.element, scalar.buf.data, dtype_sizes()[scalar.buf.dtype])
    out = &made.buf
    call.out, call.nout, call.in_, call.nin, call.params = &out, 1, NULL, 0, &params
    launch(
        "fill", kernel_row("fill"), made.buf.device_type, made.buf.dtype, &call, 1
    )
    return made


cdef int _place(Tensor x) noexcept:
    """Which device has the memory, as a number; 0 is the CPU."""
    cdef const tl_hidden *axes
    if x.buf.device_type == TL_BATCHED:
        axes = hidden_axes(x.buf.device_index)
        return axes.device_type << 16 | axes.device_index
    return x.buf.device_type << 16 | x.buf.device_index


cdef tuple _on_one_device(str op, tuple tensors, bint batched):
    """CPU tensors of no axis follow the others to their device; others must be there.
    """
    cdef Tensor like = None, x
    cdef int place = 0
    cdef bint mixed = False
    for x in tensors:
        if x is None:
            continue
        mixed = mixed or like is not None and _place(x) != place
        if like is None or place == 0 and like.buf.ndim == 0:
            like, place = x, _place(x)
    if not mixed:
        return tensors
    return tuple([
        x if x is None or _place(<Tensor>x) == place
        else _beside_device(op, <Tensor>x, like, batched)
        for x in tensors
    ])


cdef Tensor _beside_device(str op, Tensor x, Tensor like, bint batched):
    """x where `like` is.

    A number that is differentiated stays on the host, with its place in the graph, for
    kernels take it from there. Under vmap they do not, and it moves as any tensor.
    """
    cdef int place = _place(like)
    if x.buf.ndim or _place(x):
        raise DeviceError(
            f"{op}: expected tensors on one device, got {like.device} and {x.device}"
        )
    if x.track == 0 and x.buf.device_type == TL_CPU:
        return _sent(x, place >> 16, place & 0xFFFF)
    return x.to(like.device) if batched else x


cdef tuple aligned(str op, tuple tensors):
    cdef tl_hidden axes, own
    cdef Tensor first = None, x
    cdef bint batched = False, mixed = False
    axes.n = 0
    for x in tensors:
        if x is None:
            continue
        if x.buf.device_type == TL_BATCHED:
            batched = True
        first = x if first is None else first
        mixed = mixed or not alike(first, x)
    if not mixed:
        return tensors
    tensors = _on_one_device(op, tensors, batched)
    if not batched:
        return tensors
    for x in tensors:
        if x is not None:
            own = _axes_of(x)
            union_axes(&axes, &axes, &own)
    return tuple([None if x is None else _lifted(<Tensor>x, &axes) for x in tensors])


# ---- levels ----------------------------------------------------------------------
cdef class BatchLevel:
    """One vmap call: a context in which its examples are computed together.

    Levels that are given one dict `draws`, empty at first, draw the same numbers.

    Examples
    --------
    >>> import tensorlib as tl
    >>> with BatchLevel(2) as level:
    ...     x = level.hide(tl.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), 0)
    ...     total = x.sum()
    >>> x.shape, level.show(total, 0)
    ((3,), tensor([ 6., 15.]))
    """
    cdef readonly int64_t size
    cdef readonly str randomness
    cdef uint64_t level
    cdef dict draws              # generator: its state where the first level drew
    cdef set drawn               # generators that this level used

    def __init__(self, size, randomness="error", draws=None):
        global _last_level
        if randomness not in _RANDOMNESS:
            raise ValueError(
                "vmap: expected randomness 'error', 'different' or 'same', got "
                f"{randomness!r}"
            )
        if self.level:
            raise GraphError("BatchLevel: the level was made already")
        self.size, self.randomness = size, randomness
        self.draws, self.drawn = draws, set()
        _last_level += 1
        self.level = _last_level

    def __enter__(self):
        if self.level == 0 or self.level in _open:
            raise GraphError("BatchLevel: the context is entered already")
        _open[self.level] = self
        _stack().append(self)
        tl_batch_.open += 1
        return self

    def __exit__(self, *exc_info):
        if tl_batch_.open == 0 or _stack()[-1] is not self:
            raise GraphError(
                "BatchLevel: expected to leave the innermost context of this thread, "
                "got another; use it in a with statement"
            )
        tl_batch_.open -= 1
        _stack().pop()
        del _open[self.level]
        if tl_batch_.open == 0:
            stack = <list>tl_batch_.stack
            tl_batch_.stack = NULL
            Py_DECREF(stack)

    cdef int repeat(self, object generator) except -1:
        """At the first use of a generator, do as the first level with these draws."""
        if self.draws is None or generator in self.drawn:
            return 0
        self.drawn.add(generator)
        if generator in self.draws:
            generator.set_state(self.draws[generator])
        else:
            self.draws[generator] = generator.get_state()
        return 0

    def hide(self, Tensor x not None, axis):
        """Return the tensor of the examples that lie along `axis` of `x`."""
        cdef int64_t where = axis
        if not 0 <= where < x.buf.ndim or x.buf.shape[where] != self.size:
            raise ShapeError(
                f"vmap: expected an axis of length {self.size}, got axis {axis} of "
                f"shape {x.shape}"
            )
        return hide_axis(x, self.level, <int>where)

    def show(self, Tensor x not None, axis):
        """Return the results of all examples, along `axis`."""
        cdef int64_t where = axis
        if not 0 <= where <= x.buf.ndim:
            raise ShapeError(
                f"vmap: expected an axis of the result in [0, {x.buf.ndim}], got {axis}"
            )
        return show_axis(x, self.level, <int>where, self.size)

    def holds(self, Tensor x not None):
        """Return whether `x` has a value for each example of this level."""
        cdef bint present
        cdef tl_hidden axes = _axes_of(x)
        find_level(&axes, self.level, &present)
        return present


def under_same_levels(x, *others):
    """Return `x` under every vmap that one of the others is under.

    For an op that writes into a copy of `x` what depends on the others.
    """
    return aligned("vmap", (x, *others))[0]


def is_mapping():
    """Return whether this thread is inside a vmap.

    Examples
    --------
    >>> is_mapping()
    False
    """
    return tl_batch_.open != 0


def show_levels(Tensor x not None):
    """Return `x` with its batch axes in front, and their levels for `hide_levels`.

    For an op whose kernel is not ours, to which they are further rows.
    """
    cdef tl_hidden axes = _axes_of(x)
    cdef int i
    for i in range(axes.n - 1, -1, -1):
        x = show_axis(x, axes.level[i], 0, axes.size[i])
    return x, tuple([axes.level[i] for i in range(axes.n)])


def hide_levels(Tensor x not None, tuple levels not None):
    """Return `x`, whose first axes are those of these levels, with them hidden."""
    for level in levels:
        x = hide_axis(x, level, 0)
    return x


def innermost_level(*tensors):
    """Return the last opened level of this thread that one is under, or None."""
    if tl_batch_.open:
        for level in reversed(_stack()):
            for x in tensors:
                if isinstance(x, Tensor) and level.holds(x):
                    return level
    return None


cdef list _stack():
    if tl_batch_.stack == NULL:
        fresh = []
        Py_INCREF(fresh)
        tl_batch_.stack = <PyObject *>fresh
    return <list>tl_batch_.stack


cdef int repeat_draws(object generator) except -1:
    if tl_batch_.open:
        for level in _stack():
            (<BatchLevel>level).repeat(generator)
    return 0


cdef tuple random_axes(str op):
    if tl_batch_.open == 0:
        return None
    for level in _stack():
        if (<BatchLevel>level).randomness == "error":
            raise GraphError(
                f"{op}: under vmap it is not said whether the examples share their "
                "random numbers; pass randomness='different' or 'same' to vmap"
            )
    differing = [x for x in _stack() if (<BatchLevel>x).randomness == "different"]
    if not differing:
        return None
    return (
        tuple([(<BatchLevel>x).size for x in differing]),
        [(<BatchLevel>x).level for x in differing],
    )
