"""What a case is: operands, one statement a library, a target.

Statements are source text, compiled into the timing loop itself, because a call of a
function costs as much as a small operation. `F` in them is torch.nn.functional.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

__all__ = ["Case", "Spec", "size_label"]

POOL = 1 << 20  # elements of random numbers that operands are cut from


@cache
def _pool(kind, dtype):
    """Random numbers of a kind, from which all operands are made."""
    rng = np.random.default_rng(20240229)
    if kind == "normal":
        return rng.standard_normal(POOL).astype(dtype)
    if kind == "unit":
        return rng.uniform(-0.9, 0.9, POOL).astype(dtype)
    if kind == "positive":
        return rng.uniform(0.1, 4.0, POOL).astype(dtype)
    if kind == "signs":
        return rng.choice(np.asarray([-1, 1]), POOL).astype(dtype)
    if kind == "bool":
        return rng.random(POOL) < 0.5
    if kind == "zero":
        return np.zeros(POOL, dtype)
    if kind == "one":
        return np.ones(POOL, dtype)
    return rng.integers(0, int(kind), POOL).astype(dtype)


@dataclass(frozen=True)
class Spec:
    """An operand: random numbers of a kind, a shape, a dtype.

    Attributes
    ----------
    kind : str
        ``normal``, ``unit`` (-0.9..0.9), ``positive`` (0.1..4), ``signs``, ``bool``,
        ``zero``, ``one``, or a number n for integers in 0..n-1.
    """

    shape: tuple
    kind: str = "normal"
    dtype: str = "float32"
    grad: bool = False

    @property
    def nbytes(self):
        """Bytes of the operand."""
        width = np.dtype("bool" if self.kind == "bool" else self.dtype).itemsize
        return width * int(np.prod(self.shape, dtype=np.int64))

    def array(self, position):
        """The operand as a NumPy array; operands of a case differ by position."""
        size = int(np.prod(self.shape, dtype=np.int64))
        pool = _pool(self.kind, "bool" if self.kind == "bool" else self.dtype)
        start = 7919 * position
        if start + size <= POOL:
            return pool[start : start + size].reshape(self.shape).copy()
        # A period that divides no power of two keeps the repeats apart.
        return np.resize(pool[start : POOL - 3], size).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Case:
    """One row: what is computed, by whom, and how fast it has to be.

    Attributes
    ----------
    section, name : str
        Where the row stands and what it is called.
    ours, torch, numpy : str
        The statement of each library; empty where it has no such thing.
    others : dict of str to str
        Statements of further libraries of `bench.libraries`, which take part where
        they are installed.
    operands : dict of str to Spec
        Names that the statements may use.
    prepare : callable, optional
        ``prepare(library, names)`` adds further names for a library.
    check : str, optional
        The expression whose values must agree; the statement itself by default,
        nothing when empty.
    tolerance : tuple of float
        Relative and absolute.
    target : float
        The largest good ratio of our time to PyTorch's; to that of another library it
        is 1, or this where it is larger.
    limit : float, optional
        The largest good value itself, in the row's unit, instead of a ratio.
    flops : float
        Operations of products, in float32 (those in float64 count twice); for the
        row's floor.
    ops : tuple of str
        Public names exercised beyond those written ``tl.name`` in `ours`.
    count : int
        Things that the statement handles, for a row that is shown as things a second.
    quick : bool
        Whether ``--quick`` keeps the row.
    measure : callable, optional
        ``measure(rounds)`` gives ``{library: samples}`` for what is no statement.
    """

    section: str
    name: str
    ours: str
    torch: str = ""
    numpy: str = ""
    others: dict = field(default_factory=dict)
    operands: dict = field(default_factory=dict)
    prepare: Callable | None = None
    check: str | None = None
    tolerance: tuple = (1e-4, 1e-5)
    target: float = 1.0
    limit: float | None = None
    flops: float = 0.0
    ops: tuple = ()
    count: int = 0
    quick: bool = False
    unit: str = "s"
    measure: Callable | None = None

    @property
    def label(self):
        """Section and name, what ``--only`` is matched against."""
        return f"{self.section}: {self.name}"

    def statement(self, library):
        """The statement of a library, "" where it takes no part."""
        given = {"ours": self.ours, "torch": self.torch, "numpy": self.numpy}
        return {**given, **self.others}.get(library, "")


def size_label(n):
    """Return 10^k for powers of ten."""
    power = len(str(n)) - 1
    return f"10^{power}" if n == 10**power else str(n)
