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


def test_tensor_on_cuda_raises_and_names_the_device():
    with pytest.raises(tl.DeviceError, match="cuda"):
        tl.zeros(2, device="cuda")


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 1_000_003])
def test_cuda_vector_add_equals_numpy(dtype, size):
    from tensorlib.kernels.cuda_bridge import vector_add

    rng = np.random.default_rng(size)
    a, b = rng.standard_normal((2, size)).astype(dtype)
    out = np.empty_like(a)
    vector_add(a, b, out)
    np.testing.assert_array_equal(out, a + b)


@pytest.mark.cuda
@needs_gpu
def test_cuda_device_has_a_name():
    assert tl.cuda.get_device_name(0)
    tl.cuda.synchronize()


def test_cuda_vector_add_lengths_differ_raises():
    bridge = pytest.importorskip("tensorlib.kernels.cuda_bridge")
    a = np.zeros(3)
    with pytest.raises(ValueError, match="lengths 3, 3, 2 differ"):
        bridge.vector_add(a, a, np.zeros(2))


@pytest.mark.skipif(tl.cuda.is_available(), reason="a GPU is there")
def test_cuda_vector_add_without_gpu_raises():
    bridge = pytest.importorskip("tensorlib.kernels.cuda_bridge")
    a = np.zeros(3)
    with pytest.raises(tl.DeviceError):
        bridge.vector_add(a, a, a.copy())
