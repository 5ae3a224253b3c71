"""The examples in docstrings run, and the docstrings have their sections."""

import doctest
import importlib
import inspect
import math
import re

import numpy as np
import pytest
from op_rows import docstring_of

import tensorlib as tl
from tensorlib.ops import fused_optim

MODULES = [
    "tensorlib",
    "tensorlib.autograd",
    "tensorlib.autograd.check",
    "tensorlib.autograd.anomaly",
    "tensorlib.autograd.forward",
    "tensorlib.autograd.function",
    "tensorlib.autograd.grad_mode",
    "tensorlib.autograd.hooks",
    "tensorlib.autograd.joint",
    "tensorlib.autograd.recompute",
    "tensorlib.autograd.register",
    "tensorlib.autograd.saved",
    "tensorlib.autograd.tape",
    "tensorlib.core.handles",
    "tensorlib.core.provenance",
    "tensorlib.core.threads",
    "tensorlib.core.storage",
    "tensorlib.core.dispatch",
    "tensorlib.core.dtype",
    "tensorlib.core.device",
    "tensorlib.core.interop",
    "tensorlib.data",
    "tensorlib.data.transforms",
    "tensorlib.fft",
    "tensorlib.fft.transform",
    "tensorlib.kernels",
    "tensorlib.linalg",
    "tensorlib.linalg.matrix_op",
    "tensorlib.metrics_log",
    "tensorlib.nn",
    "tensorlib.nn.functional",
    "tensorlib.nn.init",
    "tensorlib.nn.utils",
    "tensorlib.optim",
    "tensorlib.optim.lr_scheduler",
    "tensorlib.ops.fused_optim",
    "tensorlib.transforms.pytree",
    "tensorlib.viz",
]


def members():
    """Every public object with a docstring, by name; compiled ones included."""
    found = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in dir(module):  # loads the lazy ones
            item = getattr(module, name)
            home = getattr(item, "__module__", "") or ""
            if name.startswith("_") or inspect.ismodule(item):
                continue
            if not home.startswith("tensorlib"):
                continue
            if callable(item) or inspect.isclass(item):
                found.setdefault(id(item), (f"{home}.{name}", item))
            if inspect.isclass(item):
                for inner, method in vars(item).items():
                    if isinstance(method, classmethod):
                        method = method.__func__.__get__(item)
                    if getattr(method, "__module__", module_name) != item.__module__:
                        continue  # of collections.abc, say
                    if not inner.startswith("_") and getattr(method, "__doc__", None):
                        found.setdefault(id(method), (f"{home}.{name}.{inner}", method))
    return dict(found.values())


MEMBERS = members()


def examples(name, item):
    doc = docstring_of(item)
    names = {"tl": tl, "np": np, "math": math, **vars(tl.autograd)}
    module = importlib.import_module(getattr(item, "__module__", None) or "tensorlib")
    names.update({k: v for k, v in vars(module).items() if not k.startswith("_")})
    names.pop("__builtins__", None)
    return doctest.DocTestParser().get_doctest(doc, names, name, None, 0)


@pytest.mark.parametrize(
    "name", [n for n, i in sorted(MEMBERS.items()) if ">>>" in (i.__doc__ or "")]
)
def test_examples_run(name, capsys):
    test = examples(name, MEMBERS[name])
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False
    )
    state = tl.default_generator.get_state()
    try:
        runner.run(test)
    finally:
        tl.default_generator.set_state(state)
    assert runner.failures == 0, capsys.readouterr().out


def test_many_examples_are_found():
    found = [n for n, i in MEMBERS.items() if ">>>" in (i.__doc__ or "")]
    assert len(found) > 150


@pytest.mark.parametrize("name", [n for n, i in sorted(MEMBERS.items()) if callable(i)])
def test_docstring_begins_with_a_summary(name):
    doc = docstring_of(MEMBERS[name])
    assert doc, f"{name} has no docstring"
    summary = doc.split("\n\n")[0]
    assert summary.rstrip().endswith((".", ":")), summary
    assert summary[0].isupper() or summary[0] in '`"', summary


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_docstring_sections_are_in_order(name):
    order = [
        "Parameters",
        "Returns",
        "Yields",
        "Raises",
        "Attributes",
        "See Also",
        "Notes",
        "References",
        "Examples",
    ]
    doc = docstring_of(MEMBERS[name])
    found = re.findall(r"^(\w[\w ]*)\n-{3,}$", doc, re.M)
    assert set(found) <= set(order), found
    # numpydoc puts a class's attributes below its parameters; below Raises will do.
    places = [order.index(s) for s in found if s != "Attributes"]
    assert places == sorted(places), found


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_docstring_has_no_template_mark(name):
    assert not re.search(r"^\s*@\w+|\{\{|TODO|FIXME", MEMBERS[name].__doc__ or "", re.M)


@pytest.mark.parametrize(
    "name",
    [
        n
        for n, i in sorted(MEMBERS.items())
        if inspect.isroutine(i) and "Parameters\n" in (i.__doc__ or "")
    ],
)
def test_documented_parameters_are_those_of_the_signature(name):
    item = MEMBERS[name]
    try:
        parameters = inspect.signature(item).parameters
    except (TypeError, ValueError):
        pytest.fail(f"{name} has no signature")
    doc = docstring_of(item)
    section = re.search(
        r"Parameters\n-+\n(.*?)(\n\w[\w ]*\n-{3,}|\Z)", doc, re.S
    ).group(1)
    named = set()
    for line in section.splitlines():
        if line and not line.startswith(" "):
            named |= {w.strip().lstrip("*") for w in line.split(" :")[0].split(",")}
    actual = {p for p in parameters if p != "self"}
    assert named <= actual, named - actual
    # A method documents what its object is by its class.
    assert actual - named <= {"x", "args", "kwargs"}, actual - named


def test_fused_step_is_documented():
    assert "Parameters" in fused_optim.optimizer_step.__doc__
