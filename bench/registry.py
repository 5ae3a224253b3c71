"""What the library has: public operations and the family of each primitive."""

import tensorlib as tl

__all__ = ["array_ops", "elementwise_ops", "public_ops", "reduction_ops"]

_FAMILIES = {"Unary": "unary", "Binary": "binary", "Ternary": "ternary"}

# Modules of ops that networks are made of, rather than an array library.
_NETWORKS = (
    "activation", "attention", "batch_norm", "conv", "embedding", "folding", "loss",
    "norm", "pooling", "random", "rectifier", "recurrent", "softmax",
)  # fmt: skip


def array_ops():
    """Return the names of `public_ops` that belong to the array namespace.

    Those are all but the modules of networks, and of random numbers, which NumPy and
    the standard draw otherwise.
    """
    found = set()
    for name in public_ops():
        owner, _, last = name.rpartition(".")
        home = getattr(tl, owner) if owner else tl
        module = getattr(home, last).__module__
        if module.rpartition(".")[2] not in _NETWORKS:
            found.add(name)
    return found


def public_ops():
    """Return the names of the public operations.

    These are the functions of ``tensorlib`` that the ops package defines, and those of
    ``tensorlib.linalg`` and ``tensorlib.fft``; settings such as `set_num_threads` are
    none.
    """
    found = {name: getattr(tl, name) for name in dir(tl)}  # loads the lazy ones
    for name in tl.linalg.__all__:
        if getattr(tl.linalg, name) is not found.get(name):
            found[f"linalg.{name}"] = getattr(tl.linalg, name)
    found.update((f"fft.{name}", getattr(tl.fft, name)) for name in tl.fft.__all__)
    return {
        name
        for name, value in found.items()
        if not name.startswith("_")
        and callable(value)
        and not isinstance(value, type)
        and (getattr(value, "__module__", None) or "").startswith(
            ("tensorlib.ops", "tensorlib.linalg", "tensorlib.fft")
        )
    }


def _by_class(wanted):
    """Public primitives with a class of that name among their bases, in order."""
    public = public_ops()  # first: it loads every family
    found = {}
    for primitive in tl.autograd.primitives():
        for base in type(primitive).__mro__:
            if base.__name__ in wanted and primitive.name in public:
                found.setdefault(primitive.name, wanted[base.__name__])
    return found


def elementwise_ops():
    """Return ``{name: "unary", "binary" or "ternary"}``."""
    return _by_class(_FAMILIES)


def reduction_ops():
    """Return the names of the reductions over axes."""
    return list(_by_class({"Reduce": "reduction"}))
