"""Random numbers: known answers, streams and states, moments, fairness."""

import copy
import math

import numpy as np
import pytest
from op_references import threefry

import tensorlib as tl

# Random123's kat_vectors: threefry4x32 20, counter and key zero.
KNOWN = [0x9C6CA96A, 0xE17EAE66, 0xFC10ECD4, 0x5256A7D8]


def test_reference_gives_the_known_answer():
    assert threefry(0, 4).tolist() == KNOWN


def test_uniform_gives_the_known_answer():
    found = tl.rand(4, generator=tl.Generator(0))
    assert found.tolist() == [(w >> 8) * 2.0**-24 for w in KNOWN]


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63 + 5, -1])
def test_uniform_follows_the_seed(seed):
    found = tl.rand(10_000, generator=tl.Generator(seed))
    expected = (threefry(seed % 2**64, 10_000) >> 8) * 2.0**-24
    np.testing.assert_array_equal(found.numpy(), expected.astype(np.float32))


def test_stream_continues_where_it_stopped():
    g = tl.Generator(3)
    pieces = tl.concat([tl.rand(8, generator=g), tl.rand(4, generator=g)])
    assert pieces.tolist() == tl.rand(12, generator=tl.Generator(3)).tolist()


def test_state_can_be_saved():
    g = tl.Generator(3)
    tl.rand(7, generator=g)
    state = g.get_state()
    first = tl.randn(5, generator=g).tolist()
    assert tl.randn(5, generator=tl.Generator(0).set_state(state)).tolist() == first
    assert (
        tl.randn(5, generator=copy.deepcopy(tl.Generator(0).set_state(state))).tolist()
        == first
    )


@pytest.mark.parametrize(
    "state",
    [{}, None, {"seed": 1}, {"seed": -1, "position": 0}, {"seed": "a", "position": 0}],
)
def test_bad_state_raises(state):
    with pytest.raises(ValueError, match="set_state"):
        tl.Generator(0).set_state(state)


@pytest.mark.parametrize("seed", ["a", 1.5, None, True, [1]])
def test_bad_seed_raises(seed):
    with pytest.raises(TypeError, match="manual_seed"):
        tl.manual_seed(seed)


def test_manual_seed_restarts_the_default_stream():
    tl.manual_seed(12)
    first = [tl.rand(3).tolist(), tl.randn(3).tolist(), tl.randperm(9).tolist()]
    tl.manual_seed(12)
    assert [tl.rand(3).tolist(), tl.randn(3).tolist(), tl.randperm(9).tolist()] == first


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_has_its_moments(dtype):
    x = tl.rand(1_000_000, dtype=dtype, generator=tl.Generator(1)).numpy().astype("f8")
    assert x.min() >= 0
    assert x.max() < 1
    # Standard errors: sqrt(1/12/n) and about sqrt(1/180/n); five of them.
    assert abs(x.mean() - 0.5) < 5 * math.sqrt(1 / 12e6)
    assert abs(x.var() - 1 / 12) < 5 * math.sqrt(1 / 180e6)
    counts = np.histogram(x, 100, (0, 1))[0]
    assert ((counts - 1e4) ** 2 / 1e4).sum() < 99 + 5 * math.sqrt(2 * 99)


@pytest.mark.parametrize("dtype", [tl.float16, tl.bfloat16], ids=str)
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 5.0), (-0.1, 0.1)])
def test_uniform_halves_are_rounded_float32_below_the_bound(dtype, low, high):
    x = tl.uniform(low, high, (200_000,), dtype=dtype, generator=tl.Generator(1))
    wide = tl.uniform(low, high, (200_000,), generator=tl.Generator(1))
    assert x.dtype == dtype
    found, drawn = (np.asarray(tl.astype(v, tl.float64)) for v in (x, wide))
    assert found.max() < high
    assert abs(found - drawn).max() <= float(tl.finfo(dtype).eps) * max(-low, high)
    near = found < high - float(tl.finfo(dtype).eps) * 2 * high
    rounded = np.asarray(tl.astype(tl.astype(wide, dtype), tl.float64))
    np.testing.assert_array_equal(found[near], rounded[near])


def test_uniform_halves_beyond_their_range_raise():
    with pytest.raises(ValueError, match=r"uniform: expected bounds within .*65504"):
        tl.uniform(-1e6, 1e6, (3,), dtype=tl.float16)


@pytest.mark.parametrize("dtype", [tl.float16, tl.bfloat16], ids=str)
def test_uniform_halves_of_one_value_are_that_value(dtype):
    assert tl.uniform(0.5, 0.5, (3,), dtype=dtype).tolist() == [0.5] * 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_has_its_moments_and_tails(dtype):
    x = tl.randn(1_000_000, dtype=dtype, generator=tl.Generator(2)).numpy().astype("f8")
    n = x.size
    assert abs(x.mean()) < 5 / math.sqrt(n)
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs((x**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / n)
    for bound in (1, 2, 3, 4):
        p = math.erfc(bound / math.sqrt(2))
        assert abs((abs(x) > bound).mean() - p) < 6 * math.sqrt(p / n)
    assert abs(np.corrcoef(x[::2], x[1::2])[0, 1]) < 5 / math.sqrt(n / 2)


def test_randint_is_uniform_and_bounded():
    x = tl.randint(-3, 7, (1_000_000,), generator=tl.Generator(3)).numpy()
    counts = np.bincount(x + 3, minlength=10)
    assert len(counts) == 10
    assert ((counts - 1e5) ** 2 / 1e5).sum() < 9 + 6 * math.sqrt(18)


def test_randint_takes_the_widest_ranges():
    x = tl.randint(-(2**63), 2**63 - 1, (1000,), generator=tl.Generator(3))
    assert len(set(x.tolist())) == 1000
    assert int(x.min()) < -(2**60)
    assert int(x.max()) > 2**60


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_bernoulli_has_its_mean(p):
    x = tl.bernoulli(p, (1_000_000,), generator=tl.Generator(4))
    assert abs(x.mean().item() - p) <= 5 * math.sqrt(p * (1 - p) / 1e6) + 1e-9


def test_bernoulli_of_a_tensor_draws_each_element():
    p = tl.tensor([0.0, 1.0, 0.25]).broadcast_to((100_000, 3))
    means = tl.bernoulli(p, generator=tl.Generator(4)).mean(axis=0).tolist()
    assert means[:2] == [0.0, 1.0]
    assert abs(means[2] - 0.25) < 0.01


def test_randperm_is_a_permutation_and_fair():
    assert sorted(tl.randperm(1000).tolist()) == list(range(1000))
    g = tl.Generator(6)
    seen = {}
    for _ in range(6000):
        key = tuple(tl.randperm(3, generator=g).tolist())
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 6
    assert sum((n - 1000) ** 2 / 1000 for n in seen.values()) < 5 + 6 * math.sqrt(10)
