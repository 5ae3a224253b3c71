"""The rows of ``bench.peers`` that no size or dtype runs over.

Rows that measure themselves (memory, latency, whole processes) are not for asv.
"""

from bench.benchmarks.base import CaseBenchmark
from bench.cases import all_cases

_GENERIC = {"elementwise", "reduction"}
_CASES = {
    case.label: case
    for case in all_cases()
    if case.section not in _GENERIC and case.measure is None
}


class Row(CaseBenchmark):
    params = (tuple(_CASES),)
    param_names = ("row",)

    def setup(self, row):
        self.prepare(_CASES[row])

    def track_median(self, row):
        return self.median()
