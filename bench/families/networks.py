"""Whole networks: a step of training, an answer, and the memory that they take."""

import json
from pathlib import Path

from bench.case import Case
from bench.child import run_python
from bench.models import NETWORKS, Library

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


def _operands(lib, network, batch):
    return [lib.tensor(array) for array in network.data(batch)]


def _training(network, batch):
    def prepare(library, names):
        lib = Library(library)
        _, names["step"] = network.stepper(lib)
        names["x"], names["y"] = _operands(lib, network, batch)

    return prepare


def _inference(network):
    def prepare(library, names):
        lib = Library(library)
        names["module"] = network.module(lib).eval().requires_grad_(False)
        names["x"], _ = _operands(lib, network, 1)

    return prepare


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
    for name, network in NETWORKS.items():
        batch = BATCHES[name]
        yield Case(
            "networks",
            f"{name}, training, batch {batch}",
            "step(x, y)",
            "step(x, y)",
            prepare=_training(network, batch),
            tolerance=(1e-3, 1e-4),
        )
        yield Case(
            "networks",
            f"{name}, inference, batch 1",
            "module(x)",
            "module(x)",
            prepare=_inference(network),
            tolerance=(1e-3, 1e-3),
        )
    for name in NETWORKS:
        label = f"{name}, peak of 5 steps, batch {BATCHES[name]}"
        measure = _peak(name, BATCHES[name])
        yield Case("memory", label, "", measure=measure, unit="B")
    for name in ("MLP 784-100-10", "CNN of 28x28", "LSTM of 32 words"):
        label = f"{name}, growth in 900 steps of varying batches"
        measure = _growth(name, 16)
        yield Case("memory", label, "", measure=measure, unit="B", limit=GROWTH_LIMIT)
