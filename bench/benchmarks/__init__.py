"""The asv suite. asv puts this folder's parent on the path; the cases want its own."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)  # last: the installed tensorlib comes before the sources
