"""Derivative rules against central differences.

A function is checked along random directions rather than entry by entry: for a
direction `v` of the inputs and a cotangent `u` of the output, forward mode must give
``J v`` as a difference quotient does, and reverse mode must satisfy
``<u, J v> = <J^T u, v>``.
"""

from tensorlib.autograd.forward import jvp
from tensorlib.autograd.grad_mode import enable_grad
from tensorlib.autograd.tape import grad
from tensorlib.core.errors import DTypeError, GraphError

__all__ = ["gradcheck", "gradgradcheck"]


def _directions(tensors, generator):
    from tensorlib.ops.random import randn

    return [
        randn(x.shape, dtype=x.dtype, generator=generator) if x.requires_grad else None
        for x in tensors
    ]


def _moved(inputs, direction, step):
    """Return leaf copies of the inputs, moved along the direction."""
    return [
        x.detach() if v is None else x.detach() + v * step
        for x, v in zip(inputs, direction, strict=True)
    ]


def _inner(a, b):
    return (a * b).sum().item()


def _tuple(output):
    return tuple(output) if isinstance(output, (tuple, list)) else (output,)


def _compare(what, found, expected, scale, atol, rtol):
    if not abs(found - expected) <= atol + rtol * max(abs(expected), scale):
        raise GraphError(f"gradcheck: {what}: got {found!r}, expected {expected!r}")


def gradcheck(
    function,
    inputs,
    *,
    eps=1e-6,
    atol=1e-6,
    rtol=1e-5,
    directions=3,
    seed=0,
    forward_mode=True,
):
    """Compare the derivatives of `function` with central differences.

    Parameters
    ----------
    function : callable
        Takes the inputs as positional arguments and returns a tensor or a tuple.
    inputs : Tensor or sequence of Tensor
        Those that require grad must be float64.
    eps : float
        Step of the differences, along a direction of standard normal entries.
    atol, rtol : float
        Absolute tolerance, and relative to the larger of the value and the sum of the
        magnitudes that make it up.
    directions : int
        How many random directions are tried.
    seed : int
    forward_mode : bool
        Check `jvp` too.

    Returns
    -------
    bool
        True; a mismatch raises.

    Raises
    ------
    GraphError
        If a derivative differs, or no input requires grad.
    DTypeError
        If an input that requires grad is not float64.

    References
    ----------
    A. Griewank, A. Walther, "Evaluating Derivatives", 2nd ed., SIAM 2008, section 3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.rand(3, dtype=tl.float64, requires_grad=True)
    >>> tl.autograd.gradcheck(lambda x: x.exp() * x, x)
    True
    """
    from tensorlib.ops.random import Generator, randn

    inputs = _tuple(inputs)
    active = [x for x in inputs if x.requires_grad]
    if not active:
        raise GraphError("gradcheck: expected an input that requires grad")
    for x in active:
        if x.dtype.name != "float64":
            raise DTypeError(f"gradcheck: expected float64 inputs, got {x.dtype}")
    generator = Generator(seed)
    for _ in range(directions):
        direction = _directions(inputs, generator)
        with enable_grad():
            outputs = [
                y for y in _tuple(function(*inputs)) if y.dtype.is_floating_point
            ]
        # An output that does not require grad must be constant.
        tracked = [k for k, y in enumerate(outputs) if y.requires_grad]
        if not tracked:
            raise GraphError("gradcheck: no output requires grad")
        cotangents = [
            randn(y.shape, dtype=y.dtype, generator=generator) for y in outputs
        ]
        ahead, behind = (
            [
                y.detach()
                for y in _tuple(function(*_moved(inputs, direction, step)))
                if y.dtype.is_floating_point
            ]
            for step in (eps, -eps)
        )
        slopes = [(a - b) * (0.5 / eps) for a, b in zip(ahead, behind, strict=True)]
        expected = sum(_inner(u, s) for u, s in zip(cotangents, slopes, strict=True))
        scale = sum(
            _inner(u.abs(), s.abs()) for u, s in zip(cotangents, slopes, strict=True)
        )
        grads = grad(
            [outputs[k] for k in tracked], active, [cotangents[k] for k in tracked],
            allow_unused=True,
        )  # fmt: skip
        steps = [v for v in direction if v is not None]
        found = sum(
            _inner(g.detach(), v)
            for g, v in zip(grads, steps, strict=True)
            if g is not None
        )
        _compare("vjp against differences", found, expected, scale, atol, rtol)
        if forward_mode:
            found = sum(
                _inner(u, t)
                for u, t in zip(
                    cotangents, _tangents(function, inputs, direction), strict=True
                )
            )
            _compare("jvp against differences", found, expected, scale, atol, rtol)
    return True


def _tangents(function, inputs, direction):
    """Return J v for each differentiable output of `function`."""
    count = len(_tuple(function(*[x.detach() for x in inputs])))

    def output(k, *moving):
        given = iter(moving)
        arguments = [
            x.detach() if v is None else next(given)
            for x, v in zip(inputs, direction, strict=True)
        ]
        return _tuple(function(*arguments))[k]

    primals = [
        x.detach() for x, v in zip(inputs, direction, strict=True) if v is not None
    ]
    steps = [v for v in direction if v is not None]
    found = []
    for k in range(count):
        y, tangent = jvp(lambda *moving, k=k: output(k, *moving), primals, steps)
        if y.dtype.is_floating_point:
            found.append(tangent.detach())
    return found


def gradgradcheck(
    function, inputs, *, eps=1e-6, atol=1e-6, rtol=1e-5, directions=2, seed=0
):
    """Compare second derivatives of `function` with differences of its gradients.

    Checks the reverse pass itself as a function of the inputs and the cotangents, with
    `gradcheck`: reverse over reverse, and forward over reverse. The parameters are the
    same.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.rand(3, dtype=tl.float64, requires_grad=True)
    >>> tl.autograd.gradgradcheck(lambda x: x.exp() * x, x)
    True
    """
    from tensorlib.ops.random import Generator, randn

    inputs = _tuple(inputs)
    generator = Generator(seed)
    with enable_grad():
        outputs = [y for y in _tuple(function(*inputs)) if y.requires_grad]
    cotangents = [
        randn(y.shape, dtype=y.dtype, generator=generator, requires_grad=True)
        for y in outputs
    ]

    def gradients(*arguments):
        primals = list(arguments[: len(inputs)])
        given = arguments[len(inputs) :]
        for i, x in enumerate(inputs):
            if x.requires_grad and not primals[i].requires_grad:
                # Another tensor, with the tangents of this one.
                primals[i] = primals[i][...].requires_grad_()
        active = [p for p, x in zip(primals, inputs, strict=True) if x.requires_grad]
        with enable_grad():
            results = [y for y in _tuple(function(*primals)) if y.requires_grad]
            return grad(results, active, list(given), create_graph=True)

    return gradcheck(
        gradients,
        (*inputs, *cotangents),
        eps=eps,
        atol=atol,
        rtol=rtol,
        directions=directions,
        seed=seed,
    )
