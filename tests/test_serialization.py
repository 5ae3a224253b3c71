"""save and load."""

import json
import os
import stat

import pytest

import tensorlib as tl
from tensorlib import nn, optim

pytest.importorskip("safetensors")


def round_trip(obj, folder):
    path = folder / "state.safetensors"
    tl.save(obj, path)
    return tl.load(path)


@pytest.mark.parametrize(
    "name",
    [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
    ],
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_round_trip_keeps_dtype_shape_and_values(name, shape, tmp_path):
    count = 1
    for extent in shape:
        count *= extent
    x = tl.arange(count).astype(getattr(tl, name)).reshape(shape)
    y = round_trip({"x": x}, tmp_path)["x"]
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    assert y.tolist() == x.tolist()


def test_round_trip_of_views_and_shared_tensors(tmp_path):
    x = tl.arange(6).reshape((2, 3))
    state = round_trip({"t": x.T, "s": x[:, ::-2], "a": x, "b": x}, tmp_path)
    assert state["t"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert state["s"].tolist() == [[2, 0], [5, 3]]
    assert state["a"].tolist() == state["b"].tolist() == x.tolist()


def test_round_trip_keeps_nan_inf_and_negative_zero(tmp_path):
    x = tl.tensor([float("nan"), float("inf"), -0.0])
    y = round_trip({"x": x}, tmp_path)["x"]
    assert bytes(memoryview(y)) == bytes(memoryview(x))


def test_loaded_tensors_can_be_written(tmp_path):
    y = round_trip({"x": tl.zeros(2)}, tmp_path)["x"]
    y[0] = 1.0
    y += 1.0
    assert y.tolist() == [2.0, 1.0]


def test_round_trip_of_nested_state(tmp_path):
    obj = {
        "model": {"w": tl.ones(2), "deep": [tl.zeros(1), {"$odd": 1}]},
        "numbers": {0: tl.ones(1), 3: 1.5, -1: None},
        "tuple": (1, (True, "text"), []),
        "special": [float("inf"), 10**30, 0.1],
        "a": {"b": tl.zeros(1)},
        "a.b": tl.ones(1),
    }
    found = round_trip(obj, tmp_path)
    assert list(found) == list(obj)
    assert found["tuple"] == obj["tuple"]
    assert found["special"] == obj["special"]
    assert found["numbers"][3] == 1.5
    assert found["numbers"][-1] is None
    assert found["numbers"][0].tolist() == [1.0]
    assert found["model"]["deep"][1] == {"$odd": 1}
    assert found["a"]["b"].tolist() == [0.0]
    assert found["a.b"].tolist() == [1.0]


def test_round_trip_of_optimizer_state_continues_bit_for_bit(tmp_path):
    def step(layer, optimizer):
        optimizer.zero_grad()
        (layer(tl.ones((1, 3))) ** 2).sum().backward()
        optimizer.step()

    layer = nn.Linear(3, 2)
    optimizer = optim.AdamW(layer.parameters())
    step(layer, optimizer)
    state = {"model": layer.state_dict(), "optimizer": optimizer.state_dict()}
    state = round_trip(state, tmp_path)
    other = nn.Linear(3, 2)
    other.load_state_dict(state["model"])
    other_optimizer = optim.AdamW(other.parameters())
    other_optimizer.load_state_dict(state["optimizer"])
    step(layer, optimizer)
    step(other, other_optimizer)
    assert other.weight.tolist() == layer.weight.tolist()
    assert other_optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_flat_file_is_read_by_pytorchs_safetensors(tmp_path):
    pytest.importorskip("torch")
    reader = pytest.importorskip("safetensors.torch")
    layer = nn.Linear(3, 2)
    path = tmp_path / "weights.safetensors"
    tl.save(layer.state_dict(), path)
    theirs = reader.load_file(path)
    assert list(theirs) == ["bias", "weight"]
    assert theirs["weight"].tolist() == layer.weight.tolist()
    reader.save_file({"w": theirs["weight"] + 1}, path)
    ours = tl.load(path)
    assert ours["w"].tolist() == (layer.weight + 1).tolist()


def test_save_of_something_else_names_the_place(tmp_path):
    with pytest.raises(TypeError, match=r"got object at 'a\.0'"):
        tl.save({"a": [object()]}, tmp_path / "x")
    with pytest.raises(TypeError, match="keys to be str or int"):
        tl.save({"a": {1.5: 2}}, tmp_path / "x")
    with pytest.raises(TypeError, match="expected a dict"):
        tl.save(tl.ones(1), tmp_path / "x")
    assert os.listdir(tmp_path) == []


def test_save_into_missing_folder_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        tl.save({"x": tl.ones(1)}, tmp_path / "none" / "x")


def test_save_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    tl.save({"x": tl.ones(1)}, path)

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        tl.save({"x": tl.zeros(1)}, path)
    monkeypatch.undo()
    assert tl.load(path)["x"].item() == 1.0
    assert os.listdir(tmp_path) == ["x"]


def test_saved_file_has_the_usual_mode(tmp_path):
    path = tmp_path / "x"
    tl.save({"x": tl.ones(1)}, path)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("cut", [0, 4, 20, -1])
def test_load_of_truncated_file_names_it(cut, tmp_path):
    path = tmp_path / "x"
    tl.save({"x": tl.ones(4), "n": 1}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not a complete safetensors file") as caught:
        tl.load(path)
    assert str(path) in str(caught.value)


def test_load_of_other_files_raises(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"\x80\x04pickle or something else" * 10)
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        tl.load(path)
    with pytest.raises(FileNotFoundError):
        tl.load(tmp_path / "none")


def test_load_with_damaged_metadata_raises(tmp_path):
    header = json.dumps({"__metadata__": {"tensorlib": '{"tree": {"$tensor": "x"}}'}})
    path = tmp_path / "x"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(ValueError, match=r"metadata .* damaged"):
        tl.load(path)


def test_load_of_unknown_dtype_raises(tmp_path):
    header = json.dumps(
        {"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}
    )
    path = tmp_path / "x"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"\0")
    with pytest.raises(tl.DTypeError, match=r"'x' in .* has dtype F8_E4M3"):
        tl.load(path)
