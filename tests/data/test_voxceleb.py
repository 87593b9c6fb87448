import numpy as np
import pytest
from PIL import Image

from pcfrl_lightning.data.folders.voxceleb import Speaker, VoxCeleb, read_meta
from pcfrl_lightning.data.images.decode import CorruptImage
from pcfrl_lightning.data.images.video_frames import VideoFrames
from pcfrl_lightning.errors import DataError

META1 = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA.J._Buckley\tm\tNew Zealand\tdev\n" \
    "id10270\tHarry_Connick_Jr.\tm\tUSA\ttest\n"  # fmt: skip
META2 = "VoxCeleb2 ID,VGGFace2 ID,Gender,Set\nid00012 ,n000012 ,m ,dev \nid00017 ,n000140 ,m ,test \n"


def frame(path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path.with_suffix(".png"))


def videos(data: VoxCeleb, split: str = "train") -> list[str]:
    source = data.splits[split].source
    return [source.name(row) for row in range(len(source))]


@pytest.fixture
def vox2(tmp_path):
    for person, video in (("id00012", "-abc"), ("id00012", "_xyz"), ("id00017", "q1")):
        for clip in range(2):
            for number in range(3):
                frame(
                    tmp_path / "dev" / "frames" / person / video / f"0000{clip}" / f"{number}.jpg", 10 * clip + number
                )
    return tmp_path


def test_extracted_frames(vox2):
    expected = ["dev/frames/id00012/-abc", "dev/frames/id00012/_xyz", "dev/frames/id00017/q1"]
    data = VoxCeleb(vox2)
    assert videos(data) == expected
    assert data.splits["train"].labels["identity"].tolist() == [0, 0, 1]
    assert videos(VoxCeleb(vox2 / "dev" / "frames")) == [name.removeprefix("dev/frames/") for name in expected]


def test_resource_forks_of_a_macos_archive_are_nobody(vox2):
    expected = videos(VoxCeleb(vox2))
    frame(vox2 / "dev/frames/__MACOSX/id00012/-abc/00000/._0.jpg", 0)
    frame(vox2 / "dev/frames/id00012/__MACOSX/._0.jpg", 0)
    assert videos(VoxCeleb(vox2)) == expected


def test_clips_as_items_and_people_held_out(vox2):
    expected = ["id00012/-abc/00000", "id00012/-abc/00001", "id00012/_xyz/00000", "id00012/_xyz/00001",
                "id00017/q1/00000", "id00017/q1/00001"]  # fmt: skip
    data = VoxCeleb(vox2 / "dev" / "frames", item="clip")
    assert videos(data) == expected
    assert data.splits["train"].labels["identity"].tolist() == [0, 0, 0, 0, 1, 1]
    held_out = VoxCeleb(vox2 / "dev" / "frames", item="clip", val_fraction=0.2)
    assert {len(videos(held_out, split)) for split in ("train", "val")} == {2, 4}
    assert sorted(videos(held_out) + videos(held_out, "val")) == expected
    frame(vox2 / "dev" / "frames" / "id00099" / "video" / "0", 7)  # a video without clip folders
    assert videos(VoxCeleb(vox2 / "dev" / "frames", item="clip"))[-1] == "id00099/video"


def test_of_one_person_nobody_can_be_held_out(tmp_path):
    frame(tmp_path / "dev/frames/id00012/abc/00000", 1)
    with pytest.raises(DataError, match="val_fraction puts whole people aside, there is only one: set it to 0"):
        VoxCeleb(tmp_path, val_fraction=0.2).build()


@pytest.mark.parametrize("layout", ["unzippedFaces", "unzippedIntervalFaces/data"])
def test_voxceleb1_faces_and_names(tmp_path, layout):
    for person in ("A.J._Buckley", "Harry_Connick_Jr", "Nobody"):
        frame(tmp_path / layout / person / "1.6" / "vid" / ("0001" if "Interval" not in layout else "3/0001"), 1)
    meta = tmp_path / "vox1_meta.csv"
    meta.write_text(META1)
    data = VoxCeleb(tmp_path, meta)
    assert videos(data) == [f"{layout}/A.J._Buckley/1.6/vid"]
    assert videos(data, "test") == [f"{layout}/Harry_Connick_Jr/1.6/vid"]
    assert data.splits["test"].class_names["identity"] == ["id10270"]
    assert data.splits["train"].image(0).max() == 1


def test_identities_are_those_of_the_meta_file_in_its_own_order(tmp_path):
    """The ids are sorted otherwise than the names of the folders."""
    for person in ("Abe", "Mia", "Zoe"):
        frame(tmp_path / "unzippedFaces" / person / "1.6" / "vid" / "0001", 1)
    speakers = {"Zoe": "id10001", "Abe": "id10002", "Mia": "id10003"}
    meta = tmp_path / "vox1_meta.csv"
    meta.write_text("".join(f"{speaker}\t{name}\tf\tUSA\tdev\n" for name, speaker in speakers.items()))
    train = VoxCeleb(tmp_path, meta).splits["train"]
    found = {
        train.source.name(row).split("/")[1]: train.class_names["identity"][label]
        for row, label in enumerate(train.labels["identity"].tolist())
    }
    assert found == speakers


def test_meta_files_of_both_releases_and_their_copies(tmp_path):
    path = tmp_path / "meta.csv"
    path.write_text(META1)
    expected = [Speaker("id10001", "A.J._Buckley", "dev"), Speaker("id10270", "Harry_Connick_Jr.", "test")]
    assert read_meta(path) == expected
    path.write_text(META1.replace("\t", ",").replace("VoxCeleb1 ID", "ID"))
    assert read_meta(path) == expected
    path.write_text(META2)
    assert read_meta(path) == [Speaker("id00012", "n000012", "dev"), Speaker("id00017", "n000140", "test")]
    path.write_text(META2 + "id00018 ,n1 ,m ,maybe \n")
    with pytest.raises(DataError, match=r"meta.csv:4: expected 'id<number>, <name>, \.\.\., dev\|test'"):
        read_meta(path)
    path.write_text("VoxCeleb2 ID,VGGFace2 ID,Gender,Set\n")
    with pytest.raises(DataError, match="no speakers"):
        read_meta(path)


def test_test_speakers_never_reach_training(vox2):
    (vox2 / "meta.csv").write_text(META2)
    data = VoxCeleb(vox2, vox2 / "meta.csv")
    assert [len(videos(data, split)) for split in ("train", "test")] == [2, 1]
    (vox2 / "meta.csv").write_text(META1)
    with pytest.raises(DataError, match="none of its people, such as id00012, is a speaker of"):
        _ = VoxCeleb(vox2, vox2 / "meta.csv").splits


def test_lists_of_directories(vox2):
    (vox2 / "list.txt").write_text("dev/frames/id00017/q1\ndev/frames/id00012/_xyz,3\n")
    assert videos(VoxCeleb(vox2, list_file=vox2 / "list.txt")) == ["dev/frames/id00017/q1", "dev/frames/id00012/_xyz"]
    (vox2 / "list.txt").write_text("dev/frames/id00017/q1\n../secret\n")
    with pytest.raises(DataError, match=r"list.txt:2: '../secret' must be a path"):
        _ = VoxCeleb(vox2, list_file=vox2 / "list.txt").splits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dev/frames/id00017/q1\ndev/frames/id00012/q1\n", r"list\.txt:2: 'dev/frames/id00012/q1' is not in "),
        ("dev/frames/id00017/q1\ndev\\frames/id00017/q1,2\n", r"list\.txt:2: dev/frames/id00017/q1 stands in .*:1"),
        ("dev/frames/id00017/q1\n".encode("utf-16"), r"list\.txt: not a UTF-8 text file"),
        ("\n", r"list\.txt: empty"),
    ],
)
def test_lists_of_absent_or_repeated_directories(vox2, text, message):
    (vox2 / "list.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        _ = VoxCeleb(vox2, list_file=vox2 / "list.txt").splits


def test_a_meta_file_in_utf_16(vox2):
    (vox2 / "meta.csv").write_text(META2, encoding="utf-16")
    with pytest.raises(DataError, match=r"meta\.csv: not a UTF-8 text file"):
        read_meta(vox2 / "meta.csv")


def test_a_damaged_frame_is_passed_over_and_a_clip_without_good_frames_is_not(vox2):
    clip = vox2 / "dev" / "frames" / "id00012" / "-abc" / "00000"
    source = VideoFrames(vox2, ["dev/frames/id00012/-abc/00000"])
    (clip / "1.png").write_bytes(b"")
    drawn = {int(source.draw(0, np.random.default_rng(seed)).max()) for seed in range(40)}
    assert drawn == {0, 2}
    assert source.read(0).max() == 2  # the frame after the middle one
    for frame in clip.iterdir():
        frame.write_bytes(b"")
    with pytest.raises(CorruptImage, match=r"id00012/-abc/00000: 3 frames tried, the last is .*png: empty file"):
        source.draw(0, np.random.default_rng(0))


def test_a_frame_is_drawn_anew_from_all_clips(vox2):
    source = VideoFrames(vox2, ["dev/frames/id00012/-abc"])
    drawn = {int(source.draw(0, np.random.default_rng([0, epoch, 0])).max()) for epoch in range(60)}
    assert drawn == {0, 1, 2, 10, 11, 12}
    same = [source.draw(0, np.random.default_rng([0, 4, 0])).max() for _ in range(3)]
    assert len(set(same)) == 1
    assert source.read(0).max() == 1  # middle frame of the first clip


def test_hidden_folders_are_no_clips(vox2):
    (vox2 / "dev/frames/id00012/-abc/.thumbnails").mkdir()
    source = VideoFrames(vox2, ["dev/frames/id00012/-abc"])
    assert source.read(0).max() == 1
    assert len({int(source.draw(0, np.random.default_rng(seed)).max()) for seed in range(60)}) == 6


def test_missing_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder; expected <id>/<video>"):
        _ = VoxCeleb(tmp_path / "none").splits
    with pytest.raises(DataError, match="no videos found; expected <id>/<video>"):
        _ = VoxCeleb(tmp_path).splits
    (tmp_path / "id1" / "video").mkdir(parents=True)
    with pytest.raises(CorruptImage, match="no frames"):
        VideoFrames(tmp_path, ["id1/video"]).draw(0, np.random.default_rng(0))


def test_the_fingerprint_of_videos_follows_their_frames(vox2):
    video, empty = "dev/frames/id00012/-abc", vox2 / "dev/frames/id00012/none"
    source = VideoFrames(vox2, [video, "dev/frames/id00012/none"])
    found = [source.fingerprint(), source.fingerprint()]
    empty.mkdir()
    found.append(source.fingerprint())
    frame(vox2 / video / "00000/7.jpg", 1)
    found.append(source.fingerprint())
    (vox2 / video / "00000/2.png").write_bytes(b"")  # the one that is read
    found.append(source.fingerprint())
    assert found[0] == found[1]
    assert len(set(found)) == 4
