"""Transformers: encoder and decoder layers, stacks of them, and the whole model."""

import copy

import tensorlib as tl
from tensorlib.nn import init
from tensorlib.nn.attention import KVCache, MultiheadAttention
from tensorlib.nn.container import ModuleList
from tensorlib.nn.dropout import Dropout
from tensorlib.nn.linear import Linear
from tensorlib.nn.module import Module
from tensorlib.nn.normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

_ACTIVATIONS = {"relu": tl.relu, "gelu": tl.gelu}


class _Layer(Module):
    """What both layers have: attention, a feed-forward part, norms and dropouts."""

    _attentions: tuple[str, ...] = ("self_attn",)

    def __init__(
        self, d_model, nhead, dim_feedforward=2048, dropout=0.1, activation=tl.relu,
        layer_norm_eps=1e-5, batch_first=False, norm_first=False, bias=True,
        device=None, dtype=None, *, rotary=None, generator=None,
    ):  # fmt: skip
        super().__init__()
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise ValueError(
                f"{type(self).__name__}: expected activation 'relu', 'gelu' or a "
                f"callable, got {activation!r}"
            )
        self.activation = _ACTIVATIONS.get(activation, activation)
        self.norm_first = norm_first
        place = {"device": device, "dtype": dtype}
        for name in self._attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first,
                rotary=rotary if name == "self_attn" else None, generator=generator,
                **place,
            )  # fmt: skip
            setattr(self, name, attention)
        self.linear1 = Linear(
            d_model, dim_feedforward, bias, generator=generator, **place
        )
        self.dropout = Dropout(dropout, generator=generator)
        self.linear2 = Linear(
            dim_feedforward, d_model, bias, generator=generator, **place
        )
        count = len(self._attentions) + 1
        for k in range(1, count + 1):
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
            setattr(self, f"norm{k}", norm)
        for k in range(1, count + 1):
            setattr(self, f"dropout{k}", Dropout(dropout, generator=generator))

    def _residual(self, x, k, part):
        """Add part k to x, with its norm before the part or after the sum."""
        norm, dropout = getattr(self, f"norm{k}"), getattr(self, f"dropout{k}")
        if self.norm_first:
            return x + dropout(part(norm(x)))
        return norm(x + dropout(part(x)))

    def _feed_forward(self, x):
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each added to its input.

    ``x = norm1(x + attention(x))``, ``x = norm2(x + W_2 f(W_1 x + b_1) + b_2)``; with
    `norm_first` ``x + attention(norm1(x))`` and so on (pre-norm).

    Parameters
    ----------
    d_model : int
        Features.
    nhead : int
        Heads of the attention.
    dim_feedforward : int, default 2048
        Units between the two linear maps.
    dropout : float, default 0.1
        In the attention, between the maps, and on each part before it is added.
    activation : {"relu", "gelu"} or callable, default relu
    layer_norm_eps : float, default 1e-5
    batch_first : bool, default False
        Sequences are (N, T, d_model) instead of (T, N, d_model).
    norm_first : bool, default False
    bias : bool, default True
        Whether linear maps and norms have biases.
    device, dtype : optional
        Where the parameters live, and their dtype; float32 by default.
    rotary : RotaryEmbedding, optional
        Turns the queries and keys of the self-attention.
    generator : Generator, optional
        Source of initial values and dropout.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.1.
    Xiong et al., "On Layer Normalization in the Transformer Architecture",
    arXiv:2002.04745 (pre-norm).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16)
    >>> layer(tl.zeros((5, 3, 8)), is_causal=True).shape
    (5, 3, 8)
    """

    def forward(
        self, src, src_mask=None, src_key_padding_mask=None, is_causal=False, *,
        cache=None,
    ):  # fmt: skip
        """Map `src` ``(T, N, d_model)``; masks as in `MultiheadAttention.forward`."""

        def attend(x):
            return self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal,
                cache=cache,
            )[0]  # fmt: skip

        x = self._residual(src, 1, attend)
        return self._residual(x, 2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's output, and a feed-forward network.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first
        As in `TransformerEncoderLayer`.
    norm_first, bias, device, dtype, rotary, generator
        As in `TransformerEncoderLayer`.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, 16)
    >>> layer(tl.zeros((4, 3, 8)), tl.zeros((5, 3, 8)), tgt_is_causal=True).shape
    (4, 3, 8)
    """

    _attentions: tuple[str, ...] = ("self_attn", "multihead_attn")

    def forward(
        self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
        memory_key_padding_mask=None, tgt_is_causal=False, memory_is_causal=False, *,
        cache=None,
    ):  # fmt: skip
        """Map `tgt` ``(T, N, d_model)``, attending to `memory` ``(S, N, d_model)``."""

        def attend(x):
            return self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask,
                is_causal=tgt_is_causal, cache=cache,
            )[0]  # fmt: skip

        def attend_to_memory(x):
            return self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask,
                is_causal=memory_is_causal,
            )[0]  # fmt: skip

        x = self._residual(tgt, 1, attend)
        x = self._residual(x, 2, attend_to_memory)
        return self._residual(x, 3, self._feed_forward)


class _Stack(Module):
    """Copies of a layer, one after the other, and perhaps a norm."""

    def __init__(self, layer, num_layers, norm):
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def make_cache(self):
        """Return an empty `KVCache` for each layer, for ``forward(cache=...)``."""
        return [KVCache() for _ in self.layers]

    def _run(self, x, args, cache):
        caches = [None] * self.num_layers if cache is None else cache
        if len(caches) != self.num_layers:
            raise ValueError(
                f"{type(self).__name__}: expected {self.num_layers} caches, got "
                f"{len(caches)}; make_cache() makes them"
            )
        for layer, own in zip(self.layers, caches, strict=True):
            x = layer(x, *args, cache=own)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """A stack of copies of an encoder layer. Causal, it is a decoder-only model.

    Parameters
    ----------
    encoder_layer : TransformerEncoderLayer
        Copied, its initial values too.
    num_layers : int
    norm : Module, optional
        Applied to the output.
    enable_nested_tensor, mask_check : bool
        Accepted so that scripts port; without effect.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2).eval()
    >>> x = tl.ones((5, 1, 8))
    >>> with tl.no_grad():
    ...     whole, cache = model(x, is_causal=True), model.make_cache()
    ...     steps = [model(step, is_causal=True, cache=cache) for step in x[:, None]]
    >>> bool((abs(tl.concat(steps) - whole) < 1e-5).all())
    True
    """

    def __init__(
        self, encoder_layer, num_layers, norm=None, enable_nested_tensor=True,
        mask_check=True,
    ):  # fmt: skip
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self, src, mask=None, src_key_padding_mask=None, is_causal=None, *, cache=None
    ):
        """Map `src` ``(T, N, d_model)``; masks as in `MultiheadAttention.forward`.

        With `cache`, from `make_cache`, `src` holds the positions after those the
        cache has seen.
        """
        return self._run(src, (mask, src_key_padding_mask, bool(is_causal)), cache)


class TransformerDecoder(_Stack):
    """A stack of copies of a decoder layer.

    Parameters
    ----------
    decoder_layer : TransformerDecoderLayer
        Copied, its initial values too.
    num_layers : int
    norm : Module, optional
        Applied to the output.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> model = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2)
    >>> model(tl.zeros((4, 3, 8)), tl.zeros((5, 3, 8))).shape
    (4, 3, 8)
    """

    def __init__(self, decoder_layer, num_layers, norm=None):
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
        memory_key_padding_mask=None, tgt_is_causal=None, memory_is_causal=False, *,
        cache=None,
    ):  # fmt: skip
        """Map `tgt` ``(T, N, d_model)``, attending to `memory` ``(S, N, d_model)``.

        With `cache`, from `make_cache`, `tgt` holds the positions after those the
        cache has seen.
        """
        args = (
            memory, tgt_mask, memory_mask, tgt_key_padding_mask,
            memory_key_padding_mask, bool(tgt_is_causal), memory_is_causal,
        )  # fmt: skip
        return self._run(tgt, args, cache)


class Transformer(Module):
    """Encoder and decoder: maps a source and a target sequence to the target's length.

    Parameters
    ----------
    d_model : int, default 512
    nhead : int, default 8
    num_encoder_layers, num_decoder_layers : int, default 6
    dim_feedforward, dropout, activation
        As in `TransformerEncoderLayer`.
    custom_encoder, custom_decoder : Module, optional
        In place of the stacks.
    layer_norm_eps, batch_first, norm_first, bias, device, dtype, generator
        As in `TransformerEncoderLayer`.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, figure 1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> model = nn.Transformer(8, 2, 1, 1, 16)
    >>> model(tl.zeros((5, 3, 8)), tl.zeros((4, 3, 8)), tgt_is_causal=True).shape
    (4, 3, 8)
    """

    def __init__(
        self, d_model=512, nhead=8, num_encoder_layers=6, num_decoder_layers=6,
        dim_feedforward=2048, dropout=0.1, activation=tl.relu, custom_encoder=None,
        custom_decoder=None, layer_norm_eps=1e-5, batch_first=False, norm_first=False,
        bias=True, device=None, dtype=None, *, generator=None,
    ):  # fmt: skip
        super().__init__()
        layer = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps,
            batch_first, norm_first, bias, device, dtype,
        )  # fmt: skip
        place = {"device": device, "dtype": dtype}

        def norm():
            return LayerNorm(d_model, layer_norm_eps, bias=bias, **place)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*layer, generator=generator),
            num_encoder_layers,
            norm(),
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*layer, generator=generator),
            num_decoder_layers,
            norm(),
        )
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw every matrix by Xavier's uniform rule."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter, generator=generator)

    @staticmethod
    def generate_square_subsequent_mask(sz, device=None, dtype=None):
        """Return the causal mask ``(sz, sz)``: 0 up to the diagonal, -inf above.

        Examples
        --------
        >>> from tensorlib import nn
        >>> nn.Transformer.generate_square_subsequent_mask(2).tolist()
        [[0.0, -inf], [0.0, 0.0]]
        """
        places = tl.arange(sz, device=device)
        above = tl.expand_dims(places, 1) < places
        dtype = tl.float32 if dtype is None else dtype
        mask = tl.zeros((sz, sz), dtype=dtype, device=device)
        return tl.where(above, tl.full((), -tl.inf, dtype=dtype), mask)

    def forward(
        self, src, tgt, src_mask=None, tgt_mask=None, memory_mask=None,
        src_key_padding_mask=None, tgt_key_padding_mask=None,
        memory_key_padding_mask=None, src_is_causal=None, tgt_is_causal=None,
        memory_is_causal=False,
    ):  # fmt: skip
        """Map `src` ``(S, N, d_model)`` and `tgt` ``(T, N, d_model)`` to `tgt`'s shape.

        Raises
        ------
        ShapeError
            If the batches or the features differ.
        """
        axis = 0 if self.batch_first else 1
        batches = src.shape[axis], tgt.shape[axis]
        if src.ndim == 3 and batches[0] != batches[1]:
            raise tl.ShapeError(
                f"Transformer: expected src and tgt of one batch, got {batches}"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise tl.ShapeError(
                f"Transformer: expected {self.d_model} features, got {src.shape} and "
                f"{tgt.shape}"
            )
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask,
            memory_key_padding_mask, tgt_is_causal, memory_is_causal,
        )  # fmt: skip
