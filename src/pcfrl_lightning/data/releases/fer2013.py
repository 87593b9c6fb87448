"""FER-2013: 35,887 grey 48 x 48 faces with one of seven expressions (Goodfellow et al., 2013)."""

import hashlib
import logging
import re
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.listing import Roots, as_paths, open_images
from pcfrl_lightning.data.images.rows import Row, read_csv
from pcfrl_lightning.data.images.sources import ArraySource, ImageSource, SubsetSource
from pcfrl_lightning.data.quality.unreadable import UnreadableLog, cache_folder
from pcfrl_lightning.data.releases.base import Release, by_class
from pcfrl_lightning.data.split import SPLITS
from pcfrl_lightning.errors import DataError, require

log = logging.getLogger(__name__)

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Names in the order of the official codes 0..6, which is not the alphabetical order of the class folders."""

SPLIT_OF_USAGE = {"training": "train", "publictest": "val", "privatetest": "test"}
_SPLIT_OF_FOLDER = {**SPLIT_OF_USAGE, **SPLITS}
_OTHER_SPELLINGS = ("anger", "disgusted", "fearful", "happiness", "sadness", "surprised")
_CODE = {name: code for names in (CLASSES, _OTHER_SPELLINGS) for code, name in enumerate(names)}
_USAGE_PREFIX = re.compile(r"^(training|publictest|privatetest)_(.*)$")
_COLUMNS = ("emotion", "pixels", "usage")
_SIDE = 48
_EXPECTED = (
    "expected fer2013.csv, folders <split>/<class>/ with splits train, validation, test and classes "
    f"{', '.join(CLASSES)}, or archives fer2013*.zip of such folders"
)


class FER2013(Release):
    """FER-2013 with its official splits (Training = train, PublicTest = val, PrivateTest = test); label `expression`
    0..6 in the order of `CLASSES`.

    Args:
        root: a folder that holds `fer2013.csv`, the class folders or the archives `fer2013*.zip`; or the csv, one
            archive or several archives themselves.  A file `<Usage>_<number>.jpg` belongs to the split of its usage,
            any other to that of its folder; names such as `Training_<number>_<copy>.jpg` are augmented copies and left
            out.
        kwargs: see `Release`.
    """

    name = "fer2013"
    official: ClassVar = {
        **by_class("train", CLASSES, [3995, 436, 4097, 7215, 4830, 3171, 4965]),
        **by_class("val", CLASSES, [467, 56, 496, 895, 653, 415, 607]),
        **by_class("test", CLASSES, [491, 55, 528, 879, 594, 416, 626]),
    }

    def __init__(self, root: Roots, **kwargs: Any) -> None:
        self.roots = as_paths(root, "a folder, a csv file")
        super().__init__(self.roots[0], **kwargs)

    def build(self) -> dict[str, FaceSet]:
        roots = _resolve(self.roots)
        csv = roots[0].suffix.lower() == ".csv"
        source, labels = self._read_csv(roots[0]) if csv else _read_tree(roots)
        found = {}
        for split in SPLIT_OF_USAGE.values():
            if rows := [row for row, (_, name) in enumerate(labels) if name == split]:
                codes = {"expression": [labels[row][0] for row in rows]}
                found[split] = self.faces(split, SubsetSource(source, rows), codes, {"expression": CLASSES})
        return found

    def duplicates_of_train(self, split: str = "test") -> Tensor:
        """Which images of a split, (n,) bool, have the pixels of a training image; 288 of `test` as JPEG."""
        train, faces = self.splits["train"], self.splits[split]
        seen = {_pixel_hash(train.image(row)) for row in range(len(train))}
        return torch.tensor([_pixel_hash(faces.image(row)) in seen for row in range(len(faces))], dtype=torch.bool)

    def _read_csv(self, path: Path) -> tuple[ImageSource, list[tuple[int, str]]]:
        """Images, named by line (`line 2` is the first), with code and split, of a csv whose columns have any order.

        Rows without 2,304 pixels are damaged images: left out, up to 1 %.
        """
        rows = read_csv(path)
        header = next(rows, Row(path, 1, [])).fields
        found = [name.lower() for name in header]
        if not set(_COLUMNS) <= set(found):
            raise DataError(f"{path}: expected the header 'emotion,pixels,Usage', found '{','.join(header)[:80]}'")
        images: dict[str, np.ndarray] = {}
        labels: list[tuple[int, str]] = []
        damaged: list[tuple[str, str]] = []
        for row in rows:
            if len(row) != len(header):
                row.fail(f"{len(row)} columns, but the header has {len(header)}; copy the file again")
            emotion, pixels, usage = (row.fields[found.index(name)] for name in _COLUMNS)
            where, image = f"line {row.number}", _image(pixels)
            if image is None:
                damaged.append((where, f"not {_SIDE * _SIDE} numbers from 0 to 255"))
                continue
            if emotion not in map(str, range(len(CLASSES))):
                raise DataError(f"{path} {where}: emotion must be 0..{len(CLASSES) - 1}, got '{emotion}'")
            if usage.lower() not in SPLIT_OF_USAGE:
                raise DataError(f"{path} {where}: Usage must be Training, PublicTest or PrivateTest, got '{usage}'")
            images[where] = image
            labels.append((int(emotion), SPLIT_OF_USAGE[usage.lower()]))
        record = UnreadableLog(path.name, len(images) + len(damaged), self._report_folder() or cache_folder())
        record.add(damaged)
        record.summarise("left out")
        if not images:
            raise DataError(f"{path}: no rows below the header")
        return ArraySource(np.stack(list(images.values())), list(images)), labels


def _resolve(roots: list[Path]) -> list[Path]:
    """The csv, the folder of classes or the archives that a root stands for."""
    root = roots[0]
    if len(roots) > 1 or not root.is_dir():
        require(root.exists(), f"{root}: does not exist; {_EXPECTED}", FileNotFoundError)
        return roots
    for folder in (root, root / root.name, root / "fer2013"):
        if (folder / "fer2013.csv").is_file():
            return [folder / "fer2013.csv"]
        children = {child.name.lower() for child in folder.iterdir() if child.is_dir()} if folder.is_dir() else set()
        if children & (_SPLIT_OF_FOLDER.keys() | _CODE.keys()):
            return [folder]
        if archives := sorted(folder.glob("fer2013*.zip")):
            return archives
    raise DataError(f"{root}: no FER-2013 found; {_EXPECTED}")


def _read_tree(roots: list[Path]) -> tuple[ImageSource, list[tuple[int, str]]]:
    """Images of class folders, in a folder or in archives, with code and split."""
    source = open_images(roots)
    rows, labels = [], []
    for row in range(len(source)):
        path = PurePosixPath(source.name(row).lower())
        usage = _USAGE_PREFIX.match(path.stem)
        if usage and not usage[2].isdigit():
            continue
        folders = [_SPLIT_OF_FOLDER[part] for part in path.parts[:-1] if part in _SPLIT_OF_FOLDER]
        split = SPLIT_OF_USAGE[usage[1]] if usage else (folders[-1] if folders else None)
        code = _CODE.get(path.parent.name)
        if code is None or split is None:
            raise DataError(f"{roots[0]}: '{source.name(row)}' tells no split or no class; {_EXPECTED}")
        rows.append(row)
        labels.append((code, split))
    if copies := len(source) - len(rows):
        log.warning("%s: %d augmented copies (names beyond <Usage>_<number>) left out", roots[0], copies)
    return SubsetSource(source, rows), labels


def _pixel_hash(image: np.ndarray) -> bytes:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()


def _image(pixels: str) -> np.ndarray | None:
    try:
        values = np.array(pixels.split(), dtype=np.int16)
    except (ValueError, OverflowError):
        return None
    if values.size != _SIDE * _SIDE or values.min() < 0 or values.max() > 255:
        return None
    return values.astype(np.uint8).reshape(_SIDE, _SIDE)
