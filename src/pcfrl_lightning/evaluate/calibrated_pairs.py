"""How often calibrated pairs are right: the share whose labels agree, beside the share among all pairs."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.functional import Calibration, normalize
from pcfrl_lightning.heads import AllNegatives, CalibratedContrast, ContrastOutput
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.methods.simclr import SimCLR

POSE_LIMIT = 10.0
"""Degrees: two poses agree when yaw, pitch and roll each differ by at most this."""


class Tally(NamedTuple):
    """Counts behind a precision and its base rate; ``right`` ones are those whose labels agree.

    ``pairs`` are calibrated ones (anchor, partner); an anchor is a view: a pair of images may count up to four times.
    ``proposals`` are anchors with a best candidate, whether or not its score reached T. ``candidates`` are ordered
    pairs of different images of one batch.
    """

    pairs: int = 0
    right: int = 0
    proposals: int = 0
    right_proposals: int = 0
    candidates: int = 0
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
    """What one branch does with one batch; ``features`` (2N, d) are unit rows z, first views before second views."""

    output: ContrastOutput
    features: Tensor


class Batch(NamedTuple):
    """One batch seen by every branch: ``rows`` (N,) long are rows of the `FaceSet`; ``branches`` are ``face`` and, for
    PCFRL, ``pose``."""

    rows: Tensor
    branches: dict[str, Branch]


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
