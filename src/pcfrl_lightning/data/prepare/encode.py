"""From one clip to the frames that are stored of it."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pcfrl_lightning.data.cropping.croppers import YuNetCrop
from pcfrl_lightning.data.cropping.geometry import cut, squares
from pcfrl_lightning.data.images.decode import CorruptImage, decode
from pcfrl_lightning.data.images.sources import is_image_name
from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.data.packs import codec_of
from pcfrl_lightning.data.prepare.archive import Member
from pcfrl_lightning.data.prepare.decode import Unusable, sampled_frames
from pcfrl_lightning.data.prepare.sources import Clip

_NUMBER = re.compile(r"(\d+)\D*$")
_LARGEST_NUMBER = (1 << 32) - 1  # in a pack


class Encoded(NamedTuple):
    """The stored frames of a clip, or why it has none.

    Attributes:
        frames, times, numbers: bytes, seconds (NaN where unknown) and number in the source of each.
        reason: why the clip cannot be used, else empty.
        left_out: frames that were left out of a clip that can be used, and why.
    """

    frames: Sequence[bytes] = ()
    times: Sequence[float] = ()
    numbers: Sequence[int] = ()
    reason: str = ""
    left_out: tuple[str, ...] = ()


class Encoder:
    """Reads, samples, cuts, resizes and encodes clips.

    Args:
        size: side of the frames in pixels.
        rate: frames a second that are taken of videos; of folders of frames all are taken.
        quality: of JPEG, 1 to 100; 0 stores pixels as they are.
        crop: cuts out the face of every frame; None takes the centre square.

    Attributes:
        settings: what decides the bytes of a frame, for the settings of a pack.
    """

    def __init__(self, size: int = 64, rate: float = 6.0, quality: int = 95, crop: YuNetCrop | None = None) -> None:
        self.size, self.rate, self.crop = size, rate, crop
        codec = {"codec": "jpeg", "quality": quality} if quality else {"codec": "raw"}
        self.settings = {**codec, "size": size, "rate": rate, "crop": crop and crop.fingerprint()}
        self._codec = codec_of(self.settings)

    def __call__(self, clip: Clip) -> Encoded:
        """The frames of a clip; raises OSError where disk or network fail."""
        left_out: list[str] = []
        try:
            stored = list(self._stored(clip, left_out))
        except Unusable as error:
            return Encoded(reason=str(error))
        if not stored:
            return Encoded(reason=f"no frame can be used: {left_out[0]}" if left_out else "no frames")
        frames, times, numbers = zip(*stored, strict=True)
        return Encoded(frames, times, numbers, left_out=tuple(left_out))

    def _stored(self, clip: Clip, left_out: list[str]) -> Iterator[tuple[bytes, float, int]]:
        media = clip.media
        if isinstance(media, list) or (isinstance(media, str) and os.path.isdir(media)):
            for position, (number, image) in enumerate(_numbered(media)):
                try:
                    yield self._file(image), math.nan, number if 0 <= number <= _LARGEST_NUMBER else position
                except CorruptImage as error:
                    left_out.append(str(error))
                except Unusable as error:
                    left_out.append(f"{image.name}: {error}")
            return
        video = media if isinstance(media, str) else BytesIO(media.read())
        for picture, time, number in sampled_frames(video, self.rate):
            try:
                yield self._picture(picture, f"frame {number}"), time, number
            except CorruptImage as error:
                left_out.append(str(error))

    def _file(self, file: Path | Member) -> bytes:
        """A frame that is an image file; a JPEG of the wanted size stays as it is."""
        data = file.read() if isinstance(file, Member) else file.read_bytes()
        image = decode(data, file.name)
        as_wanted = image.shape[:2] == (self.size, self.size) and data[:2] == b"\xff\xd8"
        if as_wanted and self.crop is None and self.settings["codec"] == "jpeg":
            return data
        return self._picture(image, file.name)

    def _picture(self, image: np.ndarray, name: str) -> bytes:
        if self.crop:
            face = self.crop.largest_face(image)
            if face is None:
                raise CorruptImage(name, "no face found")
            image = cut(image, squares(face[None], self.crop.margin)[0], name)
        return self._codec.encode(fit_square(image, self.size))


def _numbered(media: str | list[Member]) -> list[tuple[int, Path | Member]]:
    """The frames of a folder or archive, sorted by their numbers; -1 for a name without one."""
    images: Sequence[Path | Member] = media if isinstance(media, list) else list(Path(media).iterdir())
    found = [(_NUMBER.search(image.name.rpartition("/")[2]), image) for image in images if is_image_name(image.name)]
    numbered = [(int(match[1]) if match else -1, image) for match, image in found]
    return sorted(numbered, key=lambda each: (each[0], each[1].name))
