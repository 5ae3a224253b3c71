"""Adam, with the weight decay in the gradient or decoupled from it."""

import tensorlib as tl
from tensorlib.ops.fused_optim import adam_step
from tensorlib.optim.optimizer import Optimizer

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
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
        Must be False.
    maximize : bool, default False
        Ascend instead.
    decoupled_weight_decay : bool, default False
        Decay as `AdamW` does.

    Raises
    ------
    ValueError
        If an option is out of range.
    NotImplementedError
        If `amsgrad` is set.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980,
    algorithm 1.

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

    def _check_options(self, group):
        super()._check_options(group)
        for number, beta in enumerate(group["betas"], 1):
            if not 0 <= beta < 1:
                raise ValueError(
                    f"{type(self).__name__}: expected 0 <= beta{number} < 1, got {beta}"
                )
        if group["amsgrad"]:
            raise NotImplementedError(
                f"{type(self).__name__}: amsgrad is not implemented; pass amsgrad=False"
            )

    def _start_state(self, group, param, state):
        state["step"] = 0
        state["exp_avg"] = tl.zeros_like(param).detach()
        state["exp_avg_sq"] = tl.zeros_like(param).detach()

    def _update(self, group, batch, grads):
        step = batch.advance()
        beta1, beta2 = group["betas"]
        adam_step(
            batch.params, grads, batch.buffers["exp_avg"], batch.buffers["exp_avg_sq"],
            lr=group["lr"], beta1=beta1, beta2=beta2, eps=group["eps"],
            weight_decay=group["weight_decay"], bias_correction1=1.0 - beta1**step,
            bias_correction2=1.0 - beta2**step,
            decoupled=group["decoupled_weight_decay"], maximize=group["maximize"],
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
        Must be False.
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        If an option is out of range.
    NotImplementedError
        If `amsgrad` is set.

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
