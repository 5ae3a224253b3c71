"""The libraries that rows compare with: what they are called, which can take part.

PyTorch and NumPy are expected; the others take part in rows that name them, where they
are installed. ``compile`` and ``channels_last`` are PyTorch again: a function or module
through `torch.compile`, and images whose channels lie last in memory.
"""

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec

__all__ = ["PEERS", "TORCH", "installed", "namespace", "operand"]


@dataclass(frozen=True)
class Peer:
    """A library that ours is timed against.

    Attributes
    ----------
    title : str
        Its name in reports.
    mark : str
        The letter behind a ratio to its time; "" for PyTorch's.
    packages : tuple of str
        Those that must be installed for it to take part.
    """

    title: str
    mark: str
    packages: tuple


PEERS = {
    "torch": Peer("PyTorch", "", ("torch",)),
    "numpy": Peer("NumPy", "N", ("numpy",)),
    "compile": Peer("torch.compile", "C", ("torch",)),
    "channels_last": Peer("channels-last PyTorch", "L", ("torch",)),
    "onnx": Peer("ONNX Runtime", "O", ("onnx", "onnxruntime", "torch")),
    "jax": Peer("jitted JAX", "J", ("jax",)),
    "mlx": Peer("compiled MLX", "M", ("mlx",)),
}
# Their operands and modules are PyTorch's.
TORCH = {"torch", "compile", "channels_last", "onnx"}


@cache
def installed(library):
    """Return whether a library can take part."""
    needed = ("tensorlib",) if library == "ours" else PEERS[library].packages
    return all(find_spec(package) for package in needed)


@contextmanager
def _processors(count):
    """Let threads that start inside run on so many processors."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@cache
def _jax():
    """JAX with 64-bit dtypes, as the others have, and with as many threads as we."""
    import jax

    import tensorlib

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    with _processors(tensorlib.get_num_threads()):
        jax.numpy.zeros(1).block_until_ready()
    return jax


@cache
def _mlx():
    """The arrays of MLX, on the CPU; BLAS reads its threads from the environment."""
    core = import_module("mlx.core")
    core.set_default_device(core.cpu)
    return core


@cache
def _quiet_compiler():
    """Compilation in this process: idle helpers would take time from what is timed."""
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1
    logging.getLogger("torch").setLevel(logging.ERROR)


def namespace(library):
    """Return the modules that the statements of a library name."""
    if library == "ours":
        import tensorlib

        return {"tl": tensorlib}
    if library in TORCH:
        import torch

        if library == "compile":
            _quiet_compiler()
        return {"torch": torch, "F": torch.nn.functional}
    if library == "jax":
        jax = _jax()
        return {"jax": jax, "jnp": jax.numpy}
    if library == "mlx":
        return {"mx": _mlx()}
    import numpy

    return {"np": numpy}


def operand(library, array, *, grad):
    """Return a library's own copy of a NumPy array."""
    if library == "ours":
        import tensorlib

        return tensorlib.tensor(array).requires_grad_(grad)
    if library in TORCH:
        import torch

        # A copy made by torch lies where its own allocator puts tensors.
        return torch.from_numpy(array).clone().requires_grad_(grad)
    if library == "jax":
        return _jax().numpy.array(array)
    return _mlx().array(array) if library == "mlx" else array.copy()
