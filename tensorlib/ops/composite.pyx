"""Ops that have a fused kernel and a definition in small operations.

The kernel and its gradient kernel serve the common case: the value, and the gradient
while nothing is recorded. Whoever differentiates the gradient again, or asks for a
forward-mode tangent, gets the rules of the definition: it is run once more on the
saved inputs, and differentiated like any composition of Tensor operations. It costs
as much as not having the kernel, and it is right to every order.
"""
from tensorlib.autograd.primitive cimport Node, Primitive
from tensorlib.core.dispatch cimport thread_state
from tensorlib.core.tensor cimport TRACK_GRAD, TRACK_TANGENT, Tensor, detached
from tensorlib.ops.shape cimport reshape_like

from tensorlib.autograd.tape import grad


cdef class Composite(Primitive):
    """A primitive with `compose`, its definition; saved: the inputs, then others."""

    cdef Tensor compose(self, tuple inputs, object params):
        raise AssertionError(f"{self.name}: a subclass defines compose")

    cdef tuple recorded_inputs(self, Node node):
        return tuple([node.get(i) for i in range(len(node.edges))])

    cdef tuple composed_vjp(self, Node node, Tensor g):
        cdef list aliases = [_alias(<Tensor>x) for x in self.recorded_inputs(node)]
        cdef list wanted = [
            i for i in range(len(aliases)) if node.needs(i)
        ]
        cdef list grads = [None] * len(aliases)
        out = self.compose(tuple(aliases), node.params)
        found = grad(
            out, [aliases[i] for i in wanted], g, create_graph=True, allow_unused=True
        )
        for i, each in zip(wanted, found):
            grads[i] = each
        return tuple(grads)

    cdef Tensor composed_jvp(self, Node node, tuple tangents):
        cdef list duals = []
        cdef Tensor dual, out
        for x, tangent in zip(self.recorded_inputs(node), tangents):
            dual = _alias(<Tensor>x)
            if tangent is not None:
                dual.tangent = tangent
                dual.track |= TRACK_TANGENT
            duals.append(dual)
        thread_state().forward_mode = 1
        try:
            out = self.compose(tuple(duals), node.params)
        finally:
            thread_state().forward_mode = 0
        return <Tensor>out.tangent


cdef Tensor _alias(Tensor x):
    """A new tensor on x's values, and in x's graph when it is in one.

    The reverse pass stops at it, and it carries no tangent yet.
    """
    if x.track & TRACK_GRAD:
        return reshape_like(x, x.shape)
    return detached(x)
