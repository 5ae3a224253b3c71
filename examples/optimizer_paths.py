"""Paths of optimizers on an ill-conditioned quadratic.

Lecture 6: gradient descent on ``f(x) = x' A x / 2`` zigzags across the valley or
crawls along it, as the step is bounded by the largest curvature; momentum damps the
zigzag and speeds up the crawl, Nesterov's looks ahead and overshoots less, Adam scales
each axis by itself, and Newton's method, which knows the curvature, arrives at once.

The picture shows the paths over the contours, and the distance from the minimum.
"""

from harness import Run, parser

import tensorlib as tl
from tensorlib import nn, optim

MATRIX = ((0.5, 0.6), (0.6, 10.0))
START = (-8.0, 3.0)
OPTIMIZERS = {
    "gradient descent": lambda p: optim.SGD(p, lr=0.17),
    "momentum": lambda p: optim.SGD(p, lr=0.2, momentum=0.5),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.65, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.8, betas=(0.7, 0.9)),
    "Newton": lambda p: optim.Newton(p),
}


def quadratic(x):
    """Return ``x' A x / 2``."""
    return tl.sum(x * (tl.tensor(MATRIX, dtype=x.dtype).to(x.device) @ x)) / 2


def path_of(make, steps, device="cpu"):
    """Return the points that an optimizer visits, the first one included."""
    x = nn.Parameter(tl.tensor(START, dtype=tl.float64).to(device))
    optimizer = make([x])

    def closure():
        return quadratic(x)

    def closure_with_gradient():
        optimizer.zero_grad()
        loss = quadratic(x)
        loss.backward()
        return loss

    chosen = closure if isinstance(optimizer, optim.Newton) else closure_with_gradient
    points = [tuple(x.tolist())]
    for _ in range(steps):
        optimizer.step(chosen)
        points.append(tuple(x.tolist()))
    return points


def distance(point):
    """Return the distance from the minimum, which is at 0."""
    return (point[0] ** 2 + point[1] ** 2) ** 0.5


def contours(count=80):
    """Return the axes and values of the function on a grid."""
    across = [-10 + 20 * k / (count - 1) for k in range(count)]
    along = [-4 + 8 * k / (count - 1) for k in range(count)]
    (a, b), (_, c) = MATRIX
    values = [
        [(a * u * u + 2 * b * u * v + c * v * v) / 2 for u in across] for v in along
    ]
    return across, along, values


def draw(figure, paths):
    """Draw the paths over the contours, and the distances by step."""
    panels = figure.subplots(1, len(paths) + 1)
    across, along, values = contours()
    for panel, (name, points) in zip(panels, paths.items(), strict=False):
        panel.contour(across, along, values, levels=12, colors="0.8")
        panel.plot(*zip(*points, strict=True), marker=".", color="C3")
        panel.set_title(name)
    for name, points in paths.items():
        panels[-1].semilogy([distance(point) + 1e-16 for point in points], label=name)
    panels[-1].set_title("distance from the minimum")
    panels[-1].set_xlabel("step")
    panels[-1].legend()


def main(argv=None):
    """Follow every optimizer; return {name: points}."""
    options = parser(__doc__, steps=40).parse_args(argv)
    if options.quick:
        options.steps = 10
    with Run("optimizer_paths", options) as run:
        paths = {}
        for number, (name, make) in enumerate(OPTIMIZERS.items()):
            paths[name] = path_of(make, options.steps, run.device)
            left = distance(paths[name][-1])
            run.report(number, distance=left)
            run.record(**{name.replace(" ", "_").lower(): float(f"{left:.3g}")})
        run.picture("optimizer_paths", lambda f: draw(f, paths), figsize=(20, 4))
    return paths


if __name__ == "__main__":
    main()
