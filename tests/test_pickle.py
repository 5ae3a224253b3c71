"""Pickling and the copy module."""

import copy
import pickle

import numpy as np
import pytest

import tensorlib as tl

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64",
]  # fmt: skip
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


def sample(dtype, shape=(3, 4)):
    return tl.asarray(np.arange(np.prod(shape)).reshape(shape) % 5).astype(dtype)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_pickle_round_trip_keeps_values(protocol, dtype):
    x = sample(dtype)
    assert same(pickle.loads(pickle.dumps(x, protocol)), x)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0, 4), (1,)])
def test_pickle_scalar_and_empty_keep_shape(protocol, shape):
    x = sample("float32", shape)
    assert same(pickle.loads(pickle.dumps(x, protocol)), x)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "view",
    [lambda x: x.T, lambda x: x[::-1, ::2], lambda x: x[:1].broadcast_to((5, 4))],
    ids=["transposed", "stepped", "broadcast"],
)
def test_pickle_view_becomes_contiguous(protocol, view):
    x = view(sample("float64"))
    loaded = pickle.loads(pickle.dumps(x, protocol))
    assert same(loaded, x)
    assert loaded.is_contiguous


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickle_keeps_requires_grad_and_parameter(protocol):
    x = tl.ones(3, requires_grad=True)
    x.is_parameter = True
    loaded = pickle.loads(pickle.dumps(x, protocol))
    assert loaded.requires_grad
    assert loaded.is_parameter
    assert loaded.grad is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickle_result_is_writable(protocol):
    loaded = pickle.loads(pickle.dumps(tl.zeros(3), protocol))
    loaded += 1
    assert loaded.tolist() == [1.0, 1.0, 1.0]


def test_pickle_out_of_band_moves_no_element():
    x = tl.zeros(1000)
    buffers = []
    data = pickle.dumps(x, 5, buffer_callback=buffers.append)
    assert len(data) < 400
    assert len(buffers) == 1
    loaded = pickle.loads(data, buffers=buffers)
    assert loaded.data_ptr() == x.data_ptr()


def test_pickle_out_of_band_readonly_buffer_gives_readonly_tensor():
    buffers = []
    data = pickle.dumps(tl.ones(4), 5, buffer_callback=buffers.append)
    frozen = [bytes(buffer.raw()) for buffer in buffers]
    loaded = pickle.loads(data, buffers=frozen)
    assert loaded.is_readonly
    assert loaded.tolist() == [1.0] * 4


def test_pickle_short_buffer_raises():
    data = pickle.dumps(tl.ones(4), 5, buffer_callback=lambda buffer: False)
    with pytest.raises(ValueError, match="buffer of 3"):
        pickle.loads(data, buffers=[b"abc"])


def test_pickle_non_leaf_raises():
    with pytest.raises(tl.GraphError, match="detach"):
        pickle.dumps(tl.ones(2, requires_grad=True) * 2)


def test_pickle_dtype_and_device_keep_identity():
    assert pickle.loads(pickle.dumps(tl.int32)) is tl.int32
    assert pickle.loads(pickle.dumps(tl.device("cpu"))) == tl.device("cpu")


def test_copy_shares_memory():
    x = tl.ones(3, requires_grad=True)
    other = copy.copy(x)
    assert other is not x
    assert other.data_ptr() == x.data_ptr()
    assert other.requires_grad


def test_deepcopy_has_its_own_memory():
    x = tl.ones((2, 3))
    other = copy.deepcopy(x)
    other += 1
    assert x.tolist() == [[1.0] * 3] * 2
    assert other.tolist() == [[2.0] * 3] * 2


def test_deepcopy_keeps_marks_and_copies_grad():
    x = tl.tensor([1.0, 2.0], requires_grad=True)
    x.is_parameter = True
    x.grad = tl.tensor([3.0, 4.0])
    other = copy.deepcopy(x)
    assert other.requires_grad
    assert other.is_parameter
    assert other.grad.tolist() == [3.0, 4.0]
    assert other.grad.data_ptr() != x.grad.data_ptr()


def test_deepcopy_respects_memo():
    x = tl.ones(2)
    first, second = copy.deepcopy([x, x])
    assert first is second


@pytest.mark.parametrize("function", [copy.copy, copy.deepcopy])
def test_copy_non_leaf_raises(function):
    with pytest.raises(tl.GraphError, match="leaf"):
        function(tl.ones(2, requires_grad=True) * 2)


def test_pickle_leaves_no_storage_behind():
    before = tl.memory_stats()["live"]
    for protocol in PROTOCOLS:
        pickle.loads(pickle.dumps(sample("float32"), protocol))
        copy.deepcopy(sample("float32"))
    assert tl.memory_stats()["live"] == before
