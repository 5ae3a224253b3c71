"""NumPy's files: everything NumPy saves is read, everything forged is refused."""

import contextlib
import io
import struct
import tracemalloc
import zipfile

import pytest

import tensorlib as tl
from tensorlib import data

np = pytest.importorskip("numpy")

ARRAYS = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "0-d": np.array(7),
    "empty": np.zeros((0, 3)),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "bool": np.array([True, False]),
    "big-endian": np.arange(3, dtype=">i4"),
    "uint8": np.arange(5, dtype=np.uint8),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_read_npy_equals_the_saved_array(name, tmp_path):
    array = ARRAYS[name]
    np.save(tmp_path / "x.npy", array)
    found = data.read_npy(tmp_path / "x.npy").numpy()
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.shape == array.shape
    assert (found == array).all()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_read_npy_of_every_version(version, tmp_path):
    with open(tmp_path / "x.npy", "wb") as stream:
        np.lib.format.write_array(stream, np.arange(3), version)
    assert data.read_npy(tmp_path / "x.npy").tolist() == [0, 1, 2]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_read_npz_equals_the_saved_arrays(save, tmp_path):
    save(tmp_path / "x.npz", **ARRAYS, zeros=np.zeros(10**6, np.uint8))
    found = data.read_npz(tmp_path / "x.npz")
    assert list(found) == [*ARRAYS, "zeros"]
    assert all((found[name].numpy() == ARRAYS[name]).all() for name in ARRAYS)
    some = data.read_npz(tmp_path / "x.npz", ["bool", "0-d"])
    assert list(some) == ["bool", "0-d"]
    with pytest.raises(KeyError, match="no array 'y', only"):
        data.read_npz(tmp_path / "x.npz", ["y"])


def test_datasets_give_samples(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6.0).reshape(3, 2))
    np.save(tmp_path / "y.npy", np.arange(3))
    pairs = data.NpyDataset(tmp_path / "x.npy", tmp_path / "y.npy")
    assert [part.tolist() for part in pairs[1]] == [[2.0, 3.0], 1]
    np.savez(tmp_path / "xy.npz", x=np.ones((3, 2)), y=np.arange(3))
    archive = data.NpzDataset(tmp_path / "xy.npz", ["y", "x"])
    assert archive.names == ("y", "x")
    assert archive.take(tl.tensor([2, 0]))[0].tolist() == [2, 0]


def npy(header, body=b"", version=1, length=None):
    text = header if isinstance(header, bytes) else repr(header).encode()
    form = "<H" if version == 1 else "<I"
    size = struct.pack(form, len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + body


def of_shape(shape, descr="|u1", body=b"", **more):
    return npy({"descr": descr, "fortran_order": False, "shape": shape, **more}, body)


GOOD = of_shape((3,), body=b"abc")
START = len(GOOD) - 3
HOSTILE = {
    "empty": (b"", "wrong magic number at offset 0.*an empty file"),
    "magic": (b"PK\3\4" + GOOD, "wrong magic number at offset 0"),
    "version": (GOOD[:6] + b"\x09\0" + GOOD[8:], "wrong magic number"),
    "cut header": (GOOD[:30], "oversized header at offset 8"),
    "cut length": (
        GOOD[:9],
        "truncated at offset 9: expected 2 bytes of header length",
    ),
    "cut data": (
        GOOD[:-1],
        f"truncated at offset {START + 2}: expected 3 bytes of data",
    ),
    "too long": (GOOD + b"x", f"too long at offset {START + 3}"),
    "huge header": (npy(b"{}", version=2, length=2**32 - 1), "oversized header"),
    "long header": (
        npy(b" " * 20_000),
        "oversized header at offset 8: expected at most",
    ),
    "2^60 elements": (of_shape((2**60,), body=b"abc"), "truncated at offset"),
    "2^60 x 2^60": (of_shape((2**60, 2**60), body=b"abc"), "truncated at offset"),
    "negative": (of_shape((-1,)), "corrupt header at offset 10"),
    "bool size": (of_shape((True,), body=b"a"), "corrupt header"),
    "33 axes": (of_shape((1,) * 33, body=b"a"), "corrupt header"),
    "list shape": (of_shape([3], body=b"abc"), "corrupt header"),
    "another key": (of_shape((3,), body=b"abc", extra=1), "corrupt header"),
    "missing key": (npy({"descr": "|u1"}), "corrupt header"),
    "code": (npy(b"__import__('os').system('touch HACKED')"), "corrupt header"),
    "deep": (npy(b"(" * 5000), "corrupt header"),
    "nul": (npy(b"{\0}"), "corrupt header"),
    "objects": (of_shape((1,), "|O", b"x" * 8), "Python objects are pickles"),
    "structured": (
        of_shape((1,), [("a", "<i4")], b"x" * 4),
        "expected a dtype of numbers",
    ),
    "strings": (of_shape((1,), "<U2", b"x" * 8), "expected a dtype of numbers"),
    "odd size": (of_shape((1,), "<i3", b"x" * 3), "expected a dtype of numbers"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_array_raises_and_allocates_nothing(
    name, packed, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    content, text = HOSTILE[name]
    path = tmp_path / ("x.npz" if packed else "x.npy")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=text) as caught:
            (data.read_npz if packed else data.read_npy)(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_object_array_that_numpy_saved_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="never loaded"):
        data.read_npy(tmp_path / "x.npy")


def test_dtype_without_tensors_names_the_file(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(2, np.longdouble).astype("c16"))
    with contextlib.suppress(tl.DTypeError):  # until complex tensors exist
        assert data.read_npy(tmp_path / "x.npy").tolist() == [1, 1]


# ---- archives --------------------------------------------------------------------


def archive_bytes(content=GOOD, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("x.npy", content)
    return bytearray(stream.getvalue())


def central(content):
    return content.rindex(b"PK\1\2")


def with_sizes(content, packed=None, unpacked=None):
    place = central(content)
    if packed is not None:
        content[place + 20 : place + 24] = struct.pack("<I", packed)
    if unpacked is not None:
        content[place + 24 : place + 28] = struct.pack("<I", unpacked)
    return content


def with_field(content, offset, value):
    place = central(content) + offset
    content[place : place + 2] = struct.pack("<H", value)
    return content


BROKEN_ARCHIVES = {
    "no archive": (b"hello", "damaged zip archive"),
    "empty": (b"", "damaged zip archive"),
    "cut": (archive_bytes()[:-30], "damaged zip archive"),
    "bomb": (with_sizes(archive_bytes(), unpacked=2**31), "claims 2147483648 bytes"),
    "overlap": (with_sizes(archive_bytes(), packed=2**30), "entries overlap"),
    "encrypted": (with_field(archive_bytes(), 8, 1), "encrypted"),
    "bzip2": (archive_bytes(method=zipfile.ZIP_BZIP2), "compression method 12"),
    "lzma": (archive_bytes(method=zipfile.ZIP_LZMA), "compression method 14"),
    "text": (archive_bytes(b"hello"), "wrong magic number at offset 0"),
}


@pytest.mark.parametrize("name", BROKEN_ARCHIVES)
def test_broken_archive_raises_naming_the_file(name, tmp_path):
    content, text = BROKEN_ARCHIVES[name]
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        data.read_npz(path)
    assert str(path) in str(caught.value)


def test_archive_with_a_changed_byte_is_read_right_or_refused(tmp_path):
    content = archive_bytes()
    path = tmp_path / "x.npz"
    for place in range(len(content)):
        changed = content[:]
        changed[place] ^= 0x41
        path.write_bytes(changed)
        try:
            found = data.read_npz(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - not every change is an error
            continue
        assert [x.tolist() for x in found.values()] in ([[97, 98, 99]], [])


def test_bomb_in_gzip_idx_file_is_not_unpacked(tmp_path):
    import gzip

    from tensorlib.data.idx import read_idx

    header = bytes([0, 0, 8, 1]) + struct.pack(">I", 4)
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(header + bytes(50_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="too long at offset 12"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    claim = bytes([0, 0, 8, 2]) + struct.pack(">II", 2**32 - 1, 2**32 - 1)
    path.write_bytes(gzip.compress(claim + b"abc"))
    with pytest.raises(ValueError, match=r"damaged gzip|truncated at offset 15"):
        read_idx(path)
