"""Save and load nested state in safetensors files: tensors and JSON, never pickle.

A flat ``{name: tensor}`` dictionary is written as any safetensors file, which other
libraries read. Anything nested keeps its tensors under dotted names, and its shape,
numbers and strings as JSON in the file's metadata.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import tensorlib as tl
from tensorlib.core.interop import as_bits, over_bytes
from tensorlib.core.tensor import Tensor, address_to_read

__all__ = ["load", "save"]

_METADATA_KEY = "tensorlib"
# Our name of a dtype for the name in a file.
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}


def save(obj, path):
    """Write a (nested) dictionary of tensors to a file.

    The file appears whole or not at all: it is written beside its place, flushed to
    the disk and renamed.

    Parameters
    ----------
    obj : dict
        Values are tensors, None, bool, int, float, str, and dicts, lists and tuples
        of them. Tensors may be views and may share storage; each is written whole.
    path : str or Path
        Where to; the folder must exist.

    Raises
    ------
    TypeError
        If a value is something else; the message says where it sits.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile, os
    >>> import tensorlib as tl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "state.safetensors")
    ...     tl.save({"model": {"w": tl.ones(2)}, "step": 3}, path)
    ...     state = tl.load(path)
    >>> state["model"]["w"].tolist(), state["step"]
    ([1.0, 1.0], 3)
    """
    import safetensors

    if not isinstance(obj, Mapping):
        raise TypeError(f"save: expected a dict, got {type(obj).__name__}")
    path = Path(path)
    if _is_flat(obj):
        tensors, metadata = dict(obj), None
    else:
        tensors = {}
        tree = _flatten(obj, "", tensors)
        metadata = {_METADATA_KEY: json.dumps({"version": 1, "tree": tree})}
    # Views become contiguous copies, which must outlive the entries.
    arrays = {
        name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()
    }
    entries = {name: _encode(name, array) for name, array in arrays.items()}
    _write_atomically(path, safetensors.serialize(entries, metadata))


def load(path, map_location=None):
    """Read what `save` wrote, or any safetensors file.

    Parameters
    ----------
    path : str or Path
        The file.
    map_location : Device or str, optional
        Where the tensors go: the CPU by default, wherever they were saved from.

    Returns
    -------
    dict
        As it was saved; ``{name: tensor}`` for a file of another library.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a complete safetensors file, or its metadata is damaged.
    DTypeError
        If a tensor's dtype is one tensorlib lacks.
    DeviceError
        If `map_location` is no device that is available.

    Examples
    --------
    See `save`.
    """
    from safetensors import SafetensorError, deserialize

    path = Path(path)
    where = tl.device("cpu" if map_location is None else map_location)
    raw = path.read_bytes()
    try:
        entries = deserialize(raw)
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"load: {path} is not a complete safetensors file of {len(raw)} bytes: "
            f"{error}"
        ) from error
    tensors = {name: _decode(path, name, entry).to(where) for name, entry in entries}
    text = header.get("__metadata__", {}).get(_METADATA_KEY)
    if text is None:
        return tensors
    try:
        return _unflatten(json.loads(text)["tree"], tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"load: the metadata of {path} is damaged: {error!r}"
        ) from error


# ---- tensors ---------------------------------------------------------------------


def _encode(name, array):
    import safetensors

    dtype, shape = array.dtype.name, list(array.shape)
    if dtype not in _DTYPES.values():
        raise tl.DTypeError(f"save: cannot write {name!r} of dtype {dtype}")
    if hasattr(safetensors, "TensorSpec"):
        return safetensors.TensorSpec(
            dtype=dtype,
            shape=shape,
            data_ptr=address_to_read(array),
            data_len=array.nbytes,
        )
    # safetensors < 0.8 takes the bytes.
    data = memoryview(as_bits(array)).tobytes()
    return {"dtype": dtype, "shape": shape, "data": data}


def _decode(path, name, entry):
    if entry["dtype"] not in _DTYPES:
        raise tl.DTypeError(
            f"load: {name!r} in {path} has dtype {entry['dtype']}, which tensorlib "
            "cannot read"
        )
    return over_bytes(
        bytearray(entry["data"]), _DTYPES[entry["dtype"]], tuple(entry["shape"])
    )


# ---- the tree --------------------------------------------------------------------


def _is_flat(obj):
    return all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in obj.items()
    )


def _flatten(value, place, tensors):
    """Return the JSON form of `value`; put its tensors into `tensors`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        name = place
        while name in tensors:
            name += "_"
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, Mapping):
        return _flatten_mapping(value, place, tensors)
    if isinstance(value, (list, tuple)):
        entries = [
            _flatten(entry, _join(place, number), tensors)
            for number, entry in enumerate(value)
        ]
        return {"$tuple": entries} if isinstance(value, tuple) else entries
    raise TypeError(
        f"save: expected tensors, numbers, strings, None, or dicts, lists and tuples "
        f"of them, got {type(value).__name__} at {place!r}"
    )


def _flatten_mapping(value, place, tensors):
    for key in value:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            raise TypeError(
                f"save: expected keys to be str or int, got {key!r} at {place!r}"
            )
    pairs = [
        (key, _flatten(entry, _join(place, key), tensors))
        for key, entry in value.items()
    ]
    plain = all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs)
    return dict(pairs) if plain else {"$items": [list(pair) for pair in pairs]}


def _join(place, key):
    return f"{place}.{key}" if place else str(key)


def _unflatten(tree, tensors):
    if isinstance(tree, list):
        return [_unflatten(entry, tensors) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    if "$tensor" in tree:
        return tensors[tree["$tensor"]]
    if "$tuple" in tree:
        return tuple(_unflatten(entry, tensors) for entry in tree["$tuple"])
    pairs = tree["$items"] if "$items" in tree else tree.items()
    return {key: _unflatten(entry, tensors) for key, entry in pairs}


# ---- the file --------------------------------------------------------------------


def _write_atomically(path, data):
    """Write beside `path`, flush, rename over it, flush the folder."""
    folder = path.parent
    descriptor, temporary = tempfile.mkstemp(
        dir=folder, prefix=f".{path.name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder_descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(folder_descriptor)
    finally:
        os.close(folder_descriptor)
