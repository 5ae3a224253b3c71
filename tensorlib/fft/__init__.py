"""Discrete Fourier transforms: the Array API's fft extension, and NumPy's 2-D names.

A kernel of ours computes them, NumPy's pocketfft those of lengths with large primes and
of real lines of odd length, in the precision of the argument. They have derivatives of
any order, forward and reverse, and run under `vmap`.
"""

from tensorlib.fft.frequencies import fftfreq, fftshift, ifftshift, rfftfreq
from tensorlib.fft.lines import fft, hfft, ifft, ihfft, irfft, rfft
from tensorlib.fft.volumes import (
    fft2,
    fftn,
    ifft2,
    ifftn,
    irfft2,
    irfftn,
    rfft2,
    rfftn,
)

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]
