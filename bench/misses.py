"""Why rows miss their targets: kept by hand, shown beside each miss in RESULTS.md."""

import re

__all__ = ["why"]

# Regular expression over "section: name" -> the cause and what was tried.
CAUSES = {
    r"^dispatch: a\.reshape": (
        "not profiled since the shape is read without lists; what is left is a tuple "
        "of Python ints and a new Tensor"
    ),
    r"^dispatch: a\[0\], recorded": (
        "100 ns more than unrecorded: node, edges tuple, the index kept for the rules"
    ),
    "^dispatch: exp.*recorded": "suspected: the saved output is a second Tensor",
    "^dispatch: matmul": (
        "19% is OpenBLAS's small kernel, 10% the new Tensor, the rest spread thin"
    ),
    "^creation: from_numpy": (
        "suspected: the buffer's format string is parsed each time"
    ),
    "^nnet: one_hot": "two passes: a comparison with all classes, then a cast",
    "^matmul: (1024|2048)": (
        "in a process of its own 11 and 91 ms, as OpenBLAS's own threads (NumPy): here "
        "suspected: the pools of the peers, still spinning, take part of the cores"
    ),
    "^reduction: (sum|mean|prod|max|min) axis -1": (
        "suspected: lanes and tail of each row of 1,000 are joined one by one; only an "
        "earlier sum was profiled (50 to 75% in lane_sum)"
    ),
    "^reduction: (sum|mean|prod|max|min) axis 0": (
        "suspected: column tiles go through partials in memory"
    ),
    "^nnet: (log_)?softmax 128x64": (
        "rows of 64: libm's log and the joining of lanes once a row; rows should go in "
        "groups"
    ),
    "^elementwise: add row": "suspected: one loop call a row",
    "^indexing: (nonzero|a.mask)": (
        "serial: a count, then one pass that writes; blocks could be counted and "
        "written in parallel"
    ),
    "^indexing: gather": (
        "two passes more than needed checked the range when this was measured"
    ),
    "^indexing: take": "suspected: one memcpy a row of 256 bytes",
    "^movement: (concat|broadcast_to|pad|flip)": "suspected: one loop call a row",
    "^elementwise: a.T": "suspected: read by columns, not cut into blocks",
    "10.6$": "suspected: bound by memory; no streaming stores yet",
    "^reduction: cumsum": "suspected: one chain of additions a row",
}


def why(label):
    """Return the known cause of a miss, "" when nobody has found it yet."""
    for pattern, cause in CAUSES.items():
        if re.search(pattern, label):
            return cause
    return ""
