"""The bytes of a part: its header, and one record a clip."""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

MAGIC = b"PCFRPK1\n"
_CLIP = b"CLIP"
HEAD = struct.Struct("<4sIQII")
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
        data: position of the first frame, from the beginning of the record.
    """

    names: tuple[str, str, str]
    reason: str
    frames: np.ndarray
    data: int


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
    checked = struct.pack("<QII", HEAD.size + len(data), len(frames), len(text)) + data
    return _CLIP + struct.pack("<I", zlib.crc32(checked)) + checked


def record_size(head: bytes) -> int:
    """Bytes of the record with this head; 0 where it is none."""
    return HEAD.unpack(head)[2] if len(head) == HEAD.size and head.startswith(_CLIP) else 0


def parse(data: bytes, whole: bool = True) -> Record | None:
    """A record from its bytes, or None where they are not those of an intact one.

    Args:
        data: the record, or its beginning up to the first frame.
        whole: whether the frames are there, too, and the checksum is to be compared.
    """
    if len(data) < HEAD.size:
        return None
    magic, checksum, size, count, length = HEAD.unpack_from(data)
    table = HEAD.size + length
    first = table + count * FRAME.itemsize
    if magic != _CLIP or first > size or len(data) != (size if whole else first):
        return None
    if whole and zlib.crc32(memoryview(data)[_CHECKED:]) != checksum:
        return None
    try:
        identity, video, clip, reason = json.loads(data[HEAD.size : table])
    except (ValueError, TypeError, RecursionError):  # a checksum does not say who wrote it
        return None
    frames = np.frombuffer(data, FRAME, count, table)
    fits = not whole or first + int(frames["bytes"].sum()) == size
    if not fits or not all(isinstance(text, str) for text in (identity, video, clip, reason)):
        return None
    return Record((identity, video, clip), reason, frames, first)
