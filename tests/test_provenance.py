"""Messages about a graph name the lines of the program that made and broke it."""

import asyncio
import functools
import gc
import inspect
import sys
import threading
import weakref

import pytest
from sample_leaves import leaf

import tensorlib as tl
from tensorlib import nn

KNOWN = (3, 11) <= sys.version_info < (3, 14)
pytestmark = pytest.mark.skipif(not KNOWN, reason="frames of this Python are not read")


def here(offset=0):
    """``file:line`` of the caller, some lines on."""
    frame = inspect.currentframe().f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno + offset}"


def line_of(y):
    """``file:line`` of what recorded y, without the source."""
    return getattr(y, "grad_fn", y).origin_text().split(": ")[0]


def test_origin_is_the_line_and_its_source():
    x = leaf(1.0)
    at = here(1)
    y = x + x
    assert y.grad_fn.origin_text() == f"{at}: y = x + x"


def test_origin_of_an_op_within_an_expression_is_its_own_line():
    x = leaf(1.0)
    y = tl.exp(
        tl.sin(x),
    )
    assert line_of(y) == here(-3)
    assert line_of(y.grad_fn.next_functions[0]) == here(-3)


def test_origin_in_a_layer_of_ours_is_the_users_call():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Tanh()))
    y = model(tl.ones((1, 2)))
    assert line_of(y) == here(-1)


class Doubled(nn.Module):
    def forward(self, x):
        self.line = here(1)
        return x * 2


def test_origin_in_a_layer_of_the_user_is_inside_it():
    layer = Doubled()
    y = nn.Sequential(layer)(leaf(1.0))
    assert line_of(y) == layer.line


def generated(x):
    yield x * 2, here()


async def awaited(x):
    return x * 2, here()


CALLED = []
CALLS = {
    "generator": lambda x: next(generated(x)),
    "coroutine": lambda x: asyncio.run(awaited(x)),
    "comprehension": lambda x: [(x * 2, here()) for _ in "ab"].pop(),
    "key": lambda x: (
        max([x], key=lambda v: CALLED.append((v * 2, here())) or 0) and CALLED.pop()
    ),
    "reduce": lambda x: functools.reduce(lambda _, v: (v * 2, here()), [None, x]),
    "decorated": lambda x: tl.enable_grad()(lambda v: (v * 2, here()))(x),
    "exec": lambda x: (eval("x * 2", {"x": x}), "<string>:1"),
}


@pytest.mark.parametrize("name", CALLS)
def test_origin_is_found_from_every_kind_of_frame(name):
    y, at = CALLS[name](leaf(1.0))
    assert line_of(y) == at


def test_origin_in_a_thread_is_that_threads_line():
    found = []
    thread = threading.Thread(target=lambda: found.extend((leaf(1.0) * 2, here())))
    thread.start()
    thread.join()
    assert line_of(found[0]) == found[1]


def test_origin_of_a_gradients_graph_is_the_line_that_asked_for_it():
    x = leaf(2.0)
    y = (x * x * x).sum()
    (g,) = tl.autograd.grad(y, x, create_graph=True)
    assert line_of(g) == here(-1)


def test_origins_of_many_programs_are_not_mixed_up():
    x = leaf(1.0)
    for i in range(300):
        scope = {"x": x}
        exec(compile("\n" * i + "y = x + x", f"program {i}", "exec"), scope)
        assert scope["y"].grad_fn.origin_text() == f"program {i}:{i + 1}"


def test_version_error_names_both_lines():
    x = leaf(1.0, 2.0) * 1
    y = x * x
    saved = here(-1)
    with tl.no_grad():
        x += 1
    changed = here(-1)
    with pytest.raises(tl.GraphError) as caught:
        y.sum().backward()
    sentence, *lines = str(caught.value).splitlines()
    assert sentence == (
        "backward: a tensor of shape (2,) saved by multiply was changed in place by "
        "add (version 1, expected 0); use the out-of-place form, or change a copy"
    )
    assert lines == [
        f"  saved at {saved}: y = x * x",
        f"  changed at {changed}: x += 1",
    ]
    assert caught.value.__notes__ == [
        f"in the backward of multiply, recorded at {saved}: y = x * x"
    ]


WRITERS = {
    "in-place method": lambda x: x.mul_(2),
    "assignment": lambda x: x.__setitem__(0, 3.0),
    "view": lambda x: x[:1].add_(1),
    "fill": lambda x: x.zero_(),
    "optimizer": lambda x: tl.optim.SGD([x], lr=1.0).step(),
}


@pytest.mark.parametrize("name", WRITERS)
def test_version_error_names_the_line_of_every_kind_of_write(name):
    x = leaf(1.0, 2.0)
    y = tl.sin(x)
    with tl.no_grad():
        x.grad = tl.ones(2, dtype=x.dtype)
        WRITERS[name](x)
    with pytest.raises(tl.GraphError, match="changed at") as caught:
        y.sum().backward()
    changed = str(caught.value).splitlines()[-1]
    line = WRITERS[name].__code__.co_firstlineno
    assert changed.startswith(f"  changed at {__file__}:{line}: ")


def test_version_error_names_the_last_of_several_writes():
    x = leaf(1.0, 2.0) * 1
    y = x * x
    with tl.no_grad():
        x += 1
        tl.zeros(2).add_(1)
        x -= 1
    changed = here(-1)
    with pytest.raises(tl.GraphError) as caught:
        y.sum().backward()
    assert str(caught.value).endswith(f"  changed at {changed}: x -= 1")


def test_version_error_names_the_write_to_an_output():
    x = leaf(1.0)
    y = x.exp()
    saved = here(-1)
    with tl.no_grad():
        y += 1
    with pytest.raises(tl.GraphError, match=r"changed at .*: y \+= 1") as caught:
        y.sum().backward()
    assert f"  saved at {saved}: y = x.exp()\n" in str(caught.value)


def test_line_of_a_write_is_never_that_of_another_storage():
    """More writes than lines are kept for: the right line, or none."""
    x = leaf(1.0) * 1
    y = x * x
    with tl.no_grad():
        x += 1
    others = [tl.zeros(1) for _ in range(5000)]
    for other in others:
        other.add_(1)
    with pytest.raises(tl.GraphError) as caught:
        y.sum().backward()
    lines = str(caught.value).splitlines()[2:]
    assert lines in ([], [f"  changed at {here(-7)}: x += 1"])


def test_freed_graph_error_names_the_line():
    x = leaf(1.0)
    for make in (lambda: x * x, lambda: tl.exp(x)):
        y = make().sum()
        y.backward()
        with pytest.raises(tl.GraphError, match=r"freed .*\n  saved at .*lambda: x"):
            y.backward()


def test_packed_and_checkpointed_tensors_name_their_lines():
    x = leaf(1.0, 2.0) * 1
    with tl.autograd.saved_tensors_hooks(lambda v: v, lambda v: v):
        y = x * x
        packed = here(-1)
    with tl.no_grad():
        x += 1
    with pytest.raises(tl.GraphError, match=f"saved at {packed}: y = x"):
        y.sum().backward()
    y = tl.autograd.checkpoint(lambda v: v * v, x)
    kept = here(-1)
    with tl.no_grad():
        x += 1
    with pytest.raises(tl.GraphError, match=f"saved at {kept}: y = tl"):
        y.sum().backward()


def test_node_keeps_its_code_and_lets_it_go():
    """What a graph refers to stays for as long as the graph, and no longer."""
    scope = {"x": leaf(1.0)}
    exec(compile("def made(x): return x + x", "gone.py", "exec"), scope)
    code = weakref.ref(scope["made"].__code__)
    y = scope["made"](scope["x"])
    del scope["made"]
    gc.collect()
    assert code() is not None
    assert y.grad_fn.origin_text() == "gone.py:1"
    del y
    gc.collect()
    assert code() is None


def test_code_is_counted_once_a_node_and_once_a_write_remembered():
    x, writes = leaf(1.0), 2048
    code = inspect.currentframe().f_code
    before = sys.getrefcount(code)
    for _ in range(3 * writes):
        (x * x + x).sum().backward()
        tl.zeros(1).add_(1)
    assert before <= sys.getrefcount(code) <= before + writes
    y = [x + 1 for _ in range(10)]
    assert all(line_of(each) == here(-1) for each in y)


def test_writes_from_two_files_in_turn_name_each_its_own():
    # What is kept of the last file and line must not serve the next write.
    def program(name):
        source = "def write(x):\n    x.add_(1.0)\n"
        exec(compile(source, name, "exec"), scope := {})
        return scope["write"]

    writers = {name: program(name) for name in ("first.py", "second.py")}
    for names in (["first.py", "second.py"], ["second.py", "first.py", "first.py"]):
        x = leaf(1.0) * 1
        y = x * x
        with tl.no_grad():
            for name in names:
                writers[name](x)
        with pytest.raises(tl.GraphError, match=rf"{names[-1]}:2"):
            y.backward()
