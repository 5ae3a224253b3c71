"""The machine, the versions, and how much others used the machine meanwhile."""

import os
import platform
import subprocess
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Neighbours", "describe_machine", "versions"]

PACKAGES = {
    "PyTorch": "torch", "ONNX Runtime": "onnxruntime", "JAX": "jax", "MLX": "mlx",
}  # fmt: skip


def _cpu_field(name):
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    found = [line.split(":", 1)[1].strip() for line in lines if line.startswith(name)]
    return found[0] if found else ""


def _caches():
    """Sizes of the first processor's caches, as ``L2 1024K``."""
    found = []
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    for index in sorted(folder.glob("index*")):
        kind = (index / "type").read_text().strip()
        level = (index / "level").read_text().strip()
        size = (index / "size").read_text().strip()
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return ", ".join(found)


def _commit():
    """The commit of the sources that these benchmarks lie in."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--tags"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def describe_machine(threads):
    """Return ``{what: text}``: processor, caches, cores, threads; no names of hosts."""
    flags = set(_cpu_field("flags").split())
    vector = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "SSE"
    return {
        "CPU": f"{_cpu_field('model name') or platform.machine()} ({vector})",
        "caches": _caches(),
        "cores": str(len(os.sched_getaffinity(0))),
        "threads": str(threads),
    }


def versions():
    """Return ``{package: version}``, the commit and the date."""
    import numpy

    import tensorlib

    found = {}
    for name, package in PACKAGES.items():
        with suppress(PackageNotFoundError):
            found[name] = version(package)
    return {
        **found,
        "tensorlib": f"{tensorlib.__version__} ({_commit()})",
        "NumPy": numpy.__version__,
        "Python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


class Neighbours:
    """The part of the machine that other processes used since this was made."""

    def __init__(self):
        self.start = self._read()

    @staticmethod
    def _read():
        """Seconds (all processors busy, this process and its children, wall)."""
        tick = os.sysconf("SC_CLK_TCK")
        try:
            with open("/proc/stat") as file:
                fields = [int(field) for field in file.readline().split()[1:9]]
        except OSError:
            return None
        busy = sum(fields) - fields[3] - fields[4]
        own = sum(os.times()[:4])
        return busy / tick, own, time.perf_counter()

    def share(self):
        """Return it as a fraction of all processors, None where unknown."""
        now = self._read()
        if now is None or self.start is None:
            return None
        busy, own, wall = (b - a for a, b in zip(self.start, now, strict=True))
        return max(0.0, (busy - own) / (wall * (os.cpu_count() or 1)))
