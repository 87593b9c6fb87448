"""The clips of VoxCeleb as released, or of any folder of videos or frames."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pcfrl_lightning.data.images.sources import is_hidden, is_image_name
from pcfrl_lightning.data.prepare.archive import Member, archives_of, is_archive_name, members_of
from pcfrl_lightning.errors import DataError, require

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp")
_LAYOUTS = ("mp4", "frames", "unzippedFaces", "unzippedIntervalFaces")
_CROP_SCALE = "1.6"
_EXPECTED = (
    "expected videos (.mp4 ...), folders of frames (.jpg ...), or zip archives of them such as vox2_dev_mp4_partaa"
)

Media = str | Member | list[Member]
"""A path of a video or of a folder of frames; a video in an archive; frames in an archive."""


class Clip(NamedTuple):
    """One clip: who, in which video, which part of it, and where it is."""

    identity: str
    video: str
    clip: str
    media: Media

    @property
    def names(self) -> tuple[str, str, str]:
        """Identity, video and clip."""
        return self[:3]

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        first = self.media[0] if isinstance(self.media, list) else self.media
        return first if isinstance(first, str) else f"{first.archive[0]}: {first.name}"


def find_clips(sources: Sequence[str | Path]) -> list[Clip]:
    """All clips of some sources, sorted by identity, video and clip.

    A source is a folder, a video, a zip archive or a part of one.  Folders may hold archives and their parts.  Hidden
    files are left out, and images beside videos.

    Raises:
        FileNotFoundError: a source does not exist.
        DataError: no clip, a clip that stands in two places, or see `archives_of` and `members_of`.
    """
    clips: list[Clip] = []
    packed: list[Path] = []
    for source in map(Path, sources):
        require(source.exists(), f"{source}: does not exist; {_EXPECTED}", FileNotFoundError)
        if source.is_dir():
            clips += _in_folder(source, packed)
        elif source.suffix.lower() in VIDEO_SUFFIXES:
            clips.append(Clip(*names_of((source.stem,)), str(source)))
        else:
            packed.append(source)
    archives = archives_of(packed)
    if unknown := sorted({str(path) for path in packed}.difference(*archives)):
        raise DataError(f"{unknown[0]}: not known as a source; {_EXPECTED}; unpack other archives")
    for archive in archives:
        clips += _in_archive(members_of(archive))
    require(bool(clips), f"{', '.join(map(str, sources))}: no clips found; {_EXPECTED}", DataError)
    clips.sort(key=lambda clip: clip[:3])
    for first, second in pairwise(clips):
        if first.names == second.names:
            raise DataError(f"{first.place} and {second.place} are both clip {'/'.join(first.names)}; give one of them")
    return clips


def names_of(parts: tuple[str, ...]) -> tuple[str, str, str]:
    """Identity, video and clip of a path without suffix, of which the folders of a release are dropped.

    Example:
        >>> names_of(("dev", "mp4", "id00012", "21Uxsk56VDQ", "00001"))
        ('id00012', '21Uxsk56VDQ', '00001')
        >>> names_of(("unzippedFaces", "A.J._Buckley", "1.6", "Y8hIVOBuels"))
        ('A.J._Buckley', 'Y8hIVOBuels', 'Y8hIVOBuels')
    """
    begin = max((place + 1 for place, name in enumerate(parts[:-1]) if name in _LAYOUTS), default=0)
    if begin and parts[begin - 1] == "unzippedIntervalFaces" and parts[begin] == "data":
        begin += 1
    own = [part for part in parts[begin:] if part != _CROP_SCALE]
    if len(own) < 3:
        return own[0], own[-1], own[-1]
    return "/".join(own[:-2]), own[-2], own[-1]


def _in_folder(root: Path, packed: list[Path]) -> Iterator[Clip]:
    """Clips below a folder; archives go to ``packed``."""
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_refuse):
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        if os.path.islink(folder) and _leads_up(folder):
            subfolders.clear()
            continue
        relative, shown = Path(folder).relative_to(root).parts, [name for name in files if not is_hidden(name)]
        videos = [name for name in shown if name.lower().endswith(VIDEO_SUFFIXES)]
        for name in videos:
            yield Clip(*names_of((*relative, os.path.splitext(name)[0])), os.path.join(folder, name))
        if not videos and any(map(is_image_name, shown)):
            yield Clip(*names_of(relative or (root.resolve().name,)), folder)
        packed += [Path(folder, name) for name in shown if is_archive_name(name)]


def _in_archive(members: Iterable[Member]) -> Iterator[Clip]:
    frames: dict[PurePosixPath, list[Member]] = {}
    filmed: set[PurePosixPath] = set()
    for member in members:
        path = PurePosixPath(member.name)
        if is_hidden(member.name):
            continue
        if member.name.lower().endswith(VIDEO_SUFFIXES):
            filmed.add(path.parent)
            yield Clip(*names_of(path.with_suffix("").parts), member)
        elif is_image_name(member.name):
            frames.setdefault(path.parent, []).append(member)
    for folder, images in frames.items():
        if folder not in filmed:
            yield Clip(*names_of(folder.parts or (Path(images[0].archive[0]).stem,)), images)


def _leads_up(link: str) -> bool:
    """Whether a link to a folder leads to a folder that it is in, perhaps by way of other links."""
    target = Path(link).resolve()
    return any(folder.resolve().is_relative_to(target) for folder in Path(os.path.abspath(link)).parents)


def _refuse(error: OSError) -> None:
    raise error
