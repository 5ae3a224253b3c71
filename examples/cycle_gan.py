"""Translating between two domains without pairs (course, lectures 16 and 17).

Domain A is a circle in the plane, domain B a square's outline, both with a little
noise; no point of A is paired with one of B. Two generators, G from A to B and F from B
to A, each have a discriminator that knows how the target domain looks. That alone
would let G send a point anywhere on the square. The cycle-consistency loss

    L_cycle = E |F(G(a)) - a| + E |G(F(b)) - b|

asks that the way there and back be the identity, so G and F become inverse to each
other: the loss of Zhu, Park, Isola and Efros, "Unpaired Image-to-Image Translation
using Cycle-Consistent Adversarial Networks", arXiv:1703.10593, equations 2 and 3.

The results are the mean distance of G(a) from the square and of F(b) from the circle,
and of F(G(a)) from a and G(F(b)) from b; circle and square are about 2 wide.

Run it: ``python examples/cycle_gan.py``; the same in PyTorch:
``python examples/pytorch/cycle_gan.py``
"""

import math

from gan_loss import GANLoss
from harness import Run, parser

import tensorlib as tl
from tensorlib import nn, optim

NOISE = 0.03  # standard deviation of the points about their outline


def circle(count):
    """Return noisy points of the unit circle, ``(count, 2)``."""
    turn = tl.rand((count, 1)) * (2 * math.pi)
    points = tl.concat([tl.cos(turn), tl.sin(turn)], axis=1)
    return points + NOISE * tl.randn((count, 2))


def square(count):
    """Return noisy points of the outline of the square of side 2, ``(count, 2)``."""
    along = tl.rand((count, 1)) * 2 - 1
    end = tl.randint(0, 2, (count, 1)).astype(tl.float32) * 2 - 1
    upright = tl.randint(0, 2, (count, 1)) == 1
    first, second = tl.where(upright, end, along), tl.where(upright, along, end)
    return tl.concat([first, second], axis=1) + NOISE * tl.randn((count, 2))


def distance_from_circle(points):
    """Return the mean distance of points ``(N, 2)`` from the unit circle."""
    return tl.abs(tl.sqrt((points**2).sum(axis=1)) - 1).mean().item()


def distance_from_square(points):
    """Return the mean distance of points ``(N, 2)`` from the square's outline."""
    beyond = tl.abs(points) - 1
    outside = tl.sqrt((tl.maximum(beyond, 0.0) ** 2).sum(axis=1))
    inside = tl.minimum(beyond.max(axis=1), 0.0)
    return tl.abs(outside + inside).mean().item()


def distance(a, b):
    """Return the mean Euclidean distance of the rows of two tensors."""
    return tl.sqrt(((a - b) ** 2).sum(axis=1)).mean().item()


def network(outputs, width=64):
    """Return an MLP from the plane to `outputs` values."""
    return nn.Sequential(
        nn.Linear(2, width), nn.LeakyReLU(0.2),
        nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )  # fmt: skip


def device_of(model):
    """Return where the model's parameters are."""
    return next(iter(model.parameters())).device


class CycleGAN(nn.Module):
    """Both generators.

    Attributes
    ----------
    to_b, to_a : Module
        G and F, which map points ``(N, 2)`` to points.
    """

    def __init__(self):
        super().__init__()
        self.to_b = network(2)
        self.to_a = network(2)

    def cycle_loss(self, a, b, fake_a, fake_b):
        """Return the mean absolute error of going there and back, from both sides."""
        back_a, back_b = self.to_a(fake_b), self.to_b(fake_a)
        return nn.functional.l1_loss(back_a, a) + nn.functional.l1_loss(back_b, b)


def train(run, model, options, steps):
    """Train generators and discriminators, all rates falling by a cosine."""
    settings = {"lr": options.lr, "betas": (0.5, 0.99)}
    optimizers = [optim.Adam(model.parameters(), **settings)]
    losses = []
    for _ in range(2):
        judge = network(1).to(run.device)
        optimizers.append(optim.Adam(judge.parameters(), **settings))
        losses.append(GANLoss(judge, optimizers[-1]))
    falls = [optim.lr_scheduler.CosineAnnealingLR(each, steps) for each in optimizers]
    looks_like_a, looks_like_b = losses
    for step in range(1, steps + 1):
        a, b = (shape(options.batch).to(run.device) for shape in (circle, square))
        fake_a, fake_b = model.to_a(b), model.to_b(a)
        optimizers[0].zero_grad()
        adversarial = looks_like_a(fake_a, a) + looks_like_b(fake_b, b)
        cycle = model.cycle_loss(a, b, fake_a, fake_b)
        (adversarial + options.weight * cycle).backward()
        optimizers[0].step()
        for fall in falls:
            fall.step()
        if step % 50 == 0:
            run.log(step, adversarial=adversarial.item(), cycle=cycle.item())
        if step % max(1, steps // 5) == 0:
            run.report(step, **measure(model))


def measure(model, count=5000):
    """Return the four distances, by name."""
    with tl.no_grad():
        a, b = (shape(count).to(device_of(model)) for shape in (circle, square))
        fake_a, fake_b = model.to_a(b), model.to_b(a)
        return {
            "distance_from_square": distance_from_square(fake_b),
            "distance_from_circle": distance_from_circle(fake_a),
            "cycle_error_a": distance(model.to_a(fake_b), a),
            "cycle_error_b": distance(model.to_b(fake_a), b),
        }


def draw(model):
    """Return a function that draws a domain, its image, and the way back, twice.

    A point keeps the colour of its place in its own domain.
    """
    with tl.no_grad():
        a, b = (shape(800).to(device_of(model)) for shape in (circle, square))
        fake_b, fake_a = model.to_b(a), model.to_a(b)
        rows = (
            (a, ("a", a), ("G(a)", fake_b), ("F(G(a))", model.to_a(fake_b))),
            (b, ("b", b), ("F(b)", fake_a), ("G(F(b))", model.to_b(fake_a))),
        )

    def paint(figure):
        for row, (source, *clouds) in enumerate(rows):
            place = tl.clip((source.to("cpu") + 1) / 2, 0, 1)
            blue = tl.full((len(source), 1), 0.5)
            colours = tl.concat([place, blue], axis=1).numpy()
            for column, (name, points) in enumerate(clouds):
                axes = figure.add_subplot(2, 3, 3 * row + column + 1)
                axes.scatter(*points.to("cpu").numpy().T, s=3, c=colours)
                axes.set(title=name, aspect="equal", xticks=(), yticks=())

    return paint


def main(arguments=None):
    """Train; return the results."""
    options = parser(
        __doc__, steps=0, batch=256, lr=2e-3, weight=10.0
    ).parse_args(arguments)  # fmt: skip
    steps = options.steps or (300 if options.quick else 6000)
    with Run("cycle_gan", options) as run:
        model = CycleGAN().to(run.device)
        train(run, model, options, steps)
        run.save(model)
        run.picture("domains", draw(model), figsize=(6, 4))
        run.record(**measure(model), steps=steps)
    return run.results


if __name__ == "__main__":
    main()
