"""A generative adversarial network that learns a Gaussian (course, lectures 16, 17).

The data are ``x = A z + m`` with z standard normal in the plane: a Gaussian of mean m
and covariance ``A Aᵀ``. The generator is one linear layer from noise to the plane, so
the right answer is known: its bias must become m, and ``W Wᵀ`` the covariance (W itself
only up to a rotation of the noise). The discriminator is a small MLP, inside `GANLoss`.

Adversarial training circles around its solution rather than settling on it. Both rates
therefore fall to nothing by a cosine, and what is measured is the running average of
the generator's parameters (an exponential one, see Yazici et al., arXiv:1806.04498).
The results are the relative errors of mean and covariance (Frobenius norm).

Run it: ``python examples/gan_gaussian.py``; the same in PyTorch:
``python examples/pytorch/gan_gaussian.py``
"""

import copy

from gan_loss import GANLoss
from harness import Run, parser

import tensorlib as tl
from tensorlib import nn, optim

MIXING = ((1.0, -0.2), (2.0, 0.5))  # A
MEAN = (2.0, 1.0)  # m


def gaussian(count):
    """Return `count` samples of the data, ``(count, 2)``."""
    return tl.randn((count, 2)) @ tl.tensor(MIXING).T + tl.tensor(MEAN)


def discriminator(width=32):
    """Return a map from the plane to logits ``(N, 1)``."""
    return nn.Sequential(
        nn.Linear(2, width), nn.LeakyReLU(0.2),
        nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, 1),
    )  # fmt: skip


def relative_errors(samples):
    """Return the errors of the samples' mean and covariance over their norms."""
    count = samples.shape[0]
    mixing, mean = (tl.tensor(x).to(samples.device) for x in (MIXING, MEAN))
    found = samples.mean(axis=0)
    centred = samples - found
    wanted = mixing @ mixing.T
    covariance = centred.T @ centred / count

    def norm(x):
        return tl.sqrt((x * x).sum()).item()

    return norm(found - mean) / norm(mean), norm(covariance - wanted) / norm(wanted)


def follow(average, model, averaging):
    """Move the parameters of `average` to ``averaging`` theirs + the rest the model's.

    The share is small at first, so that the start is forgotten.
    """
    with tl.no_grad():
        pairs = zip(average.parameters(), model.parameters(), strict=True)
        for mine, newest in pairs:
            mine += (1 - averaging) * (newest - mine)


def train(run, generator, steps, batch, lr, averaging=0.998):
    """Play the game; return the generator of averaged parameters."""
    judge = discriminator().to(run.device)
    schedules = optim.lr_scheduler
    judge_steps = optim.Adam(judge.parameters(), lr=lr, betas=(0.5, 0.99))
    steps_of_generator = optim.Adam(generator.parameters(), lr=lr, betas=(0.5, 0.99))
    falls = [
        schedules.CosineAnnealingLR(optimizer, steps)
        for optimizer in (judge_steps, steps_of_generator)
    ]
    criterion = GANLoss(judge, judge_steps)
    average = copy.deepcopy(generator)
    for step in range(1, steps + 1):
        fake = generator(tl.randn((batch, 2)).to(run.device))
        steps_of_generator.zero_grad()
        loss = criterion(fake, gaussian(batch).to(run.device))
        loss.backward()
        steps_of_generator.step()
        for schedule in falls:
            schedule.step()
        follow(average, generator, min(averaging, (1 + step) / (10 + step)))
        if step % 50 == 0:
            run.log(step, generator=loss.item(), discriminator=criterion.last)
        if step % max(1, steps // 5) == 0:
            with tl.no_grad():
                noise = tl.randn((10_000, 2)).to(run.device)
                errors = relative_errors(average(noise))
            run.report(step, mean_error=errors[0], covariance_error=errors[1])
    return average


def draw(samples):
    """Return a function that draws the data beside the generator's samples."""
    real = gaussian(samples.shape[0])

    def paint(figure):
        axes = figure.add_subplot()
        for points, name in ((real, "data"), (samples, "generator")):
            axes.scatter(*points.numpy().T, s=4, alpha=0.5, label=name)
        axes.set_aspect("equal")
        axes.legend()

    return paint


def main(arguments=None):
    """Train; return the results."""
    options = parser(__doc__, steps=0, batch=200, lr=1e-2).parse_args(arguments)
    steps = options.steps or (600 if options.quick else 6000)
    with Run("gan_gaussian", options) as run:
        generator = nn.Linear(2, 2).to(run.device)
        average = train(run, generator, steps, options.batch, options.lr)
        with tl.no_grad():
            samples = average(tl.randn((20_000, 2)).to(run.device))
            of_mean, of_covariance = relative_errors(samples)
        run.save(average)
        run.picture("samples", draw(samples[:1000].to("cpu")), figsize=(5, 4))
        run.record(mean_error=of_mean, covariance_error=of_covariance, steps=steps)
    return run.results


if __name__ == "__main__":
    main()
