"""Weight and spectral normalization as parametrizations."""

import tensorlib as tl
from tensorlib.nn import functional
from tensorlib.nn.module import Module
from tensorlib.nn.utils.parametrize import register_parametrization

__all__ = ["spectral_norm", "weight_norm"]


class _WeightNorm(Module):
    """``v g / |v|``, the norm over all axes but one, or over all."""

    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def _norm(self, v):
        if self.axis is None:
            return tl.sqrt(tl.sum(tl.square(v)))
        axis = self.axis % v.ndim
        others = tuple(d for d in range(v.ndim) if d != axis)
        return tl.sqrt(tl.sum(tl.square(v), axis=others, keepdims=True))

    def forward(self, g, v):
        """Return the weight of length `g` in the direction of `v`."""
        return v * (g / self._norm(v))

    def right_inverse(self, weight):
        """Return length and direction of a weight."""
        return self._norm(weight), weight


def weight_norm(module, name="weight", axis=0):
    """Train length and direction of a weight apart: ``w = g v / |v|``.

    The state dict has ``parametrizations.<name>.original0`` for g and ``original1`` for
    v.

    Parameters
    ----------
    module : Module
        Which has the weight.
    name : str, default "weight"
        The weight's name.
    axis : int or None, default 0
        The axis along which lengths differ; None for one length.

    Returns
    -------
    Module
        `module`.

    Raises
    ------
    ValueError
        If there is no such parameter.

    References
    ----------
    Salimans and Kingma, "Weight Normalization", arXiv:1602.07868, equation 2.

    Examples
    --------
    >>> from tensorlib import nn
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> [(name, p.shape) for name, p in layer.named_parameters()][1]
    ('parametrizations.weight.original0', (2, 1))
    """
    return register_parametrization(module, name, _WeightNorm(axis))


class _SpectralNorm(Module):
    """``w / sigma``, the largest singular value by power iteration."""

    def __init__(self, weight, n_power_iterations, axis, eps):
        super().__init__()
        if n_power_iterations <= 0:
            raise ValueError(
                "spectral_norm: expected n_power_iterations > 0, "
                f"got {n_power_iterations}"
            )
        self.n_power_iterations = n_power_iterations
        self.axis = axis % weight.ndim
        self.eps = eps
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach())
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                vector = tl.normal(0.0, 1.0, (size,), dtype=weight.dtype)
                self.register_buffer(name, self._unit(vector))
            self._iterate(matrix, 15)

    def _unit(self, x):
        return functional.normalize(x, axis=0, eps=self.eps)

    def _matrix(self, weight):
        if self.axis:
            order = [d for d in range(weight.ndim) if d != self.axis]
            weight = tl.permute_dims(weight, (self.axis, *order))
        return weight.reshape((weight.shape[0], -1))

    def _iterate(self, matrix, count):
        with tl.no_grad():
            for _ in range(count):
                self._u.copy_(self._unit(matrix @ self._v))
                self._v.copy_(self._unit(matrix.T @ self._u))

    def forward(self, weight):
        """Return the weight over its largest singular value."""
        if weight.ndim == 1:
            return self._unit(weight)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.detach(), self.n_power_iterations)
        # Copies: the next iteration changes the buffers in place.
        u, v = self._u.copy(), self._v.copy()
        return weight / tl.sum(u * (matrix @ v))

    def right_inverse(self, value):
        """Return the value itself, which need not have norm 1."""
        return value


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, axis=None):
    """Divide a weight by its largest singular value.

    The state dict has ``parametrizations.<name>.original``, and the vectors of the
    power iteration ``parametrizations.<name>.0._u`` and ``_v``, which move in training
    only.

    Parameters
    ----------
    module : Module
        Which has the weight.
    name : str, default "weight"
        The weight's name.
    n_power_iterations : int, default 1
        Iterations each time the weight is used in training.
    eps : float, default 1e-12
        The least length that is divided by.
    axis : int, optional
        The axis of outputs: 0, but 1 for transposed convolutions.

    Returns
    -------
    Module
        `module`.

    Raises
    ------
    ValueError
        If there is no such parameter, or `n_power_iterations` is not positive.

    References
    ----------
    Miyato et al., "Spectral Normalization for Generative Adversarial Networks",
    arXiv:1802.05957, algorithm 1.

    Examples
    --------
    >>> from tensorlib import nn
    >>> layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
    >>> list(layer.state_dict())[1]
    'parametrizations.weight.original'
    """
    weight = getattr(module, name, None)
    if weight is None:
        raise ValueError(f"spectral_norm: {type(module).__name__} has no {name!r}")
    if axis is None:
        axis = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, axis, eps)
    )
