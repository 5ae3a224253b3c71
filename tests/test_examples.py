"""The course's examples do what they say."""

import importlib.util
import math
from pathlib import Path

import pytest

import tensorlib as tl

FOLDER = Path(__file__).parent.parent / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_softmax_regression_gradient_equals_autograd():
    module = example("softmax_regression")
    x, y = module.load(train=False)
    theta = tl.randn((65, 10), generator=tl.Generator(0))
    loss, by_hand = module.loss_and_gradient(x, y, theta)
    theta.requires_grad = True
    expected = tl.cross_entropy(x @ theta, y)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert tl.abs(by_hand - theta.grad).max().item() < 1e-6


def test_softmax_regression_learns():
    assert example("softmax_regression").main(epochs=20) < 0.06


def test_two_layer_gradients_equal_autograd():
    module = example("two_layer_by_hand")
    x, y = module.load(train=False)
    w1 = tl.randn((64, 30), generator=tl.Generator(0)) * 0.1
    w2 = tl.randn((30, 10), generator=tl.Generator(1)) * 0.1
    loss, by_hand1, by_hand2 = module.loss_and_gradients(x, y, w1, w2)
    w1.requires_grad = w2.requires_grad = True
    expected = tl.cross_entropy(tl.relu(x @ w1) @ w2, y)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert tl.abs(by_hand1 - w1.grad).max().item() < 1e-6
    assert tl.abs(by_hand2 - w2.grad).max().item() < 1e-6


def test_two_layer_learns():
    assert example("two_layer_by_hand").main(epochs=20) < 0.05


def test_worked_example_has_the_lecture_derivatives():
    expected = (math.log(2) + 10 - math.sin(5), 5.5, 2 - math.cos(5))
    for found in example("autodiff_worked_example").main():
        assert found == pytest.approx(expected, rel=1e-12)


def test_mlp_residual_learns():
    assert example("mlp_residual").main(epochs=8) < 0.04
