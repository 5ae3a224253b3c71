"""The BLAS: found, loaded and held to one thread.

Matrix products come from OpenBLAS, as the ``scipy-openblas32`` wheel ships it. The
library is opened with ``dlopen`` rather than linked, so that a missing one is told
apart from a broken one and its folder need not be known at build time. It runs on
one thread: our own static partition of the product is the only pool (two pools
alternating cost a thousand times the product; see ARCHITECTURE.md).
"""
import os
from importlib.machinery import PathFinder

cdef extern from "<dlfcn.h>" nogil:
    enum:
        RTLD_LAZY
        RTLD_LOCAL
    void *dlopen(const char *path, int flags)
    void *dlsym(void *handle, const char *symbol)
    const char *dlerror()

cdef extern from "<stdlib.h>" nogil:
    int setenv(const char *name, const char *value, int overwrite)
    int unsetenv(const char *name)

cdef extern from *:
    """
    #ifndef TL_BLAS_LIBRARY
    #define TL_BLAS_LIBRARY "scipy-openblas32"
    #endif
    """
    const char *TL_BLAS_LIBRARY

ctypedef char *(*get_config_fn)() noexcept nogil
ctypedef void (*set_num_threads_fn)(int count) noexcept nogil

cdef str _WHEEL = "scipy-openblas32"
cdef void *_handle = NULL
cdef str _path = None
cdef str _config = None


def _library_path():
    """Return the file of the shared library to open.

    Raises
    ------
    ImportError
        If the wheel is not installed.
    """
    library = TL_BLAS_LIBRARY.decode()
    if library != _WHEEL:
        return library
    spec = PathFinder.find_spec("scipy_openblas32")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"tensorlib needs the BLAS of {_WHEEL}, which is not installed for this "
            f"Python: pip install {_WHEEL}"
        )
    folder = os.path.join(list(spec.submodule_search_locations)[0], "lib")
    names = [
        name for name in ("libscipy_openblas.so", "libscipy_openblas.dylib")
        if os.path.exists(os.path.join(folder, name))
    ]
    if not names:
        raise ImportError(
            f"tensorlib: {_WHEEL} is installed, but {folder} holds no "
            f"libscipy_openblas: pip install --force-reinstall {_WHEEL}"
        )
    return os.path.join(folder, names[0])


cdef void *_open(str path) except NULL:
    """dlopen with OPENBLAS_NUM_THREADS=1, so that it starts no threads."""
    cdef bytes encoded = os.fsencode(path)
    cdef void *handle
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    setenv("OPENBLAS_NUM_THREADS", "1", 1)
    handle = dlopen(encoded, RTLD_LAZY | RTLD_LOCAL)
    cdef const char *message = dlerror() if handle == NULL else NULL
    if before is None:
        unsetenv("OPENBLAS_NUM_THREADS")
    else:
        setenv("OPENBLAS_NUM_THREADS", os.fsencode(before), 1)
    if handle == NULL:
        reason = message.decode(errors="replace") if message != NULL else "no reason"
        raise ImportError(
            f"tensorlib: cannot load the BLAS {path}: {reason}; "
            f"pip install --force-reinstall {_WHEEL}"
        )
    return handle


cdef void *_symbol(void *handle, str name):
    """A symbol under the wheel's prefix or its own name; NULL when absent."""
    cdef void *address = dlsym(handle, b"scipy_" + name.encode())
    if address == NULL:
        address = dlsym(handle, name.encode())
    return address


cdef void *_needed(void *handle, str name) except NULL:
    cdef void *address = _symbol(handle, name)
    if address == NULL:
        raise ImportError(
            f"tensorlib: the BLAS {_path} has no {name}; build with a CBLAS library "
            f"(-Dblas=...) or pip install --force-reinstall {_WHEEL}"
        )
    return address


cdef void *blas_function(str name) except NULL:
    return _needed(_handle, name)


cdef int _load() except -1:
    global _path, _config, _handle, blas_sgemm, blas_dgemm, blas_sgemv, blas_dgemv
    _path = _library_path()
    cdef void *handle = _open(_path)
    _handle = handle
    blas_sgemm = <sgemm_fn>_needed(handle, "cblas_sgemm")
    blas_dgemm = <dgemm_fn>_needed(handle, "cblas_dgemm")
    blas_sgemv = <sgemv_fn>_needed(handle, "cblas_sgemv")
    blas_dgemv = <dgemv_fn>_needed(handle, "cblas_dgemv")
    cdef set_num_threads_fn set_num_threads = <set_num_threads_fn>_symbol(
        handle, "openblas_set_num_threads"
    )
    if set_num_threads != NULL:
        set_num_threads(1)
    cdef get_config_fn get_config = <get_config_fn>_symbol(
        handle, "openblas_get_config"
    )
    _config = get_config().decode().strip() if get_config != NULL else "unknown"
    return 0


def blas_info():
    """Return what computes the matrix products.

    Returns
    -------
    dict of str to str
        ``name`` (as the build option ``blas`` gave it), ``config`` (the library's
        own words: version, build options, processor), ``path``.

    Examples
    --------
    >>> sorted(blas_info())
    ['config', 'name', 'path']
    """
    return {"name": TL_BLAS_LIBRARY.decode(), "config": _config, "path": _path}


_load()
