"""Schedules of one direction: by a function, by steps, by a line or a power."""

import bisect

from tensorlib.optim.lr_scheduler.base import LRScheduler, one_each

__all__ = [
    "ConstantLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "PolynomialLR",
    "StepLR",
]


class LambdaLR(LRScheduler):
    """``lr = initial lr · f(t)``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    lr_lambda : callable or list of callable
        f, one for all groups or one a group; not part of the state dict.
    last_epoch : int, default -1
        The last step done.

    Raises
    ------
    ValueError
        If the list's length is not the number of groups.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.LambdaLR(opt, lambda t: 0.5**t)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        name = type(self).__name__
        self.lr_lambdas = one_each(name, "lr_lambda", lr_lambda, optimizer.param_groups)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return ``base_lr · f(step)``."""
        return base_lr * self.lr_lambdas[group](step)

    def state_dict(self):
        """Return everything but the optimizer and the functions."""
        state = super().state_dict()
        del state["lr_lambdas"]
        return state


class MultiplicativeLR(LambdaLR):
    """``lr = initial lr · f(1) f(2) ... f(t)``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    lr_lambda : callable or list of callable
        f, one for all groups or one a group; not part of the state dict.
    last_epoch : int, default -1
        The last step done.

    Raises
    ------
    ValueError
        If the list's length is not the number of groups.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.MultiplicativeLR(opt, lambda t: 1 / t)
    >>> schedule.step(), schedule.step()
    (None, None)
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        self._reached = {}  # group: (step, product), so that a step costs one call
        super().__init__(optimizer, lr_lambda, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return the product of the factors up to `step`."""
        reached, product = self._reached.get(group, (0, base_lr))
        if reached > step:
            reached, product = 0, base_lr
        for t in range(reached + 1, step + 1):
            product = product * self.lr_lambdas[group](t)
        self._reached[group] = (step, product)
        return product


class StepLR(LRScheduler):
    """``lr = initial lr · gamma^(t // step_size)``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    step_size : int
        Steps between two changes.
    gamma : float, default 0.1
        Factor of a change.
    last_epoch : int, default -1
        The last step done.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.StepLR(opt, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return ``base_lr · gamma^(step // step_size)``."""
        return base_lr * self.gamma ** (step // self.step_size)


class MultiStepLR(LRScheduler):
    """``lr = initial lr · gamma^(number of milestones <= t)``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    milestones : iterable of int
        Steps at which the rate changes.
    gamma : float, default 0.1
        Factor of a change.
    last_epoch : int, default -1
        The last step done.
    """

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return the rate after the milestones up to `step`."""
        return base_lr * self.gamma ** bisect.bisect_right(self.milestones, step)


class ExponentialLR(LRScheduler):
    """``lr = initial lr · gamma^t``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    gamma : float
        Factor of a step.
    last_epoch : int, default -1
        The last step done.
    """

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return ``base_lr · gamma^step``."""
        return base_lr * self.gamma**step


class LinearLR(LRScheduler):
    """Move the factor of the initial rate linearly: the usual warm-up.

    ``lr = initial lr · (start + (end - start) min(t, total_iters) / total_iters)``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    start_factor : float, default 1/3
        Factor at step 0, in (0, 1].
    end_factor : float, default 1.0
        Factor from step `total_iters` on, in [0, 1].
    total_iters : int, default 5
        Steps between the two.
    last_epoch : int, default -1
        The last step done.

    Raises
    ------
    ValueError
        If a factor is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.LinearLR(opt, 0.5, total_iters=2)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self, optimizer, start_factor=1.0 / 3, end_factor=1.0, total_iters=5,
        last_epoch=-1,
    ):  # fmt: skip
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                "LinearLR: expected 0 < start_factor <= 1 and 0 <= end_factor <= 1, "
                f"got {start_factor} and {end_factor}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return the rate on the line."""
        share = 1.0 if step >= self.total_iters else step / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * share
        return base_lr * factor


class ConstantLR(LRScheduler):
    """``lr = initial lr · factor`` before step `total_iters`, then the initial lr.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    factor : float, default 1/3
        Factor at the start, in [0, 1].
    total_iters : int, default 5
        Steps it lasts.
    last_epoch : int, default -1
        The last step done.

    Raises
    ------
    ValueError
        If the factor is out of range.
    """

    def __init__(self, optimizer, factor=1.0 / 3, total_iters=5, last_epoch=-1):
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: expected 0 <= factor <= 1, got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return the rate before or after `total_iters`."""
        return base_lr * self.factor if step < self.total_iters else base_lr


class PolynomialLR(LRScheduler):
    """``lr = initial lr · (1 - min(t, total_iters) / total_iters)^power``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    total_iters : int, default 5
        Steps until the rate is 0.
    power : float, default 1.0
        Degree of the polynomial.
    last_epoch : int, default -1
        The last step done.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.PolynomialLR(opt, 4, power=2.0)
    >>> schedule.step(), schedule.step()
    (None, None)
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer, total_iters=5, power=1.0, last_epoch=-1):
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return the rate on the polynomial."""
        done = min(self.total_iters, step) / self.total_iters
        return base_lr * (1.0 - done) ** self.power
