"""``examples/date_translation.py`` in PyTorch: the same models, dates and steps.

``--initial FILE`` begins with the values that the other script saved as
``initial.safetensors``; without it they are drawn anew.
"""

import random
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import date_translation as example
from date_formats import BEGIN, LETTERS, PAD, split_pairs, tensors
from harness import Run


class Seq2Seq(nn.Module):
    """Encoder and decoder LSTM with attention between them."""

    def __init__(self, width):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), width // 2)
        self.encoder = nn.LSTM(width // 2, width // 2, bidirectional=True)
        self.decoder = nn.LSTM(width // 2, width)
        self.score = nn.Linear(width, width, bias=False)
        self.join = nn.Linear(2 * width, width)
        self.head = nn.Linear(width, len(LETTERS))

    def encode(self, source):
        """Map a source ``(S, N)`` to e ``(S, N, width)``."""
        return self.encoder(self.embedding(source))[0]

    def decode(self, memory, source, target):
        """Map the target so far ``(T, N)`` to logits ``(T, N, letters)``."""
        d = self.decoder(self.embedding(target))[0].transpose(0, 1)
        e = memory.transpose(0, 1)
        scores = self.score(d) @ e.transpose(1, 2)
        padding = (source.T == PAD)[:, None]
        weights = scores.masked_fill(padding, -1e9).softmax(dim=2)
        joined = torch.tanh(self.join(torch.cat([weights @ e, d], dim=2)))
        return self.head(joined).transpose(0, 1)


def sinusoids(length, width):
    """Return sines and cosines by turns, ``(length, 1, width)``."""
    angles = torch.arange(length)[:, None] * 1e4 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(length, 1, width)


class Translator(nn.Module):
    """Embedding, sinusoidal positions, ``nn.Transformer``, and a linear layer."""

    def __init__(self, width):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), width)
        self.table = sinusoids(64, width)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "enable_nested_tensor")  # in vain here
            self.transformer = nn.Transformer(width, 4, 2, 2, 2 * width, 0.0)
        self.head = nn.Linear(width, len(LETTERS))

    def encode(self, source):
        """Map a source ``(S, N)`` to the memory ``(S, N, width)``."""
        x = self.embedding(source) + self.table[: len(source)]
        return self.transformer.encoder(x, src_key_padding_mask=source.T == PAD)

    def decode(self, memory, source, target):
        """Map the target so far ``(T, N)`` to logits ``(T, N, letters)``."""
        length = len(target)
        mask = torch.ones((length, length), dtype=torch.bool).triu(1)
        y = self.transformer.decoder(
            self.embedding(target) + self.table[:length], memory, mask,
            tgt_is_causal=True, memory_key_padding_mask=source.T == PAD,
        )  # fmt: skip
        return self.head(y)


MODELS = {"lstm": Seq2Seq, "transformer": Translator}


def batch_of(found):
    """Return sources and targets of pairs."""
    return [torch.from_dlpack(part) for part in tensors(found)]


@torch.no_grad()
def translate(model, source):
    """Return the likeliest targets of sources ``(S, N)``, character by character."""
    memory = model.encode(source)
    target = torch.full((1, source.shape[1]), BEGIN)
    for _ in range(10):
        logits = model.decode(memory, source, target)[-1:]
        target = torch.cat([target, logits.argmax(dim=2)])
    return target


def accuracy(model, found, batch=256):
    """Return the share of pairs translated without a fault."""
    right = 0
    for first in range(0, len(found), batch):
        source, target = batch_of(found[first : first + batch])
        right += (translate(model, source) == target).all(dim=0).sum().item()
    return right / len(found)


def train(model, found, options, run):
    """Minimize the cross-entropy; return the last loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, options.steps)
    choice = random.Random(options.seed)
    kept, held = found
    for step in range(1, options.steps + 1):
        source, target = batch_of(choice.sample(kept, options.batch))
        logits = model.decode(model.encode(source), source, target[:-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target[1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        run.log(step, loss=loss.item())
        if step % max(1, options.steps // 10) == 0:
            run.report(step, loss=loss.item(), accuracy=accuracy(model, held[:500]))
    return loss.item()


def main(given=None):
    """Train and test; return the results."""
    options = example.arguments(__doc__, given, initial="")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    with Run(f"date_translation_{options.model}_pytorch", options) as run:
        found = split_pairs(options.pairs, options.seed)
        model = MODELS[options.model](options.width)
        if options.initial:
            from safetensors.torch import load_file

            model.load_state_dict(load_file(options.initial))
        began = time.perf_counter()
        loss = train(model, found, options, run)
        seconds = time.perf_counter() - began
        run.record(library="pytorch", model=options.model, steps=options.steps)
        run.record(train_seconds=round(seconds, 1), final_loss=loss)
        run.record(tested=len(found[1]))
        run.record(test_accuracy=round(accuracy(model, found[1]), 4))
    return run.results


if __name__ == "__main__":
    main()
