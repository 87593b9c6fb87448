"""BU-3DFE: six expressions in four intensities, and neutral, of 100 people; or images rendered from its 3D models."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pcfrl_lightning.data.cropping.croppers import Cropper, NoCrop, UnsuitableCropping
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import FileSource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.release import note_missing
from pcfrl_lightning.errors import DataError

CODES = ("AN", "DI", "FE", "HA", "SA", "SU", "NE")
CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
FILE_NAME = re.compile(
    r"^([FM]\d{4})_(AN|DI|FE|HA|SA|SU|NE)(0[0-4])([A-Z]{2})_(F2D|F3D|RAW)\.(bmp|wrl)$", re.IGNORECASE
)


class BU3DFE(FaceData):
    """The official texture images `<subject>/<subject>_<expression><level><ethnicity>_F2D.bmp`.

    Labels `expression` 0..6 in the order of `class_names`, `level` 0..4 (0 for neutral only), `subject`, and `fold`:
    the k-th subject in alphabetical order lies in fold k mod `folds`.  The release has no split; here `test` is one
    fold and `train` the others, without a common subject.

    Args:
        root: the release, with one folder per subject somewhere below.
        cropping: how to cut out the face; `NoCrop` or `YuNetCrop`.
        fold: the fold that is tested, 0..folds-1.
        folds: number of folds, 2 or more.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.

    Raises:
        ValueError: fold or folds out of range.
        UnsuitableCropping: a cropping by landmarks.
    """

    name = "bu3dfe"

    def __init__(
        self,
        root: str | Path,
        cropping: Cropper | None = None,
        fold: int = 0,
        folds: int = 10,
        image_size: int = 256,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        if folds < 2 or not 0 <= fold < folds:
            raise ValueError(f"need folds >= 2 and 0 <= fold < folds, got fold {fold} of {folds}")
        self.fold, self.folds = fold, folds
        self.cropping = cropping or NoCrop()
        if self.cropping.needs_landmarks:
            raise UnsuitableCropping("BU-3DFE has no landmarks: use NoCrop or YuNetCrop")

    def build(self) -> dict[str, FaceSet]:
        """The splits `train` and `test`, without a common subject."""
        everything = self._everything()
        tested = everything.labels["fold"] == self.fold
        splits = {
            "train": everything.subset((~tested).nonzero()[:, 0]),
            "test": everything.subset(tested.nonzero()[:, 0]),
        }
        for split, faces in splits.items():
            faces.name = f"{self.name}/fold{self.fold}-{split}"
        return splits

    def _everything(self) -> FaceSet:
        paths = sorted(path for path in self.root.rglob("*") if path.suffix.lower() == ".bmp")
        found = [(path, match) for path in paths if (match := FILE_NAME.match(path.name)) and match[5].upper() == "F2D"]
        if not found:
            raise DataError(
                f"{self.root}: no images named like F0001_AN01WH_F2D.bmp; rendered images need BU3DFERendered"
            )
        _check_names(self.root, found)
        subjects = sorted({match[1].upper() for _, match in found})
        number_of = {subject: number for number, subject in enumerate(subjects)}
        expression = [CODES.index(match[2].upper()) for _, match in found]
        level = [int(match[3]) for _, match in found]
        for (path, _), code, grade in zip(found, expression, level, strict=True):
            if (CODES[code] == "NE") != (grade == 0):
                raise DataError(f"{path}: level 00 belongs to neutral and to nothing else")
        subject = torch.tensor([number_of[match[1].upper()] for _, match in found], dtype=torch.long)
        source = FileSource(self.root, [path.relative_to(self.root) for path, _ in found])
        return FaceSet(
            self.cropping.apply(source, None),
            {
                "expression": torch.tensor(expression, dtype=torch.long),
                "level": torch.tensor(level, dtype=torch.long),
                "subject": subject,
                "fold": subject % self.folds,
            },
            class_names={"expression": CLASSES},
        )


def _check_names(root: Path, found: Sequence[tuple[Path, re.Match[str]]]) -> None:
    """No image twice; those of a subject that are not there are listed for `pcfrl data check`.

    Raises:
        DataError: two files of one name.
    """
    paths: dict[str, Path] = {}
    folders: dict[tuple[str, str], str] = {}
    for path, match in found:
        first = paths.setdefault(path.name.upper(), path)
        if first != path:
            raise DataError(f"{path}: the same image as {first}; remove one of them")
        folders[match[1].upper(), match[4].upper()] = path.relative_to(root).parent.as_posix()
    levels = [(code, level) for code in CODES for level in ((0,) if code == "NE" else (1, 2, 3, 4))]
    absent = [
        f"{folder}/{name}"
        for (subject, ethnicity), folder in folders.items()
        for name in (f"{subject}_{code}{level:02d}{ethnicity}_F2D.bmp" for code, level in levels)
        if name.upper() not in paths
    ]
    if absent:
        note_missing(f"{root}: {len(absent)} images of its subjects are missing, the first is {absent[0]}", absent)
