"""Frames of videos on disk: one item is one video, of which a random frame is drawn each time."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pcfrl_lightning.data.images.decode import CorruptImage, decode
from pcfrl_lightning.data.images.sources import ImageSource, digest, is_image_name


class VideoFrames(ImageSource):
    """Directories of frames.  A directory holds frames, or clips (sub-directories) that hold frames.

    `draw` takes a random clip and then a random frame of it, as the public PCL code does; `read` takes the middle frame
    of the first clip.  Directories are listed when they are used, since a full listing of VoxCeleb takes long.

    Args:
        root: folder of the data set.
        directories: one directory per item, relative to the root.
    """

    def __init__(self, root: str | Path, directories: Sequence[str]) -> None:
        self.root = Path(root)
        self.directories = [PurePosixPath(directory).as_posix() for directory in directories]

    def __len__(self) -> int:
        return len(self.directories)

    def name(self, index: int) -> str:
        return self.directories[index]

    def read(self, index: int) -> np.ndarray:
        frames, clips = self._list(self.directories[index])
        if clips:
            frames, _ = self._list(clips[0])
        return self._frame(index, frames, len(frames) // 2)

    def draw(self, index: int, rng: np.random.Generator) -> np.ndarray:
        frames, clips = self._list(self.directories[index])
        if clips:
            frames, _ = self._list(clips[rng.integers(len(clips))])
        return self._frame(index, frames, int(rng.integers(max(1, len(frames)))))

    def fingerprint(self) -> str:
        return digest(self.directories)

    def _frame(self, index: int, frames: list[str], number: int) -> np.ndarray:
        if not frames:
            raise CorruptImage(self.directories[index], "no frames in this directory")
        try:
            data = (self.root / frames[number]).read_bytes()
        except OSError as error:
            raise CorruptImage(frames[number], error.strerror or type(error).__name__) from None
        return decode(data, frames[number])

    def _list(self, directory: str) -> tuple[list[str], list[str]]:
        """Frames and sub-directories, each sorted, as paths relative to the root."""
        frames, clips = [], []
        try:
            with os.scandir(self.root / directory) as entries:
                for entry in entries:
                    if entry.is_dir():
                        clips.append(f"{directory}/{entry.name}")
                    elif is_image_name(entry.name):
                        frames.append(f"{directory}/{entry.name}")
        except OSError as error:
            raise CorruptImage(directory, error.strerror or type(error).__name__) from None
        return sorted(frames), sorted(clips)
