"""All parameters as one vector, and back."""

import math

import tensorlib as tl

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters):
    """Concatenate parameters, flattened, in order.

    Parameters
    ----------
    parameters : iterable of Tensor
        Of one dtype.

    Returns
    -------
    Tensor
        Shape ``(total,)``; part of the graph.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.utils.parameters_to_vector(nn.Linear(3, 2).parameters()).shape
    (8,)
    """
    return tl.concat([p.reshape((-1,)) for p in parameters], axis=0)


def vector_to_parameters(vec, parameters):
    """Copy consecutive pieces of a vector into parameters.

    Parameters
    ----------
    vec : Tensor
        Shape ``(total,)``.
    parameters : iterable of Tensor
        Changed in place.

    Raises
    ------
    ShapeError
        If the vector's length is not the parameters' total.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> layer = nn.Linear(2, 1)
    >>> nn.utils.vector_to_parameters(tl.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    parameters = list(parameters)
    sizes = [math.prod(p.shape) for p in parameters]
    if tuple(vec.shape) != (sum(sizes),):
        raise tl.ShapeError(
            f"vector_to_parameters: expected shape ({sum(sizes)},), "
            f"got {tuple(vec.shape)}"
        )
    start = 0
    with tl.no_grad():
        for parameter, size in zip(parameters, sizes, strict=True):
            piece = vec[start : start + size]
            parameter.copy_(piece.reshape(tuple(parameter.shape)))
            start += size
