"""The time of single calls: what half of them take, and what all but a hundredth do.

Libraries take turns in blocks of calls; a block gives one median and one 99th
percentile. As everywhere, a library's calls run untimed before its block.
"""

import gc
from functools import cache
from time import perf_counter

import numpy as np

from bench.libraries import PEERS, installed
from bench.runner import scopes_for
from bench.timing import SETTLE

__all__ = ["percentiles"]

CALLS = (100, 400)  # of a block, at least and at most
BLOCK = 0.1  # seconds
_LOOP = """
def block(count{names}):
    seconds = []
    for _ in range(count):
        start = perf_counter()
        {statement}
        seconds.append(perf_counter() - start)
    return seconds
"""


def _block(statement, names):
    """Compile ``block(count)``, the seconds of each call."""
    arguments = "".join(f", {name}={name}" for name in names)
    scope = {**names, "perf_counter": perf_counter}
    exec(_LOOP.format(names=arguments, statement=statement), scope)
    return scope["block"]


def _counts(block):
    """Calls that settle the machine, and those of a timed block."""
    block(1)
    each = sorted(block(5))[2]
    least, most = CALLS
    return int(SETTLE / each) + 1, max(least, min(most, int(BLOCK / each)))


@cache
def percentiles(case, rounds):
    """Return ``{library: [(median, 99th percentile), ...]}`` in seconds, one a round.

    Raises
    ------
    MismatchError
        If the libraries' results differ.
    """
    scopes, _ = scopes_for(case, [peer for peer in PEERS if installed(peer)])
    blocks = {k: _block(case.statement(k), names) for k, names in scopes.items()}
    counts = {library: _counts(block) for library, block in blocks.items()}
    found = {library: [] for library in blocks}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for library, block in blocks.items():
                before, count = counts[library]
                block(before)
                found[library].append(tuple(np.percentile(block(count), (50, 99))))
    finally:
        gc.enable()
    return found
