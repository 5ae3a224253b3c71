"""Schedules that rise and fall: cosines, restarts, cycles of rate and momentum."""

import bisect
import math

from tensorlib.optim.lr_scheduler.base import LRScheduler, one_each

__all__ = [
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "OneCycleLR",
]


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


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts again after ``T_0``, ``T_0 T_mult``, ... steps.

    ``lr = eta_min + (initial lr - eta_min) (1 + cos(π t / T)) / 2``, t steps after the
    last start of a period of T steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    T_0 : int
        Length of the first period.
    T_mult : int, default 1
        Factor from one period to the next.
    eta_min : float, default 0.0
        The lowest rate.
    last_epoch : int, default -1
        The last step done.

    Raises
    ------
    ValueError
        If `T_0` or `T_mult` is not a positive int.

    References
    ----------
    Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, 2)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += [round(lr, 4) for lr in schedule.get_last_lr()]
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 1.0, 0.5]
    """

    def __init__(self, optimizer, T_0, T_mult=1, eta_min=0.0, last_epoch=-1):  # noqa: N803
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"CosineAnnealingWarmRestarts: expected {name} to be an int >= 1, "
                    f"got {value!r}"
                )
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def step(self, epoch=None):
        """Advance by one step, or go to `epoch`, perhaps a fraction; set the rates.

        Parameters
        ----------
        epoch : float, optional
            Where to go, from 0.

        Raises
        ------
        ValueError
            If `epoch` is negative.
        """
        if epoch is None:
            super().step()
            return
        if epoch < 0:
            raise ValueError(
                f"CosineAnnealingWarmRestarts: expected epoch >= 0, got {epoch}"
            )
        whole = math.floor(epoch)
        self.last_epoch = epoch
        self._set_rates()
        self.last_epoch = whole

    def lr_at(self, step, base_lr, group=0):
        """Return the rate in the period that `step` falls into."""
        period = self.T_0
        if self.T_mult == 1:
            step %= period
        while step >= period:
            step -= period
            period *= self.T_mult
        share = (1 + math.cos(math.pi * step / period)) / 2
        return self.eta_min + (base_lr - self.eta_min) * share


class _MomentumCycle(LRScheduler):
    """A schedule that may set the groups' momentum, or β1, too."""

    def _check_momentum(self, optimizer):
        if not self.cycle_momentum:
            return
        if not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                f"{type(self).__name__}: the optimizer has no momentum and no betas; "
                "pass cycle_momentum=False"
            )

    def momentum_at(self, step, group):
        """Return the momentum of a group at a step."""
        raise NotImplementedError(f"{type(self).__name__}: momentum_at is missing")

    def _set_rates(self):
        super()._set_rates()
        if not self.cycle_momentum:
            return
        for number, group in enumerate(self.optimizer.param_groups):
            momentum = self.momentum_at(self.last_epoch, number)
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum


class CyclicLR(_MomentumCycle):
    """Move between two rates along triangles, the momentum the other way.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    base_lr, max_lr : float or list of float
        The bounds, one for all groups or one a group.
    step_size_up : int, default 2000
        Steps of the rising half.
    step_size_down : int, optional
        Steps of the falling half; as many by default.
    mode : {"triangular", "triangular2", "exp_range"}, default "triangular"
        Triangles of one height, halved each cycle, or shrinking by `gamma` each step.
    gamma : float, default 1.0
        For "exp_range".
    scale_fn : callable, optional
        Height of the triangle instead of `mode`'s; not part of the state dict.
    scale_mode : {"cycle", "iterations"}, default "cycle"
        What `scale_fn` is given: the cycle's number from 1, or the step.
    cycle_momentum : bool, default True
        Whether the momentum (or β1) moves too.
    base_momentum, max_momentum : float or list of float, default 0.8 and 0.9
        Its bounds.
    last_epoch : int, default -1
        The last step done.

    Raises
    ------
    ValueError
        If `mode` is unknown, or the optimizer has no momentum to cycle.

    References
    ----------
    Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186,
    section 3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0, momentum=0.9)
    >>> schedule = optim.lr_scheduler.CyclicLR(opt, 0.0, 1.0, step_size_up=2)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self, optimizer, base_lr, max_lr, step_size_up=2000, step_size_down=None,
        mode="triangular", gamma=1.0, scale_fn=None, scale_mode="cycle",
        cycle_momentum=True, base_momentum=0.8, max_momentum=0.9, last_epoch=-1,
    ):  # fmt: skip
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                'CyclicLR: expected mode "triangular", "triangular2" or "exp_range", '
                f"got {mode!r}"
            )
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self.scale_fn = scale_fn
        self.scale_mode = scale_mode
        groups = optimizer.param_groups
        self.max_lrs = one_each("CyclicLR", "max_lr", max_lr, groups)
        self.cycle_momentum = cycle_momentum
        self._check_momentum(optimizer)
        self.base_momentums = one_each(
            "CyclicLR", "base_momentum", base_momentum, groups
        )
        self.max_momentums = one_each("CyclicLR", "max_momentum", max_momentum, groups)
        lows = one_each("CyclicLR", "base_lr", base_lr, groups)
        if last_epoch == -1:
            for group, low in zip(groups, lows, strict=True):
                group["initial_lr"] = group["lr"] = low
        super().__init__(optimizer, last_epoch)

    def _height(self, step):
        """Return the height of the triangle at a step, its top being 1, scaled."""
        cycle = math.floor(1 + step / self.total_size)
        x = 1.0 + step / self.total_size - cycle
        rising = x <= self.step_ratio
        height = x / self.step_ratio if rising else (x - 1) / (self.step_ratio - 1)
        if self.scale_fn is not None:
            return height, self.scale_fn(cycle if self.scale_mode == "cycle" else step)
        if self.mode == "exp_range":
            return height, self.gamma**step
        return height, 1.0 if self.mode == "triangular" else 1 / 2.0 ** (cycle - 1)

    def lr_at(self, step, base_lr, group=0):
        """Return the rate on the triangle."""
        height, scale = self._height(step)
        return base_lr + (self.max_lrs[group] - base_lr) * height * scale

    def momentum_at(self, step, group):
        """Return the momentum on the inverted triangle."""
        height, scale = self._height(step)
        low, high = self.base_momentums[group], self.max_momentums[group]
        return high - (high - low) * height * scale


class OneCycleLR(_MomentumCycle):
    """Rise to a top rate and fall to nearly nothing, once; the momentum inversely.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set.
    max_lr : float or list of float
        The top, one for all groups or one a group.
    total_steps : int, optional
        Steps of the cycle, or else `epochs` times `steps_per_epoch`.
    epochs, steps_per_epoch : int, optional
        See `total_steps`.
    pct_start : float, default 0.3
        Share of the steps that rise.
    anneal_strategy : {"cos", "linear"}, default "cos"
        Shape between the ends of a phase.
    cycle_momentum : bool, default True
        Whether the momentum (or β1) moves too.
    base_momentum, max_momentum : float or list of float, default 0.85 and 0.95
        Its bounds.
    div_factor : float, default 25.0
        `max_lr` over the first rate.
    final_div_factor : float, default 1e4
        The first rate over the last.
    three_phase : bool, default False
        Fall to the first rate as fast as it rose, then to the last.
    last_epoch : int, default -1
        The last step done.

    Raises
    ------
    ValueError
        If the number of steps is not given or not positive, an option is out of range,
        the optimizer has no momentum to cycle, or (in ``step``) the cycle is over.

    References
    ----------
    Smith and Topin, "Super-Convergence", arXiv:1708.07120, section 3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> opt = optim.SGD([nn.Parameter(tl.zeros(1))], lr=1.0, momentum=0.9)
    >>> schedule = optim.lr_scheduler.OneCycleLR(opt, 1.0, total_steps=10)
    >>> rates = []
    >>> for _ in range(3):
    ...     rates += [round(lr, 4) for lr in schedule.get_last_lr()]
    ...     schedule.step()
    >>> rates
    [0.04, 0.52, 1.0]
    """

    def __init__(
        self, optimizer, max_lr, total_steps=None, epochs=None, steps_per_epoch=None,
        pct_start=0.3, anneal_strategy="cos", cycle_momentum=True, base_momentum=0.85,
        max_momentum=0.95, div_factor=25.0, final_div_factor=1e4, three_phase=False,
        last_epoch=-1,
    ):  # fmt: skip
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps <= 0:
            raise ValueError(
                "OneCycleLR: expected total_steps, or epochs and steps_per_epoch, as "
                f"ints > 0, got total_steps={total_steps!r}, epochs={epochs!r}, "
                f"steps_per_epoch={steps_per_epoch!r}"
            )
        if not 0 <= pct_start <= 1:
            raise ValueError(
                f"OneCycleLR: expected 0 <= pct_start <= 1, got {pct_start}"
            )
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                'OneCycleLR: expected anneal_strategy "cos" or "linear", '
                f"got {anneal_strategy!r}"
            )
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.final_div_factor = final_div_factor
        groups = optimizer.param_groups
        self.max_lrs = one_each("OneCycleLR", "max_lr", max_lr, groups)
        self.cycle_momentum = cycle_momentum
        self._check_momentum(optimizer)
        self.base_momentums = one_each(
            "OneCycleLR", "base_momentum", base_momentum, groups
        )
        self.max_momentums = one_each(
            "OneCycleLR", "max_momentum", max_momentum, groups
        )
        # Ends of the phases, with the marks (rate, momentum) between which they run.
        first, top, last = (0, 1), (1, 0), (2, 1)
        rise = float(pct_start * total_steps) - 1
        self._phases = [(rise, first, top), (total_steps - 1, top, last)]
        if three_phase:
            fallen = float(2 * pct_start * total_steps) - 2
            self._phases[1:] = [(fallen, top, first), (total_steps - 1, first, last)]
        self._ends = [end for end, _, _ in self._phases]
        if last_epoch == -1:
            for group, high in zip(groups, self.max_lrs, strict=True):
                group["initial_lr"] = high / div_factor
        super().__init__(optimizer, last_epoch)

    def _between(self, step, marks):
        """Interpolate between marks: ``marks(mark)`` gives the number of a mark."""
        # A loop that steps after every batch asks once more after the last batch.
        if step > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {step} is beyond the last of {self.total_steps}"
            )
        number = bisect.bisect_left(self._ends[:-1], step)
        _, before, after = self._phases[number]
        start = self._ends[number - 1] if number else 0.0
        share = (step - start) / (self._ends[number] - start)
        low, high = marks(before), marks(after)
        if self.anneal_strategy == "linear":
            return (high - low) * share + low
        return high + (low - high) / 2.0 * (math.cos(math.pi * share) + 1)

    def lr_at(self, step, base_lr, group=0):
        """Return the rate of the phase that `step` falls into."""
        rates = base_lr, self.max_lrs[group], base_lr / self.final_div_factor
        return self._between(step, lambda mark: rates[mark[0]])

    def momentum_at(self, step, group):
        """Return the momentum of the phase that `step` falls into."""
        momentums = self.base_momentums[group], self.max_momentums[group]
        return self._between(step, lambda mark: momentums[mark[1]])
