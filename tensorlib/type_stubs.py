"""Write the type stubs of functions and compiled classes, from sources; for the build.

``python type_stubs.py SOURCE OUT PACKAGE NAME...`` reads ``PACKAGE/NAME.pyx``, or
``NAME.py`` where there is none, and writes ``NAME.pyi``. Signatures are those of the
``def`` lines; types come from the docstrings, whose words for them (``Tensor of shape
(N,)``, ``int or tuple of int, optional``) are few. What they do not say is ``Any``. The
stub of the whole package, ``__init__``, is made of the imports and lazy names of
``__init__.py``.
"""

import ast
import re
import sys
import textwrap
from pathlib import Path

HEAD = """\
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, final, overload

from tensorlib.core.device import Device
from tensorlib.core.dtype import DType
from tensorlib.core.tensor import Tensor

class _HasArray(Protocol):
    def __array__(self) -> Any: ...

_ArrayLike = Tensor | complex | Sequence[Any] | _HasArray
_DTypeLike = DType | str | type
"""
# Words of docstrings, first match wins.
WORDS = (
    (r"sequence of Tensor|list of Tensor|tuple of Tensor", "Sequence[Tensor]"),
    (r"Tensor|array|buffer|nested sequence|Python scalar|scalar|number", "_ArrayLike"),
    (r"bool\b", "bool"),
    (r"sequence of int|tuple of int|list of int", "Sequence[int]"),
    (r"sequence of float", "Sequence[float]"),
    (r"int\b", "int"),
    (r"float\b", "float"),
    (r"str\b", "str"),
    (r"DType", "_DTypeLike"),
    (r"Device", "Device | str"),
    (r"None", "None"),
    (r"callable", "Callable[..., Any]"),
)
RESULTS = {
    "Tensor": "Tensor", "bool": "bool", "int": "int", "float": "float", "str": "str",
    "list of Tensor": "list[Tensor]", "tuple of Tensor": "tuple[Tensor, ...]",
    "tuple of int": "tuple[int, ...]", "DType": "DType", "Device": "Device",
    "dict of str to int": "dict[str, int]", "dict of str to str": "dict[str, str]",
}  # fmt: skip
COMPARISONS = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__")
BINARY = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or",
    "xor", "lshift", "rshift",
)  # fmt: skip
# Results of methods whose docstrings do not name them.
METHODS = {
    "item": "Any", "data_ptr": "int", "requires_grad_": "Tensor", "detach": "Tensor",
    "tobytes": "bytes", "manual_seed": "Generator", "initial_seed": "int",
    "__enter__": "Any", "__exit__": "None",
    "__bool__": "bool", "__len__": "int", "__int__": "int", "__float__": "float",
    "__index__": "int", "__repr__": "str", "__str__": "str", "__hash__": "int",
    "__contains__": "bool", "__iter__": "Iterator[Tensor]", "__getitem__": "Tensor",
    "__neg__": "Tensor", "__pos__": "Tensor", "__abs__": "Tensor",
    "__invert__": "Tensor", "__setitem__": "None", "__format__": "str",
    "__dlpack_device__": "tuple[int, int]",
}  # fmt: skip
PROPERTIES = {
    "shape": "tuple[int, ...]", "strides": "tuple[int, ...]", "ndim": "int",
    "size": "int", "itemsize": "int", "nbytes": "int", "dtype": "DType",
    "device": "Device", "T": "Tensor", "mT": "Tensor", "data": "Tensor",
    "is_contiguous": "bool", "is_readonly": "bool", "requires_grad": "bool",
    "grad": "Tensor | None", "is_leaf": "bool", "is_parameter": "bool",
    "version": "int", "name": "str", "type": "str", "index": "int",
}  # fmt: skip


FIELDS = {"str": "str", "bint": "bool", "int": "int"}
HIDDEN = ("__dealloc__", "__getbuffer__", "__releasebuffer__", "__richcmp__")
BUFFER = "def __buffer__(self, flags: int, /) -> memoryview: ..."
# Functions whose result depends on how many arguments there are.
OVERLOADS: dict[str, tuple[str, ...]] = {
    "where": (
        "(condition: _ArrayLike, /) -> tuple[Tensor, ...]: ...",
        "(condition: _ArrayLike, x1: _ArrayLike, x2: _ArrayLike, /) -> Tensor: ...",
    ),
}


def _axis_first(*names, axis="int | None = ...", more=""):
    """Return the forms that take the axis first or by keyword, and arrays."""
    given = "".join(f", {name}: _ArrayLike" for name in names)
    options = f", *, {more}" if more else ""
    return (
        f"(x: _ArrayLike, /, axis: int{given}{options}) -> Tensor: ...",
        f"(x: _ArrayLike{given}, /, *, axis: {axis}"
        f"{', ' * bool(more)}{more}) -> Tensor: ...",
    )


OVERLOADS |= {
    "gather": _axis_first("index"),
    "index_select": _axis_first("index", axis="int"),
    "index_add": _axis_first(
        "index", "source", axis="int", more="alpha: complex = ..."
    ),
    "scatter_add": _axis_first("index", "src"),
    "scatter": (
        *_axis_first("index", "src"),
        "(x: _ArrayLike, /, axis: int, index: _ArrayLike, *, value: complex) "
        "-> Tensor: ...",
    ),
}
# Functions of core that return no tensors and have no section Returns.
NOT_TENSORS = {"device": "Device", "dtype": "DType", "result_type": "DType"}


# ---- types from words ------------------------------------------------------------
def annotation(words):
    """Return the type that a parameter's words in a docstring stand for.

    Examples
    --------
    >>> annotation("int or tuple of int, optional")
    'int | Sequence[int] | None'
    >>> annotation('{"mean", "sum"}, default "mean"')
    'Literal["mean", "sum"]'
    """
    words, _, default = words.partition(", default")
    optional = words.endswith(", optional") or default.strip() == "None"
    words = re.sub(r", optional$|,? of shape .*|,? of dtype .*", "", words)
    if words.startswith("{"):
        choices = re.findall(r'"\w+"|\bNone\b|-?\b\d+\b', words)
        found = [f"Literal[{', '.join(choices)}]"] if choices else ["Any"]
        if re.search(r"\binf\b", words):
            found = ["Any"]
    else:
        parts = re.split(
            r" or |, (?![^(]*\))", re.sub(r"\([^)]*\)", "tuple of int", words)
        )
        found = list(dict.fromkeys(_word(part.strip()) for part in parts))
    if "Any" in found:
        return "Any"
    if optional and "None" not in found:
        found.append("None")
    return " | ".join(found)


def _word(part):
    for pattern, meaning in WORDS:
        if re.match(pattern, part):
            return meaning
    return "Any"


def section(doc, name):
    """Return the text below a heading of a numpydoc docstring, dedented."""
    found = re.search(
        rf"^{name}\n-+\n(.*?)(?=\n\w[\w ]*\n-{{3,}}|\Z)", doc, re.S | re.M
    )
    return found[1] if found else ""


def parameter_types(doc):
    """Return ``{name: type}`` from the section Parameters."""
    found = {}
    for line in section(doc, "Parameters").splitlines():
        match = re.match(r"([\w*, ]+) : (.+)", line)
        if match:
            for name in match[1].split(","):
                found[name.strip().lstrip("*")] = annotation(match[2])
    return found


def result_type(doc, records=()):
    """Return the type that the section Returns names, or the summary implies.

    `records` has the module's named tuples: ``{name: fields}``.
    """
    lines = section(doc, "Returns").splitlines()
    if not lines:
        return "Tensor" if doc.startswith("Return ") else "Any"
    named = [m[1] for m in (re.match(r"(\w+) : ", line) for line in lines) if m]
    for name, fields in dict(records).items():
        if named == fields or lines[0].strip() == name:
            return name
    words = re.sub(r",? of (the |shape|dtype|int64).*|,? with .*", "", lines[0])
    return RESULTS.get(words, "Tensor" if words.startswith("Tensor of") else "Any")


RECORD = re.compile(r'^(\w+) = namedtuple\(\s*"\w+",\s*\(([^)]*)\)\s*\)', re.M)


def records_of(source):
    """Return ``{name: fields}`` of the public named tuples that a module defines."""
    found = {
        name: re.findall(r"\w+", fields) for name, fields in RECORD.findall(source)
    }
    return {name: f for name, f in found.items() if not name.startswith("_")}


# ---- signatures from sources -----------------------------------------------------
DEF = re.compile(
    r"^(?P<property>    @property\n)?(?P<indent>    |)def (?P<name>\w+)"
    r'\((?P<args>.*?)\)(?: -> [^\n]*?)?:(?: [^\n]*)?\n(?:\s+r?"""(?P<doc>.*?)""")?',
    re.S | re.M,
)


# What may stand before an argument's name in Cython.
CTYPES = re.compile(
    r"\b(?:bint|int|str|object|double|int64_t|Tensor|tuple|dict|list)\s+(?=\w)"
)


def arguments_of(text):
    """Return the arguments of a ``def`` line, parsed as Python's, without C types."""
    text = CTYPES.sub("", re.sub(r"#.*", "", text))
    text = re.sub(r"\s+not None\b", "", text)
    try:
        return ast.parse(f"def f({text}): pass").body[0].args
    except SyntaxError:
        return ast.parse("def f(*args, **kwargs): pass").body[0].args


def _default_type(default):
    if isinstance(default, ast.Constant) and type(default.value) in (bool, str, float):
        return type(default.value).__name__
    return "Any"


def signature(args, doc):
    """Return the arguments, annotated."""
    types = parameter_types(doc)
    for holder in [*args.posonlyargs, *args.args, *args.kwonlyargs]:
        if holder.arg != "self":
            holder.annotation = ast.Name(types.get(holder.arg, "Any"))
    for holder in (args.vararg, args.kwarg):
        if holder is not None:
            holder.annotation = ast.Name("Any")
    positional = [*args.posonlyargs, *args.args]
    pairs = list(zip(reversed(positional), reversed(args.defaults), strict=False))
    pairs += [p for p in zip(args.kwonlyargs, args.kw_defaults, strict=True) if p[1]]
    for holder, default in pairs:
        if holder.annotation is not None and holder.annotation.id == "Any":
            holder.annotation = ast.Name(_default_type(default))
    args.defaults = [ast.Constant(...) for _ in args.defaults]
    args.kw_defaults = [d and ast.Constant(...) for d in args.kw_defaults]
    return ast.unparse(args)


def docstring(match):
    """Return the docstring of a match of `DEF`, dedented."""
    return textwrap.dedent("    " + (match["doc"] or ""))


def function(match, records=()):
    """Return the stub of a ``def`` of a module."""
    name, doc = match["name"], docstring(match)
    if name in OVERLOADS:
        return "\n".join(f"@overload\ndef {name}{form}" for form in OVERLOADS[name])
    arguments = signature(arguments_of(match["args"]), doc)
    found = NOT_TENSORS.get(name) or result_type(doc, records)
    return f"def {name}({arguments}) -> {found}: ..."


def method(match):
    """Return the stub of a ``def`` of a class."""
    name, doc = match["name"], docstring(match)
    arguments = signature(arguments_of(match["args"]), doc)
    if name in ("__init__", "__cinit__"):
        return f"def __init__({arguments}) -> None: ..."
    found = METHODS.get(name)
    if found is None:
        found = result_type(doc) if section(doc, "Returns") else "Any"
    return f"def {name}({arguments}) -> {found}: ..."


def class_stub(header, body):
    """Return the stub of a class from its name with bases, and its indented body."""
    lines, seen = [], set()
    for match in DEF.finditer(body):
        name = match["name"]
        private = name.startswith("_") and not name.startswith("__")
        if private or name in seen or name in HIDDEN or not match["indent"]:
            continue
        seen.add(name)
        if not match["property"]:
            lines.append(method(match))
            continue
        kind = PROPERTIES.get(name, "Any")
        lines += ["@property", f"def {name}(self) -> {kind}: ..."]
        if f"@{name}.setter" in body:
            lines += [f"@{name}.setter", f"def {name}(self, value: Any) -> None: ..."]
    for kind, name in re.findall(
        r"^    cdef (?:readonly|public) (\w+) (\w+)", body, re.M
    ):
        lines.append(f"{name}: {FIELDS.get(kind, 'Any')}")
    if "def __getbuffer__" in body:
        lines.append(BUFFER)
    known = set(re.findall(r"^(?:def )?(\w+)", "\n".join(lines), re.M))
    lines += [x for x in attributes(body) if x.partition(":")[0] not in known]
    if not lines:
        return f"class {header}: ..."
    return f"class {header}:\n" + textwrap.indent("\n".join(lines), "    ")


def attributes(body):
    """Return annotations of what a class's docstring lists as attributes."""
    doc = re.match(r'\s*"""(.*?)"""', body, re.S)
    listed = section(textwrap.dedent("    " + doc[1]), "Attributes") if doc else ""
    for names, words in re.findall(r"^(\w[\w, ]*) : (.+)", listed, re.M):
        kind = RESULTS.get(words, annotation(words))
        yield from (f"{name.strip()}: {kind}" for name in names.split(","))


CLASS = re.compile(
    r"^(?:cdef )?class (?P<name>\w+)(?:\((?P<base>\w+)[^)]*\))?:(?:  #.*)?\n", re.M
)


def classes_of(source, declarations):
    """Return the stubs of the public classes of a .pyx, and the text without them.

    Kinds of primitives, whose base is in another module of ops, are nobody's business
    outside.
    """
    found, kept, rest, end = [], set(), [], 0
    for match in CLASS.finditer(source):
        below = source[match.end() :]
        stop = re.search(r"^(?=\S)", below, re.M)
        body = below[: stop.start() if stop else len(below)]
        rest.append(source[end : match.start()])
        end = match.end() + len(body)
        name, base = match["name"], match["base"]
        if base is None or base in kept or base == "Primitive":
            kept.add(name)
            fields = re.search(rf"^cdef class {name}\b.*?:\n((?:    .*\n|\n)*)",
                               declarations, re.M)  # fmt: skip
            heading = name + (f"({base})" if base else "")
            found.append(class_stub(heading, body + (fields[1] if fields else "")))
    return found, "".join(rest) + source[end:]


def module_stub(source, declarations=""):
    """Return the stub of a .pyx file's text; `declarations` is its .pxd."""
    found, text = classes_of(source, declarations)
    records = records_of(source)
    for name, fields in records.items():
        lines = "".join(f"\n    {field}: Tensor" for field in fields)
        found.append(f"class {name}(NamedTuple):{lines}")
    if any("(Primitive)" in each for each in found):
        found.insert(0, "from tensorlib.autograd.primitive import Primitive")
    for match in DEF.finditer(text):
        if not match["indent"] and not match["name"].startswith("_"):
            found.append(function(match, records))
    for name in re.findall(r"^([A-Z][A-Z_]+) = ", text, re.M):
        found.append(f"{name}: Any")
    return HEAD + "\n" + "\n".join(found) + "\n"


# ---- Tensor, whose methods are functions of ops ----------------------------------
def tensor_stub(source):
    """Return the stub of core/tensor.pyx, with operators and bind.pyx's methods."""
    core = source / "core"
    stub = module_stub((core / "tensor.pyx").read_text("utf-8"))
    stub = re.sub(r"^from tensorlib.core.tensor import Tensor\n", "", stub, flags=re.M)
    bind = (source / "ops" / "bind.pyx").read_text("utf-8")
    lines = []
    for match in DEF.finditer(bind):
        if match["name"].startswith("_") and not match["name"].startswith("__"):
            lines.append(_as_method(match, match["name"].strip("_")
                                    + "_" * match["name"].endswith("_")))  # fmt: skip
    table = bind[
        bind.index("_METHODS = (") : bind.index("\n)\n", bind.index("_METHODS"))
    ]
    for home, words in re.findall(r"\((\w+), ((?:\"[^\"]*\"\s*)+)\)", table):
        folder = "autograd" if home in ("tape", "hooks") else "ops"
        name = {"shape_ops": "shape"}.get(home, home)
        lines += _methods_of(source / folder / name, words)
    lazy = bind[bind.index("_LAZY_METHODS = {") :].partition("\n}\n")[0]
    imports = []
    for home, words in re.findall(r'"(\w+)": "([^"]*)"', lazy):
        lines += _methods_of(source / "ops" / home, words)
        for record in records_of(_source(source / "ops" / home)):
            imports.append(f"from tensorlib.ops.{home} import {record}\n")
    for method in ("__dlpack__", "__dlpack_device__"):
        lines += _methods_of(core / "dlpack", method)
    for alias, name in re.findall(r"\b([a-z]+)=_([a-z]+)[,)]", bind):
        lines += [x.replace(f"def {name}(", f"def {alias}(", 1) for x in lines
                  if alias != name and x.startswith(f"def {name}(")]  # fmt: skip
    for name in BINARY:
        lines += [f"def __{p}{name}__(self, other: Any) -> Tensor: ..."
                  for p in ("", "r", "i")]  # fmt: skip
    lines += [f"def {name}(self, other: Any) -> Tensor: ...  # type: ignore[override]"
              for name in COMPARISONS]  # fmt: skip
    stub = _without_operators(stub)
    known = set(re.findall(r"^    def (\w+)\(", stub, re.M))
    lines = [x for x in lines if re.search(r"def (\w+)", x)[1] not in known]
    return "".join(imports) + _into_class(stub, lines)


def _source(path):
    """Return the text of a module, compiled or not."""
    compiled = path.with_suffix(".pyx")
    return (compiled if compiled.exists() else path.with_suffix(".py")).read_text(
        "utf-8"
    )


def _methods_of(path, words):
    """Return stubs of methods that are functions of a module."""
    text = _source(path)
    bodies = {m["name"]: m for m in DEF.finditer(text) if not m["indent"]}
    names = [name for name in re.sub(r'["\s]+', " ", words).split() if name in bodies]
    return [_as_method(bodies[name], name, records_of(text)) for name in names]


def _without_operators(stub):
    names = "|".join(BINARY)
    return re.sub(rf"^    def __[ri]?(?:{names})__\(.*\n", "", stub, flags=re.M)


def _as_method(match, name, records=()):
    made = function({**match.groupdict(), "name": name}, records)
    if name in METHODS:
        made = re.sub(r"-> .*", f"-> {METHODS[name]}: ...", made)
    if name.endswith("_") and not name.endswith("__"):  # in place
        made = re.sub(r"-> .*", "-> Tensor: ...", made)
    return re.sub(r"^def (\w+)\(\w+(?:: [^,)]*)?", r"def \1(self", made, flags=re.M)


def _into_class(stub, lines):
    head, body = re.split(r"(?=^class Tensor\b)", stub, maxsplit=1, flags=re.M)
    end = re.search(r"\n(?=\S)", body)
    cut = end.start() if end else len(body)
    added = textwrap.indent("\n".join(dict.fromkeys(lines)), "    ")
    return head + "@final\n" + body[:cut] + "\n" + added + body[cut:]


# ---- the package's names ---------------------------------------------------------
def package_stub(text):
    """Return the stub of ``__init__.py``: every name with its home."""
    lines = []
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for item in node.names:
                name = item.asname or item.name
                if not name.startswith("_"):
                    lines.append(f"from {node.module} import {item.name} as {name}")
        if not isinstance(node, ast.Assign):
            continue
        name = node.targets[0].id
        if name == "_LAZY_MODULES":
            lines += [f"from tensorlib import {m} as {m}"
                      for m in ast.literal_eval(node.value)]  # fmt: skip
        elif name == "_LAZY_NAMES":
            for home, names in ast.literal_eval(node.value).items():
                lines += [f"from tensorlib.{home} import {n} as {n}" for n in names]
        elif name in ("inf", "nan", "pi", "e"):
            lines.append(f"{name}: float")
        elif name == "newaxis":
            lines.append("newaxis: None")
        elif name == "bool":
            lines.append("from tensorlib.core.dtype import bool_ as bool")
    return "\n".join([*lines, "__version__: str", ""])


def stub_of(source, package, name):
    """Return the text of one stub."""
    if name == "__init__":
        return package_stub((source / "__init__.py").read_text("utf-8"))
    if (package, name) == ("core", "tensor"):
        return tensor_stub(source)
    path = source / package / name
    pxd = path.with_suffix(".pxd")
    text = module_stub(_source(path), pxd.read_text("utf-8") if pxd.exists() else "")
    if package == "core" and name in ("device", "dtype"):
        own = name.capitalize() if name == "device" else "DType"
        text = text.replace(f"from tensorlib.core.{name} import {own}\n", "")
    return text + constants(source, f"{package}.{name}", text)


def constants(source, module, stub):
    """Return annotations of what the package takes from a module beside its defs."""
    kind = {"core.dtype": "DType", "ops.random": "Generator"}.get(module, "Any")
    public = (source / "__init__.py").read_text("utf-8")
    found = ""
    for node in ast.parse(public).body:
        if isinstance(node, ast.ImportFrom) and node.module == f"tensorlib.{module}":
            for item in node.names:
                if not re.search(rf"^(def|class) {item.name}\b", stub, re.M):
                    found += f"{item.name}: {kind}\n"
    return found


def main(source, out, package, *names):
    """Write the stubs of some modules of a package into a folder."""
    for name in names:
        text = stub_of(Path(source), package, name)
        (Path(out) / f"{name}.pyi").write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
