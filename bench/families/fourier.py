"""Fourier transforms, and the order of their terms."""

from bench.case import Case, Spec

WAVES = {"x": Spec((64, 1024))}
IMAGES = {"x": Spec((8, 64, 64))}
# Of complex arguments, which are made of the real ones.
COMPLEX = ("fft", "ifft", "hfft", "irfft")
VOLUMES = ("fftn", "ifftn", "irfftn", "fft2", "ifft2", "irfft2")
# Sums of up to 4096 products, of single precision on both sides.
TOLERANCE = (1e-4, 1e-3)


def _whole(library, names):
    names["z"] = names["x"] * (0.6 + 0.8j)


def _case(name, operands, argument, **facts):
    call = f"fft.{name}({argument})"
    return Case(
        "fourier", name, f"tl.{call}", f"torch.{call}", f"np.{call}", operands=operands,
        tolerance=TOLERANCE, ops=(f"fft.{name}",), **facts,
    )  # fmt: skip


def cases():
    """Return the rows of this family."""
    return [
        *(_case(n, WAVES, "z", prepare=_whole, quick=n == "fft") for n in COMPLEX),
        *(_case(n, IMAGES, "z", prepare=_whole) for n in VOLUMES),
        *(_case(n, WAVES, "x", quick=n == "rfft") for n in ("rfft", "ihfft")),
        *(_case(n, IMAGES, "x") for n in ("rfftn", "rfft2", "fftshift", "ifftshift")),
        *(_case(n, {}, "1000") for n in ("fftfreq", "rfftfreq")),
    ]
