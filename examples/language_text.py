"""Texts of characters for the language models, and windows of them.

Both libraries' scripts read the same numbers: an alphabet and one long row of tokens
for each of train, valid and test, in the order of the text.
"""

import lzma
from pathlib import Path

import tensorlib as tl
from tensorlib.data import Corpus, bible_text, python_stdlib_text

__all__ = [
    "corpus_of",
    "draw_bits",
    "packed_bits",
    "random_windows",
    "windows_in_order",
]


def corpus_of(name, chars):
    """Return a text by characters, those seen fewer than ten times as ``<unk>``.

    Parameters
    ----------
    name : str
        ``stdlib``, the sources of Python's standard library; ``bible``, the King James
        Bible from Debian's package ``bible-kjv-text``; or a file in UTF-8.
    chars : int
        How many characters of it.

    Returns
    -------
    Corpus
    """
    if name == "stdlib":
        text = python_stdlib_text(max_chars=chars)
    elif name == "bible":
        text = bible_text()
    else:
        text = Path(name).read_text(encoding="utf-8")
    return Corpus.from_text(text[:chars], level="character", min_count=10)


def random_windows(tokens, context, batch, choice):
    """Return `batch` windows at places that the `random.Random` `choice` draws.

    Returns
    -------
    (Tensor, Tensor)
        Input ``(context, batch)``, and for each of it the token that follows,
        ``(context * batch,)``.
    """
    places = [choice.randrange(tokens.shape[0] - context) for _ in range(batch)]
    rows = tl.stack([tokens[i : i + context + 1] for i in places], axis=1)
    return rows[:-1], rows[1:].reshape((-1,))


def windows_in_order(tokens, context, batch):
    """Yield the windows of a text one after the other, `batch` at a time."""
    places = range(0, tokens.shape[0] - context, context)
    for first in range(0, len(places), batch):
        part = places[first : first + batch]
        rows = tl.stack([tokens[i : i + context + 1] for i in part], axis=1)
        yield rows[:-1], rows[1:].reshape((-1,))


def packed_bits(corpus):
    """Return the bits per character that xz needs for the test text, as a measure."""
    text = "".join(corpus.dictionary.decode(corpus.test))
    return 8 * len(lzma.compress(text.encode())) / max(1, corpus.test.shape[0])


def draw_bits(figure, curve, lines):
    """Draw the training loss by step, and figures to compare it with as lines."""
    axes = figure.subplots()
    axes.plot(range(1, len(curve) + 1), curve, linewidth=0.7, label="training text")
    for n, (name, value) in enumerate(lines.items()):
        axes.axhline(value, color=f"C{n + 1}", label=f"{name}: {value:.2f}")
    axes.set(xlabel="step", ylabel="bits per character", ylim=(0, None))
    axes.legend()
