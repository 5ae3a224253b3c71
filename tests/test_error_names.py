"""Errors begin with the name of the function that was called, whatever it calls."""

import inspect
import re
from itertools import chain

import numpy as np
import pytest
from op_samples import OPS

import tensorlib as tl

# Rows whose function is a composition of several, or an operator.
COMPOSED = re.compile(
    r"getitem|setitem|optimizer_step|fft\..*|linalg\.(lu_solve|cholesky\w*|eigh|eigvalsh)"
)
# What is wrong with an argument by itself: an index, a truth value, a dtype, a device.
ARGUMENTS = {"index", "bool", "item", "iter", "dtype", "device", "requires_grad"}
HOSTILE = (
    lambda: None,
    lambda: "a",
    lambda: 99,
    lambda: -99,
    lambda: 1.5,
    lambda: (9, 9),
    lambda: [[1, 2], [3]],
    lambda: 10**20,
    lambda: float("nan"),
    lambda: np.array([1.0], dtype=object),
    lambda: tl.tensor(True),
    lambda: tl.ones((7, 5)),
    lambda: tl.ones((0, 3)),
    lambda: tl.zeros((1,) * 6),
    lambda: tl.zeros((3, 3)),
    lambda: tl.full((2, 3, 3), float("nan")),
    lambda: tl.tensor([-99, 99]),
    lambda: tl.asarray([1j, 2]),
)


def tensors(value):
    if isinstance(value, np.ndarray):
        return tl.tensor(value)
    if type(value) in (list, tuple):
        return type(value)(map(tensors, value))
    return value


def keywords(op, call):
    """The names of arguments that the call leaves out."""
    found = inspect.signature(op.function).parameters.values()
    named = [
        p.name for p in found if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    before = [p.name for p in found][: len(call.args)]
    return [name for name in named if name not in before]


def spoilt(op):
    """Calls of the row with one argument each replaced by something else."""
    dtype = "float32" if "float32" in op.dtypes else op.dtypes[-1]
    for call in op.calls(dtype, np.random.default_rng(0))[:3]:
        for k in chain(range(len(call.args)), keywords(op, call)):
            for make in HOSTILE:
                args = [tensors(x) for x in call.args]
                kwargs = {name: tensors(x) for name, x in call.kwargs.items()}
                (args if isinstance(k, int) else kwargs)[k] = make()
                yield args, kwargs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "op", [op for op in OPS if not COMPOSED.match(op.name)], ids=str
)
def test_error_begins_with_the_name_of_the_function(op):
    names = {op.name, op.name.rstrip("_"), op.name.rpartition(".")[2], *op.covers}
    for args, kwargs in spoilt(op):
        try:
            op.function(*args, **kwargs)
        except Exception as error:
            prefix = re.match(r"(\w+): ", str(error))
            assert not prefix or prefix[1] in names | ARGUMENTS, (args, kwargs)


MATRIX = np.array([[1.0, 2.0], [2.0, 4.0]])
CALLS = {
    "fft": lambda: tl.fft.fft("a"),
    "irfft2": lambda: tl.fft.irfft2(tl.ones((4, 4)), s=(10**20, 1)),
    "cholesky": lambda: tl.linalg.cholesky(tl.tensor(MATRIX)),
    "cond": lambda: tl.linalg.cond(tl.full((2, 2), float("nan"))),
    "embedding": lambda: tl.embedding(tl.tensor([3]), tl.ones((3, 2))),
    "eigh": lambda: tl.linalg.eigh(tl.ones((2, 3))),
    "inv": lambda: tl.linalg.inv(tl.tensor(MATRIX)),
    "lu_solve": lambda: tl.linalg.lu_solve(
        tl.ones((2, 2)), tl.tensor([0, 1], dtype="int32"), tl.ones((3, 1))
    ),
    "matrix_power": lambda: tl.linalg.matrix_power(tl.tensor(MATRIX), -1),
    "pinv": lambda: tl.linalg.pinv(tl.full((2, 2), float("nan"))),
    "solve": lambda: tl.linalg.solve(tl.tensor(MATRIX), tl.ones(2, dtype="float64")),
    "svdvals": lambda: tl.linalg.svdvals(tl.full((2, 2), float("nan"))),
    "take": lambda: tl.take(tl.ones(3), tl.tensor([3])),
    "tensor": lambda: tl.tensor([[1, 2], [3]]),
    "asarray": lambda: tl.asarray(None),
    "exp": lambda: tl.exp([[1, 2], [3]]),
    "assign": lambda: tl.ones(2).__setitem__(0, tl.tensor(1j)),
}


@pytest.mark.parametrize("name", CALLS)
def test_error_of_a_composite_names_it(name):
    with pytest.raises((ValueError, TypeError, IndexError), match=f"^{name}: "):
        CALLS[name]()
