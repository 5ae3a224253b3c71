"""The fused optimizers' CUDA kernels against the CPU's, on the emulator."""

import ctypes

import numpy as np
import pytest
from cuda_emulation import DECLINED, OK, find_compiler, load

import tensorlib as tl
from tensorlib.ops.fused_optim import optimizer_step

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

RULES = {
    "sgd": 0, "sgd_momentum": 1, "rmsprop": 1, "adagrad": 1, "lion": 1, "adam": 2,
    "adamax": 2, "nadam": 2, "radam": 2, "rmsprop_momentum": 2, "rmsprop_centered": 2,
    "adadelta": 2, "rprop": 2, "adam_amsgrad": 3, "rmsprop_centered_momentum": 3,
}  # fmt: skip
SETTINGS = (1.0, 0.01, 0.99, 0.1, 0.2, 0.7, 0.3, 0.9, 0.6, 0.4)


@pytest.fixture(scope="module")
def kernels():
    return load("optim")


def step(kernels, rule, columns, grads, dtype):
    settings = (ctypes.c_double * 16)(*SETTINGS)
    out = [column[i] for i in range(len(grads)) for column in columns]
    op = f"{rule}/{len(columns) - 1}"
    return kernels.call(op, out, grads, settings, dtype, orders=1)


def check(kernels, rule, sizes, dtype, offset=0):
    rng = np.random.default_rng(0)

    def tensors():
        made = [np.abs(rng.normal(size=n + offset)).astype(dtype) + 1 for n in sizes]
        return [x[offset:] for x in made]

    columns = [tensors() for _ in range(RULES[rule] + 1)]
    if "centered" in rule:  # squares are larger than the mean's
        columns[1] = [np.asarray(20 * x, dtype) for x in columns[1]]
    grads = [g - np.asarray(1.5, dtype) for g in tensors()]
    wide = "float32" if dtype == "float16" else dtype
    expected = [[tl.tensor(x.astype(wide)) for x in column] for column in columns]
    given = [tl.tensor(g.astype(wide)) for g in grads]
    optimizer_step(rule, expected[0], given, expected[1:], SETTINGS)
    assert step(kernels, rule, columns, grads, dtype) == OK
    unit = 8 * np.finfo(dtype).eps
    for mine, theirs in zip(columns, expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert np.allclose(a, b.numpy().astype(dtype), rtol=unit, atol=unit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_rule_steps_as_on_the_cpu(kernels, rule, dtype):
    check(kernels, rule, [1, 5, 0, 1000, 64], dtype)
    check(kernels, rule, [7, 130], dtype, offset=1)


@pytest.mark.parametrize("rule", ["sgd", "sgd_momentum", "lion", "adam"])
def test_16_bit_parameters_are_computed_in_float32(kernels, rule):
    check(kernels, rule, [1, 9, 1000], "float16")


def test_many_parameters_take_several_launches(kernels):
    check(kernels, "adam", [i % 5 for i in range(300)], "float32")


def test_large_parameters_are_shared_by_blocks(kernels):
    check(kernels, "sgd_momentum", [20000, 8192, 8193, 3], "float32")


def test_a_parameter_that_is_not_contiguous_is_declined(kernels):
    p, g = np.ones(4, np.float32), np.ones(8, np.float32)[::2]
    assert step(kernels, "sgd", [[p]], [g], "float32") == DECLINED
