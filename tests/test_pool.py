"""The pool of threads: right under contention, alive after fork, and the only one."""

import threading

import pytest
from test_threads_fork import run

import tensorlib as tl
from tensorlib.core.threads import pool_is_ours

pytestmark = pytest.mark.skipif(not pool_is_ours(), reason="built on OpenMP's runtime")

WORK = """
    import os, signal, threading
    import tensorlib as tl
    tl.set_num_threads(1)       # arange is not the first parallel kernel
    x = tl.arange(1_000_000, dtype=tl.float64)
    tl.set_num_threads(4)
    def work():
        return (x + 1).sum().item() == 500000500000.0
    def tasks():
        return len(os.listdir("/proc/self/task"))
"""


def test_parallel_kernels_load_no_openmp_runtime():
    code = """
    assert work()
    maps = open("/proc/self/maps").read()
    print([name for name in ("libgomp", "libomp", "libiomp5") if name in maps])
    """
    assert run(WORK + code) == "[]"


def test_workers_start_with_the_first_parallel_kernel():
    assert run(WORK + "\n    before = tasks(); work(); print(before, tasks())") == "1 4"


def test_forked_child_starts_workers_of_its_own():
    code = """
    assert work()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        before = tasks()
        ok = work()
        os._exit(0 if ok and (before, tasks()) == (1, 4) else 3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert run(WORK + code) == "0"


def test_workers_of_a_child_may_start_before_its_first_job():
    code = """
    codes = set()
    for _ in range(200):        # no job before the fork
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            os._exit(0 if work() else 3)
        codes.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(codes)
    """
    assert run(WORK + code) == "{0}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_while_another_thread_runs_a_kernel():
    code = """
    stop = False
    def churn():
        while not stop:
            work()
    threads = [threading.Thread(target=churn) for _ in range(2)]
    for t in threads: t.start()
    codes = set()
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            os._exit(0 if work() and work() else 3)
        codes.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    stop = True
    for t in threads: t.join()
    print(codes)
    """
    assert run(WORK + code) == "{0}"


def test_python_threads_share_the_pool():
    x = tl.arange(200_000, dtype=tl.float64)
    expected = tl.exp(x * 1e-5).tolist()
    wrong = []

    def work():
        for _ in range(20):
            if tl.exp(x * 1e-5).tolist() != expected:
                wrong.append(threading.get_ident())

    with tl.num_threads(3):
        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_changing_thread_counts_between_kernels_keeps_results():
    x = tl.arange(300_000, dtype=tl.float64)
    expected = tl.exp(x * 1e-5).tolist()
    for n in (1, 7, 2, 64, 3, 1024, 2):
        with tl.num_threads(n):
            assert tl.exp(x * 1e-5).tolist() == expected


def test_signals_go_to_the_main_thread():
    code = """
    work()
    caught = []
    signal.signal(signal.SIGUSR1, lambda *_: caught.append(threading.current_thread()))
    os.kill(os.getpid(), signal.SIGUSR1)
    print(caught == [threading.main_thread()])
    """
    assert run(WORK + code) == "True"
