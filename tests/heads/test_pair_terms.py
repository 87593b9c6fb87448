import math

import pytest
import torch

from functional import oracles
from pcfrl_lightning import functional as F
from pcfrl_lightning.heads import (
    AlignmentOnly,
    Attention,
    CalibratedPairs,
    CosineOnly,
    Eq7,
    ExponentWeight,
    LossWeight,
    OnlyRemoved,
)
from pcfrl_lightning.heads.pair_terms import ALIGNMENT_FLOOR

TAU = 0.2
TERMS = {
    "eq7": Eq7,
    "loss": LossWeight,
    "exponent": ExponentWeight,
    "cosine": lambda beta: CosineOnly(),
    "npa": lambda beta: AlignmentOnly(),
    "attention": lambda beta: Attention(TAU),
}


def proposed(cosine, alignment, log_negative, denominator="negatives", temperature=TAU):
    """Pairs without a batch around them: each anchor attends to its partners only."""
    everything = torch.ones(cosine.shape, dtype=torch.bool)
    return CalibratedPairs(cosine, alignment, log_negative, cosine.detach(), everything, temperature, denominator)


def term(variant, x, beta=1.0, threshold=0.1, denominator="negatives"):
    """The mean calibrated term of a batch."""
    m = len(x)
    image = torch.arange(m) % (m // 2)
    candidates = image.unsqueeze(0) != image.unsqueeze(1)
    s, pa = F.cosine_matrix(x), F.pair_alignment(x)
    calibration = F.threshold_calibration(pa.detach(), candidates, threshold)
    total = F.log_negatives(s, F.remove_calibrated(candidates, calibration), TAU).unsqueeze(1)
    cosine, alignment = s.gather(1, calibration.partner), pa.gather(1, calibration.partner)
    pairs = CalibratedPairs(cosine, alignment, total, s.detach(), candidates, TAU, denominator)
    value = TERMS[variant](beta)(pairs)
    return torch.where(calibration.accepted, value, 0.0).sum() / calibration.accepted.sum().clamp(min=1)


def features(images=4, d=5, seed=0):
    return torch.randn(2 * images, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("denominator", ["negatives", "all"])
@pytest.mark.parametrize("variant", list(TERMS))
@pytest.mark.parametrize(("images", "d"), [(2, 3), (3, 16), (5, 4), (8, 8)])
def test_terms_equal_the_loop(images, d, variant, denominator):
    x = features(images, d, seed=images + 1)
    _, expected, pairs = oracles.losses(x, 10.0, 0.1, 0.2, TAU, variant, denominator)
    assert pairs
    assert term(variant, x, 0.2, 0.1, denominator).item() == pytest.approx(expected, abs=1e-10)


def feature_gradient(variant, beta):
    x = features().requires_grad_()
    return torch.autograd.grad(term(variant, x, beta), x)[0]


def test_beta_has_no_gradient_in_eq7():
    gradient = feature_gradient("eq7", 0.2)
    assert gradient.abs().max() > 0.1
    torch.testing.assert_close(gradient, feature_gradient("eq7", 1.0), rtol=0, atol=1e-14)


@pytest.mark.parametrize("variant", ["loss", "exponent"])
def test_beta_has_a_gradient_in_the_other_weightings(variant):
    difference = feature_gradient(variant, 0.2) - feature_gradient(variant, 1.0)
    assert difference.abs().max() > 0.1


def test_beta_scales_the_gradient_of_the_loss_weighting():
    torch.testing.assert_close(feature_gradient("loss", 0.2) * 5, feature_gradient("loss", 1.0))


@pytest.mark.parametrize("make", [LossWeight, ExponentWeight])
def test_the_weight_carries_no_gradient(make):
    alignment = torch.full((3, 1), 0.8, requires_grad=True)
    make(0.5)(proposed(torch.full((3, 1), 0.5, requires_grad=True), alignment, torch.ones(3, 1))).sum().backward()
    assert alignment.grad is None


def test_eq7_pulls_through_the_alignment():
    """Without the gradient of -log PA, eq7 would have the gradient of the cosine variant."""
    assert (feature_gradient("eq7", 1.0) - feature_gradient("cosine", 1.0)).abs().max() > 1e-2


@pytest.mark.parametrize("denominator", ["negatives", "all"])
@pytest.mark.parametrize("variant", ["eq7", "npa", "loss", "exponent", "cosine"])
def test_gradients(variant, denominator):
    generator = torch.Generator().manual_seed(0)
    cosine, alignment = torch.randn(2, 3, 2, generator=generator, dtype=torch.float64)
    total = torch.randn(3, 1, generator=generator, dtype=torch.float64).requires_grad_()
    cosine, alignment = cosine.requires_grad_(), alignment.abs() + 0.1
    if variant in ("eq7", "npa"):  # the others take the alignment as a constant
        alignment.requires_grad_()
    make = TERMS[variant]
    assert torch.autograd.gradcheck(lambda *x: make(0.2)(proposed(*x, denominator)), (cosine, alignment, total))


def test_attention_has_the_gradient_of_a_constant_weight():
    cosine = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    pairs = proposed(cosine, cosine, torch.randn(3, 1, dtype=torch.float64))
    weight = torch.softmax(cosine.detach() / 0.3, dim=1)
    expected = torch.autograd.grad((weight * CosineOnly()(pairs)).sum(), cosine)
    torch.testing.assert_close(torch.autograd.grad(Attention(0.3)(pairs).sum(), cosine), expected)


def test_negative_alignment_is_clamped():
    value = Eq7()(proposed(torch.zeros(1, 1), torch.tensor([[-3.0]]), torch.zeros(1, 1)))
    assert value.item() == pytest.approx(-torch.log(torch.tensor(ALIGNMENT_FLOOR)).item())


def test_beta_has_no_gradient_in_eq7_at_the_clamp_either():
    found = []
    for beta in (0.2, 1.0):
        alignment = torch.tensor([[2 * ALIGNMENT_FLOOR, -1.0]], dtype=torch.float64, requires_grad=True)
        value = Eq7(beta)(proposed(torch.zeros(1, 2), alignment, torch.zeros(1, 1)))
        found.append((value + math.log(beta), *torch.autograd.grad(value.sum(), alignment)))
    torch.testing.assert_close(found[0], found[1])
    assert found[0][1][0, 0] != 0


@pytest.mark.parametrize("denominator", ["negatives", "all"])
@pytest.mark.parametrize("make", [Eq7, LossWeight, ExponentWeight])
def test_terms_without_negatives_are_zero_with_zero_gradient(make, denominator):
    inputs = [torch.full((1, 1), 0.5, requires_grad=True) for _ in range(2)]
    value = make()(proposed(*inputs, torch.full((1, 1), -torch.inf), denominator, temperature=0.07))
    grads = torch.autograd.grad(value, inputs, allow_unused=True)
    assert value.item() == 0
    assert all(grad is None or grad.item() == 0 for grad in grads)


def test_attention_weights_are_a_softmax_over_the_candidates():
    s = torch.randn(2, 6, dtype=torch.float64)
    candidates = torch.tensor([[False, True, True, True, False, True]]).expand(2, -1)
    chosen = s[:, [1, 2, 3, 5]]
    weights = Attention(0.3).weight(CalibratedPairs(chosen, chosen, s[:, :1], s, candidates, TAU, "negatives"))
    torch.testing.assert_close(weights, torch.softmax(chosen / 0.3, dim=1))


def test_a_pair_that_is_only_removed_costs_nothing_and_pulls_nothing():
    cosine = torch.tensor([[0.3], [-0.2]], requires_grad=True)
    value = OnlyRemoved()(proposed(cosine, cosine, torch.zeros(2, 1)))
    assert value.tolist() == [[0.0], [0.0]]
    assert not value.requires_grad
