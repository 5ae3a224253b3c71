"""``python -m tensorlib info``: how the library was built and how it will run."""

import platform
import sys

import tensorlib as tl
from tensorlib import build_info, cuda, kernels
from tensorlib.core.threads import default_threads, openmp_version, pool_is_ours
from tensorlib.kernels.blas import blas_info

__all__ = ["collect_info", "print_info"]

# The specification's release dates: https://www.openmp.org/specifications/
_OPENMP_NAMES = {201511: "4.5", 201811: "5.0", 202011: "5.1", 202111: "5.2"}


def _threads():
    count, reasons = default_threads()
    because = ", ".join(f"{name} {value:g}" for name, value in reasons.items())
    return f"{tl.get_num_threads()} (default {count}, from {because})"


def _openmp():
    version = openmp_version()
    if not version:
        return "not built in: one thread"
    runtime = "tensorlib's own pool" if pool_is_ours() else "the compiler's runtime"
    return f"{_OPENMP_NAMES.get(version, '')} ({version}), {runtime}".strip()


def _as_text(value):
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return str(value)


def _cuda():
    if not cuda.is_built():
        return "not built in"
    names = [cuda.get_device_name(n) for n in range(cuda.device_count())]
    devices = ", ".join(names) or f"no device: {cuda.why_unavailable()}"
    return f"{_as_text(cuda.versions())}; {devices}"


def _memory():
    lines = [_as_text(tl.memory_stats())]
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":", 1) for line in file)
        available = int(fields["MemAvailable"].split()[0]) / 2**20
        total = int(fields["MemTotal"].split()[0]) / 2**20
        lines.append(f"machine {available:.1f} of {total:.1f} GiB available")
    except (OSError, KeyError, ValueError):
        pass  # not Linux
    return "; ".join(lines)


def collect_info():
    """Return what `print_info` shows.

    Returns
    -------
    dict of str to str
        Subject and description.

    Examples
    --------
    >>> from tensorlib.cli.info import collect_info
    >>> "threads" in collect_info()
    True
    """
    build = {
        name: value
        for name, value in vars(build_info).items()
        if not name.startswith("_")
    }
    return {
        "tensorlib": f"{build.pop('version', '')} in {tl.__path__[0]}",
        "Python": f"{sys.version.split()[0]} on {platform.platform()}",
        "instruction set": str(kernels.instruction_set()),
        "BLAS": _as_text(blas_info()),
        "threads": _threads(),
        "OpenMP": _openmp(),
        "CUDA": _cuda(),
        **{f"build: {name.replace('_', ' ')}": str(v) for name, v in build.items()},
        "memory": _memory(),
    }


def print_info():
    """Print one line a subject."""
    info = collect_info()
    width = max(map(len, info))
    for subject, text in info.items():
        print(f"{subject:<{width}}  {text}")
