"""Dependencies go one way, in Python, Cython and C."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tensorlib"

# layer: the layers it may use, besides itself.
ALLOWED = {
    "core": set(),
    "kernels": {"core"},
    "autograd": {"core"},
    "ops": {"core", "kernels", "autograd"},
    "linalg": {"core", "kernels", "autograd", "ops"},
    "fft": {"core", "kernels", "autograd", "ops"},
    "data": {"core", "ops", "public"},
    "nn": {"core", "autograd", "ops", "public"},
    "optim": {"core", "autograd", "ops", "nn", "public"},
    "transforms": {"core", "autograd", "ops", "nn"},
    "cli": {"core", "autograd", "ops", "nn", "optim", "data", "kernels", "public"},
}
# Tools that apply ops, to check rules and to compute again; loaded when asked for.
EXCEPTIONS = {
    "tensorlib/autograd/budget.py": {"ops"},
    "tensorlib/autograd/check.py": {"ops"},
    "tensorlib/autograd/recompute.py": {"ops"},
}
# Kernels see tl_buffer, never Tensor.
CORE_FOR_KERNELS = {
    "abi",
    "absent",
    "batching",
    "dispatch",
    "errors",
    "layout",
    "remote",
    "storage",
    "threads",
    "dtype",
    "widening",
}
SUFFIXES = (".py", ".pyx", ".pxd", ".pyx.in")


def sources(layer):
    return [
        path
        for path in sorted((PACKAGE / layer).rglob("*"))
        if path.name.endswith(SUFFIXES)
    ]


def python_imports(text):
    """Modules that a Python file imports, with the names taken from each."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def cython_imports(text):
    """The same for Cython, which has no parser here."""
    text = re.sub(r"#.*", "", text)
    joined = re.sub(r"\(([^()]*)\)", lambda m: m[1].replace("\n", " "), text)
    for line in joined.splitlines():
        found = re.match(r"\s*from\s+([\w.]+)\s+c?import\s+(.+)", line)
        if found:
            for name in found[2].split(","):
                yield f"{found[1]}.{name.split(' as ')[0].strip()}"
        found = re.match(r"\s*c?import\s+([\w.]+)", line)
        if found:
            yield found[1]


def imports(path):
    text = path.read_text(encoding="utf-8")
    found = python_imports(text) if path.suffix == ".py" else cython_imports(text)
    for name in found:
        parts = name.split(".")
        if parts[0] == "tensorlib":
            yield parts[1] if len(parts) > 1 else "public", parts


@pytest.mark.parametrize("layer", ALLOWED)
def test_layer_imports_only_lower_layers(layer):
    wrong = []
    for path in sources(layer):
        name = path.relative_to(ROOT).as_posix()
        allowed = ALLOWED[layer] | {layer} | EXCEPTIONS.get(name, set())
        for target, parts in imports(path):
            if target in ALLOWED and target not in allowed:
                wrong.append(f"{name}: {'.'.join(parts)}")
    assert wrong == []


@pytest.mark.parametrize("layer", [x for x in ALLOWED if "public" not in ALLOWED[x]])
def test_lower_layer_does_not_use_the_public_package(layer):
    wrong = [
        str(path.relative_to(ROOT))
        for path in sources(layer)
        for target, parts in imports(path)
        if target == "public" or (target not in ALLOWED and len(parts) == 2)
    ]
    assert wrong == []


def test_kernels_never_see_tensor():
    wrong = [
        f"{path.relative_to(ROOT)}: {'.'.join(parts)}"
        for path in sources("kernels")
        for target, parts in imports(path)
        if target == "core" and len(parts) > 2 and parts[2] not in CORE_FOR_KERNELS
    ]
    assert wrong == []


def test_headers_include_only_headers():
    """include/ knows neither CUDA's headers nor Python's."""
    wrong = []
    for path in sorted((ROOT / "include").rglob("*.h")):
        for name in re.findall(r'#\s*include\s*[<"]([^>"]+)', path.read_text("utf-8")):
            if name.startswith(("cuda", "Python", "omp", "cblas")):
                wrong.append(f"{path.name}: {name}")
    assert wrong == []


def test_cuda_sources_include_only_headers_of_include():
    wrong = []
    for path in sorted((ROOT / "cuda").glob("*.cu*")):
        for name in re.findall(r'#\s*include\s*"([^"]+)"', path.read_text("utf-8")):
            if not name.startswith("tensorlib/") and not (path.parent / name).exists():
                wrong.append(f"{path.name}: {name}")
            if name.startswith("tensorlib/") and not (ROOT / "include" / name).exists():
                wrong.append(f"{path.name}: {name}")
    assert wrong == []


@pytest.mark.parametrize("name", ["utils", "misc", "helpers", "common"])
def test_files_carry_their_family_name(name):
    found = [p for p in PACKAGE.rglob(f"{name}.*") if p.name.endswith(SUFFIXES)]
    assert found == []


def test_modules_with_parallel_loops_use_the_pool():
    for path in (PACKAGE / "kernels").glob("*.pyx*"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"\bin prange\(", text):
            assert "\nuse_pool(thread_pool())\n" in text, path.name


def test_tests_import_nothing_that_setting_up_does_not_install():
    """Peers are optional: `pytest.importorskip` loads them."""
    optional = {"torch", "jax", "einops", "sklearn", "PIL", "array_api_strict"}
    found = []
    for path in (ROOT / "tests").glob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in getattr(node, "names", [])]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif not isinstance(node, ast.Import):
                continue
            found += [f"{path.name}: {n}" for n in names if n.split(".")[0] in optional]
    assert not found, "\n".join(found)
