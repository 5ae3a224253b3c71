"""Adam and its relatives."""

import math

from tensorlib.optim.optimizer import FusedOptimizer

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


class Adam(FusedOptimizer):
    """Adam.

    ``m = β1 m + (1 - β1) g``, ``v = β2 v + (1 - β2) g²``,
    ``p = p - lr (m / (1 - β1^t)) / (sqrt(v / (1 - β2^t)) + eps)`` at the t-th step,
    with ``g = grad + weight_decay p``.

    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 1e-3
        Learning rate.
    betas : tuple of two float, default (0.9, 0.999)
        β1 and β2.
    eps : float, default 1e-8
        Added to the denominator.
    weight_decay : float, default 0
        Factor of the L2 penalty.
    amsgrad : bool, default False
        Divide by the largest second moment so far instead of the present one.
    maximize : bool, default False
        Ascend instead.
    decoupled_weight_decay : bool, default False
        Decay as `AdamW` does.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980,
    algorithm 1; Reddi et al., "On the Convergence of Adam and Beyond",
    arXiv:1904.09237, algorithm 2 (`amsgrad`).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.Adam([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0,
        amsgrad=False, *, maximize=False, decoupled_weight_decay=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _rule(self, group):
        if group["amsgrad"]:
            return "adam_amsgrad", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
        return "adam", ("exp_avg", "exp_avg_sq")

    def _settings(self, group, batch):
        beta1, beta2 = group["betas"]
        return (
            group["lr"] / (1.0 - beta1**batch.step), 1.0 - beta1, beta2, 1.0 - beta2,
            1.0 / math.sqrt(1.0 - beta2**batch.step), group["eps"],
        )  # fmt: skip


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: first ``p = p - lr λ p``.

    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 1e-3
        Learning rate.
    betas : tuple of two float, default (0.9, 0.999)
        β1 and β2.
    eps : float, default 1e-8
        Added to the denominator.
    weight_decay : float, default 1e-2
        λ.
    amsgrad : bool, default False
        Divide by the largest second moment so far instead of the present one.
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization",
    arXiv:1711.05101, algorithm 2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.AdamW([p], lr=0.1, weight_decay=0.5)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.85
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2,
        amsgrad=False, *, maximize=False,
    ):  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize,
            decoupled_weight_decay=True,
        )  # fmt: skip


class Adamax(FusedOptimizer):
    """Adam with the largest gradient in place of the root mean square.

    ``m = β1 m + (1 - β1) g``, ``u = max(β2 u, |g| + eps)``,
    ``p = p - lr / (1 - β1^t) m / u`` at the t-th step.


    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 2e-3
        Learning rate.
    betas : tuple of two float, default (0.9, 0.999)
        β1 and β2.
    eps : float, default 1e-8
        Added to the denominator.
    weight_decay : float, default 0
        Factor of the L2 penalty.
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    Kingma and Ba, arXiv:1412.6980, algorithm 2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.Adamax([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9
    """

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, *,
        maximize=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _rule(self, group):
        return "adamax", ("exp_avg", "exp_inf")

    def _settings(self, group, batch):
        beta1, beta2 = group["betas"]
        step_size = group["lr"] / (1.0 - beta1**batch.step)
        return step_size, 1.0 - beta1, beta2, group["eps"]


class NAdam(FusedOptimizer):
    """Adam with Nesterov momentum.

    With ``μ_t = β1 (1 - 0.96^(t momentum_decay) / 2)`` and the moments of `Adam`,
    ``p = p - lr [(1 - μ_t) g / (1 - Π μ) + μ_(t+1) m / (1 - μ_(t+1) Π μ)] /
    (sqrt(v / (1 - β2^t)) + eps)``.


    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 2e-3
        Learning rate.
    betas : tuple of two float, default (0.9, 0.999)
        β1 and β2.
    eps : float, default 1e-8
        Added to the denominator.
    weight_decay : float, default 0
        Factor of the L2 penalty.
    momentum_decay : float, default 4e-3
        How fast the momentum grows to β1.
    decoupled_weight_decay : bool, default False
        Decay as `AdamW` does.
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016,
    algorithm 2 and section 3 (the warming momentum).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.NAdam([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.8944
    """

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0,
        momentum_decay=4e-3, decoupled_weight_decay=False, *, maximize=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group):
        super()._check_options(group)
        if not group["momentum_decay"] >= 0:
            raise ValueError(
                f"NAdam: expected momentum_decay >= 0, got {group['momentum_decay']}"
            )

    def _complete_state(self, group, param, state, names):
        state.setdefault("mu_product", 1.0)
        return super()._complete_state(group, param, state, names)

    def _batch_key(self, param, state):
        return (*super()._batch_key(param, state), state["mu_product"])

    def _rule(self, group):
        return "nadam", ("exp_avg", "exp_avg_sq")

    def _settings(self, group, batch):
        beta1, beta2 = group["betas"]
        lr, decay, step = group["lr"], group["momentum_decay"], batch.step
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * decay))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * decay))
        product = batch.states[0]["mu_product"] * mu
        for state in batch.states:
            state["mu_product"] = product
        return (
            lr * (1.0 - mu) / (1.0 - product), lr * mu_next / (1.0 - product * mu_next),
            1.0 - beta1, beta2, 1.0 - beta2, 1.0 - beta2**step, group["eps"],
        )  # fmt: skip


class RAdam(FusedOptimizer):
    """Adam that waits until the second moment can be trusted.

    While the variance of the second moment is unbounded (``rho_t <= 5``) the step is
    that of momentum, later Adam's times the rectification ``r_t``.


    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 1e-3
        Learning rate.
    betas : tuple of two float, default (0.9, 0.999)
        β1 and β2.
    eps : float, default 1e-8
        Added to the denominator.
    weight_decay : float, default 0
        Factor of the L2 penalty.
    decoupled_weight_decay : bool, default False
        Decay as `AdamW` does.
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond",
    arXiv:1908.03265, algorithm 2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.RAdam([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.8
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0,
        decoupled_weight_decay=False, *, maximize=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _rule(self, group):
        return "radam", ("exp_avg", "exp_avg_sq")

    def _settings(self, group, batch):
        beta1, beta2 = group["betas"]
        step = batch.step
        correction = 1.0 - beta2**step
        longest = 2.0 / (1.0 - beta2) - 1.0
        length = longest - 2.0 * step * beta2**step / correction
        rectified = 0.0
        if length > 5.0:
            rectified = math.sqrt(
                correction * (length - 4.0) * (length - 2.0) * longest
                / ((longest - 4.0) * (longest - 2.0) * length)
            )  # fmt: skip
        return (
            group["lr"] / (1.0 - beta1**step), 1.0 - beta1, beta2, 1.0 - beta2,
            rectified, group["eps"],
        )  # fmt: skip
