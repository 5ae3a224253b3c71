"""Random calls: each ends in the reference's result or in one of our errors.

10^5 of them, or 25,000 times `--fuzz-parts`.
"""

import os
import subprocess
import sys

import pytest

import tensorlib as tl

TESTS = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(tl.__file__)))
CALLS = 25_000


def pytest_generate_tests(metafunc):
    metafunc.parametrize("seed", range(metafunc.config.getoption("--fuzz-parts")))


@pytest.mark.slow
def test_random_calls_end_in_a_result_or_a_documented_error(seed, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([LIBRARY, TESTS]),
        "PYTHONFAULTHANDLER": "1",
        "PYTHONHASHSEED": "0",
    }
    script = os.path.join(TESTS, "fuzz_calls.py")
    log = tmp_path / "log"
    command = [sys.executable, script, str(seed), str(CALLS), str(log)]
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=900, env=environment, cwd=TESTS
    )
    if found.returncode in (0, 1) and found.stdout + found.stderr:
        assert found.returncode == 0, found.stdout + found.stderr[-2000:]
        return
    number = log.read_text() if log.exists() else "none"
    again = subprocess.run(
        [sys.executable, script, str(seed), str(int(number))],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd=TESTS,
    )
    pytest.fail(
        f"exit {found.returncode} in {again.stdout or number}\n{found.stderr[-2000:]}"
    )
