"""What the graph keeps for the reverse pass, and the hooks that may pack it.

Ordinarily a node holds the tensors that its rules read. While a pair of hooks is set,
it holds what `pack` made of each instead, a `SavedTensor`, and `unpack` gives the
tensor back when the reverse pass reads it: from disk, from fewer bits, or by computing
it again (`checkpoint`). The tensor's place in the graph is kept beside the packed
value, so that a gradient of the gradient flows through it all the same.
"""
cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t
from tensorlib.core.abi cimport TL_BATCHED, tl_storage
from tensorlib.core.hidden cimport root_storage, version_of
from tensorlib.core.dispatch cimport thread_state, tl_thread_state
from tensorlib.core.dtype cimport dtype_of
from tensorlib.core.provenance cimport write_text
from tensorlib.core.sealed cimport tl_seal
from tensorlib.core.storage cimport STORAGE_INFERENCE
from tensorlib.core.tensor cimport TRACK_GRAD, TRACK_TANGENT, Tensor, detached

from tensorlib.core.errors import GraphError, ShapeError
from tensorlib.core.provenance import line_text, user_line

cdef extern from *:
    """
    static __thread PyObject *tl_hook_pairs_;   // list of (pack, unpack), or NULL
    static __thread int tl_hooks_aside_;        // depth of rules that do not use them
    """
    PyObject *tl_hook_pairs_
    int tl_hooks_aside_

cdef int _watched = 0


cdef int *saving_watched() noexcept:
    return &_watched


def watch_saving(int change):
    """Add to the number of those who need more of recording than a node.

    Examples
    --------
    >>> watch_saving(0)
    """
    global _watched
    _watched += change


cdef bint _has_pairs() noexcept:
    return tl_hook_pairs_ != NULL and len(<list>tl_hook_pairs_) != 0


cdef bint hooks_are_set() noexcept:
    return _has_pairs() and tl_hooks_aside_ == 0


cdef void set_hooks_aside(int change) noexcept:
    global tl_hooks_aside_
    tl_hooks_aside_ += change


cdef int raise_changed(
    object owner, tl_storage *storage, tuple shape, uint32_t seen
) except -1:
    storage = root_storage(storage)
    writer = "a write through shared memory"
    if storage.last_writer != NULL:
        writer = (<bytes>storage.last_writer).decode()
    raise GraphError(
        f"backward: a tensor of shape {shape} saved by {owner.name} was changed in "
        f"place by {writer} (version {storage.version}, expected {seen}); use the "
        f"out-of-place form, or change a copy{saved_at(owner)}"
        + _on_its_line("changed", write_text(storage, storage.version))
    )


cdef str saved_at(object owner):
    return _on_its_line("saved", owner.origin_text())


cdef str _on_its_line(str what, str where):
    return f"\n  {what} at {where}" if where else ""


cdef int check_no_inference(str op, Tensor x) except -1:
    if x.buf.storage.flags & STORAGE_INFERENCE:
        raise GraphError(
            f"{op}: expected tensors that a recorded graph may hold, got one made in "
            "inference_mode; use x.clone() outside of it, or no_grad instead"
        )
    return 0


@cython.final
cdef class SavedTensor:
    """A tensor kept for the reverse pass."""

    def forget_tangents(self):
        """Drop the tangents; called when the last jvp has ended."""
        self.tangent = None

    cdef Tensor get(self, object owner):
        cdef Tensor x
        if self.shared is not None:
            x = self.shared
            if version_of(x.buf.storage) != self.version:
                raise_changed(owner, x.buf.storage, self.shape, self.version)
        if self.unpack is None and not self.is_output:
            return <Tensor>self.value
        x = <Tensor>self.value if self.unpack is None else self._unpacked(owner.name)
        x = detached(x)
        x.node = self.node
        x.track = self.track & TRACK_GRAD
        if self.tangent is not None:
            x.tangent = self.tangent
            x.track |= TRACK_TANGENT
        return x

    cdef Tensor _unpacked(self, str op):
        found = _apart(self.unpack, self.value)
        if not isinstance(found, Tensor):
            raise TypeError(
                f"saved_tensors_hooks: expected unpack to return the Tensor saved by "
                f"{op}, got {type(found).__name__}"
            )
        if found.shape != self.shape or (<Tensor>found).buf.dtype != self.dtype:
            raise ShapeError(
                f"saved_tensors_hooks: expected unpack to return a tensor of shape "
                f"{self.shape} and {dtype_of(self.dtype)}, which {op} saved, got "
                f"{found.shape} and {found.dtype}"
            )
        return <Tensor>found


cdef object _apart(object hook, object value):
    """Call a hook outside of both modes and of hooks, its own included."""
    cdef tl_thread_state *state = thread_state()
    cdef int recording = state.grad_disabled, active = state.forward_mode
    state.grad_disabled = 1
    state.forward_mode = 0
    try:
        return hook(value)
    finally:
        state.grad_disabled = recording
        state.forward_mode = active


cdef SavedTensor save(Tensor x, bint is_output):
    cdef SavedTensor made = SavedTensor.__new__(SavedTensor)
    cdef bint is_leaf = x.node is None and x.track & TRACK_GRAD
    made.shape, made.dtype = x.shape, x.buf.dtype
    made.is_output = is_output
    made.version = version_of(x.buf.storage)
    made.shared = made.value = detached(x) if is_output else x
    if not is_output:
        made.node, made.track, made.tangent = x.node, x.track, x.tangent
    # The graph holds leaves in any case: packing one would free nothing.
    if not hooks_are_set() or (is_leaf and not is_output):
        return made
    pack, made.unpack = (<list>tl_hook_pairs_)[-1]
    made.value = _apart(pack, detached(x))
    if version_of(x.buf.storage) != made.version:
        raise GraphError(
            "saved_tensors_hooks: expected pack to leave its argument as it is, but it "
            "changed it in place; change a copy"
        )
    if not isinstance(made.value, Tensor) or (
        (<Tensor>made.value).buf.storage != x.buf.storage
    ):
        made.shared = None
    return made


class saved_tensors_hooks:  # noqa: N801
    """Pack the tensors that recorded operations save, and unpack them in backward.

    Parameters
    ----------
    pack_hook : callable
        Called with each tensor (outside the graph) when it is saved; returns anything.
        It must not change its argument in place.
    unpack_hook : callable
        Called with what `pack_hook` returned, when the backward pass reads the tensor;
        returns a tensor of the same shape, dtype and values.

    Raises
    ------
    TypeError
        If a hook is not callable; in backward, if `unpack_hook` returns no tensor.
    ShapeError
        In backward, if what `unpack_hook` returns has another shape or dtype.
    GraphError
        If `pack_hook` changes its argument.

    Notes
    -----
    The innermost pair alone is used; it holds for the current thread. Neither hook is
    recorded. Leaves that require grad, parameters for example, are not packed: the
    graph refers to them in any case.

    Examples
    --------
    Activations kept in half the bits, and on the CPU's disk if one likes:

    >>> import tensorlib as tl
    >>> packed = []
    >>> def pack(x):
    ...     packed.append(x.shape)
    ...     return x.astype(tl.float32)
    >>> def unpack(kept):
    ...     return kept.astype(tl.float64)
    >>> x = tl.ones((2, 3), dtype=tl.float64, requires_grad=True)
    >>> with tl.autograd.saved_tensors_hooks(pack, unpack):
    ...     y = tl.exp(x * 2).sum()
    >>> packed
    [(), (2, 3)]
    >>> y.backward()
    """

    def __init__(self, pack_hook, unpack_hook):
        for hook, name in ((pack_hook, "pack_hook"), (unpack_hook, "unpack_hook")):
            if not callable(hook):
                raise TypeError(
                    f"saved_tensors_hooks: expected a callable as {name}, "
                    f"got {type(hook).__name__}"
                )
        self._pair = (pack_hook, unpack_hook)

    def __enter__(self):
        if tl_hook_pairs_ == NULL:
            _start_thread()
        (<list>tl_hook_pairs_).append(self._pair)
        watch_saving(1)
        return self

    def __exit__(self, *exc_info):
        if not _has_pairs() or (<list>tl_hook_pairs_)[-1] is not self._pair:
            raise GraphError(
                "saved_tensors_hooks: expected to leave the innermost context of this "
                "thread, got another; use it in a with statement"
            )
        (<list>tl_hook_pairs_).pop()
        watch_saving(-1)
        if not _has_pairs():
            _end_thread()


def memory_of(Tensor x not None):
    """Return the address of a tensor's storage, its bytes and the writes it has seen.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.zeros(64)
    >>> memory_of(x)[1:], memory_of(x[:2]) == memory_of(x)
    ((256, 0), True)
    """
    cdef tl_storage *storage = x.buf.storage
    if storage.device_type == TL_BATCHED:
        storage = root_storage(storage)
    return <size_t>storage, storage.nbytes, storage.version


class Kept:
    """A tensor saved as a recorded op saves it: packed if hooks are set.

    Parameters
    ----------
    x : Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> Kept(tl.ones(1)).get()
    tensor([1.])
    """

    name = "checkpoint"

    def __init__(self, Tensor x not None):
        self._saved = save(x, False)
        self._place = user_line()

    def get(self):
        """Return the tensor.

        Raises
        ------
        GraphError
            If it was changed in place since.
        """
        return (<SavedTensor>self._saved).get(self)

    def origin_text(self):
        """Return ``file:line: source`` of where it was saved, "" when not known."""
        return "" if self._place is None else line_text(self._place)


cdef int _start_thread() except -1:
    global tl_hook_pairs_
    pairs = []
    Py_INCREF(pairs)
    tl_hook_pairs_ = <PyObject *>pairs
    return 0


cdef int _end_thread() except -1:
    global tl_hook_pairs_
    pairs = <list>tl_hook_pairs_
    tl_hook_pairs_ = NULL
    Py_DECREF(pairs)
    return 0


tl_seal(SavedTensor)
