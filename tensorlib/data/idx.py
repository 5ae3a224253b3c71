"""The idx file format of the MNIST family, gzip-compressed or not.

A file is: two zero bytes, a type code (8 for unsigned bytes), the number of axes,
each axis's length as a big-endian 32-bit integer, then the values.
"""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import tensorlib as tl

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 8


def _read_bytes(path):
    """Return a file's content, decompressed if it starts like a gzip file."""
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{path}: damaged gzip data after {_readable_prefix(raw)} bytes of content "
            f"({error}); expected a complete gzip file, this one has {len(raw)} bytes"
        ) from error


def _readable_prefix(raw):
    """Return how many bytes of content a damaged gzip file still gives."""
    stream = zlib.decompressobj(wbits=31)
    size = 0
    try:
        for start in range(0, len(raw), 4096):
            size += len(stream.decompress(raw[start : start + 4096]))
    except zlib.error:
        pass
    return size


def read_idx(path, ndim=None, md5=None):
    """Read an idx file of unsigned bytes.

    Parameters
    ----------
    path : str or Path
        The file, gzip-compressed or not.
    ndim : int, optional
        The number of axes it must have.
    md5 : str, optional
        The MD5 sum its uncompressed content must have (integrity, not security).

    Returns
    -------
    Tensor
        uint8, of the shape the file states.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is truncated, too long, corrupt, or not such a file; the message names
        the file, the offset in the uncompressed content, and what was expected.

    References
    ----------
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section
    "File formats".

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from tensorlib.data.idx import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "labels-idx1-ubyte"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    ...     read_idx(path).tolist()
    [7, 9]
    """
    path = Path(path)
    content = _read_bytes(path)
    if len(content) < 4:
        raise ValueError(
            f"{path}: truncated at offset {len(content)}: expected 4 bytes of magic"
        )
    if content[:3] != bytes([0, 0, _UNSIGNED_BYTE]) or (
        ndim is not None and content[3] != ndim
    ):
        axes = "the number of axes" if ndim is None else f"{ndim:02x}"
        raise ValueError(
            f"{path}: wrong magic number at offset 0: expected 00 00 08 {axes} (an "
            f"idx file of unsigned bytes), got {content[:4].hex(' ')}"
        )
    axes = content[3]
    start = 4 + 4 * axes
    if len(content) < start:
        raise ValueError(
            f"{path}: truncated at offset {len(content)}: expected {start} bytes of "
            f"header for {axes} axes"
        )
    shape = struct.unpack(f">{axes}I", content[4:start])
    size = math.prod(shape)
    if len(content) != start + size:
        what = "truncated" if len(content) < start + size else "too long"
        raise ValueError(
            f"{path}: {what} at offset {min(len(content), start + size)}: expected "
            f"{size} bytes of data for shape {shape} after the {start}-byte header, "
            f"{start + size} in all, got {len(content)}"
        )
    if md5 is not None:
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if digest != md5:
            raise ValueError(
                f"{path}: corrupt somewhere in offsets 0..{len(content)}: expected MD5 "
                f"{md5} of the uncompressed content, got {digest}"
            )
    values = memoryview(bytearray(content))[start:]
    return tl.asarray(values).reshape(shape)
