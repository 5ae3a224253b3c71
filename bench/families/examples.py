"""The examples beside their twins in PyTorch: training and test, on little data.

Each is a process of its own; what counts is the time that the script itself notes, from
its first line of work to its last, without the import of its library.
"""

import json
import tempfile
from pathlib import Path

from bench.case import Case
from bench.child import run_python

FOLDER = Path(__file__).parents[2] / "examples"
ROUNDS = 2
# What one epoch, or as many steps, of each is run with.
ARGUMENTS = {
    "fashion_mnist lenet": ("--model", "lenet", "--epochs", "1"),
    "fashion_mnist resnet9": ("--model", "resnet9", "--epochs", "1"),
    "vision_transformer": (),
    "vae_digits": (),
    "dcgan": (),
    "gan_gaussian": (),
    "cycle_gan": (),
    "char_language_model": (),
    "gpt": (),
    "date_translation": (),
    "tagger": (),
    "dqn_cartpole": (),
}


def _seconds(script, arguments):
    """What a run of a script says that it took."""
    with tempfile.TemporaryDirectory() as out:
        run_python(str(script), "--quick", "--out", out, *arguments)
        return json.loads((Path(out) / "result.json").read_text())["seconds"]


def _measure(name):
    def measure(rounds):
        import tensorlib

        threads = ("--threads", str(tensorlib.get_num_threads()))
        script = name.split()[0] + ".py"
        samples = {"ours": [], "torch": []}
        for _ in range(min(rounds, ROUNDS)):
            for library, found in samples.items():
                path = FOLDER / ("pytorch" if library == "torch" else "") / script
                found.append(_seconds(path, (*ARGUMENTS[name], *threads)))
        return samples

    return measure


def cases():
    for name in ARGUMENTS:
        yield Case("examples", f"{name}, --quick", "", measure=_measure(name))
