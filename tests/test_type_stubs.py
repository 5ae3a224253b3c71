"""The type stubs: a program is checked against them by mypy, as its author would."""

import importlib.util
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tensorlib as tl

SOURCE = Path(__file__).resolve().parent.parent / "tensorlib"
if not SOURCE.is_dir():
    pytest.skip("no sources beside tests/", allow_module_level=True)
spec = importlib.util.spec_from_file_location("type_stubs", SOURCE / "type_stubs.py")
type_stubs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(type_stubs)

PROGRAM = """\
import tensorlib as tl

x = tl.randn(3, 4, requires_grad=True)
total: tl.Tensor = tl.sum(x @ x.mT, axis=(0, 1)) + 1.0
extent: int = x.shape[0]
kind: tl.DType = x.dtype
parts: list[tl.Tensor] = tl.split(x, 2)
close: tl.Tensor = (x == 1) & (x.reshape(3, 4) < 2.0)
total.backward()
gradient: tl.Tensor | None = x.grad
with tl.no_grad():
    x += tl.exp([1.0, 2.0, 3.0, 4.0])
y = tl.gelu(x, approximate="tanh").astype(tl.float64)[0, 1:]
generator = tl.Generator(3)
"""
WRONG = {
    'tl.sum(x, axis="rows")': 'incompatible type "str"',
    'tl.gelu(x, approximate="fast")': "Literal",
    "x.no_such_method()": "no attribute",
    "tl.no_such_op(x)": "no attribute",
    "tl.matmul(x)": "Too few arguments",
    "tl.sum(x, axes=1)": "Unexpected keyword argument",
    "word: str = tl.exp(x)": "Incompatible types",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package as it is installed: Python modules, and stubs of the others."""
    root = tmp_path_factory.mktemp("typed")
    for path in SOURCE.rglob("*.py"):
        target = root / "tensorlib" / path.relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for folder in ("core", "autograd", "ops", "linalg"):
        names = [path.stem for path in (SOURCE / folder).glob("*.pyx")]
        type_stubs.main(SOURCE, root / "tensorlib" / folder, folder, *names)
    type_stubs.main(SOURCE, root / "tensorlib", ".", "__init__")
    return root


def checked(package, program):
    pytest.importorskip("mypy")
    (package / "program.py").write_text(program)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent",
         "program.py"],
        cwd=package, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return [x for x in found.stdout.splitlines() if x.startswith("program.py")]


def test_correct_program_passes(package):
    assert checked(package, PROGRAM) == []


def test_wrong_lines_are_found(package):
    start = len(PROGRAM.splitlines())
    found = checked(package, PROGRAM + "\n".join(WRONG) + "\n")
    for k, (line, words) in enumerate(WRONG.items(), start + 1):
        errors = [x for x in found if x.startswith(f"program.py:{k}:")]
        assert any(words in x for x in errors), f"{line}: {errors}"


@pytest.mark.parametrize("name", ["sum", "matmul", "gelu", "split", "arange", "lstm"])
def test_stub_has_the_arguments_of_the_function(package, name):
    function = getattr(tl, name)
    home = function.__module__.replace(".", "/")
    text = (package / f"{home}.pyi").read_text()
    line = next(x for x in text.splitlines() if x.startswith(f"def {name}("))
    for parameter in inspect.signature(function).parameters:
        assert parameter in line


def test_words_become_types():
    assert type_stubs.annotation("Tensor of shape (N, C)") == "_ArrayLike"
    assert type_stubs.annotation("int or tuple of int, optional") == (
        "int | Sequence[int] | None"
    )
    assert type_stubs.annotation('{"mean", "sum"}, default "mean"') == (
        'Literal["mean", "sum"]'
    )
    assert type_stubs.annotation("something else") == "Any"
