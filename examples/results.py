"""Collect the results of full runs and write ``examples/RESULTS.md``.

``python examples/results.py runs/A runs/B ...`` copies the ``result.json`` of each run
to ``examples/results/A.json`` and so on, ``NAME_pytorch.json`` for a twin, and writes
the page anew from all that lie there; without arguments it only writes the page.
``--machine busy`` notes that the run shared its machine, so that its seconds are rough.
"""

import argparse
import json
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE / "RESULTS.md"

# Title of each part, and how the names of its examples begin.
PARTS = {
    "Images": ("fashion_",),
    "Generative adversarial networks": ("gan_", "dcgan", "cycle_gan"),
    "Language": ("char_", "rnn", "lstm", "gru", "gpt", "language"),
    "Translation": ("seq2seq", "translation", "transformer", "date"),
    "Small models": ("tagger", "autoencoder", "vae", "vit", "vision_", "dqn"),
    "Lectures 6 to 9": ("optimizer", "optim", "initial", "init", "signal"),
}
OTHERS = "Others"
# Facts of the run, which have columns of their own or none.
RUN_KEYS = (
    "example", "library", "seed", "seconds", "cpu_seconds", "train_seconds", "machine",
    "threads", "quick",
)  # fmt: skip

HEAD = """# Results of full runs

Written by `python examples/results.py` from `examples/results/`; not edited by hand.
Each line is one run of an example with its default options, and one of the same model
in PyTorch (`examples/pytorch/`): same data, hyper-parameters and number of steps, other
random numbers, but that the models of language and translation begin with the same
values in both. Seconds are of the clock; CPU seconds add up what all threads of the run
used, those that wait spinning too, and depend little on what else the machine did.
"""
BUSY = """
\\* The run shared its two cores with other programs: its seconds are rough.
"""


def collect(folders, machine=None, into=RESULTS):
    """Copy the results of runs.

    Parameters
    ----------
    folders : iterable of Path
        Each holds a ``result.json``.
    machine : str, optional
        Noted in the copy.
    into : Path
        Where the copies go.
    """
    into.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if machine is not None:
            result["machine"] = machine
        suffix = "_pytorch" if is_twin(result) else ""
        text = json.dumps(result, indent=1) + "\n"
        name = folder.resolve().name.removesuffix("_pytorch") + suffix
        (into / f"{name}.json").write_text(text, encoding="utf-8")


def is_twin(result):
    """Return whether a result is PyTorch's."""
    return result.get("library", "tensorlib") == "pytorch"


def load(folder=RESULTS):
    """Return ``{name: {"tensorlib": result, "pytorch": result}}``, either may lack."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        name = path.stem.removesuffix("_pytorch")
        library = "pytorch" if is_twin(result) else "tensorlib"
        found.setdefault(name, {})[library] = result
    return found


def part_of(name):
    """Return the title of the part that an example belongs to."""
    for title, beginnings in PARTS.items():
        if name.startswith(beginnings):
            return title
    return OTHERS


def show_seconds(result):
    """Return the time of a run, starred if its machine was busy."""
    if "seconds" not in result:
        return "-"
    star = "\\*" if result.get("machine") == "busy" else ""
    return f"{result['seconds']:,.0f}{star}"


def show_cpu_seconds(result):
    """Return the processor time of a run and its number of threads."""
    if "cpu_seconds" not in result:
        return "-"
    return f"{result['cpu_seconds']:,.0f} ({result['threads']})"


def show_figures(result):
    """Return what an example measured, as text."""
    figures = {key: value for key, value in result.items() if key not in RUN_KEYS}
    shown = (
        f"{key.replace('_', ' ')} {show(key, value)}" for key, value in figures.items()
    )
    return ", ".join(shown) or "-"


def show(key, value):
    """Return one figure: shares as percentages, numbers with four digits."""
    if isinstance(value, float):
        return f"{value:.2%}" if "accuracy" in key else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def table(rows):
    """Return the lines of a part's table; `rows` are pairs of name and results."""
    yield (
        "| example | seed | seconds | PyTorch | CPU seconds (threads) | PyTorch "
        "| figures | PyTorch |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, results in rows:
        ours, theirs = results.get("tensorlib", {}), results.get("pytorch", {})
        seed = (ours or theirs).get("seed", "-")
        cells = (
            name, seed, show_seconds(ours), show_seconds(theirs),
            show_cpu_seconds(ours), show_cpu_seconds(theirs),
            show_figures(ours), show_figures(theirs),
        )  # fmt: skip
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def page(found):
    """Return the text of the page on the results that `load` found."""
    lines = [HEAD]
    for title in (*PARTS, OTHERS):
        rows = [item for item in found.items() if part_of(item[0]) == title]
        if rows:
            lines += [f"## {title}", "", *table(rows), ""]
    runs = [result for results in found.values() for result in results.values()]
    if any(result.get("machine") == "busy" for result in runs):
        lines.append(BUSY.strip() + "\n")
    return "\n".join(lines)


def main(arguments=None):
    """Copy the runs given and write the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("folders", nargs="*", type=Path, help="folders of runs")
    options.add_argument("--machine", help='say "busy" if it did other things too')
    given = options.parse_args(arguments)
    collect(given.folders, given.machine)
    PAGE.write_text(page(load()), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
