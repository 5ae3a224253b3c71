"""The idx file format of the MNIST family, gzip-compressed or not.

A file is: two zero bytes, a type code (8 for unsigned bytes), the number of axes,
each axis's length as a big-endian 32-bit integer, then the values.
"""

import hashlib
import math
import struct
import zlib
from pathlib import Path

import tensorlib as tl

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 8
_LONGEST_HEADER = 4 + 4 * 255
_PIECE = 1 << 24


def _read_bytes(path):
    """Return a file's content, decompressed if it starts like a gzip file.

    No more is decompressed than the header asks for, and a byte to see that more is
    there: a small file may hold gigabytes.
    """
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    content, _ = _decompressed(path, raw, _LONGEST_HEADER)
    if len(content) >= 4:
        start = 4 + 4 * content[3]
        axes = content[4:start].ljust(start - 4, b"\0")
        shape = struct.unpack(f">{content[3]}I", axes)
        size = start + math.prod(shape) + 1
        # Data that claim more than a gzip file of this length holds are cut short.
        content, ended = _decompressed(path, raw, min(size, 1032 * len(raw) + 64))
        if not ended and len(content) < size:
            raise ValueError(
                f"{path}: damaged gzip data after {len(content)} bytes of content; "
                f"expected a complete gzip file, this one has {len(raw)} bytes"
            )
    return content


def _decompressed(path, raw, limit):
    """Return at most `limit` bytes of content, and whether it ends with them."""
    stream = zlib.decompressobj(wbits=31)
    content = bytearray()
    rest = raw
    try:
        while len(content) < limit and not stream.eof:
            piece = stream.decompress(rest, min(_PIECE, limit - len(content)))
            rest = stream.unconsumed_tail
            if not piece and not rest:
                break
            content += piece
    except zlib.error as error:
        raise ValueError(
            f"{path}: damaged gzip data after {len(content)} bytes of content "
            f"({error}); expected a complete gzip file, this one has {len(raw)} bytes"
        ) from error
    return bytes(content), stream.eof


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
