"""``examples/char_language_model.py`` in PyTorch: the same model, text and steps.

``--initial FILE`` begins with the values that the other script saved as
``initial.safetensors``; without it they are drawn anew.
"""

import math
import sys
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import char_language_model as example
from harness import Run
from language_text import corpus_of

from tensorlib.data import batchify

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class LanguageModel(nn.Module):
    """Embedding, a recurrent layer, and a linear layer to the alphabet's logits."""

    def __init__(self, cell, alphabet, width, layers=1):
        super().__init__()
        self.embedding = nn.Embedding(alphabet, width // 4)
        self.cell = CELLS[cell](width // 4, width, layers)
        self.head = nn.Linear(width, alphabet)

    def forward(self, x, state=None):
        """Map tokens ``(T, N)`` to logits ``(T * N, alphabet)`` and the last state."""
        y, state = self.cell(self.embedding(x), state)
        return self.head(y.flatten(0, 1)), state


def batch_at(rows, i, bptt):
    """Return the rows from `i` on, and the tokens that follow each."""
    end = min(i + bptt, rows.shape[0] - 1)
    return rows[i:end], rows[i + 1 : end + 1].reshape(-1)


@torch.no_grad()
def bits(model, rows, bptt):
    """Return the bits per character of a text in columns ``(R, N)``."""
    total, state = 0.0, None
    for i in range(0, rows.shape[0] - 1, bptt):
        x, targets = batch_at(rows, i, bptt)
        logits, state = model(x, state)
        total += nn.functional.cross_entropy(logits, targets).item() * x.shape[0]
    return total / (rows.shape[0] - 1) / math.log(2)


def train(model, rows, valid, options, run):
    """Read the text, again from the start at its end."""
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, options.steps)
    runs = (rows.shape[0] - 1) // options.bptt
    state = None
    for step in range(1, options.steps + 1):
        place = (step - 1) % runs
        x, targets = batch_at(rows, place * options.bptt, options.bptt)
        logits, state = model(x, example.detached(state) if place else None)
        loss = nn.functional.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        run.log(step, bits=loss.item() / math.log(2))
        if step % max(1, options.steps // 5) == 0:
            found = bits(model, valid, options.bptt)
            run.report(step, bits=loss.item() / math.log(2), valid=found)


def load_initial(model, path):
    """Take over the values that tensorlib's script began with."""
    if path:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(path))


def main(given=None):
    """Train and test; return the results."""
    options = example.arguments(__doc__, given, initial="")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    name = f"char_language_model_{options.cell}_{options.text.split('/')[-1]}_pytorch"
    with Run(name, options) as run:
        corpus = corpus_of(options.text, options.chars)
        alphabet = len(corpus.dictionary)
        model = LanguageModel(options.cell, alphabet, options.width, options.layers)
        load_initial(model, options.initial)
        rows, valid, test = (
            torch.from_dlpack(batchify(part, options.batch))
            for part in (corpus.train, corpus.valid, corpus.test)
        )
        began = time.perf_counter()
        train(model, rows, valid, options, run)
        seconds = time.perf_counter() - began
        run.record(library="pytorch", cell=options.cell, text=options.text)
        run.record(steps=options.steps, train_seconds=round(seconds, 1))
        run.record(test_bits=round(bits(model, test, options.bptt), 4))
    return run.results


if __name__ == "__main__":
    main()
