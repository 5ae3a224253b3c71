"""Settings that a failing test must not leave to the next one."""

import pytest

import tensorlib as tl


@pytest.fixture(autouse=True)
def settings():
    """Restore recording, threads and the memory limit after each test."""
    threads = tl.get_num_threads()
    yield
    tl.set_grad_enabled(True).__enter__()
    tl.set_num_threads(threads)
    tl.set_memory_limit(None)
