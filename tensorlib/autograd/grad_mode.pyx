"""The switches that control recording: no_grad, enable_grad, inference_mode.

Whether a thread records is a number in its state, which every call of an op consults; a
switch sets it on entry and puts back on exit what was there before.
"""
from tensorlib.core.dispatch cimport thread_state

from tensorlib.autograd.saved import watch_saving
from tensorlib.core.storage import switch_inference


class _GradSwitch:
    """A context manager and decorator that switches recording; may be nested."""

    def __init__(self):
        self._before = []

    def _fresh(self):
        """Another one of this kind: a decorated function may run in many threads."""
        return type(self)()

    def _switch(self, disabled):
        self._before.append(thread_state().grad_disabled)
        thread_state().grad_disabled = disabled
        return self

    def __call__(self, function):
        import functools   # only decorated functions pay for it

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with self._fresh():
                return function(*args, **kwargs)

        return wrapped

    def __exit__(self, *exc_info):
        thread_state().grad_disabled = self._before.pop()


class no_grad(_GradSwitch):  # noqa: N801
    """Record nothing inside the block; holds for the current thread only.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones(2, requires_grad=True)
    >>> with tl.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def __enter__(self):
        return self._switch(1)


class enable_grad(_GradSwitch):  # noqa: N801
    """Record inside the block, also within `no_grad`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.ones(2, requires_grad=True)
    >>> with tl.no_grad(), tl.enable_grad():
    ...     (x * 2).requires_grad
    True
    """

    def __enter__(self):
        return self._switch(1 if switch_inference(0) else 0)


class set_grad_enabled(_GradSwitch):  # noqa: N801
    """Record inside the block, or not, by `mode`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> with tl.set_grad_enabled(False):
    ...     tl.is_grad_enabled()
    False
    """

    def __init__(self, mode):
        super().__init__()
        self._mode = bool(mode)

    def _fresh(self):
        return set_grad_enabled(self._mode)

    def __enter__(self):
        return self._switch(0 if self._mode and not switch_inference(0) else 1)


class inference_mode(_GradSwitch):  # noqa: N801
    """Record nothing inside the block, and keep what is made there out of graphs.

    Stronger than `no_grad`: recording cannot be switched on again inside, and a tensor
    made inside can never be saved by a recorded operation, so that results of inference
    do not enter training by mistake. Views of tensors from outside are as those. Also a
    decorator; holds for the current thread only.

    Parameters
    ----------
    mode : bool, default True
        Whether to do so; with False the block leaves an enclosing inference mode.

    Raises
    ------
    TypeError
        If `mode` is not a bool.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.ones(2, requires_grad=True)
    >>> with tl.inference_mode():
    ...     y = w * 2
    >>> y.requires_grad, y.is_inference()
    (False, True)
    >>> w * y
    Traceback (most recent call last):
        ...
    tensorlib.core.errors.GraphError: multiply: expected tensors that a recorded ...
    >>> (w * y.clone()).requires_grad
    True
    """

    def __new__(cls, mode=True):
        made = super().__new__(cls)
        if callable(mode):    # @inference_mode, without parentheses
            made.__init__()
            return made(mode)
        return made

    def __init__(self, mode=True):
        if not isinstance(mode, bool):
            raise TypeError(f"inference_mode: expected a bool, got {mode!r}")
        super().__init__()
        self._mode = mode
        self._depths = []

    def _fresh(self):
        return inference_mode(self._mode)

    def __enter__(self):
        depth = switch_inference(0)
        self._depths.append(depth)
        if self._mode:
            watch_saving(0 if _inference_used() else 1)
        switch_inference(1 if self._mode else -depth)
        return self._switch(1 if self._mode else 0)

    def __exit__(self, *exc_info):
        switch_inference(self._depths.pop() - switch_inference(0))
        super().__exit__(*exc_info)


cdef bint _inference_was_used = False


cdef bint _inference_used() noexcept:
    """Whether inference mode was used before; from now on it was.

    Its tensors may outlive it, so recording looks for them ever after.
    """
    global _inference_was_used
    before = _inference_was_used
    _inference_was_used = True
    return before


def is_inference_mode_enabled():
    """Return whether this thread is in `inference_mode`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.is_inference_mode_enabled()
    False
    """
    return switch_inference(0) > 0


def is_grad_enabled():
    """Return whether operations are being recorded in this thread.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.is_grad_enabled()
    True
    """
    return thread_state().grad_disabled == 0
