"""CIFAR-10, through torchvision."""

import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import DataError


class CIFAR10(FaceData):
    """50,000 train and 10,000 test images of 10 kinds of objects, 32x32; label `class`.

    Args:
        root: folder that holds `cifar-10-batches-py`.
        download: where that is absent, let torchvision extract `cifar-10-python.tar.gz`, fetched unless it lies in
            `root` already.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.
    """

    name = "cifar10"

    def __init__(self, root: str | Path, download: bool = False, image_size: int = 32, **kwargs: Any) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        self.download = download

    def build(self) -> dict[str, FaceSet]:
        """Splits `train` and `test`."""
        from torchvision.datasets import CIFAR10 as Official

        splits = {}
        for split in ("train", "test"):
            make = partial(Official, str(self.root), split == "train", download=self.download)
            data = open_official(make, self.root)
            labels = {"class": torch.tensor(data.targets, dtype=torch.long)}
            source = ArraySource(data.data)
            splits[split] = FaceSet(source, labels, name=f"{self.name}/{split}", class_names={"class": data.classes})
        return splits


def open_official(make: Callable[[], Any], root: Path) -> Any:
    """Build a torchvision data set, with an error that says what to do when its files are absent or damaged.

    Raises:
        DataError: torchvision finds no intact copy, or an archive whose members leave the folder.
    """
    try:
        return make()
    except (RuntimeError, OSError, EOFError, tarfile.TarError) as error:
        raise DataError(
            f"{root}: no intact copy ({error}); unpack the official archive there or set download to true"
        ) from None
