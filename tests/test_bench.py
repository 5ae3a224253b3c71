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
    from bench import (
        case,
        cases,
        journal,
        latency,
        libraries,
        misses,
        peers,
        report,
        runner,
        scaling,
        timing,
        variants,
    )
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
    monkeypatch.setattr(runner, "_loops", lambda case, clock, peers: ({}, 0))
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
    assert "2 rows, geometric mean 0.559 of the best peer's time" in text


@pytest.mark.parametrize(
    ("ratios", "target", "missed"),
    [({"torch": 0.1, "jax": 0.9}, 0.2, False), ({"torch": 0.1, "jax": 1.1}, 0.2, True),
     ({"torch": 0.1, "channels_last": 0.3}, 0.2, True), ({"onnx": 1.5}, 2.0, False)],
)  # fmt: skip
def test_other_peers_are_met_at_their_time_and_channels_last_at_the_target(
    ratios, target, missed
):
    assert made_up(target, **ratios).missed is missed


def test_cause_measured_on_one_processor_is_not_given_for_another(monkeypatch):
    monkeypatch.setattr(misses, "ON", {"AMD": {"^a: b": "seen there"}})
    monkeypatch.setattr(misses, "ANYWHERE", {"^a: ": "by its nature"})
    assert misses.why("a: b", "AMD EPYC") == "seen there"
    assert misses.why("a: b", "Intel Xeon") == "by its nature"
    assert misses.why("c: b", "AMD EPYC") == ""


def test_report_names_the_picture_beside_it():
    text = report.markdown([], {}, {}, None, "test", picture="roofline-other.png")
    assert "](roofline-other.png)" in text


def test_report_shows_other_peers_by_their_letters():
    row = made_up(torch=0.5, compile=1.25, jax=0.75)
    lines = report.markdown([row], {}, {}, None, "test").splitlines()
    line = next(line for line in lines if line.startswith("| made up"))
    assert "| C 1 s, J 1 s | 1.25 C |" in line


def test_report_shows_a_row_of_things_as_a_rate():
    row = made_up(torch=0.5)
    row.count = 60000
    assert "| 60,000/s | 60,000/s |" in report.markdown([row], {}, {}, None, "test")


# ---- who takes part --------------------------------------------------------------
def adding(**more):
    given = {"operands": {"a": case.Spec((3,)), "b": case.Spec((3,))}, **more}
    return case.Case("made up", "adding", "a + b", "a + b", "a + b", **given)


def test_library_that_is_not_installed_takes_no_part(monkeypatch):
    monkeypatch.setattr(runner, "installed", lambda library: library == "numpy")
    row = variants.with_arrays(variants.with_compile(adding()))
    found = runner.run_case(row, timing.Budget(row=0.01, rounds=1))
    assert found.error == ""
    assert set(found.stats) == {"ours", "numpy"}


def test_other_result_is_an_error_and_not_a_ratio(monkeypatch):
    monkeypatch.setattr(runner, "installed", lambda library: library == "numpy")
    operands = adding().operands
    wrong = case.Case("made up", "wrong", "a + b", numpy="a - b", operands=operands)
    found = runner.run_case(wrong, timing.Budget(row=0.01, rounds=1))
    assert found.error.startswith("MismatchError")
    assert found.ratio is None


@pytest.mark.parametrize(
    ("torch", "statement"),
    [
        ("F.relu(F.linear(x, w))", "compiled(x, w)"),
        ("torch.autograd.grad(F.glu(x, 1), (x,), g)",
         "torch.autograd.grad(compiled(x), (x,), g)"),
        ("torch.autograd.grad(F.linear(x, w, b), (x, w, b), g)",
         "torch.autograd.grad(compiled(x, w, b), (x, w, b), g)"),
        ("torch.autograd.grad(F.cross_entropy(x, y), x)",
         "torch.autograd.grad(compiled(x, y), x)"),
    ],
)  # fmt: skip
def test_compiled_statement_calls_what_is_differentiated(torch, statement):
    operands = {name: case.Spec((2, 2)) for name in "xwbyg"}
    row = case.Case("made up", "row", "", torch, operands=operands)
    assert variants.with_compile(row).statement("compile") == statement


def test_rows_name_only_known_libraries():
    named = set().union(*(row.others for row in cases.all_cases()))
    assert named <= set(libraries.PEERS)
    assert {"compile", "channels_last", "onnx", "jax", "mlx"} <= named


def test_latency_gives_a_median_and_a_percentile_a_round(monkeypatch):
    monkeypatch.setattr(latency, "installed", lambda library: library == "numpy")
    found = latency.percentiles(adding(), 3)
    assert set(found) == {"ours", "numpy"}
    assert all(len(pairs) == 3 for pairs in found.values())
    assert all(0 < half <= most for pairs in found.values() for half, most in pairs)


def test_row_that_makes_its_operands_has_no_floor():
    def prepare(library, names):
        names["a"] = names["tl"].ones((10**5,))

    row = case.Case("made up", "row", "a + a", prepare=prepare)
    floor = SimpleNamespace(seconds=lambda nbytes, flops: nbytes or None)
    found = runner.run_case(row, timing.Budget(row=0.01, rounds=1), floor=floor)
    assert (found.nbytes, found.floor, found.error) == (0, None, "")


def test_asv_rows_have_a_statement_of_ours():
    from bench.benchmarks import rows

    assert rows.Row.params[0]
    assert all(rows._CASES[label].ours for label in rows.Row.params[0])


def test_rows_kept_in_a_file_stand_beside_new_ones_with_their_commit(tmp_path):
    path = tmp_path / "rows"
    first, second = [each for each in cases.all_cases() if each.measure is None][:2]
    for seconds, of in ((1.0, "old"), (2.0, "new")):
        for one in (second, first):
            row = runner.Row(one.section, one.name, 1.0, None, "s", of=of)
            row.stats["ours"] = timing.summarize([seconds, seconds])
            journal.append_row(path, row)
    kept = journal.read_rows(path)
    assert kept[first.label] == row  # the last of its name
    fresh = runner.Row(second.section, second.name, 1.0, None, "s", of="newest")
    rows = peers._with_kept([fresh], path)
    assert [each.label for each in rows] == [first.label, second.label]
    assert [each.of for each in rows] == ["new", "newest"]
    text = report.markdown(rows, {}, {"tensorlib": "newest"}, None, "full")
    assert "- rows: 1 of new, 1 of newest" in text
    assert "- rows:" not in report.markdown(
        [fresh], {}, {"tensorlib": "newest"}, None, ""
    )
    assert journal.read_rows(tmp_path / "absent") == {}
