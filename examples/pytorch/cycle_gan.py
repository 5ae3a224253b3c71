"""``examples/cycle_gan.py`` in PyTorch: the same domains, networks and steps."""

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import cycle_gan as ours
from gan_loss_pytorch import GANLoss
from harness import Run, parser

import tensorlib as tl


def circle(count):
    """Return noisy points of the unit circle, ``(count, 2)``."""
    turn = torch.rand(count, 1) * (2 * torch.pi)
    points = torch.cat([torch.cos(turn), torch.sin(turn)], 1)
    return points + ours.NOISE * torch.randn(count, 2)


def square(count):
    """Return noisy points of the outline of the square of side 2, ``(count, 2)``."""
    along = torch.rand(count, 1) * 2 - 1
    end = torch.randint(0, 2, (count, 1)) * 2.0 - 1
    upright = torch.randint(0, 2, (count, 1)) == 1
    first, second = torch.where(upright, end, along), torch.where(upright, along, end)
    return torch.cat([first, second], 1) + ours.NOISE * torch.randn(count, 2)


def network(outputs, width=64):
    """Return an MLP from the plane to `outputs` values."""
    return nn.Sequential(
        nn.Linear(2, width), nn.LeakyReLU(0.2),
        nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )  # fmt: skip


class CycleGAN(nn.Module):
    """Both generators."""

    def __init__(self):
        super().__init__()
        self.to_b = network(2)
        self.to_a = network(2)

    def cycle_loss(self, a, b, fake_a, fake_b):
        """Return the mean absolute error of going there and back, from both sides."""
        back_a, back_b = self.to_a(fake_b), self.to_b(fake_a)
        return nn.functional.l1_loss(back_a, a) + nn.functional.l1_loss(back_b, b)


def measure(model, count=5000):
    """Return the four distances, by name."""
    with torch.no_grad():
        a, b = circle(count), square(count)
        fake_a, fake_b = model.to_a(b), model.to_b(a)
        back_a, back_b = model.to_a(fake_b), model.to_b(fake_a)
    points = (a, b, fake_a, fake_b, back_a, back_b)
    a, b, fake_a, fake_b, back_a, back_b = map(tl.from_dlpack, points)
    return {
        "distance_from_square": ours.distance_from_square(fake_b),
        "distance_from_circle": ours.distance_from_circle(fake_a),
        "cycle_error_a": ours.distance(back_a, a),
        "cycle_error_b": ours.distance(back_b, b),
    }


def train(run, model, options, steps):
    """Train generators and discriminators, all rates falling by a cosine."""
    settings = {"lr": options.lr, "betas": (0.5, 0.99)}
    optimizers = [torch.optim.Adam(model.parameters(), **settings)]
    losses = []
    for _ in range(2):
        judge = network(1)
        optimizers.append(torch.optim.Adam(judge.parameters(), **settings))
        losses.append(GANLoss(judge, optimizers[-1]))
    fall = torch.optim.lr_scheduler.CosineAnnealingLR
    falls = [fall(each, steps) for each in optimizers]
    looks_like_a, looks_like_b = losses
    for step in range(1, steps + 1):
        a, b = circle(options.batch), square(options.batch)
        fake_a, fake_b = model.to_a(b), model.to_b(a)
        optimizers[0].zero_grad()
        adversarial = looks_like_a(fake_a, a) + looks_like_b(fake_b, b)
        cycle = model.cycle_loss(a, b, fake_a, fake_b)
        (adversarial + options.weight * cycle).backward()
        optimizers[0].step()
        for each in falls:
            each.step()
        if step % 50 == 0:
            run.log(step, adversarial=adversarial.item(), cycle=cycle.item())
        if step % max(1, steps // 5) == 0:
            run.report(step, **measure(model))


def main(arguments=None):
    """Train; return the results."""
    options = parser(
        __doc__, steps=0, batch=256, lr=2e-3, weight=10.0
    ).parse_args(arguments)  # fmt: skip
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    steps = options.steps or (300 if options.quick else 6000)
    with Run("cycle_gan_pytorch", options) as run:
        run.record(library="pytorch")
        model = CycleGAN()
        train(run, model, options, steps)
        run.record(**measure(model), steps=steps)
    return run.results


if __name__ == "__main__":
    main()
