"""What the machine could do at best: bytes over bandwidth, operations over a rate.

Both are measured in the run itself, with NumPy: the bandwidth of sums ``a + b`` into a
third array, each thread on its own arrays, for working sets of each level of memory;
the rate of a large product, which is some 90% of the multiply-adds a core can start.
A row's floor counts its operands and results once, and the operations of the plain
product: operands that stay in a cache, or Winograd's convolution, can beat it.
"""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

__all__ = ["Floor"]

# Working sets in bytes: the second cache level, the last one, memory.
SETS = (1 << 18, 1 << 23, 1 << 28)
ROUNDS = 5
EXTENT = 1024  # of the product
LEAST = 2e-6  # seconds: below, the cost of a call decides


def _bandwidth(total, threads):
    """Bytes a second that all threads together read and write."""
    n = total // (3 * 4 * threads)
    repeats = max(1, (1 << 26) // total)
    sets = [[np.ones(n, np.float32) for _ in range(3)] for _ in range(threads)]

    def work(arrays):
        a, b, c = arrays
        for _ in range(repeats):
            np.add(a, b, out=c)

    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(ROUNDS):
            start = perf_counter()
            list(pool.map(work, sets))
            best = min(best, perf_counter() - start)
    return 3 * 4 * n * threads * repeats / best


def _rate():
    """Float32 operations a second in a product, on the threads NumPy was given."""
    a = np.ones((EXTENT, EXTENT), np.float32)
    best = float("inf")
    for _ in range(ROUNDS):
        start = perf_counter()
        np.matmul(a, a)
        best = min(best, perf_counter() - start)
    return 2 * EXTENT**3 / best


class Floor:
    """The measured machine.

    Parameters
    ----------
    threads : int
        As many as the contestants have.
    """

    def __init__(self, threads):
        self.bandwidth = {size: _bandwidth(size, threads) for size in SETS}
        self.rate = _rate()

    def seconds(self, nbytes, flops):
        """Return the least time for so much work, None where a call costs more."""
        size = next((size for size in SETS if nbytes <= size), SETS[-1])
        least = max(nbytes / self.bandwidth[size], flops / self.rate)
        return least if least >= LEAST else None

    def describe(self):
        """Return ``{what: text}`` for the head of a report."""
        sizes = ", ".join(
            f"{rate / 1e9:.0f} GB/s for {size >> 10} KB"
            for size, rate in self.bandwidth.items()
        )
        return {"bandwidth": sizes, "products": f"{self.rate / 1e9:.0f} GFLOP/s"}
