"""Rows as text for the terminal and as RESULTS.md."""

from collections import Counter
from math import exp, log

from bench.libraries import PEERS
from bench.misses import why

__all__ = ["format_row", "format_summary", "geometric_mean", "markdown"]

NOISY = 0.25  # a spread above this makes a row uncertain
TIMES = ("ours", "torch", "numpy")  # which have columns of their own
HEADER = ("row", "ours", "PyTorch", "NumPy", "others", "ratio", "target", "floor", "")


def geometric_mean(values):
    """Return it, NaN for none."""
    values = [value for value in values if value > 0]
    return exp(sum(map(log, values)) / len(values)) if values else float("nan")


def _quantity(value, unit):
    if unit == "B":
        return f"{value / 1e6:.1f} MB" if value >= 1e5 else f"{value:.0f} B"
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if abs(value) >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def _stat(row, library):
    stat = row.stats.get(library)
    if stat is None:
        return ""
    text = _quantity(stat.median, row.unit)
    if row.count:
        text = f"{row.count / stat.median:,.0f}/s"
    if stat.spread >= 0.01:
        text += f" ±{stat.spread * 50:.0f}%"  # half the interquartile range
    return text


def _others(row):
    """The times of libraries without a column, each with its letter."""
    return ", ".join(
        f"{PEERS[name].mark} {_stat(row, name)}"
        for name in row.stats
        if name not in TIMES
    )


def _target(row):
    if row.limit is not None:
        return _quantity(row.limit, row.unit)
    return f"{row.target:g}"


def _mark(row):
    if row.error:
        return "ERROR"
    if row.missed:
        return "tie" if row.tied else "MISS"
    return "noisy" if row.spread > NOISY else ""


def _over_floor(row):
    """How many times the floor our time is."""
    if row.floor is None or "ours" not in row.stats:
        return ""
    return f"{row.stats['ours'].median / row.floor:.2g}x"


def _cells(row):
    if row.error:
        text = f"error: {row.error}"
        return [row.name, text, "", "", "", "", _target(row), "", "ERROR"]
    ratio = "" if row.ratio is None else f"{row.ratio:.3g} {PEERS[row.peer].mark}"
    times = [_stat(row, library) for library in TIMES]
    measured = [*times, _others(row), ratio.strip(), _target(row)]
    return [row.name, *measured, _over_floor(row), _mark(row)]


def format_row(row):
    """Return the row as a line of the terminal's table."""
    name, ours, torch, numpy, others, ratio, target, floor, mark = _cells(row)
    if row.error:
        return f"{name:44} {ours}"
    times = f"{ours:>14} {torch:>14} {numpy:>14}"
    line = f"{name:44} {times} {ratio:>7} {target:>7} {floor:>6} {mark:5} {others}"
    return line.rstrip()


def _worst_first(rows):
    return sorted(rows, key=lambda row: -row.severity)


def _counts(rows):
    timed = [row for row in rows if row.ratio is not None]
    misses = [row for row in rows if row.missed]
    errors = [row for row in rows if row.error]
    noisy = [row for row in timed if row.spread > NOISY]
    return timed, misses, errors, noisy


def _against(rows, library):
    """How we compare with one peer, in words."""
    name = PEERS[library].title
    ratios = [row.ratios[library] for row in rows if library in row.ratios]
    if not ratios:
        return ""
    slower = sum(ratio > 1.0 for ratio in ratios)
    mean = geometric_mean(ratios)
    return f"{len(ratios)} against {name} ({mean:.3f} of its time, {slower} slower)"


def _sentence(rows, share):
    timed, misses, errors, noisy = _counts(rows)
    timings = [row for row in timed if row.unit == "s"]
    mean = geometric_mean([row.ratio for row in timings])
    peers = ", ".join(filter(None, (_against(timings, name) for name in PEERS)))
    text = (
        f"{len(timed)} rows, geometric mean {mean:.3f} of the best peer's time: "
        f"{peers or 'no peers'}; {len(misses)} miss their target "
        f"({sum(row.tied for row in misses)} of them tie), "
        f"{len(errors)} failed, {len(noisy)} are noisy."
    )
    if share is not None:
        text += f" Other processes took {share:.0%} of the machine meanwhile."
    return text


def format_summary(rows, share):
    """Return misses first, then counts and the geometric mean."""
    _, misses, errors, noisy = _counts(rows)
    lines = ["", "== misses, worst first"]
    lines += [f"{row.section:12} {format_row(row)}" for row in _worst_first(misses)]
    lines += ["", "== errors"] if errors else []
    lines += [f"{row.section:12} {row.name}: {row.error}" for row in errors]
    lines += ["", _sentence(rows, share)]
    if len(noisy) > len(rows) // 4 or (share or 0.0) > 0.1:
        lines.append("THE MACHINE IS TOO NOISY: trust ratios only, and run again.")
    return "\n".join(lines)


def _table(header, lines):
    rule = ["---"] * len(header)
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return ["| " + " | ".join(cells) + " |" for cells in [header, rule, *escaped]]


def _miss_lines(rows, processor):
    lines = []
    for row in _worst_first(rows):
        name, *times, ratio, target, _, _ = _cells(row)
        ratio += " tie" if row.tied else ""
        cause = row.error or why(row.label, processor) or "not yet known"
        times = [""] * 4 if row.error else times
        lines.append([f"{row.section}: {name}", *times, ratio, target, cause])
    return lines


def _origins(rows, now):
    """Of which versions the rows are, where not all are of this one."""
    counts = Counter(row.of or now for row in rows)
    if set(counts) <= {now}:
        return []
    parts = ", ".join(f"{count} of {of}" for of, count in counts.most_common())
    return [f"- rows: {parts}"]


def _letters():
    return ", ".join(f"{p.mark}: {p.title}" for p in PEERS.values() if p.mark)


def markdown(rows, machine, packages, share, mode, picture="roofline.png"):
    """Return RESULTS.md: misses on top, then a table a section."""
    facts = [f"- {what}: {text}" for what, text in {**machine, **packages}.items()]
    _, misses, errors, _ = _counts(rows)
    lines = [
        "# Benchmarks against PyTorch, NumPy and others",
        "",
        "Written by `python -m bench.peers --write`; the causes of misses are kept in "
        "`misses.py`. Medians of samples taken in turn in one process; ± is half the "
        "interquartile range; ratio is our time over that of the best of the others "
        f"(nothing behind it: PyTorch; {_letters()}), the median over rounds. "
        "Compilation is not timed. The target is the largest good ratio to "
        "PyTorch's time, 1 to others', or the largest good value. A row that misses it "
        "by little is timed for longer; where a quarter of the rounds or more meet the "
        "target, it is called a tie. "
        "Floor: how many times longer ours takes than the bytes of operands and "
        "results at the bandwidth measured, or the operations of a product at the rate "
        "measured, would; empty where the cost of a call decides.",
        "",
        *facts,
        f"- mode: {mode}",
        *_origins(rows, packages.get("tensorlib", "")),
        "",
        _sentence(rows, share),
        "",
        f"![rows on the machine's roofline]({picture})",
        "",
        "## Misses",
        "",
    ]
    header = [*HEADER[:-2], "why"]
    missed = _miss_lines([*misses, *errors], machine.get("CPU", ""))
    lines += _table(header, missed) if missed else ["None."]
    for section in dict.fromkeys(row.section for row in rows):
        lines += ["", f"## {section}", ""]
        part = [row for row in rows if row.section == section]
        lines += _table(list(HEADER), [_cells(row) for row in part])
        ratios = [row.ratio for row in part if row.ratio is not None]
        lines += ["", f"Geometric mean {geometric_mean(ratios):.3f}."]
    return "\n".join(lines) + "\n"
