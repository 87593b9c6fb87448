"""RAF-DB: facial expressions in the wild, basic (7 classes) and compound (11 classes)."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

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
        found: dict[str, dict[str, tuple[Row, int]]] = {"train": {}, "test": {}}
        once, ending = Once(), "_aligned" if self.images == "aligned" else ""
        for row in read_rows(listing):
            row.expect(2)
            image = once.add(row, row.relative(0))
            split = image.partition("_")[0]
            if split not in found:
                row.fail(f"{image!r} begins neither with train_ nor with test_")
            stem, dot, suffix = image.rpartition(".")
            found[split][f"{stem}{ending}{dot}{suffix}"] = row, row.integer(1, 1, len(self.classes)) - 1
        release = open_images(base, [f"Image/{self.images}"])
        require_images(release, ((row, image) for rows in found.values() for image, (row, _) in rows.items()))
        points = inside(base, "Annotation/manual") or base / "Annotation" / "manual"
        splits = {}
        for split, rows in found.items():
            labels = {"expression": [label for _, label in rows.values()]}
            files = [f"{Path(row.text(0)).stem}_manu_attri.txt" for row, _ in rows.values()]
            landmarks = partial(read_point_files, points, files, FIVE_POINTS, lines=FIVE_POINTS)
            source = release.source(list(rows))
            splits[split] = self.faces(split, source, labels, {"expression": self.classes}, landmarks)
        return splits


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
