"""The trunk: the stem in blocks of pixels, and maps that keep their memory layout."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from layouts import LayoutChanges
from pcfrl_lightning.networks.backbone import ChannelAttention, FaceBackbone, StemConv, blockwise_stem


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 22), (21, 19)])
def test_blockwise_stem_equals_the_convolution(height: int, width: int) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    plain = StemConv(4).double()
    expected = plain(images)
    result = blockwise_stem(images, plain.weight, plain.bias)
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)
    towards = torch.randn_like(expected)
    parameters = [*plain.parameters()]
    for one, two in zip(
        torch.autograd.grad(result, parameters, towards),
        torch.autograd.grad(expected, parameters, towards),
        strict=True,
    ):
        torch.testing.assert_close(one, two, atol=1e-11, rtol=0)


class _Kernels(TorchDispatchMode):
    """Kernel sides of the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten.convolution.default:
            self.kernels.append(args[1].shape[-1])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("device", "kernel"), [("cpu", 7), ("cuda", 4)])
def test_the_stem_is_blockwise_on_cuda(device: str, kernel: int) -> None:
    with FakeTensorMode(), torch.device(device):
        stem, images = StemConv(8), torch.empty(2, 3, 33, 32)
        with _Kernels() as seen:
            assert stem(images).shape == (2, 8, 17, 16)
    assert seen.kernels == [kernel]


def test_the_stem_has_the_parameters_of_a_convolution() -> None:
    torch.manual_seed(0)
    stem = StemConv(8)
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 8, 7, 2, 3)
    assert [*stem.state_dict()] == [*plain.state_dict()]
    assert all(torch.equal(one, two) for one, two in zip(stem.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_keep_their_layout_forward_and_backward(dtype: torch.dtype) -> None:
    """But for one sum in each attention: the gradient through the product whose softmax runs over positions."""
    network = FaceBackbone(0.125).to(memory_format=torch.channels_last)
    images = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with LayoutChanges(500) as forward, torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        maps = network(images)
    assert forward.found == []
    towards = torch.ones_like(maps)
    with LayoutChanges(500) as backward:
        maps.backward(towards)
    assert sorted(backward.found) == ["add (2, 1024, 8)", "add (2, 256, 16)"]


def test_a_bias_of_all_scores_changes_nothing_and_gets_a_zero_gradient() -> None:
    """It gets one at all, which processes of a distributed run wait for."""
    torch.manual_seed(0)
    layer, x = ChannelAttention(4).double(), torch.randn(2, 4, 3, 5, dtype=torch.float64)
    before = layer(x)
    with torch.no_grad():
        assert layer.attend.bias is not None
        layer.attend.bias += torch.randn(4)
    after = layer(x)
    assert torch.equal(before, after)
    after.sum().backward()
    assert torch.equal(layer.attend.bias.grad, torch.zeros(4, dtype=torch.float64))
    assert all(
        bool(p.grad.any()) for name, p in layer.named_parameters() if p.grad is not None and name != "attend.bias"
    )
