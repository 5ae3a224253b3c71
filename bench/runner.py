"""Run one case: make operands, compare results, time, give a row."""

from dataclasses import dataclass, field, replace

from bench.compare import bytes_of, require_close
from bench.libraries import PEERS, installed, namespace, operand
from bench.timing import CLOCKS, Stat, compile_loop, interleave, summarize

__all__ = ["Row", "names_for", "run_case", "scopes_for"]

CLOSE = 1.25  # a row that misses its target by less is timed LONGER
LONGER = 4


@dataclass
class Row:
    """The outcome of a case.

    Attributes
    ----------
    stats : dict of str to Stat
        By library.
    ratios : dict of str to float
        Our time over the peer's, the median of the rounds.
    nbytes, flops : int, float
        Of operands and results, and of products; 0 where unknown.
    floor : float, optional
        The least seconds for them.
    error : str
        What went wrong; a row with an error has no ratio.
    of : str
        The version that was timed, with its commit.
    """

    section: str
    name: str
    target: float
    limit: float | None
    unit: str
    stats: dict[str, Stat] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)  # their first quartiles
    nbytes: int = 0
    flops: float = 0.0
    floor: float | None = None
    error: str = ""
    count: int = 0  # things that the statement handles; 0 shows its time
    of: str = ""

    @property
    def label(self):
        return f"{self.section}: {self.name}"

    @property
    def peer(self):
        """The best of the peers, None where there is none."""
        return max(self.ratios, key=self.ratios.get, default=None)

    @property
    def ratio(self):
        """Our value over the best peer's, None where there is none."""
        return self.ratios.get(self.peer)

    @property
    def severity(self):
        """How far the row is from its target: above 1 it misses."""
        if self.limit is not None and "ours" in self.stats:
            return self.stats["ours"].median / self.limit
        return self._against(self.ratios)

    def _against(self, ratios):
        goals = {"torch": self.target, "channels_last": self.target}
        least = max(self.target, 1.0)
        found = (ratio / goals.get(peer, least) for peer, ratio in ratios.items())
        return max(found, default=0.0)

    @property
    def missed(self):
        return self.severity > 1.0

    @property
    def tied(self):
        """Missed, but met in a quarter of the rounds or more."""
        known = self.limit is None and bool(self.least)
        return self.missed and known and self._against(self.least) <= 1.0

    @property
    def spread(self):
        return max((stat.spread for stat in self.stats.values()), default=0.0)


def names_for(case, library):
    """Return the names that the statement of a library may use."""
    names = namespace(library)
    for position, (name, spec) in enumerate(case.operands.items()):
        names[name] = operand(library, spec.array(position), grad=spec.grad)
    if case.prepare is not None:
        case.prepare(library, names)
    return names


def _result(case, library, names):
    """Run the statement once; return the value to be compared."""
    statement = case.statement(library)
    if case.check is None:
        return eval(statement, dict(names))
    exec(statement, dict(names))
    return eval(case.check, dict(names)) if case.check else None


def _compare(case, scopes):
    """Run every contestant once; drop peers that lack the operation.

    Returns the bytes of our result.
    """
    ours = _result(case, "ours", scopes["ours"])
    for library in [name for name in scopes if name != "ours"]:
        try:
            theirs = _result(case, library, scopes[library])
        except AttributeError:
            # The peer has no such function; a generated row cannot know.
            del scopes[library]
            continue
        if case.check != "":
            require_close(ours, theirs, case.tolerance, library)
    return 0 if ours is None else bytes_of(ours)


def scopes_for(case, peers):
    """Return each library's names, values compared, and the bytes of our result."""
    scopes = {
        library: names_for(case, library)
        for library in ("ours", *peers)
        if case.statement(library)
    }
    return scopes, _compare(case, scopes)


def _loops(case, clock, peers):
    """The timed loop of each library; the bytes of operands and result.

    A row that makes its operands itself has an unknown number of bytes, given as 0.
    """
    scopes, result = scopes_for(case, peers)
    loops = {
        library: compile_loop(case.statement(library), names, CLOCKS[clock])
        for library, names in scopes.items()
    }
    given = sum(spec.nbytes for spec in case.operands.values())
    return loops, given + result if given else 0


def _fill(row, samples):
    """Set the row's statistics from the samples of each library."""
    row.stats = {name: summarize(values) for name, values in samples.items()}
    for library, values in samples.items():
        if library != "ours":
            pairs = zip(samples["ours"], values, strict=True)
            ratios = summarize([a / b if b > 0 else 0.0 for a, b in pairs])
            row.ratios[library], row.least[library] = ratios.median, ratios.low


def _time(row, case, budget, clock, peers):
    if case.measure is not None:
        samples = case.measure(budget.processes)
        _fill(row, {k: v for k, v in samples.items() if k in ("ours", *peers)})
        return
    loops, row.nbytes = _loops(case, clock, peers)
    samples = interleave(loops, budget)
    _fill(row, samples)
    if 1.0 < row.severity < CLOSE:
        more = interleave(loops, replace(budget, row=budget.row * LONGER))
        _fill(row, {name: samples[name] + more[name] for name in samples})


def run_case(case, budget, clock="wall", floor=None, peers=tuple(PEERS)):
    """Return the Row of a case; whatever fails becomes its `error`.

    Of `peers` those take part that are installed.
    """
    row = Row(case.section, case.name, case.target, case.limit, case.unit)
    row.count = case.count
    try:
        _time(row, case, budget, clock, [peer for peer in peers if installed(peer)])
        row.flops = case.flops
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        row.error = f"{type(error).__name__}: {first}"[:160]
        return row
    if floor is not None:
        row.floor = floor.seconds(row.nbytes, row.flops)
    return row
