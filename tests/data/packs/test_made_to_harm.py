"""Packs and parts whose files say what is not so: each is a DataError that names the file, and nothing is written
elsewhere or read into memory."""

import hashlib
import io
import json
import pickle
import shutil
import struct
import zlib

import numpy as np
import pytest

from packing import SETTINGS, make_pack, part, write
from pcfrl_lightning.data.packs import Pack, PartWriter, join
from pcfrl_lightning.data.packs.records import header
from pcfrl_lightning.errors import DataError


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "pack")


def change(folder, **entries):
    path = folder / "pack.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def replace(folder, name, content):
    """Write a file, and what pack.json says about it."""
    (folder / name).write_bytes(content)
    files = json.loads((folder / "pack.json").read_text())["files"]
    change(folder, files={**files, name: [len(content), hashlib.sha256(content).hexdigest()]})


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"files": {"../../secret": [1, "0" * 64]}}, "files"),
        ({"files": [1, 2]}, "files"),
        ({"files": {}}, "files"),
        ({"identities": 7}, "identities"),
        ({"identities": [[1]]}, "identities"),
        ({"settings": [1]}, "settings"),
        ({"clips": -5}, "clips"),
        ({"frames": "many"}, "frames"),
        ({"format": [1]}, "format"),
        ({"settings": {"codec": ["raw"]}}, "codec"),
        ({"settings": {"codec": "raw", "size": 10**9}}, "codec"),
        ({"settings": {"codec": "raw"}}, "codec"),
        ({"settings": {"codec": "jpeg", "quality": "best"}}, "codec"),
    ],
)
def test_entries_of_pack_json(folder, entries, named):
    change(folder, **entries)
    with pytest.raises(DataError, match=named):
        Pack(folder)


@pytest.mark.parametrize("text", [b"", b"[1, 2]", b"\xff\xfe", b"[" * 300_000, b'{"format": ' + b"9" * 9000 + b"}"])
def test_what_is_no_pack_json_or_sidecar(folder, text):
    (folder / "pack.json").write_bytes(text)
    with pytest.raises(DataError, match=r"pack\.json: (damaged|format)"):
        Pack(folder)
    (folder / "part-00001.json").write_bytes(text)
    with pytest.raises(DataError, match=r"part-00001\.json: damaged"):
        join(folder)


@pytest.mark.parametrize("column", ["identity", "video", "part", "frames", "first", "record", "data"])
def test_numbers_of_clips_that_lead_out_of_the_pack(folder, column):
    clips = np.load(folder / "clips.npy")
    for value in {"frames": [0, 2**32 - 1], "record": [2**63]}.get(column, [2**32 - 1]):
        changed = clips.copy()
        changed[column][-1] = value
        np.save(content := io.BytesIO(), changed)
        replace(folder, "clips.npy", content.getvalue())
        with pytest.raises(DataError, match=r"clips\.npy: damaged \(row 11 "):
            Pack(folder)


def test_videos_that_do_not_begin_with_the_first(folder):
    clips = np.load(folder / "clips.npy")
    clips["video"] += 1
    np.save(content := io.BytesIO(), clips)
    replace(folder, "clips.npy", content.getvalue())
    with pytest.raises(DataError, match=r"clips\.npy: damaged \(row 0 "):
        Pack(folder)


def test_ends_of_frames_that_run_backwards(folder):
    np.save(content := io.BytesIO(), np.load(folder / "frames.npy")[::-1])
    replace(folder, "frames.npy", content.getvalue())
    pack = Pack(folder)
    with pytest.raises(DataError, match=r"frames\.npy: damaged \(row 1\)"):
        pack.read(0, 1)


class Harm:
    def __reduce__(self):
        return pytest.fail, ("run",)


@pytest.mark.parametrize("name", ["clips.npy", "frames.npy"])
def test_tables_that_are_none(folder, name):
    np.save(objects := io.BytesIO(), np.array([Harm()], object), allow_pickle=True)
    np.save(square := io.BytesIO(), np.load(folder / name)[:, None])
    np.savez(archive := io.BytesIO(), a=np.zeros(3))
    contents = [each.getvalue() for each in (objects, square, archive)]
    for content in [*contents, pickle.dumps(Harm()), b"", b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70000]:
        replace(folder, name, content)
        with pytest.raises(DataError, match=name):
            Pack(folder)


@pytest.mark.parametrize("digest", ["../" * 12 + "{}", "{}"])
def test_a_pack_elsewhere_cannot_choose_where_its_tables_are_kept(folder, tmp_path, monkeypatch, digest):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    files = json.loads((folder / "pack.json").read_text())["files"]
    files["clips.npy"][1] = digest.format(str(tmp_path / "victim"))
    change(folder, files=files)
    with pytest.raises(DataError, match="files"):
        Pack(f"file://{folder}")
    assert not (tmp_path / "victim.npy").exists()


def test_a_pack_elsewhere_cannot_put_its_tables_in_place_of_others(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    files = json.loads((folder / "pack.json").read_text())["files"]
    files["clips.npy"][1] = "0" * 64
    change(folder, files=files)
    with pytest.raises(DataError, match=r"clips\.npy: has other bytes"):
        Pack(f"file://{folder}")
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.parametrize(
    "entries",
    [
        {"clips": 3},
        {"clips": [[1, 2, 3]]},
        {"clips": [["a", "b", None, 0, 5, [3]]]},
        {"clips": [["a", "b", "c", -1, 5, [3]]]},
        {"clips": [["a", "b", "c", 0, 2**70, [3]]]},
        {"clips": [["a", "b", "c", 0, 5, [-1]]]},
        {"clips": [["a", "b", "c", 0, 5, ["x"]]]},
        {"clips": [["a", "b", "c", 0, 5, []]]},
        {"unusable": 7},
        {"unusable": [3]},
        {"settings": [1]},
        {"settings": {**SETTINGS, "parts": "2"}},
        {"settings": {**SETTINGS, "parts": -1}},
        {"bytes": "x"},
    ],
)
def test_entries_of_a_sidecar(folder, entries):
    path = folder / "part-00001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))
    with pytest.raises(DataError, match=r"part-00001\.json: damaged"):
        join(folder)


def test_a_number_of_parts_that_no_memory_holds(folder):
    for number in (0, 1):
        path = folder / f"part-0000{number}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "settings": {**SETTINGS, "parts": 10**12}}))
    with pytest.raises(DataError, match="999999999998 of 1000000000000 parts are not finished, such as part-00002"):
        join(folder)


def test_a_refused_writer_lets_go_of_the_part(tmp_path):
    PartWriter(tmp_path, 0, SETTINGS).close()
    with pytest.raises(DataError, match="no part of a pack with these settings") as refused:
        PartWriter(tmp_path, 0, {**SETTINGS, "size": 9})
    assert refused.tb  # an interpreter keeps it as well
    PartWriter(tmp_path, 0, SETTINGS).close()


def record(names, frames=0, size=None):
    """A record with a right checksum."""
    checked = struct.pack("<QII", 24 + len(names) if size is None else size, frames, len(names)) + names
    return b"CLIP" + struct.pack("<I", zlib.crc32(checked)) + checked


@pytest.mark.parametrize(
    "forged",
    [
        record(b'["a", "b"]'),
        record(b"7"),
        record(b"{{"),
        record(b"[" * 200_000),
        record(b'["a", "b", 3, ""]'),
        record(b'["a", "b", "c", ""]', frames=2**31),
        record(b'["a", "b", "c", ""]', size=0),
        record(b'["a", "b", "c", ""]', size=2**60),
    ],
)
def test_a_writer_cuts_what_is_no_record(tmp_path, original, forged):
    (tmp_path / "part-00000.bin.partial").write_bytes(header(SETTINGS) + forged)
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        assert writer.done == []
        write(writer, part(0))
        writer.finish()
    assert (tmp_path / "part-00000.bin").read_bytes() == (original / "part-00000.bin").read_bytes()
