"""The benchmarks on a GPU: their rows, page and processes, where there is no GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import tensorlib as tl

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "bench").is_dir():
    pytest.skip("no bench/ beside tests/", allow_module_level=True)
sys.path.append(str(ROOT))  # last: the installed package wins over the sources
try:
    from bench.cuda import cases, table
    from bench.cuda.case import Case
finally:
    sys.path.remove(str(ROOT))

SMALL = cases.all_cases(cap=32)


def test_rows_are_many_and_their_names_unique():
    labels = [case.label for case in cases.all_cases()]
    assert len(labels) == len(set(labels)) > 200
    assert labels[0].startswith("memory 2^26")  # the most important first


def test_only_keeps_the_rows_that_match():
    found = cases.all_cases(only="^matmul: bfloat16 8192$")
    assert [case.label for case in found] == ["matmul: bfloat16 8192"]
    assert found[0].flops == 2.0 * 8192**3


def test_large_rows_ask_for_their_share_of_the_bandwidth():
    for case in cases.all_cases(only=r"^memory 2\^26"):
        assert case.share == 0.9
        assert case.nbytes > 0
    assert {case.ratio for case in cases.all_cases(only="^launch")} == {0.5}
    assert {case.ratio for case in cases.all_cases(only="CUDA graph$")} == {0.7}


def on_cpu(case, library):
    """The names of a statement, made on the CPU."""
    names = {"tl": tl, "d": "cpu"}
    for name, operand in case.operands.items():
        if operand.below:
            made = tl.randint(0, operand.below, operand.shape)
        else:
            made = tl.randn(operand.shape).astype(operand.dtype)
        names[name] = made.requires_grad_(operand.grad)
    if case.prepare is not None:
        case.prepare(library, names, "cpu")
    return names


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.label)
def test_our_statement_runs_on_little_data(case):
    exec(case.ours, on_cpu(case, "ours"))


def options(tmp_path, **more):
    return SimpleNamespace(
        device="cpu", only="^launch: (add|exp|relu)$", seconds=0.0, budget=100.0,
        out=str(tmp_path / "page.md"), cap=64, **more,
    )  # fmt: skip


def test_rows_without_a_gpu_are_listed():
    program = (
        f"import sys; sys.path.append({str(ROOT)!r}); from bench.peers import main; "
        "sys.exit(main(['--device', 'cuda', '--list']))"
    )
    made = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert made.stdout.splitlines() == [case.label for case in cases.all_cases()]


def test_rows_run_in_a_process_of_their_own(tmp_path, capsys):
    pytest.importorskip("torch")
    assert table.run(options(tmp_path)) == 0
    page = (tmp_path / "page.md").read_text()
    assert "## launch" in page
    assert "| exp |" in page
    assert "3 rows timed" in capsys.readouterr().out


CHILD = """
import json, sys, time
skip = int(sys.argv[sys.argv.index("--skip") + 1])
say = lambda **line: print(json.dumps(line), flush=True)
labels = ["launch: add", "launch: relu", "launch: exp"]
if skip == 0:
    say(facts={}, peaks={"copy": 1e12})
    say(begins=labels[0])
    say(row={"label": labels[0], "error": "CudaError: illegal address"})
    sys.exit(3)
if skip == 1:
    say(begins=labels[1])
    print("a library's own words", flush=True)
    HOW
say(begins=labels[2])
say(row={"label": labels[2], "ours": 1e-6, "torch": 4e-6, "ratio": 0.25})
say(done=True)
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [("import os; os.abort()", "status -6"), ("time.sleep(60)", "hung")],
)
def test_a_row_that_ends_the_process_does_not_end_the_rest(
    tmp_path, monkeypatch, capsys, how, said
):
    monkeypatch.setattr(table, "PROGRAM", CHILD.replace("HOW", how))
    monkeypatch.setattr(table, "PATIENCE", 2.0)
    assert table.run(options(tmp_path)) == 1
    page = (tmp_path / "page.md").read_text()
    assert "illegal address" in page
    assert said in page
    assert "| exp | 1 us | 4 us | 0.25 |" in page
    assert "a library's own words" in capsys.readouterr().out


def test_budget_stops_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "PROGRAM", "import time; time.sleep(60)")
    given = options(tmp_path)
    given.budget = 0.5
    assert table.run(given) == 0


def row(**found):
    case = Case("memory 2^26", "add", "", "", nbytes=1e9, share=0.9)
    return table.Row(case, ours=1e-3, torch=1e-3, **found)


def test_row_is_judged_by_its_ratio_and_its_share():
    peaks = {"copy": 1e12}
    assert row(ratio=1.0).misses(peaks) == []
    assert row(ratio=1.1).misses(peaks) == ["ratio 1.10 > 1"]
    assert row(ratio=1.0).misses({"copy": 2e12}) == ["50% < 90% of the peak"]
    assert row(ratio=1.0).mark(peaks) == ""
    assert row(ratio=1.1).mark(peaks) == "MISS"
    assert row(ratio=1.1, wrong="values differ").mark(peaks) == "WRONG"
    assert row(error="no memory").mark(peaks) == "ERROR"


def test_page_shows_misses_with_their_targets():
    text = table.markdown([row(ratio=2.0)], {"copy": 1e12}, {"card": "H100"}, 7)
    assert "- card: H100" in text
    assert "- copy: 1000 GB/s" in text
    assert "| memory 2^26: add | 1 ms | 1 ms | ratio 2.00 > 1 |" in text
    assert "7 were not run" in text


# ---- the script --------------------------------------------------------------------
def script(tmp_path, *arguments, python="exit 0", path=""):
    """Run bench/cuda.sh with a made-up interpreter and tools; its status and output."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    interpreter = tools / "python-of-tests"
    interpreter.write_text(f"#!/bin/bash\n{python}\n")
    interpreter.chmod(0o755)
    for name, text in json.loads(path or "{}").items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    made = subprocess.run(
        ["bash", str(ROOT / "bench" / "cuda.sh"), "--python", str(interpreter),
         *arguments, str(tmp_path / "logs")],
        env={**os.environ, "PATH": f"{tools}:/usr/bin:/bin"},
        capture_output=True, text=True,
    )  # fmt: skip
    return made.returncode, made.stdout + made.stderr


PYTHON = """
case "$*" in
  *why_unavailable*) echo there ;;
  *bench.peers*) echo "9 rows timed" ;;
  *"-m pytest"*) echo "1 failed, 2 passed"; exit 1 ;;
  *) echo "installed" ;;
esac
"""


def test_script_runs_every_phase_though_one_fails(tmp_path):
    tools = json.dumps({"compute-sanitizer": "echo clean"})
    status, text = script(tmp_path, python=PYTHON, path=tools)
    assert status == 1
    summary = (tmp_path / "logs" / "summary.txt").read_text()
    assert [line.split()[0] for line in summary.splitlines() if line[0] != " "] == [
        "card", "build", "device", "tests", "memcheck", "racecheck", "bench",
    ]  # fmt: skip
    assert "tests      FAILED (1)" in summary
    assert "9 rows timed" in summary
    assert "bench      passed" in text


def test_script_stops_a_phase_that_takes_too_long(tmp_path):
    slow = PYTHON.replace('echo "9 rows timed"', "sleep 30")
    status, text = script(
        tmp_path, "--only", "bench", "--limit", "bench=1", python=slow
    )
    assert status == 1
    assert "STOPPED" in text


def test_script_without_a_device_says_why(tmp_path):
    status, text = script(tmp_path, "--installed", python="echo no driver")
    assert status == 1
    assert "no driver" in text
    assert "build" not in text


def test_script_rejects_an_unknown_option(tmp_path):
    status, text = script(tmp_path, "--nonsense")
    assert status == 2
    assert "--help" in text
