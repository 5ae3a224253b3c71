"""The base of schedules: the rate of each group as a function of the step count."""

__all__ = ["LRScheduler", "one_each"]


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


def one_each(op, name, value, groups):
    """Return `value` as a list of one entry a group."""
    if not isinstance(value, (list, tuple)):
        return [value] * len(groups)
    if len(value) != len(groups):
        raise ValueError(
            f"{op}: expected {len(groups)} values of {name}, got {len(value)}"
        )
    return list(value)
