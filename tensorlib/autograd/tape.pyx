"""The reverse pass over the tape.

Nodes are visited in falling order of their sequence number, kept in a binary heap:
every consumer of a tensor was recorded after its producer, so when a node comes up
its cotangent is complete, and no count of edges is needed beforehand. A chain keeps
one entry in the heap; nothing recurses.

Rules run as ordinary Tensor operations. With ``create_graph`` they are recorded in
turn, which makes a gradient differentiable: reverse-mode differentiation extends the
graph rather than walking it backwards in place.
"""
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from tensorlib.autograd.autocast cimport switch_autocast
from tensorlib.autograd.hooks cimport GradHooks
from tensorlib.autograd.primitive cimport SPARED, Node, edge_at
from tensorlib.core.abi cimport TL_BATCHED, TL_C_CONTIGUOUS, TL_CPU, TL_CUDA, tl_buffer
from tensorlib.core.dispatch cimport thread_state
from tensorlib.core.dtype cimport is_complex_code, is_inexact_code
from tensorlib.core.layout cimport is_dense, same_shape
from tensorlib.core.tensor cimport (
    TRACK_GRAD, Tensor, check_alignable, operators,
)

from tensorlib.core.errors import DTypeError, GraphError, ShapeError

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *o) noexcept nogil

cdef TapeOps _tape_ops
cdef uint64_t _runs = 0


cdef TapeOps *tape_ops() noexcept:
    return &_tape_ops


# ---- heap ----------------------------------------------------------------------
cdef struct Heap:
    PyObject **items      # counted references to nodes, largest sequence first
    Py_ssize_t size
    Py_ssize_t capacity


cdef inline uint64_t _key(PyObject *item) noexcept:
    return (<Node>item).sequence


cdef int _push(Heap *heap, Node node) except -1:
    cdef Py_ssize_t i, parent
    cdef PyObject **grown
    if heap.size == heap.capacity:
        heap.capacity = 2 * heap.capacity + 16
        grown = <PyObject **>realloc(heap.items, heap.capacity * sizeof(PyObject *))
        if grown == NULL:
            raise MemoryError("backward: no memory for the queue of nodes")
        heap.items = grown
    Py_INCREF(node)
    i = heap.size
    heap.size += 1
    while i > 0:
        parent = (i - 1) // 2
        if _key(heap.items[parent]) >= node.sequence:
            break
        heap.items[i] = heap.items[parent]
        i = parent
    heap.items[i] = <PyObject *>node
    return 0


cdef Node _pop(Heap *heap):
    cdef PyObject *top = heap.items[0]
    cdef PyObject *last
    cdef Py_ssize_t i = 0, child
    cdef Node node = <Node>top
    heap.size -= 1
    last = heap.items[heap.size]
    while True:
        child = 2 * i + 1
        if child >= heap.size:
            break
        if child + 1 < heap.size and _key(heap.items[child + 1]) > _key(
            heap.items[child]
        ):
            child += 1
        if _key(heap.items[child]) <= _key(last):
            break
        heap.items[i] = heap.items[child]
        i = child
    if heap.size:
        heap.items[i] = last
    Py_DECREF(node)
    return node


# ---- accumulation --------------------------------------------------------------
cdef inline bint _is_ours_alone(PyObject *tensor, Py_ssize_t references) noexcept:
    """Whether nobody else can see its memory, given the references we hold."""
    cdef Tensor x = <Tensor>tensor
    return (
        Py_REFCNT(tensor) == references + 1
        and x.buf.storage.refcount == 1
        and (x.buf.flags & TL_C_CONTIGUOUS or is_dense(&x.buf))
        and x.buf.storage.flags == 0
        and x.track == 0
    )


cdef inline bint _is_on_same(Tensor a, Tensor b) noexcept:
    """Whether b may be added to a in place: under vmap b may have more to it."""
    return (
        a.buf.device_type == b.buf.device_type
        and a.buf.device_index == b.buf.device_index
    )


cdef bint _has_shape(const tl_buffer *b, Node node) noexcept:
    cdef int d
    if b.ndim != node.ndim:
        return False
    for d in range(b.ndim):
        if b.shape[d] != node.extents[d]:
            return False
    return True


cdef int _to_node(Heap *heap, Node node, Tensor g, uint64_t run) except -1:
    """Add g to the cotangent of node; queue the node when it is the first."""
    if not _has_shape(&g.buf, node):
        g = <Tensor>_tape_ops.sum_to(g, node.shape_tuple())
    if g.buf.dtype != node.dtype:
        g = <Tensor>_tape_ops.cast(g, node.dtype)
    if g.buf.device_type == TL_CUDA and node.device_type == TL_CPU:
        g = <Tensor>_tape_ops.to_host(g)
    if node.cotangent is None:
        node.run = run
        node.cotangent = g
        return _push(heap, node)
    if node.run != run:
        raise GraphError("backward: another thread's backward is on the same graph")
    if g.track == 0 and _is_on_same(<Tensor>node.cotangent, g) and (
        _is_ours_alone(<PyObject *>node.cotangent, 1)
    ):
        _tape_ops.accumulate(node.cotangent, g)
    else:
        node.cotangent = operators().add(node.cotangent, g)
    return 0


cdef Tensor _fit_leaf(Tensor leaf, Tensor g):
    if not same_shape(&g.buf, &leaf.buf):
        g = <Tensor>_tape_ops.sum_to(g, leaf.shape)
    if g.buf.dtype != leaf.buf.dtype:
        g = <Tensor>_tape_ops.cast(g, leaf.buf.dtype)
    if g.buf.device_type == TL_CUDA and leaf.buf.device_type == TL_CPU:
        g = <Tensor>_tape_ops.to_host(g)
    return g


cdef int _to_leaf(Tensor leaf, Tensor g, Py_ssize_t references) except -1:
    """Add g to leaf.grad; references counts those that the caller holds on g."""
    cdef Tensor fitted = _fit_leaf(leaf, g)
    if fitted is g:
        references += 1
    else:
        references = 1
    if fitted.buf.device_type == TL_BATCHED and leaf.buf.device_type != TL_BATCHED:
        raise GraphError(
            "backward: under vmap the gradient of this leaf differs between the "
            "examples, and .grad has room for one; use tl.grad or tl.vjp inside vmap"
        )
    if leaf.grad_ is None:
        if fitted.track == 0 and not _is_ours_alone(<PyObject *>fitted, references):
            fitted = <Tensor>_tape_ops.copy(fitted)
        leaf.grad_ = fitted
    elif fitted.track == 0 and _is_on_same(<Tensor>leaf.grad_, fitted) and (
        _is_ours_alone(<PyObject *>leaf.grad_, 1)
    ):
        _tape_ops.accumulate(leaf.grad_, fitted)
    else:
        leaf.grad_ = operators().add(leaf.grad_, fitted)
    return 0


# ---- the pass ------------------------------------------------------------------
cdef class _Pass:
    """One reverse pass: its queue, its captures, its options."""
    cdef Heap heap
    cdef uint64_t run
    cdef bint retain
    cdef dict captures      # id(Node or leaf) -> list of result slots; None: leaves
    cdef list results
    cdef PyObject *current  # borrowed: the node that is visited; NULL before and after
    cdef dict waiting       # id(leaf with hooks) -> [leaf, sum so far, edges to come]

    def __cinit__(self):
        global _runs
        _runs += 1
        self.run = _runs

    def __dealloc__(self):
        self.clear()

    cdef void clear(self) noexcept:
        cdef Py_ssize_t i
        for i in range(self.heap.size):
            (<Node>self.heap.items[i]).cotangent = None
            Py_DECREF(<Node>self.heap.items[i])
        self.heap.size = 0
        self.heap.capacity = 0
        free(self.heap.items)
        self.heap.items = NULL

    cdef int feed(self, object edge, Tensor g, Py_ssize_t references) except -1:
        if type(edge) is Node:
            if self.captures is None or (<Node>edge).wanted == self.run:
                _to_node(&self.heap, <Node>edge, g, self.run)
        elif (<Tensor>edge).hooks is not None:
            self.wait(<Tensor>edge, g)
        elif self.captures is None:
            _to_leaf(<Tensor>edge, g, references + 1)
        elif id(edge) in self.captures:
            self.capture(id(edge), _fit_leaf(<Tensor>edge, g))
        return 0

    cdef int capture(self, object key, Tensor g) except -1:
        for slot in self.captures[key]:
            if self.results[slot] is None:
                self.results[slot] = g
            else:
                self.results[slot] = operators().add(self.results[slot], g)
        return 0

    cdef int wait(self, Tensor leaf, Tensor g) except -1:
        """Sum what a leaf with hooks gets: they see its whole gradient, once."""
        cdef object key = id(leaf)
        if self.captures is not None and key not in self.captures:
            return 0
        if self.waiting is None:
            self.waiting = {}
            self.expect_hooked_leaves()
        g = _fit_leaf(leaf, g)
        entry = self.waiting.setdefault(key, [leaf, None, 0])
        entry[1] = g if entry[1] is None else operators().add(entry[1], g)
        if self.current != NULL:
            entry[2] -= 1
        if self.current != NULL and entry[2] == 0:
            del self.waiting[key]
            self.settle(leaf, <Tensor>entry[1])
        return 0

    cdef int expect_hooked_leaves(self) except -1:
        """Count the edges to leaves with hooks from what is still to be visited.

        An edge may turn out to carry nothing; such leaves are settled at the end.
        """
        cdef set met = set()
        cdef list stack = []
        cdef Py_ssize_t i
        if self.current != NULL:
            stack.append(<Node>self.current)
        for i in range(self.heap.size):
            stack.append(<Node>self.heap.items[i])
        while stack:
            node = stack.pop()
            if node in met:
                continue
            met.add(node)
            for i in range((<Node>node).inputs):
                edge = edge_at(<Node>node, i)
                if type(edge) is Node:
                    stack.append(edge)
                elif edge is not None and (<Tensor>edge).hooks is not None:
                    entry = self.waiting.setdefault(id(edge), [edge, None, 0])
                    entry[2] += 1
        return 0

    cdef int settle(self, Tensor leaf, Tensor g) except -1:
        g = (<GradHooks>leaf.hooks).run(g)
        if self.captures is not None:
            return self.capture(id(leaf), g)
        _to_leaf(leaf, g, 1)
        return (<GradHooks>leaf.hooks).accumulated(leaf)

    cdef int settle_rest(self) except -1:
        for entry in list(self.waiting.values()):
            if entry[1] is not None:
                self.settle(<Tensor>entry[0], <Tensor>entry[1])
        return 0

    cdef bint leads_on(self, Node node) except -1:
        """Whether anything is wanted below this node, itself perhaps a target.

        Its rule then leaves out the inputs that lead to nothing wanted.
        """
        cdef bint leads = False, wanted
        cdef int i
        if node.inputs == 1 and id(node) not in self.captures:
            return True
        for i in range(node.inputs):
            edge = edge_at(node, i)
            if type(edge) is Node:
                wanted = (<Node>edge).wanted == self.run
            else:
                wanted = edge is not None and id(edge) in self.captures
            if wanted:
                leads = True
            elif i < SPARED:
                node.spared |= <uint32_t>1 << i
        return leads

    cdef bint add_in_place(self, Node node, Tensor g) except -1:
        """Add g to its place in the cotangent of the node's input, if it has both."""
        cdef Tensor total, place
        cdef object edge = edge_at(node, 0)
        if type(edge) is not Node or (<Node>edge).cotangent is None:
            return False
        total = <Tensor>(<Node>edge).cotangent
        # Two references: the node's and ours.
        if (
            (<Node>edge).run != self.run or g.track or g.buf.dtype != total.buf.dtype
            or g.buf.device_type == TL_BATCHED or not _is_on_same(total, g)
            or not _is_ours_alone(<PyObject *>total, 2)
        ):
            return False
        place = node.primitive.place_in(node, total)
        if place is None:
            return False
        _tape_ops.accumulate(place, g)
        return True

    cdef int drain(self) except -1:
        cdef Node node = None
        cdef Tensor g
        cdef tuple grads
        cdef Py_ssize_t i
        try:    # around the loop: entering it costs a node nothing
            while self.heap.size:
                node = _pop(&self.heap)
                self.current = <PyObject *>node
                g = <Tensor>node.cotangent
                node.cotangent = None
                if node.extras is not None and node.extras.hooks is not None:
                    g = node.extras.hooks.run(g)
                if self.captures is not None:
                    if id(node) in self.captures:
                        self.capture(id(node), g)
                    if not self.leads_on(node):
                        node.spared = 0
                        continue
                if node.inputs == 1 and self.add_in_place(node, g):
                    g = None
                    if not self.retain:
                        node.release()
                    continue
                grads = _pulled_back(node, g)
                node.spared = 0
                g = None
                for i in range(node.inputs):
                    edge = edge_at(node, i)
                    if edge is not None and grads[i] is not None:
                        self.feed(edge, <Tensor>grads[i], 1)
                # Held on to, it would outlive its readers by the next rule's run.
                grads = None
                if not self.retain:
                    node.release()
            node = None
            self.current = NULL
            if self.waiting is not None:
                self.settle_rest()
        except Exception as error:
            if node is not None:
                node.spared = 0
            _note_node(error, node)
            raise
        return 0


cdef int _note_node(object error, Node node) except -1:
    """Say on an error whose backward it comes from, once."""
    if node is not None and not getattr(error, "_noted_node", False):
        try:
            error._noted_node = True
        except AttributeError:    # an exception class with __slots__
            return 0
        where = node.origin_text()
        where = f", recorded at {where}" if where else ""
        error.add_note(f"in the backward of {node.name}{where}")
    return 0


cdef tuple _pulled_back(Node node, Tensor g):
    """The gradients with respect to the node's inputs; see ops/complex.pyx."""
    cdef tuple grads
    if not is_complex_code(g.buf.dtype) or not node.primitive.analytic:
        return node.primitive.vjp(node, g)
    grads = node.primitive.vjp(node, <Tensor>_tape_ops.conj(g))
    return tuple([None if each is None else _tape_ops.conj(each) for each in grads])


cdef Tensor _seed(str op, Tensor output, object cotangent):
    """The cotangent of an output: given, or one for a scalar."""
    if not output.track & TRACK_GRAD:
        raise GraphError(
            f"{op}: the tensor does not require grad, so there is nothing to "
            "differentiate; set requires_grad=True on an input"
        )
    if cotangent is None:
        if is_complex_code(output.buf.dtype):
            raise GraphError(
                f"{op}: expected a real output, got {output.dtype}; pass the cotangent "
                "(gradient=) explicitly, or take a real function of it"
            )
        if output.buf.size != 1:
            raise GraphError(
                f"{op}: expected a scalar output, got shape {output.shape}; pass the "
                "cotangent (gradient=) explicitly"
            )
        return <Tensor>_tape_ops.ones_like(output)
    if not isinstance(cotangent, Tensor):
        raise TypeError(
            f"{op}: expected a Tensor as cotangent, got {type(cotangent).__name__}"
        )
    if not same_shape(&output.buf, &(<Tensor>cotangent).buf):
        raise ShapeError(
            f"{op}: expected a cotangent of shape {output.shape}, "
            f"got {cotangent.shape}"
        )
    if not is_inexact_code((<Tensor>cotangent).buf.dtype):
        raise DTypeError(f"{op}: expected a float cotangent, got {cotangent.dtype}")
    check_alignable(op, output, <Tensor>cotangent)
    return <Tensor>cotangent


def _sequence(Node node):
    return node.sequence


cdef int _mark_wanted(list roots, dict targets, uint64_t run) except -1:
    """Mark the nodes below roots from which a target can be reached."""
    cdef list found = []
    cdef list stack = [root for root in roots if type(root) is Node]
    cdef Node node
    cdef int i
    while stack:
        node = <Node>stack.pop()
        if node.seen == run:
            continue
        node.seen = run
        found.append(node)
        for i in range(node.inputs):
            edge = edge_at(node, i)
            if type(edge) is Node and (<Node>edge).seen != run:
                stack.append(edge)
    found.sort(key=_sequence)    # producers before consumers
    for node in found:
        if id(node) in targets:
            node.wanted = run    # whether more is wanted below it is seen in the pass
            continue
        for i in range(node.inputs):
            edge = edge_at(node, i)
            leads = type(edge) is Node and (<Node>edge).wanted == run
            if leads or (edge is not None and id(edge) in targets):
                node.wanted = run
                break
    return 0


def leads_beyond(outputs, inputs):
    """Return whether the graph below `outputs` has leaves other than `inputs`.

    The search stops at the inputs, which may be in the middle of the graph.

    Parameters
    ----------
    outputs, inputs : sequence of Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> x, w = tl.ones(1, requires_grad=True), tl.ones(1, requires_grad=True)
    >>> leads_beyond([x * 2], [x]), leads_beyond([x * w], [x])
    (False, True)
    """
    global _runs
    cdef Tensor x
    cdef Node node
    cdef set own = set()
    cdef list stack = []
    _runs += 1
    for item in _as_list("leads_beyond", "inputs", inputs):
        x = <Tensor>item
        own.add(id(x if x.node is None else x.node))
    for item in _as_list("leads_beyond", "outputs", outputs):
        x = <Tensor>item
        if x.track & TRACK_GRAD:
            stack.append(x if x.node is None else x.node)
    while stack:
        edge = stack.pop()
        if edge is None or id(edge) in own:
            continue
        if type(edge) is Tensor:
            return True
        node = <Node>edge
        if node.seen != <uint64_t>_runs:
            node.seen = _runs
            stack.extend(node.next_functions)
    return False


cdef list _as_list(str op, str what, object tensors):
    if isinstance(tensors, Tensor):
        return [tensors]
    try:
        found = list(tensors)
    except TypeError:
        found = [tensors]
    for item in found:
        if not isinstance(item, Tensor):
            raise TypeError(
                f"{op}: expected a Tensor or a sequence of them as {what}, "
                f"got {type(item).__name__}"
            )
    return found


cdef list _differentiate(
    str op, list outputs, list cotangents, list inputs, bint retain, bint create_graph
):
    """Run a reverse pass; gradients of inputs as a list, of leaves when None."""
    cdef _Pass state = _Pass()
    cdef int before = thread_state().grad_disabled
    cdef uint64_t autocast
    cdef list seeds = [
        _seed(op, <Tensor>y, c) for y, c in zip(outputs, cotangents, strict=True)
    ]
    roots = [(<Tensor>y).node if (<Tensor>y).node is not None else y for y in outputs]
    state.retain = retain
    if inputs is not None:
        state.captures = {}
        state.results = [None] * len(inputs)
        for slot, x in enumerate(inputs):
            if not (<Tensor>x).track & TRACK_GRAD:
                raise GraphError(f"{op}: input {slot} does not require grad")
            target = (<Tensor>x).node if (<Tensor>x).node is not None else x
            state.captures.setdefault(id(target), []).append(slot)
        _mark_wanted(roots, state.captures, state.run)
    thread_state().grad_disabled = 0 if create_graph else 1
    # Rules compute in the dtypes that the forward pass chose.
    autocast = switch_autocast(0)
    try:
        for root, seed in zip(roots, seeds):
            state.feed(root, <Tensor>seed, 2)
        seeds = None
        state.drain()
    finally:
        thread_state().grad_disabled = before
        switch_autocast(autocast)
        state.clear()
    return state.results


def backward(tensor, gradient=None, retain_graph=None, create_graph=False, inputs=None):
    """Accumulate the gradient of `tensor` into the leaves that made it.

    Parameters
    ----------
    tensor : Tensor
        The output; a scalar unless `gradient` is given.
    gradient : Tensor, optional
        The cotangent, of the output's shape; 1 for a scalar output.
    retain_graph : bool, optional
        Keep what the graph saved, so that it can be differentiated again. Defaults
        to `create_graph`.
    create_graph : bool, default False
        Record the gradient's computation, so that it can be differentiated.
    inputs : sequence of Tensor, optional
        Accumulate into these only.

    Raises
    ------
    GraphError
        If nothing requires grad, the output is not a scalar and no cotangent is
        given, the graph was freed, or a saved tensor was changed in place.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([4., 6.])
    """
    cdef Tensor x
    if not isinstance(tensor, Tensor):
        raise TypeError(f"backward: expected a Tensor, got {type(tensor).__name__}")
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        _differentiate("backward", [tensor], [gradient], None, retain, create_graph)
        return
    wanted = _as_list("backward", "inputs", inputs)
    found = _differentiate(
        "backward", [tensor], [gradient], wanted, retain, create_graph
    )
    for item, g in zip(wanted, found):
        x = <Tensor>item
        if g is not None:
            x.grad_ = _tape_ops.copy(g) if x.grad_ is None else x.grad_ + g


def grad(
    outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, *,
    allow_unused=False,
):
    """Return the gradients of `outputs` with respect to `inputs`.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
    grad_outputs : Tensor or sequence of Tensor or None, optional
        Cotangent of each output; may be left out for scalars.
    retain_graph, create_graph : bool, optional
        As in `backward`.
    allow_unused : bool, default False
        Return None for an input that the outputs do not depend on, instead of
        raising.

    Returns
    -------
    tuple of Tensor
        One gradient an input, of its shape and dtype.

    Raises
    ------
    GraphError
        As in `backward`, and for an unused input unless `allow_unused`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor(3.0, requires_grad=True)
    >>> (first,) = tl.autograd.grad(x * x * x, x, create_graph=True)
    >>> (second,) = tl.autograd.grad(first, x)
    >>> first.item(), second.item()
    (27.0, 18.0)
    """
    outputs = _as_list("grad", "outputs", outputs)
    inputs = _as_list("grad", "inputs", inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    else:
        grad_outputs = list(grad_outputs)
    if len(grad_outputs) != len(outputs):
        raise ValueError(
            f"grad: expected {len(outputs)} grad_outputs, got {len(grad_outputs)}"
        )
    retain = create_graph if retain_graph is None else retain_graph
    found = _differentiate("grad", outputs, grad_outputs, inputs, retain, create_graph)
    if not allow_unused and None in [g if g is None else True for g in found]:
        unused = [i for i, g in enumerate(found) if g is None]
        raise GraphError(
            f"grad: the outputs do not depend on inputs {unused}; pass "
            "allow_unused=True to get None for them"
        )
    return tuple(found)
