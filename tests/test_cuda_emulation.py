"""The emulator of CUDA itself: barriers, shuffles, guards, order; memory.cu on it."""

import ctypes

import numpy as np
import pytest
from cuda_emulation import (
    DECLINED,
    OK,
    ROOT,
    FaultError,
    Host,
    KernelError,
    find_compiler,
    load,
)

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")


class Statistics(ctypes.Structure):
    """tl_cuda_statistics."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "allocated", "peak_allocated", "reserved", "peak_reserved", "live",
            "allocations", "system_calls", "limit",
        )
    ]  # fmt: skip


@pytest.fixture(scope="module")
def kernels():
    return load(str(ROOT / "tests" / "cuda_emulation.cu"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_block_reduce_of_rows_equals_numpy(kernels, dtype):
    x = np.arange(3 * 1000, dtype=dtype).reshape(3, 1000) % 17
    out = np.empty(3, dtype)
    assert kernels.call("row_sum", out, [x]) == OK
    assert np.array_equal(out, x.sum(1))


@pytest.mark.parametrize("n", [1, 31, 64, 1000, 1024])
def test_barrier_orders_shared_memory(kernels, n):
    x = np.arange(2 * n, dtype=np.float32)
    out = np.empty_like(x)
    kernels.call("reverse", out, [x])
    assert np.array_equal(out.reshape(2, n), x.reshape(2, n)[:, ::-1])


def test_missing_barrier_is_a_race(kernels):
    x = np.arange(128, dtype=np.float32)
    with pytest.raises(KernelError, match="race"):
        kernels.call("reverse_racing", np.empty_like(x), [x])


def test_shuffles_and_ballots_exchange_lanes(kernels):
    x = np.arange(1, 65, dtype=np.int32) % 50
    out = np.empty_like(x)
    kernels.call("lanes", out, [x])
    expected = []
    for t, own in enumerate(x):
        lane, warp = t % 32, t - t % 32
        down = x[t + 1] if lane < 31 else own
        up = x[t - 2] if lane % 8 >= 2 else own
        half = 8 if lane < 16 else 1
        expected.append(down + up * 100 + x[warp + 5] * 10000 + half * 10**6 + 10**8)
    assert np.array_equal(out, expected)


def test_barrier_mismatch_fails_the_launch_and_the_next_runs(kernels):
    out = np.zeros(1, np.float32)
    with pytest.raises(KernelError, match="7 wait at __syncthreads, 25 for lanes"):
        kernels.call("mismatch", out)
    assert out[0] == 0
    test_barrier_orders_shared_memory(kernels, 64)


def test_ended_threads_count_as_arrived(kernels):
    out = np.zeros(5, np.float32)
    kernels.call("early_exit", out)
    assert np.array_equal(out, np.ones(5))


@pytest.mark.parametrize(("by", "where"), [(1, "past the end of"), (-2, "before")])
def test_write_outside_is_found(kernels, by, where):
    with pytest.raises(KernelError, match=f"{where} an allocation of 20 bytes"):
        kernels.call("past", np.zeros(5, np.float32), params=ctypes.c_int64(by))


def test_write_into_gaps_is_found(kernels):
    out = np.zeros(20, np.float32)[::2]
    with pytest.raises(KernelError, match="belong to no output"):
        kernels.call("past", out, params=ctypes.c_int64(0))


def test_misaligned_access_is_found(kernels):
    out = np.zeros(16, np.float32)
    assert kernels.call("unaligned", out[4:]) == OK or out.ctypes.data % 16
    with pytest.raises(KernelError, match=r"misaligned access at .*cu:\d+"):
        kernels.call("unaligned", out[5:])


def test_index_outside_of_shared_array_is_found(kernels):
    with pytest.raises(KernelError, match="index outside of an array"):
        kernels.call("outside_array", np.zeros(1, np.float32))


def test_bfloat16_bits_and_fault(kernels):
    x = np.array([0x3F80, 0x4000], np.uint16)  # 1, 2
    out = np.empty_like(x)
    kernels.call("halves", out, [x], dtype="bfloat16")
    assert out.tolist() == [0x4000, 0x4080]
    x[0] |= 0x8000
    with pytest.raises(FaultError, match="index out of range") as caught:
        kernels.call("halves", out, [x], dtype="bfloat16")
    assert caught.value.op == "halves"


def test_descriptions_are_gone_when_kernels_run(kernels):
    out = np.zeros(4, np.int64)
    kernels.call("descriptions", out)
    assert np.array_equal(out, np.full(4, -1))


def test_launch_out_of_limits_raises(kernels):
    with pytest.raises(KernelError, match="invalid configuration"):
        kernels.call("too_many_threads", np.zeros(1, np.float32))


def test_declined_is_returned_and_host_operands_stay(kernels):
    out = np.zeros(3, np.float32)
    assert kernels.call("declined", out) == DECLINED
    assert kernels.call("scale", out, [out, Host(np.float32(2))]) == OK
    assert kernels.call("scale", out, [out, np.float32(2)]) == DECLINED


def test_caching_allocator_hands_out_a_released_block_again(kernels):
    library = kernels.library
    library.tl_cuda_release.argtypes = [ctypes.c_void_p]
    library.tl_cuda_allocate.argtypes = [
        ctypes.c_int, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    found = []
    for _ in range(2):
        data, block = ctypes.c_void_p(), ctypes.c_void_p()
        pointers = ctypes.byref(data), ctypes.byref(block)
        assert library.tl_cuda_allocate(0, 1000, *pointers) == 0
        assert ctypes.string_at(data.value, 1) == b"\xff"
        library.tl_cuda_release(block)
        found.append(data.value)
    assert found[0] == found[1]
    statistics = Statistics()
    library.tl_cuda_memory_statistics(0, ctypes.byref(statistics))
    assert statistics.live == 0
    assert statistics.reserved >= 1000
    assert library.tl_cuda_empty_cache(0) == 0
    library.tl_cuda_memory_statistics(0, ctypes.byref(statistics))
    assert statistics.reserved == 0


def test_captured_launches_run_when_replayed(kernels):
    library = kernels.library
    graph, pool = ctypes.c_void_p(), ctypes.c_void_p()
    handles = ctypes.byref(graph), ctypes.byref(pool)
    library.tl_cuda_graph_launch.argtypes = [ctypes.c_int] + 2 * [ctypes.c_void_p]
    library.tl_cuda_graph_destroy.argtypes = [ctypes.c_int] + 2 * [ctypes.c_void_p]
    assert library.tl_cuda_capture_begin(0, None) == 0
    assert library.tl_cuda_synchronize(0) == 900  # not while a stream is captured
    assert library.tl_cuda_capture_end(0, None, *handles) == 0
    assert library.tl_cuda_graph_launch(0, graph, None) == 0
    assert library.tl_cuda_graph_destroy(0, graph, pool) == 0
