"""Which line of the user's program is running: what messages about a graph name.

A frame is the user's when its module is not ours. What is kept of it is a code object
and an instruction, from which file, line and source follow when a message needs them.
Looking for the frame costs more than recording an op, so it is done while `trace` is on
alone (`autograd.detect_anomaly`), and when an error has been raised in any case.
"""

import sys

__all__ = ["failing_line", "is_tracing", "line_text", "trace", "user_line"]

_tracing = 0


def trace(change):
    """Add to the number of those who want the line of each recorded op kept.

    Examples
    --------
    >>> trace(0)
    """
    global _tracing
    _tracing += change


def is_tracing():
    """Return whether the line of each recorded op is kept.

    Examples
    --------
    >>> is_tracing()
    False
    """
    return _tracing > 0


def user_line():
    """Return (code, instruction) of the innermost frame outside the library, or None.

    Examples
    --------
    >>> place = user_line()
    >>> place is None or len(place) == 2
    True
    """
    frame = sys._getframe(1)
    while frame is not None:
        if _is_users(frame):
            return frame.f_code, frame.f_lasti
        frame = frame.f_back
    return None


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
        if _is_users(step.tb_frame):
            found = step.tb_frame.f_code, step.tb_lasti
        step = step.tb_next
    return user_line() if found is None else found


def _is_users(frame):
    name = frame.f_globals.get("__name__") or ""
    return name != "tensorlib" and not name.startswith("tensorlib.")


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
