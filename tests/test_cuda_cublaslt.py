"""What matmul asks of cuBLASLt, answered by such a library on the host."""

import ctypes
import subprocess

import numpy as np
import pytest
import test_cuda_matmul_kernels as matmul
from cuda_emulation import ROOT, find_compiler, load

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """The library, found where the module is told to look; counts its calls."""
    folder = tmp_path_factory.mktemp("nvidia")
    target = folder / "libcublasLt.so.13"
    source = ROOT / "tests" / "cuda_fake_cublaslt.cpp"
    command = [find_compiler(), "-shared", "-fPIC", "-O1", "-w", source, "-o", target]
    subprocess.run(command, check=True)
    # One file more than others load: a copy of its own, which has looked for nothing.
    kernels = load("matmul", "cublaslt", "libraries", "pool")
    library = kernels.library
    library.tl_cuda_set_library_path(f"/nowhere:{folder}".encode())
    found = ctypes.CDLL(str(target))
    flush = ctypes.cast(library.tl_cuda_synchronize, ctypes.c_void_p)
    ctypes.c_void_p.in_dll(found, "fake_flush").value = flush.value
    library.tl_cuda_set_small_products(0)  # or no test's product would get there
    yield kernels, found
    library.tl_cuda_set_small_products(1)
    ctypes.c_void_p.in_dll(found, "fake_flush").value = None


def calls(found):
    return ctypes.c_int.in_dll(found, "fake_calls").value


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "layout", ["rows", "at", "bt", "both", "flipped", "spread", "ct"]
)
@pytest.mark.parametrize(
    "shape", [(33, 140, 18), (1, 200, 400), (130, 1, 600), (80, 70, 40)]
)
def test_cublaslt_is_given_the_product_of_any_strides(fake, dtype, layout, shape):
    kernels, found = fake
    before = calls(found)
    matmul.test_matmul_of_any_strides_matches_numpy(kernels, dtype, layout, shape)
    assert calls(found) > before or 1 in shape[:2]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_cublaslt_is_given_bias_and_output(fake, dtype):
    kernels, found = fake
    before = calls(found)
    matmul.test_matmul_with_bias_begins_each_row_with_it(kernels, dtype, (40, 72, 48))
    matmul.test_matmul_accumulates_into_the_output(kernels, dtype, (40, 72, 48))
    assert (calls(found) > before) == (dtype != "bfloat16")


@pytest.mark.parametrize(
    "case", ["same", "a once", "b once", "heads", "crossed", "many"]
)
def test_cublaslt_is_given_batches(fake, case):
    kernels, _ = fake
    matmul.test_matmul_of_batches_matches_numpy(kernels, "float32", case)


def test_cublaslt_is_spared_small_products(fake):
    kernels, found = fake
    kernels.library.tl_cuda_set_small_products(1)
    before = calls(found)
    matmul.test_matmul_of_any_strides_matches_numpy(
        kernels, "float32", "bt", (80, 70, 40)
    )
    kernels.library.tl_cuda_set_small_products(0)
    assert calls(found) == before


def test_cublaslt_is_asked_for_a_kernel_once(fake):
    kernels, found = fake
    plans = ctypes.c_int.in_dll(found, "fake_plans")
    a, b = np.ones((65, 66), np.float32), np.ones((66, 67), np.float32)
    for _ in range(3):
        matmul.run(kernels, np.empty((65, 67), np.float32), [a, b], "float32")
        before = plans.value
    matmul.run(kernels, np.empty((65, 67), np.float32), [a, b], "float32")
    assert plans.value == before
