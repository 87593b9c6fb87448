"""VoxCeleb1 and VoxCeleb2 as extracted face frames (Nagrani et al., 2017; Chung et al., 2018)."""

import logging
import re
from pathlib import Path
from typing import NamedTuple

import torch

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.listing import refuse_absent
from pcfrl_lightning.data.images.rows import Once, read_rows
from pcfrl_lightning.data.images.video_frames import VideoFrames
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.errors import DataError

log = logging.getLogger(__name__)

_FOLDERS = ("dev/frames", "frames", "unzippedIntervalFaces/data", "unzippedFaces", "")
_CROP_SCALE = "1.6"
_SPEAKER_ID = re.compile(r"^id\d+$")
_EXPECTED = (
    "expected <id>/<video>/<clip>/<frame>.jpg below dev/frames, or <name>/1.6/<video>/[<track>/]<frame>.jpg below "
    "unzippedFaces or unzippedIntervalFaces/data"
)


class Speaker(NamedTuple):
    """A row of a meta file: identity such as `id10001`, VGGFace name or number, and `dev` or `test`."""

    id: str
    name: str
    part: str


class VoxCeleb(FaceData):
    """Face frames of VoxCeleb for pre-training; one item is one video of one person, one random frame per epoch.

    Layouts below `root`: VoxCeleb1 `unzippedFaces/<name>/1.6/<video>/<frame>.jpg` and
    `unzippedIntervalFaces/data/<name>/1.6/<video>/<track>/<frame>.jpg`; extracted frames
    `dev/frames/<id>/<video>/<clip>/<n>.jpg`; or `root` is one of these folders itself.  Label `identity` (n,) long.

    Args:
        root: folder of the data set.
        meta: `vox1_meta.csv` or `vox2_meta.csv`; with it, speakers of the official test set form split `test` and
            folders that it does not know are left out.  Without it everything is `train`.
        list_file: one video directory per line, relative to `root`, instead of all (first column, comma or tab);
            absent and repeated ones are errors.
        views: default `AlbumentationsViews`.
        image_size, batch_size, num_workers, seed: see `FaceData`.
    """

    name = "voxceleb"
    unlabelled = True

    def __init__(
        self,
        root: str | Path,
        meta: str | Path | None = None,
        list_file: str | Path | None = None,
        views: Views | None = None,
        image_size: int = 64,
        batch_size: int = 256,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(root, views, image_size, batch_size, num_workers, seed)
        self.meta = meta
        self.list_file = list_file

    def build(self) -> dict[str, FaceSet]:
        """Split `train` and, with a meta file that lists test speakers, `test`."""
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root}: no such folder; {_EXPECTED}")
        videos = _read_directories(Path(self.list_file), self.root) if self.list_file else find_videos(self.root)
        if not videos:
            raise DataError(f"{self.root}: no videos found; {_EXPECTED}")
        if self.meta is None:
            return {"train": self._set("train", [(video, person_of(video)) for video in videos])}
        speakers = {folder: speaker for speaker in read_meta(self.meta) for folder in folders_of(speaker)}
        known = [(video, speakers[person_of(video)]) for video in videos if person_of(video) in speakers]
        if not known:
            raise DataError(f"{self.root}: none of its folders, such as {videos[0]}, is a speaker of {self.meta}")
        if len(known) < len(videos):
            log.warning(
                "%s: %d videos of speakers unknown to %s left out", self.root, len(videos) - len(known), self.meta
            )
        parts = {"train": "dev", "test": "test"}
        chosen = {split: [(v, s.id) for v, s in known if s.part == part] for split, part in parts.items()}
        return {split: self._set(split, rows) for split, rows in chosen.items() if rows}

    def _set(self, split: str, rows: list[tuple[str, str]]) -> FaceSet:
        people = sorted({person for _, person in rows})
        number = {person: index for index, person in enumerate(people)}
        return FaceSet(
            VideoFrames(self.root, [video for video, _ in rows]),
            {"identity": torch.tensor([number[person] for _, person in rows], dtype=torch.long)},
            name=f"{self.name}/{split}",
            class_names={"identity": people},
        )


def find_videos(root: Path) -> list[str]:
    """Video directories below a root in any of the layouts, sorted, relative to the root."""
    top = next(folder for folder in _FOLDERS if (root / folder).is_dir())
    videos = []
    for person in _subfolders(root / top):
        holder = person / _CROP_SCALE if (person / _CROP_SCALE).is_dir() else person
        videos += [video.relative_to(root).as_posix() for video in _subfolders(holder)]
    return videos


def person_of(video: str) -> str:
    """Name of the identity folder of a video directory `.../<person>/[1.6/]<video>`."""
    parts = [part for part in video.split("/") if part != _CROP_SCALE]
    return parts[-2] if len(parts) > 1 else parts[-1]


def folders_of(speaker: Speaker) -> tuple[str, ...]:
    """Folder names a speaker may have: the id, the VGGFace name, and that name without its trailing dots."""
    return speaker.id, speaker.name, speaker.name.rstrip(".")


def read_meta(path: str | Path) -> list[Speaker]:
    """Read `vox1_meta.csv` (official: tabs; copies: commas) or `vox2_meta.csv` (blanks around the commas).

    Columns are taken by position: id, VGGFace name, ..., and the last is `dev` or `test`.

    Raises:
        FileNotFoundError: no such file.
        DataError: a line without speaker id or part; names it.
    """
    speakers = []
    for row in read_rows(Path(path), "\n"):
        line = row.text(0)
        fields = [field.strip() for field in line.split("\t" if "\t" in line else ",")]
        part = fields[-1].lower()
        if len(fields) >= 3 and _SPEAKER_ID.match(fields[0]) and part in ("dev", "test"):
            speakers.append(Speaker(fields[0], fields[1], part))
        elif row.number > 1 or _SPEAKER_ID.match(fields[0]):  # the first line may name the columns
            row.fail(f"expected 'id<number>, <name>, ..., dev|test', found '{line}'")
    if not speakers:
        raise DataError(f"{path}: no speakers; expected lines 'id<number>, <name>, ..., dev|test'")
    return speakers


def _read_directories(path: Path, root: Path) -> list[str]:
    once = Once()
    names = [(row, re.split(r"[\t,]", row.text(0), maxsplit=1)[0].strip()) for row in read_rows(path, "\n")]
    listed = {once.add(row, row.inside(name)): row for row, name in names}
    refuse_absent(root, listed)
    return list(listed)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
