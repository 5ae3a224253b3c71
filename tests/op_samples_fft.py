"""Rows of `tl.fft`. References are NumPy's transforms in float64.

Complex arguments and results stand as real arrays with their parts along a last axis.
"""

import numpy as np
from op_rows import FLOATS, Error, Op, call, draw, near

import tensorlib as tl

F = tl.fft
# Up to 60 terms of order one, in another order than the reference's in float64.
ROUNDINGS = near(2e-5, 2e-13)
REASON = "sums of up to 60 products, scaled"
NO_AXIS = Error(lambda: (tl.ones(()),), tl.ShapeError, "axis")
LINES = [((1,), {}), ((5,), {}), ((2, 6), {}), ((3, 4), {"axis": 0}), ((2, 7), {"n": 4}),
         ((2, 3), {"n": 6, "norm": "ortho"}), ((4, 3, 2), {"axis": 1, "norm": "forward"}),
         ((0, 4), {}), ((60,), {})]  # fmt: skip
VOLUMES = [((3, 4), {}), ((2, 3, 5), {}), ((2, 3, 4), {"axes": (0, 2)}),
           ((2, 5, 4), {"s": (4, 7)}), ((3, 4), {"axes": (1, 0), "norm": "ortho"}),
           ((2, 3, 4), {"s": (3, 2), "axes": (0, 1), "norm": "forward"}), ((0, 2, 3), {"axes": (1, 2)})]  # fmt: skip


def _parts(z):
    return np.stack((z.real, z.imag), -1)


def _whole(a):
    return a[..., 0] + 1j * a[..., 1]


def _row(name, samples, *, given="real", gives="complex"):
    ours, theirs = getattr(F, name), getattr(np.fft, name)

    def function(x, **how):
        y = ours(tl.view_as_complex(x) if given == "complex" else x, **how)
        return tl.view_as_real(y) if gives == "complex" else y

    def reference(a, **how):
        if "s" in how and "axes" not in how:
            how = {**how, "axes": tuple(range(-len(how["s"]), 0))}
        y = theirs(_whole(a) if given == "complex" else a, **how)
        return _parts(y) if gives == "complex" else y

    tail = (2,) if given == "complex" else ()

    def calls(dtype, rng):
        # A transform to reals needs two terms, unless it is told its length.
        few = gives == "real" and 2
        return [
            call(draw((*shape, *tail), dtype, rng, -1, 1), **how)
            for shape, how in samples
            if min(shape[-2:]) != 1 or not few or "n" in how
        ]

    errors = (Error(lambda: (tl.ones((2, 0, *tail)),), tl.ShapeError, "at least 1"),)
    return Op(
        f"fft.{name}", function, reference, calls, differentiable=True,
        tolerance=ROUNDINGS, reason=REASON, errors=errors,
    )  # fmt: skip


TRANSFORMS = [
    *(_row(n, LINES, given="complex") for n in ("fft", "ifft")),
    *(_row(n, LINES) for n in ("rfft", "ihfft")),
    *(_row(n, LINES, given="complex", gives="real") for n in ("irfft", "hfft")),
    *(_row(n, VOLUMES, given="complex") for n in ("fftn", "ifftn")),
    _row("rfftn", VOLUMES),
    _row("irfftn", VOLUMES, given="complex", gives="real"),
    *(_row(n, [((3, 4), {}), ((2, 3, 2), {"s": (2, 5)})], given="complex")
      for n in ("fft2", "ifft2")),
    _row("rfft2", [((3, 4), {}), ((2, 3, 2), {"s": (2, 5)})]),
    _row("irfft2", [((3, 4), {}), ((2, 3, 2), {"s": (2, 5)})], given="complex", gives="real"),
]  # fmt: skip


def _shift(name):
    return Op(
        f"fft.{name}", getattr(F, name), getattr(np.fft, name),
        lambda d, r: [call(draw(s, d, r), **k) for s, k in
                      [((5,), {}), ((4, 3), {}), ((4, 3), {"axes": 1}), ((2, 3, 5), {"axes": (0, 2)}),
                       ((0, 2), {})]],
        dtypes=("int32", "bool", *FLOATS), differentiable=True,
        errors=(Error(lambda: (tl.ones(2), 1), TypeError, "positional"),),
    )  # fmt: skip


def _frequencies(name):
    return Op(
        f"fft.{name}",
        lambda x, n, **how: getattr(F, name)(
            n, **how, dtype=tl.asarray(x).dtype, device=tl.asarray(x).device) + 0 * x,
        lambda a, n, **how: getattr(np.fft, name)(n, **how) + 0 * a,
        lambda d, r: [call(np.ones((), d), n, d=step)
                      for n in (1, 2, 7, 8) for step in (1.0, 0.3, -2)],
        tolerance={"float32": (2.0**-24, 0), "float64": (2.0**-51, 0)},
        reason="rounded once; NumPy multiplies by a rounded 1 / (n d)",
        errors=(Error(lambda: (tl.ones(()), 0), ValueError, "n >= 1"),
                Error(lambda: (tl.ones(()), 2.5), TypeError, "int n"),
                Error(lambda: (tl.ones((), dtype="int64"), 2), tl.DTypeError, "real floating")),
    )  # fmt: skip


FOURIER = [
    *TRANSFORMS,
    *map(_shift, ("fftshift", "ifftshift")),
    *map(_frequencies, ("fftfreq", "rfftfreq")),
]
