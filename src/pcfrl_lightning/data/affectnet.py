"""AffectNet, the seven basic expressions."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pcfrl_lightning.data.alignment import Alignment, NoAlignment
from pcfrl_lightning.data.base import FaceData
from pcfrl_lightning.data.crops import bounds
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.release import FolderImages, require_companions, require_images
from pcfrl_lightning.data.rows import Row, open_text
from pcfrl_lightning.data.sources import FileSource
from pcfrl_lightning.errors import DataError

CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
_LARGEST_CODE = 10
_COLUMNS = 9


class _Sample(NamedTuple):
    image: str
    expression: int
    box: np.ndarray | None
    row: Row | None = None


class AffectNet7(FaceData):
    """AffectNet-7: splits `train` and `test` (the official validation set; the test set is not public).

    Label `expression` 0..6 in the official order of `class_names`.  Contempt (7) and the codes 8..10 (none,
    uncertain, no face) are left out.  Reads either release: `train_set/images/<n>.jpg` with
    `train_set/annotations/<n>_exp.npy`, or `Manually_Annotated_file_lists/training.csv` (with or without a header)
    with `Manually_Annotated_Images/`.

    Args:
        root: the release.
        alignment: how to cut out the face; `LandmarkCrop` uses the 68 points of the annotations.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.
    """

    name = "affectnet7"

    def __init__(
        self, root: str | Path, alignment: Alignment | None = None, image_size: int = 100, **kwargs: Any
    ) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        self.alignment = alignment or NoAlignment()

    def build(self) -> dict[str, FaceSet]:
        """Splits `train` and `test`."""
        splits = {}
        for split, folder, listing in (("train", "train_set", "training.csv"), ("test", "val_set", "validation.csv")):
            if (self.root / folder).is_dir():
                samples = list(self._from_arrays(self.root / folder))
                images = self.root / folder / "images"
            else:
                samples = list(self._from_csv(self._find_csv(listing)))
                images = next(
                    (path for path in self.root.glob("**/Manually_Annotated_Images") if path.is_dir()),
                    self.root / "Manually_Annotated_Images",
                )
                require_images(FolderImages(images), ((s.row, s.image) for s in samples if s.row is not None))
            boxes = np.array([s.box for s in samples]).reshape(-1, 4) if self.alignment.needs_boxes else None
            splits[split] = FaceSet(
                self.alignment.apply(FileSource(images, [sample.image for sample in samples]), boxes),
                {"expression": torch.tensor([sample.expression for sample in samples], dtype=torch.long)},
                name=f"{self.name}/{split}",
                class_names=CLASSES,
            )
        return splits

    def _find_csv(self, listing: str) -> Path:
        found = sorted(path for path in self.root.glob(f"**/{listing}") if "Automatically" not in path.as_posix())
        if not found:
            raise FileNotFoundError(f"neither train_set and val_set nor {listing} under {self.root}")
        return found[0]

    def _from_arrays(self, folder: Path) -> Iterator[_Sample]:
        from tqdm import tqdm

        images = sorted((path for path in (folder / "images").iterdir() if path.suffix == ".jpg"), key=_by_number)
        labels = [f"{image.stem}_exp.npy" for image in images]
        points = [f"{image.stem}_lnd.npy" for image in images] if self.alignment.needs_boxes else []
        require_companions(folder / "annotations", labels + points, "annotations")
        for image in tqdm(images, desc=f"labels {self.name}/{folder.name}", delay=2):
            label = folder / "annotations" / f"{image.stem}_exp.npy"
            expression = _integer(_load(label), label)
            if expression < len(CLASSES):
                box = self._array_box(folder / "annotations" / f"{image.stem}_lnd.npy")
                yield _Sample(image.name, expression, box)

    def _array_box(self, path: Path) -> np.ndarray | None:
        if not self.alignment.needs_boxes:
            return None
        try:
            points = _load(path).astype(np.float64).reshape(-1, 2)
        except ValueError as error:
            raise DataError(f"{path}: landmarks are not numbers x, y ({error})") from None
        if len(points) != 68 or not np.isfinite(points).all():
            raise DataError(f"{path}: expected 68 finite landmarks, found {len(points)}")
        return bounds(points)

    def _from_csv(self, path: Path) -> Iterator[_Sample]:
        with open_text(path) as lines:
            for fields in (reader := csv.reader(lines)):
                row = Row(path, reader.line_num, [field.strip() for field in fields])
                if not fields or fields[0].startswith("subDirectory"):
                    continue
                row.expect(_COLUMNS)
                expression = row.integer(6, 0, _LARGEST_CODE)
                if expression < len(CLASSES):
                    yield _Sample(row.relative(0), expression, self._csv_box(row), row)

    def _csv_box(self, row: Row) -> np.ndarray | None:
        if not self.alignment.needs_boxes:
            return None
        numbers = Row(row.path, row.number, row.text(5).split(";"))
        numbers.expect(136)
        return bounds(np.array([numbers.number_at(i) for i in range(136)]).reshape(68, 2))


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no readable array ({error})") from None


def _integer(array: np.ndarray, path: Path) -> int:
    """The official files hold the number as a string."""
    text = str(array.item()) if array.size == 1 else ""
    if not text.isdigit() or int(text) > _LARGEST_CODE:
        raise DataError(f"{path}: {text!r} is not an expression code from 0 to {_LARGEST_CODE}")
    return int(text)


def _by_number(path: Path) -> tuple[int, str]:
    return (int(path.stem) if path.stem.isdigit() else 0, path.stem)
