"""Large batches are computed in blocks of anchors, with the losses and gradients of one piece."""

import runpy
from pathlib import Path

import pytest
import torch

from functional import oracles
from pcfrl_lightning.heads import (
    AdaptiveThreshold,
    AlignmentOnly,
    Attention,
    CalibratedContrast,
    CosineOnly,
    CosineThreshold,
    DelayedStart,
    Eq7,
    LossWeight,
    MixedNegatives,
    NoCalibration,
    NPAThreshold,
    RandomNegatives,
    TopK,
    blocks,
)

CPU = torch.device("cpu")
IMAGES, DIM = 13, 6  # M = 26 views


def views(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(IMAGES, DIM, generator=generator, dtype=torch.float64)
    second = first + 0.3 * torch.randn(IMAGES, DIM, generator=generator, dtype=torch.float64)
    return [view.to(dtype).requires_grad_() for view in (first, second)]


def run(head, dtype=torch.float64, **options):
    first, second = views(dtype)
    torch.manual_seed(0)
    output = head(first, second, **options)
    return output, torch.autograd.grad(output.loss + output.calibrated_loss, (first, second))


def allow(monkeypatch, anchors, columns=2 * IMAGES):
    """Blocks of so many anchors; the sizes of the blocks that are then computed, recomputed ones included."""
    sizes = []
    monkeypatch.setattr(blocks, "LARGEST", anchors * columns)
    of_anchors = CalibratedContrast._of_anchors

    def noted(self, calibrator, anchors, *args):
        sizes.append(len(anchors))
        return of_anchors(self, calibrator, anchors, *args)

    monkeypatch.setattr(CalibratedContrast, "_of_anchors", noted)
    return sizes


HEADS = {
    "npa": lambda: CalibratedContrast(NPAThreshold(0.2), Eq7(0.2), 0.2),
    "npa_by_anchors": lambda: CalibratedContrast(NPAThreshold(0.2), LossWeight(), 0.2, calibrated_mean="anchors"),
    "delayed": lambda: CalibratedContrast(DelayedStart(NPAThreshold(0.2), 2), AlignmentOnly(), 0.2, "all"),
    "top": lambda: CalibratedContrast(TopK(3), Attention(), 0.2),
    "cosine": lambda: CalibratedContrast(CosineThreshold(0.3), CosineOnly(), 0.07),
    "adaptive_mean": lambda: CalibratedContrast(AdaptiveThreshold("mean"), LossWeight(), 0.2),
    "adaptive_quantile": lambda: CalibratedContrast(AdaptiveThreshold("quantile", 0.6), Eq7(0.2), 0.2),
    "adaptive_delayed": lambda: CalibratedContrast(DelayedStart(AdaptiveThreshold("quantile", 0.8), 2), Eq7(), 0.2),
    "adaptive_own_score": lambda: CalibratedContrast(Farthest(), CosineOnly(), 0.2),
    "none": lambda: CalibratedContrast(NoCalibration(), CosineOnly(), 0.07, "all"),
}


@pytest.mark.parametrize("size", [1, 4, 13, 25])
@pytest.mark.parametrize("name", list(HEADS))
def test_blocks_equal_one_piece(name, size, monkeypatch):
    expected, expected_gradients = run(HEADS[name]())
    sizes = allow(monkeypatch, size)
    actual, gradients = run(HEADS[name]())
    parts = -(-26 // size)
    assert sizes[:parts] == [size] * (26 // size) + [26 % size] * (26 % size > 0)
    assert sorted(sizes[parts:]) == sorted(sizes[:parts])  # computed again, backward
    close = {"atol": 1e-12, "rtol": 1e-12}
    torch.testing.assert_close(actual.loss, expected.loss, **close)
    torch.testing.assert_close(actual.calibrated_loss, expected.calibrated_loss, **close)
    torch.testing.assert_close(gradients, expected_gradients, **close)
    assert torch.equal(actual.calibration.partner, expected.calibration.partner)
    assert torch.equal(actual.calibration.accepted, expected.calibration.accepted)
    assert torch.equal(actual.anchors, expected.anchors)
    for statistic, value in expected.stats.items():
        torch.testing.assert_close(actual.stats[statistic], value, **close, msg=statistic)


class Farthest(AdaptiveThreshold):
    """A score of its own: the least alike make a pair."""

    def score(self, anchors, context, similarity):
        return -similarity


@pytest.mark.parametrize("size", [3, 8])
def test_blocks_equal_the_loop(size, monkeypatch):
    first, second = views()
    sizes = allow(monkeypatch, size)
    output = HEADS["npa"]()(first, second)
    loss, calibrated, pairs = oracles.losses(
        torch.cat([first, second]).detach(), 10.0, 0.2, 0.2, 0.2, "eq7", "negatives"
    )
    assert len(sizes) > 1
    assert output.loss.item() == pytest.approx(loss, abs=1e-10)
    assert output.calibrated_loss.item() == pytest.approx(calibrated, abs=1e-10)
    partner, accepted, *_ = output.calibration
    assert {i: partner[i, 0].item() for i in range(2 * IMAGES) if accepted[i, 0]} == pairs


def test_float32_and_a_bank(monkeypatch):
    bank = torch.randn(9, DIM)
    expected, expected_gradients = run(HEADS["npa"](), torch.float32, bank=bank)
    sizes = allow(monkeypatch, 4, columns=26 + 9)
    actual, gradients = run(HEADS["npa"](), torch.float32, bank=bank)
    assert max(sizes) == 4
    torch.testing.assert_close(actual.loss, expected.loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients, expected_gradients, atol=1e-5, rtol=1e-5)


def test_random_negatives_are_drawn_again_for_the_backward_pass(monkeypatch):
    """Otherwise the gradient would be that of other negatives: compared with finite differences."""
    sizes = allow(monkeypatch, 5)
    head = CalibratedContrast(NoCalibration(), CosineOnly(), 0.5, negatives=RandomNegatives(3))

    def loss(first, second):
        torch.manual_seed(0)
        return head(first, second).loss

    assert torch.autograd.gradcheck(loss, views())
    assert max(sizes) == 5


def test_a_delayed_threshold_is_not_computed_before_it_is_used(monkeypatch):
    head = HEADS["adaptive_delayed"]()
    head.calibrator.begin_epoch(0)
    monkeypatch.setattr(AdaptiveThreshold, "of_batch", lambda *_: pytest.fail("not yet"))
    allow(monkeypatch, 4)
    output, _ = run(head)
    assert output.stats["calibrated"] == 0


def test_a_choice_that_looks_at_all_anchors_stays_in_one_piece(monkeypatch):
    class Best(NPAThreshold):
        by_anchor = False

    for calibrator, negatives in ((Best(), None), (NoCalibration(), MixedNegatives())):
        sizes = allow(monkeypatch, 4)
        run(CalibratedContrast(calibrator, CosineOnly(), negatives=negatives))
        assert sizes == [26]
        monkeypatch.undo()


def test_memory_grows_with_the_block(monkeypatch):
    """M = 1024: in one piece about eight (M, M) matrices, in blocks of 64 far below a single one."""
    npa = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "npa.py"))
    first, second = npa["clustered_views"](512, 16, CPU)
    head = npa["calibrating_head"](first, second)

    def step():
        output = head(first, second)
        return torch.autograd.grad(output.loss + output.calibrated_loss, (first, second))

    whole = npa["peak_extra_bytes"](step, CPU)
    monkeypatch.setattr(blocks, "LARGEST", 64 * 1024)
    assert npa["peak_extra_bytes"](step, CPU) < 1024**2 * 4 < whole / 4
