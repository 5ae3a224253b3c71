"""What convolutions ask of cuDNN, answered by such a library on the host."""

import ctypes
import subprocess

import pytest
import test_cuda_conv_kernels as conv
from cuda_emulation import ROOT, find_compiler, load

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")
LEFT_OUT = (
    "depthwise",
    "multiplied",
    "pointwise",
    "pointwise groups",
    "odd pointwise",
    "cropped",
    "one pixel",
    "many columns",
)


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """The library, found where the module is told to look; counts its calls."""
    folder = tmp_path_factory.mktemp("nvidia")
    target = folder / "libcudnn.so.9"
    source = ROOT / "tests" / "cuda_fake_cudnn.cpp"
    command = [find_compiler(), "-shared", "-fPIC", "-O1", "-w", source, "-o", target]
    subprocess.run(command, check=True)
    # One file more than others load: a copy of its own, which has looked for nothing.
    kernels = load("conv", "cudnn", "matmul", "cublaslt", "libraries", "cast", "pool")
    library = kernels.library
    library.tl_cuda_set_library_path(str(folder).encode())
    found = ctypes.CDLL(str(target))
    flush = ctypes.cast(library.tl_cuda_synchronize, ctypes.c_void_p)
    ctypes.c_void_p.in_dll(found, "fake_flush").value = flush.value
    yield kernels, found
    ctypes.c_void_p.in_dll(found, "fake_flush").value = None


def calls(found):
    return ctypes.c_int.in_dll(found, "fake_calls").value


def last_math(found):
    return ctypes.c_int.in_dll(found, "fake_math").value


@conv.every
@conv.layouts
def test_cudnn_is_given_every_form_that_it_describes(fake, name, last):
    kernels, found = fake
    before = calls(found)
    conv.test_conv_matches_numpy(kernels, name, last, "float32", True)
    conv.test_conv_input_matches_numpy(kernels, name, last, "float32", True)
    conv.test_conv_weight_matches_numpy(kernels, name, last, "float32")
    case = conv.CASES[name]
    if name not in LEFT_OUT:
        # Each call runs twice; the weight's gradient of few channels is ours.
        few = case.groups == 1 and min(case.c, case.o) < 16
        assert calls(found) == before + (4 if few else 6)
    elif name not in ("depthwise", "multiplied"):
        assert calls(found) == before


@pytest.mark.parametrize(("precision", "math"), [(0, 3), (1, 0)])
def test_float32_is_rounded_to_tf32_only_where_that_is_allowed(fake, precision, math):
    kernels, found = fake
    kernels.library.tl_cuda_set_float32_precision(precision)
    try:
        conv.test_conv_matches_numpy(kernels, "plain", 0, "float32", True)
    finally:
        kernels.library.tl_cuda_set_float32_precision(0)
    assert last_math(found) == math


def test_cudnn_can_be_put_aside(fake):
    kernels, found = fake
    before = calls(found)
    kernels.library.tl_cuda_set_cudnn(0)
    conv.test_conv_matches_numpy(kernels, "plain", 0, "float32", True)
    kernels.library.tl_cuda_set_cudnn(1)
    assert calls(found) == before
