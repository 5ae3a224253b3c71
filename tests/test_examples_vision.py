"""The image and GAN examples run, learn a little, and leave what they promise."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

import tensorlib as tl

FOLDER = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def _importable_examples(monkeypatch):
    threads = tl.get_num_threads()
    monkeypatch.syspath_prepend(str(FOLDER / "pytorch"))
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        found = getattr(sys.modules[name], "__file__", None)
        if found and Path(found).is_relative_to(FOLDER):
            del sys.modules[name]
    tl.set_num_threads(threads)


def example(path):
    path = FOLDER / f"{path}.py"
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(path, folder, *arguments):
    """Run an example's smoke test; return its module and its results."""
    module = example(path)
    common = ["--quick", "--threads", "1", "--out", str(folder)]
    return module, module.main([*common, *arguments])


def saved(folder):
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result, tl.load(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["softmax", "mlp", "lenet", "resnet9"])
def test_fashion_model_learns_and_saves(name, tmp_path):
    module, results = run("fashion_mnist", tmp_path, "--model", name)
    losses = results["losses"]
    assert sum(losses[-20:]) < 0.75 * sum(losses[:20])
    assert results["test_accuracy"] > 0.6
    result, state = saved(tmp_path)
    assert result["example"] == f"fashion_{name}"
    model = module.MODELS[name](8)
    model.load_state_dict(state)
    assert model.eval()(tl.zeros((2, 1, 8, 8))).shape == (2, 10)


def test_fashion_model_draws(tmp_path):
    pytest.importorskip("matplotlib")
    run("fashion_mnist", tmp_path, "--model", "softmax", "--epochs", "1")
    assert (tmp_path / "examples.png").stat().st_size > 1000


def test_fashion_unknown_model_exits(tmp_path):
    with pytest.raises(SystemExit, match="expected one of"):
        run("fashion_mnist", tmp_path, "--model", "perceptron")


def test_fashion_missing_data_says_where_to_get_them(tmp_path):
    arguments = ["--root", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(FileNotFoundError, match="dataset-fashion-mnist"):
        example("fashion_mnist").main(arguments)


@pytest.mark.parametrize("name", ["softmax", "mlp", "lenet", "resnet9"])
def test_fashion_twin_has_the_same_layers(name):
    torch = pytest.importorskip("torch")
    ours = example("fashion_mnist").MODELS[name](28)
    theirs = example("pytorch/fashion_mnist").MODELS[name](28)
    state = {key: torch.from_dlpack(value) for key, value in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x = tl.randn((4, 1, 28, 28), generator=tl.Generator(0))
    found, expected = ours.eval()(x), theirs.eval()(torch.from_dlpack(x))
    assert found.detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-5)


def test_gan_loss_updates_its_discriminator_and_reaches_the_generator():
    module = example("gan_loss")
    judge = tl.nn.Linear(2, 1)
    before = judge.weight.detach().tolist()
    loss_function = module.GANLoss(judge, tl.optim.SGD(judge.parameters(), lr=0.5))
    fake = tl.zeros((8, 2), requires_grad=True)
    real = tl.ones((8, 2))
    first = loss_function(fake, real)
    first.backward()
    assert judge.weight.detach().tolist() != before
    assert tl.abs(fake.grad).max().item() > 0
    for _ in range(20):
        loss = loss_function(fake, real)
    assert loss_function.last < 1.386  # better than guessing
    assert loss.item() > first.item()  # what it learns, the generator loses


def test_gan_of_gaussian_comes_closer(tmp_path):
    _, results = run("gan_gaussian", tmp_path)
    # An untrained generator is at about 1 and 1.
    assert results["mean_error"] < 0.9
    assert results["covariance_error"] < 0.5
    assert set(saved(tmp_path)[1]) == {"weight", "bias"}


def test_relative_errors_of_the_data_are_small():
    tl.manual_seed(0)
    module = example("gan_gaussian")
    assert max(module.relative_errors(module.gaussian(100_000))) < 0.02


def test_dcgan_makes_images_and_a_picture(tmp_path):
    module, results = run("dcgan", tmp_path)
    assert results["steps"] == 12
    model = module.generator(64, 8)
    model.load_state_dict(saved(tmp_path)[1])
    images = module.sample(model, tl.randn((3, 64, 1, 1)))
    assert images.shape == (3, 1, 28, 28)
    assert 0 <= images.min().item() <= images.max().item() <= 1
    pytest.importorskip("matplotlib")
    assert (tmp_path / "samples.png").is_file()


def test_statistics_of_equal_images_are_perfect():
    images = tl.rand((10, 1, 28, 28), generator=tl.Generator(0))
    error, ratio = example("dcgan").statistics(images, images)
    assert (error, ratio) == (0.0, 1.0)


def test_cycle_gan_closes_its_cycles(tmp_path):
    _, results = run("cycle_gan", tmp_path)
    assert results["cycle_error_a"] < 0.2
    assert results["cycle_error_b"] < 0.2
    assert results["distance_from_square"] < 0.2
    assert results["distance_from_circle"] < 0.2


def test_distances_from_outlines_are_those_of_geometry():
    module = example("cycle_gan")
    points = tl.tensor([[2.0, 2.0], [0.0, 0.0], [1.0, 0.5], [0.5, -3.0]])
    expected = (2**0.5 + 1 + 0 + 2) / 4
    assert module.distance_from_square(points) == pytest.approx(expected)
    assert module.distance_from_circle(tl.tensor([[3.0, 4.0]])) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("fashion_mnist", ("--model", "softmax")),
        ("gan_gaussian", ("--steps", "50")),
        ("dcgan", ()),
        ("cycle_gan", ("--steps", "30")),
    ],
)
def test_twin_runs_and_says_its_library(path, arguments, tmp_path):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    _, results = run(f"pytorch/{path}", tmp_path, *arguments)
    torch.set_num_threads(threads)
    assert results["library"] == "pytorch"


def test_results_page_shows_both_libraries(tmp_path):
    module = example("results")
    for name, library, value in (
        ("fashion_x", None, 0.5),
        ("fashion_x_pytorch", "pytorch", 0.25),
    ):
        folder = tmp_path / name
        folder.mkdir()
        result = {"example": name, "seed": 3, "test_accuracy": value, "seconds": 7.0}
        result |= {"cpu_seconds": 12.0, "threads": 2}
        if library:
            result["library"] = library
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    folders = [tmp_path / "fashion_x", tmp_path / "fashion_x_pytorch"]
    module.collect(folders, "busy", tmp_path / "results")
    text = module.page(module.load(tmp_path / "results"))
    assert "## Images" in text
    assert (
        "| fashion_x | 3 | 7\\* | 7\\* | 12 (2) | 12 (2) "
        "| test accuracy 50.00% | test accuracy 25.00% |"
    ) in text


def test_results_page_is_up_to_date():
    module = example("results")
    assert module.PAGE.read_text(encoding="utf-8") == module.page(module.load())
