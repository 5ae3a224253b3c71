"""Other libraries' arrays and Python's data, in both directions."""

import array
import ctypes
import gc
import mmap
import sys
import threading
import weakref
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tensorlib as tl

DTYPES = ["bool", "uint8", "int32", "int64", "float32", "float64"]
VIEWS = {
    "c": lambda a: a,
    "fortran": lambda a: np.asfortranarray(a),
    "transposed": lambda a: a.T,
    "stepped": lambda a: a[::2, 1::3],
    "negative": lambda a: a[::-1, ::-2],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "empty": lambda a: a[:0],
    "scalar": lambda a: a[0, 0, ...],
}


def sample(dtype, shape=(6, 8)):
    return (np.arange(np.prod(shape)).reshape(shape) % 7).astype(dtype)


# ---- NumPy in ------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS)
def test_asarray_numpy_shares_memory_and_layout(dtype, view):
    a = np.asarray(VIEWS[view](sample(dtype)))
    x = tl.asarray(a)
    assert x.dtype == tl.dtype(dtype)
    assert x.shape == a.shape
    assert x.tolist() == a.tolist()
    if a.size:
        assert x.data_ptr() == a.ctypes.data
        for n, step, wanted in zip(x.shape, x.strides, a.strides, strict=True):
            assert n == 1 or step * a.itemsize == wanted


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4))
    ),
    st.data(),
)
def test_asarray_numpy_any_slice_round_trips(a, data):
    view = a[data.draw(hnp.basic_indices(a.shape, allow_ellipsis=True))]
    view = np.asarray(view)
    np.testing.assert_array_equal(tl.asarray(view).numpy(), view)


def test_from_numpy_writes_are_seen_on_both_sides():
    a = np.zeros(3, dtype=np.float32)
    x = tl.from_numpy(a)
    a[0] = 1
    x += 1
    assert a.tolist() == [2.0, 1.0, 1.0]


def test_from_numpy_readonly_array_gives_readonly_tensor():
    a = np.zeros(3)
    a.flags.writeable = False
    x = tl.from_numpy(a)
    assert x.is_readonly
    with pytest.raises(ValueError, match="read-only"):
        x += 1


@pytest.mark.parametrize("bad", [[1, 2], 3.0, b"abc", None])
def test_from_numpy_other_objects_raise(bad):
    with pytest.raises(TypeError, match=r"numpy\.ndarray"):
        tl.from_numpy(bad)


def test_from_numpy_keeps_the_array_alive_and_lets_it_go():
    a = np.arange(5.0)
    gone = weakref.ref(a)
    x = tl.from_numpy(a)
    del a
    gc.collect()
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    view = x[1:]
    del x
    assert gone() is not None
    del view
    gc.collect()
    assert gone() is None


def test_asarray_record_field_is_copied():
    a = np.zeros(4, dtype=[("a", "i1"), ("b", "f4")])
    a["b"] = [1, 2, 3, 4]
    x = tl.asarray(a["b"])
    assert x.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert x.data_ptr() % x.itemsize == 0


def test_asarray_misaligned_array_is_copied():
    raw = np.zeros(17, dtype=np.uint8)
    a = raw[1:].view("<f8") if raw[1:].ctypes.data % 8 else raw[:16].view("<f8")
    a[:] = [1.5, 2.5]
    x = tl.asarray(a)
    assert x.tolist() == [1.5, 2.5]
    assert x.data_ptr() % 8 == 0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: np.zeros(2, ">f4"), "byte order"),
        (lambda: np.zeros(2, "f2"), "float16 is not supported yet"),
        (lambda: np.zeros(2, "i2"), "int16 is not supported yet"),
        (lambda: np.zeros(2, "c8"), "complex64 is not supported yet"),
        (lambda: np.zeros(2, "O"), "object"),
        (lambda: np.zeros(2, "U3"), "<U3"),
        (lambda: np.zeros(2, "M8[s]"), "datetime64"),
        (lambda: np.zeros(2, [("a", "i4"), ("b", "i4")]), "format"),
        (lambda: np.datetime64("2020"), "datetime64"),
    ],
)
def test_asarray_numpy_other_dtypes_raise(make, match):
    with pytest.raises(tl.DTypeError, match=match):
        tl.asarray(make())


def test_asarray_longdouble_raises():
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("long double is double here")
    with pytest.raises(tl.DTypeError):
        tl.asarray(np.zeros(2, np.longdouble))


@pytest.mark.parametrize("dtype", DTYPES)
def test_asarray_numpy_scalar_keeps_its_dtype(dtype):
    x = tl.asarray(np.dtype(dtype).type(1))
    assert x.shape == ()
    assert x.dtype == tl.dtype(dtype)
    assert x.item() == 1


# ---- NumPy out -----------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_is_writable_and_shares_memory(dtype):
    x = tl.zeros((2, 3), dtype=dtype)
    a = x.numpy()
    assert a.dtype == np.dtype(dtype)
    assert a.flags.writeable
    a[1, 2] = 1
    assert x.tolist()[1][2] == 1


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.T,
        lambda x: x[::-1, ::2],
        lambda x: x[1],
        lambda x: x[:0],
        lambda x: x[2, 3],
    ],
    ids=["transposed", "negative", "row", "empty", "scalar"],
)
def test_numpy_of_a_view_has_its_strides(view):
    x = view(tl.asarray(sample("float64")))
    a = x.numpy()
    assert a.shape == x.shape
    assert a.tolist() == x.tolist()
    if a.size:
        assert a.ctypes.data == x.data_ptr()


def test_numpy_of_a_broadcast_is_readonly():
    a = tl.ones((1, 3)).broadcast_to((4, 3)).numpy()
    assert a.strides == (0, 4)
    assert not a.flags.writeable


def test_numpy_requires_grad_raises():
    with pytest.raises(tl.GraphError, match="detach"):
        tl.ones(2, requires_grad=True).numpy()


def test_numpy_keeps_the_memory_alive():
    x = tl.asarray([1.0, 2.0])
    a = x.numpy()
    del x
    tl.zeros(2)
    assert a.tolist() == [1.0, 2.0]


def test_array_method_honours_dtype_and_copy():
    x = tl.ones(2)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.array(x, copy=True).ctypes.data != x.data_ptr()
    assert np.asarray(x).ctypes.data == x.data_ptr()


# ---- the buffer protocol -------------------------------------------------------
def test_memoryview_describes_the_tensor():
    x = tl.asarray(sample("int32"))[::2].copy()
    view = memoryview(x)
    assert view.format == "i"
    assert view.shape == x.shape
    assert view.itemsize == 4
    assert view.c_contiguous
    assert view.tolist() == x.tolist()


def test_memoryview_of_a_strided_view_is_not_contiguous():
    view = memoryview(tl.asarray(sample("float32")).T)
    assert not view.c_contiguous
    assert view.f_contiguous
    assert view.strides == (4, 32)


def test_buffer_simple_request_of_a_strided_view_raises():
    with pytest.raises(BufferError, match="contiguous"):
        zlib.crc32(tl.asarray(sample("float32"))[:, ::2])


def test_buffer_writable_request_of_readonly_raises():
    with pytest.raises((BufferError, TypeError)):
        ctypes.c_char.from_buffer(tl.asarray(b"abc"))


def test_buffer_requires_grad_raises():
    with pytest.raises(BufferError, match="detach"):
        memoryview(tl.ones(2, requires_grad=True))


@pytest.mark.parametrize("code", ["b", "B", "i", "q", "f", "d"])
def test_asarray_array_module(code):
    source = array.array(code, [1, 2, 3])
    names = {"B": "uint8", "i": "int32", "q": "int64", "f": "float32", "d": "float64"}
    if code not in names:
        with pytest.raises(tl.DTypeError, match="int8"):
            tl.asarray(source)
        return
    x = tl.asarray(source)
    assert x.dtype == tl.dtype(names[code])
    source[0] = 9
    assert x.tolist() == [9, 2, 3]


def test_asarray_bytes_are_readonly_and_bytearray_is_not():
    assert tl.asarray(b"ab").is_readonly
    source = bytearray(b"ab")
    x = tl.asarray(source)
    x += 1
    assert source == b"bc"


def test_asarray_memoryview_cast_keeps_shape():
    view = memoryview(bytearray(24)).cast("f", (2, 3))
    x = tl.asarray(view)
    assert x.shape == (2, 3)
    assert x.dtype == tl.float32


def test_asarray_mmap_holds_the_map_until_freed():
    source = mmap.mmap(-1, 64)
    x = tl.asarray(source)
    with pytest.raises(BufferError):
        source.close()
    del x
    source.close()


def test_asarray_bytearray_cannot_be_resized_meanwhile():
    source = bytearray(4)
    x = tl.asarray(source)
    with pytest.raises(BufferError):
        source.append(1)
    del x
    source.append(1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 688 is newer")
def test_asarray_python_buffer_class():
    class Exporter:
        def __buffer__(self, flags):
            return memoryview(b"abc")

    assert tl.asarray(Exporter()).tolist() == [97, 98, 99]


def test_asarray_freed_in_another_thread():
    source = bytearray(1 << 12)
    box = [tl.asarray(source)]
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    source.append(1)


# ---- the array interface -------------------------------------------------------
class Interface:
    def __init__(self, **described):
        self.__array_interface__ = {"version": 3, **described}


def test_asarray_interface_over_bytes():
    data = np.arange(6, dtype=np.int32).tobytes()
    x = tl.asarray(Interface(shape=(2, 3), typestr="<i4", data=data))
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert x.is_readonly


def test_asarray_interface_pointer_keeps_the_object_alive():
    class Owner:
        def __init__(self):
            self.array = np.arange(4.0)

        @property
        def __array_interface__(self):
            return self.array.__array_interface__

    owner = Owner()
    gone = weakref.ref(owner)
    x = tl.asarray(owner)
    del owner
    gc.collect()
    assert gone() is not None
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
    del x
    gc.collect()
    assert gone() is None


def test_asarray_interface_strides_that_wrap_raise():
    described = {"shape": (2**61,), "typestr": "|u1", "strides": (8,), "data": b"abcd"}
    with pytest.raises(ValueError, match="buffer of 4"):
        tl.asarray(Interface(**described))


def test_asarray_interface_short_data_raises():
    with pytest.raises(ValueError, match="buffer of 3"):
        tl.asarray(Interface(shape=(2,), typestr="<i4", data=b"abc"))


@pytest.mark.parametrize(
    ("described", "error"),
    [
        ({"typestr": "<i4", "data": b""}, TypeError),
        ({"shape": (1,), "typestr": "", "data": b"abcd"}, TypeError),
        ({"shape": (1,), "typestr": "<iX", "data": b"abcd"}, TypeError),
        ({"shape": (1,), "typestr": ">i4", "data": b"abcd"}, tl.DTypeError),
        ({"shape": (1,), "typestr": "|V4", "data": b"abcd"}, tl.DTypeError),
        ({"shape": (1,) * 40, "typestr": "|u1", "data": b"a"}, tl.ShapeError),
        ({"shape": (-1,), "typestr": "|u1", "data": b"a"}, tl.ShapeError),
        ({"shape": (2**62, 4), "typestr": "|u1", "data": (64, False)}, tl.ShapeError),
        ({"shape": (1,), "typestr": "|u1", "data": (0, False)}, ValueError),
        ({"shape": (1,), "typestr": "|u1", "data": (0,)}, TypeError),
        ({"shape": (1,), "typestr": "|u1", "data": ("x", 1)}, TypeError),
        ({"shape": (4,), "typestr": "|u1", "strides": (1, 1), "data": b"a"}, TypeError),
    ],
)
def test_asarray_interface_malformed_raises(described, error):
    with pytest.raises(error):
        tl.asarray(Interface(**described))


def test_asarray_pillow_image():
    image_module = pytest.importorskip("PIL.Image")
    image = image_module.new("RGB", (3, 2), (1, 2, 3))
    x = tl.asarray(image)
    assert x.shape == (2, 3, 3)
    assert x.dtype == tl.uint8
    assert x.tolist()[0][0] == [1, 2, 3]


# ---- Python data ---------------------------------------------------------------
@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (True, "bool", ()),
        (3, "int64", ()),
        (2.5, "float32", ()),
        ([], "float32", (0,)),
        ([[], []], "float32", (2, 0)),
        ([True, False], "bool", (2,)),
        ([True, 2], "int64", (2,)),
        ([1, 2.5, True], "float32", (3,)),
        ([[1, 2], (3, 4)], "int64", (2, 2)),
        (range(4), "int64", (4,)),
        ([range(2), range(2)], "int64", (2, 2)),
        ([np.float64(1), 2.0], "float64", (2,)),
        ([np.float32(1), 2], "float32", (2,)),
        ([np.arange(3), [1, 2, 3]], "int64", (2, 3)),
        ([np.arange(3, dtype=np.int32), [1, 2, 3]], "int32", (2, 3)),
        ([np.arange(3, dtype=np.int32), [1.0, 2, 3]], "float32", (2, 3)),
        ([np.ones((2, 2), np.float32), np.ones((2, 2))], "float64", (2, 2, 2)),
        ([[[1]]] * 3, "int64", (3, 1, 1)),
    ],
)
def test_asarray_python_data_infers_shape_and_dtype(data, dtype, shape):
    x = tl.asarray(data)
    assert x.dtype == tl.dtype(dtype)
    assert x.shape == shape
    np.testing.assert_array_equal(x.numpy(), np.asarray(data))


def test_asarray_list_of_tensors_stacks_values():
    x = tl.asarray([tl.tensor([1, 2]), [3, 4]])
    assert x.tolist() == [[1, 2], [3, 4]]
    assert tl.asarray([tl.tensor(1), 2.5]).tolist() == [1.0, 2.5]


def test_asarray_list_of_tensors_that_require_grad_raises():
    with pytest.raises(tl.GraphError, match="stack"):
        tl.asarray([tl.ones(2, requires_grad=True)])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ([[1, 2], [3]], r"expected length 2 at \[1\]"),
        ([[[1], [2]], [[3], [4, 5]]], r"expected length 1 at \[1\]\[1\]"),
        ([1, [2]], r"\[1\] is a list, but its neighbours are scalars"),
        ([[1], 2], r"\[1\] is a int"),
        ([[], [1]], "expected length 0"),
        ([[1], []], "expected length 1"),
        ([np.ones(2), np.ones(3)], "expected length 2"),
        ([np.ones(2), 1.0], r"\[1\] is a float"),
        ([1.0, np.ones(2)], "array of shape"),
    ],
)
def test_asarray_ragged_raises_and_says_where(data, match):
    with pytest.raises(tl.ShapeError, match=match):
        tl.asarray(data)


def test_asarray_too_deep_or_cyclic_raises():
    deep = 1
    for _ in range(40):
        deep = [deep]
    cycle = []
    cycle.append(cycle)
    for data in (deep, cycle):
        with pytest.raises(tl.ShapeError, match="deep"):
            tl.asarray(data)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ("abc", "got str"),
        (["a"], r"at \[0\].*got str"),
        ([[1.0, None]], r"at \[0\]\[1\].*NoneType"),
        (None, "NoneType"),
        ({1: 2}, "dict"),
        ({1, 2}, "set"),
        (object(), "object"),
        (1j, "complex"),
        ([1, 1j], r"at \[1\].*complex"),
        (int, "type"),
    ],
)
def test_asarray_other_objects_raise(data, match):
    with pytest.raises(TypeError, match=match):
        tl.asarray(data)


@pytest.mark.parametrize("data", [2**63, -(2**63) - 1, [1, 2**63], [[0], [10**30]]])
def test_asarray_integer_beyond_int64_raises(data):
    with pytest.raises(OverflowError, match="out of range for int64"):
        tl.asarray(data)


def test_asarray_int64_limits_are_exact():
    limits = [2**63 - 1, -(2**63)]
    assert tl.asarray(limits).tolist() == limits


def test_tensor_dtype_applies_before_rounding():
    assert tl.tensor([0.1], dtype=tl.float64).item() == 0.1
    assert tl.tensor(0.1, dtype=tl.float64).item() == 0.1


@pytest.mark.parametrize(
    ("dtype", "bad"), [("uint8", 256), ("int32", 2**31), ("uint8", -1)]
)
def test_tensor_integer_outside_the_dtype_raises(dtype, bad):
    with pytest.raises(OverflowError, match=f"out of range for {dtype}"):
        tl.tensor([0, bad], dtype=dtype)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_tensor_nan_as_integer_raises(bad):
    with pytest.raises(ValueError, match="cannot be stored in int64"):
        tl.tensor([1.0, bad], dtype=tl.int64)


def test_asarray_sequence_that_shrinks_while_read_raises():
    class Shrinks:
        def __len__(self):
            victim.clear()
            return 2

        def __getitem__(self, i):
            if i >= 2:
                raise IndexError
            return i

    victim = [[1, 2], Shrinks()]
    with pytest.raises((RuntimeError, tl.ShapeError)):
        tl.asarray(victim)


# ---- DLPack --------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.T,
        lambda x: x[::-1, ::2],
        lambda x: x[:0],
        lambda x: x[1, 1],
    ],
    ids=["c", "transposed", "negative", "empty", "scalar"],
)
def test_dlpack_to_numpy_shares_memory(dtype, view):
    x = view(tl.asarray(sample(dtype)).copy())
    a = np.from_dlpack(x)
    assert a.dtype == np.dtype(dtype)
    assert a.tolist() == x.tolist()
    if a.size:
        assert a.ctypes.data == x.data_ptr()


@pytest.mark.parametrize("dtype", DTYPES)
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


@pytest.mark.parametrize("dtype", ["float16", "int16", "complex64"])
def test_from_dlpack_other_dtypes_raise(dtype):
    a = np.zeros(2, dtype)
    with pytest.raises(tl.DTypeError, match=dtype):
        tl.from_dlpack(a)
    assert sys.getrefcount(a) == 2  # the refused capsule let it go


def test_from_dlpack_other_device_raises():
    class Elsewhere(Once):
        def __dlpack_device__(self):
            return (2, 0)

    with pytest.raises(BufferError, match="device type 2"):
        tl.from_dlpack(Elsewhere(None))
    with pytest.raises(tl.DeviceError):
        tl.from_dlpack(np.zeros(1), device="cuda")


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
        ({"dtype": (4, 16, 1)}, tl.DTypeError),
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


def test_torch_bfloat16_and_grad_raise():
    torch = pytest.importorskip("torch")
    with pytest.raises(tl.DTypeError, match="bfloat16"):
        tl.from_dlpack(torch.zeros(2, dtype=torch.bfloat16))
    with pytest.raises(BufferError):
        tl.from_dlpack(torch.zeros(2, requires_grad=True))


# ---- leaks ---------------------------------------------------------------------
def test_interop_leaves_no_storage_behind():
    def everything():
        a = sample("float32")
        for x in (tl.asarray(a), tl.from_dlpack(a), tl.asarray(a.tolist())):
            np.from_dlpack(x)
            memoryview(x).release()
            x.numpy()
            tl.from_dlpack(x, copy=True)
        for bad in ([[1], [2, 3]], ["a"], np.zeros(2, "f2")):
            with pytest.raises((tl.ShapeError, TypeError)):
                tl.asarray(bad)

    everything()
    gc.collect()
    before = tl.memory_stats()["live"]
    for _ in range(50):
        everything()
    gc.collect()
    assert tl.memory_stats()["live"] == before


def test_interop_keeps_reference_counts():
    a = np.arange(4.0)
    before = sys.getrefcount(a)
    for _ in range(100):
        tl.asarray(a)
        tl.from_dlpack(a)
    assert sys.getrefcount(a) == before
