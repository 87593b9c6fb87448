"""`SyntheticFaces`: faces rendered by the package itself, with true labels and nothing to download."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pcfrl_lightning.data.faceset import FaceSet, Pairs
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import UsageError, require
from pcfrl_lightning.synthetic.expressions import EXPRESSIONS, PRESENT_FROM
from pcfrl_lightning.synthetic.parameters import POSE_RANGE, sample_face
from pcfrl_lightning.synthetic.render import SIZES
from pcfrl_lightning.synthetic.source import SyntheticSource

FOLDS = 10
"""Folds of cross-validation; person p of a split belongs to fold p modulo this."""

_SPACE = 1_000_000  # numbers of people and pictures reserved for each split, so that no split shares any


class SyntheticFaces(FaceData):
    """Rendered faces of people that do not exist (`pcfrl_lightning.synthetic`).

    Picture i of a split shows person i modulo the number of people; expression, action units, pose, light and
    background are drawn independently of the person. The three splits have no person in common. The images are
    rendered once and kept in the cache folder (`$PCFRL_CACHE`, else the user's), keyed by everything that defines them.

    How often two pictures truly agree, for the default ranges: the same pose within 10 degrees on all three axes
    2.1 % of all pairs, the same person 1 in `identities`.

    Labels: `identity` and `subject` (numbered through all splits), `fold` (0-9, disjoint in people), `expression`
    (FER-2013 code), `au_intensity` (n, 8) 0-5 in the order 1, 2, 4, 6, 9, 12, 25, 26, `action_units` (n, 8) 1 where the
    intensity is at least 2 (the rule of DISFA), `pose` (n, 3) yaw, pitch, roll in degrees. The test split has pairs.

    Args:
        root: not used; a data set that is rendered has no folder.
        image_size: side of the images that training sees, in pixels.
        train_size: number of training images.
        val_size: number of validation images.
        test_size: number of test images.
        identities: number of people in the training images.
        val_identities: number of people in the validation images, other people.
        test_identities: number of people in the test images, other people; at least 2 for each of the 10 folds.
        pairs_per_fold: verification pairs in each fold, half of them of one person; even.
        pose_range: largest absolute yaw, pitch and roll in degrees.
        population: seed of the population; another one gives other people and pictures.
        render_size: side of the rendered images in pixels, 32 to 256; None for `image_size`.
        whole_person: an item of the training set stands for its person, like a video: of its pictures a random one is
            drawn each time, for views that take several (`FramePairs`).
        kwargs: see `FaceData`; `seed` does not change the faces.

    Raises:
        ValueError: an argument out of range; names it.
    """

    name = "synthetic"

    def __init__(
        self,
        root: str | Path | None = None,
        image_size: int | None = None,
        train_size: int = 4000,
        val_size: int = 500,
        test_size: int = 1000,
        identities: int = 200,
        val_identities: int = 50,
        test_identities: int = 100,
        pairs_per_fold: int = 100,
        pose_range: tuple[float, float, float] = POSE_RANGE,
        population: int = 0,
        render_size: int | None = None,
        whole_person: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root or "synthetic", image_size=image_size, **kwargs)
        self.render_size = self.image_size if render_size is None else render_size
        least, most = SIZES
        fits = least <= self.render_size <= most
        require(fits, f"faces are rendered at {least} to {most} pixels, not {self.render_size}; set render_size")
        self.sizes = {"train": (train_size, identities), "val": (val_size, val_identities)}
        self.sizes["test"] = (test_size, test_identities)
        for name, (images, people) in self.sizes.items():
            got = f"got {people} identities and {images} images"
            valid = 1 <= people <= images <= _SPACE
            require(valid, f"the {name} split needs 1 <= identities <= images <= {_SPACE}, {got}")
        angles = len(pose_range) == 3 and all(0 <= angle <= 90 for angle in pose_range)
        require(angles, f"pose_range must be three angles of 0 to 90 degrees (yaw, pitch, roll), got {pose_range}")
        require(population >= 0, f"population must be 0 or more, got {population}")
        even = pairs_per_fold >= 2 and pairs_per_fold % 2 == 0
        require(even, f"pairs_per_fold must be even and at least 2, got {pairs_per_fold}")
        self.pairs = verification_pairs(torch.arange(test_size) % test_identities, pairs_per_fold, seed=population)
        self.pose_range, self.population = pose_range, population
        self.whole_person = whole_person

    def build(self) -> dict[str, FaceSet]:
        splits, first_person = {}, 0
        for number, (name, (images, people)) in enumerate(self.sizes.items()):
            person, start = torch.arange(images) % people, number * _SPACE
            numbers = ((start + index, start + index % people) for index in range(images))
            faces = [sample_face(self.population, *each, self.pose_range) for each in numbers]
            intensity = torch.tensor([face.action_units for face in faces], dtype=torch.float32)
            labels = {
                "expression": torch.tensor([face.expression for face in faces], dtype=torch.long),
                "au_intensity": intensity,
                "action_units": (intensity >= PRESENT_FROM).float(),
                "pose": torch.tensor([face.pose for face in faces], dtype=torch.float32),
                "identity": person + first_person,
                "subject": person + first_person,
                "fold": person % FOLDS,
            }
            splits[name] = FaceSet(
                SyntheticSource(faces, self.render_size, self.whole_person and name == "train"),
                labels,
                pairs=self.pairs if name == "test" else None,
                name=f"{self.name}/{name}",
                class_names={"expression": EXPRESSIONS},
            )
            first_person += people
        return splits

    def _verify(self) -> None:  # in every process, of which all but one find the faces rendered
        super()._verify()
        for split in () if self._features else self.splits:
            self._render(split)

    def image_loader(self, split: str) -> DataLoader[Any]:
        self._render(split)
        return super().image_loader(split)

    def _render(self, split: str) -> None:
        source = self._split(split).source
        if isinstance(source, SyntheticSource):
            source.materialize(max(1, self.num_workers))


def verification_pairs(person: Tensor, pairs_per_fold: int, seed: int) -> Pairs:
    """Draw distinct pairs in 10 folds: people of one fold occur in no other, half of a fold's pairs agree.

    ``person`` (n,) says who is shown. Raises UsageError where a fold has too few pictures for so many pairs.
    """
    rng = np.random.default_rng([seed, pairs_per_fold])
    shown = person.numpy()
    chosen: list[np.ndarray] = []
    for fold in range(FOLDS):
        rows = np.flatnonzero(shown % FOLDS == fold)
        one, two = np.triu_indices(len(rows), k=1)
        candidates = np.stack([rows[one], rows[two]], axis=1)
        same = shown[candidates[:, 0]] == shown[candidates[:, 1]]
        if min(same.sum(), (~same).sum()) < pairs_per_fold // 2:
            raise UsageError(
                f"pairs_per_fold={pairs_per_fold} is more than the test images allow (fold {fold} has {same.sum()} "
                f"pairs of one person and {(~same).sum()} of two); raise test_size and test_identities or lower "
                "pairs_per_fold"
            )
        for group in (candidates[same], candidates[~same]):
            chosen.append(rng.choice(group, pairs_per_fold // 2, replace=False, shuffle=False))
    pairs = torch.from_numpy(np.concatenate(chosen))
    first, second = pairs[:, 0], pairs[:, 1]
    return Pairs(first, second, person[first] == person[second], person[first] % FOLDS)
