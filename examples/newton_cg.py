"""Softmax regression by Newton's method without a Hessian (course, lectures 5 and 6).

A Newton step s solves ``H s = -g``. For 65 x 10 weights H has 650 x 650 entries;
conjugate gradients need its products with vectors alone, and ``tl.hvp`` gives each for
a small multiple of the gradient's cost. The loss is convex; weight decay makes H
positive definite. Each step is as accurate as it has to be, and is halved until the
loss falls enough (Armijo's rule).

Run it: ``python examples/newton_cg.py``

References
----------
J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., algorithm 7.1.
"""

import math

from harness import device_of
from softmax_regression import error_rate, load

import tensorlib as tl

DECAY = 1e-3


def loss_on(x, y):
    """Return the regularized loss as a function of the weights."""

    def loss(theta):
        return tl.cross_entropy(x @ theta, y) + 0.5 * DECAY * (theta * theta).sum()

    return loss


def conjugate_gradients(product, b, tolerance, most=250):
    """Return x with ``|A x - b| <= tolerance * |b|``, and the number of products.

    Parameters
    ----------
    product : callable
        ``v -> A v`` for a positive definite A.
    b : Tensor
    tolerance : float
    most : int
        Products at most.
    """
    x, residual = tl.zeros_like(b), b
    direction, square = b, (b * b).sum().item()
    limit = tolerance**2 * square
    count = 0
    while square > limit and count < most:
        bent = product(direction)
        step = square / (direction * bent).sum().item()
        x, residual = x + step * direction, residual - step * bent
        before, square = square, (residual * residual).sum().item()
        direction = residual + square / before * direction
        count += 1
    return x, count


def newton_step(loss, theta):
    """Return the weights after one step, the gradient's norm and the products used."""
    value, g = tl.value_and_grad(loss)(theta)
    norm = math.sqrt((g * g).sum().item())
    step, count = conjugate_gradients(
        lambda v: tl.hvp(loss, (theta,), (v,))[0], -g, min(0.5, math.sqrt(norm))
    )
    slope, rate = (g * step).sum().item(), 1.0
    while loss(theta + rate * step).item() > value.item() + 1e-4 * rate * slope:
        rate /= 2
    return theta + rate * step, norm, count


def main(tolerance=1e-8, device="cpu"):
    """Train until the gradient is as small as that; return its norms and the error."""
    x, y = (part.to(device) for part in load(train=True))
    x = x.astype("float64")
    loss = loss_on(x, y)
    theta = tl.zeros((x.shape[1], 10), dtype="float64").to(device)
    norms = []
    while not norms or norms[-1] > tolerance:
        theta, norm, count = newton_step(loss, theta)
        norms.append(norm)
        print(f"step {len(norms):2}  gradient {norm:.1e}  {count} products with H")
    x_test, y_test = (part.to(device) for part in load(train=False))
    return norms, error_rate(x_test.astype("float64"), y_test, theta)


if __name__ == "__main__":
    print(f"test error {main(device=device_of(__doc__))[1]:.2%}")
