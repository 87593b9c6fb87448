import pytest
import torch
from torch import nn

from ddp import run_on_ranks
from pcfrl_lightning.networks import FaceBackbone, PCFRLNetwork
from pcfrl_lightning.networks.sync_batch_norm import GlobalBatchNorm, sync_batch_norm

CASES = {"1d": ("1d", [0, 4, 8]), "2d": ("2d", [0, 4, 8]), "unequal": ("2d", [0, 3, 8])}


def make(kind):
    torch.manual_seed(0)
    if kind == "1d":
        return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    return nn.Sequential(nn.Conv2d(5, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.ReLU(), nn.Conv2d(4, 2, 3)).double()


def data(kind):
    generator = torch.Generator().manual_seed(1)
    shape = (8, 5) if kind == "1d" else (8, 5, 6, 6)
    return 3 + torch.randn(shape, generator=generator, dtype=torch.float64)


def run(model, x):
    """Two training steps' outputs, running statistics, and gradients of a loss that is not linear in the batch."""
    model(x)
    x = x.clone().requires_grad_()
    output = model(x)
    loss = (output.flatten(1) ** 2).sum(1).sin().mean()
    loss.backward()
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    return output.detach(), x.grad, {k: p.grad for k, p in model.named_parameters()}, buffers


def on_rank(rank, ranks):
    """Every case in one start of the processes, which is what takes time."""
    results = {"autocast": bfloat16_output()}
    for name, (kind, cuts) in CASES.items():
        model = sync_batch_norm(make(kind), "cpu")
        results[name] = run(model, data(kind)[cuts[rank] : cuts[rank + 1]])
    return results


@pytest.fixture(scope="module")
def ranks():
    return run_on_ranks(on_rank)


@pytest.mark.parametrize("kind", ["1d", "2d"])
def test_two_ranks_equal_one_process(ranks, kind):
    first, second = (results[kind] for results in ranks)
    output, input_grad, gradients, buffers = run(make(kind), data(kind))
    close = {"atol": 1e-12, "rtol": 1e-10}
    torch.testing.assert_close(torch.cat([first[0], second[0]]), output, **close)
    # each rank's loss is a mean over half of the rows, and DDP averages over ranks
    torch.testing.assert_close(torch.cat([first[1], second[1]]) / 2, input_grad, **close)
    for name, wanted in gradients.items():
        torch.testing.assert_close((first[2][name] + second[2][name]) / 2, wanted, **close)
    for name, wanted in buffers.items():
        torch.testing.assert_close(first[3][name], wanted, **close)
        torch.testing.assert_close(second[3][name], wanted, **close)


def test_ranks_may_hold_different_numbers_of_rows(ranks):
    first, second = (results["unequal"] for results in ranks)
    output, _, _, buffers = run(make("2d"), data("2d"))
    torch.testing.assert_close(torch.cat([first[0], second[0]]), output, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(first[3]["1.running_var"], buffers["1.running_var"])


def bfloat16_output():
    norm = sync_batch_norm(nn.BatchNorm1d(3), "cpu")
    with torch.autocast("cpu", torch.bfloat16):
        output = norm((1000 + torch.arange(12.0).view(4, 3)).bfloat16())
    return output, norm.running_var


def test_statistics_are_float32_under_autocast(ranks):
    output, variance = ranks[0]["autocast"]
    assert output.dtype == torch.bfloat16
    assert variance.dtype == torch.float32
    assert output.isfinite().all()


def test_conversion_keeps_parameters_buffers_and_keys():
    network = PCFRLNetwork(FaceBackbone(0.125), image_size=32)
    before = network.state_dict()
    parameters = [id(p) for p in network.parameters()]
    network.decoder.norms[1].eval()
    assert sync_batch_norm(network, "cpu") is network
    sync_batch_norm(network, "cpu")
    assert network.state_dict().keys() == before.keys()
    assert all(network.state_dict()[key].data_ptr() == value.data_ptr() for key, value in before.items())
    assert [id(p) for p in network.parameters()] == parameters
    assert sum(isinstance(m, GlobalBatchNorm) for m in network.modules()) == 7
    assert not any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in network.modules())
    assert [norm.training for norm in network.decoder.norms] == [True, False, True, True, True]


def test_cuda_takes_the_one_of_torch():
    model = sync_batch_norm(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "cuda")
    assert isinstance(model[1], nn.SyncBatchNorm)


@pytest.mark.parametrize("training", [True, False])
def test_one_process_is_plain_batch_norm(training):
    x = data("2d")
    plain, ours = make("2d").train(training), sync_batch_norm(make("2d").train(training), "cpu")
    torch.testing.assert_close(ours(x), plain(x), atol=0, rtol=0)
