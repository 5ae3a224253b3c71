"""``examples/gan_gaussian.py`` in PyTorch: the same game, steps and averages."""

import copy
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from gan_loss_pytorch import GANLoss
from harness import Run, parser

MIXING = torch.tensor(((1.0, -0.2), (2.0, 0.5)))
MEAN = torch.tensor((2.0, 1.0))


def gaussian(count):
    """Return `count` samples of the data, ``(count, 2)``."""
    return torch.randn(count, 2) @ MIXING.T + MEAN


def discriminator(width=32):
    """Return a map from the plane to logits ``(N, 1)``."""
    return nn.Sequential(
        nn.Linear(2, width), nn.LeakyReLU(0.2),
        nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, 1),
    )  # fmt: skip


def relative_errors(samples):
    """Return the errors of the samples' mean and covariance over their norms."""
    wanted = MIXING @ MIXING.T
    of_mean = (samples.mean(0) - MEAN).norm() / MEAN.norm()
    of_covariance = (samples.T.cov(correction=0) - wanted).norm() / wanted.norm()
    return of_mean.item(), of_covariance.item()


def train(run, generator, steps, batch, lr, averaging=0.998):
    """Play the game; return the generator of averaged parameters."""
    judge = discriminator()
    optimizers = [
        torch.optim.Adam(model.parameters(), lr=lr, betas=(0.5, 0.99))
        for model in (judge, generator)
    ]
    falls = [
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for optimizer in optimizers
    ]
    criterion = GANLoss(judge, optimizers[0])
    average = copy.deepcopy(generator)
    for step in range(1, steps + 1):
        fake = generator(torch.randn(batch, 2))
        optimizers[1].zero_grad()
        loss = criterion(fake, gaussian(batch))
        loss.backward()
        optimizers[1].step()
        for schedule in falls:
            schedule.step()
        share = 1 - min(averaging, (1 + step) / (10 + step))
        with torch.no_grad():
            pairs = zip(average.parameters(), generator.parameters(), strict=True)
            for mine, newest in pairs:
                mine.lerp_(newest, share)
        if step % 50 == 0:
            run.log(step, generator=loss.item(), discriminator=criterion.last)
        if step % max(1, steps // 5) == 0:
            with torch.no_grad():
                errors = relative_errors(average(torch.randn(10_000, 2)))
            run.report(step, mean_error=errors[0], covariance_error=errors[1])
    return average


def main(arguments=None):
    """Train; return the results."""
    options = parser(__doc__, steps=0, batch=200, lr=1e-2).parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    steps = options.steps or (600 if options.quick else 6000)
    with Run("gan_gaussian_pytorch", options) as run:
        run.record(library="pytorch")
        average = train(run, nn.Linear(2, 2), steps, options.batch, options.lr)
        with torch.no_grad():
            of_mean, of_covariance = relative_errors(average(torch.randn(20_000, 2)))
        run.record(mean_error=of_mean, covariance_error=of_covariance, steps=steps)
    return run.results


if __name__ == "__main__":
    main()
