"""The worked example of automatic differentiation (course, lecture 4).

``y = ln x1 + x1 x2 - sin x2`` at ``(2, 5)``:
``∂y/∂x1 = 1/x1 + x2 = 5.5`` and ``∂y/∂x2 = x1 - cos x2 = 2 - cos 5``.

Run it: ``python examples/autodiff_worked_example.py``
"""

from harness import device_of

import tensorlib as tl


def function(x1, x2):
    """Return ``ln x1 + x1 x2 - sin x2``."""
    return tl.log(x1) + x1 * x2 - tl.sin(x2)


def reverse_mode(device="cpu"):
    """Return y and both partial derivatives from one backward pass."""
    x1 = tl.tensor(2.0, dtype=tl.float64).to(device).requires_grad_()
    x2 = tl.tensor(5.0, dtype=tl.float64).to(device).requires_grad_()
    y = function(x1, x2)
    y.backward()
    return y.item(), x1.grad.item(), x2.grad.item()


def forward_mode(device="cpu"):
    """Return y and both partial derivatives, one forward pass each."""
    primals = tuple(tl.tensor(v, dtype=tl.float64).to(device) for v in (2.0, 5.0))
    one, zero = (tl.tensor(v, dtype=tl.float64).to(device) for v in (1.0, 0.0))
    y, along_x1 = tl.autograd.jvp(function, primals, (one, zero))
    _, along_x2 = tl.autograd.jvp(function, primals, (zero, one))
    return y.item(), along_x1.item(), along_x2.item()


def main(device="cpu"):
    """Print the derivatives of both modes; return them."""
    results = reverse_mode(device), forward_mode(device)
    for mode, (y, d1, d2) in zip(("reverse", "forward"), results, strict=True):
        print(f"{mode}: y = {y:.4f}, dy/dx1 = {d1:.4f}, dy/dx2 = {d2:.4f}")
    return results


if __name__ == "__main__":
    main(device_of(__doc__))
