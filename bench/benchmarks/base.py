"""A benchmark over cases: the statement of ours, in the same loop as the peers'."""

from bench.runner import names_for
from bench.timing import Budget, compile_loop, interleave, summarize

__all__ = ["CaseBenchmark"]


class CaseBenchmark:
    """Track the median time of a case; subclasses say which case."""

    unit = "s"
    timeout = 120
    budget = Budget()

    def prepare(self, case):
        """Compile the case's loop; a case that cannot run here is skipped."""
        try:
            names = names_for(case, "ours")
            self.loop = compile_loop(case.ours, names)
            self.loop(1)
        except (ImportError, AttributeError, NotImplementedError) as error:
            raise NotImplementedError(str(error)) from error

    def median(self):
        """Seconds of one execution."""
        return summarize(interleave({"ours": self.loop}, self.budget)["ours"]).median
