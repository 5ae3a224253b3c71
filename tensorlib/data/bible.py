"""The King James Bible as Debian packages it: prose that is a package away.

The file holds windows of text, each packed as the Unix program compress does: codes of
9 to 16 bits for strings, each new string being an old one and a letter more.
"""

import itertools
import re
import struct
from pathlib import Path

__all__ = ["bible_text"]

_MAGIC = b"EC02Compressed Data File"
_TABLE = 0x54  # window size, number of windows, then their offsets
_MAX_WINDOW = 1 << 20
_CLEAR, _FIRST_BITS, _LAST_BITS = 256, 9, 16


def bible_text(root="/usr/lib", citations=False):
    """Return the King James Bible, a verse a line.

    Parameters
    ----------
    root : str or Path, default "/usr/lib"
        The file ``bible.data`` of Debian's package ``bible-kjv-text``, or its folder.
    citations : bool, default False
        Whether lines begin with their place (``Ge1:1``) and the title stays.

    Returns
    -------
    str

    Raises
    ------
    FileNotFoundError
        If the file is missing; the message says how to get it.
    ValueError
        If it is truncated, corrupt or another file.

    References
    ----------
    T. A. Welch, "A Technique for High-Performance Data Compression", IEEE Computer 17
    (1984).
    """
    path = Path(root)
    path = path / "bible.data" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"bible_text: {path} is missing. On Debian and Ubuntu: apt-get install "
            "bible-kjv-text; elsewhere take usr/lib/bible.data out of that package, "
            "https://packages.debian.org/bible-kjv-text, and pass root"
        )
    raw = path.read_bytes()
    size, offsets = _read_table(raw, path)
    text = b"".join(
        _unpack(raw, start, end, size, path)
        for start, end in itertools.pairwise(offsets)
    ).decode("latin-1")
    if citations:
        return text
    return re.sub(r"(?m)^\S+?\d+:\d+ ", "", text.partition("\n")[2])


def _read_table(raw, path):
    """Return the size of a window and where windows begin and the last one ends."""
    if raw[: len(_MAGIC)] != _MAGIC:
        raise ValueError(
            f"{path}: wrong magic number at offset 0: expected {_MAGIC!r}, got "
            f"{raw[: len(_MAGIC)]!r}"
        )
    if len(raw) < _TABLE + 8:
        raise ValueError(f"{path}: truncated at offset {len(raw)}: expected a table")
    size, count = struct.unpack_from(">II", raw, _TABLE)
    start = _TABLE + 8
    end = start + 4 * (count + 1)
    if not 0 < size <= _MAX_WINDOW or end > len(raw):
        raise ValueError(
            f"{path}: corrupt or truncated table at offset {_TABLE}: expected windows "
            f"of at most {_MAX_WINDOW} bytes, got {count} of {size} in {len(raw)} bytes"
        )
    offsets = struct.unpack_from(f">{count + 1}I", raw, start)
    if (end, *offsets) != tuple(sorted((end, *offsets))) or offsets[-1] > len(raw):
        raise ValueError(
            f"{path}: corrupt or truncated at offset {start}: expected rising offsets "
            f"of windows up to {len(raw)}, the length of the file"
        )
    return size, offsets


def _unpack(raw, start, end, limit, path):
    """Return a window's text, at most `limit` bytes."""
    first = [bytes([value]) for value in range(256)] + [b""]
    strings, bits, last = list(first), _FIRST_BITS, b""
    found, size, place = [], 0, start
    while place < end:
        # Eight codes fill whole bytes; where their width changes the rest is padding.
        group = raw[place : min(place + bits, end)]
        codes, mask = int.from_bytes(group, "little"), (1 << bits) - 1
        for k in range(8 * len(group) // bits):
            code = codes >> (bits * k) & mask
            if code == _CLEAR:
                place += bits
                strings, bits, last = list(first), _FIRST_BITS, b""
                break
            if code > len(strings) or (code == len(strings) and not last):
                raise ValueError(
                    f"{path}: corrupt at offset {place}: expected a code up to "
                    f"{len(strings)}, got {code}"
                )
            string = strings[code] if code < len(strings) else last + last[:1]
            if last and len(strings) < 1 << _LAST_BITS:
                strings.append(last + string[:1])
            found.append(string)
            size += len(string)
            last = string
            if size > limit:
                raise ValueError(
                    f"{path}: corrupt at offset {place}: expected windows of at most "
                    f"{limit} bytes"
                )
            if len(strings) >= 1 << bits and bits < _LAST_BITS:
                place += bits
                bits += 1
                break
        else:
            place += bits
    return b"".join(found)
