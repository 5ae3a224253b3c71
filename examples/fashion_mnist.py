"""Four classifiers of clothes: from softmax regression to a residual network.

``--model softmax``, softmax regression (course, lecture 2): logits ``W x + b``, loss
the mean cross-entropy ``logsumexp(z) - z_y``.

``--model mlp``, a residual MLP (lectures 6 to 9): blocks
``relu(x + bn(W2 drop(relu(bn(W1 x)))))``, whose identity path keeps signals and
gradients alive at any depth.

``--model lenet``, a small convolutional network (lecture 10): two convolutions, each
followed by max-pooling, and two linear layers.

``--model resnet9``, the residual network of the course's fourth homework (lectures 10
and 14), narrower and for images of 28 by 28: four pairs of convolution, batch
normalization and relu; the second and the fourth pair are residual.

All are trained by AdamW whose rate rises and falls once (``OneCycleLR``), the last two
on images that are mirrored and shifted by up to two pixels at random; the last one's
labels are smoothed. The data are
Fashion-MNIST, 60,000 and 10,000 images of ten kinds of clothes, from ``--root``; where
they are absent the message says how to get them. ``--quick`` needs none: it takes the
digits that come with tensorlib.

Run it: ``python examples/fashion_mnist.py --model resnet9``; the same in PyTorch:
``python examples/pytorch/fashion_mnist.py --model resnet9``
"""

import sys
from typing import NamedTuple

from harness import OnDevice, Run, parser

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.data import DataLoader, Digits, FashionMNIST, transforms


class Recipe(NamedTuple):
    """How a model is trained: passes, batch size, highest rate, decay, augmentation.

    `smoothing` is the share of each label that all classes share.
    """

    epochs: int
    batch: int
    lr: float
    decay: float
    augment: bool
    smoothing: float = 0.0


RECIPES = {
    "softmax": Recipe(epochs=8, batch=100, lr=4e-3, decay=0.0, augment=False),
    "mlp": Recipe(epochs=8, batch=100, lr=4e-3, decay=0.05, augment=False),
    "lenet": Recipe(epochs=8, batch=100, lr=4e-3, decay=0.05, augment=True),
    "resnet9": Recipe(14, batch=100, lr=8e-3, decay=0.1, augment=True, smoothing=0.1),
}


def softmax_regression(side):
    """Return ``W x + b`` on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(side * side, 10))


def residual_mlp(side, width=256, blocks=3, drop=0.1):
    """Return an MLP with residual blocks."""

    def block():
        inner = nn.Sequential(
            nn.Linear(width, width // 2), nn.BatchNorm1d(width // 2), nn.ReLU(),
            nn.Dropout(drop),
            nn.Linear(width // 2, width), nn.BatchNorm1d(width),
        )  # fmt: skip
        return nn.Sequential(nn.Residual(inner), nn.ReLU())

    return nn.Sequential(
        nn.Flatten(), nn.Linear(side * side, width), nn.ReLU(),
        *[block() for _ in range(blocks)],
        nn.Linear(width, 10),
    )  # fmt: skip


def lenet(side):
    """Return two convolutions, each pooled, and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * (side // 4) ** 2, 128), nn.ReLU(),
        nn.Dropout(0.25), nn.Linear(128, 10),
    )  # fmt: skip


def conv_bn(inputs, outputs, kernel=3, stride=1):
    """Return convolution, batch normalization and relu."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def resnet9(side, width=32):
    """Return the homework's ResNet-9; `width` is that of its first residual pair."""

    def residual(channels):
        return nn.Residual(
            nn.Sequential(conv_bn(channels, channels), conv_bn(channels, channels))
        )

    return nn.Sequential(
        conv_bn(1, width // 2), conv_bn(width // 2, width, stride=2), residual(width),
        conv_bn(width, 2 * width, stride=2), conv_bn(2 * width, 4 * width, stride=2),
        residual(4 * width),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4 * width, 4 * width), nn.ReLU(), nn.Linear(4 * width, 10),
    )  # fmt: skip


MODELS = {
    "softmax": softmax_regression,
    "mlp": residual_mlp,
    "lenet": lenet,
    "resnet9": resnet9,
}


def loaders(options, recipe):
    """Return the loaders of the training and of the test images."""
    vary = [transforms.RandomFlipHorizontal(), transforms.RandomCrop(padding=2)]
    vary = transforms.Compose(vary) if recipe.augment else None
    if options.quick:
        train, test = Digits(transform=vary), Digits(train=False)
    else:
        train = FashionMNIST(options.root, transform=vary)
        test = FashionMNIST(options.root, train=False)
    generator = tl.Generator(options.seed + 1)
    return (
        DataLoader(train, recipe.batch, True, generator=generator, drop_last=True),
        DataLoader(test, 500),
    )


def accuracy(model, loader):
    """Return the share of images classified correctly."""
    model.eval()
    right = 0
    with tl.no_grad():
        for images, labels in loader:
            right += (model(images).argmax(axis=1) == labels).sum().item()
    model.train()
    return right / len(loader.dataset)


def train(run, model, recipe, train_loader, test_loader):
    """Train by the recipe; return the losses of all steps and the last accuracy."""
    optimizer = optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.decay)
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, epochs=recipe.epochs, steps_per_epoch=len(train_loader)
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    losses = []
    for epoch in range(1, recipe.epochs + 1):
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            run.log(len(losses), loss=losses[-1])
        found = accuracy(model, test_loader)
        mean = sum(losses[-len(train_loader) :]) / len(train_loader)
        run.report(len(losses), epoch=epoch, mean_loss=mean, test_accuracy=found)
    return losses, found


def draw(model, loader, losses):
    """Return a function that draws the loss and some test images as classified."""
    images, labels = next(iter(loader))
    side, names = images.shape[-1], loader.dataset.classes
    model.eval()
    with tl.no_grad():
        guesses = model(images[:24]).argmax(axis=1).tolist()
    line = side // 4  # of white below each image, for its name
    rows = tl.pad(images[:24].to("cpu"), ((0, 0), (0, 0), (0, line), (0, 0)))
    rows = rows.reshape((4, 6, side + line, side)).permute_dims((0, 2, 1, 3))

    def paint(figure):
        curve, grid = figure.subplots(1, 2, width_ratios=(2, 3))
        curve.plot(losses, linewidth=0.5)
        curve.set(xlabel="step", ylabel="loss", yscale="log")
        picture = rows.reshape((4 * (side + line), 6 * side))
        grid.imshow(picture.numpy(), cmap="gray_r")
        grid.set_axis_off()
        for i, guess in enumerate(guesses):
            color = "blue" if guess == labels[i].item() else "red"
            place = (i % 6 + 0.5) * side, (i // 6 + 1) * (side + line) - 2
            grid.text(*place, names[guess], fontsize=6, color=color, ha="center")

    return paint


def main(arguments=None):
    """Train one model; return its results."""
    options = parser(
        __doc__, model="lenet", root=FashionMNIST.debian_folder, epochs=0
    ).parse_args(arguments)
    if options.model not in MODELS:
        sys.exit(f"--model: expected one of {', '.join(MODELS)}, got {options.model}")
    recipe = RECIPES[options.model]
    if options.quick:
        recipe = recipe._replace(epochs=2, batch=25, augment=False)
    recipe = recipe._replace(epochs=options.epochs or recipe.epochs)
    with Run(f"fashion_{options.model}", options) as run:
        train_loader, test_loader = (
            OnDevice(loader, run.device) for loader in loaders(options, recipe)
        )
        model = MODELS[options.model](train_loader.dataset.images.shape[-1])
        model.to(run.device)
        losses, found = train(run, model, recipe, train_loader, test_loader)
        run.save(model)
        run.picture("examples", draw(model, test_loader, losses), figsize=(9, 4))
        run.record(test_accuracy=found, epochs=recipe.epochs, steps=len(losses))
        run.record(parameters=sum(p.size for p in model.parameters()))
    return {**run.results, "losses": losses}


if __name__ == "__main__":
    main()
