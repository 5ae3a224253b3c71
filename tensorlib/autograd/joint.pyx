"""Nodes of functions written in Python, with any number of inputs and outputs.

A node has one output. The application of a `Function` is therefore a *joint* node with
an edge for each tensor among the inputs, and for each output a *projection* node on
top of it. When the reverse pass meets a projection, its cotangent is laid down at the
application; the joint node, recorded earlier, comes up once all have been met, and runs
the function's backward on all of them.

The joint node's own cotangent is a token, a zero that says "something arrived". What
is laid down belongs to the pass that owns the token: the first projection of a pass
finds no token there, and clears what a pass that failed has left.
"""
from tensorlib.autograd.dual cimport active_level, add_tangent, hold, tangent_at
from tensorlib.autograd.primitive cimport (
    Node, Primitive, differentiated, record, record1,
)
from tensorlib.autograd.saved cimport (
    SavedTensor, check_no_inference, save, set_hooks_aside,
)
from tensorlib.autograd.tape cimport tape_ops
from tensorlib.core.abi cimport TL_FLOAT32, tl_buffer
from tensorlib.core.dispatch cimport thread_state, tl_thread_state
from tensorlib.core.dtype cimport is_inexact_code
from tensorlib.core.layout cimport copy_layout, set_contiguous
from tensorlib.core.tensor cimport (
    TRACK_GRAD, TRACK_TANGENT, Tensor, detached, new_over, new_scalar, new_tensor,
    operators,
)

from tensorlib.core.errors import DTypeError, GraphError, ShapeError


cdef class Joint(Primitive):
    """All of an application; params: the Application."""

    cdef tuple vjp(self, Node node, Tensor g):
        return (<Application>node.params).pull(node)

    cdef str label(self, Node node):
        return (<Application>node.params).name


cdef class Projection(Primitive):
    """One output of an application; params: its position among the outputs."""

    cdef tuple vjp(self, Node node, Tensor g):
        cdef Node joint = <Node>node.first
        cdef Application made = <Application>joint.params
        if made.laid is None or joint.cotangent is None:
            made.laid = [None] * len(made.outputs)
        made.lay(node.params, g)
        return (_token,)

    cdef str label(self, Node node):
        return (<Node>node.first).name


cdef Joint _joint = Joint("function")
cdef Projection _projection = Projection("function_output")
_joint.analytic = _projection.analytic = False   # a Function's backward says it all
cdef Tensor _token = new_scalar(0.0, TL_FLOAT32)


cdef class OutputLayout:
    """What zeros in place of a cotangent are like."""
    cdef tl_buffer layout

    cdef Tensor zeros(self):
        cdef tl_buffer *b = &self.layout
        return <Tensor>tape_ops().zeros_like(
            new_tensor(b, b.dtype, b.device_type, b.device_index)
        )


cdef class Application:
    """One recorded call of a Function.

    Parameters
    ----------
    name : str
        The function's name, for messages.
    rule : callable
        Takes the cotangents of the outputs and a callable that returns the saved
        tensors; returns one gradient or None for each argument.
    places : list of int
        Which arguments are tensors.
    count : int
        How many arguments there are.
    once : bool, default False
        Whether the rule is not written in tensor operations.
    """
    cdef str name
    cdef object rule
    cdef list places
    cdef int count
    cdef bint once
    cdef bint materialize
    cdef list positions       # of each saved tensor among the outputs, or None
    cdef list outputs         # OutputLayout of each output that is a tensor, or None
    cdef list laid            # cotangents so far, in a reverse pass

    def __cinit__(
        self, str name, object rule, list places, int count, bint once=False
    ):
        self.name, self.rule, self.once = name, rule, once
        self.places, self.count = places, count

    cdef int lay(self, int i, Tensor g) except -1:
        if self.laid[i] is not None:
            g = <Tensor>operators().add(self.laid[i], g)
        self.laid[i] = g
        return 0

    cdef tuple pull(self, Node node):
        cotangents, self.laid = self.laid, None
        if self.materialize:
            for i, g in enumerate(cotangents):
                if g is None and self.outputs[i] is not None:
                    cotangents[i] = (<OutputLayout>self.outputs[i]).zeros()
        if self.once and differentiated():
            return self._pull_once(node, tuple(cotangents))
        return self._checked(
            node, self.rule(tuple(cotangents), lambda: self._unpacked(node))
        )

    cdef tuple _pull_once(self, Node node, tuple cotangents):
        """Gradients that raise when they are differentiated in turn."""
        saved = self._unpacked(node) if self.positions else ()
        if has_tangents(tuple([x for x in (*cotangents, *saved) if x is not None])):
            raise GraphError(
                f"{self.name}: is marked once_differentiable, so forward mode cannot "
                "differentiate its gradient"
            )
        plain = tuple([None if g is None else detached(<Tensor>g) for g in cotangents])
        with Recording(False):
            found = self._checked(node, self.rule(plain, lambda: saved))
        if thread_state().grad_disabled:
            return found
        return self._sealed(node, cotangents, found)

    cdef tuple _sealed(self, Node node, tuple cotangents, tuple grads):
        """The gradients as outputs of a node that cannot be differentiated.

        It depends on all that the gradients may depend on, so that a pass finds it.
        """
        cdef Application made = Application(self.name, _refusal(self.name), [], 0)
        cdef Tensor token = new_scalar(0.0, TL_FLOAT32)
        cdef list sealed = []
        cdef list sources = [g for g in cotangents if g is not None]
        made.outputs = [None] * len(grads)
        made.positions = []
        sources.append(_token_of(node))
        record(_joint, token, tuple(sources), (), False, made)
        for i, g in enumerate(grads):
            if g is not None:
                g = detached(<Tensor>g)
                _project(<Tensor>g, <Node?>token.node, i)
            sealed.append(g)
        return tuple(sealed)

    cdef tuple _checked(self, Node node, object found):
        """What the rule returned, as one gradient or None for each edge."""
        found = list(found) if isinstance(found, (tuple, list)) else [found]
        while len(found) > self.count and found[-1] is None:
            found.pop()
        if len(found) != self.count:
            raise GraphError(
                f"{self.name}.backward: expected {self.count} gradients, one for each "
                f"argument of forward, got {len(found)}"
            )
        for n, g in enumerate(found):
            if g is not None and n not in self.places:
                raise GraphError(
                    f"{self.name}.backward: expected None as gradient {n}, because "
                    f"that argument is no tensor, got {type(g).__name__}"
                )
        return tuple([
            self._gradient(node, i, n, found[n]) for i, n in enumerate(self.places)
        ])

    cdef Tensor _gradient(self, Node node, int i, int n, object g):
        """Gradient n, which belongs to edge i."""
        cdef tl_buffer shape
        if g is None or not node.needs(i):
            return None
        if not isinstance(g, Tensor):
            raise TypeError(
                f"{self.name}.backward: expected a Tensor or None as gradient {n}, "
                f"got {type(g).__name__}"
            )
        if not is_inexact_code((<Tensor>g).buf.dtype):
            raise DTypeError(
                f"{self.name}.backward: expected a floating gradient {n}, got {g.dtype}"
            )
        node.input_shape(i, &shape)
        if not _sums_to(&(<Tensor>g).buf, &shape):
            expected = tuple([shape.shape[d] for d in range(shape.ndim)])
            raise ShapeError(
                f"{self.name}.backward: expected gradient {n} of shape {expected}, "
                f"got {g.shape}"
            )
        return <Tensor>g

    cdef tuple _unpacked(self, Node node):
        """The saved tensors; outputs in the graph, at new projections."""
        cdef list found = []
        for i, position in enumerate(self.positions):
            x = node.unpacked(i)
            if position is not None and not thread_state().grad_disabled:
                _project(<Tensor>x, node, position)
            found.append(x)
        return tuple(found)


def _refusal(name):
    def refuse(cotangents, unpack):
        raise GraphError(
            f"{name}: is marked once_differentiable, so its gradient cannot be "
            "differentiated"
        )

    return refuse


cdef bint _sums_to(const tl_buffer *g, const tl_buffer *target) noexcept:
    """Whether target broadcasts to the shape of g."""
    cdef int d, extra = g.ndim - target.ndim
    if extra < 0:
        return False
    for d in range(target.ndim):
        if target.shape[d] != 1 and target.shape[d] != g.shape[extra + d]:
            return False
    return True


cdef int _project(Tensor out, Node joint, int i) except -1:
    """Make out the i-th output of joint."""
    record1(_projection, out, _token_of(joint), (), False, i)
    return 0


cdef Tensor _token_of(Node node):
    """A scalar that stands for a node's output."""
    cdef Tensor token = new_scalar(0.0, TL_FLOAT32)
    token.node = node
    token.track = TRACK_GRAD
    return token


def record_application(
    Application made not None, tuple inputs not None, list outputs not None, *,
    list tracked not None, list dirty not None, list saved not None, bint materialize,
):
    """Record a call: hang the outputs on it.

    Parameters
    ----------
    made : Application
    inputs : tuple of Tensor
        The tensors among the arguments.
    outputs : list
        What the function returned.
    tracked : list of Tensor or None
        The same with None for what is not differentiable.
    dirty : list of Tensor
        Inputs that were changed in place, and are outputs.
    saved : list of (Tensor or None, int or None)
        Tensors for the rule, with the position of those that are outputs.
    materialize : bool
        Whether missing cotangents become zeros.

    Returns
    -------
    list of (SavedTensor, int)
        Of the saved outputs, with their positions.
    """
    cdef tl_thread_state *state = thread_state()
    cdef int active = state.forward_mode
    cdef Tensor token = new_scalar(0.0, TL_FLOAT32)
    cdef Node node
    cdef list kept = []
    if not all([isinstance(x, Tensor) for x in inputs]):
        raise TypeError(f"{made.name}: expected tensors, got {inputs!r}")
    for x, position in saved:
        if x is not None:
            check_no_inference(made.name, <Tensor?>x)
        kept.append(None if x is None else save(<Tensor>x, position is not None))
    made.positions = [position for _, position in saved]
    made.materialize = materialize
    made.outputs = [
        _layout_of(<Tensor>y) if isinstance(y, Tensor) else None for y in outputs
    ]
    state.forward_mode = 0     # tangents are carried by the function's own rule
    try:
        record(_joint, token, inputs, (), False, made)
        if token.node is None:
            return []    # forward has set requires_grad of all inputs to False
        node = <Node>token.node
        node.saved = None
        node.more().packed = tuple(kept)
        for i, y in enumerate(tracked):
            if y is not None:
                _project(<Tensor?>y, node, i)
    finally:
        state.forward_mode = active
    for x in dirty:
        (<Tensor?>x).buf.storage.recorded_writes += 1
    return [(s, i) for s, i in zip(kept, made.positions) if i is not None]


cdef OutputLayout _layout_of(Tensor y):
    made = OutputLayout()
    copy_layout(&made.layout, &y.buf)
    set_contiguous(&made.layout)
    made.layout.data = NULL
    made.layout.storage = NULL
    return made


def carry_tangents(
    rule, tuple inputs not None, list outputs not None, list dirty not None,
    list kept not None,
):
    """Give the outputs tangents, at each level at which an input has one.

    Parameters
    ----------
    rule : callable
        Takes a list of tangents (or None) of the inputs; returns one of each output.
    inputs : tuple of Tensor
    outputs : list of Tensor or None
    dirty : list of Tensor
        Inputs that are outputs too.
    kept : list of (SavedTensor, int)
        Saved outputs, with their positions: they carry the outputs' tangents.
    """
    cdef tl_thread_state *state = thread_state()
    cdef int i, active = state.forward_mode
    cdef list levels = []
    for i in range(active):
        level = active_level(i)
        tangents = [tangent_at(<Tensor?>x, level) for x in inputs]
        levels.append((level, tangents))
    for x in dirty:
        (<Tensor?>x).tangent = None
        (<Tensor>x).track &= ~TRACK_TANGENT
    set_hooks_aside(1)
    try:
        for i, (level, tangents) in enumerate(levels):
            if all([t is None for t in tangents]):
                continue
            state.forward_mode = i
            for y, t in zip(outputs, rule(tangents)):
                if t is not None and y is not None:
                    add_tangent(<Tensor?>y, level, <Tensor?>t)
    finally:
        state.forward_mode = active
        set_hooks_aside(-1)
    for saved, position in kept:
        (<SavedTensor?>saved).tangent = (<Tensor?>outputs[position]).tangent
        hold(saved)


def zero_tangent(Tensor x not None):
    """Return a zero tangent of a floating tensor, None for any other.

    Examples
    --------
    >>> import tensorlib as tl
    >>> zero_tangent(tl.ones(1)), zero_tangent(tl.tensor([1]))
    (tensor([0.]), None)
    """
    return tape_ops().zeros_like(x) if is_inexact_code(x.buf.dtype) else None


def has_tangents(tuple tensors not None):
    """Return whether any tensor carries a tangent of an active level.

    Examples
    --------
    >>> import tensorlib as tl
    >>> has_tangents((tl.ones(1),))
    False
    """
    cdef int i
    for i in range(thread_state().forward_mode):
        for x in tensors:
            if tangent_at(<Tensor?>x, active_level(i)) is not None:
                return True
    return False


def is_among(x, tensors):
    """Return whether x itself, not an equal, is among the items of a tuple or list.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones(1)
    >>> is_among(x, (x,)), is_among(x, (x * 1,))
    (True, False)
    """
    for y in tensors:
        if x is y:
            return True
    return False


def aliased(Tensor x not None, bint is_input):
    """Return a new tensor on the elements of `x`, outside of graphs.

    In-place writes to it are restricted as those to a view when `x` is one or
    `is_input`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> aliased(tl.ones(1), False)
    tensor([1.])
    """
    cdef Tensor made = new_over(x.buf.storage, &x.buf)
    made.is_view = is_input or x.is_view
    made.recorded_seen = x.buf.storage.recorded_writes
    return made


cdef class Recording:
    """A context that records, or does not, and carries no tangents.

    Parameters
    ----------
    on : bool
        Whether operations are recorded inside.

    Examples
    --------
    >>> import tensorlib as tl
    >>> with Recording(False):
    ...     tl.is_grad_enabled()
    False
    """

    cdef int disabled, recording, active

    def __cinit__(self, bint on):
        self.disabled = 0 if on else 1

    def __enter__(self):
        cdef tl_thread_state *state = thread_state()
        self.recording, self.active = state.grad_disabled, state.forward_mode
        state.grad_disabled = self.disabled
        state.forward_mode = 0

    def __exit__(self, *exc_info):
        cdef tl_thread_state *state = thread_state()
        state.grad_disabled, state.forward_mode = self.recording, self.active


def check_changed_in_place(str name, Tensor x not None):
    """Raise unless `x` may be changed in place where it is recorded.

    Raises
    ------
    GraphError
        For a leaf that requires grad, a view, or a tensor of inference mode.

    Examples
    --------
    >>> import tensorlib as tl
    >>> check_changed_in_place("f", tl.ones(1))
    """
    if x.node is None and x.track & TRACK_GRAD:
        raise GraphError(
            f"{name}: a leaf tensor that requires grad cannot be changed in place; "
            "change a copy"
        )
    if x.is_view:
        raise GraphError(f"{name}: a view cannot be changed in place; change a copy")
    check_no_inference(name, x)
