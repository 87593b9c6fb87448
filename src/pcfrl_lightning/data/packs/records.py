"""The bytes of a part: its header, and one record a clip."""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

MAGIC = b"PCFRPK1\n"
_CLIP = b"CLIP"
_HEAD = struct.Struct("<4sIQII")
_CHECKED = 8
"""Bytes of a record before those that its checksum covers."""

FRAME = np.dtype([("bytes", "<u4"), ("number", "<u4"), ("time", "<f8")])
"""What a record says about a frame: length, number in the source from 0, seconds from the start of the clip."""


class Record(NamedTuple):
    """A clip of a part.

    Attributes:
        names: identity, video and clip.
        reason: why the clip has no frames; empty where it has some.
        frames: (n,) of type `FRAME`.
        data: position of the first frame, from the beginning of what was parsed.
        end: position behind the record.
    """

    names: tuple[str, str, str]
    reason: str
    frames: np.ndarray
    data: int
    end: int


def header(settings: Mapping[str, Any]) -> bytes:
    """The first bytes of every part with these settings."""
    text = canonical(settings)
    return MAGIC + struct.pack("<I", len(text)) + text


def canonical(settings: Mapping[str, Any]) -> bytes:
    """The one JSON text of some settings."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()


def record(names: tuple[str, str, str], reason: str, table: np.ndarray, frames: Sequence[bytes]) -> bytes:
    """The record of a clip; ``table`` (n,) of type `FRAME` describes the n frames."""
    text = json.dumps([*names, reason], separators=(",", ":")).encode()
    data = b"".join([text, table.tobytes(), *frames])
    checked = struct.pack("<QII", _HEAD.size + len(data), len(frames), len(text)) + data
    return _CLIP + struct.pack("<I", zlib.crc32(checked)) + checked


def parse(data: bytes, start: int = 0, whole: bool = True) -> Record | None:
    """The record at a position, or None where no intact one is.

    Args:
        data: bytes of a part or of a record.
        start: where the record begins.
        whole: whether the frames are there, too, and the checksum is to be compared.
    """
    if len(data) < start + _HEAD.size:
        return None
    magic, checksum, size, count, length = _HEAD.unpack_from(data, start)
    table = start + _HEAD.size + length
    first = table + count * FRAME.itemsize
    if magic != _CLIP or len(data) < (start + size if whole else first):
        return None
    if whole and zlib.crc32(memoryview(data)[start + _CHECKED : start + size]) != checksum:
        return None
    *names, reason = json.loads(data[start + _HEAD.size : table])
    frames = np.frombuffer(data, FRAME, count, table)
    return Record((names[0], names[1], names[2]), reason, frames, first, start + size)
