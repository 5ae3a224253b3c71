"""A two-layer network with the gradients by hand (course, lecture 3).

Model ``h(X) = relu(X W1) W2``. Over a batch of m, with ``Z1 = relu(X W1)``,
``G2 = softmax(Z1 W2) - I_y`` and ``G1 = 1{Z1 > 0} * (G2 W2ᵀ)``, the gradients are
``Xᵀ G1 / m`` and ``Z1ᵀ G2 / m``.

Run it: ``python examples/two_layer_by_hand.py``
"""

import math

from harness import device_of

import tensorlib as tl


def loss_and_gradients(x, y, w1, w2):
    """Return the mean cross-entropy and its gradients.

    Parameters
    ----------
    x : Tensor
        Samples, shape ``(m, n)``.
    y : Tensor
        Classes, int64, shape ``(m,)``.
    w1 : Tensor
        First weights, shape ``(n, d)``.
    w2 : Tensor
        Second weights, shape ``(d, k)``.

    Returns
    -------
    tuple of Tensor
        Loss ``()``, gradient of `w1` ``(n, d)``, gradient of `w2` ``(d, k)``.
    """
    m = x.shape[0]
    z1 = tl.relu(x @ w1)
    logits = z1 @ w2
    labels = tl.one_hot(y, w2.shape[1]).astype(x.dtype)
    loss = (tl.logsumexp(logits, axis=1) - (logits * labels).sum(axis=1)).mean()
    g2 = tl.softmax(logits, axis=1) - labels
    g1 = (z1 > 0).astype(x.dtype) * (g2 @ w2.T)
    return loss, x.T @ g1 / m, z1.T @ g2 / m


def train_epoch(x, y, w1, w2, lr=0.2, batch=50):
    """Go once over the data in order, changing the weights in place."""
    for start in range(0, x.shape[0], batch):
        part = slice(start, min(start + batch, x.shape[0]))
        _, gradient1, gradient2 = loss_and_gradients(x[part], y[part], w1, w2)
        w1 -= lr * gradient1
        w2 -= lr * gradient2


def error_rate(x, y, w1, w2):
    """Return the share of samples classified wrongly."""
    predicted = tl.argmax(tl.relu(x @ w1) @ w2, axis=1)
    return (predicted != y).astype(tl.float32).mean().item()


def load(train):
    """Return the digits as rows of 64 pixels, and their classes."""
    digits = tl.data.Digits(train=train)
    return digits.images.reshape((-1, 64)), digits.targets


def main(epochs=40, hidden=100, seed=0, device="cpu"):
    """Train; return the test error."""
    x, y = (part.to(device) for part in load(train=True))
    x_test, y_test = (part.to(device) for part in load(train=False))
    generator = tl.Generator(seed)
    w1 = tl.randn((64, hidden), generator=generator) / math.sqrt(hidden)
    w2 = tl.randn((hidden, 10), generator=generator) / math.sqrt(10)
    w1, w2 = w1.to(device), w2.to(device)
    for epoch in range(1, epochs + 1):
        train_epoch(x, y, w1, w2)
        if epoch % 10 == 0:
            loss, _, _ = loss_and_gradients(x, y, w1, w2)
            test_error = error_rate(x_test, y_test, w1, w2)
            print(f"epoch {epoch:2}  loss {loss.item():.4f}  test {test_error:.2%}")
    return error_rate(x_test, y_test, w1, w2)


if __name__ == "__main__":
    main(device=device_of(__doc__))
