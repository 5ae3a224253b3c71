"""register_op: operations written in Python, given by their rules."""

from tensorlib.autograd.batch import innermost_level, is_mapping
from tensorlib.autograd.function import Function
from tensorlib.core.errors import ShapeError
from tensorlib.core.tensor import Tensor, is_batched

__all__ = ["Op", "register_op", "registered_ops"]

_OPS: dict[str, "Op"] = {}


class Op:
    """An operation that `register_op` made: call it on tensors.

    Attributes
    ----------
    name : str
    batching : callable or None
        The rule by which `vmap` computes all examples in one call.
    """

    def __init__(self, name, kernel, rules, batching):
        self.name = name
        self.batching = batching
        self._function = _function_of(name, kernel, *rules)

    def __call__(self, *inputs, **params):
        """Apply the op to tensors, recorded where one requires grad.

        Raises
        ------
        TypeError
            If an input is no tensor.
        """
        for n, x in enumerate(inputs):
            if not isinstance(x, Tensor):
                raise TypeError(
                    f"{self.name}: expected a Tensor as input {n}, got "
                    f"{type(x).__name__}; pass other things by name"
                )
        if self.batching and is_mapping() and any(map(is_batched, inputs)):
            return self._apply_to_examples(inputs, params)
        return self._function.apply(params, *inputs)

    def _apply_to_examples(self, inputs, params):
        """Show the rule the examples of the innermost vmap along a first axis."""
        level = innermost_level(*inputs)
        made = self.batching(*(level.show(x, 0) for x in inputs), **params)
        many = isinstance(made, (tuple, list))
        for y in made if many else (made,):
            if not isinstance(y, Tensor) or y.shape[:1] != (level.size,):
                got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
                raise ShapeError(
                    f"{self.name}: expected batching to return tensors with the "
                    f"{level.size} examples along their first axis, got {got}"
                )
        hidden = tuple(level.hide(y, 0) for y in (made if many else (made,)))
        return hidden if many else hidden[0]

    def __repr__(self):
        return f"<op {self.name}>"


def _function_of(name, kernel, vjp, jvp):
    """Return the Function whose methods call the rules."""

    def forward(ctx, params, *inputs):
        outputs = kernel(*(x.detach() for x in inputs), **params)
        ctx.params, ctx.count = params, len(inputs)
        many = isinstance(outputs, (tuple, list))
        ctx.save_for_backward(*inputs, *(outputs if many else (outputs,)))
        return outputs

    def rule_of(rule):
        def apply(ctx, *flows):
            saved = ctx.saved_tensors
            inputs, outputs = saved[: ctx.count], saved[ctx.count :]
            return rule(flows, inputs, outputs, **ctx.params)

        return apply

    def backward(ctx, *cotangents):
        found = rule_of(vjp)(ctx, *cotangents)
        return None, *(found if isinstance(found, (tuple, list)) else (found,))

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    if jvp is not None:
        methods["jvp"] = staticmethod(
            lambda ctx, _, *tangents: rule_of(jvp)(ctx, *tangents)
        )
    return type(name, (Function,), methods)


def register_op(name, kernel, vjp, jvp=None, batching=None):
    """Make a differentiable operation of a computation and its rules.

    Parameters
    ----------
    name : str
        What messages and drawings of graphs call it; an identifier, not taken.
    kernel : callable
        ``kernel(*inputs, **params)`` returns a new tensor or a tuple of them. It need
        not be differentiable, and may use NumPy: its inputs are outside of graphs.
    vjp : callable
        ``vjp(cotangents, inputs, outputs, **params)`` returns a gradient, or None, for
        each input; written in tensor operations it can be differentiated again.
    jvp : callable, optional
        ``jvp(tangents, inputs, outputs, **params)`` returns a tangent for each output.
        Without it the op raises in forward mode.
    batching : callable, optional
        ``batching(*inputs, **params)`` returns what the op does for all examples of a
        `vmap`: every input has an added first axis, along it the examples (repeated
        where they share the input), and so has every output. Written in tensor
        operations, the op among them. Without it `vmap` goes through the kernel, which
        then has to be in tensor operations, not in NumPy.

    Returns
    -------
    Op
        Takes tensors by position and other arguments by name.

    Raises
    ------
    ValueError
        If the name is no identifier, or is taken.
    TypeError
        If a rule is not callable.

    Notes
    -----
    A thin layer on `Function`, whose errors and guarantees hold. For an op with loops
    of its own in Cython or C see ``capi.pxd``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> cube = tl.autograd.register_op(
    ...     "example_cube",
    ...     lambda x: x * x * x,
    ...     vjp=lambda g, x, y: g[0] * 3 * x[0] * x[0],
    ...     jvp=lambda t, x, y: t[0] * 3 * x[0] * x[0],
    ... )
    >>> tl.grad(lambda x: cube(x).sum())(tl.tensor([1.0, 2.0]))
    tensor([ 3., 12.])
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"register_op: expected an identifier as name, got {name!r}")
    if name in _OPS:
        raise ValueError(f"register_op: expected a new name, got {name!r} again")
    rules = {"kernel": kernel, "vjp": vjp, "jvp": jvp, "batching": batching}
    for key, rule in rules.items():
        if not callable(rule) and not (rule is None and key in ("jvp", "batching")):
            raise TypeError(
                f"register_op: expected a callable as {key}, got {type(rule).__name__}"
            )
    _OPS[name] = Op(name, kernel, (vjp, jvp), batching)
    return _OPS[name]


def registered_ops():
    """Return the operations that `register_op` made, by name.

    Examples
    --------
    >>> isinstance(registered_ops(), dict)
    True
    """
    return dict(_OPS)
