"""Hooks on gradients, and the methods of Tensor that register them.

A tensor and the node that made it share one `GradHooks`: the reverse pass meets the
node alone, and the hooks must outlive the tensor.
"""
cimport cython
from tensorlib.core.layout cimport same_shape
from tensorlib.core.tensor cimport TRACK_GRAD, Tensor, operators

from _weakref import ref    # weakref itself loads two modules more

from tensorlib.core.errors import GraphError, ShapeError
from tensorlib.core.handles import RemovableHandle


@cython.final
cdef class GradHooks:
    """The hooks of one tensor's gradient."""

    def __cinit__(self):
        self.on_grad = []
        self.on_accumulated = []

    cdef Tensor run(self, Tensor g):
        for hook in list(self.on_grad):
            replaced = hook(g)
            if replaced is not None:
                if not isinstance(replaced, Tensor) or not same_shape(
                    &g.buf, &(<Tensor>replaced).buf
                ):
                    raise ShapeError(
                        f"hook: expected a Tensor of shape {g.shape} or None, "
                        f"got {replaced!r}"
                    )
                g = <Tensor>replaced
        if self.kept is not None:
            self._keep(g)
        return g

    cdef int _keep(self, Tensor g) except -1:
        cdef Tensor x = <Tensor>self.kept()
        if x is not None:
            x.grad_ = g if x.grad_ is None else operators().add(x.grad_, g)
        return 0

    cdef int accumulated(self, Tensor leaf) except -1:
        for hook in list(self.on_accumulated):
            hook(leaf)
        return 0


cdef GradHooks _hooks_of(str op, object x, object hook):
    cdef Tensor tensor
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: expected a Tensor, got {type(x).__name__}")
    tensor = <Tensor>x
    if not tensor.track & TRACK_GRAD:
        raise GraphError(f"{op}: the tensor does not require grad")
    if not callable(hook):
        raise TypeError(f"{op}: expected a callable, got {hook!r}")
    if tensor.hooks is None:
        tensor.hooks = GradHooks()
        if tensor.node is not None:
            tensor.node.watch(tensor.hooks)
    return <GradHooks>tensor.hooks


cdef object _registered(list hooks, object hook):
    there = True
    hooks.append(hook)

    def remove():
        nonlocal there
        if there:
            hooks.remove(hook)
        there = False

    return RemovableHandle(remove)


def register_hook(x, hook, /):
    """Call ``hook(grad)`` when this tensor's gradient is computed.

    Parameters
    ----------
    hook : callable
        Gets the whole gradient of a tensor in the graph, each contribution to a leaf.
        What it returns, unless None, replaces the gradient, and has its shape.

    Returns
    -------
    RemovableHandle
        ``handle.remove()`` undoes it.

    Raises
    ------
    GraphError
        If the tensor does not require grad.
    TypeError
        If `hook` is not callable.
    ShapeError
        In backward, if `hook` returns anything but None or a tensor of that shape.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones(2, requires_grad=True)
    >>> handle = x.register_hook(lambda grad: grad * 10)
    >>> x.sum().backward()
    >>> x.grad
    tensor([10., 10.])
    >>> handle.remove()
    """
    return _registered(_hooks_of("register_hook", x, hook).on_grad, hook)


def register_post_accumulate_grad_hook(x, hook, /):
    """Call ``hook(tensor)`` whenever backward has added to this leaf's `grad`.

    An optimizer's step in such a hook lets each gradient be freed before the next one
    is computed.

    Parameters
    ----------
    hook : callable
        Gets the leaf; what it returns is ignored.

    Returns
    -------
    RemovableHandle
        ``handle.remove()`` undoes it.

    Raises
    ------
    GraphError
        If the tensor does not require grad or is not a leaf.
    TypeError
        If `hook` is not callable.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.ones(2, requires_grad=True)
    >>> def descend(w):
    ...     with tl.no_grad():
    ...         w -= 0.1 * w.grad
    ...     w.grad = None
    >>> handle = w.register_post_accumulate_grad_hook(descend)
    >>> (w * 3).sum().backward()
    >>> w.tolist()[0], w.grad
    (0.699999988079071, None)
    """
    op = "register_post_accumulate_grad_hook"
    hooks = _hooks_of(op, x, hook)
    if (<Tensor>x).node is not None:
        raise GraphError(f"{op}: expected a leaf tensor, got one made by {x.grad_fn}")
    return _registered(hooks.on_accumulated, hook)


def retain_grad(x, /):
    """Keep the gradient of this tensor in `grad`, though it is no leaf.

    It is what the hooks make of the gradient. Calling it again, or on a leaf, changes
    nothing.

    Raises
    ------
    GraphError
        If the tensor does not require grad.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones(2, requires_grad=True)
    >>> y = x * 3
    >>> y.retain_grad()
    >>> (y * y).sum().backward()
    >>> y.grad
    tensor([6., 6.])
    """
    hooks = _hooks_of("retain_grad", x, ref)
    if (<Tensor>x).node is not None:
        hooks.kept = ref(x)
