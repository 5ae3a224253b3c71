"""References of a few lines: definitions of ops, and the paper's random numbers."""

import itertools

import numpy as np
from scipy import special


def total(function):
    def reference(x, axis=None, keepdims=False):
        kind = np.int64 if x.dtype.kind != "f" else None
        return function(x, axis=axis, keepdims=keepdims, dtype=kind)

    return reference


def as_float(function):
    def reference(x, *args, **kwargs):
        return function(x.astype(np.float64), *args, **kwargs)

    return reference


def variance(function):
    def reference(x, axis=None, keepdims=False, correction=0):
        return function(
            x.astype(np.float64), axis=axis, keepdims=keepdims, ddof=correction
        )

    return reference


def logsumexp(x, axis=None, keepdims=False):
    x = x.astype(np.float64)
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def softmax(x, axis=-1):
    x = x.astype(np.float64)
    e = np.exp(x - x.max(axis=axis, keepdims=True, initial=-50))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=-1):
    x = x.astype(np.float64)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def cross_entropy(z, t, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    z, shape = np.moveaxis(np.atleast_1d(z), min(1, z.ndim - 1), -1), t.shape
    log_p = log_softmax(z).reshape(-1, z.shape[-1])
    t = t.reshape(-1)
    live = t != ignore_index
    picked = log_p[np.arange(t.size), np.where(live, t, 0)]
    loss = -(1 - label_smoothing) * picked - label_smoothing * log_p.mean(axis=-1)
    loss = np.where(live, loss, 0.0)
    if reduction == "none":
        return loss.reshape(shape)
    return loss.sum() if reduction == "sum" else loss.sum() / live.sum()


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    count = 1 if isinstance(shape, int) else len(shape)
    axes = tuple(range(x.ndim - count, x.ndim))
    y = x - x.mean(axis=axes, keepdims=True)
    y = y / np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def gelu_tanh(x):
    x = x.astype(np.float64)
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def silu(x):
    x = x.astype(np.float64)
    return np.where(x == -np.inf, -0.0, x * special.expit(x))


def gelu(x):
    x = x.astype(np.float64)
    return np.where(x == -np.inf, -0.0, x * special.ndtr(x))


def threefry(seed, count):
    """The first `count` 32-bit words of a seed, from the paper's description.

    J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    blocks = -(-count // 4)
    key = [np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32), np.uint32(0),
           np.uint32(0)]  # fmt: skip
    key.append(np.uint32(0x1BD11BDA) ^ key[0] ^ key[1] ^ key[2] ^ key[3])
    x = np.zeros((4, blocks), np.uint32)
    x[0] = np.arange(blocks, dtype=np.uint32)
    turns = [
        (10, 26),
        (11, 21),
        (13, 27),
        (23, 5),
        (6, 20),
        (17, 11),
        (25, 10),
        (18, 20),
    ]
    with np.errstate(over="ignore"):
        x += np.array(key[:4], np.uint32)[:, None]
        for k in range(20):
            a, b = turns[k % 8]
            second, fourth = (1, 3) if k % 2 == 0 else (3, 1)
            for i, j, turn in ((0, second, a), (2, fourth, b)):
                x[i] += x[j]
                x[j] = ((x[j] << np.uint32(turn)) | (x[j] >> np.uint32(32 - turn))) ^ x[
                    i
                ]
            if k % 4 == 3:
                s = k // 4 + 1
                for i in range(4):
                    x[i] += key[(s + i) % 5]
                x[3] += np.uint32(s)
    return x.T.reshape(-1)[:count]


def unit32(seed, shape):
    words = threefry(seed, int(np.prod(shape)))
    return ((words >> 8) * 2.0**-24).reshape(shape)


def unit64(seed, shape):
    return ((words64(seed, int(np.prod(shape))) >> np.uint64(11)) * 2.0**-53).reshape(
        shape
    )


def words64(seed, count):
    words = threefry(seed, 2 * count).astype(np.uint64)
    return words[::2] | (words[1::2] << np.uint64(32))


def normal32(seed, shape):
    size = int(np.prod(shape))
    words = threefry(seed, size + size % 2).astype(np.float64)
    u = (words[::2] // 256 + 1) * 2.0**-24
    angle = 2 * np.pi * words[1::2] * 2.0**-32
    radius = np.sqrt(-2 * np.log(u))
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)[:size].reshape(shape)


def below(words, span):
    return np.array([int(w) * span >> 64 for w in words], dtype=np.int64)


def _joined(path, blank):
    """The labels that a path of classes stands for."""
    kept = [c for k, c in enumerate(path) if k == 0 or c != path[k - 1]]
    return [c for c in kept if c != blank]


def ctc_loss(x, targets, steps, counts, blank=0, reduction="mean", zero_infinity=False):
    """CTC by its definition: a sum over all paths."""
    steps, counts = np.atleast_1d(steps), np.atleast_1d(counts)
    if x.ndim == 2:
        x = x[:, None]
        reduction = "sum" if reduction == "none" else reduction
    losses = []
    for n, (length, count) in enumerate(zip(steps, counts, strict=True)):
        start = counts[:n].sum()
        labels = targets[start : start + count] if targets.ndim == 1 else targets[n]
        total = 0.0
        for path in itertools.product(range(x.shape[2]), repeat=int(length)):
            if _joined(path, blank) == list(labels[:count]):
                total += np.exp(x[np.arange(length), n, path].sum())
        losses.append(-np.log(total) if total or not zero_infinity else 0.0)
    losses = np.array(losses)
    if reduction == "mean":
        return np.mean(losses / np.maximum(counts, 1))
    return losses.sum() if reduction == "sum" else losses
