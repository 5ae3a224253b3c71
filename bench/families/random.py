"""Random fills."""

from bench.case import Case, Spec

ROWS = (
    ("uniform", "tl.uniform(0.0, 1.0, (1000000,))", "torch.rand(1000000)",
     "rng.random(1000000, dtype='float32')"),
    ("normal", "tl.normal(0.0, 1.0, (1000000,))", "torch.randn(1000000)",
     "rng.standard_normal(1000000, dtype='float32')"),
    ("rand", "tl.rand(1000000)", "torch.rand(1000000)", ""),
    ("randn", "tl.randn(1000000)", "torch.randn(1000000)", ""),
    ("randint", "tl.randint(0, 100, (1000000,))", "torch.randint(0, 100, (1000000,))",
     "rng.integers(0, 100, 1000000)"),
    ("bernoulli", "tl.bernoulli(0.5, (1000000,))",
     "torch.empty(1000000).bernoulli_(0.5)", ""),
    ("randperm", "tl.randperm(1000000)", "torch.randperm(1000000)",
     "rng.permutation(1000000)"),
)  # fmt: skip


def _generator(library, names):
    import numpy as np

    names["rng"] = np.random.default_rng(0)


def cases():
    for name, ours, torch, numpy in ROWS:
        yield Case(
            "random",
            f"{name} 10^6",
            ours,
            torch,
            numpy,
            prepare=_generator,
            check="",
            quick=name in ("uniform", "normal"),
        )
    yield Case(
        "random",
        "normal 8",
        "tl.normal(0.0, 1.0, (8,))",
        "torch.randn(8)",
        "rng.standard_normal(8, dtype='float32')",
        operands={"a": Spec((8,))},
        prepare=_generator,
        check="",
    )
    yield Case(
        "random",
        "manual_seed",
        "tl.manual_seed(3)",
        "torch.manual_seed(3)",
        check="",
    )
