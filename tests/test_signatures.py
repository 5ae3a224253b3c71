"""`help` and `inspect.signature` show the real arguments of everything public."""

import importlib
import inspect
import pydoc
import re

import pytest

import tensorlib as tl

MODULES = (
    "tensorlib", "tensorlib.autograd", "tensorlib.cuda", "tensorlib.data",
    "tensorlib.data.transforms", "tensorlib.fft", "tensorlib.linalg", "tensorlib.nn",
    "tensorlib.nn.functional", "tensorlib.nn.init", "tensorlib.nn.utils",
    "tensorlib.optim", "tensorlib.optim.lr_scheduler", "tensorlib.serialization",
    "tensorlib.transforms", "tensorlib.viz",
)  # fmt: skip
# Values of these come from functions: calling the class raises.
NOT_CALLED = (tl.Tensor, tl.DType, tl.Device, tl.autograd.Node)
# What passes its arguments on, or takes any number by any name.
ANYTHING = re.compile(
    r"nn\.Identity$|nn\.\w+\.(forward|__call__)$|data\.StackDataset$|autograd\.Function$"
)
PROTOCOLS = (
    "__call__", "__dlpack__", "__dlpack_device__", "__array__", "__array_namespace__",
)  # fmt: skip
SUM = "(x, /, axis=None, keepdims=False, *, dtype=None)"


def public_names():
    """{dotted name: object} of functions and classes, each once."""
    found = {}
    for home in MODULES:
        module = importlib.import_module(home)
        lazy = getattr(module, "__all__", ())
        for name in sorted({*dir(module), *lazy}):
            item = getattr(module, name)
            ours = (getattr(item, "__module__", None) or "").startswith("tensorlib")
            if not name.startswith("_") and callable(item) and ours:
                found.setdefault(id(item), (f"{home.removeprefix('tensorlib.')}.{name}",
                                            item))  # fmt: skip
    return dict(found.values())


PUBLIC = public_names()
CLASSES = {
    name: item
    for name, item in PUBLIC.items()
    if inspect.isclass(item) and not issubclass(item, BaseException)
}


def own_members(kind):
    """(name, value) of what a class of ours defines in public, in each base."""
    for base in kind.__mro__:
        if base.__module__.startswith("tensorlib"):
            for name, value in vars(base).items():
                if not name.startswith("_") or name in PROTOCOLS:
                    yield name, value


METHODS = {
    f"{home}.{name}": getattr(kind, name)
    for home, kind in CLASSES.items()
    for name, value in own_members(kind)
    if callable(getattr(kind, name)) and not inspect.isclass(value)
}
PROPERTIES = {
    f"{home}.{name}": (kind, value)
    for home, kind in CLASSES.items()
    for name, value in own_members(kind)
    if inspect.isdatadescriptor(value)
}


def assert_shows_arguments(name, item):
    shown = str(inspect.signature(item))
    if not ANYTHING.search(name):
        assert not re.fullmatch(r"\((self, (/, )?)?\*args, \*\*kwargs\)", shown)
    return shown


@pytest.mark.parametrize(
    "name", [n for n, item in PUBLIC.items()
             if item not in NOT_CALLED and (n in CLASSES or not inspect.isclass(item))]
)  # fmt: skip
def test_public_function_or_class_shows_its_arguments(name):
    assert_shows_arguments(name, PUBLIC[name])
    assert inspect.getdoc(PUBLIC[name])


# Other names of one function, PyTorch's and the course's.
ALIASES = {"register_module": "add_module", "reset_grad": "zero_grad"}


def assert_is_called(item, name):
    """What `help` and tracebacks show is the name by which users call it."""
    last = name.rpartition(".")[2]
    last = ALIASES.get(last, last)
    assert item.__name__ == last
    assert item.__qualname__.rpartition(".")[2] == last
    assert "<locals>" not in item.__qualname__
    embedded = re.match(r"(\w+)\(", inspect.getdoc(item) or "")
    assert not embedded or embedded[1] == last


@pytest.mark.parametrize("name", PUBLIC)
def test_function_or_class_has_the_name_that_users_see(name):
    assert_is_called(PUBLIC[name], name)
    assert PUBLIC[name].__qualname__ == PUBLIC[name].__name__


@pytest.mark.parametrize("home", CLASSES)
def test_methods_have_the_names_and_docs_that_users_see(home):
    for name in [n for n in METHODS if n.rpartition(".")[0] == home]:
        assert_is_called(METHODS[name], name)
        assert inspect.getdoc(METHODS[name]), name


@pytest.mark.parametrize("kind", NOT_CALLED)
def test_class_without_a_constructor_says_what_to_call(kind):
    with pytest.raises(TypeError, match="not made by calling the class; use"):
        kind()


@pytest.mark.parametrize("home", CLASSES)
def test_methods_show_their_arguments(home):
    for name in [n for n in METHODS if n.rpartition(".")[0] == home]:
        shown = assert_shows_arguments(name, METHODS[name])
        bound = inspect.ismethod(METHODS[name])  # a classmethod
        static = isinstance(
            inspect.getattr_static(CLASSES[home], name.rpartition(".")[2]), staticmethod
        )
        assert bound or static or shown != "()", "the object itself is the first"


@pytest.mark.parametrize("home", CLASSES)
def test_properties_are_documented(home):
    for name, (kind, value) in PROPERTIES.items():
        last = name.rpartition(".")[2]
        if name.rpartition(".")[0] == home and not inspect.getdoc(value):
            documented = re.search(rf"^\s*([\w, ]+, )?{last}\b.* :", kind.__doc__, re.M)
            assert documented, f"{name}: neither a docstring nor among the attributes"


# The constructor of a class that is not called takes nothing.
SPECIAL = {
    f"{home}.{name}": value
    for home, kind in CLASSES.items()
    for base in kind.__mro__
    if base.__module__.startswith("tensorlib")
    for name, value in vars(base).items()
    if re.fullmatch("__[a-z]+__", name) and callable(value) and name != "__new__"
    and not isinstance(value, type)
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
def test_special_method_shows_its_arguments(name):
    parameters = inspect.signature(SPECIAL[name]).parameters
    assert list(parameters)[:1] != []


@pytest.mark.parametrize("name", ["add", "rsub", "matmul", "rrshift", "ior", "pow"])
def test_operator_has_the_arguments_and_docs_of_pythons(name):
    ours, theirs = (getattr(kind, f"__{name}__", None) for kind in (tl.Tensor, int))
    theirs = theirs or getattr(set, f"__{name}__", None)
    assert inspect.getdoc(ours)
    if theirs is not None:
        assert inspect.getdoc(ours) == inspect.getdoc(theirs)
        assert inspect.signature(ours) == inspect.signature(theirs)
    line = f"__{name}__(self, "
    assert line in pydoc.render_doc(ours, renderer=pydoc.plaintext)


def test_signature_has_names_and_defaults():
    assert str(inspect.signature(tl.sum)) == SUM
    assert str(inspect.signature(tl.Tensor.sum)) == SUM
    assert str(inspect.signature(tl.Tensor.item)) == "(self, /)"


def test_help_shows_the_signature_once():
    for item, line in (
        (tl.sum, "sum" + SUM),
        (tl.Tensor.sum, "sum" + SUM),
        (tl.Tensor.item, "item(self, /)"),
        (tl.Generator.manual_seed, "manual_seed(self, /, seed)"),
    ):
        assert line in pydoc.render_doc(item, renderer=pydoc.plaintext)
    assert "class Generator(builtins.object)\n |  Generator(seed=None)" in (
        pydoc.render_doc(tl.Generator, renderer=pydoc.plaintext)
    )


# As the standard's text has them.
OF_ARRAYS = {
    "__array_namespace__": "(*, api_version=None)",
    "__dlpack__": "(*, stream=None, max_version=None, dl_device=None, copy=None)",
    "__dlpack_device__": "()",
    "to_device": "(device, /, *, stream=None)",
}


@pytest.mark.parametrize(("name", "shown"), OF_ARRAYS.items())
def test_method_has_the_standards_parameters(name, shown):
    assert str(inspect.signature(getattr(tl.ones(1), name))) == shown
