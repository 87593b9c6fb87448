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
from pcfrl_lightning.data.packs.records import canonical
from pcfrl_lightning.data.packs.writer import is_finished, part_name, size_and_sha256, write_atomically
from pcfrl_lightning.errors import DataError

FORMAT = 1

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
    sidecars = _sidecars(target)
    if verify:
        for number in range(len(sidecars)):
            check_part(target, number)
    names, clips, ends = _tables(sidecars)
    order = sorted(range(len(names)), key=names.__getitem__)
    names = [names[row] for row in order]
    for first, second in pairwise(names):
        if first == second:
            raise DataError(f"{target}: the clip {'/'.join(first)} stands in the pack twice")
    if not names:
        raise DataError(f"{target}: no clip of the {len(sidecars)} parts has frames")
    clips = clips[order]
    identities, clips["identity"] = np.unique([name[0] for name in names], return_inverse=True)
    clips["video"] = np.cumsum([0, *(one[:2] != two[:2] for one, two in pairwise(names))])
    files = {f"{part_name(n)}.bin": [part["bytes"], part["sha256"]] for n, part in enumerate(sidecars)}
    (target / "pack.json").unlink(missing_ok=True)
    for name, array in (("clips.npy", clips), ("frames.npy", ends)):
        np.save(content := BytesIO(), array)
        write_atomically(target / name, content.getbuffer())
        files[name] = list(size_and_sha256(target / name))
    os.sync()  # the copied parts
    facts = {
        "format": FORMAT,
        "settings": sidecars[0]["settings"],
        "clips": len(clips),
        "videos": int(clips["video"][-1]) + 1,
        "frames": len(ends),
        "unusable": sum(len(part["unusable"]) for part in sidecars),
        "identities": identities.tolist(),
        "files": files,
    }
    write_atomically(target / "pack.json", json.dumps(facts, indent=1).encode())
    return target / "pack.json"


def check_part(folder: str | Path, number: int) -> None:
    """Read a finished part; raises DataError where its size or SHA-256 is not what was written."""
    path = Path(folder) / f"{part_name(number)}.bin"
    sidecar = read_sidecar(Path(folder), number)
    size, digest = size_and_sha256(path)
    if (size, digest) != (sidecar["bytes"], sidecar["sha256"]):
        what = f"has {size} bytes instead of {sidecar['bytes']}" if size != sidecar["bytes"] else "has other bytes"
        raise DataError(f"{path}: {what} than were written; remove it and its .json and write the part again")


def finished_parts(folder: Path) -> list[int]:
    """Numbers of the finished parts of a folder, sorted."""
    found = (re.fullmatch(r"part-(\d+)\.bin", path.name) for path in folder.iterdir())
    return sorted(number for match in found if match and is_finished(folder, number := int(match[1])))


def _sidecars(folder: Path) -> list[dict[str, Any]]:
    found = finished_parts(folder)
    if not found:
        raise DataError(f"{folder}: no finished part of a pack (part-00000.bin and .json)")
    sidecars = [read_sidecar(folder, number) for number in found]
    settings = sidecars[0]["settings"]
    codec_of(settings)
    for number, sidecar in zip(found, sidecars, strict=True):
        if sidecar["settings"] != settings:
            raise DataError(
                f"{folder}/{part_name(number)}.bin: has the settings {canonical(sidecar['settings']).decode()}, but "
                f"{part_name(found[0])}.bin has {canonical(settings).decode()}"
            )
    absent = sorted(set(range(settings["parts"])) - set(found))
    if absent or len(found) > settings["parts"]:
        which = ", ".join(f"{part_name(number)}" for number in absent[:5])
        raise DataError(f"{folder}: {len(absent)} of {settings['parts']} parts are not finished, such as {which}")
    return sidecars


def read_sidecar(folder: Path, number: int) -> dict[str, Any]:
    """What the JSON file of a finished part says; raises DataError where it is damaged."""
    path = folder / f"{part_name(number)}.json"
    try:
        sidecar: dict[str, Any] = json.loads(path.read_bytes())
        _ = sidecar["bytes"], sidecar["sha256"], sidecar["settings"]["parts"], sidecar["clips"], sidecar["unusable"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); remove it and its .bin and write the part again") from None
    return sidecar


def _tables(sidecars: Sequence[dict[str, Any]]) -> tuple[list[tuple[str, str, str]], np.ndarray, np.ndarray]:
    """Names and `CLIP` rows of all clips in the order of the parts, and the ends of all frames."""
    names: list[tuple[str, str, str]] = []
    rows: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    first = 0
    for part, sidecar in enumerate(sidecars):
        table = np.zeros(len(sidecar["clips"]), CLIP)
        for row, (identity, video, clip, record, data, lengths) in zip(table, sidecar["clips"], strict=True):
            names.append((identity, video, clip))
            row["part"], row["record"], row["data"] = part, record, data
            row["frames"], row["first"] = len(lengths), first
            ends.append(np.cumsum(lengths, dtype=np.uint32))
            first += len(lengths)
        rows.append(table)
    return names, np.concatenate(rows), np.concatenate(ends) if ends else np.empty(0, np.uint32)


def _copy_part(source: Path, target: Path, number: int) -> None:
    if source.resolve() == target.resolve():
        return
    target.mkdir(parents=True, exist_ok=True)
    if is_finished(target, number):
        if read_sidecar(source, number) != read_sidecar(target, number):
            raise DataError(f"{part_name(number)} of {source} differs from that of {target}; remove one of them")
        return
    for suffix in (".json", ".bin"):
        path = target / f"{part_name(number)}{suffix}"
        new = path.with_name(f"{path.name}.new")
        shutil.copyfile((source / path.name), new)
        new.replace(path)
