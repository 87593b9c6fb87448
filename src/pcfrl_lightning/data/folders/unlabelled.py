"""Any folder of face images, without labels."""

from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.listing import Roots, as_paths, open_images, open_listed
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import DataError, require


class FaceFolder(FaceData):
    """Images in a folder (nested as you like), in zip archives, or named by a list; grey or RGB, any size.

    The order is that of the names (of the list, where there is one).

    Args:
        root: folder, zip archive or several zip archives.
        list_file: one path per line, relative to `root` (or a member of the archives); label columns are ignored.
            Absent and repeated images are errors.
        val_fraction: share of the images put aside as split `val`, in [0, 1); drawn with `seed`.
        kwargs: see `FaceData`; `views` are `AutoViews` by default.
    """

    name = "faces"
    unlabelled = True

    def __init__(
        self, root: Roots, list_file: str | Path | None = None, val_fraction: float = 0.0, **kwargs: Any
    ) -> None:
        self.roots = as_paths(root)
        require(0 <= val_fraction < 1, f"val_fraction must be in [0, 1), got {val_fraction}")
        super().__init__(self.roots[0], **kwargs)
        self.list_file = list_file
        self.val_fraction = val_fraction

    def build(self) -> dict[str, FaceSet]:
        source = open_images(self.roots) if self.list_file is None else open_listed(self.roots, self.list_file)
        faces = FaceSet(source, name=f"{self.name}/train")
        held_out = round(self.val_fraction * len(faces))
        if self.val_fraction == 0:
            return {"train": faces}
        share = f"val_fraction {self.val_fraction} of {len(faces)} images"
        require(held_out > 0, f"{self.roots[0]}: {share} is none; raise it, or set it to 0", DataError)
        order = np.random.default_rng(self.seed).permutation(len(faces))
        train, val = faces.subset(sorted(order[held_out:].tolist())), faces.subset(sorted(order[:held_out].tolist()))
        val.name = f"{self.name}/val"
        return {"train": train, "val": val}
