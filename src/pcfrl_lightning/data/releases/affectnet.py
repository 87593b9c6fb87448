"""AffectNet, the seven basic expressions."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from tqdm import tqdm

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import Once, Row, read_csv
from pcfrl_lightning.data.images.sources import FileSource
from pcfrl_lightning.data.releases.base import CroppedRelease, by_class
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import FolderImages, inside, require_companions, require_images
from pcfrl_lightning.errors import DataError

CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
_LARGEST_CODE = 10
_COLUMNS = 9
_PICTURES = "Manually_Annotated_Images"


class _Sample(NamedTuple):
    where: Row | Path
    image: str
    expression: int
    points: np.ndarray | None


class AffectNet7(CroppedRelease):
    """AffectNet-7: splits `train` and `test` (the official validation set; the test set is not public).

    Label `expression` 0..6 in the official order of `CLASSES`.  Contempt (7) and the codes 8..10 (none, uncertain, no
    face) are left out.  Reads either release: `train_set/images/<n>.jpg` with `train_set/annotations/<n>_exp.npy`, or
    `Manually_Annotated_file_lists/training.csv` (with or without a header) with `Manually_Annotated_Images/`.
    `UprightCrop` and `LandmarkCrop` use the 68 points of the annotations.
    """

    name = "affectnet7"
    side = 100
    official: ClassVar = {
        **by_class("train", CLASSES, [74874, 134415, 25459, 14090, 6378, 3803, 24882]),
        **by_class("test", CLASSES, [500] * 7),
    }

    def build(self) -> dict[str, FaceSet]:
        splits, once = {}, Once(within=False)  # a photo of several faces may have several lines
        for split, part, listing in (("train", "train_set", "training.csv"), ("test", "val_set", "validation.csv")):
            if folder := inside(self.root, part):
                images, samples = folder.parent, list(self._from_arrays(folder))
            else:
                places = self.root.glob(f"**/{listing}")
                found = [path for path in places if "Automatically" not in str(path.relative_to(self.root))]
                if not found:
                    raise FileNotFoundError(f"neither train_set and val_set nor {listing} under {self.root}")
                samples = list(self._from_csv(min(found), once))
                folders = [path for path in self.root.glob(f"**/{_PICTURES}") if path.is_dir()]
                images = max(folders, default=self.root / _PICTURES)
            require_images(FolderImages(images), ((sample.where, sample.image) for sample in samples))
            splits[split] = self.faces(
                split,
                FileSource(images, [sample.image for sample in samples]),
                {"expression": [sample.expression for sample in samples]},
                {"expression": CLASSES},
                [sample.points for sample in samples],
            )
        return splits

    def _from_arrays(self, folder: Path) -> Iterator[_Sample]:
        images = _numbers(folder / "images", ".jpg")
        codes = {stem: folder / f"annotations/{stem}_exp.npy" for stem in _numbers(folder / "annotations", "_exp.npy")}
        # an annotation of one of the seven classes must have its image
        lost = [stem for stem in codes if stem not in images and _code(codes[stem]) < len(CLASSES)]
        image_of = f"{folder.name}/images/{{}}.jpg".format
        files = FolderImages(folder.parent)
        require_images(files, [(codes[stem], image_of(stem)) for stem in lost])
        kinds = ["exp", "lnd"] if self.cropping.needs_landmarks else ["exp"]
        names = [f"{folder.name}/annotations/{stem}_{kind}.npy" for kind in kinds for stem in images]
        there = np.reshape(require_companions(folder.parent, names, "annotations", files), (len(kinds), -1))
        complete = [stem for stem, column in zip(images, there.T, strict=True) if column.all()]
        for stem in tqdm(complete, desc=f"labels {self.name}/{folder.name}", delay=2):
            expression = _code(codes[stem])
            if expression < len(CLASSES):
                landmarks = folder / f"annotations/{stem}_lnd.npy"
                points = face_points(_load(landmarks), 68, landmarks) if self.cropping.needs_landmarks else None
                yield _Sample(codes[stem], image_of(stem), expression, points)

    def _from_csv(self, path: Path, once: Once) -> Iterator[_Sample]:
        for row in read_csv(path):
            if row.fields[0].startswith("subDirectory"):
                continue
            row.expect(_COLUMNS)
            expression = row.integer(6, 0, _LARGEST_CODE)
            if expression < len(CLASSES):
                points = None
                if self.cropping.needs_landmarks:
                    numbers = Row(path, row.number, row.text(5).split(";"))
                    numbers.expect(136)
                    points = face_points([numbers.number_at(i) for i in range(136)], 68, row)
                row = Row(path, row.number, row.fields[:1])  # the landmark column has about a thousand characters
                yield _Sample(row, once.add(row, row.relative(0)), expression, points)


def _load(path: Path) -> np.ndarray:
    try:
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))  # no memory for what the file does not hold
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no readable array ({error})") from None


def _code(path: Path) -> int:
    """Expression code; the official files hold the number as a string."""
    array = _load(path)
    text = str(array.item()) if array.size == 1 else ""
    if not (text.isascii() and text.isdigit()) or int(text) > _LARGEST_CODE:
        raise DataError(f"{path}: {text!r} is not an expression code from 0 to {_LARGEST_CODE}")
    return int(text)


def _numbers(folder: Path, ending: str) -> dict[str, None]:
    """Names of a folder without the ending that they share, by number; hidden files are left out."""
    stems = [path.name.removesuffix(ending) for path in folder.glob(f"[!.]*{ending}")]
    return dict.fromkeys(sorted(stems, key=lambda stem: (int(stem) if stem.isdigit() else 0, stem)))
