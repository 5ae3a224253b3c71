"""CIFAR in both formats, and the reader that takes the place of unpickling."""

import contextlib
import os
import pickle
import pickletools
import struct

import pytest

import tensorlib as tl
from tensorlib import data
from tensorlib.data.array_pickle import read_array_pickle

np = pytest.importorskip("numpy")


def pixels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def python2_pickle(images, labels):
    """A batch as Python 2 wrote it: byte strings, and NumPy's old module names."""

    def string(text):
        text = text.encode() if isinstance(text, str) else text
        return b"T" + struct.pack("<i", len(text)) + text

    dtype = b"cnumpy\ndtype\n" + string("u1") + b"K\0K\1\x87R(K\3" + string("|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85"
    array += string("b") + b"\x87R(K\1" + b"M" + struct.pack("<H", images.shape[0])
    array += b"M" + struct.pack("<H", images.shape[1]) + b"\x86" + dtype + b"\x89"
    array += string(images.tobytes()) + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    body = b"(" + string("batch_label") + string("part 1") + string("labels") + numbers
    body += (
        string("data") + array + string("filenames") + b"](" + string("a.png") + b"e"
    )
    return b"\x80\2}" + body + b"u."


def write_cifar10(folder, form="python3", train=True):
    folder.mkdir(parents=True, exist_ok=True)
    names = data.CIFAR10.files[0 if train else 1]
    everything, all_labels = [], []
    for number, name in enumerate(names):
        images = pixels(4, number)
        labels = [number, 9, 0, 3]
        everything.append(images)
        all_labels += labels
        if form == "binary":
            rows = np.concatenate([np.array(labels, np.uint8)[:, None], images], axis=1)
            (folder / (name + ".bin")).write_bytes(rows.tobytes())
        elif form == "python2":
            (folder / name).write_bytes(python2_pickle(images, labels))
        else:
            content = pickle.dumps({"data": images, "labels": labels}, protocol=2)
            (folder / name).write_bytes(content)
    return np.concatenate(everything), all_labels


@pytest.mark.parametrize("form", ["binary", "python2", "python3"])
@pytest.mark.parametrize("train", [True, False])
def test_cifar10_reads_both_formats(form, train, tmp_path):
    below = data.CIFAR10.folders[form == "binary"]
    images, labels = write_cifar10(tmp_path / below, form, train)
    cifar = data.CIFAR10(tmp_path, train=train, check=False)
    assert (cifar.images.numpy().reshape(-1, 3072) == images).all()
    assert cifar.targets.tolist() == labels
    image, label = cifar[1]
    assert image.dtype == tl.float32
    expected = (images[1] / 255).reshape(3, 32, 32)
    assert abs(image.numpy() - expected).max() < 1e-7
    assert cifar.classes[label] == "truck"
    batch, targets = cifar.take(tl.tensor([1, 3]))
    assert batch[0].tolist() == image.tolist()
    assert targets.tolist() == [9, 3]


@pytest.mark.parametrize("form", ["binary", "python"])
def test_cifar100_takes_the_fine_labels(form, tmp_path):
    images, fine, coarse = pixels(3), [5, 99, 0], [19, 1, 2]
    if form == "binary":
        head = np.array([coarse, fine], np.uint8).T
        rows = np.concatenate([head, images], axis=1)
        (tmp_path / "test.bin").write_bytes(rows.tobytes())
    else:
        batch = {"data": images, "fine_labels": fine, "coarse_labels": coarse}
        (tmp_path / "test").write_bytes(pickle.dumps(batch))
    cifar = data.CIFAR100(tmp_path, train=False, check=False)
    assert cifar.targets.tolist() == fine
    assert (cifar.images.numpy().reshape(-1, 3072) == images).all()
    assert len(cifar.classes) == len(set(cifar.classes)) == 100
    assert list(cifar.classes) == sorted(cifar.classes)


@pytest.mark.parametrize("kind", [data.CIFAR10, data.CIFAR100])
def test_cifar_missing_says_where_to_get_it(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cs\.toronto\.edu/~kriz") as caught:
        kind(tmp_path)
    assert kind.archives[0] in str(caught.value)
    assert str(tmp_path / kind.files[0][0]) in str(caught.value)


def test_cifar_checks_sums_and_counts(tmp_path):
    write_cifar10(tmp_path / "py", train=False)
    with pytest.raises(
        ValueError, match="expected MD5 40351d587109b95175f43aff81a1287e"
    ):
        data.CIFAR10(tmp_path / "py", train=False)
    write_cifar10(tmp_path / "bin", "binary", train=False)
    with pytest.raises(ValueError, match="expected 10000 images in test_batch, got 4"):
        data.CIFAR10(tmp_path / "bin", train=False)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c[:-1], "at offset 9219: expected records of 3073 bytes, got 12291"),
        (lambda c: b"", "at offset 0: expected records"),
        (
            lambda c: c[:3073] + b"\x0a" + c[3074:],
            "label at offset 3073.*got 10 for image 1",
        ),
    ],
)
def test_cifar_damaged_binary_names_file_and_offset(change, text, tmp_path):
    write_cifar10(tmp_path, "binary", train=False)
    path = tmp_path / "test_batch.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=text) as caught:
        data.CIFAR10(tmp_path, train=False, check=False)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        ({"labels": [1]}, "expected 'data', a uint8 array of shape.*got nothing"),
        ({"data": pixels(2)}, "expected 'labels', 2 whole numbers, got nothing"),
        ({"data": pixels(2), "labels": [1]}, "2 whole numbers, got a list of 1$"),
        ({"data": pixels(2), "labels": [1, 1.5]}, "whole numbers"),
        (
            {"data": pixels(2), "labels": [1, 10]},
            r"class in \[0, 10\), got 10 for image 1",
        ),
        ({"data": pixels(2), "labels": [1, -1]}, "got -1"),
        ({"data": pixels(2)[:, 1:], "labels": [1, 1]}, r"\(2, 3071\)"),
        ({"data": pixels(2).astype("f4"), "labels": [1, 1]}, "float32 of shape"),
    ],
)
def test_cifar_batch_of_another_kind_raises(batch, text, tmp_path):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(ValueError, match=text):
        data.CIFAR10(tmp_path, train=False, check=False)


# ---- the reader ------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_reader_equals_unpickling(protocol, tmp_path):
    content = {
        "u1": np.arange(6, dtype=np.uint8).reshape(2, 3), "i8": np.arange(3),
        "f4": np.ones((2, 2), np.float32), "f8": np.zeros((0, 2)),
        "i4": np.arange(4, dtype=np.int32), "bool": np.array([True, False]),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "shared": [1] * 300, "text": "ü" * 300, "bytes": b"x" * 300, 7: None,
        "big": [2**70, -1, 65536, 1.5, True, (), (1,), (1, 2, 3, 4)],
    }  # fmt: skip
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_array_pickle(path)
    assert list(found) == list(content)
    for key, value in content.items():
        if isinstance(value, np.ndarray):
            assert found[key].numpy().dtype == value.dtype
            assert found[key].shape == value.shape
            assert (found[key].numpy() == value).all()
        else:
            assert found[key] == value


class Runs:
    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def array_with_state(*state):
    """A pickle of an array with any state at all."""

    class Forged:
        def __reduce__(self):
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state

    return pickle.dumps({"data": Forged()}, protocol=4)


U1, OBJECT = np.dtype("u1"), np.dtype("O")
HOSTILE = {
    "os.system": (pickle.dumps({"x": Runs(os.system, "touch HACKED")}), "posix system"),
    "eval": (pickle.dumps({"x": Runs(eval, "1")}), "builtins eval"),
    "getattr": (pickle.dumps(Runs(getattr, "", "join")), "builtins getattr"),
    "own class": (pickle.dumps({"x": Runs}), "Runs"),
    "object array": (
        pickle.dumps({"x": np.array([Runs], object)}),
        "a call that is not",
    ),
    "ndarray called": (b"\x80\2cnumpy\nndarray\nK\1\x85R.", "a call that is not"),
    "encode": (b"\x80\2c_codecs\nencode\nX\1\0\0\0aX\3\0\0\0hex\x86R.", "a call that"),
    "negative size": (array_with_state(1, (-1,), U1, False, b""), "no tuple of sizes"),
    "2^60 elements": (array_with_state(1, (2**60,), U1, False, b"abc"), "got 3"),
    "short data": (
        array_with_state(1, (4,), U1, False, b"abc"),
        "needs 4 bytes, got 3",
    ),
    "no dtype": (
        array_with_state(1, (3,), "u1", False, b"abc"),
        "state of another kind",
    ),
    "object dtype": (
        array_with_state(1, (0,), OBJECT, False, []),
        "a call that is not",
    ),
    "big-endian": (pickle.dumps({"x": np.ones(2, ">i4")}), "not little-endian"),
    "array without state": (
        b"\x80\2}X\1\0\0\0xcnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\0\x85X\1\0\0\0b\x87Rs.",
        "without content",
    ),
    "build on a dict": (b"\x80\2}}b.", "dict where tuple"),
    "build on a name": (b"\x80\2cnumpy\ndtype\n)b.", "a state for _Name"),
    "nested key": (b"\x80\2})" + b"\x85" * 10**5 + b"K\1s.", "a key of type tuple"),
    "deep nesting": (
        b"\x80\2)" + b"\x85" * 10**5 + b".",
        "the content is of type tuple",
    ),
    "memo of 2^31": (
        b"\x80\2}r\xff\xff\xff\x7fj\xff\xff\xff\x7f0.",
        "POP is not allowed",
    ),
    "lost memo": (b"\x80\2h\7.", "memo 7 was never stored"),
    "bytes of 2^60": (b"\x80\4\x8e" + struct.pack("<Q", 2**60) + b"abc.", "offset"),
    "bytearray": (b"\x80\5\x96" + struct.pack("<Q", 3) + b"abc.", "BYTEARRAY8 is not"),
    "persistent": (b"\x80\2K\1Q.", "BINPERSID is not allowed"),
    "extension": (b"\x80\2\x82\1.", "EXT1 is not allowed"),
    "instance": (b"(ios\nsystem\n.", "INST is not allowed"),
    "newobj": (b"\x80\2cnumpy\ndtype\n)\x81.", "NEWOBJ is not allowed"),
    "underflow": (b"\x80\2\x85.", "stack underflow"),
    "empty stack": (b"\x80\2.", "damaged or refused"),
    "no mark": (b"\x80\2]e.", "stack underflow"),
    "odd items": (b"\x80\2}(K\1u.", "a key without a value"),
    "append to dict": (b"\x80\2}K\1a.", "dict where list"),
    "list": (pickle.dumps([1]), "the content is of type list"),
    "text": (b"hello, world", "offset 0"),
    "empty": (b"", "offset 0 of 0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_reader_refuses_hostile_files_and_runs_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, text = HOSTILE[name]
    path = tmp_path / "batch"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        read_array_pickle(path)
    assert str(path) in str(caught.value)
    assert "at offset" in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["batch"]


def test_reader_refuses_every_truncation(tmp_path):
    content = python2_pickle(pixels(1)[:, :5], [1])
    path = tmp_path / "batch"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="damaged or refused at offset"):
            read_array_pickle(path)


def test_reader_survives_any_changed_byte(tmp_path):
    content = bytearray(pickle.dumps({"data": pixels(1)[:, :9], "labels": [1]}))
    path = tmp_path / "batch"
    for place in range(len(content)):
        for flip in (0x01, 0x80, 0xFF):
            changed = content[:]
            changed[place] ^= flip
            path.write_bytes(changed)
            with contextlib.suppress(ValueError):  # and nothing else
                assert type(read_array_pickle(path)) is dict


def test_reader_allows_no_more_names_than_it_needs():
    from tensorlib.data import array_pickle

    assert len(array_pickle._NAMES) == 6
    opcodes = {opcode.name for opcode in pickletools.opcodes}
    assert opcodes >= array_pickle._LITERALS
