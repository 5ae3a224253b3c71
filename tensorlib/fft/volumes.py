"""Transforms over several axes."""

from tensorlib.core.naming import own_errors
from tensorlib.fft.axes import along_axes


@own_errors
def fftn(x, /, *, s=None, axes=None, norm="backward"):
    """Return the discrete Fourier transform over axes.

    `fft` along each of them.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    s : sequence of int, optional
        Each axis is cut, or extended by zeros, to its size; -1 keeps it.
    axes : sequence of int, optional
        The last ``len(s)`` axes by default, or all where `s` is not given.
    norm : {"backward", "ortho", "forward"}
        With n the product of the sizes, 'backward' has no factor, 'ortho'
        ``1 / sqrt(n)``, 'forward' ``1 / n``.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice, there are not as many sizes as
        axes, or a size is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.fftn(tl.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[10.+0.j, -2.+0.j],
            [-4.+0.j,  0.+0.j]], dtype=complex64)
    """
    return along_axes("fftn", "fftn", x, s, axes, norm)


@own_errors
def ifftn(x, /, *, s=None, axes=None, norm="backward"):
    """Return the inverse discrete Fourier transform over axes.

    `ifft` along each of them.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    s : sequence of int, optional
        Each axis is cut, or extended by zeros, to its size; -1 keeps it.
    axes : sequence of int, optional
        The last ``len(s)`` axes by default, or all where `s` is not given.
    norm : {"backward", "ortho", "forward"}
        With n the product of the sizes, 'backward' has the factor ``1 / n``,
        'ortho' ``1 / sqrt(n)``, 'forward' none.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice, there are not as many sizes as
        axes, or a size is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.ifftn(tl.tensor([[4.0, 0.0], [0.0, 0.0]]))
    tensor([[1.+0.j, 1.+0.j],
            [1.+0.j, 1.+0.j]], dtype=complex64)
    """
    return along_axes("ifftn", "ifftn", x, s, axes, norm)


@own_errors
def rfftn(x, /, *, s=None, axes=None, norm="backward"):
    """Return the transform of real numbers over axes.

    `rfft` along the last of them, then `fft` along the others.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    s : sequence of int, optional
        Each axis is cut, or extended by zeros, to its size; -1 keeps it.
    axes : sequence of int, optional
        The last ``len(s)`` axes by default, or all where `s` is not given.
    norm : {"backward", "ortho", "forward"}
        With n the product of the sizes, 'backward' has no factor, 'ortho'
        ``1 / sqrt(n)``, 'forward' ``1 / n``.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice, there are not as many sizes as
        axes, or a size is less than 1.
    DTypeError
        If `x` is complex.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.rfftn(tl.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[10.+0.j, -2.+0.j],
            [-4.+0.j,  0.+0.j]], dtype=complex64)
    """
    return along_axes("rfftn", "rfftn", x, s, axes, norm)


@own_errors
def irfftn(x, /, *, s=None, axes=None, norm="backward"):
    """Return the inverse of `rfftn`, real numbers.

    `ifft` along all axes but the last, then `irfft` along that one.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    s : sequence of int, optional
        Sizes of the result along the axes; -1 stands for the default, which is the
        length, and ``2 * (length - 1)`` for the last.
    axes : sequence of int, optional
        The last ``len(s)`` axes by default, or all where `s` is not given.
    norm : {"backward", "ortho", "forward"}
        With n the product of the sizes, 'backward' has the factor ``1 / n``,
        'ortho' ``1 / sqrt(n)``, 'forward' none.

    Returns
    -------
    Tensor of float32 or float64

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice, there are not as many sizes as
        axes, or a size is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.irfftn(tl.tensor([[10 + 0j, -2 + 0j], [-4 + 0j, 0j]]))
    tensor([[1., 2.],
            [3., 4.]])
    """
    return along_axes("irfftn", "irfftn", x, s, axes, norm)


@own_errors
def fft2(x, /, *, s=None, axes=(-2, -1), norm="backward"):
    """Return the discrete Fourier transform over two axes.

    It is `fftn` over two axes.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    s : sequence of int, optional
        Each axis is cut, or extended by zeros, to its size; -1 keeps it.
    axes : sequence of int, default (-2, -1)
        Which two axes.
    norm : {"backward", "ortho", "forward"}
        With n the product of the sizes, 'backward' has no factor, 'ortho'
        ``1 / sqrt(n)``, 'forward' ``1 / n``.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice, there are not as many sizes as
        axes, or a size is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.fft2(tl.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[10.+0.j, -2.+0.j],
            [-4.+0.j,  0.+0.j]], dtype=complex64)
    """
    return along_axes("fft2", "fftn", x, s, axes, norm)


@own_errors
def ifft2(x, /, *, s=None, axes=(-2, -1), norm="backward"):
    """Return the inverse discrete Fourier transform over two axes.

    It is `ifftn` over two axes.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    s : sequence of int, optional
        Each axis is cut, or extended by zeros, to its size; -1 keeps it.
    axes : sequence of int, default (-2, -1)
        Which two axes.
    norm : {"backward", "ortho", "forward"}
        With n the product of the sizes, 'backward' has the factor ``1 / n``,
        'ortho' ``1 / sqrt(n)``, 'forward' none.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice, there are not as many sizes as
        axes, or a size is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.ifft2(tl.tensor([[4.0, 0.0], [0.0, 0.0]]))
    tensor([[1.+0.j, 1.+0.j],
            [1.+0.j, 1.+0.j]], dtype=complex64)
    """
    return along_axes("ifft2", "ifftn", x, s, axes, norm)


@own_errors
def rfft2(x, /, *, s=None, axes=(-2, -1), norm="backward"):
    """Return the transform of real numbers over two axes.

    It is `rfftn` over two axes.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    s : sequence of int, optional
        Each axis is cut, or extended by zeros, to its size; -1 keeps it.
    axes : sequence of int, default (-2, -1)
        Which two axes.
    norm : {"backward", "ortho", "forward"}
        With n the product of the sizes, 'backward' has no factor, 'ortho'
        ``1 / sqrt(n)``, 'forward' ``1 / n``.

    Returns
    -------
    Tensor of complex64 or complex128

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice, there are not as many sizes as
        axes, or a size is less than 1.
    DTypeError
        If `x` is complex.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.rfft2(tl.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[10.+0.j, -2.+0.j],
            [-4.+0.j,  0.+0.j]], dtype=complex64)
    """
    return along_axes("rfft2", "rfftn", x, s, axes, norm)


@own_errors
def irfft2(x, /, *, s=None, axes=(-2, -1), norm="backward"):
    """Return the inverse of `rfft2`, real numbers.

    It is `irfftn` over two axes.

    Parameters
    ----------
    x : Tensor
        Half precision, integers and bool are transformed as float32.
    s : sequence of int, optional
        Sizes of the result along the axes; -1 stands for the default, which is the
        length, and ``2 * (length - 1)`` for the last.
    axes : sequence of int, default (-2, -1)
        Which two axes.
    norm : {"backward", "ortho", "forward"}
        With n the product of the sizes, 'backward' has the factor ``1 / n``,
        'ortho' ``1 / sqrt(n)``, 'forward' none.

    Returns
    -------
    Tensor of float32 or float64

    Raises
    ------
    ShapeError
        If an axis does not exist or is given twice, there are not as many sizes as
        axes, or a size is less than 1.
    ValueError
        If `norm` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.fft.irfft2(tl.tensor([[10 + 0j, -2 + 0j], [-4 + 0j, 0j]]))
    tensor([[1., 2.],
            [3., 4.]])
    """
    return along_axes("irfft2", "irfftn", x, s, axes, norm)
