"""The course's examples do what they say."""

import importlib.util
import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tensorlib as tl

FOLDER = Path(__file__).parent.parent / "examples"


def example(name):
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))  # for what examples import from each other
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_softmax_regression_gradient_equals_autograd():
    module = example("softmax_regression")
    x, y = module.load(train=False)
    theta = tl.randn((65, 10), generator=tl.Generator(0))
    loss, by_hand = module.loss_and_gradient(x, y, theta)
    theta.requires_grad = True
    expected = tl.cross_entropy(x @ theta, y)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert tl.abs(by_hand - theta.grad).max().item() < 1e-6


def test_softmax_regression_learns():
    assert example("softmax_regression").main(epochs=20) < 0.06


def test_two_layer_gradients_equal_autograd():
    module = example("two_layer_by_hand")
    x, y = module.load(train=False)
    w1 = tl.randn((64, 30), generator=tl.Generator(0)) * 0.1
    w2 = tl.randn((30, 10), generator=tl.Generator(1)) * 0.1
    loss, by_hand1, by_hand2 = module.loss_and_gradients(x, y, w1, w2)
    w1.requires_grad = w2.requires_grad = True
    expected = tl.cross_entropy(tl.relu(x @ w1) @ w2, y)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert tl.abs(by_hand1 - w1.grad).max().item() < 1e-6
    assert tl.abs(by_hand2 - w2.grad).max().item() < 1e-6


def test_two_layer_learns():
    assert example("two_layer_by_hand").main(epochs=20) < 0.05


def test_worked_example_has_the_lecture_derivatives():
    expected = (math.log(2) + 10 - math.sin(5), 5.5, 2 - math.cos(5))
    for found in example("autodiff_worked_example").main():
        assert found == pytest.approx(expected, rel=1e-12)


def test_layers_in_the_style_of_caffe_learn_and_agree_with_the_tape():
    losses, difference = example("caffe_layers").main(["--epochs", "60"])
    assert losses[-1] < 0.3 < 2 < losses[0]
    assert difference < 1e-6


def test_checkpoints_need_memory_of_the_square_root():
    peaks = example("checkpoint_memory").main(["--quick"])
    assert list(peaks) == [1, 2, 4, 8, 16]
    # Inputs of segments, activations of one, and little more of what is under way.
    for segments, peak in peaks.items():
        assert segments + 16 / segments - 1 <= peak <= segments + 16 / segments + 3


def test_mlp_residual_learns():
    assert example("mlp_residual").main(epochs=8) < 0.04


def test_signal_propagation_keeps_scale_at_two_only(tmp_path):
    arguments = ["--depth", "30", "--width", "200", "--steps", "5"]
    found = example("signal_propagation").main([*arguments, "--out", str(tmp_path)])
    for scale, (forward, backward, losses) in found.items():
        depth = len(forward) - 1
        rate = (forward[-1] / forward[0]) ** (2 / depth)
        # The mean square changes by scale / 2 a layer; 200 units fluctuate.
        assert rate == pytest.approx(scale / 2, rel=0.15)
        assert (backward[0] / backward[-1]) ** (2 / depth) == pytest.approx(
            scale / 2, rel=0.2
        )
        assert len(losses) == 5
    assert (tmp_path / "result.json").exists()


def test_optimizer_paths_approach_the_minimum(tmp_path):
    module = example("optimizer_paths")
    paths = module.main(["--out", str(tmp_path)])
    left = {name: module.distance(points[-1]) for name, points in paths.items()}
    assert left["Newton"] < 1e-12
    assert left["momentum"] < left["gradient descent"] < 1.0
    assert left["Nesterov"] < left["gradient descent"]
    assert left["Adam"] < 0.5
    pytest.importorskip("matplotlib")
    assert (tmp_path / "optimizer_paths.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["signal_propagation", "optimizer_paths"])
def test_example_runs_quickly(name, tmp_path):
    assert len(example(name).main(["--quick", "--out", str(tmp_path)])) == 5
    assert (tmp_path / "metrics.csv").exists()


@pytest.mark.parametrize("name", ["signal_propagation", "optimizer_paths"])
def test_example_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        example(name).main(["--help"])
    assert stopped.value.code == 0
    assert "Lecture 6" in capsys.readouterr().out


def test_conjugate_gradients_solve_a_system():
    a = tl.randn((12, 12), dtype="float64", generator=tl.Generator(0))
    a, b = a @ a.T + tl.eye(12, dtype="float64"), tl.ones(12, dtype="float64")
    found, count = example("newton_cg").conjugate_gradients(lambda v: a @ v, b, 1e-10)
    expected = np.linalg.solve(a.numpy(), b.numpy())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8)
    assert count <= 30


def test_newton_cg_converges_faster_than_linearly():
    norms, error = example("newton_cg").main()
    assert norms[-1] < 1e-8
    assert len(norms) < 15
    # Near the minimum each step takes the gradient to a power of itself.
    assert all(b < a**1.2 for a, b in itertools.pairwise(norms[-3:]))
    assert error < 0.05


def test_gradient_penalty_equals_torch():
    torch = pytest.importorskip("torch")
    module = example("gradient_penalty")
    weights = tl.randn((2, 8), generator=tl.Generator(0)).requires_grad_()
    x, y = (tl.randn((6, 2), generator=tl.Generator(k)) for k in (1, 2))
    mix = tl.rand((6, 1), generator=tl.Generator(3))
    loss = module.loss_of(lambda p: tl.tanh(p @ weights).sum(axis=-1), x, y, mix)
    loss.backward()

    w, x, y, mix = (
        torch.tensor(t.detach().numpy(), requires_grad=True)
        for t in (weights, x, y, mix)
    )
    critic = lambda p: torch.tanh(p @ w).sum(-1)  # noqa: E731
    between = mix * x + (1 - mix) * y
    (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norms = torch.sqrt((slopes**2).sum(1) + 1e-12)
    seen = critic(x).mean() - critic(y).mean()
    expected = module.PENALTY * ((norms - 1) ** 2).mean() - seen
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(
        weights.grad.numpy(), w.grad.numpy(), rtol=1e-4, atol=1e-5
    )


def test_gradient_penalty_sees_the_distance():
    found, expected = example("gradient_penalty").main()
    assert found == pytest.approx(expected, rel=0.05)


# ---- where to compute ----------------------------------------------------------------
SCRIPTS = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if "\ndef main(" in path.read_text() and path.stem != "results"
)


def test_every_example_is_a_script_with_a_device():
    assert len(SCRIPTS) > 20


@pytest.mark.parametrize("name", SCRIPTS)
def test_example_takes_a_device(name):
    answer = subprocess.run(
        [sys.executable, "-P", "-c", RUN, str(FOLDER / f"{name}.py"), "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--device" in answer.stdout


# What `python NAME.py` does, with the example's folder last on the path.
RUN = """
import runpy, sys
from pathlib import Path
sys.argv = sys.argv[1:]
sys.path.append(str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("name", ["autodiff_worked_example", "caffe_layers"])
def test_example_names_the_device_that_is_missing(name):
    if tl.cuda.is_available():
        pytest.skip("a GPU is there")
    answer = subprocess.run(
        [sys.executable, "-P", "-c", RUN, str(FOLDER / f"{name}.py"), "--device",
         "cuda"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode != 0
    assert "cuda" in answer.stderr.splitlines()[-1].lower()
