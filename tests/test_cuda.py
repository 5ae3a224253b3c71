"""The CUDA module: what works everywhere, and what needs a GPU."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tensorlib as tl

needs_gpu = pytest.mark.skipif(
    not tl.cuda.is_available(), reason=tl.cuda.why_unavailable() or "GPU is there"
)


def test_cuda_reason_and_availability_agree():
    assert tl.cuda.is_available() == (tl.cuda.device_count() > 0)
    assert tl.cuda.is_available() == (tl.cuda.why_unavailable() == "")


def test_cuda_reason_names_what_is_missing():
    reason = tl.cuda.why_unavailable()
    if not tl.cuda.is_built():
        assert "built without CUDA" in reason
        assert "nvcc" in reason
    elif not tl.cuda.is_available():
        assert "driver" in reason


def test_cuda_hidden_devices_are_a_reason():
    if not tl.cuda.is_built():
        pytest.skip("built without CUDA")
    program = "import tensorlib as tl; print(tl.cuda.why_unavailable())"
    answer = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "driver" in answer.stdout


def test_cuda_versions_name_the_runtime():
    found = tl.cuda.versions()
    assert (found == {}) == (not tl.cuda.is_built())
    if found:
        assert int(found["runtime"].split(".")[0]) >= 11


def test_cuda_import_loads_nothing():
    program = (
        "import sys, tensorlib; "
        "print([m for m in sys.modules if m.startswith('tensorlib') and 'cuda' in m])"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("device", [99, -1])
def test_cuda_missing_device_raises(device):
    with pytest.raises(tl.DeviceError, match=f"no CUDA device {device}"):
        tl.cuda.get_device_name(device)
    with pytest.raises(tl.DeviceError):
        tl.cuda.synchronize(device)


@pytest.mark.parametrize("device", ["0", None, 1.0, True])
def test_cuda_device_of_another_type_raises(device):
    with pytest.raises(TypeError, match="int device index"):
        tl.cuda.get_device_name(device)


@pytest.mark.skipif(tl.cuda.is_available(), reason="a GPU is there")
def test_tensor_on_cuda_raises_and_names_the_device():
    with pytest.raises(tl.DeviceError, match="cuda"):
        tl.zeros(2, device="cuda")


# ---- on a GPU ----------------------------------------------------------------------
@pytest.mark.cuda
@needs_gpu
def test_cuda_device_has_a_name_and_capability():
    assert tl.cuda.get_device_name(0)
    assert tl.cuda.get_device_capability(0) >= (8, 0)
    free, total = tl.cuda.mem_get_info()
    assert 0 < free <= total
    tl.cuda.synchronize()


@pytest.mark.cuda
@needs_gpu
def test_cuda_transfer_there_and_back_keeps_bits():
    rng = np.random.default_rng(0)
    for shape in ((), (0, 3), (5,), (4, 3, 2)):
        a = np.asarray(rng.standard_normal(shape).astype("float32"))
        x = tl.tensor(a)
        y = x.to("cuda")
        assert str(y.device) == "cuda:0"
        assert y.shape == shape
        np.testing.assert_array_equal(y.cpu().numpy(), a)
    x = tl.tensor([1.0, 2.0], requires_grad=True)
    (x.to("cuda") * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert not x.grad.is_cuda


@pytest.mark.cuda
@needs_gpu
def test_cuda_values_reach_python():
    x = tl.tensor([[1.5, -2.0]], device="cuda")
    assert x.tolist() == [[1.5, -2.0]]
    assert x[0, 1].item() == float(x[0, 1]) == -2.0
    assert "device='cuda:0'" in repr(x)
    with pytest.raises(tl.DeviceError, match=r"use x\.cpu\(\)"):
        x.numpy()
    with pytest.raises(BufferError, match="cuda:0"):
        memoryview(x)


@pytest.mark.cuda
@needs_gpu
def test_cuda_index_out_of_range_is_raised_by_who_waits_and_once():
    x, bad = tl.arange(3, device="cuda"), tl.tensor([0, 7], device="cuda")
    x[bad]
    with pytest.raises(IndexError, match=r"index_get.*launched earlier"):
        tl.cuda.synchronize()
    tl.cuda.synchronize()
    assert x.tolist() == [0, 1, 2]
    with pytest.raises(ZeroDivisionError, match="floor_divide"):
        (x // tl.zeros(3, dtype="int64", device="cuda")).tolist()
    assert (x + 1).tolist() == [1, 2, 3]


@pytest.mark.cuda
@needs_gpu
def test_cuda_memory_is_counted_cached_and_returned():
    tl.cuda.empty_cache()
    before = tl.cuda.memory_stats()
    x = tl.zeros(1 << 20, device="cuda")
    held = tl.cuda.memory_stats()
    assert held["allocated"] - before["allocated"] >= x.nbytes
    assert held["live"] == before["live"] + 1
    del x
    after = tl.cuda.memory_stats()
    assert after["allocated"] == before["allocated"]
    assert after["reserved"] == held["reserved"]
    tl.cuda.empty_cache()
    assert tl.cuda.memory_stats()["reserved"] <= before["reserved"]


@pytest.mark.cuda
@needs_gpu
def test_cuda_out_of_memory_is_a_memory_error_with_the_numbers():
    tl.cuda.empty_cache()
    tl.cuda.set_memory_limit(tl.cuda.memory_stats()["reserved"] + (1 << 22))
    try:
        with pytest.raises(MemoryError, match=r"tried to allocate .* on cuda:0"):
            tl.empty(1 << 23, device="cuda")
        assert tl.ones(4, device="cuda").sum().item() == 4
    finally:
        tl.cuda.set_memory_limit(None)
    with pytest.raises(MemoryError):
        tl.empty(1 << 45, dtype="int8", device="cuda")


@pytest.mark.cuda
@needs_gpu
def test_cuda_steps_of_training_do_not_grow():
    model = tl.nn.Sequential(tl.nn.Linear(8, 16), tl.nn.ReLU(), tl.nn.Linear(16, 2))
    model.to("cuda")
    optimizer = tl.optim.Adam(model.parameters())
    x, t = tl.rand(32, 8, device="cuda"), tl.zeros(32, dtype="int64", device="cuda")
    seen = set()
    for step in range(1000 if tl.cuda.get_device_name() != "emulated" else 30):
        loss = tl.nn.functional.cross_entropy(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step > 5:
            stats = tl.cuda.memory_stats()
            seen.add((stats["live"], stats["reserved"]))
    assert len(seen) == 1
    assert loss.item() < 0.7


# ---- streams, events, graphs ---------------------------------------------------------
@pytest.mark.cuda
@needs_gpu
def test_cuda_streams_wait_for_each_other():
    side = tl.cuda.Stream()
    x = tl.ones(1 << 18, device="cuda")
    side.wait_stream(tl.cuda.current_stream())
    with tl.cuda.stream(side):
        assert tl.cuda.current_stream() == side
        y = x * 2
        for _ in range(20):
            y = y + x
    assert tl.cuda.current_stream() != side
    tl.cuda.current_stream().wait_stream(side)
    assert (y + x).sum().item() == 23 * (1 << 18)
    side.synchronize()
    assert side.query()


@pytest.mark.cuda
@needs_gpu
def test_cuda_reductions_on_several_streams_do_not_share_counters():
    streams = [tl.cuda.Stream() for _ in range(3)]
    x = tl.ones(1 << 20, device="cuda")
    tl.cuda.synchronize()
    found = []
    for _ in range(20):
        for stream in streams:
            with tl.cuda.stream(stream):
                found.append(x.sum())
    tl.cuda.synchronize()
    assert {one.item() for one in found} == {float(1 << 20)}


@pytest.mark.cuda
@needs_gpu
def test_cuda_events_measure_time():
    start, end = (tl.cuda.Event(enable_timing=True) for _ in range(2))
    with pytest.raises(RuntimeError, match="was recorded"):
        start.elapsed_time(end)
    start.record()
    x = tl.ones(1 << 16, device="cuda") + 1
    end.record()
    end.synchronize()
    assert end.query()
    assert start.elapsed_time(end) >= 0
    assert x[0].item() == 2
    plain = tl.cuda.Event()
    plain.record()
    with pytest.raises(RuntimeError, match="enable_timing"):
        start.elapsed_time(plain)


@pytest.mark.cuda
@needs_gpu
def test_cuda_graph_with_a_reduction_in_parts_replays():
    x = tl.ones(1 << 20, device="cuda")
    recorded = tl.cuda.CUDAGraph()
    with tl.cuda.graph(recorded):
        total = x.sum() + x.sum()
    for value in (1, 2, 3):
        x.copy_(tl.full((1 << 20,), value, dtype=tl.float32))
        recorded.replay()
        recorded.replay()
        eager = x.sum().item()
        assert total.item() == 2 * eager == 2 * value * (1 << 20)


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: tl.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: tl.optim.AdamW(p, lr=0.01),
        lambda p: tl.optim.NAdam(p, lr=0.01),
    ],
    ids=["SGD", "AdamW", "NAdam"],
)
def test_cuda_graph_of_a_training_step_equals_eager_steps(optimizer):
    make_optimizer = optimizer

    def made():
        tl.manual_seed(0)
        model = tl.nn.Sequential(
            tl.nn.Linear(8, 16), tl.nn.ReLU(), tl.nn.Linear(16, 3)
        ).to("cuda")
        optimizer = make_optimizer(model.parameters())
        return model, optimizer, tl.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    rng = np.random.default_rng(0)
    data = [rng.standard_normal((32, 8)).astype("float32") for _ in range(6)]
    target = tl.tensor(rng.integers(0, 3, 32), device="cuda")

    def step(model, optimizer, x):
        optimizer.zero_grad()
        loss = tl.nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    eager = []
    model, optimizer, scheduler = made()
    for a in data:
        eager.append(step(model, optimizer, tl.tensor(a, device="cuda")).item())
        scheduler.step()
    model, optimizer, scheduler = made()
    x = tl.tensor(data[0], device="cuda")
    found = [step(model, optimizer, x).item()]
    scheduler.step()
    recorded = tl.cuda.CUDAGraph()
    with tl.cuda.graph(recorded):
        loss = step(model, optimizer, x)
    for a in data[1:]:
        x.copy_(tl.tensor(a))
        recorded.replay()
        scheduler.step()
        found.append(loss.item())
    assert found == eager
    with pytest.raises(RuntimeError, match="was recorded"):
        tl.cuda.CUDAGraph().replay()


@pytest.mark.cuda
@needs_gpu
def test_cuda_random_numbers_equal_the_cpus():
    for draw in (
        lambda **how: tl.rand(1001, **how),
        lambda **how: tl.randint(0, 1000, (1001,), **how),
        lambda **how: tl.bernoulli(0.3, (1001,), **how),
        lambda **how: tl.randperm(1001, **how),
    ):
        tl.manual_seed(5)
        expected = draw().tolist()
        tl.manual_seed(5)
        assert draw(device="cuda").tolist() == expected
    tl.manual_seed(5)
    expected = tl.randn(10_001).numpy()
    tl.manual_seed(5)
    found = tl.randn(10_001, device="cuda").cpu().numpy()
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-7)


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("name", ["take_along_axis", "gather"])
def test_positions_on_another_device_are_refused_by_the_name_of_the_function(name):
    x, positions = tl.ones((2, 3), device="cuda"), tl.zeros((2, 1), dtype="int64")
    with pytest.raises(tl.DeviceError, match=f"^{name}: .*cuda:0 and cpu"):
        getattr(tl, name)(x, positions, axis=1)
