"""Layers in the style of Caffe, with forward and backward written by hand (lecture 7).

Early frameworks had no automatic differentiation: a layer was an object with two
methods, ``forward(bottom) -> top`` and ``backward(top, propagate_down, bottom)``, and a
network a list of layers, walked forth and back. Here such layers train a classifier of
digits; then the same layers are put on the tape by one `autograd.Function`, after which
they mix with anything else, and the gradients agree.

Run it: ``python examples/caffe_layers.py``
"""

import argparse

from harness import add_device

import tensorlib as tl
from tensorlib.data import Digits


class InnerProduct:
    """``top = bottom W + b``."""

    def __init__(self, inputs, outputs):
        self.blobs = [tl.randn((inputs, outputs)) / inputs**0.5, tl.zeros(outputs)]
        self.diffs = [tl.zeros_like(blob) for blob in self.blobs]

    def to(self, device):
        """Move the parameters; return the layer."""
        self.blobs = [blob.to(device) for blob in self.blobs]
        return self

    def forward(self, bottom):
        """Return the top blob."""
        weight, bias = self.blobs
        return bottom @ weight + bias

    def backward(self, top_diff, bottom):
        """Keep the gradients of the parameters; return that of the bottom blob."""
        self.diffs = [bottom.T @ top_diff, top_diff.sum(axis=0)]
        return top_diff @ self.blobs[0].T


class ReLU:
    """``top = max(bottom, 0)``."""

    blobs = diffs = ()

    def forward(self, bottom):
        """Return the top blob."""
        return tl.relu(bottom)

    def backward(self, top_diff, bottom):
        """Return the gradient of the bottom blob."""
        return top_diff * (bottom > 0).astype(top_diff.dtype)


class SoftmaxLoss:
    """The mean cross-entropy of logits and labels."""

    def forward(self, logits, labels):
        """Return the loss."""
        rows = tl.arange(len(labels)).to(labels.device)
        return -tl.log_softmax(logits, axis=1)[rows, labels].mean()

    def backward(self, logits, labels):
        """Return the gradient of the logits, softmax less one-hot labels."""
        hot = tl.one_hot(labels, logits.shape[1]).astype(logits.dtype)
        return (tl.softmax(logits, axis=1) - hot) / len(labels)


class Net:
    """A list of layers, walked forth and back."""

    def __init__(self, *layers):
        self.layers = layers
        self.loss = SoftmaxLoss()

    def step(self, x, labels, lr):
        """Run forward, backward and an update; return the loss."""
        bottoms = [x]
        for layer in self.layers:
            bottoms.append(layer.forward(bottoms[-1]))
        loss = self.loss.forward(bottoms[-1], labels)
        diff = self.loss.backward(bottoms[-1], labels)
        for layer, bottom in zip(self.layers[::-1], bottoms[-2::-1], strict=True):
            diff = layer.backward(diff, bottom)
            for blob, gradient in zip(layer.blobs, layer.diffs, strict=True):
                blob -= lr * gradient
        return loss.item()


class OnTape(tl.autograd.Function):
    """A layer of this kind as an operation that autograd knows."""

    @staticmethod
    def forward(ctx, layer, bottom, *blobs):
        """Run the layer; its blobs are arguments, so that they get gradients."""
        ctx.layer = layer
        ctx.save_for_backward(bottom, *blobs)
        return layer.forward(bottom)

    @staticmethod
    def backward(ctx, top_diff):
        """Run the layer's backward on what was saved."""
        bottom = ctx.saved_tensors[0]
        bottom_diff = ctx.layer.backward(top_diff, bottom)
        return None, bottom_diff, *ctx.layer.diffs


def largest_difference(net, x, labels):
    """Return how far gradients by hand and through the tape are apart."""
    bottoms = [x]
    for layer in net.layers:
        bottoms.append(layer.forward(bottoms[-1]))
    diff, by_hand = net.loss.backward(bottoms[-1], labels), []
    for layer, bottom in zip(net.layers[::-1], bottoms[-2::-1], strict=True):
        diff = layer.backward(diff, bottom)
        by_hand[:0] = layer.diffs
    blobs = [blob for layer in net.layers for blob in layer.blobs]
    for blob in blobs:
        blob.requires_grad = True
    y = x
    for layer in net.layers:
        y = OnTape.apply(layer, y, *layer.blobs)
    taped = tl.autograd.grad(tl.cross_entropy(y, labels), blobs)
    for blob in blobs:
        blob.requires_grad = False
    pairs = zip(by_hand, taped, strict=True)
    return max(tl.abs(a - b).max().item() for a, b in pairs)


def main(argv=None):
    """Train; return the losses of the epochs and the difference of the gradients."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=100)
    options = add_device(parser).parse_args(argv)
    tl.manual_seed(0)
    digits = Digits()
    x = digits.images.reshape(len(digits), 64).to(options.device)
    labels = digits.targets.to(options.device)
    first, second = InnerProduct(64, 32), InnerProduct(32, 10)
    net = Net(first.to(options.device), ReLU(), second.to(options.device))
    losses = [net.step(x, labels, lr=0.5) for _ in range(options.epochs)]
    difference = largest_difference(net, x, labels)
    print(
        f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, gradients within {difference:.1e}"
    )
    return losses, difference


if __name__ == "__main__":
    main()
