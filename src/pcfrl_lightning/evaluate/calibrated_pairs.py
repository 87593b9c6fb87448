"""How often calibrated pairs are right: the share whose labels agree, beside the share among all pairs, for any T."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.evaluate.pose_sets import PoseFaces
from pcfrl_lightning.functional import Calibration, normalize, top_k_calibration
from pcfrl_lightning.heads import AllNegatives, CalibratedContrast, ContrastOutput, NPAThreshold
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.methods.simclr import SimCLR

POSE_LIMIT = 10.0
"""Degrees: two poses agree when yaw, pitch and roll each differ by at most this."""

QUANTILES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Of the row maxima, as thresholds T: 0 takes the best candidate of every anchor (Table 7, top-1)."""

_APPEARANCE = Appearance(0.4, 0.4, 0.4, 0.1, blur_p=0.3, blur_sigma=(0.1, 1.0), sobel_p=0.1)


class Tally(NamedTuple):
    """Counts behind a precision and its base rate; ``right`` ones are those whose labels agree."""

    pairs: int = 0  # calibrated ones (anchor, partner); an anchor is a view: two images may count up to four times
    right: int = 0
    proposals: int = 0  # anchors with a best candidate, whether or not its score reached T
    right_proposals: int = 0
    candidates: int = 0  # ordered pairs of different images of one batch
    right_candidates: int = 0

    @property
    def precision(self) -> float | None:
        """Share of calibrated pairs that agree; None when no pair was calibrated."""
        return self.right / self.pairs if self.pairs else None

    @property
    def proposal_precision(self) -> float | None:
        """Share of best candidates that agree (T = -inf)."""
        return self.right_proposals / self.proposals if self.proposals else None

    @property
    def base_rate(self) -> float | None:
        """Share of all pairs of different images that agree."""
        return self.right_candidates / self.candidates if self.candidates else None

    def plus(self, other: "Tally") -> "Tally":
        """Counts of both."""
        return Tally(*map(sum, zip(self, other, strict=True)))


def poses_agree(pose: Tensor, limit: float = POSE_LIMIT) -> Tensor:
    """(N, 3) degrees to (N, N) bool: the largest of the differences in yaw, pitch and roll is at most ``limit``."""
    return (pose.unsqueeze(0) - pose.unsqueeze(1)).abs().amax(dim=2) <= limit


def identities_agree(identity: Tensor) -> Tensor:
    """(N,) to (N, N) bool: the same person."""
    return identity.unsqueeze(0) == identity.unsqueeze(1)


def tally(calibration: Calibration, anchors: Tensor, agreement: Tensor) -> Tally:
    """Count right and wrong pairs of one batch; view c shows image c % N.

    ``anchors`` (m,) long are the views of the rows of ``calibration``; ``agreement`` (N, N) bool is that of labels.
    """
    images = len(agreement)
    proposed = calibration.score > -torch.inf
    right = agreement[(anchors % images).unsqueeze(1), calibration.partner % images]
    different = ~torch.eye(images, dtype=torch.bool)
    accepted = calibration.accepted
    counted = (accepted, accepted & right, proposed, proposed & right, different, different & agreement)
    return Tally(*(int(mask.sum()) for mask in counted))


class Branch(NamedTuple):
    """What one branch does with one batch."""

    output: ContrastOutput
    features: Tensor  # (2N, d) unit rows z, first views before second views


class Batch(NamedTuple):
    """One batch seen by every branch."""

    rows: Tensor  # (N,) long, of the `FaceSet`
    branches: dict[str, Branch]  # ``face`` and, for PCFRL, ``pose``


@torch.no_grad()
def calibrated_batches(
    module: PCFRL | SimCLR, faces: FaceSet, views: Views, batch_size: int, seed: int = 0
) -> Iterator[Batch]:
    """Run calibration on batches of random images, as training does, with the weights as they are.

    ``module`` is put into evaluation mode; images are drawn without repeats; ``views`` must keep the pose (no flip, no
    turn) where poses are compared; ``seed`` is that of the order and of the views.

    Raises:
        ValueError: there are fewer images than one batch.
    """
    if len(faces) < batch_size:
        raise ValueError(f"{faces.name} has {len(faces)} images, fewer than one batch of {batch_size}")
    module.eval()
    order = torch.from_numpy(np.random.default_rng([seed, 0]).permutation(len(faces)))
    for number in range(len(faces) // batch_size):
        rows = order[number * batch_size : (number + 1) * batch_size]
        batch = view_batch(faces, views, rows.tolist(), [seed, 1, number])
        heads = projections(module, batch)
        yield Batch(rows, {name: Branch(contrast(*z.chunk(2)), normalize(z)) for name, (contrast, z) in heads.items()})


def projections(module: PCFRL | SimCLR, batch: dict[str, Tensor]) -> dict[str, tuple[CalibratedContrast, Tensor]]:
    """The contrast of each branch, and what it gets: z (2N, d), first views before second views."""
    if isinstance(module, SimCLR):
        return {"face": (module.contrast, module.network(torch.cat([batch["face_1"], batch["face_2"]])).float())}
    network = module.network
    face, pose = (network.encode(torch.cat([batch[f"{name}_1"], batch[f"{name}_2"]])) for name in ("face", "pose"))
    return {
        "face": (without_mirrored(module.face_contrast), network.project_face(face.f_f).float()),
        "pose": (without_mirrored(module.pose_contrast), network.project_pose(pose.f_p).float()),
    }


def without_mirrored(contrast: CalibratedContrast) -> CalibratedContrast:
    """The contrast, or one that needs no mirrored views: negatives have no part in what is calibrated."""
    if not contrast.negatives.needs_mirrored:
        return contrast
    changed = deepcopy(contrast)
    changed.negatives = AllNegatives()
    return changed


def view_batch(faces: FaceSet, views: Views, rows: Sequence[int], seed: Sequence[int]) -> dict[str, Tensor]:
    """Views of some rows, float (N, 3, S, S) in [0, 1], by view name."""
    *first, epoch = seed
    return views.make([faces.image(row) for row in rows], [(epoch, row) for row in rows], first)


def pair_quality(
    module: PCFRL, known: PoseFaces, batches: int = 10, batch_size: int = 256, seed: int = 0
) -> dict[str, Any]:
    """How often the best candidates by pair alignment are right, in batches of random faces with true labels.

    Views have the milder changes of appearance of ``configs/experiment/cpu.yaml`` and keep the pose. A pair is right in
    the face branch when it shows one person, in the pose branch when yaw, pitch and roll agree within 10 degrees. An
    anchor is findable when its batch holds a right candidate.

    Returns:
        by branch ``face`` and ``pose``: ``base_rate``, share of right ones among all candidates; ``findable``, share of
        the anchors; ``own``, of the calibrator in the checkpoint, and ``quantiles``, of T at each quantile of the row
        maxima of the batch: ``share`` of the anchors that are calibrated, ``precision`` (None without a pair) and
        ``recall``, the share of the findable anchors that got a right partner.
    """
    views = AlbumentationsViews(module.network.image_size, _APPEARANCE, flip_p=0.0)
    size = min(batch_size, len(known.faces))
    agree: dict[str, Callable[[Tensor], Tensor]] = {
        "face": lambda rows: identities_agree(known.person[rows]),
        "pose": lambda rows: poses_agree(known.pose[rows]),
    }
    found: dict[str, list[Tensor]] = {name: [] for name in agree}
    for batch in islice(calibrated_batches(module, known.faces, views, size, seed), batches):
        for name, of_rows in agree.items():
            found[name].append(branch_counts(batch.branches[name], of_rows(batch.rows), QUANTILES))
    return {name: _shares(torch.stack(counts).sum(0)) for name, counts in found.items()}


def branch_counts(branch: Branch, agreement: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Counts of one batch of N images: row 0 is of all pairs, row 1 of the branch's own calibrator, then a row for each
    quantile.

    Returns:
        (2 + Q, 3) float64. Row 0: candidates, right candidates, findable anchors; the others: anchors, calibrated
        anchors, right ones among these.
    """
    rows, view = branch.features.double(), torch.arange(len(branch.features)) % len(agreement)
    right, candidates = agreement[view][:, view], view.unsqueeze(0) != view.unsqueeze(1)
    top = top_k_calibration(NPAThreshold().score(rows, rows, rows @ rows.T), candidates, 1)
    best, hit = top.score[:, 0], right.gather(1, top.partner)[:, 0]
    possible = (right & candidates).any(1)
    own = branch.output.calibration
    own_right = own.accepted & right[branch.output.anchors].gather(1, own.partner)
    counts: list[list[Any]] = [
        [candidates.sum(), (right & candidates).sum(), possible.sum()],
        [len(rows), own.accepted.any(1).sum(), own_right.any(1).sum()],
    ]
    for quantile in quantiles:
        taken = best >= torch.quantile(best, quantile)
        counts.append([len(rows), taken.sum(), (taken & hit).sum()])
    return torch.tensor([[float(value) for value in row] for row in counts], dtype=torch.float64)


def _shares(counts: Tensor) -> dict[str, Any]:
    (candidates, right_candidates, findable), own, *rest = counts.tolist()

    def shares(row: list[float]) -> dict[str, float | None]:
        anchors, taken, right = row
        precision, recall = right / taken if taken else None, right / findable if findable else None
        return {"share": taken / anchors, "precision": precision, "recall": recall}

    return {
        "base_rate": right_candidates / candidates,
        "findable": findable / own[0],
        "own": shares(own),
        "quantiles": {f"{quantile:g}": shares(row) for quantile, row in zip(QUANTILES, rest, strict=True)},
    }
