"""FER-2013: 35,887 grey 48 x 48 faces with one of seven expressions (Goodfellow et al., 2013)."""

import hashlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.listing import open_images
from pcfrl_lightning.data.images.sources import ImageSource, SubsetSource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.fer2013_csv import read_csv
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.errors import DataError

log = logging.getLogger(__name__)

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Names in the order of the official codes 0..6, which is not the alphabetical order of the class folders."""

SPLIT_OF_USAGE = {"training": "train", "publictest": "val", "privatetest": "test"}
_SPLIT_OF_FOLDER = SPLIT_OF_USAGE | {
    "train": "train",
    "validation": "val",
    "val": "val",
    "valid": "val",
    "test": "test",
}
_OTHER_SPELLINGS = {
    "anger": "angry", "disgusted": "disgust", "fearful": "fear", "happiness": "happy", "sadness": "sad",
    "surprised": "surprise",
}  # fmt: skip
_CODE = {name: code for code, name in enumerate(CLASSES)}
_CODE |= {spelling: _CODE[name] for spelling, name in _OTHER_SPELLINGS.items()}
_USAGE_PREFIX = re.compile(r"^(training|publictest|privatetest)_(.*)$")
_EXPECTED = (
    "expected fer2013.csv, folders <split>/<class>/ with splits train, validation, test and classes "
    f"{', '.join(CLASSES)}, or archives fer2013*.zip of such folders"
)


class FER2013(FaceData):
    """FER-2013 with its official splits (Training = train, PublicTest = val, PrivateTest = test) and label codes.

    Label `expression` (n,) long, 0..6 in the order of `CLASSES`, mapped by the name of the class folder.

    Args:
        root: a folder that holds `fer2013.csv`, the class folders or the archives `fer2013*.zip`; or the csv, one
            archive or several archives themselves.  A file `<Usage>_<number>.jpg` belongs to the split of its usage,
            any other to that of its folder; names such as `Training_<number>_<copy>.jpg` are augmented copies and left
            out.
        views, image_size, batch_size, num_workers, seed: see `FaceData`.
    """

    name = "fer2013"

    def __init__(
        self,
        root: str | Path | Sequence[str | Path],
        views: Views | None = None,
        image_size: int = 64,
        batch_size: int = 256,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        roots = [root] if isinstance(root, (str, Path)) else list(root)
        if not roots:
            raise ValueError("root must name a folder, a csv file or at least one zip archive")
        super().__init__(roots[0], views, image_size, batch_size, num_workers, seed)
        self.roots = [Path(path) for path in roots]

    def build(self) -> dict[str, FaceSet]:
        """The official splits that are present."""
        roots = _resolve(self.roots)
        source: ImageSource
        if roots[0].suffix.lower() == ".csv":
            source, labels, splits = read_csv(roots[0], SPLIT_OF_USAGE, len(CLASSES), self._report_folder())
        else:
            source, labels, splits = _read_tree(roots)
        return {
            split: self._select(source, labels, splits, split) for split in ("train", "val", "test") if split in splits
        }

    def duplicates_of_train(self, split: str = "test") -> Tensor:
        """Which images of a split have the pixels of a training image.

        Returns:
            (n,) bool; 288 of the 3,589 images of `test` in the JPEG release.
        """
        seen = {_pixel_hash(self.splits["train"], row) for row in range(len(self.splits["train"]))}
        faces = self.splits[split]
        return torch.tensor([_pixel_hash(faces, row) in seen for row in range(len(faces))], dtype=torch.bool)

    def _select(self, source: ImageSource, labels: list[int], splits: list[str], split: str) -> FaceSet:
        rows = [row for row, name in enumerate(splits) if name == split]
        return FaceSet(
            SubsetSource(source, rows),
            {"expression": torch.tensor([labels[row] for row in rows], dtype=torch.long)},
            name=f"{self.name}/{split}",
            class_names={"expression": CLASSES},
        )


def _resolve(roots: list[Path]) -> list[Path]:
    """The csv, the folder of classes or the archives that a root stands for."""
    root = roots[0]
    if len(roots) > 1 or not root.is_dir():
        if not root.exists():
            raise FileNotFoundError(f"{root}: does not exist; {_EXPECTED}")
        return roots
    if (root / "fer2013.csv").is_file():
        return [root / "fer2013.csv"]
    children = {child.name.lower() for child in root.iterdir() if child.is_dir()}
    if children & (_SPLIT_OF_FOLDER.keys() | _CODE.keys()):
        return [root]
    archives = sorted(root.glob("fer2013*.zip"))
    if not archives:
        raise DataError(f"{root}: no FER-2013 found; {_EXPECTED}")
    return archives


def _read_tree(roots: list[Path]) -> tuple[ImageSource, list[int], list[str]]:
    source = open_images(roots[0] if len(roots) == 1 else roots)
    rows, labels, splits, copies = [], [], [], 0
    for row in range(len(source)):
        path = PurePosixPath(source.name(row).lower())
        if _is_copy(path.stem):
            copies += 1
            continue
        code, split = _CODE.get(path.parent.name), _split(path)
        if code is None or split is None:
            raise DataError(f"{roots[0]}: '{source.name(row)}' tells no split or no class; {_EXPECTED}")
        rows.append(row)
        labels.append(code)
        splits.append(split)
    if copies:
        log.warning("%s: %d augmented copies (names beyond <Usage>_<number>) left out", roots[0], copies)
    return SubsetSource(source, rows), labels, splits


def _is_copy(stem: str) -> bool:
    usage = _USAGE_PREFIX.match(stem)
    return usage is not None and not usage.group(2).isdigit()


def _split(path: PurePosixPath) -> str | None:
    usage = _USAGE_PREFIX.match(path.stem)
    if usage:
        return SPLIT_OF_USAGE[usage.group(1)]
    folders = [_SPLIT_OF_FOLDER[part] for part in path.parts[:-1] if part in _SPLIT_OF_FOLDER]
    return folders[-1] if folders else None


def _pixel_hash(faces: FaceSet, row: int) -> bytes:
    image = faces.image(row)
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
