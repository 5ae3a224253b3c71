"""The CUDA kernels of attention, emulated, against the formula in float64."""

import numpy as np
import pytest
from cuda_emulation import DECLINED, OK, AttentionParams, find_compiler, load

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

# Sums of some hundred products; 16-bit floats round the weights, y and the result.
TOLERANCE = {"float32": 2e-5, "float64": 1e-13, "float16": 4e-3, "bfloat16": 3e-2}


@pytest.fixture(scope="module")
def kernels():
    return load("attention")


def to_dtype(x, dtype):
    """x rounded to a dtype; bfloat16 as bits."""
    if dtype != "bfloat16":
        return x.astype(dtype)
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def to_float64(x):
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return x.astype(np.float64)


def threefry_words(seed, first, count):
    """Words of a 4-byte fill from block `first` on (scalar_random.h)."""
    rotations = [
        (10, 26, 11, 21), (13, 27, 23, 5), (6, 20, 17, 11), (25, 10, 18, 20)
    ]  # fmt: skip
    blocks = first + np.arange((count + 3) // 4, dtype=np.uint64)
    key = [seed & 0xFFFFFFFF, seed >> 32, 0, 0]
    key.append(0x1BD11BDA ^ key[0] ^ key[1])
    key = np.array(key, np.uint32)
    zero = np.zeros(len(blocks), np.uint32)
    low, high = (blocks >> np.uint64(n) for n in (0, 32))
    x = [low.astype(np.uint32), high.astype(np.uint32), zero, zero]
    x = [word + key[i] for i, word in enumerate(x)]
    for s in range(10):
        r0, r1, s0, s1 = (np.uint32(r) for r in rotations[s % 4])
        for left, right, p, q in ((1, 3, r0, r1), (3, 1, s0, s1)):
            x[0] = x[0] + x[left]
            x[left] = (x[left] << p | x[left] >> np.uint32(32) - p) ^ x[0]
            x[2] = x[2] + x[right]
            x[right] = (x[right] << q | x[right] >> np.uint32(32) - q) ^ x[2]
        if s % 2:
            turn = s // 2 + 1
            x = [word + key[(i + turn) % 5] for i, word in enumerate(x)]
            x[3] = x[3] + np.uint32(turn)
    return np.stack(x, 1).reshape(-1)[:count]


def kept_weights(params, shape):
    words = threefry_words(params.seed, params.offset, int(np.prod(shape)))
    keep = words < np.uint64((1.0 - params.dropout) * 2.0**32)
    return keep.reshape(shape) / (1.0 - params.dropout)


def reference(q, k, v, mask, params, g=None):
    """y and, with a cotangent, the gradients of q, k, v and the mask."""
    s = q @ np.swapaxes(k, -1, -2) * params.scale
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if params.causal:
        s = np.where(np.tril(np.ones(s.shape[-2:], bool)), s, -np.inf)
    top = s.max(-1, keepdims=True, initial=-np.inf)
    p = np.where(np.isinf(top), 0.0, np.exp(s - np.where(np.isinf(top), 0.0, top)))
    total = p.sum(-1, keepdims=True)
    p = p / np.where(total == 0, 1.0, total)
    keep = kept_weights(params, p.shape) if params.dropout else np.ones_like(p)
    y = (p * keep) @ v
    inverse = np.where(np.isinf(top), 0.0, 1 / np.where(total == 0, 1.0, total))
    stats = np.concatenate([top, inverse], -1)
    if g is None:
        return y, stats
    ds = p * ((g @ np.swapaxes(v, -1, -2)) * keep - (g * y).sum(-1, keepdims=True))
    dq = ds @ k * params.scale
    dk = np.swapaxes(ds, -1, -2) @ q * params.scale
    dv = np.swapaxes(p * keep, -1, -2) @ g
    return dq, dk, dv, ds


def close(found, wanted, dtype):
    found = to_float64(found)
    scale = max(1.0, np.abs(np.where(np.isfinite(wanted), wanted, 0)).max(initial=0))
    np.testing.assert_allclose(
        found / scale, wanted / scale, atol=TOLERANCE[dtype], rtol=0
    )


def check(kernels, q, k, v, mask=None, dtype="float32", slopes=False, **settings):
    """Forward and gradient of one case; operands of `dtype` already."""
    settings.setdefault("scale", max(q.shape[-1], 1) ** -0.5)
    params = AttentionParams(**settings)
    lead, (queries, keys, width) = q.shape[:-2], (q.shape[-2], *v.shape[-2:])
    wide = np.float64 if dtype == "float64" else np.float32
    op = "attention_dropout" if params.dropout else "attention"
    kind = {"bfloat16": np.uint16}.get(dtype, dtype)
    y = np.full((*lead, queries, width), 77, kind)
    stats = np.full((*lead, queries, 2), 77, wide)
    exact = [to_float64(x) for x in (q, k, v)]
    exact_mask = mask if mask is None or mask.dtype == bool else to_float64(mask)
    status = kernels.call(op, [y, stats], [q, k, v, mask], params, dtype)
    if status == DECLINED:
        return False
    wanted, wanted_stats = reference(*exact, exact_mask, params)
    close(y, wanted, dtype)
    close(stats[..., 1], wanted_stats[..., 1], dtype)
    finite = np.isfinite(wanted_stats[..., 0])
    assert np.array_equal(finite, np.isfinite(stats[..., 0]))
    close(stats[..., 0][finite], wanted_stats[..., 0][finite], wide.__name__)
    g = to_dtype(np.random.default_rng(5).standard_normal(y.shape), dtype)
    grads = [
        np.full(shape, 77, kind)
        for shape in (
            q.shape, (*lead, keys, q.shape[-1]), (*lead, keys, width),
            (*lead, queries, keys),
        )
    ]  # fmt: skip
    if not slopes:
        grads[3] = None
    status = kernels.call(
        op + "_grad", grads, [g, q, k, v, mask, y, stats], params, dtype
    )
    assert status == OK
    wanted = reference(*exact, exact_mask, params, to_float64(g))
    for found, exactly in zip(grads, wanted, strict=True):
        if found is not None:
            close(found, exactly, dtype)
    return True


def draw(dtype, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [to_dtype(rng.standard_normal(shape), dtype) for shape in shapes]


SIZES = [  # queries, keys, depth, width
    (1, 1, 8, 8), (5, 7, 16, 8), (64, 64, 64, 64), (70, 130, 64, 64),
    (130, 70, 24, 40), (129, 65, 128, 128),
]  # fmt: skip
ODD = [(5, 7, 3, 5), (3, 4, 0, 2), (66, 3, 33, 65), (10, 12, 200, 129)]
ALL = ["float32", "float64", "float16", "bfloat16"]


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dtype", ALL)
def test_attention_equals_the_formula(kernels, dtype, sizes, causal):
    n, s, e, w = sizes
    q, k, v = draw(dtype, (2, n, e), (2, s, e), (2, s, w))
    assert check(kernels, q, k, v, dtype=dtype, causal=causal)


@pytest.mark.parametrize("sizes", ODD)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_odd_sizes_equal_the_formula(kernels, dtype, sizes):
    n, s, e, w = sizes
    q, k, v = draw(dtype, (n, e), (s, e), (s, w))
    assert check(kernels, q, k, v, dtype=dtype, scale=0.3)


@pytest.mark.parametrize("sizes", ODD)
def test_odd_sizes_of_halves_are_declined(kernels, sizes):
    n, s, e, w = sizes
    q, k, v = draw("bfloat16", (n, e), (s, e), (s, w))
    assert not check(kernels, q, k, v, dtype="bfloat16", scale=0.3)


@pytest.mark.parametrize("dtype", ALL)
def test_mask_of_bool_and_rows_that_see_nothing(kernels, dtype):
    q, k, v = draw(dtype, (2, 3, 70, 16), (2, 3, 67, 16), (2, 3, 67, 16))
    mask = np.random.default_rng(1).random((2, 1, 70, 67)) < 0.4
    mask[:, :, 3] = mask[1, :, 69] = False
    mask[:, :, 5, :64] = False
    assert check(kernels, q, k, v, np.broadcast_to(mask, (2, 3, 70, 67)), dtype=dtype)


@pytest.mark.parametrize("dtype", ALL)
def test_mask_of_addends_has_a_gradient(kernels, dtype):
    q, k, v, mask = draw(dtype, (3, 66, 8), (3, 70, 8), (3, 70, 16), (66, 70))
    mask = np.broadcast_to(mask, (3, 66, 70))
    assert check(kernels, q, k, v, mask, dtype=dtype, slopes=True)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("keys", [68, 67, 65])
@pytest.mark.parametrize("dtype", ALL)
def test_dropout_drops_what_bernoulli_does(kernels, dtype, keys, causal):
    q, k, v = draw(dtype, (2, 66, 16), (2, keys, 16), (2, keys, 8))
    settings = {"dropout": 0.3, "seed": 0x123456789ABC, "offset": 2**32 - 3}
    assert check(kernels, q, k, v, dtype=dtype, causal=causal, **settings)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("scale", [-0.7, 0.0, 30.0])
def test_any_scale(kernels, dtype, scale):
    q, k, v = draw(dtype, (40, 16), (70, 16), (70, 16))
    if scale > 1:  # scores of some hundreds, as differences beyond the exponential
        q, k = (to_dtype(np.abs(to_float64(x)), dtype) for x in (q, k))
    assert check(kernels, q, k, v, dtype=dtype, scale=scale)


@pytest.mark.parametrize("dtype", ALL)
def test_operands_of_any_rows_and_leading_strides(kernels, dtype):
    """Heads within rows, as (batch, length, heads, depth) has them, and shared keys."""
    base, keys = draw(dtype, (2, 70, 3, 48), (2, 1, 33, 16))
    q, v = base[..., :16].swapaxes(1, 2), base[:, :33, :, 32:].swapaxes(1, 2)
    k = np.broadcast_to(keys, (2, 3, 33, 16))
    assert check(kernels, q, k, v, dtype=dtype)


@pytest.mark.parametrize("dtype", ALL)
def test_no_keys_give_zeros(kernels, dtype):
    q, k, v = draw(dtype, (2, 3, 8), (2, 0, 8), (2, 0, 8))
    found = check(kernels, q, k, v, dtype=dtype)
    assert found == (dtype in ("float32", "float64"))


@pytest.mark.parametrize("dtype", ALL)
def test_no_queries_write_nothing_but_zeros(kernels, dtype):
    q, k, v = draw(dtype, (2, 0, 8), (2, 3, 8), (2, 3, 8))
    assert check(kernels, q, k, v, dtype=dtype)


def test_a_strided_last_axis_is_declined(kernels):
    q, k, v = draw("float32", (4, 16), (5, 8), (5, 8))
    assert not check(kernels, q[:, ::2], k, v)
