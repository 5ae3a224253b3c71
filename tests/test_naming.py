"""Functions whose errors begin with their own name are functions in every other way."""

import collections.abc
import copy
import inspect
import pickle
import pydoc
import weakref

import pytest

import tensorlib as tl
from tensorlib.core.naming import own_errors


@own_errors
def scaled(x, /, by=2, *, shift=0):
    """Return x scaled."""
    if x is None:
        raise ValueError("multiply: expected a number, got None")
    if x == 0:
        raise KeyError("multiply: 0")
    return x * by + shift


class Doubled:
    scaled = scaled

    def __rmul__(self, other):
        return other

    __mul__ = __rmul__


CALLS = {
    "position": lambda: scaled(3),
    "positions": lambda: scaled(3, 2),
    "keyword": lambda: scaled(3, by=2),
    "keywords": lambda: scaled(3, by=2, shift=0),
    "tuple": lambda: scaled(*(3, 2)),
    "dict": lambda: scaled(*(3,), **{"by": 2}),
    "map": lambda: next(map(scaled, [3])),
    "slot": lambda: scaled.__call__(3, by=2),
}


@pytest.mark.parametrize("way", CALLS)
def test_own_errors_called_in_any_way_hands_arguments_on(way):
    assert CALLS[way]() == 6


def test_own_errors_as_a_method_gets_the_instance():
    assert Doubled().scaled() == 2
    assert Doubled.scaled is scaled
    assert Doubled().scaled.__self__.__class__ is Doubled
    assert tl.tensor([3, 1, 2]).kthvalue(1)[0].item() == 1


def test_own_errors_of_a_named_error_puts_its_own_name():
    with pytest.raises(ValueError, match=r"^scaled: expected a number, got None$"):
        scaled(None)


def test_own_errors_of_wrong_arguments_says_which():
    with pytest.raises(TypeError, match=r"^scaled: .*unexpected keyword.*'axis'"):
        scaled(1, axis=1)


def test_own_errors_of_another_kind_of_error_leaves_it():
    with pytest.raises(KeyError, match="multiply: 0"):
        scaled(0)


def test_own_errors_is_introspected_as_the_function():
    assert str(inspect.signature(scaled)) == "(x, /, by=2, *, shift=0)"
    assert inspect.getdoc(scaled) == "Return x scaled."
    assert (scaled.__name__, scaled.__module__) == ("scaled", __name__)
    assert inspect.isroutine(scaled)
    assert isinstance(scaled, collections.abc.Callable)
    assert "Return x scaled." in pydoc.render_doc(scaled, renderer=pydoc.plaintext)


def test_own_errors_is_copied_and_pickled_by_name():
    assert pickle.loads(pickle.dumps(tl.count_nonzero)) is tl.count_nonzero
    assert copy.deepcopy(scaled) is scaled
    assert weakref.ref(scaled)() is scaled


def test_own_errors_of_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="callable"):
        own_errors(3)
