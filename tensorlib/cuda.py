"""NVIDIA GPUs: which there are, their memory, streams, events and graphs.

Nothing in this module needs a GPU, a driver or a CUDA build to be imported. Work on a
device is asynchronous: an op returns when its kernel has been launched. Asking for
values (`Tensor.item`, `Tensor.cpu`, printing) waits, and raises what a kernel found
wrong with its input, an index out of range say.
"""

import threading
from contextlib import contextmanager

from tensorlib.core.device import device as _device
from tensorlib.kernels.devices import (
    bridge as _bridge,
)
from tensorlib.kernels.devices import (
    check_device,
    device_count,
    open_device,
    why_unavailable,
)

__all__ = [
    "CUDAGraph",
    "Event",
    "Stream",
    "current_stream",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "graph",
    "is_available",
    "is_built",
    "mem_get_info",
    "memory_stats",
    "recording",
    "reset_peak_memory_stats",
    "set_float32_matmul_precision",
    "set_memory_limit",
    "stream",
    "synchronize",
    "versions",
    "why_unavailable",
]


def is_built():
    """Return whether this build of tensorlib contains the CUDA module.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cuda.is_built() in (True, False)
    True
    """
    return _bridge is not None


def is_available():
    """Return whether at least one device can be used.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cuda.is_available() == (tl.cuda.why_unavailable() == "")
    True
    """
    return device_count() > 0


def versions():
    """Return the CUDA versions as ``{"runtime": "13.0", "driver": "13.0" or None}``.

    The runtime is the one linked in at build time; empty without a CUDA build.

    Examples
    --------
    >>> import tensorlib as tl
    >>> set(tl.cuda.versions()) <= {"runtime", "driver"}
    True
    """
    if _bridge is None:
        return {}
    runtime, driver = _bridge.runtime_version(), _bridge.driver_version()
    return {"runtime": _dotted(runtime), "driver": _dotted(driver) if driver else None}


def _dotted(version):
    return f"{version // 1000}.{version % 1000 // 10}"


def _index(op, device):
    """Return the index of a device given as one, by name, or None; it is opened."""
    if device is None:
        device = 0
    if not isinstance(device, int):
        where = _device(device)
        if where.type != "cuda":
            raise TypeError(f"{op}: expected a CUDA device, got {where}")
        device = where.index
    open_device(op, device)
    return device


def get_device_name(device=0):
    """Return the name of a device.

    Raises
    ------
    DeviceError
        If there is no such device; says why.
    """
    check_device("get_device_name", device)
    return _bridge.device_name(device)


def get_device_capability(device=0):
    """Return the compute capability of a device as ``(major, minor)``.

    Raises
    ------
    DeviceError
        If there is no such device; says why.
    """
    check_device("get_device_capability", device)
    return _bridge.device_capability(device)[:2]


def synchronize(device=0):
    """Wait until a device has finished everything launched so far.

    Raises
    ------
    DeviceError
        If there is no such device, or an earlier launch failed.
    IndexError, ZeroDivisionError, ValueError
        If a kernel launched earlier found its input wrong.
    """
    check_device("synchronize", device)
    _bridge.synchronize(device)


# ---- memory ------------------------------------------------------------------------
def mem_get_info(device=0):
    """Return the free bytes of a device, and all that it has: ``(free, total)``."""
    return _bridge_of("mem_get_info", device).device_memory(_index("", device))


def memory_stats(device=0):
    """Return the counters of a device's caching allocator.

    Returns
    -------
    dict of str to int
        As `tensorlib.memory_stats`: bytes ``allocated``, ``peak_allocated``,
        ``reserved``, ``peak_reserved``, ``limit``; counts ``live``, ``allocations``,
        ``system_calls``.
    """
    return _bridge_of("memory_stats", device).memory_stats(_index("", device))


def reset_peak_memory_stats(device=0):
    """Set the peaks of `memory_stats` to the present values."""
    _bridge_of("reset_peak_memory_stats", device).reset_peak_memory_stats(
        _index("", device)
    )


def empty_cache(device=0):
    """Wait for a device, and return its cached blocks to the driver."""
    _bridge_of("empty_cache", device).empty_cache(_index("", device))


def set_memory_limit(nbytes, device=0):
    """Limit the bytes held from the driver; 0 or None removes the limit.

    Raises
    ------
    ValueError
        If `nbytes` is negative or not an integer.
    """
    nbytes = 0 if nbytes is None else nbytes
    if isinstance(nbytes, bool) or not isinstance(nbytes, int) or nbytes < 0:
        raise ValueError(f"set_memory_limit: expected bytes >= 0, got {nbytes!r}")
    _bridge_of("set_memory_limit", device).set_memory_limit(
        _index("", device), min(nbytes, 1 << 62)
    )


def _bridge_of(op, device):
    _index(op, device)
    return _bridge


def set_float32_matmul_precision(precision):
    """Choose how GPUs compute products and convolutions of float32.

    Parameters
    ----------
    precision : {'highest', 'high'}
        'highest', the default: in float32. 'high': inputs rounded to TF32 (10 bits of
        fraction), sums in float32, on tensor cores.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if precision not in ("highest", "high"):
        raise ValueError(
            "set_float32_matmul_precision: expected 'highest' or 'high', got "
            f"{precision!r}"
        )
    if _bridge is not None:
        _bridge.set_float32_precision(precision == "high")


# ---- streams and events --------------------------------------------------------------
class Stream:
    """A queue of work on a device, done in order; several run side by side.

    Parameters
    ----------
    device : Device, str or int, default 0
    priority : int, default 0
        Lower numbers go first.

    Raises
    ------
    DeviceError
        If there is no such device; says why.
    """

    def __init__(self, device=0, priority=0):
        self._own = False
        self.index = _index("Stream", device)
        self.cuda_stream = _bridge.stream_create(self.index, priority)
        self._own = True

    @classmethod
    def _of(cls, index, handle):
        made = cls.__new__(cls)
        made.index, made.cuda_stream, made._own = index, handle, False
        return made

    @property
    def device(self):
        """The device of the stream."""
        return _device("cuda", self.index)

    def synchronize(self):
        """Wait until everything given to the stream is done."""
        _bridge.stream_synchronize(self.index, self.cuda_stream)

    def query(self):
        """Return whether everything given to the stream is done."""
        return _bridge.stream_query(self.index, self.cuda_stream)

    def record_event(self, event=None):
        """Return an event that happens when the stream gets here."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event):
        """Have what the stream is given from now on wait for an event."""
        event._require("wait_event")
        _bridge.stream_wait_event(self.index, self.cuda_stream, event.cuda_event)

    def wait_stream(self, other):
        """Have what the stream is given from now on wait for another's work so far."""
        self.wait_event(other.record_event())

    def __eq__(self, other):
        if not isinstance(other, Stream):
            return NotImplemented
        return (self.index, self.cuda_stream) == (other.index, other.cuda_stream)

    def __hash__(self):
        return hash((self.index, self.cuda_stream))

    def __repr__(self):
        return f"<Stream {self.cuda_stream:#x} on cuda:{self.index}>"

    def __del__(self):
        if self._own:
            _bridge.stream_destroy(self.index, self.cuda_stream)


class Event:
    """A point in a stream's work, to wait for or to measure time with.

    Parameters
    ----------
    enable_timing : bool, default False
        Whether `elapsed_time` may be asked for.
    """

    def __init__(self, enable_timing=False):
        self.enable_timing = bool(enable_timing)
        self.index = self.cuda_event = None

    def record(self, stream=None):
        """Have the event happen when a stream (the current one) gets here."""
        stream = current_stream() if stream is None else stream
        if self.cuda_event is None:
            self.cuda_event = _bridge.event_create(stream.index, self.enable_timing)
            self.index = stream.index
        _bridge.event_record(self.index, self.cuda_event, stream.cuda_stream)

    def _require(self, op):
        if self.cuda_event is None:
            raise RuntimeError(f"{op}: expected an event that was recorded")

    def synchronize(self):
        """Wait for the event."""
        self._require("synchronize")
        _bridge.event_synchronize(self.index, self.cuda_event)

    def wait(self, stream=None):
        """Have what a stream is given from now on wait for the event."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self):
        """Return whether the event has happened; True before it is recorded."""
        return self.cuda_event is None or _bridge.event_query(
            self.index, self.cuda_event
        )

    def elapsed_time(self, end):
        """Return the milliseconds from this event to `end`; both must have happened.

        Raises
        ------
        RuntimeError
            If one was not recorded, or has no timing.
        """
        for event in (self, end):
            event._require("elapsed_time")
            if not event.enable_timing:
                raise RuntimeError(
                    "elapsed_time: expected events made with enable_timing=True"
                )
        return _bridge.event_elapsed(self.cuda_event, end.cuda_event)

    def __del__(self):
        if self.cuda_event is not None:
            _bridge.event_destroy(self.index, self.cuda_event)


def current_stream(device=0):
    """Return the stream that this thread's work on a device goes to."""
    index = _index("current_stream", device)
    return Stream._of(index, _bridge.current_stream(index))


@contextmanager
def stream(stream):
    """Have this thread's work on a stream's device go to the stream, within a context.

    Parameters
    ----------
    stream : Stream or None
        None changes nothing.
    """
    if stream is None:
        yield
        return
    before = _bridge.current_stream(stream.index)
    _bridge.set_stream(stream.index, stream.cuda_stream)
    try:
        yield stream
    finally:
        _bridge.set_stream(stream.index, before)


class _Recording(threading.local):
    graph = None


_recording = _Recording()


def recording():
    """Return the `CUDAGraph` that this thread records, or None.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.cuda.recording() is None
    True
    """
    return _recording.graph


# ---- graphs ------------------------------------------------------------------------
class CUDAGraph:
    """Work recorded once, by `graph`, and done again by one launch.

    A replay runs the same kernels on the same memory: write new input into the tensors
    that the recorded ops read (`Tensor.copy_`), and find results in those they made.
    Optimizers that were recorded count their steps and follow their groups' options,
    learning rates of schedulers among them, as in eager steps.
    """

    def __init__(self):
        self.index = self._graph = self._pool = self._stream_before = None
        self._before = []

    def outside(self):
        """Return a context for tensors that replays shall leave alone.

        The memory of others is shared with what was recorded before them: a replay
        overwrites what was written to them in between.
        """
        return _on(self._stream_before)

    def before_replay(self, function):
        """Have `function` called, without arguments, before each replay."""
        self._before.append(function)

    def capture_begin(self, stream):
        """Begin to record what a stream is given, instead of doing it."""
        if self._graph is not None:
            raise RuntimeError("graph: this CUDAGraph was recorded already")
        _bridge.capture_begin(stream.index, stream.cuda_stream)
        self.index, _recording.graph = stream.index, self

    def capture_end(self, stream):
        """End the recording."""
        _recording.graph = None
        self._graph, self._pool = _bridge.capture_end(stream.index, stream.cuda_stream)

    def replay(self):
        """Do the recorded work on the current stream.

        Raises
        ------
        RuntimeError
            If nothing was recorded.
        """
        if self._graph is None:
            raise RuntimeError("replay: expected a graph that was recorded")
        for function in self._before:
            function()
        _bridge.graph_launch(
            self.index, self._graph, _bridge.current_stream(self.index)
        )

    def __del__(self):
        if self._graph is not None:
            _bridge.graph_destroy(self.index, self._graph, self._pool)


@contextmanager
def graph(cuda_graph, stream=None):
    """Record the work of a context into a `CUDAGraph`; nothing of it is done.

    Run what is recorded once or twice before, so that libraries are loaded. Within, no
    value may be read on the host (`item`, `cpu`), and tensors made there live in memory
    of the graph.

    Parameters
    ----------
    cuda_graph : CUDAGraph
    stream : Stream, optional
        Where to record; a stream of its own by default.

    Examples
    --------
    >>> import tensorlib as tl
    >>> if tl.cuda.is_available():
    ...     x = tl.ones(3, device="cuda")
    ...     g = tl.cuda.CUDAGraph()
    ...     with tl.cuda.graph(g):
    ...         y = x * 2
    ...     g.replay()
    """
    own = Stream() if stream is None else stream
    before = current_stream(own.index)
    own.wait_stream(before)
    _bridge.synchronize(own.index)
    cuda_graph._stream_before = before
    with _on(own):
        cuda_graph.capture_begin(own)
        try:
            yield cuda_graph
        except BaseException:
            _abandon(cuda_graph, own)
            raise
        cuda_graph.capture_end(own)
    cuda_graph._stream = own


_on = stream


def _abandon(cuda_graph, stream):
    """End a recording that failed, and forget it."""
    try:
        cuda_graph.capture_end(stream)
    except RuntimeError:
        return
