"""Optimizers that use curvature: LBFGS from past gradients, Newton from the Hessian."""

import tensorlib as tl
from tensorlib.core.tensor import Tensor
from tensorlib.optim.line_search import Point, strong_wolfe
from tensorlib.optim.optimizer import Optimizer

__all__ = ["LBFGS", "Newton"]


class _Whole(Optimizer):
    """An optimizer of one group that sees all parameters as one vector."""

    def add_param_group(self, param_group):
        """Add the only group; see `Optimizer.add_param_group`."""
        if self.param_groups:
            raise ValueError(f"{type(self).__name__}: works on one group of parameters")
        super().add_param_group(param_group)

    def _params(self):
        return self.param_groups[0]["params"]

    def _move(self, step, direction):
        start = 0
        for param in self._params():
            piece = direction[start : start + param.size]
            param.add_(piece.reshape(param.shape).astype(param.dtype) * step)
            start += param.size


class LBFGS(_Whole):
    """Limited-memory BFGS.

    The direction is minus the gradient times an approximation of the inverse Hessian
    that is built from the last steps and changes of the gradient. Call
    ``step(closure)`` with a closure that clears the gradients, computes the loss, calls
    ``backward`` and returns the loss; it is called several times a step.

    Parameters
    ----------
    params : iterable
        Parameters, or one group; see `Optimizer`.
    lr : float, default 1
        Length of a step, or the line search's first trial.
    max_iter : int, default 20
        Iterations a call of ``step``.
    max_eval : int, optional
        Calls of the closure a call of ``step``; ``max_iter * 5 // 4`` by default.
    tolerance_grad : float, default 1e-7
        Stop when no element of the gradient is larger.
    tolerance_change : float, default 1e-9
        Stop when neither a parameter nor the loss changes by more.
    history_size : int, default 100
        Steps that are remembered.
    line_search_fn : {None, "strong_wolfe"}, default None
        How the length of a step is found.

    Raises
    ------
    ValueError
        If an option is out of range, or there is more than one group.

    References
    ----------
    Nocedal and Wright, "Numerical Optimization", 2nd ed., algorithm 7.4.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0, -2.0]))
    >>> opt = optim.LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     opt.zero_grad()
    ...     loss = ((p - 3.0) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = opt.step(closure)
    >>> [round(v, 4) for v in p.tolist()]
    [3.0, 3.0]
    """

    def __init__(
        self, params, lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7,
        tolerance_change=1e-9, history_size=100, line_search_fn=None,
    ):  # fmt: skip
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def _check_options(self, group):
        super()._check_options(group)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                'LBFGS: expected line_search_fn None or "strong_wolfe", '
                f"got {group['line_search_fn']!r}"
            )

    def step(self, closure):
        """Do up to ``max_iter`` iterations.

        Parameters
        ----------
        closure : callable
            Clears the gradients, computes the loss, calls ``backward``, returns the
            loss.

        Returns
        -------
        Tensor
            The loss before the step.
        """
        group = self.param_groups[0]
        state = self.state.setdefault(self._params()[0], {"func_evals": 0, "n_iter": 0})
        with tl.no_grad():
            first = self._evaluate(closure, state)
            loss, grad = float(first.item()), self._gradient()
            if _largest(grad) > group["tolerance_grad"]:
                self._iterate(closure, group, state, loss, grad)
        return first

    def _evaluate(self, closure, state):
        with tl.enable_grad():
            loss = closure()
        state["func_evals"] += 1
        return loss

    def _gradient(self):
        pieces = [
            tl.zeros((p.size,), dtype=p.dtype, device=p.device)
            if p.grad is None
            else p.grad.reshape((-1,))
            for p in self._params()
        ]
        return tl.concat(pieces, axis=0)

    def _iterate(self, closure, group, state, loss, grad):
        begun = state["func_evals"] - 1
        for number in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(group, state, grad)
            state["d"], state["prev_flat_grad"] = direction, grad
            state["prev_loss"] = last_loss = loss
            step = group["lr"]
            if state["n_iter"] == 1:
                step *= min(1.0, 1.0 / tl.sum(tl.abs(grad)).item())
            slope = _dot(grad, direction)
            if slope > -group["tolerance_change"]:
                break
            start = Point(0.0, loss, grad, slope)
            if group["line_search_fn"] is not None:
                left = group["max_eval"] - (state["func_evals"] - begun)
                point = self._search(closure, state, start, step, direction, left)
            else:
                self._move(step, direction)
                if number == group["max_iter"]:
                    state["t"] = step
                    break
                point = self._present(closure, state, step, direction)
            state["t"] = point.step
            if number == group["max_iter"]:
                break
            loss, grad = point.loss, point.grad
            if state["func_evals"] - begun >= group["max_eval"]:
                break
            tolerance = group["tolerance_change"]
            if (
                _largest(grad) <= group["tolerance_grad"]
                or _largest(direction) * abs(point.step) <= tolerance
                or abs(loss - last_loss) < tolerance
            ):
                break

    def _present(self, closure, state, step, direction):
        """Evaluate the loss where the parameters now are, a step along."""
        loss = float(self._evaluate(closure, state).item())
        grad = self._gradient()
        return Point(step, loss, grad, _dot(grad, direction))

    def _search(self, closure, state, start, step, direction, limit):
        """Go to the step that the line search finds."""
        held = [param.copy() for param in self._params()]

        def at(trial):
            self._move(trial, direction)
            point = self._present(closure, state, trial, direction)
            for param, value in zip(self._params(), held, strict=True):
                param.copy_(value)
            return point

        width = _largest(direction)
        point = strong_wolfe(at, start, step, width, max_evaluations=limit)
        self._move(point.step, direction)
        return point

    def _direction(self, group, state, grad):
        """Return minus the approximate inverse Hessian times the gradient."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -grad
        change = grad - state["prev_flat_grad"]
        step = state["d"] * state["t"]
        curvature = _dot(change, step)
        changes, steps, inverse = state["old_dirs"], state["old_stps"], state["ro"]
        if curvature > 1e-10:
            if len(changes) == group["history_size"]:
                del changes[0], steps[0], inverse[0]
            changes.append(change)
            steps.append(step)
            inverse.append(1.0 / curvature)
            state["H_diag"] = curvature / _dot(change, change)
        direction = -grad
        shares = []
        for s, y, rho in zip(steps[::-1], changes[::-1], inverse[::-1], strict=True):
            shares.append(_dot(s, direction) * rho)
            direction = direction - y * shares[-1]
        direction = direction * state["H_diag"]
        for s, y, rho in zip(steps, changes, inverse, strict=True):
            direction = direction + s * (shares.pop() - _dot(y, direction) * rho)
        return direction

    def _load_value(self, position, param, key, value):
        if isinstance(value, (list, tuple)):
            return [_copied(entry) for entry in value if entry is not None]
        return _copied(value)


def _copied(value):
    if isinstance(value, Tensor):
        return value.item() if value.ndim == 0 else value.detach().copy()
    return value


def _dot(a, b):
    return tl.sum(a * b).item()


def _largest(x):
    return tl.max(tl.abs(x)).item() if x.size else 0.0


class Newton(_Whole):
    """Newton's method with the full Hessian: for small problems.

    ``p = p - lr (H + damping I)⁻¹ g``. The closure computes the loss and returns it,
    without ``backward``. A step costs one backward pass a parameter element and n³ / 3
    multiplications; where the Hessian is not positive definite, it may lead to a saddle
    or a maximum.

    Parameters
    ----------
    params : iterable
        Parameters, or one group; see `Optimizer`.
    lr : float, default 1.0
        Share of the Newton step that is taken.
    damping : float, default 0.0
        Added to the diagonal of the Hessian.

    Raises
    ------
    ValueError
        If an option is out of range, or there is more than one group.

    References
    ----------
    Nocedal and Wright, "Numerical Optimization", 2nd ed., section 3.3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0, -2.0]))
    >>> opt = optim.Newton([p])
    >>> _ = opt.step(lambda: ((p - 3.0) ** 2).sum() + p[0] * p[1])
    >>> [round(v, 4) for v in p.tolist()]
    [2.0, 2.0]
    """

    def __init__(self, params, lr=1.0, damping=0.0):
        super().__init__(params, {"lr": lr, "damping": damping})

    def _check_options(self, group):
        super()._check_options(group)
        if not group["damping"] >= 0:
            raise ValueError(f"Newton: expected damping >= 0, got {group['damping']}")

    def step(self, closure):
        """Move all parameters by a Newton step.

        Parameters
        ----------
        closure : callable
            Computes and returns the loss.

        Returns
        -------
        Tensor
            The loss before the step.

        Raises
        ------
        ZeroDivisionError
            If the damped Hessian is singular; nothing is changed.
        """
        group = self.param_groups[0]
        with tl.enable_grad():
            loss = closure()
            grad, hessian = self._derivatives(loss)
        with tl.no_grad():
            if group["damping"]:
                eye = tl.eye(grad.size, dtype=grad.dtype)
                hessian = hessian + eye * group["damping"]
            self._move(-group["lr"], _solve(hessian, grad))
        return loss

    def _derivatives(self, loss):
        """Return the gradient (n,) and the Hessian (n, n), detached."""
        grads = tl.autograd.grad(
            [loss], self._params(), create_graph=True, allow_unused=True
        )
        grad = _flat(grads, self._params())
        rows = []
        for position in range(grad.size):
            if not grad.requires_grad:  # the loss is linear
                rows.append(tl.zeros_like(grad))
                continue
            row = tl.autograd.grad(
                [grad[position]], self._params(), retain_graph=True, allow_unused=True
            )
            rows.append(_flat(row, self._params()))
        return grad.detach(), tl.stack([row.detach() for row in rows])


def _flat(parts, params):
    return tl.concat(
        [
            tl.zeros((p.size,), dtype=p.dtype, device=p.device)
            if g is None
            else g.reshape((-1,))
            for g, p in zip(parts, params, strict=True)
        ],
        axis=0,
    )


def _solve(matrix, vector):
    """Solve by Gaussian elimination, with row exchanges, in float64."""
    n = vector.size
    rows = tl.concat([matrix, vector.reshape((n, 1))], axis=1).astype(tl.float64)
    for k in range(n):
        pivot = k + tl.argmax(tl.abs(rows[k:, k])).item()
        if rows[pivot, k].item() == 0:
            raise ZeroDivisionError("Newton: the Hessian is singular; pass damping > 0")
        if pivot != k:
            held = rows[k].copy()
            rows[k] = rows[pivot]
            rows[pivot] = held
        rows[k] = rows[k] / rows[k, k].item()
        factors = rows[:, k].copy()
        factors[k] = 0.0
        rows -= tl.expand_dims(factors, 1) * rows[k]
    return rows[:, n]
