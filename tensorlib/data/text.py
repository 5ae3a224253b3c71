"""Texts for language models: tokens, dictionaries, and batches for truncated BPTT.

A text becomes one long row of token numbers; `batchify` cuts it into columns that are
read side by side, and `get_batch` takes the next few rows of all columns, with the
tokens that follow as targets.
"""

import array
import os
import sysconfig
from collections import Counter
from pathlib import Path

import tensorlib as tl

__all__ = ["Corpus", "Dictionary", "batchify", "get_batch", "python_stdlib_text"]

_LEVELS = ("word", "character")
_SPLITS = ("train", "valid", "test")
# WikiText's, the Penn Treebank's, and plain names.
_NAMES = ("{}.txt", "wiki.{}.tokens", "wiki.{}.raw", "ptb.{}.txt")
_SOURCES = (
    "WikiText: unpack wikitext-2-v1.zip, found at "
    "https://huggingface.co/datasets/Salesforce/wikitext or "
    "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip. Penn "
    "Treebank: ptb.train.txt and so on, from folder data/ptb of "
    "https://github.com/tomsercu/lstm. Any text file will do as well, and "
    "python_stdlib_text() needs none"
)


class Dictionary:
    """Numbers for tokens, in the order of their first appearance.

    Parameters
    ----------
    words : iterable of str, optional
        The first tokens.

    Attributes
    ----------
    word2idx : dict of str to int
        The number of each token.
    idx2word : list of str
        The token of each number.

    Examples
    --------
    >>> from tensorlib.data import Dictionary
    >>> letters = Dictionary("abca")
    >>> len(letters), letters.encode("cab").tolist(), letters.decode([1, 0])
    (3, [2, 0, 1], ['b', 'a'])
    """

    unknown = "<unk>"

    def __init__(self, words=()):
        self.word2idx = {}
        self.idx2word = []
        for word in words:
            self.add_word(word)

    def __len__(self):
        return len(self.idx2word)

    def __contains__(self, word):
        return word in self.word2idx

    def add_word(self, word):
        """Return the number of `word`, a new one if it has none."""
        number = self.word2idx.setdefault(word, len(self.idx2word))
        if number == len(self.idx2word):
            self.idx2word.append(word)
        return number

    def encode(self, words):
        """Return the numbers of tokens, int64 ``(T,)``.

        Raises
        ------
        KeyError
            If a token is unknown and the dictionary has no ``<unk>``.
        """
        get, fallback = self.word2idx.get, self.word2idx.get(self.unknown)
        numbers = [get(word, fallback) for word in words]
        if fallback is None and None in numbers:
            missing = list(words)[numbers.index(None)]
            raise KeyError(
                f"Dictionary: {missing!r} is not among its {len(self)} words, and it "
                f"has no {self.unknown}"
            )
        return tl.asarray(memoryview(array.array("q", numbers)))

    def decode(self, numbers):
        """Return the tokens of numbers, a list of str.

        Raises
        ------
        IndexError
            If a number is not in [0, len).
        """
        numbers = numbers.tolist() if isinstance(numbers, tl.Tensor) else numbers
        for number in numbers:
            if not 0 <= number < len(self):
                raise IndexError(
                    f"Dictionary: expected numbers in [0, {len(self)}), got {number}"
                )
        return [self.idx2word[number] for number in numbers]


class Corpus:
    r"""A text as numbers: a row each to train, validate and test.

    At the level of words, text is split at white space and each line ends with
    ``<eos>``; at the level of characters every one counts, line ends too.

    Parameters
    ----------
    root : str or Path
        A folder with ``train.txt``, ``valid.txt`` and ``test.txt`` (or WikiText's
        ``wiki.train.tokens``, or the Penn Treebank's ``ptb.train.txt``), or one text
        file, of which the beginning trains and the end tests. Encoded in UTF-8.
    level : {"word", "character"}, default "word"
        What a token is.
    max_lines : int, optional
        Lines read of each file.
    min_count : int, default 1
        Words that the training text has less often become ``<unk>``.
    fractions : (float, float, float), default (0.9, 0.05, 0.05)
        Shares of a single file, by tokens.

    Raises
    ------
    FileNotFoundError
        If there is no text; the message says where to get some.
    ValueError
        If a file is not UTF-8, or an argument is out of range.

    Attributes
    ----------
    dictionary : Dictionary
        Of all three parts.
    train, valid, test : Tensor
        int64 ``(T,)``; empty where a folder has no such file.

    Examples
    --------
    >>> from tensorlib.data import Corpus
    >>> corpus = Corpus.from_text("to be or\nnot to be", fractions=(0.75, 0, 0.25))
    >>> corpus.dictionary.decode(corpus.train)
    ['to', 'be', 'or', '<eos>', 'not', 'to']
    >>> corpus.test.tolist()
    [1, 3]
    """

    def __init__(
        self, root, level="word", max_lines=None, min_count=1, *,
        fractions=(0.9, 0.05, 0.05),
    ):  # fmt: skip
        root = Path(root)
        if root.is_file():
            self._from_text(_read(root, max_lines), level, min_count, fractions)
            return
        paths = [_find(root, split) for split in _SPLITS]
        if paths[0] is None:
            raise FileNotFoundError(
                f"Corpus: {root} is no text file and has no train.txt, "
                f"wiki.train.tokens or ptb.train.txt. {_SOURCES}"
            )
        texts = ["" if path is None else _read(path, max_lines) for path in paths]
        self._number([_tokens(text, level) for text in texts], min_count)

    @classmethod
    def from_text(cls, text, level="word", min_count=1, *, fractions=(0.9, 0.05, 0.05)):
        """Make a corpus of a str: see the class.

        Parameters
        ----------
        text : str
            The text.
        level : {"word", "character"}, default "word"
            What a token is.
        min_count : int, default 1
            Words that the training text has less often become ``<unk>``.
        fractions : (float, float, float), default (0.9, 0.05, 0.05)
            Shares to train, validate and test, in the order of the text.

        Returns
        -------
        Corpus
        """
        corpus = cls.__new__(cls)
        corpus._from_text(text, level, min_count, fractions)
        return corpus

    def _from_text(self, text, level, min_count, fractions):
        shares = tuple(fractions)
        if len(shares) != 3 or min(shares) < 0 or not abs(sum(shares) - 1) < 1e-9:
            raise ValueError(
                f"Corpus: expected three fractions that sum to 1, got {fractions}"
            )
        tokens = _tokens(text, level)
        first = round(shares[0] * len(tokens))
        second = round((shares[0] + shares[1]) * len(tokens))
        self._number([tokens[:first], tokens[first:second], tokens[second:]], min_count)

    def _number(self, parts, min_count):
        if min_count > 1:
            counts = Counter(parts[0])
            unknown = Dictionary.unknown
            parts = [
                [token if counts[token] >= min_count else unknown for token in part]
                for part in parts
            ]
        self.dictionary = Dictionary(token for part in parts for token in part)
        self.train, self.valid, self.test = map(self.dictionary.encode, parts)


def _find(root, split):
    for name in _NAMES:
        path = root / name.format(split)
        if path.is_file():
            return path
    return None


def _read(path, max_lines=None):
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not UTF-8 at offset {error.start}: got byte "
            f"{raw[error.start]:02x} ({error.reason}); expected a plain text file"
        ) from None
    text = text.replace("\r\n", "\n")
    if max_lines is not None:
        text = "".join(text.splitlines(keepends=True)[:max_lines])
    return text


def _tokens(text, level):
    if level not in _LEVELS:
        raise ValueError(f"Corpus: expected level 'word' or 'character', got {level!r}")
    if level == "character":
        return list(text)
    return [word for line in text.splitlines() for word in (*line.split(), "<eos>")]


def batchify(tokens, batch_size):
    """Cut a row of tokens into `batch_size` columns that are read side by side.

    Parameters
    ----------
    tokens : Tensor
        int64 ``(T,)``.
    batch_size : int
        How many columns; tokens that do not fill a row are left out.

    Returns
    -------
    Tensor
        Shape ``(T // batch_size, batch_size)``.

    Raises
    ------
    ValueError
        If there are fewer tokens than columns.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data import batchify
    >>> batchify(tl.arange(7), 2).tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    tokens = tl.asarray(tokens)
    if tokens.ndim != 1:
        raise tl.ShapeError(f"batchify: expected tokens (T,), got {tokens.shape}")
    if type(batch_size) is not int or not 0 < batch_size <= tokens.shape[0]:
        raise ValueError(
            f"batchify: expected batch_size in [1, {tokens.shape[0]}], the number of "
            f"tokens, got {batch_size!r}"
        )
    rows = tokens.shape[0] // batch_size
    columns = tokens[: rows * batch_size].reshape((batch_size, rows))
    return tl.permute_dims(columns, (1, 0)).contiguous()


def get_batch(batches, i, bptt):
    """Return the rows from `i` on, and the tokens that follow each.

    Parameters
    ----------
    batches : Tensor
        Of `batchify`, shape ``(R, B)``.
    i : int
        The first row, in [0, R - 1).
    bptt : int
        How many rows, fewer at the end.

    Returns
    -------
    (Tensor, Tensor)
        Input ``(T, B)`` and targets ``(T * B,)``, T = min(bptt, R - 1 - i).

    Raises
    ------
    IndexError
        If no row follows row `i`.
    ValueError
        If `bptt` is not positive.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib.data import batchify, get_batch
    >>> x, targets = get_batch(batchify(tl.arange(8), 2), 1, 5)
    >>> x.tolist(), targets.tolist()
    ([[1, 5], [2, 6]], [2, 6, 3, 7])
    """
    rows = batches.shape[0]
    if not 0 <= i < rows - 1:
        raise IndexError(f"get_batch: expected i in [0, {rows - 1}), got {i}")
    if bptt < 1:
        raise ValueError(f"get_batch: expected bptt > 0, got {bptt}")
    end = min(i + bptt, rows - 1)
    return batches[i:end], batches[i + 1 : end + 1].reshape((-1,))


def python_stdlib_text(root=None, max_chars=None):
    """Return the sources of Python's standard library as one text.

    Modules come in sorted order of their paths, without tests and installed packages:
    a text of some ten million characters that every machine has. It differs from one
    version of Python to another.

    Parameters
    ----------
    root : str or Path, optional
        The folder of the library; that of the running Python by default.
    max_chars : int, optional
        Where to cut the text.

    Returns
    -------
    str

    Raises
    ------
    FileNotFoundError
        If there are no sources.

    Examples
    --------
    >>> from tensorlib.data import python_stdlib_text
    >>> text = python_stdlib_text(max_chars=1000)
    >>> len(text)
    1000
    """
    root = Path(sysconfig.get_path("stdlib") if root is None else root)
    texts, size = [], 0
    for path in _source_files(root):
        try:
            text = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            continue  # a handful of old modules in other encodings
        texts.append(text if text.endswith("\n") or not text else text + "\n")
        size += len(texts[-1])
        if max_chars is not None and size >= max_chars:
            break
    if not texts:
        raise FileNotFoundError(
            f"python_stdlib_text: {root} has no Python sources; pass root, the folder "
            "that holds os.py"
        )
    return "".join(texts)[:max_chars]


_LEFT_OUT = {
    "__pycache__",
    "dist-packages",
    "idle_test",
    "site-packages",
    "test",
    "tests",
}


def _source_files(root):
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        found += [Path(place, name) for name in names if name.endswith(".py")]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())
