import numpy as np
import pytest
import torch

from functional import oracles
from pcfrl_lightning import functional as F
from pcfrl_lightning.heads import (
    AdaptiveThreshold,
    AlignmentOnly,
    AllNegatives,
    Attention,
    CalibratedContrast,
    CosineOnly,
    CosineThreshold,
    DelayedStart,
    Eq7,
    ExponentWeight,
    JoinedNegatives,
    LossWeight,
    MirroredNegatives,
    MixedNegatives,
    NoCalibration,
    NPAThreshold,
    RandomNegatives,
    TopK,
)

TERMS = {
    "eq7": Eq7,
    "loss": LossWeight,
    "exponent": ExponentWeight,
    "cosine": lambda beta: CosineOnly(),
    "npa": lambda beta: AlignmentOnly(),
    "attention": lambda beta: Attention(0.2),
}


def views(images, d, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(images, d, generator=generator, dtype=torch.float64)
    return first.to(dtype), (first + 0.3 * torch.randn(images, d, generator=generator, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("denominator", ["negatives", "all"])
@pytest.mark.parametrize("variant", list(TERMS))
@pytest.mark.parametrize(("images", "d"), [(2, 16), (3, 3), (4, 7), (5, 16), (6, 2), (7, 9), (8, 4)])
def test_losses_equal_the_loop(images, d, variant, denominator):
    first, second = views(images, d, seed=images)
    head = CalibratedContrast(NPAThreshold(0.2), TERMS[variant](0.2), 0.2, denominator)
    output = head(first, second)
    loss, calibrated, pairs = oracles.losses(torch.cat([first, second]), 10.0, 0.2, 0.2, 0.2, variant, denominator)
    assert output.loss.item() == pytest.approx(loss, abs=1e-10)
    assert output.calibrated_loss.item() == pytest.approx(calibrated, abs=1e-10)
    partner, accepted, *_ = output.calibration
    assert {i: partner[i, 0].item() for i in range(2 * images) if accepted[i, 0]} == pairs
    assert output.stats["calibrated"] == len(pairs)


@pytest.mark.parametrize("variant", list(TERMS))
@pytest.mark.parametrize("threshold", [-99.0, 2.0, 99.0])
def test_mean_over_anchors_is_the_loop_divided_by_all_views(threshold, variant):
    """Of no, some or all anchors calibrated, the sum over C is divided by 2N."""
    first, second = views(7, 9)
    term = TERMS[variant](0.2)
    output = CalibratedContrast(NPAThreshold(threshold), term, 0.2, calibrated_mean="anchors")(first, second)
    pairs_mean = CalibratedContrast(NPAThreshold(threshold), term, 0.2)(first, second).calibrated_loss
    pairs = oracles.calibrate(oracles.alignment(torch.cat([first, second]), 10.0), 7, threshold)
    assert len(pairs) == {-99.0: 14, 99.0: 0}.get(threshold, len(pairs))
    assert output.calibrated_loss.item() == pytest.approx(pairs_mean.item() * len(pairs) / 14, abs=1e-12)
    if threshold == 2.0:
        assert 0 < len(pairs) < 14


def test_delayed_start_waits_for_its_epoch():
    first, second = views(6, 5)
    plain = CalibratedContrast(NoCalibration(), Eq7())(first, second)
    calibrated = CalibratedContrast(NPAThreshold(0.3), Eq7())(first, second)
    head = CalibratedContrast(DelayedStart(NPAThreshold(0.3), start_epoch=2), Eq7())
    for epoch, expected in enumerate([plain, plain, calibrated, calibrated]):
        head.calibrator.begin_epoch(epoch)
        output = head(first, second)
        assert torch.equal(output.loss, expected.loss)
        assert torch.equal(output.calibrated_loss, expected.calibrated_loss)
        assert output.stats["calibrated"] == expected.stats["calibrated"]
        # the alignment is watched from the first epoch on
        assert output.stats["alignment_max"] == calibrated.stats["alignment_max"]
    assert calibrated.stats["calibrated"] > 0


def test_delayed_start_tells_its_calibrator_the_epoch():
    inner = DelayedStart(NPAThreshold(0.3), start_epoch=3)
    outer = DelayedStart(inner, start_epoch=1)
    outer.begin_epoch(2)
    assert inner.waiting
    assert not outer.waiting


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("term", [Eq7(), AlignmentOnly()])
@pytest.mark.parametrize("d", [3, 40])
def test_gradients_through_selection_and_alignment(term, k, d):
    """Small d takes the Gram form (M > 2d), large d the product S S; both against a finite difference."""
    first, second = views(8, d)
    head = CalibratedContrast(TopK(k), term, temperature=0.5)

    def total(a, b):
        output = head(a, b)
        return output.loss + output.calibrated_loss

    assert torch.autograd.gradcheck(total, (first.requires_grad_(), second.requires_grad_()))


def test_statistics():
    first, second = views(6, 5)
    x = torch.cat([first, second])
    output = CalibratedContrast(NPAThreshold(1.615), Eq7())(first, second)
    s, pa = F.cosine_matrix(x), F.pair_alignment(x)
    image = torch.arange(12) % 6
    candidates = image.unsqueeze(0) != image.unsqueeze(1)
    remaining = F.remove_calibrated(candidates, output.calibration)
    expected = {
        "calibrated": output.calibration.accepted.sum().double(),
        "calibrated_share": output.calibration.accepted.double().mean(),
        "alignment_mean": pa[candidates].mean(),
        "alignment_max": pa[candidates].max(),
        "threshold": torch.tensor(1.615, dtype=torch.float64),
        "positive_cosine": torch.cosine_similarity(first, second).mean(),
        "negative_cosine": s[remaining].mean(),
        "feature_std": F.normalize(x).std(dim=0, correction=0).mean(),
    }
    assert output.stats.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(output.stats[key], value, msg=lambda m, k=key: f"{k}: {m}")
        assert not output.stats[key].requires_grad
    assert 0 < output.stats["calibrated"] < 12
    two = CalibratedContrast(TopK(2), Eq7())(first, second).stats
    assert (two["calibrated"], two["calibrated_share"]) == (24, 1)  # pairs, and the share of anchors that have some


CALIBRATORS = [
    NPAThreshold(0.0),
    NPAThreshold(20.0),
    NPAThreshold(1.0, alpha=0.0),
    CosineThreshold(0.2),
    TopK(1),
    TopK(50),
    NoCalibration(),
    AdaptiveThreshold("mean"),
    AdaptiveThreshold("quantile", 0.5),
    DelayedStart(NPAThreshold(0.0), start_epoch=0),
]


@pytest.mark.parametrize("negatives", [AllNegatives(), RandomNegatives(1), MixedNegatives()])
@pytest.mark.parametrize("calibrator", CALIBRATORS)
@pytest.mark.parametrize("kind", ["random", "identical", "zero", "opposite"])
def test_losses_and_gradients_stay_finite(kind, calibrator, negatives):
    """N = 2 too, where top-k takes every negative away."""
    for images in (2, 5):
        first = {
            "random": lambda n=images: views(n, 4, dtype=torch.float32)[0],
            "identical": lambda n=images: torch.ones(n, 4),
            "zero": lambda n=images: torch.zeros(n, 4),
            "opposite": lambda n=images: torch.tensor([1.0, -1.0]).repeat(n)[:n].unsqueeze(1).expand(n, 4).clone(),
        }[kind]().requires_grad_()
        for make in TERMS.values():
            for denominator in ("negatives", "all"):
                output = CalibratedContrast(calibrator, make(0.2), 0.07, denominator, negatives)(first, first * 1.0)
                (grad,) = torch.autograd.grad(output.loss + output.calibrated_loss, first)
                assert output.loss.isfinite()
                assert output.calibrated_loss.isfinite()
                assert grad.isfinite().all()


@pytest.mark.parametrize("calibrator", [NPAThreshold(20.0), NoCalibration()])
@pytest.mark.parametrize("term", [Eq7(), AlignmentOnly(), LossWeight()])
def test_no_calibrated_pair_means_a_real_zero(calibrator, term):
    first, second = views(5, 4)
    output = CalibratedContrast(calibrator, term)(first.requires_grad_(), second)
    (grad,) = torch.autograd.grad(output.calibrated_loss, first)
    assert output.calibrated_loss.item() == 0
    assert torch.equal(grad, torch.zeros_like(grad))


def test_all_pairs_calibrated():
    first, second = views(5, 4)
    output = CalibratedContrast(NPAThreshold(-99.0), LossWeight())(first, second)
    assert output.stats["calibrated"] == 10


def test_every_negative_calibrated_leaves_no_loss():
    output = CalibratedContrast(TopK(2), LossWeight())(*views(2, 4))
    assert output.loss.item() == 0
    assert output.calibrated_loss.item() == 0


def test_beta_has_no_gradient_in_eq7_and_has_one_in_loss():
    def gradient(term):
        first, second = views(6, 5)
        output = CalibratedContrast(NPAThreshold(0.3), term)(first.requires_grad_(), second)
        return torch.autograd.grad(output.calibrated_loss, first)[0]

    assert gradient(Eq7(0.2)).abs().max() > 0.1
    torch.testing.assert_close(gradient(Eq7(0.2)), gradient(Eq7(1.0)), rtol=0, atol=1e-13)
    assert (gradient(LossWeight(0.2)) - gradient(LossWeight(1.0))).abs().max() > 0.1


def test_calibration_carries_no_gradient():
    first, second = views(6, 5)
    output = CalibratedContrast(NPAThreshold(0.3), Eq7())(first.requires_grad_(), second)
    assert not any(value.requires_grad for value in output.calibration)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_bf16_autocast_gives_float32(dtype):
    first, second = views(6, 16, dtype=dtype)
    head = CalibratedContrast(NPAThreshold(0.3), Eq7())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = head(first, second)
    assert output.loss.dtype == output.calibrated_loss.dtype == torch.float32
    reference = head(first.float(), second.float())
    torch.testing.assert_close(output.loss, reference.loss)
    torch.testing.assert_close(output.calibrated_loss, reference.calibrated_loss)


@pytest.mark.parametrize("term", [Eq7(), Attention()])
def test_torch_compile_gives_the_same_gradient(term):
    first, second = views(6, 5)
    head = CalibratedContrast(NPAThreshold(0.3), term)

    def gradient(function):
        output = function(first.requires_grad_(), second)
        return torch.autograd.grad(output.loss + output.calibrated_loss, first)[0]

    torch.testing.assert_close(gradient(torch.compile(head, backend="aot_eager")), gradient(head))


def test_random_negatives_bound_the_denominator():
    first, second = views(6, 5)
    every = CalibratedContrast(NoCalibration(), Eq7())(first, second).loss
    torch.manual_seed(0)
    one = CalibratedContrast(NoCalibration(), Eq7(), negatives=RandomNegatives(1))(first, second).loss
    many = CalibratedContrast(NoCalibration(), Eq7(), negatives=RandomNegatives(99))(first, second).loss
    assert one < every
    torch.testing.assert_close(many, every)


def test_mixed_negatives_skip_mixtures_with_a_calibrated_partner():
    """Against a loop that makes every mixture; the weights and the permutation are those of the generator."""
    (first, second), temperature = views(6, 5), 0.3
    x, head = torch.cat([first, second]), CalibratedContrast(TopK(2), CosineOnly(), 0.3, negatives=MixedNegatives())
    torch.manual_seed(1)
    output = head(first, second)
    torch.manual_seed(1)
    lam, permutation = MixedNegatives().draw((12, 10), x)
    total, skipped = 0.0, 0
    for i in range(12):
        columns = [k for k in range(12) if k % 6 != i % 6]
        calibrated = set(output.calibration.partner[i].tolist())
        exponents = []
        for j, column in enumerate(columns):
            partner = columns[permutation[j]]
            if {column, partner} & calibrated:
                skipped += column not in calibrated
                continue
            mixture = lam[i, j] * x[column] + (1 - lam[i, j]) * x[partner]
            exponents.append(torch.cosine_similarity(x[i], mixture, dim=0) / temperature)
        positive = torch.cosine_similarity(x[i], x[(i + 6) % 12], dim=0) / temperature
        total += (torch.stack(exponents).logsumexp(0) - positive).item()
    assert skipped > 0  # mixtures that only their partner takes away
    assert output.loss.item() == pytest.approx(total / 12, abs=1e-10)


@pytest.mark.parametrize("beta", [0.5, 1.6])
def test_mixing_weights_are_beta_distributed_and_drawn_for_each_anchor_and_negative(beta):
    torch.manual_seed(0)
    lam, permutation = MixedNegatives(beta).draw(torch.Size([300, 60]), torch.zeros((), dtype=torch.float64))
    for spread in (lam.var(), lam.var(dim=0).mean(), lam.var(dim=1).mean()):
        assert spread.item() == pytest.approx(1 / (4 * (2 * beta + 1)), rel=0.03)
    assert lam.mean().item() == pytest.approx(0.5, abs=0.01)
    assert sorted(permutation.tolist()) == list(range(60))


def test_a_bank_adds_candidates_neighbours_and_negatives():
    """Further rows count as views of other images, and carry no gradient."""
    first, second = views(3, 4)
    bank = views(5, 4, seed=8)[0].requires_grad_()
    head = CalibratedContrast(NPAThreshold(0.4, alpha=3.0), LossWeight(), 0.3)
    output = head(first.requires_grad_(), second, bank=bank)
    rows = F.normalize(torch.cat([first, second, bank]))
    scores, cosines, total, pairs = oracles.alignment(rows.detach(), 3.0), rows @ rows.T, 0.0, []
    for i in range(6):
        others = [k for k in range(11) if k >= 6 or k % 3 != i % 3]
        best = max(others, key=lambda k, i=i: scores[i, k])
        if scores[i, best] >= 0.4:
            pairs.append((i, best))
            others.remove(best)
        negatives = torch.stack([cosines[i, k] / 0.3 for k in others]).logsumexp(0)
        total += (negatives - cosines[i, (i + 3) % 6] / 0.3).item()
    partner, accepted, *_ = output.calibration
    assert [(i, partner[i, 0].item()) for i in range(6) if accepted[i, 0]] == pairs
    assert any(k >= 6 for _, k in pairs)
    assert output.loss.item() == pytest.approx(total / 6, abs=1e-10)
    output.loss.backward()
    assert bank.grad is None


@pytest.mark.parametrize("denominator", ["negatives", "all"])
def test_mirrored_negatives_are_blends_of_the_own_images_mirror_views(denominator):
    """Against a loop that makes every blend; the weights and the permutation are those of the generator."""
    (first, second), temperature = views(3, 5), 0.3
    mirrored = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    torch.manual_seed(7)
    lam, permutation = MirroredNegatives().draw(mirrored.shape[:2], mirrored)
    total = 0.0
    pairs = [(first[image], second[image], image) for image in range(3)]
    for anchor, twin, image in pairs + [(twin, anchor, image) for anchor, twin, image in pairs]:
        positive = torch.cosine_similarity(anchor, twin, dim=0) / temperature
        exponents = []
        for k in range(4):
            weight = lam[image, k]
            blend = weight * mirrored[image, k] + (1 - weight) * mirrored[image, permutation[k]]
            exponents.append((torch.cosine_similarity(anchor, blend, dim=0) / temperature).exp())
        denominator_sum = sum(exponents) + (positive.exp() if denominator == "all" else 0)
        total += -(positive.exp() / denominator_sum).log().item()
    head = CalibratedContrast(NoCalibration(), Eq7(), temperature, denominator, MirroredNegatives())
    torch.manual_seed(7)
    assert head(first, second, mirrored).loss.item() == pytest.approx(total / 6, abs=1e-10)


@pytest.mark.parametrize("denominator", ["negatives", "all"])
def test_joined_negatives_stand_in_one_denominator(denominator):
    """Against a loop over the views of other images, the anchor's calibrated partner left out, and over the blends."""
    (first, second), temperature = views(4, 5), 0.3
    mirrored = torch.randn(4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    head = CalibratedContrast(NPAThreshold(1.2), Eq7(), temperature, denominator, JoinedNegatives())
    torch.manual_seed(7)
    output = head(first, second, mirrored)
    torch.manual_seed(7)
    lam, permutation = MirroredNegatives().draw(mirrored.shape[:2], mirrored)
    everything, total = torch.cat([first, second]), 0.0
    partner, accepted, *_ = output.calibration
    assert 0 < accepted.sum() < 8
    for i, anchor in enumerate(everything):
        positive = (torch.cosine_similarity(anchor, everything[(i + 4) % 8], dim=0) / temperature).exp()
        left_out = partner[i, 0].item() if accepted[i, 0] else -1
        exponents = [positive] if denominator == "all" else []
        for k, other in enumerate(everything):
            if k % 4 != i % 4 and k != left_out:
                exponents.append((torch.cosine_similarity(anchor, other, dim=0) / temperature).exp())
        for k in range(3):
            weight = lam[i % 4, k]
            blend = weight * mirrored[i % 4, k] + (1 - weight) * mirrored[i % 4, permutation[k]]
            exponents.append((torch.cosine_similarity(anchor, blend, dim=0) / temperature).exp())
        total += -(positive / sum(exponents)).log().item()
    assert output.loss.item() == pytest.approx(total / 8, abs=1e-10)


def test_mirrored_negatives_give_the_loss_of_the_public_code(golden, monkeypatch):
    values = np.load(golden / "pcl_losses.npz")
    mixing = torch.from_numpy(values["pose_mix_lambda"]).float(), torch.from_numpy(values["pose_mix_perm"])
    monkeypatch.setattr(MirroredNegatives, "draw", lambda *_: mixing)
    head = CalibratedContrast(NoCalibration(), Eq7(), 0.07, "all", MirroredNegatives())
    first, second = torch.from_numpy(values["pose_features"]).chunk(2)
    mirrored = torch.from_numpy(values["pose_negatives"]).unflatten(0, (4, 5))
    assert head(first, second, mirrored).loss.item() == pytest.approx(values["pose_loss"].item(), abs=2e-6)


def test_mirrored_negatives_need_mirrored_views():
    with pytest.raises(ValueError, match=r"needs mirrored views in the batch: set data.views to PCLViews or Mirrored"):
        CalibratedContrast(NoCalibration(), Eq7(), negatives=MirroredNegatives())(*views(3, 4))


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: MirroredNegatives(beta=0.0), "beta of MirroredNegatives"),
        (lambda: CalibratedContrast(NoCalibration(), Eq7(), temperature=0.0), "temperature"),
        (lambda: CalibratedContrast(NoCalibration(), Eq7(), temperature=-1.0), "temperature"),
        (lambda: CalibratedContrast(NoCalibration(), Eq7(), temperature=float("nan")), "temperature"),
        (lambda: CalibratedContrast(NoCalibration(), Eq7(), denominator="some"), "denominator"),
        (lambda: CalibratedContrast(NoCalibration(), Eq7(), calibrated_mean="all"), "calibrated_mean"),
        (lambda: DelayedStart(NoCalibration(), start_epoch=-1), "start_epoch"),
        (lambda: NPAThreshold(alpha=-1.0), "alpha"),
        (lambda: NPAThreshold(neighborhood="median"), "neighborhood"),
        (lambda: CosineThreshold(2.0), "threshold"),
        (lambda: NPAThreshold(float("nan")), "threshold of NPAThreshold"),
        (lambda: TopK(0), "k of TopK"),
        (lambda: AdaptiveThreshold("median"), "statistic"),
        (lambda: AdaptiveThreshold("quantile", 1.5), "quantile"),
        (lambda: Eq7(0.0), "beta"),
        (lambda: Attention(-1.0), "temperature of Attention"),
        (lambda: RandomNegatives(0), "k of RandomNegatives"),
        (lambda: MixedNegatives(0.0), "beta of MixedNegatives"),
    ],
)
def test_bad_hyperparameters_name_the_key(make, key):
    with pytest.raises(ValueError, match=key):
        make()


def test_a_batch_of_one_image_is_refused():
    with pytest.raises(ValueError, match="at least two images"):
        CalibratedContrast(NoCalibration(), Eq7())(torch.ones(1, 4), torch.ones(1, 4))


def test_views_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="two views of one shape"):
        CalibratedContrast(NoCalibration(), Eq7())(torch.ones(3, 4), torch.ones(2, 4))
