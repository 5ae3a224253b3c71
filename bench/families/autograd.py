"""Function transforms of an MLP against torch.func, and a long tape of small tensors.

The same functions serve both libraries: the names are the same in the namespaces used.
"""

import itertools
from functools import cache
from importlib import import_module

from bench.case import Case, Spec
from bench.child import run_python

_LAYERS = (("w1", "b1"), ("w2", "b2"), ("w3", "b3"))


def _operands(sizes, batch):
    found = {"x": Spec((batch, sizes[0])), "y": Spec((batch, sizes[-1]))}
    shapes = itertools.pairwise(sizes)
    for (w, b), (fan_in, fan_out) in zip(_LAYERS, shapes, strict=True):
        found[w], found[b] = Spec((fan_in, fan_out), "unit"), Spec((fan_out,))
    return found


def _functions(library, names):
    """The network, its loss, and the transforms of a library."""
    base = import_module("tensorlib" if library == "ours" else "torch")
    func = base if library == "ours" else import_module("torch.func")
    scale = names["w1"].shape[0] ** -0.5
    params = {k: names[k] * scale for layer in _LAYERS for k in layer}

    def mlp(params, x):
        for w, b in _LAYERS[:-1]:
            x = base.tanh(x @ params[w] + params[b])
        return x @ params["w3"] + params["b3"]

    def loss(params, x, y):
        return ((mlp(params, x) - y) ** 2).sum()

    return func, params, mlp, loss


def _transforms(library, names):
    func, params, mlp, loss = _functions(library, names)
    x, y = names["x"], names["y"]
    of_x = lambda x: loss(params, x, y)  # noqa: E731
    one = x[0]
    each = func.vmap(func.grad(loss), (None, 0, 0))
    rows = func.jacrev(lambda x: mlp(params, x))
    columns = func.jacfwd(lambda x: mlp(params, x))
    curvature = func.hessian(lambda x: loss(params, x, y[0]))
    names.update(
        jvp=lambda: func.jvp(of_x, (x,), (x,))[1],
        hvp=lambda: func.jvp(func.grad(of_x), (x,), (x,))[1],
        per_example=lambda: each(params, x, y),
        jacrev=lambda: rows(one),
        jacfwd=lambda: columns(one),
        hessian=lambda: curvature(one),
    )


def _chain(library, names):
    """Operations on 8 elements, recorded, and the way back."""
    x, c = names["x"], names["c"]
    leaf = x.detach().requires_grad_()

    def chain():
        leaf.grad = None
        y = leaf
        for _ in range(500):
            y = y * c
            y = y + x
        y.sum().backward()
        return leaf.grad

    names["chain"] = chain


_DEEP = """
import resource, sys, time
import {package} as lib
page = resource.getpagesize()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * page
x = lib.ones(8)
x.requires_grad = True
(x * 1.0).sum().backward()
x.grad = None
c = lib.full((8,), 0.999999)
before, start = resident(), time.process_time()
y = x
for _ in range(1000000):
    y = y * c
held = resident() - before
y.sum().backward()
del y
print((time.process_time() - start) / 1e6, held / 1e6)
"""


@cache
def _deep_chain(package, repeat):
    """The processor's seconds and bytes a node, in a process of its own."""
    script = _DEEP.format(package=package)
    _, printed, _ = run_python("-c", script)
    return tuple(float(word) for word in printed.split())


def _deep(part):
    """The measure of a row: element `part` of `_deep_chain`, for both libraries."""

    def measure(rounds):
        return {
            library: [_deep_chain(package, k)[part] for k in range(min(rounds, 2))]
            for library, package in (("ours", "tensorlib"), ("torch", "torch"))
        }

    return measure


def _rows(sizes, batch, kinds):
    label = "-".join(map(str, sizes))
    for kind in kinds:
        statement = f"{kind}()"
        yield Case(
            "autograd",
            f"{kind.replace('_', ' ')} of MLP {label}, batch {batch}",
            statement,
            statement,
            operands=_operands(sizes, batch),
            prepare=_transforms,
            check='per_example()["w1"]' if kind == "per_example" else statement,
            tolerance=(1e-3, 1e-4),
            target=0.5,
            quick=sizes[0] == 32,
        )


def cases():
    every = ("jvp", "hvp", "per_example", "jacrev", "jacfwd", "hessian")
    yield from _rows((8, 16, 16, 4), 32, every)
    yield from _rows((32, 64, 64, 10), 64, every)
    yield from _rows((784, 128, 128, 10), 64, every[:4])
    yield Case(
        "autograd",
        "tape of 1000 operations on 8 elements, and backward",
        "chain()",
        "chain()",
        operands={"x": Spec((8,)), "c": Spec((8,), "unit")},
        prepare=_chain,
        target=0.25,
        quick=True,
    )
    for part, (name, unit, target) in enumerate(
        (("time", "s", 0.5), ("memory", "B", 1))
    ):
        yield Case(
            "autograd",
            f"chain of 10^6 operations and backward: {name} a node",
            "",
            measure=_deep(part),
            target=target,
            unit=unit,
        )
