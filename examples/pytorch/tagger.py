"""``examples/tagger.py`` in PyTorch: the same lines, model and steps."""

import importlib.util
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import Run, parser

from tensorlib.data import python_stdlib_text

# The lines and their labels come from the other script, of the same name.
path = Path(__file__).resolve().parent.parent / "tagger.py"
spec = importlib.util.spec_from_file_location("labelling", path)
labelling = importlib.util.module_from_spec(spec)
spec.loader.exec_module(labelling)
CLASSES, CHARACTERS = labelling.CLASSES, labelling.CHARACTERS


def sample_of(line, marks):
    """Return the codes of a line's characters and their classes, int64 ``(T,)``."""
    codes = [min(ord(c), CHARACTERS - 1) for c in line]
    return torch.tensor(codes), torch.tensor(marks)


def packed(samples):
    """Return a batch: packed codes and packed classes, longest line first."""
    samples = sorted(samples, key=lambda sample: -sample[0].shape[0])
    return [nn.utils.rnn.pack_sequence(column) for column in zip(*samples, strict=True)]


class Tagger(nn.Module):
    """Embedding, LSTM in one or both directions, and a linear layer."""

    def __init__(self, width, bidirectional=True):
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, 32)
        self.lstm = nn.LSTM(32, width, bidirectional=bidirectional)
        self.head = nn.Linear(width * (2 if bidirectional else 1), len(CLASSES))

    def forward(self, codes):
        """Map packed codes to logits ``(number of characters, 8)``, packed alike."""
        embedded = codes._replace(data=self.embedding(codes.data))
        return self.head(self.lstm(embedded)[0].data)


def accuracies(model, loader):
    """Return the share of characters tagged rightly, over all and by class."""
    right, seen = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES))
    with torch.no_grad():
        for codes, classes in loader:
            hit = model(codes).argmax(dim=1) == classes.data
            right += torch.bincount(classes.data[hit], minlength=len(CLASSES))
            seen += torch.bincount(classes.data, minlength=len(CLASSES))
    by_class = (right / seen.clamp(min=1)).tolist()
    names = [f"accuracy_{name}" for name in CLASSES]
    shown = {n: round(v, 4) for n, v in zip(names, by_class, strict=True)}
    return (right.sum() / seen.sum()).item(), shown


def train(model, loaders, options, run):
    """Minimize the cross-entropy; return the accuracies on the test lines."""
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, 1.0, 0.05, options.epochs * len(loaders[0])
    )
    step = 0
    for epoch in range(1, options.epochs + 1):
        for codes, classes in loaders[0]:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(codes), classes.data)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            run.log(step, loss=loss.item())
        found = accuracies(model, loaders[1])
        run.report(step, epoch=epoch, loss=loss.item(), test=found[0])
    return found


def main(arguments=None):
    """Train and test; return the results."""
    options = parser(
        __doc__, root="", chars=1_000_000, epochs=4, batch=64, lr=3e-3, width=96,
        bidirectional=True,
    ).parse_args(arguments)  # fmt: skip
    if options.quick:
        options.chars, options.epochs, options.width = 20_000, 1, 32
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    root = Path(options.root) if options.root else None
    lines = labelling.labelled_lines(python_stdlib_text(root, options.chars))
    held_out = len(lines) // 10
    samples = [sample_of(*line) for line in lines]
    loaders = (
        DataLoader(samples[:-held_out], options.batch, shuffle=True, collate_fn=packed),
        DataLoader(samples[-held_out:], 256, collate_fn=packed),
    )
    with Run("tagger_pytorch", options) as run:
        model = Tagger(options.width, options.bidirectional)
        accuracy, by_class = train(model, loaders, options, run)
        run.record(library="pytorch", lines=len(lines), epochs=options.epochs)
        run.record(test_accuracy=round(accuracy, 4), **by_class)
    return run.results


if __name__ == "__main__":
    main()
