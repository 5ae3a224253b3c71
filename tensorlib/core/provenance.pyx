"""Which line of the user's program is running: what messages about a graph name.

A frame is the user's when its module is not ours. What is kept of it is a code object
and an instruction, from which file, line and source follow when a message needs them.
Looking for the frame costs more than recording an op, so it is done while `trace` is on
alone (`autograd.detect_anomaly`), and when an error has been raised in any case.
"""

from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_Tailmatch

cdef extern from "Python.h":
    PyObject *PyEval_GetFrame()
    void Py_INCREF(PyObject *o)
    void Py_DECREF(PyObject *o)
    PyObject *PyDict_GetItem(object d, object key)

cdef extern from *:
    """
    #define tl_frame_back(f) ((PyObject *)PyFrame_GetBack((PyFrameObject *)(f)))
    #define tl_frame_code(f) ((PyObject *)PyFrame_GetCode((PyFrameObject *)(f)))
    #define tl_frame_globals(f) (PyFrame_GetGlobals((PyFrameObject *)(f)))
    #define tl_frame_lasti(f) (PyFrame_GetLasti((PyFrameObject *)(f)))
    """
    PyObject *tl_frame_back(PyObject *frame)
    object tl_frame_code(PyObject *frame)
    object tl_frame_globals(PyObject *frame)
    int tl_frame_lasti(PyObject *frame)

cdef int _tracing = 0


cdef bint tracing() noexcept:
    return _tracing > 0


def trace(int change):
    """Add to the number of those who want the line of each recorded op kept.

    Examples
    --------
    >>> trace(0)
    """
    global _tracing
    _tracing += change


cdef bint _is_users(object module_globals) except -1:
    cdef PyObject *name = PyDict_GetItem(module_globals, "__name__")
    if name == NULL or not isinstance(<object>name, str):
        return True
    if <object>name == "tensorlib":
        return False
    return not PyUnicode_Tailmatch(<object>name, "tensorlib.", 0, 1 << 30, -1)


cdef tuple innermost_line():
    cdef PyObject *frame = PyEval_GetFrame()
    cdef PyObject *back
    cdef tuple found = None
    if frame == NULL:
        return None
    Py_INCREF(frame)
    try:
        while frame != NULL and found is None:
            if _is_users(tl_frame_globals(frame)):
                found = (tl_frame_code(frame), tl_frame_lasti(frame))
            else:
                back = tl_frame_back(frame)
                Py_DECREF(frame)
                frame = back
    finally:
        if frame != NULL:
            Py_DECREF(frame)
    return found


def user_line():
    """Return (code, instruction) of the innermost frame outside the library, or None.

    Examples
    --------
    >>> place = user_line()
    >>> place is None or len(place) == 2
    True
    """
    return innermost_line()


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
        if _is_users(step.tb_frame.f_globals):
            found = step.tb_frame.f_code, step.tb_lasti
        step = step.tb_next
    return innermost_line() if found is None else found


def line_text(place):
    """Return ``file:line: source`` of what `user_line` returned.

    Examples
    --------
    >>> line_text((line_text.__code__, 0)).split(": ")[1]
    'def line_text(place):'
    """
    import linecache

    code, instruction = place
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
    source = linecache.getline(code.co_filename, line).strip()
    return f"{code.co_filename}:{line}" + (f": {source}" if source else "")
