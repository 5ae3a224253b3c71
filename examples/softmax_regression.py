"""Softmax regression with the gradient by hand (course, lectures 2 and 3).

Model ``h(X) = X Θ``, loss the mean cross-entropy. With ``Z = softmax(X Θ)`` and
one-hot labels ``I_y`` the gradient over a batch of m is ``Xᵀ (Z - I_y) / m``.

Run it: ``python examples/softmax_regression.py``
"""

from harness import device_of

import tensorlib as tl


def loss_and_gradient(x, y, theta):
    """Return the mean cross-entropy and its gradient with respect to `theta`.

    Parameters
    ----------
    x : Tensor
        Samples, shape ``(m, n)``.
    y : Tensor
        Classes, int64, shape ``(m,)``.
    theta : Tensor
        Weights, shape ``(n, k)``.

    Returns
    -------
    tuple of Tensor
        Loss, shape ``()``, and gradient, shape ``(n, k)``.
    """
    logits = x @ theta
    labels = tl.one_hot(y, theta.shape[1]).astype(x.dtype)
    loss = (tl.logsumexp(logits, axis=1) - (logits * labels).sum(axis=1)).mean()
    gradient = x.T @ (tl.softmax(logits, axis=1) - labels) / x.shape[0]
    return loss, gradient


def train_epoch(x, y, theta, lr=0.5, batch=100):
    """Go once over the data in order, changing `theta` in place."""
    for start in range(0, x.shape[0], batch):
        part = slice(start, min(start + batch, x.shape[0]))
        _, gradient = loss_and_gradient(x[part], y[part], theta)
        theta -= lr * gradient


def error_rate(x, y, theta):
    """Return the share of samples classified wrongly."""
    return (tl.argmax(x @ theta, axis=1) != y).astype(tl.float32).mean().item()


def load(train):
    """Return the digits as rows of 64 pixels and a constant 1, and their classes."""
    digits = tl.data.Digits(train=train)
    pixels = digits.images.reshape((-1, 64))
    return tl.concat([pixels, tl.ones((len(digits), 1))], axis=1), digits.targets


def main(epochs=40, device="cpu"):
    """Train; return the test error."""
    x, y = (part.to(device) for part in load(train=True))
    x_test, y_test = (part.to(device) for part in load(train=False))
    theta = tl.zeros((x.shape[1], 10)).to(device)
    for epoch in range(1, epochs + 1):
        train_epoch(x, y, theta)
        if epoch % 10 == 0:
            loss, _ = loss_and_gradient(x, y, theta)
            test_error = error_rate(x_test, y_test, theta)
            print(f"epoch {epoch:2}  loss {loss.item():.4f}  test {test_error:.2%}")
    return error_rate(x_test, y_test, theta)


if __name__ == "__main__":
    main(device=device_of(__doc__))
