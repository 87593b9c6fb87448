"""Frames of videos on disk: one item is one video, of which a random frame is drawn each time."""

import os

import numpy as np

from pcfrl_lightning.data.images.decode import CorruptImage
from pcfrl_lightning.data.images.sources import FileSource, digest, file_version, is_hidden, is_image_name, read_image

_TRIED = 10


class VideoFrames(FileSource):
    """Directories of frames.  A directory holds frames, or clips (sub-directories) that hold frames.

    `draw` takes a random clip and then a random frame of it, as the public PCL code does; `read` takes the middle frame
    of the first clip.  A damaged frame is passed over for another one of its clip: an item is unreadable when none of
    ten frames can be read.  Directories are listed when they are used, since a full listing of VoxCeleb takes long.

    Paths are those of the directories, one per item, relative to the root.
    """

    varied = True

    def read(self, index: int) -> np.ndarray:
        return self._first_readable(index, self._from_middle(index))

    def draw(self, index: int, rng: np.random.Generator) -> np.ndarray:
        frames, clips = self._list(self.paths[index])
        if clips:
            frames, _ = self._list(clips[rng.integers(len(clips))])
        start = int(rng.integers(max(1, len(frames))))
        return self._first_readable(index, frames[start:] + frames[:start])

    def fingerprint(self) -> str:
        return digest(map(self._version, range(len(self))))

    def _version(self, index: int) -> str:
        """Of what `read` gives, by the names of all frames of the clip and the file of the first one tried."""
        try:
            frames = self._from_middle(index)
        except CorruptImage as error:
            return str(error)
        return "\t".join([self.paths[index], *frames, *(file_version(self.root / frame) for frame in frames[:1])])

    def _from_middle(self, index: int) -> list[str]:
        """The frames of the first clip in the order in which `read` tries them."""
        frames, clips = self._list(self.paths[index])
        if clips:
            frames, _ = self._list(clips[0])
        middle = len(frames) // 2
        return frames[middle:] + frames[:middle]

    def _first_readable(self, index: int, frames: list[str]) -> np.ndarray:
        reason = "no frames in this directory"
        for frame in frames[:_TRIED]:
            try:
                return read_image(self.root, frame)
            except CorruptImage as error:
                reason = f"{min(_TRIED, len(frames))} frames tried, the last is {error}"
        raise CorruptImage(self.paths[index], reason)

    def _list(self, directory: str) -> tuple[list[str], list[str]]:
        """Frames and sub-directories, each sorted, as paths relative to the root."""
        frames, clips = [], []
        try:
            with os.scandir(self.root / directory) as entries:
                for entry in entries:
                    if entry.is_dir():
                        if not is_hidden(entry.name):
                            clips.append(f"{directory}/{entry.name}")
                    elif is_image_name(entry.name):
                        frames.append(f"{directory}/{entry.name}")
        except OSError as error:
            raise CorruptImage(directory, error.strerror or type(error).__name__) from None
        return sorted(frames), sorted(clips)
