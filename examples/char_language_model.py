"""Recurrent language models of characters: RNN, LSTM and GRU.

A text x_1 x_2 ... is read a character at a time; the state h_t sums up what was read,
and the model says what comes next:

    h_t = cell(E x_t, h_(t-1)),   p(x_(t+1) | x_1 ... x_t) = softmax(W h_t + b)

The loss is the mean of -log p of the characters that did come; over log 2 it is the
bits that an ideal coder would spend on a character. The text is cut into columns that
are read side by side. The graph of a whole column would be as long as the text, so it
is cut after `--bptt` characters: the state is handed on, its history is not (truncated
backpropagation through time). It follows the course's lectures 18 and 19.

Run it: ``python examples/char_language_model.py --cell lstm --text stdlib``, then
``python examples/char_language_model.py --generate 1000 --prompt "def "``.
``examples/pytorch/char_language_model.py`` is the same in PyTorch.
"""

import math
import time

from generation import add_arguments, load, print_stream, save
from harness import Run, parser
from language_text import corpus_of, draw_bits, packed_bits

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.data import batchify, get_batch

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class LanguageModel(nn.Module):
    """Embedding, a recurrent layer, and a linear layer to the alphabet's logits."""

    def __init__(self, cell, alphabet, width, layers=1):
        super().__init__()
        self.sizes = {
            "cell": cell, "alphabet": alphabet, "width": width, "layers": layers
        }  # fmt: skip
        self.embedding = nn.Embedding(alphabet, width // 4)
        self.cell = CELLS[cell](width // 4, width, layers)
        self.head = nn.Linear(width, alphabet)

    def forward(self, x, state=None):
        """Map tokens ``(T, N)`` to logits ``(T * N, alphabet)`` and the last state."""
        y, state = self.cell(self.embedding(x), state)
        return self.head(y.reshape((-1, y.shape[2]))), state

    def reader(self):
        """Return a callable for `generation.stream`: it keeps the state."""
        state = None

        def read(tokens):
            nonlocal state
            x = tl.tensor(tokens).reshape((-1, 1))
            logits, state = self(x.to(self.head.weight.device), state)
            return logits[-1]

        return read


def detached(state):
    """Return the state's values without their history."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return state.detach()


def bits(model, rows, bptt):
    """Return the bits per character of a text in columns ``(R, N)``."""
    total, state = 0.0, None
    with tl.no_grad():
        for i in range(0, rows.shape[0] - 1, bptt):
            x, targets = get_batch(rows, i, bptt)
            logits, state = model(x, state)
            total += tl.cross_entropy(logits, targets).item() * x.shape[0]
    return total / (rows.shape[0] - 1) / math.log(2)


def train(model, rows, valid, options, run):
    """Read the text, again from the start at its end; return the bits by step."""
    optimizer = optim.Adam(model.parameters(), lr=options.lr)
    schedule = optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, options.steps)
    runs = (rows.shape[0] - 1) // options.bptt
    state, curve = None, []
    for step in range(1, options.steps + 1):
        place = (step - 1) % runs
        x, targets = get_batch(rows, place * options.bptt, options.bptt)
        logits, state = model(x, detached(state) if place else None)
        loss = tl.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        curve.append(loss.item() / math.log(2))
        run.log(step, bits=curve[-1])
        if step % max(1, options.steps // 5) == 0:
            run.report(step, bits=curve[-1], valid=bits(model, valid, options.bptt))
    return curve


def arguments(description, given=None, **more):
    """Return the options, for both libraries."""
    made = parser(
        description, cell="lstm", text="stdlib", chars=2_000_000, steps=1000, batch=32,
        bptt=64, width=128, layers=1, lr=4e-3, **more,
    )  # fmt: skip
    options = add_arguments(made).parse_args(given)
    if options.quick:
        options.chars, options.steps, options.width = 40_000, 40, 48
        options.batch, options.bptt = 8, 32
    return options


def main(given=None):
    """Train and test, or generate; return the results."""
    options = arguments(__doc__, given)
    name = f"char_language_model_{options.cell}_{options.text.split('/')[-1]}"
    run = Run(name, options)
    if options.generate:
        tl.manual_seed(options.seed)
        model, dictionary = load(LanguageModel, run.folder)
        print_stream(model.to(run.device), dictionary, options, options.generate)
        return None
    with run:
        corpus = corpus_of(options.text, options.chars)
        alphabet = len(corpus.dictionary)
        model = LanguageModel(options.cell, alphabet, options.width, options.layers)
        model.to(run.device)
        run.save(model, "initial")
        rows, valid, test = (
            batchify(part, options.batch).to(run.device)
            for part in (corpus.train, corpus.valid, corpus.test)
        )
        began = time.perf_counter()
        curve = train(model, rows, valid, options, run)
        seconds = time.perf_counter() - began
        found = bits(model, test, options.bptt)
        run.record(library="tensorlib", cell=options.cell, text=options.text)
        run.record(steps=options.steps, train_seconds=round(seconds, 1))
        run.record(test_bits=round(found, 4), xz_bits=round(packed_bits(corpus), 4))
        save(model, corpus.dictionary, run.folder)
        lines = {"test text": found, "xz on it": run.results["xz_bits"]}
        run.picture(
            "bits", lambda figure: draw_bits(figure, curve, lines), figsize=(6, 4)
        )
        print_stream(model, corpus.dictionary, options, 300)
    return run.results


if __name__ == "__main__":
    main()
