"""Pictures of graphs: what backward will walk, as DOT, as text, or rendered.

The text of DOT needs nothing; ``render`` needs the program ``dot`` of Graphviz.
"""

import html
import shutil
import subprocess
from pathlib import Path

from tensorlib.core.tensor import Tensor

__all__ = ["Graph", "graph"]


# Of the text: each line is indented further, so that the size grows with the square.
_LINES = 1000


class Graph:
    """The graph below some tensors: nodes for operations, leaves for variables.

    Printed, it is a tree of plain text, in which what was shown before is only named;
    of a large graph it shows the first lines.

    Attributes
    ----------
    dot : str
        The graph in the DOT language.
    """

    def __init__(self, roots, names):
        self._roots = roots
        self._names = names
        self._order = _visited(roots)
        self._numbers = {id(item): n for n, item in enumerate(self._order)}

    @property
    def dot(self):
        """The graph in the DOT language."""
        lines = ["digraph {", "  rankdir=BT;", '  node [fontname="monospace"];']
        for n, item in enumerate(self._order):
            shape = "box" if isinstance(item, Tensor) else "ellipse"
            style = ', style="bold"' if any(item is r for r in self._roots) else ""
            text = _quoted(self._text(item))
            lines.append(f'  n{n} [label="{text}", shape={shape}{style}];')
        for n, item in enumerate(self._order):
            for place, source in enumerate(_sources(item)):
                if source is not None:
                    origin = self._numbers[id(source)]
                    lines.append(f'  n{origin} -> n{n} [label="{place}"];')
        return "\n".join([*lines, "}", ""])

    def render(self, path):
        """Draw the graph into a file, in the format of its suffix.

        Parameters
        ----------
        path : str or Path
            Ends in ``.png``, ``.svg`` or ``.pdf``.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            If the suffix is another one.
        RuntimeError
            If Graphviz is not installed, or fails.
        """
        path = Path(path)
        kind = path.suffix.removeprefix(".")
        if kind not in ("png", "svg", "pdf"):
            raise ValueError(
                f"render: expected a path that ends in .png, .svg or .pdf, got {path}"
            )
        program = shutil.which("dot")
        if program is None:
            raise RuntimeError(
                "render: expected the program dot of Graphviz on the path, found none; "
                "install graphviz, or write .dot to a file"
            )
        found = subprocess.run(
            [program, f"-T{kind}", "-o", str(path)],
            input=self.dot,
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            raise RuntimeError(f"render: dot failed: {found.stderr.strip()}")
        return path

    def _text(self, item):
        shape = "x".join(map(str, item.shape)) or "scalar"
        if isinstance(item, Tensor):
            return f"{self._names.get(id(item), 'leaf')} ({shape})"
        return f"{item.name} ({shape})"

    def __str__(self):
        """Return the tree as text, producers below their consumers."""
        lines, shown = [], set()
        stack = [(root, "", "") for root in reversed(self._roots)]
        while stack:
            if len(lines) == _LINES:
                lines.append(f"… ({len(self._order)} nodes in all)")
                break
            item, first, rest = stack.pop()
            again = id(item) in shown
            sources = [s for s in _sources(item) if s is not None]
            number = "" if isinstance(item, Tensor) else f" [{self._numbers[id(item)]}]"
            text = first + self._text(item) + number
            lines.append(text + " …" if again and sources else text)
            if again:
                continue
            shown.add(id(item))
            for n, source in reversed(list(enumerate(sources))):
                last = n == len(sources) - 1
                below = rest + ("└─ " if last else "├─ ")
                stack.append((source, below, rest + ("   " if last else "│  ")))
        return "\n".join(lines)

    def __repr__(self):
        return f"<Graph of {len(self._order)} nodes>"

    def _repr_html_(self):
        return f"<pre>{html.escape(str(self))}</pre>"


def graph(tensors, names=None):
    """Return the graph of operations that made a tensor.

    With gradients computed under ``create_graph=True`` it is the adjoint graph on top
    of the forward one.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        Where to begin.
    names : dict of str to Tensor, optional
        What to call leaves, for example ``dict(model.named_parameters())``.

    Returns
    -------
    Graph
        With the attribute ``dot``, the method ``render(path)``, and a tree as its text.

    Raises
    ------
    TypeError
        If there is anything but tensors.
    ValueError
        If a tensor does not require grad, and so has no graph.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones(3, requires_grad=True)
    >>> w = tl.ones(3, requires_grad=True)
    >>> print(tl.viz.graph((tl.exp(x) * w).sum(), {"x": x, "w": w}))
    sum (scalar) [0]
    └─ multiply (3) [1]
       ├─ exp (3) [2]
       │  └─ x (3)
       └─ w (3)
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for x in [*tensors, *(names or {}).values()]:
        if not isinstance(x, Tensor):
            raise TypeError(f"graph: expected Tensors, got {type(x).__name__}")
    for x in tensors:
        if not x.requires_grad:
            raise ValueError(
                "graph: expected tensors that require grad, got one of shape "
                f"{x.shape} that does not"
            )
    roots = []
    for x in tensors:
        root = x if x.grad_fn is None else x.grad_fn
        if not any(root is r for r in roots):
            roots.append(root)
    return Graph(roots, {id(x): name for name, x in (names or {}).items()})


def _sources(item):
    return () if isinstance(item, Tensor) else item.next_functions


def _visited(roots):
    """Return all items below the roots, each once, consumers first."""
    order, seen, stack = [], set(), list(reversed(roots))
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        order.append(item)
        stack.extend(s for s in reversed(_sources(item)) if s is not None)
    return order


def _quoted(text):
    return text.replace("\\", "\\\\").replace('"', '\\"')
