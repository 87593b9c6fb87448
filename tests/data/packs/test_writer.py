"""A part may be interrupted anywhere and is then continued to the same bytes."""

import errno
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from packing import SETTINGS, image, make_pack, part, write
from pcfrl_lightning.data.packs import PartWriter, check_part, codec_of, is_finished
from pcfrl_lightning.errors import DataError


@pytest.fixture
def finished(tmp_path: Path) -> bytes:
    """Bytes of part 0, written without interruption."""
    return (make_pack(tmp_path / "whole") / "part-00000.bin").read_bytes()


def continued(folder: Path) -> bytes:
    with PartWriter(folder, 0, SETTINGS) as writer:
        write(writer, part(0))
        writer.finish()
    return (folder / "part-00000.bin").read_bytes()


def test_a_part_cut_at_any_byte_is_continued_to_the_same_bytes(tmp_path, finished):
    for length in [*range(0, 120, 7), *range(120, len(finished), 331), len(finished)]:
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "part-00000.bin.partial").write_bytes(finished[:length])
        assert continued(folder) == finished
        shutil.rmtree(folder)


def test_a_record_larger_than_one_read_is_found_again(tmp_path, monkeypatch):
    """Linux reads 2 GiB at once and not more; here it is 600 bytes."""
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        write(writer, part(0))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, start: pread(file, min(count, 600), start))
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        assert len(writer.done) == 6


def test_complete_clips_of_an_interrupted_part_are_kept(tmp_path, finished):
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        write(writer, range(3))
    path = tmp_path / "part-00000.bin.partial"
    path.write_bytes(path.read_bytes() + b"CLIP and something that was never finished")
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        assert len(writer.done) == 3
    assert finished.startswith(path.read_bytes())
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        assert len(writer.done) == 2
    assert continued(tmp_path) == finished


def test_killed_in_the_middle(tmp_path, finished):
    for moment in range(1, 8):
        folder = tmp_path / str(moment)
        if (child := os.fork()) == 0:
            writer = PartWriter(folder, 0, SETTINGS)
            write(writer, range(min(moment, 6)))
            if moment == 7:  # just before the part gets its final name
                Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
                writer.finish()
            os.kill(os.getpid(), signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert not is_finished(folder, 0)
        assert continued(folder) == finished


def test_a_full_disk_is_one_error_and_the_clips_before_it_stay(tmp_path, finished):
    class Full:
        def __init__(self, file):
            self.file, self.left = file, 300

        def write(self, data):
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = self.file.write(data[: self.left])
            self.left -= written
            return written

        def __getattr__(self, name):
            return getattr(self.file, name)

    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        write(writer, range(2))
        writer._file = Full(writer._file)
        with pytest.raises(DataError, match=r"part-00000\.bin\.partial: the disk is full; what was written stays"):
            write(writer, part(0))
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        assert len(writer.done) == 2
    assert continued(tmp_path) == finished


def test_unusable_clips_are_kept_with_their_reason(tmp_path):
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        writer.skip("id0", "video0", "00000.mp4", "no video stream")
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        assert writer.done == [("id0", "video0", "00000.mp4")]
        assert writer.unusable == [["id0", "video0", "00000.mp4", "no video stream"]]


def test_refused_writers(tmp_path):
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        write(writer, range(1))
        with pytest.raises(DataError, match="another process writes it; give each process its own shard"):
            PartWriter(tmp_path, 0, SETTINGS)
    with pytest.raises(DataError, match="is no part of a pack with these settings"):
        PartWriter(tmp_path, 0, {**SETTINGS, "size": 9})
    continued(tmp_path)
    with pytest.raises(DataError, match=r"part-00000\.bin: is finished"):
        PartWriter(tmp_path, 0, SETTINGS)
    (tmp_path / "part-00001.bin.partial").write_bytes(b"something else")
    with pytest.raises(DataError, match="is no part of a pack with these settings"):
        PartWriter(tmp_path, 1, SETTINGS)


def test_a_finished_part_is_checked(tmp_path, finished):
    make_pack(tmp_path)
    check_part(tmp_path, 0)
    path = tmp_path / "part-00000.bin"
    path.write_bytes(finished[:-1])
    with pytest.raises(DataError, match=rf"part-00000\.bin: has {len(finished) - 1} bytes instead of {len(finished)}"):
        check_part(tmp_path, 0)
    path.write_bytes(finished[:-1] + b"\1")
    with pytest.raises(DataError, match=r"part-00000\.bin: has other bytes"):
        check_part(tmp_path, 0)


def test_codecs():
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    raw, jpeg = codec_of({"codec": "raw", "size": 8}), codec_of({"codec": "jpeg", "quality": 95})
    assert (raw.decode(raw.encode(noise)) == noise).all()
    decoded = jpeg.decode(jpeg.encode(image(200, 100))).astype(int)
    assert abs(decoded - image(200, 100)).max() <= 2
    assert jpeg.encode(noise) == jpeg.encode(noise.copy())
    with pytest.raises(ValueError, match=r"frames must be uint8 \(8, 8, 3\)"):
        raw.encode(noise[:4])
    with pytest.raises(DataError, match="codec must be raw, with a size, or jpeg"):
        codec_of({"codec": "png"})


def test_a_file_system_without_locks(tmp_path, finished, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert continued(tmp_path) == finished


def test_a_record_that_claims_to_be_huge_is_cut(tmp_path, finished):
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        write(writer, range(1))
    path = tmp_path / "part-00000.bin.partial"
    path.write_bytes(path.read_bytes() + b"CLIP" + b"\xff" * 40)
    assert continued(tmp_path) == finished
