"""GPUs as the ops open them: whether there are any, why not, and the first use of one.

Nothing here needs a GPU, a driver or a CUDA build to be imported.
"""

from pathlib import Path
from sysconfig import get_paths

import tensorlib.core.absent  # noqa: F401 (what happens where a kernel is missing)
from tensorlib.core.errors import DeviceError

try:
    from tensorlib.kernels import cuda_bridge as bridge  # type: ignore[attr-defined]
except ImportError:
    bridge = None

_registered: list = []


def device_count():
    """Return the number of usable devices."""
    return 0 if bridge is None else bridge.device_count()[0]


def why_unavailable():
    """Return the reason why no device can be used, ``""`` when one can."""
    if bridge is None:
        return (
            "tensorlib was built without CUDA: put nvcc on the PATH (or set CUDA_HOME) "
            "and reinstall, -Csetup-args=-Dcuda=enabled makes it mandatory"
        )
    count, reason = bridge.device_count()
    if count:
        return ""
    if bridge.driver_version() == 0:
        return f"no NVIDIA driver is installed: {reason}"
    return f"the driver offers no device: {reason or 'none found'}"


def check_device(op, index):
    """Raise unless there is a GPU of that index; says why there is none."""
    if isinstance(index, bool) or not isinstance(index, int):
        raise TypeError(f"{op}: expected an int device index, got {index!r}")
    count = device_count()
    if not 0 <= index < count:
        reason = why_unavailable() or f"there are {count} devices"
        raise DeviceError(f"{op}: no CUDA device {index} (cuda:{index}): {reason}")


def open_device(op, index):
    """Make a GPU ready for tensors: its memory and its kernels.

    Raises
    ------
    DeviceError
        If there is no such GPU; says why.
    """
    check_device(op, index)
    if not _registered:
        bridge.set_library_path(_library_folders())
        bridge.register()
        _registered.append(True)


def _library_folders():
    """Where wheels of NVIDIA put their libraries, as ``folder:folder``."""
    packages = Path(get_paths()["platlib"]) / "nvidia"
    return ":".join(str(folder) for folder in sorted(packages.glob("*/lib")))
