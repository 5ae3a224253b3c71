"""Stochastic gradient descent with momentum."""

from tensorlib.optim.optimizer import FusedOptimizer

__all__ = ["SGD"]


class SGD(FusedOptimizer):
    """Stochastic gradient descent.

    ``g = grad + weight_decay p``; with momentum ``b = momentum b + (1 - dampening) g``
    (``b = g`` at the first step) and ``g = b``, or ``g = g + momentum b`` with
    Nesterov; ``p = p - lr g``.

    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 1e-3
        Learning rate.
    momentum : float, default 0
        Share of the buffer that is kept.
    dampening : float, default 0
        Share of the gradient that does not enter the buffer.
    weight_decay : float, default 0
        Factor of the L2 penalty.
    nesterov : bool, default False
        Look ahead along the buffer.
    maximize : bool, default False
        Ascend instead.
    unbiased : bool, default False
        The course's momentum: ``u = momentum u + (1 - momentum) g`` from ``u = 0``,
        and the step is ``u / (1 - momentum^t)`` at the t-th step.

    Raises
    ------
    ValueError
        If an option is out of range, or Nesterov momentum or `unbiased` is asked
        for without the momentum and dampening it needs.

    References
    ----------
    Sutskever et al., "On the importance of initialization and momentum in deep
    learning", ICML 2013 (PyTorch's form scales the buffer by 1 / lr).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.SGD([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.8
    """

    def __init__(
        self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False,
        *, maximize=False, unbiased=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "unbiased": unbiased,
        }
        super().__init__(params, defaults)

    def _check_options(self, group):
        super()._check_options(group)
        momentum = group["momentum"]
        if group["nesterov"] and (momentum <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: Nesterov momentum needs momentum > 0 and dampening = 0, got "
                f"momentum={momentum}, dampening={group['dampening']}"
            )
        if group["unbiased"] and (
            not 0 < momentum < 1 or group["nesterov"] or group["dampening"] != 0
        ):
            raise ValueError(
                "SGD: unbiased momentum needs 0 < momentum < 1, no Nesterov and no "
                f"dampening, got momentum={momentum}, nesterov={group['nesterov']}, "
                f"dampening={group['dampening']}"
            )

    @property
    def _counts(self):
        return any(group["unbiased"] for group in self.param_groups)

    def _rule(self, group):
        if group["momentum"]:
            return "sgd_momentum", ("momentum_buffer",)
        return "sgd", ()

    def _settings(self, group, batch):
        momentum = group["momentum"]
        if not momentum:
            return (group["lr"],)
        keep, scale = 1.0 - group["dampening"], 1.0
        if group["unbiased"]:
            keep = 1.0 - momentum
            scale = 1.0 / (1.0 - momentum**batch.step)
        elif batch.fresh:  # the first gradient enters the buffer whole
            keep = 1.0
        return group["lr"], momentum, keep, scale, group["nesterov"]
