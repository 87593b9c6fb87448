"""LFW, View 2: 6,000 pairs of faces in ten folds."""

from pathlib import Path
from typing import Any

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import Row, read_rows
from pcfrl_lightning.data.releases.base import CroppedRelease
from pcfrl_lightning.data.releases.pairs import FOLDS, NamedPair, official_pairs, pair_set
from pcfrl_lightning.data.releases.release import find, open_images
from pcfrl_lightning.errors import DataError

FOLDERS = ("lfw", "lfw_funneled", "lfw-deepfunneled", "lfw2")
ARCHIVES = ("lfw.zip", "lfw_a_*.zip", "lfw_funneled*.zip", "lfw-deepfunneled*.zip")


class LFW(CroppedRelease):
    """LFW View 2, one split `test` with the images of the pair list, `pairs` and the label `identity`.

    Colour, funneled, deep-funneled and LFW-a images have the same layout `<Name>/<Name>_<nnnn>.jpg`; there are no
    landmarks.

    Args:
        root: folder that holds the image folder (or zip archives of it) and the pair list.
        images: image folder or pattern of zip archives relative to the root, and nothing else is looked for; default:
            the first that exists of `FOLDERS`, then of `ARCHIVES`.
        pairs: pair list relative to the root; default: `pairs.txt` or `lfw_pairs.txt`.
        kwargs: see `CroppedRelease`.
    """

    name = "lfw"
    side = 128
    no_landmarks = "LFW has no landmarks: use NoCrop or YuNetCrop"
    official = official_pairs(7701)

    def __init__(self, root: str | Path, images: str | None = None, pairs: str | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.images, self.pairs = images, pairs

    def build(self) -> dict[str, FaceSet]:
        listing = find(self.root, [self.pairs] if self.pairs else ["pairs.txt", "lfw_pairs.txt"], "pair list")
        pairs = read_view2(listing)
        if self.images is None:
            return {"test": pair_set(self, pairs, open_images(self.root, FOLDERS, ARCHIVES))}
        archives = [] if Path(self.images).is_absolute() else [self.images]
        return {"test": pair_set(self, pairs, open_images(self.root, [self.images], archives, FOLDERS))}


def read_view2(path: Path) -> list[NamedPair]:
    """Pairs of an LFW `pairs.txt`: ten folds, each with its same-person lines first.

    A line of three fields (name, i, j) is a pair of one person, a line of four (name, i, name, j) of two; a header of
    two numbers may be missing.  The fold is known by position only: a new one begins where a same-person line follows a
    different-person line.
    """
    pairs: list[NamedPair] = []
    fold = 0
    for row in read_rows(path):
        if len(row) == 2 and not pairs and row.text(0).isdigit():
            row.integer(0, FOLDS, FOLDS)
            continue
        row.expect(3, 4)
        same = len(row) == 3
        if pairs and same and not pairs[-1].same:
            fold += 1
        first, second = _file(row, 0, 1), _file(row, 0, 2) if same else _file(row, 2, 3)
        if first == second:
            row.fail("a pair of an image with itself")
        pairs.append(NamedPair(first, second, same, fold, row, row))
    sizes = [sum(pair.fold == number for pair in pairs) for number in range(fold + 1)]
    if fold + 1 != FOLDS or len(set(sizes)) != 1:
        raise DataError(f"{path}: expected {FOLDS} folds of equal size, found {sizes}; is this the View 2 list?")
    return pairs


def _file(row: Row, name: int, number: int) -> str:
    person = row.text(name)
    return row.inside(f"{person}/{person}_{row.integer(number, 1, 9999):04d}.jpg")
