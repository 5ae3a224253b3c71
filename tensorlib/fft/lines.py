"""Transforms along one axis."""

from tensorlib.core.naming import own_errors
from tensorlib.fft.axes import along_axis
from tensorlib.fft.transform import TRANSPOSED, at_once
from tensorlib.ops.arguments import tensor_of
from tensorlib.ops.complex import conj


def _transposed(op, norm):
    if norm not in TRANSPOSED:
        raise ValueError(
            f"{op}: expected norm 'backward', 'ortho' or 'forward', got {norm!r}"
        )
    return TRANSPOSED[norm]


@own_errors
def fft(x, /, *, n=None, axis=-1, norm="backward"):
    """Return the discrete Fourier transform along an axis.

    ``y[k] = sum_j x[j] exp(-2 pi i j k / n)``, for k = 0, …, n - 1.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    n : int, optional
        `x` is cut, or extended by zeros, to this length.
    axis : int, default -1
    norm : {"backward", "ortho", "forward"}
        'backward' has no factor, 'ortho' ``1 / sqrt(n)``, 'forward' ``1 / n``.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If the axis does not exist, or `n` is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.fft(tl.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j], dtype=complex64)
    """
    return along_axis("fft", "fftn", x, n, axis, norm)


@own_errors
def ifft(x, /, *, n=None, axis=-1, norm="backward"):
    """Return the inverse discrete Fourier transform along an axis.

    ``y[j] = 1/n sum_k x[k] exp(2 pi i j k / n)``, so that ``ifft(fft(x))`` is `x`.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    n : int, optional
        `x` is cut, or extended by zeros, to this length.
    axis : int, default -1
    norm : {"backward", "ortho", "forward"}
        'backward' has the factor ``1 / n``, 'ortho' ``1 / sqrt(n)``, 'forward'
        none.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If the axis does not exist, or `n` is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.ifft(tl.tensor([4.0, 0.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j], dtype=complex64)
    """
    return along_axis("ifft", "ifftn", x, n, axis, norm)


@own_errors
def rfft(x, /, *, n=None, axis=-1, norm="backward"):
    """Return the transform of real numbers: the first half of `fft`.

    The terms k = 0, …, n // 2; the others are their conjugates.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    n : int, optional
        `x` is cut, or extended by zeros, to this length.
    axis : int, default -1
    norm : {"backward", "ortho", "forward"}
        'backward' has no factor, 'ortho' ``1 / sqrt(n)``, 'forward' ``1 / n``.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If the axis does not exist, or `n` is less than 1.
    DTypeError
        If `x` is complex.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.rfft(tl.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor([10.+0.j, -2.+2.j, -2.+0.j], dtype=complex64)
    """
    return along_axis("rfft", "rfftn", x, n, axis, norm)


@own_errors
def irfft(x, /, *, n=None, axis=-1, norm="backward"):
    """Return the inverse of `rfft`, real numbers.

    The terms given are n // 2 + 1 of n, of which the others are the conjugates; the
    imaginary parts of those that would be their own conjugates are ignored.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    n : int, optional
        The length of the result, ``2 * (x.shape[axis] - 1)`` by default; give it where
        it is odd.
    axis : int, default -1
    norm : {"backward", "ortho", "forward"}
        'backward' has the factor ``1 / n``, 'ortho' ``1 / sqrt(n)``, 'forward'
        none.

    Returns
    -------
    Tensor of float32 or float64

    Raises
    ------
    ShapeError
        If the axis does not exist, or `n` is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.irfft(tl.tensor([10 + 0j, -2 + 2j, -2 + 0j]))
    tensor([1., 2., 3., 4.])
    """
    return along_axis("irfft", "irfftn", x, n, axis, norm)


@own_errors
def hfft(x, /, *, n=None, axis=-1, norm="backward"):
    """Return the real spectrum of a signal with Hermitian symmetry.

    The elements given are n // 2 + 1 of n, of which the others are the conjugates.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    n : int, optional
        The length of the result, ``2 * (x.shape[axis] - 1)`` by default; give it where
        it is odd.
    axis : int, default -1
    norm : {"backward", "ortho", "forward"}
        'backward' has no factor, 'ortho' ``1 / sqrt(n)``, 'forward' ``1 / n``.

    Returns
    -------
    Tensor of float32 or float64

    Raises
    ------
    ShapeError
        If the axis does not exist, or `n` is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.hfft(tl.tensor([1 + 0j, 2 + 0j, 3 + 0j]))
    tensor([ 8., -2.,  0., -2.])
    """
    x = conj(tensor_of("hfft", x))
    return along_axis("hfft", "irfftn", x, n, axis, _transposed("hfft", norm))


@own_errors
def ihfft(x, /, *, n=None, axis=-1, norm="backward"):
    """Return the inverse of `hfft`: half a signal with Hermitian symmetry.

    The elements 0, …, n // 2; the others are their conjugates.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    n : int, optional
        `x` is cut, or extended by zeros, to this length.
    axis : int, default -1
    norm : {"backward", "ortho", "forward"}
        'backward' has the factor ``1 / n``, 'ortho' ``1 / sqrt(n)``, 'forward'
        none.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If the axis does not exist, or `n` is less than 1.
    DTypeError
        If `x` is complex.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.ihfft(tl.tensor([8.0, -2.0, 0.0, -2.0]))
    tensor([1.+0.j, 2.+0.j, 3.+0.j], dtype=complex64)
    """
    norm = _transposed("ihfft", norm)
    found = at_once(x, "ihfftn", axis, norm, n) if type(axis) is int else None
    if found is not None:
        return found
    return conj(along_axis("ihfft", "rfftn", x, n, axis, norm))
