"""Look-up tables."""

import tensorlib as tl
from tensorlib.nn import init
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
        If `padding_idx` is no row.
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
        self, num_embeddings, embedding_dim, padding_idx=None,
        *, device=None, dtype=None, generator=None,
    ):  # fmt: skip
        super().__init__()
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
    def from_pretrained(cls, embeddings, freeze=True, padding_idx=None):
        """Make a table from a tensor ``(V, D)``, sharing its storage.

        Parameters
        ----------
        embeddings : Tensor
            The table.
        freeze : bool, default True
            Whether it is left untrained.
        padding_idx : int, optional
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
        table = cls(*embeddings.shape, padding_idx, dtype=embeddings.dtype)
        table.weight = Parameter(embeddings, requires_grad=not freeze)
        return table

    def forward(self, input):
        """Return the rows at the integer tensor `input` ``(...)``: ``(..., D)``."""
        rows = tl.embedding(input, self.weight)
        if self.padding_idx is not None and rows.requires_grad:
            # The value is kept; the constant branch stops the gradient.
            padding = tl.expand_dims(input == self.padding_idx, axis=-1)
            rows = tl.where(padding, rows.detach(), rows)
        return rows

    def extra_repr(self):
        """Return the sizes."""
        padding = (
            "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        )
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
