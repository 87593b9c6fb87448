"""Contrast of anchors with rows that are no views of the batch, against loops in float64."""

import math

import torch

from pcfrl_lightning.heads import Eq7, NPAThreshold, RowContrast

TAU, ALPHA, THRESHOLD = 0.2, 10.0, 3.6


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def alignment(i: int, j: int, rows: torch.Tensor) -> float:
    """Eq. 3 and 5 with the mean over neighbours, as loops."""
    others = [k for k in range(len(rows)) if k not in (i, j)]
    consistency = sum(float(rows[i] @ rows[k]) * float(rows[k] @ rows[j]) for k in others)
    return float(rows[i] @ rows[j]) + ALPHA * consistency / (len(rows) - 2)


def test_alignment_negatives_and_losses_are_those_of_loops():
    generator = torch.Generator().manual_seed(0)
    anchors, positives, rows = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (4, 4, 9))
    candidates = torch.rand(4, 9, generator=generator) < 0.8
    head = RowContrast(NPAThreshold(THRESHOLD, ALPHA), Eq7(0.5), TAU, "negatives")
    output = head(anchors, positives, rows, candidates)

    everything = unit(torch.cat([rows, anchors]))
    loss = calibrated = count = 0.0
    for i in range(4):
        anchor = everything[9 + i]
        allowed = [j for j in range(9) if candidates[i, j]]
        scores = {j: alignment(9 + i, j, everything) for j in allowed}
        best = max(scores, key=scores.__getitem__)
        accepted = scores[best] >= THRESHOLD
        negatives = [j for j in allowed if not (accepted and j == best)]
        total = math.log(sum(math.exp(anchor @ everything[j] / TAU) for j in negatives))
        loss += (total - float(anchor @ unit(positives)[i]) / TAU) / 4
        if accepted:
            count += 1
            calibrated += (total - float(anchor @ everything[best]) / TAU - math.log(0.5 * scores[best])) / 4
    assert 0 < count < 4  # both kinds of anchors are part of what is compared
    assert output.stats["calibrated"] == count
    assert math.isclose(output.loss, loss, rel_tol=1e-9)
    assert math.isclose(output.calibrated_loss, calibrated, rel_tol=1e-9)
    assert math.isclose(output.stats["feature_std"], unit(anchors).std(dim=0, correction=0).mean(), rel_tol=1e-9)


def test_gradients_are_those_of_differences():
    """Also of the alignment, in which every anchor is a neighbour."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(n, 3, generator=generator, dtype=torch.float64, requires_grad=True) for n in (4, 4, 9)]
    candidates = torch.rand(4, 9, generator=generator) < 0.8
    head = RowContrast(NPAThreshold(THRESHOLD, ALPHA), Eq7(0.5), TAU)
    assert head(*inputs, candidates).stats["calibrated"] > 0
    assert torch.autograd.gradcheck(lambda *each: head(*each, candidates)[:2], inputs)
