"""Arrays of NumPy's files, ``.npy`` and ``.npz``, that hold no pickles.

Headers are checked against the bytes that are there before anything is allocated.
"""

import ast
import math
import re
import struct
import zipfile
import zlib
from pathlib import Path

import tensorlib as tl
from tensorlib.core.layout import MAX_DIMENSIONS
from tensorlib.data.dataset import TensorDataset

__all__ = ["NpyDataset", "NpzDataset", "read_npy", "read_npz"]

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # NumPy's own limit
# What deflate can make of a byte at most (Mark Adler, zlib technical details).
_DEFLATE_RATIO = 1032

# Whatever zipfile raises over damaged archives.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError,
    OSError, OverflowError, UnicodeDecodeError,
)  # fmt: skip


def read_npy(path):
    """Read the array of a ``.npy`` file.

    Parameters
    ----------
    path : str or Path
        The file, of format version 1, 2 or 3.

    Returns
    -------
    Tensor
        Of the file's dtype and shape; big-endian values are swapped.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is truncated, too long, corrupt, or holds Python objects; the message
        names the file, the offset, and what was expected.
    DTypeError
        If no tensor can have its dtype.

    References
    ----------
    NEP 1, "A Simple File Format for NumPy Arrays".

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from tensorlib.data import read_npy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.npy"
    ...     np.save(path, np.arange(3))
    ...     read_npy(path).tolist()
    [0, 1, 2]
    """
    path = Path(path)
    with path.open("rb") as stream:
        return _read_array(stream, path.stat().st_size, str(path))


def read_npz(path, names=None):
    """Read arrays of an ``.npz`` archive.

    Parameters
    ----------
    path : str or Path
        The archive, compressed or not.
    names : iterable of str, optional
        Which arrays; all of them by default, in their order in the archive.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    KeyError
        If a name is not in it.
    ValueError
        If the archive or an array is truncated, corrupt or hostile.
    DTypeError
        If no tensor can have an array's dtype.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from tensorlib.data import read_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.npz"
    ...     np.savez(path, a=np.arange(2), b=np.ones(1))
    ...     {name: x.tolist() for name, x in read_npz(path).items()}
    {'a': [0, 1], 'b': [1.0]}
    """
    path = Path(path)
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return _read_arrays(archive, path, names)
        except _ZIP_ERRORS as error:
            raise ValueError(f"{path}: damaged zip archive: {error}") from error


def _read_arrays(archive, path, names):
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    names = list(members) if names is None else list(names)
    missing = [name for name in names if name not in members]
    if missing:
        raise KeyError(f"{path}: no array {missing[0]!r}, only {list(members)}")
    _check_members(path, [members[name] for name in names])
    return {name: _read_member(archive, members[name], path) for name in names}


def _check_members(path, members):
    """Refuse what could unpack to more than the archive's own bytes can hold."""
    packed = sum(info.compress_size for info in members)
    if packed > path.stat().st_size:
        raise ValueError(
            f"{path}: the archive's entries overlap: {packed} packed bytes in a file "
            f"of {path.stat().st_size}"
        )
    for info in members:
        where = f"{path}[{info.filename}] at offset {info.header_offset}"
        if info.flag_bits & 1:
            raise ValueError(f"{where}: encrypted; expected a plain .npz archive")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(
                f"{where}: expected stored or deflated data, got compression method "
                f"{info.compress_type}"
            )
        if info.file_size > _DEFLATE_RATIO * info.compress_size + 64:
            raise ValueError(
                f"{where}: claims {info.file_size} bytes, more than its "
                f"{info.compress_size} packed bytes can hold"
            )


def _read_member(archive, info, path):
    with archive.open(info) as stream:
        return _read_array(stream, info.file_size, f"{path}[{info.filename}]")


def _read_array(stream, size, where):
    start, descr, fortran_order, shape = _read_header(stream, size, where)
    dtype = _dtype_of(descr, where)
    count = math.prod(shape)
    expected = count * dtype.itemsize
    if size != start + expected:
        what = "truncated" if size < start + expected else "too long"
        raise ValueError(
            f"{where}: {what} at offset {min(size, start + expected)}: expected "
            f"{expected} bytes of data for shape {shape} and dtype {descr} after the "
            f"{start}-byte header, {start + expected} in all, got {size}"
        )
    data = bytearray(_read(stream, expected, start, "data", where))
    return _tensor(data, dtype, shape, fortran_order, where)


def _read(stream, count, offset, what, where):
    data = stream.read(count)
    if len(data) != count:
        raise ValueError(
            f"{where}: truncated at offset {offset + len(data)}: expected {count} "
            f"bytes of {what}"
        )
    return data


def _read_header(stream, size, where):
    """Return the header's length, and the dtype, order and shape it states."""
    magic = _read(stream, min(8, size), 0, "magic", where)
    if magic[:6] != _MAGIC or magic[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise ValueError(
            f"{where}: wrong magic number at offset 0: expected 93 4e 55 4d 50 59 "
            "(NUMPY) and version 1.0, 2.0 or 3.0, got "
            f"{magic.hex(' ') or 'an empty file'}"
        )
    form, width = ("<H", 2) if magic[6] == 1 else ("<I", 4)
    (length,) = struct.unpack(form, _read(stream, width, 8, "header length", where))
    start = 8 + width + length
    if length > _MAX_HEADER or start > size:
        raise ValueError(
            f"{where}: oversized header at offset 8: expected at most {_MAX_HEADER} "
            f"bytes within a file of {size}, got {length}"
        )
    text = _read(stream, length, 8 + width, "header", where)
    try:
        header = ast.literal_eval(text.decode("utf-8" if magic[6] == 3 else "latin-1"))
        descr, order, shape = (
            header[key] for key in ("descr", "fortran_order", "shape")
        )
        fine = len(header) == 3 and type(order) is bool and type(shape) is tuple
        fine = fine and all(type(n) is int and n >= 0 for n in shape)
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        fine = False
    if not fine or len(shape) > MAX_DIMENSIONS:
        raise ValueError(
            f"{where}: corrupt header at offset {8 + width}: expected a dict of "
            "'descr', 'fortran_order' and 'shape' with at most "
            f"{MAX_DIMENSIONS} sizes >= 0, got {text[:80]!r}"
        )
    return start, descr, order, shape


def _dtype_of(descr, where):
    import numpy  # loaded only where NumPy's files are read

    if isinstance(descr, str) and re.fullmatch(r"[|<>=]?[biufc]\d{1,2}", descr):
        try:
            return numpy.dtype(descr)
        except TypeError:
            pass
    raise ValueError(
        f"{where}: expected a dtype of numbers, got {str(descr)[:80]!r}; Python "
        "objects are pickles, which could run code, and are never loaded"
    )


def _tensor(data, dtype, shape, fortran_order, where):
    import numpy

    order = "F" if fortran_order else "C"
    array = numpy.frombuffer(data, dtype).reshape(shape, order=order)
    try:
        return tl.asarray(array.astype(dtype.newbyteorder("="), copy=False))
    except tl.DTypeError as error:
        raise tl.DTypeError(f"{where}: {error}") from None


class NpyDataset(TensorDataset):
    """Samples along the first axis of one or more ``.npy`` files.

    Parameters
    ----------
    *paths : str or Path
        The files; each array of shape ``(N, ...)``.

    Raises
    ------
    FileNotFoundError, ValueError, DTypeError
        As `read_npy`.
    ShapeError
        If the first axes differ in length.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from tensorlib.data import NpyDataset
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.npy"
    ...     np.save(path, np.arange(3))
    ...     len(NpyDataset(path))
    3
    """

    def __init__(self, *paths):
        super().__init__(*map(read_npy, paths))


class NpzDataset(TensorDataset):
    """Samples along the first axis of the arrays of an ``.npz`` archive.

    Parameters
    ----------
    path : str or Path
        The archive; each array of shape ``(N, ...)``.
    names : iterable of str, optional
        Which arrays, in the order of a sample's parts; all by default.

    Raises
    ------
    FileNotFoundError, KeyError, ValueError, DTypeError
        As `read_npz`.
    ShapeError
        If the first axes differ in length.

    Attributes
    ----------
    names : tuple of str
        The parts of a sample.
    """

    def __init__(self, path, names=None):
        arrays = read_npz(path, names)
        self.names = tuple(arrays)
        super().__init__(*arrays.values())
