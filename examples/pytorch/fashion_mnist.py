"""``examples/fashion_mnist.py`` in PyTorch: the same models, batches and recipes."""

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from fashion_mnist import RECIPES, loaders
from harness import Run, parser

from tensorlib.data import FashionMNIST


class Residual(nn.Module):
    """``x + fn(x)``."""

    def __init__(self, *layers):
        super().__init__()
        self.fn = nn.Sequential(*layers)

    def forward(self, x):
        """Return ``x + fn(x)``."""
        return x + self.fn(x)


def softmax_regression(side):
    """Return ``W x + b`` on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(side * side, 10))


def residual_mlp(side, width=256, blocks=3, drop=0.1):
    """Return an MLP with residual blocks."""

    def block():
        return nn.Sequential(
            Residual(
                nn.Linear(width, width // 2), nn.BatchNorm1d(width // 2), nn.ReLU(),
                nn.Dropout(drop),
                nn.Linear(width // 2, width), nn.BatchNorm1d(width),
            ),
            nn.ReLU(),
        )  # fmt: skip

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
        return Residual(conv_bn(channels, channels), conv_bn(channels, channels))

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


def batches(loader):
    """Return the batches of a loader as PyTorch's tensors, without copying."""
    return ([torch.from_dlpack(part) for part in batch] for batch in loader)


def accuracy(model, loader):
    """Return the share of images classified correctly."""
    model.eval()
    with torch.no_grad():
        right = sum(
            (model(images).argmax(1) == labels).sum().item()
            for images, labels in batches(loader)
        )
    model.train()
    return right / len(loader.dataset)


def train(run, model, recipe, train_loader, test_loader):
    """Train by the recipe; return the losses of all steps and the last accuracy."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.lr, weight_decay=recipe.decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, epochs=recipe.epochs, steps_per_epoch=len(train_loader)
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    losses = []
    for epoch in range(1, recipe.epochs + 1):
        for images, labels in batches(train_loader):
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


def main(arguments=None):
    """Train one model; return its results."""
    options = parser(
        __doc__, model="lenet", root=FashionMNIST.debian_folder, epochs=0
    ).parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    recipe = RECIPES[options.model]
    if options.quick:
        recipe = recipe._replace(epochs=2, batch=25, augment=False)
    recipe = recipe._replace(epochs=options.epochs or recipe.epochs)
    with Run(f"fashion_{options.model}_pytorch", options) as run:
        run.record(library="pytorch")
        train_loader, test_loader = loaders(options, recipe)
        model = MODELS[options.model](train_loader.dataset.images.shape[-1])
        losses, found = train(run, model, recipe, train_loader, test_loader)
        run.record(test_accuracy=found, epochs=recipe.epochs, steps=len(losses))
        run.record(parameters=sum(p.numel() for p in model.parameters()))
    return {**run.results, "losses": losses}


if __name__ == "__main__":
    main()
