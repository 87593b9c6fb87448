"""RAF-DB: facial expressions in the wild, basic (7 classes) and compound (11 classes)."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from pcfrl_lightning.data.cropping.geometry import FIVE_POINTS
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import Once, Row, read_rows
from pcfrl_lightning.data.releases.base import CroppedRelease, by_class
from pcfrl_lightning.data.releases.points import read_point_files
from pcfrl_lightning.data.releases.release import find, inside, open_images, require_images
from pcfrl_lightning.errors import DataError

_FOLDERS = {"basic", "compound"}
_BASIC = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
_COMPOUND = (
    "happily surprised", "happily disgusted", "sadly fearful", "sadly angry", "sadly surprised", "sadly disgusted",
    "fearfully angry", "fearfully surprised", "angrily surprised", "angrily disgusted", "disgustedly surprised",
)  # fmt: skip


class RAFDB(CroppedRelease):
    """RAF-DB basic; label `expression`, 0..6 in the order of `classes`.

    Reads `EmoLabel/list_patition_label.txt` (labels from 1) and `Image/aligned/<name>_aligned.jpg` or
    `Image/original/<name>.jpg`; each image folder may still be a zip of the same name.

    Args:
        root: the release, or the folder that holds `basic`.
        images: `aligned` (100x100, by the authors) or `original`, which `UprightCrop` and `LandmarkCrop` need, with the
            five points of `Annotation/manual/<name>_manu_attri.txt`.
        kwargs: see `CroppedRelease`.
    """

    name = "rafdb"
    side = 100
    folder: ClassVar[str] = "basic"
    classes: ClassVar[tuple[str, ...]] = _BASIC
    official: ClassVar = {
        **by_class("train", _BASIC, [1290, 281, 717, 4772, 1982, 705, 2524]),
        **by_class("test", _BASIC, [329, 74, 160, 1185, 478, 162, 680]),
    }

    def __init__(self, root: str | Path, images: Literal["aligned", "original"] = "aligned", **kwargs: Any) -> None:
        if images == "aligned":
            self.no_landmarks = "the aligned images of RAF-DB have no landmarks: use images=original or NoCrop"
        super().__init__(root, **kwargs)
        self.images = images

    def build(self) -> dict[str, FaceSet]:
        base = inside(self.root, self.folder) or self.root
        if base.name in _FOLDERS - {self.folder}:
            raise DataError(f"{base} holds the {base.name} expressions, {self.name} reads the {self.folder} ones")
        listing = find(base, ["EmoLabel/list_patition_label.txt"], f"label list of {self.name}")
        found: dict[str, list[tuple[Row, str, int]]] = {"train": [], "test": []}
        once = Once()
        for row in read_rows(listing):
            row.expect(2)
            image = once.add(row, row.relative(0))
            split = image.partition("_")[0]
            if split not in found:
                row.fail(f"{image!r} begins neither with train_ nor with test_")
            found[split].append((row, image, row.integer(1, 1, len(self.classes)) - 1))
        release = open_images(base, [f"Image/{self.images}"])
        require_images(release, ((row, self._file(image)) for rows in found.values() for row, image, _ in rows))
        points = inside(base, "Annotation/manual") or base / "Annotation" / "manual"
        return {
            split: self.faces(
                split,
                release.source([self._file(image) for _, image, _ in rows]),
                {"expression": [label for _, _, label in rows]},
                {"expression": self.classes},
                partial(_read_points, points, [image for _, image, _ in rows]),
            )
            for split, rows in found.items()
        }

    def _file(self, name: str) -> str:
        stem, dot, suffix = name.rpartition(".")
        return f"{stem}_aligned{dot}{suffix}" if self.images == "aligned" else name


def _read_points(folder: Path, images: list[str]) -> np.ndarray:
    files = [f"{Path(image).stem}_manu_attri.txt" for image in images]
    return read_point_files(folder, files, FIVE_POINTS, lines=FIVE_POINTS)


class RAFDBCompound(RAFDB):
    """RAF-DB compound: 3,954 images of 11 compound expressions, in the same layout under `compound`."""

    name = "rafdb-compound"
    folder: ClassVar[str] = "compound"
    classes: ClassVar[tuple[str, ...]] = _COMPOUND
    official: ClassVar = {
        "train": 3162,
        "test": 792,
        **{f"{split}/{name}": None for split in ("train", "test") for name in _COMPOUND},
    }
