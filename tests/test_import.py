"""What `import tensorlib` loads, and which kernels it chooses."""

import os
import subprocess
import sys

import pytest

import tensorlib as tl
from tensorlib.kernels import instruction_set

TESTS = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(tl.__file__)))
HEAVY = (
    "numpy",
    "scipy",
    "torch",
    "ctypes",
    "safetensors",
    "tensorlib.fft",
    "tensorlib.linalg",
    "tensorlib.nn",
    "tensorlib.optim",
    "tensorlib.data",
    "tensorlib.serialization",
    "tensorlib.transforms",
    "tensorlib.cli",
    "inspect",
    "typing",
    "dataclasses",
    "pathlib",
    "argparse",
    "logging",
    "json",
    "concurrent.futures",
    "multiprocessing",
    "asyncio",
    "unittest",
    "decimal",
)


def run(code, *options, **environment):
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": LIBRARY, **environment},
        cwd=TESTS,
    )


def loaded_by(code):
    # -S: what site-packages' own .pth files import is not ours.
    code = (
        f"import sys\nsys.path[:0] = {[LIBRARY, *sys.path]!r}\n"
        f"before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    )
    found = run(code, "-S")
    assert found.returncode == 0, found.stderr
    return set(found.stdout.split())


@pytest.mark.parametrize("name", HEAVY)
def test_import_does_not_load(name, loaded):
    assert name not in loaded


@pytest.fixture(scope="module")
def loaded():
    return loaded_by("import tensorlib")


def test_work_without_arrays_does_not_load_numpy():
    found = loaded_by(
        "import tensorlib as tl\n"
        "x = tl.randn(4, 4, requires_grad=True)\n"
        "tl.cross_entropy(tl.gelu(x @ x), tl.tensor([0, 1, 2, 3])).backward()\n"
        "repr(x.grad), x.grad.tolist(), bytes(memoryview(x.detach())), x[1:, None]"
    )
    assert "numpy" not in found


def test_import_prints_nothing_and_warns_of_nothing():
    found = run("import tensorlib", "-W", "error")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["nn", "optim", "data", "fft"])
def test_packages_load_at_first_use(name):
    found = run(
        f"import sys, tensorlib as tl; tl.{name}\n"
        f"print('tensorlib.{name}' in sys.modules)"
    )
    assert found.stdout.strip() == "True", found.stderr


def test_unknown_attribute_raises():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tl.nonsense  # noqa: B018


def test_dir_lists_lazy_names():
    assert {"nn", "optim", "data", "save", "load", "add", "Tensor"} <= set(dir(tl))


def test_star_import_of_submodules_works():
    found = run(
        "import tensorlib.autograd as a\n"
        "print([getattr(a, n) for n in a.__all__] != [])"
    )
    assert found.stdout.strip() == "True", found.stderr


# ---- instruction sets ----------------------------------------------------------
# Elementwise results may differ by an ulp between instruction sets: fused or not.
SAMPLE = """
import tensorlib as tl
from tensorlib.kernels import instruction_set
g = tl.Generator(3)
x, w = tl.randn(37, 53, generator=g), tl.randn(53, 29, generator=g)
results = [
    x.exp(), x.tanh(), tl.gelu(x), tl.softmax(x), tl.layer_norm(x, 53), x.sum(axis=0),
    x @ w, x.argmax(axis=1), tl.arange(100) // 7, x[::3, ::-2] * 2,
    (x * 9).astype("int32"), x > 0, tl.rand(100, generator=g),
    tl.randint(0, 9, (50,), generator=g),
]
print(instruction_set())
for y in results:
    print(y.reshape(-1).tolist())
"""


@pytest.fixture(scope="module")
def native():
    return run(SAMPLE).stdout.splitlines()


@pytest.mark.parametrize("isa", ["v2", "v3"])
def test_lower_instruction_set_gives_the_same_results(isa, native):
    found = run(SAMPLE, TENSORLIB_ISA=isa)
    if found.returncode:
        assert "ModuleNotFoundError" in found.stderr or "ImportError" in found.stderr
        pytest.skip(f"no {isa} kernels in this build, or the processor has none")
    lines = found.stdout.splitlines()
    assert lines[0] == isa
    assert len(lines) == len(native)
    for ours, theirs in zip(lines[1:], native[1:], strict=True):
        a, b = eval(ours), eval(theirs)
        if isinstance(a[0], float):
            # 53 products of order one, in another order.
            assert a == pytest.approx(b, rel=1e-5, abs=2e-5)
        else:
            assert a == b


@pytest.mark.parametrize("isa", ["v9", "avx2", "V3", "3"])
def test_unknown_instruction_set_raises(isa):
    found = run("import tensorlib", TENSORLIB_ISA=isa)
    assert found.returncode == 1
    assert (
        f"ImportError: tensorlib: TENSORLIB_ISA='{isa}' is not available"
        in found.stderr
    )
    assert "supports" in found.stderr


def test_instruction_set_is_named():
    assert instruction_set() in {"v2", "v3", "v4", "generic"}
