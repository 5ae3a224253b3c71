"""What a model is made of: layers, shapes, parameters, multiply-adds and memory."""

from contextlib import ExitStack
from dataclasses import dataclass, field

import tensorlib as tl
from tensorlib.core.tensor import Tensor

__all__ = ["LayerSummary", "ModelSummary", "summary"]


@dataclass
class LayerSummary:
    """One module of a `ModelSummary`."""

    path: str
    kind: str
    leaf: bool
    parameters: int = 0  # of its own, not of modules below; shared ones count once
    output_shapes: list = field(default_factory=list)  # of the last call
    multiply_adds: int = 0  # of all calls, its own
    activation_bytes: int = 0  # outputs of all calls, of leaves only


@dataclass
class ModelSummary:
    """The table that `summary` makes; ``str`` formats it."""

    layers: list
    total_parameters: int
    trainable_parameters: int
    parameter_bytes: int  # with buffers
    input_bytes: int

    @property
    def multiply_adds(self):
        """All multiplications of products, each with its addition."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self):
        """Memory of the outputs of all layers."""
        return sum(layer.activation_bytes for layer in self.layers)

    def __str__(self):
        rows = [("Layer", "Output shape", "Parameters", "Multiply-adds")]
        for layer in self.layers:
            depth = layer.path.count(".") + 1 if layer.path else 0
            name = layer.path.rpartition(".")[2]
            label = f"{name}: {layer.kind}" if name else layer.kind
            shapes = ", ".join(map(str, layer.output_shapes)) or "-"
            counts = [
                f"{n:,}" if n else "-" for n in (layer.parameters, layer.multiply_adds)
            ]
            rows.append(("  " * depth + label, shapes, *counts))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
            for a, b, c, d in rows
        ]
        rule = "-" * len(lines[0])
        frozen = self.total_parameters - self.trainable_parameters
        totals = [
            f"Parameters: {self.total_parameters:,} ({frozen:,} frozen)",
            f"Multiply-adds: {self.multiply_adds:,}",
            f"Memory: input {_size(self.input_bytes)}, parameters "
            f"{_size(self.parameter_bytes)}, outputs {_size(self.activation_bytes)}",
        ]
        return "\n".join([lines[0], rule, *lines[1:], rule, *totals])


def _size(count):
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"


def _tensors(value):
    """Return the tensors inside tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [tensor for part in value for tensor in _tensors(part)]


def _bytes(tensors):
    return sum(tensor.size * tensor.dtype.itemsize for tensor in tensors)


def summary(model, *args, verbose=True, **kwargs):
    """Run a model once, in evaluation mode, and list what its layers do.

    Parameters
    ----------
    model : Module
        The model; its modes are restored.
    *args, **kwargs
        What it is called with.
    verbose : bool, default True
        Whether the table is printed.

    Returns
    -------
    ModelSummary
        Rows and totals. Multiply-adds are those of products with weights and, in
        attention, of queries with keys and weights with values, as each module's
        ``multiply_adds`` states them; elementwise work is not counted.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> _ = nn.summary(model, tl.ones((5, 4)))
    Layer        Output shape  Parameters  Multiply-adds
    ----------------------------------------------------
    Sequential   (5, 2)                 -              -
      0: Linear  (5, 8)                40            160
      1: ReLU    (5, 8)                 -              -
      2: Linear  (5, 2)                18             80
    ----------------------------------------------------
    Parameters: 58 (0 frozen)
    Multiply-adds: 240
    Memory: input 80 B, parameters 232 B, outputs 360 B
    """
    rows, seen = {}, set()
    for path, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(id(p) for p in own)
        leaf = not any(True for _ in module.children())
        count = sum(p.size for p in own)
        rows[id(module)] = LayerSummary(path, type(module).__name__, leaf, count)

    def note(module, inputs, output):
        row = rows[id(module)]
        found = _tensors(output)
        row.output_shapes = [tuple(tensor.shape) for tensor in found]
        row.multiply_adds += module.multiply_adds(inputs, output)
        if row.leaf:
            row.activation_bytes += _bytes(found)

    _run(model, note, args, kwargs)
    parameters = list(model.parameters())
    found = ModelSummary(
        list(rows.values()),
        sum(p.size for p in parameters),
        sum(p.size for p in parameters if p.requires_grad),
        _bytes([*parameters, *model.buffers()]),
        _bytes(_tensors([*args, *kwargs.values()])),
    )
    if verbose:
        print(found)
    return found


def _run(model, note, args, kwargs):
    """Call the model in evaluation mode with a hook on every module."""
    modes = [(module, module.training) for module in model.modules()]
    with ExitStack() as stack, tl.no_grad():
        for module, _ in modes:
            stack.enter_context(module.register_forward_hook(note))
        model.eval()
        try:
            model(*args, **kwargs)
        finally:
            for module, mode in modes:
                module.__dict__["training"] = mode
