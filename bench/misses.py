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
    "^training: MLP|^reduction: (sum|mean|prod|max|min) axis 0": (
        "suspected: workers slept between kernels; one short noisy run with longer "
        "spinning: 0.44 and 0.86, but 0.70 against fused Adam"
    ),
    "^nnet: ctc": "not profiled",
    "^convolution: conv.*groups": (
        "suspected: depthwise copies each tap of a row before it multiplies; few "
        "channels a group are narrow products"
    ),
    "^convolution: conv": (
        "im2col and a product a tile (perf of a ResNet-9: 39% sgemm, 25% im2col); "
        "no Winograd and no fused packing yet"
    ),
    "^sequence: attention": (
        "perf: 56% OpenBLAS's sgemm on blocks of 64x128x64, 12% its packing of keys "
        "and values again for each block of queries; packed.h could do it once"
    ),
    "^process: import": (
        "eight more families of kernels since it was met; -X importtime, the promise, "
        "is the next row"
    ),
    "^elementwise: add row": "suspected: the rest of one loop call a row",
    "^indexing: (nonzero|a.mask)": (
        "serial: a count, then one pass that writes; blocks could be counted and "
        "written in parallel"
    ),
    "^indexing: gather": "a check of a row's positions, then one load an element",
    "^indexing: take": (
        "rows of 256 bytes are prefetched and copied by vectors; perf: two thirds of "
        "the time in that loop, the rest thin"
    ),
    "^movement: (concat|broadcast_to|pad|flip)": "suspected: one loop call a row",
    "^elementwise: a.T": "suspected: read by columns, not cut into blocks",
    "10.6$": "suspected: bound by memory; no streaming stores yet",
    "10.7$": "not yet known",
    "^reduction: cumsum": "suspected: columns of doubles kept in memory",
    "^matmul: linear": "suspected: the bias is copied into the result first",
}


def why(label):
    """Return the known cause of a miss, "" when nobody has found it yet."""
    for pattern, cause in CAUSES.items():
        if re.search(pattern, label):
            return cause
    return ""
