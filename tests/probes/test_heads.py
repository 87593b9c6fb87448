"""The stacked head equals plain PyTorch layers, one per learning rate and fold."""

import pytest
import torch
from torch import nn

from pcfrl_lightning.probes.heads import FeatureHeads, StackedHead, masked_moments


def plain(head, candidate, fold, dim, outputs, norm):
    """The same head as torch modules."""
    linear = nn.Linear(dim, outputs)
    linear.weight.data = head.weights[candidate][fold].detach().clone()
    linear.bias.data = head.biases[candidate][fold].detach().clone()
    return nn.Sequential(nn.BatchNorm1d(dim), linear) if norm == "batchnorm" else nn.Sequential(nn.Identity(), linear)


@pytest.mark.parametrize("norm", ["none", "batchnorm"])
@pytest.mark.parametrize(("candidates", "folds"), [(1, 1), (3, 1), (2, 3)])
def test_training_equals_separate_modules(norm, candidates, folds):
    torch.manual_seed(0)
    dim, outputs, rates = 6, 4, [1e-4, 1e-5, 1e-6][:candidates]
    head = StackedHead(dim, outputs, candidates, folds, norm).double()
    optimizer = torch.optim.SGD([{"params": head.candidate(i), "lr": rate} for i, rate in enumerate(rates)])
    models = {(r, k): plain(head, r, k, dim, outputs, norm).double() for r in range(candidates) for k in range(folds)}
    optimizers = {key: torch.optim.SGD(model.parameters(), lr=rates[key[0]]) for key, model in models.items()}
    for _ in range(5):
        x = torch.randn(20, dim).double() * 3 + 5
        y = torch.randn(20, outputs).double()
        members = torch.rand(folds, 20) > 0.4
        losses = (head.train()(x, members) - y).square().sum(-1)
        optimizer.zero_grad()
        (losses * members).sum().backward()
        optimizer.step()
        for key, model in models.items():
            mine = members[key[1]]
            loss = (model.train()(x[mine]) - y[mine]).square().sum()
            optimizers[key].zero_grad()
            loss.backward()
            optimizers[key].step()
    x = torch.randn(8, dim).double()
    found = head.eval()(x)
    assert found.shape == (candidates, folds, 8, outputs)
    for (r, k), model in models.items():
        torch.testing.assert_close(found[r, k], model.eval()(x), atol=1e-9, rtol=1e-7)


def test_standardize_is_fixed_and_ignores_constant_features():
    head = StackedHead(3, 2, input_norm="standardize")
    mean, variance = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0, 9.0, 0.0]])
    head.set_statistics(mean, variance)
    x = torch.tensor([[3.0, -1.0, 3.0], [0.0, 0.0, 3.0]])
    scaled = (x - mean) / torch.tensor([2.0, 3.0, 1.0])
    expected = scaled @ head.weights[0][0].T
    for _ in range(2):
        torch.testing.assert_close(head.train()(x)[0, 0], expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(head.mean, mean)


def test_all_candidates_start_alike_with_small_weights():
    head = StackedHead(500, 7, candidates=2, folds=2, seed=3)
    assert torch.equal(head.weights[0], head.weights[1])
    assert torch.equal(head.weights[0][0], head.weights[0][1])
    assert 0.009 < float(head.weights[0].detach().std()) < 0.011
    assert not head.biases[0].any()
    assert torch.equal(head.weights[0], StackedHead(500, 7, candidates=2, folds=2, seed=3).weights[0])
    assert not torch.equal(head.weights[0], StackedHead(500, 7, candidates=2, folds=2, seed=4).weights[0])


def test_masked_moments_against_a_loop():
    torch.manual_seed(1)
    x = torch.randn(30, 5, dtype=torch.float64) + 1e4
    members = torch.rand(4, 30) > 0.5
    members[3] = False
    count, mean, variance = masked_moments(x, members)
    for k in range(3):
        mine = x[members[k]]
        assert int(count[k]) == len(mine)
        torch.testing.assert_close(mean[k], mine.mean(0))
        torch.testing.assert_close(variance[k], mine.var(0, correction=0))
    assert int(count[3]) == 0
    assert torch.isfinite(mean).all()


def test_copy_head_takes_one_fold():
    source, target = StackedHead(3, 2, 2, 2, "batchnorm", seed=1), StackedHead(3, 2, 1, 2, "batchnorm", seed=2)
    source.train()(torch.randn(8, 3))
    before = target.weights[0][0].clone()
    target.copy_head(source, candidate=1, fold=1)
    assert torch.equal(target.weights[0][1], source.weights[1][1])
    assert torch.equal(target.mean[1], source.mean[1])
    assert torch.equal(target.weights[0][0], before)


def test_the_best_epoch_is_the_first_of_equal_ones():
    heads = FeatureHeads(dim=3, outputs=2, rates=2, heads=2, folds=2, input_norm="none", seed=0)
    for epoch, scores in enumerate(([[0.5, 0.1], [0.2, 0.4]], [[0.5, 0.3], [0.1, 0.4]], [[0.1, 0.5], [0.1, 0.4]]), 1):
        torch.nn.init.constant_(heads.head.weights[0], epoch)
        heads.judge(torch.tensor(scores), epoch)
    assert heads.best_epochs.tolist() == [1, 3]
    assert heads.best_candidates.tolist() == [0, 0]
    assert heads.best.weights[0][0].unique().tolist() == [1]
    assert heads.best.weights[0][1].unique().tolist() == [3]
