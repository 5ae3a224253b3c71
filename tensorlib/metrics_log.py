"""What a training run measured: a CSV file always, TensorBoard's where it is installed.

Every value is on its way to the disk when a method returns, so a run that is killed
loses nothing; a line cut short by a crash is dropped when the log is opened again.
TensorBoard's files are written through its own record format and protocol buffers,
without TensorFlow and without a thread.
"""

import csv
import io
import os
import re
import socket
import struct
import threading
import time
import zlib
from importlib.util import find_spec
from pathlib import Path

import tensorlib as tl

__all__ = ["MetricsWriter", "read_metrics"]

_CSV = "metrics.csv"
_COLUMNS = ("tag", "step", "value", "walltime")
_BUCKETS = 64


class MetricsWriter:
    """Log scalars, histograms and pictures of a run into a folder.

    Scalars go to ``metrics.csv``, a line ``tag,step,value,walltime`` each, and
    pictures to ``images``; with TensorBoard installed, everything also goes to an
    event file that ``tensorboard --logdir`` shows.

    Parameters
    ----------
    log_dir : str or Path
        The folder, made if need be. An earlier log there is continued.
    purge_step : int, optional
        Forget what an earlier log has from this step on: the step a run resumes at,
        or 0 to start anew.
    tensorboard : bool, optional
        Whether to write an event file; by default, if ``tensorboard`` is installed.

    Raises
    ------
    ImportError
        If `tensorboard` is True and the package is missing.
    ValueError
        If ``metrics.csv`` there is another file.

    Examples
    --------
    >>> import tempfile
    >>> import tensorlib as tl
    >>> from tensorlib.metrics_log import read_metrics
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with tl.MetricsWriter(folder, tensorboard=False) as log:
    ...         for epoch in range(3):
    ...             log.add_scalar("loss", 1 / (1 + epoch), epoch)
    ...     read_metrics(folder)["loss"]
    [(0, 1.0), (1, 0.5), (2, 0.3333333333333333)]
    """

    def __init__(self, log_dir, purge_step=None, *, tensorboard=None):
        self.log_dir = Path(log_dir)
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._counts = {}
        path = self.log_dir / _CSV
        if path.exists():
            self._continue(path, purge_step)
        else:
            path.write_text(",".join(_COLUMNS) + "\n", encoding="utf-8")
        self._events = None
        if tensorboard or (tensorboard is None and find_spec("tensorboard")):
            self._events = _EventFile(self.log_dir, purge_step)
        self._csv = path.open("a", encoding="utf-8", newline="")

    def _continue(self, path, purge_step):
        """Rewrite an earlier log without what is cut short or to be forgotten."""
        rows = [
            row for row in _read_rows(path) if purge_step is None or row[1] < purge_step
        ]
        for tag, step, _, _ in rows:
            self._counts[tag] = step + 1
        fresh = path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([_COLUMNS, *rows])
        os.replace(fresh, path)

    def _step(self, tag, step):
        if not isinstance(tag, str) or "\n" in tag or "\r" in tag:
            raise ValueError(
                f"MetricsWriter: expected a tag of one line of text, got {tag!r}"
            )
        step = self._counts.get(tag, 0) if step is None else int(step)
        self._counts[tag] = step + 1
        return step

    def add_scalar(self, tag, scalar_value, global_step=None, walltime=None):
        """Log a number.

        Parameters
        ----------
        tag : str
            Its name; slashes group names.
        scalar_value : float or Tensor of one element
            NaN and infinities are logged too.
        global_step : int, optional
            When it was measured; one after the tag's last by default.
        walltime : float, optional
            Seconds since 1970; now by default.

        Raises
        ------
        TypeError, ValueError
            If the value is no number, or the log is closed.
        """
        value = float(scalar_value)
        walltime = time.time() if walltime is None else float(walltime)
        with self._lock:
            self._check_open()
            step = self._step(tag, global_step)
            line = io.StringIO()
            csv.writer(line, lineterminator="\n").writerow((tag, step, value, walltime))
            self._csv.write(line.getvalue())
            self._csv.flush()
            if self._events is not None:
                self._events.add(step, walltime, tag=tag, simple_value=value)

    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, walltime=None):
        """Log numbers that belong together, as ``main_tag/name``.

        Parameters
        ----------
        main_tag : str
            The first part of the names.
        tag_scalar_dict : dict of str to float
            The numbers by name.
        global_step : int, optional
            When they were measured.
        walltime : float, optional
            Seconds since 1970; now by default.
        """
        for name, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{name}", value, global_step, walltime)

    def add_histogram(self, tag, values, global_step=None, walltime=None):
        """Log how values are distributed.

        The CSV file gets their mean, standard deviation, least and greatest as
        ``tag/mean`` and so on; TensorBoard a histogram of 64 equal steps.

        Parameters
        ----------
        tag : str
            The name.
        values : Tensor or array
            Of any shape; those that are not finite are left out.
        global_step : int, optional
            When they were measured.
        walltime : float, optional
            Seconds since 1970; now by default.

        Raises
        ------
        ValueError
            If no value is finite.
        """
        values = tl.asarray(values).detach().numpy()
        summary, histogram = _histogram(tag, values)
        with self._lock:
            self._check_open()
            step = self._step(tag, global_step)
        for name, value in summary.items():
            self.add_scalar(f"{tag}/{name}", value, step, walltime)
        if self._events is not None:
            with self._lock:
                self._events.add(step, walltime, tag=tag, histo=histogram)

    def add_image(self, tag, img_tensor, global_step=None, walltime=None):
        """Log a picture, as ``images/tag_step.png`` too.

        Parameters
        ----------
        tag : str
            The name.
        img_tensor : Tensor or array
            ``(H, W)`` or ``(C, H, W)`` with 1 or 3 channels: uint8, or floats in
            [0, 1] (others are clipped).
        global_step : int, optional
            When it was made.
        walltime : float, optional
            Seconds since 1970; now by default.

        Raises
        ------
        ShapeError
            If it has another shape.
        """
        png, size = _png(tl.asarray(img_tensor).detach())
        self._add_png(tag, png, size, global_step, walltime)

    def add_figure(self, tag, figure, global_step=None, walltime=None):
        """Log a figure of matplotlib as a picture.

        Parameters
        ----------
        tag : str
            The name.
        figure : matplotlib.figure.Figure
            The figure.
        global_step : int, optional
            When it was made.
        walltime : float, optional
            Seconds since 1970; now by default.
        """
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
        png = stream.getvalue()
        width, height = struct.unpack(">II", png[16:24])
        self._add_png(tag, png, (height, width, 4), global_step, walltime)

    def _add_png(self, tag, png, size, step, walltime):
        with self._lock:
            self._check_open()
            step = self._step(tag, step)
            folder = self.log_dir / "images"
            folder.mkdir(exist_ok=True)
            name = re.sub(r"[^\w-]", "_", tag)
            (folder / f"{name}_{step}.png").write_bytes(png)
            if self._events is not None:
                height, width, channels = size
                self._events.add(
                    step, walltime, tag=tag,
                    image={
                        "height": height, "width": width, "colorspace": channels,
                        "encoded_image_string": png,
                    },
                )  # fmt: skip

    def flush(self):
        """Wait until everything is on the disk, should the machine fail."""
        with self._lock:
            self._check_open()
            streams = [self._csv]
            if self._events is not None:
                streams.append(self._events.stream)
            for stream in streams:
                stream.flush()
                os.fsync(stream.fileno())

    def close(self):
        """Close the files; a second time does nothing."""
        with self._lock:
            if not self._csv.closed:
                self._csv.close()
                if self._events is not None:
                    self._events.stream.close()

    def _check_open(self):
        if self._csv.closed:
            raise ValueError(f"MetricsWriter: the log in {self.log_dir} is closed")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


def read_metrics(log_dir):
    """Read the scalars of a log.

    Parameters
    ----------
    log_dir : str or Path
        The folder of the log.

    Returns
    -------
    dict of str to list of (int, float)
        Step and value of each measurement, by tag.

    Raises
    ------
    FileNotFoundError
        If there is no log.
    ValueError
        If the file is of another kind.
    """
    found = {}
    for tag, step, value, _ in _read_rows(Path(log_dir) / _CSV):
        found.setdefault(tag, []).append((step, value))
    return found


def _read_rows(path):
    """Return the rows of a log, without one that a crash cut short."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    if not rows and "\n" not in text and ",".join(_COLUMNS).startswith(text):
        return []  # not even the heading was finished
    if not rows or tuple(rows[0]) != _COLUMNS:
        raise ValueError(
            f"{path}: expected a log with the heading {','.join(_COLUMNS)}, got "
            f"{text[:60]!r}"
        )
    found = []
    for number, row in enumerate(rows[1:], 2):
        try:
            tag, step, value, walltime = row
            found.append((tag, int(step), float(value), float(walltime)))
        except ValueError:
            raise ValueError(
                f"{path}: corrupt row {number}: expected {','.join(_COLUMNS)}, got "
                f"{row}"
            ) from None
    return found


class _EventFile:
    """A TensorBoard event file: records of serialized ``Event`` messages."""

    def __init__(self, folder, purge_step):
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise ImportError(
                "MetricsWriter: event files need the package tensorboard: pip install "
                "tensorboard"
            ) from error
        self._event, self._summary = event_pb2, summary_pb2
        now = time.time()
        host = re.sub(r"[^\w.-]", "_", socket.gethostname())
        name = f"events.out.tfevents.{now:.6f}.{host}.{os.getpid()}"
        self.stream = (folder / name).open("wb")
        self._records = RecordWriter(self.stream)
        self._write(event_pb2.Event(wall_time=now, file_version="brain.Event:2"))
        if purge_step is not None:
            log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(
                event_pb2.Event(wall_time=now, step=purge_step, session_log=log)
            )

    def add(self, step, walltime, **value):
        """Write one value of a summary."""
        summary = self._summary.Summary(value=[self._summary.Summary.Value(**value)])
        walltime = time.time() if walltime is None else walltime
        self._write(self._event.Event(wall_time=walltime, step=step, summary=summary))

    def _write(self, event):
        self._records.write(event.SerializeToString())
        self.stream.flush()


def _histogram(tag, values):
    """Return a summary of values, and the fields of TensorBoard's HistogramProto."""
    import numpy  # rarely needed

    flat = values.astype(float).reshape(-1)
    flat = flat[numpy.isfinite(flat)]
    if not flat.size:
        raise ValueError(f"add_histogram: {tag!r} has no finite values")
    with numpy.errstate(over="ignore", invalid="ignore"):
        # A quarter of the values: their range cannot overflow.
        counts, edges = numpy.histogram(flat / 4, _BUCKETS)
        limits = (edges[1:] * 4).tolist()
        total, squares = float(flat.sum()), float((flat * flat).sum())
        mean, std = float(flat.mean()), float(flat.std())
    low, high = float(flat.min()), float(flat.max())
    histogram = {
        "min": low, "max": high, "num": flat.size, "sum": total, "sum_squares": squares,
        "bucket_limit": limits, "bucket": counts.tolist(),
    }  # fmt: skip
    return {"mean": mean, "std": std, "min": low, "max": high}, histogram


def _png(image):
    """Return a picture as PNG, and its height, width and number of channels.

    References
    ----------
    PNG Specification (Third Edition), W3C 2025, sections 5 and 11.
    """
    if image.ndim == 2:
        image = tl.expand_dims(image, axis=0)
    if image.ndim != 3 or image.shape[0] not in (1, 3) or not image.size:
        raise tl.ShapeError(
            f"add_image: expected (H, W), (1, H, W) or (3, H, W), got {image.shape}"
        )
    if image.dtype != tl.uint8:
        image = tl.round(tl.clip(image.astype(tl.float32), 0.0, 1.0) * 255.0)
        image = image.astype(tl.uint8)
    channels, height, width = image.shape
    rows = tl.permute_dims(image, (1, 2, 0)).reshape((height, width * channels))
    # Each row begins with its filter, 0 for none.
    rows = tl.pad(rows, ((0, 0), (1, 0))).contiguous()
    kind = 0 if channels == 1 else 2  # grey or RGB
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(memoryview(rows))),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + name + data
        + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + body, (height, width, channels)
