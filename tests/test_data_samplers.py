"""Samplers: which samples in which order."""

from collections import Counter

import pytest

import tensorlib as tl
from tensorlib import data


def test_random_sampler_is_a_permutation_fixed_by_its_generator():
    orders = [
        list(data.RandomSampler(range(20), generator=tl.Generator(3))) for _ in range(2)
    ]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(20))
    assert orders[0] != list(range(20))


def test_random_sampler_draws_a_new_order_each_pass():
    sampler = data.RandomSampler(range(20), generator=tl.Generator(3))
    assert list(sampler) != list(sampler)


def test_random_sampler_more_than_the_data_repeats_permutations():
    sampler = data.RandomSampler(range(4), num_samples=10, generator=tl.Generator(0))
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 10
    assert set(Counter(drawn[:8]).values()) == {2}


def test_random_sampler_with_replacement_stays_in_range():
    sampler = data.RandomSampler(range(3), replacement=True, num_samples=50)
    assert set(sampler) <= {0, 1, 2}
    with pytest.raises(ValueError, match="num_samples > 0"):
        data.RandomSampler(range(3), num_samples=0)


def test_batch_sampler_groups_and_drops():
    assert list(data.BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert len(data.BatchSampler(range(5), 2, True)) == 2
    assert len(data.BatchSampler(range(5), 2, False)) == 3
    for bad in (0, 1.5, True):
        with pytest.raises(ValueError, match="batch_size"):
            data.BatchSampler(range(5), bad, False)


@pytest.mark.parametrize("size", [9, 10])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_distributed_shares_cover_the_samples(size, drop_last, shuffle):
    shares = [
        data.DistributedSampler(range(size), 4, rank, shuffle, drop_last=drop_last)
        for rank in range(4)
    ]
    drawn = [list(share) for share in shares]
    length = size // 4 if drop_last else -(-size // 4)
    assert [len(share) for share in shares] == [len(d) for d in drawn] == [length] * 4
    counts = Counter(index for share in drawn for index in share)
    if drop_last:
        assert set(counts.values()) == {1}
    else:
        assert set(counts) == set(range(size))
        assert sum(counts.values()) == 4 * length


def test_distributed_in_order_equals_pytorchs():
    torch = pytest.importorskip("torch")
    for size, count in ((10, 4), (2, 5), (8, 2)):
        for drop_last in (False, True):
            for rank in range(count):
                options = {"shuffle": False, "drop_last": drop_last}
                peer = torch.utils.data.DistributedSampler
                expected = list(peer(range(size), count, rank, **options))
                found = data.DistributedSampler(range(size), count, rank, **options)
                assert list(found) == expected


def test_distributed_order_is_fixed_by_seed_and_epoch():
    sampler = data.DistributedSampler(range(30), 2, 0, seed=5)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    again = data.DistributedSampler(range(30), 2, 0, seed=5)
    again.load_state_dict(sampler.state_dict())
    assert list(again) == list(sampler)


@pytest.mark.parametrize(("count", "rank"), [(2, 2), (2, -1), (0, 0), (2, None)])
def test_distributed_wrong_rank_raises(count, rank):
    with pytest.raises(ValueError, match="DistributedSampler: expected"):
        data.DistributedSampler(range(4), count, rank)


def test_weighted_frequencies_follow_the_weights():
    weights = [0.0, 1.0, 3.0, 0.0, 4.0, 0.0]
    sampler = data.WeightedRandomSampler(weights, 8000, generator=tl.Generator(0))
    counts = Counter(sampler)
    assert set(counts) == {1, 2, 4}
    for index in counts:
        share = weights[index] / 8
        # Five standard deviations of a binomial share of 8000 draws.
        assert (
            abs(counts[index] / 8000 - share) < 5 * (share * (1 - share) / 8000) ** 0.5
        )


def test_weighted_without_replacement_draws_each_once_heavy_ones_first():
    weights = [1.0, 0.0, 1000.0, 1.0]
    first = Counter()
    generator = tl.Generator(0)
    for _ in range(50):
        sampler = data.WeightedRandomSampler(weights, 3, False, generator)
        drawn = list(sampler)
        assert sorted(drawn) == [0, 2, 3]
        first[drawn[0]] += 1
    assert first[2] >= 47  # each other comes first with probability 0.002


@pytest.mark.parametrize(
    ("weights", "count", "replacement", "text"),
    [
        ([1.0, -1.0], 1, True, r"weights\[1\] = -1"),
        ([1.0, float("nan")], 1, True, r"weights\[1\] = nan"),
        ([float("inf")], 1, True, r"weights\[0\] = inf"),
        ([0.0, 0.0], 1, True, "0 of 2 weights are positive"),
        ([], 1, True, "0 of 0 weights"),
        ([1.0, 0.0], 2, False, "without replacement: 1 of 2"),
        ([1.0], 0, True, "num_samples > 0"),
    ],
)
def test_weighted_wrong_weights_raise(weights, count, replacement, text):
    with pytest.raises(ValueError, match=text):
        data.WeightedRandomSampler(weights, count, replacement)


def test_subset_random_is_a_permutation_of_the_indices():
    sampler = data.SubsetRandomSampler(range(0, 40, 2), generator=tl.Generator(0))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(0, 40, 2))
    assert first != second
    assert list(data.SubsetRandomSampler([])) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda g: data.RandomSampler(range(9), generator=g),
        lambda g: data.SubsetRandomSampler(range(9), g),
        lambda g: data.WeightedRandomSampler([1.0] * 9, 9, generator=g),
        lambda g: data.BatchSampler(
            data.RandomSampler(range(9), generator=g), 2, False
        ),
    ],
)
def test_sampler_state_brings_back_its_own_generator(make):
    sampler, other = make(tl.Generator(1)), make(tl.Generator(2))
    list(sampler)
    other.load_state_dict(sampler.state_dict())
    assert list(other) == list(sampler)
    with pytest.raises(ValueError, match="saved with a generator"):
        make(None).load_state_dict(sampler.state_dict())
