"""A schedule that follows what is measured."""

import math

from tensorlib.optim.lr_scheduler.base import one_each

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau:
    """Multiply the rates by `factor` when a measure has stopped improving.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    mode : {"min", "max"}, default "min"
        Whether the measure should fall or rise.
    factor : float, default 0.1
        Factor of a change, below 1.
    patience : int, default 10
        Steps without improvement that are let pass.
    threshold : float, default 1e-4
        What counts as improvement.
    threshold_mode : {"rel", "abs"}, default "rel"
        Whether `threshold` is a share of the best measure, or a difference.
    cooldown : int, default 0
        Steps after a change that count for nothing.
    min_lr : float or list of float, default 0
        The lowest rate, one for all groups or one a group.
    eps : float, default 1e-8
        Smaller changes are not made.

    Raises
    ------
    ValueError
        If `factor` is not below 1, or a mode is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4,
        threshold_mode="rel", cooldown=0, min_lr=0, eps=1e-8,
    ):  # fmt: skip
        if not factor < 1:
            raise ValueError(f"ReduceLROnPlateau: expected factor < 1, got {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                'ReduceLROnPlateau: expected mode "min" or "max" and threshold_mode '
                f'"rel" or "abs", got {mode!r} and {threshold_mode!r}'
            )
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = one_each(
            "ReduceLROnPlateau", "min_lr", min_lr, optimizer.param_groups
        )
        self.eps = eps
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    @property
    def in_cooldown(self):
        """Whether a change was made less than `cooldown` steps ago."""
        return self.cooldown_counter > 0

    def step(self, metrics):
        """Take note of a measure, and set the rates.

        Parameters
        ----------
        metrics : float or Tensor of one element
            The loss, accuracy or other measure.
        """
        current = float(metrics.item() if hasattr(metrics, "item") else metrics)
        self.last_epoch += 1
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, current):
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            bound = self.best * (1.0 + sign * self.threshold)
        else:
            bound = self.best + sign * self.threshold
        return current < bound if self.mode == "min" else current > bound

    def _reduce(self):
        groups = self.optimizer.param_groups
        for group, least in zip(groups, self.min_lrs, strict=True):
            lower = max(group["lr"] * self.factor, least)
            if group["lr"] - lower > self.eps:
                group["lr"] = lower

    def get_last_lr(self):
        """Return the rates now in force, one a group."""
        return list(self._last_lr)

    def state_dict(self):
        """Return everything but the optimizer."""
        return {key: v for key, v in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict):
        """Take over a state and set the rates that belong to it."""
        self.__dict__.update(state_dict)
        groups = self.optimizer.param_groups
        for group, lr in zip(groups, self._last_lr, strict=True):
            group["lr"] = lr
