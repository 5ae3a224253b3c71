"""How a tensor prints."""


def tensor_repr(x):
    """Return the text of ``repr(x)``."""
    return f"tensor({x.tolist()})"
