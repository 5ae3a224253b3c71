"""Devices: ``tl.device("cpu")``, ``tl.device("cuda", 0)``, ``tl.device("cuda:0")``."""
cimport cython
from tensorlib.core.abi cimport TL_BATCHED, TL_CPU, TL_CUDA
from tensorlib.core.hidden cimport hidden_axes, tl_hidden
from tensorlib.core.sealed cimport tl_seal

from tensorlib.core.errors import DeviceError


@cython.final
cdef class Device:
    """The device that holds a tensor's memory.

    Attributes
    ----------
    type : str
        ``'cpu'`` or ``'cuda'``.
    index : int
        Which one; 0 on the CPU.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.zeros(2).device
    device('cpu')
    """

    def __repr__(self):
        return f"device('{self}')"

    def __str__(self):
        return self.type if self.type_code == TL_CPU else f"{self.type}:{self.index}"

    def __eq__(self, other):
        if isinstance(other, str):
            return str(self) == other
        if not isinstance(other, Device):
            return NotImplemented
        return (
            self.type_code == (<Device>other).type_code
            and self.index == (<Device>other).index
        )

    def __hash__(self):
        return hash((self.type, self.index))

    def __reduce__(self):
        return (device, (self.type, self.index))


cdef Device _new_device(str type, int type_code, int index):
    cdef Device made = Device.__new__(Device)
    made.type = type
    made.type_code = type_code
    made.index = index
    return made

cdef Device _cpu = _new_device("cpu", TL_CPU, 0)
cdef dict _usual = {"cpu": _cpu, "cuda": _new_device("cuda", TL_CUDA, 0)}


cdef Device device_of(int type_code, int index):
    cdef const tl_hidden *axes
    if type_code == TL_BATCHED:
        axes = hidden_axes(index)
        type_code, index = axes.device_type, axes.device_index
    if type_code == TL_CPU:
        return _cpu
    return _new_device("cuda", type_code, index)


cdef Device as_device(object spec):
    if spec is None:
        return _cpu
    if type(spec) is Device:
        return <Device>spec
    if isinstance(spec, str):
        usual = _usual.get(spec)
        if usual is not None:
            return <Device>usual
        kind, colon, number = (<str>spec).partition(":")
        if kind in ("cpu", "cuda") and (not colon or number.isdigit()):
            return device(kind, int(number or 0))
    raise DeviceError(f"device: expected 'cpu', 'cuda' or 'cuda:N', got {spec!r}")


def device(type, index=0):
    """Return a device.

    Parameters
    ----------
    type : str or Device
        ``'cpu'``, ``'cuda'`` or ``'cuda:N'``.
    index : int, default 0

    Raises
    ------
    DeviceError
        If there is no such kind of device.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.device("cuda", 0) == tl.device("cuda:0")
    True
    """
    if type == "cpu" and index == 0:
        return _cpu
    if type == "cuda" and isinstance(index, int) and 0 <= index < 256:
        return _new_device("cuda", TL_CUDA, index)
    if index == 0 and type not in ("cpu", "cuda"):
        return as_device(type)
    raise DeviceError(
        f"device: expected 'cpu' or 'cuda' and an index >= 0, got {type!r}, {index!r}"
    )


tl_seal(Device)
