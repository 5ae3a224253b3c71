"""A small GPT: a decoder-only Transformer that continues a text by characters.

With E the embedding and P a vector for each of the `--context` positions,

    h_0 = E x + P
    a_k = h_k + attention(norm(h_k)),    h_(k+1) = a_k + W_2 gelu(W_1 norm(a_k))
    p(x_(t+1) | x_1 ... x_t) = softmax(E norm(h_L))_t

where position t attends to itself and those before it (causal), so that one pass gives
the loss at every position. The matrix at the end is the embedding itself (tied): a
character that is likely next looks like what the model is about to say.

To generate, a character's keys and values are kept for those to come (`nn.KVCache`): a
step costs one position instead of all. ``--no-cache`` computes everything again, and
writes the same text. It follows the course's lectures 20 and 21.

Run it: ``python examples/gpt.py --text bible``, then
``python examples/gpt.py --text bible --generate 1000 --prompt "In the "``.
``examples/pytorch/gpt.py`` is the same in PyTorch.

Reference: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
"""

import math
import random
import time

from generation import add_arguments, load, print_stream, save
from harness import Run, parser
from language_text import (
    corpus_of,
    draw_bits,
    packed_bits,
    random_windows,
    windows_in_order,
)

import tensorlib as tl
from tensorlib import nn, optim


class GPT(nn.Module):
    """Embedding, positions, causal Transformer layers, and the embedding again."""

    def __init__(self, alphabet, width=128, layers=3, heads=4, context=128):
        super().__init__()
        self.sizes = {
            "alphabet": alphabet, "width": width, "layers": layers, "heads": heads,
            "context": context,
        }  # fmt: skip
        self.embedding = nn.Embedding(alphabet, width)
        self.position = nn.LearnedPositionalEmbedding(context, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width))
        self.cached = True
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=deviation(name, layers))

    def forward(self, x, cache=None):
        """Map tokens ``(T, N)`` to logits ``(T * N, alphabet)``.

        With `cache`, of ``blocks.make_cache()``, `x` continues what it has seen.
        """
        y = self.position(self.embedding(x), cache[0].length if cache else 0)
        y = self.blocks(y, is_causal=True, cache=cache)
        return tl.linear(y, self.embedding.weight).reshape((-1, self.sizes["alphabet"]))

    def reader(self):
        """Return a callable for `generation.stream`.

        When all positions are used up, the later half of the text is read anew.
        """
        seen, cache = [], self.blocks.make_cache()
        context = self.sizes["context"]

        def read(tokens):
            nonlocal cache
            seen.extend(tokens)
            if len(seen) > context:
                del seen[: -(context // 2)]
                tokens, cache = seen, self.blocks.make_cache()
            tokens = tokens if self.cached else seen
            x = tl.tensor(tokens).reshape((-1, 1)).to(self.embedding.weight.device)
            return self(x, cache if self.cached else None)[-1]

        return read


def deviation(name, layers):
    """Return the deviation of a matrix's initial values.

    Each of the 2 L parts adds to the sum h; their last matrices begin smaller, so that
    the sum's variance does not grow with L.
    """
    last = name.endswith(("out_proj.weight", "linear2.weight"))
    return 0.02 / math.sqrt(2 * layers) if last else 0.02


def rate(steps, warmup=100):
    """Return the learning rate's factor by step: a linear rise, half a cosine down."""
    warmup = min(warmup, steps // 4)

    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        along = (step - warmup) / max(1, steps - warmup)
        return 0.05 + 0.95 * (1 + math.cos(math.pi * along)) / 2

    return factor


def bits(model, tokens, options):
    """Return the bits per character of a text, read in windows."""
    total, count = 0.0, 0
    with tl.no_grad():
        for x, targets in windows_in_order(tokens, options.context, options.batch):
            x, targets = x.to(options.device), targets.to(options.device)
            loss = tl.cross_entropy(model(x), targets).item()
            total, count = total + loss * targets.shape[0], count + targets.shape[0]
    return total / count / math.log(2)


def train(model, corpus, options, run):
    """Train on windows at random places; return the bits by step."""
    optimizer = optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.99))
    schedule = optim.lr_scheduler.LambdaLR(optimizer, rate(options.steps))
    choice, curve = random.Random(options.seed), []
    for step in range(1, options.steps + 1):
        x, targets = random_windows(
            corpus.train, options.context, options.batch, choice
        )
        x, targets = x.to(run.device), targets.to(run.device)
        loss = tl.cross_entropy(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        curve.append(loss.item() / math.log(2))
        run.log(step, bits=curve[-1])
        if step % max(1, options.steps // 5) == 0:
            run.report(step, bits=curve[-1], valid=bits(model, corpus.valid, options))
    return curve


def arguments(description, given=None, **more):
    """Return the options, for both libraries."""
    made = parser(
        description, text="stdlib", chars=2_000_000, steps=800, batch=16, context=128,
        width=128, layers=3, heads=4, lr=2e-3, cache=True, **more,
    )  # fmt: skip
    options = add_arguments(made).parse_args(given)
    if options.quick:
        options.chars, options.steps, options.width = 40_000, 40, 32
        options.layers, options.batch, options.context = 2, 8, 32
    return options


def main(given=None):
    """Train and test, or generate; return the results."""
    options = arguments(__doc__, given)
    run = Run(f"gpt_{options.text.split('/')[-1]}", options)
    if options.generate:
        tl.manual_seed(options.seed)
        model, dictionary = load(GPT, run.folder)
        model.to(run.device)
        model.cached = options.cache
        print_stream(model, dictionary, options, options.generate)
        return None
    with run:
        corpus = corpus_of(options.text, options.chars)
        sizes = (options.width, options.layers, options.heads, options.context)
        model = GPT(len(corpus.dictionary), *sizes)
        model.to(run.device)
        run.save(model, "initial")
        began = time.perf_counter()
        curve = train(model, corpus, options, run)
        seconds = time.perf_counter() - began
        found = bits(model, corpus.test, options)
        run.record(library="tensorlib", text=options.text)
        run.record(parameters=sum(p.size for p in model.parameters()))
        run.record(steps=options.steps, train_seconds=round(seconds, 1))
        run.record(test_bits=round(found, 4), xz_bits=round(packed_bits(corpus), 4))
        save(model, corpus.dictionary, run.folder)
        lines = {"test text": found, "xz on it": run.results["xz_bits"]}
        run.picture(
            "bits", lambda figure: draw_bits(figure, curve, lines), figsize=(6, 4)
        )
        print_stream(model.eval(), corpus.dictionary, options, 300)
    return run.results


if __name__ == "__main__":
    main()
