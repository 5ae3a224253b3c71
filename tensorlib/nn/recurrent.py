"""Recurrent layers: RNN, LSTM and GRU in layers and directions, and their cells."""

import math
import warnings

import tensorlib as tl
from tensorlib.nn import init
from tensorlib.nn.module import Module
from tensorlib.nn.parameter import Parameter
from tensorlib.nn.utils.rnn import PackedSequence, repacked, unpacked

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell"]

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def _check_size(owner, name, value, least=1):
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"{owner}: expected {name} to be an int >= {least}, got {value!r}"
        )


def _uniform(module, hidden_size, generator):
    """Draw every parameter from ±1/sqrt(hidden_size)."""
    bound = 1 / math.sqrt(hidden_size)
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound, generator=generator)


class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` share: parameters, layers and directions.

    Parameters
    ----------
    mode : {"RNN_TANH", "RNN_RELU", "LSTM", "GRU"}
    input_size, hidden_size : int
        Features of a step, F, and of the state, H.
    num_layers : int, default 1
        Each layer after the first reads the outputs of the one below.
    bias : bool, default True
    batch_first : bool, default False
        Sequences are (N, T, ...) instead of (T, N, ...), the native layout; states
        are not affected.
    dropout : float, default 0.0
        Probability of zeroing an output on its way to the next layer, in training.
    bidirectional : bool, default False
        A second set of parameters reads the sequence backwards; the outputs of the
        two are joined.
    proj_size : int, default 0
        LSTM only: length P of the projected state; 0 for none.
    device, dtype : optional
        Where the parameters live, and their dtype; float32 by default.
    generator : Generator, optional
        Source of initial values and dropout; the default generator otherwise.

    Attributes
    ----------
    weight_ih_l[k], weight_hh_l[k] : Parameter
        Shapes ``(G H, F)`` (above the first layer ``(G H, D P)``) and ``(G H, P)``,
        with G gates, D directions and P = H without a projection; the name ends in
        ``_reverse`` for the second direction.
    bias_ih_l[k], bias_hh_l[k] : Parameter
        Shape ``(G H,)``.
    weight_hr_l[k] : Parameter
        Shape ``(P, H)``, with a projection.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> from tensorlib import nn
    >>> layer = nn.GRU(3, 4, bidirectional=True)
    >>> [name for name, _ in layer.named_parameters()][4:6]
    ['weight_ih_l0_reverse', 'weight_hh_l0_reverse']
    """

    def __init__(
        self, mode, input_size, hidden_size, num_layers=1, bias=True,
        batch_first=False, dropout=0.0, bidirectional=False, proj_size=0, device=None,
        dtype=None, *, generator=None,
    ):  # fmt: skip
        super().__init__()
        owner = type(self).__name__
        if mode not in _GATES:
            raise ValueError(f"{owner}: expected mode in {list(_GATES)}, got {mode!r}")
        _check_size(owner, "input_size", input_size)
        _check_size(owner, "hidden_size", hidden_size)
        _check_size(owner, "num_layers", num_layers)
        _check_size(owner, "proj_size", proj_size, 0)
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{owner}: expected 0 <= dropout <= 1, got {dropout!r}")
        if proj_size >= hidden_size or (proj_size and mode != "LSTM"):
            raise ValueError(
                f"{owner}: expected proj_size < hidden_size, for an LSTM only, got "
                f"proj_size={proj_size}, hidden_size={hidden_size}, mode={mode!r}"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"{owner}: dropout={dropout} acts between layers, and there is one",
                stacklevel=3,
            )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.generator = generator
        for layer in range(num_layers):
            for suffix in self._suffixes():
                self._add_parameters(layer, suffix, {"device": device, "dtype": dtype})
        self.reset_parameters(generator)

    def _suffixes(self):
        return ("", "_reverse") if self.bidirectional else ("",)

    def _add_parameters(self, layer, suffix, place):
        gates = _GATES[self.mode] * self.hidden_size
        outputs = self.proj_size or self.hidden_size
        features = len(self._suffixes()) * outputs if layer else self.input_size
        shapes = {"weight_ih": (gates, features), "weight_hh": (gates, outputs)}
        if self.bias:
            shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        for name, shape in shapes.items():
            parameter = Parameter(tl.empty(shape, **place))
            self.register_parameter(f"{name}_l{layer}{suffix}", parameter)

    @property
    def all_weights(self):
        """The parameters as a list for each layer and direction, in order."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return [
            [
                getattr(self, f"{name}_l{layer}{suffix}")
                for name in names
                if hasattr(self, f"{name}_l{layer}{suffix}")
            ]
            for layer in range(self.num_layers)
            for suffix in self._suffixes()
        ]

    def reset_parameters(self, generator=None):
        """Draw every parameter uniformly from ``±1/sqrt(hidden_size)``."""
        _uniform(self, self.hidden_size, generator)

    def flatten_parameters(self):
        """Do nothing: parameters need not share one block of memory here."""

    # ---- forward -----------------------------------------------------------------

    def forward(self, input, hx=None):
        """Run all layers over a sequence.

        Parameters
        ----------
        input : Tensor or PackedSequence
            Shape ``(T, N, F)``, ``(N, T, F)`` with `batch_first`, or ``(T, F)``.
        hx : Tensor, or two of them for an LSTM, optional
            States before the first step: ``(L D, N, P)``, an LSTM's cell states
            ``(L D, N, H)``, without N for an unbatched input; zeros by default.

        Returns
        -------
        output : Tensor or PackedSequence
            States of the last layer after each step, ``(T, N, D P)``, in the
            input's layout.
        h_n : Tensor, or for an LSTM the pair ``(h_n, c_n)``
            States after the last step, shaped as `hx`.

        Raises
        ------
        ShapeError
            If the input or the states have another shape.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        x = self._as_native(input)
        states = self._initial_states(hx, x.shape[1], input.ndim == 2)
        output, finals = self._layers(x, states, None)
        if input.ndim == 2:
            output = tl.squeeze(output, 1)
            finals = [tl.squeeze(final, 1) for final in finals]
        elif self.batch_first:
            output = tl.transpose(output, 0, 1)
        return output, self._as_states(finals)

    def _as_native(self, input):
        """Return the input as (T, N, F)."""
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            layout = "(N, T, F)" if self.batch_first else "(T, N, F)"
            raise tl.ShapeError(
                f"{type(self).__name__}: expected input {layout} or (T, F) with "
                f"F={self.input_size}, got {input.shape}"
            )
        if input.ndim == 2:
            return tl.expand_dims(input, 1)
        return tl.transpose(input, 0, 1) if self.batch_first else input

    def _forward_packed(self, packed, hx):
        x, lengths = unpacked(packed)
        states = self._initial_states(hx, x.shape[1], False)
        if packed.sorted_indices is not None:
            states = [
                None if s is None else tl.take(s, packed.sorted_indices, axis=1)
                for s in states
            ]
        output, finals = self._layers(x, states, lengths)
        if packed.unsorted_indices is not None:
            finals = [tl.take(f, packed.unsorted_indices, axis=1) for f in finals]
        return repacked(output, packed), self._as_states(finals)

    def _as_states(self, finals):
        return tuple(finals) if self.mode == "LSTM" else finals[0]

    def _initial_states(self, hx, batch, unbatched):
        """[h] or [h, c], each (L D, N, size) or None."""
        owner = type(self).__name__
        sizes = [self.proj_size or self.hidden_size]
        if self.mode == "LSTM":
            sizes.append(self.hidden_size)
        if hx is None:
            return [None] * len(sizes)
        states = list(hx) if self.mode == "LSTM" else [hx]
        if len(states) != len(sizes):
            raise ValueError(
                f"{owner}: expected hx=(h_0, c_0), got {len(states)} states"
            )
        count = self.num_layers * len(self._suffixes())
        for n, (state, size) in enumerate(zip(states, sizes, strict=True)):
            wanted = (count, size) if unbatched else (count, batch, size)
            if state.shape != wanted:
                raise tl.ShapeError(
                    f"{owner}: expected {('h_0', 'c_0')[n]} of shape {wanted}, got "
                    f"{state.shape}"
                )
            states[n] = tl.expand_dims(state, 1) if unbatched else state
        return states

    def _layers(self, x, states, lengths):
        """Run the layers; return the last output and the stacked final states."""
        finals = [[] for _ in states]
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = tl.dropout(x, self.dropout, generator=self.generator)
            outputs = []
            for suffix in self._suffixes():
                given = [None if s is None else s[len(finals[0])] for s in states]
                output, *last = self._direction(x, given, layer, suffix, lengths)
                outputs.append(output)
                for row, state in zip(finals, last, strict=True):
                    row.append(state)
            x = tl.concat(outputs, axis=2) if len(outputs) > 1 else outputs[0]
        return x, [tl.stack(row) for row in finals]

    def _direction(self, x, states, layer, suffix, lengths):
        """One layer in one direction, by the op of its mode."""
        end = f"_l{layer}{suffix}"
        weights = [getattr(self, name + end) for name in ("weight_ih", "weight_hh")]
        if self.bias:
            weights += [getattr(self, name + end) for name in ("bias_ih", "bias_hh")]
        how = {"reverse": bool(suffix), "lengths": lengths}
        if self.mode == "LSTM":
            if self.proj_size:
                how["w_hr"] = getattr(self, "weight_hr" + end)
            return tl.lstm(x, *states, *weights, **how)
        if self.mode == "GRU":
            return tl.gru(x, *states, *weights, **how)
        nonlinearity = self.mode.removeprefix("RNN_").lower()
        return tl.rnn(x, *states, *weights, nonlinearity=nonlinearity, **how)

    def multiply_adds(self, args, output):
        """Return one for each element of a weight matrix, step and sequence."""
        steps = getattr(args[0], "data", args[0]).size // max(self.input_size, 1)
        return steps * sum(p.size for p in self.parameters() if p.ndim == 2)

    def extra_repr(self):
        """Return the sizes, and the arguments that are not defaults."""
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False,
            "dropout": 0.0, "bidirectional": False,
        }  # fmt: skip
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase):
    """Elman network: ``h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)``.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int, default 1
    nonlinearity : {"tanh", "relu"}, default "tanh"
    bias, batch_first, dropout, bidirectional, device, dtype, generator
        As in `RNNBase`, with its attributes.

    References
    ----------
    Elman, "Finding Structure in Time", Cognitive Science 14 (1990).

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> output, h_n = nn.RNN(10, 20, 2)(tl.zeros((5, 3, 10)))
    >>> output.shape, h_n.shape
    ((5, 3, 20), (2, 3, 20))
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True,
        batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None,
        *, generator=None,
    ):  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"RNN: expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}"
            )
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias,
            batch_first, dropout, bidirectional, 0, device, dtype, generator=generator,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory.

    ``i, f, g, o = W_ih x_t + b_ih + W_hh h_(t-1) + b_hh``, s the logistic sigmoid:
    ``c_t = s(f) c_(t-1) + s(i) tanh(g)``, ``h_t = s(o) tanh(c_t)``; with a projection,
    ``W_hr h_t`` is the state and the output.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        As in `RNNBase`, with its attributes.
    generator : Generator, optional

    References
    ----------
    Hochreiter and Schmidhuber, Neural Computation 9 (1997) 1735-1780.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> output, (h_n, c_n) = nn.LSTM(10, 20, 2)(tl.zeros((5, 3, 10)))
    >>> output.shape, c_n.shape
    ((5, 3, 20), (2, 3, 20))
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
        dropout=0.0, bidirectional=False, proj_size=0, device=None, dtype=None,
        *, generator=None,
    ):  # fmt: skip
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, proj_size, device, dtype, generator=generator,
        )  # fmt: skip


class GRU(RNNBase):
    """Gated recurrent units.

    ``h_t = (1 - z) tanh(n + r n') + z h_(t-1)``, with r and z through the sigmoid and
    n' the state's part of the third gate (see `tl.gru`).

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers, bias, batch_first, dropout, bidirectional, device, dtype, generator
        As in `RNNBase`, with its attributes.

    References
    ----------
    Cho et al., arXiv:1406.1078, equations 5-8.

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> output, h_n = nn.GRU(10, 20, bidirectional=True)(tl.zeros((5, 3, 10)))
    >>> output.shape, h_n.shape
    ((5, 3, 40), (2, 3, 20))
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
        dropout=0.0, bidirectional=False, device=None, dtype=None, *, generator=None,
    ):  # fmt: skip
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, 0, device, dtype, generator=generator,
        )  # fmt: skip


# ---- cells ---------------------------------------------------------------------
class _Cell(Module):
    """One step of one layer: parameters and argument checks."""

    def __init__(self, gates, input_size, hidden_size, bias, device, dtype, generator):
        super().__init__()
        owner = type(self).__name__
        _check_size(owner, "input_size", input_size, 0)
        _check_size(owner, "hidden_size", hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        place = {"device": device, "dtype": dtype}
        rows = gates * hidden_size
        self.weight_ih = Parameter(tl.empty((rows, input_size), **place))
        self.weight_hh = Parameter(tl.empty((rows, hidden_size), **place))
        for name in ("bias_ih", "bias_hh"):
            vector = Parameter(tl.empty((rows,), **place)) if bias else None
            self.register_parameter(name, vector)
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw every parameter uniformly from ``±1/sqrt(hidden_size)``."""
        _uniform(self, self.hidden_size, generator)

    def _run(self, op, input, states, **how):
        """Apply a one-step sequence op; return the new states, shaped as given."""
        owner = type(self).__name__
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise tl.ShapeError(
                f"{owner}: expected input (N, F) or (F,) with F={self.input_size}, got "
                f"{input.shape}"
            )
        wanted = (*input.shape[:-1], self.hidden_size)
        for state in states:
            if state is not None and state.shape != wanted:
                raise tl.ShapeError(
                    f"{owner}: expected a state of shape {wanted}, got {state.shape}"
                )
        rows = (1, self.hidden_size) if input.ndim == 1 else wanted
        x = input.reshape((1, rows[0], self.input_size))
        states = [None if s is None else s.reshape(rows) for s in states]
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        _, *found = op(x, *states, *weights, **how)
        return [state.reshape(wanted) for state in found]

    def multiply_adds(self, args, output):
        """Return one for each element of a weight matrix, step and sequence."""
        steps = getattr(args[0], "data", args[0]).size // max(self.input_size, 1)
        return steps * sum(p.size for p in self.parameters() if p.ndim == 2)

    def extra_repr(self):
        """Return the sizes."""
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else text + ", bias=False"


class RNNCell(_Cell):
    """One step of an `RNN`: ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool, default True
    nonlinearity : {"tanh", "relu"}, default "tanh"
    device, dtype, generator
        As in `RNNBase`.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.RNNCell(10, 20)(tl.zeros((3, 10))).shape
    (3, 20)
    """

    def __init__(
        self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None,
        dtype=None, *, generator=None,
    ):  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"RNNCell: expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}"
            )
        super().__init__(1, input_size, hidden_size, bias, device, dtype, generator)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        """Return the next state, from `input` ``(N, F)`` and `hx` ``(N, H)``."""
        return self._run(tl.rnn, input, [hx], nonlinearity=self.nonlinearity)[0]


class LSTMCell(_Cell):
    """One step of an `LSTM`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool, default True
    device, dtype, generator
        As in `RNNBase`.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> h, c = nn.LSTMCell(10, 20)(tl.zeros((3, 10)))
    >>> h.shape
    (3, 20)
    """

    def __init__(
        self, input_size, hidden_size, bias=True, device=None, dtype=None,
        *, generator=None,
    ):  # fmt: skip
        super().__init__(4, input_size, hidden_size, bias, device, dtype, generator)

    def forward(self, input, hx=None):
        """Return the next ``(h, c)``, from `input` ``(N, F)`` and `hx` ``(h, c)``."""
        states = [None, None] if hx is None else list(hx)
        if len(states) != 2:
            raise ValueError(f"LSTMCell: expected hx=(h, c), got {len(states)} states")
        return tuple(self._run(tl.lstm, input, states))


class GRUCell(_Cell):
    """One step of a `GRU`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool, default True
    device, dtype, generator
        As in `RNNBase`.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter

    Examples
    --------
    >>> import tensorlib as tl
    >>> from tensorlib import nn
    >>> nn.GRUCell(10, 20)(tl.zeros((3, 10))).shape
    (3, 20)
    """

    def __init__(
        self, input_size, hidden_size, bias=True, device=None, dtype=None,
        *, generator=None,
    ):  # fmt: skip
        super().__init__(3, input_size, hidden_size, bias, device, dtype, generator)

    def forward(self, input, hx=None):
        """Return the next state, from `input` ``(N, F)`` and `hx` ``(N, H)``."""
        return self._run(tl.gru, input, [hx])[0]
