import pytest
import torch
import torch.nn.functional as F

from pcfrl_lightning.networks.decoder import EnlargingConv, EnlargingConvToImage, shifted_enlargement

SIDES = [(1, 2), (2, 4), (1, 8), (2, 3), (4, 7), (13, 25), (8, 16), (3, 3)]


def reference(layer, x):
    large = F.interpolate(x, size=(layer.size, layer.size), mode="bilinear", align_corners=False)
    return F.conv2d(large, layer.conv.weight, layer.conv.bias, padding=1)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("kind", [EnlargingConv, EnlargingConvToImage])
def test_equals_interpolation_then_convolution_with_gradients(kind, sides):
    torch.manual_seed(0)
    layer = kind(5, 3, *sides).double()
    layer.axis = shifted_enlargement_float64(*sides)
    x = torch.randn(2, 5, sides[0], sides[0], dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, sides[1], sides[1], dtype=torch.float64)
    expected, result = reference(layer, x), layer(x)
    inputs = [x, layer.conv.weight, layer.conv.bias]
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)
    for got, wanted in zip(
        torch.autograd.grad((result * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, atol=1e-11, rtol=1e-11)


def shifted_enlargement_float64(in_size, size):
    """The layer's buffer is float32, exact only when the sides differ by a power of two."""
    enlarge = F.interpolate(torch.eye(in_size, dtype=torch.float64)[None], size=size, mode="linear")[0].T
    padded = F.pad(enlarge, (0, 0, 1, 1))
    return torch.stack([padded[tap : tap + size] for tap in range(3)], dim=2).flatten(1)


def test_axis_matrix_is_zero_outside_the_map_and_sums_to_one_inside():
    axis = shifted_enlargement(4, 8)
    sums = axis.sum(1)
    torch.testing.assert_close(sums[:, 1], torch.ones(8))
    torch.testing.assert_close(sums[:, 0], torch.tensor([0.0] + [1.0] * 7))
    torch.testing.assert_close(sums[:, 2], torch.tensor([1.0] * 7 + [0.0]))


def test_float32_matches_within_rounding():
    torch.manual_seed(1)
    layer = EnlargingConv(64, 32, 13, 25)
    x = torch.randn(2, 64, 13, 13)
    torch.testing.assert_close(layer(x), reference(layer, x), atol=1e-5, rtol=0)


def test_bfloat16_autocast_is_close():
    torch.manual_seed(1)
    for layer in (EnlargingConv(32, 16, 6, 12), EnlargingConv(32, 3, 6, 12)):
        x = torch.randn(2, 32, 6, 6)
        with torch.autocast("cpu", torch.bfloat16):
            result = layer(x)
        assert result.dtype == torch.bfloat16
        torch.testing.assert_close(result.float(), reference(layer, x), atol=0.03, rtol=0.02)


def test_state_dict_holds_only_the_convolution():
    assert set(EnlargingConv(4, 4, 2, 4).state_dict()) == {"conv.weight", "conv.bias"}
