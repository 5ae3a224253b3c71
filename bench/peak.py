"""The memory of a process that trains: ``peak.py LIBRARY NETWORK BATCH [STEPS]``.

Writes as JSON the bytes that the steps need at their peak beyond those of the library,
which a first step on a batch of two has set up, and with STEPS how much the process
grew from step 100 to the last while the batch varied from 1 to BATCH.
"""

import gc
import json
import sys
from pathlib import Path

STEPS = 5
EARLY = 100


def status(key):
    """Return a quantity of this process in bytes, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def train(lib, network, batches):
    """Train on batches of these sizes; yield after each step."""
    _, step = network.stepper(lib)
    for batch in batches:
        x, y = (lib.tensor(array) for array in network.data(batch))
        step(x, y)
        yield


def peak(lib, network, batch):
    """Return the bytes of five steps at their peak."""
    list(train(lib, network, [2]))
    gc.collect()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    list(train(lib, network, [batch] * STEPS))
    return status("VmHWM") - before


def growth(lib, network, batch, steps):
    """Return the bytes that the process grew by after the first hundred steps."""
    early = 0
    for i, _ in enumerate(train(lib, network, (1 + i % batch for i in range(steps)))):
        if i == EARLY:
            early = status("VmRSS")
    return max(0, status("VmRSS") - early)


def main(library, name, batch, steps="0"):
    """Print what was measured."""
    # Last, so that the sources do not hide an installed package.
    sys.path.append(str(Path(__file__).parents[1]))
    from bench.models import NETWORKS, Library

    lib, network = Library(library), NETWORKS[name]
    if int(steps):
        result = {"growth": growth(lib, network, int(batch), int(steps))}
    else:
        result = {"peak": peak(lib, network, int(batch))}
    print(json.dumps(result))


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose modules are named as others are
    main(*sys.argv[1:])
