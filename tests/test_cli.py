"""python -m tensorlib."""

import os
import re
import signal
import subprocess
import sys

import pytest

import tensorlib as tl
from tensorlib.cli.demo import run_demo
from tensorlib.cli.main import main
from tensorlib.cli.models import make_data, make_model
from tensorlib.cli.progress import PlainProgress
from tensorlib.cli.training import Trainer

pytest.importorskip("safetensors")

QUICK = {"data": "digits", "model": "mlp", "epochs": 3, "batch_size": 100}


@pytest.fixture(autouse=True)
def _one_thread():
    # A busy machine makes tiny parallel loops wait for each other.
    with tl.num_threads(1):
        yield


def demo(folder, **options):
    return run_demo(**{**QUICK, "out": str(folder), **options})


def result_bytes(folder):
    return (folder / "model.safetensors").read_bytes()


def make_trainer(seed=0, **options):
    generator = tl.Generator(seed)
    model = make_model("mlp", (1, 8, 8), 10, generator)
    options = {"epochs": 2, "batch_size": 100, "lr": 2e-3, "seed": 1, **options}
    return Trainer(model, *make_data("digits"), generator, **options)


def test_demo_trains_and_writes_its_results(tmp_path, capsys):
    assert demo(tmp_path / "run") == 0
    output = capsys.readouterr().out
    assert "epoch 3/3" in output
    assert "samples/s" in output
    assert "test accuracy" in output
    files = set(os.listdir(tmp_path / "run"))
    assert {"checkpoint.safetensors", "model.safetensors"} <= files


def test_demo_draws_the_curve_with_matplotlib(tmp_path):
    pytest.importorskip("matplotlib")
    demo(tmp_path, epochs=1)
    assert (tmp_path / "curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_demo_reaches_97_percent_on_digits(tmp_path):
    assert run_demo(out=str(tmp_path)) == 0
    history = tl.load(tmp_path / "checkpoint.safetensors")["history"]
    assert history[-1]["test_accuracy"] >= 0.97


def test_demo_softmax_learns(tmp_path):
    demo(tmp_path, model="softmax", lr=2e-2, epochs=15)
    history = tl.load(tmp_path / "checkpoint.safetensors")["history"]
    assert history[-1]["test_accuracy"] > 0.85


def test_demo_same_seed_gives_same_bytes(tmp_path):
    for name, options in {"a": {}, "b": {"workers": 2}, "c": {"seed": 1}}.items():
        demo(tmp_path / name, epochs=1, **options)
    assert result_bytes(tmp_path / "a") == result_bytes(tmp_path / "b")
    assert result_bytes(tmp_path / "a") != result_bytes(tmp_path / "c")


@pytest.mark.parametrize("stop_after", [1, 7, 15, 20])
def test_trainer_stopped_and_resumed_equals_uninterrupted(stop_after, tmp_path):
    path = tmp_path / "state"
    whole = make_trainer()
    while whole.epoch < whole.epochs:
        whole.train_epoch()

    stopped, done = make_trainer(), [0]

    def count(trainer, seconds):
        done[0] += 1
        trainer.stop_requested = done[0] == stop_after

    while stopped.epoch < stopped.epochs and stopped.train_epoch(count):
        pass
    stopped.save(path)

    resumed = make_trainer(seed=99)  # every bit of state comes from the file
    resumed.load(path)
    while resumed.epoch < resumed.epochs:
        resumed.train_epoch()
    assert resumed.history == whole.history
    for name, value in whole.model.state_dict().items():
        found = resumed.model.state_dict()[name]
        assert bytes(memoryview(found)) == bytes(memoryview(value)), name


def test_trainer_resumed_with_other_options_raises(tmp_path):
    trainer = make_trainer()
    trainer.save(tmp_path / "state")
    with pytest.raises(ValueError, match="epochs was 2, now 3"):
        make_trainer(epochs=3).load(tmp_path / "state")


def test_demo_interrupted_by_ctrl_c_resumes_to_the_same_bytes(tmp_path):
    options = ["--epochs", "12", "--batch-size", "100", "--threads", "1"]
    command = [sys.executable, "-m", "tensorlib", "demo", *options, "--out"]
    whole, part = tmp_path / "whole", tmp_path / "part"
    subprocess.run([*command, str(whole)], check=True, capture_output=True)

    process = subprocess.Popen([*command, str(part)], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 130
    assert "continue with --resume" in rest
    assert not (part / "model.safetensors").exists()

    subprocess.run([*command, str(part), "--resume"], check=True, capture_output=True)
    assert result_bytes(part) == result_bytes(whole)


def test_demo_resume_without_checkpoint_fails_with_message(tmp_path, capsys):
    code = main(["demo", "--resume", "--out", str(tmp_path)])
    assert code == 1
    assert "there is no checkpoint" in capsys.readouterr().err


def test_demo_trains_a_cnn_on_digits(tmp_path, capsys):
    arguments = ["demo", "--model", "cnn", "--epochs", "4", "--lr", "0.01"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "cnn of" in output
    # Four passes over 1,437 images; chance is 10%.
    assert float(re.search(r"test accuracy ([\d.]+)%", output)[1]) > 70


def test_demo_missing_data_says_where_to_get_it(tmp_path, capsys):
    arguments = ["demo", "--data", "fashion-mnist", "--root", str(tmp_path)]
    assert main(arguments) == 1
    assert "apt-get install dataset-fashion-mnist" in capsys.readouterr().err
    assert main(["demo", "--data", "mnist"]) == 1
    assert "--root" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["demo", "--epochs", "0"], ["demo", "--lr", "-1"], ["demo", "--data", "x"]],
    ids=" ".join,
)
def test_bad_arguments_exit_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_plain_progress_shows_loss_accuracy_speed_and_eta(capsys):
    trainer = make_trainer(epochs=1)
    with PlainProgress(trainer) as progress:
        trainer.train_epoch(progress.batch)
        progress.epoch(trainer)
    line = capsys.readouterr().out
    for part in ("epoch 1/1", "loss", "train", "test", "samples/s", "ETA 0:00"):
        assert part in line


def test_rich_progress_runs(capsys):
    pytest.importorskip("rich")
    from tensorlib.cli.progress import RichProgress

    trainer = make_trainer(epochs=1)
    with RichProgress(trainer) as progress:
        trainer.train_epoch(progress.batch)
        progress.epoch(trainer)
        progress.message("done")
    assert "done" in capsys.readouterr().out


def test_info_shows_every_subject(capsys):
    assert main(["info"]) == 0
    output = capsys.readouterr().out
    for subject in (
        "instruction set", "BLAS", "threads", "affinity", "OpenMP", "CUDA", "build:",
        "memory",
    ):  # fmt: skip
        assert subject in output


def test_import_loads_nothing_heavy():
    code = (
        "import sys, tensorlib as tl; tl.nn, tl.optim, tl.data, tl.save\n"
        "heavy = {'numpy', 'rich', 'matplotlib', 'safetensors', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
