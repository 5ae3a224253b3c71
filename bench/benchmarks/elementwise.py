"""Every elementwise operation of the registry, by size and dtype."""

from bench.benchmarks.base import CaseBenchmark
from bench.families.elementwise import case
from bench.registry import elementwise_ops

_OPS = {**elementwise_ops(), "astype": "unary"}


class Elementwise(CaseBenchmark):
    params = (tuple(_OPS), (10**3, 10**6), ("float32", "float64"))
    param_names = ("op", "size", "dtype")

    def setup(self, op, size, dtype):
        self.prepare(case(op, _OPS[op], size, dtype))

    def track_median(self, op, size, dtype):
        return self.median()
