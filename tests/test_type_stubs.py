"""The type stubs: mypy and pyright check programs against them, as their users do."""

import importlib.util
import inspect
import re
import runpy
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import tensorlib as tl

SOURCE = Path(__file__).resolve().parent.parent / "tensorlib"
if not SOURCE.is_dir():
    pytest.skip("no sources beside tests/", allow_module_level=True)
spec = importlib.util.spec_from_file_location("type_stubs", SOURCE / "type_stubs.py")
type_stubs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(type_stubs)

TYPED_PROGRAM = Path(__file__).with_name("typed_program.py")
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
    "singular: str = tl.linalg.svd(x).S": "Incompatible types",
    "tl.fft.fft(x, axes=1)": "Unexpected keyword argument",
    "tl.where(x > 0, x)": "No overload variant",
    "x[0] = None + 1": "Unsupported",
    "x.sort().values": "no attribute",
}


def python_modules(folder):
    """The modules in Python that the build writes stubs of."""
    text = (SOURCE / "meson.build").read_text()
    table = text[text.index("python_modules = {") :].partition("\n}\n")[0]
    found = re.search(rf"'{folder}': \[(.*?)\]", table, re.S)
    return re.findall(r"'(\w+)'", found[1]) if found else []


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package as it is installed: Python modules, and stubs of the others."""
    root = tmp_path_factory.mktemp("typed")
    for path in SOURCE.rglob("*.py"):
        target = root / "tensorlib" / path.relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (root / "tensorlib" / "py.typed").touch()
    for folder in ("core", "autograd", "ops", "linalg", "fft"):
        names = [path.stem for path in (SOURCE / folder).glob("*.pyx")]
        names += python_modules(folder)
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


def test_program_that_uses_everything_passes_mypy(package):
    assert checked(package, TYPED_PROGRAM.read_text()) == []


def test_program_that_uses_everything_passes_pyright(package):
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip("pyright is not installed")
    (package / "program.py").write_text(TYPED_PROGRAM.read_text())
    found = subprocess.run(
        [pyright, "--pythonpath", sys.executable, "program.py"],
        cwd=package, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if "errors" not in found.stdout:
        pytest.skip(f"pyright does not run: {found.stderr[-200:]}")
    assert "0 errors" in found.stdout, found.stdout


def test_types_that_the_program_asserts_are_those_at_run_time(monkeypatch):
    seen = []

    def checked_type(value, kind):
        seen.append(kind)
        origin = typing.get_origin(kind)
        held = origin if origin in (list, tuple) else kind
        assert isinstance(value, held), (value, kind)
        if origin in (list, tuple):
            element = typing.get_args(kind)[0]
            assert all(isinstance(item, element) for item in value)
        return value

    monkeypatch.setattr(typing, "assert_type", checked_type)
    runpy.run_path(str(TYPED_PROGRAM))
    assert len(seen) > 90


def test_wrong_lines_are_found(package):
    start = len(PROGRAM.splitlines())
    found = checked(package, PROGRAM + "\n".join(WRONG) + "\n")
    for k, (line, words) in enumerate(WRONG.items(), start + 1):
        errors = [x for x in found if x.startswith(f"program.py:{k}:")]
        assert any(words in x for x in errors), f"{line}: {errors}"


@pytest.mark.parametrize(
    "name", ["sum", "matmul", "gelu", "split", "arange", "lstm", "roll", "histogram"]
)
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
