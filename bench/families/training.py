"""Training steps, optimizers and modules: nn and optim as a script uses them.

The same code serves both libraries, because the names are the same.
"""

from bench.case import Case, Spec
from bench.models import Library

SIZES = (784, 100, 10)
MANY = ((10, 10000), (100, 100), (1000, 100))  # tensors of so many elements


def _mlp(library, names):
    """The 784-100-10 network with the same weights on both sides."""
    nn = Library(library).nn
    model = nn.Sequential(
        nn.Linear(SIZES[0], SIZES[1]), nn.ReLU(), nn.Linear(SIZES[1], SIZES[2])
    )
    weights = {
        "0.weight": names["w1"] * 0.03,
        "0.bias": names["b1"] * 0.03,
        "2.weight": names["w2"] * 0.1,
        "2.bias": names["b2"] * 0.1,
    }
    model.load_state_dict(weights)
    return nn, model


def _step(kind):
    def prepare(library, names):
        optim = Library(library).optim
        nn, model = _mlp(library, names)
        options = {"fused": True} if kind == "fused" and library == "torch" else {}
        optimizer = optim.Adam(model.parameters(), lr=1e-3, **options)
        compiled = Library(library).compiled
        loss_of, run = compiled(nn.CrossEntropyLoss()), compiled(model)
        update = compiled(optimizer.step)
        x, y = names["x"], names["y"]

        def step():
            optimizer.zero_grad()
            loss = loss_of(run(x), y)
            loss.backward()
            update()
            return loss

        names.update(step=step, model=model)

    return prepare


def _mlp_operands(batch):
    return {
        "w1": Spec((SIZES[1], SIZES[0])),
        "b1": Spec((SIZES[1],)),
        "w2": Spec((SIZES[2], SIZES[1])),
        "b2": Spec((SIZES[2],)),
        "x": Spec((batch, SIZES[0])),
        "y": Spec((batch,), "10", "int64"),
    }


def _mlp_row(batch, kind, target):
    compiled = {} if kind == "fused" else {"compile": "step()"}
    peer = "fused Adam" if kind == "fused" else "Adam"
    return Case(
        "training",
        f"MLP 784-100-10 step, batch {batch}, against {peer}",
        "step()",
        "step()",
        others=compiled,
        operands=_mlp_operands(batch),
        prepare=_step(kind),
        target=target,
        quick=True,
    )


def _optimizer(name, count, extent, **options):
    """Prepare an optimizer over `count` tensors with `extent` elements each."""

    def prepare(library, names):
        lib = Library(library)
        values = names["p"]
        parameters = [lib.nn.Parameter(values * (1.0 + i)) for i in range(count)]
        for parameter in parameters:
            parameter.grad = names["g"] * 0.5
        more = dict(options)
        fused = more.pop("fused", False)
        if fused and library == "torch":
            more["fused"] = True
        names["optimizer"] = getattr(lib.optim, name)(parameters, lr=1e-3, **more)
        names["first"] = parameters[0]

    return prepare


def _optimizer_row(name, count, extent, *, quick=False, **options):
    label = ", ".join([name, *(f"{k} {v}" for k, v in options.items())])
    label = label.replace("fused True", "against fused")
    return Case(
        "optimizer",
        f"{label}, {count} x {extent}",
        "optimizer.step()",
        "optimizer.step()",
        operands={"p": Spec((extent,)), "g": Spec((extent,))},
        prepare=_optimizer(name, count, extent, **options),
        check="first",
        tolerance=(1e-4, 1e-5),
        quick=quick,
    )


def _zero_grad_rows(count, extent):
    """Gradients forgotten, which is the default, and filled with zeros."""
    for call, text in (("", ""), ("set_to_none=False", ", set_to_none False")):
        statement = f"optimizer.zero_grad({call})"
        yield Case(
            "optimizer",
            f"zero_grad{text}, {count} x {extent}",
            *(statement,) * 2,
            operands={"p": Spec((extent,)), "g": Spec((extent,))},
            prepare=_optimizer("SGD", count, extent),
            check="first.grad" if call else "",
        )


def _modules():
    def call(library, names):
        nn = Library(library).nn
        names["module"] = nn.ReLU()
        names["chain"] = nn.Sequential(*[nn.ReLU() for _ in range(10)])

    operands = {"x": Spec((8,))}
    for name, statement in (("ReLU", "module(x)"), ("Sequential of 10", "chain(x)")):
        yield Case(
            "modules",
            f"call of {name}, 8 elements",
            statement,
            statement,
            operands=operands,
            prepare=call,
            quick=True,
        )
    yield Case(
        "modules",
        "zero_grad of the MLP",
        "model.zero_grad()",
        "model.zero_grad()",
        operands=_mlp_operands(8),
        prepare=_step("default"),
        check="",
    )
    yield Case(
        "modules",
        "MLP inference, batch 1",
        "model(x)",
        "model(x)",
        operands=_mlp_operands(1),
        prepare=_step("default"),
        quick=True,
    )


def cases():
    for batch, target in ((8, 0.15), (100, 0.5)):
        yield _mlp_row(batch, "default", target)
        yield _mlp_row(batch, "fused", 1.0)
    yield _optimizer_row("Adam", 4, 20000, quick=True)
    yield _optimizer_row("Adam", 4, 20000, quick=True, fused=True)
    yield _optimizer_row("AdamW", 4, 20000)
    yield _optimizer_row("SGD", 4, 20000, momentum=0.9)
    yield _optimizer_row("SGD", 4, 20000, momentum=0.9, fused=True)
    for name in ("SGD", "Adam", "AdamW"):
        for count, extent in MANY:
            yield _optimizer_row(name, count, extent)
            yield _optimizer_row(name, count, extent, fused=True)
    for count, extent in MANY:
        yield from _zero_grad_rows(count, extent)
    yield _optimizer_row("Adam", 4, 10**6, fused=True)
    yield from _modules()
