"""How large activations and gradients are, by depth, for several initial scales.

Lecture 6: in a deep ReLU network whose weights are normal with variance c / n, the mean
square of the activations changes by c / 2 a layer on the way forward, that of the
gradients by c / 2 on the way back. Only c = 2 (He et al., arXiv:1502.01852) keeps both;
training starts well there, slowly below and not at all above.

The picture shows root mean squares of activations and of gradients by depth, and the
loss of the first steps of training, on random data.
"""

import math

from harness import Run, parser

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.nn import init

SCALES = (1.0, 1.7, 2.0, 2.3, 3.0)


def make_network(depth, width, scale, generator):
    """Return a ReLU network with a linear layer of 10 classes at its end."""
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(width, width, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(width, 10, bias=False))
    for module in model:
        if isinstance(module, nn.Linear):
            deviation = math.sqrt(scale / module.in_features)
            init.normal_(module.weight, 0.0, deviation, generator)
    return model


def root_mean_square(x):
    """Return the root of the mean square of a tensor's elements."""
    return math.sqrt(tl.mean(tl.square(x)).item())


def norms_by_depth(model, x, y):
    """Return root mean squares of each ReLU's output and of the gradient there."""
    outputs, handles = [], []
    for module in model:
        if isinstance(module, nn.ReLU):
            hook = lambda module, args, output: outputs.append(output)  # noqa: E731
            handles.append(module.register_forward_hook(hook))
    loss = nn.functional.cross_entropy(model(x), y)
    for handle in handles:
        handle.remove()
    gradients = tl.autograd.grad([loss], outputs)
    forward = [root_mean_square(h.detach()) for h in outputs]
    # The loss is a mean over samples: times their number, it is each sample's.
    backward = [root_mean_square(g) * len(x) for g in gradients]
    return forward, backward


def losses_of_training(model, x, y, steps, lr=0.02):
    """Return the losses of the first steps of gradient descent."""
    optimizer = optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def measure(scale, depth, width, samples, steps, seed, device="cpu"):
    """Return activations, gradients and losses of one scale."""
    generator = tl.Generator(seed)
    x = tl.randn((samples, width), generator=generator).to(device)
    y = tl.randint(0, 10, (samples,), generator=generator).to(device)
    model = make_network(depth, width, scale, generator).to(device)
    forward, backward = norms_by_depth(model, x, y)
    return forward, backward, losses_of_training(model, x, y, steps)


def draw(figure, found):
    """Draw three panels: activations and gradients by depth, losses by step."""
    titles = ("activations", "gradients", "loss")
    panels = figure.subplots(1, 3)
    for number, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        for scale, curves in found.items():
            panel.plot(curves[number], label=f"variance {scale:g} / n")
        panel.set_title(title)
        panel.set_xlabel("step" if title == "loss" else "layer")
        if title != "loss":
            panel.set_yscale("log")
    panels[0].set_ylabel("root mean square")
    panels[2].set_ylim(1.5, 3.0)  # diverging ones leave it at once
    panels[0].legend()


def main(argv=None):
    """Run the experiment; return {scale: (activations, gradients, losses)}."""
    options = parser(
        __doc__, depth=50, width=100, samples=100, steps=100
    ).parse_args(argv)  # fmt: skip
    if options.quick:
        options.depth, options.width, options.steps = 12, 40, 5
    with Run("signal_propagation", options) as run:
        found = {}
        for number, scale in enumerate(SCALES):
            found[scale] = measure(
                scale, options.depth, options.width, options.samples, options.steps,
                options.seed, run.device,
            )  # fmt: skip
            forward, backward, losses = found[scale]
            run.report(
                number, scale=scale, activations=forward[-1], gradients=backward[0],
                loss=losses[-1],
            )  # fmt: skip
            run.record(**{f"activations_{scale:g}": float(f"{forward[-1]:.3g}")})
            if math.isfinite(losses[-1]):  # it is NaN where training diverges
                run.record(**{f"loss_{scale:g}": round(losses[-1], 4)})
        run.picture("signal_propagation", lambda f: draw(f, found), figsize=(12, 4))
    return found


if __name__ == "__main__":
    main()
