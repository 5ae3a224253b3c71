"""Progress of training: a live bar with rich, plain lines without it."""

import sys
import time
from collections import deque

__all__ = ["make_progress"]


class _Speed:
    """Samples a second over the last seconds, and seconds to the end."""

    window = 5.0  # seconds

    def __init__(self, done, total):
        self.total = total
        self.past = deque([(time.perf_counter(), done)])

    def update(self, done):
        """Note that `done` samples of all are through."""
        now = time.perf_counter()
        self.past.append((now, done))
        while len(self.past) > 2 and now - self.past[1][0] > self.window:
            self.past.popleft()

    @property
    def time(self):
        return self.past[-1][0]

    @property
    def rate(self):
        (start, before), (end, done) = self.past[0], self.past[-1]
        return (done - before) / (end - start) if end > start else 0.0

    @property
    def seconds_left(self):
        return (self.total - self.past[-1][1]) / self.rate if self.rate else 0.0


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


class PlainProgress:
    """One line an epoch."""

    def __init__(self, trainer, stream=None):
        self.stream = sys.stdout if stream is None else stream
        self.speed = _Speed(_samples_done(trainer), trainer.epochs * trainer.samples)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stream.flush()

    def batch(self, trainer, seconds):
        """Note a batch."""
        self.speed.update(_samples_done(trainer))

    def epoch(self, trainer):
        """Print an epoch's results."""
        last = trainer.history[-1]
        print(
            f"epoch {trainer.epoch}/{trainer.epochs}  loss {last['loss']:.4f}  "
            f"train {last['train_accuracy']:.2%}  test {last['test_accuracy']:.2%}  "
            f"{self.speed.rate:,.0f} samples/s  ETA {_clock(self.speed.seconds_left)}",
            file=self.stream,
            flush=True,
        )

    def message(self, text):
        """Print a line."""
        print(text, file=self.stream, flush=True)


class RichProgress:
    """A live bar for the whole run."""

    def __init__(self, trainer):
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
        )

        self.speed = _Speed(_samples_done(trainer), trainer.epochs * trainer.samples)
        self.bar = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[measured]}"),
            console=Console(),
        )
        self.task = self.bar.add_task(
            "train", total=trainer.epochs, completed=trainer.epoch, measured=""
        )
        self.shown = 0.0
        self.test_accuracy = None

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *exc_info):
        self.bar.stop()

    def batch(self, trainer, seconds):
        """Note a batch; redraw ten times a second at most."""
        self.speed.update(_samples_done(trainer))
        if self.speed.time - self.shown > 0.1:
            self.shown = self.speed.time
            self._show(trainer)

    def _show(self, trainer):
        totals = trainer.totals
        if totals["seen"]:
            loss = totals["loss"] / totals["seen"]
            correct = totals["correct"] / totals["seen"]
        else:
            loss = trainer.history[-1]["loss"]
            correct = trainer.history[-1]["train_accuracy"]
        test = "" if self.test_accuracy is None else f"test {self.test_accuracy:.2%}  "
        self.bar.update(
            self.task,
            completed=trainer.epoch,
            measured=(
                f"loss {loss:.4f}  train {correct:.2%}  {test}"
                f"{self.speed.rate:,.0f} samples/s  ETA "
                f"{_clock(self.speed.seconds_left)}"
            ),
        )

    def epoch(self, trainer):
        """Show an epoch's results."""
        self.test_accuracy = trainer.history[-1]["test_accuracy"]
        self._show(trainer)

    def message(self, text):
        """Print a line above the bar."""
        self.bar.console.print(text, highlight=False)


def _samples_done(trainer):
    return trainer.epoch * trainer.samples + trainer.totals["seen"]


def make_progress(trainer):
    """Return a live bar on a terminal with rich, plain lines otherwise."""
    if sys.stdout.isatty():
        try:
            return RichProgress(trainer)
        except ImportError:
            pass
    return PlainProgress(trainer)
