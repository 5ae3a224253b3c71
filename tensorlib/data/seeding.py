"""Random numbers of data loading that do not depend on who loads what when.

A loader gives each batch a Generator of its own, seeded by the pass and the batch's
number. A worker thread makes it current while it loads the batch; random transforms
draw from the current one, so any number of workers gives the same batches.
"""

import threading
from contextlib import contextmanager

import tensorlib as tl

__all__ = ["batch_generator", "batch_seed", "use_generator"]

_current = threading.local()


def batch_generator():
    """Return the generator of the batch being loaded, else the default generator.

    While a loader draws the order of a pass, that is the loader's own generator.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data import batch_generator
    >>> batch_generator() is tl.default_generator
    True
    """
    generator = getattr(_current, "generator", None)
    return tl.default_generator if generator is None else generator


@contextmanager
def use_generator(generator):
    """Make `generator` this thread's current one inside a ``with`` block."""
    before = getattr(_current, "generator", None)
    _current.generator = generator
    try:
        yield generator
    finally:
        _current.generator = before


def batch_seed(pass_seed, number):
    """Return the seed of batch `number` of a pass: the splitmix64 mixing function.

    References
    ----------
    Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
    OOPSLA 2014, figure 17 (constants of its variant 13).
    """
    mask = (1 << 64) - 1
    z = (pass_seed + (number + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1
