"""WFLW: 98 landmarks of faces in the wild."""

from typing import ClassVar

import numpy as np

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import read_rows
from pcfrl_lightning.data.releases.landmarks300w import LandmarkFaces
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import find, open_images, require_images

POINTS = 98
CONDITIONS = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
_FIELDS = 2 * POINTS + 4 + len(CONDITIONS)


class WFLW(LandmarkFaces):
    """WFLW; labels `landmarks` (n, 98, 2) in [0, 1] of the crop and `conditions` (n, 6) float 0/1 in the order of
    `CONDITIONS` (the test subsets of the paper).

    `root` holds `WFLW_images` and `WFLW_annotations`.
    """

    name = "wflw"
    official: ClassVar = {"train": 7500, "test": 2500}

    def build(self) -> dict[str, FaceSet]:
        return {split: self._split_of(split) for split in ("train", "test")}

    def _split_of(self, split: str) -> FaceSet:
        file = f"list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt"
        rows = list(read_rows(find(self.root, [f"WFLW_annotations/{file}", file], "WFLW annotations")))
        points = np.empty((len(rows), POINTS, 2), np.float32)
        conditions = np.empty((len(rows), len(CONDITIONS)), np.float32)
        names = []
        for i, row in enumerate(rows):
            row.expect(_FIELDS + 1)
            points[i] = face_points([row.number_at(k) for k in range(2 * POINTS)], POINTS, row)
            conditions[i] = [row.integer(k, 0, 1) for k in range(2 * POINTS + 4, _FIELDS)]
            names.append(row.relative(_FIELDS))
        release = open_images(self.root, ["WFLW_images"])
        require_images(release, zip(rows, names, strict=True))
        return self.landmark_faces(split, release.source(names), points, conditions, CONDITIONS)
