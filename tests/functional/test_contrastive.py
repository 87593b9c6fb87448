import math

import numpy as np
import pytest
import torch

from functional import oracles
from pcfrl_lightning import functional as F


def setup(images, d, seed=0):
    x = torch.randn(2 * images, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    index = torch.arange(2 * images)
    candidates = (index % images).unsqueeze(0) != (index % images).unsqueeze(1)
    return x, (index + images) % (2 * images), candidates


def contrastive_loss(similarity, twin, negatives, temperature=0.07, denominator="negatives"):
    """Eq. 6 for each anchor, from its two parts."""
    positive = similarity.gather(1, twin.unsqueeze(1)).squeeze(1) / temperature
    return F.contrastive_term(positive, F.log_negatives(similarity, negatives, temperature), denominator)


@pytest.mark.parametrize("denominator", ["negatives", "all"])
@pytest.mark.parametrize(("images", "d"), [(2, 3), (3, 16), (5, 4), (8, 8)])
def test_eq_6_equals_the_loop(images, d, denominator):
    x, twin, candidates = setup(images, d)
    loss = contrastive_loss(F.cosine_matrix(x), twin, candidates, 0.07, denominator)
    expected, *_ = oracles.losses(x, 10.0, 1e9, 1.0, 0.07, "cosine", denominator)
    assert loss.shape == (2 * images,)
    assert loss.mean().item() == pytest.approx(expected, abs=1e-11)


def test_denominator_all_is_cross_entropy():
    x, twin, candidates = setup(6, 5)
    s = F.cosine_matrix(x)
    allowed = candidates.scatter(1, twin.unsqueeze(1), True)
    logits = (s / 0.07).masked_fill(~allowed, -torch.inf)
    expected = torch.nn.functional.cross_entropy(logits, twin, reduction="none")
    torch.testing.assert_close(contrastive_loss(s, twin, candidates, denominator="all"), expected)


@pytest.mark.parametrize("denominator", ["negatives", "all"])
def test_gradients(denominator):
    x, twin, candidates = setup(3, 4)
    candidates = candidates.clone()
    candidates[0] = False
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: F.log_negatives(s, candidates, 0.5)[1:], F.cosine_matrix(x))
    assert torch.autograd.gradcheck(
        lambda v: contrastive_loss(F.cosine_matrix(v), twin, candidates, 0.5, denominator), x
    )


@pytest.mark.parametrize("denominator", ["negatives", "all"])
def test_an_anchor_without_negatives_has_no_loss_and_no_gradient(denominator):
    s = torch.randn(4, 4, requires_grad=True)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    loss = contrastive_loss(s, torch.tensor([2, 3, 0, 1]), mask, 0.07, denominator)
    loss.sum().backward()
    assert torch.equal(loss.detach(), torch.zeros(4))
    assert torch.equal(s.grad, torch.zeros(4, 4))


def test_log_negatives_survives_extreme_logits():
    s = torch.tensor([[1e4, -1e4, 0.0]])
    result = F.log_negatives(s, torch.tensor([[True, True, False]]), 0.01)
    assert result.item() == pytest.approx(1e6)


def test_unknown_denominator_is_refused():
    with pytest.raises(ValueError, match="denominator must be"):
        F.contrastive_term(torch.zeros(1), torch.zeros(1), "some")


@pytest.mark.parametrize("k", [1, 3, 50])
def test_random_negatives_keep_k_of_the_negatives(k):
    _, _, candidates = setup(5, 3)
    kept = F.random_negatives(candidates, k, torch.Generator().manual_seed(0))
    assert kept.sum(dim=1).tolist() == [min(k, 8)] * 10
    assert not (kept & ~candidates).any()


def test_random_negatives_are_uniform():
    candidates = torch.tensor([[False, True, True, True, False]]).expand(6000, -1)
    kept = F.random_negatives(candidates, 1, torch.Generator().manual_seed(0))
    assert kept.sum(dim=0)[1:4].float() / 6000 == pytest.approx([1 / 3] * 3, abs=0.02)


def test_results_are_float32_and_finite_under_autocast():
    x, twin, candidates = setup(4, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive_loss(F.cosine_matrix(x.bfloat16()), twin, candidates)
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()


def test_infonce_equals_the_public_code(golden):
    values = np.load(golden / "pcl_losses.npz")
    x = torch.from_numpy(values["nce_features"])
    index = torch.arange(16)
    candidates = (index % 8).unsqueeze(0) != (index % 8).unsqueeze(1)
    loss = contrastive_loss(F.cosine_matrix(x), (index + 8) % 16, candidates, denominator="all")
    assert loss.mean().item() == pytest.approx(values["nce_loss"].item(), abs=2e-6)


def test_log_negatives_by_hand():
    s = torch.tensor([[0.0, 1.0, 0.5]], dtype=torch.float64)
    result = F.log_negatives(s, torch.tensor([[True, False, True]]), 0.5)
    assert result.item() == pytest.approx(math.log(1 + math.e))
