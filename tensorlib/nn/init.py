"""Initial values of parameters, written in place."""

import math

import tensorlib as tl

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


def _like(tensor, generator):
    return {
        "dtype": tensor.dtype,
        "device": tensor.device,
        "generator": generator,
    }


def _fill(tensor, values):
    with tl.no_grad():
        tensor.copy_(values)
    return tensor


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Fill with numbers uniform in ``[a, b)``; return the tensor.

    Parameters
    ----------
    tensor : Tensor
        Floating point, any shape; changed in place.
    a, b : float, default 0.0 and 1.0
        Bounds.
    generator : Generator, optional
        Source of random numbers; the default generator otherwise.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.nn.init.uniform_(tl.empty((3,)), -1.0, 1.0)
    >>> bool((tl.abs(x) <= 1).all())
    True
    """
    return _fill(
        tensor,
        tl.uniform(a, b, tuple(tensor.shape), **_like(tensor, generator)),
    )


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Fill with normal numbers; return the tensor.

    Parameters
    ----------
    tensor : Tensor
        Floating point, any shape; changed in place.
    mean, std : float, default 0.0 and 1.0
        Mean and standard deviation.
    generator : Generator, optional
        Source of random numbers; the default generator otherwise.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.init.normal_(tl.empty((2,)), 3.0, 0.0).tolist()
    [3.0, 3.0]
    """
    return _fill(
        tensor,
        tl.normal(mean, std, tuple(tensor.shape), **_like(tensor, generator)),
    )


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Fill with normal numbers conditioned to lie in ``[a, b]``; return the tensor.

    Numbers outside are drawn again, so the distribution is exact.

    Parameters
    ----------
    tensor : Tensor
        Floating point, any shape; changed in place.
    mean, std : float, default 0.0 and 1.0
        Mean and standard deviation before conditioning.
    a, b : float, default -2.0 and 2.0
        Bounds.
    generator : Generator, optional
        Source of random numbers; the default generator otherwise.

    Raises
    ------
    ValueError
        If ``a >= b``, or less than one in a thousand normal numbers falls between
        them.

    Examples
    --------
    >>> import tensorlib as tl
    >>> x = tl.nn.init.trunc_normal_(tl.empty((100,)), std=1.0)
    >>> bool((tl.abs(x) <= 2).all())
    True
    """
    if a >= b:
        raise ValueError(f"trunc_normal_: expected a < b, got a={a}, b={b}")
    low, high = ((bound - mean) / (std * math.sqrt(2)) for bound in (a, b))
    kept = (math.erf(high) - math.erf(low)) / 2
    if kept < 1e-3:
        raise ValueError(
            f"trunc_normal_: [{a}, {b}] holds only a fraction {kept:.1e} of the normal "
            f"distribution with mean {mean} and std {std}; widen it"
        )
    shape = tuple(tensor.shape)
    values = tl.normal(mean, std, shape, **_like(tensor, generator))
    while True:
        inside = (values >= a) & (values <= b)
        if bool(inside.all()):
            return _fill(tensor, values)
        again = tl.normal(mean, std, shape, **_like(tensor, generator))
        values = tl.where(inside, values, again)


def constant_(tensor, val):
    """Fill with `val`; return the tensor.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.init.constant_(tl.empty((2,)), 7.0).tolist()
    [7.0, 7.0]
    """
    with tl.no_grad():
        tensor.fill_(val)
    return tensor


def zeros_(tensor):
    """Fill with 0; return the tensor."""
    return constant_(tensor, 0.0)


def ones_(tensor):
    """Fill with 1; return the tensor."""
    return constant_(tensor, 1.0)


def eye_(tensor):
    """Write the identity matrix; return the tensor.

    Raises
    ------
    ShapeError
        If the tensor is not 2-D.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.init.eye_(tl.empty((2, 2))).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if tensor.ndim != 2:
        raise tl.ShapeError(f"eye_: expected 2-D, got shape {tuple(tensor.shape)}")
    return _fill(tensor, tl.eye(*tensor.shape, dtype=tensor.dtype))


def calculate_gain(nonlinearity, param=None):
    """Return the factor by which an activation shrinks the standard deviation.

    Parameters
    ----------
    nonlinearity : str
        "linear", "conv1d" to "conv3d", "conv_transpose1d" to "conv_transpose3d",
        "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
    param : float, optional
        Negative slope of "leaky_relu"; 0.01 by default.

    Returns
    -------
    float
        1, 5/3 (tanh), sqrt(2) (relu), sqrt(2 / (1 + slope²)), 3/4 (selu).

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> import tensorlib as tl
    >>> round(tl.nn.init.calculate_gain("relu"), 4)
    1.4142
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    kinds = ("conv", "conv_transpose")
    convolutions = [f"{kind}{n}d" for kind in kinds for n in (1, 2, 3)]
    gains = {
        **dict.fromkeys(("linear", *convolutions, "sigmoid"), 1.0),
        "tanh": 5.0 / 3,
        "relu": math.sqrt(2.0),
        "selu": 3.0 / 4,
    }
    if nonlinearity not in gains:
        raise ValueError(
            f"calculate_gain: expected one of {[*gains, 'leaky_relu']}, "
            f"got {nonlinearity!r}"
        )
    return gains[nonlinearity]


def _fans(op, tensor):
    """Return ``(fan_in, fan_out)`` of a weight ``(out, in, ...)``."""
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise tl.ShapeError(f"{op}: expected at least 2 axes, got shape {shape}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _chosen_fan(op, tensor, mode):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'{op}: expected mode "fan_in" or "fan_out", got {mode!r}')
    return _fans(op, tensor)[mode == "fan_out"]


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Fill uniformly in ``±gain sqrt(6 / (fan_in + fan_out))``; return the tensor.

    Parameters
    ----------
    tensor : Tensor
        A weight ``(out, in, ...)``; changed in place.
    gain : float, default 1.0
        See `calculate_gain`.
    generator : Generator, optional
        Source of random numbers; the default generator otherwise.

    Raises
    ------
    ShapeError
        If the tensor has fewer than two axes.

    References
    ----------
    Glorot and Bengio, AISTATS 2010, equation 16.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.nn.init.xavier_uniform_(tl.empty((3, 3)))
    >>> bool((tl.abs(w) <= 1).all())
    True
    """
    fan_in, fan_out = _fans("xavier_uniform_", tensor)
    bound = gain * math.sqrt(6.0 / max(fan_in + fan_out, 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Fill normally, std ``gain sqrt(2 / (fan_in + fan_out))``; return the tensor.

    Parameters and errors as for `xavier_uniform_`.
    """
    fan_in, fan_out = _fans("xavier_normal_", tensor)
    std = gain * math.sqrt(2.0 / max(fan_in + fan_out, 1))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None
):
    """Fill uniformly in ``±gain sqrt(3 / fan)``; return the tensor.

    Parameters
    ----------
    tensor : Tensor
        A weight ``(out, in, ...)``; changed in place.
    a : float, default 0
        Negative slope of the "leaky_relu" after the layer.
    mode : {"fan_in", "fan_out"}, default "fan_in"
        Whether activations or gradients keep their scale.
    nonlinearity : str, default "leaky_relu"
        See `calculate_gain`.
    generator : Generator, optional
        Source of random numbers; the default generator otherwise.

    Raises
    ------
    ShapeError
        If the tensor has fewer than two axes.
    ValueError
        If `mode` or `nonlinearity` is unknown.

    References
    ----------
    He et al., "Delving Deep into Rectifiers", arXiv:1502.01852, equation 14.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.nn.init.kaiming_uniform_(tl.empty((4, 6)))
    >>> bool((tl.abs(w) <= 1).all())
    True
    """
    if tensor.size == 0:
        return tensor
    fan = _chosen_fan("kaiming_uniform_", tensor, mode)
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / fan)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None
):
    """Fill normally with std ``gain / sqrt(fan)``; return the tensor.

    Parameters and errors as for `kaiming_uniform_`.
    """
    if tensor.size == 0:
        return tensor
    fan = _chosen_fan("kaiming_normal_", tensor, mode)
    std = calculate_gain(nonlinearity, a) / math.sqrt(fan)
    return normal_(tensor, 0.0, std, generator)


def dirac_(tensor, groups=1):
    """Make a convolution copy its channels: 1 at the kernel's centre, else 0.

    Parameters
    ----------
    tensor : Tensor
        A weight ``(out, in, k)``, ``(out, in, kh, kw)`` or ``(out, in, kd, kh, kw)``;
        changed in place.
    groups : int, default 1
        Groups of output channels, each of which copies the input channels.

    Raises
    ------
    ShapeError
        If the tensor has another number of axes.
    ValueError
        If `groups` does not divide the output channels.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.nn.init.dirac_(tl.empty((2, 2, 3)))[0].tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4, 5):
        raise tl.ShapeError(f"dirac_: expected 3 to 5 axes, got shape {shape}")
    if groups < 1 or shape[0] % groups:
        raise ValueError(
            f"dirac_: expected groups to divide {shape[0]} channels, got {groups}"
        )
    each = shape[0] // groups
    centre = tuple(size // 2 for size in shape[2:])
    with tl.no_grad():
        tensor.fill_(0)
        for group in range(groups):
            for channel in range(min(each, shape[1])):
                tensor[(group * each + channel, channel, *centre)] = 1
    return tensor


def orthogonal_(tensor, gain=1, generator=None):
    """Fill with rows (or columns, if there are more rows) that are orthonormal.

    Further axes are joined to the columns. The matrices are uniform over all orthogonal
    ones.

    Parameters
    ----------
    tensor : Tensor
        At least two axes; changed in place.
    gain : float, default 1
        Factor on the result.
    generator : Generator, optional
        Source of random numbers; the default generator otherwise.

    Raises
    ------
    ShapeError
        If the tensor has fewer than two axes.

    References
    ----------
    Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", arXiv:1312.6120, section 3.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.nn.init.orthogonal_(tl.empty((3, 5)))
    >>> bool((tl.abs(w @ w.T - tl.eye(3)) < 1e-6).all())
    True
    """
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise tl.ShapeError(f"orthogonal_: expected at least 2 axes, got shape {shape}")
    if tensor.size == 0:
        return tensor
    rows, columns = shape[0], math.prod(shape[1:])
    size = (max(rows, columns), min(rows, columns))
    values = tl.normal(0.0, 1.0, size, generator=generator, dtype=tl.float64)
    with tl.no_grad():
        basis = _orthonormal(values)
        if rows < columns:
            basis = basis.T
        return _fill(tensor, basis.reshape(shape) * gain)


def _orthonormal(columns, block=32):
    """Orthonormalize columns by Gram-Schmidt in blocks, each done twice.

    The triangular factor then has a positive diagonal, which makes the result of
    normal columns uniform.
    """
    basis = columns[:, :0]
    for start in range(0, columns.shape[1], block):
        part = columns[:, start : start + block]
        for _ in range(2):
            part = _gram_schmidt(part - basis @ (basis.T @ part))
        basis = tl.concat([basis, part], axis=1)
    return basis


def _gram_schmidt(columns):
    found = []
    for number in range(columns.shape[1]):
        column = columns[:, number]
        if found:
            done = tl.stack(found, axis=1)
            for _ in range(2):
                column = column - done @ (done.T @ column)
        found.append(column / tl.sqrt(tl.sum(tl.square(column))))
    return tl.stack(found, axis=1)


def sparse_(tensor, sparsity, std=0.01, generator=None):
    """Fill normally, a share `sparsity` of each column with zeros.

    Parameters
    ----------
    tensor : Tensor
        2-D; changed in place.
    sparsity : float
        Share of zeros in each column, rounded up to whole elements.
    std : float, default 0.01
        Standard deviation of the others.
    generator : Generator, optional
        Source of random numbers; the default generator otherwise.

    Raises
    ------
    ShapeError
        If the tensor is not 2-D.
    ValueError
        If `sparsity` is not in [0, 1].

    References
    ----------
    Martens, "Deep learning via Hessian-free optimization", ICML 2010, section 5.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.nn.init.sparse_(tl.empty((4, 3)), 0.5)
    >>> (w == 0).astype(tl.int64).sum(axis=0).tolist()
    [2, 2, 2]
    """
    if tensor.ndim != 2:
        raise tl.ShapeError(f"sparse_: expected 2-D, got shape {tuple(tensor.shape)}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: expected sparsity in [0, 1], got {sparsity}")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0.0, std, generator)
    with tl.no_grad():
        for column in range(columns):
            chosen = tl.randperm(rows, generator=generator)[:zeros]
            tensor[chosen, column] = 0
    return tensor
