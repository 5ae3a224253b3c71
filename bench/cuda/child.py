"""The process that touches the card: rows as JSON lines on standard output.

It may crash or hang; `bench.cuda.table` starts another one behind the row that did.
"""

import argparse
import functools
import gc
import json
import sys
import time
from statistics import median

import numpy as np

from bench.cuda.case import LIBRARIES
from bench.cuda.cases import all_cases
from bench.cuda.training import on_device, tf32
from bench.timing import compile_loop, summarize

__all__ = ["main", "measure", "names_for"]

POOL = 1 << 20  # above as many elements operands are drawn on the card
SAMPLE = 4e-3  # least seconds of a sample: many calls between two synchronisations
ROUNDS = (3, 15)
# bfloat16 keeps 8 bits; sums of many numbers, in whatever order, fewer than that.
TOLERANCE = {"float32": 2e-3, "bfloat16": 3e-2, "float16": 5e-3, "float64": 1e-6}


def _say(**line):
    print(json.dumps(line), flush=True)


class Card:
    """Synchronisation of both libraries on a device ("cpu" for tests)."""

    def __init__(self, device):
        import torch

        import tensorlib

        self.device, self.libraries = device, {"ours": tensorlib, "torch": torch}

    def wait(self):
        """Wait until everything that was launched is done."""
        if self.device == "cuda":
            for library in self.libraries.values():
                library.cuda.synchronize()

    def release(self):
        """Give cached memory back, so that one library leaves room to the other."""
        if self.device == "cuda":
            self.libraries["torch"].cuda.empty_cache()
            empty = getattr(self.libraries["ours"].cuda, "empty_cache", None)
            if empty is not None:
                empty()


# ---- operands --------------------------------------------------------------------
def _numbers(operand, position):
    rng = np.random.default_rng(20240229 + position)
    if operand.below:
        return rng.integers(0, operand.below, operand.shape)
    return rng.standard_normal(operand.shape, dtype=np.float32)


def _operand(card, library, operand, position):
    root = card.libraries[library]
    dtype = getattr(root, operand.dtype)
    if operand.size <= POOL:
        array = _numbers(operand, position)
        made = root.tensor(array) if library == "ours" else root.from_numpy(array)
        made = made.to(card.device)
    elif library == "torch":
        how = {"device": card.device}
        made = (
            root.randint(operand.below, operand.shape, **how)
            if operand.below
            else root.randn(operand.shape, **how)
        )
    elif operand.below:
        made = on_device(
            root.randint, 0, operand.below, operand.shape, device=card.device
        )
    else:
        made = on_device(root.randn, operand.shape, device=card.device)
    return made.to(dtype).detach().requires_grad_(operand.grad)


def names_for(card, case, library):
    """Return the names that the statement of a library may use."""
    if library == "ours":
        names = {"tl": card.libraries["ours"]}
    else:
        torch = card.libraries["torch"]
        names = {"torch": torch, "F": torch.nn.functional}
    names["d"] = card.device
    for position, (name, operand) in enumerate(case.operands.items()):
        names[name] = _operand(card, library, operand, position)
    tf32(False)(library, names, card.device)  # unless the row's name says so
    compiled = case.compiled and library == "torch"
    if case.prepare is not None:
        case.prepare("compile" if compiled else library, names, card.device)
    elif compiled:
        exec(f"def call():\n    return {case.torch}", names)
        names["call"] = torch.compile(names["call"], dynamic=False)
    return names


# ---- values ----------------------------------------------------------------------
def _array(x):
    x = x.detach()
    x = x.to("cpu")
    name = str(x.dtype).removeprefix("torch.").removeprefix("tensorlib.")
    if name in ("bfloat16", "float16"):
        root = sys.modules[type(x).__module__.split(".")[0]]
        x = x.to(root.float32)
    return x.numpy(), name


def compare(case, scopes):
    """Return "" or what differs between the values of the two libraries."""
    ours, name = _array(eval(case.ours, dict(scopes["ours"])))
    theirs, other = _array(eval(case.torch, dict(scopes["torch"])))
    if ours.shape != theirs.shape or name != other:
        return f"got {name}{ours.shape}, PyTorch {other}{theirs.shape}"
    if ours.size == 0 or case.section.startswith("creation"):
        return ""
    ours, theirs = ours.astype("f8"), theirs.astype("f8")
    scale = np.abs(theirs).max() + 1e-30
    worst = np.abs(ours - theirs).max() / scale
    limit = TOLERANCE.get(name, 0.0)
    return "" if worst <= limit else f"values differ by {worst:.2g} of the largest"


# ---- time ------------------------------------------------------------------------
def _timed(card, loop, count):
    """Seconds a call of `count` calls back to back, the last one done."""
    card.wait()
    start = time.perf_counter()
    loop(count)
    card.wait()
    return (time.perf_counter() - start) / count


def _loops(card, case):
    scopes = {library: names_for(card, case, library) for library in LIBRARIES}
    wrong = ""
    small = all(operand.size <= POOL for operand in case.operands.values())
    if case.check and small:
        wrong = compare(case, scopes)
    loops = {
        library: compile_loop(
            "call()" if "call" in names else case.statement(library), names
        )
        for library, names in scopes.items()
    }
    return loops, wrong


def measure(card, case, seconds):
    """Time a row's libraries in turn; return its line.

    The first calls of each set up handles and choose algorithms: they do not count.
    """
    loops, wrong = _loops(card, case)
    counts = {}
    for library, loop in loops.items():
        _timed(card, loop, 2)
        each = min(_timed(card, loop, 2), _timed(card, loop, 2))
        counts[library] = max(1, min(2000, round(SAMPLE / each)))
        if counts[library] > 10:
            each = _timed(card, loop, counts[library] // 4)
            counts[library] = max(4, min(2000, round(SAMPLE / each)))
    samples = {library: [] for library in loops}
    stop = time.perf_counter() + seconds
    least, most = ROUNDS
    for n in range(most):
        for library, loop in loops.items():
            samples[library].append(_timed(card, loop, counts[library]))
        if n + 1 >= least and time.perf_counter() > stop:
            break
    ratios = [a / b for a, b in zip(samples["ours"], samples["torch"], strict=True)]
    stats = {name: summarize(found) for name, found in samples.items()}
    return {
        "label": case.label, "wrong": wrong, "ratio": median(ratios),
        "ours": stats["ours"].median, "torch": stats["torch"].median,
        "spread": max(stat.spread for stat in stats.values()),
    }  # fmt: skip


# ---- peaks -----------------------------------------------------------------------
def peaks(card):
    """Bytes and operations a second that PyTorch reaches: what shares are taken of."""
    import torch

    if card.device != "cuda":
        return {"copy": 1e10, "bfloat16": 1e12, "tf32": 5e11, "float32": 1e11}

    def best(call, count):
        call()
        loop = compile_loop("call()", {"call": call})
        return min(_timed(card, loop, count) for _ in range(5))

    source = torch.empty(1 << 28, device="cuda")
    target = torch.empty_like(source)
    moved = 2.0 * source.nbytes
    found = {"copy": moved / best(functools.partial(target.copy_, source), 10)}
    del source, target
    n = 8192
    for name in ("bfloat16", "tf32", "float32"):
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
        a = torch.randn(n, n, device="cuda", dtype=dtype)
        count = 2 if name == "float32" else 10
        found[name] = 2.0 * n**3 / best(lambda a=a: a @ a, count)
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


def _facts(card):
    import torch

    facts = {"PyTorch": torch.__version__, "tensorlib": _version()}
    if card.device == "cuda":
        facts["card"] = torch.cuda.get_device_name()
        facts["CUDA of PyTorch"] = str(torch.version.cuda)
    return facts


def _version():
    import tensorlib

    return str(tensorlib.__version__)


def _broken(card):
    """Whether the context is lost: after it no row can run in this process."""
    try:
        card.wait()
    except Exception:
        return True
    return False


def main(arguments=None):
    """Run rows from a place on; 3 when the context is lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.cuda.child")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only")
    parser.add_argument("--skip", type=int, default=0, help="rows already done")
    parser.add_argument("--seconds", type=float, default=0.15)
    parser.add_argument("--cap", type=int, default=1 << 26)
    options = parser.parse_args(arguments)
    card = Card(options.device)
    gc.disable()  # its pauses are no part of an operation
    if options.skip == 0:
        _say(facts=_facts(card), peaks=peaks(card))
    section = None
    for case in all_cases(only=options.only, cap=options.cap)[options.skip :]:
        if case.section != section:
            section = case.section
            card.release()
        _say(begins=case.label)
        try:
            _say(row=measure(card, case, options.seconds))
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            _say(row={"label": case.label, "error": text[:300]})
            if _broken(card):
                return 3
    _say(done=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
