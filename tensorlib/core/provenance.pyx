"""Which line of the user's program is running: what messages about a graph name.

A frame is the user's when its file is not in our folder. What is kept of it is a code
object and an instruction, which takes some fifty instructions of the processor
(`frames.c`), so every recorded op has it; file, line and source are found when a
message needs them.

Writes in place keep theirs in a table of the last ones, by the storage's address. A
storage whose entry another has taken since is written to at an unknown line; one at a
dead one's address is not mistaken for it, because each of its writes takes the entry.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uintptr_t

import tensorlib.core.errors

cdef extern from "Python.h":
    void Py_XINCREF(PyObject *o)
    void Py_XDECREF(PyObject *o)

cdef extern from *:
    """
    void tl_set_folder(PyObject *folder);
    int tl_is_ours(PyObject *name);
    PyObject *tl_user_code(int *instruction);
    #define tl_running_frame() ((PyObject *)PyEval_GetFrame())
    #define tl_line(code, at) PyCode_Addr2Line((PyCodeObject *)(code), at)
    """
    void tl_set_folder(object folder)
    bint tl_is_ours(object name)
    PyObject *tl_user_code(int *instruction) noexcept
    PyObject *tl_running_frame()
    int tl_line(object code, int instruction)

cdef enum:
    WRITES = 2048           # enough for the writes of a step and the errors after it

cdef struct Write:
    const void *storage     # an address; nothing is read there
    uint32_t version
    tl_place place

cdef Write _writes[WRITES]


def _folder():
    """The folder of the package, as code objects of its Python modules have it."""
    inside = tensorlib.core.errors.missing_kernel.__code__.co_filename
    found = inside.removesuffix("errors.py").rstrip("/\\").removesuffix("core")
    return found or "\0"    # compiled without a path: no file is known to be ours


tl_set_folder(_folder())


cdef void place_here(tl_place *place) noexcept:
    place.code = tl_user_code(&place.instruction)
    Py_XINCREF(place.code)


cdef void drop_place(tl_place *place) noexcept:
    Py_XDECREF(place.code)


cdef str place_text(const tl_place *place):
    if place.code == NULL:
        return ""
    return line_text((<object>place.code, place.instruction))


cdef inline Write *_write_of(const void *storage) noexcept:
    # Storages lie at multiples of 64, most of them of more: mix the upper bits in.
    cdef uintptr_t address = <uintptr_t>storage >> 6
    return &_writes[(address ^ (address >> 11)) % WRITES]


cdef void note_write(const void *storage, uint32_t version) noexcept:
    cdef Write *write = _write_of(storage)
    cdef PyObject *code
    cdef PyObject *before
    write.storage, write.version = storage, version
    code = tl_user_code(&write.place.instruction)
    if code == write.place.code:    # a loop, mostly
        return
    before = write.place.code
    Py_XINCREF(code)
    write.place.code = code
    Py_XDECREF(before)    # last: whoever awaits its end may write, too


cdef str write_text(const void *storage, uint32_t version):
    cdef Write *write = _write_of(storage)
    if write.storage != storage or write.version != version:
        return ""
    return place_text(&write.place)


def user_line():
    """Return (code, instruction) of the innermost frame outside the library, or None.

    Examples
    --------
    >>> place = user_line()
    >>> place is None or len(place) == 2
    True
    """
    cdef PyObject *running = tl_running_frame()
    frame = None if running == NULL else <object>running
    while frame is not None and tl_is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lasti)


def failing_line(error):
    """Return what `user_line` returned where `error` was raised.

    Examples
    --------
    >>> try:
    ...     1 / 0
    ... except ZeroDivisionError as error:
    ...     place = failing_line(error)
    >>> place is None or len(place) == 2
    True
    """
    found, step = None, error.__traceback__
    while step is not None:
        # By its module: compiled code stands in tracebacks with a file of its own.
        module = str(step.tb_frame.f_globals.get("__name__"))
        if module.partition(".")[0] != "tensorlib":
            found = step.tb_frame.f_code, step.tb_lasti
        step = step.tb_next
    return user_line() if found is None else found


def line_text(place):
    """Return ``file:line: source`` of what `user_line` returned.

    Examples
    --------
    >>> line_text((line_text.__code__, 0)).split(": ")[1]
    'def line_text(place):'
    """
    import linecache

    code, instruction = place
    line = tl_line(code, instruction)
    source = linecache.getline(code.co_filename, line).strip()
    return f"{code.co_filename}:{line}" + (f": {source}" if source else "")
