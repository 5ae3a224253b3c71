"""Transforms of lengths that our kernel has no plan for."""

from tensorlib.core.interop import from_numpy


def pocketfft(x, kind, axes, n, norm):
    """Transform by NumPy's function of the name `kind`."""
    import numpy.fft

    a = x.numpy()
    sizes = [a.shape[d] for d in axes]
    if kind == "irfftn":
        sizes[-1] = n
    with numpy.errstate(all="ignore"):
        found = getattr(numpy.fft, kind)(a, s=sizes, axes=axes, norm=norm)
    return from_numpy(found)
