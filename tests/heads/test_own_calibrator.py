"""A calibrator written by a user is obeyed everywhere: its score chooses the pairs and is what every pair term uses."""

import pytest
import torch
from jsonargparse import ArgumentParser

from pcfrl_lightning import functional as F
from pcfrl_lightning.heads import (
    AlignmentOnly,
    CalibratedContrast,
    Calibrator,
    Eq7,
    ExponentWeight,
    LossWeight,
    PairTerm,
)

TAU = 0.3


class Euclidean(Calibrator):
    """Scores a pair by a power of its distance, and accepts the best candidate of each anchor above a limit."""

    def __init__(self, power: float, limit: float) -> None:
        super().__init__()
        self.power, self.limit = power, limit

    def score(self, anchors: torch.Tensor, context: torch.Tensor, similarity: torch.Tensor) -> torch.Tensor:
        return 3 - (anchors.unsqueeze(1) - context).square().sum(dim=-1).clamp(min=1e-6) ** self.power

    def forward(self, score: torch.Tensor, candidates: torch.Tensor) -> F.Calibration:
        return F.threshold_calibration(score, candidates, self.limit)


YAML = """
class_path: pcfrl_lightning.heads.CalibratedContrast
init_args:
  temperature: 0.3
  calibrator: {class_path: OWN.Euclidean, init_args: {power: 0.7, limit: 2.2}}
  pair_term: {class_path: pcfrl_lightning.heads.%s}
"""


def from_yaml(pair_term: str) -> CalibratedContrast:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--head", type=CalibratedContrast)
    text = "head:\n" + YAML.replace("OWN", __name__).replace("\n", "\n  ") % pair_term
    head: CalibratedContrast = parser.instantiate_classes(parser.parse_string(text)).head
    return head


def expected_loss(x: torch.Tensor, term: type[PairTerm]) -> tuple[torch.Tensor, int]:
    """The mean loss of the calibrated pairs, one pair at a time, with the user's score."""
    unit, images = torch.nn.functional.normalize(x), len(x) // 2
    cosine = unit @ unit.T

    def score(i: int, k: int) -> torch.Tensor:
        return 3 - (unit[i] - unit[k]).square().sum() ** 0.7

    losses = []
    for i in range(len(x)):
        others = [k for k in range(len(x)) if k % images != i % images]
        best = max(others, key=lambda k: score(i, k).item())
        value = score(i, best)
        if value < 2.2:
            continue
        rest = torch.stack([cosine[i, k] / TAU for k in others if k != best]).logsumexp(0)
        positive = cosine[i, best] / TAU
        losses.append(
            {
                Eq7: lambda v=value, p=positive, r=rest: -v.log() - p + r,
                LossWeight: lambda v=value, p=positive, r=rest: v.detach() * (r - p),
                ExponentWeight: lambda v=value, p=positive, r=rest: r - v.detach() * p,
                AlignmentOnly: lambda v=value, p=positive, r=rest: r - v / TAU,
            }[term]()
        )
    return torch.stack(losses).mean(), len(losses)


@pytest.mark.parametrize("term", [Eq7, LossWeight, ExponentWeight, AlignmentOnly])
def test_every_pair_term_uses_the_score_of_the_yaml(term: type[PairTerm]) -> None:
    head = from_yaml(term.__name__)
    assert type(head.calibrator).__name__ == "Euclidean"
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(10, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    output = head(x[:5], x[5:])
    expected, pairs = expected_loss(x, term)
    assert 0 < pairs < 10
    assert output.stats["calibrated"] == pairs
    torch.testing.assert_close(output.calibrated_loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(output.calibrated_loss, x), torch.autograd.grad(expected, x), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_score_of_the_best_candidate_is_logged() -> None:
    x = torch.eye(4, dtype=torch.float64)  # all at the squared distance 2
    stats = from_yaml("Eq7")(x[:2], x[2:]).stats
    assert stats["alignment_max"].item() == pytest.approx(3 - 2**0.7)
