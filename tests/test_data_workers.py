"""DataLoader's worker threads: shutdown, errors, persistence, memory."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from pathlib import Path

import pytest

import tensorlib as tl
from tensorlib import data

ROOT = Path(tl.__file__).parents[1]


def make(dataset=range(10), **options):
    options = {"batch_size": 3, "generator": tl.Generator(1), **options}
    return data.DataLoader(dataset, **options)


def as_lists(batches):
    return [batch.tolist() for batch in batches]


def worker_threads():
    return [t for t in threading.enumerate() if t.name.startswith("tensorlib-data")]


def assert_workers_end():
    for thread in worker_threads():
        thread.join(timeout=30)
    assert worker_threads() == []


class Broken(data.Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        if index == 7:
            raise RuntimeError("sample seven is broken")
        return index


class Letters(data.IterableDataset):
    """A stream that draws, sleeps unevenly, and can break."""

    def __init__(self, count=11, broken_at=None):
        self.count = count
        self.broken_at = broken_at

    def __iter__(self):
        for number in range(self.count):
            if number == self.broken_at:
                raise RuntimeError("the stream is broken")
            draw = tl.randint(0, 1000, (1,), generator=data.batch_generator())
            time.sleep(0.001 * (number % 3))
            yield number * 1000 + draw.item()


# ---- errors ----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_error_names_the_sample_and_keeps_its_traceback(workers):
    batches = iter(make(Broken(), num_workers=workers))
    assert as_lists([next(batches), next(batches)]) == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(RuntimeError, match="sample seven") as caught:
        next(batches)
    text = "".join(traceback.format_exception(caught.value))
    assert "sample index 7" in text
    assert "while DataLoader loaded batch 2" in text
    assert 'raise RuntimeError("sample seven is broken")' in text
    assert_workers_end()


@pytest.mark.parametrize("workers", [0, 2])
def test_error_in_take_names_the_indices(workers):
    dataset = data.TensorDataset(tl.arange(4))
    loader = make(dataset, sampler=[0, 1, 2, 9], num_workers=workers)
    batches = iter(loader)
    next(batches)
    with pytest.raises(IndexError) as caught:
        next(batches)
    assert "sample indices [9]" in caught.value.__notes__


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_error_in_the_sampler_comes_after_the_batches_before_it(workers):
    def batches():
        yield [1, 2]
        yield [3]
        raise KeyError("no more")

    class Sampler:
        def __iter__(self):
            return batches()

    loader = make(batch_size=1, batch_sampler=Sampler(), num_workers=workers)
    found = []
    with pytest.raises(KeyError, match="no more"):
        found.extend(batch.tolist() for batch in loader)
    assert found == [[1, 2], [3]]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_error_in_a_stream_comes_at_its_batch(workers):
    found = []
    with pytest.raises(RuntimeError, match="stream is broken") as caught:
        found.extend(map(len, make(Letters(broken_at=7), num_workers=workers)))
    assert found == [3, 3]
    assert "while DataLoader loaded batch 2" in caught.value.__notes__
    assert "after 1 samples of the batch were read" in caught.value.__notes__
    assert_workers_end()


@pytest.mark.parametrize("workers", [0, 2])
def test_error_in_collate_fn_surfaces(workers):
    loader = make(collate_fn=lambda samples: samples[5], num_workers=workers)
    with pytest.raises(IndexError):
        list(loader)


# ---- streams ---------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
@pytest.mark.parametrize("drop_last", [False, True])
def test_stream_does_not_depend_on_workers(workers, drop_last):
    options = {"drop_last": drop_last}
    expected = as_lists(make(Letters(), **options))
    assert [len(batch) for batch in expected] == (
        [3, 3, 3] if drop_last else [3, 3, 3, 2]
    )
    assert as_lists(make(Letters(), num_workers=workers, **options)) == expected


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 2, 4])
def test_stream_resumes_exactly(workers, taken):
    whole = make(Letters())
    expected = [as_lists(whole), as_lists(whole)]
    stopped = make(Letters(), num_workers=workers)
    batches = iter(stopped)
    for _ in range(taken):
        next(batches)
    resumed = make(Letters(), num_workers=2 - workers, generator=tl.Generator(9))
    resumed.load_state_dict(stopped.state_dict())
    assert as_lists(resumed) == expected[0][taken:]
    assert as_lists(resumed) == expected[1]


def test_stream_without_batches_gives_samples():
    assert list(make(data.ChainDataset(["ab", "c"]), batch_size=None)) == list("abc")


def test_stream_length_is_that_of_the_dataset():
    assert len(make(data.ChainDataset(["abcd", "e"]), batch_size=2)) == 3
    assert (
        len(make(data.ChainDataset(["abcd", "e"]), batch_size=2, drop_last=True)) == 2
    )
    with pytest.raises(TypeError, match="unknown"):
        len(make(Letters()))


def test_stream_excludes_orders_and_plain_iterators_are_refused():
    for options in ({"shuffle": True}, {"sampler": [0]}):
        with pytest.raises(ValueError, match="order of its own"):
            make(Letters(), **options)
    with pytest.raises(ValueError, match="batch_size"):
        make(Letters(), batch_size=0)
    with pytest.raises(TypeError, match="an IterableDataset, got generator"):
        make(x for x in "abc")


def test_stream_whose_worker_fails_to_start_does_not_hang():
    def fail(worker):
        raise OSError("no scanner")

    with pytest.raises(OSError, match="no scanner"):
        list(make(Letters(), num_workers=3, worker_init_fn=fail))
    assert_workers_end()


# ---- worker_init_fn, persistence, timeout ----------------------------------------


def test_worker_init_fn_runs_once_in_each_thread():
    started = []

    def init(worker):
        started.append((worker, threading.get_ident()))

    loader = make(range(60), num_workers=3, worker_init_fn=init)
    list(loader)
    assert len({worker for worker, _ in started}) == len(started)
    assert {worker for worker, _ in started} <= {0, 1, 2}
    assert len({ident for _, ident in started}) == len(started)
    assert threading.get_ident() not in {ident for _, ident in started}


def test_worker_init_fn_error_surfaces_with_its_number():
    def fail(worker):
        raise OSError("no scanner")

    with pytest.raises(OSError, match="no scanner") as caught:
        list(make(num_workers=1, worker_init_fn=fail))
    assert "while DataLoader called worker_init_fn(0)" in caught.value.__notes__


def test_persistent_workers_stay_between_passes_and_end_with_the_loader():
    started = []
    loader = make(
        num_workers=2, persistent_workers=True, worker_init_fn=started.append,
        shuffle=True,
    )  # fmt: skip
    expected = make(shuffle=True)
    for _ in range(4):
        assert as_lists(loader) == as_lists(expected)
    for _ in loader:
        break
    assert len(as_lists(loader)) == 4
    assert len(started) <= 2
    assert worker_threads()
    del loader
    gc.collect()
    assert_workers_end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_persistent_workers_start_anew_in_a_forked_child():
    loader = make(num_workers=2, persistent_workers=True)
    expected = as_lists(loader)
    begun = iter(loader)
    next(begun)
    child = os.fork()
    if child == 0:
        code = 0 if as_lists(loader) == expected else 1
        try:
            next(begun)
            code |= 2
        except RuntimeError as error:
            code |= 0 if "forked in the middle of a pass" in str(error) else 4
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_timeout_names_itself_and_leaves_no_thread():
    release = threading.Event()

    class Slow(Broken):
        def __getitem__(self, index):
            release.wait(30)
            return index

    with pytest.raises(RuntimeError, match=r"within timeout=0.05 s"):
        next(iter(make(Slow(), num_workers=1, timeout=0.05)))
    release.set()
    assert_workers_end()


def test_timeout_error_of_the_data_set_is_passed_on():
    class Remote(Broken):
        def __getitem__(self, index):
            raise TimeoutError("the server is down")

    with pytest.raises(TimeoutError, match="server is down"):
        list(make(Remote(), num_workers=1, timeout=30))


@pytest.mark.parametrize(
    "options",
    [{"persistent_workers": True}, {"timeout": -1}, {"num_workers": True}],
    ids=str,
)
def test_bad_worker_options_raise(options):
    with pytest.raises(ValueError, match="DataLoader"):
        make(**options)


# ---- shutdown --------------------------------------------------------------------


@pytest.mark.parametrize("dataset", [range(300), Letters(300)], ids=["map", "stream"])
def test_iterator_dropped_or_closed_ends_its_threads(dataset):
    batches = iter(make(dataset, num_workers=3))
    next(batches)
    del batches
    gc.collect()
    assert_workers_end()
    batches = iter(make(dataset, num_workers=3))
    next(batches)
    batches.close()
    assert_workers_end()


def test_exception_in_the_loop_ends_the_threads():
    def train():
        for _ in make(range(300), num_workers=3):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    gc.collect()
    assert_workers_end()


SCRIPT = """
import signal, sys, time
from tensorlib import data

# A shell's background jobs ignore it, and so do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Slow(data.Dataset):
    def __len__(self):
        return 10**6

    def __getitem__(self, index):
        time.sleep(0.01)
        return index

{body}
"""


def run_script(body):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def finish(process):
    """Wait for a script; return its exit status and what it wrote to stderr."""
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.mark.parametrize("persistent", [False, True])
def test_interrupt_ends_the_process(persistent):
    loader = (
        f"data.DataLoader(Slow(), 5, num_workers=2, persistent_workers={persistent})"
    )
    process = run_script(f"for batch in {loader}:\n    print('batch', flush=True)")
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    status, errors = finish(process)
    assert status == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


INTERRUPTS = """
import random
from tensorlib.data import workers

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
random.seed(1)
for number in range(400):
    dataset = range(1000) if number % 2 else data.ChainDataset([range(1000)])
    loader = data.DataLoader(
        dataset, 1, num_workers=2, persistent_workers=number % 4 < 2, collate_fn=list
    )
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-3))
        list(loader)
    except (KeyboardInterrupt, RuntimeError):  # the latter from threading itself
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
del loader
while workers._queues:
    time.sleep(0.001)
"""


def test_interrupt_at_any_moment_ends_the_threads():
    assert finish(run_script(INTERRUPTS)) == (0, "")


def test_exit_in_the_middle_of_a_pass_does_not_hang():
    body = (
        "batches = iter(data.DataLoader(Slow(), 5, num_workers=2))\n"
        "next(batches)\nsys.exit(3)"
    )
    assert finish(run_script(body)) == (3, "")


# ---- memory ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "persistent"), [("gathered", False), ("collated", True), ("stream", False)]
)
def test_memory_does_not_grow_over_a_thousand_epochs(kind, persistent):
    dataset = {
        "gathered": data.TensorDataset(tl.arange(4)),
        "collated": range(4),
        "stream": data.ChainDataset([range(4)]),
    }[kind]
    loader = make(
        dataset, batch_size=2, shuffle=kind != "stream", num_workers=2,
        persistent_workers=persistent,
    )  # fmt: skip

    def used():
        gc.collect()
        stats = tl.memory_stats()
        return tracemalloc.get_traced_memory()[0], stats["live"]

    tracemalloc.start()
    try:
        for _ in range(100):
            list(loader)
        memory, storages = used()
        for _ in range(900):
            list(loader)
        memory_after, storages_after = used()
    finally:
        tracemalloc.stop()
    assert storages_after == storages
    assert memory_after - memory < 20_000  # 22 bytes an epoch
    assert len(worker_threads()) <= 2
