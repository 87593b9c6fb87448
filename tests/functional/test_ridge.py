import pytest
import torch

from pcfrl_lightning.functional.ridge import ridge, ridge_by_folds


def data(n, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = 3 + torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.arange(1, d + 1)
    targets = features @ torch.randn(d, 2, generator=generator, dtype=torch.float64) + 7
    return features, targets + torch.randn(n, 2, generator=generator, dtype=torch.float64)


def by_hand(train, targets, queries, strength):
    """Standardise, centre, and solve the penalised normal equations with an inverse."""
    mean, std = train.mean(0), train.std(0, correction=0)
    x, z = (train - mean) / std, (queries - mean) / std
    weights = torch.linalg.inv(x.T @ x / len(x) + strength * torch.eye(x.shape[1])) @ x.T @ (targets - targets.mean(0))
    return z @ weights / len(x) + targets.mean(0)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (6, 9)])
def test_ridge_is_the_solution_of_the_normal_equations(n, d):
    """In the form of D unknowns and in that of n; the deviation of `ridge` divides by n - 1."""
    (features, targets), strength = data(n + 3, d), 0.1
    expected = by_hand(features[:n], targets[:n], features[n:], strength * n / (n - 1))
    result = ridge(features[:n], targets[:n], features[n:], strength)
    scale = (n - 1) / n  # of the squared features, and so of the penalty beside them
    again = by_hand(features[:n], targets[:n], features[n:], strength / scale)
    torch.testing.assert_close(result, again)
    torch.testing.assert_close(expected, again)


def test_ridge_by_folds_equals_a_regression_on_the_other_folds():
    features, targets = data(60, 4)
    fold = torch.arange(60) % 4
    result = ridge_by_folds(features, targets, fold, [0.5])
    for k in range(4):
        used, tested = fold != k, fold == k
        expected = by_hand(features[used], targets[used], features[tested], 0.5)
        torch.testing.assert_close(result[tested], expected)


def test_the_penalty_is_chosen_on_the_following_fold():
    """Of a small and an absurd penalty each fold takes the small one; of one fold alone nothing is known to it."""
    features, targets = data(60, 4)
    fold = torch.arange(60) % 4
    torch.testing.assert_close(
        ridge_by_folds(features, targets, fold, [1e3, 1e-3]), ridge_by_folds(features, targets, fold, [1e-3])
    )
    changed = torch.where((fold == 2).unsqueeze(1), targets + 1000, targets)
    before = ridge_by_folds(features, targets, fold, [1e-3])[fold == 2]
    torch.testing.assert_close(ridge_by_folds(features, changed, fold, [1e-3])[fold == 2], before)


def test_a_constant_column_changes_nothing():
    features, targets = data(30, 3)
    fold = torch.arange(30) % 3
    wider = torch.cat([features, torch.full((30, 1), 5.0, dtype=torch.float64)], dim=1)
    expected = ridge_by_folds(features, targets, fold, [0.1])
    torch.testing.assert_close(ridge_by_folds(wider, targets, fold, [0.1]), expected)
