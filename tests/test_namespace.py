"""The Array API's questions to a namespace and its tensors."""

import pytest

import tensorlib as tl

STANDARD = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64", "complex64", "complex128",
}  # fmt: skip


def test_namespace_of_a_tensor_is_tensorlib():
    x = tl.ones(2)
    assert x.__array_namespace__() is tl
    assert x.__array_namespace__(api_version=tl.__array_api_version__) is tl
    with pytest.raises(ValueError, match="__array_namespace__: expected a version"):
        x.__array_namespace__(api_version="1999.12")


def test_dtypes_are_those_of_the_standard():
    info = tl.__array_namespace_info__()
    found = info.dtypes()
    assert set(found) == STANDARD
    assert all(getattr(tl, name) is item for name, item in found.items())
    assert set(info.dtypes(kind="real floating")) == {"float32", "float64"}
    assert set(info.dtypes(kind=("bool", "complex floating"))) == {
        "bool", "complex64", "complex128",
    }  # fmt: skip
    with pytest.raises(ValueError, match="isdtype: expected a kind"):
        info.dtypes(kind="decimal")


def test_defaults_are_what_creation_gives():
    info = tl.__array_namespace_info__()
    made = info.default_dtypes(device="cpu")
    assert made["real floating"] is tl.ones(1).dtype
    assert made["complex floating"] is tl.asarray(1j).dtype
    assert made["integral"] is tl.asarray(1).dtype
    assert made["indexing"] is tl.argmax(tl.ones(1)).dtype
    assert info.default_device() == tl.ones(1).device
    assert info.default_device() in info.devices()
    with pytest.raises(tl.DeviceError, match="default_dtypes: expected a device of"):
        info.default_dtypes(device="cuda:15")


def test_every_device_that_is_listed_has_its_dtypes():
    info = tl.__array_namespace_info__()
    for device in info.devices():
        assert info.dtypes(device=device) == info.dtypes()
        assert info.default_dtypes(device=device) == info.default_dtypes()
    with pytest.raises(tl.DeviceError, match="expected a device of cpu"):
        info.dtypes(device="cuda:15")


def test_capabilities_hold():
    found = tl.__array_namespace_info__().capabilities()
    x = tl.arange(3)
    assert found["boolean indexing"] is True
    assert x[x > 0].tolist() == [1, 2]
    assert found["data-dependent shapes"] is True
    most = found["max dimensions"]
    assert tl.ones((1,) * most).ndim == most
    with pytest.raises(tl.ShapeError):
        tl.ones((1,) * (most + 1))


def test_to_device_of_its_own_device_is_the_tensor():
    x = tl.ones(2)
    assert x.to_device(x.device) is x
    with pytest.raises(tl.DeviceError, match="to: no CUDA device 99"):
        x.to_device("cuda:99")
    with pytest.raises(ValueError, match="to_device: expected stream=None"):
        x.to_device("cpu", stream=1)
