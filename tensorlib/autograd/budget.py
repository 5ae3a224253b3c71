"""A budget of bytes for what a recorded forward pass keeps, met by computing again.

The calls of modules are segments: each can run again from its arguments, as a
`checkpoint` does, but whether it must is decided afterwards, when sizes are known. What
nodes save is put into places. While all places fit into the budget they stay filled; a
segment is emptied when they do not, and filled again by the backward pass.

Consecutive calls, each on the result of the one before, form a chain. Two neighbours in
a chain may be joined: then what is handed from the one to the other need not be kept
either. So a chain of equal layers, each of which keeps nothing but its input, is cut
into the longer segments the smaller the budget is, which may be as small as twice the
square root of the whole.

References
----------
T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training deep nets with sublinear memory cost",
arXiv:1604.06174.
M. Kirisame et al., "Dynamic tensor rematerialization", ICLR 2021 (eviction while the
forward pass runs).
"""

import itertools
import re
import threading
import weakref

from tensorlib.autograd.grad_mode import is_grad_enabled
from tensorlib.autograd.joint import Recording
from tensorlib.autograd.saved import memory_of, saved_tensors_hooks
from tensorlib.core.errors import GraphError
from tensorlib.core.tensor import Tensor
from tensorlib.ops.random import default_generator

__all__ = ["memory_budget"]

# Work that a module does not state as products is counted by the bytes that it saves:
# two cores write a fresh result at 11 GB/s and do products at 200 GFLOP/s.
FLOPS_PER_BYTE = 16

# The innermost budget of each thread that is in one: its _Recorder by thread number.
open_budgets: dict = {}

_UNITS = {"B": 1}
for _power, _letter in enumerate("KMGT", 1):
    _UNITS[f"{_letter}B"], _UNITS[f"{_letter}IB"] = 1000**_power, 1024**_power


def _parsed(size):
    """Return the bytes that an int or a text such as "1.5 GiB" stands for."""
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", size)
        if match and match[2].upper() in _UNITS:
            return int(float(match[1]) * _UNITS[match[2].upper()])
        raise ValueError(
            "memory_budget: expected a number and a unit such as '2GB' or '512MiB', "
            f"got {size!r}"
        )
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(
            "memory_budget: expected bytes as an int or a text such as '2GB', "
            f"got {size!r}"
        )
    if size < 0:
        raise ValueError(f"memory_budget: expected no less than 0 bytes, got {size}")
    return size


class _Ledger:
    """Bytes in filled places, each storage counted once, and who could give some up."""

    def __init__(self, limit):
        self.limit = limit
        self.held = 0
        # Address of a storage -> [bytes, how many places hold it, number]; unlike
        # addresses, numbers are not used again.
        self.counts = {}
        self.numbers = itertools.count()
        self.segments = []  # weak, complete ones in the order of their calls

    def hold(self, address, nbytes):
        """Count one more holder of a storage."""
        if address not in self.counts:
            self.counts[address] = [nbytes, 0, next(self.numbers)]
            self.held += nbytes
        self.counts[address][1] += 1

    def drop(self, address):
        """Count one holder less."""
        entry = self.counts[address]
        entry[1] -= 1
        if not entry[1]:
            self.held -= entry[0]
            del self.counts[address]

    def complete(self):
        """Return the segments that are still needed."""
        found = [ref() for ref in self.segments]
        found = [s for s in found if s is not None and s.args is not None]
        self.segments = [weakref.ref(s) for s in found]
        return found

    def make_room(self, need=0, keep=None):
        """Empty segments until `need` more bytes fit; return whether they do."""
        while self.held + need > self.limit:
            best = self._cheapest(keep)
            if best is None:
                return False
            first, second = best
            if second is not None:
                self.join(first, second)
            first.empty()
        return True

    def _cheapest(self, keep):
        """Find the segment, or pair of neighbours, with fewest flops per byte freed.

        The bytes that running again makes should fit beside the arguments of emptied
        segments before it; those of a single call may go beyond, because no smaller
        part can be computed alone.
        """
        best, least, before = None, None, 0
        kept = () if keep is None else keep.line()
        for segment in self.complete():
            if not (segment in kept or (keep is not None and keep in segment.line())):
                previous = segment.follows()
                joinable = previous is not None and previous not in kept
                pairs = [(segment, None)] + [(previous, segment)] * joinable
                for first, second in pairs:
                    size = first.work(second)
                    beyond = before + size > self.limit
                    if size > self.limit or (beyond and second is not None):
                        continue
                    gain = first.gain(second)
                    if not gain:
                        continue
                    price = beyond, first.cost(second) / gain, size
                    if least is None or price < least:
                        best, least = (first, second), price
            if segment.emptied:
                before += segment.args_bytes
        return best

    def join(self, first, second):
        """Make one segment of two neighbours in a chain."""
        for segment in self.complete():
            if segment.follows() is second:
                segment.follows = weakref.ref(first)
        first.made.update(second.made)
        first.products += second.products
        first.calls += second.calls
        first.places += second.places
        for place in second.live():
            if place.segment is second:
                place.segment = first
        second.dissolve(first)


class _Place:
    """Where a saved tensor is, or will be once its segment has run again."""

    __slots__ = ("__weakref__", "address", "ledger", "segment", "tensor", "version")

    def __init__(self, ledger, segment, x):
        self.ledger, self.segment = ledger, segment
        self.tensor = None
        self.fill(x)

    def __del__(self):
        self.empty()

    def fill(self, x):
        """Put the tensor here."""
        self.address, nbytes, self.version = memory_of(x)
        self.ledger.hold(self.address, nbytes)
        self.tensor = x

    def empty(self):
        """Let the tensor go."""
        if self.tensor is not None:
            self.tensor = None
            self.ledger.drop(self.address)

    def changed(self):
        """Whether the tensor was written to since it came here."""
        return self.tensor is not None and memory_of(self.tensor)[2] != self.version

    def get(self):
        """Return the tensor, which is computed again if need be."""
        if self.tensor is None:
            self.segment.run_again()
        if self.changed():
            raise GraphError(
                f"memory_budget: a tensor of shape {self.tensor.shape} kept for "
                "backward was changed in place; use the out-of-place form, or change "
                "a copy"
            )
        return self.tensor


class _Segment:
    """Calls that can run again: one, or several each on the last one's result.

    It knows what is before it and around it, never what is after it or inside, so that
    nodes and segments form no cycles. The places of nodes keep it.
    """

    def __init__(self, ledger, parent, module, run, state):
        self.ledger, self.parent = ledger, parent
        self.calls = [(module, run, state)]
        self.args = self.kwargs = None  # kept once the call is complete
        self.args_bytes = 0
        self.made = {}  # number of each storage saved -> bytes
        self.products = 0  # multiply-adds of the calls, those inside included
        self.places, self.shapes = [], []  # weak, with what was saved, in this order
        self.follows = _nothing
        self.last = None  # while it runs: (segment or None, output, its version)
        self.emptied = False

    def line(self):
        """Return this segment and those around it."""
        found, segment = [], self
        while segment is not None:
            found.append(segment)
            segment = segment.parent
        return found

    def live(self):
        """Return the places that nodes still hold."""
        found = [ref() for ref, _ in self.places]
        return [place for place in found if place is not None]

    def dissolve(self, into):
        """Hand the places that are its own to another segment, and be no segment."""
        for place in self.live():
            if place.segment is self:
                place.segment = into
        self.args = self.kwargs = None
        self.parent = into

    def work(self, second=None):
        """Return the bytes that running again makes, as one with `second`."""
        made = self.made if second is None else self.made | second.made
        return sum(made.values())

    def cost(self, second=None):
        """Return the flops that running again takes, as one with `second`."""
        products = self.products + (0 if second is None else second.products)
        return 2 * products + FLOPS_PER_BYTE * self.work(second)

    def gain(self, second=None):
        """Return the bytes that would be free were this (and `second`) emptied."""
        counts, inside = {}, set()
        for segment in (self,) if second is None else (self, second):
            if any(slot.changed() for slot in segment.arguments()):
                return 0  # it can run again no more
            for place in segment.live():
                if place.tensor is not None and not place.changed():
                    counts[place.address] = counts.get(place.address, 0) + 1
                inside.update(place.segment.line()[:-1])
        for segment in inside.difference(self.line()):  # their arguments go too
            for slot in segment.arguments():
                counts[slot.address] = counts.get(slot.address, 0) + 1
        known = self.ledger.counts
        return sum(known[a][0] for a, n in counts.items() if known[a][1] == n)

    def arguments(self):
        """Return the places of its arguments."""
        values = [*(self.args or ()), *(self.kwargs or {}).values()]
        return [x for x in values if isinstance(x, _Place)]

    def keep_arguments(self, args, kwargs):
        """Keep the arguments, so that the segment can run again."""
        self.args = [self._kept(x) for x in args]
        self.kwargs = {name: self._kept(x) for name, x in kwargs.items()}
        addresses = {slot.address for slot in self.arguments()}
        self.args_bytes = sum(self.ledger.counts[a][0] for a in addresses)

    def _kept(self, x):
        if not isinstance(x, Tensor) or _is_in_graph(x):
            return x
        return _Place(self.ledger, None, x)

    def filled(self):
        """Return the bytes that its places hold."""
        addresses = {p.address for p in self.live() if p.tensor is not None}
        return sum(self.ledger.counts[a][0] for a in addresses)

    def empty(self):
        """Let what it saved go; a place that was written to stays, to say so."""
        for place in self.live():
            place.segment = self
            if not place.changed():
                place.empty()
        self.emptied = True

    def run_again(self):
        """Fill the places by running the calls once more, as they ran before."""
        self.ledger.make_room(self.work(), self)
        made = []
        now = default_generator.get_state()
        buffers = [b for module, _, _ in self.calls for b in _buffers(module)]
        before = [(b, memory_of(b)[2], b.clone()) for b in buffers]
        outer = open_budgets.pop(threading.get_ident(), None)
        hooks = saved_tensors_hooks(lambda x: self._filled(made, x), _same)
        try:
            with Recording(True), hooks:
                self._run_calls()
        finally:
            default_generator.set_state(now)
            with Recording(False):
                for b, version, value in before:
                    if memory_of(b)[2] != version:  # running statistics count once
                        b.copy_(value)
            if outer is not None:
                open_budgets[threading.get_ident()] = outer
        if len(made) != len(self.places):
            raise GraphError(
                f"memory_budget: expected {self._name()} to save {len(self.places)} "
                f"tensors when it runs again, as in the forward pass, got {len(made)}; "
                "it depends on something that has changed since"
            )

    def _run_calls(self):
        args = [_given_back(x) for x in self.args]
        kwargs = {name: _given_back(x) for name, x in self.kwargs.items()}
        for _, run, state in self.calls:
            default_generator.set_state(state)
            args, kwargs = [run(*args, **kwargs)], {}

    def _filled(self, made, x):
        n = len(made)
        made.append(None)
        if n < len(self.places):
            ref, expected = self.places[n]
            if (x.shape, x.dtype) != expected:
                raise GraphError(
                    f"memory_budget: expected a tensor of shape {expected[0]} and "
                    f"{expected[1]} when {self._name()} runs again, as in the forward "
                    f"pass, got {x.shape} and {x.dtype}; it depends on something that "
                    "has changed since"
                )
            place = ref()
            if place is not None and place.tensor is None:
                place.fill(x)
        return x

    def _name(self):
        return type(self.calls[0][0]).__name__


def _nothing():
    return None


def _is_in_graph(x):
    """Whether it is a leaf that the graph holds in any case."""
    return x.is_leaf and x.requires_grad


def _same(x):
    return x


def _given_back(x):
    return x.get() if isinstance(x, _Place) else x


def _buffers(module):
    return list(module.buffers()) if hasattr(module, "buffers") else []


class _Recorder:
    """A forward pass under a budget: which segment is running."""

    def __init__(self, limit):
        self.ledger = _Ledger(limit)
        self.stack = [_Segment(self.ledger, None, None, None, None)]

    def pack(self, x):
        """Give a place for a tensor that a node would save."""
        innermost = self.stack[-1]
        innermost.last = None
        place = _Place(self.ledger, innermost, x)
        entry = weakref.ref(place), (x.shape, x.dtype)
        nbytes, _, number = self.ledger.counts[place.address]
        for segment in self.stack[1:]:
            segment.places.append(entry)
            segment.made[number] = nbytes
        if len(self.stack) == 1:
            self.check()
        return place

    def call(self, module, run, args, kwargs):
        """Call ``run(*args, **kwargs)`` as a segment."""
        parent, state = self.stack[-1], default_generator.get_state()
        segment = _Segment(self.ledger, parent, module, run, state)
        last, parent.last = parent.last, None
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        versions = [memory_of(x)[2] for x in tensors]
        chained = (
            last is not None
            and not kwargs
            and len(args) == 1
            and args[0] is last[1]
            and versions == [last[2]]
        )
        self.stack.append(segment)
        try:
            output = run(*args, **kwargs)
            self.count(module, args or tuple(kwargs.values()), output)
        finally:
            self.stack.pop()
            segment.last = None
        intact = versions == [memory_of(x)[2] for x in tensors]
        previous = last[0] if chained else None
        while previous is not None and previous.args is None:
            previous = previous.parent  # it has been joined to the one before
        segment = self._complete(segment, previous, intact, tensors)
        if segment is not None and segment.args is None:
            segment.keep_arguments(args, kwargs)
        if isinstance(output, Tensor):
            parent.last = segment, output, memory_of(output)[2]
        last = previous = None  # the output before this one may go
        self.check()
        return output

    def count(self, module, args, output):
        """Add what a call did to all segments that are running, the root aside."""
        if isinstance(args[0] if args else None, Tensor) and isinstance(output, Tensor):
            products = module.multiply_adds(args, output)
            for segment in self.stack[1:]:
                segment.products += products

    def _complete(self, segment, previous, intact, tensors):
        """Decide what a call becomes: a segment, a part of the previous one, or none.

        Its arguments are worth keeping if a node keeps them anyway, or they are small
        beside what the segment could free.
        """
        size, new = segment.work(), {}
        for x in tensors:
            address, nbytes, _ = memory_of(x)
            if address not in self.ledger.counts and not _is_in_graph(x):
                new[address] = nbytes
        extra = sum(new.values())
        alone = intact and size and 2 * extra <= size
        if previous is not None and (not alone or extra):
            self.ledger.join(previous, segment)
            return previous
        if not alone:
            segment.dissolve(segment.parent)
            return None
        if previous is not None:
            segment.follows = weakref.ref(previous)
        self.ledger.segments.append(weakref.ref(segment))
        return segment

    def check(self):
        """Make room; raise if there is none, and no running segment can give it."""
        ledger = self.ledger
        if ledger.make_room():
            return
        for segment in self.stack[1:]:
            around = ledger.held - segment.filled()
            if max(segment.work(), around) <= ledger.limit:
                return
        raise MemoryError(
            f"memory_budget: expected to keep at most {ledger.limit} bytes for "
            f"backward, got {ledger.held} that no call of a module can compute again "
            "within the budget; raise it, or put more of the computation into modules"
        )


def as_segment(module, run, args, kwargs):
    """Call ``run(*args, **kwargs)``, as a segment if this thread is in a budget."""
    recorder = open_budgets.get(threading.get_ident())
    if recorder is None or not is_grad_enabled():
        return run(*args, **kwargs)
    return recorder.call(module, run, args, kwargs)


class memory_budget:  # noqa: N801
    """Keep at most so many bytes for backward, and compute the rest again there.

    Inside the block each call of a module can be run again. What recorded operations
    save is kept as usual until it exceeds the budget; then calls are chosen whose
    results go, those first that free most bytes for the flops that must be done again.
    Also a decorator; holds for the current thread only.

    Parameters
    ----------
    size : int or str
        Bytes, or a number with one of the units B, KB, MB, GB, TB (powers of 1000) and
        KiB, MiB, GiB, TiB (powers of 1024).

    Attributes
    ----------
    kept : int
        Bytes that the graphs recorded inside keep at present, each storage once.

    Raises
    ------
    TypeError, ValueError
        If `size` is not as above.
    MemoryError
        Inside the block, if more must be kept: what is computed outside of modules, or
        in one that needs more than the budget by itself.
    GraphError
        In backward, if a module saves other tensors when it runs again, or an argument
        of it or a saved tensor was changed in place.

    See Also
    --------
    checkpoint : Compute one given function again.

    Notes
    -----
    The flops of a call are two for each of the multiply-adds that the modules in it
    state (`nn.Module.multiply_adds`), and 16 for each byte that it saved, which stand
    for the work that is bound by memory. A module with products of its own that
    overrides `multiply_adds` is run again as late as it deserves.

    Gradients have the same bits as without a budget: random numbers are drawn from the
    same state of the default generator, and buffers (running statistics) are put back
    after the second run. Memory peaks at no more than the budget and the work of one
    module, or chain of modules, that runs again; parameters, gradients and what nobody
    keeps for backward are not counted, and neither are leaves that require grad. A
    forward hook runs twice with its module.

    References
    ----------
    T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training deep nets with sublinear memory
    cost", arXiv:1604.06174.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> layers = [nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(16)]
    >>> model, x = nn.Sequential(*layers), tl.ones((256, 64))
    >>> with tl.autograd.memory_budget("512KiB") as budget:
    ...     y = model(x).sum()
    >>> budget.kept <= 512 * 1024 < 16 * x.nbytes
    True
    >>> y.backward()
    >>> budget.kept
    0
    """

    def __init__(self, size):
        self.limit = _parsed(size)
        self._entered = []
        self._ledgers = []

    @property
    def kept(self):
        """Bytes that the graphs recorded inside keep at present."""
        return sum(ledger.held for ledger in self._ledgers)

    def __call__(self, function):
        """Return the function with a budget of its own in each call."""
        import functools  # only decorated functions pay for it

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with memory_budget(self.limit):
                return function(*args, **kwargs)

        return wrapped

    def __enter__(self):
        recorder, thread = _Recorder(self.limit), threading.get_ident()
        hooks = saved_tensors_hooks(recorder.pack, _Place.get)
        hooks.__enter__()
        self._entered.append((recorder, hooks, open_budgets.get(thread)))
        self._ledgers = [x for x in self._ledgers if x.held] + [recorder.ledger]
        open_budgets[thread] = recorder
        return self

    def __exit__(self, *exc_info):
        recorder, hooks, outer = self._entered.pop()
        hooks.__exit__()
        recorder.stack[0].last = None
        if outer is None:
            del open_budgets[threading.get_ident()]
        else:
            open_budgets[threading.get_ident()] = outer
