"""The small models among the examples: DQN, autoencoders, tagger, ViT."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

import tensorlib as tl

FOLDER = Path(__file__).parent.parent / "examples"
NAMES = ["dqn_cartpole", "vae_digits", "tagger", "vision_transformer"]


def example(name):
    """Import an example by its path below `FOLDER`."""
    path = FOLDER / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.path.insert(0, str(FOLDER))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    return module


def run_quickly(name, folder):
    threads = tl.get_num_threads()
    try:
        arguments = ["--quick", "--threads", "1", "--out", str(folder)]
        return example(name).main(arguments)
    finally:
        tl.set_num_threads(threads)


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """Return a function that runs an example once and gives results and folder."""
    done = {}

    def run(name):
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            done[name] = run_quickly(name, folder), folder
        return done[name]

    return run


def logged(folder, tag):
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().split()]
    return [float(row[2]) for row in rows if row[0] == tag]


@pytest.mark.parametrize("name", NAMES)
def test_example_leaves_results_and_a_checkpoint(quick_run, name):
    found, folder = quick_run(name)
    assert json.loads((folder / "result.json").read_text()) == found
    assert found["library"] == "tensorlib"
    assert all(
        tl.all(tl.isfinite(value)).item()
        for value in tl.load(folder / "model.safetensors").values()
    )


@pytest.mark.parametrize("name", NAMES)
def test_example_draws_its_picture(quick_run, name):
    pytest.importorskip("matplotlib")
    pictures = {
        "dqn_cartpole": ["returns"],
        "vae_digits": ["reconstructions", "latent_grid", "codes"],
        "tagger": ["confusion"],
        "vision_transformer": ["positions"],
    }
    _, folder = quick_run(name)
    assert all((folder / f"{picture}.png").stat().st_size for picture in pictures[name])


@pytest.mark.parametrize("name", NAMES)
def test_twin_records_the_figures_of_the_example(quick_run, tmp_path, name):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    try:
        theirs = run_quickly(f"pytorch/{name}", tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert set(theirs) == set(quick_run(name)[0])
    assert theirs["library"] == "pytorch"


@pytest.mark.parametrize("name", NAMES[1:])
def test_quick_run_lowers_the_loss(quick_run, name):
    losses = logged(quick_run(name)[1], "loss")
    assert losses[-1] < losses[0]


def test_cartpole_accelerations_solve_the_equations_of_motion():
    module = example("cartpole")
    angle, spin, force = 0.3, -1.7, 10.0
    cart, pole = module.accelerations(angle, spin, force)
    mass, length = module.POLE_MASS, module.HALF_LENGTH
    total = mass + module.CART_MASS
    sine, cosine = math.sin(angle), math.cos(angle)
    pushed = total * cart + mass * length * (pole * cosine - spin * spin * sine)
    turned = 4 / 3 * length * pole + cart * cosine
    assert pushed == pytest.approx(force)
    assert turned == pytest.approx(module.GRAVITY * sine)


def test_cartpole_pushed_one_way_falls_within_a_dozen_steps():
    world = example("cartpole").CartPole(seed=3)
    steps = [world.step(1) for _ in range(12)]
    assert any(fell for _, _, fell, _ in steps)


def test_cartpole_at_its_limit_is_over_without_a_fall():
    world = example("cartpole").CartPole(limit=1)
    assert world.step(0)[1:] == (1.0, False, True)


def test_cartpole_unknown_action_raises():
    with pytest.raises(ValueError, match="action 0 or 1, got 2"):
        example("cartpole").CartPole().step(2)


def test_replay_buffer_overwrites_the_oldest():
    buffer = example("dqn_cartpole").ReplayBuffer(2, seed=0)
    for n in range(3):
        buffer.add((float(n),) * 4, n % 2, (1.0, 0.0), (0.0,) * 4)
    assert buffer.columns[0][:, 0].tolist() == [2.0, 1.0]


def test_dqn_target_of_a_fall_is_its_reward():
    module = example("dqn_cartpole")
    values, frozen = module.network(8), module.network(8)
    state = tl.ones((1, 4))
    action = tl.tensor([[1]], dtype=tl.int64)
    batch = state, action, tl.tensor([[1.0, 1.0]]), state
    loss = module.loss_of(values, frozen, batch, 0.9).item()
    away = abs(values(state)[0, 1].item() - 1.0)
    assert loss == pytest.approx(away**2 / 2 if away < 1 else away - 0.5, rel=1e-5)


def test_vae_divergence_is_that_of_normal_distributions():
    torch = pytest.importorskip("torch")
    model = example("vae_digits").Autoencoder(True, width=16)
    x = tl.rand((5, 1, 8, 8))
    encoded = torch.from_numpy(model.encoder(x).detach().numpy())
    mean, log_variance = encoded.chunk(2, dim=1)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0)
    ).sum(dim=1)
    assert model(x)[1].tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-6)


def test_tagger_labels_are_the_tokenizers():
    module = example("tagger")
    [(line, marks)] = module.labelled_lines('if in_(a2, "#") > 1.5:  # in\n')
    initials = "".join(module.INITIALS[mark] for mark in marks)
    assert line == 'if in_(a2, "#") > 1.5:  # in'
    assert initials == "kk ccc+nn+ sss+ + nnn+  ####".replace("nnn+", "ddd+")


def test_tagger_leaves_out_lines_of_longer_strings():
    text = 'first = """one line\nand another\nthe last"""\nsecond = 2\n'
    lines = example("tagger").labelled_lines(text)
    assert [line for line, _ in lines] == ["second = 2"]
