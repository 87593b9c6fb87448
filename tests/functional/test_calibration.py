import pytest
import torch

from functional import oracles
from pcfrl_lightning import functional as F


def setup(images, d=6, seed=0):
    x = torch.randn(2 * images, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    column = torch.arange(2 * images) % images
    return F.pair_alignment(x), column.unsqueeze(0) != column.unsqueeze(1)


@pytest.mark.parametrize("threshold", [-5.0, 0.0, 0.2, 0.6, 1.0, 20.0])
@pytest.mark.parametrize("images", range(2, 9))
def test_threshold_is_algorithm_1(images, threshold):
    score, candidates = setup(images, seed=images)
    result = F.threshold_calibration(score, candidates, threshold)
    found = {i: result.partner[i, 0].item() for i in range(2 * images) if result.accepted[i, 0]}
    assert found == oracles.calibrate(score, images, threshold)
    assert result.threshold == threshold
    torch.testing.assert_close(result.mean, score[candidates].mean())
    assert result.maximum == score[candidates].max()


def test_a_score_equal_to_the_threshold_is_accepted():
    score = torch.tensor([[0.0, 0.5, 0.25]])
    assert F.threshold_calibration(score, torch.tensor([[False, True, True]]), 0.5).accepted.all()


def test_a_tensor_threshold_works():
    score, candidates = setup(4)
    by_number = F.threshold_calibration(score, candidates, 0.3)
    by_tensor = F.threshold_calibration(score, candidates, torch.tensor(0.3, dtype=torch.float64))
    assert torch.equal(by_number.accepted, by_tensor.accepted)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_takes_the_best_candidates(k):
    score, candidates = setup(5)
    result = F.top_k_calibration(score, candidates, k)
    assert result.accepted.all()
    for i, others in enumerate(oracles.candidates(5)):
        best = sorted(others, key=lambda c: -score[i, c].item())[:k]
        assert result.partner[i].tolist() == best


def test_top_k_accepts_only_candidates_when_there_are_fewer_than_k():
    score, candidates = setup(2)
    result = F.top_k_calibration(score, candidates, k=9)
    assert result.accepted.sum(dim=1).tolist() == [2, 2, 2, 2]
    assert candidates.gather(1, result.partner)[result.accepted].all()


@pytest.mark.parametrize(
    "select", [lambda s, c: F.threshold_calibration(s, c, -99.0), lambda s, c: F.top_k_calibration(s, c, 2)]
)
def test_rows_without_candidates_accept_nothing(select):
    result = select(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool))
    assert not result.accepted.any()
    assert result.mean == 0


def test_no_calibration_proposes_nothing():
    score, candidates = setup(3)
    result = F.no_calibration(score, candidates)
    assert result.partner.shape == result.accepted.shape == (6, 0)
    assert result.partner.dtype == torch.long
    assert torch.equal(F.remove_calibrated(candidates, result), candidates)


def test_remove_calibrated_removes_exactly_the_accepted_pairs():
    score, candidates = setup(4)
    result = F.threshold_calibration(score, candidates, 0.3)
    expected = candidates.clone()
    for i in range(8):
        if result.accepted[i, 0]:
            expected[i, result.partner[i, 0]] = False
    assert torch.equal(F.remove_calibrated(candidates, result), expected)
    assert 0 < result.accepted.sum() < 8


def test_adaptive_threshold_statistics():
    maxima = torch.tensor([0.0, 1.0, 2.0, 5.0])
    assert F.adaptive_threshold(maxima, "mean") == 2.0
    assert F.adaptive_threshold(maxima, "quantile", 0.5) == 1.5
    with_empty = torch.cat([maxima, torch.tensor([-torch.inf])])
    assert F.adaptive_threshold(with_empty, "mean") == 2.0
    assert F.adaptive_threshold(with_empty, "quantile", 0.5) == 1.5
    assert F.adaptive_threshold(torch.tensor([-torch.inf]), "mean") == torch.inf
    with pytest.raises(ValueError, match="statistic must be"):
        F.adaptive_threshold(maxima, "median")
