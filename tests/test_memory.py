"""Memory: what is counted, the limit, shapes that no memory holds."""

import pytest

import tensorlib as tl


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
