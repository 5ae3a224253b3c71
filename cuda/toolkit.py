"""Find the CUDA toolkit at build time.

Prints three lines: the path of nvcc, its version, and the folder that holds
libcudart_static.a. Prints a reason on stderr and exits with 1 when there is none.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


def find_nvcc():
    """Return nvcc from CUDA_HOME, the PATH or /usr/local/cuda, None if absent."""
    home = os.environ.get("CUDA_HOME")
    places = [f"{home}/bin"] if home else []
    for place in [*places, None, "/usr/local/cuda/bin"]:
        found = shutil.which("nvcc", path=place)
        if found:
            return found
    return None


def runtime_folder(nvcc):
    """Return the folder of libcudart_static.a of this nvcc's toolkit, or None."""
    # nvcc may be a wrapper; what it would run names the true place.
    dry = subprocess.run(
        [nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True
    )
    tops = re.findall(r"^#\$ TOP=(.+)$", dry.stderr, re.MULTILINE)
    roots = [Path(top.strip()) for top in tops] + [Path(nvcc).resolve().parents[1]]
    for root in roots:
        for folder in ("lib64", "lib", "targets/x86_64-linux/lib"):
            if (root / folder / "libcudart_static.a").exists():
                return (root / folder).resolve()
    return None


def main():
    """Print what was found, or exit with the reason."""
    nvcc = find_nvcc()
    if nvcc is None:
        sys.exit("nvcc not found (CUDA_HOME, PATH, /usr/local/cuda)")
    answer = subprocess.run([nvcc, "--version"], capture_output=True, text=True)
    version = re.search(r"release (\d+\.\d+)", answer.stdout)
    if answer.returncode or version is None:
        sys.exit(f"{nvcc} does not run: {answer.stderr.strip()[:200]}")
    folder = runtime_folder(nvcc)
    if folder is None:
        sys.exit(f"libcudart_static.a of {nvcc} not found")
    print(nvcc, version[1], folder, sep="\n")


if __name__ == "__main__":
    main()
