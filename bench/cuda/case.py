"""What a row on the card is: operands, a statement a library, what is asked of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["LIBRARIES", "Case", "Operand"]

LIBRARIES = ("ours", "torch")
ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2, "int64": 8, "int32": 4}


@dataclass(frozen=True)
class Operand:
    """Random numbers: normal, or integers in 0..n-1 where `below` is n."""

    shape: tuple
    dtype: str = "float32"
    below: int = 0
    grad: bool = False

    @property
    def size(self):
        """Number of elements."""
        total = 1
        for extent in self.shape:
            total *= extent
        return total

    @property
    def nbytes(self):
        """Bytes in memory."""
        return self.size * ITEMSIZE[self.dtype]


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes
    ----------
    section, name : str
    ours, torch : str
        The statement of each library; ``d`` in them is the device.
    operands : dict of str to Operand
    prepare : callable, optional
        ``prepare(library, names, device)`` adds further names.
    check : bool
        Whether the values of both are compared; statements are then expressions.
    nbytes : float
        Bytes that the row has to move, for its share of the copy's bandwidth.
    flops : float
        Operations of its products, for its share of the matrix peak.
    peak : str
        Which peak: "bfloat16", "tf32" or "float32".
    ratio : float
        The largest good ratio of our time to PyTorch's.
    share : float
        The least good share of bandwidth or peak; 0 asks for none.
    compiled : bool
        Whether PyTorch's side goes through ``torch.compile``.
    """

    section: str
    name: str
    ours: str
    torch: str
    operands: dict = field(default_factory=dict)
    prepare: Callable | None = None
    check: bool = False
    nbytes: float = 0.0
    flops: float = 0.0
    peak: str = "bfloat16"
    ratio: float = 1.0
    share: float = 0.0
    compiled: bool = False

    @property
    def label(self):
        """Section and name, what ``--only`` is matched against."""
        return f"{self.section}: {self.name}"

    def statement(self, library):
        """The statement of a library."""
        return getattr(self, library)
