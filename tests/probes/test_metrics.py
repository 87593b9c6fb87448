"""Metrics against slow, obvious computations and scikit-learn."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.probes.metrics import (
    NamedMetric,
    area_under_roc,
    banded_mae,
    best_threshold,
    equal_error_rate,
    error_rates,
    fold_accuracies,
    normalized_mean_error,
    tar_at_far,
)
from pcfrl_lightning.probes.results import average_folds
from pcfrl_lightning.probes.tasks.numbers import HeadPose


def pairs(n, seed, ties=False):
    generator = torch.Generator().manual_seed(seed)
    same = torch.rand(n, generator=generator) > 0.5
    same[:2] = torch.tensor([True, False])
    scores = torch.randn(n, generator=generator) + same.float()
    return (scores.mul(2).round() / 2 if ties else scores), same


def candidates(scores):
    """Every threshold that can make a difference."""
    ordered = sorted(set(scores.double().tolist()))
    return [-math.inf, *((a + b) / 2 for a, b in itertools.pairwise(ordered)), math.inf]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [2, 3, 10, 57])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_best_threshold_against_all_thresholds(n, seed, ties):
    scores, same = pairs(n, seed, ties)
    accuracy = [float(((scores.double() >= t) == same).double().mean()) for t in candidates(scores)]
    found = best_threshold(scores, same)
    assert float(((scores.double() >= found) == same).double().mean()) == max(accuracy)
    assert found == candidates(scores)[int(np.argmax(accuracy))]


def test_fold_accuracies_never_look_at_their_own_fold():
    scores, same = pairs(90, 0)
    fold = torch.arange(90) % 3 + 4
    accuracies, thresholds = fold_accuracies(scores, same, fold)
    for k in range(3):
        own = fold == k + 4
        threshold = best_threshold(scores[~own], same[~own])
        right = [(s >= threshold) == bool(t) for s, t in zip(scores[own].tolist(), same[own], strict=True)]
        assert float(accuracies[k]) == pytest.approx(sum(right) / len(right))
        assert float(thresholds[k]) == threshold
    poisoned = same.clone()
    poisoned[fold == 5] ^= True
    assert float(fold_accuracies(scores, poisoned, fold)[1][1]) == float(thresholds[1])


def test_fold_accuracies_take_each_fold_s_own_scores():
    scores, same = pairs(60, 3)
    fold = torch.arange(60) % 2
    stacked = torch.stack([scores, -scores])
    accuracies, _ = fold_accuracies(stacked, same, fold)
    assert float(accuracies[0]) == float(fold_accuracies(scores, same, fold)[0][0])
    assert float(accuracies[1]) == float(fold_accuracies(-scores, same, fold)[0][1])


@pytest.mark.parametrize("ties", [False, True])
def test_rates_against_scikit_learn(ties):
    scores, same = pairs(200, 5, ties)
    far, tar = error_rates(scores, same)
    expected_far, expected_tar, _ = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(far, expected_far)
    np.testing.assert_allclose(tar, expected_tar)
    assert area_under_roc(scores, same) == pytest.approx(roc_auc_score(same, scores))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_error_rate_against_root_finding(seed):
    from scipy.interpolate import interp1d
    from scipy.optimize import brentq

    scores, same = pairs(150, seed)
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    steps = np.arange(len(far), dtype=float)
    far_at, tar_at = interp1d(steps, far), interp1d(steps, tar)
    crossing = brentq(lambda t: float(far_at(t) - (1 - tar_at(t))), 0, len(far) - 1)
    assert equal_error_rate(scores, same) == pytest.approx(float(far_at(crossing)), abs=1e-9)


def test_perfect_and_reversed_scores():
    same = torch.tensor([True, True, False, False])
    good = torch.tensor([0.9, 0.8, 0.2, 0.1])
    assert equal_error_rate(good, same) == 0.0
    assert equal_error_rate(-good, same) == 1.0
    assert tar_at_far(good, same) == 1.0
    assert tar_at_far(-good, same) == 0.0


@pytest.mark.parametrize("far", [1e-3, 0.01, 0.1])
def test_tar_at_far_against_all_thresholds(far):
    scores, same = pairs(400, 7, ties=True)
    best = 0.0
    for threshold in candidates(scores):
        accepted = scores.double() >= threshold
        if float(accepted[~same].double().mean()) <= far:
            best = max(best, float(accepted[same].double().mean()))
    assert tar_at_far(scores, same, far) == pytest.approx(best)


def test_banded_mae_by_hand():
    predicted = torch.tensor([[1.0, 2.0], [3.0, 3.0], [0.0, 10.0]])
    bands = banded_mae(predicted, torch.zeros(3, 2), torch.tensor([-5.0, 40.0, 30.0]), (0, 30, 60, 90))
    assert bands[0] == pytest.approx(1.5)
    assert bands[1] == pytest.approx((3.0 + 5.0) / 2)
    assert math.isnan(bands[2])


def test_the_last_band_has_both_of_its_edges():
    pose = torch.tensor([[-90.0, 0.0, 0.0], [90.0, 0.0, 0.0], [-91.0, 0.0, 0.0], [91.0, 0.0, 0.0], [180.0, 0.0, 0.0]])
    found = HeadPose().metrics(pose + torch.tensor([[3.0], [6.0], [9.0], [12.0], [15.0]]), {"values": pose})
    assert (found["mae_by_yaw"][0], found["mae_by_yaw"][-1]) == (3.0, 6.0)
    assert found["mae_mean_yaw_60_180"] == 9.0


def test_normalized_mean_error_against_a_loop():
    torch.manual_seed(0)
    predicted, target = torch.rand(4, 5, 2), torch.rand(4, 5, 2)
    found = normalized_mean_error(predicted, target, (0, 3))
    for i in range(4):
        distances = [math.dist(predicted[i, j], target[i, j]) for j in range(5)]
        expected = sum(distances) / 5 / math.dist(target[i, 0], target[i, 3])
        assert float(found[i]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "preds", "target", "expected"),
    [
        ("multiclass_cohen_kappa", torch.eye(3), torch.arange(3), 1.0),
        ("MulticlassAUROC", torch.eye(3), torch.arange(3), 1.0),
        ("cohen_kappa", torch.eye(3), torch.arange(3), 1.0),
        ("multilabel_f1_score", torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[1, 0], [0, 1]]), 5 / 6),
        ("binary_average_precision", torch.tensor([0.9, 0.1]), torch.tensor([1, 0]), 1.0),
        ("MeanAbsoluteError", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]), 1.0),
        ("r2_score", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]), 1.0),
        ("mean_squared_error", torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.zeros(2, 2), [1.0, 4.0]),
    ],
)
def test_metrics_of_torchmetrics_by_name(name, preds, target, expected):
    assert NamedMetric(name)(preds, target) == pytest.approx(expected)


def test_which_way_a_named_metric_is_better():
    assert NamedMetric("multiclass_cohen_kappa").higher_is_better
    assert NamedMetric("mean_absolute_error").higher_is_better is False


def test_near_names_are_offered():
    with pytest.raises(ValueError, match=r"model.metric multiclas_f1.*did you mean .*MulticlassF1Score"):
        NamedMetric("multiclas_f1")


def test_a_metric_that_needs_more_than_the_task_knows_is_refused():
    with pytest.raises(ValueError, match=r"model.metric binary_fbeta_score: it needs beta, which no option gives"):
        NamedMetric("binary_fbeta_score")


@pytest.mark.parametrize("name", ["roc", "MulticlassROC", "multilabel_precision_recall_curve"])
def test_a_curve_is_no_figure(name):
    with pytest.raises(ValueError, match=rf"model.metric {name}: it gives a curve"):
        NamedMetric(name)


@pytest.mark.parametrize("name", ["mean_squared_error", "multilabel_accuracy"])
def test_a_metric_of_other_predictions_is_named(name):
    with pytest.raises(UsageError, match=rf"model.metric {name} does not suit multiclass predictions: .+"):
        NamedMetric(name)(torch.eye(3), torch.arange(3))


def test_metrics_of_folds_are_averaged_with_the_standard_deviation_of_these_folds():
    folds = [{"f1": 0.2, "label_f1": [0.1, 0.3]}, {"f1": 0.4, "label_f1": [0.5, 0.3]}]
    found = average_folds(folds)
    assert found["f1"] == pytest.approx(0.3)
    assert found["f1_std"] == pytest.approx(0.1)
    assert found["f1_folds"] == [0.2, 0.4]
    assert found["label_f1"] == pytest.approx([0.3, 0.3])


def test_rates_that_are_just_reached_count():
    """A false accept rate of exactly `far`, and a score that is exactly the threshold of its fold."""
    scores, same = torch.tensor([0.9, 0.8, 0.7, 0.1]), torch.tensor([True, False, True, False])
    assert [tar_at_far(scores, same, far) for far in (0.4, 0.5)] == [0.5, 1.0]
    halves = torch.tensor([1.0, 0.0, 0.5, 0.25])
    accuracies, thresholds = fold_accuracies(halves, torch.tensor([True, False] * 2), torch.tensor([0, 0, 1, 1]))
    assert thresholds.tolist() == [0.375, 0.5]
    assert accuracies.tolist() == [1.0, 1.0]


def test_scores_of_any_size_differ():
    """Outside [0, 1] torchmetrics would take a sigmoid, in which these are equal."""
    assert area_under_roc(torch.tensor([100.0, 101.0]), torch.tensor([False, True])) == 1.0
