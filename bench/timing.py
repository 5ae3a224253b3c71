"""Interleaved timing of several contestants in one process.

Each round times every contestant once, so that drift of the machine meets all alike;
the ratio is the median over rounds of the quotient inside a round. Before a sample the
statement runs untimed: it wakes its library's sleeping threads, and lets the spinning
ones of the other library go to sleep.
"""

import gc
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from time import perf_counter, thread_time

__all__ = [
    "CLOCKS",
    "QUICK",
    "Budget",
    "Stat",
    "compile_loop",
    "interleave",
    "summarize",
]

_TEMPLATE = """
def loop(_count{names}):
    _start = _clock()
    for _ in _repeat(None, _count):
        {statement}
    return _clock() - _start
"""
# Seconds a contestant runs untimed before its sample: longer than another library's
# idle threads spin (libgomp's some 6 ms), or they would take a core from it.
SETTLE = 12e-3
SLOW = 30e-3  # a statement this long settles by itself
MOST_ROUNDS = 41
# CPU time leaves out what other processes take; it is right for one thread only.
CLOCKS = {"wall": perf_counter, "cpu": thread_time}


@dataclass(frozen=True)
class Budget:
    """How long to measure a row.

    Attributes
    ----------
    sample : float
        Least seconds of a sample; fast statements are repeated to reach it.
    row : float
        Seconds for all rounds of a row, about.
    rounds : int
        Least number of rounds.
    slow_rounds : int
        The same where a round takes longer than a fifth of a second.
    processes : int
        Rounds of rows that start processes.
    """

    sample: float = 1e-3
    row: float = 0.45
    rounds: int = 7
    slow_rounds: int = 3
    processes: int = 7


QUICK = Budget(row=0.25, rounds=5, processes=3)
SLOW_ROUND = 0.2


@dataclass(frozen=True)
class Stat:
    """Median and quartiles of samples, in the row's unit."""

    median: float
    low: float
    high: float

    @property
    def spread(self):
        """The interquartile range as a fraction of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def summarize(samples):
    """Return the Stat of a non-empty list."""
    ordered = sorted(samples)
    last = len(ordered) - 1
    return Stat(
        median(ordered), ordered[round(last * 0.25)], ordered[round(last * 0.75)]
    )


def compile_loop(statement, names, clock=perf_counter):
    """Compile ``loop(count)``, which runs the statement count times, timed.

    The names become local variables, as cheap to read as in a user's function.
    """
    arguments = "".join(f", {name}={name}" for name in names)
    scope = {**names, "_clock": clock, "_repeat": repeat}
    source = _TEMPLATE.format(names=arguments, statement=statement)
    exec(compile(source, f"<{statement}>", "exec"), scope)
    return scope["loop"]


def _count_for(loop, least):
    """How many repetitions take `least` seconds, and seconds of one."""
    count = 1
    while True:
        elapsed = loop(count)
        if elapsed >= least * 0.5 or count >= 1 << 24:
            break
        count = max(count * 2, min(count * 20, int(count * least / (elapsed + 1e-9))))
    each = elapsed / count
    return max(1, round(least / each)), each


def _settle(loop, each):
    if each < SLOW:
        loop(max(1, int(SETTLE / each)))


def interleave(loops, budget):
    """Time loops in turn.

    Parameters
    ----------
    loops : dict of str to callable
        ``loop(count)`` returns the seconds of count repetitions.
    budget : Budget

    Returns
    -------
    dict of str to list of float
        Seconds of one repetition, a sample a round; same length for all.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        counts, cost = {}, 0.0
        for library, loop in loops.items():
            loop(1)
            _settle(loop, loop(1))
            counts[library] = _count_for(loop, budget.sample)
            count, each = counts[library]
            cost += count * each + (SETTLE if each < SLOW else 0.0)
        least = budget.rounds if cost < SLOW_ROUND else budget.slow_rounds
        rounds = max(least, min(MOST_ROUNDS, int(budget.row / cost)))
        samples = {library: [] for library in loops}
        for _ in range(rounds):
            for library, loop in loops.items():
                count, each = counts[library]
                _settle(loop, each)
                samples[library].append(loop(count) / count)
        return samples
    finally:
        if enabled:
            gc.enable()
