"""What the Array API standard asks of a namespace about itself.

Loaded at the first use of ``__array_namespace_info__``.

References
----------
Python array API standard 2025.12, "Inspection".
"""

from tensorlib.core import dtype as _dtype
from tensorlib.core.device import device as as_device
from tensorlib.core.errors import DeviceError
from tensorlib.core.layout import MAX_DIMENSIONS
from tensorlib.ops.searching import isdtype

# The standard's dtypes: those beyond it (float16, bfloat16) must not be listed.
_STANDARD = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64", "complex64", "complex128",
)  # fmt: skip


def _devices():
    from tensorlib.kernels.devices import device_count

    return (
        as_device("cpu"),
        *(as_device("cuda", index) for index in range(device_count())),
    )


def _check_device(op, device):
    known = _devices()
    if device is not None and as_device(device) not in known:
        names = ", ".join(str(each) for each in known)
        raise DeviceError(f"{op}: expected a device of {names}, got {device}")


class NamespaceInfo:
    """What ``tl.__array_namespace_info__()`` returns: questions about tensorlib.

    Examples
    --------
    >>> import tensorlib as tl
    >>> info = tl.__array_namespace_info__()
    >>> info.default_device()
    device('cpu')
    """

    def capabilities(self):
        """Return what of the standard's optional behaviour there is.

        Returns
        -------
        dict
            "boolean indexing" and "data-dependent shapes", both True, and
            "max dimensions".
        """
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": MAX_DIMENSIONS,
        }

    def default_device(self):
        """Return the device on which tensors are made when none is named."""
        return as_device("cpu")

    def devices(self):
        """Return the devices on which tensors can be made, a tuple."""
        return _devices()

    def default_dtypes(self, *, device=None):
        """Return the dtypes that are taken when none is named.

        Parameters
        ----------
        device : Device or str, optional

        Returns
        -------
        dict of str to DType
            By the keys "real floating", "complex floating", "integral", "indexing".

        Raises
        ------
        DeviceError
            If tensors cannot be made on the device.
        """
        _check_device("default_dtypes", device)
        return {
            "real floating": _dtype.float32,
            "complex floating": _dtype.complex64,
            "integral": _dtype.int64,
            "indexing": _dtype.int64,
        }

    def dtypes(self, *, device=None, kind=None):
        """Return the standard's dtypes by name, all or those of a kind.

        Parameters
        ----------
        device : Device or str, optional
        kind : str or tuple of str, optional
            As in `isdtype`: "bool", "integral", "real floating" and so on.

        Returns
        -------
        dict of str to DType
            float16 and bfloat16, which the standard does not have, are not among them.

        Raises
        ------
        DeviceError
            If tensors cannot be made on the device.
        ValueError
            If there is no such kind.
        """
        _check_device("dtypes", device)
        found = {name: _dtype.dtype(name) for name in _STANDARD}
        if kind is None:
            return found
        return {name: item for name, item in found.items() if isdtype(item, kind)}


def __array_namespace_info__():  # noqa: N807
    """Return an object that answers questions about tensorlib's dtypes and devices.

    Returns
    -------
    NamespaceInfo
        With methods ``capabilities``, ``default_device``, ``default_dtypes``,
        ``devices`` and ``dtypes``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.__array_namespace_info__().dtypes(kind="complex floating")
    {'complex64': tensorlib.complex64, 'complex128': tensorlib.complex128}
    """
    return NamespaceInfo()
