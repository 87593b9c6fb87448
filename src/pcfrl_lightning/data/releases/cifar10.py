"""CIFAR-10, through torchvision."""

import tarfile
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.releases.base import Release, by_class
from pcfrl_lightning.data.releases.release import inside
from pcfrl_lightning.errors import DataError


class TorchvisionRelease(Release):
    """Base of the data sets that torchvision reads; label `class`, in memory.

    Args:
        root: folder that holds `folder`.
        download: where that is absent, let torchvision extract the official archive, fetched unless it lies in `root`.
        kwargs: see `Release`.
    """

    folder: ClassVar[str]
    parts: ClassVar[dict[str, str]] = {"train": "train", "test": "test"}

    def __init__(self, root: str | Path, download: bool = False, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.download = download

    @abstractmethod
    def open(self, root: str, part: str) -> tuple[Any, Any, list[str]]:
        """Pixels (n, H, W, 3), class numbers and class names of a part."""

    def build(self) -> dict[str, FaceSet]:
        splits = {}
        folder = inside(self.root, self.folder)
        for split, part in self.parts.items():
            try:
                pixels, labels, classes = self.open(str(folder.parent if folder else self.root), part)
            except (RuntimeError, OSError, EOFError, tarfile.TarError) as error:
                fix = "unpack the official archive there or set download to true"
                raise DataError(f"{self.root}: no intact copy ({error}); {fix}") from None
            labels = {"class": np.asarray(labels, np.int64)}
            splits[split] = self.faces(split, ArraySource(pixels), labels, {"class": classes})
        return splits


class CIFAR10(TorchvisionRelease):
    """32x32 images of 10 kinds of objects; label `class`.

    `root` holds `cifar-10-batches-py`, the archive is `cifar-10-python.tar.gz`.
    """

    name = "cifar10"
    side = 32
    folder = "cifar-10-batches-py"
    _classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    official: ClassVar = {**by_class("train", _classes, [5000] * 10), **by_class("test", _classes, [1000] * 10)}

    def open(self, root: str, part: str) -> tuple[Any, Any, list[str]]:
        from torchvision.datasets import CIFAR10 as Official

        data = Official(root, part == "train", download=self.download)
        return data.data, data.targets, data.classes
