"""Memory: what is counted, the limit, shapes that no memory holds."""

import itertools
import random
import threading

import pytest

import tensorlib as tl

MEGABYTE = 1 << 18  # elements of float32


@pytest.fixture
def emptied():
    """Neither cached blocks nor older peaks."""
    tl.empty_cache()
    tl.reset_peak_memory_stats()


def resident():
    """Bytes of this process in memory, as Linux counts them."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def addresses(tensors):
    return [x.__array_interface__["data"][0] for x in tensors]


def test_memory_stats_count_storages_and_bytes():
    before = tl.memory_stats()
    x = tl.zeros(1000)
    y = x[5:]
    after = tl.memory_stats()
    assert after["live"] - before["live"] == 1
    assert 4000 <= after["allocated"] - before["allocated"] <= 5120
    assert after["reserved"] >= after["allocated"]
    assert after["peak_allocated"] >= after["allocated"]
    del x, y
    assert tl.memory_stats()["live"] == before["live"]
    assert tl.memory_stats()["allocated"] == before["allocated"]


def test_peak_can_be_reset():
    x = tl.zeros(1_000_000)
    del x
    tl.reset_peak_memory_stats()
    stats = tl.memory_stats()
    assert stats["peak_allocated"] == stats["allocated"]
    assert stats["peak_reserved"] == stats["reserved"]


def test_empty_cache_returns_what_is_unused():
    x = tl.zeros(1_000_000)
    del x
    tl.empty_cache()
    stats = tl.memory_stats()
    assert stats["reserved"] == stats["allocated"]


def test_blocks_left_over_make_room_for_those_in_use():
    """A full cache of one size must not send every result of another to the system."""
    tl.empty_cache()
    tl.reset_peak_memory_stats()
    old = [tl.zeros(1 << 22) for _ in range(4)]  # 64 MiB, and then nobody's
    del old
    for _ in range(3):
        tl.zeros(3 << 22)  # 48 MiB, made and freed again and again
    before = tl.memory_stats()["system_calls"]
    for _ in range(3):
        tl.zeros(3 << 22)
    assert tl.memory_stats()["system_calls"] == before


def test_sizes_that_grow_use_the_same_memory(emptied):
    before = tl.memory_stats()["reserved"]
    for n in range(1, 40):
        tl.zeros(n * 50_000)
    grown = tl.memory_stats()["peak_reserved"] - before
    assert grown <= 1.05 * 39 * 200_000


def test_free_neighbours_serve_a_larger_request(emptied):
    small = [tl.zeros(MEGABYTE) for _ in range(12)]
    for order in (slice(0, None, 2), slice(None)):  # every other one, then the rest
        del small[order]
    before = tl.memory_stats()
    x = tl.zeros(12 * MEGABYTE)
    after = tl.memory_stats()
    assert x.size == 12 * MEGABYTE
    assert after["reserved"] == before["reserved"]
    assert after["system_calls"] == before["system_calls"]


def test_smallest_gap_that_holds_a_request_is_taken(emptied):
    tensors = [tl.zeros(n * MEGABYTE) for n in (5, 1, 3, 1, 4, 1)]
    places = addresses(tensors)
    del tensors[::2]
    assert addresses([tl.zeros(3 * MEGABYTE)]) == places[2:3]
    assert addresses([tl.zeros(4 * MEGABYTE)]) == places[4:5]


def test_empty_cache_returns_the_gaps_between_blocks(emptied):
    tensors = [tl.full(4 * MEGABYTE, float(i)) for i in range(9)]
    del tensors[1::2]
    before = resident()
    tl.empty_cache()
    stats = tl.memory_stats()
    assert stats["reserved"] == stats["allocated"]
    assert before - resident() > 12 << 20  # of the 16 MiB that were freed
    assert [x.min().item() for x in tensors] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert [x.max().item() for x in tensors] == [0.0, 2.0, 4.0, 6.0, 8.0]
    again = tl.zeros(4 * MEGABYTE)
    assert tl.memory_stats()["reserved"] >= stats["reserved"] + again.nbytes


def test_cache_beyond_what_was_live_is_returned(emptied):
    x = tl.zeros(100 * MEGABYTE)
    del x
    tl.reset_peak_memory_stats()
    tl.zeros(2 * MEGABYTE)
    stats = tl.memory_stats()
    cached = stats["reserved"] - stats["allocated"]
    assert cached <= max(stats["peak_allocated"], 64 << 20)


def churn(seed, steps=2000):
    """Make and free tensors of all sizes; each must keep its numbers."""
    rng = random.Random(seed)
    live = []
    for i in range(steps):
        if live and (rng.random() < 0.5 or len(live) > 40):
            x, value = live.pop(rng.randrange(len(live)))
            assert x.min().item() == x.max().item() == value
        else:
            live.append((tl.full(int(2 ** rng.uniform(0, 19)), float(i)), float(i)))
        if i % 400 == 399:
            tl.empty_cache()
    for x, value in live:
        assert x.min().item() == x.max().item() == value


def test_blocks_of_all_sizes_keep_their_numbers(emptied):
    before = tl.memory_stats()
    churn(1)
    tl.empty_cache()
    after = tl.memory_stats()
    assert after["allocated"] == before["allocated"]
    assert after["reserved"] == after["allocated"]


def test_blocks_of_all_sizes_in_threads_at_once_keep_their_numbers(emptied):
    failures = []

    def run(seed):
        try:
            churn(seed, 500)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_large_blocks_of_a_power_of_two_differ_in_low_bits(emptied):
    low = [a % 4096 for a in addresses([tl.zeros(4 * MEGABYTE) for _ in range(4)])]
    assert all(a % 64 == 0 for a in low)
    assert all(abs(a - b) >= 256 for a, b in itertools.combinations(low, 2))


def test_limit_below_what_is_held_lets_cached_memory_serve(emptied):
    x = tl.zeros(4 * MEGABYTE)
    del x
    held = tl.memory_stats()["reserved"]
    tl.set_memory_limit(1 << 20)
    try:
        assert tl.zeros(3 * MEGABYTE).size == 3 * MEGABYTE
        assert tl.memory_stats()["reserved"] == held
        with pytest.raises(MemoryError):
            tl.zeros(5 * MEGABYTE)
    finally:
        tl.set_memory_limit(None)


def test_memory_limit_raises_with_the_bytes():
    tl.empty_cache()
    limit = tl.memory_stats()["reserved"] + (1 << 20)
    tl.set_memory_limit(limit)
    with pytest.raises(
        MemoryError, match=rf"8000000 bytes.*in use.*limit {limit}.*free"
    ):
        tl.zeros(2_000_000)
    x = tl.zeros(1000)
    tl.set_memory_limit(None)
    assert tl.zeros(2_000_000).size == 2_000_000
    assert x.size == 1000


@pytest.mark.parametrize("limit", [-1, 1.5, "a", True])
def test_bad_memory_limit_raises(limit):
    with pytest.raises(ValueError, match="set_memory_limit"):
        tl.set_memory_limit(limit)


@pytest.mark.parametrize("shape", [(2**60,), (2**31, 2**31), (2**62, 4), (2**44,)])
def test_huge_shape_raises_memory_error(shape):
    for make in (tl.zeros, tl.empty, tl.rand, lambda s: tl.full(s, 1)):
        with pytest.raises(MemoryError, match=r"bytes|memory"):
            make(shape)


def test_huge_broadcast_is_a_view_but_not_a_copy():
    x = tl.ones(1).broadcast_to((2**50,))
    assert x.size == 2**50
    with pytest.raises(MemoryError):
        x.copy()
    with pytest.raises(MemoryError):
        x + 1


def test_empty_with_a_huge_axis_is_fine():
    assert tl.zeros((2**62, 0)).size == 0
    assert tl.zeros((0, 2**62, 2**62)).tolist() == []
