"""Memory and time of a deep network with and without checkpoints.

Backward needs the activations of forward, so a network of N layers holds N of them. Cut
into k segments it can hold the k inputs of segments and compute the N / k activations
of one segment at a time again: k + N / k of them, least at k = sqrt(N), for one more
forward pass (course: training large models).

Run it: ``python examples/checkpoint_memory.py``
"""

import argparse
import time

from harness import add_device

import tensorlib as tl
from tensorlib import nn


def network(depth, width):
    """Return `depth` blocks of a linear layer and a tanh."""
    return [
        nn.Sequential(nn.Linear(width, width), nn.Tanh()).train() for _ in range(depth)
    ]


def measure(blocks, segments, x):
    """Return bytes at the peak beyond what stays, seconds, and the gradient."""
    x.grad = None
    parameters = [p for block in blocks for p in block.parameters()]
    for p in parameters:
        p.grad = tl.zeros_like(p)  # gradients are there in any case
    x.grad = tl.zeros_like(x)
    memory = tl if x.device.type == "cpu" else tl.cuda
    before = memory.memory_stats()["allocated"]
    memory.reset_peak_memory_stats()
    start = time.perf_counter()
    tl.autograd.checkpoint_sequential(blocks, segments, x).sum().backward()
    seconds = time.perf_counter() - start
    peak = memory.memory_stats()["peak_allocated"] - before
    return peak, seconds, x.grad.tolist()


def main(argv=None):
    """Print a row for each number of segments; return the peaks by it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--depth", type=int, default=64)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--quick", action="store_true", help="a small network")
    options = add_device(parser).parse_args(argv)
    if options.quick:
        options.depth, options.width, options.batch = 16, 16, 256
    tl.manual_seed(0)
    blocks = [b.to(options.device) for b in network(options.depth, options.width)]
    x = tl.randn((options.batch, options.width)).to(options.device).requires_grad_()
    unit, peaks, expected = x.nbytes, {}, None
    print("segments  peak MB  in activations  seconds")
    segments = 1
    while segments <= options.depth:
        peak, seconds, gradient = measure(blocks, segments, x)
        expected = gradient if expected is None else expected
        if gradient != expected:
            raise AssertionError("the gradients differ")
        peaks[segments] = peak / unit
        print(f"{segments:8} {peak / 1e6:8.1f} {peak / unit:15.1f} {seconds:8.2f}")
        segments *= 2
    return peaks


if __name__ == "__main__":
    main()
