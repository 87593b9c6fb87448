import math

import numpy as np
import pytest
import torch

from pcfrl_lightning import functional as F


def test_weights_equal_the_public_code(golden):
    values = np.load(golden / "pcl_losses.npz")
    losses = torch.from_numpy(values["dwa_epoch_losses"])
    for epoch in range(2, 8):
        weights = F.dwa_weights(losses[epoch - 1], losses[epoch - 2])
        assert weights.tolist() == pytest.approx(values["dwa_weights"][epoch].tolist(), abs=1e-6)


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_weights_equal_the_formula(tasks):
    generator = torch.Generator().manual_seed(tasks)
    previous, before = (torch.rand(tasks, generator=generator, dtype=torch.float64) + 0.5 for _ in range(2))
    powers = [math.exp(float(p / b) / 2) for p, b in zip(previous, before, strict=True)]
    assert F.dwa_weights(previous, before).tolist() == pytest.approx([tasks * x / sum(powers) for x in powers])


def test_ordinary_ratios_are_not_altered():
    ratios, bounded = F.dwa_ratios(torch.tensor([4.0, 0.5]), torch.tensor([1.0, 5.0]))
    assert ratios.tolist() == pytest.approx([4.0, 0.1])
    assert not bounded.any()


@pytest.mark.parametrize(
    ("previous", "before", "ratio"),
    [
        (1.0, 1e-3, 5.0),  # jumped up from almost nothing
        (1.0, 0.0, 1.0),
        (0.0, 1.0, 1.0),
        (-0.5, 0.5, 1.0),  # changed sign
        (0.5, -0.5, 1.0),
        (-2.0, -1.0, 1.0),
        (math.nan, 1.0, 1.0),
        (1.0, math.inf, 1.0),
    ],
)
def test_odd_losses_are_bounded_and_reported(previous, before, ratio):
    ratios, bounded = F.dwa_ratios(torch.tensor([previous, 1.0]), torch.tensor([before, 1.0]))
    assert ratios.tolist() == [ratio, 1.0]
    assert bounded.tolist() == [True, False]
    weights = F.dwa_weights(torch.tensor([previous, 1.0]), torch.tensor([before, 1.0]))
    assert weights.isfinite().all()
    assert weights.sum().item() == pytest.approx(2)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="temperature must be > 0"):
        F.dwa_weights(torch.ones(2), torch.ones(2), temperature=0.0)
    with pytest.raises(ValueError, match="epoch means"):
        F.dwa_weights(torch.ones(2), torch.ones(3))
