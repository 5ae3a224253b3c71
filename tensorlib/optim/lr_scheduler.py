"""Learning-rate schedules.

A schedule gives the rate of each group at step t from its initial rate alone, so
nothing drifts and a resumed run sees the same numbers. (Two schedules on one
optimizer therefore do not multiply; join them with `SequentialLR`.)
"""

import bisect
import math

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "SequentialLR",
    "StepLR",
]


class LRScheduler:
    """Base class: set each group's ``"lr"`` as a function of the step count.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups get ``"initial_lr"``, the rate they have now.
    last_epoch : int, default -1
        The last step done; -1 starts anew.

    Attributes
    ----------
    base_lrs : list of float
        The groups' initial rates.
    last_epoch : int
        Number of ``step()`` calls so far.

    Raises
    ------
    KeyError
        If `last_epoch` is not -1 and a group has no ``"initial_lr"``.
    """

    def __init__(self, optimizer, last_epoch=-1):
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: group {number} has no 'initial_lr', which "
                    f"resuming at last_epoch={last_epoch} needs"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def lr_at(self, step, base_lr, group=0):
        """Return the rate at a step, given the initial rate of a group.

        Parameters
        ----------
        step : int
            Number of ``step()`` calls before, from 0.
        base_lr : float
            The initial rate.
        group : int, default 0
            The group's number.

        Returns
        -------
        float
            The rate.
        """
        raise NotImplementedError(f"{type(self).__name__}: lr_at is missing")

    def step(self):
        """Advance by one step and set the rates."""
        self.last_epoch += 1
        self._set_rates()

    def _set_rates(self):
        self._last_lr = [
            self.lr_at(self.last_epoch, base_lr, number)
            for number, base_lr in enumerate(self.base_lrs)
        ]
        groups = self.optimizer.param_groups
        for group, lr in zip(groups, self._last_lr, strict=True):
            group["lr"] = lr

    def get_last_lr(self):
        """Return the rates now in force, one a group."""
        return list(self._last_lr)

    def state_dict(self):
        """Return everything but the optimizer and functions."""
        return {
            key: value
            for key, value in self.__dict__.items()
            if key != "optimizer" and not callable(value)
        }

    def load_state_dict(self, state_dict):
        """Take over a state and set the rates that belong to it."""
        self.__dict__.update(state_dict)
        self._set_rates()


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
        groups = len(optimizer.param_groups)
        one_each = isinstance(lr_lambda, (list, tuple))
        self.lr_lambdas = list(lr_lambda) if one_each else [lr_lambda] * groups
        if len(self.lr_lambdas) != groups:
            raise ValueError(
                f"LambdaLR: expected {groups} functions, got {len(self.lr_lambdas)}"
            )
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return ``base_lr · f(step)``."""
        return base_lr * self.lr_lambdas[group](step)

    def state_dict(self):
        """Return everything but the optimizer and the functions."""
        state = super().state_dict()
        del state["lr_lambdas"]
        return state


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


class CosineAnnealingLR(LRScheduler):
    """``lr = eta_min + (initial lr - eta_min) (1 + cos(π t / T_max)) / 2``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    T_max : int
        Steps from the initial rate to `eta_min`.
    eta_min : float, default 0.0
        The lowest rate.
    last_epoch : int, default -1
        The last step done.

    References
    ----------
    Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.CosineAnnealingLR(opt, T_max=2)
    >>> rates = []
    >>> for _ in range(3):
    ...     rates += [round(lr, 4) for lr in schedule.get_last_lr()]
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 0.0]
    """

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):  # noqa: N803
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return the rate on the cosine."""
        share = (1 + math.cos(math.pi * step / self.T_max)) / 2
        return self.eta_min + (base_lr - self.eta_min) * share


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


class SequentialLR(LRScheduler):
    """Follow one schedule after the other, each counting from its own start.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    schedulers : list of LRScheduler
        Of the same optimizer.
    milestones : list of int
        Steps at which the second, third, ... begins.
    last_epoch : int, default -1
        The last step done.

    Raises
    ------
    ValueError
        If there is not one milestone fewer than schedules, or a schedule belongs
        to another optimizer.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> from tensorlib.optim import lr_scheduler
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> warm_up = lr_scheduler.LinearLR(opt, 0.5, total_iters=2)
    >>> decay = lr_scheduler.ExponentialLR(opt, 0.5)
    >>> schedule = lr_scheduler.SequentialLR(opt, [warm_up, decay], [2])
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(self, optimizer, schedulers, milestones, last_epoch=-1):
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: expected {len(schedulers) - 1} milestones for "
                f"{len(schedulers)} schedulers, got {len(milestones)}"
            )
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ValueError("SequentialLR: a scheduler belongs to another optimizer")
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return the rate of the schedule in force."""
        number = bisect.bisect_right(self._milestones, step)
        start = self._milestones[number - 1] if number else 0
        return self._schedulers[number].lr_at(step - start, base_lr, group)

    def state_dict(self):
        """Return everything but the optimizer, the parts as state dicts."""
        state = super().state_dict()
        state["_schedulers"] = [part.state_dict() for part in self._schedulers]
        return state

    def load_state_dict(self, state_dict):
        """Take over a state and set the rates that belong to it."""
        state = dict(state_dict)
        for part, part_state in zip(
            self._schedulers, state.pop("_schedulers"), strict=True
        ):
            part.__dict__.update(part_state)
        super().load_state_dict(state)
