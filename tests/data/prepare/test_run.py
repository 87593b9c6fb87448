"""Whole preparations: the same bytes however they were made, and after any interruption."""

import errno
import multiprocessing
import random
import re
import shutil
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from pcfrl_lightning.data.packs import Pack, PartWriter
from pcfrl_lightning.data.prepare import Encoder, Plan, estimate, merge, prepare
from pcfrl_lightning.data.prepare.progress import bytes_text
from pcfrl_lightning.data.prepare.sources import find_clips
from pcfrl_lightning.errors import DataError
from videos import PacedEncoder, number_of, picture, write_sound, write_video

CLIPS = 11


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("source")
    for number in range(CLIPS):
        path = root / f"dev/mp4/id{number // 4:05d}/video{number // 2}/{number:05d}.mp4"
        write_video(path, 10 + 3 * number, shift=number, turn="right" if number == 5 else "none")
    return root


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    target = tmp_path_factory.mktemp("whole")
    prepare(planned(source), target, 0)
    return target


def planned(source, shard=(1, 1), **options):
    return Plan(find_clips([source]), Encoder(**{"size": 32, **options}), shard, clips_per_part=3)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_pack_holds_the_sampled_frames(source, whole):
    pack = Pack(whole)
    assert pack.verify() == []
    assert (len(pack), pack.facts["videos"], pack.identities) == (CLIPS, 6, ["id00000", "id00001", "id00002"])
    for clip in range(CLIPS):
        record = pack.record(clip)
        assert record.names == (f"id{clip // 4:05d}", f"video{clip // 2}", f"{clip:05d}")
        assert record.frames["number"].tolist() == [n for n in range(10 + 3 * clip) if n % 25 in (0, 4, 8, 12, 16, 20)]
        assert record.frames["time"] == pytest.approx(record.frames["number"] / 25)
        image = pack.read(clip, 1)
        assert image.shape == (32, 32, 3)
        if clip != 5:  # that one is shown turned
            assert number_of(image) == pytest.approx(4 + clip, abs=2)
    parts = [f"part-0000{n}.{suffix}" for n in range(4) for suffix in ("bin", "json")]
    assert list(content(whole)) == ["clips.npy", "frames.npy", "pack.json", *parts]


def test_the_bytes_depend_on_the_number_of_processes_as_little_as_on_a_second_run(source, whole, tmp_path, capfd):
    assert "11 clips (0 unusable), 71 frames" in prepare(planned(source), tmp_path, 2)
    assert re.search(r"11 of 11 clips, [\d.]+ clips/s, [\d,]+ frames/s, 0 s left\n", capfd.readouterr().err)
    assert content(tmp_path) == content(whole)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    prepare(planned(source), tmp_path, 0)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_shards_joined_are_the_whole(source, whole, tmp_path):
    shards = [tmp_path / f"shard-{number}" for number in range(1, 7)]
    for number, shard in enumerate(shards, start=1):  # more shards than parts: two have nothing to do
        assert f"shard {number} of 6 is complete" in prepare(planned(source, (number, 6)), shard, 0)
        assert not (shard / "pack.json").exists()
    merge(shards, tmp_path / "all")
    assert content(tmp_path / "all") == content(whole)
    merge(shards, tmp_path / "all")
    assert content(tmp_path / "all") == content(whole)
    (shards[1] / "part-00001.bin").write_bytes(b"other")
    with pytest.raises(DataError, match=r"part-00001.bin: has 5 bytes instead of"):
        merge(shards, tmp_path / "again")
    with pytest.raises(DataError, match="1 of 4 parts are not finished, such as part-00001"):
        merge([shards[0], shards[2], shards[3]], tmp_path / "third")


def written(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except FileNotFoundError:  # renamed meanwhile
        return 0


def test_killed_at_random_moments_and_started_again(source, whole, tmp_path):
    plan = planned(source)
    plan.encoder = PacedEncoder(size=32)
    rng = random.Random(0)
    context = multiprocessing.get_context("forkserver")
    kills = 0
    for share in (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 9):
        enough = share * sum(map(len, content(whole).values()))
        process = context.Process(target=prepare, args=(plan, tmp_path, 0))
        process.start()
        while process.is_alive() and written(tmp_path) < enough:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills >= 4  # on a busy machine a late one may find the work done
    assert process.exitcode == 0
    assert content(tmp_path) == content(whole)


def test_a_full_disk_is_one_error_and_what_is_finished_stays(source, whole, tmp_path, monkeypatch):
    add, count = PartWriter.add, 0

    def full(self, *args):
        nonlocal count
        count += 1
        if count == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, *args)

    monkeypatch.setattr(PartWriter, "add", full)
    with pytest.raises(DataError, match="the disk is full; what was written stays"):
        prepare(planned(source), tmp_path, 0)
    assert (tmp_path / "part-00000.bin").read_bytes() == (whole / "part-00000.bin").read_bytes()
    assert count == 5
    prepare(planned(source), tmp_path, 0)
    assert count == 5 + CLIPS - 4
    assert content(tmp_path) == content(whole)


def test_two_runs_in_one_folder(source, tmp_path):
    plan = planned(source)
    with (
        PartWriter(tmp_path, 0, plan.settings),
        pytest.raises(DataError, match=r"part-00000.bin.partial: another process writes it"),
    ):
        prepare(plan, tmp_path, 0)


def test_other_sources_or_options_are_refused(source, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with pytest.raises(DataError, match="was begun with other quality, size; take the same sources and options"):
        prepare(planned(source, size=48, quality=80), tmp_path, 0)
    (tmp_path / "part-00000.json").unlink()
    fewer = planned(source)
    fewer = Plan(fewer.clips[:-1], fewer.encoder, clips_per_part=3)
    with pytest.raises(DataError, match="was begun with other clips, clips_sha256"):
        prepare(fewer, tmp_path, 0)


@pytest.fixture
def flawed(tmp_path):
    root = tmp_path / "videos"
    for number in range(8):
        write_video(root / f"a/v/{number}.mp4", 20)
    write_sound(root / "a/v/sound.mp4")
    (root / "a/v/empty.mp4").touch()
    cut = write_video(root / "a/v/cut.mp4", 60)
    cut.write_bytes(cut.read_bytes()[:6000])
    return root


def test_unusable_clips_are_listed_and_left_out(flawed, tmp_path):
    target = tmp_path / "pack"
    assert "11 clips (3 unusable), 40 frames" in prepare(planned(flawed), target, 0, limit=0.3)
    lines = (target / "unusable.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["a/v/cut", "a/v/empty", "a/v/sound"]
    assert lines[2] == "a/v/sound\tno video stream, only sound"
    pack = Pack(target)
    assert (len(pack), pack.facts["unusable"]) == (8, 3)
    assert [pack.name(clip) for clip in range(8)] == [f"a/v/{number}" for number in range(8)]
    shards = [tmp_path / f"{number}" for number in (1, 2)]
    for number, shard in enumerate(shards, start=1):
        prepare(planned(flawed, (number, 2)), shard, 0, limit=0.5)
    merge(shards, tmp_path / "all")
    assert content(tmp_path / "all") == content(target)


def test_too_many_unusable_clips_end_the_work_until_more_are_allowed(flawed, tmp_path):
    target = tmp_path / "pack"
    with pytest.raises(DataError, match=r"3 of 11 clips are unusable, more than 20.0%, .*sound.mp4 \(no video stream"):
        prepare(planned(flawed), target, 0, limit=0.2)
    assert len((target / "unusable.txt").read_text().splitlines()) == 3
    prepare(planned(flawed), target, 0, limit=0.3)
    assert len(Pack(target)) == 8


def test_frame_trees(tmp_path, capfd):
    folder = tmp_path / "unzippedFaces/Bo/1.6/vid"
    folder.mkdir(parents=True)
    for number in (100, 9, 20):
        size = 32 if number == 9 else 64
        cv2.imwrite(str(folder / f"00{number}.jpg"), picture(number, size, size), [cv2.IMWRITE_JPEG_QUALITY, 95])
    (folder / "0050.jpg").touch()
    prepare(planned(tmp_path), tmp_path / "pack", 0)
    pack = Pack(tmp_path / "pack")
    record = pack.record(0)
    assert record.names == ("Bo", "vid", "vid")
    assert record.frames["number"].tolist() == [9, 20, 100]
    assert np.isnan(record.frames["time"]).all()
    assert [number_of(pack.read(0, n)) for n in range(3)] == pytest.approx([9, 20, 100], abs=2)
    assert (folder / "009.jpg").read_bytes() in (tmp_path / "pack/part-00000.bin").read_bytes()  # as it was
    assert "vid: 1 frames left out, the first: 0050.jpg: empty file" in capfd.readouterr().err


def test_frames_whose_names_have_no_number_that_fits_are_counted(tmp_path):
    small = cv2.imencode(".jpg", picture(1))[1].tobytes()
    stamped = tmp_path / "stamped/talk"
    stamped.mkdir(parents=True)
    for milliseconds in (1609459200040, 1609459200000):
        (stamped / f"{milliseconds}.jpg").write_bytes(small)
    with zipfile.ZipFile(tmp_path / "named.zip", "w") as archive:
        for name in ("left", "right"):
            archive.writestr(f"video7/{name}.jpg", small)
    for source in (stamped, tmp_path / "named.zip"):
        (clip,) = find_clips([source])
        assert list(Encoder(32)(clip).numbers) == [0, 1]
        prepare(planned(source), tmp_path / f"{source.name}.pack", 0)


class FakeDetector:
    """Finds a face in the lower right quarter of bright pictures."""

    def setInputSize(self, size):
        self.size = size

    def detect(self, image):
        width, height = self.size
        box = [width / 2, height / 2, height / 2, height / 2]
        return 1, np.array([[*box, *[0] * 10, 0.9]], np.float32) if image[-1, -1, 0] > 8 else None


def test_faces_are_cut_out_of_videos_that_are_no_crops(tmp_path, monkeypatch):
    from pcfrl_lightning.data import YuNetCrop

    (tmp_path / "model.onnx").write_bytes(b"weights")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: FakeDetector())
    write_video(tmp_path / "videos/a.mp4", 25)
    plan = planned(tmp_path / "videos", crop=YuNetCrop(tmp_path / "model.onnx", margin=0))
    prepare(plan, tmp_path / "pack", 0)
    pack = Pack(tmp_path / "pack")
    numbers = pack.record(0).frames["number"].tolist()
    assert numbers == [8, 12, 16, 20]  # no face in the dark ones
    for frame, number in enumerate(numbers):
        assert pack.read(0, frame)[8:-8, :-8].mean() == pytest.approx(2 * number, abs=4)


def test_estimate(source, tmp_path):
    text = estimate(planned(source, (1, 2)), tmp_path / "absent", 2, sample=4)
    assert "11 clips of 3 identities, 6 of them in shard 1 of 2" in text
    assert "4 clips tried" in text
    assert "on 16 such cores" in text
    assert re.search(rf"size: [\d.]+ KB; [\d.,]+ GB are free in {tmp_path}$", text, re.M)  # not 0.0 GB
    told = {0: "0 bytes", 999: "999 bytes", 45_000: "45 KB", 3.25e9: "3.2 GB", 1.2e13: "12,000 GB", 5e7: "50 MB"}
    assert {count: bytes_text(count) for count in told} == told
    assert not (tmp_path / "absent").exists()
