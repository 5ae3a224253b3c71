"""Where extensions find tensorlib's headers at build time."""

from pathlib import Path

__all__ = ["get_cython_include", "get_include"]

_PACKAGE = Path(__file__).resolve().parent


def get_include():
    """Return the folder to give a C compiler: it holds ``tensorlib/buffer.h``.

    Examples
    --------
    >>> import os, tensorlib as tl
    >>> os.path.exists(os.path.join(tl.get_include(), "tensorlib", "buffer.h"))
    True
    """
    installed = _PACKAGE / "include"
    # An editable installation uses the sources, where the headers lie beside us.
    return str(installed if installed.exists() else _PACKAGE.parent / "include")


def get_cython_include():
    """Return the folder to give Cython: it holds ``tensorlib/capi.pxd``.

    Examples
    --------
    >>> import os, tensorlib as tl
    >>> os.path.exists(os.path.join(tl.get_cython_include(), "tensorlib", "capi.pxd"))
    True
    """
    return str(_PACKAGE.parent)
