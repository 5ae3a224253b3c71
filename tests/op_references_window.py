"""Convolution, pooling and norms of channels in a few lines of NumPy each."""

import itertools

import numpy as np


def _axes(value, count):
    return (value,) * count if isinstance(value, int) else tuple(value)


def channels_first(x, layout, count):
    """The array as (N, C, ...), and a function that undoes it for a result."""
    batched = x.ndim == count + 2
    last = layout is not None and layout.endswith("C")
    x = x if batched else x[None]
    x = np.moveaxis(x, -1, 1) if last else x

    def undo(y):
        y = np.moveaxis(y, 1, -1) if last else y
        return y if batched else y[0]

    return x, undo


def conv(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1, *, layout=None):
    count = w.ndim - 2
    stride, dilation = _axes(stride, count), _axes(dilation, count)
    x, undo = channels_first(x, layout, count)
    reach = [d * (k - 1) for k, d in zip(w.shape[2:], dilation, strict=True)]
    if padding == "same":
        sides = [(r // 2, r - r // 2) for r in reach]
    else:
        padding = 0 if padding == "valid" else padding
        sides = [(p, p) for p in _axes(padding, count)]
    x = np.pad(x, [(0, 0), (0, 0), *sides])
    outs = [
        (n - r - 1) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *outs))
    per, made = w.shape[1], w.shape[0] // groups
    for g in range(groups):
        of = slice(g * made, (g + 1) * made)
        for tap in itertools.product(*map(range, w.shape[2:])):
            picked = tuple(
                slice(t * d, t * d + s * (o - 1) + 1, s)
                for t, d, s, o in zip(tap, dilation, stride, outs, strict=True)
            )
            part = x[(slice(None), slice(g * per, (g + 1) * per), *picked)]
            y[:, of] += np.einsum("nc...,oc->no...", part, w[(of, slice(None), *tap)])
    if bias is not None:
        y += bias.reshape(-1, *[1] * count)
    return undo(y)


def conv_transpose(
    x, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1,
    *, layout=None,
):  # fmt: skip
    count = w.ndim - 2
    stride, dilation = _axes(stride, count), _axes(dilation, count)
    padding, extra = _axes(padding, count), _axes(output_padding, count)
    x, undo = channels_first(x, layout, count)
    full = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(
            x.shape[2:], stride, dilation, w.shape[2:], extra, strict=True
        )
    ]
    per, made = w.shape[0] // groups, w.shape[1]
    y = np.zeros((x.shape[0], made * groups, *full))
    for g in range(groups):
        of = slice(g * per, (g + 1) * per)
        for tap in itertools.product(*map(range, w.shape[2:])):
            at = tuple(
                slice(t * d, t * d + s * (n - 1) + 1, s)
                for t, d, s, n in zip(tap, dilation, stride, x.shape[2:], strict=True)
            )
            y[(slice(None), slice(g * made, (g + 1) * made), *at)] += np.einsum(
                "nc...,co->no...", x[:, of], w[(of, slice(None), *tap)]
            )
    y = y[(..., *[slice(p, n - p) for p, n in zip(padding, full, strict=True)])]
    if bias is not None:
        y = y + bias.reshape(-1, *[1] * count)
    return undo(y)


def _windows(n, k, stride, padding, dilation, ceil_mode):
    """Places read by each window along an axis, and its extent with the padding."""
    room = n + 2 * padding - dilation * (k - 1) - 1
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= n + padding:
        count -= 1
    found = []
    for i in range(count):
        start = i * stride - padding
        places = [start + t * dilation for t in range(k)]
        padded = min(start + k, n + padding) - start
        found.append(([p for p in places if 0 <= p < n], padded))
    return found


def _adaptive(n, wanted):
    wanted = n if wanted is None else wanted
    return [
        (list(range(i * n // wanted, -(-(i + 1) * n // wanted))), 0)
        for i in range(wanted)
    ]


def _pool(x, windows, join):
    """Windows of each axis joined by a function of (N, C, places) and their sizes."""
    y = np.empty((*x.shape[:2], *map(len, windows)))
    for at in itertools.product(*[range(len(w)) for w in windows]):
        chosen = [w[i] for w, i in zip(windows, at, strict=True)]
        part = x[(slice(None), slice(None), *np.ix_(*[places for places, _ in chosen]))]
        flat = part.reshape(*x.shape[:2], int(np.prod(part.shape[2:])))
        y[(slice(None), slice(None), *at)] = join(
            flat, chosen, int(np.prod([size for _, size in chosen]))
        )
    return y


def _even(x, count, kernel, stride, padding, dilation, ceil_mode):
    kernel = _axes(kernel, count)
    stride = kernel if stride is None else _axes(stride, count)
    return [
        _windows(*a, ceil_mode)
        for a in zip(
            x.shape[2:],
            kernel,
            stride,
            _axes(padding, count),
            _axes(dilation, count),
            strict=True,
        )
    ]


def _max_join(shape):
    def join(flat, chosen, padded):
        return flat.max(-1)

    def place(flat, chosen, padded):
        grid = np.ravel_multi_index(np.ix_(*[p for p, _ in chosen]), shape).reshape(-1)
        return grid[flat.argmax(-1)]

    return join, place


def max_pool(count):
    def reference(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False,
                  return_indices=False, *, layout=None):  # fmt: skip
        x, undo = channels_first(x, layout, count)
        windows = _even(x, count, kernel, stride, padding, dilation, ceil_mode)
        return _largest(x, windows, undo, return_indices)

    return reference


def _largest(x, windows, undo, return_indices):
    join, place = _max_join(x.shape[2:])
    y = undo(_pool(x, windows, join))
    if not return_indices:
        return y
    return y, undo(_pool(x, windows, place).astype(np.int64))


def avg_pool(count):
    def reference(
        x, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
        divisor_override=None, *, layout=None,
    ):  # fmt: skip
        def join(flat, chosen, padded):
            divisor = padded if count_include_pad else flat.shape[-1]
            return flat.sum(-1) / (divisor_override or divisor)

        x, undo = channels_first(x, layout, count)
        return undo(
            _pool(x, _even(x, count, kernel, stride, padding, 1, ceil_mode), join)
        )

    return reference


def adaptive_max_pool(count):
    def reference(x, wanted, return_indices=False, *, layout=None):
        x, undo = channels_first(x, layout, count)
        wanted = _axes(wanted, count)
        windows = [_adaptive(n, w) for n, w in zip(x.shape[2:], wanted, strict=True)]
        return _largest(x, windows, undo, return_indices)

    return reference


def adaptive_avg_pool(count):
    def reference(x, wanted, *, layout=None):
        x, undo = channels_first(x, layout, count)
        wanted = _axes(wanted, count)
        windows = [_adaptive(n, w) for n, w in zip(x.shape[2:], wanted, strict=True)]
        return undo(_pool(x, windows, lambda flat, chosen, padded: flat.mean(-1)))

    return reference


def unfold(x, kernel, dilation=1, padding=0, stride=1):
    kernel, dilation, padding, stride = (
        _axes(v, 2) for v in (kernel, dilation, padding, stride)
    )
    x, undo = channels_first(x, None, 2)
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    outs = [
        (n - d * (k - 1) - 1) // s + 1
        for n, d, k, s in zip(x.shape[2:], dilation, kernel, stride, strict=True)
    ]
    taps = [
        x[:, :, i * dilation[0] :, j * dilation[1] :][:, :, :: stride[0], :: stride[1]][
            :, :, : outs[0], : outs[1]
        ]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    n, c = x.shape[:2]
    columns = np.stack(taps, axis=2)
    return undo(columns.reshape(n, c * kernel[0] * kernel[1], outs[0] * outs[1]))


def fold(x, size, kernel, dilation=1, padding=0, stride=1):
    """The transpose of `unfold`, by its matrix."""
    size = _axes(size, 2)
    channels = x.shape[-2] // int(np.prod(_axes(kernel, 2)))
    pixels = channels * size[0] * size[1]
    basis = np.eye(pixels).reshape(pixels, channels, *size)
    matrix = unfold(basis, kernel, dilation, padding, stride).reshape(pixels, -1)
    rows = x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])
    return (rows @ matrix.T).reshape(*x.shape[:-2], channels, *size)


def _normalized(x, axes, eps):
    mean = x.mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + eps)


def _affine(x, weight, bias):
    along = (-1, *[1] * (x.ndim - 2))
    x = x if weight is None else x * weight.reshape(along)
    return x if bias is None else x + bias.reshape(along)


def batch_norm(x, mean=None, var=None, weight=None, bias=None, training=False,
               momentum=0.1, eps=1e-5):  # fmt: skip
    along = (-1, *[1] * (x.ndim - 2))
    if training:
        y = _normalized(x, (0, *range(2, x.ndim)), eps)
    else:
        y = (x - mean.reshape(along)) / np.sqrt(var.reshape(along) + eps)
    return _affine(y, weight, bias)


def instance_norm(x, mean=None, var=None, weight=None, bias=None, own=True,
                  momentum=0.1, eps=1e-5):  # fmt: skip
    if not own:
        return batch_norm(x, mean, var, weight, bias, eps=eps)
    return _affine(_normalized(x, tuple(range(2, x.ndim)), eps), weight, bias)


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    split = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    y = _normalized(split, tuple(range(2, split.ndim)), eps).reshape(x.shape)
    return _affine(y, weight, bias)


def rms_norm(x, shape, weight=None, eps=None):
    shape = (shape,) if isinstance(shape, int) else shape
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    eps = np.finfo(x.dtype).eps if eps is None else eps
    y = x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + eps)
    return y if weight is None else y * weight
