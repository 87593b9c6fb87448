"""A check lists everything that is missing or unreadable, in all splits; a run stops at the first in one line."""

import shutil
import zipfile

import pytest

import trees
from pcfrl_lightning.cli.data import main
from pcfrl_lightning.data.quality.check import check
from pcfrl_lightning.data.releases.registry import data_class
from pcfrl_lightning.data.releases.release import MissingImages


def counts_of(report):
    return {count.what: count.found for count in report.counts}


def test_three_faults_in_two_splits_are_all_reported(tmp_path, capsys):
    folder = trees.rafdb(tmp_path) / "basic/Image/aligned"
    (folder / "train_00002_aligned.jpg").unlink()
    (folder / "test_0001_aligned.jpg").unlink()
    (folder / "train_00003_aligned.jpg").write_bytes(b"\xff\xd8 half a picture")
    report = check("rafdb", tmp_path)
    assert sorted(report.missing) == ["test_0001_aligned.jpg", "train_00002_aligned.jpg"]
    assert [name for name, _ in report.corrupt] == ["train_00003_aligned.jpg"]
    found = counts_of(report)
    assert (found["train"], found["test"], found["train/surprise"], found["train/neutral"]) == (2, 1, 0, 1)
    assert main(["check", "rafdb", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "missing images: 2\n  test_0001_aligned.jpg\n  train_00002_aligned.jpg\n" in printed
    assert "unreadable images: 1\n  train_00003_aligned.jpg (" in printed
    assert "train/sadness" in printed


@pytest.mark.parametrize(
    ("name", "make", "images", "found"),
    [
        ("wflw", trees.wflw, ("WFLW_images/0--Parade/a.jpg", "WFLW_images/1--Handshaking/c.jpg"), (1, 0)),
        ("affectnet7", trees.affectnet_csv, ("Manually_Annotated_Images/1/a.jpg", "Manually_Annotated_Images/3/d.jpg"),
         (1, 0)),
        ("celeba", trees.celeba, ("img_align_celeba/000001.jpg", "img_align_celeba/000005.jpg"), (1, 1)),
        ("affectnet7", trees.affectnet_arrays, ("train_set/images/0.jpg", "val_set/images/0.jpg"), (2, 0)),
        ("300w", trees.landmarks_300w, ("afw/1.jpg", "ibug/image_092 _01.jpg"), (2, 2)),
        ("300w-lp-aflw2000", trees.head_pose, ("300W_LP/IBUG/IBUG_image_1_0.jpg", "AFLW2000/image00002.jpg"), (1, 0)),
    ],
)  # fmt: skip
def test_missing_images_of_both_splits_are_listed(tmp_path, name, make, images, found):
    make(tmp_path)
    for image in images:
        (tmp_path / image).unlink()
    with pytest.raises(
        MissingImages, match=rf"^[^\n]*: image [^\n]*{images[0][-5:]} is missing \([12] in all\); copy "
    ):
        data_class(name)(tmp_path).build()
    for decode in (True, False):
        report = check(name, tmp_path, decode=decode)
        assert len(report.missing) == 2
        assert all(image.endswith(missing) for image, missing in zip(images, report.missing, strict=True))
        assert (counts_of(report)["train"], counts_of(report)["test"]) == found
        assert report.corrupt == []
        assert not report.ok


def test_missing_members_of_an_archive_are_listed_and_the_others_read(tmp_path):
    base = trees.rafdb(tmp_path) / "basic"
    (base / "Image/aligned/train_00001_aligned.jpg").write_bytes(b"no image")
    with zipfile.ZipFile(base / "Image/aligned.zip", "w") as archive:
        for path in sorted((base / "Image/aligned").iterdir()):
            if path.name not in ("test_0001_aligned.jpg", "train_00002_aligned.jpg"):
                archive.write(path, f"aligned/{path.name}")
    shutil.rmtree(base / "Image/aligned")
    report = check("rafdb", tmp_path)
    assert report.missing == ["test_0001_aligned.jpg", "train_00002_aligned.jpg"]
    assert [name for name, _ in report.corrupt] == ["aligned/train_00001_aligned.jpg"]
    assert (counts_of(report)["train"], counts_of(report)["test"]) == (2, 1)


def test_pairs_of_a_missing_image_are_not_counted(tmp_path):
    (trees.lfw(tmp_path) / "lfw/Ann_Ax/Ann_Ax_0002.jpg").unlink()
    found = counts_of(check("lfw", tmp_path))
    assert (found["test/pairs"], found["test/same pairs"], found["test/fold 0 pairs"]) == (39, 19, 3)


ANNOTATIONS = [f"train_set/annotations/{number}_exp.npy" for number in (0, 1, 2, 3)]
POINTS = ["afw/1.pts", "helen/trainset/2_1.pts", "lfpw/trainset/image_0001.pts", "ibug/image_092 _01.pts"]
ANGLES = [f"300W_LP/{part}/IBUG_image_1_{number}.mat" for part in ("AFW_Flip", "IBUG") for number in (0, 1)]


@pytest.mark.parametrize(
    ("name", "make", "labels"),
    [
        ("300w", trees.landmarks_300w, POINTS),
        ("affectnet7", trees.affectnet_arrays, [*ANNOTATIONS, "val_set/annotations/0_exp.npy"]),
        ("300w-lp-aflw2000", trees.head_pose, [*ANGLES, "AFLW2000/image00002.mat"]),
    ],
)
def test_all_missing_label_files_are_listed(tmp_path, name, make, labels):
    make(tmp_path)
    for label in labels:
        (tmp_path / label).unlink()
    report = check(name, tmp_path)
    assert len(report.missing_labels) == len(labels)
    assert all(label.endswith(missing) for label, missing in zip(labels, report.missing_labels, strict=True))
    assert f"missing label files: {len(labels)}\n  {report.missing_labels[0]}\n" in str(report)
    assert not report.ok


def test_a_label_file_that_lost_its_image_is_named(tmp_path):
    image = trees.head_pose(tmp_path) / "AFLW2000/image00002.jpg"
    image.unlink()
    with pytest.raises(MissingImages, match=r"image00002.mat: image image00002.jpg is missing \(1 in all\)"):
        data_class("300w-lp-aflw2000")(tmp_path).build()
    found = counts_of(check("300w-lp-aflw2000", tmp_path))
    assert (found["AFLW2000"], found["300W-LP"], found["train"]) == (1, 4, 2)


def test_labels_that_are_not_read_need_no_image(tmp_path):
    """Contempt is left out; a mirrored copy and hidden files are not looked at."""
    trees.affectnet_arrays(tmp_path / "a")
    (tmp_path / "a/train_set/images/2.jpg").unlink()
    assert check("affectnet7", tmp_path / "a").missing == []
    trees.landmarks_300w(tmp_path / "b")
    (tmp_path / "b/afw/1_mirror.jpg").unlink()
    trees.text(tmp_path / "b/afw/._1.pts", "resource fork")
    assert check("300w", tmp_path / "b").missing == []


def test_a_wrong_label_does_not_hide_what_was_missing_before(tmp_path):
    trees.wflw(tmp_path)
    (tmp_path / "WFLW_images/0--Parade/a.jpg").unlink()
    listing = tmp_path / "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_test.txt"
    listing.write_text(listing.read_text().replace("10 20 50 40 1", "10 20 50 40 7"))
    report = check("wflw", tmp_path)
    assert report.missing == ["0--Parade/a.jpg"]
    assert "test.txt:1: '7' is not an integer from 0 to 1" in report.problems[1]
