"""Automatic mixed precision, under PyTorch's names: autocast and a gradient scaler.

Which op computes in what is decided in `tensorlib.autograd.autocast`.

References
----------
P. Micikevicius et al., "Mixed Precision Training", ICLR 2018, arXiv:1710.03740.
"""

import cmath
import functools

import tensorlib as tl
from tensorlib.autograd.autocast import autocast_code, enter_autocast, leave_autocast
from tensorlib.core.dtype import dtype as as_dtype

__all__ = [
    "GradScaler",
    "autocast",
    "get_autocast_dtype",
    "is_autocast_available",
    "is_autocast_enabled",
]

_DEVICE_TYPES = {"cpu": 0, "cuda": 1}  # tl_device_type
_LOW = ("bfloat16", "float16")


def _type_code(op, device_type):
    name = getattr(device_type, "type", device_type)  # a Device has one
    if name not in _DEVICE_TYPES:
        raise ValueError(f"{op}: expected 'cpu' or 'cuda', got {device_type!r}")
    return _DEVICE_TYPES[name]


class autocast:  # noqa: N801
    """Compute products in a 16-bit dtype, and in float32 what would suffer from it.

    Inside the block matrix products, convolutions, attention and recurrent layers take
    their floating operands in `dtype`; exponentials, sums, norms, softmax and losses
    take them in float32; other ops take what comes, and promote where operands differ.
    float64 and integers stay as they are. Casts are recorded, so that gradients arrive
    in the parameters' dtype. Also a decorator; may be nested; holds for the current
    thread only. Backward passes run without it: gradients are computed in the dtypes
    of the forward pass.

    Parameters
    ----------
    device_type : {"cpu", "cuda"} or Device
        Whose tensors are cast.
    dtype : DType, default bfloat16
        The low dtype, bfloat16 or float16. With float16 use a `GradScaler`.
    enabled : bool, default True
        With False an enclosing autocast is off inside the block.
    cache_enabled : bool, default True
        Whether casts of float32 leaves that require grad are kept until the outermost
        block ends, so that a parameter used twice is cast once. One that is changed in
        place is cast again.

    Raises
    ------
    ValueError
        If there is no such type of device.
    DTypeError
        If `dtype` is neither bfloat16 nor float16.

    Notes
    -----
    The list of ops is that of ``torch.autocast("cuda")``, for both types of devices;
    PyTorch's for the CPU leaves out exponentials, sums and norms.
    `autograd.autocast.autocast_policy()` returns it.

    Examples
    --------
    >>> import tensorlib as tl
    >>> w = tl.ones((2, 2), requires_grad=True)
    >>> with tl.autocast("cpu"):
    ...     y = w @ w
    ...     total = y.sum()
    >>> y.dtype, total.dtype
    (tensorlib.bfloat16, tensorlib.float32)
    >>> total.backward()
    >>> w.grad.dtype
    tensorlib.float32
    """

    def __init__(
        self, device_type, dtype=tl.bfloat16, enabled=True, cache_enabled=True
    ):  # fmt: skip
        self.device_type = getattr(device_type, "type", device_type)
        self.dtype = tl.bfloat16 if dtype is None else as_dtype(dtype)
        self.enabled = bool(enabled)
        self.cache_enabled = cache_enabled is None or bool(cache_enabled)
        code = _type_code("autocast", device_type)
        if self.dtype.name not in _LOW:
            raise tl.DTypeError(
                f"autocast: expected bfloat16 or float16, got {self.dtype.name}"
            )
        self._how = (code, self.dtype.code if enabled else -1, self.cache_enabled)
        self._before = []

    def __enter__(self):
        self._before.append(enter_autocast(*self._how))
        return self

    def __exit__(self, *exc_info):
        leave_autocast(self._before.pop())
        return False

    def __call__(self, function):
        """Return `function` so that its body runs inside the context."""
        how = (self.device_type, self.dtype, self.enabled, self.cache_enabled)

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with autocast(*how):  # a fresh one: it may run in many threads
                return function(*args, **kwargs)

        return wrapped


def is_autocast_enabled(device_type="cuda"):
    """Return whether autocast is on in this thread for a type of device.

    Parameters
    ----------
    device_type : {"cpu", "cuda"}, default "cuda"

    Returns
    -------
    bool

    Examples
    --------
    >>> import tensorlib as tl
    >>> with tl.autocast("cpu"):
    ...     tl.amp.is_autocast_enabled("cpu"), tl.amp.is_autocast_enabled("cuda")
    (True, False)
    """
    return autocast_code(_type_code("is_autocast_enabled", device_type)) >= 0


def get_autocast_dtype(device_type="cuda"):
    """Return the low dtype of autocast in this thread; bfloat16 where it is off.

    Parameters
    ----------
    device_type : {"cpu", "cuda"}, default "cuda"

    Returns
    -------
    DType

    Examples
    --------
    >>> import tensorlib as tl
    >>> with tl.autocast("cpu", tl.float16):
    ...     tl.amp.get_autocast_dtype("cpu")
    tensorlib.float16
    """
    code = autocast_code(_type_code("get_autocast_dtype", device_type))
    return tl.float16 if code == tl.float16.code else tl.bfloat16


def is_autocast_available(device_type):
    """Return whether `autocast` takes a type of device.

    Parameters
    ----------
    device_type : str

    Returns
    -------
    bool

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.amp.is_autocast_available("cpu")
    True
    """
    return device_type in _DEVICE_TYPES


# ---- scaling of gradients ------------------------------------------------------
_READY, _UNSCALED, _STEPPED = range(3)


class GradScaler:
    """Scale the loss so that float16 gradients do not underflow, and find a scale.

    Gradients of the scaled loss are divided by the scale again before the optimizer's
    step. Where one of them is infinite or NaN the step is skipped and the scale shrinks
    by `backoff_factor`; after `growth_interval` steps in a row without, it grows by
    `growth_factor`.

    Parameters
    ----------
    device : Device or str, default "cuda"
        Where the gradients are; for PyTorch's signature, any place works.
    init_scale : float, default 65536.0
    growth_factor : float, default 2.0
        More than 1.
    backoff_factor : float, default 0.5
        Between 0 and 1.
    growth_interval : int, default 2000
        Steps.
    enabled : bool, default True
        With False nothing is scaled and `step` steps.

    Raises
    ------
    ValueError
        If a factor is out of its range.

    Notes
    -----
    Whether gradients are finite is seen from their sums, added up on the device, so
    that a step waits for the device once, however many parameters there are. A sum of
    finite gradients that overflows float32 counts as infinite.

    Examples
    --------
    >>> import tensorlib as tl
    >>> model, x = tl.nn.Linear(4, 1), tl.ones((2, 4))
    >>> optimizer = tl.optim.SGD(model.parameters(), lr=0.1)
    >>> scaler = tl.amp.GradScaler("cpu")
    >>> with tl.autocast("cpu", tl.float16):
    ...     loss = tl.nn.functional.mse_loss(model(x), tl.zeros((2, 1)))
    >>> scaler.scale(loss).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> scaler.get_scale()
    65536.0
    """

    def __init__(
        self, device="cuda", init_scale=2.0**16, growth_factor=2.0, backoff_factor=0.5,
        growth_interval=2000, enabled=True,
    ):  # fmt: skip
        self._device = str(device)
        self._enabled = bool(enabled)
        self.set_growth_factor(growth_factor)
        self.set_backoff_factor(backoff_factor)
        self.set_growth_interval(growth_interval)
        self._scale = float(init_scale)
        self._growth_tracker = 0
        self._forget()

    def _forget(self):
        # By the optimizer's id: its stage; totals of its gradients, or what they say.
        self._stages, self._found = {}, {}

    def scale(self, outputs):
        """Multiply a loss, or each of several, by the scale.

        Parameters
        ----------
        outputs : Tensor or iterable of Tensor

        Returns
        -------
        Tensor or iterable of Tensor
            A loss of float16 comes back in float32, which holds the scale.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, tl.Tensor):
            wide = outputs.astype("float32") if outputs.dtype == "float16" else outputs
            return wide * self._scale
        if not hasattr(outputs, "__iter__"):
            raise TypeError(f"scale: expected Tensors, got {type(outputs).__name__}")
        made = map(self.scale, outputs)
        return type(outputs)(made) if isinstance(outputs, list | tuple) else made

    def unscale_(self, optimizer):
        """Divide the gradients of an optimizer's parameters by the scale, in place.

        Optional before `step`, to clip gradients for example.

        Parameters
        ----------
        optimizer : Optimizer

        Raises
        ------
        RuntimeError
            If it was done already since the last `update`, or after `step`.
        ValueError
            If a gradient is float16: its parameter was not kept in float32.
        """
        if not self._enabled:
            return
        stage = self._stages.get(id(optimizer), _READY)
        if stage == _UNSCALED:
            raise RuntimeError(
                "unscale_: was called for this optimizer since the last update()"
            )
        if stage == _STEPPED:
            raise RuntimeError("unscale_: is called after step()")
        grads = _gradients(optimizer)
        if any(g.dtype == "float16" for g in grads):
            raise ValueError(
                "unscale_: expected gradients of float32, got float16; keep the "
                "parameters in float32 and compute under tl.autocast"
            )
        with tl.no_grad():
            for g in grads:
                g.mul_(1.0 / self._scale)
            self._found[id(optimizer)] = _totals(grads)
        self._stages[id(optimizer)] = _UNSCALED

    def step(self, optimizer, *args, **kwargs):
        """Call ``optimizer.step(*args, **kwargs)`` unless a gradient is not finite.

        Gradients are divided by the scale first where `unscale_` was not called.

        Parameters
        ----------
        optimizer : Optimizer
        *args, **kwargs
            Of its step; no closure.

        Returns
        -------
        object
            What the optimizer's step returned, None where it was skipped.

        Raises
        ------
        RuntimeError
            If it was called already since the last `update`, there is no gradient, or
            a closure is given.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("step: takes no closure while the scaler is enabled")
        stage = self._stages.get(id(optimizer), _READY)
        if stage == _STEPPED:
            raise RuntimeError("step: was called since the last update()")
        if stage == _READY:
            self.unscale_(optimizer)
        if not self._found[id(optimizer)]:
            raise RuntimeError("step: no parameter of this optimizer has a gradient")
        self._stages[id(optimizer)] = _STEPPED
        if self._overflowed(id(optimizer)):
            return None
        return optimizer.step(*args, **kwargs)

    def _overflowed(self, key):
        """Whether a gradient was not finite: here the host waits for the device."""
        found = self._found[key]
        if isinstance(found, list):
            found = any(not cmath.isfinite(total.item()) for total in found)
            self._found[key] = found
        return found

    def update(self, new_scale=None):
        """Shrink, keep or grow the scale by what the steps since the last one found.

        Parameters
        ----------
        new_scale : float or Tensor, optional
            Set it to this instead.

        Raises
        ------
        RuntimeError
            If there was no `step` or `unscale_` since the last update.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            if not self._found:
                raise RuntimeError("update: expected a step() or unscale_() before")
            self._adapt(any(self._overflowed(key) for key in self._found))
        self._forget()

    def _adapt(self, found):
        if found:
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
            return
        self._growth_tracker += 1
        if self._growth_tracker == self._growth_interval:
            self._growth_tracker = 0
            grown = self._scale * self._growth_factor
            # Beyond float32 the loss itself would be infinite.
            if grown <= tl.finfo(tl.float32).max:
                self._scale = grown

    def get_scale(self):
        """Return the scale, a float; 1.0 where the scaler is disabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self):
        """Return what the scale grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor):
        """Set what the scale grows by, more than 1."""
        if not new_factor > 1.0:
            raise ValueError(
                f"GradScaler: expected growth_factor > 1, got {new_factor}"
            )
        self._growth_factor = float(new_factor)

    def get_backoff_factor(self):
        """Return what the scale shrinks by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor):
        """Set what the scale shrinks by, between 0 and 1."""
        if not 0.0 < new_factor < 1.0:
            raise ValueError(
                f"GradScaler: expected 0 < backoff_factor < 1, got {new_factor}"
            )
        self._backoff_factor = float(new_factor)

    def get_growth_interval(self):
        """Return after how many finite steps in a row the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval):
        """Set after how many finite steps in a row the scale grows."""
        if isinstance(new_interval, bool) or int(new_interval) < 1:
            raise ValueError(
                f"GradScaler: expected growth_interval >= 1, got {new_interval}"
            )
        self._growth_interval = int(new_interval)

    def is_enabled(self):
        """Return whether the scaler does anything."""
        return self._enabled

    def state_dict(self):
        """Return what `load_state_dict` needs, under PyTorch's keys.

        Returns
        -------
        dict
            "scale", "growth_factor", "backoff_factor", "growth_interval" and
            "_growth_tracker"; empty where the scaler is disabled.
        """
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict):
        """Take on the state of another scaler, PyTorch's too.

        Parameters
        ----------
        state_dict : dict
            What `state_dict` returned.

        Raises
        ------
        RuntimeError
            If it is empty: it came from a disabled scaler.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "load_state_dict: the state is empty, as that of a disabled GradScaler"
            )
        self._scale = float(state_dict["scale"])
        self.set_growth_factor(state_dict["growth_factor"])
        self.set_backoff_factor(state_dict["backoff_factor"])
        self.set_growth_interval(state_dict["growth_interval"])
        self._growth_tracker = int(state_dict["_growth_tracker"])


def _gradients(optimizer):
    return [
        p.grad
        for group in optimizer.param_groups
        for p in group["params"]
        if p.grad is not None
    ]


def _totals(grads):
    """Return the sum of all gradients, one a device: not finite where one is not."""
    by_place = {}
    for g in grads:
        wide = tl.float32 if g.dtype.name in _LOW else None
        by_place.setdefault((str(g.device), g.dtype.kind), []).append(
            tl.sum(g, dtype=wide)
        )
    return [tl.sum(tl.stack(totals)) for totals in by_place.values()]
