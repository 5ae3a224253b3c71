"""An MLP with residual blocks on the digits (course, lectures 6 to 9).

Initialization, normalization, regularization and the optimizer come from
`tensorlib.nn` and `tensorlib.optim`; the training loop is the course's.

Run it: ``python examples/mlp_residual.py``
"""

from harness import OnDevice, device_of

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.data import DataLoader, Digits


def residual_block(width, hidden, drop=0.1):
    """Return ``relu(x + norm(linear(drop(relu(norm(linear(x)))))))`` as a module."""
    inner = nn.Sequential(
        nn.Linear(width, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Dropout(drop),
        nn.Linear(hidden, width),
        nn.BatchNorm1d(width),
    )
    return nn.Sequential(nn.Residual(inner), nn.ReLU())


def residual_mlp(inputs=64, width=100, blocks=3, classes=10):
    """Return an MLP that maps ``(N, 1, 8, 8)`` to ``(N, classes)``."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, width),
        nn.ReLU(),
        *[residual_block(width, width // 2) for _ in range(blocks)],
        nn.Linear(width, classes),
    )


def run_epoch(loader, model, optimizer=None):
    """Go once over the data, training if there is an optimizer.

    Returns
    -------
    tuple of float
        Error rate and mean loss.
    """
    model.train(optimizer is not None)
    loss_function = nn.SoftmaxLoss()
    wrong, total_loss, seen = 0, 0.0, 0
    for x, y in loader:
        logits = model(x)
        loss = loss_function(logits, y)
        if optimizer is not None:
            optimizer.reset_grad()
            loss.backward()
            optimizer.step()
        wrong += (tl.argmax(logits.detach(), axis=1) != y).sum().item()
        total_loss += loss.item() * len(y)
        seen += len(y)
    return wrong / seen, total_loss / seen


def main(epochs=15, seed=0, device="cpu"):
    """Train; return the test error."""
    tl.manual_seed(seed)
    train = DataLoader(Digits(), 50, shuffle=True, generator=tl.Generator(seed))
    test = DataLoader(Digits(train=False), 100)
    train, test = OnDevice(train, device), OnDevice(test, device)
    model = residual_mlp().to(device)
    optimizer = optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-3)
    for epoch in range(1, epochs + 1):
        train_error, loss = run_epoch(train, model, optimizer)
        with tl.no_grad():
            test_error, _ = run_epoch(test, model)
        print(
            f"epoch {epoch:2}  loss {loss:.4f}  train error {train_error:.2%}  "
            f"test error {test_error:.2%}"
        )
    return test_error


if __name__ == "__main__":
    main(device=device_of(__doc__))
