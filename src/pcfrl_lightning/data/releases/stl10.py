"""STL-10, through torchvision."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.cifar10 import open_official


class STL10(FaceData):
    """5,000 train and 8,000 test images of 10 kinds of objects, 96x96; label `class`.

    Args:
        root: folder that holds `stl10_binary`.
        download: where that is absent, let torchvision extract `stl10_binary.tar.gz` (2.6 GB), fetched unless it lies
            in `root` already.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.
    """

    name = "stl10"
    parts: ClassVar[dict[str, str]] = {"train": "train", "test": "test"}

    def __init__(self, root: str | Path, download: bool = False, image_size: int = 96, **kwargs: Any) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        self.download = download

    def build(self) -> dict[str, FaceSet]:
        """Splits `train` and `test`."""
        from torchvision.datasets import STL10 as Official

        splits = {}
        for split, part in self.parts.items():
            make = partial(Official, str(self.root), part, download=self.download)
            data = open_official(make, self.root)
            labels = {"class": torch.from_numpy(np.asarray(data.labels)).long()}
            source = ArraySource(data.data.transpose(0, 2, 3, 1))
            splits[split] = FaceSet(source, labels, name=f"{self.name}/{split}", class_names={"class": data.classes})
        return splits


class STL10Unlabeled(STL10):
    """The 100,000 images without label (`class` is -1) as split `train`, for pre-training; takes 2.8 GB of memory."""

    name = "stl10-unlabeled"
    parts: ClassVar[dict[str, str]] = {"train": "unlabeled"}
