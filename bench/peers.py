"""``python -m bench.peers``: us, PyTorch, NumPy and others, in turn in one process."""

import argparse
import os
import sys
import time
from pathlib import Path

from bench.libraries import PEERS

RESULTS = Path(__file__).with_name("RESULTS.md")


def _parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    parser.add_argument(
        "--peers",
        metavar="A,B",
        type=lambda text: text.split(","),
        help="libraries to compare with (default: all that are installed)",
    )
    parser.add_argument("--only", metavar="REGEX", help='rows by "section: name"')
    parser.add_argument(
        "--threads",
        type=int,
        default=min(2, len(os.sched_getaffinity(0))),
        help="of every library (default: 2, or the processors there are)",
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: the thread's own time, for --threads 1 on a busy machine",
    )
    parser.add_argument(
        "--write", action="store_true", help="the table, and a picture beside it"
    )
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="of the table, instead of RESULTS.md (RESULTS-cuda.md for a GPU)",
    )
    parser.add_argument(
        "--rows",
        metavar="PATH",
        help="add the rows to this file; those in it that are not timed now stay in "
        "the table, with their commit",
    )
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    card = parser.add_argument_group("on a GPU (--device cuda)")
    card.add_argument(
        "--device",
        default="cpu",
        help="cuda: the rows of bench/cuda, written to RESULTS-cuda.md",
    )
    card.add_argument(
        "--seconds", type=float, default=0.15, help="of a row (default 0.15)"
    )
    card.add_argument(
        "--budget", type=float, default=150.0, help="of all rows, in s (default 150)"
    )
    card.add_argument("--cap", type=int, help="most elements of an operand, to try out")
    options = parser.parse_args(arguments)
    unknown = set(options.peers or ()) - set(PEERS)
    if unknown:
        known = ", ".join(PEERS)
        parser.error(f"--peers: expected some of {known}, got {', '.join(unknown)}")
    if options.clock == "cpu" and options.threads != 1:
        parser.error("--clock cpu counts one thread only: add --threads 1")
    return options


def _set_threads(n):
    """The same number for every library; BLAS libraries read it when they load."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(n)
    # NumPy's BLAS threads spin 2^26 cycles after a product unless told otherwise.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")
    try:
        # First, so that PyTorch gets the OpenMP it brings; it then serves both.
        import torch

        torch.set_num_threads(n)
    except ImportError:
        print("PyTorch is not installed: no ratios", file=sys.stderr)
    import tensorlib

    tensorlib.set_num_threads(n)


def _run(cases, options, budget, floor, of):
    """Time the cases; each row is shown, and kept, as soon as it is there."""
    from bench.journal import append_row
    from bench.report import format_row
    from bench.runner import run_case

    rows, section = [], None
    peers = options.peers or tuple(PEERS)
    for case in cases:
        if case.section != section:
            section = case.section
            print(f"\n== {section}", flush=True)
        row = run_case(case, budget, options.clock, floor, peers)
        row.of = of
        rows.append(row)
        if options.rows:
            append_row(options.rows, row)
        print(format_row(row), flush=True)
    return rows


def _with_kept(rows, path):
    """The rows timed now, and of the others those in the file, in the table's order."""
    from bench.cases import all_cases
    from bench.journal import read_rows

    known = {**read_rows(path), **{row.label: row for row in rows}}
    return [known[case.label] for case in all_cases() if case.label in known]


def _on_card(options):
    """The rows of the card; their operations are named for any machine."""
    from bench.cuda.cases import all_cases
    from bench.cuda.table import run

    if options.list:
        print("\n".join(case.label for case in all_cases(only=options.only)))
        return 0
    return run(options)


def main(arguments=None):
    """Time the chosen rows, print the table; 1 when a row failed."""
    options = _parse(arguments)
    if options.device != "cpu" or options.cap:
        return _on_card(options)
    _set_threads(options.threads)
    from bench.cases import all_cases
    from bench.floor import Floor
    from bench.machine import Neighbours, describe_machine, versions
    from bench.report import format_summary, markdown
    from bench.roofline import draw_roofline
    from bench.timing import QUICK, Budget

    cases = all_cases(quick=options.quick, only=options.only)
    if options.list:
        print("\n".join(case.label for case in cases))
        return 0
    neighbours, start = Neighbours(), time.perf_counter()
    floor = Floor(options.threads)
    budget = QUICK if options.quick else Budget()
    packages = versions()
    rows = _run(cases, options, budget, floor, packages["tensorlib"])
    share = neighbours.share()
    print(format_summary(rows, share))
    print(f"{len(rows)} rows in {time.perf_counter() - start:.0f} s")
    failed = any(row.error for row in rows)
    if options.write:
        if options.rows:
            rows, share = _with_kept(rows, options.rows), None
        mode = "quick" if options.quick else "full"
        if options.clock == "cpu":
            mode += ", CPU time of one thread"
        if options.only and not options.rows:
            mode += f", only {options.only}"
        machine = {**describe_machine(options.threads), **floor.describe()}
        page = Path(options.out) if options.out else RESULTS
        picture = page.with_name(page.stem.replace("RESULTS", "roofline") + ".png")
        draw_roofline(rows, floor, picture)
        page.write_text(
            markdown(rows, machine, packages, share, mode, picture=picture.name)
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
