"""Optimizers that scale each element's step by its own past gradients, or by signs."""

from tensorlib.optim.optimizer import FusedOptimizer

__all__ = ["Adadelta", "Adagrad", "Lion", "RMSprop", "Rprop"]


class RMSprop(FusedOptimizer):
    """Divide the gradient by a running root mean square.

    ``v = alpha v + (1 - alpha) g²``; ``p = p - lr g / (sqrt(v) + eps)``, or with
    momentum ``b = momentum b + g / (sqrt(v) + eps)``, ``p = p - lr b``. Centered, ``v``
    is reduced by the square of the running mean.


    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 1e-2
        Learning rate.
    alpha : float, default 0.99
        Share of the mean square that is kept.
    eps : float, default 1e-8
        Added to the denominator.
    weight_decay : float, default 0
        Factor of the L2 penalty.
    momentum : float, default 0
        Share of the buffer that is kept.
    centered : bool, default False
        Divide by the standard deviation.
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5 - rmsprop", 2012; Graves, "Generating Sequences
    With Recurrent Neural Networks", arXiv:1308.0850, equations 38-45 (centered).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.RMSprop([p], lr=0.01)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9
    """

    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0,
        centered=False, *, maximize=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _rule(self, group):
        rule, names = "rmsprop", ["square_avg"]
        if group["centered"]:
            rule += "_centered"
        if group["momentum"] > 0:
            rule += "_momentum"
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return rule, tuple(names)

    def _settings(self, group, batch):
        alpha = group["alpha"]
        return group["lr"], alpha, 1.0 - alpha, group["eps"], group["momentum"]


class Adagrad(FusedOptimizer):
    """Divide the gradient by the root of the sum of its squares.

    ``s = s + g²``, ``p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)``.


    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 1e-2
        Learning rate.
    lr_decay : float, default 0
        How fast the learning rate falls.
    weight_decay : float, default 0
        Factor of the L2 penalty.
    initial_accumulator_value : float, default 0
        What s starts with.
    eps : float, default 1e-10
        Added to the denominator.
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    Duchi et al., "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", JMLR 12 (2011), figure 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.Adagrad([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9
    """

    def __init__(
        self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0,
        eps=1e-10, *, maximize=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group):
        super()._check_options(group)
        if not group["initial_accumulator_value"] >= 0:
            raise ValueError(
                "Adagrad: expected initial_accumulator_value >= 0, "
                f"got {group['initial_accumulator_value']}"
            )

    def _first(self, group, name):
        return group["initial_accumulator_value"]

    def _rule(self, group):
        return "adagrad", ("sum",)

    def _settings(self, group, batch):
        slowed = 1.0 + (batch.step - 1) * group["lr_decay"]
        return group["lr"] / slowed, group["eps"]


class Adadelta(FusedOptimizer):
    """Scale the gradient by running sizes of past steps over those of gradients.

    ``v = rho v + (1 - rho) g²``, ``d = sqrt(u + eps) / sqrt(v + eps) g``,
    ``u = rho u + (1 - rho) d²``, ``p = p - lr d``.


    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 1.0
        Learning rate.
    rho : float, default 0.9
        Share of the mean squares that is kept, in [0, 1].
    eps : float, default 1e-6
        Added to both mean squares.
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
    Zeiler, "ADADELTA: An Adaptive Learning Rate Method", arXiv:1212.5701, algorithm 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.Adadelta([p], lr=10.0)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9684
    """

    def __init__(
        self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, *, maximize=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group):
        super()._check_options(group)
        if not 0 <= group["rho"] <= 1:
            raise ValueError(f"Adadelta: expected 0 <= rho <= 1, got {group['rho']}")

    def _rule(self, group):
        return "adadelta", ("square_avg", "acc_delta")

    def _settings(self, group, batch):
        return group["lr"], group["rho"], 1.0 - group["rho"], group["eps"]


class Rprop(FusedOptimizer):
    """Step by the sign of the gradient; the size follows changes of that sign.

    An element's step size grows by ``etas[1]`` while its gradient keeps its sign, and
    shrinks by ``etas[0]`` when it turns, which also skips one step. For whole batches.


    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 1e-2
        The first step size.
    etas : tuple of two float, default (0.5, 1.2)
        Factors of the step size.
    step_sizes : tuple of two float, default (1e-6, 50)
        Bounds of the step size.
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning:
    the RPROP algorithm", ICNN 1993.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.Rprop([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9
    """

    def __init__(
        self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *,
        maximize=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_options(self, group):
        super()._check_options(group)
        shrinking, growing = group["etas"]
        if not 0 < shrinking < 1 < growing:
            raise ValueError(
                f"Rprop: expected 0 < etas[0] < 1 < etas[1], got {group['etas']}"
            )

    def _first(self, group, name):
        return group["lr"] if name == "step_size" else 0.0

    def _rule(self, group):
        return "rprop", ("prev", "step_size")

    def _settings(self, group, batch):
        return (*group["etas"], *group["step_sizes"])


class Lion(FusedOptimizer):
    """Step by the sign of a momentum.

    ``p = p - lr (sign(β1 m + (1 - β1) g) + weight_decay p)``,
    ``m = β2 m + (1 - β2) g``.


    Parameters
    ----------
    params : iterable
        Parameters or groups, see `Optimizer`.
    lr : float, default 1e-4
        Learning rate.
    betas : tuple of two float, default (0.9, 0.99)
        β1 and β2.
    weight_decay : float, default 0
        Decoupled from the gradient.
    maximize : bool, default False
        Ascend instead.

    Raises
    ------
    ValueError
        If an option is out of range.

    References
    ----------
    Chen et al., "Symbolic Discovery of Optimization Algorithms", arXiv:2302.06675,
    program 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn, optim
    >>> p = nn.Parameter(tl.tensor([1.0]))
    >>> opt = optim.Lion([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> opt.step()
    >>> round(p.item(), 4)
    0.9
    """

    def __init__(
        self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0, *, maximize=False,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    _counts = False

    def _decoupled(self, group):
        return True

    def _rule(self, group):
        return "lion", ("exp_avg",)

    def _settings(self, group, batch):
        beta1, beta2 = group["betas"]
        return group["lr"], beta1, 1.0 - beta1, beta2, 1.0 - beta2
