"""``python -m bench.scaling``: what an operation costs as its operands grow.

Times chosen operations of ours and PyTorch's from 10 elements to 10^8, in turn in one
process, on one thread and on all, and writes ``scaling.png`` (time over size, both axes
logarithmic) and ``SCALING.md``: the cost of a call, the time an element in the cache
and beyond it, and what a second thread brings, with the model that follows from it.
"""

import argparse
import os
import sys
from pathlib import Path
from statistics import median

from bench.case import Case, Spec
from bench.timing import Budget, compile_loop, interleave

FOLDER = Path(__file__).parent
STATEMENTS = {
    "a + b": ("a + b", "a + b"),
    "exp": ("tl.exp(a)", "torch.exp(a)"),
    "sum": ("tl.sum(a)", "torch.sum(a)"),
    "gelu": ("tl.gelu(a)", "F.gelu(a)"),
    "cumsum": ("tl.cumsum(a, 0)", "torch.cumsum(a, 0)"),
    "sort": ("tl.sort(a)", "torch.sort(a)[0]"),
}
LIBRARIES = ("ours", "torch")
CACHED, LARGE = 10**5, 10**7  # elements: operands in a cache, and beyond all
BUDGET = Budget(row=0.2, rounds=5)


def _set_threads(n):
    import torch

    import tensorlib

    torch.set_num_threads(n)
    tensorlib.set_num_threads(n)


def _seconds(name, size):
    """Median seconds of each library."""
    from bench.runner import names_for

    ours, torch = STATEMENTS[name]
    operands = {key: Spec((size,)) for key in "ab"[: 2 if "b" in ours else 1]}
    case = Case("scaling", name, ours, torch, operands=operands)
    loops = {
        library: compile_loop(case.statement(library), names_for(case, library))
        for library in LIBRARIES
    }
    return {key: median(some) for key, some in interleave(loops, BUDGET).items()}


def measure(sizes, threads):
    """Return ``{(statement, threads, size): {library: seconds}}``."""
    found = {}
    for n in threads:
        _set_threads(n)
        for name in STATEMENTS:
            for size in sizes:
                found[name, n, size] = _seconds(name, size)
            last = found[name, n, sizes[-1]]
            print(f"{name:8} {n} threads, {sizes[-1]:.0e}: {last}", flush=True)
    return found


def draw(found, sizes, threads, path):
    """Write the log-log picture: a panel an operation, PyTorch beside."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    styles = {"ours": ("-", "tab:blue"), "torch": ("--", "tab:orange")}
    panels = figure.subplots(2, (len(STATEMENTS) + 1) // 2, sharex=True).flat
    for axes, name in zip(panels, STATEMENTS, strict=False):
        for n in threads:
            for library, (style, color) in styles.items():
                y = [found[name, n, size][library] for size in sizes]
                label = f"{'tensorlib' if library == 'ours' else 'PyTorch'}, {n} thr."
                width = 0.8 if n == 1 else 1.8
                axes.plot(sizes, y, style, color=color, lw=width, label=label)
        axes.set(title=name, xscale="log", yscale="log", xlabel="elements")
        axes.set_ylabel("seconds")
        axes.grid(which="major", lw=0.3)
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)


def serial_part(one, many, threads):
    """Return Amdahl's serial fraction from the times on one thread and on many.

    Solves ``many = one * (s + (1 - s) / threads)`` for s, kept within 0 and 1 (Gene
    Amdahl, "Validity of the single processor approach", AFIPS 1967).
    """
    if threads == 1:
        return 1.0
    return min(1.0, max(0.0, (many / one - 1 / threads) / (1 - 1 / threads)))


def _lines(found, sizes, most):
    """Rows of the table: costs of a call and an element, threads, the model."""
    for name in STATEMENTS:
        for library in LIBRARIES:
            at = {(n, s): found[name, n, s][library] for n in {1, most} for s in sizes}
            cells = [name, "tensorlib" if library == "ours" else "PyTorch"]
            cells.append(f"{at[1, sizes[0]] * 1e9:.0f} ns")
            for size in (CACHED, LARGE):
                part = serial_part(at[1, size], at[most, size], most)
                cells.append(f"{at[1, size] / size * 1e9:.3f} ns")
                cells.append(f"{at[1, size] / at[most, size]:.2f}")
                cells.append(f"{1 / (part + (1 - part) / 64):.1f}")
            yield "| " + " | ".join(cells) + " |"


def markdown(found, sizes, threads, facts):
    """Return SCALING.md."""
    most = threads[-1]
    header = ["operation", "library", "a call, 10 elements"]
    for where in ("10^5", "10^7"):
        header += [f"an element, {where}", f"speed-up {most} threads", "model: 64"]
    return "\n".join(
        [
            "# Cost against size, and threads",
            "",
            "Written by `python -m bench.scaling`; times of one thread unless said. "
            f"The speed-up is from 1 to {most} threads. The model extends it to 64 by "
            "Amdahl's law with the serial part that this speed-up implies. At 10^7 "
            "elements the operands lie in memory, whose bandwidth the threads share: "
            "there the law counts the waiting for memory as serial, so its figure is "
            "the bandwidth of this machine, not of one with 64 cores, whose channels "
            "are more: multiply the speed-up by the ratio of bandwidths, up to the "
            "figure of 10^5.",
            "",
            *(f"- {what}: {text}" for what, text in facts.items()),
            "",
            "![time over size](scaling.png)",
            "",
            "| " + " | ".join(header) + " |",
            "| " + " | ".join(["---"] * len(header)) + " |",
            *_lines(found, sizes, most),
            "",
        ]
    )


def main(arguments=None):
    """Measure, and write the picture and the table; return 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling")
    parser.add_argument("--largest", type=int, default=8, metavar="K", help="10^K")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    if options.largest < 7:
        parser.error(f"--largest: expected 7 or more, got {options.largest}")
    most = len(os.sched_getaffinity(0))
    threads = (1, most) if most > 1 else (1,)
    sizes = [10**k for k in range(1, options.largest + 1)]
    import torch  # noqa: F401  before us, so that it gets the OpenMP it brings

    from bench.machine import describe_machine, versions

    found = measure(sizes, threads)
    draw(found, sizes, threads, options.folder / "scaling.png")
    facts = {**describe_machine(most), **versions()}
    text = markdown(found, sizes, threads, facts)
    (options.folder / "SCALING.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
