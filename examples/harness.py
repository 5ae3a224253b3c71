"""What every example shares: arguments, progress, metrics, pictures, a checkpoint.

An example is a script with ``--help``. Whatever it makes lies in ``--out``:
``metrics.csv`` (and TensorBoard's event file where that is installed), pictures where
matplotlib is, ``model.safetensors``, and ``result.json`` with the figures that
``examples/RESULTS.md`` quotes.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import tensorlib as tl

__all__ = ["OnDevice", "Run", "add_device", "device_of", "parser"]


def add_device(made):
    """Add ``--device`` to an ArgumentParser; return it."""
    made.add_argument(
        "--device", default="cpu", help='where to compute: "cpu" (default) or "cuda"'
    )
    return made


def device_of(description, given=None):
    """Return the device that the arguments of a script without others name."""
    made = argparse.ArgumentParser(description=description.split("\n")[0])
    return tl.device(add_device(made).parse_args(given).device)


class OnDevice:
    """A loader whose batches come on a device.

    Parameters
    ----------
    loader : DataLoader
    device : Device or str
    """

    def __init__(self, loader, device):
        self.loader, self.device = loader, device

    def __iter__(self):
        for batch in self.loader:
            yield tuple(part.to(self.device) for part in batch)

    def __len__(self):
        return len(self.loader)

    @property
    def dataset(self):
        """The loader's data set, on the host."""
        return self.loader.dataset


def parser(description, **defaults):
    """Return an ArgumentParser with what all examples understand.

    Parameters
    ----------
    description : str
        The script's docstring.
    **defaults : dict
        Of the options below, and an example's own: ``epochs=5`` adds ``--epochs``.

    Returns
    -------
    argparse.ArgumentParser
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, help="folder of the results (runs/NAME)")
    made.add_argument(
        "--quick", action="store_true", help="a few steps on little data: a smoke test"
    )
    add_device(made)
    options = {"seed": 0, "threads": tl.get_num_threads(), **defaults}
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            made.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=value
            )
        else:
            made.add_argument(
                flag, type=type(value), default=value, help=f"default {value}"
            )
    return made


class Run:
    """One run of an example: a context that seeds, logs, draws, and sums up.

    Parameters
    ----------
    name : str
        The folder below ``runs`` when ``--out`` is not given.
    options : argparse.Namespace
        Of a `parser`.

    Attributes
    ----------
    folder : Path
    device : Device
        Of ``--device``.
    results : dict
        What ``result.json`` will hold, in the order of `record`.
    """

    def __init__(self, name, options):
        self.name = name
        self.options = options
        self.folder = options.out or Path("runs") / name
        self.device = tl.device(getattr(options, "device", "cpu"))
        self.results = {"example": name, "seed": options.seed}
        self._shown = 0.0

    def __enter__(self):
        tl.set_num_threads(self.options.threads)
        tl.manual_seed(self.options.seed)
        self.metrics = tl.MetricsWriter(self.folder, purge_step=0)
        self._start = time.perf_counter()
        self._cpu_start = time.process_time()
        return self

    def __exit__(self, kind, error, traceback):
        self.metrics.close()
        if kind is KeyboardInterrupt:
            print(f"\nstopped; what was saved is in {self.folder}")
        if kind is None:
            cpu = time.process_time() - self._cpu_start
            self.record(seconds=round(self.seconds, 3), cpu_seconds=round(cpu, 3))
            self.record(threads=self.options.threads)
            text = json.dumps(self.results, indent=1)
            (self.folder / "result.json").write_text(text + "\n", encoding="utf-8")
            print("  ".join(f"{key} {value}" for key, value in self.results.items()))
        return False

    @property
    def seconds(self):
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def log(self, step, **values):
        """Write scalars to the log and, a few times a second, to the terminal."""
        for tag, value in values.items():
            self.metrics.add_scalar(tag, value, step)
        now = time.perf_counter()
        if sys.stdout.isatty() and now - self._shown > 0.2:
            self._shown = now
            print(f"\r{self._line(step, values)}\033[K", end="", flush=True)

    def report(self, step, **values):
        """Like `log`, with a line of its own that stays."""
        self.log(step, **values)
        end = "\033[K" if sys.stdout.isatty() else ""
        print(f"\r{self._line(step, values)}{end}", flush=True)

    def _line(self, step, values):
        shown = "  ".join(f"{tag} {value:.4g}" for tag, value in values.items())
        return f"{self.name} {step:>6}  {shown}  {self.seconds:.0f} s"

    def record(self, **figures):
        """Add figures to the results."""
        self.results.update(figures)

    def save(self, model, name="model"):
        """Save the model's state as ``NAME.safetensors``."""
        state = {key: value.to("cpu") for key, value in model.state_dict().items()}
        tl.save(state, self.folder / f"{name}.safetensors")

    def picture(self, name, draw, **figure):
        """Call ``draw(figure)`` on a new figure and save it as ``NAME.png``.

        Without matplotlib nothing is drawn.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        canvas = Figure(layout="constrained", **figure)
        draw(canvas)
        canvas.savefig(self.folder / f"{name}.png", dpi=100)
