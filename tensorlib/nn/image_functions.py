"""Padding, resizing and rearranging of images, as functions.

Compositions of the array namespace: elements are picked along one axis at a time.
"""

import math
from operator import index

import tensorlib as tl

__all__ = [
    "channel_shuffle",
    "interpolate",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
]

_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


def pad(input, pad, mode="constant", value=None):
    """Return `input` with elements added at (or cut off) the ends of its last axes.

    `tensorlib.pad` with PyTorch's order: the last axis comes first.

    Parameters
    ----------
    input : Tensor
        Any shape.
    pad : sequence of int
        ``(before, after)`` of the last axis, then of the one before it, and so on;
        negative numbers cut off.
    mode : {"constant", "reflect", "replicate", "circular"}, default "constant"
        What is added; see `tensorlib.pad`.
    value : scalar, optional
        Of the mode "constant"; 0 by default.

    Returns
    -------
    Tensor
        Of the dtype of `input`.

    Raises
    ------
    ShapeError
        If `pad` does not fit the shape.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.functional.pad(tl.ones((1, 2)), (1, -1)).tolist()
    [[0.0, 1.0]]
    """
    try:
        amounts = [index(n) for n in pad]
    except TypeError:
        raise TypeError(f"pad: expected a sequence of ints, got {pad!r}") from None
    if len(amounts) % 2 or len(amounts) > 2 * input.ndim:
        raise tl.ShapeError(
            f"pad: expected a (before, after) pair for at most {input.ndim} axes, got "
            f"{pad!r}"
        )
    widths, kept = [(0, 0)] * input.ndim, [slice(None)] * input.ndim
    for k in range(len(amounts) // 2):
        axis, before, after = input.ndim - 1 - k, amounts[2 * k], amounts[2 * k + 1]
        size = input.shape[axis]
        if size + before + after < 0 or -before > size or -after > size:
            raise tl.ShapeError(f"pad: {pad!r} cuts off more than {input.shape} has")
        widths[axis] = (max(before, 0), max(after, 0))
        kept[axis] = slice(max(-before, 0), size - max(-after, 0))
    if min(amounts, default=0) < 0:
        input = input[tuple(kept)]
    return tl.pad(input, widths, mode=mode, value=0 if value is None else value)


def _sizes(input, size, scale_factor):
    """Return output extents, and the scale factors where they were given."""
    axes = input.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: expected one of size and scale_factor")
    given = size if scale_factor is None else scale_factor
    given = tuple(given) if hasattr(given, "__len__") else (given,) * axes
    if len(given) != axes:
        raise ValueError(
            f"interpolate: expected {axes} sizes or factors for an input of shape "
            f"{input.shape}, got {given}"
        )
    if scale_factor is None:
        outs, factors = tuple(index(n) for n in given), (None,) * axes
    else:
        if not all(0 < f < math.inf for f in given):
            raise ValueError(
                f"interpolate: expected positive scale factors, got {given}"
            )
        outs = tuple(
            math.floor(n * f) for n, f in zip(input.shape[2:], given, strict=True)
        )
        factors = given
    if min(outs) < 1 or max(outs) >= 2**31 or 0 in input.shape[2:]:
        raise tl.ShapeError(
            f"interpolate: expected extents in [1, 2**31), got {input.shape[2:]} to "
            f"{outs}"
        )
    return outs, factors


def _nearest(n, out, factor, exact, device):
    """Return the place that each output index reads."""
    i = tl.arange(out, device=device)
    if factor is None:
        # Integers, so floor((i + shift) n / out) is exact.
        places = (2 * i + int(exact)) * n // (2 * out)
    else:
        places = (i.astype(tl.float64) + (0.5 if exact else 0.0)) / factor
        places = tl.floor(places).astype(tl.int64)
    return tl.minimum(places, n - 1)


def _neighbours(n, out, factor, align_corners, like):
    """Return both places that each output index reads, and the second's weight."""
    i = tl.arange(out, device=like.device).astype(tl.float64)
    if align_corners:
        where = i * ((n - 1) / (out - 1) if out > 1 else 0.0)
    else:
        where = (i + 0.5) * (n / out if factor is None else 1.0 / factor) - 0.5
        where = tl.maximum(where, 0.0)
    low = tl.minimum(tl.floor(where), n - 1.0)
    share = tl.clip(where - low, 0.0, 1.0).astype(like.dtype)
    low = low.astype(tl.int64)
    return low, tl.minimum(low + 1, n - 1), share


def interpolate(
    input, size=None, scale_factor=None, mode="nearest", align_corners=None,
    recompute_scale_factor=None,
):  # fmt: skip
    """Resize sequences, images or volumes.

    Parameters
    ----------
    input : Tensor
        Shape ``(N, C, ...)`` with one to three further axes.
    size : int or tuple of int, optional
        Extents of the result.
    scale_factor : float or tuple of float, optional
        They are ``floor(extent * scale_factor)`` instead.
    mode : str, default "nearest"
        "nearest" reads element ``floor(i n / m)``, "nearest-exact" the one under the
        output element's centre, "area" takes the mean of a window
        (`tensorlib.adaptive_avg_pool2d`); "linear", "bilinear" and "trilinear" weigh
        the two neighbours along each of one, two or three axes.
    align_corners : bool, optional
        Linear modes only: whether first and last elements of input and output lie on
        each other, rather than the borders of their cells (the default).
    recompute_scale_factor : bool, optional
        Whether positions follow from the extents instead of `scale_factor` itself.

    Returns
    -------
    Tensor
        Shape ``(N, C, ...)``.

    Raises
    ------
    ValueError
        If not exactly one of `size` and `scale_factor` is given, or the mode does not
        exist for so many axes.
    ShapeError
        If an extent is 0.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.tensor([[[0.0, 1.0]]])
    >>> tl.nn.functional.interpolate(x, scale_factor=2, mode="linear").tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    axes = input.ndim - 2
    if not 1 <= axes <= 3:
        raise tl.ShapeError(
            f"interpolate: expected (N, C, ...) with one to three further axes, got "
            f"{input.shape}"
        )
    if mode not in ("nearest", "nearest-exact", "area", *_LINEAR):
        raise ValueError(f"interpolate: unknown mode {mode!r}")
    if _LINEAR.get(mode, axes) != axes:
        raise ValueError(f"interpolate: mode {mode!r} does not fit {axes} axes")
    if align_corners is not None and mode not in _LINEAR:
        raise ValueError("interpolate: align_corners is for the linear modes only")
    outs, factors = _sizes(input, size, scale_factor)
    if recompute_scale_factor:
        factors = (None,) * axes
    if mode == "area":
        pools = tl.adaptive_avg_pool1d, tl.adaptive_avg_pool2d, tl.adaptive_avg_pool3d
        return pools[axes - 1](input, outs)
    for axis, (out, factor) in enumerate(zip(outs, factors, strict=True), 2):
        n = input.shape[axis]
        if mode not in _LINEAR:
            exact = mode == "nearest-exact"
            places = _nearest(n, out, factor, exact, input.device)
            input = tl.take(input, places, axis=axis)
            continue
        if n == out and factor in (None, 1):
            continue
        low, high, share = _neighbours(n, out, factor, align_corners, input)
        share = share.reshape((-1, *[1] * (input.ndim - 1 - axis)))
        below = tl.take(input, low, axis=axis) * (1.0 - share)
        input = below + tl.take(input, high, axis=axis) * share
    return input


def _check_factor(op, factor):
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
        raise ValueError(f"{op}: expected a factor >= 1, got {factor!r}")


def pixel_shuffle(input, upscale_factor):
    """Rearrange channels into pixels: ``(..., C r², H, W)`` to ``(..., C, H r, W r)``.

    Parameters
    ----------
    input : Tensor
        Shape ``(..., C r², H, W)``.
    upscale_factor : int
        The factor r.

    Returns
    -------
    Tensor
        Shape ``(..., C, H r, W r)``.

    Raises
    ------
    ShapeError
        If the channels are not divisible by r².
    ValueError
        If r is not positive.

    References
    ----------
    Shi et al., "Real-Time Single Image and Video Super-Resolution", arXiv:1609.05158.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.arange(4).reshape((4, 1, 1))
    >>> tl.nn.functional.pixel_shuffle(x, 2).tolist()
    [[[0, 1], [2, 3]]]
    """
    r = upscale_factor
    _check_factor("pixel_shuffle", r)
    if input.ndim < 3 or input.shape[-3] % (r * r):
        raise tl.ShapeError(
            f"pixel_shuffle: expected (..., C * {r * r}, H, W), got {input.shape}"
        )
    *lead, channels, height, width = input.shape
    x = input.reshape((*lead, channels // (r * r), r, r, height, width))
    k = len(lead)
    x = tl.permute_dims(x, (*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return x.reshape((*lead, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input, downscale_factor):
    """Rearrange pixels into channels: the inverse of `pixel_shuffle`.

    Parameters
    ----------
    input : Tensor
        Shape ``(..., C, H r, W r)``.
    downscale_factor : int
        The factor r.

    Returns
    -------
    Tensor
        Shape ``(..., C r², H, W)``.

    Raises
    ------
    ShapeError
        If the extents are not divisible by r.
    ValueError
        If r is not positive.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.arange(4).reshape((1, 2, 2))
    >>> tl.nn.functional.pixel_unshuffle(x, 2).shape
    (4, 1, 1)
    """
    r = downscale_factor
    _check_factor("pixel_unshuffle", r)
    if input.ndim < 3 or input.shape[-1] % r or input.shape[-2] % r:
        raise tl.ShapeError(
            f"pixel_unshuffle: expected (..., C, H * {r}, W * {r}), got {input.shape}"
        )
    *lead, channels, height, width = input.shape
    x = input.reshape((*lead, channels, height // r, r, width // r, r))
    k = len(lead)
    x = tl.permute_dims(x, (*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return x.reshape((*lead, channels * r * r, height // r, width // r))


def channel_shuffle(input, groups):
    """Interleave groups of channels: channel ``g c + k`` comes from ``k groups + g``.

    Parameters
    ----------
    input : Tensor
        Shape ``(N, C, ...)``.
    groups : int
        Number of groups; it divides C.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Raises
    ------
    ShapeError
        If C is not divisible by `groups`.
    ValueError
        If `groups` is not positive.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.functional.channel_shuffle(tl.arange(4).reshape((1, 4)), 2).tolist()
    [[0, 2, 1, 3]]
    """
    _check_factor("channel_shuffle", groups)
    if input.ndim < 2 or input.shape[1] % groups:
        raise tl.ShapeError(
            f"channel_shuffle: expected (N, C, ...) with C divisible by {groups}, got "
            f"{input.shape}"
        )
    n, channels, *rest = input.shape
    x = input.reshape((n, groups, channels // groups, *rest))
    return x.transpose(1, 2).reshape(input.shape)
