"""The layouts of the releases, as folders and as archives."""

import os
import zipfile
from pathlib import Path

import pytest

from pcfrl_lightning.data.prepare.archive import Member
from pcfrl_lightning.data.prepare.decode import Unusable
from pcfrl_lightning.data.prepare.sources import find_clips, names_of
from pcfrl_lightning.errors import DataError

MEMBERS = [f"dev/mp4/id0001{n}/video_{n}/{clip:05d}.mp4" for n in range(3) for clip in range(1, 4)]

NAMES = [names_of(tuple(name[:-4].split("/"))) for name in MEMBERS]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def zipped(path: Path, *names: str, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, name.encode() * 50)
    return path


def cut(path: Path, count: int) -> list[Path]:
    """Split a file as `split` does, and remove it."""
    data = path.read_bytes()
    size = -(-len(data) // count)
    parts = [path.with_name(f"vox2_dev_mp4_parta{chr(ord('a') + n)}") for n in range(count)]
    for n, part in enumerate(parts):
        part.write_bytes(data[n * size : (n + 1) * size])
    path.unlink()
    return parts


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("dev/mp4/id00012/21Uxsk56VDQ/00001", ("id00012", "21Uxsk56VDQ", "00001")),
        ("vox2/test/mp4/id00017/-01cVxaCrn8/00003", ("id00017", "-01cVxaCrn8", "00003")),
        ("dev/frames/id00012/21Uxsk56VDQ/00001", ("id00012", "21Uxsk56VDQ", "00001")),
        ("unzippedFaces/A.J._Buckley/1.6/Y8hIVOBuels", ("A.J._Buckley", "Y8hIVOBuels", "Y8hIVOBuels")),
        ("unzippedIntervalFaces/data/A.J._Buckley/1.6/Y8hIVOBuels/1", ("A.J._Buckley", "Y8hIVOBuels", "1")),
        ("id00012/21Uxsk56VDQ/00001", ("id00012", "21Uxsk56VDQ", "00001")),
        ("2019/anna/talk/00001", ("2019/anna", "talk", "00001")),
        ("anna/talk", ("anna", "talk", "talk")),
        ("talk", ("talk", "talk", "talk")),
    ],
)
def test_names(path, names):
    assert names_of(tuple(path.split("/"))) == names


def test_folders_of_videos_and_of_frames(tmp_path):
    touch(tmp_path, *MEMBERS, "dev/mp4/id00010/video_0/thumb.jpg", "dev/mp4/id00010/.hidden/1.mp4", "vox2_meta.csv")
    touch(tmp_path, "unzippedFaces/Bo/1.6/vid/1.jpg", "unzippedFaces/Bo/1.6/vid/2.jpg")
    os.symlink(tmp_path, tmp_path / "dev/loop")
    clips = find_clips([tmp_path])
    assert [clip.names for clip in clips] == [("Bo", "vid", "vid"), *NAMES]
    assert clips[0].media == str(tmp_path / "unzippedFaces/Bo/1.6/vid")
    assert clips[1].media == str(tmp_path / MEMBERS[0])
    assert find_clips([tmp_path / MEMBERS[0]])[0].names == ("00001",) * 3


def test_folders_that_lead_to_each_other_by_links_are_walked_once(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    os.symlink(tmp_path / "b", tmp_path / "a/to_b")
    os.symlink(tmp_path / "a", tmp_path / "b/to_a")
    assert [clip.media for clip in find_clips([tmp_path])] == [
        f"{tmp_path}/{name}" for name in ("a", "a/to_b", "b", "b/to_a")
    ]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("given", ["parts", "folder"])
def test_parts_of_a_zip_are_read_where_they_are(tmp_path, method, given):
    parts = cut(zipped(tmp_path / "all.zip", "dev/", *MEMBERS, "__MACOSX/dev/mp4/a/b/c.mp4", method=method), 5)
    clips = find_clips(reversed(parts) if given == "parts" else [tmp_path])
    assert [clip.names for clip in clips] == NAMES
    for clip, name in zip(clips, MEMBERS, strict=True):
        assert isinstance(clip.media, Member)
        assert clip.media.read() == name.encode() * 50


def test_frames_in_a_zip(tmp_path):
    names = [f"unzippedFaces/Bo/1.6/{video}/{n}.jpg" for video in ("u", "v") for n in (10, 9)]
    clips = find_clips([zipped(tmp_path / "faces.zip", *names)])
    assert [clip.names for clip in clips] == [("Bo", "u", "u"), ("Bo", "v", "v")]
    assert [[member.name for member in clip.media] for clip in clips] == [names[:2], names[2:]]


def test_missing_parts(tmp_path):
    parts = cut(zipped(tmp_path / "all.zip", *MEMBERS), 5)
    parts[4].unlink()
    with pytest.raises(DataError, match=r"partaa: not a readable zip archive .* all parts of it are needed"):
        find_clips([tmp_path])
    parts[2].unlink()
    with pytest.raises(DataError, match=r"vox2_dev_mp4_partac: is missing, and .*partad is there; give all parts"):
        find_clips([tmp_path])


def test_damaged_members_are_unusable(tmp_path):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = zipped(tmp_path / "all.zip", *MEMBERS, method=method)
        clip = find_clips([path])[0]
        data = bytearray(path.read_bytes())
        data[clip.media.start + 80] ^= 255
        path.write_bytes(data)
        with pytest.raises(Unusable, match="damaged in the archive"):
            clip.media.read()
        with pytest.raises(Unusable, match="no member at its place"):
            clip.media._replace(start=clip.media.start + 1).read()
        with pytest.raises(Unusable, match="more than"):
            clip.media._replace(size=1 << 40).read()


def test_what_is_no_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent: does not exist; expected videos"):
        find_clips([tmp_path / "absent"])
    with pytest.raises(DataError, match="no clips found; expected videos"):
        find_clips([tmp_path])
    with pytest.raises(DataError, match=r"faces.tar.gz: not known as a source; .*unpack other archives"):
        find_clips([touch(tmp_path, "faces.tar.gz") / "faces.tar.gz"])
    touch(tmp_path / "a", MEMBERS[0])
    zipped(tmp_path / "b.zip", MEMBERS[0])
    with pytest.raises(DataError, match=r"00001.mp4 and .*b.zip.* are both clip id00010/video_0/00001; give one"):
        find_clips([tmp_path / "a", tmp_path / "b.zip"])


def test_images_beside_videos_and_hidden_files_are_left_out_of_archives_and_folders(tmp_path):
    names = [MEMBERS[0], "dev/mp4/id00010/video_0/thumb.jpg", "dev/mp4/id00010/.cache/1.jpg"]
    for source in (touch(tmp_path / "folder", *names, "._all.zip"), zipped(tmp_path / "all.zip", *names)):
        assert [clip.names for clip in find_clips([source])] == NAMES[:1]
