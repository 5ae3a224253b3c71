"""Module, Parameter and the containers."""

import copy
import gc
import weakref

import pytest

import tensorlib as tl
from tensorlib import nn


def close(x, expected, tolerance=1e-6):
    return bool(tl.all(tl.abs(x - tl.asarray(expected)) <= tolerance))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.scale = nn.Parameter(tl.ones(4))
        self.register_buffer("count", tl.zeros(1))
        self.register_buffer("scratch", tl.zeros(1), persistent=False)

    def forward(self, x):
        for layer in self.layers:
            x = tl.relu(layer(x))
        return x * self.scale


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.head(self.encoder(x))


NAMES = [
    "encoder.scale",
    "encoder.layers.0.weight",
    "encoder.layers.0.bias",
    "encoder.layers.1.weight",
    "encoder.layers.1.bias",
    "head.weight",
]


def test_parameter_of_tensor_is_leaf_tensor_that_shares_storage():
    x = tl.zeros(3)
    parameter = nn.Parameter(x)
    x[0] = 5.0
    assert isinstance(parameter, tl.Tensor)
    assert isinstance(parameter, nn.Parameter)
    assert parameter.is_leaf
    assert parameter.requires_grad
    assert parameter[0].item() == 5.0


def test_parameter_of_plain_tensor_is_not_instance():
    assert not isinstance(tl.zeros(3), nn.Parameter)
    assert not isinstance(3, nn.Parameter)


def test_named_parameters_nested_gives_pytorch_names_in_order():
    assert [name for name, _ in Model().named_parameters()] == NAMES


def test_named_parameters_shared_parameter_appears_once():
    model = Model()
    model.encoder.layers[1].weight = model.encoder.layers[0].weight
    names = [name for name, _ in model.named_parameters()]
    assert "encoder.layers.1.weight" not in names
    every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert "encoder.layers.1.weight" in every


def test_state_dict_leaves_out_non_persistent_buffers():
    assert list(Model().state_dict()) == [
        NAMES[0],
        "encoder.count",
        *NAMES[1:],
    ]


def test_state_dict_values_share_storage_and_are_detached():
    model = Model()
    state = model.state_dict()
    assert not state["head.weight"].requires_grad
    with tl.no_grad():
        model.head.weight.fill_(3.0)
    assert state["head.weight"][0, 0].item() == 3.0


def test_load_state_dict_copies_values():
    source, target = Model(), Model()
    weight = target.head.weight
    result = target.load_state_dict(source.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert target.head.weight is weight
    assert target.head.weight.tolist() == source.head.weight.tolist()
    assert target.head.weight.requires_grad


def test_load_state_dict_with_everything_wrong_lists_all_and_changes_nothing():
    model = Model()
    before = model.encoder.scale.tolist()
    state = model.state_dict()
    state = {name: tl.zeros_like(value) for name, value in state.items()}
    del state["encoder.count"]
    state["head.weight"] = tl.zeros((3, 4))
    state["extra"] = tl.zeros(1)
    state["encoder.layers.0.bias"] = [0.0] * 4
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    assert "missing keys: 'encoder.count'" in text
    assert "unexpected keys: 'extra'" in text
    assert "head.weight: the state has (3, 4), the module has (2, 4)" in text
    assert "encoder.layers.0.bias: expected a Tensor, got list" in text
    assert model.encoder.scale.tolist() == before


def test_load_state_dict_not_strict_returns_incompatible_keys():
    model = Model()
    result = model.load_state_dict({"extra": tl.zeros(1)}, strict=False)
    assert result.unexpected_keys == ["extra"]
    assert "head.weight" in result.missing_keys


def test_load_state_dict_assign_puts_given_tensor_in_place():
    layer = nn.Linear(2, 2, bias=False)
    value = tl.ones((2, 2), dtype=tl.float64)
    layer.load_state_dict({"weight": value}, assign=True)
    assert layer.weight.dtype == tl.float64
    assert isinstance(layer.weight, nn.Parameter)
    assert layer.weight.requires_grad


def test_train_and_eval_reach_every_submodule():
    model = Model().eval()
    assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.train().modules())


def test_to_float64_converts_parameters_buffers_and_keeps_integers():
    layer = nn.BatchNorm1d(3).double()
    assert layer.weight.dtype == tl.float64
    assert layer.running_mean.dtype == tl.float64
    assert layer.num_batches_tracked.dtype == tl.int64
    assert layer(tl.ones((2, 3), dtype=tl.float64)).dtype == tl.float64


def test_to_float64_keeps_the_parameter_objects():
    layer = nn.Linear(2, 2)
    weight = layer.weight
    layer.double()
    assert layer.weight is weight


def test_to_integer_dtype_raises():
    with pytest.raises(TypeError, match="floating-point or complex"):
        nn.Linear(2, 2).to(tl.int32)


def test_zero_grad_forgets_gradients():
    model = Model()
    model(tl.ones((1, 4))).sum().backward()
    assert model.head.weight.grad is not None
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_zero_grad_to_zero_keeps_zeros():
    model = Model()
    model(tl.ones((1, 4))).sum().backward()
    model.zero_grad(set_to_none=False)
    assert model.head.weight.grad.tolist() == [[0.0] * 4] * 2


def test_requires_grad_false_freezes():
    model = Model().requires_grad_(False)
    assert not model(tl.ones((1, 4))).requires_grad


def test_setattr_plain_value_over_parameter_raises():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="cannot assign Tensor as parameter 'weight'"):
        layer.weight = tl.zeros((2, 2))


def test_setattr_none_over_parameter_keeps_the_name():
    layer = nn.Linear(2, 2)
    layer.bias = None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert layer(tl.ones((1, 2))).shape == (1, 2)


def test_setattr_module_over_plain_attribute_registers_it():
    module = nn.Module()
    module.part = 3
    module.part = nn.ReLU()
    assert [name for name, _ in module.named_children()] == ["part"]


def test_setattr_wrong_kind_over_module_raises():
    model = Model()
    with pytest.raises(TypeError, match="as module 'head'"):
        model.head = 3


def test_setattr_buffer_replaces_value():
    model = Encoder()
    model.count = tl.ones(1)
    assert model.state_dict()["count"].tolist() == [1.0]


def test_delattr_unregisters():
    model = Model()
    del model.head
    assert not hasattr(model, "head")
    assert not any(name.startswith("head") for name in model.state_dict())


def test_assignment_before_init_raises():
    class Forgetful(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(tl.zeros(1))

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) first"):
        Forgetful()


def test_missing_attribute_names_the_members():
    with pytest.raises(AttributeError, match=r"no attribute 'wieght'.*'weight'"):
        nn.Linear(2, 2).wieght  # noqa: B018


@pytest.mark.parametrize("name", ["", "a.b", "forward"])
def test_register_parameter_with_bad_name_raises(name):
    with pytest.raises(KeyError):
        nn.Module().register_parameter(name, nn.Parameter(tl.zeros(1)))


def test_register_parameter_plain_tensor_raises():
    with pytest.raises(TypeError, match=r"wrap it in nn.Parameter"):
        nn.Module().register_parameter("w", tl.zeros(1))


def test_get_submodule_and_parameter_follow_the_path():
    model = Model()
    assert model.get_submodule("encoder.layers.1") is model.encoder.layers[1]
    assert model.get_parameter("encoder.layers.1.bias") is model.encoder.layers[1].bias
    assert model.get_buffer("encoder.count") is model.encoder.count
    with pytest.raises(AttributeError, match="no submodule 'decoder'"):
        model.get_submodule("decoder.layers")
    with pytest.raises(AttributeError, match="no parameter 'w'"):
        model.get_parameter("head.w")


def test_error_in_forward_notes_the_module_path():
    model = Model()
    model.encoder.layers[1] = nn.Linear(5, 4)
    with pytest.raises(tl.ShapeError) as caught:
        model(tl.ones((1, 4)))
    (note,) = caught.value.__notes__
    assert note.split(", at ")[:1] == [
        "in module encoder.layers.1 (Linear(in_features=5, out_features=4, bias=True))"
    ]


def test_error_in_lone_module_notes_the_module():
    with pytest.raises(tl.ShapeError) as caught:
        nn.Linear(5, 4)(tl.ones((1, 4)))
    assert "in module Linear(in_features=5" in caught.value.__notes__[0]


def test_error_in_module_notes_the_line_of_the_user():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.ReLU(), nn.Linear(5, 4))

        def forward(self, x):
            return self.inner(x * 2)

    with pytest.raises(tl.ShapeError) as caught:
        Outer()(tl.ones((1, 4)))
    line = Outer.forward.__code__.co_firstlineno + 1
    (note,) = caught.value.__notes__
    assert note.startswith("in module inner.1 (Linear(in_features=5")
    assert note.endswith(f", at {__file__}:{line}: return self.inner(x * 2)")


def test_error_in_a_users_forward_notes_its_line():
    class Wrong(nn.Module):
        def forward(self, x):
            return x @ x

    with pytest.raises(tl.ShapeError) as caught:
        nn.Sequential(Wrong())(tl.ones((1, 4)))
    line = Wrong.forward.__code__.co_firstlineno + 1
    assert caught.value.__notes__ == [
        f"in module 0 (Wrong), at {__file__}:{line}: return x @ x"
    ]


def test_missing_forward_raises():
    with pytest.raises(NotImplementedError, match='"forward" is missing'):
        nn.Module()()


def test_forward_hooks_see_and_change_arguments_and_output():
    layer = nn.Identity()
    before = layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    after = layer.register_forward_hook(lambda module, args, output: output * 10)
    assert layer(tl.ones(1)).item() == 20.0
    before.remove()
    assert layer(tl.ones(1)).item() == 10.0
    after.remove()
    assert layer(tl.ones(1)).item() == 1.0


def test_forward_hooks_prepend_and_kwargs():
    class Scale(nn.Module):
        def forward(self, x, factor=1.0):
            return x * factor

    layer, order = Scale(), []
    layer.register_forward_pre_hook(lambda m, a: order.append("second"))
    layer.register_forward_pre_hook(
        lambda m, a, k: (order.append("first"), (a, {"factor": 3.0}))[1],
        prepend=True,
        with_kwargs=True,
    )
    assert layer(tl.ones(1), factor=2.0).item() == 3.0
    assert order == ["first", "second"]


def test_full_backward_hook_sees_gradients_of_this_call_only():
    layer, seen = nn.Linear(2, 1, bias=False), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x = tl.tensor([[1.0, 2.0]], requires_grad=True)
    (layer(x).sum() * 3 + (x * 100).sum()).backward()
    (grad_input,), (grad_output,) = seen[0]
    assert grad_output.tolist() == [[3.0]]
    assert close(grad_input, (layer.weight * 3).detach())
    assert close(x.grad, (layer.weight * 3 + 100).detach(), 1e-4)


def test_full_backward_hook_replaces_the_gradient():
    layer = nn.Identity()
    handle = layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    x = tl.tensor([1.0], requires_grad=True)
    layer(x).sum().backward()
    handle.remove()
    layer(x).sum().backward()
    assert x.grad.item() == 11.0


def test_full_backward_hook_without_differentiable_input_runs():
    layer, seen = nn.Linear(2, 1), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    layer(tl.ones((1, 2))).sum().backward()
    assert seen[0][0] == (None,)
    assert seen[0][1][0].tolist() == [[1.0]]


def test_apply_visits_children_first():
    visited = []
    nn.Sequential(nn.ReLU(), nn.Tanh()).apply(lambda m: visited.append(type(m)))
    assert visited == [nn.ReLU, nn.Tanh, nn.Sequential]


def test_deepcopy_is_independent_and_keeps_parameters():
    model = Model()
    clone = copy.deepcopy(model)
    with tl.no_grad():
        clone.head.weight.fill_(7.0)
    assert model.head.weight[0, 0].item() != 7.0
    assert [name for name, _ in clone.named_parameters()] == NAMES
    assert clone.head.weight.requires_grad
    clone.head.weight = nn.Parameter(tl.zeros((2, 4)))


def test_model_is_freed_without_the_collector():
    class Freed(nn.Linear):
        pass

    gc.disable()
    try:
        layer = Freed(2, 2)
        layer(tl.ones((1, 2))).sum().backward()
        alive = weakref.ref(layer)
        del layer
        assert alive() is None
    finally:
        gc.enable()


def test_repr_reads_like_pytorch():
    torch = pytest.importorskip("torch")

    def build(n):
        return n.Sequential(
            n.Linear(3, 4, bias=False),
            n.ModuleList([n.ReLU(), n.GELU(), n.Dropout(0.1)]),
            n.LayerNorm(4),
            n.BatchNorm1d(4),
            n.Embedding(5, 4, padding_idx=1),
            n.Identity(),
        )

    ours = repr(build(nn))
    theirs = repr(build(torch.nn))
    assert ours == theirs


def test_sequential_applies_in_order_and_slices():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3
    assert isinstance(net[:2], nn.Sequential)
    assert net[-1] is net[2]
    assert net[:2][0] is net[0]
    x = tl.ones((1, 2))
    assert close(net(x), net[2](net[1](net[0](x))))


def test_sequential_append_insert_delete_renumber():
    net = nn.Sequential(nn.ReLU())
    net.append(nn.Tanh()).insert(0, nn.Sigmoid())
    assert [type(m) for m in net] == [nn.Sigmoid, nn.ReLU, nn.Tanh]
    del net[1]
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    net[0] = nn.GELU()
    assert isinstance(net[0], nn.GELU)


def test_sequential_from_dict_keeps_names():
    net = nn.Sequential({"first": nn.Linear(2, 2), "act": nn.ReLU()})
    assert list(net.state_dict()) == ["first.weight", "first.bias"]
    assert isinstance(net.act, nn.ReLU)


def test_sequential_of_something_else_raises():
    with pytest.raises(TypeError, match=r"expected nn.Module"):
        nn.Sequential(tl.relu)


def test_module_list_index_out_of_range_raises():
    layers = nn.ModuleList([nn.ReLU()])
    with pytest.raises(IndexError, match="out of range"):
        layers[1]
    layers += [nn.Tanh()]
    assert isinstance(layers.pop(), nn.Tanh)


def test_module_dict_behaves_like_a_dict():
    heads = nn.ModuleDict({"a": nn.ReLU()})
    heads["b"] = nn.Tanh()
    assert list(heads) == ["a", "b"]
    assert "b" in heads
    assert isinstance(heads.pop("a"), nn.ReLU)
    assert [k for k, _ in heads.items()] == ["b"]
    with pytest.raises(KeyError, match="the keys are"):
        heads["zzz"]
    with pytest.raises(KeyError):
        heads["keys"] = nn.ReLU()


def test_parameter_list_and_dict_register():
    module = nn.Module()
    module.many = nn.ParameterList([tl.ones(2), tl.ones(3)])
    module.named = nn.ParameterDict({"a": tl.ones(4)})
    shapes = {n: p.shape for n, p in module.named_parameters()}
    assert shapes == {"many.0": (2,), "many.1": (3,), "named.a": (4,)}


def test_parameter_dict_has_the_methods_of_a_dictionary():
    held = nn.ParameterDict({"a": tl.ones(2)})
    held.update({"b": tl.zeros(1)})
    copied = held.copy()
    assert held.get("absent") is None
    assert held.setdefault("b") is copied["b"]
    assert held.popitem()[0] == "b"
    assert held.pop("a").tolist() == [1.0, 1.0]
    assert list(held.parameters()) == []
    assert copied.keys() == ["a", "b"]
    with pytest.raises(KeyError, match="empty"):
        held.popitem()


def test_modules_yields_shared_ones_twice_if_asked():
    shared = nn.ReLU()
    net = nn.Sequential(shared, shared)
    assert len(list(net.modules())) == 2
    assert len(list(net.modules(remove_duplicate=False))) == 3


def test_summary_is_a_method_too(capsys):
    net = nn.Linear(4, 8)
    found = net.summary(tl.ones((2, 4)), verbose=False)
    assert str(found) == str(nn.summary(net, tl.ones((2, 4)), verbose=False))
    assert capsys.readouterr().out == ""
