"""The measured rows on the machine's roofline, as a picture.

Left, rows with products: operations a second over operations a byte, under the roof of
the measured rate and bandwidths (Williams, Waterman and Patterson, "Roofline", CACM
52(4), 2009). Right, the rows that only move memory: bytes a second over the bytes of
their operands and results, with the bandwidth measured at each working set.
"""

import numpy as np

__all__ = ["draw_roofline"]

MARKS = {
    "ours": ("o", "tab:blue", "tensorlib"),
    "torch": ("x", "tab:orange", "PyTorch"),
}
LEAST_BYTES = 1 << 14  # below, a row shows the cost of a call
LEAST_SECONDS = 2e-6  # below, it moves no memory: a view


def _points(rows, library, across, up):
    timed = [(row, row.stats[library].median) for row in rows if library in row.stats]
    x = np.array([across(row) for row, _ in timed])
    y = np.array([up(row) / seconds / 1e9 for row, seconds in timed])
    return x, y


def _scatter(axes, rows, across, up):
    for library, (mark, color, label) in MARKS.items():
        x, y = _points(rows, library, across, up)
        axes.plot(x, y, mark, color=color, ms=4, alpha=0.7, label=label, ls="")


def _draw_products(axes, rows, floor):
    _scatter(axes, rows, lambda row: row.flops / row.nbytes, lambda row: row.flops)
    intensity = np.logspace(-1, 3.5, 200)
    for size, rate in floor.bandwidth.items():
        roof = np.minimum(intensity * rate, floor.rate) / 1e9
        axes.plot(intensity, roof, "-", color="gray", lw=0.8)
        axes.annotate(f"{size >> 10} KB", (0.12, 0.12 * rate / 1e9), fontsize=7)
    axes.set(
        xlabel="operations a byte of operands and results",
        ylabel="GFLOP/s",
        title="products, convolutions, attention",
    )


def _draw_memory(axes, rows, floor):
    _scatter(axes, rows, lambda row: row.nbytes, lambda row: row.nbytes)
    sizes = np.array(list(floor.bandwidth))
    rates = np.array(list(floor.bandwidth.values())) / 1e9
    edges = np.concatenate([[LEAST_BYTES], sizes[:-1], [4 * sizes[-1]]])
    axes.stairs(rates, edges, color="gray", lw=0.8, label="measured bandwidth")
    axes.set(
        xlabel="bytes of operands and results",
        ylabel="GB/s",
        title="elementwise, reductions, movement",
    )


def draw_roofline(rows, floor, path):
    """Write the picture.

    Parameters
    ----------
    rows : list of Row
        As `bench.runner.run_case` returns them.
    floor : Floor
        The machine as it was measured in the same run.
    path : path-like
        A PNG file; replaced.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    timed = [row for row in rows if row.unit == "s" and row.nbytes and not row.error]
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_products(left, [row for row in timed if row.flops], floor)
    moved = [
        row
        for row in timed
        if not row.flops
        and row.nbytes >= LEAST_BYTES
        and row.stats["ours"].median >= LEAST_SECONDS
    ]
    _draw_memory(right, moved, floor)
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        axes.grid(which="major", lw=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
