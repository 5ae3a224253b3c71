"""Ops that have a fused kernel and a definition in small operations.

The kernel and its gradient kernel serve the common case: the value, and the gradient
while nothing is recorded. Whoever differentiates the gradient again, or asks for a
forward-mode tangent, gets the rules of the definition: it is run once more on the
saved inputs, and differentiated like any composition of Tensor operations. It costs
as much as not having the kernel, and it is right to every order.
"""
from tensorlib.autograd.dual cimport with_tangents
from tensorlib.autograd.primitive cimport Node, Primitive
from tensorlib.core.dispatch cimport thread_state
from tensorlib.core.tensor cimport TRACK_GRAD, Tensor
from tensorlib.ops.shape cimport reshape_like

from tensorlib.autograd.forward import DualLevel
from tensorlib.autograd.tape import grad


cdef class Composite(Primitive):
    """A primitive with `compose`, its definition; saved: the inputs, then others."""

    cdef Tensor compose(self, tuple inputs, object params):
        raise AssertionError(f"{self.name}: a subclass defines compose")

    cdef tuple recorded_inputs(self, Node node):
        return tuple([node.get(i) for i in range(node.inputs)])

    cdef tuple composed_vjp(self, Node node, Tensor g):
        # Recorded even in a pass that is not, where tangents alone make it run.
        cdef int before = thread_state().grad_disabled
        cdef list aliases = [
            _alias(<Tensor>x, before) for x in self.recorded_inputs(node)
        ]
        cdef list wanted = [i for i in range(len(aliases)) if node.needs(i)]
        cdef list grads = [None] * len(aliases)
        if before:
            for i in wanted:
                aliases[i].requires_grad = True
        thread_state().grad_disabled = 0
        try:
            out = self.compose(tuple(aliases), node.params)
        finally:
            thread_state().grad_disabled = before
        found = grad(
            out, [aliases[i] for i in wanted], g, create_graph=not before,
            allow_unused=True,
        )
        for i, each in zip(wanted, found):
            grads[i] = each
        return tuple(grads)

    cdef Tensor composed_jvp(self, Node node, tuple tangents):
        cdef list duals = []
        with DualLevel() as level:
            for x, tangent in zip(self.recorded_inputs(node), tangents):
                if tangent is None:
                    duals.append(_alias(<Tensor>x, 0))
                else:
                    duals.append(level.dual(x, tangent))
            out = self.compose(tuple(duals), node.params)
        return <Tensor>level.tangent(out)


cdef Tensor _alias(Tensor x, bint detach):
    """A new tensor on x's values and tangents, and in x's graph unless `detach`.

    The reverse pass stops at it.
    """
    if x.track & TRACK_GRAD and not detach:
        return reshape_like(x, x.shape)
    return with_tangents(x, x.tangent)
