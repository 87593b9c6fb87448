import numpy as np
import pytest
import torch

from pcfrl_lightning.methods.task_weights import DWA, FixedWeights


def run_epochs(weights, losses):
    """Feed epoch means; returns the weights in force during each epoch."""
    in_force = []
    for epoch in losses:
        in_force.append(weights.weights.clone())
        for offset in (-0.5, 0.5):  # two steps whose mean is the epoch's value
            weights.observe(torch.tensor(epoch) + offset)
        weights.end_epoch()
    return torch.stack(in_force)


def test_weights_equal_the_public_code(golden):
    values = np.load(golden / "pcl_losses.npz")
    in_force = run_epochs(DWA(temperature=2.0), values["dwa_epoch_losses"].tolist())
    torch.testing.assert_close(in_force, torch.from_numpy(values["dwa_weights"]).float(), atol=1e-6, rtol=0)


def test_first_two_epochs_have_weight_one_and_the_third_follows_the_ratios():
    in_force = run_epochs(DWA(), [[4.0, 4.0], [2.0, 4.0], [1.0, 1.0]])
    assert in_force[:2].eq(1).all()
    face, pose = torch.exp(torch.tensor([0.5, 1.0]) / 2)
    torch.testing.assert_close(in_force[2], 2 * torch.stack([face, pose]) / (face + pose))


def test_the_bound_is_reported_when_a_loss_changes_sign():
    weights, seen = DWA(), []
    for means in ([1.0, 1.0], [-1.0, 0.9]):
        weights.observe(torch.tensor(means))
        bounded = weights.end_epoch()
        seen.append(bounded.tolist())
    assert seen == [[False, False], [True, False]]  # the first epoch has no ratio to be bounded
    assert weights.weights.isfinite().all()
    assert weights.weights.sum() == pytest.approx(2)


def test_history_survives_a_state_dict():
    first, losses = DWA(), [[5.0, 4.0], [4.0, 3.9], [3.0, 3.8], [2.9, 3.0]]
    run_epochs(first, losses[:3])
    second = DWA()
    second.load_state_dict(first.state_dict())
    for weights in (first, second):
        run_epochs(weights, losses[3:])
    assert torch.equal(first.weights, second.weights)


def test_fixed_weights_never_move():
    in_force = run_epochs(FixedWeights(face=0.5, pose=2.0), [[5.0, 4.0], [4.0, 3.9], [3.0, 3.8]])
    assert torch.equal(in_force, torch.tensor([[0.5, 2.0]]).expand(3, 2))


@pytest.mark.parametrize(
    ("cls", "kwargs", "key"), [(DWA, {"temperature": 0}, "temperature"), (FixedWeights, {"face": -1}, "face")]
)
def test_bad_values_are_named(cls, kwargs, key):
    with pytest.raises(ValueError, match=key):
        cls(**kwargs)
