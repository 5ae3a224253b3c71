"""CPU kernels: the instruction set is chosen here, once, at import.

Every kernel family exists once for each x86-64 level; the highest that the processor
has is imported and enters its loops into the kernel table. ``TENSORLIB_ISA`` may
force a lower one, for tests.
"""

import os

from tensorlib.core.batching import load_examples
from tensorlib.core.dtype import complex64, complex128
from tensorlib.core.widening import load_late
from tensorlib.kernels.batching import set_batching_rules
from tensorlib.kernels.driver import x86_level

__all__ = ["instruction_set", "load_families"]

# Loaded with tensorlib; the others by the module of ops that uses them.
_FAMILIES = (
    "unary",
    "binary",
    "cast",
    "random",
    "reduce",
    "scan",
    "softmax",
    "matmul",
    "integer_matmul",
    "indexing",
    "activation",
)


def _choose(wanted, level):
    """Return the tags for a processor of x86-64 `level` (0: not x86), best last."""
    if level == 0:
        supported = ["generic"]
    elif level == 1:
        raise ImportError(
            "tensorlib: this processor has no SSE4.2 (x86-64-v2), which the kernels "
            "need"
        )
    else:
        supported = [f"v{n}" for n in range(2, level + 1)]
    if not wanted:
        return supported
    if wanted not in supported:
        raise ImportError(
            f"tensorlib: TENSORLIB_ISA={wanted!r} is not available here; "
            f"this processor supports {', '.join(supported)}"
        )
    return [wanted]


def _import_family(family, tag):
    # importlib would load warnings too.
    return __import__(f"tensorlib.kernels._cpu_{family}_{tag}", fromlist=["register"])


def _load(supported):
    """Register the kernels of the last tag that was built, and return the tag."""
    for tag in reversed(supported):
        try:
            modules = [_import_family(family, tag) for family in _FAMILIES]
        except ModuleNotFoundError as error:
            if not error.name.endswith(f"_{tag}"):
                raise
            continue
        for module in modules:
            module.register()
        return tag
    raise ImportError(
        f"tensorlib: built without kernels for {', '.join(supported)}; build with "
        "-Dinstruction_sets naming one of them"
    )


_instruction_set = _load(_choose(os.environ.get("TENSORLIB_ISA", ""), x86_level()))
set_batching_rules()


def load_families(*families):
    """Register kernels that are not loaded with tensorlib.

    A module of ops whose kernels have families of their own calls it when it is
    imported, which is at the first use of one of its names.
    """
    for family in families:
        try:
            module = _import_family(family, _instruction_set)
        except ModuleNotFoundError:
            if _instruction_set != "v4":
                raise
            module = _import_family(family, "v3")  # see meson.build
        module.register()


if _instruction_set != "v2":  # see meson.build
    load_families("half")
load_late((complex64.code, complex128.code), lambda: load_families("complex"))
load_examples(lambda: __import__("tensorlib.kernels.examples"))


def instruction_set():
    """Return the kernels in use: ``"v2"``, ``"v3"``, ``"v4"`` or ``"generic"``.

    The first three are x86-64 levels: SSE4.2, AVX2 with FMA, and AVX-512.

    Examples
    --------
    >>> instruction_set() in {"v2", "v3", "v4", "generic"}
    True
    """
    return _instruction_set
