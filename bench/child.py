"""Processes of their own, for what the measuring one has paid already."""

import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

__all__ = ["run_python"]


def _environment():
    """Child processes find the same tensorlib as this one, from anywhere."""
    home = str(Path(find_spec("tensorlib").origin).parent.parent)
    kept = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [home, kept]))}


def run_python(*arguments):
    """Run a Python process outside of the folder of uncompiled sources.

    Parameters
    ----------
    *arguments : str
        Of the interpreter, such as ``"-c", "pass"``.

    Returns
    -------
    tuple of float, str, str
        Seconds it took, what it wrote to stdout and to stderr.

    Raises
    ------
    RuntimeError
        With the last line of stderr, if it fails.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=_environment(),
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
    )
    elapsed = time.perf_counter() - start
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit code {done.returncode}")
    return elapsed, done.stdout, done.stderr
