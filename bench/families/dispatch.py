"""Calls on eight elements, where everything is overhead."""

from bench.case import Case, Spec

SMALL = (8,)
TARGET = 0.1
TEN_OPS = 10  # as listed in _chain


def _row(name, ours, torch=None, numpy=None, *, grad=False, quick=True, **more):
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
        target=TARGET,
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
    """Ten small operations, a way forward and a way back."""
    lib = names["tl" if library == "ours" else "torch"]
    exp, tanh, relu, sigmoid = lib.exp, lib.tanh, lib.relu, lib.sigmoid
    grad = lib.autograd.grad
    x, w, g = names["x"], names["w"], names["g"]

    def step():
        y = relu(x * w)
        y = tanh(y + w)
        y = exp(y * 0.5) - x
        y = sigmoid(y / w)
        y = y * x
        return grad(y, (x, w), g)

    names["step"] = step


def _setitem(library, names):
    names["value"] = 1.5


def cases():
    yield from _calls()
    yield Case(
        "dispatch",
        "ten ops, forward + backward",
        "step()",
        "step()",
        operands={
            "x": Spec(SMALL, "positive", grad=True),
            "w": Spec(SMALL, "positive", grad=True),
            "g": Spec(SMALL),
        },
        prepare=_chain,
        target=TARGET,
        ops=("add", "subtract", "multiply", "divide", "exp", "tanh", "relu", "sigmoid"),
        quick=True,
    )
    yield _row("a += b", "a += b", check="a", ops=("add",), quick=False)
    yield _row("a[2:6]", "a[2:6]", quick=False)
    yield _row("a < b", "a < b", ops=("less",), quick=False)
    yield _row("a.sum()", "a.sum()", ops=("sum",))
    yield _row("a.shape", "a.shape", check="", quick=False)
    yield _row("a.item()", "c.item()", prepare=_scalar, quick=False)
    yield _row("m.T", "m.T", quick=False)
    yield _row("a[0] = 1.5", "a[0] = value", check="a", prepare=_setitem, quick=False)


def _scalar(library, names):
    names["c"] = names["a"][0]
