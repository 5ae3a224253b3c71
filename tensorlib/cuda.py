"""NVIDIA GPUs: whether they can be used here, and if not, why.

Nothing in this module needs a GPU, a driver or a CUDA build to be imported.
"""

try:
    from tensorlib.kernels import cuda_bridge as _bridge  # type: ignore[attr-defined]
except ImportError:
    _bridge = None

__all__ = [
    "device_count",
    "get_device_name",
    "is_available",
    "is_built",
    "synchronize",
    "versions",
    "why_unavailable",
]


def is_built():
    """Return whether this build of tensorlib contains the CUDA module.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cuda.is_built() in (True, False)
    True
    """
    return _bridge is not None


def device_count():
    """Return the number of usable devices, 0 without a GPU, driver or CUDA build.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cuda.device_count() >= 0
    True
    """
    return 0 if _bridge is None else _bridge.device_count()[0]


def is_available():
    """Return whether at least one device can be used.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cuda.is_available() == (tl.cuda.why_unavailable() == "")
    True
    """
    return device_count() > 0


def why_unavailable():
    """Return the reason why no device can be used, ``""`` when one can.

    Examples
    --------
    >>> import tensorlib as tl
    >>> isinstance(tl.cuda.why_unavailable(), str)
    True
    """
    if _bridge is None:
        return (
            "tensorlib was built without CUDA: put nvcc on the PATH (or set CUDA_HOME) "
            "and reinstall, -Csetup-args=-Dcuda=enabled makes it mandatory"
        )
    count, reason = _bridge.device_count()
    if count:
        return ""
    if _bridge.driver_version() == 0:
        return f"no NVIDIA driver is installed: {reason}"
    return f"the driver offers no device: {reason or 'none found'}"


def versions():
    """Return the CUDA versions as ``{"runtime": "13.0", "driver": "13.0" or None}``.

    The runtime is the one linked in at build time; empty without a CUDA build.

    Examples
    --------
    >>> import tensorlib as tl
    >>> set(tl.cuda.versions()) <= {"runtime", "driver"}
    True
    """
    if _bridge is None:
        return {}
    runtime, driver = _bridge.runtime_version(), _bridge.driver_version()
    return {"runtime": _dotted(runtime), "driver": _dotted(driver) if driver else None}


def _dotted(version):
    return f"{version // 1000}.{version % 1000 // 10}"


def _check_device(op, device):
    from tensorlib.core.errors import DeviceError

    count = device_count()
    if isinstance(device, bool) or not isinstance(device, int):
        raise TypeError(f"{op}: expected an int device index, got {device!r}")
    if not 0 <= device < count:
        reason = why_unavailable() or f"there are {count} devices"
        raise DeviceError(f"{op}: no CUDA device {device}: {reason}")


def get_device_name(device=0):
    """Return the name of a device.

    Raises
    ------
    DeviceError
        If there is no such device; says why.
    """
    _check_device("get_device_name", device)
    return _bridge.device_name(device)


def synchronize(device=0):
    """Wait until a device has finished everything launched so far.

    Raises
    ------
    DeviceError
        If there is no such device, or an earlier launch failed.
    """
    _check_device("synchronize", device)
    _bridge.synchronize(device)
