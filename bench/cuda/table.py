"""``python -m bench.peers --device cuda``: the rows on the card, as a table.

This process never touches the card. A child runs the rows and says what it does; when
it crashes, loses its context or hangs, the row is noted and another child goes on
behind it. After each row the page is written anew, so that what was measured stays.
"""

import json
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.cuda.case import Case
from bench.cuda.cases import all_cases
from bench.report import geometric_mean

__all__ = ["RESULTS", "Row", "markdown", "run"]

RESULTS = Path(__file__).parents[1] / "RESULTS-cuda.md"
PATIENCE = 25.0  # seconds without a word from the child
COMPILING = 120.0  # the same while PyTorch compiles
START = 120.0  # the same until its first: it loads two libraries and finds the peaks
MOST_CHILDREN = 12
# The checkout comes last on the path: what is installed is what is measured.
PROGRAM = (
    f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); "
    "from bench.cuda.child import main; sys.exit(main())"
)


@dataclass
class Row:
    """A case and what was found; shares are of the peak that the case names."""

    case: Case
    ours: float = 0.0
    torch: float = 0.0
    ratio: float | None = None
    spread: float = 0.0
    wrong: str = ""
    error: str = ""

    def rate(self, seconds):
        """Bytes or operations a second, 0 where the row has neither."""
        work = self.case.flops or self.case.nbytes
        return work / seconds if work and seconds else 0.0

    def share(self, peaks):
        """The share of the bandwidth or peak that we reach; None where unknown."""
        peak = peaks.get(self.case.peak if self.case.flops else "copy", 0.0)
        rate = self.rate(self.ours)
        return rate / peak if rate and peak else None

    def misses(self, peaks):
        """Return what the row misses, in words."""
        found = []
        if self.ratio is not None and self.ratio > self.case.ratio:
            found.append(f"ratio {self.ratio:.2f} > {self.case.ratio:g}")
        share = self.share(peaks)
        if share is not None and share < self.case.share:
            found.append(f"{share:.0%} < {self.case.share:.0%} of the peak")
        return found

    def mark(self, peaks):
        """ERROR, WRONG, MISS or nothing."""
        if self.error:
            return "ERROR"
        if self.wrong:
            return "WRONG"
        return "MISS" if self.misses(peaks) else ""


# ---- text ------------------------------------------------------------------------
def _time(seconds):
    if not seconds:
        return ""
    for scale, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {name}"
    return f"{seconds * 1e6:.3g} us"


def _rate(row):
    rate = row.rate(row.ours)
    if not rate:
        return ""
    if row.case.flops:
        return f"{rate / 1e12:.1f} TFLOP/s"
    return f"{rate / 1e9:.0f} GB/s"


HEADER = ("row", "ours", "PyTorch", "ratio", "rate", "of peak", "")


def _cells(row, peaks):
    if row.error:
        return [row.case.name, row.error, "", "", "", "", "ERROR"]
    share, ratio = row.share(peaks), row.ratio
    return [
        row.case.name,
        _time(row.ours),
        _time(row.torch),
        "" if ratio is None else f"{ratio:.2f}",
        _rate(row),
        "" if share is None else f"{share:.0%}",
        row.mark(peaks),
    ]


def format_row(row, peaks):
    """Return the row as a line of the terminal's table."""
    name, *cells = _cells(row, peaks)
    if row.error:
        return f"{name:44} ERROR {row.error}"
    widths = (9, 9, 6, 14, 5, 5)
    line = " ".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
    return f"{name:44} {line}" + (f"  {row.wrong}" if row.wrong else "")


def summary(rows, peaks, left):
    """Return counts, and the misses in words."""
    timed = [row for row in rows if row.ratio]
    mean = geometric_mean([row.ratio for row in timed])
    counts = dict.fromkeys(("MISS", "WRONG", "ERROR"), 0)
    for row in rows:
        if row.mark(peaks):
            counts[row.mark(peaks)] += 1
    return (
        f"{len(timed)} rows timed, geometric mean {mean:.3f} of PyTorch's time: "
        f"{counts['MISS']} miss a target, {counts['WRONG']} give other values, "
        f"{counts['ERROR']} failed, {left} were not run."
    )


def _table(header, lines):
    text = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return [
        "| " + " | ".join(cells) + " |"
        for cells in [header, ["---"] * len(header), *text]
    ]


def markdown(rows, peaks, facts, left):
    """Return the page: facts, misses, then a table a section."""
    lines = [
        "# Benchmarks against PyTorch on a GPU",
        "",
        "Written by `python -m bench.peers --device cuda`. Times are of calls back to "
        "back between two synchronisations, both libraries in turn, the median of "
        "several samples; ratio is our time over PyTorch's, in the section `compiled` "
        "over torch.compile's. Shares are of the copy's "
        "bandwidth, or of the rate of an 8192 x 8192 product, both as PyTorch reaches "
        "them on the same card just before.",
        "",
        *[f"- {what}: {text}" for what, text in facts.items()],
        *[
            f"- {what}: {value / 1e9:.0f} GB/s"
            if what == "copy"
            else f"- products in {what}: {value / 1e12:.1f} TFLOP/s"
            for what, value in peaks.items()
        ],
        "",
        summary(rows, peaks, left),
        "",
        "## Misses",
        "",
    ]
    missed = [row for row in rows if row.mark(peaks)]
    why = [
        [
            row.case.label,
            _time(row.ours),
            _time(row.torch),
            row.error or row.wrong or "; ".join(row.misses(peaks)),
        ]
        for row in sorted(missed, key=lambda row: -(row.ratio or 1e9))
    ]
    lines += _table(["row", "ours", "PyTorch", "what"], why) if why else ["None."]
    for section in dict.fromkeys(row.case.section for row in rows):
        part = [row for row in rows if row.case.section == section]
        lines += ["", f"## {section}", ""]
        lines += _table(list(HEADER), [_cells(row, peaks) for row in part])
    return "\n".join(lines) + "\n"


# ---- children --------------------------------------------------------------------
class _Child:
    """A process that runs rows; its lines arrive in a queue."""

    def __init__(self, options, skip):
        command = [sys.executable, "-P", "-c", PROGRAM, "--skip", str(skip)]
        command += ["--device", options.device, "--seconds", str(options.seconds)]
        command += ["--only", options.only] if options.only else []
        command += ["--cap", str(options.cap)] if options.cap else []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def next(self, patience):
        """Return the next line as a dict, "ended" or "silent"."""
        stop = time.monotonic() + patience
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, stop - time.monotonic()))
            except queue.Empty:
                return "silent"
            if line is None:
                return "ended"
            try:
                return json.loads(line)
            except ValueError:
                print(line, end="", flush=True)  # what a library had to say

    def end(self):
        """Kill it if it runs still; return its exit status."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(timeout=5)
        self.process.stdout.close()
        return self.process.returncode


class _Session:
    """Rows so far, and the page that shows them."""

    def __init__(self, options):
        self.options = options
        self.cases = all_cases(only=options.only, **_cap(options))
        self.rows, self.peaks, self.facts = [], {}, {}
        self.path = Path(options.out) if options.out else RESULTS
        self.stop = time.monotonic() + options.budget

    def add(self, found):
        """Take a row from the child's line, print it, and write the page."""
        case = self.cases[len(self.rows)]
        found = dict(found)
        if found.pop("label", case.label) != case.label:
            raise RuntimeError(f"bench.cuda: expected the row {case.label!r}")
        if not self.rows or self.rows[-1].case.section != case.section:
            print(f"\n== {case.section}", flush=True)
        self.rows.append(Row(case, **found))
        print(format_row(self.rows[-1], self.peaks), flush=True)
        self.write()

    def write(self):
        """Write the page."""
        left = len(self.cases) - len(self.rows)
        text = markdown(self.rows, self.peaks, self.facts, left)
        self.path.write_text(text, encoding="utf-8")

    def follow(self, child):
        """Listen to a child until it is done, ends or falls silent; say which."""
        begun, patience = None, START
        while True:
            said = child.next(min(patience, max(1.0, self.stop - time.monotonic())))
            late = time.monotonic() >= self.stop
            if isinstance(said, dict):
                patience = PATIENCE
                if "peaks" in said:
                    self.peaks, self.facts = said["peaks"], said["facts"]
                    self.write()
                elif "begins" in said:
                    begun = said["begins"]
                    if self.cases[len(self.rows)].compiled:
                        patience = COMPILING
                elif "row" in said:
                    self.add(said["row"])
                    begun = None
                elif "done" in said:
                    return "done"
                if late:
                    return "late"
            elif late:
                return "late"
            else:
                status = child.end()
                if begun is not None:
                    what = "hung" if said == "silent" else f"ended by status {status}"
                    self.add({"error": f"the process {what}"})
                return "again" if begun is not None or status == 3 else "failed"


def _cap(options):
    return {"cap": options.cap} if options.cap else {}


def run(options):
    """Run the rows; return 1 when one failed, gave other values or was not run.

    Parameters
    ----------
    options : argparse.Namespace
        device, only, seconds (a row), budget (seconds for all), out (the page), cap.
    """
    session = _Session(options)
    for _ in range(MOST_CHILDREN):
        child = _Child(options, len(session.rows))
        try:
            how = session.follow(child)
        finally:
            child.end()
        if how != "again":
            break
    left = len(session.cases) - len(session.rows)
    print("\n== misses and failures")
    for row in session.rows:
        if row.mark(session.peaks):
            why = row.error or row.wrong or "; ".join(row.misses(session.peaks))
            print(f"{row.mark(session.peaks):5} {row.case.label}: {why}")
    print(f"\n{summary(session.rows, session.peaks, left)}\n{session.path}", flush=True)
    if how == "failed":
        print("the process that runs the rows could not start", file=sys.stderr)
    bad = any(row.error or row.wrong for row in session.rows)
    return 1 if bad or how == "failed" else 0
