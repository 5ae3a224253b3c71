"""Benchmarks: ``python -m bench.peers`` and the asv suite, over one table of cases.

Run from a checkout, the installed package must win over the uncompiled sources that
lie beside this folder.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def _is_root(entry):
    return Path(entry or ".").resolve() == _ROOT


if not list((_ROOT / "tensorlib" / "core").glob("*.so")):
    sys.path[:] = [p for p in sys.path if not _is_root(p)] + [str(_ROOT)]
