"""Floating-point numbers at which functions are measured."""

import numpy as np

PI_2 = np.pi / 2


def bits_of(dtype, count, rng):
    """Floats with random bits, but for infinities and NaN."""
    kind = np.uint32 if dtype == "float32" else np.uint64
    x = rng.integers(0, np.iinfo(kind).max, count, kind, endpoint=True).view(dtype)
    return np.where(np.isfinite(x), x, np.asarray(0.5, dtype))


def specials(dtype):
    facts = np.finfo(dtype)
    powers = 2.0 ** np.arange(-30, 31)
    turns = PI_2 * np.arange(1, 60)
    near = [0.5, 0.625, 1.0, 2.0, 87.0, 88.72, 103.97, 708.0, 709.78, 745.13, 1e5, 1e6]
    with np.errstate(over="ignore"):
        x = np.concatenate([powers, 1 + powers[:30], 1 - powers[:30], turns, near])
        x = x.astype(dtype)
    ends = [0, facts.smallest_subnormal, facts.smallest_normal, facts.max, np.inf]
    x = np.concatenate([x, np.asarray(ends, dtype)])
    with np.errstate(over="ignore", under="ignore"):
        inf = np.asarray(np.inf, dtype)
        x = np.concatenate([x, np.nextafter(x, inf), np.nextafter(x, -inf)])
    return np.concatenate([x, -x, np.asarray([np.nan], dtype)])
