"""Read a pickled dict of numbers, strings, lists and NumPy arrays without running code.

Python's unpickler calls whatever a file names. This reader interprets the few opcodes
that such dicts consist of itself; of names it knows NumPy's array, its dtype and the
function that rebuilds it, and checks their arguments. Nothing from the file is ever
called, and no more is allocated than the file's bytes fill.

References
----------
Module `pickletools` of Python's standard library: the opcodes. NEP 1 and
``numpy/_core/src/multiarray/methods.c``, ``array_setstate``: the state of an array.
"""

import io
import math
import pickletools
from enum import Enum
from pathlib import Path

import tensorlib as tl

__all__ = ["read_array_pickle"]


class _Name(Enum):
    """The only names a file may use."""

    ARRAY = "ndarray"
    DTYPE = "dtype"
    RECONSTRUCT = "_reconstruct"
    ENCODE = "encode"
    BYTES = "bytes"


_NAMES = {
    "numpy ndarray": _Name.ARRAY,
    "numpy dtype": _Name.DTYPE,
    "numpy.core.multiarray _reconstruct": _Name.RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": _Name.RECONSTRUCT,
    # How Python 3 writes bytes for Python 2.
    "_codecs encode": _Name.ENCODE,
    "__builtin__ bytes": _Name.BYTES,
}
# NumPy's type code: the struct module's format and the size.
_FORMATS = {
    "b1": ("?", 1), "u1": ("B", 1), "i4": ("i", 4), "i8": ("q", 8), "f4": ("f", 4),
    "f8": ("d", 8),
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINSTRING",
    "BINSTRING", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _DType:
    def __init__(self, code):
        self.code = code


class _Array:
    tensor = None


def read_array_pickle(path):
    """Read a pickled dict whose values are arrays, numbers, strings or lists of them.

    Parameters
    ----------
    path : str or Path
        The file, of pickle protocol 2 or newer.

    Returns
    -------
    dict
        Keys are str or int, arrays are tensors; strings of Python 2 become str.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is truncated or corrupt, or holds anything else; the message names the
        file, the offset, and what was expected.

    Examples
    --------
    >>> import pathlib, pickle, tempfile
    >>> from tensorlib.data.array_pickle import read_array_pickle
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "batch"
    ...     _ = path.write_bytes(pickle.dumps({"labels": [6, 9]}))
    ...     read_array_pickle(path)
    {'labels': [6, 9]}
    """
    content = Path(path).read_bytes()
    reader = _Reader(content)
    try:
        result = reader.read()
    except (ValueError, IndexError, OverflowError) as error:
        offset = min(reader.offset, len(content))
        what = "stack underflow" if isinstance(error, IndexError) else error
        raise ValueError(
            f"{path}: damaged or refused at offset {offset} of {len(content)}: {what}; "
            "expected a pickled dict of arrays, numbers, strings and lists"
        ) from None
    return result


class _Reader:
    """The stack machine that a pickle is a program for."""

    def __init__(self, content):
        self.stream = io.BytesIO(content)
        self.offset = 0
        self.stack = []
        self.marked = []  # the stacks below each mark
        self.memo = {}

    def read(self):
        for opcode, argument, offset in pickletools.genops(self.stream):
            self.offset = offset
            self.step(opcode.name, argument)
        result = self.stack.pop()
        if type(result) is not dict:
            raise ValueError(f"the content is of type {type(result).__name__}")
        return {key: _finished(value) for key, value in result.items()}

    def step(self, name, argument):
        push = self.stack.append
        if name in _LITERALS:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _EMPTY:
            push(_EMPTY[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise ValueError(f"memo {argument} was never stored")
            push(self.memo[argument])
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(self.stack) < count:
                raise IndexError
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif name not in ("PROTO", "FRAME", "STOP"):
            method = getattr(self, "do_" + name.lower(), None)
            if method is None:
                raise ValueError(f"opcode {name} is not allowed")
            method(argument)

    def do_mark(self, _):
        self.marked.append(self.stack)
        self.stack = []

    def above_mark(self):
        items, self.stack = self.stack, self.marked.pop()
        return items

    def do_tuple(self, _):
        items = self.above_mark()
        self.stack.append(tuple(items))

    def do_append(self, _):
        item = self.stack.pop()
        _expected(self.stack[-1], list).append(item)

    def do_appends(self, _):
        items = self.above_mark()
        _expected(self.stack[-1], list).extend(items)

    def do_setitem(self, _):
        value, key = self.stack.pop(), self.stack.pop()
        self.fill(_expected(self.stack[-1], dict), [key, value])

    def do_setitems(self, _):
        items = self.above_mark()
        self.fill(_expected(self.stack[-1], dict), items)

    def fill(self, target, items):
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Nothing else: hashing a deeply nested tuple could overflow the C stack.
            if isinstance(key, bytes):
                key = key.decode("latin-1")
            if type(key) not in (str, int):
                raise ValueError(f"a key of type {type(key).__name__}")
            target[key] = value

    def do_global(self, argument):
        if argument not in _NAMES:
            raise ValueError(f"the name {argument[:80]!r} is not allowed")
        self.stack.append(_NAMES[argument])

    def do_stack_global(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name that is no string")
        self.do_global(f"{module} {name}")

    def do_reduce(self, _):
        arguments, function = self.stack.pop(), self.stack.pop()
        arguments = _expected(arguments, tuple)
        if function is _Name.RECONSTRUCT and arguments[:1] == (_Name.ARRAY,):
            self.stack.append(_Array())
        elif function is _Name.DTYPE and arguments and arguments[0] in _FORMATS:
            self.stack.append(_DType(arguments[0]))
        elif function is _Name.ENCODE and arguments[1:] == ("latin1",):
            self.stack.append(_expected(arguments[0], str).encode("latin-1"))
        elif function is _Name.BYTES and not arguments:
            self.stack.append(b"")
        else:
            raise ValueError(
                f"a call that is not allowed; dtypes may be {', '.join(_FORMATS)}"
            )

    def do_build(self, _):
        state = _expected(self.stack.pop(), tuple)
        target = self.stack[-1]
        if isinstance(target, _Array):
            target.tensor = _tensor(state)
        elif not isinstance(target, _DType):
            raise ValueError(f"a state for {type(target).__name__}")
        elif len(state) < 2 or state[1] not in ("|", "<", "="):
            raise ValueError("a dtype that is not little-endian")


def _expected(value, kind):
    if type(value) is not kind:
        raise ValueError(f"{type(value).__name__} where {kind.__name__} is needed")
    return value


def _finished(value):
    if not isinstance(value, _Array):
        return value
    if value.tensor is None:
        raise ValueError("an array without content")
    return value.tensor


def _tensor(state):
    """Return the tensor of an array's state: version, shape, dtype, order, bytes."""
    if len(state) != 5 or not isinstance(state[2], _DType):
        raise ValueError("an array's state of another kind")
    _, shape, dtype, fortran_order, data = state
    if isinstance(data, str):
        data = data.encode("latin-1")
    sizes = _expected(shape, tuple)
    if any(type(n) is not int or n < 0 for n in sizes) or len(sizes) > 16:
        raise ValueError("an array's shape that is no tuple of sizes")
    kind, size = _FORMATS[dtype.code]
    expected = math.prod(sizes) * size
    if len(_expected(data, bytes)) != expected:
        raise ValueError(
            f"an array of shape {sizes} and dtype {dtype.code} needs {expected} bytes, "
            f"got {len(data)}"
        )
    flat = tl.asarray(memoryview(bytearray(data)).cast(kind))
    if not fortran_order:
        return flat.reshape(sizes)
    return tl.permute_dims(flat.reshape(sizes[::-1]), tuple(range(len(sizes)))[::-1])
