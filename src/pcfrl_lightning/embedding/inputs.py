"""What a user names on a command line, as a stream of pictures: nothing is read in advance.

Memory is that of the names of one directory, of the members of a zip archive, or of the matches of a pattern.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from glob import glob, has_magic
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pcfrl_lightning.data.images.listing import walk
from pcfrl_lightning.data.images.sources import IMAGE_SUFFIXES, read_image
from pcfrl_lightning.data.images.zips import ZipSource
from pcfrl_lightning.embedding.videos import VIDEO_SUFFIXES, Item, video_count, video_items, webcam_items
from pcfrl_lightning.errors import DataError

LIST_SUFFIXES = (".txt", ".lst", ".csv", ".tsv")
_SUFFIXES = "|".join(map(re.escape, IMAGE_SUFFIXES + VIDEO_SUFFIXES))
_PICTURE = re.compile(rf"(.*?(?:{_SUFFIXES}))(?=[ \t,]|$)", re.IGNORECASE)


class Input(NamedTuple):
    """One of the things that a user named."""

    items: Callable[[int], Iterator[Item]]  # its pictures from a number on, always in the same order
    total: Callable[[], int | None]  # how many there are, about; None if nobody knows
    live: bool = False  # whether it goes on until it is interrupted, and cannot be read again
    hint: str = ""  # what to look at where none of its pictures can be read


def open_input(text: str, fps: float | None = None, root: Path | None = None, limit: int | None = None) -> Input:
    """The pictures that ``text`` names.

    Args:
        text: a folder (images and videos, sorted by name), a zip archive (images), a list of paths (``.txt``, ``.csv``
            ...), an image, a video, a pattern (``photos/*.jpg``, ``**`` for any depth), ``webcam`` or ``webcam:1``.
        fps: frames per second of videos and webcams; None: every frame.
        root: folder or zip archive of the paths in a list; None: the folder of the list.
        limit: frames of a webcam at most; None: until it is interrupted.

    Raises:
        FileNotFoundError: there is no such file or folder, or no file matches the pattern.
        DataError: the file is none of these, or a line of the list names no picture.
    """
    path = Path(text)
    if camera := re.fullmatch(r"webcam(?::(\d+))?", text):
        return Input(lambda _: islice(webcam_items(int(camera[1] or 0), fps), limit), lambda: limit, live=True)
    if path.is_dir():
        return _files(lambda: filter(_is_picture, walk(path)), path, fps)
    if has_magic(text) and not path.exists():
        if not (found := sorted(name for name in glob(text, recursive=True) if _is_picture(name))):
            raise FileNotFoundError(f"{text}: no image or video matches this pattern")
        return _files(lambda: iter(found), Path(), fps)
    if not path.exists():
        raise FileNotFoundError(f"{text}: does not exist; expected a folder, zip, list, image, video or pattern")
    if path.suffix.lower() == ".zip":
        source = ZipSource(path)
        return _members(source, lambda: iter(range(len(source))))
    if path.suffix.lower() in LIST_SUFFIXES:
        return _listed(path, root or path.parent, fps)
    if _is_picture(text):
        return _files(lambda: iter([text]), Path(), fps)
    raise DataError(f"{text}: neither a folder, zip, list ({', '.join(LIST_SUFFIXES)}), image nor video")


def read_names(path: Path) -> Iterator[str]:
    """Paths in a list, one a line; label columns may follow, a first line without a picture is a header.  Lines that
    begin with ``#`` are passed over, as in lists of `FaceFolder`.

    Raises:
        DataError: a later line names no picture; names file and line.  Or it is text in UTF-16.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if "\0" in text:
                raise DataError(f"{path}: not a UTF-8 text file; save it as UTF-8")
            if text.startswith("#"):
                continue
            if found := _PICTURE.match(text):
                yield found[1].replace("\\", "/")
            elif text and number > 1:
                raise DataError(f"{path}:{number}: {text[:80]!r} does not begin with the path of an image or video")


def _listed(path: Path, root: Path, fps: float | None) -> Input:
    if not root.exists():
        raise FileNotFoundError(f"{root}: does not exist; expected the folder or zip archive of the paths in {path}")
    if root.is_dir():
        found = _files(lambda: read_names(path), root, fps)
        return found._replace(hint=f"the paths in {path} begin at {root}: is that right? (--root)")
    source = ZipSource(root)
    rows = {source.name(row): row for row in range(len(source))}
    if absent := next((name for name in read_names(path) if name not in rows), None):
        raise DataError(f"{path}: {absent!r} is not in {root}")
    return _members(source, lambda: (rows[name] for name in read_names(path)))


def _files(names: Callable[[], Iterator[str]], root: Path, fps: float | None) -> Input:
    """Images and videos below a folder."""

    def items(start: int) -> Iterator[Item]:
        seen = 0
        for name in names():
            image = Item(name, partial(read_image, root, name))
            for item in video_items(name, root / name, fps, start - seen) if _is_video(name) else [image]:
                if item is not None and seen >= start:
                    yield item
                seen += 1

    return Input(items, lambda: sum(video_count(root / n, fps) if _is_video(n) else 1 for n in names()))


def _members(source: ZipSource, rows: Callable[[], Iterator[int]]) -> Input:
    def items(start: int) -> Iterator[Item]:
        return (Item(source.name(row), partial(source.read, row)) for row in islice(rows(), start, None))

    return Input(items, lambda: sum(1 for _ in rows()))


def _is_video(name: str) -> bool:
    return name.lower().endswith(VIDEO_SUFFIXES)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
