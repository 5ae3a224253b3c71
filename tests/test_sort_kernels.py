"""Quicksort in registers, on paths that rows of elements do not reach."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cuda_emulation import find_compiler

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    if find_compiler() is None:
        pytest.skip("there is no g++")
    path = tmp_path_factory.mktemp("sort") / "sort_kernels.so"
    command = [find_compiler(), "-std=c++17", "-O1", "-march=native", "-w", "-shared"]
    command += ["-fPIC", f"-I{ROOT / 'include'}", "-o", str(path)]
    subprocess.run([*command, str(ROOT / "tests" / "sort_kernels.cpp")], check=True)
    library = ctypes.CDLL(str(path))
    if not hasattr(library, "sort_uint32"):
        pytest.skip("quicksort is for AVX-512 and GCC")
    return library


@pytest.mark.parametrize("bad", [0, 1, 2, 5])
@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("limit", [3, 1000, 2**31])
def test_rest_after_bad_bounds_is_sorted_by_radix(kernels, bad, dtype, limit):
    rng = np.random.default_rng(bad)
    function = getattr(kernels, f"sort_{np.dtype(dtype).name}")
    for n in (1, 512, 513, 5000, 200_003):
        # Most keys are alike, so that bounds divide badly more often than not.
        x = np.where(rng.random(n) < 0.95, limit // 2, rng.integers(0, limit, n))
        x = x.astype(dtype)
        out = np.empty_like(x)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, out)]
        function(*pointers, ctypes.c_int64(n), ctypes.c_int(bad))
        np.testing.assert_array_equal(out, np.sort(x))
