"""The check of gradients finds what is wrong and refuses what it cannot check."""

import pytest
from sample_leaves import leaf

import tensorlib as tl


def test_gradcheck_finds_a_wrong_gradient():
    def wrong(x):
        y = x * x
        return y.detach() + (x * 3 - (x * 3).detach())

    with pytest.raises(tl.GraphError, match="differences"):
        tl.autograd.gradcheck(wrong, leaf(1.0, 2.0))


def test_gradcheck_refuses_float32():
    with pytest.raises(tl.DTypeError, match="float64"):
        tl.autograd.gradcheck(lambda x: x, tl.ones(2, requires_grad=True))


def test_gradcheck_refuses_constants():
    with pytest.raises(tl.GraphError, match="requires grad"):
        tl.autograd.gradcheck(lambda x: x, tl.ones(2, dtype="float64"))
