import pytest
import torch

import trees
from pcfrl_lightning.data import disfa
from pcfrl_lightning.data.alignment import LandmarkCrop
from pcfrl_lightning.data.disfa import DISFA
from pcfrl_lightning.data.disfa_labels import ACTION_UNITS, PARTS
from pcfrl_lightning.errors import DataError


def names(faces):
    return [faces.source.name(i) for i in range(len(faces))]


@pytest.mark.parametrize(("folder", "suffix"), [("img", "png"), ("DISFA", "jpg"), (".", "png")])
def test_frames_of_both_public_layouts(tmp_path, folder, suffix):
    trees.disfa_frames(trees.disfa_labels(tmp_path), folder, suffix, missing=(3,))
    faces = DISFA(tmp_path).build()["test"]
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
    assert names(DISFA(tmp_path).build()["test"])[:12] == [f"SN001/{frame}.png" for frame in range(12)]


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
    splits = DISFA(tmp_path, fold=fold).build()
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
    data = DISFA(tmp_path / "release", camera=camera, cache=tmp_path / "cache")
    faces = data.build()["test"]
    assert names(faces)[: last + 1] == [f"SN001/{frame}.jpg" for frame in range(last + 1)]
    means = [faces.image(frame).mean() for frame in range(last + 1)]
    assert all(abs(mean - 40 * frame) < 6 for frame, mean in enumerate(means))
    assert not list((tmp_path / "cache").rglob("*.part"))

    def fail(*_):
        raise AssertionError("extracted twice")

    monkeypatch.setattr("pcfrl_lightning.data.video._write_frames", fail)
    assert DISFA(tmp_path / "release", camera=camera, cache=tmp_path / "cache").build()["test"].fingerprint() == (
        faces.fingerprint()
    )


def test_a_killed_extraction_is_repeated(tmp_path):
    trees.disfa_videos(trees.disfa_labels(tmp_path / "release"))
    part = tmp_path / "cache/left/SN001.part"
    part.mkdir(parents=True)
    (part / "99.jpg").write_bytes(b"half")
    faces = DISFA(tmp_path / "release", cache=tmp_path / "cache").build()["test"]
    assert len(faces) == 6 + 6 + 5
    assert not (tmp_path / "cache/left/SN001/99.jpg").exists()


def test_frames_of_another_video_are_not_believed(tmp_path):
    """The cache is shared by all roots: a longer video of the same name gives its own frames."""
    trees.disfa_videos(trees.disfa_labels(tmp_path / "release"))
    first = DISFA(tmp_path / "release", cache=tmp_path / "cache").build()["test"]
    trees.video(tmp_path / "release/Videos_LeftCamera/LeftVideoSN001_comp.avi", 4)
    second = DISFA(tmp_path / "release", cache=tmp_path / "cache").build()["test"]
    assert [name for name in names(first) if name.startswith("SN001")] == [f"SN001/{i}.jpg" for i in range(6)]
    assert [name for name in names(second) if name.startswith("SN001")] == [f"SN001/{i}.jpg" for i in range(4)]


def test_a_damaged_video_is_named(tmp_path):
    trees.disfa_labels(tmp_path)
    trees.text(tmp_path / "Videos_LeftCamera/LeftVideoSN001_comp.avi", "no video")
    with pytest.raises(DataError, match=r"LeftVideoSN001_comp.avi: cannot be opened"):
        DISFA(tmp_path, cache=tmp_path / "cache").build()


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
        DISFA(tmp_path).build()


def test_labels_that_count_from_zero(tmp_path):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    for path in (tmp_path / "ActionUnit_Labels/SN001").iterdir():
        lines = [line.split(",") for line in path.read_text().split()]
        path.write_text("".join(f"{int(frame) - 1},{value}\n" for frame, value in lines))
    faces = DISFA(tmp_path).build()["test"]
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
    whole, cropped = DISFA(tmp_path), DISFA(tmp_path, alignment=LandmarkCrop(0.0))
    image = whole.build()["test"].image(2)
    np.testing.assert_array_equal(cropped.build()["test"].image(2), image[8:28, 12:32])


def test_no_frames_no_videos(tmp_path):
    trees.disfa_labels(tmp_path)
    with pytest.raises(FileNotFoundError, match="frames or videos of the left camera"):
        DISFA(tmp_path).build()
    with pytest.raises(ValueError, match="fold must be"):
        DISFA(tmp_path, fold=4)
    assert set(disfa._VIDEO_FOLDERS) == {"left", "right"}
