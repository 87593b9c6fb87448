"""AffectNet, the seven basic expressions."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pcfrl_lightning.data.cropping.croppers import Cropper, NoCrop
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import Once, Row, open_text
from pcfrl_lightning.data.images.sources import FileSource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import FolderImages, require_companions, require_images
from pcfrl_lightning.errors import DataError

CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
_LARGEST_CODE = 10
_COLUMNS = 9


class _Sample(NamedTuple):
    image: str
    expression: int
    points: np.ndarray | None
    row: Row | None = None


class AffectNet7(FaceData):
    """AffectNet-7: splits `train` and `test` (the official validation set; the test set is not public).

    Label `expression` 0..6 in the official order of `class_names`.  Contempt (7) and the codes 8..10 (none,
    uncertain, no face) are left out.  Reads either release: `train_set/images/<n>.jpg` with
    `train_set/annotations/<n>_exp.npy`, or `Manually_Annotated_file_lists/training.csv` (with or without a header)
    with `Manually_Annotated_Images/`.

    Args:
        root: the release.
        cropping: how to cut out the face; `UprightCrop` and `LandmarkCrop` use the 68 points of the
            annotations.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.
    """

    name = "affectnet7"

    def __init__(self, root: str | Path, cropping: Cropper | None = None, image_size: int = 100, **kwargs: Any) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        self.cropping = cropping or NoCrop()

    def build(self) -> dict[str, FaceSet]:
        """Splits `train` and `test`."""
        splits, once = {}, Once(within=False)  # a photo of several faces may have several lines
        for split, folder, listing in (("train", "train_set", "training.csv"), ("test", "val_set", "validation.csv")):
            if (self.root / folder).is_dir():
                samples = list(self._from_arrays(folder))
                images = self.root
            else:
                samples = list(self._from_csv(self._find_csv(listing), once))
                images = next(
                    (path for path in self.root.glob("**/Manually_Annotated_Images") if path.is_dir()),
                    self.root / "Manually_Annotated_Images",
                )
                require_images(FolderImages(images), ((s.row, s.image) for s in samples if s.row is not None))
            points = np.reshape([s.points for s in samples], (-1, 68, 2)) if self.cropping.needs_landmarks else None
            splits[split] = FaceSet(
                self.cropping.apply(FileSource(images, [sample.image for sample in samples]), points),
                {"expression": torch.tensor([sample.expression for sample in samples], dtype=torch.long)},
                name=f"{self.name}/{split}",
                class_names={"expression": CLASSES},
            )
        return splits

    def _find_csv(self, listing: str) -> Path:
        found = sorted(path for path in self.root.glob(f"**/{listing}") if "Automatically" not in path.as_posix())
        if not found:
            raise FileNotFoundError(f"neither train_set and val_set nor {listing} under {self.root}")
        return found[0]

    def _from_arrays(self, folder: str) -> Iterator[_Sample]:
        from tqdm import tqdm

        found = _numbers(self.root / folder / "images", ".jpg")
        annotations = f"{folder}/annotations"
        self._require_images(folder, _numbers(self.root / annotations, "_exp.npy") - found)
        for stem in tqdm(self._annotated(annotations, found), desc=f"labels {self.name}/{folder}", delay=2):
            expression = _code(self.root / annotations / f"{stem}_exp.npy")
            if expression < len(CLASSES):
                points = self._array_points(self.root / annotations / f"{stem}_lnd.npy")
                yield _Sample(f"{folder}/images/{stem}.jpg", expression, points)

    def _require_images(self, folder: str, stems: Iterable[str]) -> None:
        """Check that no annotation of one of the seven classes has lost its image."""
        annotations = self.root / folder / "annotations"
        labels = ((stem, annotations / f"{stem}_exp.npy") for stem in sorted(stems, key=_by_number))
        wanted = ((label, f"{folder}/images/{stem}.jpg") for stem, label in labels if _code(label) < len(CLASSES))
        require_images(FolderImages(self.root), wanted)

    def _annotated(self, annotations: str, images: Iterable[str]) -> list[str]:
        """Images by number that have all the annotations that are read: all of them, or an error."""
        stems = sorted(images, key=_by_number)
        kinds = ["exp", "lnd"] if self.cropping.needs_landmarks else ["exp"]
        names = [f"{annotations}/{stem}_{kind}.npy" for kind in kinds for stem in stems]
        there = dict(zip(names, require_companions(self.root, names, "annotations"), strict=True))
        return [stem for stem in stems if all(there[f"{annotations}/{stem}_{kind}.npy"] for kind in kinds)]

    def _array_points(self, path: Path) -> np.ndarray | None:
        if not self.cropping.needs_landmarks:
            return None
        return face_points(_load(path), 68, path)

    def _from_csv(self, path: Path, once: Once) -> Iterator[_Sample]:
        with open_text(path) as lines:
            for fields in (reader := csv.reader(lines)):
                row = Row(path, reader.line_num, [field.strip() for field in fields])
                if not fields or fields[0].startswith("subDirectory"):
                    continue
                row.expect(_COLUMNS)
                expression = row.integer(6, 0, _LARGEST_CODE)
                if expression < len(CLASSES):
                    points = self._csv_points(row)
                    row = Row(path, row.number, row.fields[:1])  # the landmarks are a thousand letters
                    yield _Sample(once.add(row, row.relative(0)), expression, points, row)

    def _csv_points(self, row: Row) -> np.ndarray | None:
        if not self.cropping.needs_landmarks:
            return None
        numbers = Row(row.path, row.number, row.text(5).split(";"))
        numbers.expect(136)
        return face_points([numbers.number_at(i) for i in range(136)], 68, row)


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no readable array ({error})") from None


def _code(path: Path) -> int:
    """Expression code; the official files hold the number as a string."""
    array = _load(path)
    text = str(array.item()) if array.size == 1 else ""
    if not (text.isascii() and text.isdigit()) or int(text) > _LARGEST_CODE:
        raise DataError(f"{path}: {text!r} is not an expression code from 0 to {_LARGEST_CODE}")
    return int(text)


def _numbers(folder: Path, ending: str) -> set[str]:
    """Names of a folder without the ending that they share; hidden files are left out."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else iter(())
    return {name.removesuffix(ending) for name in names if name.endswith(ending) and not name.startswith(".")}


def _by_number(stem: str) -> tuple[int, str]:
    return (int(stem) if stem.isdigit() else 0, stem)
