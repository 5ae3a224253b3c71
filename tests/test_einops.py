"""einops on tensors: the functions against einops on NumPy, layers, gradients."""

import numpy as np
import pytest

einops = pytest.importorskip("einops")

import tensorlib as tl  # noqa: E402
import tensorlib.einops as layers  # noqa: E402

A = np.arange(2 * 3 * 4 * 6, dtype="f4").reshape(2, 3, 4, 6)
CASES = [
    (einops.rearrange, ("b c h w -> b (h w) c",), {}),
    (einops.rearrange, ("b c (h p) (w q) -> (b h w) (p q c)",), {"p": 2, "q": 3}),
    (einops.rearrange, ("b ... w -> w b ...",), {}),
    (einops.repeat, ("b c h w -> b n c (h k) w",), {"n": 2, "k": 3}),
    *[
        (einops.reduce, ("b c h (w q) -> b w c", name), {"q": 2})
        for name in ("sum", "mean", "max", "min", "prod")
    ],
]


@pytest.mark.parametrize(("function", "args", "lengths"), CASES, ids=str)
def test_function_equals_einops_on_numpy(function, args, lengths):
    found = function(tl.tensor(A), *args, **lengths)
    assert type(found) is tl.Tensor
    expected = function(A, *args, **lengths)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["any", "all"])
def test_reduction_of_bool_equals_einops_on_numpy(name):
    found = einops.reduce(tl.tensor(A > 70), "b c h w -> b h", name)
    expected = einops.reduce(A > 70, "b c h w -> b h", name)
    assert found.tolist() == expected.tolist()


def test_einsum_equals_einops_on_numpy():
    pattern = "b c h w, c k -> b k h w"
    weight = A[0, :, 0, :5]
    found = einops.einsum(tl.tensor(A), tl.tensor(weight), pattern)
    expected = einops.einsum(A, weight, pattern)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_pack_and_unpack_give_back_the_parts():
    parts = [tl.tensor(A), tl.tensor(A[:, 0]), tl.tensor(A[:, 0, 0])]
    packed, shapes = einops.pack(parts, "b * w")
    assert packed.shape == (2, 3 * 4 + 4 + 1, 6)
    for part, found in zip(parts, einops.unpack(packed, shapes, "b * w"), strict=True):
        assert part.tolist() == found.tolist()


def test_lists_are_stacked_and_shapes_parsed():
    found = einops.rearrange([tl.tensor(A), tl.tensor(A)], "n b c h w -> b n (c h w)")
    expected = einops.rearrange([A, A], "n b c h w -> b n (c h w)")
    assert found.tolist() == expected.tolist()
    assert einops.parse_shape(tl.tensor(A), "b _ h w") == {"b": 2, "h": 4, "w": 6}
    assert einops.asnumpy(tl.tensor(A)).tolist() == A.tolist()


def test_gradient_flows_through_reduce():
    x = tl.tensor(A, requires_grad=True)
    einops.reduce(x, "b c h w -> b c", "mean").sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full(A.shape, 1 / 24), rtol=1e-6)


def test_wrong_pattern_raises_einops_error():
    with pytest.raises(einops.EinopsError, match="Shape mismatch"):
        einops.rearrange(tl.tensor(A), "b c (h p) w -> b c h p w", p=3)


def test_layers_equal_the_functions_in_a_sequence():
    model = tl.nn.Sequential(
        layers.Rearrange("b c (h p) w -> b h (p c) w", p=2),
        layers.Reduce("b h c w -> b h c", "max"),
    )
    expected = einops.rearrange(A, "b c (h p) w -> b h (p c) w", p=2).max(-1)
    assert model(tl.tensor(A)).tolist() == expected.tolist()


def test_einmix_is_a_linear_layer_with_gradients():
    lengths = {"c": 3, "k": 5}
    layer = layers.EinMix(
        "b c h w -> b (h w) k", weight_shape="c k", bias_shape="k", **lengths
    )
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    assert set(layer.state_dict()) == {"weight", "bias"}
    y = layer(tl.tensor(A))
    expected = np.einsum("bchw,ck->bhwk", A, weight).reshape(2, 24, 5) + bias.ravel()
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=2e-5, atol=1e-5)
    y.sum().backward()
    np.testing.assert_allclose(layer.bias.grad.numpy().ravel(), np.full(5, 48.0))
