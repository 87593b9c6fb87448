"""DISFA: facial action units of 27 people watching a video."""

import hashlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pcfrl_lightning.data.alignment import Alignment, NoAlignment
from pcfrl_lightning.data.base import FaceData
from pcfrl_lightning.data.disfa_labels import ACTION_UNITS, PARTS, read_intensities, read_landmarks
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.integrity import cache_folder
from pcfrl_lightning.data.rows import first_existing
from pcfrl_lightning.data.sources import FileSource
from pcfrl_lightning.data.video import extract_frames
from pcfrl_lightning.errors import DataError

_FRAME = re.compile(r"^(\d+)\.(?:png|jpg|jpeg|bmp)$", re.IGNORECASE)
_VIDEO_FOLDERS = {
    "left": ["Videos_LeftCamera", "Video_LeftCamera"],
    "right": ["Video_RightCamera", "Videos_RightCamera"],
}


class DISFA(FaceData):
    """DISFA with the labels `au_intensity` (0..5) and `action_units` (1 where intensity >= 2) for AU 1, 2, 4, 6, 9,
    12, 25, 26, and `subject` and `fold` (part 0..2 of the common protocol).

    Without `fold` there is one split `test` with all frames, for cross-validation over its label `fold`; with `fold` k
    (1..3) the split `test` holds the part that ME-GraphAU tests in its fold k (part 3, 2, 1) and `train` the other two.

    Frames are read from folders `<subject>/<n>.png` or `.jpg` (n from 0, gaps allowed), else extracted from the
    official videos once.  Frames without a label are left out.

    Args:
        root: the release.
        fold: 1, 2, 3 or None.
        alignment: how to cut out the face.  `LandmarkAlign` and `LandmarkCrop` read the 66 points under
            `Landmark_Points`.
        camera: which videos.
        frames: folder of extracted frames relative to the root; default: the first of `img`, `Images`, `images`,
            `DISFA`, `frames` or the root itself that holds subjects.
        cache: where frames of videos are put, by root; default: the user's cache folder (`$PCFRL_CACHE`).
        subjects: names such as `SN001`; default: all 27, and it is an error if one has no frames, because a mean over
            fewer subjects or folds is not the figure that is reported for DISFA.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.

    Raises:
        ValueError: another fold or camera.
    """

    name = "disfa"

    def __init__(
        self,
        root: str | Path,
        fold: int | None = None,
        alignment: Alignment | None = None,
        camera: Literal["left", "right"] = "left",
        frames: str | None = None,
        cache: str | Path | None = None,
        subjects: Sequence[str] | None = None,
        image_size: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        if fold not in (None, 1, 2, 3):
            raise ValueError(f"fold must be 1, 2, 3 or null for all frames, got {fold}")
        if camera not in _VIDEO_FOLDERS:
            raise ValueError(f"camera must be left or right, got {camera!r}")
        self.fold, self.camera, self.frames = fold, camera, frames
        every = [subject for part in PARTS for subject in part]
        if unknown := sorted(set(subjects or ()).difference(every)):
            raise ValueError(f"subjects: DISFA has no {', '.join(unknown)}; it has {', '.join(sorted(every))}")
        self.subjects = sorted(subjects or every)
        self.alignment = alignment or NoAlignment()
        self.cache = Path(cache) if cache else cache_folder() / "disfa"

    def build(self) -> dict[str, FaceSet]:
        """The splits; extracts frames from the videos where that was not done before."""
        everything = self._all_frames()
        if self.fold is None:
            return {"test": everything}
        tested = everything.labels["fold"] == len(PARTS) - self.fold
        splits = {
            "train": everything.subset((~tested).nonzero()[:, 0]),
            "test": everything.subset(tested.nonzero()[:, 0]),
        }
        for split, faces in splits.items():
            faces.name = f"{self.name}/fold{self.fold}-{split}"
        return splits

    def _all_frames(self) -> FaceSet:
        labels_folder = first_existing(
            self.root, ["ActionUnit_Labels", "ActionUnit_Labels/ActionUnit_Labels"], "labels"
        )
        frames_folder = self._frames_folder()
        paths: list[str] = []
        intensities: list[np.ndarray] = []
        points: list[np.ndarray] = []
        subjects: list[int] = []
        folds: list[int] = []
        every = {subject: _frame_files(frames_folder / subject) for subject in self.subjects}
        _need_all(self.subjects, [subject for subject, files in every.items() if files], f"{frames_folder}: no frames")
        for subject, files in every.items():
            labels = read_intensities(labels_folder, subject)
            kept = [frame for frame in sorted(files) if frame in labels]
            paths += [f"{subject}/{files[frame]}" for frame in kept]
            intensities += [labels[frame] for frame in kept]
            subjects += [int(subject[2:])] * len(kept)
            folds += [next(number for number, part in enumerate(PARTS) if subject in part)] * len(kept)
            if self.alignment.needs_landmarks:
                points += self._landmarks_of(subject, kept)
        if not paths:
            raise DataError(f"{frames_folder}: none of its frames has a label under {labels_folder}")
        intensity = torch.from_numpy(np.stack(intensities))
        source = FileSource(frames_folder, paths)
        return FaceSet(
            self.alignment.apply(source, np.stack(points) if points else None),
            {
                "au_intensity": intensity,
                "action_units": (intensity >= 2).float(),
                "subject": torch.tensor(subjects, dtype=torch.long),
                "fold": torch.tensor(folds, dtype=torch.long),
            },
            name=f"{self.name}/test",
            class_names=[f"AU{unit}" for unit in ACTION_UNITS],
        )

    def _frames_folder(self) -> Path:
        candidates = [self.frames] if self.frames else ["img", "Images", "images", "DISFA", "frames", "."]
        for candidate in candidates:
            if any(_frame_files(path) for path in (self.root / candidate).glob("SN[0-9][0-9][0-9]")):
                return self.root / candidate
        if self.frames:
            raise FileNotFoundError(f"no frames SN???/<n>.png or .jpg under {self.root / self.frames}")
        return self._extract()

    def _extract(self) -> Path:
        """Frames of the official videos; folder and file names differ in spelling between the cameras."""
        folder = first_existing(self.root, _VIDEO_FOLDERS[self.camera], f"frames or videos of the {self.camera} camera")
        pattern = re.compile(rf"^{self.camera}video(SN\d{{3}})_comp\.avi$", re.IGNORECASE)
        videos = {
            match.group(1).upper(): path for path in sorted(folder.iterdir()) if (match := pattern.match(path.name))
        }
        if not videos:
            raise FileNotFoundError(f"no videos {self.camera.title()}VideoSN???_comp.avi in {folder}")
        _need_all(self.subjects, videos, f"{folder}: no video")
        # by root: another release, or a part of one, must not find these frames
        target = self.cache / f"{self.camera}-{hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:12]}"
        extract_frames(((videos[name], target / name) for name in self.subjects), f"DISFA {self.camera} frames")
        return target

    def _landmarks_of(self, subject: str, frames: list[int]) -> list[np.ndarray]:
        folder = first_existing(self.root, ["Landmark_Points", "Landmark_Points/Landmark_Points"], "landmarks")
        points = read_landmarks(folder, subject)
        if absent := [frame for frame in frames if frame not in points]:
            raise DataError(f"{folder / subject}: {len(points)} landmark files, none of them for frame {absent[0]}")
        return [points[frame] for frame in frames]


def _need_all(wanted: Sequence[str], found: Collection[str], complaint: str) -> None:
    if absent := [subject for subject in wanted if subject not in found]:
        raise DataError(
            f"{complaint} of {', '.join(absent)}; complete the release, or name the subjects to use as `subjects`"
        )


def _frame_files(folder: Path) -> dict[int, str]:
    """Frame number to file name; numbers may be padded with zeros."""
    if not folder.is_dir():
        return {}
    names = (entry.name for entry in folder.iterdir())
    return {int(match.group(1)): name for name in names if (match := _FRAME.match(name))}
