"""The language models do what their scripts say."""

import importlib
import importlib.util
import math
import sys
from pathlib import Path

import pytest

import tensorlib as tl

FOLDER = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def restored_threads():
    before = tl.get_num_threads()
    yield
    tl.set_num_threads(before)


@pytest.fixture
def example(monkeypatch):
    """Import an example by its name, as its neighbours do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def twin(monkeypatch):
    """Import the PyTorch twin of an example."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    before = torch.get_num_threads()

    def load(name):
        path = FOLDER / "pytorch" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"{name}_pytorch", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    torch.set_num_threads(before)


def run_quick(module, folder, *more):
    return module.main(["--quick", "--threads", "1", "--out", str(folder), *more])


# ---- sampling --------------------------------------------------------------------

LOGITS = [math.log(p) for p in (0.4, 0.05, 0.3, 0.25)]


def kept(tensor):
    return [k for k, value in enumerate(tensor.tolist()) if value > -math.inf]


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (0, 1.0, [0, 1, 2, 3]),
        (2, 1.0, [0, 2]),
        (9, 1.0, [0, 1, 2, 3]),
        (0, 0.5, [0, 2]),
        (0, 0.71, [0, 2, 3]),
        (0, 1e-9, [0]),
        (2, 0.5, [0]),  # among the two, the first has 0.57
    ],
)
def test_keep_likely_keeps_the_fewest(example, top_k, top_p, expected):
    found = example("generation").keep_likely(tl.tensor(LOGITS), top_k, top_p)
    assert kept(found) == expected


@pytest.mark.parametrize(
    "how", [{"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}, {"temperature": -1.0}]
)
def test_sample_rejects_settings_out_of_range(example, how):
    with pytest.raises(ValueError, match="expected"):
        example("generation").sample(tl.tensor(LOGITS), **how)


def test_sample_at_temperature_zero_takes_the_likeliest(example):
    assert example("generation").sample(tl.tensor(LOGITS), temperature=0) == 0


def test_sample_draws_the_softmax_of_logits_over_temperature(example):
    sample, generator = example("generation").sample, tl.Generator(0)
    logits, n = tl.tensor(LOGITS), 2000
    counts = [0] * 4
    for _ in range(n):
        counts[sample(logits, temperature=2.0, generator=generator)] += 1
    for count, p in zip(counts, tl.softmax(logits / 2.0, axis=0).tolist(), strict=True):
        # Four standard deviations of a binomial count.
        assert abs(count - n * p) < 4 * math.sqrt(n * p * (1 - p))


def test_stream_reads_the_prompt_then_each_token(example):
    heard = []

    def read(tokens):
        heard.append(tokens)
        return tl.tensor([0.0, 1.0, 0.0])

    found = list(example("generation").stream(read, [2, 0], 2, temperature=0))
    assert (found, heard) == ([1, 1], [[2, 0], [1], [1]])


# ---- texts -----------------------------------------------------------------------


def test_windows_in_order_cover_the_text(example):
    tokens = tl.arange(11)
    found = list(example("language_text").windows_in_order(tokens, 3, 2))
    read = [x.T.reshape((-1,)).tolist() for x, _ in found]
    assert read == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]
    assert found[1][1].tolist() == [7, 8, 9]


def test_random_windows_have_the_following_tokens_as_targets(example):
    import random

    x, targets = example("language_text").random_windows(
        tl.arange(50), 5, 3, random.Random(0)
    )
    assert x.shape == (5, 3)
    assert tl.all(targets.reshape((5, 3)) == x + 1)


# ---- recurrent language models ---------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_char_language_model_learns(example, tmp_path, cell):
    module = example("char_language_model")
    results = run_quick(module, tmp_path, "--cell", cell)
    lines = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert results["test_bits"] < 4.5 < float(lines[1].split(",")[-1])
    assert (tmp_path / "result.json").exists()


def test_char_language_model_generates_from_its_checkpoint(example, tmp_path, capsys):
    module = example("char_language_model")
    run_quick(module, tmp_path, "--steps", "2")
    capsys.readouterr()
    texts = []
    for _ in range(2):
        run_quick(module, tmp_path, "--generate", "20", "--prompt", "def ")
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[0].startswith("def ")


def test_char_language_model_equals_pytorch(example, twin, tmp_path):
    ours = run_quick(example("char_language_model"), tmp_path / "a")
    initial = str(tmp_path / "a" / "initial.safetensors")
    module = twin("char_language_model")
    theirs = run_quick(module, tmp_path / "b", "--initial", initial)
    # Forty steps let rounding of float32 grow.
    assert ours["test_bits"] == pytest.approx(theirs["test_bits"], rel=2e-3)
    assert theirs["library"] == "pytorch"
