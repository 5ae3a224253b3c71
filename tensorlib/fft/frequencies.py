"""The frequencies that the terms of a spectrum stand for, and their order."""

from tensorlib.core.dtype import dtype as dtype_of
from tensorlib.core.errors import DTypeError
from tensorlib.core.naming import own_errors
from tensorlib.ops.arguments import axes_of, int_of, tensor_of
from tensorlib.ops.creation import arange
from tensorlib.ops.elementwise import astype
from tensorlib.ops.joining import concat, rolled


def _checked(op, n, dtype):
    n = int_of(op, "n", n)
    if n < 1:
        raise ValueError(f"{op}: expected n >= 1, got {n}")
    dtype = dtype_of("float32" if dtype is None else dtype)
    if not dtype.is_floating_point:
        raise DTypeError(f"{op}: expected a real floating dtype, got {dtype}")
    return n, dtype


@own_errors
def fftfreq(n, /, *, d=1.0, dtype=None, device=None):
    """Return the frequency of each term of `fft`: ``[0, 1, …, -2, -1] / (n d)``.

    Parameters
    ----------
    n : int
        How many samples are transformed.
    d : float, default 1.0
        The time between samples; frequencies are in cycles per its unit.
    dtype : DType, default float32
    device : Device or str, optional

    Returns
    -------
    Tensor of shape (n,)
        Computed in float64 and rounded once.

    Raises
    ------
    ValueError
        If `n` is less than 1.
    DTypeError
        If `dtype` is not real and floating.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.fftfreq(4, d=0.5)
    tensor([ 0. ,  0.5, -1. , -0.5])
    """
    n, dtype = _checked("fftfreq", n, dtype)
    half = (n + 1) // 2
    ordered = concat(
        (arange(0, half, device=device), arange(-(n // 2), 0, device=device))
    )
    return astype(astype(ordered, "float64") / (n * d), dtype, copy=False)


@own_errors
def rfftfreq(n, /, *, d=1.0, dtype=None, device=None):
    """Return the frequency of each term of `rfft`: ``[0, 1, …, n // 2] / (n d)``.

    Parameters
    ----------
    n : int
        How many samples are transformed.
    d : float, default 1.0
        The time between samples; frequencies are in cycles per its unit.
    dtype : DType, default float32
    device : Device or str, optional

    Returns
    -------
    Tensor of shape (n // 2 + 1,)
        Computed in float64 and rounded once.

    Raises
    ------
    ValueError
        If `n` is less than 1.
    DTypeError
        If `dtype` is not real and floating.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.rfftfreq(4, d=0.5)
    tensor([0. , 0.5, 1. ])
    """
    n, dtype = _checked("rfftfreq", n, dtype)
    ordered = astype(arange(0, n // 2 + 1, device=device), "float64")
    return astype(ordered / (n * d), dtype, copy=False)


def _shifted(op, x, axes, direction):
    x = tensor_of(op, x)
    axes = range(x.ndim) if axes is None else axes_of(op, axes, x.ndim)
    shape = x.shape
    # The first term goes to the middle, or from there to the front.
    return rolled(x, {d: direction * (shape[d] // 2) for d in axes})


@own_errors
def fftshift(x, /, *, axes=None):
    """Move the zero frequency from the front to the middle of the axes.

    Parameters
    ----------
    x : Tensor
    axes : int or sequence of int, optional
        All axes by default.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.fftshift(tl.fft.fftfreq(5, d=0.2))
    tensor([-2., -1.,  0.,  1.,  2.])
    """
    return _shifted("fftshift", x, axes, 1)


@own_errors
def ifftshift(x, /, *, axes=None):
    """Move the zero frequency from the middle to the front of the axes.

    Parameters
    ----------
    x : Tensor
    axes : int or sequence of int, optional
        All axes by default.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.ifftshift(tl.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]))
    tensor([ 0.,  1.,  2., -2., -1.])
    """
    return _shifted("ifftshift", x, axes, -1)
