import pytest
import torch

from functional import oracles
from pcfrl_lightning import functional as F

TAU = 0.2
VARIANTS = ["eq7", "loss", "exponent", "cosine", "npa", "attention"]


def term(variant, x, beta=1.0, threshold=0.1, denominator="negatives"):
    """The calibrated terms of all anchors by the functional pieces, and which of them count."""
    m = len(x)
    image = torch.arange(m) % (m // 2)
    candidates = image.unsqueeze(0) != image.unsqueeze(1)
    s, pa = F.cosine_matrix(x), F.pair_alignment(x)
    calibration = F.threshold_calibration(pa.detach(), candidates, threshold)
    total = F.log_negatives(s, F.remove_calibrated(candidates, calibration), TAU).unsqueeze(1)
    cosine, alignment = s.gather(1, calibration.partner), pa.gather(1, calibration.partner)
    everything = F.log_negatives(s, candidates, TAU).unsqueeze(1)
    value = {
        "eq7": lambda: F.eq7_term(cosine, alignment, total, beta, TAU, denominator),
        "loss": lambda: F.loss_weight_term(cosine, alignment, total, beta, TAU, denominator),
        "exponent": lambda: F.exponent_term(cosine, alignment, total, beta, TAU, denominator),
        "cosine": lambda: F.cosine_term(cosine, total, TAU, denominator),
        "npa": lambda: F.npa_term(alignment, total, TAU, denominator),
        "attention": lambda: F.attention_term(
            cosine, F.attention_weights(cosine, everything, TAU), total, TAU, denominator
        ),
    }[variant]()
    return torch.where(calibration.accepted, value, 0.0).sum() / calibration.accepted.sum().clamp(min=1)


def features(images=4, d=5, seed=0):
    return torch.randn(2 * images, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("denominator", ["negatives", "all"])
@pytest.mark.parametrize("variant", VARIANTS)
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


@pytest.mark.parametrize("function", [F.loss_weight_term, F.exponent_term])
def test_the_weight_carries_no_gradient(function):
    alignment = torch.full((3, 1), 0.8, requires_grad=True)
    function(torch.full((3, 1), 0.5, requires_grad=True), alignment, torch.ones(3, 1), 0.5).sum().backward()
    assert alignment.grad is None


def test_eq7_pulls_through_the_alignment():
    """Without the gradient of -log PA, eq7 would have the gradient of the cosine variant."""
    assert (feature_gradient("eq7", 1.0) - feature_gradient("cosine", 1.0)).abs().max() > 1e-2


@pytest.mark.parametrize("denominator", ["negatives", "all"])
def test_gradients(denominator):
    def leaf(seed, positive=False):
        values = torch.randn(3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return (values.abs() + 0.1 if positive else values).requires_grad_()

    cosine, alignment, total = leaf(0), leaf(1, positive=True), leaf(2)
    options = (TAU, denominator)
    assert torch.autograd.gradcheck(lambda c, a, t: F.eq7_term(c, a, t, 0.2, *options), (cosine, alignment, total))
    assert torch.autograd.gradcheck(lambda a, t: F.npa_term(a, t, *options), (alignment, total))
    weight = alignment.detach()
    for function in (
        lambda c, t: F.loss_weight_term(c, weight, t, 0.2, *options),
        lambda c, t: F.exponent_term(c, weight, t, 0.2, *options),
        lambda c, t: F.cosine_term(c, t, *options),
        lambda c, t: F.attention_term(c, weight, t, *options),
    ):
        assert torch.autograd.gradcheck(function, (cosine, total))


def test_negative_alignment_is_clamped():
    value = F.eq7_term(torch.zeros(1, 1), torch.tensor([[-3.0]]), torch.zeros(1, 1), beta=1.0)
    assert value.item() == pytest.approx(-torch.log(torch.tensor(F.ALIGNMENT_FLOOR)).item())


def test_terms_without_negatives_are_zero_with_zero_gradient():
    inputs = [torch.full((1, 1), 0.5, requires_grad=True) for _ in range(2)]
    empty = torch.full((1, 1), -torch.inf)
    for function in (F.eq7_term, F.loss_weight_term, F.exponent_term):
        for denominator in ("negatives", "all"):
            value = function(*inputs, empty, 1.0, 0.07, denominator)
            grads = torch.autograd.grad(value, inputs, allow_unused=True)
            assert value.item() == 0
            assert all(grad is None or grad.item() == 0 for grad in grads)


def test_attention_weights_are_a_softmax_over_the_candidates():
    s = torch.randn(2, 6, dtype=torch.float64)
    candidates = torch.tensor([[False, True, True, True, False, True]]).expand(2, -1)
    normalizer = F.log_negatives(s, candidates, 0.3).unsqueeze(1)
    weights = F.attention_weights(s[:, [1, 2, 3, 5]], normalizer, 0.3)
    torch.testing.assert_close(weights, torch.softmax(s[:, [1, 2, 3, 5]] / 0.3, dim=1))
