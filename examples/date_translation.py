"""Dates as people write them into ISO dates: sequence to sequence, with attention.

``friday, 5 mar. 2021`` becomes ``2021-03-05``, a character at a time. An encoder reads
the source; a decoder writes the target, and for each of its characters looks back at
the source through attention. Two models do it:

``--model transformer``: `nn.Transformer`, every position at once;
``--model lstm``: a bidirectional LSTM encodes the source to e_1 ... e_S, an LSTM d_t
reads the target, and attention joins them (Luong's "general" score):

    a_t = softmax(eᵀ W d_t),   p(y_t) = softmax(U tanh(V [Σ_s a_ts e_s, d_t]))

In training the decoder reads the true target, shifted by one (teacher forcing); in use
it reads its own characters. A date counts as right if all ten are. The dates of the
test are not among those of the training. The picture shows where the decoder looked.
It follows the course's lectures 18 to 21.

Run it: ``python examples/date_translation.py --model lstm``.
``examples/pytorch/date_translation.py`` is the same in PyTorch.

References: Luong, Pham and Manning, "Effective Approaches to Attention-based Neural
Machine Translation", EMNLP 2015. Vaswani et al., "Attention Is All You Need", 2017.
"""

import random
import time

from date_formats import BEGIN, LETTERS, PAD, decode, split_pairs, tensors
from harness import Run, parser

import tensorlib as tl
from tensorlib import nn, optim


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

    def attend(self, memory, source, target):
        """Return d ``(N, T, width)``, e ``(N, S, width)`` and a ``(N, T, S)``."""
        d = self.decoder(self.embedding(target))[0].permute_dims((1, 0, 2))
        e = memory.permute_dims((1, 0, 2))
        scores = self.score(d) @ e.permute_dims((0, 2, 1))
        padding = tl.expand_dims(source.T == PAD, 1)
        return d, e, tl.softmax(tl.where(padding, -1e9, scores), axis=2)

    def decode(self, memory, source, target):
        """Map the target so far ``(T, N)`` to logits ``(T, N, letters)``."""
        d, e, weights = self.attend(memory, source, target)
        joined = tl.tanh(self.join(tl.concat([weights @ e, d], axis=2)))
        return self.head(joined).permute_dims((1, 0, 2))

    def maps(self, source, target):
        """Return where each position of the target looks, ``(N, T, S)``."""
        return self.attend(self.encode(source), source, target)[2]


class Translator(nn.Module):
    """Embedding, sinusoidal positions, `nn.Transformer`, and a linear layer."""

    def __init__(self, width):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), width)
        self.position = nn.SinusoidalPositionalEncoding(width, 64)
        self.transformer = nn.Transformer(width, 4, 2, 2, 2 * width, 0.0)
        self.head = nn.Linear(width, len(LETTERS))

    def encode(self, source):
        """Map a source ``(S, N)`` to the memory ``(S, N, width)``."""
        x = self.position(self.embedding(source))
        return self.transformer.encoder(x, src_key_padding_mask=source.T == PAD)

    def decode(self, memory, source, target):
        """Map the target so far ``(T, N)`` to logits ``(T, N, letters)``."""
        y = self.transformer.decoder(
            self.position(self.embedding(target)), memory, tgt_is_causal=True,
            memory_key_padding_mask=source.T == PAD,
        )  # fmt: skip
        return self.head(y)

    def maps(self, source, target):
        """Return where each position of the target looks, ``(N, T, S)``.

        The last layer's attention to the memory is asked again, for its weights.
        """
        attention, calls = self.transformer.decoder.layers[-1].multihead_attn, []
        with attention.register_forward_pre_hook(lambda _, args: calls.append(args)):
            self.decode(self.encode(source), source, target)
        return attention(*calls[0][:4], need_weights=True)[1]


MODELS = {"lstm": Seq2Seq, "transformer": Translator}


def batch_of(model, pairs):
    """Return source and target of pairs, where the model is."""
    device = model.head.weight.device
    return tuple(part.to(device) for part in tensors(pairs))


def translate(model, source):
    """Return the likeliest targets of sources ``(S, N)``, character by character."""
    with tl.no_grad():
        memory = model.encode(source)
        target = tl.full((1, source.shape[1]), BEGIN).to(source.device)
        for _ in range(10):
            logits = model.decode(memory, source, target)[-1:]
            target = tl.concat([target, tl.argmax(logits, axis=2)])
    return target


def accuracy(model, found, batch=256):
    """Return the share of pairs translated without a fault."""
    right = 0
    for first in range(0, len(found), batch):
        source, target = batch_of(model, found[first : first + batch])
        same = tl.all(translate(model, source) == target, axis=0)
        right += same.astype(tl.int64).sum().item()
    return right / len(found)


def train(model, found, options, run):
    """Minimize the cross-entropy; return the last loss."""
    optimizer = optim.Adam(model.parameters(), lr=options.lr)
    schedule = optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, options.steps)
    choice = random.Random(options.seed)
    kept, held = found
    for step in range(1, options.steps + 1):
        source, target = batch_of(model, choice.sample(kept, options.batch))
        logits = model.decode(model.encode(source), source, target[:-1])
        loss = tl.cross_entropy(
            logits.reshape((-1, len(LETTERS))), target[1:].reshape((-1,))
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        run.log(step, loss=loss.item())
        if step % max(1, options.steps // 10) == 0:
            run.report(step, loss=loss.item(), accuracy=accuracy(model, held[:500]))
    return loss.item()


def draw(figure, model, found):
    """Draw where the decoder looks while it writes, for a few sources."""
    panels = figure.subplots(len(found), 1, squeeze=False)
    for axes, (source, target) in zip(panels[:, 0], found, strict=True):
        x, y = batch_of(model, [(source, target)])
        with tl.no_grad():
            weights = model.maps(x, y[:-1])[0]
        axes.imshow(weights.tolist(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(source)), source)
        axes.set_yticks(range(len(target)), target, fontsize=7)


def arguments(description, given=None, **more):
    """Return the options, for both libraries."""
    options = parser(
        description, model="transformer", pairs=20_000, steps=1000, batch=64, width=64,
        lr=2e-3, **more,
    ).parse_args(given)  # fmt: skip
    if options.quick:
        options.pairs, options.steps, options.width, options.batch = 600, 40, 32, 32
    return options


def main(given=None):
    """Train and test; return the results."""
    options = arguments(__doc__, given)
    with Run(f"date_translation_{options.model}", options) as run:
        found = split_pairs(options.pairs, options.seed)
        model = MODELS[options.model](options.width).to(run.device)
        run.save(model, "initial")
        began = time.perf_counter()
        loss = train(model, found, options, run)
        seconds = time.perf_counter() - began
        run.record(library="tensorlib", model=options.model, steps=options.steps)
        run.record(train_seconds=round(seconds, 1), final_loss=loss)
        run.record(tested=len(found[1]))
        run.record(test_accuracy=round(accuracy(model, found[1]), 4))
        run.save(model)
        shown = found[1][:3]
        run.picture(
            "attention", lambda figure: draw(figure, model, shown), figsize=(7, 8)
        )
        for source, _ in shown:
            written = translate(model, batch_of(model, [(source, "")])[0])[1:, 0]
            print(f"{source:>32}  {decode(written.tolist())}")
    return run.results


if __name__ == "__main__":
    main()
