"""CelebA: forty binary attributes of faces."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcfrl_lightning.data.cropping.croppers import Cropper, NoCrop
from pcfrl_lightning.data.cropping.geometry import FIVE_POINTS
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import Once, Row, first_existing, read_rows
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import open_images, require_images
from pcfrl_lightning.errors import DataError

SPLITS = ("train", "val", "test")
ATTRIBUTES = 40


class CelebA(FaceData):
    """Aligned CelebA: 162,770 train, 19,867 val, 19,962 test images, 178x218.

    Labels `attributes` (n, 40) float 0/1 in the order of `class_names`, and `identity` where `identity_CelebA.txt`
    exists.

    Args:
        root: folder that holds `img_align_celeba` (or its zip) and the lists, side by side or in the folders `Img`,
            `Anno` and `Eval` of the official download.
        cropping: how to cut out the face; `UprightCrop` and `LandmarkCrop` use the five points of
            `list_landmarks_align_celeba.txt`.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.
    """

    name = "celeba"

    def __init__(self, root: str | Path, cropping: Cropper | None = None, image_size: int = 128, **kwargs: Any) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        self.cropping = cropping or NoCrop()

    def build(self) -> dict[str, FaceSet]:
        """Splits `train`, `val` and `test` of `list_eval_partition.txt`."""
        partition = _read_column(self._list("list_eval_partition.txt", "Eval"), 0, 2)
        attributes, names = _read_attributes(self._list("list_attr_celeba.txt", "Anno"))
        release = open_images(
            self.root,
            ["img_align_celeba/img_align_celeba", "img_align_celeba", "Img/img_align_celeba"],
            ["img_align_celeba.zip", "Img/img_align_celeba.zip"],
        )
        require_images(release, ((row, name) for name, (row, _) in partition.items()))
        identities = self._identities()
        points = self._landmarks() if self.cropping.needs_landmarks else None
        splits = {}
        for code, split in enumerate(SPLITS):
            images = [name for name, (_, part) in partition.items() if part == code]
            for table, what in ((attributes, "attributes"), (identities, "identity"), (points, "landmarks")):
                absent = [name for name in images if table is not None and name not in table]
                if absent:
                    raise DataError(f"{self.root}: {len(absent)} images have no {what}, the first is {absent[0]}")
            labels = {"attributes": torch.from_numpy(np.array([attributes[name] for name in images], np.float32))}
            if identities is not None:
                labels["identity"] = torch.tensor([identities[name][1] for name in images], dtype=torch.long)
            faces = None if points is None else np.reshape([points[name] for name in images], (-1, FIVE_POINTS, 2))
            source = self.cropping.apply(release.source(images), faces)
            splits[split] = FaceSet(source, labels, name=f"{self.name}/{split}", class_names={"attributes": names})
        return {split: faces for split, faces in splits.items() if len(faces)}

    def _list(self, file: str, folder: str) -> Path:
        return first_existing(self.root, [file, f"{folder}/{file}", f"Anno/{file}"], file)

    def _identities(self) -> dict[str, tuple[Row, int]] | None:
        try:
            path = self._list("identity_CelebA.txt", "Anno")
        except FileNotFoundError:
            return None
        return _read_column(path, 1, 10**6)

    def _landmarks(self) -> dict[str, np.ndarray]:
        """Five points (5, 2) by image name, from ten numbers x, y per line."""
        result, once = {}, Once()
        for row in read_rows(self._list("list_landmarks_align_celeba.txt", "Anno")):
            if len(row) == 11:
                points = face_points([row.number_at(i) for i in range(1, 11)], FIVE_POINTS, row)
                result[once.add(row, row.relative(0))] = points
            elif result:
                row.expect(11)
        return result


def _read_column(path: Path, low: int, high: int) -> dict[str, tuple[Row, int]]:
    """Image name to its line and integer."""
    result, once = {}, Once()
    for row in read_rows(path):
        row.expect(2)
        result[once.add(row, row.relative(0))] = (row, row.integer(1, low, high))
    return result


def _read_attributes(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Attributes 0/1 by image name, and their names: a line with the count, a line with the names, then +-1 per
    image."""
    attributes: dict[str, np.ndarray] = {}
    names: list[str] = []
    once = Once()
    for row in read_rows(path):
        if len(row) == 1 and not names:
            continue
        if not names:
            row.expect(ATTRIBUTES)
            names = row.fields
            continue
        row.expect(ATTRIBUTES + 1)
        values = np.array([row.integer(i, -1, 1) for i in range(1, ATTRIBUTES + 1)], np.int8)
        if not values.all():
            row.fail("an attribute is 0; expected -1 or 1")
        attributes[once.add(row, row.relative(0))] = values > 0
    return attributes, names
