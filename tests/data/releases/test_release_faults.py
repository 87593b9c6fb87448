"""Faults of releases and lists that must not pass, and must be named."""

import numpy as np
import pytest

import trees
from pcfrl_lightning.data.cropping.croppers import LandmarkCrop, UprightCrop
from pcfrl_lightning.data.quality.check import check
from pcfrl_lightning.data.releases.affectnet import AffectNet7
from pcfrl_lightning.data.releases.bu3dfe import BU3DFE
from pcfrl_lightning.data.releases.celeba import CelebA
from pcfrl_lightning.data.releases.cplfw import CPLFW
from pcfrl_lightning.data.releases.landmarks300w import Landmarks300W
from pcfrl_lightning.data.releases.lfw import LFW
from pcfrl_lightning.data.releases.pcl_lists import ListedExpressions, ListedPairs
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.rafdb import RAFDB, RAFDBCompound
from pcfrl_lightning.data.releases.wflw import WFLW
from pcfrl_lightning.errors import DataError

FIVE = [[0, 0], [20, 0], [10, 10], [2, 20], [18, 20]]


@pytest.mark.parametrize("values", [FIVE, np.array(FIVE).ravel(), np.array(FIVE, str), np.array(FIVE, np.uint8)])
def test_landmarks_in_any_shape_and_type(values):
    points = face_points(values, 5, "a.txt")
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, FIVE)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (FIVE[:4], "expected 5 landmarks x, y, found 4"),
        (np.transpose(FIVE), r"expected 5 landmarks x, y, found an array of shape \(2, 5\)"),
        ([*FIVE[:4], [np.nan, 0]], "finite landmarks"),
        ([*FIVE[:4], [1e39, 0]], "finite landmarks within 100,000 pixels"),
        ([[3, 4]] * 5, r"the 5 landmarks lie in one place, near \[3.0, 4.0\]"),
        (np.array(FIVE) + 1j, "not numbers x, y"),
        ([["a", "b"]] * 5, "not numbers x, y"),
    ],
)
def test_what_is_no_face_is_refused(values, problem):
    with pytest.raises(DataError, match=rf"^a.txt:3: .*{problem}"):
        face_points(values, 5, "a.txt:3")


@pytest.mark.parametrize("content", ["0 0\n" * 5, "0 0\n20 0\n10 10\n2 20\n1e39 20\n"])
@pytest.mark.parametrize("cropping", [UprightCrop(), LandmarkCrop()])
def test_impossible_landmarks_are_named_with_their_file(tmp_path, content, cropping):
    trees.rafdb(tmp_path)
    trees.text(tmp_path / "basic/Annotation/manual/train_00002_manu_attri.txt", content)
    report = check("rafdb", tmp_path, images="original", cropping=cropping)
    assert any("train_00002_manu_attri.txt: " in problem for problem in report.problems)


def test_missing_landmark_files_are_listed_and_the_images_counted(tmp_path):
    trees.rafdb(tmp_path / "rafdb")
    trees.cplfw(tmp_path / "cplfw")
    gone = [f"rafdb/basic/Annotation/manual/{name}_manu_attri.txt" for name in ("train_00001", "test_0002")]
    gone += [f"cplfw/images/P_{k}_1_5loc_attri.txt" for k in (3, 7)]
    for path in gone:
        (tmp_path / path).unlink()
    rafdb = check("rafdb", tmp_path / "rafdb", images="original", cropping=UprightCrop())
    cplfw = check("cplfw", tmp_path / "cplfw", folder="images", cropping=UprightCrop())
    assert rafdb.missing_labels == ["train_00001_manu_attri.txt", "test_0002_manu_attri.txt"]
    assert cplfw.missing_labels == ["P_3_1_5loc_attri.txt", "P_7_1_5loc_attri.txt"]
    assert {count.what: count.found for count in rafdb.counts}["train"] == 3
    assert not rafdb.ok
    assert not cplfw.ok


def test_landmarks_of_disfa_are_checked(tmp_path):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png")
    trees.disfa_landmarks(tmp_path, np.zeros((66, 2)))
    report = check("disfa", tmp_path, subjects=trees.DISFA_SUBJECTS, cropping=UprightCrop())
    assert "0000_lm.mat: the 66 landmarks lie in one place" in report.problems[0]


def test_lists_of_another_folder_are_not_taken(tmp_path, monkeypatch):
    for place, label in (("root", 1), ("elsewhere", 6)):
        for split in ("train", "test"):
            trees.image(tmp_path / place / f"{split}.jpg")
            trees.text(tmp_path / place / f"{split}_list.txt", f"{split}.jpg {label}\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert ListedExpressions(tmp_path / "root").build()["train"].labels["expression"].tolist() == [1]
    absolute = ListedExpressions(tmp_path / "root", train_list=tmp_path / "elsewhere/train_list.txt")
    assert absolute.build()["train"].labels["expression"].tolist() == [6]
    (tmp_path / "elsewhere/pairs.txt").write_text("train.jpg test.jpg 1\n" * 20)
    with pytest.raises(FileNotFoundError, match=r"root/pairs.txt"):
        ListedPairs(tmp_path / "root").build()


@pytest.mark.parametrize(
    ("line", "problem"),
    [("a.jpg 3 4 5", "image a.jpg 3 4 is missing"), ("a.jpg 0_3", "'0_3' is not a number"), ("a.jpg", "field 2")],
)
def test_lines_that_are_no_path_and_label(tmp_path, line, problem):
    trees.image(tmp_path / "a.jpg")
    for split in ("train", "test"):
        trees.text(tmp_path / f"{split}_list.txt", f"{line}\n")
    with pytest.raises(DataError, match=rf"train_list.txt:1: {problem}"):
        ListedExpressions(tmp_path).build()


def test_paths_with_blanks(tmp_path):
    for name in ("a", "b"):
        trees.image(tmp_path / "aligned images" / f"{name}.jpg")
    trees.text(tmp_path / "train_list.txt", "aligned images/a.jpg 3\n")
    trees.text(tmp_path / "test_list.txt", "aligned images/b.jpg\t4\n")
    faces = ListedExpressions(tmp_path).build()["train"]
    assert (faces.source.name(0), faces.labels["expression"].tolist()) == ("aligned images/a.jpg", [3])
    trees.text(tmp_path / "pairs.txt", "aligned images/a.jpg aligned images/b.jpg 1\n")
    with pytest.raises(DataError, match=r"pairs.txt:1: found 5 fields; .* paths must have no blanks"):
        ListedPairs(tmp_path).build()


def test_a_missing_second_image_of_a_pair_is_named_with_its_own_line(tmp_path):
    listing = trees.cplfw(tmp_path) / "pairs_CPLFW.txt"
    listing.write_text(listing.read_text().replace("P_7_2.jpg", "X.jpg"))
    with pytest.raises(DataError, match=r"pairs_CPLFW.txt:16: image X.jpg is missing"):
        CPLFW(tmp_path).build()


def test_a_pair_of_an_image_with_itself(tmp_path):
    listing = trees.lfw(tmp_path) / "pairs.txt"
    listing.write_text(listing.read_text().replace("Ann_Ax\t1\t2", "Ann_Ax\t1\t1"))
    with pytest.raises(DataError, match=r"pairs.txt:2: a pair of an image with itself"):
        LFW(tmp_path).build()


def test_archives_unpacked_into_folders_of_their_name(tmp_path):
    for name, folder in (("celeba", "img_align_celeba"), ("wflw", "WFLW_images")):
        root = getattr(trees, name)(tmp_path / name)
        (root / folder).rename(root / "inner")
        (root / folder).mkdir()
        (root / "inner").rename(root / folder / folder)
    assert CelebA(tmp_path / "celeba").build()["train"].image(0).ndim == 3
    assert WFLW(tmp_path / "wflw").build()["train"].image(0).ndim == 3


def test_compound_and_basic_expressions_are_not_mixed_up(tmp_path):
    trees.rafdb(tmp_path)
    assert RAFDB(tmp_path / "basic").build()
    with pytest.raises(DataError, match="basic holds the basic expressions, rafdb-compound reads the compound ones"):
        RAFDBCompound(tmp_path / "basic").build()


def test_two_images_for_one_label_file(tmp_path):
    trees.landmarks_300w(tmp_path)
    trees.image(tmp_path / "afw/1.png")
    with pytest.raises(DataError, match=r"afw/1.jpg and afw/1.png share one .pts file"):
        Landmarks300W(tmp_path).build()


def test_a_digit_that_is_no_number(tmp_path):
    trees.affectnet_arrays(tmp_path)
    np.save(tmp_path / "train_set/annotations/0_exp.npy", np.array("²"))
    with pytest.raises(DataError, match=r"0_exp.npy: '²' is not an expression code"):
        AffectNet7(tmp_path).build()


def test_bu3dfe_lists_what_its_subjects_lack(tmp_path):
    for subject in ("F0001", "M0002"):
        for code in ("AN", "DI", "FE", "HA", "SA", "SU"):
            for level in range(1, 5):
                trees.image(tmp_path / subject / f"{subject}_{code}{level:02d}WH_F2D.bmp")
        trees.image(tmp_path / subject / f"{subject}_NE00WH_F2D.bmp")
    assert check("bu3dfe", tmp_path, folds=2).missing == []
    (tmp_path / "F0001/F0001_AN04WH_F2D.bmp").unlink()
    report = check("bu3dfe", tmp_path, folds=2)
    assert report.missing == ["F0001/F0001_AN04WH_F2D.bmp"]
    assert {count.what: count.found for count in report.counts}["test/anger"] == 3
    assert len(BU3DFE(tmp_path, folds=2).build()["test"]) == 24  # a part of it can be used
    trees.image(tmp_path / "copy/F0001_HA01WH_F2D.bmp")
    with pytest.raises(DataError, match=r"copy/F0001_HA01WH_F2D.bmp: the same image as|the same image as .*copy"):
        BU3DFE(tmp_path).build()


def test_the_check_lists_frames_that_published_lists_leave_out(tmp_path):
    trees.disfa_frames(trees.disfa_labels(tmp_path), "img", "png", missing=(3,))
    report = check("disfa", tmp_path, subjects=trees.DISFA_SUBJECTS)
    assert report.missing == [f"{subject}/3.png" for subject in trees.DISFA_SUBJECTS]
    assert "3 labelled frames have no image, the first is SN001/3.png" in report.problems[0]
