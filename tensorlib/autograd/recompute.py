"""Checkpointing: activations computed again in backward instead of kept.

A function's recording is made as usual, but what its nodes would save is replaced by
places to fill (`saved_tensors_hooks`). The first time the backward pass reads one, the
function runs again and fills them all, in the order in which they were saved.

References
----------
A. Griewank, A. Walther, "Algorithm 799: revolve", ACM TOMS 26 (2000) 19-45.
T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training deep nets with sublinear memory cost",
arXiv:1604.06174.
"""

import itertools
import weakref

from tensorlib.autograd.autocast import AutocastAs
from tensorlib.autograd.grad_mode import is_grad_enabled
from tensorlib.autograd.joint import Recording
from tensorlib.autograd.saved import Kept, saved_tensors_hooks
from tensorlib.core.errors import GraphError
from tensorlib.core.tensor import Tensor
from tensorlib.ops.random import default_generator

__all__ = ["checkpoint", "checkpoint_sequential"]


class _Place:
    """Where a tensor will be, once the function has run again."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self):
        self.tensor = None


class _Region:
    """One checkpointed call, and how to run it again."""

    def __init__(self, function, args, kwargs, preserve_rng_state):
        self.function = function
        # The arguments are saved as an op's are: an enclosing checkpoint packs them.
        self.args = [_kept(x) for x in args]
        self.kwargs = {name: _kept(x) for name, x in kwargs.items()}
        self.state = default_generator.get_state() if preserve_rng_state else None
        self.autocast = AutocastAs()
        self.places = []  # weak: nodes hold them
        self.shapes = []

    def pack(self, x):
        """Give a place instead of a tensor that a node would save."""
        place = _Place()
        self.places.append(weakref.ref(place))
        self.shapes.append((x.shape, x.dtype))
        return place

    def unpack(self, place):
        """Return the tensor that belongs there."""
        if place.tensor is None:
            self._run_again()
        return place.tensor

    def _run_again(self):
        made = []
        hooks = saved_tensors_hooks(lambda x: self._filled(made, x), _given_back)
        args = [_given_back(x) for x in self.args]
        kwargs = {name: _given_back(x) for name, x in self.kwargs.items()}
        now = default_generator.get_state()
        if self.state is not None:
            default_generator.set_state(self.state)
        try:
            with Recording(True), self.autocast, hooks:
                self.function(*args, **kwargs)
        finally:
            default_generator.set_state(now)
        if len(made) != len(self.places):
            raise GraphError(
                f"checkpoint: expected the function to save {len(self.places)} tensors "
                f"when it runs again, as in the forward pass, got {len(made)}; it "
                "depends on something that has changed since"
            )

    def _filled(self, made, x):
        n = len(made)
        made.append(None)
        if n < len(self.places):
            shape, dtype = self.shapes[n]
            if (x.shape, x.dtype) != (shape, dtype):
                raise GraphError(
                    f"checkpoint: expected a tensor of shape {shape} and {dtype} when "
                    f"the function runs again, as in the forward pass, got {x.shape} "
                    f"and {x.dtype}; it depends on something that has changed since"
                )
            place = self.places[n]()
            if place is not None:
                place.tensor = x
        return x


def _kept(x):
    return Kept(x) if isinstance(x, Tensor) else x


def _given_back(x):
    return x.get() if isinstance(x, Kept) else x


def checkpoint(function, *args, preserve_rng_state=True, **kwargs):
    """Call a function without keeping what its backward needs; compute it again there.

    Parameters
    ----------
    function : callable
        Does the same each time it is called with the same arguments.
    *args, **kwargs
        Its arguments.
    preserve_rng_state : bool, default True
        Whether the default generator is set back when the function runs again, so that
        dropout drops the same elements.

    Returns
    -------
    object
        What `function` returns.

    Raises
    ------
    TypeError
        If `function` is not callable.
    GraphError
        In backward, if the function saves other tensors when it runs again, or a tensor
        among its arguments was changed in place.

    Notes
    -----
    Gradients also flow to tensors that the function closes over, parameters of a module
    for example. Checkpoints may be nested, and gradients of gradients be taken. What
    the function does beside computing its result happens twice.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.ones(3, requires_grad=True)
    >>> y = tl.autograd.checkpoint(lambda x: tl.exp(x * w), tl.ones(3))
    >>> y.sum().backward()
    >>> bool(tl.all(w.grad == tl.exp(tl.ones(3))))
    True
    """
    if not callable(function):
        raise TypeError(
            f"checkpoint: expected a callable, got {type(function).__name__}"
        )
    if not is_grad_enabled():
        return function(*args, **kwargs)
    region = _Region(function, args, kwargs, preserve_rng_state)
    with saved_tensors_hooks(region.pack, region.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(functions, segments, input, *, preserve_rng_state=True):
    """Run functions one after the other, keeping activations between segments alone.

    With N functions in about sqrt(N) segments, memory for activations grows with
    sqrt(N) instead of N, and the forward pass is computed twice.

    Parameters
    ----------
    functions : Sequential or iterable of callable
        Each takes what the one before returned.
    segments : int
        How many parts to cut them into, of nearly equal numbers; the last part is run
        as usual, because its activations are needed first.
    input : object
        What the first function takes.
    preserve_rng_state : bool, default True
        As in `checkpoint`.

    Returns
    -------
    object
        What the last function returned.

    Raises
    ------
    ValueError
        If `segments` is not between 1 and the number of functions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> layers = [tl.exp, tl.sin, tl.tanh, tl.cos]
    >>> x = tl.ones(2, requires_grad=True)
    >>> y = tl.autograd.checkpoint_sequential(layers, 2, x)
    >>> bool(tl.all(y == tl.cos(tl.tanh(tl.sin(tl.exp(x))))))
    True
    """
    functions = list(functions)
    if isinstance(segments, bool) or not isinstance(segments, int):
        raise TypeError(
            f"checkpoint_sequential: expected an int as segments, got {segments!r}"
        )
    if not 1 <= segments <= len(functions):
        raise ValueError(
            f"checkpoint_sequential: expected between 1 and {len(functions)} segments, "
            f"got {segments}"
        )
    bounds = [len(functions) * n // segments for n in range(segments + 1)]
    for start, stop in itertools.pairwise(bounds[:-1]):
        input = checkpoint(
            _chain(functions[start:stop]), input, preserve_rng_state=preserve_rng_state
        )
    return _chain(functions[bounds[-2] :])(input)


def _chain(functions):
    def run(x):
        for function in functions:
            x = function(x)
        return x

    return run
