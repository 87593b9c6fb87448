"""RAF-DB: facial expressions in the wild, basic (7 classes) and compound (11 classes)."""

from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from pcfrl_lightning.data.cropping.croppers import Cropper, NoCrop, UnsuitableCropping
from pcfrl_lightning.data.cropping.geometry import FIVE_POINTS
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import Once, Row, first_existing, read_rows
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import open_images, require_companions, require_images
from pcfrl_lightning.errors import DataError

_FOLDERS = {"basic", "compound"}


class RAFDB(FaceData):
    """RAF-DB basic: 12,271 train and 3,068 test images; label `expression`, 0..6 in the order of `class_names`.

    Reads `EmoLabel/list_patition_label.txt` (labels from 1) and `Image/aligned/<name>_aligned.jpg` or
    `Image/original/<name>.jpg`; each image folder may still be a zip of the same name.

    Args:
        root: the release, or the folder that holds `basic`.
        cropping: how to cut out the face.  `UprightCrop` and `LandmarkCrop` need `images: original` and read the
            five points of `Annotation/manual/<name>_manu_attri.txt`.
        images: `aligned` (100x100, aligned by the authors) or `original`.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.

    Raises:
        UnsuitableCropping: a cropping by landmarks with the aligned images.
    """

    name = "rafdb"
    folder: ClassVar[str] = "basic"
    class_names: ClassVar[tuple[str, ...]] = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")

    def __init__(
        self,
        root: str | Path,
        cropping: Cropper | None = None,
        images: Literal["aligned", "original"] = "aligned",
        image_size: int = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        self.cropping = cropping or NoCrop()
        self.images = images
        if self.cropping.needs_landmarks and images == "aligned":
            raise UnsuitableCropping("the aligned images of RAF-DB have no landmarks: use images=original or NoCrop")

    def build(self) -> dict[str, FaceSet]:
        """Splits `train` and `test`, by the prefix of the names."""
        base = self.root / self.folder if (self.root / self.folder).is_dir() else self.root
        if base.name in _FOLDERS - {self.folder}:
            raise DataError(f"{base} holds the {base.name} expressions, {self.name} reads the {self.folder} ones")
        listing = first_existing(base, ["EmoLabel/list_patition_label.txt"], f"label list of {self.name}")
        rows: dict[str, list[Row]] = {"train": [], "test": []}
        names: dict[str, list[str]] = {"train": [], "test": []}
        labels: dict[str, list[int]] = {"train": [], "test": []}
        once = Once()
        for row in read_rows(listing):
            row.expect(2)
            image = once.add(row, row.relative(0))
            split = image.partition("_")[0]
            if split not in names:
                row.fail(f"{image!r} begins neither with train_ nor with test_")
            rows[split].append(row)
            names[split].append(image)
            labels[split].append(row.integer(1, 1, len(self.class_names)) - 1)
        release = open_images(base, [f"Image/{self.images}"], [f"Image/{self.images}.zip"])
        files = {split: [self._file(name) for name in names[split]] for split in names}
        listed = [pair for split in names for pair in zip(rows[split], files[split], strict=True)]
        require_images(release, listed)
        return {
            split: FaceSet(
                self.cropping.apply(
                    release.source(files[split]),
                    self._landmarks(base, names[split]) if self.cropping.needs_landmarks else None,
                ),
                {"expression": torch.tensor(labels[split], dtype=torch.long)},
                name=f"{self.name}/{split}",
                class_names={"expression": self.class_names},
            )
            for split in names
        }

    def _file(self, name: str) -> str:
        stem, dot, suffix = name.rpartition(".")
        return f"{stem}_aligned{dot}{suffix}" if self.images == "aligned" else name

    def _landmarks(self, base: Path, names: list[str]) -> np.ndarray:
        """The five points (n, 5, 2) in the first lines, `x y` each, of the manual annotations."""
        result = np.zeros((len(names), FIVE_POINTS, 2), np.float32)
        folder = base / "Annotation" / "manual"
        files = [f"{Path(name).stem}_manu_attri.txt" for name in names]
        for i, there in enumerate(require_companions(folder, files, "landmark files")):
            if there:
                rows = islice(read_rows(folder / files[i]), FIVE_POINTS)
                points = [[row.number_at(0), row.number_at(1)] for row in rows]
                result[i] = face_points(points, FIVE_POINTS, folder / files[i])
        return result


class RAFDBCompound(RAFDB):
    """RAF-DB compound: 3,954 images of 11 compound expressions, in the same layout under `compound`."""

    name = "rafdb-compound"
    folder: ClassVar[str] = "compound"
    class_names: ClassVar[tuple[str, ...]] = (
        "happily surprised", "happily disgusted", "sadly fearful", "sadly angry", "sadly surprised", "sadly disgusted",
        "fearfully angry", "fearfully surprised", "angrily surprised", "angrily disgusted", "disgustedly surprised",
    )  # fmt: skip
