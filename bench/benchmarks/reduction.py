"""Every reduction of the registry, by axis, size and dtype."""

from bench.benchmarks.base import CaseBenchmark
from bench.families.reduction import AXES, case
from bench.registry import reduction_ops


class Reduction(CaseBenchmark):
    params = (
        [*reduction_ops(), "std", "cumsum"],
        [*AXES],
        [10**3, 10**6],
        ["float32", "float64"],
    )
    param_names = ("op", "axis", "size", "dtype")

    def setup(self, op, axis, size, dtype):
        self.prepare(case(op, size, axis, dtype))

    def track_median(self, op, axis, size, dtype):
        return self.median()
