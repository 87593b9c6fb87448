"""The precision of calibrated pairs against a loop over anchors and candidates."""

import pytest
import torch

from pcfrl_lightning.evaluate.calibrated_pairs import Tally, identities_agree, poses_agree, tally
from pcfrl_lightning.heads import AdaptiveThreshold, CalibratedContrast, Eq7, NoCalibration, NPAThreshold, TopK

ALPHA = 10.0


def slow_alignment(unit: torch.Tensor, i: int, k: int) -> float:
    """Eq. 3-5 with the neighbourhood as a mean, one neighbour at a time."""
    others = [j for j in range(len(unit)) if j not in (i, k)]
    neighborhood = sum(float(unit[i] @ unit[j]) * float(unit[j] @ unit[k]) for j in others) / len(others)
    return float(unit[i] @ unit[k]) + ALPHA * neighborhood


def slow_counts(unit: torch.Tensor, threshold: float, agree) -> Tally:
    """Algorithm 1 and the shares, pair by pair."""
    views, images = len(unit), len(unit) // 2
    pairs = right = right_best = candidates = right_candidates = 0
    for i in range(views):
        scores = {k: slow_alignment(unit, i, k) for k in range(views) if k % images != i % images}
        best = max(scores, key=scores.get)
        right_best += agree(i % images, best % images)
        if scores[best] >= threshold:
            pairs += 1
            right += agree(i % images, best % images)
    for i in range(images):
        for k in range(images):
            if i != k:
                candidates += 1
                right_candidates += agree(i, k)
    return Tally(pairs, right, views, right_best, candidates, right_candidates)


@pytest.mark.parametrize("images", [2, 5, 13])
@pytest.mark.parametrize("threshold", [-5.0, 0.6, 1.0, 50.0])
def test_counts_equal_those_of_the_loop(images, threshold):
    generator = torch.Generator().manual_seed(images)
    first = torch.randn(images, 6, generator=generator, dtype=torch.float64)
    second = first + 0.5 * torch.randn(images, 6, generator=generator, dtype=torch.float64)
    pose = 15 * torch.randn(images, 3, generator=generator)
    identity = torch.randint(0, 3, (images,), generator=generator)
    output = CalibratedContrast(NPAThreshold(threshold, ALPHA), Eq7())(first, second)
    unit = torch.nn.functional.normalize(torch.cat([first, second]))

    same_pose = slow_counts(
        unit, threshold, lambda i, k: all(abs(float(a - b)) <= 10 for a, b in zip(pose[i], pose[k], strict=True))
    )
    same_person = slow_counts(unit, threshold, lambda i, k: bool(identity[i] == identity[k]))
    assert tally(output.calibration, output.anchors, poses_agree(pose)) == same_pose
    assert tally(output.calibration, output.anchors, identities_agree(identity)) == same_person


def test_shares():
    counted = Tally(pairs=8, right=6, proposals=20, right_proposals=5, candidates=90, right_candidates=9)
    assert (counted.precision, counted.proposal_precision, counted.base_rate) == (0.75, 0.25, 0.1)
    assert counted.plus(counted).right == 12
    assert counted.plus(counted).precision == 0.75


def test_nothing_calibrated_has_no_precision():
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    output = CalibratedContrast(NoCalibration(), Eq7())(features, features)
    counted = tally(output.calibration, output.anchors, identities_agree(torch.arange(6)))
    assert counted.precision is None
    assert counted.proposal_precision is None
    assert counted.base_rate == 0.0


@pytest.mark.parametrize("calibrator", [TopK(k=2), AdaptiveThreshold("quantile", 0.5)])
def test_pairs_of_one_person_are_all_right(calibrator):
    """Two people far apart: whatever is calibrated shows the same person, though half of all pairs do not."""
    generator = torch.Generator().manual_seed(0)
    identity = torch.arange(12) % 2
    features = torch.eye(2)[identity] + 0.01 * torch.randn(12, 2, generator=generator)
    output = CalibratedContrast(calibrator, Eq7())(features, features + 0.01)
    counted = tally(output.calibration, output.anchors, identities_agree(identity))
    assert counted.pairs >= 12
    assert counted.precision == 1.0
    assert counted.base_rate == pytest.approx(5 / 11)


def test_pose_limit_is_inclusive_and_per_axis():
    pose = torch.tensor([[0.0, 0.0, 0.0], [10.0, -10.0, 10.0], [10.5, 0.0, 0.0]])
    assert poses_agree(pose)[0].tolist() == [True, True, False]
