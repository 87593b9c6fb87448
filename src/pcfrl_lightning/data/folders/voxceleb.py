"""VoxCeleb1 and VoxCeleb2 as a pack or as extracted face frames (Nagrani et al., 2017; Chung et al., 2018)."""

import logging
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.listing import refuse_absent
from pcfrl_lightning.data.images.rows import Once, read_rows
from pcfrl_lightning.data.images.sources import ImageSource, SubsetSource, is_hidden
from pcfrl_lightning.data.images.video_frames import VideoFrames
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.packs.pack import Pack, PackFrames, is_pack
from pcfrl_lightning.data.split import hold_out
from pcfrl_lightning.errors import DataError, require

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
    """Face frames of VoxCeleb for pre-training; an epoch shows one random frame of every video, or of every clip.

    `root` is a pack (see `data.packs`; a folder or an fsspec URL such as `s3://bucket/pack`), or has one of the layouts
    VoxCeleb1 `unzippedFaces/<name>/1.6/<video>/<frame>.jpg` and
    `unzippedIntervalFaces/data/<name>/1.6/<video>/<track>/<frame>.jpg`; extracted frames
    `dev/frames/<id>/<video>/<clip>/<n>.jpg`; or is one of these folders itself.  Label `identity` (n,) long.

    Args:
        root: the data set.
        meta: `vox1_meta.csv` or `vox2_meta.csv`; with it, speakers of the official test set form split `test` and
            folders that it does not know are left out.  Without it everything is `train`.
        list_file: one video directory per line, relative to `root`, instead of all (first column, comma or tab);
            absent and repeated ones are errors.  Not with a pack.
        item: what an epoch shows one frame of; of a video, that of a random clip.
        val_fraction: share of the training items put aside as split `val`, in [0, 1): whole identities, drawn with
            `seed`.
        kwargs: see `FaceData`; without `cache`, as another frame is drawn each time.
    """

    name = "voxceleb"
    unlabelled = True

    def __init__(
        self,
        root: str | Path,
        meta: str | Path | None = None,
        list_file: str | Path | None = None,
        item: Literal["video", "clip"] = "video",
        val_fraction: float = 0.0,
        **kwargs: Any,
    ) -> None:
        require(0 <= val_fraction < 1, f"val_fraction must be in [0, 1), got {val_fraction}")
        require(item in ("video", "clip"), f"item must be video or clip, got '{item}'")
        super().__init__(root, cache="none", **kwargs)
        self.address = root  # `root` is a path, which a URL is not
        self.meta = meta
        self.list_file = list_file
        self.item: Literal["video", "clip"] = item
        self.val_fraction = val_fraction

    def build(self) -> dict[str, FaceSet]:
        """Split `train`; `val` with `val_fraction`; and `test` with a meta file that lists test speakers."""
        source, people, names = self._pack() if is_pack(self.address) else self._folder()
        rows = {"train": np.arange(len(source))}
        if self.meta is not None:
            speakers = {  # by the names that their folders may have; some lack the dots at the end
                name: each for each in read_meta(self.meta) for name in (each.id, each.name, each.name.rstrip("."))
            }
            parts = np.array([speakers[name].part if name in speakers else "" for name in names])[people]
            names = [speakers[name].id if name in speakers else name for name in names]
            if not parts.any():
                raise DataError(f"{self.address}: none of its people, such as {names[0]}, is a speaker of {self.meta}")
            if unknown := int((parts == "").sum()):
                log.warning("%s: %d %ss of speakers unknown to %s left out", self.root, unknown, self.item, self.meta)
            rows = {split: np.flatnonzero(parts == part) for split, part in (("train", "dev"), ("test", "test"))}
        if self.val_fraction and len(rows["train"]):
            train = rows["train"]
            held_out = hold_out(torch.from_numpy(people[train]), self.val_fraction, self.seed).numpy()
            if not held_out.any():
                raise DataError(f"{self.address}: val_fraction puts whole people aside, there is only one: set it to 0")
            rows |= {"train": train[~held_out], "val": train[held_out]}
        return {split: self._set(split, source, kept, people, names) for split, kept in rows.items() if len(kept)}

    def open_pack(self) -> Pack:
        """The pack at `root`."""
        return Pack(self.address)

    def _folder(self) -> tuple[ImageSource, np.ndarray, list[str]]:
        """The items, the person of each (n,), and the folder names of the people."""
        require(self.root.is_dir(), f"{self.root}: no such folder; {_EXPECTED}", FileNotFoundError)
        if any(self.root.glob("part-*.bin*")):
            raise DataError(f"{self.root}: a pack that is not finished; prepare it to the end, or merge its shards")
        videos = _read_directories(Path(self.list_file), self.root) if self.list_file else find_videos(self.root)
        if not videos:
            raise DataError(f"{self.root}: no videos found; {_EXPECTED}")
        items = [(video, person_of(video)) for video in videos]
        if self.item == "clip":
            items = [(clip, person) for video, person in items for clip in _clips(self.root, video)]
        names, people = np.unique([person for _, person in items], return_inverse=True)
        return VideoFrames(self.root, [directory for directory, _ in items]), people, names.tolist()

    def _pack(self) -> tuple[ImageSource, np.ndarray, list[str]]:
        if self.list_file is not None:
            raise DataError(f"list_file names directories and {self.address} is a pack; leave list_file out")
        source = PackFrames(self.open_pack(), self.item)
        return source, source.people, source.pack.identities

    def _set(self, split: str, source: ImageSource, rows: np.ndarray, people: np.ndarray, names: list[str]) -> FaceSet:
        present, number = np.unique(people[rows], return_inverse=True)
        identities, rank = np.unique([names[person] for person in present], return_inverse=True)
        return FaceSet(
            source if len(rows) == len(source) else SubsetSource(source, rows),
            {"identity": torch.from_numpy(rank[number])},
            name=f"{self.name}/{split}",
            class_names={"identity": identities.tolist()},
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


def _clips(root: Path, video: str) -> list[str]:
    """Clip directories of a video directory, relative to the root; itself where its frames are not in clips."""
    return [clip.relative_to(root).as_posix() for clip in _subfolders(root / video)] or [video]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not is_hidden(child.name))
