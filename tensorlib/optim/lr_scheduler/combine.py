"""Schedules made of others."""

import bisect

from tensorlib.optim.lr_scheduler.base import LRScheduler

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Joined(LRScheduler):
    """A schedule over parts, whose states are in its own."""

    def _take(self, optimizer, schedulers):
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name}: got no schedulers")
        for part in schedulers:
            if not isinstance(part, LRScheduler):
                raise TypeError(
                    f"{name}: expected schedules by step count, got "
                    f"{type(part).__name__}"
                )
            if part.optimizer is not optimizer:
                raise ValueError(f"{name}: a scheduler belongs to another optimizer")
        self._schedulers = list(schedulers)

    def state_dict(self):
        """Return everything but the optimizer, the parts as state dicts."""
        state = super().state_dict()
        state["_schedulers"] = [part.state_dict() for part in self._schedulers]
        return state

    def load_state_dict(self, state_dict):
        """Take over a state and set the rates that belong to it."""
        state = dict(state_dict)
        parts = state.pop("_schedulers")
        for part, part_state in zip(self._schedulers, parts, strict=True):
            part.load_state_dict(part_state)
        super().load_state_dict(state)


class SequentialLR(_Joined):
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
    TypeError
        If a part does not depend on the step count alone, as `ReduceLROnPlateau`.

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
        self._take(optimizer, schedulers)
        self._milestones = list(milestones)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step, base_lr, group=0):
        """Return the rate of the schedule in force."""
        number = bisect.bisect_right(self._milestones, step)
        start = self._milestones[number - 1] if number else 0
        return self._schedulers[number].lr_at(step - start, base_lr, group)


class ChainedScheduler(_Joined):
    """Multiply schedules: ``lr = initial lr · Π lr_i(t) / initial lr``.

    Parameters
    ----------
    schedulers : list of LRScheduler
        Of one optimizer.
    optimizer : Optimizer, optional
        Theirs, the first one's by default.

    Raises
    ------
    ValueError
        If there are no schedules, or one belongs to another optimizer.
    TypeError
        If a part does not depend on the step count alone, as `ReduceLROnPlateau`.

    Notes
    -----
    PyTorch lets each schedule change the rate in turn, which is the same unless a part
    does not scale with the rate (a cosine with ``eta_min``).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> from tensorlib.optim import lr_scheduler
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> warm_up = lr_scheduler.ConstantLR(opt, 0.5, total_iters=1)
    >>> decay = lr_scheduler.ExponentialLR(opt, 0.5)
    >>> schedule = lr_scheduler.ChainedScheduler([warm_up, decay])
    >>> rates = []
    >>> for _ in range(3):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.5, 0.5, 0.25]
    """

    def __init__(self, schedulers, optimizer=None):
        schedulers = list(schedulers)
        if optimizer is None and schedulers:
            optimizer = getattr(schedulers[0], "optimizer", None)
        self._take(optimizer, schedulers)
        super().__init__(optimizer)

    def lr_at(self, step, base_lr, group=0):
        """Return the initial rate times every part's factor."""
        rate = base_lr
        for part in self._schedulers:
            rate = rate * (part.lr_at(step, base_lr, group) / base_lr) if rate else rate
        return rate
