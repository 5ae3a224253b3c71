"""Averages of a model's parameters over training: exponential (EMA) and equal (SWA)."""

from copy import deepcopy

import tensorlib as tl
from tensorlib.nn.module import Module

__all__ = [
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(name, decay):
    if not 0 <= decay <= 1:
        raise ValueError(f"{name}: expected 0 <= decay <= 1, got {decay}")


def get_ema_multi_avg_fn(decay=0.999):
    """Return a function that moves averages to ``decay · average + (1 - decay) · new``.

    Parameters
    ----------
    decay : float, default 0.999
        Share of the average that is kept, in [0, 1].

    Returns
    -------
    callable
        ``f(averages, parameters, n_averaged)`` on lists, in place.

    Raises
    ------
    ValueError
        If `decay` is out of range.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.optim.swa_utils import get_ema_multi_avg_fn
    >>> average = tl.tensor([1.0])
    >>> get_ema_multi_avg_fn(0.75)([average], [tl.tensor([5.0])], 1)
    >>> average.item()
    2.0
    """
    _check_decay("get_ema_multi_avg_fn", decay)

    def move(averages, parameters, n_averaged):
        for average, parameter in zip(averages, parameters, strict=True):
            if average.dtype.is_floating_point:
                average.add_((parameter - average) * (1.0 - decay))
            else:
                average.copy_(parameter)

    return move


def get_swa_multi_avg_fn():
    """Return a function that keeps the mean of all values so far, on lists.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.optim.swa_utils import get_swa_multi_avg_fn
    >>> average = tl.tensor([1.0])
    >>> get_swa_multi_avg_fn()([average], [tl.tensor([4.0])], 2)
    >>> average.item()
    2.0
    """

    def move(averages, parameters, n_averaged):
        for average, parameter in zip(averages, parameters, strict=True):
            if average.dtype.is_floating_point:
                average.add_((parameter - average) * (1.0 / (int(n_averaged) + 1)))
            else:
                average.copy_(parameter)

    return move


def get_ema_avg_fn(decay=0.999):
    """Return ``f(average, parameter, n)``, the EMA of one tensor as a new tensor."""
    _check_decay("get_ema_avg_fn", decay)

    def mean(average, parameter, n_averaged):
        return average * decay + parameter * (1.0 - decay)

    return mean


def get_swa_avg_fn():
    """Return ``f(average, parameter, n)``, the mean of one tensor as a new tensor."""

    def mean(average, parameter, n_averaged):
        return average + (parameter - average) / (int(n_averaged) + 1)

    return mean


class AveragedModel(Module):
    """A copy of a model whose parameters are averages over training.

    Call ``update_parameters(model)`` after each step of the optimizer; call the
    averaged model in evaluation. Its state dict has ``n_averaged`` and the copy's names
    with ``module.`` in front.

    Parameters
    ----------
    model : Module
        The model; it is copied.
    device : device, optional
        Where the averages live.
    avg_fn : callable, optional
        ``f(average, parameter, n_averaged)`` gives the new average; by default the
        mean.
    multi_avg_fn : callable, optional
        ``f(averages, parameters, n_averaged)`` moves lists of averages in place.
    use_buffers : bool, default False
        Whether buffers are averaged too; otherwise they are copied.

    Attributes
    ----------
    module : Module
        The copy.
    n_averaged : Tensor
        Buffer, int64, shape ``()``: the number of updates.

    Raises
    ------
    ValueError
        If both functions are given.

    References
    ----------
    Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
    Generalization", arXiv:1803.05407; Polyak and Juditsky, SIAM J. Control Optim. 30
    (1992).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> from tensorlib.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    >>> model = nn.Linear(1, 1, bias=False)
    >>> ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    >>> for value in (1.0, 3.0):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     ema.update_parameters(model)
    >>> ema.module.weight.item()
    2.0
    """

    def __init__(
        self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: pass avg_fn or multi_avg_fn, not both")
        self.module = deepcopy(model)
        if device is not None:
            self.module.to(device=device)
        self.register_buffer("n_averaged", tl.zeros((), dtype=tl.int64))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        """Return what the averaged copy returns."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model):
        """Take a model's present parameters into the averages.

        Parameters
        ----------
        model : Module
            Of the same structure.
        """
        averages, values = list(self.module.parameters()), list(model.parameters())
        buffers = list(zip(self.module.buffers(), model.buffers(), strict=True))
        if self.use_buffers:
            averages += [own for own, _ in buffers]
            values += [other for _, other in buffers]
        averages = [average.detach() for average in averages]
        values = [value.detach() for value in values]
        with tl.no_grad():
            if self.n_averaged.item() == 0:
                for average, value in zip(averages, values, strict=True):
                    average.copy_(value)
            else:
                self._move(averages, values)
            if not self.use_buffers:
                for own, other in buffers:
                    own.copy_(other)
            self.n_averaged.add_(1)

    def _move(self, averages, values):
        count = self.n_averaged.item()
        if self.avg_fn is None:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averages, values, count)
            return
        for average, value in zip(averages, values, strict=True):
            average.copy_(self.avg_fn(average, value, count))


def update_bn(loader, model):
    """Recompute the running statistics of batch norms over a data set.

    Parameters
    ----------
    loader : iterable
        Batches; of tuples and lists the first entry is taken.
    model : Module
        Whose batch norms are reset and called on every batch in training mode.
    """
    norms = [module for module in model.modules() if hasattr(module, "running_mean")]
    norms = [module for module in norms if module.running_mean is not None]
    if not norms:
        return
    momenta = [module.momentum for module in norms]
    modes = [(module, module.training) for module in model.modules()]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None
    try:
        model.train()
        with tl.no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    finally:
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum
        for module, mode in modes:
            module.__dict__["training"] = mode
