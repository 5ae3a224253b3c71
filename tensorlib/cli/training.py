"""Training that can stop after any batch and continue bit for bit.

The whole state of a run is one dictionary: model, optimizer, schedule, place in the
data, generators, and what has been measured so far.
"""

import time
from pathlib import Path

import tensorlib as tl
from tensorlib import data, nn, optim
from tensorlib.cli.models import accuracy

__all__ = ["Trainer"]


class Trainer:
    """Train a classifier with AdamW, warm-up and cosine decay.

    Parameters
    ----------
    model : Module
        Maps images to logits.
    train_set, test_set : Dataset
        Pairs of image and class.
    generator : Generator
        The one the model draws dropout from; saved with the run.
    epochs : int
        Passes over the training set.
    batch_size : int
        Samples a step.
    lr : float
        The highest learning rate.
    seed : int
        Of the order of the data.
    workers : int
        Threads that load batches ahead.

    Attributes
    ----------
    history : list of dict
        ``"loss"``, ``"train_accuracy"``, ``"test_accuracy"`` of each epoch done.
    stop_requested : bool
        Set it (from a signal handler, say) to stop after the current batch.
    """

    def __init__(
        self, model, train_set, test_set, generator, *, epochs, batch_size, lr, seed,
        workers=0,
    ):  # fmt: skip
        self.model = model
        self.test_set = test_set
        self.generator = generator
        self.epochs = epochs
        self.loader = data.DataLoader(
            train_set, batch_size, shuffle=True, num_workers=workers,
            generator=tl.Generator(seed),
        )  # fmt: skip
        self.samples = len(train_set)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
        self.optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
        self.schedule = self._make_schedule(epochs * len(self.loader))
        self.epoch = 0
        self.history = []
        self.stop_requested = False
        self._reset_totals()

    def _make_schedule(self, steps):
        schedulers = optim.lr_scheduler
        warm_up = max(1, steps // 20)
        return schedulers.SequentialLR(
            self.optimizer,
            [
                schedulers.LinearLR(self.optimizer, 0.1, total_iters=warm_up),
                schedulers.CosineAnnealingLR(self.optimizer, max(1, steps - warm_up)),
            ],
            [warm_up],
        )

    def _reset_totals(self):
        self.totals = {"loss": 0.0, "correct": 0, "seen": 0}

    # ---- running -----------------------------------------------------------------

    def train_epoch(self, report=None):
        """Train for the rest of the current epoch.

        Parameters
        ----------
        report : callable, optional
            Called after each batch with the trainer and the seconds it took.

        Returns
        -------
        bool
            False if it stopped early because `stop_requested` was set.
        """
        self.model.train()
        start = time.perf_counter()
        for images, labels in self.loader:
            self._train_batch(images, labels)
            if report is not None:
                now = time.perf_counter()
                report(self, now - start)
                start = now
            if self.stop_requested and self.totals["seen"] < self.samples:
                return False
        totals = self.totals
        self.history.append(
            {
                "loss": totals["loss"] / totals["seen"],
                "train_accuracy": totals["correct"] / totals["seen"],
                "test_accuracy": accuracy(self.model, self.test_set),
            }
        )
        self.epoch += 1
        self._reset_totals()
        return True

    def _train_batch(self, images, labels):
        logits = self.model(images)
        loss = self.criterion(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        with tl.no_grad():
            correct = (tl.argmax(logits, axis=1) == labels).sum().item()
        count = len(labels)
        self.totals["loss"] += loss.item() * count
        self.totals["correct"] += int(correct)
        self.totals["seen"] += count

    # ---- state -------------------------------------------------------------------

    def state_dict(self):
        """Return the state of the run."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "loader": self.loader.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "totals": self.totals,
            "history": self.history,
            "plan": self._plan(),
        }

    def _plan(self):
        return {
            "epochs": self.epochs,
            "batch_size": self.loader.batch_size,
            "lr": self.optimizer.param_groups[0]["initial_lr"],
            "samples": self.samples,
        }

    def load_state_dict(self, state):
        """Continue from a state.

        Raises
        ------
        ValueError
            If the state is of a run with other epochs, batch size, learning rate or
            data, which could not continue to the same result.
        """
        plan = self._plan()
        saved = state.get("plan", {})
        if saved != plan:
            changed = [
                f"{key} was {saved.get(key)}, now {plan[key]}"
                for key in plan
                if saved.get(key) != plan[key]
            ]
            raise ValueError(
                f"resume: the checkpoint is of another run: {'; '.join(changed)}; "
                "use the same options, or start anew without --resume"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.loader.load_state_dict(state["loader"])
        self.generator.set_state(state["generator"])
        self.epoch = state["epoch"]
        self.totals = dict(state["totals"])
        self.history = list(state["history"])

    def save(self, path):
        """Write the state to a file, whole or not at all."""
        tl.save(self.state_dict(), Path(path))

    def load(self, path):
        """Continue from a file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is damaged or of another run.
        """
        self.load_state_dict(tl.load(Path(path)))
