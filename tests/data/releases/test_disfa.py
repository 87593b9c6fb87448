from threading import Thread

import pytest
import torch

import trees
from pcfrl_lightning.data.cropping.croppers import LandmarkCrop
from pcfrl_lightning.data.images import video
from pcfrl_lightning.data.releases import disfa
from pcfrl_lightning.data.releases.disfa import ACTION_UNITS, DISFA, PARTS, first_number
from pcfrl_lightning.errors import DataError


def mini(root, **options):
    return DISFA(root, **{"subjects": trees.DISFA_SUBJECTS, **options})


def names(faces):
    return [faces.source.name(i) for i in range(len(faces))]


@pytest.mark.parametrize(("folder", "suffix"), [("img", "png"), ("DISFA", "jpg"), (".", "png")])
def test_frames_of_both_public_layouts(tmp_path, folder, suffix):
    trees.disfa_frames(trees.disfa_labels(tmp_path), folder, suffix, missing=(3,))
    faces = mini(tmp_path).build()["test"]
    # six labels, one frame missing; SN010 has five labels, so its last frame counts for nothing
    kept = {"SN001": (0, 1, 2, 4, 5), "SN006": (0, 1, 2, 4, 5), "SN010": (0, 1, 2, 4)}
    assert names(faces) == [f"{subject}/{frame}.{suffix}" for subject, frames in kept.items() for frame in frames]
    expected = torch.tensor(
        [[(frame + unit) % 6 for unit in ACTION_UNITS] for frames in kept.values() for frame in frames]
    )
    assert torch.equal(faces.labels["au_intensity"], expected)
    assert torch.equal(faces.labels["action_units"], (expected > 1).float())
    assert faces.labels["fold"].tolist() == [0] * 5 + [1] * 5 + [0] * 4
    assert faces.labels["subject"].tolist() == [1] * 5 + [6] * 5 + [10] * 4


def test_frames_are_sorted_by_number(tmp_path):
    trees.disfa_frames(trees.disfa_labels(tmp_path, 12), "img", "png", 12)
    assert names(mini(tmp_path).build()["test"])[:12] == [f"SN001/{frame}.png" for frame in range(12)]


@pytest.mark.parametrize(("fold", "tested"), [(1, 2), (2, 1), (3, 0)])
def test_folds_share_no_subject(tmp_path, fold, tested):
    for subject in ("SN003", "SN006"):
        for frame in range(2):
            trees.image(tmp_path / "img" / subject / f"{frame}.png")
    trees.disfa_labels(tmp_path)
    (tmp_path / "ActionUnit_Labels/SN003").mkdir()
    for path in sorted((tmp_path / "ActionUnit_Labels/SN001").iterdir()):
        trees.text(tmp_path / "ActionUnit_Labels/SN003" / path.name.replace("SN001", "SN003"), path.read_text())
    trees.disfa_frames(tmp_path, "img", "png")
    splits = mini(tmp_path, fold=fold, subjects=[*trees.DISFA_SUBJECTS, "SN003"]).build()
    train, test = (set(splits[split].labels["subject"].tolist()) for split in ("train", "test"))
    assert {f"SN{subject:03d}" for subject in test} <= set(PARTS[tested])
    assert not train & test
    assert train | test == {1, 3, 6, 10}


def test_the_parts_are_the_27_subjects():
    subjects = sorted(subject for part in PARTS for subject in part)
    absent = {f"SN{k:03d}" for k in (14, 15, 19, 20, 22)}
    assert subjects == [f"SN{k:03d}" for k in range(1, 33) if f"SN{k:03d}" not in absent]


@pytest.mark.parametrize(("camera", "last"), [("left", 5), ("right", 4)])
def test_videos_are_extracted_once(tmp_path, camera, last, monkeypatch):
    trees.disfa_videos(trees.disfa_labels(tmp_path / "release"))
    data = mini(tmp_path / "release", camera=camera, frame_folder=tmp_path / "cache")
    faces = data.build()["test"]
    assert names(faces)[: last + 1] == [f"SN001/{frame}.jpg" for frame in range(last + 1)]
    means = [faces.image(frame).mean() for frame in range(last + 1)]
    assert all(abs(mean - 40 * frame) < 6 for frame, mean in enumerate(means))
    assert not list((tmp_path / "cache").rglob("*.part"))

    def fail(*_):
        raise AssertionError("extracted twice")

    monkeypatch.setattr("pcfrl_lightning.data.images.video._write_frames", fail)
    assert mini(tmp_path / "release", camera=camera, frame_folder=tmp_path / "cache").build()["test"].fingerprint() == (
        faces.fingerprint()
    )


def test_a_killed_extraction_is_repeated(tmp_path):
    trees.disfa_videos(trees.disfa_labels(tmp_path / "release"))
    mini(tmp_path / "release", frame_folder=tmp_path / "cache").build()
    (whole,) = (tmp_path / "cache").glob("left-*/SN001")
    part = whole.rename(whole.with_name("SN001.part"))
    (part / "99.jpg").write_bytes(b"half")
    faces = mini(tmp_path / "release", frame_folder=tmp_path / "cache").build()["test"]
    assert len(faces) == 6 + 6 + 5
    assert not (whole / "99.jpg").exists()


def test_two_runs_that_begin_at_once_extract_the_frames_in_turn(tmp_path, monkeypatch):
    trees.disfa_videos(trees.disfa_labels(tmp_path / "release"))
    data, write = mini(tmp_path / "release", frame_folder=tmp_path / "cache"), video._write_frames
    others = []

    def begin_another(*args):
        monkeypatch.setattr(video, "_write_frames", write)
        others.append(Thread(target=data.build))
        others[0].start()
        others[0].join(1)
        return write(*args)

    monkeypatch.setattr(video, "_write_frames", begin_another)
    assert len(data.build()["test"]) == 6 + 6 + 5
    others[0].join()


def test_frames_of_another_video_are_not_believed(tmp_path):
    """A video that is replaced gives its own frames."""
    trees.disfa_videos(trees.disfa_labels(tmp_path / "release"))
    first = mini(tmp_path / "release", frame_folder=tmp_path / "cache").build()["test"]
    trees.video(tmp_path / "release/Videos_LeftCamera/LeftVideoSN001_comp.avi", 4)
    second = mini(tmp_path / "release", frame_folder=tmp_path / "cache").build()["test"]
    assert [name for name in names(first) if name.startswith("SN001")] == [f"SN001/{i}.jpg" for i in range(6)]
    assert [name for name in names(second) if name.startswith("SN001")] == [f"SN001/{i}.jpg" for i in range(4)]


def test_a_damaged_video_is_named(tmp_path):
    trees.disfa_labels(tmp_path)
    trees.text(tmp_path / "Videos_LeftCamera/LeftVideoSN001_comp.avi", "no video")
    with pytest.raises(DataError, match=r"LeftVideoSN001_comp.avi: cannot be opened"):
        mini(tmp_path, frame_folder=tmp_path / "cache", subjects=["SN001"]).build()


def test_a_release_without_a_video_does_not_find_frames_of_another(tmp_path):
    for root in ("whole", "part"):
        trees.disfa_videos(trees.disfa_labels(tmp_path / root))
    (tmp_path / "part/Videos_LeftCamera/LeftVideoSN006_comp.avi").unlink()
    mini(tmp_path / "whole", frame_folder=tmp_path / "cache").build()
    with pytest.raises(DataError, match=r"Videos_LeftCamera: no video of SN006; complete the"):
        mini(tmp_path / "part", frame_folder=tmp_path / "cache").build()
    left = mini(tmp_path / "part", frame_folder=tmp_path / "cache", subjects=["SN010", "SN001"]).build()["test"]
    assert set(left.labels["subject"].tolist()) == {1, 10}


@pytest.mark.parametrize("damage", ["header", "end"])
def test_a_frame_that_cannot_be_read_does_not_shift_the_others(tmp_path, damage):
    trees.disfa_videos(trees.disfa_labels(tmp_path, 30), 30)
    path = tmp_path / "Videos_LeftCamera/LeftVideoSN006_comp.avi"
    content = path.read_bytes()
    if damage == "end":
        path.write_bytes(content[: len(content) * 7 // 10])
    else:  # the chunk of one frame is no longer recognised: decoders go on with the next
        place = -1
        for _ in range(10):
            place = content.find(b"00dc", place + 1)
        path.write_bytes(content[:place] + bytes(8) + content[place + 8 :])
    with pytest.raises(DataError, match=r"LeftVideoSN006_comp.avi: \d\d? readable frames of 30; copy it again"):
        mini(tmp_path, frame_folder=tmp_path / "cache").build()


def test_all_27_subjects_are_needed_unless_some_are_named(tmp_path):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    with pytest.raises(DataError, match=r"img: no frames of SN002, SN003, .*SN032; complete the release"):
        DISFA(tmp_path).build()
    with pytest.raises(ValueError, match=r"subjects: DISFA has no SN014; it has SN001"):
        DISFA(tmp_path, subjects=["SN001", "SN014"])


def test_a_label_file_that_ends_early_is_named(tmp_path):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    path = tmp_path / "ActionUnit_Labels/SN001/SN001_au4.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(DataError, match=r"SN001_au4.txt: 2 frames, other units of SN001 have 6"):
        mini(tmp_path).build()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,0\n2,6\n", r"SN001_au2.txt:2: '6' is not an integer from 0 to 5"),
        ("1,0\n1,0\n", r"SN001_au2.txt:2: frame 1 stands twice"),
        ("1,0\n2\n", r"SN001_au2.txt:2: expected 2 fields"),
        ("1,0\n2,nan\n", r"SN001_au2.txt:2: 'nan' is not a finite number"),
    ],
)
def test_wrong_labels_are_named(tmp_path, content, message):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    trees.text(tmp_path / "ActionUnit_Labels/SN001/SN001_au2.txt", content)
    with pytest.raises(DataError, match=message):
        mini(tmp_path).build()


def test_labels_that_count_from_zero(tmp_path):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    for path in (tmp_path / "ActionUnit_Labels/SN001").iterdir():
        lines = [line.split(",") for line in path.read_text().split()]
        path.write_text("".join(f"{int(frame) - 1},{value}\n" for frame, value in lines))
    faces = mini(tmp_path).build()["test"]
    assert names(faces)[:2] == ["SN001/0.png", "SN001/1.png"]
    assert faces.labels["au_intensity"][1].tolist() == [(1 + unit) % 6 for unit in ACTION_UNITS]


def test_landmark_crop_reads_the_66_points(tmp_path):
    import numpy as np
    from scipy.io import savemat

    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    for subject in trees.DISFA_SUBJECTS:
        folder = tmp_path / "Landmark_Points" / subject / "tmp_frame_lm"
        folder.mkdir(parents=True)
        for frame in range(6):
            corners = np.linspace([10 + frame, 10], [30 + frame, 26], 66)
            savemat(folder / f"{subject}_{frame + 1:04d}_lm.mat", {"pts": corners})
    whole, cropped = mini(tmp_path), mini(tmp_path, cropping=LandmarkCrop(0.0))
    image = whole.build()["test"].image(2)
    np.testing.assert_array_equal(cropped.build()["test"].image(2), image[8:28, 12:32])
    landmarks = tmp_path / "Landmark_Points/SN001/tmp_frame_lm"
    (landmarks / "SN001_0002_lm.mat").unlink()
    with pytest.raises(DataError, match=r"Landmark_Points: 1 of 17 landmark files are missing \(SN001 number 2\)"):
        cropped.build()
    (tmp_path / "img/SN001/1.png").unlink()  # a frame that is not there needs none; the others keep their own
    np.testing.assert_array_equal(cropped.build()["test"].image(1), image[8:28, 12:32])
    (landmarks / "SN001_0001_lm.mat").rename(landmarks / "SN001_0003 (1).mat")  # a copy of a browser is no frame 1
    (landmarks / "SN001_0001_lm.mat").write_bytes((landmarks / "SN001_0003_lm.mat").read_bytes())
    with pytest.raises(DataError, match=r"SN001_0001_lm\.mat and .*SN001_0003 \(1\)\.mat are one frame"):
        cropped.build()


def test_no_frames_no_videos(tmp_path):
    trees.disfa_labels(tmp_path)
    with pytest.raises(FileNotFoundError, match="frames or videos of the left camera"):
        mini(tmp_path).build()
    with pytest.raises(ValueError, match="fold must be"):
        mini(tmp_path, fold=4)
    assert set(disfa._VIDEO_FOLDERS) == {"left", "right"}


def renumber(folder, shift):
    """Add `shift` to the numbers of frames, the highest first."""
    for path in sorted(folder.rglob("*.png"), key=lambda path: -int(path.stem)):
        path.rename(path.with_name(f"{int(path.stem) + shift}.png"))


@pytest.mark.parametrize("missing", [(), (3,)])
@pytest.mark.parametrize("shift", [0, 1])
def test_frames_from_zero_and_from_one_have_the_same_labels(tmp_path, missing, shift):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png", missing=missing)
    renumber(tmp_path / "img", shift)
    faces = mini(tmp_path).build()["test"]
    kept = [frame for frame in range(6) if frame not in missing]
    assert names(faces)[: len(kept)] == [f"SN001/{frame + shift}.png" for frame in kept]
    assert faces.labels["au_intensity"][: len(kept), 0].tolist() == [(frame + 1) % 6 for frame in kept]


def test_landmarks_without_the_first_are_not_shifted(tmp_path):
    from scipy.io import savemat

    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    for subject in trees.DISFA_SUBJECTS:
        for frame in range(1 if subject == "SN001" else 0, 6):
            path = tmp_path / "Landmark_Points" / subject / f"{frame:04d}_lm.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            savemat(path, {"pts": [[frame + k % 20, k] for k in range(66)]})
    (tmp_path / "Landmark_Points/SN001/._0001_lm.mat").write_bytes(b"of another system")
    with pytest.raises(DataError, match=r"1 of 17 landmark files are missing \(SN001 number 0\)"):
        mini(tmp_path, cropping=LandmarkCrop(0.0)).build()


def test_a_named_camera_does_not_take_the_frames_of_another(tmp_path):
    trees.disfa_videos(trees.disfa_labels(tmp_path / "release"))
    trees.disfa_frames(tmp_path / "release", "img", "png")
    by_default = mini(tmp_path / "release", frame_folder=tmp_path / "cache").build()["test"]
    right = mini(tmp_path / "release", camera="right", frame_folder=tmp_path / "cache").build()["test"]
    assert by_default.source.root.name == "img"
    assert right.source.root.name.startswith("right-")
    with pytest.raises(ValueError, match="give one of them"):
        mini(tmp_path, camera="left", frames="img")


def test_one_frame_in_two_files_is_refused(tmp_path):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    trees.image(tmp_path / "img/SN006/0002.jpg")
    with pytest.raises(DataError, match=r"SN006: 0002.jpg and 2.png are one frame"):
        mini(tmp_path).build()


def test_nested_folders_of_the_archives(tmp_path):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    (tmp_path / "ActionUnit_Labels").rename(tmp_path / "inner")
    (tmp_path / "ActionUnit_Labels").mkdir()
    (tmp_path / "inner").rename(tmp_path / "ActionUnit_Labels/ActionUnit_Labels")
    assert len(mini(tmp_path).build()["test"]) == 17


@pytest.mark.parametrize(
    ("numbers", "first"),
    [
        (([0, 1, 2], [0, 2]), 0),
        (([1, 2], [0, 1]), 0),
        (([1, 2, 3], [1, 2]), 1),
        (([0, 1, 2, 3], [1, 2]), 0),  # a last frame without a label
        (([1, 2], [1, 2]), "no subject has a file 0"),
        (([0, 1], [1, 2, 3]), "some subjects begin with 0 and others end behind"),
    ],
)
def test_where_numbers_begin(numbers, first):
    labelled = ([0, 1, 2], [0, 1, 2])
    if isinstance(first, int):
        assert first_number(numbers, labelled, "frames in img") == first
    else:
        with pytest.raises(DataError, match=rf"frames in img: cannot tell whether they count .*: {first}"):
            first_number(numbers, labelled, "frames in img")
