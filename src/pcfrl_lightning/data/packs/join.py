"""From finished parts, of one folder or of several, to a pack."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.packs.codecs import codec_of
from pcfrl_lightning.data.packs.facts import FORMAT, read_sidecar
from pcfrl_lightning.data.packs.records import canonical
from pcfrl_lightning.data.packs.writer import is_finished, part_name, write_atomically
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.files import file_sha256, replacing

CLIP = np.dtype(
    [
        ("identity", "<u4"),  # row of `identities` in pack.json
        ("video", "<u4"),  # number of the video, from 0
        ("part", "<u4"),
        ("frames", "<u4"),  # how many
        ("first", "<u8"),  # row of the first frame in frames.npy
        ("record", "<u8"),  # position of the record in the part
        ("data", "<u8"),  # position of the first frame in the part
    ]
)
"""A row of clips.npy."""


def join(folder: str | Path, others: Sequence[str | Path] = (), verify: bool = True) -> Path:
    """Make a pack of the finished parts in a folder; returns its pack.json.

    Args:
        folder: where the pack is to be; may hold parts already.
        others: folders whose parts are copied into it, such as those of the jobs of an array.
        verify: whether all parts are read and compared with their checksums.

    Raises:
        DataError: a part is absent, damaged, of other settings than the rest, or differs between folders; a clip stands
            in two parts; no clip at all.  Names the part.
    """
    target = Path(folder)
    for other in map(Path, others):
        for number in finished_parts(other):
            _copy_part(other, target, number)
    names: list[list[str]] = []
    tables, ends, files, frames, unusable = [], [], {}, 0, 0
    parts = _complete(target)
    settings = read_sidecar(target, 0)["settings"]
    codec_of(settings)
    for number in range(parts):  # one sidecar at a time: all are several GB of Python objects
        sidecar = read_sidecar(target, number)
        if sidecar["settings"] != settings:
            found, expected = (canonical(each).decode() for each in (sidecar["settings"], settings))
            where = f"{target}/{part_name(number)}.bin"
            raise DataError(f"{where}: has the settings {found}, but {part_name(0)}.bin has {expected}")
        if verify:
            check_part(target, number)
        names += [row[:3] for row in sidecar["clips"]]
        table, lengths = _numbers(sidecar["clips"])
        table["part"], table["first"] = number, table["first"] + frames
        tables.append(table)
        ends.append(lengths)
        frames += len(lengths)
        unusable += len(sidecar["unusable"])
        files[f"{part_name(number)}.bin"] = [sidecar["bytes"], sidecar["sha256"]]
    if not names:
        raise DataError(f"{target}: no clip of its {parts} parts has frames")
    order = sorted(range(len(names)), key=names.__getitem__)
    names, clips = [names[row] for row in order], np.concatenate(tables)[order]
    for first, second in pairwise(names):
        if first == second:
            raise DataError(f"{target}: the clip {'/'.join(first)} stands in the pack twice")
    identities, clips["identity"] = np.unique([name[0] for name in names], return_inverse=True)
    clips["video"] = np.cumsum([0, *(one[:2] != two[:2] for one, two in pairwise(names))])
    (target / "pack.json").unlink(missing_ok=True)
    for name, array in (("clips.npy", clips), ("frames.npy", np.concatenate(ends))):
        np.save(content := BytesIO(), array)
        write_atomically(target / name, content.getbuffer())
        files[name] = [(target / name).stat().st_size, file_sha256(target / name)]
    os.sync()  # the copied parts
    facts = {"format": FORMAT, "settings": settings, "clips": len(clips), "videos": int(clips["video"][-1]) + 1}
    facts |= {"frames": frames, "unusable": unusable, "identities": identities.tolist(), "files": files}
    write_atomically(target / "pack.json", json.dumps(facts, indent=1).encode())
    return target / "pack.json"


def check_part(folder: str | Path, number: int) -> None:
    """Read a finished part; raises DataError where its size or SHA-256 is not what was written."""
    path = Path(folder) / f"{part_name(number)}.bin"
    sidecar = read_sidecar(Path(folder), number)
    size = path.stat().st_size
    if size != sidecar["bytes"] or file_sha256(path) != sidecar["sha256"]:
        what = f"has {size} bytes instead of {sidecar['bytes']}" if size != sidecar["bytes"] else "has other bytes"
        raise DataError(f"{path}: {what} than were written; remove it and its .json and write the part again")


def finished_parts(folder: Path) -> list[int]:
    """Numbers of the finished parts of a folder, sorted."""
    found = (re.fullmatch(r"part-(\d+)\.bin", path.name) for path in folder.iterdir())
    return sorted(number for match in found if match and is_finished(folder, number := int(match[1])))


def _complete(folder: Path) -> int:
    """Number of parts of a folder that has all of them."""
    found = finished_parts(folder) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder}: no finished part of a pack (part-00000.bin and .json)")
    expected = read_sidecar(folder, found[0])["settings"]["parts"]
    first = next((number for number, there in enumerate(found) if number != there), len(found))
    if first < expected:
        absent = expected - sum(number < expected for number in found)
        raise DataError(f"{folder}: {absent} of {expected} parts are not finished, such as {part_name(first)}")
    if len(found) > expected:
        raise DataError(f"{folder}: there are {len(found)} parts, but its settings are those of {expected}")
    return expected


def _numbers(clips: Sequence[Sequence[Any]]) -> tuple[np.ndarray, np.ndarray]:
    """`CLIP` rows of the clips of a sidecar, with `first` counted in their part, and the ends of their frames."""
    table = np.zeros(len(clips), CLIP)
    table["record"], table["data"] = [row[3] for row in clips], [row[4] for row in clips]
    table["frames"] = [len(row[5]) for row in clips]
    table["first"] = np.cumsum(table["frames"]) - table["frames"]
    return table, np.concatenate([np.cumsum(row[5], dtype=np.uint32) for row in clips] or [np.empty(0, np.uint32)])


def _copy_part(source: Path, target: Path, number: int) -> None:
    if source.resolve() == target.resolve():
        return
    if is_finished(target, number):
        if read_sidecar(source, number) != read_sidecar(target, number):
            raise DataError(f"{part_name(number)} of {source} differs from that of {target}; remove one of them")
        return
    for suffix in (".json", ".bin"):
        path = target / f"{part_name(number)}{suffix}"
        with replacing(path) as part:
            shutil.copyfile(source / path.name, part)
