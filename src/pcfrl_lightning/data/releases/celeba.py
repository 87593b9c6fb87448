"""CelebA: forty binary attributes of faces."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np

from pcfrl_lightning.data.cropping.geometry import FIVE_POINTS
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import Once, Row, read_rows
from pcfrl_lightning.data.releases.base import CroppedRelease
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import find, open_images, require_images
from pcfrl_lightning.errors import DataError, require

SPLITS = ("train", "val", "test")
ATTRIBUTES = 40


class CelebA(CroppedRelease):
    """Aligned CelebA, 178x218; labels `attributes` (n, 40) float 0/1 with their `class_names`, and `identity` where
    `identity_CelebA.txt` exists.

    `root` holds `img_align_celeba` (or its zip) and the lists, side by side or in the folders `Img`, `Anno` and `Eval`
    of the official download.  `UprightCrop` and `LandmarkCrop` use the five points of
    `list_landmarks_align_celeba.txt`.
    """

    name = "celeba"
    side = 128
    official: ClassVar = {"train": 162770, "val": 19867, "test": 19962}

    def build(self) -> dict[str, FaceSet]:
        partition, _ = self._read("list_eval_partition.txt", 2, lambda row: (row, row.integer(1, 0, 2)))
        tables: dict[str, dict[str, Any]] = {}
        listing = "list_attr_celeba.txt"
        tables["attributes"], titles = self._read(listing, ATTRIBUTES + 1, _attributes, (1, ATTRIBUTES))
        problem = f"{listing}: has no line with the names of {ATTRIBUTES} attributes; copy it again"
        require(len(titles) == ATTRIBUTES, f"{self.root}: {problem}", DataError)
        release = open_images(self.root, ["img_align_celeba", "Img/img_align_celeba"])
        require_images(release, ((row, name) for name, (row, _) in partition.items()))
        with suppress(FileNotFoundError):
            tables["identity"], _ = self._read("identity_CelebA.txt", 2, lambda row: row.integer(1, 1, 10**6))
        if self.cropping.needs_landmarks:
            tables["landmarks"], _ = self._read("list_landmarks_align_celeba.txt", 11, _points, (1, 10))
        splits = {}
        for code, split in enumerate(SPLITS):
            images = [name for name, (_, part) in partition.items() if part == code]
            values: dict[str, Any] = {}
            for what, table in tables.items():
                if absent := [name for name in images if name not in table]:
                    raise DataError(f"{self.root}: {len(absent)} images have no {what}, the first is {absent[0]}")
                values[what] = [table[name] for name in images]
            if images:
                points = values.pop("landmarks", None)
                values["attributes"] = np.array(values["attributes"], np.float32)
                splits[split] = self.faces(split, release.source(images), values, {"attributes": titles}, points)
        return splits

    def _read(
        self, file: str, fields: int, convert: Callable[[Row], Any], headers: tuple[int, ...] = ()
    ) -> tuple[dict[str, Any], list[str]]:
        """What `convert` makes of the line of each image, and the titles: of the header lines, which have `headers`
        fields, the last."""
        result: dict[str, Any] = {}
        titles: list[str] = []
        once = Once()
        for row in read_rows(find(self.root, [file, f"Eval/{file}", f"Anno/{file}"], file)):
            if len(row) in headers:
                titles, headers = row.fields, headers[headers.index(len(row)) + 1 :]
                continue
            row.expect(fields)
            result[once.add(row, row.relative(0))] = convert(row)
        return result, titles


def _attributes(row: Row) -> np.ndarray:
    values = np.array([row.integer(i, -1, 1) for i in range(1, ATTRIBUTES + 1)], np.int8)
    if not values.all():
        row.fail("an attribute is 0; expected -1 or 1")
    return values > 0


def _points(row: Row) -> np.ndarray:
    return face_points([row.number_at(i) for i in range(1, 11)], FIVE_POINTS, row)
