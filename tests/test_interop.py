"""NumPy's arrays, buffers and the array interface, in both directions."""

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
from op_rows import ALL
from sample_arrays import VIEWS, sample

import tensorlib as tl


# ---- NumPy in ------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ALL)
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
    st.sampled_from(ALL).flatmap(
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
        (lambda: np.zeros(2, ">c8"), "byte order"),
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


def test_asarray_exporter_without_strides_is_refused_by_format():
    with pytest.raises(tl.DTypeError, match="3x"):
        tl.asarray(np.void(b"abc"))


def test_asarray_longdouble_raises():
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("long double is double here")
    with pytest.raises(tl.DTypeError):
        tl.asarray(np.zeros(2, np.longdouble))


@pytest.mark.parametrize("dtype", ALL)
def test_asarray_numpy_scalar_keeps_its_dtype(dtype):
    x = tl.asarray(np.dtype(dtype).type(1))
    assert x.shape == ()
    assert x.dtype == tl.dtype(dtype)
    assert x.item() == 1


# ---- NumPy out -----------------------------------------------------------------
@pytest.mark.parametrize("dtype", ALL)
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


@pytest.mark.parametrize("code", list("bBhHiIlLqQfd"))
def test_asarray_array_module(code):
    source = array.array(code, [1, 2, 3])
    x = tl.asarray(source)
    assert x.dtype == tl.dtype(np.asarray(source).dtype)
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


# ---- leaks ---------------------------------------------------------------------
def test_interop_leaves_no_storage_behind():
    def everything():
        a = sample("float32")
        for x in (tl.asarray(a), tl.from_dlpack(a), tl.asarray(a.tolist())):
            np.from_dlpack(x)
            memoryview(x).release()
            x.numpy()
            tl.from_dlpack(x, copy=True)
        for bad in ([[1], [2, 3]], ["a"], np.zeros(2, "U2")):
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


@pytest.mark.parametrize("make", [tl.asarray, tl.from_numpy, tl.tensor])
def test_array_is_released_with_its_last_tensor(make):
    array = np.ones(3, dtype=np.float32)
    before = sys.getrefcount(array)
    x = make(array)
    view = x[1:]
    del x, view
    assert sys.getrefcount(array) == before


def test_assigning_number_to_borrowed_array_is_seen_in_it():
    array = np.zeros((2, 3), dtype=np.float32)
    x = tl.asarray(array.T)
    x[2, 1] = 1.5
    assert array.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 1.5]]
