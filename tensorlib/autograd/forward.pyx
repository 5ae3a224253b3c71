"""Forward mode: what opens a level, lifts the primals to duals and takes results apart.

The rules' work is done where an op is recorded (`primitive.pyx`); what a level is, and
why calls may be nested, stands in `dual.pyx`.
"""
from libc.stdint cimport uint64_t
from tensorlib.autograd.dual cimport (
    active_level, add_tangent, drop_tangent, pop_level, push_level, tangent_at,
    with_tangents,
)
from tensorlib.autograd.tape cimport tape_ops
from tensorlib.core.dispatch cimport thread_state
from tensorlib.core.dtype cimport is_inexact_code
from tensorlib.core.layout cimport same_shape
from tensorlib.core.tensor cimport TRACK_GRAD, Tensor, check_alignable

from tensorlib.core.errors import DTypeError, GraphError, ShapeError


cdef class DualLevel:
    """One level of forward mode: a context in which `dual` tensors carry tangents.

    Contexts are nested as ``with`` blocks are, in one thread.

    Examples
    --------
    >>> import tensorlib as tl
    >>> with DualLevel() as level:
    ...     x = level.dual(tl.tensor(3.0), tl.tensor(1.0))
    ...     y = x * x
    >>> level.tangent(y)
    tensor(6.)
    """
    cdef uint64_t level
    cdef bint open

    def __enter__(self):
        if self.open:
            raise GraphError("DualLevel: the context is entered already")
        self.level = push_level()
        self.open = True
        return self

    def __exit__(self, *exc_info):
        cdef int height = thread_state().forward_mode
        if not self.open or height == 0 or active_level(height - 1) != self.level:
            raise GraphError(
                "DualLevel: expected to leave the innermost context of this thread, "
                "got another; use it in a with statement"
            )
        self.open = False
        pop_level()

    def dual(self, primal, tangent):
        """Return a new tensor on `primal` that carries `tangent` at this level."""
        cdef Tensor x, v, made
        _check_pair(primal, tangent)
        x, v = <Tensor>primal, <Tensor>tangent
        if x.track & TRACK_GRAD:
            made = <Tensor>x.reshape(x.shape)    # a new tensor in the same graph
        else:
            made = with_tangents(x, x.tangent)
        add_tangent(made, self.level, v)
        return made

    def tangent(self, output):
        """Return the tangent of `output` at this level, or None, and take it off."""
        cdef Tensor x
        if not isinstance(output, Tensor):
            raise TypeError(f"jvp: expected a Tensor, got {type(output).__name__}")
        x = <Tensor>output
        found = tangent_at(x, self.level)
        if found is not None:
            drop_tangent(x, self.level)
        return found


cdef int _check_pair(object primal, object tangent) except -1:
    cdef Tensor x, v
    for item, what in ((primal, "primal"), (tangent, "tangent")):
        if not isinstance(item, Tensor):
            raise TypeError(
                f"jvp: expected a Tensor as {what}, got {type(item).__name__}"
            )
    x, v = <Tensor>primal, <Tensor>tangent
    if not is_inexact_code(x.buf.dtype):
        raise DTypeError(
            f"jvp: expected a floating-point primal, got {x.dtype}; close over it, or "
            "cast with .astype() first"
        )
    if x.buf.dtype != v.buf.dtype or not same_shape(&x.buf, &v.buf):
        raise ShapeError(
            f"jvp: expected a tangent of shape {x.shape} and {x.dtype}, "
            f"got {v.shape} and {v.dtype}"
        )
    check_alignable("jvp", x, v)
    return 0


def outside_graph(x):
    """Return a new tensor on the elements of `x` outside the reverse-mode graph.

    As ``x.detach()``, with the tangents that an enclosing `jvp` gave it.

    Examples
    --------
    >>> import tensorlib as tl
    >>> outside_graph(tl.ones(1, requires_grad=True)).requires_grad
    False
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"outside_graph: expected a Tensor, got {type(x).__name__}")
    return with_tangents(<Tensor>x, (<Tensor>x).tangent)


cdef list _listed(object tensors, str what):
    if isinstance(tensors, Tensor):
        return [tensors]
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"jvp: expected a Tensor or a tuple or list of them as {what}, got "
            f"{type(tensors).__name__}"
        )
    return list(tensors)


def jvp(function, primals, tangents):
    """Evaluate `function` and its directional derivative in one forward pass.

    Computes ``y = f(x)`` and ``J_f(x) v`` by carrying tangents along with the values
    (forward-mode differentiation); no graph is kept for it. `function` may itself call
    `jvp` and `grad`: derivatives of any order, in any mix of the modes.

    Parameters
    ----------
    function : callable
        Takes the primals as positional tensors and returns one tensor.
    primals, tangents : Tensor, or tuple or list of Tensor
        The point and the direction, pairwise of one shape and floating dtype.

    Returns
    -------
    output, tangent : Tensor

    Raises
    ------
    ShapeError
        If a tangent's shape or dtype is not its primal's.
    DTypeError
        If a primal is not floating.
    TypeError
        If an argument or the function's result is no tensor.
    ValueError
        If the numbers of primals and tangents differ.
    GraphError
        If more than 64 calls are nested.

    See Also
    --------
    tensorlib.jvp : The same over trees of tensors.

    References
    ----------
    R. E. Wengert, "A simple automatic derivative evaluation program", Communications
    of the ACM 7 (1964) 463-464.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([1.0, 2.0])
    >>> y, dy = tl.autograd.jvp(lambda x: x * x, x, tl.tensor([1.0, 0.0]))
    >>> dy
    tensor([2., 0.])

    A second derivative, forward over forward:

    >>> def slope(x):
    ...     return tl.autograd.jvp(lambda z: z * z * z, x, tl.ones(()))[1]
    >>> tl.autograd.jvp(slope, tl.tensor(2.0), tl.ones(()))[1]
    tensor(12.)
    """
    primals = _listed(primals, "primals")
    tangents = _listed(tangents, "tangents")
    if len(primals) != len(tangents):
        raise ValueError(
            f"jvp: expected {len(primals)} tangents, got {len(tangents)}"
        )
    with DualLevel() as level:
        duals = [level.dual(x, v) for x, v in zip(primals, tangents)]
        output = function(*duals)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"jvp: expected the function to return a Tensor, got "
            f"{type(output).__name__}"
        )
    tangent = level.tangent(output)
    return output, tape_ops().zeros_like(output) if tangent is None else tangent
