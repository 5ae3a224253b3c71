"""Whether two libraries computed the same thing."""

import numpy as np

__all__ = ["MismatchError", "bytes_of", "require_close"]


class MismatchError(Exception):
    """Two libraries gave different results: the row would compare nothing."""


def _arrays(value):
    """Flatten a result to NumPy arrays."""
    if isinstance(value, (tuple, list)):
        return [array for item in value for array in _arrays(item)]
    if hasattr(value, "detach"):
        value = value.detach()
    if hasattr(value, "resolve_conj"):  # PyTorch's, which may only be marked so
        value = value.resolve_conj()
    return [np.asarray(value)]


def bytes_of(value):
    """Return the bytes of a result's elements."""
    return sum(array.nbytes for array in _arrays(value))


def _require_close(ours, theirs, tolerance, peer):
    if ours.shape != theirs.shape:
        raise MismatchError(f"shape {ours.shape}, {peer} has {theirs.shape}")
    relative, absolute = tolerance
    if ours.dtype.kind not in "fc" or theirs.dtype.kind not in "fc":
        relative = absolute = 0.0
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    if not np.allclose(ours, theirs, rtol=relative, atol=absolute, equal_nan=True):
        with np.errstate(invalid="ignore"):
            worst = np.nanmax(np.abs(ours - theirs))
        raise MismatchError(f"differs from {peer}'s by up to {worst:.3g}")


def require_close(ours, theirs, tolerance, peer):
    """Raise MismatchError unless the results agree.

    Parameters
    ----------
    ours, theirs : tensor, array, number, or sequence of these
        Integer and bool results have to be equal.
    tolerance : tuple of float
        Relative and absolute.
    peer : str
        For the message.
    """
    ours, theirs = _arrays(ours), _arrays(theirs)
    if len(ours) != len(theirs):
        raise MismatchError(f"{len(ours)} results, {peer} has {len(theirs)}")
    for a, b in zip(ours, theirs, strict=True):
        _require_close(a, b, tolerance, peer)
