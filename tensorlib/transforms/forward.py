"""Forward-mode transforms: jvp and linearize."""

from tensorlib.autograd.forward import DualLevel
from tensorlib.autograd.grad_mode import set_grad_enabled
from tensorlib.core.tensor import Tensor
from tensorlib.ops.creation import zeros_like
from tensorlib.transforms.arguments import (
    check_callable,
    differentiable,
    output_leaves,
    split_aux,
)
from tensorlib.transforms.pytree import flatten, flatten_like, unflatten
from tensorlib.transforms.reverse import Recording, vjp

__all__ = ["jvp", "linearize"]


def jvp(func, primals, tangents, has_aux=False) -> tuple:
    """Evaluate `func` and its directional derivative in one forward pass.

    Parameters
    ----------
    func : callable
        Takes the primals as positional arguments, returns a tree of tensors; with
        `has_aux` a pair of it and anything else.
    primals, tangents : tuple
        The point and the direction: trees of floating tensors of one structure, and
        pairwise of one shape and dtype.
    has_aux : bool, default False

    Returns
    -------
    output, tangent : trees of Tensor
        ``f(x)`` and ``J v``; the latter is zero where `func` does not depend on x.
    aux
        With `has_aux` only.

    Raises
    ------
    TypeError
        If `primals` is not a tuple or list, or the function returns what is not a
        tensor.
    ValueError
        If the structures differ.
    ShapeError, DTypeError
        If a tangent's shape or dtype is not its primal's, or a primal is not floating.

    References
    ----------
    R. E. Wengert, "A simple automatic derivative evaluation program", Communications
    of the ACM 7 (1964) 463-464.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 10.0))
    (tensor(6.), tensor(23.))
    """
    check_callable("jvp", func)
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(
                f"jvp: expected a tuple of {what}, one per argument, got "
                f"{type(given).__name__}"
            )
    leaves, structure = flatten(tuple(primals))
    steps = flatten_like(structure, tuple(tangents), "jvp: tangents")
    with DualLevel() as level:
        duals = [
            level.dual(differentiable("jvp", x), differentiable("jvp", v))
            for x, v in zip(leaves, steps, strict=True)
        ]
        made = func(*unflatten(structure, duals))
    output, aux = split_aux("jvp", made, has_aux)
    outputs, shape = output_leaves("jvp", output)
    # A tensor may be a result twice, and its tangent is taken off once.
    tangents = {id(y): _tangent(level, y) for y in {id(y): y for y in outputs}.values()}
    found = [tangents[id(y)] for y in outputs]
    if not has_aux:
        return output, unflatten(shape, found)
    for x in flatten(aux)[0]:
        if isinstance(x, Tensor):
            level.tangent(x)  # takes it off
    return output, unflatten(shape, found), aux


def _tangent(level, output):
    found = level.tangent(output)
    return zeros_like(output) if found is None else found


def linearize(func, *primals):
    """Evaluate `func` and return its value with its derivative, a linear function.

    The function is evaluated once. Its pull-back ``u -> J^T u`` is linear, so the
    pull-back of the pull-back is ``v -> J v``.

    Parameters
    ----------
    func : callable
        Takes the primals as positional arguments, returns a tree of tensors.
    *primals : trees of floating tensors

    Returns
    -------
    output : tree of Tensor
    jvp_fn : callable
        Takes one tangent per primal, of its structure and shapes; returns the output's
        tangent. It may be called any number of times.

    Raises
    ------
    TypeError, DTypeError
        If a primal holds what is not a floating tensor.
    ValueError, ShapeError
        From `jvp_fn`, if the tangents have another structure or shape.

    References
    ----------
    J. Townsend, "A new trick for calculating Jacobian vector products", 2017.

    Examples
    --------
    >>> import tensorlib as tl
    >>> y, push = tl.linearize(lambda x: x ** 2, tl.tensor([1.0, 2.0]))
    >>> push(tl.tensor([1.0, 0.0])), push(tl.tensor([0.0, 1.0]))
    (tensor([2., 0.]), tensor([0., 4.]))
    """
    check_callable("linearize", func)
    made = Recording("linearize", lambda tree: func(*tree), primals, False)
    floating = [y.dtype.is_floating_point for y in made.leaves]

    def pulled(cotangents):
        given = iter(cotangents)
        return made.pull([next(given) if f else None for f in floating], retain=True)

    seeds = [zeros_like(y) for y, f in zip(made.leaves, floating, strict=True) if f]
    # Recorded for those outside only if they could ask for its derivative.
    with set_grad_enabled(made.seen):
        _, push = vjp(pulled, seeds)

    def jvp_fn(*tangents):
        (slopes,) = push(tangents)
        given = iter(slopes)
        found = [
            next(given) if f else zeros_like(y)
            for y, f in zip(made.leaves, floating, strict=True)
        ]
        return unflatten(made.structure, found)

    return made.value(), jvp_fn
