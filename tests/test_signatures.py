"""`help` and `inspect.signature` show the real arguments of everything public."""

import inspect

import pytest

import tensorlib as tl

MODULES = (tl, tl.linalg, tl.fft, tl.nn.functional, tl.autograd)
FUNCTIONS = {
    f"{module.__name__}.{name}": item
    for module in MODULES
    for name in dir(module)
    if not name.startswith("_") and callable(item := getattr(module, name))
    if not (isinstance(item, type) and issubclass(item, BaseException))
}
SUM = "(x, /, axis=None, keepdims=False, *, dtype=None)"
CLASSES = (tl.Tensor, tl.Generator, tl.DType, tl.Device, tl.autograd.Node)  # in C
METHODS = {
    name: item
    for name, item in vars(tl.Tensor).items()
    if not name.startswith("_") and callable(item)
}


def arguments_shown(item):
    """The signature's text; methods in C have it in the first line of their help."""
    try:
        return str(inspect.signature(item))
    except ValueError:
        first = item.__doc__.splitlines()[0]
        return first.removeprefix(item.__name__)


@pytest.mark.parametrize("name", [n for n, f in FUNCTIONS.items() if f not in CLASSES])
def test_public_function_shows_its_arguments(name):
    assert arguments_shown(FUNCTIONS[name]).startswith("(")
    assert inspect.getdoc(FUNCTIONS[name])


@pytest.mark.parametrize("name", METHODS)
def test_tensor_method_shows_its_arguments(name):
    text = arguments_shown(METHODS[name])
    assert text.startswith("(")
    assert text != "()", "the tensor itself is the first"
    assert inspect.getdoc(METHODS[name])


def test_signature_has_names_and_defaults():
    assert str(inspect.signature(tl.sum)) == SUM
    assert str(inspect.signature(tl.Tensor.sum)) == SUM
