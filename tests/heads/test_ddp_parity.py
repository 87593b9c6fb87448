"""Two ranks of N/2 images equal one process of N images: losses, statistics and parameter gradients."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from ddp import run_on_ranks
from pcfrl_lightning.distributed import all_gather, all_reduce_sum, rank, world_size
from pcfrl_lightning.heads import (
    AdaptiveThreshold,
    AlignmentOnly,
    Attention,
    CalibratedContrast,
    CosineOnly,
    CosineThreshold,
    Eq7,
    ExponentWeight,
    JoinedNegatives,
    LossWeight,
    NoCalibration,
    NPAThreshold,
    TopK,
)

TERMS = [Eq7(0.2), LossWeight(0.2), ExponentWeight(0.2), CosineOnly(), AlignmentOnly(), Attention()]
HEADS = {
    **{f"npa-{type(term).__name__}": CalibratedContrast(NPAThreshold(3.0), term) for term in TERMS},
    "npa-all": CalibratedContrast(NPAThreshold(3.0), Eq7(), denominator="all"),
    "npa-none-accepted": CalibratedContrast(NPAThreshold(99.0), Eq7()),
    "npa-over-anchors": CalibratedContrast(NPAThreshold(3.0), Eq7(), calibrated_mean="anchors"),
    "npa-sum": CalibratedContrast(NPAThreshold(0.4, alpha=0.5, neighborhood="sum"), Eq7()),
    "cosine": CalibratedContrast(CosineThreshold(0.4), Eq7()),
    "top-2": CalibratedContrast(TopK(2), Eq7()),
    "bank": CalibratedContrast(NPAThreshold(3.0), Eq7()),
    "joined": CalibratedContrast(NPAThreshold(3.0), Eq7(), negatives=JoinedNegatives()),
    "none": CalibratedContrast(NoCalibration(), Eq7()),
    "adaptive-mean": CalibratedContrast(AdaptiveThreshold("mean"), Eq7()),
    "adaptive-quantile": CalibratedContrast(AdaptiveThreshold("quantile", 0.7), Eq7()),
}


BANK = torch.randn(5, 6, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


# one mirrored view an image: a blend of it with itself is the same for all weights, which ranks draw for themselves
MIRRORED = torch.randn(16, 1, 6, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def views(images):
    generator = torch.Generator().manual_seed(5)
    first = torch.randn(images, 6, generator=generator, dtype=torch.float64)
    return first, first + 0.5 * torch.randn(images, 6, generator=generator, dtype=torch.float64)


def step(first, second, mirrored):
    """Losses, statistics and parameter gradients of every head, on one shared linear layer."""
    results = {}
    for name, head in HEADS.items():
        torch.manual_seed(0)
        layer = nn.Linear(6, 4).double()
        bank = layer(BANK) if name == "bank" else None
        negatives = layer(mirrored) if head.negatives.needs_mirrored else None
        output = head(layer(first), layer(second), negatives, bank)
        values = []
        for loss in (output.loss, output.calibrated_loss):
            grads = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
            values.append((loss.detach(), *grads))
        results[name] = (values, output.stats, output.calibration.accepted.sum())
    return results


def step_on_rank(rank, ranks, images):
    return step(*(x.chunk(ranks)[rank] for x in (*views(images), MIRRORED[:images])))


@pytest.mark.parametrize(("images", "processes"), [(6, 2), (16, 2), (16, 4)])
def test_ranks_equal_one_process(images, processes):
    single = step(*views(images), MIRRORED[:images])
    ranks = run_on_ranks(step_on_rank, images, ranks=processes)
    for name, (expected, stats, accepted) in single.items():
        for i, loss in enumerate(expected):
            for j, value in enumerate(loss):
                mean = sum(each[name][0][i][j] for each in ranks) / processes  # what DDP does with gradients
                torch.testing.assert_close(mean, value, rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
        assert sum(each[name][2] for each in ranks) == accepted == stats["calibrated"]
        for key, value in stats.items():
            for result in ranks:
                torch.testing.assert_close(result[name][1][key], value, rtol=0, atol=1e-10, msg=lambda m, k=key: k + m)
    assert 2 < single["npa-Eq7"][2] < 2 * images


def collectives(rank_, ranks):
    assert (rank(), world_size()) == (rank_, ranks)
    x = torch.full((2, 3), float(rank_ + 1), dtype=torch.float64, requires_grad=True)
    gathered, total = all_gather(x), all_reduce_sum(x)
    weight = torch.arange(12, dtype=torch.float64).view(4, 3) * (rank_ + 1)
    (by_gather,) = torch.autograd.grad((gathered * weight).sum(), x)
    (by_sum,) = torch.autograd.grad((total * (rank_ + 1)).sum(), x)
    dist.barrier()
    return gathered.detach(), total.detach(), by_gather, by_sum


def test_collectives():
    """Gradients add up over the losses of all ranks: weights 1 and 2 make 3 times the base weight."""
    results = run_on_ranks(collectives)
    base = torch.arange(12, dtype=torch.float64).view(4, 3)
    for index, (gathered, total, by_gather, by_sum) in enumerate(results):
        assert gathered[:, 0].tolist() == [1, 1, 2, 2]
        assert torch.equal(total, torch.full((2, 3), 3.0, dtype=torch.float64))
        assert torch.equal(by_gather, 3 * base[2 * index : 2 * index + 2])
        assert torch.equal(by_sum, torch.full((2, 3), 3.0, dtype=torch.float64))


def test_collectives_are_the_identity_in_a_single_process():
    x = torch.randn(2, 3, requires_grad=True)
    assert all_gather(x) is x
    assert all_reduce_sum(x) is x
    assert (rank(), world_size()) == (0, 1)
