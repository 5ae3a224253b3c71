"""A critic with a gradient penalty measures a distance (course, lectures 5, 16 and 17).

The Wasserstein distance of two distributions is the largest ``E f(x) - E f(y)`` over
functions whose slope is at most one everywhere. The network f learns it, and
``c (|grad f| - 1)^2`` on points between the two keeps its slope near one: a loss that
holds a gradient, for each example by itself (``vmap`` of ``grad``), and is
differentiated again. Here one distribution is the other one moved by d, so all is
known: a slope s sees ``s d`` and pays ``c (s - 1)^2``; best is ``s = 1 + d / (2 c)``.

Run it: ``python examples/gradient_penalty.py``

References
----------
I. Gulrajani et al., "Improved Training of Wasserstein GANs", arXiv:1704.00028, eq. 3.
"""

import math

from harness import device_of

import tensorlib as tl
from tensorlib import nn, optim

SHIFT = (1.5, -2.0)
PENALTY = 10.0


def slopes_of(critic, points):
    """Return the norm of the critic's gradient at each of the points (N, 2)."""
    gradients = tl.vmap(tl.grad(lambda point: critic(point).sum()))(points)
    return tl.sqrt((gradients * gradients).sum(axis=1) + 1e-12)


def loss_of(critic, x, y, mix):
    """Return minus the distance that the critic sees, plus the penalty.

    Parameters
    ----------
    critic : nn.Module
        From points (N, 2) to (N, 1).
    x, y : Tensor of shape (N, 2)
        Draws of the two distributions.
    mix : Tensor of shape (N, 1)
        In [0, 1]: where between x and y the slope is looked at.
    """
    seen = critic(x).mean() - critic(y).mean()
    slopes = slopes_of(critic, mix * x + (1 - mix) * y)
    return PENALTY * ((slopes - 1) ** 2).mean() - seen


def main(steps=400, batch=256, device="cpu"):
    """Train; return what the critic sees, and what the best one would."""
    tl.manual_seed(0)
    critic = nn.Sequential(
        nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1)
    ).to(device)
    optimizer = optim.Adam(critic.parameters(), lr=3e-3)
    shift = tl.tensor(SHIFT).to(device)
    for step in range(1, steps + 1):
        x, y = (tl.randn((batch, 2)).to(device) for _ in range(2))
        loss = loss_of(critic, x + shift, y, tl.rand((batch, 1)).to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}  loss {loss.item():.3f}")
    with tl.no_grad():
        z = tl.randn((10000, 2)).to(device)
        found = (critic(z + shift).mean() - critic(z).mean()).item()
    distance = math.hypot(*SHIFT)
    return found, distance * (1 + distance / (2 * PENALTY))


if __name__ == "__main__":
    print("seen {:.3f}, at best {:.3f}".format(*main(device=device_of(__doc__))))
