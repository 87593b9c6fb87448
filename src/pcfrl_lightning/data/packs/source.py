"""A pack as a source of images for a `FaceSet`."""

from typing import Literal

import numpy as np

from pcfrl_lightning.data.images.sources import ImageSource, digest
from pcfrl_lightning.data.packs.pack import Pack


class PackFrames(ImageSource):
    """The clips or videos of a pack; `draw` takes a random frame, of a random clip where an item is a video.

    `read` takes the middle frame of the first clip.  Frames are checked by `Pack.verify`, not at the start of a run;
    one that is no image is replaced and counted, as a damaged image file is.

    Args:
        pack: the frames.
        item: what one item is.

    Attributes:
        people: (n,) person of each item, row of `pack.identities`.
    """

    always_readable = varied = True

    def __init__(self, pack: Pack, item: Literal["video", "clip"] = "clip") -> None:
        self.pack = pack
        self.item = item
        last = len(pack) if item == "clip" else int(pack.clips["video"][-1]) + 1
        keys = np.arange(len(pack)) if item == "clip" else pack.clips["video"]
        self._first = np.searchsorted(keys, np.arange(last + 1))  # clips are sorted by video
        self.people = pack.clips["identity"][self._first[:-1]].astype(np.int64)
        self.reads_at_once = pack.storage.reads_at_once

    def __len__(self) -> int:
        return len(self.people)

    def name(self, index: int) -> str:
        names = self.pack.record(int(self._first[index])).names
        return "/".join(names if self.item == "clip" else names[:2])

    def read(self, index: int) -> np.ndarray:
        clip = int(self._first[index])
        return self.pack.read(clip, int(self.pack.clips["frames"][clip]) // 2)

    def draw(self, index: int, rng: np.random.Generator) -> np.ndarray:
        clip = int(rng.integers(self._first[index], self._first[index + 1]))
        return self.pack.read(clip, int(rng.integers(self.pack.clips[clip]["frames"])))

    def fingerprint(self) -> str:
        return digest([self.item, *(f"{name} {sha256}" for name, (_, sha256) in self.pack.facts["files"].items())])
