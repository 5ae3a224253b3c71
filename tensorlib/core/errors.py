"""Exceptions, and the one table from a kernel's status to an exception."""

__all__ = [
    "AxisError",
    "DTypeError",
    "DeviceError",
    "GraphError",
    "LinAlgError",
    "ShapeError",
]


class ShapeError(ValueError):
    """Shapes or axes do not fit the operation."""


class AxisError(ShapeError, IndexError):
    """There is no such axis; an IndexError too, as the Array API has it."""


class DTypeError(TypeError):
    """The operation does not take these data types."""


class DeviceError(RuntimeError):
    """Devices are mixed, missing, or failed."""


class GraphError(RuntimeError):
    """The autograd graph cannot be used as asked."""


class LinAlgError(ValueError):
    """A matrix has no such inverse, factorization or spectrum, or none was found."""


_ARGUMENTS = ("dtype", "device")  # begin messages, but are no ops


def rename(error, name):
    """Have the message of an error begin with `name`, in place of another op's."""
    text = error.args[0] if len(error.args) == 1 else None
    if isinstance(text, str):
        op, colon, rest = text.partition(": ")
        named = colon and op.isidentifier() and op not in _ARGUMENTS
        error.args = (f"{name}: {rest if named else text}",)


# Index: tl_status of include/tensorlib/buffer.h.
_STATUS = (
    None,
    (MemoryError, "not enough memory for the kernel's work space"),
    (IndexError, "an index is out of range for its axis"),
    (
        ZeroDivisionError,
        "integer division by zero; use floating-point tensors, or mask the zeros",
    ),
    (
        ValueError,
        "integers to negative integer powers are not allowed; cast to a float dtype",
    ),
    (
        IndexError,
        "a target class is outside [0, number of classes) and is not ignore_index",
    ),
    (DeviceError, "the device reported a failure"),
    (DeviceError, "the device has no kernel for this case"),
)
_DEVICE_ERROR = 6
_failure_text: list = []


def set_failure_text(function):
    """Have `function` called for the text of a failure that a device reported."""
    _failure_text[:] = [function]


def raise_status(op, status):
    """Raise the exception that stands for a kernel's non-zero status."""
    kind, text = _STATUS[status]
    if status == _DEVICE_ERROR and _failure_text:
        text = _failure_text[0]()
    raise kind(f"{op}: {text}")


def raise_fault(op, status, device):
    """Raise what a kernel on a device found wrong with its input."""
    kind, text = _STATUS[status]
    raise kind(f"{op}: {text}; found by the kernel on {device}, launched earlier")


def missing_kernel(op, device_type, dtype):
    """Raise for an empty entry of the kernel table."""
    from tensorlib.core.dtype import dtype_name

    device = ("cpu", "cuda", "cpu")[device_type]
    if dtype_name(dtype).startswith("complex"):
        raise DTypeError(
            f"{op}: is not defined for {dtype_name(dtype)}; take tl.real(x), "
            "tl.imag(x) or tl.abs(x) first"
        )
    raise DTypeError(
        f"{op}: not implemented for {dtype_name(dtype)} on {device}; "
        "cast with .astype() first"
    )
