"""Whole Jacobians and Hessians, and the product with a Hessian.

A Jacobian is a pull-back of every unit cotangent, or a push-forward of every unit
tangent, by `vmap`: the function itself is evaluated once, on one example.
"""

import functools

from tensorlib.ops.creation import eye, zeros, zeros_like
from tensorlib.ops.joining import concat
from tensorlib.ops.shape import moveaxis
from tensorlib.transforms.arguments import (
    check_callable,
    chosen,
    differentiable,
    replaced,
)
from tensorlib.transforms.forward import jvp
from tensorlib.transforms.pytree import flatten, unflatten
from tensorlib.transforms.reverse import Recording, grad
from tensorlib.transforms.vmap import map_units

__all__ = ["hessian", "hvp", "jacfwd", "jacrev"]


# Elements of unit tensors at a time. What is computed from them is about as large; the
# processor has had enough to do at a fraction of it.
_PART = 1 << 22


def _over_basis(function, x, draws):
    """Return the leaves of `function` of each unit tensor of x's shape, stacked.

    One per element of x, in C order; `function` returns a list of tensors. Random
    numbers are the same for all of them, and for all calls with the same `draws`.
    """
    step = max(_PART // max(x.size, 1), 1)
    parts = []
    for start in range(0, x.size, step):
        rows = min(step, x.size - start)
        units = eye(rows, x.size, k=start, dtype=x.dtype, device=x.device)
        parts.append(map_units(function, units.reshape((rows, *x.shape)), draws))
    if len(parts) == 1:
        return parts[0]
    return [concat(column) for column in zip(*parts, strict=True)]


def jacrev(func, argnums=0, has_aux=False):
    """Return a function that computes the Jacobian of `func` row by row.

    The cost of a reverse pass per output element, all in one pass by `vmap`: for
    functions with fewer outputs than inputs.

    Parameters
    ----------
    func : callable
        Returns a tree of tensors; with `has_aux` a pair of it and anything else.
    argnums : int or tuple of int, default 0
        Positional arguments to differentiate by: trees of floating tensors.
    has_aux : bool, default False

    Returns
    -------
    callable
        Takes what `func` takes. The result has the output's structure with, in place
        of each leaf, the structure of the argument; each of its leaves has the shape
        ``output.shape + input.shape``. With `has_aux`, ``(jacobian, aux)``.

    Raises
    ------
    TypeError, DTypeError, ValueError
        When called, as `value_and_grad`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.jacrev(lambda x: x ** 2)(tl.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    check_callable("jacrev", func)

    @functools.wraps(func, updated=())
    def wrapped(*args, **kwargs):
        places, variables = chosen("jacrev", argnums, args)
        made = Recording(
            "jacrev",
            lambda tree: func(*replaced(args, places, argnums, tree), **kwargs),
            variables,
            has_aux,
        )
        blocks = [_rows(made, k) for k in range(len(made.leaves))]
        jacobian = unflatten(made.structure, blocks)
        return (jacobian, made.auxiliary()) if has_aux else jacobian

    return wrapped


def _rows(made, k):
    """Return the derivative of output leaf k: the argument's tree of stacked rows."""
    y = made.leaves[k]
    if not y.requires_grad or not y.size:  # independent of all, or empty
        found = [
            zeros((*y.shape, *x.shape), dtype=x.dtype, device=x.device)
            for x in made.variables
        ]
        return unflatten(made.inputs, found)
    rows = _over_basis(lambda u: flatten(made.pull_pairs([(y, u)], True))[0], y, {})
    found = [
        row.reshape((*y.shape, *x.shape))
        for row, x in zip(rows, made.variables, strict=True)
    ]
    return unflatten(made.inputs, found)


def jacfwd(func, argnums=0, has_aux=False):
    """Return a function that computes the Jacobian of `func` column by column.

    The cost of a forward pass per input element, all in one pass by `vmap`: for
    functions with fewer inputs than outputs.
    Parameters, results and errors are those of `jacrev`.

    Parameters
    ----------
    func : callable
    argnums : int or tuple of int, default 0
    has_aux : bool, default False

    Returns
    -------
    callable

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.jacfwd(lambda x: (x.sum(), {"square": x * x}))(tl.tensor([1.0, 2.0]))
    (tensor([1., 1.]), {'square': tensor([[2., 0.],
            [0., 4.]])})
    """
    check_callable("jacfwd", func)

    @functools.wraps(func, updated=())
    def wrapped(*args, **kwargs):
        places, variables = chosen("jacfwd", argnums, args)
        leaves, structure = flatten(variables)
        leaves = [differentiable("jacfwd", x) for x in leaves]

        def along(*moved):
            tree = unflatten(structure, moved)
            return func(*replaced(args, places, argnums, tree), **kwargs)

        return _columns(along, leaves, structure, has_aux)

    return wrapped


def _columns(along, leaves, structure, has_aux):
    """Push each unit tangent of each leaf; stack what comes out."""
    if not leaves:
        raise ValueError("jacfwd: expected a tensor to differentiate by, got none")
    still = [zeros_like(x) for x in leaves]
    blocks = []
    made, draws = None, {}

    def push(steps):
        nonlocal made
        output, tangent, *aux = jvp(along, leaves, steps, has_aux)
        made = (*flatten(output), *aux)
        return flatten(tangent)[0]

    for k, x in enumerate(leaves):
        if x.size:
            columns = _over_basis(
                lambda unit, k=k: push([*still[:k], unit, *still[k + 1 :]]), x, draws
            )
        else:  # for the output's shapes
            columns = [t.reshape((1, *t.shape))[:0] for t in push(still)]
        blocks.append(
            [
                moveaxis(c, 0, -1).reshape((*y.shape, *x.shape))
                for c, y in zip(columns, made[0], strict=True)
            ]
        )
    jacobian = unflatten(
        made[1], [unflatten(structure, list(row)) for row in zip(*blocks, strict=True)]
    )
    return (jacobian, made[2]) if has_aux else jacobian


def hessian(func, argnums=0):
    """Return a function that computes the Hessian of `func`, forward over reverse.

    Parameters
    ----------
    func : callable
        Returns a tensor, in general 0-d.
    argnums : int or tuple of int, default 0
        Positional arguments to differentiate by: trees of floating tensors.

    Returns
    -------
    callable
        Takes what `func` takes. For one tensor x the result has the shape
        ``output.shape + x.shape + x.shape``; for a tree it is the tree of trees.

    Raises
    ------
    TypeError, DTypeError, ValueError
        When called, as `value_and_grad`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.hessian(lambda x: (x ** 3).sum())(tl.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def hvp(func, primals, tangents):
    """Return the product of the Hessian of `func` with `tangents`.

    Forward mode over the gradient: a small multiple of the gradient's cost, whatever
    the number of variables.

    Parameters
    ----------
    func : callable
        Takes the primals as positional arguments and returns a 0-d tensor.
    primals, tangents : tuple
        The point and the direction: trees of floating tensors of one structure.

    Returns
    -------
    tuple
        One tree per primal.

    Raises
    ------
    TypeError, DTypeError, ValueError, ShapeError
        As `jvp` and `grad`.

    References
    ----------
    B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6
    (1994) 147-160.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x, v = tl.tensor([1.0, 2.0]), tl.tensor([1.0, 1.0])
    >>> tl.hvp(lambda x: (x ** 3).sum(), (x,), (v,))
    (tensor([ 6., 12.]),)
    """
    check_callable("hvp", func)
    if not isinstance(primals, (tuple, list)) or not primals:
        raise TypeError(
            f"hvp: expected a tuple of primals, one per argument, got {primals!r}"
        )
    return jvp(grad(func, tuple(range(len(primals)))), primals, tangents)[1]
