"""Why rows miss their targets: kept by hand, shown beside each miss in RESULTS.md."""

import re

__all__ = ["why"]

# Regular expression over "section: name" -> the cause and what was tried.
CAUSES = {
    "^process: import": (
        "wall time on a busy machine (load 9 on two cores), where bare Python took "
        "60 ms of CPU time and we about 30 ms more; to be run again when quiet"
    ),
    r"^dispatch: a\.reshape": (
        "the shape goes through a tuple, two lists and a search for -1 before it "
        "reaches C; parse ints straight from the argument tuple"
    ),
    r"^dispatch: a\[0\], recorded": (
        "130 ns more than unrecorded: node, edges tuple, a parameter object"
    ),
    "^dispatch: exp.*recorded": (
        "suspected: the saved output is a second Tensor; a + b, which saves none, "
        "costs 60 ns more when recorded, exp 94 ns"
    ),
    "^dispatch: matmul": (
        "19% is OpenBLAS's small kernel, 10% new_tensor, the rest spread thin"
    ),
    "^creation: eye": (
        "a comparison, then a cast of bool that is not vectorized; PyTorch fills zeros "
        "and writes the diagonal"
    ),
    "^nnet: one_hot": (
        "a comparison with all classes, then a cast of bool that is not vectorized"
    ),
    "^creation: linspace": (
        "four passes in float64 (arange, multiply, add, cast), 40 bytes an element"
    ),
    "^movement: flip": (
        "suspected, not profiled: the copy loop is scalar for a stride of -1"
    ),
    "^(reduction: (sum|mean|prod|max|min) axis -1)": (
        "sum: 50 to 75% of the time in lane_sum, whose 16 lanes and up to 15 tail "
        "elements are joined by dependent additions; read from the code for the rest"
    ),
    "^reduction: (sum|mean|min) axis 0": (
        "not yet profiled; within the spread of this run"
    ),
    "^nnet: log_softmax 128x64": (
        "54% in sum_exp, 12% in libm's log, called once a row"
    ),
    "^elementwise: (sigmoid|gelu|silu)": (
        "sigmoid: 45 vector instructions for 16 elements, of which clamps take about "
        "10 and the scaling by 2^n in two steps 9; the others not yet counted"
    ),
    "^elementwise: add row": ("suspected, not profiled: one call of the loop a row"),
    "^indexing: (nonzero|a.mask)": "not yet profiled",
    "^indexing: gather": "not yet profiled",
    "^movement: (concat|broadcast_to)": (
        "suspected, not profiled: one run of the copy loop a row"
    ),
    "^movement: transpose": "not yet profiled; within the spread of this run",
    "^matmul: (256|512).3|^matmul: 100x128": (
        "OpenBLAS on one thread; 100x128 is not above the spread of this run"
    ),
    "^creation: from_numpy": (
        "suspected, not profiled: the buffer protocol's format string is parsed"
    ),
}


def why(label):
    """Return the known cause of a miss, "" when nobody has found it yet."""
    for pattern, cause in CAUSES.items():
        if re.search(pattern, label):
            return cause
    return ""
