"""Look-up tables."""

import tensorlib as tl
from tensorlib.nn import functional, init
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """Look up rows of a table: ``y[...] = weight[index[...]]``.

    The table starts standard normal, the row of `padding_idx` zero.

    Parameters
    ----------
    num_embeddings : int
        Number of rows V.
    embedding_dim : int
        Length D of a row.
    padding_idx : int, optional
        A row that gets no gradient; negative counts from the end.
    max_norm : float, optional
        Rows that are looked up are first scaled, in place, to at most this norm.
    norm_type : float, default 2.0
        p of that norm.
    scale_grad_by_freq : bool, default False
        Divide the gradient of a row by how often it was looked up in the batch.
    sparse : bool, default False
        Must be False: gradients are dense.
    device : device, optional
        Where the table lives.
    dtype : dtype, optional
        Its dtype; float32 by default.
    generator : Generator, optional
        Source of the initial values; the default generator otherwise.

    Attributes
    ----------
    weight : Parameter
        Shape ``(V, D)``.

    Raises
    ------
    ValueError
        If `padding_idx` is no row, `max_norm` not positive, or `sparse` asked for.
    IndexError
        In ``forward``, if an index is outside 0..V-1.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> table = nn.Embedding(10, 3, padding_idx=0)
    >>> table(tl.tensor([[1, 2], [0, 9]])).shape
    (2, 2, 3)
    >>> table(tl.tensor([0])).tolist()
    [[0.0, 0.0, 0.0]]
    """

    def __init__(
        self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None,
        norm_type=2.0, scale_grad_by_freq=False, sparse=False,
        *, device=None, dtype=None, generator=None,
    ):  # fmt: skip
        super().__init__()
        if sparse:
            raise ValueError("Embedding: gradients are dense; pass sparse=False")
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"Embedding: expected max_norm > 0, got {max_norm}")
        self.max_norm = max_norm
        self.norm_type = float(norm_type)
        self.scale_grad_by_freq = scale_grad_by_freq
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"Embedding: padding_idx {padding_idx} is out of range for "
                    f"{num_embeddings} rows"
                )
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        shape = (num_embeddings, embedding_dim)
        self.weight = Parameter(tl.empty(shape, dtype=dtype, device=device))
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw a new table.

        Parameters
        ----------
        generator : Generator, optional
            Source of random numbers; the default generator otherwise.
        """
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            with tl.no_grad():
                self.weight[self.padding_idx] = 0.0

    @classmethod
    def from_pretrained(
        cls, embeddings, freeze=True, padding_idx=None, max_norm=None, norm_type=2.0,
        scale_grad_by_freq=False, sparse=False,
    ):  # fmt: skip
        """Make a table from a tensor ``(V, D)``, sharing its storage.

        Parameters
        ----------
        embeddings : Tensor
            The table.
        freeze : bool, default True
            Whether it is left untrained.
        padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
            As for the class.

        Raises
        ------
        ShapeError
            If `embeddings` is not 2-D.
        """
        if embeddings.ndim != 2:
            raise tl.ShapeError(
                f"from_pretrained: expected (V, D), got {tuple(embeddings.shape)}"
            )
        table = cls(
            *embeddings.shape, padding_idx, max_norm, norm_type, scale_grad_by_freq,
            sparse, dtype=embeddings.dtype,
        )  # fmt: skip
        table.weight = Parameter(embeddings, requires_grad=not freeze)
        return table

    def forward(self, input):
        """Return the rows at the integer tensor `input` ``(...)``: ``(..., D)``."""
        return functional.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type,
            self.scale_grad_by_freq,
        )  # fmt: skip

    def extra_repr(self):
        """Return the sizes, and the options that are in use."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        return text
