"""Joining samples into batches."""

from collections import UserList, namedtuple
from types import MappingProxyType

import pytest

import tensorlib as tl
from tensorlib import data

Pair = namedtuple("Pair", ["x", "name"])


def test_collate_nested_samples():
    samples = [{"p": Pair(tl.ones(2) * n, "n"), "l": [n, 1.5]} for n in range(2)]
    batch = data.default_collate(samples)
    assert isinstance(batch["p"], Pair)
    assert batch["p"].x.tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert batch["p"].name == ["n", "n"]
    assert batch["l"][0].dtype == tl.int64
    assert batch["l"][1].dtype == tl.float64


def test_collate_different_shapes_raises():
    with pytest.raises(tl.ShapeError, match="pad them"):
        data.default_collate([tl.ones(2), tl.ones(3)])
    with pytest.raises(ValueError, match="got length 2 in sample 1"):
        data.default_collate([(1,), (1, 2)])
    with pytest.raises(TypeError, match="got object"):
        data.default_collate([object()])


def test_collate_numbers_has_pytorchs_dtypes():
    torch = pytest.importorskip("torch")
    numpy = pytest.importorskip("numpy")
    peers = torch.utils.data.default_collate
    for samples in (
        [1, 2], [1.5, 2.5], [True, False], [numpy.float64(1), numpy.float64(2)],
        [numpy.int32(1), numpy.int32(2)], [numpy.ones(2, "f4"), numpy.zeros(2, "f4")],
        [numpy.ones((), "f8"), numpy.zeros((), "f8")],
    ):  # fmt: skip
        found, expected = data.default_collate(samples), peers(samples)
        assert str(found.dtype) == str(expected.dtype).replace("torch.", "")
        assert found.tolist() == expected.tolist()


class Tagged(dict):
    tag = None


def test_collate_keeps_the_type_of_mappings_and_sequences():
    first = Tagged(x=1)
    first.tag = "kept"
    batch = data.default_collate([first, Tagged(x=2)])
    assert isinstance(batch, Tagged)
    assert batch.tag == "kept"
    assert batch["x"].tolist() == [1, 2]
    assert first["x"] == 1
    fixed = data.default_collate([MappingProxyType({"x": 1.0})])
    assert isinstance(fixed, MappingProxyType)
    assert isinstance(data.default_collate([UserList([1, 2])]), UserList)
    assert [c.tolist() for c in data.default_collate([range(2)])] == [[0], [1]]


def test_collate_strings_and_bytes_stay_lists():
    assert data.default_collate(["a", "b"]) == ["a", "b"]
    assert data.default_collate([(b"a", 1)])[0] == [b"a"]


def test_collate_of_samples_that_differ_names_the_sample():
    with pytest.raises(ValueError, match=r"keys \['a'\].*got \['b'\] in sample 1"):
        data.default_collate([{"a": 1}, {"b": 1}])
    with pytest.raises(
        ValueError, match="length 2 as in sample 0, got int in sample 1"
    ):
        data.default_collate([(1, 2), 3])
    with pytest.raises(tl.ShapeError, match=r"\(2,\) \(sample 0\) and \(3,\)"):
        data.default_collate([{"x": tl.ones(2)}, {"x": tl.ones(3)}])
    with pytest.raises(ValueError, match="at least one sample"):
        data.default_collate([])
