"""``python -m tensorlib demo``: train, save after every epoch, draw the curve."""

import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import tensorlib as tl
from tensorlib.cli.models import make_data, make_model
from tensorlib.cli.progress import make_progress
from tensorlib.cli.training import Trainer

__all__ = ["run_demo"]

_EPOCHS = {"digits": 80}
CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "model.safetensors"
CURVE = "curve.png"
METRICS = "metrics.csv"


def run_demo(
    *, data="digits", root=None, model="mlp", epochs=None, batch_size=64, lr=2e-3,
    seed=0, threads=None, workers=0, out=None, resume=False,
):  # fmt: skip
    """Train a classifier and leave checkpoint, weights, curve and log in a folder.

    Parameters
    ----------
    data : {"digits", "mnist", "fashion-mnist"}, default "digits"
        The data set.
    root : str, optional
        Folder of the MNIST files.
    model : {"mlp", "softmax", "cnn"}, default "mlp"
        The model.
    epochs : int, optional
        Passes over the data: 80 for digits, 10 otherwise.
    batch_size : int, default 64
        Samples a step.
    lr : float, default 2e-3
        The highest learning rate.
    seed : int, default 0
        Of everything random.
    threads : int, optional
        Threads of kernels; the result does not depend on it.
    workers : int, default 0
        Threads that load batches ahead.
    out : str, optional
        Folder of the results: ``runs/<data>`` by default.
    resume : bool, default False
        Continue from the checkpoint there.

    Returns
    -------
    int
        0, or 130 if it was interrupted (with the checkpoint kept).

    Raises
    ------
    FileNotFoundError
        If data files or the checkpoint to resume from are missing.
    ValueError
        If data or checkpoint are damaged, or of another run.
    """
    folder = Path("runs") / data if out is None else Path(out)
    trainer = _make_trainer(
        data, root, model, epochs or _EPOCHS.get(data, 10), batch_size, lr, seed,
        workers,
    )  # fmt: skip
    checkpoint = folder / CHECKPOINT
    if resume:
        if not checkpoint.is_file():
            raise FileNotFoundError(f"resume: there is no checkpoint {checkpoint}")
        trainer.load(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tl.num_threads(threads or tl.get_num_threads()),
        tl.MetricsWriter(folder, purge_step=trainer.epoch + 1) as log,
        make_progress(trainer) as progress,
        _stop_on_interrupt(trainer),
    ):
        progress.message(_headline(trainer, data, model, resume))
        if not _train(trainer, checkpoint, progress, log):
            progress.message(
                f"stopped in epoch {trainer.epoch + 1}; {checkpoint} is saved, "
                "continue with --resume"
            )
            return 130
        _finish(trainer, folder, progress)
    return 0


def _make_trainer(data, root, model, epochs, batch_size, lr, seed, workers):
    # A linear model cannot learn shifted images.
    train_set, test_set = make_data(data, root, augment=model != "softmax")
    # One stream for weights and dropout, another for the order of the data.
    generator = tl.Generator(seed)
    image_shape = tuple(test_set[0][0].shape)
    network = make_model(model, image_shape, len(test_set.classes), generator)
    return Trainer(
        network, train_set, test_set, generator, epochs=epochs,
        batch_size=batch_size, lr=lr, seed=seed + 1, workers=workers,
    )  # fmt: skip


def _headline(trainer, data, model, resume):
    count = sum(p.size for p in trainer.model.parameters())
    start = f", from epoch {trainer.epoch + 1}" if resume else ""
    return (
        f"{model} of {count:,} parameters on {data}: {trainer.samples:,} training and "
        f"{len(trainer.test_set):,} test images, {trainer.epochs} epochs{start}, "
        f"{tl.get_num_threads()} thread(s)"
    )


def _train(trainer, checkpoint, progress, log):
    """Train to the end; return False if interrupted. Save either way."""
    started = time.perf_counter()
    while trainer.epoch < trainer.epochs:
        finished = trainer.train_epoch(progress.batch)
        trainer.save(checkpoint)
        if not finished:
            return False
        progress.epoch(trainer)
        for name, value in trainer.history[-1].items():
            log.add_scalar(name, value, trainer.epoch)
        if trainer.stop_requested and trainer.epoch < trainer.epochs:
            return False
    progress.message(f"trained for {time.perf_counter() - started:.1f} s")
    return True


def _finish(trainer, folder, progress):
    tl.save(trainer.model.state_dict(), folder / WEIGHTS)
    written = [folder / CHECKPOINT, folder / WEIGHTS, folder / METRICS]
    if _draw_curve(trainer.history, folder / CURVE):
        written.append(folder / CURVE)
    else:
        progress.message("no curve was drawn: matplotlib is not installed")
    progress.message(f"test accuracy {trainer.history[-1]['test_accuracy']:.2%}")
    progress.message("wrote " + ", ".join(map(str, written)))


def _draw_curve(history, path):
    """Draw loss and accuracies over epochs; return False without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = range(1, len(history) + 1)
    left.plot(epochs, [entry["loss"] for entry in history])
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    for key, label in (("train_accuracy", "training"), ("test_accuracy", "test")):
        right.plot(epochs, [100 * entry[key] for entry in history], label=label)
    right.set(xlabel="epoch", ylabel="accuracy, %", ylim=(None, 100))
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    return True


@contextmanager
def _stop_on_interrupt(trainer):
    """Let the first Ctrl-C stop after the batch; the second one interrupts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request_stop(signum, frame):
        trainer.stop_requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, request_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
