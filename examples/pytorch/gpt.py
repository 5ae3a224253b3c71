"""``examples/gpt.py`` in PyTorch: the same model, text, windows and steps.

``--initial FILE`` begins with the values that the other script saved as
``initial.safetensors``; without it they are drawn anew.
"""

import math
import random
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import gpt as example
from harness import Run
from language_text import corpus_of, random_windows, windows_in_order


class GPT(nn.Module):
    """Embedding, positions, causal Transformer layers, and the embedding again."""

    def __init__(self, alphabet, width=128, layers=3, heads=4, context=128):
        super().__init__()
        self.embedding = nn.Embedding(alphabet, width)
        self.position = nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", norm_first=True
        )
        self.blocks = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=example.deviation(name, layers))

    def forward(self, x):
        """Map tokens ``(T, N)`` to logits ``(T * N, alphabet)``."""
        length = x.shape[0]
        y = self.embedding(x) + self.position.weight[:length, None]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        y = self.blocks(y, mask, is_causal=True)
        return functional.linear(y, self.embedding.weight).flatten(0, 1)


@torch.no_grad()
def bits(model, tokens, options):
    """Return the bits per character of a text, read in windows."""
    total, count = 0.0, 0
    for batch in windows_in_order(tokens, options.context, options.batch):
        x, targets = (torch.from_dlpack(part) for part in batch)
        total += functional.cross_entropy(model(x), targets).item() * len(targets)
        count += len(targets)
    return total / count / math.log(2)


def train(model, corpus, options, run):
    """Train on the same windows as the other script."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.99))
    factor = example.rate(options.steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    choice = random.Random(options.seed)
    for step in range(1, options.steps + 1):
        batch = random_windows(corpus.train, options.context, options.batch, choice)
        x, targets = (torch.from_dlpack(part) for part in batch)
        loss = functional.cross_entropy(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        run.log(step, bits=loss.item() / math.log(2))
        if step % max(1, options.steps // 5) == 0:
            found = bits(model, corpus.valid, options)
            run.report(step, bits=loss.item() / math.log(2), valid=found)


def main(given=None):
    """Train and test; return the results."""
    options = example.arguments(__doc__, given, initial="")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    with Run(f"gpt_{options.text.split('/')[-1]}_pytorch", options) as run:
        corpus = corpus_of(options.text, options.chars)
        sizes = (options.width, options.layers, options.heads, options.context)
        model = GPT(len(corpus.dictionary), *sizes)
        if options.initial:
            from safetensors.torch import load_file

            model.load_state_dict(load_file(options.initial))
        began = time.perf_counter()
        train(model, corpus, options, run)
        seconds = time.perf_counter() - began
        run.record(library="pytorch", text=options.text)
        run.record(steps=options.steps, train_seconds=round(seconds, 1))
        run.record(test_bits=round(bits(model, corpus.test, options), 4))
    return run.results


if __name__ == "__main__":
    main()
