"""Frames of a video as JPEG files, extracted once."""

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pcfrl_lightning.data.images.sources import file_version
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.files import alone

log = logging.getLogger(__name__)

_QUALITY = 95
_STAMP = "video.txt"  # stored beside the frames: which video they come from


def extract_frames(videos: Iterable[tuple[Path, Path]], title: str) -> None:
    """Write the frames of videos as `<folder>/<n>.jpg`, n from 0.

    A folder that exists is complete: frames are written to `<folder>.part` and the folder is renamed at the end, so
    that an incomplete folder is never read. It is made again for another video (name, size, time of the last change).

    Args:
        videos: video file and folder of its frames.
        title: of the progress bar.

    Raises:
        DataError: a video that cannot be opened, or of which a frame cannot be read: all later frames would be counted
            wrong, away from their labels.
    """
    waiting = [(video, folder) for video, folder in videos if not _are_there(video, folder)]
    if not waiting:
        return
    with tqdm(waiting, desc=title, unit="video") as bar:
        for video, folder in bar:
            bar.set_postfix_str(video.name)
            with alone(folder.parent, wait=True):
                if _are_there(video, folder):  # by another process meanwhile
                    continue
                part = folder.with_name(f"{folder.name}.part")
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                (part / _STAMP).write_text(_stamp(video))
                count = _write_frames(video, part)
                shutil.rmtree(folder, ignore_errors=True)
                part.rename(folder)
                log.info("%s: %d frames in %s", video, count, folder)


def _stamp(video: Path) -> str:
    return f"{video.name} {file_version(video)}"


def _are_there(video: Path, folder: Path) -> bool:
    """Whether a folder holds the frames of a video as it is now."""
    return (folder / _STAMP).is_file() and (folder / _STAMP).read_text() == _stamp(video)


def _write_frames(video: Path, folder: Path) -> int:
    import cv2

    capture: Any = cv2.VideoCapture(os.path.abspath(video))
    if not capture.isOpened():
        raise DataError(f"{video}: cannot be opened as a video; copy it again or install a codec for it")
    count, promised = 0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    try:
        while True:
            there, frame = capture.read()
            if not there:
                break
            if not cv2.imwrite(str(folder / f"{count}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
                raise DataError(f"{folder / f'{count}.jpg'}: frame cannot be written; is the disk full?")
            count += 1
    finally:
        capture.release()
    if count == 0 or count < promised:  # a decoder skips damaged frames without an error
        raise DataError(
            f"{video}: {count} readable frames of {promised}; copy it again, or extract the frames yourself"
        )
    return count
