"""DISFA: facial action units of 27 people watching a video."""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import read_rows
from pcfrl_lightning.data.images.sources import FileSource
from pcfrl_lightning.data.images.video import extract_frames
from pcfrl_lightning.data.quality.unreadable import cache_folder
from pcfrl_lightning.data.releases.base import CroppedRelease
from pcfrl_lightning.data.releases.points import face_points, read_mat
from pcfrl_lightning.data.releases.release import find, inside, note_missing, require_companions
from pcfrl_lightning.errors import DataError, require

ACTION_UNITS = (1, 2, 4, 6, 9, 12, 25, 26)
"""The eight units of the common protocol (the release also labels 5, 15, 17 and 20)."""

PARTS = (
    ("SN001", "SN002", "SN009", "SN010", "SN016", "SN026", "SN027", "SN030", "SN032"),
    ("SN006", "SN011", "SN012", "SN013", "SN018", "SN021", "SN024", "SN028", "SN031"),
    ("SN003", "SN004", "SN005", "SN007", "SN008", "SN017", "SN023", "SN025", "SN029"),
)
"""The three subject-exclusive parts that JAA-Net and ME-GraphAU share."""
_PART_OF = {subject: number for number, part in enumerate(PARTS) for subject in part}

MOST_INTENSE = 5
_COMPLETE = 0.99
"""Share of a subject's frames that must have all eight labels."""
_LAST_NUMBER = re.compile(r"(\d+)\D*$")
_FRAME = re.compile(r"^(\d+)\.(?:png|jpg|jpeg|bmp)$", re.IGNORECASE)
_FRAME_FOLDERS = ("img", "Images", "images", "DISFA", "frames", ".")
_VIDEO_FOLDERS = {
    "left": ["Videos_LeftCamera", "Video_LeftCamera"],
    "right": ["Video_RightCamera", "Videos_RightCamera"],
}


class DISFA(CroppedRelease):
    """DISFA with the labels `au_intensity` (0..5) and `action_units` (1 where intensity >= 2) for AU 1, 2, 4, 6, 9, 12,
    25, 26, and `subject` and `fold` (part 0..2 of the common protocol).

    Without `fold` there is one split `test` with all frames, for cross-validation over its label `fold`; with `fold` k
    (1..3) the split `test` holds the part that ME-GraphAU tests in its fold k (part 3, 2, 1) and `train` the other two.

    Frames are read from folders `<subject>/<n>.png` or `.jpg` (n from 0, or from 1 if no subject has a 0 and one has as
    many as labels; gaps allowed), else extracted from the official videos once.  Frames without a label are left out.

    Args:
        root: the release; `UprightCrop` and `LandmarkCrop` read the 66 points under `Landmark_Points`.
        fold: 1, 2, 3 or None.
        camera: take the frames of these videos, `left` or `right`, and no frames that are there already; default: the
            frames that are there, else the left videos.
        frames: folder of extracted frames relative to the root; default: the first of `img`, `Images`, `images`,
            `DISFA`, `frames` or the root itself that holds subjects.
        frame_folder: where frames of videos are put, by root; default: the user's cache folder (`$PCFRL_CACHE`).
        subjects: names such as `SN001`; default: all 27, and it is an error if one has no frames, because a mean over
            fewer subjects or folds is not the figure that is reported for DISFA.
        kwargs: see `CroppedRelease`.
    """

    name = "disfa"
    side = 128
    official = {"test": 130814} | {f"test/subject {int(name[2:])}": 4845 - (name == "SN010") for name in _PART_OF}

    def __init__(
        self,
        root: str | Path,
        fold: int | None = None,
        camera: Literal["left", "right"] | None = None,
        frames: str | None = None,
        frame_folder: str | Path | None = None,
        subjects: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        require(fold in (None, 1, 2, 3), f"fold must be 1, 2, 3 or null for all frames, got {fold}")
        require(camera in (None, *_VIDEO_FOLDERS), f"camera must be left or right, got {camera!r}")
        if camera and frames:
            raise ValueError("camera chooses videos and frames a folder of frames: give one of them")
        self.fold, self.camera, self.frames = fold, camera, frames
        if unknown := sorted(set(subjects or ()).difference(_PART_OF)):
            raise ValueError(f"subjects: DISFA has no {', '.join(unknown)}; it has {', '.join(sorted(_PART_OF))}")
        self.subjects = sorted(subjects or _PART_OF)
        self.frame_folder = Path(frame_folder) if frame_folder else cache_folder() / "disfa"

    def build(self) -> dict[str, FaceSet]:
        everything = self._all_frames()
        if self.fold is None:
            return {"test": everything}
        return self.without_fold(everything, everything.labels["fold"] == len(PARTS) - self.fold, self.fold)

    def _all_frames(self) -> FaceSet:
        folder = find(self.root, ["ActionUnit_Labels"], "labels")
        frames_folder = self._frames_folder()
        files = {subject: _frame_files(frames_folder / subject) for subject in self.subjects}
        _need_all(self.subjects, [subject for subject in files if files[subject]], f"{frames_folder}: no frames")
        labels = {subject: _read_intensities(folder, subject) for subject in self.subjects}
        first = first_number(files.values(), labels.values(), f"frames in {frames_folder}")
        gaps = [  # some published lists leave frames out
            f"{subject}/{number}{Path(next(iter(names.values()))).suffix}"
            for subject, names in files.items()
            for number in sorted(frame + first for frame in labels[subject] if frame + first not in names)
        ]
        if gaps:
            note_missing(f"{frames_folder}: {len(gaps)} labelled frames have no image, the first is {gaps[0]}", gaps)
        there = [(subject, number - first) for subject, names in files.items() for number in sorted(names)]
        shown = [(subject, frame) for subject, frame in there if frame in labels[subject]]
        if not shown:
            raise DataError(f"{frames_folder}: none of its frames has a label under {folder}")
        intensity = torch.from_numpy(np.stack([labels[subject][frame] for subject, frame in shown]))
        return self.faces(
            "test",
            FileSource(frames_folder, [f"{subject}/{files[subject][frame + first]}" for subject, frame in shown]),
            {
                "au_intensity": intensity,
                "action_units": (intensity >= 2).float(),
                "subject": [int(subject[2:]) for subject, _ in shown],
                "fold": [_PART_OF[subject] for subject, _ in shown],
            },
            {"action_units": [f"AU{unit}" for unit in ACTION_UNITS]},
            lambda: self._landmarks(shown, labels),
        )

    def _frames_folder(self) -> Path:
        usual = () if self.camera else (*_FRAME_FOLDERS, self.root.name)
        for candidate in [self.frames] if self.frames else usual:
            folder = inside(self.root, candidate)
            if folder and any(_frame_files(path) for path in folder.glob("SN[0-9][0-9][0-9]")):
                return folder
        if self.frames:
            raise FileNotFoundError(f"no frames SN???/<n>.png or .jpg under {self.root / self.frames}")
        return self._extract()

    def _extract(self) -> Path:
        camera = self.camera or "left"
        wanted = f"{'' if self.camera else 'frames or '}videos of the {camera} camera"
        folder = find(self.root, _VIDEO_FOLDERS[camera], wanted)
        pattern = re.compile(rf"^{camera}video(SN\d{{3}})_comp\.avi$", re.IGNORECASE)
        found = [(pattern.match(path.name), path) for path in sorted(folder.iterdir())]
        videos = {match[1].upper(): path for match, path in found if match}
        if not videos:
            raise FileNotFoundError(f"no videos {camera.title()}VideoSN???_comp.avi in {folder}")
        _need_all(self.subjects, videos, f"{folder}: no video")
        # by root: another release, or a part of one, must not find these frames
        target = self.frame_folder / f"{camera}-{hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:12]}"
        extract_frames(((videos[name], target / name) for name in self.subjects), f"DISFA {camera} frames")
        return target

    def _landmarks(self, shown: Sequence[tuple[str, int]], labels: dict[str, dict[int, np.ndarray]]) -> np.ndarray:
        """Landmarks (n, 66, 2) of the frames, given as subject and number from 0."""
        folder = find(self.root, ["Landmark_Points"], "landmarks")
        files = {subject: _landmark_files(folder / subject) for subject in self.subjects}
        first = first_number(files.values(), labels.values(), f"landmark files in {folder}")
        wanted = {f"{subject} number {frame + first}": files[subject].get(frame + first) for subject, frame in shown}
        require_companions(folder, list(wanted), "landmark files", {name for name, path in wanted.items() if path})
        points = np.zeros((len(shown), 66, 2), np.float32)
        for row, path in enumerate(tqdm(wanted.values(), desc=f"landmarks of {self.name}", delay=2)):
            if path:
                points[row] = face_points(read_mat(path, ["pts"])["pts"], 66, path)
        return points


def _need_all(wanted: Sequence[str], found: Collection[str], complaint: str) -> None:
    if absent := [subject for subject in wanted if subject not in found]:
        fix = "complete the release, or name the subjects to use as `subjects`"
        raise DataError(f"{complaint} of {', '.join(absent)}; {fix}")


def _frame_files(folder: Path) -> dict[int, str]:
    """Frame number to file name; numbers may be padded with zeros."""
    frames: dict[int, str] = {}
    for name in sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else ():
        if match := _FRAME.match(name):
            first = frames.setdefault(int(match.group(1)), name)
            if first != name:
                raise DataError(f"{folder}: {first} and {name} are one frame; remove one of them")
    return frames


def _read_intensities(folder: Path, subject: str) -> dict[int, np.ndarray]:
    """Frame (from 0) to its eight intensities 0..5, from `<subject>/<subject>_au<k>.txt`, lines `<frame>,<intensity>`.

    The files count frames from 1 (or from 0, as their first line shows).  A frame counts as labelled when all eight
    files have it; up to one frame in a hundred may lack one.
    """
    paths = [folder / subject / f"{subject}_au{unit}.txt" for unit in ACTION_UNITS]
    columns = {path: _read_unit(path) for path in paths}
    common = set.intersection(*map(set, columns.values()))
    longest, shortest = max(map(len, columns.values())), min(paths, key=lambda path: len(columns[path]))
    if len(common) < _COMPLETE * longest:
        problem = f"{len(columns[shortest])} frames, other units of {subject} have {longest}; copy it again"
        raise DataError(f"{shortest}: {problem}")
    return {frame: np.array([column[frame] for column in columns.values()]) for frame in sorted(common)}


def _read_unit(path: Path) -> dict[int, int]:
    result: dict[int, int] = {}
    first = 0
    for row in read_rows(path, ","):
        row.expect(2)
        number = row.integer(0, 0, 10**7)
        first = first if result else min(number, 1)
        if number - first in result or number < first:
            row.fail(f"frame {number} stands twice or out of order")
        result[number - first] = row.integer(1, 0, MOST_INTENSE)
    return result


def first_number(found: Iterable[Collection[int]], labelled: Iterable[Collection[int]], what: str) -> int:
    """Where the numbers of files start, told by those of all subjects: 0 if a subject has a file 0, 1 if none has and
    one has a file behind its last labelled frame (counted from 0).

    A DataError where neither holds, or both: the labels could be shifted by one.
    """
    pairs = [(numbers, max(frames)) for numbers, frames in zip(found, labelled, strict=True) if numbers and frames]
    zero = any(0 in numbers for numbers, _ in pairs)
    one = any(0 not in numbers and max(numbers) > last for numbers, last in pairs)
    if zero == one:
        neither = "no subject has a file 0, and none has a file with the number of its labels"
        reason = "some subjects begin with 0 and others end behind their last label" if zero else neither
        raise DataError(f"{what}: cannot tell whether they count from 0 or from 1: {reason}")
    return int(one)


def _landmark_files(folder: Path) -> dict[int, Path]:
    """`.mat` files of a subject by the last number in their names."""
    files: dict[int, Path] = {}
    for path in sorted(folder.rglob("[!.]*.mat")):
        if match := _LAST_NUMBER.search(path.stem):
            first = files.setdefault(int(match[1]), path)
            require(first == path, f"{first} and {path} are one frame; remove one of them", DataError)
    if not files:
        raise FileNotFoundError(f"no landmark files under {folder}; use another cropping")
    return files
