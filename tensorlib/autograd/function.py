"""Function: operations with derivatives written by hand, in Python.

A subclass states the forward computation, its vjp (`backward`) and, if it likes, its
jvp. Here are the checks of what it returns; the nodes of the graph are made in
`joint.pyx`.
"""

import functools

from tensorlib.autograd.grad_mode import is_grad_enabled
from tensorlib.autograd.joint import (
    Application,
    Recording,
    aliased,
    carry_tangents,
    check_changed_in_place,
    has_tangents,
    is_among,
    record_application,
    zero_tangent,
)
from tensorlib.core.errors import DTypeError, GraphError, ShapeError
from tensorlib.core.tensor import Tensor

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class FunctionCtx:
    """What the static methods of one application of a `Function` share.

    Any attribute may be set on it; tensors for `backward` go through
    `save_for_backward`, which frees them when backward has run and checks that nobody
    changed them in between.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument of ``apply``, whether a gradient is asked for.
    """

    def __init__(self, name, args, needs_input_grad):
        self.needs_input_grad = needs_input_grad
        self._name = name
        self._args = args  # while forward runs
        self._saved = self._saved_for_forward = ()
        self._dirty = ()
        self._non_differentiable = ()
        self._materialize = True
        self._unpack = None  # while backward runs

    def save_for_backward(self, *tensors):
        """Keep tensors for `backward`: arguments, outputs or intermediate results.

        Parameters
        ----------
        *tensors : Tensor or None

        Raises
        ------
        TypeError
            If one is neither.

        Notes
        -----
        A gradient of the gradient sees how arguments and outputs depend on the
        arguments, and takes intermediate results for constants; return those as
        outputs, or compute them again in backward, where it matters.
        """
        self._saved = _tensors(f"{self._name}: save_for_backward", tensors)

    def save_for_forward(self, *tensors):
        """Keep tensors for `jvp` alone; by default those of `save_for_backward`."""
        self._saved_for_forward = _tensors(f"{self._name}: save_for_forward", tensors)

    @property
    def saved_tensors(self):
        """The tensors that were saved, a tuple.

        Raises
        ------
        GraphError
            If they were freed by an earlier backward, or changed in place.
        """
        if self._unpack is not None:
            return self._unpack()
        if self._args is None:
            raise GraphError(
                f"{self._name}: saved_tensors are there in forward, backward and jvp "
                "only"
            )
        return self._saved_for_forward or self._saved

    def mark_dirty(self, *tensors):
        """Say which arguments `forward` changes in place; they must be outputs.

        Call it before they are changed.

        Raises
        ------
        GraphError
            If one is no argument, a leaf that requires grad, or a view.
        """
        self._dirty = _tensors(f"{self._name}: mark_dirty", tensors)
        for tensor in self._dirty:
            if not is_among(tensor, self._args):
                raise GraphError(
                    f"{self._name}: mark_dirty: expected arguments of forward, got "
                    f"another tensor of shape {tensor.shape}"
                )
            if any(self.needs_input_grad):
                check_changed_in_place(f"{self._name}: mark_dirty", tensor)

    def mark_non_differentiable(self, *tensors):
        """Say which outputs have no gradient; those of integers never have one."""
        self._non_differentiable = _tensors(
            f"{self._name}: mark_non_differentiable", tensors
        )

    def set_materialize_grads(self, value):
        """Choose whether missing gradients and tangents are zeros (True) or None."""
        self._materialize = bool(value)


class Function:
    """Base class of operations with a derivative of their own.

    Subclasses define static methods, and are used through ``apply``:

    ``forward(ctx, *args)``
        Compute the outputs, a tensor or a tuple, from any arguments. Nothing is
        recorded in it. Alternatively ``forward(*args)`` together with
        ``setup_context(ctx, inputs, output)``.
    ``backward(ctx, *grad_outputs)``
        Map the cotangents of all outputs to one gradient for each argument, None for
        those that are no tensors: the transposed Jacobian. Written in tensor
        operations, it can itself be differentiated.
    ``jvp(ctx, *tangents)``
        Map the tangents of all arguments (None for those that are no tensors) to a
        tangent of each output: the Jacobian, for forward mode. Runs right after
        ``forward``, once a level of nesting.

    Raises
    ------
    GraphError
        From ``apply``, if ``forward`` changes an argument in place without
        ``ctx.mark_dirty``, or forward mode is on and there is no ``jvp``; in the
        backward pass, if there is no ``backward`` or it returns another number of
        gradients than there were arguments.
    ShapeError, DTypeError
        If a gradient or tangent does not fit its tensor.

    See Also
    --------
    FunctionCtx : What can be done with ``ctx``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> class Exp(tl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = tl.exp(x)
    ...         ctx.save_for_backward(y)
    ...         return y
    ...
    ...     @staticmethod
    ...     def backward(ctx, grad_output):
    ...         (y,) = ctx.saved_tensors
    ...         return grad_output * y
    ...
    ...     @staticmethod
    ...     def jvp(ctx, tangent):
    ...         (y,) = ctx.saved_tensors
    ...         return tangent * y
    >>> x = tl.tensor([0.0, 1.0], requires_grad=True)
    >>> Exp.apply(x).sum().backward()
    >>> x.grad
    tensor([1.       , 2.7182817])
    """

    def __new__(cls, *args, **kwargs):
        """Refuse: there are no instances."""
        raise TypeError(
            f"{cls.__name__}: not called directly; use {cls.__name__}.apply"
        )

    @staticmethod
    def forward(*args):
        """Compute the outputs; every subclass defines it."""
        raise NotImplementedError("Function: the required method forward is missing")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Save what `backward` needs, where `forward` does not take `ctx`."""
        raise NotImplementedError("Function: setup_context is not defined")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Return one gradient for each argument of `forward`."""
        raise NotImplementedError("Function: backward is not defined")

    @staticmethod
    def jvp(ctx, *tangents):
        """Return one tangent for each output of `forward`."""
        raise NotImplementedError("Function: jvp is not defined")

    @classmethod
    def apply(cls, *args):
        """Apply the function, and record it where an argument requires grad.

        Parameters
        ----------
        *args
            What ``forward`` takes; tensors that are arguments themselves (not inside of
            containers) are differentiated by.

        Returns
        -------
        object
            What ``forward`` returned, its tensors in the graph.
        """
        return _Call(cls, args).run()


class _Call:
    """One application: its arguments, context and outputs."""

    def __init__(self, cls, args):
        self.cls, self.args, self.name = cls, args, cls.__name__
        self.places = [n for n, x in enumerate(args) if isinstance(x, Tensor)]
        self.inputs = tuple([args[n] for n in self.places])
        needed = [False] * len(args)
        if is_grad_enabled():
            for n, x in zip(self.places, self.inputs, strict=True):
                needed[n] = x.requires_grad
        self.ctx = FunctionCtx(self.name, args, tuple(needed))

    def run(self):
        """Compute, check, record and carry tangents."""
        carried = has_tangents(self.inputs)
        if carried and self.cls.jvp is Function.jvp:
            raise GraphError(
                f"{self.name}: expected a jvp(ctx, *tangents) for forward mode, got "
                "none; define it as a static method, or use reverse mode"
            )
        versions = [x.version for x in self.inputs]
        output = self._forward()
        many = isinstance(output, (tuple, list))
        raw = list(output) if many else [output]
        recorded = any(self.ctx.needs_input_grad)
        if recorded or carried:
            self._check_writes(versions)
            raw = self._connect(raw, recorded, carried)
        self.ctx._args = None
        self.ctx._saved = self.ctx._saved_for_forward = self.ctx._dirty = ()
        self.ctx._non_differentiable = ()
        return (tuple(raw) if isinstance(output, tuple) else raw) if many else raw[0]

    def _forward(self):
        cls, ctx = self.cls, self.ctx
        with Recording(False):
            if cls.setup_context is Function.setup_context:
                return cls.forward(ctx, *self.args)
            output = cls.forward(*self.args)
            cls.setup_context(ctx, self.args, output)
            return output

    def _check_writes(self, versions):
        for n, x, version in zip(self.places, self.inputs, versions, strict=True):
            if x.version != version and not is_among(x, self.ctx._dirty):
                raise GraphError(
                    f"{self.name}.forward: changed argument {n} in place; call "
                    "ctx.mark_dirty on it first and return it, or change a copy"
                )

    def _connect(self, raw, recorded, carried):
        """Put the outputs into the graph and give them tangents."""
        ctx = self.ctx
        outputs = self._distinct(raw)
        for x in ctx._dirty:
            if not is_among(x, outputs):
                raise GraphError(
                    f"{self.name}.forward: expected the tensors of mark_dirty among "
                    "the outputs, got none of them there"
                )
        tracked = [
            y if isinstance(y, Tensor) and not is_among(x, ctx._non_differentiable)
            and y.dtype.kind in "fc" else None
            for x, y in zip(raw, outputs, strict=True)
        ]  # fmt: skip
        kept = []
        if recorded:
            saved = [self._placed(x, raw, outputs) for x in ctx._saved]
            once = getattr(self.cls.backward, "once_differentiable", False)
            made = Application(
                self.name, self._rule(), self.places, len(self.args), once
            )
            kept = record_application(
                made,
                self.inputs,
                outputs,
                tracked=tracked,
                dirty=list(ctx._dirty),
                saved=saved,
                materialize=ctx._materialize,
            )
        if carried:
            self._refer_to(raw, outputs)
            carry_tangents(
                self._tangents_of(tracked), self.inputs, tracked, list(ctx._dirty), kept
            )
        return outputs

    def _distinct(self, raw):
        """Return the outputs, each a tensor that has no place in a graph yet."""
        outputs = []
        for y in raw:
            if isinstance(y, Tensor) and not (
                is_among(y, self.ctx._dirty) and not is_among(y, outputs)
            ):
                y = aliased(y, is_among(y, self.inputs))
            outputs.append(y)
        return outputs

    def _placed(self, x, raw, outputs):
        """Return a tensor to save, and its position if it is an output."""
        if x is None or (is_among(x, self.inputs) and not is_among(x, self.ctx._dirty)):
            return x, None
        for i, y in enumerate(raw):
            if y is x:
                return outputs[i], i
        return x, None

    def _rule(self):
        """Return backward as `Application` calls it; it must not hold the call."""
        cls, ctx, name = self.cls, self.ctx, self.name

        def rule(cotangents, unpack):
            if cls.backward is Function.backward:
                raise GraphError(
                    f"{name}: expected a backward(ctx, *grad_outputs), got none; "
                    "define it as a static method"
                )
            ctx._unpack = unpack
            try:
                return cls.backward(ctx, *cotangents)
            finally:
                ctx._unpack = None

        return rule

    def _refer_to(self, raw, outputs):
        """Let saved outputs be those with a place in the graph, for jvp."""
        ctx = self.ctx
        for name in ("_saved", "_saved_for_forward"):
            found = [self._placed(x, raw, outputs)[0] for x in getattr(ctx, name)]
            setattr(ctx, name, tuple(found))

    def _tangents_of(self, tracked):
        """Return a function from the inputs' tangents to the outputs'."""

        def rule(tangents):
            given = [None] * len(self.args)
            for n, x, tangent in zip(self.places, self.inputs, tangents, strict=True):
                if tangent is None and self.ctx._materialize:
                    tangent = zero_tangent(x)
                given[n] = tangent
            found = self.cls.jvp(self.ctx, *given)
            found = list(found) if isinstance(found, (tuple, list)) else [found]
            if len(found) != len(tracked):
                raise GraphError(
                    f"{self.name}.jvp: expected {len(tracked)} tangents, one for each "
                    f"output, got {len(found)}"
                )
            for i, (y, tangent) in enumerate(zip(tracked, found, strict=True)):
                _check_tangent(self.name, i, y, tangent)
            return found

        return rule


def _check_tangent(name, i, y, tangent):
    if tangent is None or y is None:
        return
    if not isinstance(tangent, Tensor):
        raise TypeError(
            f"{name}.jvp: expected a Tensor or None as tangent {i}, "
            f"got {type(tangent).__name__}"
        )
    if tangent.shape != y.shape:
        raise ShapeError(
            f"{name}.jvp: expected tangent {i} of shape {y.shape}, got {tangent.shape}"
        )
    if tangent.dtype != y.dtype:
        raise DTypeError(
            f"{name}.jvp: expected tangent {i} of {y.dtype}, got {tangent.dtype}"
        )


def _tensors(op, tensors):
    for n, x in enumerate(tensors):
        if x is not None and not isinstance(x, Tensor):
            raise TypeError(
                f"{op}: expected Tensors or None, got {type(x).__name__} as argument "
                f"{n}; set other things as attributes of ctx"
            )
    return tensors


def once_differentiable(backward):
    """Mark a `backward` that is not written in tensor operations.

    It runs with nothing recorded, and a gradient of its gradient raises instead of
    being silently wrong.

    Parameters
    ----------
    backward : callable
        The static method of a `Function`; the decorator stands below ``@staticmethod``.

    Returns
    -------
    callable

    Examples
    --------
    >>> import tensorlib as tl
    >>> class Twice(tl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...
    ...     @staticmethod
    ...     @tl.autograd.once_differentiable
    ...     def backward(ctx, grad_output):
    ...         return tl.asarray(grad_output.numpy() * 2)
    >>> x = tl.ones(1, requires_grad=True)
    >>> tl.autograd.grad(Twice.apply(x).sum(), x)
    (tensor([2.]),)
    """

    @functools.wraps(backward)
    def wrapped(ctx, *grad_outputs):
        return backward(ctx, *grad_outputs)

    wrapped.once_differentiable = True
    return wrapped
