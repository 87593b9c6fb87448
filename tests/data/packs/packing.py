"""Small packs for tests: every frame of one colour that says which it is."""

from pathlib import Path

import numpy as np

from pcfrl_lightning.data.packs import PartWriter, codec_of, join

SETTINGS = {"codec": "raw", "size": 8, "parts": 2}
PLAN = [(f"id{i}", f"video{v}", f"{c:05d}.mp4") for i in range(3) for v in range(2) for c in range(2)]


def image(clip: int, frame: int, size: int = 8) -> np.ndarray:
    """Frame of a clip of the plan: channels clip, frame, 0."""
    return np.full((size, size, 3), (clip, frame, 0), np.uint8)


def count(clip: int) -> int:
    """Frames of a clip of the plan: 3 to 5."""
    return 3 + clip % 3


def write(writer: PartWriter, clips: range) -> None:
    """Add the clips of a range of the plan that are not in the part yet."""
    codec = codec_of(writer.settings)
    for clip in clips[len(writer.done) :]:
        frames = [codec.encode(image(clip, frame, writer.settings["size"])) for frame in range(count(clip))]
        writer.add(*PLAN[clip], frames, [k / 6 for k in range(len(frames))], [4 * k for k in range(len(frames))])


def part(number: int) -> range:
    """Clips of the plan in one of two parts."""
    return range(6 * number, 6 * number + 6)


def make_pack(folder: Path, **settings: object) -> Path:
    """A pack of the 12 clips of the plan in two parts."""
    for number in range(2):
        with PartWriter(folder, number, {**SETTINGS, **settings}) as writer:
            write(writer, part(number))
            writer.finish()
    join(folder)
    return folder
