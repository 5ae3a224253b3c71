"""detect_anomaly: which op made the first NaN or infinity, and on which line."""

from tensorlib.core.dispatch import check_results

__all__ = ["detect_anomaly"]


class detect_anomaly:  # noqa: N801
    """Raise at the first op that makes NaN or infinity of finite inputs.

    Inside the block every result of the thread is looked at, in the forward and in the
    backward pass, recorded or not. The error names the op, the ranges of its inputs and
    the line of the program that called it; in a backward pass also the line of the
    forward op, as every error there does.

    Parameters
    ----------
    check_nan : bool, default True
        Whether results are looked at; with False the block changes nothing.

    Raises
    ------
    FloatingPointError
        Inside the block, by the op.

    Notes
    -----
    An op that has an infinity or NaN among its inputs is not to blame, and neither is a
    constant: masking by ``-inf`` raises nothing. Looking costs one pass over each
    result, while it is in cache.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([1.0, 0.0], requires_grad=True)
    >>> with tl.autograd.detect_anomaly():
    ...     y = tl.sqrt(x).sum()
    ...     try:
    ...         y.backward()
    ...     except FloatingPointError as error:
    ...         print(str(error).split(";")[0])
    ...         print(error.__notes__[0].split(",")[0])
    divide: expected a finite result of finite inputs, got float32 (2,) in [0.5, ...
    in the backward of sqrt
    """

    def __init__(self, check_nan=True):
        if not isinstance(check_nan, bool):
            raise TypeError(f"detect_anomaly: expected a bool, got {check_nan!r}")
        self._checks = int(check_nan)

    def __enter__(self):
        check_results(self._checks)
        return self

    def __exit__(self, *exc_info):
        check_results(-self._checks)
