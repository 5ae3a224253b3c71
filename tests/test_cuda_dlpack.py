"""Memory of a GPU handed between libraries: DLPack and CUDA's array interface."""

import gc
import weakref

import numpy as np
import pytest

import tensorlib as tl

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not tl.cuda.is_available(), reason=tl.cuda.why_unavailable() or "GPU is there"
    ),
]
DTYPES = ("bool", "int8", "int32", "int64", "uint8", "float16", "float32", "float64")
VIEWS = {
    "plain": lambda x: x,
    "transposed": lambda x: x.T,
    "stepped": lambda x: x[::-1, ::2],
    "empty": lambda x: x[:0],
    "scalar": lambda x: x[1, 1],
}


def sample(dtype="float32"):
    return tl.tensor([[1, 0, 3], [4, 5, 6]], dtype=dtype, device="cuda")


def torch_with_cuda():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    return torch


def cupy_with_cuda():
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("CuPy sees no GPU")
    return cupy


def jax_with_cuda(monkeypatch):
    # JAX takes most of a GPU's memory at its first use unless it is told not to.
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("JAX sees no GPU")
    return jax


class Foreign:
    """Another library's array on a GPU, which notes how it was asked."""

    def __init__(self, x, device=None):
        self.x, self.asked = x, []
        self.device = x.__dlpack_device__() if device is None else device

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        self.asked.append(options)
        return self.x.__dlpack__(**options)


class Interface:
    """An array that has CUDA's array interface alone."""

    def __init__(self, x, **changes):
        self.x = x
        self.__cuda_array_interface__ = {**x.__cuda_array_interface__, **changes}


# ---- export ----------------------------------------------------------------------
def test_dlpack_device_of_a_gpu():
    assert sample().__dlpack_device__() == (2, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS)
def test_dlpack_round_trip_shares_memory_unless_strides_are_negative(dtype, view):
    x = VIEWS[view](sample(dtype))
    y = tl.from_dlpack(Foreign(x))
    assert y.device == x.device
    assert y.dtype == x.dtype
    assert y.tolist() == x.tolist()
    if x.size:
        assert (y.data_ptr() == x.data_ptr()) is (min(x.strides, default=0) >= 0)


def test_dlpack_writes_are_seen():
    x = sample()
    y = tl.from_dlpack(Foreign(x))
    y += 1
    assert x.tolist() == [[2, 1, 4], [5, 6, 7]]


@pytest.mark.parametrize("stream", [None, 1, 2, -1])
def test_dlpack_streams_are_taken(stream):
    capsule = sample().__dlpack__(stream=stream)
    assert '"dltensor"' in repr(capsule)


def test_dlpack_lets_the_consumers_stream_wait():
    theirs = tl.cuda.Stream()
    ours = tl.cuda.Stream()
    with tl.cuda.stream(ours):
        x = sample() * 2
        capsule = x.__dlpack__(stream=theirs.cuda_stream, max_version=(1, 0))
    with tl.cuda.stream(theirs):

        class Once(Foreign):
            def __dlpack__(self, **options):
                return capsule

        y = tl.from_dlpack(Once(x)) + 1
    theirs.synchronize()
    assert y.tolist() == [[3, 1, 7], [9, 11, 13]]


@pytest.mark.parametrize(
    ("stream", "error"), [(0, BufferError), ("a", TypeError), (True, TypeError)]
)
def test_dlpack_bad_stream_raises(stream, error):
    with pytest.raises(error, match="stream"):
        sample().__dlpack__(stream=stream)


def test_dlpack_to_the_host_copies():
    x = sample()
    a = np.from_dlpack(Foreign(x.cpu()))
    capsule = x.__dlpack__(dl_device=(1, 0), max_version=(1, 0))

    class OnHost:
        def __dlpack_device__(self):
            return (1, 0)

        def __dlpack__(self, **options):
            return capsule

    y = tl.from_dlpack(OnHost())
    assert y.device.type == "cpu"
    assert y.tolist() == a.tolist()


def test_dlpack_to_the_host_without_a_copy_raises():
    with pytest.raises(BufferError, match="copy"):
        sample().__dlpack__(dl_device=(1, 0), copy=False)


def test_dlpack_from_the_host_to_a_gpu_raises():
    with pytest.raises(BufferError, match="cannot export"):
        tl.ones(2).__dlpack__(dl_device=(2, 0))


def test_dlpack_copy_has_its_own_memory():
    x = sample()
    capsule = x.__dlpack__(copy=True, max_version=(1, 0))

    class Once(Foreign):
        def __dlpack__(self, **options):
            return capsule

    y = tl.from_dlpack(Once(x))
    assert y.tolist() == x.tolist()
    assert y.data_ptr() != x.data_ptr()


def test_dlpack_of_a_tensor_that_requires_grad_raises():
    with pytest.raises(BufferError, match="requires grad"):
        sample().requires_grad_().__dlpack__()


def test_dlpack_unused_capsule_frees_its_tensor():
    sample()
    before = tl.cuda.memory_stats()["live"]
    capsule = sample().__dlpack__()
    assert tl.cuda.memory_stats()["live"] == before + 1
    del capsule
    assert tl.cuda.memory_stats()["live"] == before


# ---- import ----------------------------------------------------------------------
def test_from_dlpack_asks_for_our_stream():
    foreign = Foreign(sample())
    tl.from_dlpack(foreign)
    assert foreign.asked[0]["stream"] == (tl.cuda.current_stream().cuda_stream or 1)
    side = tl.cuda.Stream()
    with tl.cuda.stream(side):
        tl.from_dlpack(foreign)
    assert foreign.asked[1]["stream"] == side.cuda_stream


def test_from_dlpack_of_an_older_producer():
    class Older(Foreign):
        def __dlpack__(self, stream=None):
            self.asked.append(stream)
            return self.x.__dlpack__(stream=stream)

    foreign = Older(sample())
    assert tl.from_dlpack(foreign).tolist() == sample().tolist()
    assert foreign.asked[-1] == (tl.cuda.current_stream().cuda_stream or 1)


def test_from_dlpack_keeps_the_memory_and_lets_it_go():
    sample()
    before = tl.cuda.memory_stats()["live"]
    y = tl.from_dlpack(Foreign(sample()))
    assert tl.cuda.memory_stats()["live"] == before + 1
    assert y.tolist() == sample().tolist()
    del y
    assert tl.cuda.memory_stats()["live"] == before


def test_from_dlpack_copy_copies():
    x = sample()
    y = tl.from_dlpack(Foreign(x), copy=True)
    assert y.data_ptr() != x.data_ptr()
    assert y.device == x.device
    assert y.tolist() == x.tolist()


@pytest.mark.parametrize("to", ["cpu", "cuda"])
def test_from_dlpack_to_a_device(to):
    for x in (sample(), sample().cpu()):
        y = tl.from_dlpack(Foreign(x), device=to)
        assert y.device.type == to
        assert y.tolist() == x.tolist()


@pytest.mark.parametrize("to", ["cpu", "cuda"])
def test_from_dlpack_to_another_device_without_a_copy_raises(to):
    x = sample() if to == "cpu" else sample().cpu()
    with pytest.raises(ValueError, match="another device"):
        tl.from_dlpack(Foreign(x), device=to, copy=False)


def test_from_dlpack_of_a_gpu_that_is_not_there_raises():
    with pytest.raises(BufferError, match="device type 2"):
        tl.from_dlpack(Foreign(sample(), device=(2, 15)))


def test_asarray_takes_a_gpu_array_as_it_is():
    x = sample()
    y = tl.asarray(Foreign(x))
    assert y.data_ptr() == x.data_ptr()
    assert y.device == x.device


# ---- CUDA's array interface --------------------------------------------------------
def test_interface_of_a_contiguous_tensor():
    x = sample("float64")
    found = x.__cuda_array_interface__
    assert found == {
        "shape": (2, 3),
        "typestr": "<f8",
        "data": (x.data_ptr(), False),
        "strides": None,
        "stream": tl.cuda.current_stream().cuda_stream or 1,
        "version": 3,
    }


def test_interface_of_a_view_has_strides_in_bytes():
    assert sample().T.__cuda_array_interface__["strides"] == (4, 12)


def test_interface_of_a_broadcast_tensor_is_readonly():
    x = sample()[:, :1].broadcast_to((2, 3))
    assert x.__cuda_array_interface__["data"][1] is True


@pytest.mark.parametrize(
    "make",
    [
        lambda: tl.ones(2),
        lambda: sample().requires_grad_(),
        lambda: sample().astype("bfloat16"),
    ],
    ids=["cpu", "requires_grad", "bfloat16"],
)
def test_interface_is_not_there(make):
    assert not hasattr(make(), "__cuda_array_interface__")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS)
def test_asarray_takes_the_interface(dtype, view):
    x = VIEWS[view](sample(dtype))
    y = tl.asarray(Interface(x))
    assert y.device == x.device
    assert y.dtype == x.dtype
    assert y.tolist() == x.tolist()
    if x.size:
        assert y.data_ptr() == x.data_ptr()


def test_asarray_of_the_interface_keeps_the_exporter():
    exporter = Interface(sample())
    gone = weakref.ref(exporter)
    y = tl.asarray(exporter)
    del exporter
    gc.collect()
    assert gone() is not None
    assert y.tolist() == sample().tolist()
    del y
    gc.collect()
    assert gone() is None


def test_asarray_of_the_interface_waits_for_its_stream():
    theirs = tl.cuda.Stream()
    with tl.cuda.stream(theirs):
        x = sample() * 2
        exporter = Interface(x)
    assert exporter.__cuda_array_interface__["stream"] == theirs.cuda_stream
    assert (tl.asarray(exporter) + 1).tolist() == [[3, 1, 7], [9, 11, 13]]


def test_asarray_of_readonly_memory_is_readonly():
    x = sample()
    y = tl.asarray(Interface(x, data=(x.data_ptr(), True)))
    with pytest.raises(ValueError, match="read-only"):
        y += 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"stream": 0}, ValueError),
        ({"mask": object()}, tl.DTypeError),
        ({"data": None}, TypeError),
        ({"typestr": "|O8"}, tl.DTypeError),
        ({"shape": (2,), "strides": (1, 2)}, TypeError),
    ],
)
def test_asarray_of_a_bad_interface_raises(changes, error):
    with pytest.raises(error):
        tl.asarray(Interface(sample(), **changes))


def test_asarray_of_host_memory_said_to_be_a_gpus_raises():
    a = np.zeros(4, np.float32)
    with pytest.raises(tl.DeviceError):
        tl.asarray(Interface(sample(), shape=(4,), data=(a.ctypes.data, False)))


# ---- PyTorch -----------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch_and_back(dtype):
    torch = torch_with_cuda()
    x = sample(dtype)
    t = torch.from_dlpack(x)
    assert t.is_cuda
    assert t.data_ptr() == x.data_ptr()
    assert t.cpu().tolist() == x.tolist()
    y = tl.from_dlpack(t)
    assert y.data_ptr() == x.data_ptr()


def test_pytorch_takes_the_interface():
    torch = torch_with_cuda()
    x = sample()
    assert torch.as_tensor(x, device="cuda").data_ptr() == x.data_ptr()


def test_pytorch_on_another_stream_sees_what_was_computed():
    torch = torch_with_cuda()
    x = tl.ones((1 << 20,), device="cuda")
    for _ in range(50):
        x = x * 1.0 + 1.0
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        t = torch.from_dlpack(x) + 0
    side.synchronize()
    assert bool((t == 51).all())


def test_pytorch_work_on_another_stream_is_waited_for():
    torch = torch_with_cuda()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        t = torch.ones(1 << 20, device="cuda")
        for _ in range(50):
            t = t * 1.0 + 1.0
        x = tl.from_dlpack(t)
    assert bool((x == 51).all())
    side.synchronize()


# ---- CuPy --------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS)
def test_cupy_and_back(dtype, view):
    cupy = cupy_with_cuda()
    x = VIEWS[view](sample(dtype))
    for a in (cupy.from_dlpack(x), cupy.asarray(x)):
        assert cupy.asnumpy(a).tolist() == x.tolist()
        y, z = tl.from_dlpack(a), tl.asarray(a)
        assert y.tolist() == z.tolist() == x.tolist()
        assert y.dtype == z.dtype == x.dtype
        if x.size and min(x.strides, default=0) >= 0:
            assert x.data_ptr() == a.data.ptr == y.data_ptr() == z.data_ptr()


def test_cupy_on_another_stream_sees_what_was_computed_and_back():
    cupy = cupy_with_cuda()
    x = tl.ones((1 << 20,), device="cuda")
    for _ in range(50):
        x = x * 1.0 + 1.0
    side = cupy.cuda.Stream(non_blocking=True)
    with side:
        a = cupy.from_dlpack(x)
        for _ in range(50):
            a = a * 1.0 + 1.0
        y = tl.from_dlpack(a)
    assert bool((y == 101).all())
    side.synchronize()


# ---- JAX ---------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["bool", "int8", "int32", "uint8", "float16",
                                   "bfloat16", "float32"])  # fmt: skip
@pytest.mark.parametrize("view", ["plain", "empty", "scalar"])
def test_jax_and_back(dtype, view, monkeypatch):
    jax = jax_with_cuda(monkeypatch)
    x = VIEWS[view](sample(dtype))
    a = jax.dlpack.from_dlpack(x)
    assert np.asarray(a).tolist() == x.tolist()
    y = tl.from_dlpack(a)
    assert y.device == x.device
    assert y.dtype == x.dtype
    assert y.tolist() == x.tolist()


def test_jax_sees_what_was_computed_and_back(monkeypatch):
    jax = jax_with_cuda(monkeypatch)
    x = tl.ones((1 << 20,), device="cuda")
    for _ in range(50):
        x = x * 1.0 + 1.0
    a = jax.dlpack.from_dlpack(x)
    y = tl.from_dlpack(jax.jit(lambda a: a * 2 + 1)(a))
    assert bool((y == 103).all())
