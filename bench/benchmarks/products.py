"""Matrix products by shape and dtype."""

from bench.benchmarks.base import CaseBenchmark
from bench.families.linalg import SHAPES, product


class Product(CaseBenchmark):
    params = ([f"{m}x{n}x{k}" for m, n, k in SHAPES], ["float32", "float64"])
    param_names = ("shape", "dtype")

    def setup(self, shape, dtype):
        self.prepare(product(*map(int, shape.split("x")), dtype))

    def track_median(self, shape, dtype):
        return self.median()
