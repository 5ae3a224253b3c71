"""Recurrent layers and attention: forward, and forward + backward."""

import numpy as np

from bench.case import Case, Spec
from bench.models import Library
from bench.variants import with_compile

# Steps, batch, features, units.
SHAPES = ((35, 20, 200, 200), (100, 1, 64, 64), (16, 128, 32, 256))
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def _shrink(library, names):
    """Scale the weights down, or the states of a wide network are chaotic."""
    module = names["tl"] if library == "ours" else names["torch"]
    with module.no_grad():
        for name in ("w_ih", "w_hh"):
            names[name].mul_(names[name].shape[1] ** -0.5)


def _weights(gates, features, units, *, grad):
    shapes = {
        "w_ih": (gates * units, features),
        "w_hh": (gates * units, units),
        "b_ih": (gates * units,),
        "b_hh": (gates * units,),
    }
    return {name: Spec(shape, "unit", grad=grad) for name, shape in shapes.items()}


def _layer(name, shape):
    steps, batch, features, units = shape
    states = ("h", "c") if name == "lstm" else ("h",)
    given = ", ".join(states)
    ours = f"tl.{name}(x, {given}, w_ih, w_hh, b_ih, b_hh)[0]"
    stacked = ", ".join(f"{s}[None]" for s in states)
    torch_state = f"({stacked},)" if name == "lstm" else stacked
    kind = "rnn_tanh" if name == "rnn" else name
    torch = (
        f"torch.{kind}(x, {torch_state}, (w_ih, w_hh, b_ih, b_hh), True, 1, 0.0, "
        "False, False, False)[0]"
    )
    flops = 2 * steps * batch * GATES[name] * units * (features + units)
    for grad in (False, True):
        operands = {"x": Spec((steps, batch, features), grad=grad)}
        operands |= {s: Spec((batch, units), "zero") for s in states}
        operands |= _weights(GATES[name], features, units, grad=grad)
        title = f"{name} {steps}x{batch}x{features}, {units} units"
        mine, theirs = ours, torch
        if grad:
            wanted = "(x, w_ih, w_hh, b_ih, b_hh)"
            operands["g"] = Spec((steps, batch, units))
            title += ", forward + backward"
            mine = f"tl.autograd.grad({ours}, {wanted}, g)"
            theirs = f"torch.autograd.grad({torch}, {wanted}, g)"
        yield Case(
            "sequence",
            title,
            mine,
            theirs,
            operands=operands,
            prepare=_shrink,
            tolerance=(1e-3, 1e-3),
            flops=flops * (3 if grad else 1),
            quick=shape == SHAPES[0],
        )


# Batch, heads, positions, features of a head.
HEADS = (
    (8, 8, 128, 32), (2, 8, 512, 64), (1, 8, 1024, 64), (1, 8, 4096, 64), (8, 4, 1, 32),
)  # fmt: skip
COMPILED = HEADS[:2]  # by torch.compile too, once without causality


def _attention_flops(shape, causal):
    """Two products; their gradients are five, with one of the two done again."""
    batch, heads, positions, features = shape
    pairs = positions * (positions + 1) / 2 if causal else positions**2
    return 2 * 2 * batch * heads * pairs * features


def _attention(shape, causal):
    text = "x".join(map(str, shape))
    title = f"attention {text}" + (", causal" if causal else "")
    call = f"scaled_dot_product_attention(q, k, v, is_causal={causal})"
    for grad in (False, True):
        operands = {name: Spec(shape, grad=grad) for name in ("q", "k", "v")}
        ours, theirs = f"tl.{call}", f"F.{call}"
        if grad:
            operands["g"] = Spec(shape)
            ours = f"tl.autograd.grad({ours}, (q, k, v), g)"
            theirs = f"torch.autograd.grad({theirs}, (q, k, v), g)"
        case = Case(
            "sequence",
            title + (", forward + backward" if grad else ""),
            ours,
            theirs,
            operands=operands,
            tolerance=(1e-3, 1e-3),
            flops=_attention_flops(shape, causal) * (3.5 if grad else 1),
            quick=shape == HEADS[0],
        )
        yield with_compile(case) if shape in COMPILED and not causal else case


# Width, heads, batch, positions.
ENCODER = (256, 8, 8, 128)


def _encoder_layer():
    width, heads, batch, positions = ENCODER

    def prepare(library, names):
        lib = Library(library)
        layer = lib.nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, batch_first=True
        )
        rng = np.random.default_rng(0)
        layer.load_state_dict(
            {
                name: lib.tensor(
                    rng.standard_normal(tuple(p.shape), dtype=np.float32) * width**-0.5
                )
                for name, p in layer.named_parameters()
            }
        )
        names["layer"] = lib.compiled(layer)
        names["weights"] = list(layer.parameters())
        names["grad"] = lib.root.autograd.grad

    # Four products of width x width and two of 4 width x width, and attention's.
    flops = 2 * batch * positions * 12 * width**2
    flops += _attention_flops((batch, heads, positions, width // heads), False)
    for grad in (False, True):
        call = "grad(layer(x), (x, *weights), g)" if grad else "layer(x)"
        yield Case(
            "sequence",
            f"TransformerEncoderLayer {batch}x{positions}x{width}"
            + ", forward + backward" * grad,
            *(call,) * 2,
            others={"compile": call},
            operands={
                "x": Spec((batch, positions, width), grad=grad),
                "g": Spec((batch, positions, width)),
            },
            prepare=prepare,
            tolerance=(1e-3, 2e-3),
            flops=flops * (3 if grad else 1),
        )


def cases():
    for shape in HEADS:
        for causal in (False, True):
            yield from _attention(shape, causal)
    yield from _encoder_layer()
    for name in GATES:
        for shape in SHAPES:
            yield from _layer(name, shape)
