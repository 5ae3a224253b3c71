"""Position encodings: sinusoids, learned vectors, rotations."""

import math

import tensorlib as tl
from tensorlib.nn import init
from tensorlib.nn.dropout import Dropout
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = [
    "LearnedPositionalEmbedding",
    "RotaryEmbedding",
    "SinusoidalPositionalEncoding",
]


def _angles(length, dim, base, dtype):
    """Position over wavelength, ``t base^(-2i / dim)``, shape (length, dim / 2)."""
    rates = tl.exp(tl.arange(0, dim, 2, dtype=tl.float64) * (-math.log(base) / dim))
    positions = tl.arange(length, dtype=tl.float64)
    angles = tl.expand_dims(positions, 1) * rates
    return tl.sin(angles).astype(dtype), tl.cos(angles).astype(dtype)


class _Added(Module):
    """Adds rows of a table to a sequence, from `offset` on."""

    def __init__(self, dropout, batch_first, generator):
        super().__init__()
        self.batch_first = batch_first
        self.dropout = Dropout(dropout, generator=generator)

    def _add(self, x, table, offset):
        axis = 1 if self.batch_first and x.ndim == 3 else 0
        if x.ndim not in (2, 3) or x.shape[-1] != table.shape[1]:
            raise tl.ShapeError(
                f"{type(self).__name__}: expected a sequence of {table.shape[1]} "
                f"features, got {x.shape}"
            )
        end = offset + x.shape[axis]
        if offset < 0 or end > table.shape[0]:
            raise ValueError(
                f"{type(self).__name__}: expected positions in [0, {table.shape[0]}), "
                f"got {offset} to {end}"
            )
        rows = table[offset:end]
        if axis == 0 and x.ndim == 3:
            rows = tl.expand_dims(rows, 1)
        return self.dropout(x + rows)


class SinusoidalPositionalEncoding(_Added):
    """Add sines and cosines of the position to a sequence.

    ``P[t, 2i] = sin(t / base^(2i / d))``, ``P[t, 2i + 1]`` the cosine. A shift of the
    position is a rotation of each pair, the same everywhere.

    Parameters
    ----------
    d_model : int
        Features d.
    max_len : int, default 5000
        Positions that there are.
    dropout : float, default 0.0
        Applied to the sum, in training.
    batch_first : bool, default False
        Sequences are (N, T, d) instead of (T, N, d).
    base : float, default 10000.0
    dtype : dtype, optional
        Of the table; float32 by default.
    generator : Generator, optional
        Source of the dropout.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.SinusoidalPositionalEncoding(2)(tl.zeros((1, 1, 2))).tolist()
    [[[0.0, 1.0]]]
    """

    def __init__(
        self, d_model, max_len=5000, dropout=0.0, batch_first=False, base=10000.0,
        dtype=None, *, generator=None,
    ):  # fmt: skip
        super().__init__(dropout, batch_first, generator)
        sines, cosines = _angles(max_len, d_model, base, dtype or tl.float32)
        pairs = tl.stack([sines, cosines], axis=2).reshape((max_len, -1))
        self.register_buffer("table", pairs[:, :d_model], persistent=False)

    def forward(self, x, offset=0):
        """Add the rows of positions `offset` on to `x` ``(T, N, d)`` or ``(T, d)``."""
        return self._add(x, self.table, offset)


class LearnedPositionalEmbedding(_Added):
    """Add a trained vector for each position to a sequence.

    Parameters
    ----------
    num_positions : int
    d_model : int
        Features d.
    dropout : float, default 0.0
        Applied to the sum, in training.
    batch_first : bool, default False
        Sequences are (N, T, d) instead of (T, N, d).
    device, dtype : optional
        Where the parameter lives, and its dtype; float32 by default.
    generator : Generator, optional
        Source of the initial values and the dropout.

    Attributes
    ----------
    weight : Parameter
        Shape ``(num_positions, d_model)``; normal with deviation 0.02 at the start.

    References
    ----------
    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.LearnedPositionalEmbedding(16, 4)(tl.zeros((3, 2, 4))).shape
    (3, 2, 4)
    """

    def __init__(
        self, num_positions, d_model, dropout=0.0, batch_first=False, device=None,
        dtype=None, *, generator=None,
    ):  # fmt: skip
        super().__init__(dropout, batch_first, generator)
        shape = (num_positions, d_model)
        self.weight = Parameter(tl.empty(shape, dtype=dtype, device=device))
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw new initial values, normal with deviation 0.02."""
        init.normal_(self.weight, 0.0, 0.02, generator=generator)

    def forward(self, x, offset=0):
        """Add the rows of positions `offset` on to `x` ``(T, N, d)`` or ``(T, d)``."""
        return self._add(x, self.weight, offset)


class RotaryEmbedding(Module):
    """Turn queries and keys by angles that grow with their positions.

    A pair ``(a, b)`` at position t becomes ``(a cos w - b sin w, a sin w + b cos w)``
    with ``w = t base^(-2i / D)``, so that a product of query and key depends on the
    distance of their positions alone.

    Parameters
    ----------
    head_dim : int
        Features D of a head, even.
    max_len : int, default 2048
        Positions that there are.
    base : float, default 10000.0
    interleaved : bool, default False
        Pair features 2i and 2i + 1 (as in the paper) instead of i and i + D / 2.
    dtype : dtype, optional
        Of the tables; float32 by default.

    Raises
    ------
    ValueError
        If `head_dim` is odd, or in ``forward`` if positions exceed `max_len`.

    References
    ----------
    Su et al., "RoFormer", arXiv:2104.09864, equation 34.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> q = k = tl.ones((1, 2, 5, 4))          # (N, heads, T, D)
    >>> q, k = nn.RotaryEmbedding(4)(q, k)
    >>> q.shape, q[0, 0, 0].tolist()           # position 0 is not turned
    ((1, 2, 5, 4), [1.0, 1.0, 1.0, 1.0])
    """

    def __init__(
        self, head_dim, max_len=2048, base=10000.0, interleaved=False, dtype=None
    ):
        super().__init__()
        if head_dim <= 0 or head_dim % 2:
            raise ValueError(
                f"RotaryEmbedding: expected an even head_dim > 0, got {head_dim}"
            )
        self.head_dim = head_dim
        self.interleaved = interleaved
        sines, cosines = _angles(max_len, head_dim, base, dtype or tl.float32)
        self.register_buffer("sines", sines, persistent=False)
        self.register_buffer("cosines", cosines, persistent=False)

    def forward(self, q, k, offset=0):
        """Turn `q` and `k` ``(..., T, D)``, whose first positions are `offset`."""
        return self.rotate(q, offset), self.rotate(k, offset)

    def rotate(self, x, offset=0):
        """Turn one tensor ``(..., T, D)``, whose first position is `offset`."""
        if x.ndim < 2 or x.shape[-1] != self.head_dim:
            raise tl.ShapeError(
                f"RotaryEmbedding: expected (..., T, {self.head_dim}), got {x.shape}"
            )
        end = offset + x.shape[-2]
        if offset < 0 or end > self.sines.shape[0]:
            raise ValueError(
                f"RotaryEmbedding: expected positions in [0, {self.sines.shape[0]}), "
                f"got {offset} to {end}"
            )
        sines, cosines = self.sines[offset:end], self.cosines[offset:end]
        half = self.head_dim // 2
        if self.interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
        else:
            a, b = x[..., :half], x[..., half:]
        turned = [a * cosines - b * sines, a * sines + b * cosines]
        if self.interleaved:
            return tl.stack(turned, axis=-1).reshape(x.shape)
        return tl.concat(turned, axis=-1)
