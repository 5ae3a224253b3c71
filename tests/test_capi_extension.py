"""An extension written outside tensorlib builds against it and extends it."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tensorlib as tl

pytest.importorskip("Cython")
pytest.importorskip("setuptools")

SOURCES = Path(__file__).parent / "capi_extension"


@pytest.fixture(scope="module")
def extension(tmp_path_factory):
    if not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("capi") / "build"
    shutil.copytree(SOURCES, folder)
    built = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("cube*.so")
    spec = importlib.util.spec_from_file_location("cube", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "view", [lambda a: a, lambda a: a[::-2], lambda a: a.T], ids=["c", "negative", "t"]
)
def test_cube_any_strides_equals_numpy(extension, dtype, view):
    a = view(np.linspace(-2, 2, 60).reshape(6, 10).astype(dtype))
    got = extension.cube(tl.asarray(a)).numpy()
    assert got.dtype == a.dtype
    np.testing.assert_allclose(got, a**3, rtol=1e-6)


def test_cube_integers_compute_in_float32(extension):
    assert extension.cube([1, 2, 3]).tolist() == [1.0, 8.0, 27.0]
    assert extension.cube([1, 2, 3]).dtype == tl.float32


def test_cube_backward_uses_the_extension_rule(extension):
    x = tl.tensor([1.0, -2.0], requires_grad=True)
    y = extension.cube(x)
    y.backward(tl.ones(2))
    assert y.grad_fn.name == "capi_extension.cube"
    assert x.grad.tolist() == [3.0, 12.0]


def test_cube_passes_gradcheck_twice(extension):
    x = tl.tensor([0.5, -1.5, 2.0], dtype=tl.float64, requires_grad=True)
    assert tl.autograd.gradcheck(extension.cube, (x,))
    assert tl.autograd.gradgradcheck(extension.cube, (x,))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cube_under_vmap_equals_cube(extension, dtype):
    # One of its two kernels is a loop over elements; the other's rule is stated.
    x = tl.tensor(np.linspace(-2, 2, 12).reshape(3, 4).astype(dtype))
    found = tl.vmap(extension.cube, 1, 1)(x)
    np.testing.assert_array_equal(found.numpy(), extension.cube(x).numpy())
    slopes = tl.vmap(tl.grad(lambda r: extension.cube(r).sum()))(x)
    np.testing.assert_allclose(slopes.numpy(), 3 * x.numpy() ** 2, rtol=1e-6)


def test_require_api_version_other_version_raises(extension):
    with pytest.raises(ImportError, match="compile the extension again"):
        extension.wrong_version()


def test_missing_kernel_names_the_op_and_dtype(extension):
    from tensorlib.core.dispatch import registered_kernels

    assert len(registered_kernels()["capi_extension.cube"]) == 2


@pytest.mark.parametrize("op", [
    tl.add, tl.matmul, tl.less, lambda a, b: tl.concat([a, b]),
    lambda a, b: tl.where(a > 0, a, b), lambda a, b: tl.nn.functional.linear(a, b),
    lambda a, b: a.__iadd__(b),
])  # fmt: skip
def test_op_on_mixed_devices_names_both(extension, op):
    x = tl.ones((2, 2))
    with pytest.raises(tl.DeviceError, match=r"expected .* one device, got .*cuda:0"):
        op(x, extension.said_on_cuda(x))
