"""Threads: how many, the same results from several, and none lost to fork()."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import tensorlib as tl
from tensorlib.core.threads import cgroup_quota, default_threads

TESTS = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(tl.__file__)))


def run(code, *, timeout=120, **environment):
    """Run code in a fresh interpreter; return what it printed."""
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([LIBRARY, TESTS]),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=TESTS,
    )
    assert found.returncode == 0, f"exit {found.returncode}\n{found.stderr[-3000:]}"
    return found.stdout.strip()


# ---- the number of threads -----------------------------------------------------
def test_number_of_threads_can_be_set_and_restored():
    before = tl.get_num_threads()
    with tl.num_threads(3):
        assert tl.get_num_threads() == 3
        with tl.num_threads(1):
            assert tl.get_num_threads() == 1
        assert tl.get_num_threads() == 3
    assert tl.get_num_threads() == before


def test_number_of_threads_is_restored_after_an_error():
    before = tl.get_num_threads()
    with pytest.raises(KeyError), tl.num_threads(5):
        raise KeyError
    assert tl.get_num_threads() == before


@pytest.mark.parametrize("n", [0, -1, 1025, 10**30, 1.0, "2", None, True])
def test_bad_number_of_threads_raises(n):
    with pytest.raises(ValueError, match=r"integer in 1\.\.1024"):
        tl.set_num_threads(n)


def test_more_threads_than_processors_work():
    with tl.num_threads(64):
        assert tl.ones(1_000_000).sum().item() == 1e6


# ---- defaults ------------------------------------------------------------------
def quota_of(tmp_path, membership, **files):
    """The quota read from a made-up cgroup tree; `__` in names stands for a slash."""
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "root" / name.replace("__", "/").replace("cpu_max", "cpu.max")
        path = path.with_name(path.name.replace("cfs_", "cpu.cfs_"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cgroup_quota(str(tmp_path / "root"), str(tmp_path / "membership"))


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("150000 100000\n", 1.5),
        ("max 100000\n", None),
        ("50000 100000", 0.5),
        ("", None),
        ("400000 50000\n", 8.0),
    ],
)
def test_cgroup_v2_quota_of_the_group(tmp_path, text, quota):
    assert quota_of(tmp_path, "0::/a/b\n", a__b__cpu_max=text) == quota


def test_cgroup_v2_smallest_ancestor_counts(tmp_path):
    found = quota_of(
        tmp_path,
        "0::/a/b/c\n",
        a__b__c__cpu_max="max 100000",
        a__b__cpu_max="400000 100000",
        a__cpu_max="200000 100000",
        cpu_max="800000 100000",
    )
    assert found == 2.0


def test_cgroup_v2_root_of_a_container(tmp_path):
    assert quota_of(tmp_path, "0::/\n", cpu_max="300000 100000") == 3.0


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("250000", "100000", 2.5), ("-1", "100000", None), ("50000", "50000", 1.0)],
)
def test_cgroup_v1_quota(tmp_path, quota, period, expected):
    found = quota_of(
        tmp_path,
        "5:memory:/x\n4:cpu,cpuacct:/docker/abc\n",
        cpu__docker__abc__cfs_quota_us=quota,
        cpu__docker__abc__cfs_period_us=period,
    )
    assert found == expected


def test_cgroup_v1_quota_mounted_at_the_root(tmp_path):
    found = quota_of(
        tmp_path,
        "4:cpu,cpuacct:/docker/abc\n",
        cpu__cfs_quota_us="200000",
        cpu__cfs_period_us="100000",
    )
    assert found == 2.0


@pytest.mark.parametrize(
    "membership", ["", "garbage\n", "0::\n", "1:name=systemd:/x\n"]
)
def test_no_quota_without_cgroup_files(tmp_path, membership):
    assert quota_of(tmp_path, membership) is None


def test_no_quota_without_membership(tmp_path):
    assert cgroup_quota(str(tmp_path), str(tmp_path / "none")) is None


@pytest.mark.parametrize("text", ["abc def", "100000 0", "1 2 3", "-5 100000"])
def test_malformed_quota_is_ignored(tmp_path, text):
    quota = quota_of(tmp_path, "0::/\n", cpu_max=text)
    assert quota is None or quota > 0


def test_default_names_its_reasons():
    count, reasons = default_threads()
    assert count >= 1
    assert reasons["affinity"] == len(os.sched_getaffinity(0))


def test_affinity_limits_the_default():
    code = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import tensorlib as tl
        print(tl.get_num_threads())
    """
    assert run(code, OMP_NUM_THREADS="") == "1"


@pytest.mark.parametrize(("setting", "count"), [("3", "3"), ("1", "1"), ("2,4", "2")])
def test_environment_sets_the_default(setting, count):
    code = "import tensorlib as tl; print(tl.get_num_threads())"
    assert run(code, OMP_NUM_THREADS=setting) == count


@pytest.mark.parametrize("setting", ["", "0", "-2", "many"])
def test_bad_environment_is_ignored(setting):
    code = "import tensorlib as tl; print(tl.get_num_threads() >= 1)"
    assert run(code, OMP_NUM_THREADS=setting) == "True"


# ---- fork ----------------------------------------------------------------------
EVERY_OP = """
    import os, sys, signal, warnings
    import numpy as np
    import tensorlib as tl
    from op_rows import generator_for
    from op_samples import OPS
    from test_op_matrix import backward_bits, forward_bits

    def every_op():
        for op in OPS:
            if op.large is None:
                continue
            dtype = "float32" if "float32" in op.dtypes else op.dtypes[-1]
            for arguments in op.large(dtype, generator_for(op.name))[:2]:
                yield op.name, forward_bits(op, arguments)
                if op.differentiable:
                    yield op.name, backward_bits(op, arguments)

    tl.set_num_threads(4)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_op_works_in_a_forked_child():
    code = (
        EVERY_OP
        + """
    from hashlib import sha256
    def digests():
        return [(n, sha256(repr(b).encode()).hexdigest()) for n, b in every_op()]
    expected = digests()          # starts the workers before the fork
    pid = os.fork()
    if pid == 0:
        signal.alarm(100)
        try:
            found = digests()
            wrong = [n for (n, a), (_, b) in zip(found, expected) if a != b]
            os._exit(3 if wrong else 0)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(4)
    status = os.waitpid(pid, 0)[1]
    assert digests()[:20] == expected[:20]      # the parent still works
    print(os.waitstatus_to_exitcode(status))
    """
    )
    assert run(code, timeout=300) == "0"


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_compute(start, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(
        textwrap.dedent(f"""
        import multiprocessing as mp
        import warnings
        import tensorlib as tl
        def work(n):
            return tl.ones(n).sum().item()
        if __name__ == "__main__":
            tl.set_num_threads(4)
            assert tl.ones(1_000_000).sum().item() == 1e6
            with mp.get_context({start!r}).Pool(2) as pool:
                print(pool.map_async(work, [1_000_000, 500_000]).get(60))
    """)
    )
    found = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": LIBRARY},
    )
    assert found.stdout.strip() == "[1000000.0, 500000.0]", found.stderr


def test_grandchild_computes():
    code = """
        import os, signal
        import tensorlib as tl
        tl.set_num_threads(4)
        def work(): return tl.ones(1_000_000).exp().sum().item() > 2.7e6
        assert work()
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            inner = os.fork()
            if inner == 0:
                signal.alarm(30)
                os._exit(0 if work() else 5)
            ok = work() and os.waitpid(inner, 0)[1] == 0
            os._exit(0 if ok else 6)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert run(code) == "0"


def test_fork_while_another_thread_allocates():
    code = """
        import os, signal, threading
        import tensorlib as tl
        stop = False
        def churn():
            while not stop:
                for n in (10, 5000, 70_000):
                    tl.zeros(n) + 1
        threads = [threading.Thread(target=churn) for _ in range(2)]
        for t in threads: t.start()
        codes = []
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                ok = tl.zeros(70_000).sum().item() == 0
                os._exit(0 if ok else 7)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        stop = True
        for t in threads: t.join()
        print(set(codes))
    """
    assert run(code, PYTHONWARNINGS="ignore") == "{0}"


# ---- Python threads ------------------------------------------------------------
def in_threads(count, work):
    """Run work(k) in `count` threads at once; return the results or raise."""
    results, errors = [None] * count, []
    barrier = threading.Barrier(count)

    def body(k):
        try:
            barrier.wait(30)
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results


def trained(seed):
    """The weights after a few steps on a graph of this thread's own."""
    g = tl.Generator(seed)
    x, w = tl.randn(64, 96, generator=g), tl.randn(96, 48, generator=g)
    for _ in range(8):
        w.requires_grad_()
        loss = ((x @ w).tanh() ** 2).mean()
        loss.backward()
        w = (w - w.grad * 0.1).detach()
    return w.numpy().tobytes()


def test_threads_train_independent_graphs():
    expected = [trained(k) for k in range(4)]
    assert in_threads(4, trained) == expected


def mixed_work(k):
    """Bits of gradients, each round in another mode of this thread, in turn."""
    model = tl.nn.Sequential(tl.nn.Linear(40, 40), tl.nn.Tanh(), tl.nn.Linear(40, 8))
    g = tl.Generator(k)
    for p in model.parameters():
        p.data = tl.randn(p.shape, generator=g)
    x, bits = tl.randn(300, 40, generator=g), []
    for round_ in range(12):
        mode = (k + round_) % 6
        model.zero_grad()
        if mode == 0:
            with tl.no_grad():
                assert not model(x).requires_grad
        if mode == 1:
            y = tl.autograd.checkpoint(model, x)
        elif mode == 2:
            with tl.autograd.memory_budget("200KB"):
                y = model(x)
        elif mode == 3:
            with tl.autograd.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
                y = model(x)
        elif mode == 4:
            with tl.autograd.detect_anomaly():
                y = model(x)
        else:
            y = model(x)
        (first,) = tl.autograd.grad((y * y).mean(), model[0].weight, create_graph=True)
        (first * first).sum().backward()
        bits.append([p.grad.numpy().tobytes() for p in model.parameters()])
    return bits


def test_threads_differentiate_in_modes_of_their_own():
    expected = [mixed_work(k) for k in range(4)]
    assert in_threads(4, mixed_work) == expected


def test_threads_compute_large_tensors_at_once():
    x = np.random.default_rng(0).normal(size=300_000).astype(np.float32)

    def work(k):
        t = tl.tensor(x) * (k + 1)
        return [tl.exp(t.clip(-3, 3)).sum().item() for _ in range(5)]

    expected = [work(k) for k in range(4)]
    assert in_threads(4, work) == expected


def test_each_thread_has_its_own_recording_switch():
    x = tl.ones(3, requires_grad=True)

    def work(k):
        seen = []
        for _ in range(200):
            with tl.no_grad() if k % 2 else tl.enable_grad():
                seen.append((x * 2).requires_grad)
        return set(seen)

    assert in_threads(4, work) == [{True}, {False}, {True}, {False}]


def test_each_thread_has_its_own_forward_mode():
    def work(k):
        for _ in range(100):
            _, dy = tl.autograd.jvp(
                lambda x: x * x, tl.full(3, 2.0), tl.full(3, k + 1.0)
            )
            assert dy.tolist() == [4.0 * (k + 1)] * 3
        return True

    assert all(in_threads(4, work))


def test_threads_share_a_leaf():
    x = tl.ones(1000, requires_grad=True)

    def work(k):
        for _ in range(50):
            (g,) = tl.autograd.grad((x * (k + 1)).sum(), x)
            assert g[0].item() == k + 1
        return True

    assert all(in_threads(4, work))


def test_threads_allocate_and_free_at_once():
    before = tl.memory_stats()["live"]

    def work(k):
        for n in range(300):
            x = tl.full((n * 7 + k,), k)
            assert n * 7 + k == 0 or (x[0].item() == k and x[-1].item() == k)
        return True

    assert all(in_threads(4, work))
    assert tl.memory_stats()["live"] == before


def test_tensor_is_freed_by_another_thread():
    before = tl.memory_stats()["live"]
    box = [tl.ones(100_000)]
    in_threads(1, lambda k: box.clear())
    assert tl.memory_stats()["live"] == before
