"""``examples/dcgan.py`` in PyTorch: the same networks, images and steps."""

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import dcgan as ours
from gan_loss_pytorch import GANLoss
from harness import Run, parser

import tensorlib as tl
from tensorlib.data import FashionMNIST


def generator(noise, width):
    """Return a map from ``(N, noise, 1, 1)`` to images ``(N, 1, 28, 28)``."""
    return nn.Sequential(
        nn.ConvTranspose2d(noise, 2 * width, 7, bias=False),
        nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width), nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1), nn.Tanh(),
    )  # fmt: skip


def discriminator(width):
    """Return a map from images ``(N, 1, 28, 28)`` to logits ``(N, 1)``."""
    return nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(2 * width * 49, 1),
    )  # fmt: skip


def initialize(model):
    """Draw the weights of convolutions from N(0, 0.02²), as the paper does."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)


def sample(model, count, noise):
    """Return `count` images in [0, 1], outside the graph, 200 at a time."""
    model.eval()
    with torch.no_grad():
        parts = [
            model(torch.randn(min(200, count - start), noise, 1, 1))
            for start in range(0, count, 200)
        ]
    model.train()
    return (torch.cat(parts) + 1) / 2


def train(run, model, options, steps):
    """Play the game for a number of steps."""
    judge = discriminator(options.width)
    initialize(model)
    initialize(judge)
    adam = {"lr": options.lr, "betas": (0.5, 0.999)}
    criterion = GANLoss(judge, torch.optim.Adam(judge.parameters(), **adam))
    optimizer = torch.optim.Adam(model.parameters(), **adam)
    batches = ours.batches(options, steps)
    for step, images in enumerate(map(torch.from_dlpack, batches), 1):
        fake = model(torch.randn(options.batch, options.noise, 1, 1))
        optimizer.zero_grad()
        loss = criterion(fake, images * 2 - 1)
        loss.backward()
        optimizer.step()
        values = {"generator": loss.item(), "discriminator": criterion.last}
        run.log(step, **values)
        if step % max(1, steps // 5) == 0:
            run.report(step, **values)


def main(arguments=None):
    """Train; return the results."""
    options = parser(
        __doc__, root=FashionMNIST.debian_folder, steps=0, batch=100, lr=4e-4,
        noise=64, width=32,
    ).parse_args(arguments)  # fmt: skip
    if options.quick:
        options.batch, options.width = 20, 8
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    steps = options.steps or (12 if options.quick else 1200)
    with Run("dcgan_pytorch", options) as run:
        run.record(library="pytorch")
        model = generator(options.noise, options.width)
        train(run, model, options, steps)
        real = ours.test_images(options)
        fake = tl.from_dlpack(sample(model, real.shape[0], options.noise))
        error, ratio = ours.statistics(fake, real)
        run.record(mean_image_error=error, variance_ratio=ratio, steps=steps)
    return run.results


if __name__ == "__main__":
    main()
