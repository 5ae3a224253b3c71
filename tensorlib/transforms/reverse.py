"""Reverse-mode transforms: grad, value_and_grad, vjp.

Each call runs the function on fresh variables. A variable made from a tensor that is in
a graph stays in that graph, so that an outer transform sees through the inner one; the
gradient is itself recorded only where somebody outside could ask for its derivative.
"""

import functools

from tensorlib.autograd.forward import outside_graph
from tensorlib.autograd.grad_mode import enable_grad, is_grad_enabled
from tensorlib.autograd.tape import grad as tape_grad
from tensorlib.autograd.tape import leads_beyond
from tensorlib.core.errors import ShapeError
from tensorlib.core.tensor import Tensor
from tensorlib.ops.creation import asarray, zeros_like
from tensorlib.transforms.arguments import (
    check_callable,
    chosen,
    differentiable,
    output_leaves,
    replaced,
    split_aux,
)
from tensorlib.transforms.pytree import flatten, flatten_like, tree_map, unflatten

__all__ = ["grad", "value_and_grad", "vjp"]


class Recording:
    """A function's value as recorded on fresh variables, and its pull-back.

    Attributes
    ----------
    leaves : list of Tensor
        The output's, of `structure`.
    seen : bool
        Whether the recording leads to tensors outside, so that the result of a
        pull-back may be differentiated in turn.
    """

    def __init__(self, op, function, variables, has_aux):
        """Record `function` of the tree of fresh variables made of `variables`."""
        self.op = op
        recording = is_grad_enabled()
        given, self.inputs = flatten(variables)
        given = [differentiable(op, x) for x in given]
        self.variables = [_fresh(x, recording) for x in given]
        with enable_grad():
            made = function(unflatten(self.inputs, self.variables))
        output, self.aux = split_aux(op, made, has_aux)
        self.leaves, self.structure = output_leaves(op, output)
        others = [x for x in flatten(self.aux)[0] if isinstance(x, Tensor)]
        self.seen = recording and (
            any(x.requires_grad for x in given)
            or leads_beyond([*self.leaves, *others], self.variables)
        )

    def pull(self, cotangents, retain):
        """Return the tree of gradients for one cotangent per output leaf."""
        return self.pull_pairs(zip(self.leaves, cotangents, strict=True), retain)

    def pull_pairs(self, pairs, retain):
        """Return the tree of gradients for ``(output leaf, cotangent)`` pairs."""
        followed = [(y, u) for y, u in pairs if y.requires_grad]
        found = [None] * len(self.variables)
        if followed and self.variables:
            outputs, seeds = zip(*followed, strict=True)
            tracked = self.seen or any(u is not None and u.requires_grad for u in seeds)
            create = is_grad_enabled() and tracked
            found = tape_grad(
                outputs, self.variables, seeds, retain or create, create,
                allow_unused=True,
            )  # fmt: skip
        grads = [
            outside_graph(zeros_like(x)) if g is None else g
            for g, x in zip(found, self.variables, strict=True)
        ]
        return unflatten(self.inputs, grads)

    def value(self):
        """Return the output's tree, outside the graph unless it leads outside."""
        return unflatten(self.structure, [self._settled(y) for y in self.leaves])

    def auxiliary(self):
        """Return the second result, likewise."""
        return tree_map(self._settled, self.aux)

    def _settled(self, x):
        if self.seen or not isinstance(x, Tensor):
            return x
        return outside_graph(x) if x.requires_grad else x


def _cotangent(y, u):
    """Return u as a cotangent of y; of what is not floating, anything will do."""
    if not y.dtype.is_floating_point:
        return None
    if isinstance(u, float):
        u = asarray(u, dtype=y.dtype)
    if not isinstance(u, Tensor):
        raise TypeError(f"vjp: expected a Tensor as cotangent, got {type(u).__name__}")
    if u.shape != y.shape:
        raise ShapeError(f"vjp: expected a cotangent of shape {y.shape}, got {u.shape}")
    return u


def _fresh(x, recording):
    """Return a new variable on x's values: in x's graph, if it is in one."""
    if recording and x.requires_grad:
        return x.reshape(x.shape)
    return outside_graph(x).requires_grad_()


def value_and_grad(f, argnums=0, has_aux=False):
    """Return a function that computes `f` and its gradient.

    Parameters
    ----------
    f : callable
        Returns a 0-d floating tensor; with `has_aux` a pair of it and anything else.
    argnums : int or tuple of int, default 0
        Positional arguments to differentiate by: trees of floating tensors.
    has_aux : bool, default False
        Whether `f` returns more, which is handed through.

    Returns
    -------
    callable
        Takes what `f` takes; returns ``(value, gradient)`` or
        ``((value, aux), gradient)``. The gradient has the structure of the argument,
        of a tuple of arguments when `argnums` is a tuple; it is zero for tensors that
        the value does not depend on.

    Raises
    ------
    ShapeError
        When called, if the value is not 0-d.
    TypeError, DTypeError
        If an argument to differentiate holds what is not a floating tensor, or `f`
        does not return a tensor.

    Notes
    -----
    Tensors that `f` closes over and that require grad are constants of this gradient;
    the results can be differentiated by them as usual.

    References
    ----------
    R. Frostig, M. J. Johnson, C. Leary, "Compiling machine learning programs via
    high-level tracing", SysML 2018.

    Examples
    --------
    >>> import tensorlib as tl
    >>> def loss(params, x):
    ...     return ((params["w"] * x).sum() - params["b"]) ** 2
    >>> params = {"w": tl.tensor([1.0, 2.0]), "b": tl.tensor(1.0)}
    >>> tl.value_and_grad(loss)(params, tl.tensor([3.0, 4.0]))
    (tensor(100.), {'w': tensor([60., 80.]), 'b': tensor(-20.)})
    """
    return _value_and_grad("value_and_grad", f, argnums, has_aux)


def _value_and_grad(op, f, argnums, has_aux):
    check_callable(op, f)

    @functools.wraps(f, updated=())
    def wrapped(*args, **kwargs):
        places, variables = chosen(op, argnums, args)
        made = Recording(
            op,
            lambda tree: f(*replaced(args, places, argnums, tree), **kwargs),
            variables,
            has_aux,
        )
        _check_scalar(op, made)
        gradient = made.pull([None], retain=False)
        value = made.value()
        return ((value, made.auxiliary()) if has_aux else value), gradient

    return wrapped


def _check_scalar(op, made):
    shapes = [y.shape for y in made.leaves]
    if shapes != [()] or not made.leaves[0].dtype.is_floating_point:
        got = ", ".join(f"{y.shape} of {y.dtype}" for y in made.leaves) or "none"
        raise ShapeError(
            f"{op}: expected the function to return one 0-d floating tensor, got "
            f"{got}; reduce it by .sum() or .mean(), or use jacrev or vjp"
        )


def grad(f, argnums=0, has_aux=False):
    """Return a function that computes the gradient of `f`.

    As `value_and_grad`, without the value: the result is the gradient, or
    ``(gradient, aux)``.

    Parameters
    ----------
    f : callable
        Returns a 0-d floating tensor; with `has_aux` a pair of it and anything else.
    argnums : int or tuple of int, default 0
        Positional arguments to differentiate by: trees of floating tensors.
    has_aux : bool, default False

    Returns
    -------
    callable

    Raises
    ------
    ShapeError, TypeError, DTypeError
        When called, as `value_and_grad`.

    See Also
    --------
    tensorlib.autograd.grad : Gradients of tensors that have been computed.

    Examples
    --------
    >>> import tensorlib as tl
    >>> cube = lambda x: x ** 3
    >>> tl.grad(cube)(2.0), tl.grad(tl.grad(cube))(2.0)
    (tensor(12.), tensor(12.))
    """
    both = _value_and_grad("grad", f, argnums, has_aux)

    @functools.wraps(f, updated=())
    def wrapped(*args, **kwargs):
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(func, *primals, has_aux=False) -> tuple:
    """Evaluate `func` and return its value with its pull-back.

    The pull-back maps a cotangent u of the output to ``J^T u``; it may be called any
    number of times.

    Parameters
    ----------
    func : callable
        Takes the primals as positional arguments, returns a tree of tensors; with
        `has_aux` a pair of it and anything else.
    *primals : trees of floating tensors
    has_aux : bool, default False

    Returns
    -------
    output : tree of Tensor
    vjp_fn : callable
        Takes a cotangent of the output's structure and shapes; returns a tuple with one
        tree per primal.
    aux
        With `has_aux` only.

    Raises
    ------
    ValueError
        From `vjp_fn`, if the cotangent has another structure.
    ShapeError, DTypeError, TypeError
        If a cotangent has another shape, or a primal holds what is not a floating
        tensor.

    Examples
    --------
    >>> import tensorlib as tl
    >>> y, pull = tl.vjp(lambda x: (x.sum(), x * x), tl.tensor([1.0, 3.0]))
    >>> pull((tl.tensor(10.0), tl.tensor([1.0, 1.0])))
    (tensor([12., 16.]),)
    """
    check_callable("vjp", func)
    made = Recording("vjp", lambda tree: func(*tree), primals, has_aux)

    def vjp_fn(cotangent):
        given = flatten_like(made.structure, cotangent, "vjp: cotangent")
        seeds = [_cotangent(y, u) for y, u in zip(made.leaves, given, strict=True)]
        return made.pull(seeds, retain=True)

    if has_aux:
        return made.value(), vjp_fn, made.auxiliary()
    return made.value(), vjp_fn
