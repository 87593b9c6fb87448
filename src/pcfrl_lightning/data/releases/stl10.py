"""STL-10, through torchvision."""

from typing import Any, ClassVar

from pcfrl_lightning.data.releases.base import by_class
from pcfrl_lightning.data.releases.cifar10 import TorchvisionRelease


class STL10(TorchvisionRelease):
    """96x96 images of 10 kinds of objects; label `class`.

    `root` holds `stl10_binary`, the archive is `stl10_binary.tar.gz` (2.6 GB).
    """

    name = "stl10"
    side = 96
    folder = "stl10_binary"
    _classes = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
    official: ClassVar = {**by_class("train", _classes, [500] * 10), **by_class("test", _classes, [800] * 10)}

    def open(self, root: str, part: str) -> tuple[Any, Any, list[str]]:
        from torchvision.datasets import STL10 as Official

        data = Official(root, part, download=self.download)
        return data.data.transpose(0, 2, 3, 1), data.labels, data.classes


class STL10Unlabeled(STL10):
    """The 100,000 images without label (`class` is -1) as split `train`, for pre-training; takes 2.8 GB of memory."""

    name = "stl10-unlabeled"
    parts: ClassVar[dict[str, str]] = {"train": "unlabeled"}
    official: ClassVar = {"train": 100000}
