"""The demo's models and data sets by name."""

import math

import tensorlib as tl
from tensorlib import data, nn
from tensorlib.data import transforms

__all__ = ["DATA_SETS", "make_data", "make_model"]

DATA_SETS = ("digits", "mnist", "fashion-mnist")


def make_data(name, root=None, augment=True):
    """Return the training set and the test set.

    Augmentation shifts digits by a pixel or two at random and mirrors clothes.

    Parameters
    ----------
    name : str
        One of `DATA_SETS`.
    root : str, optional
        Folder of the MNIST files.
    augment : bool, default True
        Whether training images are varied at random.

    Raises
    ------
    ValueError
        If the name is unknown, or MNIST has no `root`.
    """
    if name == "digits":
        vary = transforms.RandomCrop(padding=1) if augment else None
        return data.Digits(transform=vary), data.Digits(train=False)
    if name == "mnist":
        if root is None:
            raise ValueError(
                f"--data mnist needs --root, a folder. {data.MNIST.sources}"
            )
        vary = transforms.RandomCrop(padding=2) if augment else None
        return data.MNIST(root, transform=vary), data.MNIST(root, train=False)
    if name == "fashion-mnist":
        root = data.FashionMNIST.debian_folder if root is None else root
        vary = transforms.RandomFlipHorizontal() if augment else None
        return (
            data.FashionMNIST(root, transform=vary),
            data.FashionMNIST(root, train=False),
        )
    raise ValueError(f"data: expected one of {DATA_SETS}, got {name!r}")


def make_model(name, image_shape, classes, generator=None):
    """Return an untrained model that maps images to logits.

    Parameters
    ----------
    name : {"mlp", "softmax", "cnn"}
        Residual MLP, softmax regression, or a convolutional network.
    image_shape : tuple of int
        ``(C, H, W)``.
    classes : int
        Number of logits.
    generator : Generator, optional
        Source of the initial values and of dropout.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    pixels = math.prod(image_shape)
    if name == "softmax":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, classes, generator=generator)
        )
    if name == "mlp":
        return _residual_mlp(pixels, classes, generator)
    if name == "cnn":
        return _convolutional(image_shape, classes, generator)
    raise ValueError(f'model: expected "mlp", "softmax" or "cnn", got {name!r}')


def _residual_mlp(pixels, classes, generator):
    width = 128 if pixels < 256 else 256

    def linear(inputs, outputs):
        return nn.Linear(inputs, outputs, generator=generator)

    def block():
        inner = nn.Sequential(
            nn.LayerNorm(width),
            linear(width, width),
            nn.ReLU(),
            nn.Dropout(0.1, generator=generator),
            linear(width, width),
        )
        return nn.Residual(inner)

    return nn.Sequential(
        nn.Flatten(), linear(pixels, width), nn.ReLU(), block(), block(),
        nn.LayerNorm(width), linear(width, classes),
    )  # fmt: skip


def _convolutional(image_shape, classes, generator):
    """Return a LeNet-like network: two convolutions, each pooled, and two layers."""
    channels, height, width = image_shape
    first, second, hidden = (16, 32, 64) if height * width < 256 else (32, 64, 128)

    def convolution(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1, generator=generator)

    return nn.Sequential(
        convolution(channels, first),
        nn.ReLU(),
        nn.MaxPool2d(2),
        convolution(first, second),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (height // 4) * (width // 4), hidden, generator=generator),
        nn.ReLU(),
        nn.Dropout(0.25, generator=generator),
        nn.Linear(hidden, classes, generator=generator),
    )


def accuracy(model, dataset, batch_size=1000):
    """Return the share of a data set that a model classifies correctly."""
    was_training = model.training
    model.eval()
    correct = 0
    with tl.no_grad():
        for images, labels in data.DataLoader(dataset, batch_size):
            predicted = tl.argmax(model(images), axis=1)
            correct += int((predicted == labels).sum().item())
    model.train(was_training)
    return correct / len(dataset)
