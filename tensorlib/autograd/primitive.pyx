"""Primitives and the tape's nodes.

An op is one `Primitive` instance: its kernels' row in the table and its two
derivative rules. Applying it outside a recording costs a kernel call; when an input
requires grad (or carries a tangent) the application is recorded as a `Node`.

A node holds edges to the nodes of its inputs (or to leaf tensors), never the inputs
themselves, and only those tensors that its rules read. Of the output, where a rule
reads it, the node holds the memory alone, because the output holds the node.

References
----------
A. Griewank, A. Walther, "Evaluating Derivatives", 2nd ed., SIAM 2008, chapters 3-4.
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from tensorlib.autograd.autocast cimport switch_autocast
from tensorlib.autograd.dual cimport active_level, add_tangent, hold, tangent_at
from tensorlib.autograd.hooks cimport GradHooks
from tensorlib.autograd.saved cimport (
    SavedTensor, check_no_inference, hooks_are_set, raise_changed, save, saved_at,
    saving_watched, set_hooks_aside,
)
from tensorlib.core.abi cimport TL_C_CONTIGUOUS, tl_buffer, tl_call
from tensorlib.core.hidden cimport version_of
from tensorlib.core.dispatch cimport (
    kernel_row, launch, thread_state, tl_thread_state,
)
from tensorlib.core.layout cimport set_contiguous
from tensorlib.core.pooled cimport tl_pool
from tensorlib.core.provenance cimport drop_place, place_here, place_text
from tensorlib.core.sealed cimport tl_seal
from tensorlib.core.storage cimport storage_release, storage_retain
from tensorlib.core.tensor cimport (
    TRACK_GRAD, TRACK_TANGENT, Tensor, new_over, operators,
)

from tensorlib.core.errors import GraphError

cdef uint64_t _sequence = 0
cdef list _primitives = []
# Not zero while recording has more to do than to link a node.
cdef int *_watched = saving_watched()


cdef class Primitive:
    """An operation that autograd knows.

    Attributes
    ----------
    name : str
        The op's name, also its kernels' name in the table.
    """

    def __cinit__(self, str name, *args, str kernel=None, **kwargs):
        # Subclasses take further arguments; Cython hands all of them to each.
        self.name = name
        self.encoded_name = name.encode()
        self.c_name = self.encoded_name
        self.row = kernel_row(name if kernel is None else kernel)
        self.analytic = True
        _primitives.append(self)

    def __repr__(self):
        return f"<primitive {self.name}>"

    cdef tuple vjp(self, Node node, Tensor g):
        raise GraphError(f"{self.name}: is not differentiable")

    cdef Tensor jvp(self, Node node, tuple tangents):
        raise GraphError(f"{self.name}: has no forward-mode derivative")

    cdef Tensor place_in(self, Node node, Tensor total):
        return None

    cdef str label(self, Node node):
        return self.name


@cython.final
cdef class NodeExtras:
    """What few nodes have: hooks, packed tensors."""


@cython.final
@cython.binding(False)   # method descriptors, unlike functions, check self
@cython.embedsignature.format("clinic")   # and show their arguments so
cdef class Node:
    """One recorded application of a primitive.

    Attributes
    ----------
    primitive : Primitive
    params : object
        The op's parameters, as the op keeps them.
    sequence : int
        The place in the order of recording.
    """

    @property
    def name(self):
        """The name of the op or function that was applied."""
        return self.primitive.label(self)

    @property
    def next_functions(self):
        """The nodes and leaf tensors that produced the inputs; None where none."""
        return tuple([edge_at(self, i) for i in range(self.inputs)])

    @property
    def shape(self):
        """The shape of the output."""
        return self.shape_tuple()

    def __repr__(self):
        return f"<{self.name} node>"

    def forget_tangents(self):
        """Drop the output's tangents; called when the last jvp has ended."""
        self.tangents = None

    def watch(self, GradHooks hooks not None):
        """Run `hooks` on the gradient of this node's output."""
        self.more().hooks = hooks

    def origin_text(self):
        """Return ``file:line: source`` of what recorded it, "" when not known."""
        return place_text(&self.place)

    cdef NodeExtras more(self):
        if self.extras is None:
            self.extras = NodeExtras.__new__(NodeExtras)
        return self.extras

    cdef tuple shape_tuple(self):
        return tuple([self.extents[d] for d in range(self.ndim)])

    cdef Tensor get(self, int i):
        cdef Tensor x
        if self.saved is None:
            return self.unpacked(i)
        x = <Tensor>self.saved[i]
        if version_of(x.buf.storage) != self.versions[i]:
            raise_changed(self, x.buf.storage, x.shape, self.versions[i])
        return x

    cdef Tensor unpacked(self, int i):
        cdef SavedTensor item
        if self.extras is None or self.extras.packed is None:
            raise GraphError(
                f"backward: the tensors saved by {self.name} were freed by an earlier "
                "backward; pass retain_graph=True to the first one" + saved_at(self)
            )
        item = <SavedTensor>self.extras.packed[i]
        return None if item is None else item.get(self)

    cdef int saved_count(self) noexcept:
        if self.saved is not None:
            return <int>len(self.saved)
        if self.extras is not None and self.extras.packed is not None:
            return <int>len(self.extras.packed)
        return 0

    cdef bint has_saved(self, int i) noexcept:
        if self.saved is not None:
            return self.saved[i] is not None
        if self.extras is not None and self.extras.packed is not None:
            return self.extras.packed[i] is not None
        return True    # released: get says so

    cdef Tensor output(self):
        cdef tl_buffer layout
        if self.out_storage == NULL:
            return self._placed(self._packed_output())
        if self.out_storage.version != self.out_version:
            raise_changed(
                self, self.out_storage, self.shape_tuple(), self.out_version
            )
        layout.ndim, layout.dtype = self.ndim, self.dtype
        layout.device_type, layout.device_index = self.device_type, self.device_index
        layout.data = self.out_data
        for d in range(self.ndim):
            layout.shape[d] = self.extents[d]
        set_contiguous(&layout)
        return self._placed(new_over(self.out_storage, &layout))

    cdef Tensor _packed_output(self):
        if self.extras is None or self.extras.out is None:
            raise GraphError(
                f"backward: the output saved by {self.name} was freed by an earlier "
                "backward; pass retain_graph=True to the first one" + saved_at(self)
            )
        return self.extras.out.get(self)

    cdef Tensor _placed(self, Tensor x):
        """Put an alias of the output where the output is: in the graph, with tangents.
        """
        if not thread_state().grad_disabled and self.recorded():
            x.node = self
            x.track |= TRACK_GRAD
        if self.tangents is not None:
            x.tangent = self.tangents
            x.track |= TRACK_TANGENT
        return x

    cdef int input_shape(self, int i, tl_buffer *shape) except -1:
        cdef object edge = edge_at(self, i)
        cdef int d
        if type(edge) is Tensor:
            shape.ndim = (<Tensor>edge).buf.ndim
            for d in range(shape.ndim):
                shape.shape[d] = (<Tensor>edge).buf.shape[d]
        else:
            shape.ndim = (<Node>edge).ndim
            for d in range(shape.ndim):
                shape.shape[d] = (<Node>edge).extents[d]
        return 0

    cdef bint recorded(self) noexcept:
        """Whether any input requires grad (a node may serve forward mode alone)."""
        cdef int i
        for i in range(self.inputs):
            if edge_at(self, i) is not None:
                return True
        return False

    cdef bint needs(self, int i) noexcept:
        if i < SPARED and self.spared >> i & 1:
            return False
        return edge_at(self, i) is not None

    cdef void release(self) noexcept:
        self.released = 1
        self.saved = None
        if self.out_storage != NULL:
            storage_release(self.out_storage)
            self.out_storage = NULL
        if self.extras is not None:
            self.extras.packed = None
            self.extras.out = None


cdef bint tracking(int track) noexcept:
    cdef tl_thread_state *state
    if track == 0:
        return False
    state = thread_state()
    return (track & TRACK_GRAD and not state.grad_disabled) or (
        track & TRACK_TANGENT and state.forward_mode
    )


cdef bint differentiated() noexcept:
    cdef tl_thread_state *state = thread_state()
    return state.forward_mode != 0 or not state.grad_disabled


cdef inline object edge_to(Tensor x):
    """What a gradient of x flows to: its node, itself when a leaf, or nothing."""
    if not x.track & TRACK_GRAD or thread_state().grad_disabled:
        return None
    if x.node is None:
        return x
    if x.is_view and x.recorded_seen != x.buf.storage.recorded_writes:
        raise GraphError(
            "this tensor is a view of a tensor that was changed in place after the "
            "view was taken, so its gradient would be wrong; take the view again"
        )
    return x.node


cdef int _link(
    Node node, Primitive p, Tensor out, tuple saved, bint save_out, object params
) except -1:
    global _sequence
    cdef int i
    cdef Tensor x
    _sequence += 1
    node.sequence = _sequence
    place_here(&node.place)
    node.primitive = p
    node.params = params
    node.saved = saved
    for i in range(len(saved)):
        x = <Tensor>saved[i]
        if x is not None:
            node.versions[i] = version_of(x.buf.storage)
    if save_out and not out.buf.flags & TL_C_CONTIGUOUS:
        _keep_out(node, out)
    elif save_out:
        storage_retain(out.buf.storage)
        node.out_storage, node.out_data = out.buf.storage, out.buf.data
        node.out_version = out.buf.storage.version
    node.device_type = out.buf.device_type
    node.device_index = out.buf.device_index
    node.dtype = out.buf.dtype
    node.ndim = out.buf.ndim
    for i in range(out.buf.ndim):
        node.extents[i] = out.buf.shape[i]
    return 0


cdef int _keep_out(Node node, Tensor out) except -1:
    """Keep an output of another order than C as a tensor, not packed as yet."""
    set_hooks_aside(1)
    try:
        node.more().out = save(out, True)
    finally:
        set_hooks_aside(-1)
    return 0


cdef int _record_watched(Node node, Tensor out) except -1:
    """Refuse inference tensors, pack what is saved.

    Comes last: jvp rules have read what was saved by now.
    """
    cdef bint save_out = node.out_storage != NULL or (
        node.extras is not None and node.extras.out is not None
    )
    for x in node.saved:
        if x is not None:
            check_no_inference(node.primitive.name, <Tensor>x)
    if save_out:
        check_no_inference(node.primitive.name, out)
    if not hooks_are_set():
        return 0
    packed = tuple([None if x is None else save(<Tensor>x, False) for x in node.saved])
    node.more().packed = packed
    node.saved = None
    if save_out:
        node.extras.out = save(out, True)
        if node.out_storage != NULL:
            storage_release(node.out_storage)
            node.out_storage = NULL
    return 0


cdef bint _any_at(tuple inputs, uint64_t level) noexcept:
    for x in inputs:
        if tangent_at(<Tensor>x, level) is not None:
            return True
    return False


cdef int _carry(Node node, Tensor out, tuple inputs) except -1:
    """Give out a tangent at each level at which an input has one.

    From the outermost level inwards: the rule for a level is a function of duals of
    the levels below it, among them the output itself.
    """
    cdef tl_thread_state *state = thread_state()
    cdef int i, active = state.forward_mode
    cdef uint64_t level, autocast = switch_autocast(0)
    cdef Tensor tangent
    set_hooks_aside(1)
    try:
        for i in range(active):
            level = active_level(i)
            if not _any_at(inputs, level):
                continue
            state.forward_mode = i
            tangent = node.primitive.jvp(
                node, tuple([tangent_at(<Tensor>x, level) for x in inputs])
            )
            if tangent is not None:
                add_tangent(out, level, tangent)
                if node.out_storage != NULL:
                    node.tangents = out.tangent
    finally:
        state.forward_mode = active
        switch_autocast(autocast)
        set_hooks_aside(-1)
    if node.tangents is not None:
        if node.recorded():
            hold(node)
        else:
            node.tangents = None    # nobody will run this node's vjp
    return 0


cdef int _finish(Node node, Tensor out, tuple inputs, int track) except -1:
    """Hang the node on the output and carry the tangents on."""
    if track & TRACK_GRAD and not thread_state().grad_disabled:
        out.node = node
        out.track |= TRACK_GRAD
    if track & TRACK_TANGENT and thread_state().forward_mode:
        _carry(node, out, inputs)
    if _watched[0]:
        _record_watched(node, out)
    return 0


cdef int record1(
    Primitive p, Tensor out, Tensor a, tuple saved, bint save_out, object params
) except -1:
    cdef Node node = Node.__new__(Node)
    node.inputs = 1
    node.first = edge_to(a)
    _link(node, p, out, saved, save_out, params)
    if a.track == TRACK_GRAD and not _watched[0]:
        out.node = node
        out.track |= TRACK_GRAD
        return 0
    return _finish(node, out, (a,), a.track)


cdef int record2(
    Primitive p, Tensor out, Tensor a, Tensor b, tuple saved, bint save_out,
    object params
) except -1:
    cdef Node node = Node.__new__(Node)
    node.inputs = 2
    node.first = edge_to(a)
    node.second = edge_to(b)
    _link(node, p, out, saved, save_out, params)
    if a.track | b.track == TRACK_GRAD and not _watched[0]:
        out.node = node
        out.track |= TRACK_GRAD
        return 0
    return _finish(node, out, (a, b), a.track | b.track)


cdef int record(
    Primitive p, Tensor out, tuple inputs, tuple saved, bint save_out, object params
) except -1:
    cdef Node node = Node.__new__(Node)
    cdef int track = 0
    for x in inputs:
        track |= (<Tensor>x).track
    node.inputs = <int>len(inputs)
    if node.inputs:
        node.first = edge_to(<Tensor>inputs[0])
    if node.inputs > 1:
        node.second = edge_to(<Tensor>inputs[1])
    if node.inputs > 2:
        node.rest = tuple([edge_to(<Tensor>x) for x in inputs[2:]])
    _link(node, p, out, saved, save_out, params)
    return _finish(node, out, inputs, track)


cdef int run(
    Primitive p, int dtype, const tl_buffer **out, int nout,
    const tl_buffer **inputs, int nin, const void *params, int64_t work
) except -1:
    cdef tl_call call
    call.out = out
    call.nout = nout
    call.in_ = inputs
    call.nin = nin
    call.params = params
    return launch(p.name, p.row, out[0].device_type, dtype, &call, work)


cdef int run1(
    Primitive p, Tensor out, const tl_buffer *a, const void *params
) except -1:
    cdef const tl_buffer *target = &out.buf
    return run(p, a.dtype, &target, 1, &a, 1, params, a.size)


cdef int run2(
    Primitive p, Tensor out, const tl_buffer *a, const tl_buffer *b,
    const void *params
) except -1:
    cdef const tl_buffer *target = &out.buf
    cdef const tl_buffer *inputs[2]
    inputs[0] = a
    inputs[1] = b
    return run(p, a.dtype, &target, 1, inputs, 2, params, out.buf.size)


cdef Tensor add_tangents(Tensor a, Tensor b):
    if a is None:
        return b
    if b is None:
        return a
    return <Tensor>operators().add(a, b)


def primitives():
    """Return every primitive that exists, in the order of definition.

    Examples
    --------
    >>> any(p.name == "exp" for p in primitives())
    True
    """
    return list(_primitives)


cdef void _before_free(PyObject *x) noexcept:
    if (<Node>x).out_storage != NULL:
        storage_release((<Node>x).out_storage)
    drop_place(&(<Node>x).place)


cdef int _pool_nodes() except -1:
    cdef Node x = Node.__new__(Node)
    cdef char *start = <char *><PyObject *>x
    tl_pool(
        Node, _before_free,
        <char *>&x.versions - start, <char *>(&x.extents + 1) - start, True,
    )
    return 0


_pool_nodes()
tl_seal(Node)
