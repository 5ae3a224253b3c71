"""Calls on eight elements, where everything is overhead."""

from bench.case import Case, Spec

SMALL = (8,)
TARGET = 0.1


def _row(
    name, ours, torch=None, numpy=None, *, grad=False, quick=True, target=TARGET, **more
):
    operands = {
        "a": Spec(SMALL, grad=grad),
        "b": Spec(SMALL, grad=grad),
        "m": Spec((8, 8), grad=grad),
    }
    return Case(
        "dispatch",
        name + (", recorded" if grad else ""),
        ours,
        torch or ours,
        "" if grad else (ours if numpy is None else numpy),
        operands=operands,
        target=target,
        quick=quick,
        **more,
    )


def _calls():
    for grad in (False, True):
        yield _row("a + b", "a + b", grad=grad, ops=("add",))
        yield _row("a * 2.0", "a * 2.0", grad=grad, ops=("multiply",))
        yield _row("exp(a)", "tl.exp(a)", "torch.exp(a)", "np.exp(a)", grad=grad)
        yield _row("a[0]", "a[0]", grad=grad)
        yield _row("a.reshape(2, 4)", "a.reshape(2, 4)", grad=grad, ops=("reshape",))
        yield _row("matmul 8x8", "m @ m", grad=grad, ops=("matmul",))


def _chain(library, names):
    """Ten small operations, forward and back, by `backward` and by `grad`."""
    lib = names["tl" if library == "ours" else "torch"]
    exp, tanh, relu, sigmoid = lib.exp, lib.tanh, lib.relu, lib.sigmoid
    grad = lib.autograd.grad
    x, w, g = names["x"], names["w"], names["g"]

    def forward():
        y = relu(x * w)
        y = tanh(y + w)
        y = exp(y * 0.5) - x
        y = sigmoid(y / w)
        return y * x

    def step():
        x.grad = w.grad = None
        forward().backward(g)

    def gradients():
        return grad(forward(), (x, w), g)

    names.update(step=step, gradients=gradients, forward=forward)


def _ten_ops(name, statement, check=None):
    return Case(
        "dispatch",
        f"ten ops, {name}",
        statement,
        statement,
        operands={
            "x": Spec(SMALL, "positive", grad=True),
            "w": Spec(SMALL, "positive", grad=True),
            "g": Spec(SMALL),
        },
        prepare=_chain,
        check=check,
        target=TARGET,
        ops=("add", "subtract", "multiply", "divide", "exp", "tanh", "relu", "sigmoid"),
        quick=True,
    )


def _setitem(library, names):
    names["value"] = 1.5


def cases():
    yield from _calls()
    yield _ten_ops("forward, recorded", "forward()")
    yield _ten_ops("forward + backward", "step()", check="(x.grad, w.grad)")
    yield _ten_ops("forward + autograd.grad", "gradients()")
    yield _row("a += b", "a += b", check="a", ops=("add",), quick=False)
    yield _row("a < b", "a < b", ops=("less",), quick=False)
    yield _row("a.sum()", "a.sum()", ops=("sum",))
    yield _row("m.T", "m.T", quick=False)
    # Not in the list: no slower than PyTorch is enough.
    plain = {"target": 1.0, "quick": False}
    yield _row("a[2:6]", "a[2:6]", **plain)
    yield _row("a[0] = 1.5", "a[0] = value", check="a", prepare=_setitem, **plain)
    yield _row("a.shape", "a.shape", check="", **plain)
    yield _row("a.item()", "c.item()", prepare=_scalar, **plain)
    for call in (
        "broadcast_shapes((8, 1), (1, 4))", 'isdtype(d, "real floating")',
        "can_cast(d, e)",
    ):  # fmt: skip
        theirs = "" if "isdtype" in call else f"torch.{call}"
        yield Case("dispatch", call.partition("(")[0], f"tl.{call}", theirs,
                   f"np.{call}", prepare=_dtypes, check="")  # fmt: skip


def _dtypes(library, names):
    module = names[{"ours": "tl", "torch": "torch", "numpy": "np"}[library]]
    names["d"], names["e"] = module.float32, module.float64
    if library == "numpy":
        names["d"] = module.dtype("float32")


def _scalar(library, names):
    names["c"] = names["a"][0]
