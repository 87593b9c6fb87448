"""What the files of a pack say about each other; a pack may come from elsewhere, so it is checked before it is used."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.packs.writer import part_name
from pcfrl_lightning.errors import DataError, require

FORMAT = 1
TABLES = ("clips.npy", "frames.npy")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COUNTS = ("clips", "videos", "frames", "unusable")
_LARGEST = 1 << 32
"""Bytes of the frames of one clip, at most."""


def read_facts(text: bytes, where: str) -> dict[str, Any]:
    """The content of a pack.json, all of its entries as `join` writes them.

    Raises:
        DataError: it is damaged or of another version; begins with ``where``.
    """
    facts = _read_json(text, where, "join the parts again")
    version, people = facts.get("format"), facts.get("identities")
    if isinstance(version, int) and version != FORMAT:
        raise DataError(f"{where}: format {version!s:.20}, but this version reads format {FORMAT}")
    fits = {"format": version == FORMAT} | {key: _is_count(facts.get(key)) for key in _COUNTS}
    fits["settings"] = isinstance(facts.get("settings"), dict)
    fits["identities"] = isinstance(people, list) and all(isinstance(name, str) for name in people)
    fits["files"] = _are_files(facts.get("files"))
    if wrong := [key for key, fit in fits.items() if not fit]:
        raise DataError(f"{where}: damaged ({', '.join(wrong)}); join the parts again")
    return facts


def check_clips(clips: np.ndarray, frames: int, facts: Mapping[str, Any], where: str) -> None:
    """Every row of a table of clips must point into the pack; 50 ms for a million clips.

    Args:
        clips: (n,) of type `CLIP`.
        frames: length of the table of frames.
        facts: content of pack.json.
        where: begins the message of the DataError.
    """
    sizes = np.array([facts["files"][f"{part_name(n)}.bin"][0] for n in range(len(facts["files"]) - len(TABLES))])
    inside = clips["part"] < len(sizes)
    inside &= clips["identity"] < len(facts["identities"])
    inside &= (clips["frames"] > 0) & (clips["first"] < frames)
    inside &= clips["frames"] <= frames - np.minimum(clips["first"], frames)
    inside &= (clips["record"] < clips["data"]) & (clips["data"] < sizes[np.minimum(clips["part"], len(sizes) - 1)])
    steps = np.diff(clips["video"].astype(np.int64), prepend=-1)
    inside &= (steps >= 0) & (steps <= 1)
    if not len(clips) or not inside.all():
        row = f"row {int(np.argmin(inside))} does not fit to the parts" if len(clips) else "no clips"
        raise DataError(f"{where}: damaged ({row}); join the parts again")


def read_sidecar(folder: Path, number: int) -> dict[str, Any]:
    """What the JSON file of a finished part says, all of its entries as `PartWriter` writes them.

    Raises:
        DataError: it is damaged; names it.
    """
    path, fix = folder / f"{part_name(number)}.json", "remove it and its .bin and write the part again"
    sidecar = _read_json(path.read_bytes(), str(path), fix)
    settings, clips, unusable = (sidecar.get(key) for key in ("settings", "clips", "unusable"))
    fits = {
        "bytes": _is_count(sidecar.get("bytes")),
        "sha256": isinstance(sidecar.get("sha256"), str),
        "settings": isinstance(settings, dict) and _is_count(settings.get("parts")) and settings["parts"] > 0,
        "clips": isinstance(clips, list) and all(map(_is_clip, clips)),
        "unusable": isinstance(unusable, list) and all(_are_names(row, 4) for row in unusable),
    }
    if wrong := [key for key, fit in fits.items() if not fit]:
        raise DataError(f"{path}: damaged ({', '.join(wrong)}); {fix}")
    return sidecar


def _read_json(text: bytes, where: str, fix: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: damaged ({error!s:.100}); {fix}") from None
    require(isinstance(content, dict), f"{where}: damaged (no named entries); {fix}", DataError)
    return content


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _are_names(row: Any, count: int) -> bool:
    return isinstance(row, list) and len(row) == count and all(isinstance(name, str) for name in row)


def _is_clip(row: Any) -> bool:
    """Identity, video, clip, positions of the record and of the first frame, lengths of the frames."""
    if not (isinstance(row, list) and len(row) == 6 and _are_names(row[:3], 3) and all(map(_is_count, row[3:5]))):
        return False
    return isinstance(row[5], list) and bool(row[5]) and all(map(_is_count, row[5])) and sum(row[5]) < _LARGEST


def _are_files(files: Any) -> bool:
    """Size and SHA-256 of the parts, which are numbered from 0, and of the tables; nothing else, so no other path."""
    if not isinstance(files, dict) or len(files) <= len(TABLES):
        return False
    expected = {f"{part_name(number)}.bin" for number in range(len(files) - len(TABLES))} | set(TABLES)
    return files.keys() == expected and all(
        isinstance(entry, list) and len(entry) == 2 and _is_count(entry[0]) and _is_sha256(entry[1])
        for entry in files.values()
    )


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
