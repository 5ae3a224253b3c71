"""Arrays with the tensors beside them, for tests against NumPy."""

import math

import numpy as np
from hypothesis import HealthCheck, settings

import tensorlib as tl

QUICK = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
VIEWS = {
    "c": lambda a: a,
    "fortran": lambda a: np.asfortranarray(a),
    "transposed": lambda a: a.T,
    "stepped": lambda a: a[::2, 1::3],
    "negative": lambda a: a[::-1, ::-2],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "empty": lambda a: a[:0],
    "scalar": lambda a: a[0, 0, ...],
}


def numbered(shape, dtype="int64"):
    a = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    return a, tl.tensor(a)


def assert_same(x, a):
    assert x.shape == a.shape, f"{x.shape} is not {a.shape}"
    assert x.dtype.name == a.dtype.name, f"{x.dtype} is not {a.dtype}"
    np.testing.assert_array_equal(x.numpy(), a)


def sample(dtype, shape=(6, 8)):
    return (np.arange(np.prod(shape)).reshape(shape) % 7).astype(dtype)
