"""Whole networks: a step of training, an answer, and the memory that they take."""

import json
from pathlib import Path

from bench.case import Case
from bench.child import run_python
from bench.latency import percentiles
from bench.libraries import operand
from bench.models import NETWORKS, Library
from bench.variants import with_channels_last

PROGRAM = Path(__file__).parents[1] / "peak.py"
BATCHES = {
    "MLP 784-100-10": 1024,
    "CNN of 28x28": 64,
    "ResNet-9 of 28x28": 32,
    "LSTM of 32 words": 16,
    "GPT of 128 tokens": 8,
    "DQN 4-64-64-2": 32,
}
GROWTH_LIMIT = 1e6  # bytes in 900 steps


def _operands(library, network, batch):
    if library == "jax":
        return [operand("jax", array, grad=False) for array in network.data(batch)]
    lib = Library(library)
    return [lib.tensor(array) for array in network.data(batch)]


def _training(name, batch):
    network = NETWORKS[name]

    def prepare(library, names):
        names["x"], names["y"] = _operands(library, network, batch)
        if library == "jax":
            from bench.jax_models import training

            module = network.module(Library("torch"))
            names["step"] = training(name, module, network.optimizer)
        else:
            names["module"], names["step"] = network.stepper(Library(library))

    return prepare


def _inference(name):
    network = NETWORKS[name]

    def prepare(library, names):
        lib = Library("torch" if library == "jax" else library)
        module = lib.deployed(network.module(lib))
        names["module"] = lib.compiled(module)
        names["x"], _ = _operands(library, network, 1)
        if library == "jax":
            from bench.jax_models import inference

            names["module"] = inference(name, module)
        elif library == "onnx":
            from bench.onnx_models import inference

            names["module"] = inference(module, names["x"])
            names["x"] = names["x"].numpy()

    return prepare


def _peers(name, *more):
    """The libraries of a row whose statement is the same for all."""
    images = ("channels_last",) if len(NETWORKS[name].shape) == 3 else ()
    return ("compile", *images, "jax", *more)


def _training_row(name):
    statement = "step(x, y)"
    case = Case(
        "networks",
        f"{name}, training, batch {BATCHES[name]}",
        *(statement,) * 2,
        others=dict.fromkeys(_peers(name), statement),
        prepare=_training(name, BATCHES[name]),
        check="[step(x, y).item() for _ in range(2)]",  # after a step: optimizers too
        tolerance=(1e-3, 1e-4),
    )
    return with_channels_last(case) if "channels_last" in case.others else case


def _inference_row(name, peers=None):
    case = Case(
        "networks",
        f"{name}, inference, batch 1",
        *("module(x)",) * 2,
        others=dict.fromkeys(peers or _peers(name, "onnx"), "module(x)"),
        prepare=_inference(name),
        tolerance=(1e-3, 1e-3),
    )
    return with_channels_last(case) if "channels_last" in case.others else case


def _latency_rows(case):
    """The time that half of the calls take, and all but a hundredth."""
    for i, text in enumerate(("median", "99th percentile")):

        def measure(rounds, i=i):
            found = percentiles(case, rounds)
            return {k: [pair[i] for pair in pairs] for k, pairs in found.items()}

        yield Case("latency", f"{case.name}, {text}", "", measure=measure)


def _peak(name, batch):
    """Bytes that steps need beyond the imported library, in processes of their own."""

    def measure(rounds):
        samples = {"ours": [], "torch": []}
        for _ in range(rounds):
            for library, found in samples.items():
                _, text, _ = run_python(str(PROGRAM), library, name, str(batch))
                found.append(json.loads(text)["peak"])
        return samples

    return measure


def _growth(name, batch):
    """Bytes that 900 steps with batches of many sizes add after the first 100."""

    def measure(rounds):
        _, text, _ = run_python(str(PROGRAM), "ours", name, str(batch), "1000")
        return {"ours": [json.loads(text)["growth"]]}

    return measure


def cases():
    for name in NETWORKS:
        yield _training_row(name)
        yield _inference_row(name)
    for name in NETWORKS:
        yield from _latency_rows(_inference_row(name, ("jax", "onnx")))
    for name in NETWORKS:
        label = f"{name}, peak of 5 steps, batch {BATCHES[name]}"
        measure = _peak(name, BATCHES[name])
        yield Case("memory", label, "", measure=measure, unit="B")
    for name in ("MLP 784-100-10", "CNN of 28x28", "LSTM of 32 words"):
        label = f"{name}, growth in 900 steps of varying batches"
        measure = _growth(name, 16)
        yield Case("memory", label, "", measure=measure, unit="B", limit=GROWTH_LIMIT)
