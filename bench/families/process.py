"""What a process pays before the first operation: import time, bytes on disk."""

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from bench.case import Case
from bench.child import run_python

PACKAGES = {"ours": "tensorlib", "torch": "torch", "numpy": "numpy"}
SOURCES = {".pyx", ".pxd", ".in", ".build"}  # of a source tree, never installed
IMPORT_LIMIT = 20e-3  # seconds over bare Python
SIZE_LIMIT = 45e6  # bytes


def _whole_process(rounds):
    """Seconds of ``python -c "import x"`` over ``python -c pass``, interleaved."""
    samples = {library: [] for library in PACKAGES}
    for package in PACKAGES.values():
        run_python("-c", f"import {package}")
    for _ in range(rounds):
        bare = min(run_python("-c", "pass")[0] for _ in range(3))
        for library, package in PACKAGES.items():
            elapsed, _, _ = run_python("-c", f"import {package}")
            samples[library].append(elapsed - bare)
    return samples


def _importtime(rounds):
    """Cumulative seconds that ``-X importtime`` gives the package."""
    samples = {library: [] for library in PACKAGES}
    for _ in range(rounds):
        for library, package in PACKAGES.items():
            _, _, text = run_python("-X", "importtime", "-c", f"import {package}")
            rows = [line.split("|") for line in text.splitlines() if "|" in line]
            total = [int(row[1]) for row in rows if row[2].strip() == package]
            samples[library].append(total[-1] * 1e-6)
    return samples


def _folder_size(package):
    origin = Path(find_spec(package).origin).parent
    return sum(
        path.stat().st_size
        for path in origin.rglob("*")
        if path.is_file()
        and path.suffix not in SOURCES
        and "__pycache__" not in path.parts
    )


def _distribution_size(name):
    files = metadata.files(name) or []
    paths = [Path(file.locate()) for file in files]
    return sum(
        path.stat().st_size
        for path in paths
        if path.is_file() and path.suffix != ".pyc"
    )


def _size(name, package):
    """Bytes of an installed distribution, of the folder where it is not installed."""
    try:
        size = _distribution_size(name)
    except metadata.PackageNotFoundError:
        size = 0
    folder = _folder_size(package) if find_spec(package) else 0
    return max(size, folder)


def _installed(rounds):
    """Megabytes with what is needed at run time, NumPy left out on both sides."""
    ours = [("tensorlib", "tensorlib"), ("scipy-openblas32", "scipy_openblas32")]
    ours.append(("safetensors", "safetensors"))
    total = sum(_size(*pair) for pair in ours)
    return {"ours": [total], "torch": [_size("torch", "torch")]}


def cases():
    for name, measure in (
        ("import, whole process over bare Python", _whole_process),
        ("import, -X importtime", _importtime),
    ):
        yield Case("process", name, "", measure=measure, limit=IMPORT_LIMIT, quick=True)
    yield Case(
        "process",
        "installed size without NumPy",
        "",
        measure=_installed,
        limit=SIZE_LIMIT,
        unit="B",
        quick=True,
    )
