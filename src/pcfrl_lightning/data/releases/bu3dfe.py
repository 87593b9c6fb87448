"""BU-3DFE: six expressions in four intensities, and neutral, of 100 people."""

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.listing import walk
from pcfrl_lightning.data.images.sources import FileSource
from pcfrl_lightning.data.releases.base import CroppedRelease, by_class
from pcfrl_lightning.data.releases.release import note_missing
from pcfrl_lightning.errors import DataError, require

CODES = ("AN", "DI", "FE", "HA", "SA", "SU", "NE")
CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
FILE_NAME = re.compile(r"^([FM]\d{4})_(AN|DI|FE|HA|SA|SU|NE)(0[0-4])([A-Z]{2})_F2D\.bmp$", re.IGNORECASE)


class BU3DFE(CroppedRelease):
    """The official texture images `<subject>/<subject>_<expression><level><ethnicity>_F2D.bmp`, somewhere below `root`.

    Labels `expression` 0..6 in the order of `CLASSES`, `level` 0..4 (0 for neutral only), `subject`, and `fold`: the
    k-th subject in alphabetical order lies in fold k mod `folds`.  The release has no split; here `test` is one fold
    and `train` the others, without a common subject.  There are no landmarks.

    Args:
        root: folder of the release.
        fold: the fold that is tested, 0..folds-1.
        folds: number of folds, 2 or more.
        kwargs: see `CroppedRelease`.
    """

    name = "bu3dfe"
    side = 256
    no_landmarks = "BU-3DFE has no landmarks: use NoCrop or YuNetCrop"
    official: ClassVar = {
        **by_class("train", CLASSES, [360] * 6 + [90]),
        **by_class("test", CLASSES, [40] * 6 + [10]),
    }

    def __init__(self, root: str | Path, fold: int = 0, folds: int = 10, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        require(folds >= 2 and 0 <= fold < folds, f"need folds >= 2 and 0 <= fold < folds, got fold {fold} of {folds}")
        self.fold, self.folds = fold, folds

    def build(self) -> dict[str, FaceSet]:
        paths = sorted(self.root / name for name in walk(self.root))  # links are followed
        found = [(path, match) for path in paths if (match := FILE_NAME.match(path.name))]
        if not found:
            problem = "no images named like F0001_AN01WH_F2D.bmp; rendered images need BU3DFERendered"
            raise DataError(f"{self.root}: {problem}")
        _check_names(self.root, found)
        subject = np.unique([match[1].upper() for _, match in found], return_inverse=True)[1]
        labels = {
            "expression": [CODES.index(match[2].upper()) for _, match in found],
            "level": [int(match[3]) for _, match in found],
            "subject": subject,
            "fold": subject % self.folds,
        }
        source = FileSource(self.root, [path.relative_to(self.root) for path, _ in found])
        everything = self.faces("all", source, labels, {"expression": CLASSES})
        return self.without_fold(everything, everything.labels["fold"] == self.fold, self.fold)


def _check_names(root: Path, found: list[tuple[Path, re.Match[str]]]) -> None:
    """No image twice and no impossible level; what a subject lacks is listed for `pcfrl data check`."""
    paths: dict[str, Path] = {}
    folders: dict[tuple[str, str], str] = {}
    for path, match in found:
        if (match[2].upper() == "NE") != (match[3] == "00"):
            raise DataError(f"{path}: level 00 belongs to neutral and to nothing else")
        first = paths.setdefault(path.name.upper(), path)
        require(first == path, f"{path}: the same image as {first}; remove one of them", DataError)
        folders[match[1].upper(), match[4].upper()] = path.relative_to(root).parent.as_posix()
    levels = ["NE00", *(f"{code}{level:02d}" for code in CODES if code != "NE" for level in (1, 2, 3, 4))]
    absent = [
        f"{folder}/{name}"
        for (subject, ethnicity), folder in folders.items()
        for name in (f"{subject}_{level}{ethnicity}_F2D.bmp" for level in levels)
        if name.upper() not in paths
    ]
    if absent:
        note_missing(f"{root}: {len(absent)} images of its subjects are missing, the first is {absent[0]}", absent)
