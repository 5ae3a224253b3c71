"""Interchange with the libraries themselves: JAX, PyTorch, array-api-strict, NumPy,
Pillow, safetensors; and SciPy's and scikit-learn's functions on tensors.

Each test skips where its library is not installed; ``pip install tensorlib[interop]``.
"""

import array
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tensorlib as tl

DTYPES = sorted(tl.__array_namespace_info__().dtypes())
HALVES = ["bfloat16", "float16"]


def values(dtype):
    x = tl.tensor([[0, 1, 2], [3, 4, 5]])
    if dtype.startswith("complex"):
        return (x + 0.5j).astype(getattr(tl, dtype))
    return x.astype(tl.dtype(dtype))


@pytest.fixture(scope="module")
def jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_platforms", "cpu")
    with jax.enable_x64(True):
        yield jax


# ---- DLPack --------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES + HALVES)
def test_jax_takes_a_tensor_and_gives_it_back(dtype, jax):
    x = values(dtype)
    there = jax.numpy.from_dlpack(x)
    assert str(there.dtype) == dtype
    assert there.tolist() == x.tolist()
    back = tl.from_dlpack(there)
    assert back.dtype is x.dtype
    assert back.tolist() == x.tolist()


def test_jax_array_is_shared_and_a_copy_is_not(jax):
    source = jax.numpy.arange(64.0)
    assert tl.from_dlpack(source).data_ptr() == source.unsafe_buffer_pointer()
    copy = tl.from_dlpack(source, copy=True)
    copy[0] = 7
    assert source[0] == 0


@pytest.mark.parametrize("copy", [None, True])
def test_jax_from_dlpack_takes_copy(copy, jax):
    assert jax.numpy.from_dlpack(tl.ones(3), copy=copy).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_array_api_strict_takes_a_tensor_and_gives_it_back(dtype):
    strict = pytest.importorskip("array_api_strict")
    x = values(dtype)
    there = strict.from_dlpack(x)
    assert str(there.dtype).endswith(dtype)
    back = tl.from_dlpack(there)
    assert back.dtype is x.dtype
    assert back.data_ptr() == x.data_ptr()
    assert tl.asarray(there).tolist() == x.tolist()


def test_array_api_strict_device_request_is_honoured_or_refused():
    strict = pytest.importorskip("array_api_strict")
    cpu = strict.Device("CPU_DEVICE")
    assert strict.from_dlpack(tl.ones(2), device=cpu, copy=True).shape == (2,)


@pytest.mark.parametrize("dtype", DTYPES + HALVES)
def test_torch_takes_a_tensor_and_gives_it_back(dtype):
    torch = pytest.importorskip("torch")
    x = values(dtype)
    there = torch.from_dlpack(x)
    assert there.dtype is getattr(torch, dtype)
    assert there.data_ptr() == x.data_ptr()
    back = tl.from_dlpack(there)
    assert back.dtype is x.dtype
    assert back.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("copy", [None, True, False])
def test_copy_of_numpy_and_torch_requests_is_honoured(copy):
    x = tl.ones(3)
    same = copy is not True
    assert (np.from_dlpack(x, copy=copy).ctypes.data == x.data_ptr()) == same
    a = np.ones(3)
    assert (tl.from_dlpack(a, copy=copy).data_ptr() == a.ctypes.data) == same
    torch = pytest.importorskip("torch")
    t = torch.ones(3)
    assert (tl.from_dlpack(t, copy=copy).data_ptr() == t.data_ptr()) == same


def test_numpy_device_requests_are_honoured_or_refused():
    assert np.from_dlpack(tl.ones(2), device="cpu").tolist() == [1.0, 1.0]
    assert tl.from_dlpack(np.ones(2), device="cpu").tolist() == [1.0, 1.0]
    with pytest.raises(BufferError, match="cannot export"):
        tl.ones(2).__dlpack__(dl_device=(2, 0))


@pytest.mark.parametrize("version", [(1, 0), (1, 1), (1, 99), (2, 0)])
def test_versions_up_to_any_newer_one_give_the_versioned_capsule(version):
    assert '"dltensor_versioned"' in repr(tl.ones(1).__dlpack__(max_version=version))


# ---- buffers, NumPy's protocols, Pillow ----------------------------------------
def test_bytes_and_array_module_see_the_elements():
    x = tl.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert bytes(x) == np.asarray(x).tobytes()
    assert array.array("f", bytes(x)).tolist() == [1.0, 2.0, 3.0, 4.0]
    held = array.array("d", [1.0, 2.0])
    y = tl.asarray(held)
    y[0] = 7
    assert held[0] == 7.0


def test_ufuncs_refuse_tensors_and_operators_take_arrays():
    x, a = tl.ones(2), np.ones(2, "f4")
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.sin(x)
    assert type(x + a) is type(a + x) is tl.Tensor
    assert type(np.float32(2) * x) is tl.Tensor
    assert type(np.concatenate([x, x])) is np.ndarray
    assert type(np.sort(x)) is type(np.linalg.inv(tl.eye(2))) is np.ndarray


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "max", "min", "any", "std"])
def test_numpy_reductions_raise_as_documented(name):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        getattr(np, name)(tl.ones(2))


def test_pillow_images_go_both_ways():
    image = pytest.importorskip("PIL.Image")
    source = image.new("RGB", (4, 3), (1, 2, 3))
    x = tl.asarray(source)
    assert x.shape == (3, 4, 3)
    assert x.dtype is tl.uint8
    back = image.fromarray(x.numpy())
    assert back.size == (4, 3)
    assert back.getpixel((3, 2)) == (1, 2, 3)


IMAGES = {
    "L": tl.arange(12, dtype=tl.uint8).reshape(3, 4),
    "RGB": tl.arange(36, dtype=tl.uint8).reshape(3, 4, 3),
    "RGBA": tl.arange(48, dtype=tl.uint8).reshape(3, 4, 4),
    "F": tl.linspace(0, 1, 12).reshape(3, 4),
    "I": tl.arange(12, dtype=tl.int32).reshape(3, 4),
    "1": tl.arange(12).reshape(3, 4) % 3 == 0,
}


@pytest.mark.parametrize("mode", IMAGES)
def test_pillow_takes_a_tensor_of_any_layout(mode):
    image = pytest.importorskip("PIL.Image")
    x = IMAGES[mode]
    for view in (x, x[::-1], x[:, ::2], x.permute_dims(1, 0, *range(2, x.ndim))):
        found = image.fromarray(view)
        assert found.mode == mode
        assert np.array_equal(np.asarray(found), view.numpy())


def test_tensor_without_an_array_has_no_array_interface():
    image = pytest.importorskip("PIL.Image")
    assert not hasattr(tl.zeros((2, 2), dtype=tl.bfloat16), "__array_interface__")
    x = tl.zeros((2, 2), requires_grad=True)
    with pytest.raises(AttributeError, match="requires grad; use"):
        image.fromarray(x)
    with pytest.raises(tl.GraphError, match="requires grad"):
        np.asarray(x)


def test_array_interface_describes_the_memory():
    x = tl.arange(6).reshape(2, 3)
    found = x.T.__array_interface__
    assert found["data"] == (x.data_ptr(), False)
    assert (found["shape"], found["typestr"]) == ((3, 2), "<i8")
    assert found["strides"] == (8, 24)
    assert x.T.tobytes() == x.T.numpy().tobytes()


def test_operand_that_is_no_array_may_answer_itself():
    class Other:
        def __radd__(self, x):
            return "mine"

    assert tl.ones(2) + Other() == "mine"
    with pytest.raises(TypeError, match="unsupported operand"):
        tl.ones(2) + "text"


# ---- files ---------------------------------------------------------------------
FILED = ["bool", "int8", "int64", "uint8", "float16", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize("dtype", FILED)
def test_safetensors_of_torch_are_read_and_written(dtype, tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    x = values(dtype)
    tl.save({"a": x, "b": x[0]}, tmp_path / "ours.safetensors")
    theirs = files.load_file(tmp_path / "ours.safetensors")
    assert theirs["a"].dtype is getattr(torch, dtype)
    assert theirs["a"].tolist() == x.tolist()
    files.save_file({"a": torch.from_dlpack(x)}, tmp_path / "theirs.safetensors")
    found = tl.load(tmp_path / "theirs.safetensors")["a"]
    assert found.dtype is x.dtype
    assert found.tolist() == x.tolist()


@pytest.mark.parametrize("dtype", DTYPES + HALVES)
def test_pickle_out_of_band_shares_the_memory(dtype):
    x, buffers = values(dtype), []
    data = pickle.dumps(x, protocol=5, buffer_callback=buffers.append)
    (buffer,) = buffers
    assert np.frombuffer(buffer.raw(), np.uint8).ctypes.data == x.data_ptr()
    back = pickle.loads(data, buffers=buffers)
    assert back.data_ptr() == x.data_ptr()
    assert back.dtype is x.dtype
    assert back.tolist() == x.tolist()


# ---- functions of others -------------------------------------------------------
def test_functions_of_scipy_and_scikit_learn_take_tensors():
    pytest.importorskip("scipy")
    pytest.importorskip("sklearn", minversion="1.6")
    script = Path(__file__).with_name("array_consumers.py")
    home = str(Path(tl.__file__).parent.parent)
    path = os.pathsep.join([home, os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": path},
    )
    assert found.returncode == 0, found.stderr[-2000:]
    report = json.loads(found.stdout)
    assert report["wrong"] == {}, report["versions"]
    assert report["count"] > 100
