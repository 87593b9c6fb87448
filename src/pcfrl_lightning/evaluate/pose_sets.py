"""Faces with known pose and person on which features are taken apart: rendered ones, and Pointing'04."""

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.listing import open_images
from pcfrl_lightning.errors import DataError, require
from pcfrl_lightning.probes.tasks.numbers import ANGLES

FOLDS = 5
PER_PERSON = 50
"""Rendered pictures of one person."""
POPULATION = 41
"""Of the rendered faces; training uses 0 unless told otherwise."""

_POINTING = re.compile(r"person(\d\d)(\d)(\d\d)([+-]\d+)([+-]\d+)\.\w+$", re.IGNORECASE)


class PoseFaces(NamedTuple):
    """Images and what is known about them."""

    name: str
    faces: FaceSet
    angles: tuple[str, ...]  # names of A angles
    pose: Tensor  # (n, A) degrees
    person: Tensor  # (n,) long; person p belongs to fold p modulo 5
    occasion: Tensor | None = None  # (n,) long, where a person was photographed several times in one
    expression: Tensor | None = None  # (n,) long, where there is one

    @property
    def fold(self) -> Tensor:
        """(n,) long, disjoint in people."""
        return self.person.unique(return_inverse=True)[1] % FOLDS


def rendered_faces(images: int, size: int) -> PoseFaces:
    """Pictures of `SyntheticFaces` of ``size`` pixels, of people of a population that no configuration trains on.

    Fifty pictures a person, ten people at least; rendered once and kept in the cache folder.
    """
    from pcfrl_lightning.synthetic import SyntheticFaces

    require(images >= 2 * 2 * FOLDS, f"at least {4 * FOLDS} rendered faces are needed, got {images}")
    people = max(2 * FOLDS, images // PER_PERSON)
    data = SyntheticFaces(
        image_size=size,
        train_size=1,
        identities=1,
        val_size=images,
        val_identities=people,
        test_size=40,
        test_identities=20,
        pairs_per_fold=2,
        population=POPULATION,
        num_workers=1,
    )
    data.image_loader("val")  # renders what is not there yet
    faces = data.splits["val"]
    labels = faces.labels
    return PoseFaces("synthetic", faces, ANGLES, labels["pose"], labels["identity"], None, labels["expression"])


def pointing04(root: str | Path) -> PoseFaces:
    """Pointing'04 (Gourier, Hall and Crowley 2004): 15 people, two series each, 93 directed head poses.

    ``root`` is a folder or a zip of pictures cut to the faces, all in one scale, named as in the release:
    ``person<pp><series><nn><tilt><pan>.jpg``, signed degrees. Pan is positive towards the left side of the image, tilt
    positive upwards, as yaw and pitch. Two series of a person are two occasions.

    Raises:
        DataError: no picture of such a name, or fewer people than folds.
    """
    source = open_images(root, keep=lambda name: _POINTING.search(name) is not None)
    found = [_POINTING.search(source.name(row)) for row in range(len(source))]
    cells = torch.tensor([[int(part) for part in match.groups()] for match in found if match])
    person, series, _, tilt, pan = cells.T
    people = len(person.unique())
    if people < FOLDS:
        raise DataError(f"{root}: pictures of {people} people, at least {FOLDS} are needed")
    pose = torch.stack([pan, tilt], dim=1).float()
    faces = FaceSet(source, {"subject": person}, name="pointing04")
    return PoseFaces("pointing04", faces, ("pan", "tilt"), pose, person, occasion=10 * person + series)
