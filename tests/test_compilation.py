"""A compiled function is used where it computes what the plain one does, and nowhere else."""

import warnings

import pytest
import torch
from torch import nn

from pcfrl_lightning.compilation import Checked


class Net(nn.Module):
    """Random and with statistics of its batches."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.norm, self.drop = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)

    def forward(self, x):
        return {"out": (self.drop(self.norm(self.linear(x))),)}


def state(net):
    return [value.clone() for value in net.state_dict().values()]


def check(net, compiled, x, message=None):
    """One call; its warning matches a message, or there is none."""
    checked = Checked(net.forward, compiled, "Net", "--off", net)
    if message is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            checked(x)
    else:
        with pytest.warns(UserWarning, match=message):
            checked(x)
    return checked


def other_outputs(net):
    return lambda x: {"out": (1.2 * net(x)["out"][0],)}


def not_finite(net):
    return lambda x: {"out": (net(x)["out"][0] * torch.nan,)}


class Scaled(torch.autograd.Function):
    """Right forward, another gradient."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        if ctx.factor is None:
            raise RuntimeError("no code for the backward pass")
        return ctx.factor * gradient, None


def other_gradient(net, factor=torch.nan):
    return lambda x: {"out": (Scaled.apply(net(x)["out"][0], factor),)}


def test_what_is_right_is_used():
    net, calls = Net(), []

    def compiled(x):
        calls.append(len(x))
        return net(x)

    checked = check(net, compiled, torch.randn(5, 4))
    assert calls == [5, 5]  # compared, then used
    checked(torch.randn(5, 4))
    assert calls == [5, 5, 5]
    checked(torch.randn(6, 4))
    assert calls == [5, 5, 5, 6, 6]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_outputs, r"torch.compile of Net is not used: its outputs are .* plain PyTorch.*\(--off does not try it"),
        (not_finite, "its outputs are nan"),
        (other_gradient, "its gradients are nan"),
        (lambda net: other_gradient(net, 1.5), r"its gradients are .* whose norm is"),
        (lambda net: other_gradient(net, None), "no code for the backward pass"),
        (lambda net: lambda x: net(x)["absent"], "absent"),
    ],
)
def test_what_is_wrong_is_not_used(make, message):
    net, twin, x = Net(), Net(), torch.randn(5, 4)
    torch.manual_seed(1)
    expected = twin(x)["out"][0]
    torch.manual_seed(1)
    checked = check(net, make(net), x, message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.manual_seed(1)
        assert torch.equal(checked(x)["out"][0], expected)
    twin(x)
    for value, other in zip(state(net), state(twin), strict=True):
        assert torch.equal(value, other)


def test_random_state_buffers_and_gradients_are_those_of_one_call():
    net, twin, x = Net(), Net(), torch.randn(5, 4, requires_grad=True)
    for each in (net, twin):
        torch.manual_seed(1)
        outputs = (Checked(net.forward, net.forward, "Net", "--off", net) if each is net else twin)(x)["out"][0]
        outputs.sum().backward()
        each.drawn = torch.rand(3)
    assert torch.equal(net.drawn, twin.drawn)
    for value, other in zip(state(net), state(twin), strict=True):
        assert torch.equal(value, other)
    for one, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_arguments_may_depend_on_each_other():
    net = Net()
    first = torch.randn(5, 4, requires_grad=True).exp()
    second = first.exp()

    def both(x, y):
        return {"out": (net(x)["out"][0] * net(y)["out"][0],)}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Checked(both, both, "Net", "--off", net)(first, y=second)["out"][0].sum().backward()


def test_rounding_of_half_precision_is_no_difference():
    net, x = Net(), torch.randn(50, 4)
    off = lambda x: {"out": (1.05 * net(x)["out"][0],)}  # noqa: E731
    check(net, off, x, "its outputs are")
    with torch.autocast("cpu", torch.bfloat16):
        check(net, off, x)


def test_a_diverged_network_is_not_blamed_on_the_compiler():
    net = Net()
    nn.init.constant_(net.linear.weight, torch.nan)
    check(net, net.forward, torch.randn(5, 4))


def test_an_error_of_the_function_is_its_own():
    net = Net()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        Checked(net.forward, net.forward, "Net", "--off", net)(torch.randn(5, 7))
