"""Pictures of graphs."""

import re
import shutil

import pytest

import tensorlib as tl
from tensorlib import viz


def leaves():
    return tl.ones(3, requires_grad=True), tl.ones((2, 3), requires_grad=True)


def edges(dot):
    """Pairs of labels, producer and consumer."""
    labels = dict(re.findall(r'(n\d+) \[label="(.*?)", shape', dot))
    return {(labels[a], labels[b]) for a, b in re.findall(r"(n\d+) -> (n\d+)", dot)}


def test_dot_has_each_node_once_and_all_edges():
    x, w = leaves()
    y = tl.exp(x)
    found = viz.graph((y * w + y).sum(), {"x": x, "w": w})
    assert edges(found.dot) == {
        ("x (3)", "exp (3)"),
        ("exp (3)", "multiply (2x3)"),
        ("w (2x3)", "multiply (2x3)"),
        ("multiply (2x3)", "add (2x3)"),
        ("exp (3)", "add (2x3)"),
        ("add (2x3)", "sum (scalar)"),
    }
    assert found.dot.count("exp") == 1


def test_text_shows_a_shared_node_once():
    x, _ = leaves()
    y = tl.exp(x)
    assert str(viz.graph((y * y).sum())) == (
        "sum (scalar) [0]\n"
        "└─ multiply (3) [1]\n"
        "   ├─ exp (3) [2]\n"
        "   │  └─ leaf (3)\n"
        "   └─ exp (3) [2] …"
    )


def test_adjoint_graph_stands_on_the_forward_one():
    x, _ = leaves()
    (g,) = tl.autograd.grad(tl.exp(x * x).sum(), x, create_graph=True)
    found = edges(viz.graph(g, {"x": x}).dot)
    assert ("x (3)", "multiply (3)") in found  # of the forward pass
    assert ("multiply (3)", "exp (3)") in found
    assert ("exp (3)", "multiply (3)") in found  # of the rule of exp


def test_functions_are_drawn_by_their_names():
    class Twice(tl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    x, _ = leaves()
    assert str(viz.graph(Twice.apply(x))).startswith("Twice (3) [0]\n└─ Twice (scalar)")


def test_several_roots_and_a_leaf_are_drawn():
    x, w = leaves()
    found = viz.graph([x * 2, x * 2, w], {"w": w})
    assert str(found).count("multiply") == 2
    assert str(found).splitlines()[-1] == "w (2x3)"
    assert repr(found) == "<Graph of 4 nodes>"


def test_labels_are_quoted():
    x, _ = leaves()
    found = viz.graph(x * 1, {'a"b\\<': x})
    assert '\\"b\\\\<' in found.dot
    assert "&lt;" in found._repr_html_()


def test_deep_graph_does_not_recurse():
    x, _ = leaves()
    y = x
    for _ in range(5000):
        y = y * 1
    found = viz.graph(y)
    assert found.dot.count("->") == 5000
    lines = str(found).splitlines()
    assert len(lines) == 1001
    assert lines[-1] == "… (5001 nodes in all)"


def test_graph_of_what_has_none_raises():
    with pytest.raises(TypeError, match="graph: expected Tensors, got int"):
        viz.graph([5])
    with pytest.raises(ValueError, match="require grad"):
        viz.graph(tl.ones(1))
    with pytest.raises(TypeError, match="got str"):
        viz.graph(leaves()[0], {"x": "y"})


def test_render_without_graphviz_or_suffix_raises(monkeypatch, tmp_path):
    found = viz.graph(leaves()[0] * 2)
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf, got .*graph\.txt"):
        found.render(tmp_path / "graph.txt")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="dot of Graphviz"):
        found.render(tmp_path / "graph.png")


def test_render_hands_the_text_to_dot(monkeypatch, tmp_path):
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\necho "$1" > "$3"\ncat >> "$3"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = viz.graph(leaves()[0] * 2)
    assert found.render(tmp_path / "g.svg").read_text() == "-Tsvg\n" + found.dot
    program.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    with pytest.raises(RuntimeError, match="dot failed: broken"):
        found.render(tmp_path / "g.svg")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_render_draws(tmp_path):
    path = viz.graph(leaves()[0] * 2).render(tmp_path / "g.svg")
    assert "<svg" in path.read_text()
