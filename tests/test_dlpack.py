"""DLPack, in both directions: NumPy, PyTorch and structures made by hand."""

import ctypes
import gc
import threading
import weakref

import numpy as np
import pytest
from op_rows import ALL
from sample_arrays import VIEWS, sample

import tensorlib as tl


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.T,
        lambda x: x[1:, ::2],
        lambda x: x[:0],
        lambda x: x[1, 1],
    ],
    ids=["c", "transposed", "stepped", "empty", "scalar"],
)
def test_dlpack_to_numpy_shares_memory(dtype, view):
    x = view(tl.asarray(sample(dtype)).copy())
    a = np.from_dlpack(x)
    assert a.dtype == np.dtype(dtype)
    assert a.tolist() == x.tolist()
    if a.size:
        assert a.ctypes.data == x.data_ptr()


def test_dlpack_with_negative_strides_is_a_copy_or_refused():
    torch = pytest.importorskip("torch")
    x = tl.arange(6).reshape((2, 3))[:, ::-1]
    t = torch.from_dlpack(x)
    assert t.tolist() == np.from_dlpack(x).tolist() == [[2, 1, 0], [5, 4, 3]]
    t.zero_()
    assert x.tolist() == [[2, 1, 0], [5, 4, 3]]
    with pytest.raises(BufferError, match=r"strides \(3, -1\) are negative"):
        x.__dlpack__(copy=False)
    one = x[:, :1][:, ::-1]
    assert np.from_dlpack(one).ctypes.data == one.data_ptr()


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("view", ["c", "transposed", "stepped", "negative", "scalar"])
def test_dlpack_from_numpy_shares_memory(dtype, view):
    a = VIEWS[view](sample(dtype))
    x = tl.from_dlpack(np.asarray(a))
    assert x.tolist() == a.tolist()
    assert x.dtype == tl.dtype(dtype)


def test_dlpack_round_trip_keeps_memory():
    x = tl.zeros((2, 3))
    assert tl.from_dlpack(x).data_ptr() == x.data_ptr()


def test_dlpack_device_of_cpu():
    assert tl.zeros(1).__dlpack_device__() == (1, 0)


def test_dlpack_versions_choose_the_capsule():
    x = tl.zeros(1)
    assert '"dltensor"' in repr(x.__dlpack__())
    assert '"dltensor"' in repr(x.__dlpack__(max_version=(0, 8)))
    assert '"dltensor_versioned"' in repr(x.__dlpack__(max_version=(1, 0)))


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_dlpack_unused_capsule_frees_its_tensor(version):
    before = tl.memory_stats()["live"]
    capsule = tl.zeros(3).__dlpack__(max_version=version)
    assert tl.memory_stats()["live"] == before + 1
    del capsule
    assert tl.memory_stats()["live"] == before


class Once:
    """Hands out one capsule."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **kwargs):
        return self.capsule

    def __dlpack_device__(self):
        return (1, 0)


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_from_dlpack_capsule_is_used_once(version):
    source = Once(tl.asarray([1.0, 2.0]).__dlpack__(max_version=version))
    assert tl.from_dlpack(source).tolist() == [1.0, 2.0]
    with pytest.raises(BufferError, match="unused"):
        tl.from_dlpack(source)


def test_from_dlpack_producer_without_keywords():
    class Old:
        def __init__(self):
            self.array = np.arange(3.0)

        def __dlpack__(self, stream=None):
            return self.array.__dlpack__()

        def __dlpack_device__(self):
            return (1, 0)

    assert tl.from_dlpack(Old()).tolist() == [0.0, 1.0, 2.0]


def test_from_dlpack_keeps_the_producer_alive_and_lets_it_go():
    a = np.arange(4.0)
    gone = weakref.ref(a)
    x = tl.from_dlpack(a)
    del a
    gc.collect()
    assert gone() is not None
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
    del x
    gc.collect()
    assert gone() is None


def test_from_dlpack_copy_true_copies():
    a = np.arange(3.0)
    x = tl.from_dlpack(a, copy=True)
    a[0] = 7
    assert x.tolist() == [0.0, 1.0, 2.0]


def test_from_dlpack_copy_false_shares():
    a = np.arange(3.0)
    assert tl.from_dlpack(a, copy=False).data_ptr() == a.ctypes.data


def test_from_dlpack_readonly_source_gives_readonly_tensor():
    assert tl.from_dlpack(tl.asarray(b"abc")).is_readonly


def test_dlpack_readonly_needs_the_versioned_form():
    x = tl.asarray(b"abc")
    with pytest.raises(BufferError, match="read-only"):
        x.__dlpack__()
    assert not np.from_dlpack(x).flags.writeable


def test_dlpack_copy_of_readonly_is_writable():
    assert not tl.from_dlpack(tl.asarray(b"abc"), copy=True).is_readonly
    assert '"dltensor"' in repr(tl.asarray(b"abc").__dlpack__(copy=True))


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"stream": 1}, BufferError),
        ({"dl_device": (2, 0)}, BufferError),
        ({"max_version": 1}, TypeError),
        ({"max_version": ("a", "b")}, TypeError),
    ],
)
def test_dlpack_bad_requests_raise(keywords, error):
    with pytest.raises(error):
        tl.zeros(1).__dlpack__(**keywords)


def test_dlpack_requires_grad_raises():
    with pytest.raises(BufferError, match="detach"):
        tl.ones(1, requires_grad=True).__dlpack__()


def test_from_dlpack_other_device_raises():
    class Elsewhere(Once):
        def __dlpack_device__(self):
            return (10, 0)  # ROCm

    with pytest.raises(BufferError, match="device type 10"):
        tl.from_dlpack(Elsewhere(None))
    with pytest.raises(tl.DeviceError):
        tl.from_dlpack(np.zeros(1), device="cuda:15")


@pytest.mark.parametrize("bad", [3, [1.0], None, object()])
def test_from_dlpack_other_objects_raise(bad):
    with pytest.raises(TypeError, match="__dlpack__"):
        tl.from_dlpack(bad)


def test_from_dlpack_no_capsule_raises():
    with pytest.raises(BufferError, match="capsule"):
        tl.from_dlpack(Once("capsule"))


# A structure made by hand reaches what no producer at hand sends.
class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _DType(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    )


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


class Handmade:
    """A versioned DLPack producer over four floats, with any field changed."""

    def __init__(
        self,
        *,
        shape=(2, 2),
        strides=None,
        offset=0,
        dtype=(2, 32, 1),
        major=1,
        device=1,
        ndim=None,
        flags=0,
    ):
        self.deleted = 0
        self.memory = np.arange(8, dtype=np.float32)
        self.shape = (ctypes.c_int64 * 64)(*shape)
        self.strides = None if strides is None else (ctypes.c_int64 * 64)(*strides)
        self.managed = _Versioned(
            major, 0, None, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.delete), flags,
            _Tensor(self.memory.ctypes.data, _Device(device, 0),
                    len(shape) if ndim is None else ndim, _DType(*dtype), self.shape,
                    self.strides, offset),
        )  # fmt: skip

    def delete(self, _):
        self.deleted += 1

    def __dlpack__(self, **kwargs):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(ctypes.addressof(self.managed), b"dltensor_versioned", None)

    def __dlpack_device__(self):
        return (1, 0)


def test_from_dlpack_null_strides_mean_c_order():
    assert tl.from_dlpack(Handmade()).tolist() == [[0.0, 1.0], [2.0, 3.0]]


def test_from_dlpack_byte_offset_and_strides_apply():
    x = tl.from_dlpack(Handmade(strides=(-2, 1), offset=16))
    assert x.tolist() == [[4.0, 5.0], [2.0, 3.0]]


def test_from_dlpack_misaligned_data_is_copied():
    source = Handmade(offset=2, shape=(3,))
    x = tl.from_dlpack(source)
    assert source.deleted == 1
    assert x.data_ptr() % 4 == 0
    with pytest.raises(ValueError, match="aligned"):
        tl.from_dlpack(Handmade(offset=2, shape=(3,)), copy=False)


def test_from_dlpack_deleter_runs_once():
    source = Handmade()
    x = tl.from_dlpack(source)
    y = x[0]
    del x
    assert source.deleted == 0
    del y
    assert source.deleted == 1


def test_from_dlpack_readonly_flag_holds():
    assert tl.from_dlpack(Handmade(flags=1)).is_readonly


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"major": 2}, BufferError),
        ({"device": 8}, BufferError),
        ({"dtype": (2, 32, 4)}, tl.DTypeError),
        ({"dtype": (3, 64, 1)}, tl.DTypeError),
        ({"dtype": (17, 8, 1)}, tl.DTypeError),
        ({"dtype": (4, 32, 1)}, tl.DTypeError),
        ({"ndim": 60}, tl.ShapeError),
        ({"ndim": -1}, tl.ShapeError),
        ({"shape": (-1, 2)}, tl.ShapeError),
        ({"shape": (2**62, 2**10)}, tl.ShapeError),
    ],
)
def test_from_dlpack_malformed_structures_raise(fields, error):
    with pytest.raises(error):
        tl.from_dlpack(Handmade(**fields))


# ---- PyTorch -------------------------------------------------------------------
def test_torch_round_trip_shares_memory():
    torch = pytest.importorskip("torch")
    for dtype in (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float32):
        t = torch.ones(2, 3).to(dtype)
        x = tl.from_dlpack(t)
        assert x.data_ptr() == t.data_ptr()
        back = torch.from_dlpack(x)
        assert back.data_ptr() == t.data_ptr()
        assert back.dtype == dtype
        assert tl.asarray(t).data_ptr() == t.data_ptr()


def test_torch_deleter_runs_in_another_thread():
    torch = pytest.importorskip("torch")
    before = tl.memory_stats()["live"]
    box = [torch.from_dlpack(tl.zeros(16))]
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert tl.memory_stats()["live"] == before


def test_torch_bfloat16_travels_both_ways():
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.5, -3e38], dtype=torch.bfloat16)
    y = tl.from_dlpack(x)
    assert y.dtype is tl.bfloat16
    assert torch.equal(torch.from_dlpack(y), x)


def test_torch_grad_raises():
    torch = pytest.importorskip("torch")
    with pytest.raises(BufferError):
        tl.from_dlpack(torch.zeros(2, requires_grad=True))


@pytest.mark.parametrize("device", [1, "cpu", [1, 0]])
def test_dl_device_that_is_no_pair_is_refused(device):
    with pytest.raises(TypeError, match=r"expected dl_device=\(type, index\)"):
        tl.ones(2).__dlpack__(dl_device=device)
