"""Random numbers from a counter: the same seed gives the same numbers everywhere.

A generator is a seed and a position in its stream of Threefry4x32-20 blocks; a fill
takes as many blocks as it needs and moves the position on. Element i depends on the
seed, the position and i alone, so the numbers do not depend on threads or devices.

References
----------
J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""
import os

cimport cython
from cpython.number cimport PyNumber_Index as index
from libc.stdint cimport int64_t, uint64_t
from tensorlib.autograd.batch cimport hide_axis, random_axes, repeat_draws
from tensorlib.autograd.primitive cimport Primitive, run
from tensorlib.core.abi cimport (
    TL_BFLOAT16, TL_BOOL, TL_FLOAT16, TL_FLOAT32, TL_FLOAT64, TL_INT8, TL_INT16,
    TL_INT32, TL_INT64, TL_UINT8, TL_UINT16, TL_UINT32, tl_buffer, tl_random_params,
)
from tensorlib.core.device cimport Device
from tensorlib.core.dtype cimport as_dtype, dtype_of
from tensorlib.core.layout cimport parse_shape
from tensorlib.core.tensor cimport Tensor, new_tensor
from tensorlib.ops.elementwise cimport as_float, cast
from tensorlib.ops.shape cimport reshape_to
from tensorlib.ops.transfer cimport usable_device

from tensorlib.core.dtype import finfo
from tensorlib.core.errors import DTypeError
from tensorlib.core.naming import own_errors
from tensorlib.core.tensor import is_batched
from tensorlib.ops.arguments import float_of, int_of
from tensorlib.ops.arithmetic import minimum
from tensorlib.ops.creation import full
from tensorlib.ops.elementary import nextafter

cdef Primitive _uniform = Primitive("random_uniform")
cdef Primitive _normal = Primitive("random_normal")
cdef Primitive _integers = Primitive("random_integers")
cdef Primitive _bernoulli = Primitive("random_bernoulli")
cdef Primitive _permutation = Primitive("random_permutation")


@cython.binding(False)   # method descriptors, unlike functions, check self
@cython.embedsignature.format("clinic")   # and show their arguments so
cdef class Generator:
    """Generator(seed=None)\n--\n
    A stream of random numbers.

    Parameters
    ----------
    seed : int, optional
        Taken from the operating system by default.

    Examples
    --------
    >>> import tensorlib as tl
    >>> a = tl.rand(3, generator=tl.Generator(7))
    >>> b = tl.rand(3, generator=tl.Generator(7))
    >>> bool((a == b).all())
    True
    """
    def __init__(self, seed=None):
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(seed)

    def manual_seed(self, seed):
        """Restart the stream from `seed`, an int; return the generator."""
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise TypeError(f"manual_seed: expected an int, got {seed!r}")
        self.seed = index(seed) & 0xFFFFFFFFFFFFFFFF
        self.position = 0
        return self

    def initial_seed(self):
        """Return the seed of the stream."""
        return self.seed

    def get_state(self):
        """Return the state as a dict of two ints, ``seed`` and ``position``."""
        return {"seed": self.seed, "position": self.position}

    def set_state(self, state):
        """Continue from a state that `get_state` returned."""
        try:
            seed, position = index(state["seed"]), index(state["position"])
        except (TypeError, KeyError):
            raise ValueError(
                f"set_state: expected a dict with 'seed' and 'position', got {state!r}"
            ) from None
        if not (0 <= seed < 1 << 64 and 0 <= position < 1 << 64):
            raise ValueError(f"set_state: expected 64-bit unsigned ints, got {state!r}")
        self.seed, self.position = seed, position
        return self

    def __repr__(self):
        return f"Generator(seed={self.seed}, position={self.position})"

    def __reduce__(self):
        return (_restored, (self.get_state(),))

    cdef int take(
        self, tl_random_params *params, int64_t size, int64_t per_block
    ) except -1:
        params.seed = self.seed
        params.offset = self.position
        self.position += <uint64_t>((size + per_block - 1) // per_block)
        return 0


def _restored(state):
    return Generator(0).set_state(state)


default_generator = Generator()


def manual_seed(seed):
    """Restart the default generator from `seed` and return it.

    Examples
    --------
    >>> import tensorlib as tl
    >>> _ = tl.manual_seed(0)
    >>> a = tl.rand(2)
    >>> _ = tl.manual_seed(0)
    >>> bool((tl.rand(2) == a).all())
    True
    """
    return default_generator.manual_seed(seed)


_UNIFORM = (TL_FLOAT32, TL_FLOAT64)
_FLOATS = (TL_FLOAT16, TL_BFLOAT16, TL_FLOAT32, TL_FLOAT64)
# uint64's upper half has no bounds in int64.
_INTEGERS = (
    TL_INT8, TL_INT16, TL_INT32, TL_INT64, TL_UINT8, TL_UINT16, TL_UINT32,
)


cdef int64_t _elements_per_block(Primitive p, int dtype) noexcept:
    """How many elements a block serves: the contract of scalar_random.h."""
    if p is _bernoulli or ((p is _uniform or p is _normal) and dtype != TL_FLOAT64):
        return 4
    return 2


cdef Generator source_of(str op, object generator):
    if generator is None:
        generator = default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"{op}: expected a Generator, got {generator!r}")
    return <Generator>generator


cdef Tensor _draw(
    str op, Primitive p, object shape, object dtype, int default, tuple allowed,
    object device, object generator, tl_random_params *params,
):
    """Fill a new tensor by p's kernel."""
    cdef tl_buffer layout
    cdef Tensor out
    cdef int code = default if dtype is None else as_dtype(dtype).code
    cdef Generator source
    cdef Device where
    if p is _uniform and (code == TL_FLOAT16 or code == TL_BFLOAT16):
        most = finfo(dtype_of(code)).max
        if not (-most <= params.low and params.high <= most):
            raise ValueError(
                f"{op}: expected bounds within ±{most} for {dtype_of(code)}, got "
                f"{params.low} and {params.high}"
            )
        return _rounded_below(
            params, code,
            _draw(op, p, shape, None, default, allowed, device, generator, params),
        )
    parse_shape(op, shape, &layout)
    if code not in allowed:
        raise DTypeError(
            f"{op}: expected one of {[dtype_of(c).name for c in allowed]}, "
            f"got {dtype_of(code)}"
        )
    source = source_of(op, generator)
    axes = random_axes(op)
    repeat_draws(source)
    where = usable_device(op, device)
    if axes is not None:
        return _draw_examples(op, p, &layout, code, source, params, axes, where)
    out = new_tensor(&layout, code, where.type_code, where.index)
    _fill_random(p, out, source, params)
    return out


cdef Tensor _rounded_below(tl_random_params *params, int code, Tensor drawn):
    """Uniform numbers as 16-bit floats, below the bound to which some would round."""
    cdef Tensor found = cast(drawn, code)
    if params.low == params.high:
        return found
    last = full((), params.high, dtype=dtype_of(code), device=drawn.device)
    if last.item() >= params.high:
        last = nextafter(last, params.low)
    return minimum(found, last)


cdef int _fill_random(
    Primitive p, Tensor out, Generator source, tl_random_params *params
) except -1:
    cdef const tl_buffer *target = &out.buf
    source.take(params, out.buf.size, _elements_per_block(p, out.buf.dtype))
    return run(p, out.buf.dtype, &target, 1, NULL, 0, params, out.buf.size)


cdef Tensor _draw_examples(
    str op, Primitive p, tl_buffer *layout, int code, Generator source,
    tl_random_params *params, tuple axes, Device where,
):
    """Numbers of their own for each example of the vmaps under way."""
    cdef Tensor out
    sizes, levels = axes
    shape = tuple([layout.shape[d] for d in range(layout.ndim)])
    parse_shape(op, (*sizes, *shape), layout)
    out = new_tensor(layout, code, where.type_code, where.index)
    if p is _permutation:
        parse_shape(op, (out.buf.size // max(shape[0], 1), *shape), layout)
        for row in reshape_to(out, layout) if out.buf.size else ():
            _fill_random(p, <Tensor>row, source, params)
    else:
        _fill_random(p, out, source, params)
    for level in levels:
        out = hide_axis(out, level, 0)
    return out


cdef object _shape_of(tuple args):
    if len(args) == 1 and not hasattr(args[0], "__index__"):
        return args[0]
    return args


cdef Tensor _flagged(Tensor x, object requires_grad):
    if requires_grad:
        x.requires_grad = True
    return x


def uniform(low=0.0, high=1.0, shape=(), *, dtype=None, device=None, generator=None):
    """Return numbers drawn uniformly from [`low`, `high`).

    Parameters
    ----------
    low, high : float
    shape : int or tuple of int
    dtype : DType, default float32
        float32 (24 random bits), float64 (53), or a 16-bit float, rounded from float32.
    device : Device or str, optional
        Where the numbers are drawn: they are the same on every device.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the bounds are not finite, are beyond a 16-bit `dtype`, or ``low > high``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.uniform(2.0, 3.0, (100,))
    >>> bool(((x >= 2) & (x < 3)).all())
    True
    """
    cdef tl_random_params params
    params.low = float_of("uniform", "low", low)
    params.high = float_of("uniform", "high", high)
    if not (params.low <= params.high and params.high - params.low < 1e308):
        raise ValueError(f"uniform: expected finite low <= high, got {low}, {high}")
    return _draw(
        "uniform", _uniform, shape, dtype, TL_FLOAT32, _UNIFORM, device, generator,
        &params,
    )


def rand(
    *shape, dtype=None, device=None, generator=None, requires_grad=False,
):
    """Return numbers drawn uniformly from [0, 1).

    Parameters
    ----------
    *shape : int or tuple of int
    dtype : DType, default float32
    device : Device or str, optional
        Where the numbers are drawn: they are the same on every device.
    generator : Generator, optional
    requires_grad : bool, default False

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.rand(2, 3).shape
    (2, 3)
    """
    cdef tl_random_params params
    params.low, params.high = 0.0, 1.0
    cdef Tensor made = _draw(
        "rand", _uniform, _shape_of(shape), dtype, TL_FLOAT32, _UNIFORM, device,
        generator, &params,
    )
    return _flagged(made, requires_grad)


def normal(mean=0.0, std=1.0, shape=(), *, dtype=None, device=None, generator=None):
    """Return numbers drawn from a normal distribution.

    Parameters
    ----------
    mean, std : float
        `std` is at least 0.
    shape : int or tuple of int
    dtype : DType, default float32
    device : Device or str, optional
        Where the numbers are drawn: they are the same on every device.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If `std` is negative or NaN.

    References
    ----------
    G. E. P. Box, M. E. Muller, Annals of Mathematical Statistics 29 (1958) 610-611.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.normal(5.0, 0.0, (2,))
    tensor([5., 5.])
    """
    cdef tl_random_params params
    params.low = float_of("normal", "mean", mean)
    params.high = float_of("normal", "std", std)
    if not params.high >= 0:
        raise ValueError(f"normal: expected std >= 0, got {std}")
    return _draw(
        "normal", _normal, shape, dtype, TL_FLOAT32, _FLOATS, device, generator, &params
    )


def randn(*shape, dtype=None, device=None, generator=None, requires_grad=False):
    """Return numbers drawn from the standard normal distribution.

    Parameters
    ----------
    *shape : int or tuple of int
    dtype : DType, default float32
    device : Device or str, optional
        Where the numbers are drawn: they are the same on every device.
    generator : Generator, optional
    requires_grad : bool, default False

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.randn(2, 3).shape
    (2, 3)
    """
    cdef tl_random_params params
    params.low, params.high = 0.0, 1.0
    cdef Tensor made = _draw(
        "randn", _normal, _shape_of(shape), dtype, TL_FLOAT32, _FLOATS, device,
        generator, &params,
    )
    return _flagged(made, requires_grad)


def randint(low, high=None, shape=(), *, dtype=None, device=None, generator=None):
    """Return integers drawn uniformly from [`low`, `high`).

    Parameters
    ----------
    low : int
    high : int, optional
        Excluded; when left out the range is ``[0, low)``.
    shape : int or tuple of int
    dtype : DType, default int64
        int32, int64 or uint8.
    device : Device or str, optional
        Where the numbers are drawn: they are the same on every device.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the range is empty or does not fit the dtype.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.randint(3, 5, (100,))
    >>> int(x.min()), int(x.max())
    (3, 4)
    """
    cdef tl_random_params params
    if high is None:
        low, high = 0, low
    low, high = int_of("randint", "low", low), int_of("randint", "high", high)
    kind = dtype_of(TL_INT64) if dtype is None else as_dtype(dtype)
    if kind.kind not in "iu":
        raise DTypeError(f"randint: expected an integer dtype, got {kind}")
    bits = 8 * kind.itemsize
    least = -(1 << (bits - 1)) if kind.kind == "i" else 0
    if not low < high or low < least or high > least + (1 << bits):
        raise ValueError(
            f"randint: expected low < high within {kind}, got [{low}, {high})"
        )
    params.integer_low, params.integer_high = low, min(high, (1 << 63) - 1)
    return _draw(
        "randint", _integers, shape, kind, TL_INT64, _INTEGERS, device,
        generator, &params,
    )


@own_errors
def bernoulli(p, shape=None, *, dtype=None, device=None, generator=None):
    """Return 1 with probability `p` and 0 otherwise.

    Parameters
    ----------
    p : float or Tensor
        With a tensor, one draw an element, of its shape and dtype.
    shape : int or tuple of int, optional
        For a number `p`; () by default.
    dtype : DType, default float32
        bool, float32 or float64.
    device : Device or str, optional
        Where the numbers are drawn: they are the same on every device.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If a probability is outside [0, 1].

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.bernoulli(1.0, (3,))
    tensor([1., 1., 1.])
    """
    cdef tl_random_params params
    cdef Tensor probabilities
    if type(p) is Tensor:
        probabilities = as_float(<Tensor>p).detach()
        if not is_batched(probabilities) and not (
            (probabilities >= 0) & (probabilities <= 1)
        ).all():
            raise ValueError("bernoulli: expected probabilities in [0, 1]")
        kind = probabilities.dtype if dtype is None else dtype
        draws = rand(
            probabilities.shape, dtype=probabilities.dtype,
            device=probabilities.device, generator=generator,
        )
        return cast(<Tensor>(draws < probabilities), as_dtype(kind).code)
    params.low = float_of("bernoulli", "p", p)
    params.high = 0.0
    if not 0.0 <= params.low <= 1.0:
        raise ValueError(f"bernoulli: expected a probability in [0, 1], got {p}")
    return _draw(
        "bernoulli", _bernoulli, () if shape is None else shape, dtype, TL_FLOAT32,
        (*_FLOATS, TL_BOOL), device, generator, &params,
    )


def randperm(n, *, device=None, generator=None):
    """Return the integers ``0 .. n - 1`` in random order.

    Parameters
    ----------
    n : int
    device : Device or str, optional
        Where the numbers are drawn: they are the same on every device.
    generator : Generator, optional

    Returns
    -------
    Tensor of int64 of shape (n,)

    References
    ----------
    R. Durstenfeld, "Algorithm 235: random permutation", Comm. ACM 7 (1964) 420.

    Examples
    --------
    >>> import tensorlib as tl
    >>> sorted(tl.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    cdef tl_random_params params
    return _draw(
        "randperm", _permutation, int_of("randperm", "n", n), None, TL_INT64,
        (TL_INT64,), device, generator, &params,
    )
