"""The cart and pole of Barto, Sutton and Anderson (1983), in plain Python.

A cart on a rail carries a pole that can fall to the left or to the right. Each step a
force of +10 N or -10 N pushes the cart, and the equations of motion are integrated over
0.02 s by Euler's method. An episode ends when the pole leans by more than 12 degrees,
when the cart is more than 2.4 m from the middle, or after ``limit`` steps; each step is
worth a reward of 1.

The equations, without friction, for the angle θ of a pole of half-length l and mass m
on a cart at x, of mass M, pushed by the force F:

    θ'' = (g sin θ - cos θ (F + m l θ'² sin θ) / (M + m))
          / (l (4/3 - m cos² θ / (M + m)))
    x'' = (F + m l (θ'² sin θ - θ'' cos θ)) / (M + m)

Reference: A. G. Barto, R. S. Sutton and C. W. Anderson, "Neuronlike adaptive elements
that can solve difficult learning control problems", IEEE Transactions on Systems, Man,
and Cybernetics 13 (5), 1983, pages 834 to 846, appendix.
"""

import math
import random

__all__ = ["CartPole"]

GRAVITY = 9.8  # m/s²
CART_MASS = 1.0  # kg
POLE_MASS = 0.1  # kg
HALF_LENGTH = 0.5  # m, from the joint to the pole's centre of mass
FORCE = 10.0  # N
TIME_STEP = 0.02  # s
MAX_POSITION = 2.4  # m
MAX_ANGLE = math.radians(12)


def accelerations(angle, spin, force):
    """Return the accelerations of the cart (m/s²) and of the pole (rad/s²)."""
    total = CART_MASS + POLE_MASS
    moment = POLE_MASS * HALF_LENGTH
    sine, cosine = math.sin(angle), math.cos(angle)
    push = (force + moment * spin * spin * sine) / total
    turning = (GRAVITY * sine - cosine * push) / (
        HALF_LENGTH * (4 / 3 - POLE_MASS * cosine * cosine / total)
    )
    return push - moment * turning * cosine / total, turning


class CartPole:
    """The environment: `reset` starts an episode, `step` pushes the cart.

    Parameters
    ----------
    limit : int, default 500
        Steps after which an episode is cut off.
    seed : int, default 0
        Of the random starts.

    Examples
    --------
    >>> world = CartPole(seed=1)
    >>> state = world.reset()
    >>> state, reward, fell, over = world.step(1)
    >>> reward, fell, over
    (1.0, False, False)
    """

    actions = 2
    features = 4

    def __init__(self, limit=500, seed=0):
        self.limit = limit
        self.random = random.Random(seed)
        self.reset()

    def reset(self):
        """Start near the upright rest.

        Returns
        -------
        tuple of float
            Position (m), speed (m/s), angle (rad) and angular speed (rad/s).
        """
        self.state = tuple(self.random.uniform(-0.05, 0.05) for _ in range(4))
        self.steps = 0
        return self.state

    def step(self, action):
        """Push to the left (0) or to the right (1) for one time step.

        Returns
        -------
        tuple
            State, reward, whether the pole fell (or the cart left the rail), and
            whether the episode is over, for that reason or by the limit.
        """
        if action not in (0, 1):
            raise ValueError(f"step: expected action 0 or 1, got {action!r}")
        position, speed, angle, spin = self.state
        pulled, turned = accelerations(angle, spin, FORCE if action else -FORCE)
        self.state = (
            position + TIME_STEP * speed,
            speed + TIME_STEP * pulled,
            angle + TIME_STEP * spin,
            spin + TIME_STEP * turned,
        )
        self.steps += 1
        fell = abs(self.state[0]) > MAX_POSITION or abs(self.state[2]) > MAX_ANGLE
        return self.state, 1.0, fell, fell or self.steps >= self.limit
