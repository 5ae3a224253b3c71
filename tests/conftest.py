"""Settings that a failing test must not leave to the next one."""

import os

import pytest

import tensorlib as tl

# Interpreters that tests start see the installed package, not the sources beside them.
os.environ["PYTHONSAFEPATH"] = "1"


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-parts", type=int, default=4, help="how often 25,000 random calls"
    )


@pytest.fixture(autouse=True)
def settings():
    """Restore recording, threads and the memory limit after each test."""
    threads = tl.get_num_threads()
    yield
    tl.set_grad_enabled(True).__enter__()
    tl.set_num_threads(threads)
    tl.set_memory_limit(None)
