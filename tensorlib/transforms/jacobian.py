"""Whole Jacobians and Hessians, and the product with a Hessian."""

import functools

from tensorlib.ops.creation import eye, zeros, zeros_like
from tensorlib.ops.joining import stack
from tensorlib.transforms.arguments import (
    check_callable,
    chosen,
    differentiable,
    replaced,
)
from tensorlib.transforms.forward import jvp
from tensorlib.transforms.pytree import flatten, unflatten
from tensorlib.transforms.reverse import Recording, grad

__all__ = ["hessian", "hvp", "jacfwd", "jacrev"]


def _basis(x):
    """Yield the unit tensors of x's shape, one per element in C order."""
    rows = eye(x.size, dtype=x.dtype)
    for i in range(x.size):
        yield rows[i].reshape(x.shape)


def jacrev(func, argnums=0, has_aux=False):
    """Return a function that computes the Jacobian of `func` row by row.

    One reverse pass per output element: for functions with fewer outputs than inputs.

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
    rows = []
    if y.requires_grad:
        rows = [flatten(made.pull_pairs([(y, u)], True))[0] for u in _basis(y)]
    if not rows:  # independent of all, or empty
        found = [zeros((*y.shape, *x.shape), dtype=x.dtype) for x in made.variables]
        return unflatten(made.inputs, found)
    columns = zip(*rows, strict=True)
    found = [
        stack(list(c)).reshape((*y.shape, *x.shape))
        for c, x in zip(columns, made.variables, strict=True)
    ]
    return unflatten(made.inputs, found)


def jacfwd(func, argnums=0, has_aux=False):
    """Return a function that computes the Jacobian of `func` column by column.

    One forward pass per input element: for functions with fewer inputs than outputs.
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
    still = [zeros_like(x) for x in leaves]
    blocks, aux = [], None
    for k, x in enumerate(leaves):
        # An empty leaf is pushed once, for the output's shapes.
        units = list(_basis(x)) or [still[k]]
        columns = []
        for unit in units:
            steps = [*still[:k], unit, *still[k + 1 :]]
            output, tangent, *more = jvp(along, leaves, steps, has_aux)
            aux = more[0] if has_aux else None
            outputs, shape = flatten(output)
            columns.append(flatten(tangent)[0])
        blocks.append(
            [
                _joined(list(column), y, x)
                for column, y in zip(zip(*columns, strict=True), outputs, strict=True)
            ]
        )
    if not leaves:
        raise ValueError("jacfwd: expected a tensor to differentiate by, got none")
    jacobian = unflatten(
        shape, [unflatten(structure, list(row)) for row in zip(*blocks, strict=True)]
    )
    return (jacobian, aux) if has_aux else jacobian


def _joined(column, y, x):
    """Tangents of y for each element of x, as an array of y.shape + x.shape."""
    stacked = stack(column, axis=-1)
    if x.size == 0:
        stacked = stacked[..., :0]
    return stacked.reshape((*y.shape, *x.shape))


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
