"""The benchmarks' own arithmetic and pictures, on made-up measurements."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "bench").is_dir():
    pytest.skip("no bench/ beside tests/", allow_module_level=True)
sys.path.append(str(ROOT))  # last: the installed package wins over the sources
try:
    from bench import cases, report, runner, scaling, timing
finally:
    sys.path.remove(str(ROOT))


def test_serial_part_follows_amdahl():
    one = 10.0
    for part in (0.0, 0.25, 1.0):
        many = one * (part + (1 - part) / 8)
        assert scaling.serial_part(one, many, 8) == pytest.approx(part)
    assert scaling.serial_part(1.0, 1.2, 2) == 1.0  # slower on two threads
    assert scaling.serial_part(1.0, 0.4, 2) == 0.0  # more than twice as fast
    assert scaling.serial_part(1.0, 1.0, 1) == 1.0


def test_scaling_table_and_picture_have_every_operation(tmp_path):
    pytest.importorskip("matplotlib")
    sizes, threads = [10**k for k in range(1, 8)], (1, 2)
    found = {
        (name, n, size): {"ours": size * 1e-9 / n, "torch": size * 2e-9}
        for name in scaling.STATEMENTS
        for n in threads
        for size in sizes
    }
    text = scaling.markdown(found, sizes, threads, {"CPU": "made up"})
    rows = [line for line in text.splitlines() if "| tensorlib |" in line]
    assert len(rows) == len(scaling.STATEMENTS)
    assert rows[0].split("|")[3:7] == [" 10 ns ", " 1.000 ns ", " 2.00 ", " 64.0 "]
    scaling.draw(found, sizes, threads, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_roofline_is_drawn_with_and_without_products(tmp_path):
    pytest.importorskip("matplotlib")
    from bench.roofline import draw_roofline
    from bench.runner import Row
    from bench.timing import Stat

    floor = SimpleNamespace(bandwidth={1 << 18: 5e10, 1 << 28: 2e10}, rate=1e11)
    stats = {"ours": Stat(1e-3, 1e-3, 1e-3), "torch": Stat(2e-3, 2e-3, 2e-3)}
    rows = [
        Row("matmul", "64^3", 1.0, None, "s", stats, nbytes=49152, flops=524288.0),
        Row("elementwise", "add", 1.0, None, "s", stats, nbytes=12_000_000),
        Row("process", "import", 1.0, 0.02, "s", stats),
        Row("nnet", "broken", 1.0, None, "s", error="ShapeError"),
    ]
    draw_roofline(rows, floor, tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


# ---- the table of cases ----------------------------------------------------------
def test_every_public_op_has_a_row():
    assert cases.uncovered_ops() == set()


def test_every_array_function_has_a_row_at_each_size():
    assert cases.unsized_ops() == {}


def test_every_array_function_that_numpy_has_is_timed_beside_it():
    assert cases.ops_without_numpy() == set()


def test_names_of_rows_are_unique():
    labels = [case.label for case in cases.all_cases()]
    assert sorted({x for x in labels if labels.count(x) > 1}) == []


# ---- the verdict -----------------------------------------------------------------
def made_up(target=1.0, **ratios):
    stats = {name: timing.Stat(1.0, 1.0, 1.0) for name in ("ours", *ratios)}
    return runner.Row("sorting", "made up", target, None, "s", stats, ratios)


@pytest.mark.parametrize(
    ("torch", "numpy", "target", "missed"),
    [(0.5, 0.9, 1.0, False), (0.5, 1.1, 1.0, True), (1.1, 0.5, 1.0, True),
     (0.4, 0.9, 0.5, False), (0.6, 0.9, 0.5, True), (1.5, 1.5, 2.0, False)],
)  # fmt: skip
def test_row_is_judged_against_the_better_peer(torch, numpy, target, missed):
    row = made_up(target, torch=torch, numpy=numpy)
    assert row.ratio == max(torch, numpy)
    assert row.peer == ("torch" if torch >= numpy else "numpy")
    assert row.missed is missed


@pytest.mark.parametrize(
    ("ratio", "least", "tied"),
    [(1.1, 0.95, True), (1.1, 1.0, True), (1.1, 1.05, False), (0.9, 0.8, False)],
)
def test_row_that_meets_its_target_in_a_quarter_of_the_rounds_ties(ratio, least, tied):
    row = made_up(torch=ratio)
    row.least["torch"] = least
    assert row.tied is tied
    assert row.missed is (ratio > 1.0)
    marked = report.markdown([row], {}, {}, None, "test").count("| tie |")
    assert marked == tied


def test_row_close_to_its_target_is_timed_for_longer(monkeypatch):
    rounds = []

    def interleave(loops, budget):
        rounds.append(budget.row)
        return {"ours": [1.1], "torch": [1.0]}

    monkeypatch.setattr(runner, "interleave", interleave)
    monkeypatch.setattr(runner, "_loops", lambda case, clock: ({}, 0))
    only = cases.all_cases(only="elementwise: exp 10.3")[:1]
    row = runner.run_case(only[0], timing.Budget(row=0.5))
    assert rounds == [0.5, 2.0]
    assert row.ratios["torch"] == pytest.approx(1.1)


def test_row_without_peers_has_no_ratio():
    assert made_up().ratio is None
    assert not made_up().missed


def test_report_names_the_better_peer_and_counts_both():
    rows = [made_up(torch=0.5, numpy=1.25), made_up(torch=0.25), made_up()]
    text = report.markdown(rows, {"CPU": "made up"}, {}, None, "test")
    assert text.count("| 1.25 N |") == 2  # among the misses, and in its section
    assert "| 0.25 |" in text
    assert "1 against NumPy (1.250 of its time, 1 slower)" in text
    assert "2 against PyTorch (0.354 of its time, 0 slower)" in text
    assert "2 rows, geometric mean 0.559 of the better peer's time" in text
