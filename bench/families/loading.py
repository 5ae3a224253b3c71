"""Loading of in-memory data: one pass over 60,000 x 784, shuffled, batches of 128."""

from bench.case import Case, Spec


def _loader(library, names):
    from importlib import import_module

    package = "tensorlib" if library == "ours" else "torch.utils"
    data = import_module(f"{package}.data")
    held = data.TensorDataset(names["x"], names["y"])
    loader = data.DataLoader(held, batch_size=128, shuffle=True)

    def epoch():
        count = 0
        for images, _ in loader:
            count += images.shape[0]
        return count

    names["epoch"] = epoch


def cases():
    operands = {
        "x": Spec((60000, 784)),
        "y": Spec((60000,), "10", "int64"),
        "i": Spec((128,), "60000", "int64"),
    }
    yield Case(
        "data",
        "DataLoader, a pass of 60,000 x 784, batch 128",
        "epoch()",
        "epoch()",
        operands=operands,
        prepare=_loader,
        quick=True,
    )
    yield Case(
        "data",
        "gather of a batch of 128",
        "tl.take(x, i, axis=0)",
        "x[i]",
        "x[i]",
        operands=operands,
        quick=True,
    )
