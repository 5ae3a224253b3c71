"""Texts: dictionaries, corpora, batches for truncated BPTT, and the parsers."""

import os
import struct

import pytest

import tensorlib as tl
from tensorlib import data

# ---- dictionary and corpus -------------------------------------------------------


def test_dictionary_numbers_words_by_first_appearance():
    words = data.Dictionary()
    assert [words.add_word(word) for word in ("a", "b", "a", "c")] == [0, 1, 0, 2]
    assert words.idx2word == ["a", "b", "c"]
    assert words.word2idx == {"a": 0, "b": 1, "c": 2}
    assert "b" in words
    assert words.encode(["c", "a"]).tolist() == [2, 0]
    assert words.decode(tl.tensor([2, 0])) == ["c", "a"]


def test_dictionary_unknown_words():
    words = data.Dictionary(["a"])
    with pytest.raises(KeyError, match="'z' is not among its 1 words"):
        words.encode(["a", "z"])
    words.add_word("<unk>")
    assert words.encode(["z", "a"]).tolist() == [1, 0]
    for number in (2, -1):
        with pytest.raises(IndexError, match=rf"in \[0, 2\), got {number}"):
            words.decode([number])


def write_splits(folder, form="{}.txt"):
    texts = {"train": "a b\n\nb c\n", "valid": "c d\n", "test": "a e"}
    for split, text in texts.items():
        (folder / form.format(split)).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("form", ["{}.txt", "wiki.{}.tokens", "ptb.{}.txt"])
def test_corpus_of_words_ends_lines_with_eos(form, tmp_path):
    write_splits(tmp_path, form)
    corpus = data.Corpus(tmp_path)
    assert corpus.dictionary.idx2word == ["a", "b", "<eos>", "c", "d", "e"]
    assert corpus.train.tolist() == [0, 1, 2, 2, 1, 3, 2]
    assert corpus.valid.tolist() == [3, 4, 2]
    assert corpus.test.tolist() == [0, 5, 2]
    assert data.Corpus(tmp_path, max_lines=1).train.tolist() == [0, 1, 2]


def test_corpus_of_characters_counts_every_one(tmp_path):
    write_splits(tmp_path)
    corpus = data.Corpus(tmp_path, "character")
    assert "".join(corpus.dictionary.decode(corpus.train)) == "a b\n\nb c\n"


def test_corpus_without_test_part_has_an_empty_one(tmp_path):
    (tmp_path / "train.txt").write_text("a")
    corpus = data.Corpus(tmp_path)
    assert corpus.test.shape == (0,)
    assert corpus.test.dtype == tl.int64


def test_corpus_of_one_file_is_cut_by_fractions(tmp_path):
    path = tmp_path / "book"
    path.write_bytes("äb\r\nc".encode() * 25)
    corpus = data.Corpus(path, "character", fractions=(0.5, 0.25, 0.25))
    parts = [corpus.train, corpus.valid, corpus.test]
    assert [len(part) for part in parts] == [50, 25, 25]
    text = "".join(
        letter for part in parts for letter in corpus.dictionary.decode(part)
    )
    assert text == "äb\nc" * 25


def test_corpus_min_count_replaces_rare_words():
    corpus = data.Corpus.from_text("a a b a c", min_count=2, fractions=(1, 0, 0))
    words = corpus.dictionary.decode(corpus.train)
    assert words == ["a", "a", "<unk>", "a", "<unk>", "<unk>"]


def test_corpus_without_files_says_where_to_get_some(tmp_path):
    with pytest.raises(FileNotFoundError, match="WikiText: unpack") as caught:
        data.Corpus(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_corpus_that_is_not_utf8_names_file_and_offset(tmp_path):
    write_splits(tmp_path)
    path = tmp_path / "valid.txt"
    path.write_bytes(b"abc\xff\xfe")
    with pytest.raises(
        ValueError, match="not UTF-8 at offset 3: got byte ff"
    ) as caught:
        data.Corpus(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("fractions", [(1, 0), (0.5, 0.6, -0.1), (0.3, 0.3, 0.3)])
def test_corpus_wrong_fractions_raise(fractions):
    with pytest.raises(ValueError, match="three fractions"):
        data.Corpus.from_text("a b", fractions=fractions)


def test_corpus_wrong_level_raises():
    with pytest.raises(ValueError, match="'word' or 'character', got 'byte'"):
        data.Corpus.from_text("a", "byte")


# ---- batches ---------------------------------------------------------------------


def test_batches_walk_the_columns_and_cover_every_target():
    tokens = tl.arange(31)
    batches = data.batchify(tokens, 4)
    assert batches.shape == (7, 4)
    assert batches[:, 1].tolist() == list(range(7, 14))
    targets = []
    for i in range(0, 6, 4):
        x, y = data.get_batch(batches, i, 4)
        assert y.tolist() == (x + 1).reshape((-1,)).tolist()
        targets += y.tolist()
    assert x.shape == (2, 4)
    expected = {n for n in range(28) if n % 7}
    assert sorted(targets) == sorted(expected)


@pytest.mark.parametrize("size", [0, 5, -1, 2.0])
def test_batchify_wrong_size_raises(size):
    with pytest.raises(ValueError, match=r"batch_size in \[1, 4\]"):
        data.batchify(tl.arange(4), size)


def test_get_batch_wrong_place_raises():
    batches = data.batchify(tl.arange(8), 2)
    for i in (-1, 3):
        with pytest.raises(IndexError, match=r"i in \[0, 3\)"):
            data.get_batch(batches, i, 2)
    with pytest.raises(ValueError, match="bptt > 0"):
        data.get_batch(batches, 0, 0)
    with pytest.raises(tl.ShapeError, match="tokens"):
        data.batchify(batches, 2)


# ---- texts that machines have ----------------------------------------------------


def test_stdlib_text_is_in_fixed_order_without_tests(tmp_path):
    for name in ("b.py", "a/z.py", "a/test/t.py", "site-packages/p.py", "c.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}")
    (tmp_path / "latin.py").write_bytes(b"# \xe4")
    (tmp_path / "empty.py").write_bytes(b"")
    assert data.python_stdlib_text(tmp_path) == "# a/z.py\n# b.py\n"
    assert data.python_stdlib_text(tmp_path, max_chars=4) == "# a/"
    with pytest.raises(FileNotFoundError, match="has no Python sources"):
        data.python_stdlib_text(tmp_path / "site-packages" / "none")


def test_stdlib_text_of_this_python_holds_known_lines():
    text = data.python_stdlib_text(max_chars=300_000)
    assert len(text) == 300_000
    assert "class ABCMeta(type):" in text
    assert text == data.python_stdlib_text(max_chars=300_000)


def packed(text):
    """Pack up to 250 letters as compress does: every one is a code of 9 bits."""
    number = sum(ord(letter) << (9 * k) for k, letter in enumerate(text))
    return number.to_bytes((9 * len(text) + 7) // 8, "little")


def bible_file(*windows, size=300, count=None, offsets=None):
    bodies = [w if isinstance(w, bytes) else packed(w) for w in windows]
    count = len(windows) if count is None else count
    start = 0x54 + 8 + 4 * (len(windows) + 1) + 3
    if offsets is None:
        offsets = [start + len(b"".join(bodies[:n])) for n in range(len(bodies) + 1)]
    head = b"EC02Compressed Data File".ljust(0x54, b"\0")
    head += struct.pack(f">II{len(offsets)}I", size, count, *offsets)
    return head + b"\x1f\x9d\x90" + b"".join(bodies)


def test_bible_of_hand_made_windows(tmp_path):
    path = tmp_path / "bible.data"
    path.write_bytes(bible_file("Title.\nGe1:1 In the ", "beginning\n1Sam1:2 God\n"))
    assert data.bible_text(tmp_path) == "In the beginning\nGod\n"
    cited = "Title.\nGe1:1 In the beginning\n1Sam1:2 God\n"
    assert data.bible_text(path, citations=True) == cited


def test_bible_strings_refer_to_earlier_ones(tmp_path):
    # Codes: a, (a a) before it exists, (aa a), clear, b.
    codes = [ord("a"), 257, 258, 256]
    number = sum(code << (9 * k) for k, code in enumerate(codes))
    body = number.to_bytes(9, "little") + packed("b")
    (tmp_path / "bible.data").write_bytes(bible_file(body))
    assert data.bible_text(tmp_path, citations=True) == "aaaaaa" + "b"


GOOD = bible_file("Title.\n", "verse\n")
DAMAGED = {
    "empty": (b"", "wrong magic number at offset 0"),
    "magic": (b"x" + GOOD, "wrong magic number at offset 0"),
    "short": (GOOD[:0x56], "truncated at offset 86"),
    "cut table": (GOOD[:0x60], "truncated table at offset 84"),
    "cut": (GOOD[:-1], "corrupt or truncated at offset 92"),
    "count": (bible_file("a", count=2**32 - 1), "truncated table at offset 84"),
    "size 0": (bible_file("a", size=0), "windows of at most"),
    "size 2^31": (bible_file("a", size=2**31), "windows of at most"),
    "falling": (bible_file("ab", "c", offsets=[120, 119, 121]), "rising offsets"),
    "into table": (bible_file("ab", offsets=[4, 110]), "rising offsets"),
    "too much": (bible_file("a" * 200, size=100), "windows of at most 100 bytes"),
    "code": (bible_file(b"\xff\xff\xff"), "expected a code up to 257, got 511"),
    "first code": (bible_file(b"\x01\x01\x00"), "expected a code up to 257, got 257"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_bible_damaged_file_names_file_and_offset(name, tmp_path):
    content, text = DAMAGED[name]
    path = tmp_path / "bible.data"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        data.bible_text(path)
    assert str(path) in str(caught.value)


def test_bible_missing_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install bible-kjv-text"):
        data.bible_text(tmp_path)


@pytest.mark.skipif(
    not os.path.isfile("/usr/lib/bible.data"),
    reason="needs Debian's package bible-kjv-text",
)
def test_bible_of_debian_is_whole():
    text = data.bible_text()
    assert text.startswith("In the beginning God created the heaven and the earth.\n")
    assert text.endswith("The grace of our Lord Jesus Christ be with you all. Amen.\n")
    assert text.count("\n") == 31_102  # verses of the King James Bible
