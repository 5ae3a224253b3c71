"""The language models and the translation of dates do what their scripts say."""

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


def test_stream_rejects_an_empty_prompt(example):
    with pytest.raises(ValueError, match="one token"):
        next(example("generation").stream(None, [], 1))


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


# ---- dates -----------------------------------------------------------------------


def test_dates_of_the_test_are_not_trained_on(example):
    trained, held = example("date_formats").split_pairs(2000, 0)
    assert held
    assert not {target for _, target in held} & {target for _, target in trained}


def test_dates_survive_encoding(example):
    module = example("date_formats")
    found = module.pairs(5, 1)
    source, target = module.tensors(found)
    assert module.decode(target[1:, 3].tolist()) == found[3][1]
    assert module.decode(source[:, 3].tolist()).rstrip("\0") == found[3][0]


@pytest.mark.parametrize("model", ["lstm", "transformer"])
def test_date_translation_learns_and_equals_pytorch(example, twin, tmp_path, model):
    ours = run_quick(example("date_translation"), tmp_path / "a", "--model", model)
    initial = str(tmp_path / "a" / "initial.safetensors")
    module = twin("date_translation")
    theirs = run_quick(module, tmp_path / "b", "--model", model, "--initial", initial)
    assert ours["final_loss"] < 2.7
    # Forty steps let rounding of float32 grow.
    assert ours["final_loss"] == pytest.approx(theirs["final_loss"], rel=5e-3)


@pytest.mark.parametrize("model", ["lstm", "transformer"])
def test_date_translation_attends_to_the_source_alone(example, model):
    module = example("date_translation")
    x, y = module.tensors([("5 may 2021", "2021-05-05"), ("1.1.1999", "1999-01-01")])
    with tl.no_grad():
        weights = module.MODELS[model](16).maps(x, y[:-1])
    assert weights.shape == (2, 10, 10)
    assert tl.abs(weights.sum(axis=2) - 1).max().item() < 1e-5
    assert weights[1, :, 8:].max().item() == 0


# ---- GPT -------------------------------------------------------------------------


def small_gpt(example, **sizes):
    tl.manual_seed(0)
    module = example("gpt")
    model = module.GPT(**{"alphabet": 11, "width": 16, "layers": 2, "heads": 2} | sizes)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            tl.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def test_gpt_with_a_cache_gives_the_logits_of_a_whole_pass(example):
    model, tokens = small_gpt(example, context=12), [3, 1, 4, 1, 5, 9, 2, 6]
    with tl.no_grad():
        whole = model(tl.tensor(tokens).reshape((-1, 1)))
        read = model.reader()
        steps = [read(tokens[:3]), *(read([token]) for token in tokens[3:])]
    assert tl.abs(tl.stack(steps) - whole[2:]).max().item() < 1e-5


def test_gpt_generates_the_same_with_and_without_cache_beyond_its_context(example):
    model, stream = small_gpt(example, context=12), example("generation").stream
    texts = []
    for cached in (True, False):
        model.cached = cached
        how = {"generator": tl.Generator(1), "top_k": 5, "top_p": 0.9}
        texts.append(list(stream(model.reader(), [7, 2], 40, **how)))
    assert texts[0] == texts[1]


def test_gpt_learns_and_equals_pytorch(example, twin, tmp_path, capsys):
    module = example("gpt")
    ours = run_quick(module, tmp_path / "a")
    initial = str(tmp_path / "a" / "initial.safetensors")
    theirs = run_quick(twin("gpt"), tmp_path / "b", "--initial", initial)
    assert ours["test_bits"] < 5.0  # of 6.5 for chance
    # Forty steps let rounding of float32 grow.
    assert ours["test_bits"] == pytest.approx(theirs["test_bits"], rel=5e-3)
    capsys.readouterr()
    run_quick(module, tmp_path / "a", "--generate", "5", "--prompt", "def ")
    assert capsys.readouterr().out.startswith("def ")
