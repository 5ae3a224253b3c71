"""Multi-head attention, and the cache of keys and values for generation."""

import math

import tensorlib as tl
from tensorlib.nn import init
from tensorlib.nn.linear import Linear
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = ["KVCache", "MultiheadAttention"]


class KVCache:
    """Keys and values of the positions seen so far, for one attention layer.

    In generation each new position attends to all before it; their keys and values do
    not change, so they are computed once and kept. A cache grows by doubling, keeps
    values only (no graph), and serves one batch of sequences.

    Attributes
    ----------
    length : int
        Positions held.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> attention, cache = nn.MultiheadAttention(8, 2), nn.KVCache()
    >>> with tl.no_grad():
    ...     for token in tl.ones((3, 1, 1, 8)):
    ...         y, _ = attention(token, token, token, need_weights=False, cache=cache)
    >>> cache.length
    3
    """

    def __init__(self):
        self.length = 0
        self._keys = None
        self._values = None

    def append(self, keys, values):
        """Add positions; return all keys and values.

        Parameters
        ----------
        keys, values : Tensor of shape (N, heads, positions, D)

        Returns
        -------
        keys, values : Tensor of shape (N, heads, length, D)
            Views of the cache, to be read before the next `append`.

        Raises
        ------
        ShapeError
            If batch, heads or D differ from what the cache holds.
        """
        end = self.length + keys.shape[2]
        self._keys = self._stored(self._keys, keys, end)
        self._values = self._stored(self._values, values, end)
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def _stored(self, held, new, end):
        """Return the buffer with `new` written at its place, a larger one if needed."""
        new = new.detach()
        batch, heads, _, depth = new.shape
        if held is not None and (
            held.shape[:2] != (batch, heads) or held.shape[3] != depth
        ):
            raise tl.ShapeError(
                f"KVCache: expected (N, heads, positions, D) like "
                f"{(*held.shape[:2], 'positions', held.shape[3])}, got {new.shape}"
            )
        with tl.no_grad():
            if held is None or held.shape[2] < end:
                capacity = max(end, 2 * self.length)
                grown = tl.zeros(
                    (batch, heads, capacity, depth),
                    dtype=new.dtype,
                    device=new.device,
                )
                if held is not None:
                    grown[:, :, : self.length] = held[:, :, : self.length]
                held = grown
            held[:, :, self.length : end] = new
        return held

    def reset(self):
        """Forget everything, to begin another batch of sequences."""
        self.__init__()

    def __repr__(self):
        return f"KVCache(length={self.length})"


class MultiheadAttention(Module):
    """Attention in several heads, each on its own projections.

    ``head_h = softmax(Q_h K_h^T / sqrt(D)) V_h`` with ``Q = query W_q + b_q`` cut into
    `num_heads` heads of D = E / num_heads, likewise K and V; the heads are joined and
    projected by `out_proj`. Where query, key and value are one tensor, one product
    gives all three.

    Parameters
    ----------
    embed_dim : int
        Features E of the query and of the output.
    num_heads : int
        Divides E.
    dropout : float, default 0.0
        Probability of zeroing a weight, in training.
    bias : bool, default True
        Whether the projections have biases.
    add_bias_kv : bool, default False
        Append a learned position to keys and values.
    add_zero_attn : bool, default False
        Append a position of zeros to keys and values.
    kdim, vdim : int, optional
        Features of key and value; E by default.
    batch_first : bool, default False
        Sequences are (N, L, E) instead of (L, N, E).
    device, dtype : optional
        Where the parameters live, and their dtype; float32 by default.
    rotary : RotaryEmbedding, optional
        Turns queries and keys by their positions.
    generator : Generator, optional
        Source of initial values and dropout; the default generator otherwise.

    Attributes
    ----------
    in_proj_weight : Parameter
        Shape ``(3 E, E)``: query, key, value; with other `kdim` or `vdim` instead
        ``q_proj_weight``, ``k_proj_weight``, ``v_proj_weight``.
    in_proj_bias : Parameter or None
        Shape ``(3 E,)``.
    out_proj : Linear

    Raises
    ------
    ValueError
        If the sizes are not positive or `num_heads` does not divide `embed_dim`.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.2.2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> x = tl.zeros((5, 2, 8))
    >>> y, weights = nn.MultiheadAttention(8, 2)(x, x, x)
    >>> y.shape, weights.shape
    ((5, 2, 8), (2, 5, 5))
    """

    def __init__(
        self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False,
        add_zero_attn=False, kdim=None, vdim=None, batch_first=False, device=None,
        dtype=None, *, rotary=None, generator=None,
    ):  # fmt: skip
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(
                "MultiheadAttention: expected embed_dim to be a multiple of num_heads, "
                f"both positive, got {embed_dim} and {num_heads}"
            )
        if not 0 <= dropout <= 1:
            raise ValueError(
                f"MultiheadAttention: expected 0 <= dropout <= 1, got {dropout}"
            )
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        self.generator = generator
        place = {"device": device, "dtype": dtype}
        self._add_projections(bias, add_bias_kv, place)
        self.out_proj = Linear(
            embed_dim, embed_dim, bias=bias, generator=generator, **place
        )
        self.rotary = rotary
        self.reset_parameters(generator)

    def _add_projections(self, bias, add_bias_kv, place):
        e = self.embed_dim
        shapes = {"in_proj_weight": (3 * e, e)}
        if (self.kdim, self.vdim) != (e, e):
            shapes = {
                "q_proj_weight": (e, e),
                "k_proj_weight": (e, self.kdim),
                "v_proj_weight": (e, self.vdim),
            }
        if bias:
            shapes["in_proj_bias"] = (3 * e,)
        if add_bias_kv:
            shapes |= {"bias_k": (1, 1, e), "bias_v": (1, 1, e)}
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight",
                     "v_proj_weight", "in_proj_bias", "bias_k", "bias_v"):  # fmt: skip
            shape = shapes.get(name)
            parameter = None if shape is None else Parameter(tl.empty(shape, **place))
            self.register_parameter(name, parameter)

    def reset_parameters(self, generator=None):
        """Draw new initial values: Xavier for the projections, zeros for biases."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight,
                       self.v_proj_weight):  # fmt: skip
            if weight is not None:
                init.xavier_uniform_(weight, generator=generator)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias, generator=generator)

    # ---- forward -----------------------------------------------------------------

    def forward(
        self, query, key, value, key_padding_mask=None, need_weights=True,
        attn_mask=None, average_attn_weights=True, is_causal=False, *, cache=None,
    ):  # fmt: skip
        """Attend from `query` to `key` and `value`.

        Parameters
        ----------
        query : Tensor of shape (L, N, E), (N, L, E) with `batch_first`, or (L, E)
        key, value : Tensor of shape (S, N, kdim) and (S, N, vdim), likewise
        key_padding_mask : Tensor of shape (N, S) or (S,), optional
            Of bool: which keys to ignore; of floats: added to the scores.
        need_weights : bool, default True
            Return the weights; without them memory does not grow with L S.
        attn_mask : Tensor of shape (L, S) or (N * num_heads, L, S), optional
            Of bool: where *not* to attend; of floats: added to the scores.
        average_attn_weights : bool, default True
            Return the mean of the weights over the heads.
        is_causal : bool, default False
            Let a position attend to itself and those before it; with an `attn_mask`
            a remark only.
        cache : KVCache, optional
            Holds the keys and values of earlier positions; those of this call are
            added, and attended to as well. Masks then cover all of them.

        Returns
        -------
        output : Tensor
            Shaped as `query`.
        weights : Tensor of shape (N, L, S) or (N, num_heads, L, S), or None

        Raises
        ------
        ShapeError
            If the shapes do not fit.

        Notes
        -----
        A query that may attend to nothing gets zeros before `out_proj`.
        """
        unbatched = query.ndim == 2
        if unbatched:
            same = key is query, value is key
            query = tl.expand_dims(query, 1)
            key = query if same[0] else tl.expand_dims(key, 1)
            value = key if same[1] else tl.expand_dims(value, 1)
            if key_padding_mask is not None:
                key_padding_mask = tl.expand_dims(key_padding_mask, 0)
        self._check_inputs(query, key, value)
        if cache is not None and (self.bias_k is not None or self.add_zero_attn):
            raise ValueError(
                "MultiheadAttention: a cache does not go with add_bias_kv or "
                "add_zero_attn"
            )
        # Positions and batch as axes 0 and 1 of what is given.
        axes = (1, 0) if self.batch_first and not unbatched else (0, 1)
        q, k, v = self._heads(query, key, value, axes)
        before = 0 if cache is None else cache.length
        if self.rotary is not None:
            q, k = self.rotary(q, k, offset=before)
        k, v = self._extended(k, v)
        if cache is not None:
            k, v = cache.append(k, v)
        mask, causal = self._mask(q, k, key_padding_mask, attn_mask, is_causal, before)
        y, weights = self._attend(q, k, v, mask, causal, need_weights)
        # (N, heads, L, D) back to the query's layout.
        order = (2, 0, 1, 3) if axes == (0, 1) else (0, 2, 1, 3)
        y = self.out_proj(y.permute_dims(order).reshape(query.shape))
        if weights is not None and average_attn_weights:
            weights = tl.mean(weights, axis=1)
        if unbatched:
            y = tl.squeeze(y, 1)
            weights = None if weights is None else tl.squeeze(weights, 0)
        return y, weights

    def multiply_adds(self, args, output):
        """Return the products of a call: the projections' but the last, q k and w v."""
        query = args[0]
        key, value = args[1:3] if len(args) >= 3 else (query, query)
        e, rows, columns = self.embed_dim, query.size // self.embed_dim, key.shape[0]
        if self.batch_first and key.ndim == 3:
            columns = key.shape[1]
        return rows * e * e + key.size * e + value.size * e + 2 * rows * columns * e

    def _check_inputs(self, query, key, value):
        wanted = (self.embed_dim, self.kdim, self.vdim)
        found = tuple(x.shape[-1] if x.ndim == 3 else None for x in (query, key, value))
        if found != wanted or key.shape[:2] != value.shape[:2]:
            raise tl.ShapeError(
                "MultiheadAttention: expected query, key and value of three axes (or "
                f"two) with {wanted} features, key and value of one length, got "
                f"{query.shape}, {key.shape}, {value.shape}"
            )

    def _heads(self, query, key, value, axes):
        """Project; return q, k, v of shape (N, heads, positions, D)."""
        e = self.embed_dim
        bias = self.in_proj_bias
        whole = self.in_proj_weight
        inputs = (query, key, value)
        if whole is None:
            parts = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            joined = list(zip(inputs, parts, (1, 1, 1), strict=True))
        elif query is key and key is value:
            joined = [(query, whole, 3)]
        elif key is value:
            joined = [(query, whole[:e], 1), (key, whole[e:], 2)]
        else:
            joined = list(zip(inputs, tl.split(whole, e), (1, 1, 1), strict=True))
        heads, done = [], 0
        for x, weight, count in joined:
            part = None if bias is None else bias[done * e : (done + count) * e]
            done += count
            y = tl.linear(x, weight, part)
            y = y.reshape((*x.shape[:2], count, self.num_heads, self.head_dim))
            positions, batch = axes
            heads += tl.unstack(y.permute_dims((2, batch, 3, positions, 4)))
        return heads

    def _extended(self, k, v):
        """Keys and values with the learned position and that of zeros."""
        batch, heads, _, depth = k.shape
        shape = (batch, heads, 1, depth)
        keys, values = [k], [v]
        if self.bias_k is not None:
            for parts, bias in ((keys, self.bias_k), (values, self.bias_v)):
                parts.append(tl.broadcast_to(bias.reshape((1, *shape[1:])), shape))
        if self.add_zero_attn:
            keys.append(tl.zeros(shape, dtype=k.dtype, device=k.device))
            values.append(tl.zeros(shape, dtype=v.dtype, device=v.device))
        if len(keys) == 1:
            return k, v
        return tl.concat(keys, axis=2), tl.concat(values, axis=2)

    def _mask(self, q, k, padding, attn_mask, is_causal, before):
        """Join the masks as the op takes them; return mask and whether causal."""
        batch, heads, queries, _ = q.shape
        added = (self.bias_k is not None) + self.add_zero_attn
        keys = k.shape[2] - added
        parts = []
        if attn_mask is not None:
            self._check_mask(
                "attn_mask", attn_mask, (queries, keys), (batch * heads, queries, keys)
            )
            if attn_mask.ndim == 3:
                attn_mask = attn_mask.reshape((batch, heads, queries, keys))
            parts.append(attn_mask)
        elif is_causal:
            if padding is None and not added and before == 0:
                return None, True
            positions = tl.arange(before, before + queries, device=q.device)
            parts.append(
                tl.expand_dims(positions, 1) < tl.arange(keys, device=q.device)
            )
        if padding is not None:
            self._check_mask("key_padding_mask", padding, (batch, keys))
            parts.append(padding.reshape((batch, 1, 1, keys)))
        return _joined([_widened(part, added) for part in parts]), False

    def _check_mask(self, name, mask, *shapes):
        if mask.shape not in shapes:
            raise tl.ShapeError(
                f"MultiheadAttention: expected {name} of shape "
                f"{' or '.join(map(str, shapes))}, got {mask.shape}"
            )

    def _attend(self, q, k, v, mask, causal, need_weights):
        """Apply the op, or the same in steps where the weights are wanted."""
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            return tl.scaled_dot_product_attention(
                q, k, v, mask, dropout, causal, generator=self.generator
            ), None
        scores = (q * (1.0 / math.sqrt(self.head_dim))) @ tl.transpose(k, -1, -2)
        low = tl.full((), -math.inf, dtype=scores.dtype)
        if causal:
            rows = tl.arange(q.shape[2], device=q.device)
            columns = tl.arange(k.shape[2], device=q.device)
            mask = tl.expand_dims(rows, 1) >= columns
        if mask is not None and mask.dtype is tl.bool:
            scores = tl.where(mask, scores, low)
        elif mask is not None:
            scores = scores + mask
        idle = tl.all(scores == low, axis=-1, keepdims=True)
        zero = tl.zeros((), dtype=scores.dtype)
        weights = tl.softmax(tl.where(idle, zero, scores), axis=-1)
        weights = tl.where(idle, zero, weights)
        weights = tl.dropout(weights, dropout, generator=self.generator)
        return weights @ v, weights


def _widened(mask, count):
    """Add columns for appended positions, which may be attended to."""
    if not count:
        return mask
    widths = [(0, 0)] * (mask.ndim - 1) + [(0, count)]
    return tl.pad(mask, widths, value=False if mask.dtype is tl.bool else 0.0)


def _joined(masks):
    """Join masks, of bool where not to attend, into one that the op takes."""
    allowed, addend = None, None
    for mask in masks:
        if mask.dtype is tl.bool:
            mask = tl.logical_not(mask)
            allowed = mask if allowed is None else allowed & mask
        else:
            addend = mask if addend is None else addend + mask
    if addend is None or allowed is None:
        return allowed if addend is None else addend
    return tl.where(allowed, addend, tl.full((), -math.inf, dtype=addend.dtype))
