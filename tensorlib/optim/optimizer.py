"""Optimizer: parameter groups, per-parameter state, and their state dict.

Each group's parameters, gradients and state go to one kernel call a step. The flat
lists of that call are kept from step to step and rebuilt only when another set of
parameters has gradients, or the group's options ask for another set of state tensors.
"""

from collections.abc import Mapping

import tensorlib as tl
from tensorlib.core.tensor import Tensor
from tensorlib.ops.fused_optim import optimizer_step, settings_on, write_settings

__all__ = ["FusedOptimizer", "Optimizer"]


class Optimizer:
    """Base class: groups of parameters, their options and their state.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
        The parameters; a dict is a group ``{"params": ..., option: value}``.
    defaults : dict
        Options of groups that do not set their own.

    Attributes
    ----------
    param_groups : list of dict
        Options and ``"params"`` of each group; options may be changed at any time.
    state : dict
        What the algorithm remembers, by parameter.

    Raises
    ------
    TypeError
        If `params` is one tensor, or holds something else than tensors.
    ValueError
        If there are no parameters, one of them is not a leaf, or appears twice.
    """

    def __init__(self, params, defaults):
        if isinstance(params, Tensor):
            raise TypeError(
                f"{type(self).__name__}: expected an iterable of tensors or dicts, got "
                "one Tensor; pass [tensor] or model.parameters()"
            )
        self.defaults = defaults
        self.state = {}
        self.param_groups = []
        self._plans = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: got an empty parameter list")
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group):
        """Add a group of parameters with options of its own.

        Parameters
        ----------
        param_group : dict
            ``{"params": tensor or iterable of tensors, option: value, ...}``.

        Raises
        ------
        TypeError
            If it is not a dict, or a parameter not a tensor.
        ValueError
            If a parameter is not a leaf or already in the optimizer.
        """
        name = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f'{name}: a parameter group is a dict with key "params"')
        group = dict(param_group)
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        if params and all(isinstance(entry, tuple) for entry in params):
            group["param_names"] = [entry[0] for entry in params]
            params = [entry[1] for entry in params]
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for position, param in enumerate(params):
            if not isinstance(param, Tensor):
                raise TypeError(
                    f"{name}: expected tensors, got {type(param).__name__} at "
                    f"position {position}"
                )
            if not param.is_leaf:
                raise ValueError(
                    f"{name}: cannot optimize the non-leaf tensor at position "
                    f"{position}; pass the tensor it was computed from"
                )
            if id(param) in known:
                raise ValueError(
                    f"{name}: the parameter at position {position}, shape "
                    f"{tuple(param.shape)}, appears more than once"
                )
            known.add(id(param))
        group["params"] = params
        for option, value in self.defaults.items():
            group.setdefault(option, value)
        self._check_options(group)
        self.param_groups.append(group)
        self._plans.append(None)

    def _check_options(self, group):
        """Raise ValueError for options out of range; subclasses extend it."""
        name = type(self).__name__
        for option in ("lr", "eps", "weight_decay", "momentum", "alpha", "lr_decay"):
            if option in group and not group[option] >= 0:
                raise ValueError(f"{name}: expected {option} >= 0, got {group[option]}")
        for number, beta in enumerate(group.get("betas", ()), 1):
            if not 0 <= beta < 1:
                raise ValueError(f"{name}: expected 0 <= beta{number} < 1, got {beta}")

    # ---- stepping ----------------------------------------------------------------

    def zero_grad(self, set_to_none=True):
        """Forget the gradients, or fill them with zeros.

        Parameters
        ----------
        set_to_none : bool, default True
            Forget them, which lets the next backward pass store instead of add.
        """
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad = tl.zeros_like(param.grad)

    reset_grad = zero_grad

    def step(self, closure=None):
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss anew, with gradients; its value is returned.

        Returns
        -------
        Tensor or None
            What `closure` returned.

        Raises
        ------
        ShapeError
            If a gradient's shape is not its parameter's.
        """
        loss = None
        if closure is not None:
            with tl.enable_grad():
                loss = closure()
        with tl.no_grad():
            for index, group in enumerate(self.param_groups):
                self._step_group(index, group)
        return loss

    def _step_group(self, index, group):
        raise NotImplementedError(f"{type(self).__name__}: _step_group is missing")

    # ---- state -------------------------------------------------------------------

    def state_dict(self):
        """Return state and options, parameters replaced by their position.

        Returns
        -------
        dict
            ``{"state": {position: {...}}, "param_groups": [{..., "params":
            [positions]}]}``, PyTorch's layout. Tensors are shared, not copied.
        """
        position = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                position[id(param)] = len(position)
            packed = {k: v for k, v in group.items() if k != "params"}
            packed["params"] = [position[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {
            position[id(param)]: dict(entry)
            for param, entry in self.state.items()
            if id(param) in position
        }
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict):
        """Take over state and options; tensors are copied.

        Nothing is changed unless everything fits.

        Parameters
        ----------
        state_dict : dict
            As `state_dict` returns it, or PyTorch's of the same optimizer.

        Raises
        ------
        ValueError
            If the number of groups or of parameters in a group differs, or a state
            tensor's shape is not its parameter's.
        """
        name = type(self).__name__
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError(
                f"{name}.load_state_dict: expected {len(self.param_groups)} parameter "
                f"groups, got {len(saved)}"
            )
        owner = {}
        for number, (group, packed) in enumerate(
            zip(self.param_groups, saved, strict=True)
        ):
            if len(group["params"]) != len(packed["params"]):
                raise ValueError(
                    f"{name}.load_state_dict: expected {len(group['params'])} "
                    f"parameters in group {number}, got {len(packed['params'])}"
                )
            owner.update(zip(packed["params"], group["params"], strict=True))
        state = {}
        for position, entry in state_dict["state"].items():
            if position not in owner:
                raise ValueError(
                    f"{name}.load_state_dict: state of parameter {position}, which no "
                    "group holds"
                )
            param = owner[position]
            state[param] = {
                key: self._load_value(position, param, key, value)
                for key, value in entry.items()
            }
        for group, packed in zip(self.param_groups, saved, strict=True):
            options = {k: v for k, v in packed.items() if k != "params"}
            for option, value in options.items():
                if isinstance(value, list) and option != "param_names":
                    options[option] = tuple(value)
            group.update(options)
        self.state = state
        self._plans = [None] * len(self.param_groups)

    def _load_value(self, position, param, key, value):
        if key in ("step", "mu_product"):
            number = value.item() if hasattr(value, "item") else value
            return int(number) if key == "step" else float(number)
        if not isinstance(value, Tensor):
            return value
        if tuple(value.shape) != tuple(param.shape):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: {key} of parameter {position} "
                f"has shape {tuple(value.shape)}, the parameter {tuple(param.shape)}"
            )
        with tl.no_grad():
            return tl.zeros_like(param).copy_(value)

    def __repr__(self):
        lines = []
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [
                f"    {option}: {group[option]}"
                for option in sorted(group)
                if option not in ("params", "param_names")
            ]
        return f"{type(self).__name__} (\n" + "\n".join(lines) + "\n)"


class FusedOptimizer(Optimizer):
    """Base class: one kernel call a step for all parameters at the same step.

    A subclass names a rule of ``scalar_optim.h``, the state tensors that go with it,
    and its settings; everything else is here. A group of any of them may have the
    option ``"decoupled_weight_decay": True``, for decay as in `AdamW`, before the step:
    ``p = p - lr λ p``.
    """

    _counts = True  # whether each parameter's state has the number of its steps

    def _rule(self, group):
        """Return the rule's name and the names of its state tensors, in order."""
        raise NotImplementedError(f"{type(self).__name__}: _rule is missing")

    def _settings(self, group, batch):
        """Return the rule's settings at ``batch.step``, after the common three."""
        raise NotImplementedError(f"{type(self).__name__}: _settings is missing")

    def _first(self, group, name):
        """Return the value a state tensor starts with."""
        return 0.0

    def _step_group(self, index, group):
        params = [param for param in group["params"] if param.grad is not None]
        if not params:
            return
        rule = self._rule(group)
        plan = self._plans[index]
        if plan is None or plan.rule != rule or plan.ids != [id(p) for p in params]:
            plan = self._plans[index] = self._plan(group, params, rule)
        for batch in plan.batches:
            grads = [param.grad for param in batch.params]
            self._update(group, batch, grads, rule)

    def _update(self, group, batch, grads, rule):
        graph = tl.cuda.recording() if batch.params[0].is_cuda else None
        if graph is None:
            settings = self._advanced(group, batch)
        else:  # the numbers of each replay's step are written before it
            with graph.outside():
                settings = settings_on(batch.params[0].device)
            graph.before_replay(
                lambda: write_settings(settings, self._advanced(group, batch))
            )
        optimizer_step(rule[0], batch.params, grads, batch.columns, settings)

    def _advanced(self, group, batch):
        """Count a step, and return the settings of the rule for it."""
        if self._counts:
            batch.advance()
        decay, lr = group.get("weight_decay", 0), group["lr"]
        decoupled = self._decoupled(group)
        common = (
            -1.0 if group["maximize"] else 1.0,
            0.0 if decoupled else decay,
            1.0 - lr * decay if decoupled else 1.0,
        )
        settings = common + self._settings(group, batch)
        batch.fresh = False
        return settings

    def _decoupled(self, group):
        return group.get("decoupled_weight_decay", False)

    def _plan(self, group, params, rule):
        """Split parameters into batches that are at the same step."""
        batches = {}
        for param in params:
            state = self.state.setdefault(param, {})
            fresh = self._complete_state(group, param, state, rule[1])
            key = (fresh, *self._batch_key(param, state))
            batch = batches.setdefault(key, _Batch(rule[1], fresh))
            batch.add(param, state)
        return _Plan(list(params), rule, list(batches.values()))

    def _batch_key(self, param, state):
        return (param.dtype.name, str(param.device), state.get("step", 0))

    def _complete_state(self, group, param, state, names):
        """Add what is missing to a parameter's state; tell whether a tensor was."""
        if self._counts and "step" not in state:
            state["step"] = 0
        missing = [name for name in names if state.get(name) is None]
        for name in missing:
            state[name] = tl.full_like(param, self._first(group, name)).detach()
        return bool(missing)


class _Batch:
    """Parameters one kernel call updates: they are at the same step."""

    def __init__(self, names, fresh):
        self.names = names
        self.fresh = fresh  # the state tensors were made for the coming step
        self.params = []
        self.states = []
        self.columns = [[] for _ in names]
        self.step = 0

    def add(self, param, state):
        self.params.append(param)
        self.states.append(state)
        self.step = state.get("step", 0)
        for column, name in zip(self.columns, self.names, strict=True):
            column.append(state[name])

    def advance(self):
        """Count one step, here and in each parameter's state."""
        self.step += 1
        for state in self.states:
            state["step"] = self.step


class _Plan:
    """The batches of a group's parameters that have gradients."""

    def __init__(self, params, rule, batches):
        self.params = params  # kept alive, so that no other tensor has their ids
        self.ids = [id(param) for param in params]
        self.rule = rule
        self.batches = batches
