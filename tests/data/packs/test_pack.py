"""Joining parts, and reading and checking the pack."""

import pickle
import shutil

import numpy as np
import pytest

from packing import PLAN, SETTINGS, count, image, make_pack, part, write
from pcfrl_lightning.data.packs import Pack, PartWriter, codec_of, is_pack, join
from pcfrl_lightning.data.packs.pack import PackFrames
from pcfrl_lightning.errors import DataError


@pytest.mark.parametrize("codec", [{}, {"codec": "jpeg", "quality": 95}])
def test_every_frame_is_read(tmp_path, codec):
    pack = pickle.loads(pickle.dumps(Pack(make_pack(tmp_path, **codec))))
    assert (len(pack), len(pack.ends)) == (12, sum(count(clip) for clip in range(12)))
    for clip in range(12):
        assert pack.name(clip) == "/".join(PLAN[clip])
        table = pack.record(clip).frames
        assert table["number"].tolist() == [4 * k for k in range(count(clip))]
        assert table["time"].tolist() == [k / 6 for k in range(count(clip))]
        for frame in range(count(clip)):
            found = pack.read(clip, frame)
            assert abs(found.astype(int) - image(clip, frame)).max() <= (2 if codec else 0)
        with pytest.raises(IndexError):
            pack.read(clip, count(clip))
    assert pack.identities == ["id0", "id1", "id2"]
    assert pack.clips["identity"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert pack.clips["video"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert pack.verify() == []


def test_clips_in_another_order_are_sorted_and_a_video_belongs_to_one_person(tmp_path):
    """Two people have a video of the same name, one behind the other in the sorted pack."""
    names = [("b", "same", "0"), ("a", "z", "1"), ("c", "same", "0"), ("a", "same", "1"), ("a", "z", "0")]
    codec = codec_of(SETTINGS)
    for number, clips in enumerate((range(2), range(2, 5))):
        with PartWriter(tmp_path, number, SETTINGS) as writer:
            for clip in clips:
                frames = [codec.encode(image(clip, frame)) for frame in range(count(clip))]
                writer.add(*names[clip], frames, [0.0] * len(frames), list(range(len(frames))))
            writer.finish()
    join(tmp_path)
    pack = Pack(tmp_path)
    assert [pack.name(row) for row in range(5)] == ["/".join(name) for name in sorted(names)]
    for row, name in enumerate(sorted(names)):
        clip = names.index(name)
        last = count(clip) - 1
        assert pack.read(row, last)[0, 0].tolist() == [clip, last, 0]
        assert pack.identities[pack.clips["identity"][row]] == name[0]
    assert pack.clips["video"].tolist() == [0, 1, 1, 2, 3]
    assert PackFrames(pack, "video").people.tolist() == [0, 0, 1, 2]


def test_parts_of_several_folders_are_joined_to_the_same_pack(tmp_path):
    whole = make_pack(tmp_path / "whole")
    for number in range(2):
        with PartWriter(tmp_path / f"job{number}", number, SETTINGS) as writer:
            write(writer, part(number))
            writer.finish()
    join(tmp_path / "joined", [tmp_path / "job0", tmp_path / "job1"])
    join(tmp_path / "job1", [tmp_path / "job0", tmp_path / "job1"])  # into a folder that has one of them
    expected = {path.name: path.read_bytes() for path in whole.iterdir()}
    for folder in ("joined", "job1"):
        assert {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} == expected


def test_what_cannot_be_joined(tmp_path):
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(DataError, match="no finished part"):
            join(folder, [tmp_path])
    with PartWriter(tmp_path, 1, SETTINGS) as writer:
        write(writer, part(0))
        writer.finish()
    with pytest.raises(DataError, match="1 of 2 parts are not finished, such as part-00000"):
        join(tmp_path)
    with PartWriter(tmp_path, 0, SETTINGS) as writer:
        write(writer, part(0))
        writer.finish()
    with pytest.raises(DataError, match=r"the clip id0/video0/00000\.mp4 stands in the pack twice"):
        join(tmp_path)
    (tmp_path / "part-00001.bin").unlink()
    with PartWriter(tmp_path, 1, {**SETTINGS, "fps": 25}) as writer:
        write(writer, part(1))
        writer.finish()
    with pytest.raises(DataError, match=r'part-00001\.bin: has the settings .*"fps":25.* but part-00000\.bin has'):
        join(tmp_path)
    (tmp_path / "part-00001.json").write_text("{}")
    with pytest.raises(DataError, match=r"part-00001\.json: damaged"):
        join(tmp_path)


def test_a_truncated_or_damaged_pack_is_one_error_that_names_the_part(tmp_path):
    path = make_pack(tmp_path) / "part-00001.bin"
    whole = path.read_bytes()
    pack = Pack(tmp_path)
    path.write_bytes(whole[:-10])
    with pytest.raises(DataError, match=r"part-00001\.bin: ends before byte"):
        pack.read(11, count(11) - 1)
    with pytest.raises(DataError, match=rf"part-00001\.bin: has {len(whole) - 10} bytes instead of {len(whole)}"):
        Pack(tmp_path)
    path.unlink()
    path.symlink_to("nowhere")  # as git-annex has it
    with pytest.raises(DataError, match=r"part-00001\.bin: is absent"):
        Pack(tmp_path)
    path.write_bytes(whole[:-1] + b"\1")
    assert [line.split(":")[0] for line in Pack(tmp_path).verify()] == [str(path)]
    jpeg = Pack(make_pack(tmp_path / "jpeg", codec="jpeg", quality=95))
    path = tmp_path / "jpeg" / "part-00001.bin"
    path.write_bytes(bytes(len(path.read_bytes())))
    with pytest.raises(DataError, match=r"part-00001\.bin: damaged at byte"):
        jpeg.read(11, 0)
    (tmp_path / "pack.json").write_text("{}")
    with pytest.raises(DataError, match=r"pack\.json: damaged"):
        Pack(tmp_path)


@pytest.mark.parametrize("scheme", ["memory://pack", "file://{}", "simplecache::file://{}"])
def test_a_pack_at_a_url(tmp_path, scheme):
    import fsspec

    folder = make_pack(tmp_path)
    if scheme.startswith("memory"):
        fsspec.filesystem("memory").put(str(folder), "/pack", recursive=True)
    pack = pickle.loads(pickle.dumps(Pack(scheme.format(folder))))
    np.testing.assert_array_equal(pack.read(7, 2), image(7, 2))
    assert pack.name(7) == "/".join(PLAN[7])
    assert pack.verify() == []
    assert is_pack(scheme.format(folder))


def test_a_missing_part_at_a_url(tmp_path):
    import fsspec

    folder = make_pack(tmp_path)
    (folder / "part-00001.bin").unlink()
    fsspec.filesystem("memory").put(str(folder), "/incomplete", recursive=True)
    with pytest.raises(DataError, match=r"memory://incomplete/part-00001\.bin: is absent"):
        Pack("memory://incomplete")
    with pytest.raises(FileNotFoundError, match=r"memory://nothing: no finished pack, there is no pack\.json"):
        Pack("memory://nothing")
    with pytest.raises(DataError, match="nowhere://pack: Protocol not known: nowhere"):
        Pack("nowhere://pack")


def test_only_a_folder_with_pack_json_is_a_pack(tmp_path):
    assert not is_pack(tmp_path)
    assert is_pack(make_pack(tmp_path / "pack"))
    shutil.rmtree(tmp_path / "pack")
    with pytest.raises(FileNotFoundError):
        Pack(tmp_path / "pack")
