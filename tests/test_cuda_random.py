"""The CUDA kernels of random fills give the CPU's numbers, on the emulator."""

import numpy as np
import pytest
from cuda_emulation import RandomParams, find_compiler, load

import tensorlib as tl

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

SIZES = [0, 1, 2, 3, 4, 5, 255, 1026]
SEED, POSITION = 0x123456789ABCDEF, (1 << 32) - 3


@pytest.fixture(scope="module")
def kernels():
    return load("random")


def generator():
    return tl.Generator(0).set_state({"seed": SEED, "position": POSITION})


def filled(kernels, op, n, dtype, low=0.0, high=0.0, integers=(0, 0), offset=0):
    """A fill, behind `offset` elements: not aligned."""
    out = np.zeros(n + offset, dtype)
    params = RandomParams(SEED, POSITION, low, high, *integers)
    kernels.call(op, out[offset:], params=params, dtype=dtype)
    return out[offset:]


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_uniform_is_the_cpus(kernels, dtype, n, offset):
    expected = tl.uniform(-2, 3.7, (n,), dtype=dtype, generator=generator()).numpy()
    found = filled(kernels, "random_uniform", n, dtype, -2, 3.7, offset=offset)
    # Equal where products are fused into sums on both, as on a GPU, or on neither.
    assert np.allclose(found, expected, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_normal_is_the_cpus(kernels, dtype, n):
    expected = tl.normal(0.5, 3, (n,), dtype=dtype, generator=generator()).numpy()
    found = filled(kernels, "random_normal", n, dtype, 0.5, 3)
    unit = 4 * np.finfo(dtype).eps
    assert np.allclose(found, expected, rtol=unit, atol=unit)


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]
)
@pytest.mark.parametrize("n", SIZES)
def test_integers_are_the_cpus(kernels, dtype, n):
    low = 0 if dtype[0] == "u" else -100
    expected = tl.randint(low, 121, (n,), dtype=dtype, generator=generator()).numpy()
    found = filled(kernels, "random_integers", n, dtype, integers=(low, 121), offset=1)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "float64"])
def test_bernoulli_is_the_cpus(kernels, dtype, p):
    for n in SIZES:
        expected = tl.bernoulli(p, (n,), dtype=dtype, generator=generator()).numpy()
        found = filled(kernels, "random_bernoulli", n, dtype, p)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("p", [1e-300, 0.3, 1 - 1e-10])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dropout_is_the_cpus(kernels, dtype, p, offset):
    for n in SIZES:
        x = np.random.default_rng(n).standard_normal(n + offset).astype(dtype)[offset:]
        expected = tl.dropout(tl.tensor(x), p, generator=generator()).numpy()
        out = np.zeros(n + offset, dtype)[offset:]
        params = RandomParams(SEED, POSITION, 1 - p, 1 / (1 - p), 0, 0)
        kernels.call("dropout", out, [x], params=params, dtype=dtype)
        assert np.array_equal(out, expected)


def test_dropout_of_bfloat16_rounds_once(kernels):
    values = np.random.default_rng(0).standard_normal(1026).astype(np.float32)
    x = (values.view(np.uint32) >> 16).astype(np.uint16)
    wide = (x.astype(np.uint32) << 16).view(np.float32)
    expected = tl.dropout(tl.tensor(wide), 0.3, generator=generator())
    out = np.zeros_like(x)
    params = RandomParams(SEED, POSITION, 1 - 0.3, 1 / (1 - 0.3), 0, 0)
    kernels.call("dropout", out, [x], params=params, dtype="bfloat16")
    rounded = expected.astype("bfloat16").astype("float32").numpy()
    assert np.array_equal((out.astype(np.uint32) << 16).view(np.float32), rounded)


def test_raw_words_are_those_of_integers(kernels):
    found = filled(kernels, "random_raw", 9, "int64")
    other = filled(kernels, "random_integers", 9, "int64", integers=(0, 1 << 62))
    assert np.array_equal(found.view(np.uint64) >> np.uint64(2), other.view(np.uint64))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 1000, 5000, 30000])
def test_permutation_is_the_cpus(kernels, n):
    expected = tl.randperm(n, generator=generator()).numpy()
    assert np.array_equal(filled(kernels, "random_permutation", n, "int64"), expected)
