import math

import pytest
import torch

from pcfrl_lightning.networks.backbone import ChannelAttention


def slow_attention(layer, x):
    """The definition, one scalar at a time."""

    def pointwise(conv, image):
        weight = conv.weight[:, :, 0, 0]
        return weight @ image + conv.bias[:, None]

    batch, channels, height, width = x.shape
    positions = height * width
    out = torch.empty_like(x)
    for b in range(batch):
        image = x[b].reshape(channels, positions)
        g, theta, phi = (pointwise(conv, image) for conv in (layer.gather, layer.attend, layer.project))
        for c in range(channels):
            for n in range(positions):
                mixed = 0.0
                for d in range(channels):
                    attend = [math.exp(theta[d, m]) for m in range(positions)]
                    entry = sum(float(phi[c, m]) * attend[m] for m in range(positions)) / sum(attend)
                    mixed += entry * math.exp(g[d, n]) / sum(math.exp(g[k, n]) for k in range(channels))
                value = float(image[c, n]) + mixed
                out[b, c, n // width, n % width] = value if value > 0 else 0.1 * value
    return out


def test_equals_the_definition():
    torch.manual_seed(0)
    layer = ChannelAttention(3).double()
    x = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), slow_attention(layer, x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients(memory_format):
    torch.manual_seed(0)
    layer = ChannelAttention(3).double()
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))


def test_memory_formats_agree():
    torch.manual_seed(0)
    layer = ChannelAttention(8)
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(layer(x), layer(x.contiguous(memory_format=torch.channels_last)))


def test_softmax_is_float32_under_autocast():
    torch.manual_seed(0)
    layer = ChannelAttention(8)
    x = torch.randn(2, 8, 6, 6)
    seen = []

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is torch.nn.functional.softmax:
                seen.append(result.dtype)
            return result

    with torch.autocast("cpu", torch.bfloat16), Spy():
        result = layer(x)
    assert seen == [torch.float32, torch.float32]
    torch.testing.assert_close(result.float(), layer(x), atol=0.05, rtol=0.05)
